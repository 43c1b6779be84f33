"""Resampling by windows of weights: with antialiasing, and of bytes.

An element of the result is a weighted sum over the window of elements that it covers. Windows and weights depend on the sizes alone: they
are expressions of positions, rounded where PyTorch's are, and the sum is a reduction over an axis of the window. With antialiasing a
window grows with the scale. Bytes are weighted in whole numbers: weights become multiples of a power of two with which the largest of
them has 15 bits, so the result is the same whatever computes it.
"""

from __future__ import annotations

import math

from ..ir.build import gather
from ..ir.composite import composite
from ..ir.dtype import DType, float64, int32, int64, uint8
from ..ir.node import Node, constant, iota, unary, where
from ..ir.op import Op
from .precision import wide

KEYS = -0.5
"""The slope that cubic weights have at distance 1 with antialiasing."""
CUBIC = -0.75
"""The same without."""
PRECISIONS = 22
"""The weights of bytes are multiples of one of the powers 0 to 22 of 1/2."""


def weight_at(distance: Node, cubic: bool, slope: float) -> Node:
    """The weight of an element at a distance from a position: a triangle of width 2, or a cubic convolution kernel of width 4."""
    d = unary(Op.ABS, distance)
    if not cubic:
        return (1.0 - d).maximum(0.0)
    near = ((d * (slope + 2) - (slope + 3)) * d) * d + 1.0
    far = ((d * slope - 5 * slope) * d + 8 * slope) * d - 4 * slope
    return where(d.lt(1.0), near, where(d.lt(2.0), far, 0.0))


def _truncated(node: Node) -> Node:
    return unary(Op.TRUNC, node).cast(int64)


def _across(node: Node, shape: tuple[int, ...], axis: int) -> Node:
    """A line of values along one axis of `shape`."""
    return node.reshape([n if a == axis else 1 for a, n in enumerate(shape)]).expand(shape)


def _covered(
    count: int, size: int, scale: float, cubic: bool, dtype: DType, place: str
) -> tuple[Node, Node]:
    """For each of `size` positions the elements under its area, of `count`, and their weights: both (size, taps)."""
    exact = constant(scale, dtype, (size,), place).cast(float64)
    widest = max(scale, 1.0)
    reach = (2.0 if cubic else 1.0) * widest
    shape = (size, math.ceil(reach) * 2 + 1)
    centre = ((iota(size, place=place).cast(float64) + 0.5) * exact).cast(dtype)
    support = constant(reach, dtype, (size,), place)
    first = _truncated((centre - support).cast(float64) + 0.5).maximum(0)
    end = _truncated((centre + support).cast(float64) + 0.5).minimum(count)
    tap = _across(iota(shape[1], place=place), shape, 1)
    index = tap + _across(first, shape, 0)
    offset = (index.cast(dtype) - _across(centre, shape, 0)).cast(float64) + 0.5
    inverse = constant(1.0 / widest, dtype, shape, place).cast(float64)
    weights = weight_at((offset * inverse).cast(dtype), cubic, KEYS)
    weights = where(index.lt(_across(end, shape, 0)), weights, 0.0)
    total = weights.sum((1,)).expand(shape)
    return index, where(total.eq(0.0), weights, weights / total)


def _neighbours(
    count: int, size: int, scale: float, aligned: bool, cubic: bool, place: str
) -> tuple[Node, Node]:
    """For each of `size` positions its two or four neighbours of `count`, and their weights in float64: both (size, taps).

    Neighbours beyond the ends are the outermost elements, whose weights add.
    """
    taps = 4 if cubic else 2
    position = iota(size, place=place).cast(float64)
    position = position * scale if aligned else (position + 0.5) * scale - 0.5
    if not cubic:
        position = position.maximum(0.0)
    below = unary(Op.FLOOR, position).minimum(float(count - 1))
    share = (position - below).maximum(0.0).minimum(1.0)
    start = below.cast(int64) - (taps // 2 - 1)
    shape = (size, taps, taps)
    slot = _across(iota(taps, place=place), shape, 1)
    tap = _across(iota(taps, place=place), shape, 2)
    index = _across(start.maximum(0), shape, 0) + slot
    lies = (_across(start, shape, 0) + tap).maximum(0).minimum(count - 1)
    distance = tap.cast(float64) - (taps // 2 - 1) - _across(share, shape, 0)
    terms = where(index.eq(lies), weight_at(distance, cubic, CUBIC), 0.0)
    first = _across(start.maximum(0), shape[:2], 0)
    return first + _across(iota(taps, place=place), shape[:2], 1), terms.sum((2,)).reshape(shape[:2])  # fmt: skip


def _weighted(x: Node, axis: int, index: Node, weights: Node) -> Node:
    """The sums over windows along an axis; indices behind the end have weight 0."""
    size, taps = (int(n) for n in weights.shape)  # type: ignore[arg-type]
    last = int(x.shape[axis]) - 1  # type: ignore[arg-type]
    places = index.maximum(0).minimum(last).reshape((size * taps,))
    lead, rest = x.shape[:axis], x.shape[axis + 1 :]
    flat = (*lead, size * taps, *rest)
    ones = (1,) * len(rest)
    picked = gather(x, places.reshape((size * taps, *ones)).expand(flat), axis)
    shape = (*lead, size, taps, *rest)
    terms = picked.reshape(shape) * weights.reshape((size, taps, *ones)).expand(shape)
    return terms.sum((axis + 1,)).reshape((*lead, size, *rest))


@composite("resample_covered")
def resample_covered(x: Node, axis: int, size: int, scale: float, cubic: bool) -> Node:
    """Antialiased: windows as wide as the area of an element of the result."""
    values = wide(x)
    count = int(x.shape[axis])  # type: ignore[arg-type]
    index, weights = _covered(count, size, scale, cubic, values.dtype, x.place)
    return _weighted(values, axis, index, weights).cast(x.dtype)


def _one(like: Node) -> Node:
    return constant(1, like.dtype, like.shape, like.place)


def _power(exponent: Node) -> Node:
    """The powers of two that integers name, in float64."""
    return (_one(exponent) << exponent).cast(float64)


@composite("resample_bytes")
def resample_bytes(
    x: Node, axis: int, size: int, scale: float, aligned: bool, cubic: bool, antialias: bool
) -> Node:
    count = int(x.shape[axis])  # type: ignore[arg-type]
    if antialias:
        index, weights = _covered(count, size, scale, cubic, float64, x.place)
    else:
        index, weights = _neighbours(count, size, scale, aligned, cubic, x.place)
    largest = weights.reduce("max", (0, 1)).reshape((1,)).expand((PRECISIONS,))
    fits = unary(Op.FLOOR, largest * _power(iota(PRECISIONS, int32, x.place) + 1) + 0.5)
    precision = fits.lt(float(1 << 15)).cast(int32).sum((0,)).reshape((1, 1))
    scaled = weights * _power(precision).expand(weights.shape)
    half = where(weights.lt(0.0), -0.5, constant(0.5, float64, weights.shape, x.place))
    whole = unary(Op.TRUNC, scaled + half).cast(int32)
    total = _weighted(x.cast(int32), axis, index, whole)
    shift = precision.reshape((1,) * len(total.shape)).expand(total.shape)
    rounded = total + (_one(shift) << (shift - 1))
    return (rounded >> shift).maximum(0).minimum(255).cast(uint8)
