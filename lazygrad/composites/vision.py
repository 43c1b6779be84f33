"""Pictures: resampling to another size, and sampling at positions of a grid.

Every resampling goes axis by axis: an axis of the result reads one, two or four elements of the input's (GATHER by an index that is
computed, not stored), weighted. Positions are computed in float32 (float64 for float64), as PyTorch's are, so that both round alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..ir.build import gather, shrink
from ..ir.composite import composite
from ..ir.dim import Size
from ..ir.dtype import float32, int64
from ..ir.node import Node, constant, iota, unary, where
from ..ir.op import Op
from .precision import wide

CUBIC = -0.75
"""The slope that the weights of cubic interpolation have at distance 1."""


def _floor(node: Node) -> Node:
    return unary(Op.FLOOR, node)


def _pick(x: Node, axis: int, index: Node) -> Node:
    """The elements along `axis` that a list of indices names."""
    count = index.shape[0]
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    return gather(x, index.reshape((count, *(1,) * (len(shape) - axis - 1))).expand(shape), axis)


def _spread(values: Node, axis: int, like: Node) -> Node:
    """A value for each index along `axis`, in the shape of `like`."""
    return values.reshape((values.shape[0], *(1,) * (len(like.shape) - axis - 1))).expand(
        like.shape
    )


@composite("resample_nearest")
def resample_nearest(x: Node, axis: int, size: int, scale: float, centred: bool) -> Node:
    """The element that each of `size` positions lies in; `centred` ones are in the middle of theirs."""
    last = int(x.shape[axis]) - 1  # type: ignore[arg-type]
    kind = wide(x).dtype if x.dtype.kind == "float" else float32
    position = iota(size, place=x.place).cast(kind)
    if centred:
        position = position + 0.5
    return _pick(x, axis, _floor(position * scale).cast(int64).minimum(last))


def _positions(x: Node, size: int, scale: float, aligned: bool) -> Node:
    """Where in the input the elements of an axis of the result lie."""
    position = iota(size, place=x.place).cast(x.dtype)
    return position * scale if aligned else (position + 0.5) * scale - 0.5


@composite("resample_linear")
def resample_linear(x: Node, axis: int, size: int, scale: float, aligned: bool) -> Node:
    values = wide(x)
    last = int(x.shape[axis]) - 1  # type: ignore[arg-type]
    position = _positions(values, size, scale, aligned).maximum(0.0)
    below = _floor(position)
    low = below.cast(int64).minimum(last)
    left, right = _pick(values, axis, low), _pick(values, axis, (low + 1).minimum(last))
    share = _spread((position - below).maximum(0.0).minimum(1.0), axis, left)
    return (left * (1.0 - share) + right * share).cast(x.dtype)


def _cubic_weights(share: Node) -> list[Node]:
    """The weights of the elements at distances share + 1, share, 1 - share and 2 - share."""

    def near(d: Node) -> Node:
        return ((d * (CUBIC + 2) - (CUBIC + 3)) * d) * d + 1.0

    def far(d: Node) -> Node:
        return ((d * CUBIC - 5 * CUBIC) * d + 8 * CUBIC) * d - 4 * CUBIC

    return [far(share + 1.0), near(share), near(1.0 - share), far(2.0 - share)]


@composite("resample_cubic")
def resample_cubic(x: Node, axis: int, size: int, scale: float, aligned: bool) -> Node:
    values = wide(x)
    last = int(x.shape[axis]) - 1  # type: ignore[arg-type]
    position = _positions(values, size, scale, aligned)
    below = _floor(position)
    total: Node | None = None
    for offset, weight in enumerate(_cubic_weights(position - below), -1):
        index = (below.cast(int64) + offset).maximum(0).minimum(last)
        picked = _pick(values, axis, index)
        term = picked * _spread(weight, axis, picked)
        total = term if total is None else total + term
    assert total is not None
    return total.cast(x.dtype)


# --- sampling at positions


def _unnormalised(position: Node, size: int, aligned: bool) -> Node:
    """Positions between -1 and 1 as indices."""
    if aligned:
        return (position + 1.0) / 2.0 * (size - 1)
    return ((position + 1.0) * size - 1.0) / 2.0


def _reflected(index: Node, low: int, high: int) -> Node:
    """The index folded back and forth between low / 2 and high / 2."""
    if low == high:
        return index * 0.0
    start, span = low / 2, (high - low) / 2
    distance = unary(Op.ABS, index - start)
    turns = _floor(distance / span)
    rest = distance - turns * span
    odd = (turns - _floor(turns / 2.0) * 2.0).ne(0.0)
    return where(odd, span - rest + start, rest + start)


def _bounded(index: Node, size: int, padding: str, aligned: bool) -> Node:
    """The index where `padding` takes it: to the border, or mirrored inside."""
    if padding == "reflection":
        ends = (0, 2 * (size - 1)) if aligned else (-1, 2 * size - 1)
        index = _reflected(index, *ends)
    return index if padding == "zeros" else index.maximum(0.0).minimum(float(size - 1))


@composite("grid_sample")
def grid_sample(x: Node, grid: Node, mode: str, padding: str, aligned: bool) -> Node:
    """(N, C, *sizes) at the positions (N, *results, rank) of a grid, whose last axis counts the axes of x from the last one."""
    values, positions = wide(x), wide(grid).cast(wide(x).dtype)
    sizes = [int(n) for n in x.shape[2:]]  # type: ignore[arg-type]
    rank = len(sizes)
    results = grid.shape[1:-1]
    count = _product(results)
    flat = values.reshape((*x.shape[:2], _product(sizes)))
    indices = []
    for axis, size in enumerate(sizes):
        component = _component(positions, rank - 1 - axis).reshape((x.shape[0], 1, count))
        indices.append(_unnormalised(component, size, aligned))
    if mode != "bicubic":
        indices = [_bounded(i, n, padding, aligned) for i, n in zip(indices, sizes, strict=True)]
    sample = {"nearest": _nearest, "bilinear": _linear, "bicubic": _cubic}[mode]
    made = sample(flat, indices, sizes, lambda i, n: _bounded(i, n, padding, aligned))
    return made.reshape((*x.shape[:2], *results)).cast(x.dtype)


def _product(sizes: Sequence[Size]) -> int:
    """The number of elements, which must be known.

    Raises:
        TypeError: a size is a Dim; the program is then compiled for its sizes alone.
    """
    numbers = [int(size) for size in sizes]  # type: ignore[arg-type]
    return math.prod(numbers)


def _component(grid: Node, which: int) -> Node:
    """One number of each position."""
    lead = grid.shape[:-1]
    return shrink(grid, (*(0,) * len(lead), which), (*lead, 1))


Bounds = Callable[[Node, int], Node]


def _at(flat: Node, indices: Sequence[Node], sizes: Sequence[int], weight: Node | None) -> Node:
    """The elements at whole indices, times a weight; 0 for those outside."""
    inside: Node | None = None
    position: Node | None = None
    for index, size in zip(indices, sizes, strict=True):
        fits = index.ge(0.0) & index.le(float(size - 1))
        inside = fits if inside is None else inside & fits
        whole = where(fits, index, 0.0).cast(int64)
        position = whole if position is None else position * size + whole
    assert inside is not None and position is not None
    shape = (*flat.shape[:2], position.shape[2])
    picked = gather(flat, where(inside, position, 0).expand(shape), 2)
    if weight is not None:
        picked = picked * weight.expand(shape)
    return where(inside.expand(shape), picked, 0.0)


def _nearest(flat: Node, indices: Sequence[Node], sizes: Sequence[int], bounds: Bounds) -> Node:
    return _at(flat, [unary(Op.ROUND, index) for index in indices], sizes, None)


def _linear(flat: Node, indices: Sequence[Node], sizes: Sequence[int], bounds: Bounds) -> Node:
    """The corners of the cell around each position, each weighted by the part of the cell that is opposite."""
    below = [_floor(index) for index in indices]
    total: Node | None = None
    for corner in range(1 << len(sizes)):
        weight: Node | None = None
        whole = []
        for axis, (index, low) in enumerate(zip(indices, below, strict=True)):
            upper = corner >> (len(sizes) - 1 - axis) & 1
            part = index - low if upper else low + 1.0 - index
            weight = part if weight is None else weight * part
            whole.append(low + float(upper))
        term = _at(flat, whole, sizes, weight)
        total = term if total is None else total + term
    assert total is not None
    return total


def _cubic(flat: Node, indices: Sequence[Node], sizes: Sequence[int], bounds: Bounds) -> Node:
    """Four rows of four elements around each position."""
    below = [_floor(index) for index in indices]
    weights = [_cubic_weights(i - low) for i, low in zip(indices, below, strict=True)]
    total = constant(0.0, flat.dtype, (*flat.shape[:2], indices[0].shape[2]), flat.place)
    for row in range(4):
        for column in range(4):
            whole = [
                bounds(low + float(offset - 1), size)
                for low, offset, size in zip(below, (row, column), sizes, strict=True)
            ]
            total = total + _at(flat, whole, sizes, weights[0][row] * weights[1][column])
    return total
