"""Nested arguments and results: tuples, lists, dicts and named tuples, and what they hold, the leaves.

In: any Python value. Out: the list of its leaves, and its `Structure`, which puts leaves back into the same containers. Whatever
is no container is a leaf, None too, as in PyTorch.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

Container = tuple[Any, ...] | list[Any] | dict[Any, Any] | deque[Any]


@dataclass(frozen=True)
class Structure:
    """How containers stand in one another: of a container its type, keys and parts; of a leaf nothing."""

    kind: type[Any] | None = None
    keys: tuple[Hashable, ...] = ()
    parts: tuple[Structure, ...] = ()
    factory: Callable[[], Any] | None = None
    """What a defaultdict makes."""

    @property
    def count(self) -> int:
        """How many leaves there are."""
        return 1 if self.kind is None else sum(part.count for part in self.parts)

    def build(self, leaves: Sequence[Any]) -> Any:
        """The containers with these leaves in them."""
        if len(leaves) != self.count:
            raise ValueError(f"{self} has {self.count} leaves, not {len(leaves)}")
        return self._build(iter(leaves))

    def _build(self, leaves: Iterator[Any]) -> Any:
        if self.kind is None:
            return next(leaves)
        values = [part._build(leaves) for part in self.parts]
        if issubclass(self.kind, dict):
            pairs = zip(self.keys, values)
            return (
                defaultdict(self.factory, pairs) if self.kind is defaultdict else self.kind(pairs)
            )
        if hasattr(self.kind, "_fields"):
            return self.kind(*values)
        return self.kind(values)

    def __str__(self) -> str:
        if self.kind is None:
            return "*"
        names = [f"{key!r}: " for key in self.keys] or [""] * len(self.parts)
        inner = ", ".join(name + str(part) for name, part in zip(names, self.parts))
        return f"{self.kind.__name__}({inner})"


LEAF = Structure()


def flatten(value: Any) -> tuple[list[Any], Structure]:
    """The leaves of a value, in order, and its structure."""
    leaves: list[Any] = []
    return leaves, _flatten(value, leaves)


def _flatten(value: Any, leaves: list[Any]) -> Structure:
    kind = type(value)
    if kind in (dict, OrderedDict, defaultdict):
        parts = tuple([_flatten(each, leaves) for each in value.values()])
        return Structure(kind, tuple(value), parts, getattr(value, "default_factory", None))
    if kind in (tuple, list, deque) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        return Structure(kind, (), tuple([_flatten(each, leaves) for each in value]))
    leaves.append(value)
    return LEAF


def map_leaves(function: Callable[[Any], Any], value: Any) -> Any:
    """The value with function(leaf) in the place of each leaf."""
    leaves, structure = flatten(value)
    return structure.build([function(leaf) for leaf in leaves])


def spread_over(value: Any, structure: Structure) -> list[Any] | None:
    """One entry of `value` for each leaf of a structure: an entry of `value` stands for all leaves below its place.

    None where the containers of `value` do not fit.
    """
    if structure.kind is None:
        return None if _is_container(value) else [value]
    if not _is_container(value):
        return [value] * structure.count
    if type(value) is not structure.kind:
        return None
    entries = list(value)
    if isinstance(value, dict):
        if set(value) != set(structure.keys):
            return None
        entries = [value[key] for key in structure.keys]
    if len(entries) != len(structure.parts):
        return None
    found: list[Any] = []
    for entry, part in zip(entries, structure.parts):
        below = spread_over(entry, part)
        if below is None:
            return None
        found += below
    return found


def _is_container(value: object) -> TypeGuard[Container]:
    return isinstance(value, (tuple, list, dict, deque))
