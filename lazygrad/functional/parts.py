"""Copies of which a part is other: what select, slices, diagonals or positions choose, replaced by values or combined with them.

In: a tensor, and values for a part of it. Out: a new tensor of its shape; the in-place forms change it.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import views
from ..ir.dtype import bool_
from ..ir.node import constant
from ..results import result, result_inplace, tensor_nodes
from ..tensor import Tensor
from . import arguments
from .arguments import Number, as_number, describe_operands, no_kernel, sizes_text, type_name
from .gathering import lines
from .indexing import index_put_, index_put_copy
from .registry import FUNCTIONS, Outcome, function, method, operator
from .scattering import combined
from .shaping import reshape, slice_step

# --- views of copies


def _replaced(name: str, record: str, input: Tensor, src: Tensor, step: views.Step) -> Tensor:
    """A copy of `input` in which `src` stands where a view would show."""
    base, values = tensor_nodes(input, src)
    shown = step.apply(base).shape
    if shown != tuple(src.shape):
        raise RuntimeError(
            f"{name}: expected src to have a size equal to the slice of self. src size = {sizes_text(src.shape)}, slice size = "
            f"{sizes_text(shown)}" + describe_operands(input=input, src=src)
        )
    return result(record, step.write(base, values.cast(base.dtype)), (input, src))


@function("select_scatter", out=True)
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy whose `select(dim, index)` is `src`.

    Raises:
        IndexError: `dim` or `index` is out of range. RuntimeError: `src` has another shape.

    Same as torch.select_scatter.
    """
    if not input.ndim:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    axis = arguments.axis(dim, input.ndim, "select_scatter")
    size = int(input.shape[axis])
    if not -size <= index < size:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {sizes_text(input.shape)} at dimension {dim}"
        )
    step = views.Select(axis, index % size)
    return _replaced("select_scatter", "SelectScatterBackward0", input, src, step)


@function("slice_scatter", out=True)
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1,
) -> Tensor:  # fmt: skip
    """A copy whose slice start:end:step along `dim` is `src`.

    Raises:
        RuntimeError: `step` is not positive; `src` has another shape than the slice.

    Same as torch.slice_scatter.
    """
    axis = arguments.axis(dim, input.ndim, "slice_scatter")
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    first, last, _ = slice(start, end, step).indices(int(input.shape[axis]))
    shown = slice_step(tuple(input.shape), axis, first, max(first, last), step)
    return _replaced("slice_scatter", "SliceScatterBackward0", input, src, shown)


