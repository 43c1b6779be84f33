"""Operators that move elements: shapes, axes, parts, joining, padding, tiling.

In: a tensor and the shape, axes or amounts, which are known numbers (or are computed to be). Out: a tensor; `Shape` and `Size` give
known numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import lazygrad as lg

from ..ir.dtype import DType
from ..nn import functional
from ..tensor import Tensor
from .elements import Array, tensor_of
from .folding import integers, slices, split_sizes, target_shape
from .program import KNOWN_SIZE, Value
from .table import operator


@operator("Shape", 1)
def shape(input: Value, *, start: int = 0, end: int | None = None) -> Array:
    sizes = [int(size) for size in input.shape]
    return np.array(sizes[start:end], np.int64)


@operator("Size", 1)
def size(input: Value) -> Array:
    return np.array(math.prod(int(size) for size in input.shape), np.int64)


@operator("BitCast", 26)
def bit_cast(input: Tensor, *, to: DType) -> Any:
    return input.view(to)


@operator("Identity", 1)
def identity(input: Value) -> Any:
    return input


@operator("Reshape", 5)
def reshape(input: Tensor, shape: Array, *, allowzero: int = 0) -> Any:
    return input.reshape(target_shape(input.shape, shape, allowzero))


@operator("Flatten", 1)
def flatten(input: Tensor, *, axis: int = 1) -> Any:
    """Two axes: those before `axis`, and the rest."""
    sizes = input.shape
    axis += input.ndim if axis < 0 else 0
    return input.reshape(math.prod(sizes[:axis]), math.prod(sizes[axis:]))


@operator("Squeeze", 1)
def squeeze_attribute(input: Tensor, *, axes: Sequence[int] = ()) -> Any:
    return squeeze(input, np.array(axes, np.int64) if axes else None)


@operator("Squeeze", 13)
def squeeze(input: Tensor, axes: Array | None = None) -> Any:
    """Raises ValueError where the size of a chosen axis is not 1."""
    if axes is None:
        return input.squeeze()
    chosen = tuple(integers(axes))
    if any(input.shape[axis] != 1 for axis in chosen):
        raise ValueError(
            f"Squeeze: the axes {chosen} of {tuple(input.shape)} are not all of size 1"
        )
    return input.squeeze(chosen) if chosen else input


@operator("Unsqueeze", 1)
def unsqueeze_attribute(input: Tensor, *, axes: Sequence[int]) -> Any:
    return unsqueeze(input, np.array(axes))


@operator("Unsqueeze", 13)
def unsqueeze(input: Tensor, axes: Array) -> Any:
    chosen = integers(axes)
    rank = input.ndim + len(chosen)
    result: Any = input
    for axis in sorted(axis % rank for axis in chosen):
        result = result.unsqueeze(axis)
    return result


@operator("Transpose", 1)
def transpose(input: Tensor, *, perm: Sequence[int] | None = None) -> Any:
    return input.permute(tuple(reversed(range(input.ndim))) if perm is None else tuple(perm))


@operator("Concat", 4)
def concat(*inputs: Tensor, axis: int) -> Any:
    return lg.cat(inputs, axis)


@operator("Split", 2)
def split_attribute(
    input: Tensor, *, axis: int = 0, split: Sequence[int] | None = None, outputs: int
) -> Any:
    return input.split(split_sizes(input.shape[axis], split, outputs), axis)


@operator("Split", 13)
def split(
    input: Tensor, sizes: Array | None = None, *, axis: int = 0, num_outputs: int = 0, outputs: int
) -> Any:
    return input.split(split_sizes(input.shape[axis], sizes, num_outputs or outputs), axis)


@operator("Slice", 1)
def slice_attributes(
    input: Tensor, *, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int] | None = None
) -> Any:
    return cut(input, np.array(starts), np.array(ends), None if axes is None else np.array(axes))


@operator("Slice", 10)
def cut(
    input: Tensor, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None
) -> Any:
    """A negative step is a flip of the part that a positive one takes."""
    result: Any = input
    for axis, part in enumerate(slices(input.shape, starts, ends, axes, steps)):
        first, last, step = part.indices(input.shape[axis])
        count = max(0, -(-(last - first) // step))
        if count == input.shape[axis] and step == 1:
            continue
        low = first if step > 0 else first + (count - 1) * step
        chosen = [slice(None)] * input.ndim
        chosen[axis] = (
            slice(low, low + (count - 1) * abs(step) + 1, abs(step)) if count else slice(0, 0)
        )
        result = result[tuple(chosen)]
        if step < 0:
            result = result.flip(axis)
    return result


@operator("Expand", 8)
def expand(input: Value, shape: Array) -> Any:
    """To the shape that both broadcast to."""
    sizes = np.broadcast_shapes(tuple(input.shape), tuple(int(size) for size in shape))
    if isinstance(input, np.ndarray):
        if math.prod(sizes) <= KNOWN_SIZE:
            return np.broadcast_to(input, sizes)
        input = tensor_of(input)
    return input.broadcast_to(sizes)


@operator("Tile", 6)
def tile(input: Tensor, repeats: Array) -> Any:
    return input.repeat(tuple(int(count) for count in repeats)) if len(repeats) else input


@operator("Pad", 2)
def pad_attributes(
    input: Tensor, *, pads: Sequence[int], mode: str = "constant", value: float = 0.0
) -> Any:
    return _pad(input, pads, value, range(input.ndim), mode)


@operator("Pad", 11)
def pad(
    input: Tensor,
    pads: Array,
    value: Array | None = None,
    axes: Array | None = None,
    *,
    mode: str = "constant",
) -> Any:
    chosen = range(input.ndim) if axes is None else [axis % input.ndim for axis in integers(axes)]
    number = 0 if value is None else value.item()
    return _pad(input, [int(amount) for amount in pads], number, chosen, mode)


def _pad(input: Tensor, pads: Sequence[int], value: float, axes: Sequence[int], mode: str) -> Any:
    """Amounts before all axes, then behind all; an axis that is padded from itself is a choice of its elements."""
    count = len(axes)
    amounts = {axis: (pads[place], pads[place + count]) for place, axis in enumerate(axes)}
    if mode == "constant":
        return pad_amounts(input, amounts, value)
    result: Any = input
    for axis, (before, after) in amounts.items():
        if before or after:
            places = np.arange(-before, input.shape[axis] + after)
            result = result.index_select(axis, tensor_of(_inside(places, input.shape[axis], mode)))
    return result


def _inside(places: Array, size: int, mode: str) -> Array:
    """Which elements stand at places that may be outside of an axis."""
    if mode == "edge":
        return np.clip(places, 0, size - 1)
    if mode == "wrap":
        return places % size
    if mode != "reflect":
        raise NotImplementedError(f"Pad: the mode {mode!r} is not supported")
    period = max(2 * (size - 1), 1)
    places = places % period
    return np.minimum(places, period - places) if size > 1 else places * 0


def pad_amounts(input: Tensor, amounts: dict[int, tuple[int, int]], value: float = 0) -> Any:
    """A constant before and behind some axes; negative amounts cut."""
    flat: list[int] = []
    for axis in reversed(range(input.ndim)):
        flat += amounts.get(axis, (0, 0))
    return functional.pad(input, flat, value=value) if any(flat) else input


@operator("DepthToSpace", 1)
def depth_to_space(input: Tensor, *, blocksize: int, mode: str = "DCR") -> Any:
    batch, channels, height, width = input.shape
    left = channels // blocksize**2
    if mode == "DCR":
        parts = input.reshape(batch, blocksize, blocksize, left, height, width)
        parts = parts.permute(0, 3, 4, 1, 5, 2)
    else:
        parts = input.reshape(batch, left, blocksize, blocksize, height, width)
        parts = parts.permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(batch, left, height * blocksize, width * blocksize)


@operator("SpaceToDepth", 1)
def space_to_depth(input: Tensor, *, blocksize: int, mode: str = "DCR") -> Any:
    batch, channels, height, width = input.shape
    rows, columns = height // blocksize, width // blocksize
    parts = input.reshape(batch, channels, rows, blocksize, columns, blocksize)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return parts.permute(order).reshape(batch, channels * blocksize**2, rows, columns)


@operator("Trilu", 14)
def triangle(input: Tensor, k: Array | None = None, *, upper: int = 1) -> Any:
    diagonal = 0 if k is None else int(k.item())
    return input.triu(diagonal) if upper else input.tril(diagonal)


@operator("CenterCropPad", 18)
def center_crop_pad(input: Tensor, shape: Array, *, axes: Sequence[int] | None = None) -> Any:
    """Each axis cut or padded on both sides; an odd one is at the end."""
    chosen = range(input.ndim) if axes is None else [axis % input.ndim for axis in axes]
    amounts = {}
    for axis, size in zip(chosen, shape):
        more = int(size) - input.shape[axis]
        before = more // 2 if more > 0 else -(-more // 2)
        amounts[axis] = (before, more - before)
    return pad_amounts(input, amounts)
