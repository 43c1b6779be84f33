"""What a kernel moves and computes, and for which lines: counted once, for predictions, profiles and whoever compares them.

In: a KernelGraph. Out: `Traffic`. Sizes may be Dims, which a run makes numbers of.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..ir.dim import Size, product
from ..ir.node import Site
from ..ir.op import ELEMENTWISE, Op
from ..site import line_of
from .cost import work

if TYPE_CHECKING:
    from ..ir.kernel_graph import KernelGraph

LINES = 8
"""How many lines are named at most."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """`bytes`: of the buffers read and written, each once. `flops`: in units of one addition, as the cost model weighs
    functions, each node computed once. `lines`: the user's, as train.py:7."""

    bytes: Size
    flops: Size
    lines: tuple[str, ...]


def traffic(kernel_graph: KernelGraph) -> Traffic:
    """Count a kernel."""
    moved: Size = 0
    for node in (*kernel_graph.inputs, *kernel_graph.results):
        moved += product(node.shape) * node.dtype.itemsize
    computed: Size = 0
    sites: dict[Site, None] = {}
    for node in kernel_graph.inside():
        if node.op in ELEMENTWISE:
            computed += product(node.shape) * work(node)
        elif node.op is Op.REDUCE or node.op is Op.SCAN:
            computed += product(node.src[0].shape)
        if node.site is not None and len(sites) < LINES:
            sites[node.site] = None
    places = {(os.path.basename(site[0].co_filename), line_of(site)) for site in sites}
    return Traffic(moved, computed, tuple([f"{name}:{line}" for name, line in sorted(places)]))
