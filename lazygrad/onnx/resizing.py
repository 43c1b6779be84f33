"""Resize and Upsample: pictures, and other tensors, of other sizes.

In: a tensor, and scales or sizes. Out: a tensor. Each axis is resized alone. Where its elements come from is arithmetic on known
numbers: of each new element a few places and their weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import lazygrad as lg

from ..tensor import Tensor
from .elements import Array, tensor_of
from .table import operator


@dataclass(frozen=True)
class Manner:
    """How new elements are made of old ones: the attributes of Resize."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False


def positions(
    manner: Manner, size: int, length: int, scale: float, roi: tuple[float, float]
) -> Array:
    """Where each of `length` new elements is, in the coordinates of the old ones; in float32, which decides where two are as near."""
    new = np.arange(length, dtype=np.float32)
    kind = manner.coordinates
    if kind == "asymmetric":
        return new / scale
    if kind == "align_corners":
        return new * (size - 1) / (length - 1) if length > 1 else new * 0
    if kind == "tf_crop_and_resize":
        first, last = roi[0] * (size - 1), roi[1] * (size - 1)
        if length == 1:
            return np.array([(first + last) / 2], np.float32)
        return first + new * (roi[1] - roi[0]) * (size - 1) / (length - 1)
    if kind == "tf_half_pixel_for_nn":
        return (new + 0.5) / scale
    middle = (new + 0.5) / scale - 0.5
    if kind == "pytorch_half_pixel":
        return middle if length > 1 else middle * 0
    if kind == "half_pixel_symmetric":
        adjustment = np.float32(length) / (np.float32(scale) * size)
        return size / 2 * (1 - adjustment) + (new + 0.5) / scale - 0.5
    if kind != "half_pixel":
        raise NotImplementedError(
            f"Resize: coordinate_transformation_mode {kind!r} is not supported"
        )
    return middle


def _nearest(places: Array, rounding: str) -> Array:
    if rounding == "floor":
        return np.floor(places)
    if rounding == "ceil":
        return np.ceil(places)
    if rounding == "round_prefer_ceil":
        return np.floor(places + 0.5)
    return np.ceil(places - 0.5)


def _kernel(distances: Array, manner: Manner) -> Array:
    """The weight of an element at a distance."""
    far = np.abs(distances)
    if manner.mode == "linear":
        return np.asarray(np.clip(1 - far, 0, None))
    a = manner.cubic
    near = ((a + 2) * far - (a + 3)) * far**2 + 1
    outer = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
    return np.asarray(np.where(far <= 1, near, np.where(far < 2, outer, 0.0)))