@function("diagonal_scatter", out=True)
def diagonal_scatter(
    input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """A copy whose `diagonal(offset, dim1, dim2)` is `src`.

    Raises:
        RuntimeError: the axes are equal; `src` has another shape. Same as torch.diagonal_scatter.
    """
    axes = [arguments.axis(each, input.ndim, "diagonal_scatter") for each in (dim1, dim2)]
    if axes[0] == axes[1]:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    step = views.Diagonal(offset, *axes)
    return _replaced("diagonal_scatter", "DiagonalScatterBackward0", input, src, step)


@function("as_strided_scatter", out=True)
def as_strided_scatter(
    input: Tensor, src: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None,
) -> Tensor:  # fmt: skip
    """A copy whose `as_strided(size, stride, storage_offset)` is `src`; of elements that are there twice the last one counts.

    Raises:
        RuntimeError: `src` has another shape; elements lie outside of the tensor. Same as torch.as_strided_scatter.
    """
    offset = storage_offset or 0
    reach = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and not 0 <= reach < max(input.numel(), 1):
        raise RuntimeError(
            f"as_strided_scatter: setStorage: sizes {sizes_text(size)}, strides {sizes_text(stride)}, storage offset {offset} are "
            f"out of bounds for storage of {sizes_text(input.shape)}"
        )
    step = views.Strided(tuple(size), tuple(stride), offset)
    return _replaced("as_strided_scatter", "AsStridedScatterBackward0", input, src, step)


@method("fill_diagonal_")
def fill_diagonal_(self: Tensor, fill_value: Number, wrap: bool = False) -> Tensor:
    """Set the elements whose indices are all equal; with `wrap` those of a tall matrix begin again below a row between.

    Raises:
        RuntimeError: fewer than 2 axes; more than 2 that are not of one size.

    Same as torch.Tensor.fill_diagonal_.
    """
    if self.ndim < 2:
        raise RuntimeError("dimensions must larger than 1")
    if self.ndim > 2 and len(set(self.shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    (node,) = tensor_nodes(self)
    shape = [int(n) for n in self.shape]
    distance = sum(views.contiguous(shape))
    count = min(shape)
    if wrap and self.ndim == 2 and shape[0] > shape[1] + 1:
        count = -(-self.numel() // distance)
    value = constant(as_number(fill_value), node.dtype, (count,), node.place)
    made = views.Strided((count,), (distance,), 0).write(node, value)
    return result_inplace("FillDiagonalBackward0", self, made, (self,), ())


# --- positions


@method("put_")
def put_(self: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Put the elements of `source` where `index` says, counting elements row by row; or add them.

    Raises:
        RuntimeError: the index is not int64; dtypes differ; there are not as many elements as places. IndexError: out of range.

    Same as torch.Tensor.put_.
    """
    from .shaping import view

    flat = _put(self, index, source, accumulate)
    return result_inplace("PutBackward0", self, view(flat, tuple(self.shape)).node, (self, source), (index,))  # fmt: skip


@function("put")
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """As `put_`, on a copy. Same as torch.put."""
    return reshape(_put(input, index, source, accumulate), tuple(input.shape))


def _put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool) -> Tensor:
    if index.dtype.name != "int64":
        raise RuntimeError(
            f"put_(): Expected a long tensor for index, but got {type_name(index.dtype)}"
        )
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"put_(): self and source expected to have the same dtype, but got self.dtype = {type_name(input.dtype)} and "
            f"source.dtype = {type_name(source.dtype)}"
        )
    if source.numel() != index.numel():
        raise RuntimeError(
            f"put_(): Expected source and index to have the same number of elements, but got source.numel() = {source.numel()}, "
            f"index.numel() = {index.numel()}"
        )
    if index.numel() and not input.numel():
        raise IndexError("put_(): Tried to put elements into an empty tensor")
    flat, values, places = (reshape(each, (each.numel(),)) for each in (input, source, index))
    return index_put_copy(flat, (places,), values, accumulate)


@operator("index_reduce", inplace=True)
def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Outcome:  # fmt: skip
    """Input with the slices that a vector of indices lists combined with those of `source`.

    Args:
        reduce: "prod", "mean", "amax" or "amin"; include_self: False leaves what is there out.

    Raises:
        RuntimeError: sizes or dtypes do not fit; another `reduce`.

    Same as torch.index_reduce.
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}."
        )
    if input.dtype is not source.dtype:
        raise RuntimeError("index_reduce(): Expected self and source to have the same dtype")
    if input.dtype is bool_ and reduce == "mean":
        raise no_kernel("index_reduce", input.dtype)
    axis = arguments.axis(dim, input.ndim, "index_reduce")
    places, shape = lines("index_reduce", input, axis, index)
    if source.numel() != 0 and (tuple(source.shape) or (1,)) != shape:
        raise RuntimeError(
            f"index_reduce(): Expected source to have size {sizes_text(shape)}, but got {sizes_text(source.shape)}"
            + describe_operands(input=input, source=source)
        )
    node, values = tensor_nodes(input, source)
    base = node.reshape(tuple(input.shape) or (1,))
    made = combined(base, places, values.reshape(shape), axis, reduce, include_self)
    saved = (input, index, source, "result")
    return Outcome("IndexReduceBackward0", made.reshape(node.shape), (input, source), saved)


FUNCTIONS["index_put"] = index_put_copy
FUNCTIONS["index_put_"] = index_put_
