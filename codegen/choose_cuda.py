"""Which transforms for a kernel on an NVIDIA GPU.

In: a scalar loop tree. Out: a schedule of transforms. The parallel loops, from the outermost inwards, are the grid. What a trip of it has to do, one thread does
alone where neighbouring threads then read neighbouring memory; or a group of threads shares its loops ("share"), where these go along the memory, go through
an array that then is the group's, or are long where trips are few. No array is a thread's own: what a thread goes through alone is written out ("unroll").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

from lazygrad.ir.args import Loop
from lazygrad.ir.dim import product
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op
from lazygrad.schedule import cost

from . import choose as general
from .choose import Transform
from .choose_opencl import cascades, spread
from .choose_scatter import scatter
from .math import expand
from .target import Target
from .transform.access import (
    ScheduleError,
    Stride,
    all_loops,
    body,
    extent,
    lines_inside,
    loop_name,
    loop_named,
)
from .transform.contraction import contraction, count
from .transform.launches import grid
from .transform.nest import merge
from .transform.parallel import parallel_loop
from .transform.prefix import prefix, stretch_of
from .transform.scatter import atomic, distribute, owned, winner
from .transform.share import LEAST_THREADS, group_size, obstacle, share
from .transform.sink import sink
from .transform.tensorize import of_halves, tensorize
from .transform.tile import NARROW, THREADS, tile
from .transform.unroll import unroll
from .transform.wide import wide, widest

ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
TYPICAL_EXTENT = 1024
"""What a loop of unknown extent is taken for."""
MANY_TRIPS = 1 << 14
"""Trips of the grid that keep a GPU busy, a thread each."""
LEAST_SIDE = 32
"""Rows and columns that a contraction has before tiles pay, and terms."""
LEAST_TERMS = 16
LEAST_RESULTS = 1 << 13
"""Of one that has fewer rows or columns: each has a group of threads where there are fewer results."""
BUSY_BLOCKS = 128
"""Blocks that keep a GPU busy, where each has much to do."""
MOST_WORK = 400
"""Of all elements of a thread, in operations; a function of mathematics is some."""
FUNCTION_WORK = 20
UNROLLED = 16
"""The most iterations of a loop that is written out."""
MOST_LINES = 64
"""The most lines that loops may become which are written out."""


@dataclass(frozen=True, slots=True)
class CudaTarget(Target):
    """A GPU, as far as choices depend on it."""

    deterministic: bool = False
    """Whether sums that threads meet in come out the same each time."""

    @property
    def machine(self) -> cost.Machine:
        """What placement knows of it."""
        return cost.GPU


def target(arch: str = "sm_80") -> CudaTarget:
    """A GPU of this architecture."""
    return CudaTarget(
        name=f"cuda-{arch}", cpu=arch, features=frozenset(), vector_bytes=16, language="cuda"
    )


def prepared(kernel: Node, target: CudaTarget) -> Node:
    """The loop tree that a schedule is for: with its grid marked, of all loops that only loads stand between."""
    kernel = spread(kernel)
    while grid := _grid(kernel)[0]:
        deeper = spread(sink(kernel, grid[-1]))
        if len(_grid(deeper)[0]) == len(grid):
            break
        kernel = deeper
    return kernel


def optimise(kernel: Node, target: CudaTarget, steps: Sequence[Transform] | None = None) -> Node:
    """A schedule applied, the chosen one where none is given; then functions expanded: ready to render.

    Raises:
        ScheduleError: a step that is given cannot be applied.
    """
    kernel = prepared(kernel, target)
    return expand(apply(kernel, choose(kernel, target) if steps is None else steps))


TRANSFORMS: dict[str, Callable[..., Node]] = {
    **general.TRANSFORMS,
    "share": share,
    "prefix": prefix,
    "tile": tile,
    "tensorize": tensorize,
    "wide": wide,
    "unroll": unroll,
    "distribute": distribute,
    "grid": grid,
    "atomic": atomic,
    "owned": owned,
    "winner": winner,
}
"""What a step may be: those for GPUs too."""


def apply(kernel: Node, steps: Sequence[Transform]) -> Node:
    """Run a schedule, in which steps for GPUs may stand.

    Raises:
        ScheduleError: a step cannot be applied to what the steps before it left.
    """
    return general.apply(kernel, steps, TRANSFORMS)


def choose(kernel: Node, target: CudaTarget) -> list[Transform]:
    """The transforms for a kernel whose grid is marked, in the order to apply them."""
    if tiled := _tile(kernel):
        return [*tiled, Transform("accumulate")]
    if scattered := scatter(kernel, target.deterministic):
        return choose_alone(kernel, scattered, apply(kernel, scattered))
    return choose_groups(kernel) or choose_alone(kernel, _wide(kernel))


def choose_groups(kernel: Node) -> list[Transform]:
    """The transforms where a group of work-items does a trip of the grid better than one alone; none where it does not."""
    steps: list[Transform] = []
    inside = _grid(kernel)[1]
    nests = [line for line in inside if line.op is Op.LOOP and not group_size(line)]
    merged = kernel
    for nest in nests:
        merged, chosen = _share(merged, nest)
        steps += chosen
    shared = [step.loop for step in steps if step.name in ("share", "prefix")]
    grouped = group_size(kernel) > 0  # rows are sorted so
    if not grouped and (not shared or not _pays(merged, shared, nests)):
        return []
    return choose_alone(kernel, steps, merged, shared)


def choose_alone(
    kernel: Node, steps: list[Transform], merged: Node | None = None, shared: Sequence[str] = ()
) -> list[Transform]:
    """Some steps, and then what a work-item does alone: its long sums in parts, its short loops written out. `merged` has the loops that are left."""
    if contraction(kernel) is None:
        steps = [*steps, *cascades(apply(kernel, steps))]
    short = (loop_name(loop) for loop in _short_loops(merged or kernel))
    unrolled = [Transform("unroll", name) for name in short if name not in shared]
    return [*steps, *unrolled, Transform("accumulate")]


def _tile(kernel: Node) -> list[Transform]:
    """The step that tiles a contraction, where it is large enough: for matrix instructions if it is one of halves, with larger tiles where these keep a GPU busy."""
    found = contraction(kernel)
    if found is None:
        return []
    rows, columns, terms = found.size
    batches = count(found.outer)
    narrow = min(rows, columns) < LEAST_SIDE
    few = rows * columns < THREADS or batches * rows * columns < LEAST_RESULTS
    if terms < LEAST_TERMS or (narrow and few):
        return []
    how = "tile" if of_halves(found) is None else "tensorize"
    across = [
        1 if size <= NARROW[-1] and how == "tile" else size // 128 for size in (rows, columns)
    ]
    large = batches * math.prod(across) >= BUSY_BLOCKS
    fits = found.line.src[2].dtype.itemsize <= 4
    return [Transform(how, loop_name(found.columns[-1]), 128 if large and fits else 64)]


def _wide(kernel: Node) -> list[Transform]:
    """The step that gives a thread neighbouring elements, where there are many and little is done with each."""
    grid, lines = _grid(kernel)
    if not grid or math.prod(map(_size, grid)) < MANY_TRIPS:
        return []
    values = postorder([source for line in lines for source in line.src])
    work = sum(FUNCTION_WORK if Op.EXP <= node.op <= Op.DIGAMMA else 1 for node in values)
    lanes = min(widest(kernel, grid[-1]), MOST_WORK // work)
    lanes = 1 << max(lanes, 1).bit_length() - 1
    return [Transform("wide", loop_name(grid[-1]), lanes)] if lanes > 1 else []


def _grid(kernel: Node) -> tuple[list[Node], tuple[Node, ...]]:
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


def _share(kernel: Node, nest: Node) -> tuple[Node, list[Transform]]:
    """The steps that share the loop of a nest which goes along memory, or is the longest; loops that can be one are merged first."""
    if scanned := _scan(kernel, nest):
        return kernel, scanned
    merged, nest, steps = _merged(kernel, nest)
    sharable = [loop for loop, _ in all_loops(nest) if not obstacle(loop)]
    if not sharable:
        return kernel, []
    best = max(sharable, key=lambda loop: (_along(loop) * min(_size(loop), 256), _size(loop)))
    if _size(best) < LEAST_THREADS:
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
        if _size(loop) >= LEAST_THREADS and (stretch := stretch_of(loop)):
            return [Transform("prefix", loop_name(loop), stretch)]
    return []


def _pays(kernel: Node, shared: list[str], nests: list[Node]) -> bool:
    """Whether a group of threads does a trip of the grid better than one thread."""
    grid, outside = _grid(kernel)
    loops = {loop_name(loop): loop for loop, _ in all_loops(kernel)}
    long = [nest for nest in nests if math.prod(_sizes(nest)) >= LEAST_THREADS]
    if len(shared) < len(long):
        return False  # what is left would be done by every thread
    if any(line.op is Op.LOCAL and not _is_small(line) for line in outside):
        return True
    trips = math.prod(_size(loop) for loop in grid)
    along = sum(_along(loops[name]) for name in shared if name in loops)
    across = sum(_along(grid[-1], loops[name]) for name in shared if name in loops) if grid else 0
    return along >= across or trips < MANY_TRIPS


def _along(loop: Node, within: Node | None = None) -> int:
    """How many of the loads in a loop (of those `within` another one in it) read the next element in its next iteration."""
    stride = Stride(loop.src[0])
    lines = list(lines_inside(within or loop))
    return sum(
        line.op is Op.LOAD and line.src[0].op is Op.PARAM and stride(line.src[1]) == 1
        for line in lines
    )


def _size(loop: Node) -> int:
    assert isinstance(loop.arg, Loop)
    return -(-(extent(loop) or TYPICAL_EXTENT) // loop.arg.step)


def _sizes(nest: Node) -> list[int]:
    return [_size(loop) for loop, _ in all_loops(nest)]


def _is_small(line: Node) -> bool:
    size = product(line.shape)
    return isinstance(size, int) and size <= UNROLLED


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
