"""Other schedules of a kernel than the one that the cost model chooses: what a search measures.

In: a loop tree and a schedule of it. Out: its neighbours, the more promising first: what the model would choose for a machine with other
vectors and caches, or for the loops in another order; then single steps with other factors, left out, or added. A neighbour need not apply: who
tries it finds out. `reorders` says whether two schedules may add up in different orders, so that their results may differ in rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from lazygrad.ir.args import Accumulate
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op

from .choose import Transform, rests
from .schedule_text import chooser
from .target import Target
from .transform.access import (
    ScheduleError,
    Stride,
    all_loops,
    body,
    carries,
    extent,
    lines_inside,
    loop_name,
)
from .transform.parallel import parallel_loop

Schedule = tuple[Transform, ...]

TARGETS: tuple[dict[str, float], ...] = (
    {"vector_bytes": 0.5},
    {"vector_bytes": 2},
    {"level2_cache": 0.5},
    {"level2_cache": 2},
    {"level2_cache": 0.25},
    {"level1_cache": 4},
    {"level1_cache": 0.25},
    {"vector_bytes": 0.5, "level2_cache": 0.5},
)
"""Machines that the model is asked about beside the real one, as multiples of its sizes."""
FACTORS = (2.0, 0.5, 1.5, 0.75)
"""What factors of single steps are multiplied by."""
TOGETHER = {"vectorize": "pack", "jam": "pack"}
"""Panels are packed as wide as they are read: those factors change together where they are the same."""
PARTS = (1, 4, 16, 64)
"""Iterations of the loop that threads share which are made one: how finely work is shared out."""
JAMS = (2, 4, 8)
ORDERED = frozenset(("share", "prefix", "tile", "tensorize"))
"""Steps that change the order of every sum."""


def neighbours(kernel: Node, target: Target, steps: Schedule) -> Iterator[Schedule]:
    """Schedules near `steps`, each once; `kernel` is `prepared`."""
    seen = {steps}
    changed = itertools.chain(
        _other_factors(steps), _without_steps(steps), _with_steps(kernel, steps)
    )
    for found in itertools.chain(
        _other_machines(kernel, target),
        _other_orders(kernel, target),
        (_completed(kernel, target, each) for each in changed),
    ):
        if found not in seen:
            seen.add(found)
            yield found


def _completed(kernel: Node, target: Target, steps: Schedule) -> Schedule:
    """The schedule with the steps for what its others leave over of loops: those were for what another one left over."""
    own = [step for step in steps if "_rest" not in step.loop and step.name != "accumulate"]
    try:
        made = chooser(target.language).apply(kernel, own)
    except ScheduleError:
        return steps  # it does not apply, whatever follows
    return (*own, *rests(made, own), Transform("accumulate"))


def _chosen(kernel: Node, target: Target) -> Schedule | None:
    """What the model chooses, or None where it cannot do with such a kernel."""
    try:
        return tuple(chooser(target.language).choose(kernel, target))
    except (ScheduleError, ValueError, ArithmeticError):
        return None


def _other_machines(kernel: Node, target: Target) -> Iterator[Schedule]:
    for change in TARGETS:
        sizes: dict[str, Any] = {
            name: max(int(getattr(target, name) * factor), 16) for name, factor in change.items()
        }
        found = _chosen(kernel, replace(target, **sizes))
        if found is not None:
            yield found


def _other_orders(kernel: Node, target: Target) -> Iterator[Schedule]:
    """Two loops change places, or become one, and the model chooses for what that gives."""
    module = chooser(target.language)
    for loop, _ in all_loops(kernel):
        if sum(line.op is Op.LOOP for line in body(loop)) != 1:
            continue
        for name in ("interchange", "merge"):
            step = Transform(name, loop_name(loop))
            try:
                moved = module.apply(kernel, [step])
            except ScheduleError:
                continue
            found = _chosen(moved, target)
            if found is not None:
                yield (step, *found)


def _other_factors(steps: Schedule) -> Iterator[Schedule]:
    for times in FACTORS:
        for number, step in enumerate(steps):
            factor = int(step.factor * times)
            if not step.factor or factor < 1 or factor == step.factor:
                continue
            beside = TOGETHER.get(step.name)
            yield tuple(
                replace(each, factor=factor)
                if n == number or (each.name == beside and each.factor == step.factor)
                else each
                for n, each in enumerate(steps)
            )


def _without_steps(steps: Schedule) -> Iterator[Schedule]:
    for number, step in enumerate(steps):
        if step.name != "accumulate":
            yield (*steps[:number], *steps[number + 1 :])


def _with_steps(kernel: Node, steps: Schedule) -> Iterator[Schedule]:
    """Finer or coarser work for threads, and loops that are jammed around what is vectorized."""
    outer = parallel_loop(kernel)
    if outer is not None and steps[0].name != "divide":
        trips = extent(outer)
        for part in PARTS:
            if trips is None or part * 2 <= trips:
                yield (Transform("divide", loop_name(outer), part), *steps)
    named = {step.loop for step in steps}
    for loop, _ in all_loops(kernel):
        if loop_name(loop) in named or carries(loop):
            continue
        for factor in JAMS:
            yield (Transform("jam", loop_name(loop), factor), *steps)


# --- the order of sums


def sums(kernel: Node) -> list[tuple[Node, list[Node]]]:
    """The steps of sums and products of floats in a kernel, each with the loops whose iterations it adds up."""
    found: list[tuple[Node, list[Node]]] = []
    for loop, around in all_loops(kernel):
        for line in body(loop):
            if line.op is not Op.ACCUMULATE or line.src[0].dtype.kind != "float":
                continue
            assert isinstance(line.arg, Accumulate)
            if line.arg.kind in ("add", "mul"):
                nest = (*around, loop)
                still = [each for each in nest if Stride(each.src[0])(line.src[1]) == 0]
                found.append((line, [each for each in still if not _declares(each, line.src[0])]))
    return found


def _declares(loop: Node, buffer: Node) -> bool:
    """Whether each iteration of a loop has a buffer of its own."""
    return any(line is buffer for line in lines_inside(loop))


def reorders(kernel: Node, first: Sequence[Transform], second: Sequence[Transform]) -> bool:
    """Whether two schedules of a kernel may add up in different orders; if not, their results are equal to the last bit."""
    names = {loop_name(loop) for _, nest in sums(kernel) for loop in nest}
    if not names:
        return False

    def touching(steps: Sequence[Transform]) -> list[Transform]:
        return [
            step
            for step in steps
            if step.name in ORDERED or not names.isdisjoint(step.loop.split("_"))
        ]

    return touching(first) != touching(second)
