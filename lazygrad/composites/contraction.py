"""Contractions: products of two operands summed over the axes that they share, as movement, MUL and REDUCE.

There is no contraction operation in the IR: matmul, linear, bmm, dot and einsum are built here, and the scheduler recognises a
contraction from its index maps. The gradients follow from movement, MUL and REDUCE, and are contractions again.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.dim import Size
from ..ir.node import Node, accumulation

Label = str | int


def contract(
    left: Node,
    right: Node,
    left_labels: Sequence[Label],
    right_labels: Sequence[Label],
    result_labels: Sequence[Label],
) -> Node:
    """The product of two nodes whose axes have labels, summed over the labels that the result does not have.

    Axes with one label are the same axis, of one size, or of size 1 in one of the operands. Half types are multiplied and summed
    in float32 and rounded once.
    """
    sizes: dict[Label, Size] = {}
    for labels, node in ((left_labels, left), (right_labels, right)):
        for label, size in zip(labels, node.shape, strict=True):
            if sizes.get(label, 1) == 1:
                sizes[label] = size
    summed = [label for label in sizes if label not in result_labels]
    order = [*result_labels, *summed]
    shape = tuple(sizes[label] for label in order)
    dtype = left.dtype
    wide = accumulation(dtype)
    terms = _aligned(left.cast(wide), left_labels, order).expand(shape) * _aligned(
        right.cast(wide), right_labels, order
    ).expand(shape)
    total = terms.sum(range(len(result_labels), len(order)))
    return total.reshape(shape[: len(result_labels)]).cast(dtype)


def _aligned(node: Node, labels: Sequence[Label], order: Sequence[Label]) -> Node:
    """The node's axes in `order`, with size 1 for the labels that it does not have."""
    present = [label for label in order if label in labels]
    moved = node.permute([labels.index(label) for label in present])
    sizes = dict(zip(present, moved.shape, strict=True))
    return moved.reshape([sizes.get(label, 1) for label in order])


def matmul(left: Node, right: Node) -> Node:
    """The matrix product as numpy's and PyTorch's matmul: vectors are rows on the left, columns on the right; leading axes broadcast."""
    batch = max(len(left.shape), len(right.shape), 2) - 2
    return contract(
        left,
        right,
        _matrix_labels(len(left.shape), batch, ("row", "inner"), ("inner",)),
        _matrix_labels(len(right.shape), batch, ("inner", "column"), ("inner",)),
        [
            *range(batch),
            *(("row",) if len(left.shape) > 1 else ()),
            *(("column",) if len(right.shape) > 1 else ()),
        ],
    )


def _matrix_labels(
    rank: int, batch: int, matrix: tuple[Label, ...], vector: tuple[Label, ...]
) -> list[Label]:
    return list(vector) if rank == 1 else [*range(batch - (rank - 2), batch), *matrix]
