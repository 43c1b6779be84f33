"""Which transforms for a kernel on an OpenCL device.

In: a scalar loop tree. Out: a schedule of the transforms that the CPU has. A device that is a processor gets the CPU's choices, with vectors that
OpenCL has (16 lanes at most): PoCL does not vectorise across work-items around an inner loop. A GPU runs scalar work-items, one for each
trip of its parallel loops, and vectorises by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Literal

from lazygrad.ir.node import Node
from lazygrad.ir.op import Op
from lazygrad.ir.rewrite import rewrite
from lazygrad.schedule import cost

from . import choose as cpu
from . import choose_gpu
from .choose import Transform
from .choose_gpu import GpuTarget
from .math import expand
from .transform.access import (
    ScheduleError,
    all_loops,
    body,
    loop_name,
)
from .transform.parts import parts

LANES = 16
"""The most lanes of a vector of OpenCL."""
TOGETHER = 64
"""The most lanes of a vector that is several of them: sums that run side by side."""
TRANSFORMS = choose_gpu.TRANSFORMS
"""What a step may be: those of GPUs too."""


@dataclass(frozen=True, slots=True)
class OpenClTarget(GpuTarget):
    """An OpenCL device, as far as choices depend on it."""

    kind: Literal["cpu", "gpu"] = "cpu"
    builtin_bytes: int = 128
    """The widest vectors that the driver's built-in functions take: OpenCL's widest have 128 bytes."""

    @property
    def machine(self) -> cost.Machine:
        return cost.GPU if self.kind == "gpu" else cost.DRIVER

    @property
    def shares(self) -> bool:
        return self.kind == "gpu" and self.groups

    @property
    def mapping(self) -> Literal["chunk", "item"]:
        """How parallel loops become the grid (render/c_grid.py)."""
        return "item" if self.kind == "gpu" else "chunk"


def target(kind: str = "cpu", vector_bytes: int = 64) -> OpenClTarget:
    """A device of this kind; what the text of a kernel is for where there is no driver."""
    return OpenClTarget(
        name=f"opencl-{kind}",
        cpu="",
        features=frozenset(),
        vector_bytes=vector_bytes,
        language="opencl",
        kind="gpu" if kind == "gpu" else "cpu",
    )


def choose(kernel: Node, target: OpenClTarget) -> list[Transform]:
    """The transforms for a scalar loop tree, in the order to apply them."""
    if target.kind == "gpu":
        return choose_gpu.choose(kernel, target)
    steps = cpu.choose(kernel, target)
    first = list(takewhile(lambda step: step.name in ("partition", "skip", "merge", "fuse"), steps))
    abreast = {loop_name(loop) for loop, _ in all_loops(apply(kernel, first)) if _adds(loop)}
    return [
        replace(step, factor=_lanes(step.factor, TOGETHER if step.loop in abreast else LANES))
        if step.name == "vectorize"
        else step
        for step in steps
        if step.name not in ("ahead", "prefetch")  # drivers look ahead, or do nothing where asked
    ]


def _adds(loop: Node) -> bool:
    """Whether iterations are steps of sums (or extremes) and nothing more."""
    lines = body(loop)
    alone = all(line.op in (Op.LOAD, Op.ACCUMULATE) for line in lines)
    return alone and any(line.op is Op.ACCUMULATE for line in lines)


def _lanes(wanted: int, most: int) -> int:
    """The most lanes up to `wanted` that a vector may have: a power of two."""
    return min(1 << wanted.bit_length() - 1, most)


def prepared(kernel: Node, target: OpenClTarget) -> Node:
    """The loop tree that a schedule is for: with its grid marked, for a GPU."""
    return choose_gpu.prepared(kernel) if target.kind == "gpu" else kernel


def apply(kernel: Node, steps: Sequence[Transform]) -> Node:
    """Run a schedule.

    Raises:
        ScheduleError: a step cannot be applied to what the steps before it left, or makes vectors that OpenCL has not.
    """
    for number, step in enumerate(steps, 1):
        if step.name in ("vectorize", "transpose") and step.factor != _lanes(
            step.factor, TOGETHER if step.name == "vectorize" else LANES
        ):
            raise ScheduleError(
                f"step {number} of {len(steps)}, {step}: vectors of OpenCL have 2, 4, 8 or 16 lanes, or are two or four of these"
            )
    return cpu.apply(kernel, steps, TRANSFORMS)


def optimise(kernel: Node, target: OpenClTarget, steps: Sequence[Transform] | None = None) -> Node:
    """A schedule applied, the chosen one where none is given; then functions expanded: ready to render.

    Raises:
        ScheduleError: a step that is given cannot be applied.
    """
    kernel = prepared(kernel, target)
    kernel = apply(kernel, choose(kernel, target) if steps is None else steps)
    # PoCL's fma is a call, and what it contracts one lane at a time
    return expand(
        kernel if target.kind == "gpu" else rewrite([parts(kernel, LANES)], cpu.UNFUSED)[0]
    )
