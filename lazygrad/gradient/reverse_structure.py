"""Reverse rules of reductions, scans, movement and indexing: the second half of the table in `reverse.py`.

A movement's cotangent is the inverse movement (PAD and SHRINK undo each other, WINDOW and FOLD, GATHER and SCATTER).
"""

from __future__ import annotations

from ..ir.args import Axes, Axis, Padding, Reduction, Region, Scan, Scatter, Windows
from ..ir.build import copy, fold, gather, pad, scan, scatter, shrink, update, window
from ..ir.dim import Size, product
from ..ir.dtype import int64
from ..ir.node import Node, constant, iota, unary, where
from ..ir.op import Op
from .reverse import REVERSE, Cotangents


def zeros_like(node: Node) -> Node:
    return constant(0, node.dtype, node.shape, node.place)


def along(axis: int, node: Node) -> Node:
    """The index along `axis`, in the shape of `node`."""
    size = node.shape[axis]
    shape = tuple(size if a == axis else 1 for a in range(len(node.shape)))
    return iota(size, int64, node.place).reshape(shape).expand(node.shape)


# --- reduce and scan


@REVERSE.rule(Op.REDUCE)
def reduce_sum(node: Node, cotangent: Node) -> Cotangents | None:
    assert isinstance(node.arg, Reduction)
    if node.arg.kind != "add":
        return None
    return (cotangent.expand(node.src[0].shape),)


@REVERSE.rule(Op.REDUCE)
def reduce_extreme(node: Node, cotangent: Node) -> Cotangents | None:
    """Ties share the cotangent equally (amax, amin)."""
    assert isinstance(node.arg, Reduction)
    if node.arg.kind not in ("max", "min"):
        return None
    source = node.src[0]
    chosen = source.eq(node.expand(source.shape)).cast(source.dtype)
    share = cotangent / chosen.sum(node.arg.axes)
    return (share.expand(source.shape) * chosen,)


@REVERSE.rule(Op.REDUCE)
def reduce_product(node: Node, cotangent: Node) -> Cotangents | None:
    """Each element's cotangent is multiplied by the product of all others, which zeros do not disturb."""
    assert isinstance(node.arg, Reduction)
    if node.arg.kind != "mul":
        return None
    source = node.src[0]
    kept = [axis for axis in range(len(source.shape)) if axis not in node.arg.axes]
    order = [*kept, *node.arg.axes]
    moved = source.permute(order)
    row = product(source.shape[axis] for axis in node.arg.axes)
    flat = moved.reshape((*(source.shape[axis] for axis in kept), row))
    last = len(kept)
    others = exclusive_product(flat, last) * exclusive_product(flat.flip((last,)), last).flip(
        (last,)
    )
    others = others.reshape(moved.shape).permute(_inverse(order))
    return (cotangent.expand(source.shape) * others,)


def exclusive_product(node: Node, axis: int) -> Node:
    """The product of all elements before each, along `axis`."""
    size = node.shape[axis]
    if size == 0:
        return node
    zero = (0,) * len(node.shape)
    before = tuple(int(a == axis) for a in range(len(node.shape)))
    shifted = shrink(pad(node, before, zero, value=1), zero, node.shape)
    return scan(shifted, "mul", axis)


@REVERSE.rule(Op.SCAN)
def running_sum(node: Node, cotangent: Node) -> Cotangents | None:
    assert isinstance(node.arg, Scan)
    if node.arg.kind != "add":
        return None
    return (suffix_sum(cotangent, node.arg.axis),)


def suffix_sum(node: Node, axis: int) -> Node:
    """The sum of each element and all after it, along `axis`."""
    return scan(node.flip((axis,)), "add", axis).flip((axis,))


@REVERSE.rule(Op.SCAN)
def running_extreme(node: Node, cotangent: Node) -> Cotangents | None:
    """All goes to the element that set the record: of ties the last one so far, and a NaN once there is one."""
    assert isinstance(node.arg, Scan)
    if node.arg.kind not in ("max", "min"):
        return None
    holder = record_holder(node)
    return (scatter(zeros_like(node), holder, cotangent, node.arg.axis, "add"),)


