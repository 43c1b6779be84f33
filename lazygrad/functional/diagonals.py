"""Triangles, diagonals, and differences: tril, triu, diag, diag_embed, trace, diff."""

from __future__ import annotations

from typing import Any

from .. import views
from ..ir.build import pad as pad_node
from ..ir.dtype import DType, bool_, int64
from ..ir.node import iota, where
from ..results import result, tensor_nodes
from ..tensor import Tensor
from . import arguments
from .arguments import (
    describe_operands,
)
from .registry import Outcome, function, operator
from .shaping import clone, reshape, slice_axis, view


def _triangle(name: str, input: Tensor, diagonal: int, lower: bool) -> Outcome:
    if input.ndim < 2:
        raise RuntimeError(
            f"{name}: input tensor must have at least 2 dimensions" + describe_operands(input=input)
        )
    (node,) = tensor_nodes(input)
    shape, rank = node.shape, len(node.shape)
    rows = (
        iota(shape[-2], int64, node.place).reshape((1,) * (rank - 2) + (shape[-2], 1)).expand(shape)
    )
    columns = (
        iota(shape[-1], int64, node.place).reshape((1,) * (rank - 1) + (shape[-1],)).expand(shape)
    )
    distance = columns - rows
    kept = distance.le(diagonal) if lower else distance.ge(diagonal)
    node = kept & node if node.dtype is bool_ else where(kept, node, 0)
    return Outcome(f"{name.capitalize()}Backward0", node, (input,))


@operator("tril", inplace=True)
def tril(input: Tensor, diagonal: int = 0) -> Outcome:
    """What is on and below a diagonal; 0 elsewhere. Same as torch.tril."""
    return _triangle("tril", input, diagonal, True)


@operator("triu", inplace=True)
def triu(input: Tensor, diagonal: int = 0) -> Outcome:
    """What is on and above a diagonal; 0 elsewhere. Same as torch.triu."""
    return _triangle("triu", input, diagonal, False)


def _triangle_indices(
    row: int, col: int, offset: int, lower: bool, dtype: DType | None, device: Any
) -> Tensor:
    from .creation import tensor

    pairs = [
        (r, c)
        for r in range(row)
        for c in range(col)
        if (c - r <= offset if lower else c - r >= offset)
    ]
    return view(
        tensor([[r for r, _ in pairs], [c for _, c in pairs]], dtype=dtype or int64, device=device),
        (2, len(pairs)),
    )


@function("tril_indices", method=False)
def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: DType | None = None, device: Any = None
) -> Tensor:
    """Rows and columns of the lower triangle of a matrix, (2, n). Same as torch.tril_indices."""
    return _triangle_indices(row, col, offset, True, dtype, device)


@function("triu_indices", method=False)
def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: DType | None = None, device: Any = None
) -> Tensor:
    """Rows and columns of the upper triangle of a matrix, (2, n). Same as torch.triu_indices."""
    return _triangle_indices(row, col, offset, False, dtype, device)


@operator("diag_embed")
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Outcome:
    """Matrices with the last axis on a diagonal, zeros elsewhere, in the axes `dim1` and `dim2`. Same as torch.diag_embed."""
    (node,) = tensor_nodes(input)
    rank = len(node.shape) + 1
    first, second = (
        arguments.axis(dim1, rank, "diag_embed"),
        arguments.axis(dim2, rank, "diag_embed"),
    )
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    length = int(node.shape[-1])  # type: ignore[arg-type]
    size = length + abs(offset)
    before, after = (offset, 0) if offset >= 0 else (0, -offset)
    row = pad_node(node, (0,) * (rank - 2) + (before,), (0,) * (rank - 2) + (after,))
    shape = (*node.shape[:-1], size, size)
    rows = iota(size, int64, node.place).reshape((1,) * (rank - 2) + (size, 1)).expand(shape)
    columns = iota(size, int64, node.place).reshape((1,) * (rank - 1) + (size,)).expand(shape)
    spread = row.reshape((*node.shape[:-1], 1, size)).expand(shape)
    kept = (columns - rows).eq(offset)
    made = kept & spread if node.dtype is bool_ else where(kept, spread, 0)
    rest = iter(range(rank - 2))
    axes = [
        rank - 2 if a == first else rank - 1 if a == second else next(rest) for a in range(rank)
    ]
    return Outcome("DiagEmbedBackward0", made.permute(axes), (input,))


@function("diag", out=True)
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, as a copy; or a matrix with a vector on its diagonal. Same as torch.diag."""
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim != 2:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")
    (node,) = tensor_nodes(input)
    return result("DiagonalBackward0_copy", views.Diagonal(diagonal, 0, 1).apply(node), (input,))


@function("diagflat")
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with all elements on its diagonal. Same as torch.diagflat."""
    return diag_embed(reshape(input, (input.numel(),)), offset)


@operator("trace")
def trace(input: Tensor) -> Outcome:
    """The sum of a matrix's diagonal. Same as torch.trace."""
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    (node,) = tensor_nodes(input)
    node = views.Diagonal(0, 0, 1).apply(node)
    if node.dtype.kind != "float":
        node = node.cast(int64)
    return Outcome("TraceBackward0", node.sum((0,)).reshape(()), (input,))


@function("diff", out=True)
def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """The differences of neighbours along an axis, n times over; of bools whether they differ.

    Args:
        prepend, append: what is put before and after the input along the axis first.

    Raises:
        RuntimeError: n is negative; a 0-d tensor; sizes of what is put before or after differ.

    Same as torch.diff.
    """
    from .arithmetic import sub
    from .comparison import logical_xor
    from .joining import cat

    if not input.ndim:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"diff: order must be non-negative but got {n}")
    axis = arguments.axis(dim, input.ndim, "diff")
    around = [each for each in (prepend, input, append) if each is not None]
    for each in around:
        if each.ndim != input.ndim:
            raise RuntimeError(
                "diff expects prepend or append to be the same dimension as input, but got "
                f"{each.ndim} and {input.ndim} dimensions"
            )
    if n == 0:
        return clone(input)
    if len(around) > 1:
        input = cat(around, axis)
    subtract = logical_xor if input.dtype is bool_ else sub
    for _ in range(min(n, int(input.shape[axis]))):
        size = int(input.shape[axis])
        input = subtract(
            slice_axis(input, axis, min(1, size), size, 1),
            slice_axis(input, axis, 0, max(size - 1, 0), 1),
        )
    return input
