"""What is rewritten before blocks of rows are made (blocks.py): results in the order they are read in, no division of a matrix.

In: a simplified graph. Out: a graph of the same values, but that the weights of a softmax are multiplied by the reciprocal of their
sum, which has one element a row: the result differs from a division by less than two units in the last place. Only shifted
exponentials are meant: their sum is 1 at least, so its reciprocal is an ordinary number.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.args import Axes, Reduction
from ..ir.node import Node, constant, postorder
from ..ir.op import Op
from ..ir.rewrite import rebuild, remake
from .blocks import MOVED, between, grows, readers_of


def rewritten(roots: Sequence[Node]) -> list[Node]:
    """The roots of the graph with what stands in large matrices rewritten."""
    order = postorder(roots)
    large = {id(node) for node in order if grows(node)}
    if not large:
        return list(roots)
    readers = readers_of(order)
    members, sinks = between(order, readers, large)

    def make(node: Node, src: tuple[Node, ...]) -> Node:
        if node.op is Op.DIV and id(node) in members:
            return _multiplied(node, src)
        made = remake(node, src)
        if node.op is Op.PERMUTE:
            (inner,) = node.src
            while inner.op is Op.RESHAPE and len(readers[id(inner)]) == 1:
                (inner,) = inner.src
            if id(inner) in sinks and len(readers[id(inner)]) == 1:
                return _permuted(made)
        return made

    return rebuild(roots, lambda node: None, make)


def _multiplied(node: Node, src: tuple[Node, ...]) -> Node:
    """A division by a sum of shifted exponentials as a product with its reciprocal."""
    moved: list[Node] = []
    total = src[1]
    while total.op in MOVED:
        moved.append(total)
        (total,) = total.src
    if not moved or not _shifted(total):
        return remake(node, src)
    factor = constant(1.0, total.dtype, total.shape, total.place) / total
    for each in reversed(moved):
        factor = each.like((factor,))
    return src[0] * factor


def _shifted(total: Node) -> bool:
    """Whether it is a sum of exponentials of differences from a maximum."""
    if total.op is not Op.REDUCE or not isinstance(total.arg, Reduction):
        return False
    power = total.src[0]
    if total.arg.kind != "add" or power.op is not Op.EXP or power.src[0].op is not Op.SUB:
        return False
    top = power.src[0].src[1]
    while top.op in MOVED:
        (top,) = top.src
    return isinstance(top.arg, Reduction) and top.arg.kind == "max"


def _permuted(node: Node) -> Node:
    """A permuted contraction as the contraction of permuted factors."""
    inner = node.src[0]
    while inner.op is Op.RESHAPE:
        (inner,) = inner.src
    product = inner.src[0]
    assert isinstance(node.arg, Axes) and isinstance(inner.arg, Reduction)
    kept = [axis for axis, size in enumerate(inner.shape) if size != 1]
    read = [axis for axis, size in enumerate(node.src[0].shape) if size != 1]
    sizes = [inner.shape[axis] for axis in kept]
    if product.op is not Op.MUL or sizes != [node.src[0].shape[axis] for axis in read]:
        return node
    order = [kept[read.index(axis)] for axis in node.arg.axes if axis in read]
    order += [axis for axis in range(len(inner.shape)) if axis not in order]
    left, right = (factor.permute(order) for factor in product.src)
    axes = tuple(place for place, axis in enumerate(order) if axis in inner.arg.axes)
    made = (left * right).reduce(inner.arg.kind, axes, inner.arg.accumulate)
    return made.reshape(node.shape)


__all__ = ["rewritten"]