def record_holder(node: Node) -> Node:
    """Where the element stands that each element of a running maximum or minimum is."""
    assert isinstance(node.arg, Scan)
    source, axis = node.src[0], node.arg.axis
    record = source.eq(node) | source.ne(source)
    return scan(where(record, along(axis, source), 0), "max", axis)


@REVERSE.rule(Op.SCAN)
def running_product(node: Node, cotangent: Node) -> Cotangents | None:
    """d_i = sum over j >= i of cotangent_j times the product of x_k, k <= j and k != i: a table of n * n running products.

    It divides by nothing, so that zeros are right, in second derivatives too.
    """
    assert isinstance(node.arg, Scan)
    if node.arg.kind != "mul":
        return None
    source, axis = node.src[0], node.arg.axis
    rank = len(source.shape)
    products, later = products_without(source, axis)
    weights = cotangent.reshape((*source.shape, 1)).expand(products.shape)
    terms = where(later, 0.0, products * weights)
    order = [*range(axis), rank, *range(axis + 1, rank)]
    summed = terms.sum((axis,)).permute([*order, axis])
    return (summed.reshape(source.shape),)


def products_without(source: Node, axis: int) -> tuple[Node, Node]:
    """The products of x_k, k <= j and k != i, with j along `axis` and i along a new last axis, and where i > j."""
    rank, size = len(source.shape), source.shape[axis]
    table: tuple[Size, ...] = (*source.shape, size)
    rows = along(axis, constant(0, int64, table, source.place))
    columns = along(rank, constant(0, int64, table, source.place))
    wide = source.reshape((*source.shape, 1)).expand(table)
    return scan(where(rows.eq(columns), 1.0, wide), "mul", axis), rows.lt(columns)


@REVERSE.rule(Op.SCAN)
def running_log_sum(node: Node, cotangent: Node) -> Cotangents | None:
    """d_i = sum over j >= i of cotangent_j * exp(x_i - y_j): positive and negative cotangents apart, so that their logs can be added."""
    assert isinstance(node.arg, Scan)
    if node.arg.kind != "logaddexp":
        return None
    source, axis = node.src[0], node.arg.axis

    def part(weights: Node) -> Node:
        there = weights.gt(0.0)
        logs = where(there, unary(Op.LOG, where(there, weights, 1.0)) - node, float("-inf"))
        later = scan(logs.flip((axis,)), "logaddexp", axis).flip((axis,))
        return unary(Op.EXP, later + source)

    return (part(cotangent) - part(-cotangent),)


# --- movement


@REVERSE.rule(Op.RESHAPE)
def reshape(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent.reshape(node.src[0].shape),)


@REVERSE.rule(Op.PERMUTE)
def permute(node: Node, cotangent: Node) -> Cotangents:
    assert isinstance(node.arg, Axes)
    return (cotangent.permute(_inverse(node.arg.axes)),)


def _inverse(order: tuple[int, ...] | list[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(order)), key=order.__getitem__))


@REVERSE.rule(Op.EXPAND)
def expand(node: Node, cotangent: Node) -> Cotangents:
    source = node.src[0]
    new = len(node.shape) - len(source.shape)
    axes = [
        axis
        for axis, size in enumerate(node.shape)
        if axis < new or source.shape[axis - new] != size
    ]
    return (cotangent.sum(axes).reshape(source.shape),)


@REVERSE.rule(Op.FLIP)
def flip(node: Node, cotangent: Node) -> Cotangents:
    assert isinstance(node.arg, Axes)
    return (cotangent.flip(node.arg.axes),)


@REVERSE.rule(Op.PAD)
def padding(node: Node, cotangent: Node) -> Cotangents:
    assert isinstance(node.arg, Padding)
    steps = [between + 1 for between in node.arg.between]
    return (shrink(cotangent, node.arg.before, node.src[0].shape, steps),)


@REVERSE.rule(Op.SHRINK)
def region(node: Node, cotangent: Node) -> Cotangents:
    assert isinstance(node.arg, Region)
    before: list[Size] = []
    after: list[Size] = []
    between: list[int] = []
    for size, start, step, kept in zip(
        node.src[0].shape, node.arg.starts, node.arg.steps, node.shape, strict=True
    ):
        empty = kept == 0
        stop = 0 if empty else start + (kept - 1) * step + 1
        before.append(0 if empty else start)
        after.append(size - stop)
        between.append(0 if empty else step - 1)
    return (pad(cotangent, before, after, between),)


