"""Schedules: steps that have a name, a loop and a factor, and how they are run.

In: a loop tree and steps, as data: printable, storable, editable. Out: the loop tree after them. `choose.py` says which steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lazygrad.ir.node import Node

from .transform.access import ScheduleError, all_loops, loop_name
from .transform.accumulate import accumulate
from .transform.ahead import ahead
from .transform.cascade import cascade
from .transform.dots import dots
from .transform.fuse import fuse
from .transform.hold import hold
from .transform.jam import jam
from .transform.nest import divide, interchange, merge
from .transform.pack import pack
from .transform.partition import partition
from .transform.prefetch import prefetch
from .transform.skip import skip
from .transform.together import together
from .transform.transpose import transpose
from .transform.vectorize import vectorize


@dataclass(frozen=True, slots=True)
class Transform:
    """One step of a schedule: the name of a transform, the loop it is for, and its factor."""

    name: str
    loop: str = ""
    factor: int = 0

    def __str__(self) -> str:
        given = [str(each) for each in (self.loop, self.factor) if each]
        return f"{self.name}({', '.join(given)})"


class Schedule:
    """A schedule that grows, and the kernel that it makes: a step is applied once, however often somebody looks."""

    def __init__(self, kernel: Node, steps: Iterable[Transform] = ()) -> None:
        self.steps = list(steps)
        self._kernel = kernel
        self._applied = 0

    def extend(self, steps: Iterable[Transform]) -> None:
        """More steps, after those there are."""
        self.steps.extend(steps)

    @property
    def kernel(self) -> Node:
        """The kernel after all steps so far."""
        self._kernel = apply(self._kernel, self.steps[self._applied :])
        self._applied = len(self.steps)
        return self._kernel


TRANSFORMS: dict[str, Callable[..., Node]] = {
    "divide": divide,
    "interchange": interchange,
    "merge": merge,
    "fuse": fuse,
    "partition": partition,
    "skip": skip,
    "pack": pack,
    "hold": hold,
    "dots": dots,
    "vectorize": vectorize,
    "jam": jam,
    "together": together,
    "transpose": transpose,
    "ahead": ahead,
    "prefetch": prefetch,
    "cascade": cascade,
    "accumulate": accumulate,
}
"""What a step may be: of a kernel, and where it has them of the name of a loop and of a factor."""


def takes(transform: Callable[..., Node]) -> int:
    """Whether a transform takes nothing beside the kernel (0), the name of a loop (1), or a factor too (2)."""
    return transform.__code__.co_argcount - 1


def apply(
    kernel: Node,
    steps: Sequence[Transform],
    transforms: Mapping[str, Callable[..., Node]] = TRANSFORMS,
) -> Node:
    """Run a schedule.

    Raises:
        ScheduleError: a step cannot be applied to what the steps before it left; it says which, why, and which loops there are.
    """
    for number, step in enumerate(steps, 1):
        try:
            if step.name not in transforms:
                names = ", ".join(transforms)
                raise ScheduleError(f"there is no such transform; there are {names}")
            function = transforms[step.name]
            kernel = function(kernel, *(step.loop, step.factor)[: takes(function)])
        except ScheduleError as error:
            found = ", ".join(loop_name(loop) for loop, _ in all_loops(kernel))
            raise ScheduleError(
                f"step {number} of {len(steps)}, {step}: {error} (loops here: {found or 'none'})"
            ) from None
    return kernel


__all__ = ["TRANSFORMS", "Schedule", "Transform", "apply", "takes"]
