"""Pooling over the last axes: the largest element or the mean of each window, or of each of a fixed number of parts.

A window of ordinary pooling lies at a multiple of the stride (WINDOW); the parts of adaptive pooling differ in size, so their elements
are gathered, a part that is shorter than the longest reading its last element again. Indices count the elements of the pooled axes
of the input, in row-major order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents
from ..gradient.reverse_structure import along, zeros_like
from ..ir.args import Call
from ..ir.build import fold, gather, pad, scatter, shrink, window
from ..ir.composite import call, composite
from ..ir.dtype import int64
from ..ir.node import Node, constant, iota, unary, where
from ..ir.op import Op
from .precision import wide

FAR = 2**62
"""An index larger than any."""


# --- windows


def _windows(
    x: Node,
    sizes: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    value: float,
) -> Node:
    """(lead, *results, *sizes): the windows over the last axes of x, with `value` around it."""
    lead = (0,) * (len(x.shape) - len(sizes))
    padded = pad(x, (*lead, *before), (*lead, *after), value=value)
    return window(padded, range(len(lead), len(x.shape)), sizes, strides, dilations)


def _inner(node: Node, rank: int) -> range:
    """The axes inside the windows."""
    return range(len(node.shape) - rank, len(node.shape))


def _without(node: Node, rank: int) -> Node:
    """The node without the axes inside the windows, which are reduced."""
    return node.reshape(node.shape[: len(node.shape) - rank])


def _within(node: Node, like: Node) -> Node:
    """A value for each window, in every element of it."""
    missing = (1,) * (len(like.shape) - len(node.shape))
    return node.reshape((*node.shape, *missing)).expand(like.shape)


def lowest(node: Node) -> float:
    """What no element of the node's dtype is below."""
    dtype = node.dtype
    if dtype.kind == "float":
        return -math.inf
    return -(1 << dtype.bits - 1) if dtype.kind == "int" else 0


def _flat_index(x: Node, rank: int) -> Node:
    """The index of each element over the last `rank` axes together, in row-major order."""
    total = constant(0, int64, x.shape, x.place)
    stride = 1
    for axis in reversed(_inner(x, rank)):
        total = total + along(axis, x) * stride
        stride *= int(x.shape[axis])  # type: ignore[arg-type]
    return total


def _first_of_largest(values: Node, index: Node, top: Node, rank: int) -> Node:
    """The index of the first of the largest elements; of the last NaN where there is one, as PyTorch's loops find it."""
    found = where(values.eq(_within(_without(top, rank), values)), index, FAR)
    if values.dtype.kind == "float":
        found = where(values.ne(values), -1 - index, found)
    least = _without(found.reduce("min", _inner(values, rank)), rank)
    return where(least.lt(0), -1 - least, least) if values.dtype.kind == "float" else least


Extents = tuple[int, ...]


@composite("max_pool")
def max_pool(
    x: Node, sizes: Extents, strides: Extents, dilations: Extents, before: Extents, after: Extents
) -> Node:
    values = _windows(x, sizes, strides, dilations, before, after, lowest(x))
    return _without(values.reduce("max", _inner(values, len(sizes))), len(sizes))


@composite("max_pool_index")
def max_pool_index(
    x: Node, sizes: Extents, strides: Extents, dilations: Extents, before: Extents, after: Extents
) -> Node:
    rank = len(sizes)
    values = _windows(x, sizes, strides, dilations, before, after, lowest(x))
    index = _windows(_flat_index(x, rank), sizes, strides, dilations, before, after, FAR - 1)
    return _first_of_largest(values, index, values.reduce("max", _inner(values, rank)), rank)


@COMPOSITE_REVERSE.rule("max_pool")
def max_pool_reverse(node: Node, cotangent: Node) -> Cotangents:
    """Each element gets the cotangents of the windows whose index it has."""
    assert isinstance(node.arg, Call)
    x = node.src[0]
    attributes: dict[str, Any] = dict(node.arg.attributes)
    chosen = call("max_pool_index", [x], **attributes)
    sizes, strides, dilations, before, after = (
        _extents(node, name) for name in ("sizes", "strides", "dilations", "before", "after")
    )
    rank = len(sizes)
    index = _windows(_flat_index(x, rank), sizes, strides, dilations, before, after, FAR - 1)
    share = where(index.eq(_within(chosen, index)), _within(wide(cotangent), index), 0.0)
    lead = (0,) * (len(x.shape) - rank)
    padded = tuple(
        n + b + a for n, b, a in zip(x.shape, (*lead, *before), (*lead, *after), strict=True)
    )
    spread = fold(share, padded, range(len(lead), len(x.shape)), sizes, strides, dilations)
    return (shrink(spread, (*lead, *before), x.shape).cast(x.dtype),)


