"""Reductions over axes, running sums, places of the largest element.

In: a tensor; the axes are an attribute in older versions and an input in newer ones. Out: a tensor with those axes gone or of size 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lazygrad as lg

from ..tensor import Tensor
from .elements import Array
from .folding import integers
from .table import operator

Reduce = Callable[[Tensor, tuple[int, ...], bool], Any]


def _sum(input: Tensor, axes: tuple[int, ...], keep: bool) -> Any:
    return input.sum(axes, keepdim=keep, dtype=input.dtype)


def _mean(input: Tensor, axes: tuple[int, ...], keep: bool) -> Any:
    if input.dtype.is_floating_point:
        return input.mean(axes, keepdim=keep)
    count = 1
    for axis in axes:
        count *= input.shape[axis]
    return _sum(input, axes, keep).div(count, rounding_mode="trunc")


def _product(input: Tensor, axes: tuple[int, ...], keep: bool) -> Any:
    result: Any = input
    for axis in sorted((axis % input.ndim for axis in axes), reverse=True):
        result = result.prod(axis, keepdim=keep, dtype=input.dtype)
    return result


def _largest(input: Tensor, axes: tuple[int, ...], keep: bool) -> Any:
    """Of nothing: the smallest value that there is."""
    if any(not input.shape[axis] for axis in axes):
        return _of_nothing(input, axes, keep, smallest=True)
    return input.amax(axes, keepdim=keep)


def _smallest(input: Tensor, axes: tuple[int, ...], keep: bool) -> Any:
    if any(not input.shape[axis] for axis in axes):
        return _of_nothing(input, axes, keep, smallest=False)
    return input.amin(axes, keepdim=keep)


def _of_nothing(input: Tensor, axes: tuple[int, ...], keep: bool, smallest: bool) -> Any:
    """The neutral element of a maximum or minimum in place of the axes, which have no elements."""
    gone = {axis % input.ndim for axis in axes}
    shape = [
        1 if axis in gone else size
        for axis, size in enumerate(input.shape)
        if keep or axis not in gone
    ]
    value: float
    if input.dtype.is_floating_point:
        value = -lg.inf if smallest else lg.inf
    elif input.dtype.kind == "bool":
        value = not smallest
    else:
        limits = lg.iinfo(input.dtype)
        value = limits.min if smallest else limits.max
    return lg.full(shape, value, dtype=input.dtype)


def _log_sum_exp(input: Tensor, axes: tuple[int, ...], keep: bool) -> Any:
    return input.logsumexp(axes, keepdim=keep).to(input.dtype)


REDUCTIONS: dict[str, Reduce] = {
    "ReduceSum": _sum,
    "ReduceMean": _mean,
    "ReduceProd": _product,
    "ReduceMax": _largest,
    "ReduceMin": _smallest,
    "ReduceL1": lambda input, axes, keep: _sum(input.abs(), axes, keep),
    "ReduceL2": lambda input, axes, keep: _sum(input * input, axes, keep).sqrt().to(input.dtype),
    "ReduceLogSum": lambda input, axes, keep: _sum(input, axes, keep).log().to(input.dtype),
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceSumSquare": lambda input, axes, keep: _sum(input * input, axes, keep),
}


def _register(name: str, reduce: Reduce) -> None:
    def with_attribute(input: Tensor, *, axes: Sequence[int] = (), keepdims: int = 1) -> Any:
        chosen = tuple(axes) or tuple(range(input.ndim))
        return reduce(input, chosen, bool(keepdims)) if chosen else reduced_number(reduce, input)

    def with_input(
        input: Tensor,
        axes: Array | None = None,
        *,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Any:
        given = () if axes is None else tuple(integers(axes))
        if not given and noop_with_empty_axes:
            return reduced_number(reduce, input)
        return with_attribute(input, axes=given, keepdims=keepdims)

    operator(name, 1)(with_attribute)
    operator(name, 13 if name == "ReduceSum" else 18)(with_input)


def reduced_number(reduce: Reduce, input: Tensor) -> Any:
    """Each element reduced alone."""
    return reduce(input.unsqueeze(0), (0,), False)


for _name, _reduce in REDUCTIONS.items():
    _register(_name, _reduce)


def _place(input: Tensor, axis: int, keepdims: int, last: int, largest: bool) -> Any:
    """The first place of the extreme value, or the last one."""
    axis %= input.ndim
    if last:
        input = input.flip(axis)
    find = input.argmax if largest else input.argmin
    place = find(axis, keepdim=bool(keepdims))
    return input.shape[axis] - 1 - place if last else place


@operator("ArgMax", 1)
def argmax(input: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Any:
    return _place(input, axis, keepdims, select_last_index, largest=True)


@operator("ArgMin", 1)
def argmin(input: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Any:
    return _place(input, axis, keepdims, select_last_index, largest=False)


def _running(
    scan: Callable[[Tensor, int], Any],
    input: Tensor,
    axis: int,
    exclusive: int,
    reverse: int,
    first: int,
) -> Any:
    """A scan from either end, with or without the element itself."""
    axis %= input.ndim
    size = input.shape[axis]
    if reverse:
        input = input.flip(axis)
    if exclusive:
        shape = list(input.shape)
        shape[axis] = min(size, 1)
        start = lg.full(shape, first, dtype=input.dtype)
        input = lg.cat([start, input.narrow(axis, 0, max(size - 1, 0))], axis)
    result = scan(input, axis)
    return result.flip(axis) if reverse else result


@operator("CumSum", 11)
def cumulative_sum(input: Tensor, axis: Array, *, exclusive: int = 0, reverse: int = 0) -> Any:
    def scan(value: Tensor, along: int) -> Any:
        return value.cumsum(along, dtype=value.dtype)

    return _running(scan, input, int(axis), exclusive, reverse, 0)


@operator("CumProd", 26)
def cumulative_product(input: Tensor, axis: Array, *, exclusive: int = 0, reverse: int = 0) -> Any:
    def scan(value: Tensor, along: int) -> Any:
        return value.cumprod(along, dtype=value.dtype)

    return _running(scan, input, int(axis), exclusive, reverse, 1)


def _top(input: Tensor, k: int, axis: int, largest: int) -> Any:
    """Ordered, equal elements by their places, as the standard asks."""
    axis %= input.ndim
    values, places = input.sort(dim=axis, descending=bool(largest), stable=True)
    return values.narrow(axis, 0, k), places.narrow(axis, 0, k)


@operator("TopK", 1)
def top_attribute(input: Tensor, *, k: int, axis: int = -1) -> Any:
    return _top(input, k, axis, 1)


@operator("TopK", 10)
def top(input: Tensor, k: Array, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Any:
    return _top(input, int(k.item()), axis, largest)
