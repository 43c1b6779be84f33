"""Order statistics: median, nanmedian, quantile, nanquantile."""

from __future__ import annotations

import math
from typing import Any, overload

from ..gradient.reverse_structure import along
from ..ir.build import gather
from ..ir.composite import call
from ..ir.dtype import float32, float64, int64
from ..ir.node import Node, constant, unary, where
from ..ir.op import Op
from ..results import from_node, result, tensor_nodes
from ..tensor import Tensor
from . import arguments
from .arguments import describe_operands
from .numeric_limits import iinfo
from .registry import Outcome, function, operator, write_out
from .return_types import Median, Nanmedian, Pair
from .sorting import Out, chosen, lifted, ordering, reduced_axis, require_kernel

INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


# --- medians


@overload
def median(input: Tensor) -> Tensor: ...
@overload
def median(input: Tensor, dim: int, keepdim: bool = False, *, out: Out = None) -> Pair: ...
@function("median")
def median(input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Out = None) -> Any:
    """The middle element, the lower of two; with `dim`, along it, as (values, indices). NaN if there is one.

    Without `dim`, equal elements share the gradient.

    Raises:
        IndexError: `dim` is out of range or has no elements.

    Same as torch.median.
    """
    require_kernel("median", input)
    if dim is None:
        return _median_of_all(input)
    return _median_along(Median, "MedianBackward1", input, dim, keepdim, False, out)


@overload
def nanmedian(input: Tensor) -> Tensor: ...
@overload
def nanmedian(input: Tensor, dim: int, keepdim: bool = False, *, out: Out = None) -> Pair: ...
@function("nanmedian")
def nanmedian(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Out = None
) -> Any:
    """The middle of the elements that are not NaN; see `median`. Same as torch.nanmedian."""
    require_kernel("nanmedian", input)
    if dim is None:
        return _nanmedian_of_all(input)
    return _median_along(Nanmedian, "NanmedianBackward1", input, dim, keepdim, True, out)


def _median_along(
    kind: Any, grad_name: str, input: Tensor, dim: int, keepdim: bool, skip: bool, out: Out
) -> Pair:
    axis = reduced_axis(kind.__name__, input, dim)
    (node,) = tensor_nodes(input.detach())
    index = _median_index(lifted(node), axis, skip)
    return chosen(kind, grad_name, input, index, axis, keepdim, out)