@composite("avg_pool")
def avg_pool(
    x: Node,
    sizes: Extents,
    strides: Extents,
    before: Extents,
    after: Extents,
    padding_counts: bool,
    divisor: int | None,
) -> Node:
    """The mean of each window; with `padding_counts`, what is around the input counts, up to its own size at each end."""
    rank = len(sizes)
    values = _windows(wide(x), sizes, strides, (1,) * rank, before, after, 0)
    total = _without(values.sum(_inner(values, rank)), rank)
    lead = len(x.shape) - rank
    counts = constant(divisor or 1, int64, total.shape, x.place)
    for axis in range(rank) if divisor is None else ():
        length = int(x.shape[lead + axis])  # type: ignore[arg-type]
        ahead = before[axis]
        start = along(lead + axis, total) * strides[axis] - ahead
        end = (start + sizes[axis]).minimum(length + (ahead if padding_counts else 0))
        counts = counts * (end - (start if padding_counts else start.maximum(0)))
    if x.dtype.kind == "float":
        return (total / counts.cast(total.dtype)).cast(x.dtype)
    # integers round towards 0
    size = unary(Op.ABS, total) // unary(Op.ABS, counts.cast(total.dtype))
    return where(total.lt(0) if (divisor or 1) > 0 else total.gt(0), -size, size)


# --- a fixed number of parts


def _start(part: Node, size: int, parts: int) -> Node:
    return part * size // max(parts, 1)


def _end(part: Node, size: int, parts: int) -> Node:
    return ((part + 1) * size + (parts - 1)) // max(parts, 1)


def _longest(size: int, parts: int) -> int:
    """The elements of the largest part."""
    return max(
        (-(-(part + 1) * size // parts) - part * size // parts for part in range(parts)), default=1
    )


def _parts(x: Node, parts: Sequence[int]) -> Node:
    """(lead, *parts, *longest): the elements of each part of the last axes; the last element again where a part is shorter."""
    rank, lead = len(parts), len(x.shape) - len(parts)
    counts = []
    for axis, number in enumerate(parts, lead):
        size = int(x.shape[axis])  # type: ignore[arg-type]
        longest = _longest(size, number)
        counts.append(longest)
        position = iota(number * longest, place=x.place)
        part = position // longest
        index = (_start(part, size, number) + position % longest).minimum(
            _end(part, size, number) - 1
        )
        shape = [*x.shape[:axis], number * longest, *x.shape[axis + 1 :]]
        ones = (1,) * (len(x.shape) - axis - 1)
        x = gather(x, index.reshape((number * longest, *ones)).expand(shape), axis)
    pairs = [n for pair in zip(parts, counts, strict=True) for n in pair]
    order = [*range(lead), *range(lead, lead + 2 * rank, 2), *range(lead + 1, lead + 2 * rank, 2)]
    return x.reshape((*x.shape[:lead], *pairs)).permute(order)


@composite("adaptive_avg_pool")
def adaptive_avg_pool(x: Node, parts: Extents) -> Node:
    rank, lead = len(parts), len(x.shape) - len(parts)
    values = _parts(wide(x), parts)
    inside = lead + rank
    for axis, number in enumerate(parts):
        size = int(x.shape[lead + axis])  # type: ignore[arg-type]
        if number and size % number:
            part = along(lead + axis, values)
            element = _start(part, size, number) + along(inside + axis, values)
            values = where(element.lt(_end(part, size, number)), values, 0)
    total = _without(values.sum(_inner(values, rank)), rank)
    for axis, number in enumerate(parts):
        size = int(x.shape[lead + axis])  # type: ignore[arg-type]
        part = along(lead + axis, total)
        length = _end(part, size, number) - _start(part, size, number)
        total = total / length.cast(total.dtype)
    return total.cast(x.dtype)


@composite("adaptive_max_pool")
def adaptive_max_pool(x: Node, parts: Extents) -> Node:
    values = _parts(x, parts)
    return _without(values.reduce("max", _inner(values, len(parts))), len(parts))


@composite("adaptive_max_pool_index")
def adaptive_max_pool_index(x: Node, parts: Extents) -> Node:
    values, index = _parts(x, parts), _parts(_flat_index(x, len(parts)), parts)
    top = values.reduce("max", _inner(values, len(parts)))
    return _first_of_largest(values, index, top, len(parts))


@COMPOSITE_REVERSE.rule("adaptive_max_pool")
def adaptive_max_pool_reverse(node: Node, cotangent: Node) -> Cotangents:
    """The parts overlap, but few of them: each cotangent is added where its index says."""
    x = node.src[0]
    parts = _extents(node, "parts")
    lead = x.shape[: len(x.shape) - len(parts)]
    chosen = call("adaptive_max_pool_index", [x], parts=parts)
    many = math.prod(parts)
    flat = wide(x).reshape((*lead, math.prod(x.shape[len(lead) :])))
    spread = scatter(
        zeros_like(flat),
        chosen.reshape((*lead, many)),
        wide(cotangent).reshape((*lead, many)),
        len(lead),
    )
    return (spread.reshape(x.shape).cast(x.dtype),)


def _extents(node: Node, name: str) -> Extents:
    assert isinstance(node.arg, Call)
    found = node.arg.get(name)
    assert isinstance(found, tuple)
    return found
