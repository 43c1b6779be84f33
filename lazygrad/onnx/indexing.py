"""Reading and writing by indices, and what has as many elements as the data says.

In: data and integer indices, negative ones from the end. Out: a tensor; where its size depends on values, those are computed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import lazygrad as lg

from ..tensor import Tensor
from .elements import Array, array_from, tensor_of
from .program import Value
from .table import operator


def wrapped(indices: Value, size: int) -> Any:
    """Indices from 0 on as int64: negative ones count from the end. Known ones are wrapped at once."""
    if isinstance(indices, np.ndarray):
        indices = indices.astype(np.int64)
        return tensor_of(np.where(indices < 0, indices + size, indices))
    indices = indices.to(lg.int64)
    return lg.where(indices < 0, indices + size, indices)


@operator("Gather", 1)
def gather(data: Tensor, indices: Value, *, axis: int = 0) -> Any:
    """A known index is a part of the data, others choose rows of the axis."""
    axis %= data.ndim
    size = data.shape[axis]
    if isinstance(indices, np.ndarray) and indices.ndim == 0:
        place = int(indices)
        if not -size <= place < size:
            raise IndexError(f"Gather: index {place} is out of range for an axis of size {size}")
        return data.select(axis, place)
    places = wrapped(indices, size)
    shape = (*data.shape[:axis], *places.shape, *data.shape[axis + 1 :])
    return data.index_select(axis, places.reshape(-1)).reshape(shape)


@operator("GatherElements", 11)
def gather_elements(data: Tensor, indices: Value, *, axis: int = 0) -> Any:
    return data.gather(axis, wrapped(indices, data.shape[axis]))


def _flat_places(indices: Any, sizes: tuple[int, ...]) -> Any:
    """The last axis of `indices` goes through `sizes`: places among all their elements."""
    flat: Any = 0
    for position, size in enumerate(sizes):
        flat = flat * size + wrapped(indices.select(-1, position), size)
    return flat


@operator("GatherND", 11)
def gather_parts(data: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Any:
    depth = indices.shape[-1]
    batch = tuple(data.shape[:batch_dims])
    sizes = tuple(data.shape[batch_dims : batch_dims + depth])
    rest = tuple(data.shape[batch_dims + depth :])
    flat = _flat_places(indices, sizes)
    batches = math.prod(batch)
    if batch_dims:
        first = lg.arange(batches).reshape(batch + (1,) * (flat.ndim - batch_dims))
        flat = flat + first * math.prod(sizes)
    rows = data.reshape(batches * math.prod(sizes), *rest)
    return rows.index_select(0, flat.reshape(-1)).reshape(*flat.shape, *rest)


REDUCE = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operator("ScatterElements", 11)
def scatter_elements(
    data: Tensor, indices: Value, updates: Tensor, *, axis: int = 0, reduction: str = "none"
) -> Any:
    places = wrapped(indices, data.shape[axis])
    if reduction == "none":
        return data.scatter(axis, places, updates)
    return data.scatter_reduce(axis, places, updates, REDUCE[reduction])


@operator("Scatter", 9)
def scatter(data: Tensor, indices: Value, updates: Tensor, *, axis: int = 0) -> Any:
    return scatter_elements(data, indices, updates, axis=axis)


@operator("ScatterND", 11)
def scatter_parts(
    data: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none"
) -> Any:
    depth = indices.shape[-1]
    sizes, rest = tuple(data.shape[:depth]), tuple(data.shape[depth:])
    each = math.prod(rest)
    rows = data.reshape(math.prod(sizes), each)
    flat = _flat_places(indices, sizes).reshape(-1, 1)
    changed = scatter_elements(
        rows,
        flat.expand(flat.shape[0], each),
        updates.reshape(flat.shape[0], each),
        reduction=reduction,
    )
    return changed.reshape(data.shape)


@operator("TensorScatter", 24)
def tensor_scatter(
    past: Tensor,
    update: Tensor,
    first: Tensor | None = None,
    *,
    axis: int = -2,
    mode: str = "linear",
) -> Any:
    """Write `update` into the axis, from the place `first` of each batch on."""
    axis %= past.ndim
    size, count = past.shape[axis], update.shape[axis]
    shape = [1] * past.ndim
    shape[axis] = count
    places = lg.arange(count).reshape(shape)
    if first is not None:
        places = places + first.to(lg.int64).reshape([-1] + [1] * (past.ndim - 1))
    if mode == "circular":
        places = places % size
    return past.scatter(axis, places.broadcast_to(update.shape), update)


@operator("OneHot", 9)
def one_hot(indices: Tensor, depth: Array, values: Tensor, *, axis: int = -1) -> Any:
    """Indices out of range are off everywhere."""
    size = int(depth.item())
    axis = axis % (indices.ndim + 1)
    places = wrapped(indices, size).unsqueeze(axis)
    shape = [1] * places.ndim
    shape[axis] = size
    return lg.where(lg.arange(size).reshape(shape) == places, values[1], values[0])


@operator("NonZero", 9)
def nonzero(input: Tensor) -> Any:
    if not input.ndim:
        input = input.reshape(1)
    return input.nonzero().t()


@operator("Compress", 9)
def compress(input: Tensor, condition: Array, *, axis: int | None = None) -> Any:
    """The elements, or the parts of an axis, at which the condition holds."""
    if axis is None:
        input, axis = input.reshape(-1), 0
    return input.index_select(axis, tensor_of(np.flatnonzero(condition)))


@operator("Unique", 11)
def unique(input: Array, *, axis: int | None = None, sorted: int = 1) -> Any:
    """The values, where each is found first, which value each element is, how often there is each; sizes depend on the data."""
    values, first, inverse, counts = np.unique(
        input, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = inverse.reshape(-1)
    if not sorted:
        order = np.argsort(first)
        values = np.take(values, order, axis or 0)
        first, counts = first[order], counts[order]
        inverse = np.argsort(order)[inverse]
    return values, first.astype(np.int64), inverse.astype(np.int64), counts.astype(np.int64)


@operator("ReverseSequence", 10)
def reverse_sequence(
    input: Tensor, lengths: Tensor, *, batch_axis: int = 1, time_axis: int = 0
) -> Any:
    """The first `lengths` steps of each batch backwards, the others as they are."""
    steps, batches = input.shape[time_axis], input.shape[batch_axis]
    times, counts = [1] * input.ndim, [1] * input.ndim
    times[time_axis], counts[batch_axis] = steps, batches
    place = lg.arange(steps).reshape(times)
    count = lengths.to(lg.int64).reshape(counts)
    places = lg.where(place < count, count - 1 - place, place)
    return input.gather(time_axis, places.broadcast_to(input.shape))


def as_array(value: Any) -> Array:
    """A value as numbers, computed now if it must be."""
    return array_from(value) if isinstance(value, Tensor) else np.asarray(value)
