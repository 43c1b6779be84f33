"""Running results along one axis: cummax, cummin, logcumsumexp, and the sums of trapezoids. (cumsum and cumprod: reductions.py.)"""

from __future__ import annotations

from typing import Any, Literal

from ..gradient.reverse_structure import along
from ..ir.build import scan
from ..ir.node import where
from ..results import tensor_nodes
from ..tensor import Tensor
from . import arguments
from .arguments import as_number, no_kernel
from .registry import Outcome, function, operator
from .return_types import Cummax, Cummin, Pair
from .shaping import slice_axis, unsqueeze
from .sorting import Out, deliver, lifted


@function("cummax")
def cummax(input: Tensor, dim: int, *, out: Out = None) -> Pair:
    """The largest element so far along `dim`, and where it stands (the last of equals), as (values, indices).

    Once there is a NaN, the result is NaN.

    Raises:
        IndexError: `dim` is out of range.

    Same as torch.cummax.
    """
    return _records(Cummax, "max", input, dim, out)


@function("cummin")
def cummin(input: Tensor, dim: int, *, out: Out = None) -> Pair:
    """The smallest element so far along `dim`; see `cummax`. Same as torch.cummin."""
    return _records(Cummin, "min", input, dim, out)


def _records(kind: Any, extreme: Literal["max", "min"], input: Tensor, dim: int, out: Out) -> Pair:
    axis = arguments.axis(dim, input.ndim, kind.__name__)
    node, still = (lifted(each) for each in tensor_nodes(input, input.detach()))
    values = scan(node, extreme, axis)
    record = still.eq(scan(still, extreme, axis))
    if input.dtype.kind == "float":
        record = record | still.ne(still)
    index = scan(where(record, along(axis, still), 0), "max", axis)
    shape = tuple(input.shape)
    name = f"{kind.__name__.capitalize()}Backward0"
    return deliver(kind, name, input, values.reshape(shape), index.reshape(shape), out)


@operator("logcumsumexp")
def logcumsumexp(input: Tensor, dim: int) -> Outcome:
    """The log of the running sum of exponentials along `dim`, without overflow.

    Raises:
        NotImplementedError: the dtype is not floating. IndexError: `dim` is out of range.

    Same as torch.logcumsumexp.
    """
    axis = arguments.axis(dim, input.ndim, "logcumsumexp")
    if input.dtype.kind != "float":
        raise no_kernel("logcumsumexp_out", input.dtype)
    (node,) = tensor_nodes(input)
    made = scan(lifted(node), "logaddexp", axis).reshape(node.shape)
    return Outcome("LogcumsumexpBackward0", made, (input,), (input, "result"))


# --- areas under a line through points


@function("trapezoid", "trapz", method=False)
def trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1
) -> Tensor:
    """The area under the line through the points `y` along `dim`.

    Args:
        x: where the points are, (n,) or a shape that broadcasts with `y`; dx: how far apart they are, 1 by default.

    Raises:
        TypeError: both `x` and `dx` are given. RuntimeError: the sizes of `x` and `y` do not fit. IndexError: `dim` is out of range.

    Same as torch.trapezoid.
    """
    pieces, axis = _pieces("trapezoid", y, x, dx, dim)
    return _halved(pieces.sum(axis), x, dx)


@function("cumulative_trapezoid", method=False)
def cumulative_trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1
) -> Tensor:
    """The areas under the line from the first point to each later one; see `trapezoid`. Same as torch.cumulative_trapezoid."""
    pieces, axis = _pieces("cumulative_trapezoid", y, x, dx, dim)
    return _halved(pieces.cumsum(axis), x, dx)


def _halved(total: Tensor, x: Tensor | None, dx: float | None) -> Tensor:
    if x is not None:
        return total / 2.0
    return total * ((1.0 if dx is None else as_number(dx)) / 2.0)


def _pieces(
    name: str, y: Tensor, x: Tensor | None, dx: float | None, dim: int
) -> tuple[Tensor, int]:
    """Twice the area between each two neighbours (at distance 1 without `x`), and the axis they lie along."""
    if x is not None and dx is not None:
        raise TypeError(
            f"{name}() received an invalid combination of arguments: give either x or dx, not both"
        )
    axis = arguments.axis(dim, y.ndim, name)
    if not y.ndim:
        raise IndexError(f"{name}: Dimension specified as {dim} but tensor has no dimensions")
    size = int(y.shape[axis])
    first, second = _neighbours(y, axis)
    heights = first + second
    if x is None:
        return heights, axis - y.ndim
    places = x
    if x.ndim == 1:
        if x.shape[0] != size:
            raise RuntimeError(
                f"{name}: There must be one `x` value for each sample point: {size} points, {x.shape[0]} values"
            )
        for _ in range(y.ndim - axis - 1):
            places = unsqueeze(places, -1)
    elif x.ndim < y.ndim:
        for _ in range(y.ndim - x.ndim):
            places = unsqueeze(places, 0)
    across = axis - y.ndim
    first, second = _neighbours(places, places.ndim + across)
    return (second - first) * heights, across


def _neighbours(points: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """All elements along `axis` but the last, and all but the first."""
    size = int(points.shape[axis])
    first = slice_axis(points, axis, 0, max(size - 1, 0), 1)
    return first, slice_axis(points, axis, min(size, 1), size, 1)
