"""Sorting one row by a group of threads: a network of compared pairs.

In: how many unsigned keys a row has, how many of their bits count, and which part of the order is wanted, as in sorting.py. Out: the lines of a
loop tree, as there; its loops of the kind `threads` are divided among the threads of a group.

A key stands beside its place, in one word where both fit, so all words differ, and every network sorts them stably. It is the bitonic one: a stage
makes runs twice as long, of two that are in order. Its first part compares each element of one run with its mirror image in the other one, the
parts behind it compare elements that lie half as far from each other each time. The less of a pair always goes to the lower place, so a
row whose length is no power of two is one whose last elements are greater than all others: what would be compared with those stays as it is.
"""

from __future__ import annotations

from lazygrad.ir import loops
from lazygrad.ir.dtype import int64, uint32, uint64
from lazygrad.ir.node import Node, constant, where

from .sorting import Result, less

LEAST = 8
"""A row of fewer elements than this one thread sorts."""
MOST = 1 << 11
"""The most elements of a row that a group sorts in memory of its own: 16 kilobytes of words, 24 of keys and places."""


def fits(size: int) -> bool:
    """Whether a group of threads sorts rows of `size` elements."""
    return LEAST <= size <= MOST


class Network:
    """Sorts a row in an array of words, or in one of keys and one of places."""

    def __init__(self, size: int, bits: int, first: int, count: int) -> None:
        self.size, self.first, self.count = size, first, count
        self.stages = (size - 1).bit_length()
        """Of a row: as many bits as its places have."""
        self.together = bits + self.stages <= uint64.bits
        self.word = uint32 if bits + self.stages <= uint32.bits else uint64
        self.words = [loops.local("words" if self.together else "keys", self.word, (size,))]
        if not self.together:
            self.words.append(loops.local("places", uint32, (size,)))
        self.before = list(self.words)

    def keep(self, place: Node, key: Node) -> list[Node]:
        if not self.together:
            there = loops.store(self.words[1], place, place.cast(uint32))
            return [loops.store(self.words[0], place, key.cast(uint64)), there]
        word = (key.cast(self.word) << self.stages) | place.cast(self.word)
        return [loops.store(self.words[0], place, word)]

    def after(self, result: Result) -> list[Node]:
        stage, part, pair = (loops.index(name) for name in ("stage", "part", "pair"))
        half = 1 << (self.stages - 1)
        """The pairs of a part, and the distance between those that lie farthest apart."""
        distance = constant(half, int64) >> ((part - stage) + (self.stages - 1))
        pairs = loops.loop(pair, half, self._compared(pair, part, distance), kind="threads")
        each = loops.index("each")
        found = loops.load(self.words[-1], each + self.first)
        place = found & ((1 << self.stages) - 1) if self.together else found
        stored = [found, result(each, place.cast(int64), None)]
        return [
            loops.loop(stage, self.stages, [loops.loop(part, stage + 1, [pairs])]),
            loops.loop(each, self.count, stored, kind="threads"),
        ]

    def _compared(self, pair: Node, part: Node, distance: Node) -> list[Node]:
        """Put the two elements of a pair in order."""
        within = pair & (distance - 1)
        low = pair * 2 - within
        high = low + where(part.eq(0), distance * 2 - within * 2 - 1, distance)
        inside = None if self.size == 1 << self.stages else high.lt(self.size)
        lower = [loops.load(buffer, low, inside) for buffer in self.words]
        upper = [loops.load(buffer, high, inside) for buffer in self.words]
        swapped = less(upper, lower)
        if inside is not None:
            swapped = swapped & inside
        lines = [*lower, *upper]
        for buffer, smaller, larger in zip(self.words, upper, lower, strict=True):
            lines.append(loops.store(buffer, low, smaller, swapped))
            lines.append(loops.store(buffer, high, larger, swapped))
        return lines


__all__ = ["MOST", "Network", "fits"]
