"""Searching, sorting and sets, with the standard's arguments."""

from __future__ import annotations

from typing import Any, NamedTuple

import lazygrad as lg

from ..ir.dtype import int64
from ..tensor import Tensor
from .elementwise import both
from .statistics import Axis, _axes
from .statistics import sum as total


def argmax(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return _place(lg.argmax, x, axis, keepdims)


def argmin(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return _place(lg.argmin, x, axis, keepdims)


def _place(run: Any, x: Tensor, axis: int | None, keepdims: bool) -> Tensor:
    found: Tensor = run(x, axis) if axis is None else run(x, axis, keepdims)
    return found.reshape((1,) * x.ndim) if axis is None and keepdims else found


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    return tuple(lg.nonzero(x, as_tuple=True))


def count_nonzero(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return total((x != 0).to(int64), axis=_axes(x, axis), keepdims=keepdims)


def where(condition: Tensor, x1: Any, x2: Any, /) -> Tensor:
    x1, x2 = both(x1, x2)
    made: Tensor = lg.where(condition, x1, x2)
    return made


def searchsorted(
    x1: Tensor, x2: Any, /, *, side: str = "left", sorter: Tensor | None = None
) -> Tensor:
    """Where the elements of x2 would go into x1, which is sorted, or sorted by `sorter`."""
    x1, x2 = both(x1, x2)
    return lg.searchsorted(x1, x2, side=side, sorter=sorter)


def isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Tensor:
    return lg.isin(*both(x1, x2), invert=invert)


def sort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    made: Tensor = lg.sort(x, dim=axis, descending=descending, stable=stable)[0]
    return made


def argsort(
    x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True
) -> Tensor:
    return lg.argsort(x, dim=axis, descending=descending, stable=stable)


class UniqueAll(NamedTuple):
    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    values: Tensor
    inverse_indices: Tensor


def unique_all(x: Tensor, /) -> UniqueAll:
    """The elements, each once and sorted, where each is first in the flat array, which of them each element is, and how often each is there."""
    values, inverse, counts = lg.unique(x, return_inverse=True, return_counts=True)
    places = lg.arange(x.numel(), device=x.device)
    first = lg.full((values.numel(),), x.numel(), device=x.device)
    indices = first.scatter_reduce(0, inverse.flatten(), places, "amin")
    return UniqueAll(values, indices, inverse.reshape(x.shape), counts)


def unique_counts(x: Tensor, /) -> UniqueCounts:
    return UniqueCounts(*lg.unique(x, return_counts=True))


def unique_inverse(x: Tensor, /) -> UniqueInverse:
    values, inverse = lg.unique(x, return_inverse=True)
    return UniqueInverse(values, inverse.reshape(x.shape))


def unique_values(x: Tensor, /) -> Tensor:
    made: Tensor = lg.unique(x)
    return made
