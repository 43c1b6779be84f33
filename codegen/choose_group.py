"""Which loops the work-items of a GPU share, and what each of them does alone: what every GPU has in common.

In: a scalar loop tree. Out: its grid, which is the parallel loops from the outermost inwards, and steps of a schedule. What a trip of the grid has to do, one work-item does
alone where neighbours then read neighbouring memory; or a group of them shares its loops ("share", "prefix"), where these go along the memory, go through
an array that then is the group's, or are long where trips are few. What a work-item goes through alone is written out ("unroll"), or summed in parts ("cascade").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set

from lazygrad.ir.args import Loop
from lazygrad.ir.dim import product
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op

from . import choose as general
from .choose import Transform, apply
from .transform.access import (
    ScheduleError,
    Stride,
    all_loops,
    body,
    carries,
    extent,
    lines_inside,
    loop_name,
    loop_named,
    replace_loop,
)
from .transform.cascade import SUMMED, running
from .transform.contraction import contraction
from .transform.nest import merge
from .transform.parallel import parallel_loop
from .transform.prefix import prefix, stretch_of
from .transform.share import LEAST_THREADS, group_size, obstacle, outside_writes, share
from .transform.unroll import unroll

TYPICAL_EXTENT = 1024
"""What a loop of unknown extent is taken for."""
MANY_TRIPS = 1 << 14
"""Trips of the grid that keep a GPU busy, a work-item each."""
UNROLLED = 16
"""The most iterations of a loop that is written out."""
MOST_LINES = 64
"""The most lines that loops may become which are written out."""
TRANSFORMS: dict[str, Callable[..., Node]] = {
    **general.TRANSFORMS,
    "share": share,
    "prefix": prefix,
    "unroll": unroll,
}
"""What a step may be on any GPU."""


def spread(kernel: Node) -> Node:
    """Mark as parallel each loop that the parallel loop holds alone, while its iterations are independent: all of them are the grid."""
    outer = parallel_loop(kernel)
    while outer is not None:
        lines = body(outer)
        if len(lines) != 1 or lines[0].op is not Op.LOOP or not _independent(lines[0]):
            break
        inner = lines[0]
        assert isinstance(inner.arg, Loop)
        marked = Node(
            Op.LOOP, inner.src, inner.dtype, inner.shape, Loop(inner.arg.step, "parallel")
        )
        kernel = replace_loop(kernel, inner, [marked])
        outer = marked
    return kernel


def _independent(loop: Node) -> bool:
    """Whether no iteration touches what another one writes."""
    if carries(loop):
        return False
    return all(
        line.op is Op.STORE and moves not in (0, None) for line, moves in outside_writes(loop)
    )


def choose_groups(kernel: Node) -> list[Transform]:
    """The transforms where a group of work-items does a trip of the grid better than one alone; none where it does not."""
    steps: list[Transform] = []
    inside = grid_of(kernel)[1]
    nests = [
        line
        for line in inside
        if isinstance(line.arg, Loop) and line.arg.kind != "parallel" and not group_size(line)
    ]
    merged = kernel
    for nest in nests:
        merged, chosen = _share(merged, nest)
        steps += chosen
    shared = [step.loop for step in steps if step.name in ("share", "prefix")]
    grouped = group_size(kernel) > 0  # rows are sorted so
    if not grouped and (not shared or not _pays(merged, shared, nests)):
        return []
    return choose_alone(steps, apply(kernel, steps, TRANSFORMS), merged, shared)


def choose_alone(
    steps: list[Transform], applied: Node, merged: Node, shared: Sequence[str] = ()
) -> list[Transform]:
    """Some steps, and then what a work-item does alone: its long sums in parts, its short loops written out. `applied` is the kernel after the steps, `merged` has the loops that are left."""
    if contraction(merged) is None:
        steps = [*steps, *cascades(applied)]
    short = (loop_name(loop) for loop in _short_loops(merged))
    unrolled = [Transform("unroll", name) for name in short if name not in shared]
    return [*steps, *unrolled, Transform("accumulate")]


def _share(kernel: Node, nest: Node) -> tuple[Node, list[Transform]]:
    """The steps that share the loop of a nest which goes along memory, or is the longest; loops that can be one are merged first."""
    if scanned := _scan(kernel, nest):
        return kernel, scanned
    merged, nest, steps = _merged(kernel, nest)
    sharable = [loop for loop, _ in all_loops(nest) if not obstacle(loop)]
    if not sharable:
        return kernel, []
    best = max(sharable, key=lambda loop: (_along(loop) * min(trips(loop), 256), trips(loop)))
    if trips(best) < LEAST_THREADS:
        return kernel, []
    return merged, [*steps, Transform("share", loop_name(best))]


def _merged(kernel: Node, nest: Node) -> tuple[Node, Node, list[Transform]]:
    """The kernel and the nest with each loop merged with the one that it holds alone, the inner ones first, where a group can share what they become; and the steps."""
    steps: list[Transform] = []
    names = {loop_name(loop) for loop, _ in all_loops(kernel)}
    refused: set[str] = set()
    while True:
        inner_first = [loop for loop, _ in all_loops(nest)][::-1]
        loop = next((each for each in inner_first if _holds_one(each, refused)), None)
        if loop is None:
            return kernel, nest, steps
        try:
            merged = merge(kernel, loop_name(loop))
        except ScheduleError:
            refused.add(loop_name(loop))
            continue
        found = next(each for each, _ in all_loops(merged) if loop_name(each) not in names)
        if obstacle(found):
            refused.add(loop_name(loop))
            continue
        steps.append(Transform("merge", loop_name(loop)))
        nest = found if loop is nest else loop_named(merged, loop_name(nest))
        kernel, names = merged, {loop_name(each) for each, _ in all_loops(merged)}


def _holds_one(loop: Node, refused: Set[str]) -> bool:
    """Whether a loop holds nothing but another one, of an extent that is known: a division by a number that is not is a call, which takes memory."""
    lines = body(loop)
    alone = len(lines) == 1 and lines[0].op is Op.LOOP and extent(lines[0]) is not None
    return alone and loop_name(loop) not in refused


def _scan(kernel: Node, nest: Node) -> list[Transform]:
    """The step that divides a loop of a nest which has a running value."""
    for loop, _ in all_loops(nest):
        if trips(loop) >= LEAST_THREADS and (stretch := stretch_of(loop)):
            return [Transform("prefix", loop_name(loop), stretch)]
    return []


def _pays(kernel: Node, shared: list[str], nests: list[Node]) -> bool:
    """Whether a group of threads does a trip of the grid better than one thread."""
    grid, outside = grid_of(kernel)
    loops = {loop_name(loop): loop for loop, _ in all_loops(kernel)}
    long = [nest for nest in nests if math.prod(_sizes(nest)) >= LEAST_THREADS]
    if len(shared) < len(long):
        return False  # what is left would be done by every thread
    if any(line.op is Op.LOCAL and not _is_small(line) for line in outside):
        return True
    whole = math.prod(map(trips, grid))
    found = [loops[name] for name in shared if name in loops]
    along = sum(_along(loop, loop, grid[-1] if grid else None) for loop in found)
    across = sum(_along(grid[-1], loop) for loop in found) if grid else 0
    return along >= across or whole < MANY_TRIPS


def _along(loop: Node, within: Node | None = None, trip: Node | None = None) -> int:
    """How many of the loads in a loop (of those `within` another one in it) read the next element in its next iteration. With `trip`, those that all trips of it share count nothing."""
    stride = Stride(loop.src[0])
    apart = Stride(trip.src[0]) if trip is not None else None
    lines = list(lines_inside(within or loop))
    return sum(
        line.op is Op.LOAD
        and line.src[0].op is Op.PARAM
        and stride(line.src[1]) == 1
        and (apart is None or apart(line.src[1]) != 0)
        for line in lines
    )


def cascades(kernel: Node) -> list[Transform]:
    """For a GPU: long running sums in parts, and parts of parts, of what one thread adds.

    Sums of products that results share are left as they are: their error is bounded by their length.
    """
    if contraction(kernel) is not None:
        return []
    threads = group_size(kernel)
    found: list[Transform] = []
    for loop, _ in all_loops(kernel):
        if not running(loop):
            continue
        assert isinstance(loop.arg, Loop)
        size, together = extent(loop), threads if loop.arg.kind == "threads" else 1
        within = _terms(loop, threads)
        if size is None:
            sizes = [max(4 * SUMMED // within, 1) * together]
        else:
            sizes = [max(SUMMED**power // within, 1) * together for power in (3, 2, 1)]
            sizes = [each for each in sizes if 4 * each <= size]
        found += [Transform("cascade", loop_name(loop), each) for each in dict.fromkeys(sizes)]
    return found


def _terms(loop: Node, threads: int) -> int:
    """How many terms a thread adds in one iteration to what it adds to in all of them. Recursion is over the depth of the loop nest only."""
    targets = {id(each) for each in running(loop)}
    most = 1
    for line in body(loop):
        if line.op is Op.LOOP and targets & {id(each) for each in running(line)}:
            assert isinstance(line.arg, Loop)
            size = extent(line) or 1
            turns = -(-size // threads) if line.arg.kind == "threads" else size
            most = max(most, min(turns * _terms(line, threads), 4 * SUMMED))  # more are in parts
    return most


def _short_loops(kernel: Node) -> list[Node]:
    """The loops of few iterations that go through arrays, the inner ones first where not all of them can be written out."""
    found: list[Node] = []
    written: dict[int, int] = {}
    for loop in reversed([loop for loop, _ in all_loops(kernel)]):
        assert isinstance(loop.arg, Loop)
        size, stride = extent(loop), Stride(loop.src[0])
        lines = sum(written.get(id(line), 1) for line in body(loop))
        written[id(loop)] = lines
        if loop.arg.kind != "serial" or size is None or size > UNROLLED or group_size(loop):
            continue
        if size * lines > MOST_LINES:
            continue
        if any(
            line.op in (Op.LOAD, Op.STORE, Op.ACCUMULATE)
            and line.src[0].op is Op.LOCAL
            and stride(line.src[1]) != 0
            for line in lines_inside(loop)
        ):
            found.append(loop)
            written[id(loop)] = size * lines
    return found[::-1]


def grid_of(kernel: Node) -> tuple[list[Node], tuple[Node, ...]]:
    """The loops that are the grid, and the lines of one of its trips."""
    loop = parallel_loop(kernel)
    found: list[Node] = []
    lines = body(kernel)
    while loop is not None:
        found.append(loop)
        lines = body(loop)
        last = lines[0] if len(lines) == 1 and lines[0].op is Op.LOOP else None
        parallel = last is not None and isinstance(last.arg, Loop) and last.arg.kind == "parallel"
        loop = last if parallel else None
    return found, lines


def trips(loop: Node) -> int:
    """How many trips a loop has, a common number where that is not known."""
    assert isinstance(loop.arg, Loop)
    return -(-(extent(loop) or TYPICAL_EXTENT) // loop.arg.step)


def _sizes(nest: Node) -> list[int]:
    return [trips(loop) for loop, _ in all_loops(nest)]


def _is_small(line: Node) -> bool:
    size = product(line.shape)
    return isinstance(size, int) and size <= UNROLLED
