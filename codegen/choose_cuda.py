"""Which transforms for a kernel on an NVIDIA GPU.

In: a scalar loop tree. Out: a schedule of transforms. Contractions are tiled (with matrix instructions for halves), scatters are several launches (choose_scatter.py), loops are
shared as on every GPU (choose_group.py), and a thread that does little has neighbouring elements. No array is a thread's own: what a thread goes through alone is written out ("unroll").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op
from lazygrad.schedule import cost

from . import choose as general
from . import choose_group
from .choose import Transform
from .choose_group import MANY_TRIPS, choose_alone, choose_groups, grid_of, spread, trips
from .choose_scatter import STEPS, fronts, scatter
from .math import expand
from .target import Target
from .transform.access import loop_name
from .transform.contraction import contraction, count
from .transform.sink import sink
from .transform.tensorize import of_halves, tensorize
from .transform.tile import NARROW, THREADS, tile
from .transform.wide import wide, widest

ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
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


@dataclass(frozen=True, slots=True)
class CudaTarget(Target):
    """A GPU, as far as choices depend on it."""

    deterministic: bool = False
    """Whether sums that threads meet in come out the same each time."""

    @property
    def shares(self) -> bool:
        return True

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
    while grid := grid_of(kernel)[0]:
        deeper = spread(sink(kernel, grid[-1]))
        if len(grid_of(deeper)[0]) == len(grid):
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
    **choose_group.TRANSFORMS,
    **STEPS,
    "tile": tile,
    "tensorize": tensorize,
    "wide": wide,
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
        applied = apply(kernel, scattered)
        return choose_alone(scattered, applied, applied)
    front = fronts(kernel)
    kernel = apply(kernel, front)
    if shared := choose_groups(kernel):
        return [*front, *shared]
    wide = _wide(kernel)
    return [*front, *choose_alone(wide, apply(kernel, wide), kernel)]


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
    grid, lines = grid_of(kernel)
    if not grid or math.prod(map(trips, grid)) < MANY_TRIPS:
        return []
    values = postorder([source for line in lines for source in line.src])
    work = sum(FUNCTION_WORK if Op.EXP <= node.op <= Op.DIGAMMA else 1 for node in values)
    lanes = min(widest(kernel, grid[-1]), MOST_WORK // work)
    lanes = 1 << max(lanes, 1).bit_length() - 1
    return [Transform("wide", loop_name(grid[-1]), lanes)] if lanes > 1 else []