def taps(places: Array, size: int, scale: float, manner: Manner) -> tuple[Array, Array]:
    """(length, count) old elements that make each new one, and their weights."""
    wide = min(scale, 1.0) if manner.antialias else 1.0
    reach = (1.0 if manner.mode == "linear" else 2.0) / wide
    count = 2 * math.ceil(reach)
    first = np.floor(places) - (count // 2 - 1)
    chosen = first[:, None] + np.arange(count)
    weights = _kernel((places[:, None] - chosen) * wide, manner)
    if manner.exclude_outside:
        weights = np.where((chosen < 0) | (chosen >= size), 0.0, weights)
    weights = weights / weights.sum(1, keepdims=True)
    return np.clip(chosen, 0, size - 1).astype(np.int64), weights


def resize_axis(
    input: Any, axis: int, length: int, scale: float, roi: tuple[float, float], manner: Manner
) -> Any:
    """One axis with another number of elements."""
    size = input.shape[axis]
    places = positions(manner, size, length, scale, roi)
    if manner.mode == "nearest":
        chosen = np.clip(_nearest(places, manner.nearest), 0, size - 1).astype(np.int64)
        return choose(input, axis, chosen)
    chosen, weights = taps(places, size, scale, manner)
    shape = [1] * input.ndim
    shape[axis] = length
    total: Any = 0
    for tap in range(chosen.shape[1]):
        if weights[:, tap].any():
            part = choose(input, axis, chosen[:, tap])
            total = total + part * tensor_of(weights[:, tap].astype(np.float32)).reshape(shape)
    return total


def choose(input: Any, axis: int, chosen: Array) -> Any:
    """Elements of an axis; where each stands a whole number of times in a row, they are repeated without indices."""
    size, length = input.shape[axis], len(chosen)
    if size and length % size == 0 and (chosen == np.arange(length) // (length // size)).all():
        times = length // size
        if times == 1:
            return input
        shape = list(input.shape)
        wide = input.unsqueeze(axis + 1).expand(*shape[: axis + 1], times, *shape[axis + 1 :])
        return wide.reshape(*shape[:axis], length, *shape[axis + 1 :])
    return input.index_select(axis, tensor_of(np.ascontiguousarray(chosen)))


def resized(
    input: Tensor, axes: Sequence[int], lengths: Sequence[int], scales: Sequence[float], manner: Manner,
    roi: Sequence[float] | None = None, extrapolation: float = 0.0,
) -> Any:  # fmt: skip
    """Each axis in turn; with a region of interest what is outside of the input has a value of its own."""
    floating = input.dtype.is_floating_point
    result: Any = input if floating or manner.mode == "nearest" else input.to(lg.float32)
    crop = manner.coordinates == "tf_crop_and_resize"
    inside: Any = None
    count = len(axes)
    for place, (axis, length, scale) in enumerate(zip(axes, lengths, scales)):
        size = input.shape[axis]
        region = (roi[place], roi[place + count]) if crop and roi is not None else (0.0, 1.0)
        if crop:
            where = positions(manner, size, length, scale, region)
            shape = [1] * input.ndim
            shape[axis] = length
            here = lg.tensor((where >= 0) & (where <= size - 1)).reshape(shape)
            inside = here if inside is None else inside.logical_and(here)
        if crop or length != size or scale != 1:
            result = resize_axis(result, axis, length, scale, region, manner)
    if crop:
        result = lg.where(inside, result, extrapolation)
    if not floating and manner.mode != "nearest":
        limits = lg.iinfo(input.dtype)
        result = result.round().clamp(limits.min, limits.max)
    return result.to(input.dtype)


@operator("Upsample", 7)
def upsample_attribute(input: Tensor, *, scales: Sequence[float], mode: str = "nearest") -> Any:
    return upsample(input, np.array(scales, np.float32), mode=mode)


@operator("Upsample", 9)
@operator("Resize", 10)
def upsample(input: Tensor, scales: Array, *, mode: str = "nearest") -> Any:
    factors = [float(scale) for scale in scales]
    lengths = [math.floor(size * scale) for size, scale in zip(input.shape, factors)]
    manner = Manner("linear" if mode == "bilinear" else mode, "asymmetric", "floor")
    return resized(input, range(input.ndim), lengths, factors, manner)


@operator("Resize", 11)
def resize(
    input: Tensor, roi: Array | None = None, scales: Array | None = None, sizes: Array | None = None, *,
    antialias: int = 0, axes: Sequence[int] | None = None, coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75, exclude_outside: int = 0, extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch", mode: str = "nearest", nearest_mode: str = "round_prefer_floor",
) -> Any:  # fmt: skip
    chosen = range(input.ndim) if axes is None else [axis % input.ndim for axis in axes]
    old = [input.shape[axis] for axis in chosen]
    if sizes is not None and sizes.size:
        lengths = [int(size) for size in sizes]
        factors = [length / size for length, size in zip(lengths, old)]
        if keep_aspect_ratio_policy != "stretch":
            pick = min if keep_aspect_ratio_policy == "not_larger" else max
            factors = [pick(factors)] * len(old)
            lengths = [math.floor(factors[0] * size + 0.5) for size in old]
    elif scales is not None:
        factors = [float(scale) for scale in scales]
        lengths = [math.floor(size * scale) for size, scale in zip(old, factors)]
    else:
        raise ValueError("Resize: neither scales nor sizes")
    manner = Manner(
        mode,
        coordinate_transformation_mode,
        nearest_mode,
        cubic_coeff_a,
        bool(exclude_outside),
        bool(antialias),
    )
    region = None if roi is None or not roi.size else [float(value) for value in roi]
    return resized(input, list(chosen), lengths, factors, manner, region, extrapolation_value)
