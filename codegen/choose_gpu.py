"""Which transforms for a kernel on a GPU: what CUDA's and OpenCL's share.

In: a scalar loop tree, and what choices depend on of a GPU. Out: its grid, and a schedule of transforms. Contractions are tiled (with matrix instructions for halves where there
are any), scatters are several launches (choose_scatter.py), loops are shared in groups (choose_group.py), and a work-item that does little has neighbouring elements.
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
from .target import Target
from .transform.access import loop_name
from .transform.contraction import contraction, count
from .transform.sink import sink
from .transform.tensorize import of_halves, tensorize
from .transform.tile import NARROW, THREADS, tile
from .transform.wide import wide, widest

LEAST_SIDE = 32
"""Rows and columns that a contraction has before tiles pay, and terms."""
LEAST_TERMS = 16
LEAST_RESULTS = 1 << 13
"""Of one that has fewer rows or columns: each has a group of work-items where there are fewer results."""
BUSY_GROUPS = 128
"""Groups that keep a GPU busy, where each has much to do."""
MOST_WORK = 400
"""Of all elements of a work-item, in operations; a function of mathematics is some."""
FUNCTION_WORK = 20
TRANSFORMS: dict[str, Callable[..., Node]] = {
    **choose_group.TRANSFORMS,
    **STEPS,
    "tile": tile,
    "tensorize": tensorize,
    "wide": wide,
}
"""What a step may be on a GPU."""


@dataclass(frozen=True, slots=True)
class GpuTarget(Target):
    """A GPU, as far as choices depend on it."""

    groups: bool = True
    """Whether its groups may have as many work-items as share loops, and the memory in common that these need."""
    multiplies_matrices: bool = False
    """Whether a warp has instructions for products of matrices of halves."""
    atomic_bytes: int = 8
    """The largest elements that are updated atomically."""
    deterministic: bool = False
    """Whether sums that work-items meet in come out the same each time."""

    @property
    def shares(self) -> bool:
        return self.groups

    @property
    def machine(self) -> cost.Machine:
        """What placement knows of it."""
        return cost.GPU


def prepared(kernel: Node) -> Node:
    """The loop tree that a schedule is for: with its grid marked, of all loops that only loads stand between."""
    kernel = spread(kernel)
    while grid := grid_of(kernel)[0]:
        deeper = spread(sink(kernel, grid[-1]))
        if len(grid_of(deeper)[0]) == len(grid):
            break
        kernel = deeper
    return kernel


def apply(kernel: Node, steps: Sequence[Transform]) -> Node:
    """Run a schedule, in which steps for GPUs may stand.

    Raises:
        ScheduleError: a step cannot be applied to what the steps before it left.
    """
    return general.apply(kernel, steps, TRANSFORMS)


def choose(kernel: Node, target: GpuTarget) -> list[Transform]:
    """The transforms for a kernel whose grid is marked, in the order to apply them."""
    if target.groups and (tiled := _tile(kernel, target)):
        return [*tiled, Transform("accumulate")]
    if scattered := scatter(kernel, target.deterministic, target.atomic_bytes):
        applied = apply(kernel, scattered)
        return choose_alone(scattered, applied, applied)
    front = fronts(kernel)
    kernel = apply(kernel, front)
    if target.groups and (shared := choose_groups(kernel)):
        return [*front, *shared]
    wide = _wide(kernel)
    return [*front, *choose_alone(wide, apply(kernel, wide), kernel)]


def _tile(kernel: Node, target: GpuTarget) -> list[Transform]:
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
    halves = of_halves(found) is not None and (found.is_known or found.is_straight)
    how = "tensorize" if halves and target.multiplies_matrices else "tile"
    across = [
        1 if size <= NARROW[-1] and how == "tile" else size // 128 for size in (rows, columns)
    ]
    large = batches * math.prod(across) >= BUSY_GROUPS
    fits = found.line.src[2].dtype.itemsize <= 4 and found.is_known
    return [Transform(how, loop_name(found.columns[-1]), 128 if large and fits else 64)]


def _wide(kernel: Node) -> list[Transform]:
    """The step that gives a work-item neighbouring elements, where there are many and little is done with each."""
    grid, lines = grid_of(kernel)
    if not grid or math.prod(map(trips, grid)) < MANY_TRIPS:
        return []
    values = postorder([source for line in lines for source in line.src])
    work = sum(FUNCTION_WORK if Op.EXP <= node.op <= Op.DIGAMMA else 1 for node in values)
    lanes = min(widest(kernel, grid[-1]), MOST_WORK // work)
    lanes = 1 << max(lanes, 1).bit_length() - 1
    return [Transform("wide", loop_name(grid[-1]), lanes)] if lanes > 1 else []
