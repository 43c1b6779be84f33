"""Counting: bincount, histc, unique, unique_consecutive.

How many bins or distinct elements there are is a shape: bincount and unique read it when they are called.
"""

from __future__ import annotations

import math
from typing import Any

from ..ir import build
from ..ir.build import gather, pad, scan, scatter, shrink
from ..ir.dtype import bool_, float32, float64, int64
from ..ir.node import Node, constant, iota, where
from ..results import from_node, result, tensor_nodes
from ..tensor import Tensor
from . import arguments
from .arguments import describe_operands, integer, no_kernel
from .indexing import true_positions
from .reductions import extremes
from .registry import Outcome, function, operator
from .sorting import begins, order_keys, ordering


@function("bincount")
def bincount(input: Tensor, weights: Tensor | None = None, minlength: Any = 0) -> Tensor:
    """How often each of 0, 1, 2, ... stands in `input`, or the sum of the weights at those places.

    Args:
        input: non-negative integers, (n,); weights: (n,); minlength: the result has at least as many elements.

    Returns: int64; with weights float32 if they are, else float64.

    Raises:
        RuntimeError: the input has another rank or a negative element; the weights have another shape; `minlength` is negative.

    Same as torch.bincount.
    """
    minlength = integer("bincount", "minlength", minlength)
    if minlength < 0:
        raise RuntimeError(f"bincount: minlength should be >= 0, not {minlength}")
    if input.dtype is bool_ or input.dtype.kind == "float":
        raise no_kernel("bincount", input.dtype)
    count = input.numel()
    problem = "bincount only supports 1-d non-negative integral inputs."
    if input.ndim != 1 and not (input.ndim == 2 and not count):
        raise RuntimeError(problem + describe_operands(input=input))
    if weights is not None and (weights.ndim != 1 or weights.numel() != count):
        raise RuntimeError(
            "bincount: weights should be 1-d and have the same length as input"
            + describe_operands(input=input, weights=weights)
        )
    size = minlength
    (node,) = tensor_nodes(input)
    node = node.reshape((count,)).cast(int64)
    if count:
        least, most = extremes(node)
        if least < 0:
            raise RuntimeError(problem + describe_operands(input=input))
        size = max(size, most + 1)
    if weights is None:
        values = constant(1, int64, (count,), input.place)
    else:
        (values,) = tensor_nodes(weights.detach())
        values = values.cast(float32 if weights.dtype is float32 else float64)
    base = constant(0, values.dtype, (size,), input.place)
    return result("NotImplemented", scatter(base, node, values, 0, "add"), ())


@operator("histc")
def histc(input: Tensor, bins: Any = 100, min: Any = 0, max: Any = 0) -> Outcome:
    """How many elements lie in each of `bins` buckets of equal width between `min` and `max`; the others are not counted.

    Args:
        min, max: if they are equal, the smallest and the largest element.

    Raises:
        RuntimeError: `bins` is not positive; `max` is below `min`; the smallest or largest element is not finite.

    Same as torch.histc.
    """
    bins = integer("histc", "bins", bins)
    if input.dtype.kind != "float":
        raise no_kernel("histogram", input.dtype)
    if bins <= 0:
        raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
    low, high = (float(arguments.as_number(each)) for each in (min, max))
    count = input.numel()
    (node,) = tensor_nodes(input.detach())
    node = node.reshape((count,))
    if low == high and count:
        low, high = map(float, extremes(node))
    if low == high:
        low, high = low - 1.0, high + 1.0
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(
            f"torch.histc: range of [{low:g}, {high:g}] is not finite"
            + describe_operands(input=input)
        )
    if low > high:
        raise RuntimeError("torch.histc: max must be larger than min")
    inside = node.ge(low) & node.le(high)
    place = ((node - low) * float(bins) / (high - low)).cast(int64)
    place = where(inside & place.lt(bins), place, bins - 1)
    counted = inside.cast(float64 if node.dtype is float64 else float32)
    base = constant(0.0, counted.dtype, (bins,), input.place)
    found = scatter(base, place, counted, 0, "add")
    return Outcome("NotImplemented", found.cast(input.dtype), ())


# --- distinct elements


