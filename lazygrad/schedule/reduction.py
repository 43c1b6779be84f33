"""Simplification rules of reductions, scans and indexing.

A sum of floats may be taken in any order, but not rounded elsewhere: only what is exact is computed without adding. The sign
of a sum that is zero is not specified.
"""

from __future__ import annotations

import math

from ..ir.args import Axis, Reduction, Scan, Sort
from ..ir.build import shrink
from ..ir.dim import product
from ..ir.dtype import bool_, int64
from ..ir.elementwise import identity
from ..ir.node import Node
from ..ir.op import Op
from .algebra import MANTISSA, SIMPLIFY, filled, is_float, number_of
from .movement import padded, refilled


def _reduction(node: Node) -> Reduction:
    assert isinstance(node.arg, Reduction)
    return node.arg


def _reduced(node: Node, source: Node, axes: list[int]) -> Node:
    """The same reduction of another source, over other axes."""
    arg = _reduction(node)
    return source.reduce(arg.kind, axes, arg.accumulate)


@SIMPLIFY.rule(Op.REDUCE)
def reduce_nothing(node: Node) -> Node | None:
    """No elements: what the reduction starts from."""
    if 0 not in node.src[0].shape:
        return None
    return filled(node, identity(_reduction(node).kind, node.dtype))


@SIMPLIFY.rule(Op.REDUCE)
def reduce_single(node: Node) -> Node | None:
    """An axis of size 1 has nothing to reduce, but a sum begins with 0, so that of -0.0 is 0.0."""
    source, arg = node.src[0], _reduction(node)
    axes = [axis for axis in arg.axes if source.shape[axis] != 1]
    if not axes and arg.axes and arg.kind == "add" and is_float(node):
        return source + 0.0
    return _reduced(node, source, axes) if len(axes) < len(arg.axes) else None


@SIMPLIFY.rule(Op.REDUCE)
def reduce_twice(node: Node) -> Node | None:
    """Two reductions of a kind are one, unless the first rounds its result."""
    source, arg = node.src[0], _reduction(node)
    if source.op is not Op.REDUCE or _reduction(source).kind != arg.kind:
        return None
    inner = _reduction(source)
    if arg.kind in ("add", "mul") and inner.accumulate is not source.dtype:
        return None
    return _reduced(node, source.src[0], [*inner.axes, *arg.axes])


@SIMPLIFY.rule(Op.REDUCE)
def reduce_number(node: Node) -> Node | None:
    """Extremes of a number are the number; a sum is a product where no partial sum is rounded."""
    source, arg = node.src[0], _reduction(node)
    if arg.kind in ("max", "min", "and", "or"):
        return refilled(source, node.shape) if source.op in (Op.CONST, Op.ARGUMENT) else None
    value = number_of(source)
    if value is None or not math.isfinite(value) or source.dtype is bool_:
        return None
    if arg.kind == "mul":
        return filled(node, value) if value == 1 else None
    count = product(source.shape[axis] for axis in arg.axes)
    if not isinstance(count, int):
        return None
    total = value * count
    if is_float(node):
        limit = 2 ** min(MANTISSA[node.dtype.name], MANTISSA[arg.accumulate.name])
        if value != int(value) or abs(total) > limit:
            return None
    return filled(node, total)


@SIMPLIFY.rule(Op.REDUCE)
def reduce_repeated(node: Node) -> Node | None:
    """Over an axis that only repeats: an extreme is there already, a sum of integers is a product."""
    source, arg = node.src[0], _reduction(node)
    if source.op is not Op.EXPAND:
        return None
    inner = source.src[0]
    small = padded(inner.shape, len(source.shape))
    repeated = [axis for axis in arg.axes if small[axis] == 1]
    if not repeated:
        return None
    times = 1
    if arg.kind not in ("max", "min", "and", "or"):
        count = product(source.shape[axis] for axis in repeated)
        if arg.kind != "add" or not node.dtype.is_integer or not isinstance(count, int):
            return None
        times = count
    shape = tuple([1 if axis in repeated else n for axis, n in enumerate(source.shape)])
    rest = [axis for axis in arg.axes if axis not in repeated]
    result = _reduced(node, inner.reshape(small).expand(shape), rest)
    return result * times if times != 1 else result


@SIMPLIFY.rule(Op.SCAN)
def scan_single(node: Node) -> Node | None:
    assert isinstance(node.arg, Scan)
    return node.src[0] if node.shape[node.arg.axis] == 1 else None


@SIMPLIFY.rule(Op.SORT)
def sort_single(node: Node) -> Node | None:
    assert isinstance(node.arg, Sort)
    return filled(node, 0) if node.src[0].shape[node.arg.axis] == 1 else None


# --- indexed


@SIMPLIFY.rule(Op.GATHER)
def gather_in_order(node: Node) -> Node | None:
    """The index along the axis itself: the first elements."""
    source, index = node.src
    assert isinstance(node.arg, Axis)
    if index.op is not Op.IOTA or index.arg != node.arg or index.dtype is not int64:
        return None
    if node.shape[node.arg.axis] <= source.shape[node.arg.axis]:
        return shrink(source, (0,) * len(node.shape), node.shape)
    return None


@SIMPLIFY.rule(Op.SCATTER)
def scatter_nothing(node: Node) -> Node | None:
    return node.src[0] if 0 in node.src[1].shape else None
