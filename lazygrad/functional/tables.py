"""Rows of a table, and its inverse: embedding, one_hot."""

from __future__ import annotations

from ..ir import composite
from ..ir.build import gather as gather_node
from ..ir.build import scatter as scatter_node
from ..ir.dtype import int32, int64
from ..ir.node import constant, iota
from ..ir.node import where as where_node
from ..results import from_node, result, tensor_nodes
from ..tensor import Tensor
from .arguments import describe_operands, sizes_text, type_name
from .gathering import index_node, selected
from .reductions import extremes
from .registry import NN_FUNCTIONS, function


@function("embedding", method=False)
def _module_embedding(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of `weight` that indices list; torch.embedding's order of arguments, no padding below 0."""
    padding = padding_idx if padding_idx >= 0 else None
    return embedding(indices, weight, padding, None, 2.0, scale_grad_by_freq, sparse)


@function("nn.embedding", module=False, method=False)
def embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Tensor:  # fmt: skip
    """The rows of a table that indices list, (...) -> (..., width).

    Args:
        input: int64 or int32; weight: (rows, width).
        padding_idx: a row that gets no gradient; negative from the end.
        max_norm: the listed rows of `weight` whose `norm_type`-norm is larger are first scaled to it, in place.
        scale_grad_by_freq: divide the gradient of a row by the number of times that it is listed.

    Raises:
        IndexError: an index out of range, at the latest when the result is read.
        RuntimeError: `input` holds no indices; `weight` is no matrix.
        AssertionError: `padding_idx` is no row.
        NotImplementedError: `sparse`: there are no sparse gradients.

    Same as torch.nn.functional.embedding. Backward adds the gradients of a row in the order of its indices.
    """
    if input.dtype not in (int64, int32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            f"{type_name(input.dtype)} instead (while checking arguments for embedding)"
            + describe_operands(indices=input)
        )
    if weight.ndim != 2:
        raise RuntimeError(
            f"embedding: 'weight' must be 2-D, got {sizes_text(weight.shape)}"
            + describe_operands(weight=weight)
        )
    if sparse:
        raise NotImplementedError(
            "embedding: sparse gradients do not exist here; pass sparse=False (gradients are dense)"
        )
    rows = int(weight.shape[0])
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise AssertionError(
                f"Padding_idx must be within num_embeddings: {padding_idx}, {rows}"
            )
        padding_idx %= rows
    if max_norm is not None:
        _limit_rows(weight, input, float(max_norm), float(norm_type))
    count = input.numel()
    (table,) = tensor_nodes(weight)
    positions = index_node("embedding", input, 0).reshape((count,))
    found = selected(table, positions, 0)
    if scale_grad_by_freq:
        zeros, ones = (
            constant(n, table.dtype, (size,), table.place) for n, size in ((0, rows), (1, count))
        )
        times = gather_node(scatter_node(zeros, positions, ones, 0), positions, 0)
        share = (1.0 / times).reshape((count, 1)).expand(found.shape)
        found = composite.call("scale_gradient", [found, share], like=found)
    if padding_idx is not None:
        padded = positions.reshape((count, 1)).expand(found.shape).eq(padding_idx)
        kept = where_node(padded, 0.0, constant(1, table.dtype, found.shape, table.place))
        found = composite.call("scale_gradient", [found, kept], like=found)
    made = found.reshape((*input.shape, weight.shape[1]))
    return result("EmbeddingBackward0", made, (weight,), (input,))


def _limit_rows(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows that are listed to a norm of at most `max_norm`, in place and unrecorded. One listed twice is written twice alike."""
    from .gathering import index_copy, index_select, where
    from .reductions import norm

    table, flat = weight.detach(), index.reshape(-1)
    rows = index_select(table, 0, flat)
    lengths = norm(rows, norm_type, -1, True)
    scaled = where(lengths > max_norm, rows * (max_norm / (lengths + 1e-7)), rows)
    table.copy_(index_copy(table, 0, flat, scaled))


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
    if tensor.dtype is not int64:
        raise RuntimeError(
            f"one_hot is only applicable to index tensor of type LongTensor, got {type_name(tensor.dtype)}"
        )
    if not tensor.numel():
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
    else:
        low, high = extremes(tensor_nodes(tensor)[0])
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