@function("unique")
def unique(
    input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
    dim: int | None = None,
) -> Any:  # fmt: skip
    """The distinct elements in order, or with `dim` the distinct slices along it.

    Args:
        sorted: they are in order in any case; return_inverse: also where each element of the input is in the result;
            return_counts: also how often each is there.

    Raises:
        IndexError: `dim` is out of range. RuntimeError: slices without elements.

    Same as torch.unique. How many there are is read now.
    """
    return _distinct(
        "Unique2Backward0", "UniqueDimBackward0", input, True, return_inverse, return_counts, dim
    )


@function("unique_consecutive")
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements that differ from the one before them; see `unique`. Same as torch.unique_consecutive."""
    name = "UniqueConsecutiveBackward0"
    return _distinct(
        name, "UniqueDimConsecutiveBackward0", input, False, return_inverse, return_counts, dim
    )


def _distinct(
    name: str, name_along: str, input: Tensor, ordered: bool, inverse: bool, counts: bool, dim: int | None
) -> Any:  # fmt: skip
    (node,) = tensor_nodes(input)
    if dim is None:
        axis, shape = 0, tuple(input.shape)
        node = node.reshape((input.numel(),))
    else:
        axis = _slice_axis(input, dim)
        shape, name = (int(input.shape[axis]),), name_along
    size = input.numel() if dim is None else int(input.shape[axis])
    order = iota(size, int64, input.place)
    if ordered:  # computed now, once: how many there are is read before the values are
        order = from_node(_slice_order(node, axis)).realize().node
    first = from_node(_new(_along_line(node, order, axis), axis))
    (starts,) = tensor_nodes(*true_positions(first))
    total = starts.shape[0]
    assert isinstance(total, int)
    values = _along_line(node, gather(order, starts, 0), axis)
    found = [result(name, values, (input,), (input,))]
    if inverse:
        group = scan(first.node.cast(int64), "add", 0) - 1
        places = scatter(constant(0, int64, (size,), input.place), order, group, 0, "set")
        found.append(from_node(places.reshape(shape)))
    if counts:
        ends = pad(
            shrink(starts, (min(total, 1),), (max(total - 1, 0),)),
            (0,),
            (min(total, 1),),
            value=size,
        )
        found.append(from_node(ends - starts))
    return found[0] if len(found) == 1 else tuple(found)


def _slice_axis(input: Tensor, dim: Any) -> int:
    if not input.ndim:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    axis = arguments.axis(dim, input.ndim, "unique")
    if input.shape[axis] and not input.numel():
        raise RuntimeError(
            "unique: There are 0 sized dimensions, and they aren't selected, so unique cannot be applied"
            + describe_operands(input=input)
        )
    if not input.shape[axis] and sum(n == 0 for n in input.shape) > 1:
        raise RuntimeError(
            "unique: Number of zero sized dimensions is more than one, so unique cannot be applied"
        )
    return axis


def _along_line(node: Node, places: Node, axis: int) -> Node:
    """The slices along `axis` that a vector of places lists."""
    count = places.shape[0]
    line = tuple([count if a == axis else 1 for a in range(len(node.shape))])
    shape = tuple([count if a == axis else n for a, n in enumerate(node.shape)])
    return gather(node, places.reshape(line).expand(shape), axis)


def _new(node: Node, axis: int) -> Node:
    """Whether each slice along `axis` differs from the one before it, as a vector."""
    others = tuple([a for a in range(len(node.shape)) if a != axis])
    differs = begins(node, axis)
    return (differs.reduce("or", others) if others else differs).reshape((node.shape[axis],))


def _slice_order(node: Node, axis: int) -> Node:
    """The order of the slices along `axis`: their first elements count first, so they are sorted by last."""
    size = node.shape[axis]
    rest = [a for a in range(len(node.shape)) if a != axis]
    columns = node.permute([*rest, axis]).reshape((math.prod(node.shape[a] for a in rest), size))
    count = columns.shape[0]
    assert isinstance(count, int)
    order: Node | None = None
    keys, bits = order_keys(columns)
    for number in reversed(range(count)):
        column = shrink(keys, (number, 0), (1, size)).reshape((size,))
        if order is None:
            order = build.sort(column, 0, bits)
        else:
            order = gather(order, build.sort(gather(column, order, 0), 0, bits), 0)
    return order if order is not None else ordering(constant(0, int64, (size,), node.place), 0)
