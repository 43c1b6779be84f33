"""Which transforms for a kernel on an NVIDIA GPU: those of every GPU (choose_gpu.py), with matrix instructions.

In: a scalar loop tree. Out: a schedule of transforms. No array is a thread's own: what a thread goes through alone is written out ("unroll").
"""

from __future__ import annotations

from collections.abc import Sequence

from lazygrad.ir.node import Node

from . import choose_gpu
from .choose import Transform
from .choose_gpu import TRANSFORMS, GpuTarget, apply, choose
from .math import expand

ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")


def target(arch: str = "sm_80") -> GpuTarget:
    """A GPU of this architecture."""
    return GpuTarget(
        name=f"cuda-{arch}",
        cpu=arch,
        features=frozenset(),
        vector_bytes=16,
        language="cuda",
        multiplies_matrices=True,
    )


def prepared(kernel: Node, target: GpuTarget) -> Node:
    """The loop tree that a schedule is for: with its grid marked."""
    return choose_gpu.prepared(kernel)


def optimise(kernel: Node, target: GpuTarget, steps: Sequence[Transform] | None = None) -> Node:
    """A schedule applied, the chosen one where none is given; then functions expanded: ready to render.

    Raises:
        ScheduleError: a step that is given cannot be applied.
    """
    kernel = prepared(kernel, target)
    return expand(apply(kernel, choose(kernel, target) if steps is None else steps))


__all__ = ["ARCHITECTURES", "TRANSFORMS", "apply", "choose", "optimise", "prepared", "target"]
