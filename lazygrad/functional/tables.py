"""Rows of a table, and its inverse: embedding, one_hot."""

from __future__ import annotations

from ..ir.dtype import int64
from ..ir.node import iota
from ..ir.node import where as where_node
from ..results import from_node, result, tensor_nodes
from ..tensor import Tensor
from .arguments import (
    sizes_text,
    type_name,
)
from .gathering import index_node, selected
from .registry import NN_FUNCTIONS, function


@function("embedding", method=False, nn=False)
def _module_embedding(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of `weight` that indices list; torch.embedding's order of arguments."""
    return embedding(indices, weight)


@function("nn.embedding", module=False, method=False)
def embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Tensor:  # fmt: skip
    """The rows of a table that indices list, (...) -> (..., width).

    Args:
        input: int64 or int32; weight: (rows, width); padding_idx: a row that gets no gradient.

    Raises:
        IndexError: an index out of range, at the latest when the result is read.

    Same as torch.nn.functional.embedding.
    """
    if weight.ndim != 2:
        raise RuntimeError(f"embedding: 'weight' must be 2-D, got {sizes_text(weight.shape)}")
    if max_norm is not None:
        raise NotImplementedError("embedding: max_norm is not supported")
    (table,) = tensor_nodes(weight)
    positions = index_node("embedding", input, 0)
    rows = selected(table, positions.reshape((input.numel(),)), 0)
    if padding_idx is not None:
        row = padding_idx + int(weight.shape[0]) if padding_idx < 0 else padding_idx
        padded = positions.reshape((input.numel(), 1)).expand(rows.shape).eq(row)
        rows = where_node(padded, rows.stop(), rows)
    made = rows.reshape((*input.shape, weight.shape[1]))
    return result("EmbeddingBackward0", made, (weight,), (input,))


NN_FUNCTIONS["embedding"] = embedding


@function("one_hot", module=False, method=False, nn=True)
def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """1 at each class, 0 elsewhere, int64, (...) -> (..., num_classes).

    Args:
        num_classes: -1 for one more than the largest class, which is then read now.

    Raises:
        RuntimeError: not int64; a class below 0, or not below num_classes (both are read now).

    Same as torch.nn.functional.one_hot.
    """
    from .reductions import aminmax

    if tensor.dtype is not int64:
        raise RuntimeError(
            f"one_hot is only applicable to index tensor of type LongTensor, got {type_name(tensor.dtype)}"
        )
    if not tensor.numel():
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
    else:
        low, high = (int(each.item()) for each in aminmax(tensor))
        if low < 0:
            raise RuntimeError(f"one_hot: Class values must be non-negative, got {low}.")
        if num_classes == -1:
            num_classes = high + 1
        elif high >= num_classes:
            raise RuntimeError(
                f"one_hot: Class values must be smaller than num_classes, got {high} >= {num_classes}."
            )
    (node,) = tensor_nodes(tensor)
    shape = (*node.shape, num_classes)
    classes = (
        iota(num_classes, int64, node.place)
        .reshape((1,) * len(node.shape) + (num_classes,))
        .expand(shape)
    )
    return from_node(node.reshape((*node.shape, 1)).expand(shape).eq(classes).cast(int64))
