"""Which transforms a kernel gets for the shape of its loops alone, whatever they cost: before the others are chosen, and after them.

In: a loop tree. Out: steps. Before: loops in stretches, rows in one loop, loops beside each other as one, blocks that are passed by. After: indices
that are read before anything is written, rows that memory is asked for.
"""

from __future__ import annotations

import math

from lazygrad.ir.args import Loop
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op

from .steps import Transform, apply
from .target import Target
from .transform.access import (
    ScheduleError,
    all_loops,
    body,
    extent,
    lines_inside,
    loop_name,
    loop_named,
)
from .transform.nest import runs_on
from .transform.parallel import parallel_loop
from .transform.partition import stretches
from .transform.prefetch import gathered_rows
from .transform.skip import flag
from .transform.together import parted

PARTED = 256
"""A loop inside others is cut into stretches from so many iterations on."""
SHARED_PART = 1 << 14
"""A loop that threads share is cut into parts of so many iterations, and these into stretches."""
SKIPPED = 32
"""So many iterations are passed by at once where none of them has anything to do."""
TOGETHER = 4
"""So many iterations that write where an index says read and check their indices first."""
LEAST_ROW = 1024
"""Memory is asked for the next row that is gathered from where a row has so many bytes: shorter ones are there soon."""
WRITTEN_LINES = 200
"""How many lines the stretches of a loop may have in all."""


def scattering(kernel: Node) -> list[Transform]:
    """The loops that write where an index says, one element after the other: some indices are read and checked before the writes."""
    found: list[Transform] = []
    for loop, _ in all_loops(kernel):
        assert isinstance(loop.arg, Loop)
        lines = body(loop)
        plain = all(
            line.op in (Op.LOAD, Op.STORE, Op.CHECK) and not line.src[-1].shape for line in lines
        )
        if loop.arg.step != 1 or not plain or (extent(loop) or 0) < TOGETHER or len(lines) > 8:
            continue
        where_to = [line.src[1] for line in lines if line.op is Op.STORE]
        if any(node.op is Op.LOAD for node in postorder(where_to)) and all(parted(loop)):
            found.append(Transform("together", loop_name(loop), TOGETHER))
    return found


def prefetches(kernel: Node, target: Target) -> list[Transform]:
    """The loops of vectors that gather from rows of what no cache holds whole, if a row and the next one stay in the second one."""
    found: list[Transform] = []
    for loop, around in all_loops(kernel):
        assert isinstance(loop.arg, Loop)
        if loop.arg.step == 1:
            continue
        for buffer, _, size in gathered_rows(loop, around):
            row = size * buffer.dtype.itemsize
            sizes = [each if isinstance(each, int) else 0 for each in buffer.shape]
            large = math.prod(sizes) * buffer.dtype.itemsize > target.level2_cache
            if large and LEAST_ROW <= row <= target.level2_cache // 4:
                found.append(Transform("prefetch", loop_name(loop)))
                break
    return found


def partitions(kernel: Node) -> list[Transform]:
    """The long loops that read through masks which their index decides, in stretches: of a part of so many iterations where threads share it."""
    found: list[Transform] = []
    for loop, around in all_loops(kernel):
        size, lines = extent(loop), body(loop)
        if size is None or size < (PARTED if around else 2 * SHARED_PART):
            continue
        if not any(line.op is Op.LOAD and len(line.src) > 2 for line in lines):
            continue
        if 1 < len(stretches(loop)) <= WRITTEN_LINES // len(lines):
            found.append(Transform("partition", loop_name(loop), size if around else SHARED_PART))
    return found


def skips(kernel: Node) -> list[Transform]:
    """The long loops that have next to nothing to do where a flag is not set."""
    return [
        Transform("skip", loop_name(loop), SKIPPED)
        for loop, around in all_loops(kernel)
        if not around and (extent(loop) or 0) >= PARTED and flag(loop) is not None
    ]


def merges(kernel: Node) -> list[Transform]:
    """The loops that reduce rows which lie one behind the other, as one loop over all of them: the ends of the rows cost nothing then."""
    found: list[Transform] = []
    for name in [loop_name(loop) for loop, _ in all_loops(kernel)]:
        loop = next((each for each, _ in all_loops(kernel) if loop_name(each) == name), None)
        while loop is not None and _reduces_rows(loop) and loop is not parallel_loop(kernel):
            found.append(Transform("merge", loop_name(loop)))
            merged = f"{loop_name(loop)}_{loop_name(body(loop)[0])}"
            kernel = apply(kernel, found[-1:])
            loop = loop_named(kernel, merged)
    return found


def _reduces_rows(loop: Node) -> bool:
    """Whether a loop and the one in it do nothing but reduce what lies in one stretch of memory."""
    lines = list(lines_inside(loop))
    nested = len(body(loop)) == 1 and body(loop)[0].op is Op.LOOP
    return (
        nested
        and all(line.op in (Op.LOAD, Op.ACCUMULATE) for line in lines)
        and runs_on(loop, body(loop)[0])
    )


def fusions(kernel: Node) -> list[Transform]:
    """The loops beside each other that reduce the same, as one loop: it is read once."""
    found: list[Transform] = []
    for name in [loop_name(loop) for loop, _ in all_loops(kernel)]:
        while steps := _fused(kernel, name):
            found += steps
            kernel = apply(kernel, steps)
    return found


def _fused(kernel: Node, name: str) -> list[Transform]:
    """What makes one loop of the loop over `name` and the next one, and of the loops in them; nothing where that reads no less."""
    steps: list[Transform] = []
    made, waiting = kernel, [name]
    while waiting:
        step = Transform("fuse", waiting.pop())
        try:
            made = apply(made, [step])
        except ScheduleError:
            continue
        steps.append(step)
        nested = [line for line in body(loop_named(made, step.loop)) if line.op is Op.LOOP]
        waiting += [loop_name(line) for line in nested[:1]]
    loads = [sum(line.op is Op.LOAD for line in lines_inside(each)) for each in (kernel, made)]
    return steps if loads[1] < loads[0] else []


__all__ = ["fusions", "merges", "partitions", "prefetches", "scattering", "skips"]