@REVERSE.rule(Op.WINDOW)
def windows(node: Node, cotangent: Node) -> Cotangents:
    arg = node.arg
    assert isinstance(arg, Windows)
    shape = node.src[0].shape
    return (fold(cotangent, shape, arg.axes, arg.sizes, arg.strides, arg.dilations),)


@REVERSE.rule(Op.FOLD)
def folding(node: Node, cotangent: Node) -> Cotangents:
    arg = node.arg
    assert isinstance(arg, Windows)
    return (window(cotangent, arg.axes, arg.sizes, arg.strides, arg.dilations),)


@REVERSE.rule(Op.COPY)
def copying(node: Node, cotangent: Node) -> Cotangents:
    return (copy(cotangent, node.src[0].place),)


# --- indexed


@REVERSE.rule(Op.GATHER)
def gathering(node: Node, cotangent: Node) -> Cotangents:
    assert isinstance(node.arg, Axis)
    source, index = node.src
    return scatter(zeros_like(source), index, cotangent, node.arg.axis, "add"), None


@REVERSE.rule(Op.SCATTER)
def scatter_add(node: Node, cotangent: Node) -> Cotangents | None:
    assert isinstance(node.arg, Scatter)
    if node.arg.kind != "add":
        return None
    return cotangent, None, gather(cotangent, node.src[1], node.arg.axis)


@REVERSE.rule(Op.SCATTER)
def scatter_set(node: Node, cotangent: Node) -> Cotangents | None:
    """A value that a later one replaces gets the cotangent of its place too, as in PyTorch."""
    assert isinstance(node.arg, Scatter)
    if node.arg.kind != "set":
        return None
    _, index, value = node.src
    axis = node.arg.axis
    return (
        scatter(cotangent, index, zeros_like(value), axis, "set"),
        None,
        gather(cotangent, index, axis),
    )


@REVERSE.rule(Op.SCATTER)
def scatter_extreme(node: Node, cotangent: Node) -> Cotangents | None:
    """All that reach the extreme, the base included, share the cotangent equally."""
    assert isinstance(node.arg, Scatter)
    if node.arg.kind not in ("max", "min"):
        return None
    base, index, value = node.src
    axis = node.arg.axis
    from_base = base.eq(node).cast(node.dtype)
    from_value = value.eq(gather(node, index, axis)).cast(node.dtype)
    share = cotangent / scatter(from_base, index, from_value, axis, "add")
    return from_base * share, None, from_value * gather(share, index, axis)


@REVERSE.rule(Op.SCATTER)
def scatter_product(node: Node, cotangent: Node) -> Cotangents | None:
    """Divides the product by the element; an element that is the only zero of its place is left out of the product instead."""
    assert isinstance(node.arg, Scatter)
    if node.arg.kind != "mul":
        return None
    base, index, value = node.src
    axis = node.arg.axis
    nonzero_base = where(base.eq(0.0), 1.0, base)
    base_cotangent = cotangent * scatter(nonzero_base, index, value, axis, "mul") / nonzero_base

    is_zero = value.eq(0.0)
    zeros_there = gather(
        scatter(zeros_like(base), index, is_zero.cast(node.dtype), axis, "add"), index, axis
    )
    only_zero = is_zero & zeros_there.eq(1.0)
    without = scatter(base, index, where(only_zero, 1.0, value), axis, "mul")
    value_cotangent = where(
        only_zero,
        gather(cotangent * without, index, axis),
        gather(cotangent * node, index, axis) / where(is_zero, 1.0, value),
    )
    return base_cotangent, None, value_cotangent


@REVERSE.rule(Op.UPDATE)
def updating(node: Node, cotangent: Node) -> Cotangents:
    assert isinstance(node.arg, Region)
    value = node.src[1]
    starts, steps = node.arg.starts, node.arg.steps
    return (
        update(cotangent, zeros_like(value), starts, steps),
        shrink(cotangent, starts, value.shape, steps),
    )
