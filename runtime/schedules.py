"""Schedules that are given to kernels by hand: `lazygrad.schedule_override`.

In: the name of a kernel. Out: the steps that are to be taken in the place of those that the cost model chooses, or None. Whoever
keeps what was compiled is told when that changes, or when a search is asked for (`on_change`); what is kept on disk has `mark` in its name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from lazygrad.ir.record import record

from . import cache

if TYPE_CHECKING:
    from lazygrad.codegen.choose import Transform

    Steps = tuple[Transform, ...]


@record
class Given:
    """The schedule of the kernels whose names match a pattern, on devices of one type, or on all ("")."""

    pattern: str
    device: str
    steps: Steps

    def fits(self, device: str, name: str) -> bool:
        """Whether it is for a kernel of this name on this device."""
        return device.startswith(self.device) and fnmatchcase(name, self.pattern)


_given: list[schedule_override] = []
"""What is in force, the latest last."""
_lock = threading.RLock()
_listeners: list[Callable[[], object]] = []
_changes = 0
_searched = 0
_deterministic = False
_followed: ContextVar[Steps | None] = ContextVar("the schedule of a kernel", default=None)


class schedule_override:
    """Give kernels a schedule of your own, in the place of what the cost model would choose.

    Args:
        kernel: the name of a kernel as `lazygrad.lower(...).schedules()` has it, or a pattern such as "sum_*". Or all at once: a mapping of
            names to schedules.
        schedule: its steps, one a line, as `lazygrad.lower(...).schedules()` prints them; what follows a # is a comment.
        device: "cpu", "opencl" or "cuda" where it is for kernels of that device alone.

    It is in force at once, in all threads, for everything that is compiled from then on; what has been compiled before is compiled again
    with it. Used in a `with` statement it ends with the block; otherwise it holds for the process, or until `remove()`. The latest of several that match counts.

        with lazygrad.schedule_override("matmul", "jam(i, 4)\\nvectorize(j, 32)"):
            ...

    Raises:
        ScheduleError (a ValueError): a line is no step. When a kernel is compiled: a step does not apply to it; the message says which step of
            which kernel, why, and which loops there are. Nothing has changed then, and the program runs again when the schedule is removed.

    A schedule never changes what a kernel computes but for the order of declared sums; `LAZYGRAD_VERIFY=1` compares it with the interpreter.
    """

    def __init__(
        self, kernel: str | Mapping[str, str], schedule: str | None = None, device: str = ""
    ) -> None:
        from lazygrad.codegen.schedule_text import parse

        if isinstance(kernel, str) == (schedule is None):
            raise TypeError(
                "schedule_override: expected the name of a kernel and a schedule, or a mapping of names to schedules"
            )
        named = {kernel: schedule or ""} if isinstance(kernel, str) else kernel
        kind = device.lower()
        if kind not in ("", "cpu", "opencl", "cuda"):
            raise ValueError(
                f"schedule_override: expected the device cpu, opencl or cuda; got {device!r}"
            )
        self.schedules = tuple(Given(name, kind, parse(text)) for name, text in named.items())
        with _lock:
            _given.append(self)
        _changed()

    def remove(self) -> None:
        """End it; what it was for is compiled again as the cost model chooses."""
        with _lock:
            if self not in _given:
                return
            _given.remove(self)
        _changed()

    def __enter__(self) -> schedule_override:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        parts = [f"{each.pattern}: {' '.join(map(str, each.steps))}" for each in self.schedules]
        return f"<schedule_override {'; '.join(parts)}>"


def on_change(listener: Callable[[], object]) -> None:
    """Call this whenever what is in force has changed: compiled programs may be those of other schedules."""
    _listeners.append(listener)


def changes() -> int:
    """How often what is in force has changed."""
    return _changes


def _changed() -> None:
    global _changes
    _changes += 1
    for listener in _listeners:
        listener()


def search(count: int) -> None:
    """LAZYGRAD_SEARCH asks for so many schedules of each kernel: what was compiled when it asked for fewer is compiled again."""
    global _searched
    if count > _searched:
        _searched = count
        _changed()


def compiled(count: int) -> None:
    """Something is compiled while LAZYGRAD_SEARCH asks for so many schedules: one who asks for more compiles it again."""
    global _searched
    _searched = min(_searched, count)


def ask_deterministic(wanted: bool) -> None:
    """Whether sums have to come out the same each time on devices whose threads may meet in them in any order."""
    global _deterministic
    if wanted != _deterministic:
        _deterministic = wanted
        _changed()


def deterministic() -> bool:
    """What was asked for last."""
    return _deterministic


def by_hand(device: str, name: str) -> Steps | None:
    """The schedule that the user has given kernels of this name."""
    for override in reversed(_given):
        for each in reversed(override.schedules):
            if each.fits(device, name):
                return each.steps
    return None


def mark(store: cache.Store, machine: bytes) -> bytes:
    """What schedules in force and found mean for entries of the cache directory: equal where the same kernels have the same ones."""
    parts = [store.read(searched(machine)) or b""]
    if _given:
        parts += [repr(override.schedules).encode() for override in _given]
    return b"" if parts == [b""] else cache.digest(*parts).encode()


def searched(machine: bytes) -> str:
    """The name of an entry of the cache directory that is another one after each search which has found something."""
    return f"{cache.digest(b'searched', machine)}.searched"


# --- what is followed while a kernel is made


def followed() -> Steps | None:
    """The schedule that a kernel which is being made gets; None is the cost model's choice."""
    return _followed.get()


@contextmanager
def following(steps: Steps | None) -> Iterator[None]:
    """Make kernels by this schedule."""
    token = _followed.set(steps)
    try:
        yield
    finally:
        _followed.reset(token)