def _median_index(node: Node, axis: int, skip: bool) -> Node:
    """Where the median stands along `axis`, which stays with size 1. With a NaN, and unless they are skipped, the first one."""
    size = node.shape[axis]
    assert isinstance(size, int)
    if node.dtype.kind != "float" or not skip:
        middle = ordering(node, axis, first=(size - 1) // 2, count=1)
        if node.dtype.kind != "float":
            return middle
        first = where(node.ne(node), along(axis, node), size).reduce("min", (axis,))
        return where(first.lt(size), first, middle)
    numbers = node.eq(node).cast(int64).sum((axis,))  # NaNs come after them
    return gather(ordering(node, axis), where(numbers.gt(0), (numbers - 1) // 2, 0), axis)


def _median_outcome(name: str, input: Tensor, skip: bool) -> Outcome:
    node, still = tensor_nodes(input, input.detach())
    if not input.numel():
        value = math.nan if input.dtype.kind == "float" else iinfo(input.dtype).min
        return Outcome(name, constant(value, input.dtype, (), input.place), (input,))
    flat = still.reshape((input.numel(),))
    found = gather(flat, _median_index(flat, 0, skip), 0).reshape(())
    if input.dtype.kind == "float":
        found = call("one_of", [node, found], like=found)
    return Outcome(name, found, (input,), (input, "result"))


@operator("median_of_all", module=False, method=False)
def _median_of_all(input: Tensor) -> Outcome:
    """The median of all elements."""
    return _median_outcome("MedianBackward0", input, False)


@operator("nanmedian_of_all", module=False, method=False)
def _nanmedian_of_all(input: Tensor) -> Outcome:
    """The median of all elements that are not NaN."""
    return _median_outcome("NanmedianBackward0", input, True)


# --- quantiles


@function("quantile")
def quantile(
    input: Tensor, q: float | Tensor, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear", out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The value below which a share `q` of the elements lies, over `dim` or of all; NaN where there is one.

    Args:
        input: float32 or float64; q: in [0, 1], a number, or a tensor of input's dtype, () or (n,).
        interpolation: what to take between two elements: "linear", "lower", "higher", "midpoint" or "nearest".

    Returns: the reduced shape; for a vector `q` with a first axis of n.

    Raises:
        RuntimeError: a dtype, `q` or `interpolation` is not one of these; there are no elements.
        IndexError: `dim` is out of range.

    Same as torch.quantile.
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False, out)


@function("nanquantile")
def nanquantile(
    input: Tensor, q: float | Tensor, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear", out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """As `quantile`, of the elements that are not NaN. Same as torch.nanquantile."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True, out)


def _quantile(
    name: str, input: Tensor, q: float | Tensor, dim: int | None, keepdim: bool, interpolation: str,
    skip: bool, out: Tensor | None,
) -> Tensor:  # fmt: skip
    axis = 0 if dim is None else arguments.axis(dim, input.ndim, name)
    if isinstance(q, Tensor):
        shares = q
    else:
        q = float(arguments.as_number(q))
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q:g}")
        shares = from_node(
            constant(q, input.dtype if input.dtype.kind == "float" else float32, (), input.place)
        )
    _check_quantile(name, input, shares, interpolation)
    node, wanted = tensor_nodes(input, shares)
    if dim is None:
        node = node.reshape((input.numel(),))
    wide = lifted(node)
    if wide.shape[axis] == 0:
        raise IndexError(f"{name}(): Expected reduction dim {axis} to have non-zero size.")
    values = _quantiles(wide, lifted(wanted), axis, interpolation, skip)
    shape = list(values.shape[1:])
    if dim is None and keepdim:
        shape = [1] * input.ndim
    elif not keepdim or not input.ndim:
        shape = shape[:axis] + shape[axis + 1 :]
    values = values.reshape((*wanted.shape, *shape))
    inputs = (input, shares if isinstance(q, Tensor) else None)
    outcome = Outcome("SqueezeBackward4", values, inputs, (input,))
    return result(*outcome) if out is None else write_out(name, outcome, out)


def _quantiles(node: Node, shares: Node, axis: int, interpolation: str, skip: bool) -> Node:
    """The quantiles along `axis`, which stays with size 1, on a new first axis."""
    count, size = shares.shape[0], node.shape[axis]
    assert isinstance(size, int)
    ordered = gather(node, ordering(node, axis), axis)
    row = tuple([1 if a == axis else n for a, n in enumerate(node.shape)])
    shape = (count, *row)
    share = shares.reshape((count, *[1] * len(row))).expand(shape)
    numbers = node.eq(node).cast(int64).sum((axis,)).expand(shape)
    if skip:
        rank = (share * (numbers - 1).cast(node.dtype)).maximum(0.0)
    else:
        rank = where(numbers.lt(size), float(size - 1), share * float(size - 1))
    source = ordered.reshape((1, *ordered.shape)).expand((count, *ordered.shape))

    def at(place: Node) -> Node:
        return gather(source, place.cast(int64), axis + 1)

    if interpolation == "lower":
        return at(unary(Op.FLOOR, rank))
    if interpolation == "higher":
        return at(unary(Op.CEIL, rank))
    if interpolation == "nearest":
        return at(unary(Op.ROUND, rank))
    floor = unary(Op.FLOOR, rank)
    below, above = at(floor), at(unary(Op.CEIL, rank))
    weight = (
        constant(0.5, node.dtype, shape, node.place)
        if interpolation == "midpoint"
        else rank - floor
    )
    return where(
        weight.lt(0.5), below + weight * (above - below), above - (above - below) * (1.0 - weight)
    )


def _check_quantile(name: str, input: Tensor, q: Tensor, interpolation: str) -> None:
    if input.dtype not in (float32, float64):
        raise RuntimeError(
            f"{name}() input tensor must be either float or double dtype"
            + describe_operands(input=input)
        )
    if q.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor" + describe_operands(q=q))
    if q.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}() q tensor must be same dtype as the input tensor"
            + describe_operands(input=input, q=q)
        )
    if q.place != input.place:
        raise RuntimeError(f"{name}() q tensor must be on the same device as the input tensor")
    if not input.numel():
        raise RuntimeError(
            f"{name}() input tensor must be non-empty" + describe_operands(input=input)
        )
    if interpolation not in INTERPOLATIONS:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    if q.storage.node.op is not Op.CONST and not bool((q.ge(0) & q.le(1)).all()):
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
