"""Reductions and running totals, with the standard's arguments: `axis` may be None, a number or a tuple."""

from __future__ import annotations

from typing import Any

import lazygrad as lg

from ..ir.dtype import DType, int64, uint64
from ..tensor import Tensor

Axis = int | tuple[int, ...] | None


def _axes(x: Tensor, axis: Axis) -> tuple[int, ...]:
    """The axes without negative ones.

    Raises:
        IndexError: there is no such axis.
    """
    if axis is None:
        return tuple(range(x.ndim))
    for each in (axis,) if isinstance(axis, int) else axis:
        if not -x.ndim <= each < x.ndim:
            raise IndexError(f"axis {each} of an array of {x.ndim}")
    return tuple([each % x.ndim for each in ((axis,) if isinstance(axis, int) else axis)])


def max(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return lg.amax(x, _axes(x, axis), keepdims) if _axes(x, axis) else x.clone()


def min(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return lg.amin(x, _axes(x, axis), keepdims) if _axes(x, axis) else x.clone()


def mean(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return lg.mean(x, _axes(x, axis), keepdims) if _axes(x, axis) else x.clone()


def var(
    x: Tensor, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False
) -> Tensor:
    axes = _axes(x, axis)
    return lg.var(x, axes or None, correction=correction, keepdim=keepdims)


def std(
    x: Tensor, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False
) -> Tensor:
    axes = _axes(x, axis)
    return lg.std(x, axes or None, correction=correction, keepdim=keepdims)


def _total_dtype(x: Tensor, dtype: DType | None) -> DType:
    """What sums and products add up in: integers in 64 bits."""
    if dtype is not None:
        return dtype
    if x.dtype.is_floating_point:
        return x.dtype
    return uint64 if x.dtype.kind == "uint" else int64


def sum(
    x: Tensor, /, *, axis: Axis = None, dtype: DType | None = None, keepdims: bool = False
) -> Tensor:
    axes, found = _axes(x, axis), _total_dtype(x, dtype)
    return lg.sum(x, axes, keepdims, dtype=found) if axes else x.to(found, copy=True)


def prod(
    x: Tensor, /, *, axis: Axis = None, dtype: DType | None = None, keepdims: bool = False
) -> Tensor:
    made = x.to(_total_dtype(x, dtype), copy=True)
    axes = _axes(x, axis)
    for each in sorted(axes, reverse=True):
        made = lg.prod(made, each, keepdims, dtype=made.dtype)
    return made


def all(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    made = x != 0 if x.dtype is not lg.bool else x.clone()
    for each in sorted(_axes(x, axis), reverse=True):
        made = lg.all(made, each, keepdims)
    return made


def any(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    made = x != 0 if x.dtype is not lg.bool else x.clone()
    for each in sorted(_axes(x, axis), reverse=True):
        made = lg.any(made, each, keepdims)
    return made


def _along(x: Tensor, axis: int | None) -> int:
    if axis is None:
        if x.ndim != 1:
            raise ValueError("axis is needed for more than one axis")
        return 0
    return axis % x.ndim


def cumulative_sum(
    x: Tensor, /, *, axis: int | None = None, dtype: DType | None = None, include_initial: bool = False
) -> Tensor:  # fmt: skip
    """Running totals along an axis; with `include_initial` they begin with 0."""
    along = _along(x, axis)
    made = lg.cumsum(x, along, dtype=_total_dtype(x, dtype))
    return _begun(made, along, 0) if include_initial else made


def cumulative_prod(
    x: Tensor, /, *, axis: int | None = None, dtype: DType | None = None, include_initial: bool = False
) -> Tensor:  # fmt: skip
    """Running products along an axis; with `include_initial` they begin with 1."""
    along = _along(x, axis)
    made = lg.cumprod(x, along, dtype=_total_dtype(x, dtype))
    return _begun(made, along, 1) if include_initial else made


def _begun(x: Tensor, axis: int, value: int) -> Tensor:
    shape = [1 if number == axis else size for number, size in enumerate(x.shape)]
    return lg.cat([lg.full(shape, value, dtype=x.dtype, device=x.device), x], axis)


def diff(
    x: Tensor, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None
) -> Tensor:
    """Differences of neighbours along an axis, n times."""
    return lg.diff(x, n, axis, prepend, append)
