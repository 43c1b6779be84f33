"""LAZYGRAD_SEARCH: schedules of a kernel are measured, and the best is kept.

In: a kernel as it was lowered, and how many schedules to measure. Out: what was found (winners.py). The search begins with the choice of the cost model and
goes on from the best so far to its neighbours (codegen/candidates.py). Each runs on memory of its own (measure.py), must give the same result as the
first (to the last bit where the order of sums stays, else within the bound that rounding explains), and is timed in turns with the best. A bar
shows how far it is where tqdm is installed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lazygrad.codegen.candidates import neighbours, reorders, sums
from lazygrad.codegen.schedule_text import chooser
from lazygrad.codegen.transform.access import extent
from lazygrad.ir.args import Param
from lazygrad.ir.blocks import parameters
from lazygrad.ir.interpret import from_storage
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.text import show
from lazygrad.ir.verify import verify_kernel

from . import device as devices
from . import winners
from .device import Array
from .measure import Refused, Scratch
from .oracle import excess
from .winners import Found

if TYPE_CHECKING:
    from .schedules import Steps

ROUNDS = 5
"""How often a schedule and the best are timed in turns: the least of each counts."""
PERIOD = 1e-3
"""Seconds that a timing takes at least: a quick kernel is launched several times."""
MOST_TIMES = 1000
BETTER = 0.97
"""A schedule is better when it takes at most this part of the time of the best."""
HOPELESS = 1.3
"""One that takes this much longer the first time is not timed again."""
GROWTH = 4
"""How much more code than the first choice a schedule may be."""
LEAST_CODE = 2000
"""Nodes of a kernel that are not too many whatever the first choice has."""
TRIED = 8
"""How many neighbours are looked at for each one that is measured: most others do not apply."""


def search(device: Any, kernel: Node, text: str, count: int) -> Found | None:
    """Measure `count` schedules of a kernel, and keep the best; None where nothing can be measured."""
    if devices.DEVICES.get(device.name) is not device:
        return None  # it writes code for another machine
    try:
        outcome = _Search(device, kernel, count).run()
    except (Refused, MemoryError, RuntimeError):  # no inputs that it accepts, or no room
        outcome = Found(None, count)
    winners.keep(device, text, outcome)
    return outcome


class _Search:
    def __init__(self, device: Any, kernel: Node, count: int) -> None:
        self.device = device
        self.target = device.target
        self.count = count
        self.kernel = kernel
        self.name = str(getattr(kernel.arg, "name", "kernel"))
        self.module = chooser(self.target.language)
        self.prepared: Node = self.module.prepared(kernel, self.target)
        self.first: Steps = tuple(self.module.choose(self.prepared, self.target))
        self.scratch = Scratch(device, kernel)
        self.terms = max(
            [math.prod(extent(each) or 64 for each in nest) for _, nest in sums(self.prepared)],
            default=1,
        )

    def run(self) -> Found:
        first = self.module.optimise(self.kernel, self.target, self.first)
        most = max(GROWTH * len(postorder([first])), LEAST_CODE)
        seen = {show(first, sites=False)}
        code = self.device.build(first)
        self.wanted = self.scratch.settle(code)
        best, fastest = self.first, code
        times = self._times(code)
        left = (self.count - 1) * TRIED
        measured = 1
        with progress(self.name, self.count) as advance:
            waiting = neighbours(self.prepared, self.target, best)
            while measured < self.count and left:
                steps = next(waiting, None)
                if steps is None:
                    break
                left -= 1
                made = self._made(steps, most)
                if made is None or (shown := show(made, sites=False)) in seen:
                    continue
                seen.add(shown)
                code = self._checked(steps, made)
                if code is None:
                    continue
                measured += 1
                advance(1)
                if self._better(code, fastest, times):
                    best, fastest = steps, code
                    times = self._times(code)
                    waiting = neighbours(self.prepared, self.target, best)
        return Found(None if best == self.first else best, self.count)

    def _made(self, steps: Steps, most: int) -> Node | None:
        """The kernel that a schedule makes, or None where it does not apply or grows too large."""
        try:
            made: Node = self.module.optimise(self.kernel, self.target, steps)
            verify_kernel(made)
        except (
            Exception
        ):  # neighbours are guesses: whatever a transform says of one, it is no candidate
            return None
        return made if len(postorder([made])) <= most else None

    def _checked(self, steps: Steps, made: Node) -> Any:
        """The code of a schedule, or None where it cannot be built or does not give the result of the first."""
        try:
            code = self.device.build(made)
        except (RuntimeError, ValueError):
            return None
        results = self.scratch.run(code)
        loose = reorders(self.prepared, self.first, steps)
        if results is not None and self._same(results, loose):
            return code
        if results is None or not self._same(results, True):
            listed = ", ".join(map(str, steps))
            warnings.warn(
                f"lazygrad search: kernel {self.name} computes something else by {listed}: left out",
                RuntimeWarning,
                stacklevel=2,
            )
        return None

    def _same(self, results: Sequence[Array], loose: bool) -> bool:
        written = [each for each in parameters(self.kernel) if _is_written(each)]
        for param, found, wanted in zip(written, results, self.wanted, strict=True):
            if found.tobytes() == wanted.tobytes():
                continue
            if not loose:
                return False
            left, right = from_storage(found, param.dtype), from_storage(wanted, param.dtype)
            beyond = excess(param.dtype, left, right, 1.0, self.terms)
            if beyond.size and beyond.max() > 0:
                return False
        return True

    def _times(self, code: Any) -> int:
        """How many launches a timing has."""
        once = min(self.scratch.seconds(code, 1) for _ in range(2))
        return max(1, min(MOST_TIMES, int(PERIOD / max(once, 1e-7))))

    def _better(self, code: Any, best: Any, times: int) -> bool:
        """Whether code is faster than the best: timed in turns with it."""
        own, other = math.inf, math.inf
        self.scratch.seconds(code, 1)
        for number in range(ROUNDS):
            other = min(other, self.scratch.seconds(best, times))
            own = min(own, self.scratch.seconds(code, times))
            if number == 0 and own > HOPELESS * other:
                return False
        return own < BETTER * other


def _is_written(param: Node) -> bool:
    return isinstance(param.arg, Param) and param.arg.role in ("out", "inout")


@contextmanager
def progress(name: str, count: int) -> Iterator[Any]:
    """A bar on standard error where tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda done: None
        return
    with tqdm(total=count, initial=1, desc=f"search {name}", unit="schedule", leave=False) as bar:
        yield bar.update
