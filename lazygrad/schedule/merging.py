"""Long sorts in steps, for devices on which a group of threads sorts a row in memory of its own.

In: a graph, and how many elements such a row may have. Out: a graph that finds the same places; no row that it sorts is longer.

A long row is sorted in blocks. Of a small part of the order, at its front, only the first elements of each block can be, so these are what is sorted
next. Otherwise the blocks, which are as many as a power of two, are runs in order, and of each two of them one is made until there is one: a SORT that
knows of its runs merges them, in which each element finds its place by itself. What is merged are words of a key and its place, where 64 bits are
enough for both, else keys, and places go along with them. All of it is stable: what is behind a row stands behind all that is in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.args import Sort
from ..ir.build import gather, pad, shrink, sort
from ..ir.dtype import int64, uint32, uint64
from ..ir.node import Node, iota
from ..ir.rewrite import rebuild, remake


def divide_sorts(roots: Sequence[Node], most: int) -> list[Node]:
    """The roots with every sort of rows of more than `most` elements in steps."""

    def make(node: Node, src: tuple[Node, ...]) -> Node:
        made = remake(node, src)
        if not isinstance(made.arg, Sort) or _length(made.src[0], made.arg.axis) <= most:
            return made
        return _divided(made, made.arg, most)

    return rebuild(roots, lambda node: node if node.value is not None else None, make)


def _divided(node: Node, arg: Sort, most: int) -> Node:
    order = [axis for axis in range(len(node.shape)) if axis != arg.axis] + [arg.axis]
    keys = node.src[0].permute(order)
    if arg.bits < keys.dtype.bits:
        keys = keys & ((1 << arg.bits) - 1)
    count = _length(node, arg.axis)
    end = arg.first + count
    if 2 * end <= most:
        nothing = (0,) * (len(order) - 1)
        places = _first(keys, arg.bits, end, most)
        part = shrink(places, (*nothing, arg.first), (*keys.shape[:-1], count))
    else:
        part = _merged(keys, arg.bits, arg.first, count, most)
    found = part.permute([order.index(axis) for axis in range(len(order))])
    found.site = node.site
    return found


def _padded(keys: Node, bits: int, blocks: int) -> Node:
    """The keys, and behind them the largest ones, as so many blocks of one length: (..., blocks, length)."""
    outer, size = keys.shape[:-1], _length(keys, -1)
    block = -(-size // blocks)
    nothing = (0,) * len(outer)
    more = (*nothing, blocks * block - size)
    padded = pad(keys, (*nothing, 0), more, value=(1 << bits) - 1)
    return padded.reshape((*outer, blocks, block))


def _first(keys: Node, bits: int, count: int, most: int) -> Node:
    """Where the first `count` elements of the order along the last axis stand."""
    axis, size = len(keys.shape) - 1, _length(keys, -1)
    if size <= most:
        return sort(keys, axis, bits, 0, count)
    blocks = _padded(keys, bits, -(-size // most))
    within = sort(blocks, axis + 1, bits, 0, min(count, _length(blocks, -1)))
    flat = (*keys.shape[:-1], _length(within, axis) * _length(within, -1))
    left = gather(blocks, within, axis + 1).reshape(flat)
    return gather(_places(within, blocks).reshape(flat), _first(left, bits, count, most), axis)


def _places(within: Node, blocks: Node) -> Node:
    """Places in a row, of places in its blocks."""
    axis = len(blocks.shape) - 2
    return within + _along(axis, within) * _length(blocks, -1)


def _merged(keys: Node, bits: int, first: int, count: int, most: int) -> Node:
    """Where the `count` elements from `first` on stand in the order along the last axis."""
    axis, size = len(keys.shape) - 1, _length(keys, -1)
    runs = _padded(keys, bits, 1 << (-(-size // most) - 1).bit_length())
    order = sort(runs, axis + 1, bits)
    places, ordered = _places(order, runs), gather(runs, order, axis + 1)
    width = (_length(runs, axis) * _length(runs, -1) - 1).bit_length()
    together = bits + width <= uint64.bits
    if together:
        word = uint32 if bits + width <= uint32.bits else uint64
        ordered = (ordered.cast(word) << width) | places.cast(word)
        bits += width
    while _length(ordered, axis) > 1:
        number, run = _length(ordered, axis) // 2, _length(ordered, -1)
        pairs = (*ordered.shape[:-2], number, 2 * run)
        ordered, places = ordered.reshape(pairs), places.reshape(pairs)
        part = (first, count) if number == 1 else (0, 2 * run)
        order = sort(ordered, axis + 1, bits, *part, run)
        ordered = gather(ordered, order, axis + 1)
        places = places if together else gather(places, order, axis + 1)
    if together:
        places = (ordered & ((1 << width) - 1)).cast(int64)
    return places.reshape((*keys.shape[:-1], count))


def _along(axis: int, node: Node) -> Node:
    """The index along `axis`, in the shape of `node`."""
    shape = tuple(n if a == axis else 1 for a, n in enumerate(node.shape))
    return iota(node.shape[axis], int64, node.place).reshape(shape).expand(node.shape)


def _length(node: Node, axis: int) -> int:
    size = node.shape[axis]
    assert isinstance(size, int)
    return size


__all__ = ["divide_sorts"]
