"""Large scans of few rows in three steps, for a GPU: the totals of parts of a row, a scan of these, and scans of the parts, each from what is in front of it.

In: a simplified graph. Out: a graph that computes the same; sums are associated otherwise. The parts depend on shapes alone, as those of reductions do (divide.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir.args import Scan
from ..ir.build import pad, scan, shrink
from ..ir.node import Node, iota, where
from ..ir.op import Op
from ..ir.rewrite import rebuild, remake
from .divide import COMBINE

LEAST_LENGTH = 1 << 16
"""A group of threads scans a shorter row as soon as three kernels would."""
PART_ELEMENTS = 1 << 12
"""A part that a group scans, a block of it, has at least so many elements."""
GROUPS = 1 << 10
"""Parts that keep a GPU busy, a group of threads each."""
NEIGHBOURS = 8
"""So many elements beside each other, one of each row, are read together: threads that have a row each are neighbours in memory."""
THREADS = 1 << 16
"""Parts that keep a GPU busy, a thread each."""
MANY_ROWS = 1 << 14
"""Rows that keep a GPU busy, a thread each."""
LEAST_TERMS = 32
"""A part that a thread scans has at least so many elements."""
LEAST_ELEMENTS = 1 << 17
"""Of all rows, for a thread each."""


def divide_scans(roots: Sequence[Node]) -> list[Node]:
    """The roots with every large scan of few rows in three steps."""

    def make(node: Node, src: tuple[Node, ...]) -> Node:
        made = remake(node, src)
        return _divided(made) if made.op is Op.SCAN else made

    return rebuild(roots, lambda node: node if node.value is not None else None, make)


def _divided(node: Node) -> Node:
    source, arg = node.src[0], node.arg
    assert isinstance(arg, Scan)
    sizes = [size for size in node.shape if isinstance(size, int)]
    if len(sizes) < len(node.shape) or arg.kind not in COMBINE or not all(sizes):
        return node
    wanted = _parts(sizes, arg.axis)
    if wanted < 2:
        return node
    size = sizes[arg.axis]
    parts = next((n for n in range(wanted, wanted // 2, -1) if size % n == 0), wanted)
    length = -(-size // parts)
    parts = -(-size // length)
    rest = parts * length - size
    site = node.site
    if rest:  # nothing reads what is behind the end
        after = [rest if axis == arg.axis else 0 for axis in range(len(sizes))]
        source = pad(source, [0] * len(sizes), after)
    if source.dtype is not arg.accumulate:
        source = source.cast(arg.accumulate)
    made = _in_parts(source, node, arg, parts, length)
    if rest:
        made = shrink(made, [0] * len(sizes), sizes)
    made.site = site
    return made


def _parts(sizes: Sequence[int], axis: int) -> int:
    """How many parts the rows along an axis are divided into; none where they keep a GPU busy as they are, or are short."""
    size = sizes[axis]
    rows = math.prod(sizes) // size
    if math.prod(sizes[axis + 1 :]) < NEIGHBOURS:
        if size < LEAST_LENGTH:
            return 0
        return min(size // PART_ELEMENTS, GROUPS // rows)
    if size * rows < LEAST_ELEMENTS or rows >= MANY_ROWS:
        return 0
    return min(size // LEAST_TERMS, THREADS // rows)


def _in_parts(source: Node, node: Node, arg: Scan, parts: int, length: int) -> Node:
    axis, shape = arg.axis, list(source.shape)
    cut = source.reshape([*shape[:axis], parts, length, *shape[axis + 1 :]])
    totals = cut.reduce(arg.kind, (axis + 1,), arg.accumulate)  # type: ignore[arg-type]
    totals = scan(totals, arg.kind, axis, arg.accumulate)
    last = list(totals.shape)
    last[axis] = parts - 1
    none = [0] * len(last)
    before = list(none)
    before[axis] = 1
    front = pad(shrink(totals, none, last), before, none).expand(cut.shape)
    begins = _along(parts, axis, cut).ne(0) & _along(length, axis + 1, cut).eq(0)
    met = Node(COMBINE[arg.kind], (front, cut), cut.dtype, cut.shape)
    entry = where(begins, met, cut)
    whole = Node(Op.SCAN, (entry,), node.dtype, cut.shape, Scan(arg.kind, axis + 1, arg.accumulate))
    return whole.reshape(shape)


def _along(size: int, axis: int, node: Node) -> Node:
    """0, 1, 2, ... along an axis of a node's shape."""
    shape = [size if number == axis else 1 for number in range(len(node.shape))]
    return iota(size, place=node.place).reshape(shape).expand(node.shape)


__all__ = ["divide_scans"]
