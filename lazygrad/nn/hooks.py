"""The functions that a Module calls around `forward`, in the order in which they were registered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self


class Hooks:
    """An ordered set of hooks, each with whether it also takes keyword arguments."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: dict[RemovableHandle, tuple[Callable[..., Any], bool]] = {}

    def __iter__(self) -> Iterator[tuple[Callable[..., Any], bool]]:
        return iter(tuple(self.entries.values()))  # a hook may remove itself

    def add(self, hook: Callable[..., Any], with_kwargs: bool, first: bool) -> RemovableHandle:
        """Register a hook, last or `first`."""
        handle = RemovableHandle(self)
        if first:
            self.entries = {handle: (hook, with_kwargs), **self.entries}
        else:
            self.entries[handle] = (hook, with_kwargs)
        return handle


class RemovableHandle:
    """What registering a hook returns; `remove()`, or the end of a `with` block, takes the hook away."""

    __slots__ = ("hooks",)

    def __init__(self, hooks: Hooks) -> None:
        self.hooks = hooks

    def remove(self) -> None:
        """Take the hook away; a second time does nothing."""
        self.hooks.entries.pop(self, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()
