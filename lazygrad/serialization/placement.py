"""How tensors lie in what a file holds: storages to arrays, and back, so that tensors that shared memory do so again.

In: tensors by name. Out: the arrays to write, and for each tensor where in them its elements are (`Place`); or, from what
a file says of that, tensors on storages, checked: no element of any lies outside of its storage.

A tensor that is all there is of its memory is written in its own shape under its own name, which is what other programs read. Of
several that share memory, one that holds all of it is written, or else the stretch that they lie in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import reading
from ..ir.dtype import DType
from ..storage import Storage
from ..tensor import Tensor, make
from ..views import Bits, Step, View, by_strides, contiguous

Sizes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """An array to write: `values` gives it, contiguous, when its turn has come."""

    name: str
    dtype: DType
    shape: Sizes
    values: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies: by strides, counted in elements, in the array called `name`.

    `moved` says that the array has its elements row by row in its shape, and the strides are what its memory had.
    """

    name: str
    dtype: DType
    shape: Sizes
    stride: Sizes
    offset: int
    moved: bool = False


def arrange(
    tensors: Sequence[tuple[str, Tensor]], unused: Callable[[str], str]
) -> tuple[list[Written], list[Place]]:
    """What to write, and where each tensor will lie in it. The tensors are computed.

    Args:
        tensors: by names that differ.
        unused: makes another name from one.
    """
    reading.realize([tensor for _, tensor in tensors])
    groups: dict[int, list[int]] = {}
    for position, (_, tensor) in enumerate(tensors):
        key = id(tensor.storage) if tensor.numel() else -1 - position
        groups.setdefault(key, []).append(position)
    written: list[Written] = []
    places: dict[int, Place] = {}
    for group in groups.values():
        members = [tensors[position] for position in group]
        array, origin = _array(members, unused)
        written.append(array)
        for position, (_, tensor) in zip(group, members):
            shape, stride = tuple(tensor.shape), tuple(tensor.strides)
            moved = len(group) == 1 and array.shape == shape and stride != contiguous(shape)
            offset = 0 if moved else tensor.storage_offset() - origin
            if moved and not _dense(shape, stride):
                stride, moved = contiguous(shape), False
            places[position] = Place(array.name, tensor.dtype, shape, stride, offset, moved)
    return written, [places[position] for position in range(len(tensors))]


def _array(
    members: Sequence[tuple[str, Tensor]], unused: Callable[[str], str]
) -> tuple[Written, int]:
    """What to write of one storage for the tensors that lie in it, and which of its elements comes first there."""
    name, first = members[0]
    reaches = [_reach(tensor) for _, tensor in members]
    begin, end = min(low for low, _ in reaches), max(high for _, high in reaches)
    kept = first.storage.node.dtype
    for (label, tensor), reach in zip(members, reaches):
        if reach == (begin, end) and tensor.is_contiguous() and tensor.dtype is kept:
            return Written(label, kept, tuple(tensor.shape), _values(tensor)), begin
    if len(members) == 1 and first.numel() <= end - begin:
        return Written(name, first.dtype, tuple(first.shape), _values(first)), begin

    def stretch() -> Any:
        return first.storage.array().reshape(-1)[begin:end]

    return Written(unused(f"{name}.storage"), kept, (end - begin,), stretch), begin


def _values(tensor: Tensor) -> Callable[[], Any]:
    return lambda: np.ascontiguousarray(reading.host(tensor)).reshape(tuple(tensor.shape))


def _reach(tensor: Tensor) -> tuple[int, int]:
    """The first element of its storage that a tensor holds, and the one after the last."""
    begin = tensor.storage_offset()
    return begin, begin + _span(tuple(tensor.shape), tuple(tensor.strides))


def _span(shape: Sizes, stride: Sizes) -> int:
    return 0 if 0 in shape else 1 + sum((n - 1) * step for n, step in zip(shape, stride))


def _dense(shape: Sizes, stride: Sizes) -> bool:
    """Whether the elements lie without gaps and overlaps, in whichever order of the axes."""
    expected = 1
    for step, size in sorted((step, n) for n, step in zip(shape, stride) if n != 1):
        if step != expected:
            return False
        expected *= size
    return True


# --- back


def tensor_on(storage: Storage, dtype: DType, shape: Sizes, stride: Sizes, offset: int) -> Tensor:
    """A tensor of elements of a storage, by strides.

    Raises:
        RuntimeError: an element would lie outside of the storage; the dtypes have different widths.
    """
    node = storage.node
    base: Sizes = node.shape  # type: ignore[assignment]
    total = math.prod(base)
    if len(shape) != len(stride) or min((offset, *shape, *stride)) < 0:
        raise RuntimeError(f"load: a tensor of sizes {shape}, strides {stride}, offset {offset}")
    if 0 not in shape and offset + _span(shape, stride) > total:
        raise RuntimeError(
            f"load: a tensor of sizes {shape}, strides {stride} and offset {offset} lies outside of its storage of {total} elements"
        )
    if dtype.itemsize != node.dtype.itemsize:
        raise RuntimeError(f"load: {dtype} elements in a storage of {node.dtype}")
    if 0 in shape:
        steps: tuple[Step, ...] = by_strides(base, shape, contiguous(shape), 0)
    else:
        steps = by_strides(base, shape, stride, offset)
    if dtype is not node.dtype:
        steps = (*steps, Bits(dtype))
    view = View(None, steps, steps, shape, stride, offset, "") if steps else None
    return make(storage, dtype, view, storage)


def in_order(tensor: Tensor, stride: Sizes) -> Tensor:
    """The values of a row-major tensor in memory of its own, with the axes in the order of `stride`."""
    order = sorted(range(tensor.ndim), key=lambda axis: (-stride[axis], axis))
    moved: Tensor = tensor.permute(order).contiguous()
    return tensor_on(moved.storage, tensor.dtype, tuple(tensor.shape), stride, 0)
