"""The type that a composite computes in, and sizes as numbers."""

from __future__ import annotations

from ..ir.build import shrink
from ..ir.dim import Size, product
from ..ir.node import Node, accumulation, constant, iota


def wide(node: Node) -> Node:
    """The node in the type that sums of it have: float32 for half types."""
    return node.cast(accumulation(node.dtype))


def number(size: Size, like: Node) -> Node:
    """`size` in every element of a node like `like`.

    A size that is only known when the plan runs is the last index of an axis that long, plus one.
    """
    if isinstance(size, int):
        return constant(size, like.dtype, like.shape, like.place)
    last = shrink(iota(size, place=like.place), (size - 1,), (1,))
    return (last + 1).cast(like.dtype).reshape(()).expand(like.shape)


def count(node: Node, axes: tuple[int, ...]) -> Size:
    """The number of elements along `axes`."""
    return product(node.shape[axis] for axis in axes)


def every(node: Node) -> tuple[int, ...]:
    """All axes of a node."""
    return tuple(range(len(node.shape)))
