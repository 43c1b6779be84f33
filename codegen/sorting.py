"""Sorting one row: the loops that put the places of its elements in order of their keys.

In: how many unsigned keys a row has, how many of their bits count, their dtype, and which part of the order is wanted. Out: the lines of a
loop tree around the loop that computes the keys: those `before` it, those that `keep` one key, and those `after` it, which store the
places in order.

A short row is ranked: the place of an element in the result is the number of those before it, counted by comparing it with
every other one, which vectors do well. A long row is sorted digit by digit, least significant first (LSD radix): counts of all
digits are made while the keys are computed; each pass then moves every element behind those of smaller digits. Both are stable, and
take a time that does not depend on the order, but for passes over a digit that all keys share, which are left out. A part of the order
of a long row is selected (selection.py), and only what is left is sorted.

So one thread sorts a row; a group of them does it by a network (sorting_network.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lazygrad.ir import loops
from lazygrad.ir.args import Accumulate
from lazygrad.ir.dtype import DType, bool_, int32, int64, uint32, uint64
from lazygrad.ir.node import Node, constant, where
from lazygrad.ir.op import Op

RANKED = 128
"""A row of up to this many elements of 4 bytes is ranked."""
DIGIT_BITS = 8
"""With 256 destinations the line that each is written at stays in the first level of cache."""
DIGITS = 1 << DIGIT_BITS

Result = Callable[[Node, Node, Node | None], Node]
"""The line that stores a place, given its position in the part of the sorted row that is wanted, where a mask holds."""


class RowSort(Protocol):
    """The lines that sort one row."""

    before: list[Node]

    def keep(self, place: Node, key: Node) -> list[Node]: ...

    def after(self, result: Result) -> list[Node]: ...


def row_sort(keys: DType, size: int, bits: int, first: int, count: int) -> RowSort:
    """How to find the `count` places from `first` on in the order of `size` keys, of which the low `bits` count."""
    from .selection import FEW, Few, Selection

    if size <= RANKED * 4 // keys.itemsize:
        return _Ranking(keys, size, first, count)
    if count == size:
        return Radix(keys, size, bits)
    return (
        Few(keys, size, count)
        if not first and count <= FEW
        else Selection(keys, size, bits, first, count)
    )


class _Ranking:
    def __init__(self, keys: DType, size: int, first: int, count: int) -> None:
        self.size, self.first, self.count = size, first, count
        self.keys = loops.local("keys", keys, (size,))
        self.before = [self.keys]

    def keep(self, place: Node, key: Node) -> list[Node]:
        return [loops.store(self.keys, place, key)]

    def after(self, result: Result) -> list[Node]:
        each, other = loops.index("each"), loops.index("other")
        own, its = loops.load(self.keys, each), loops.load(self.keys, other)
        rank = loops.local("rank", int32)
        first = its.lt(own) | (its.eq(own) & other.lt(each))
        one = where(first, constant(1, int32), constant(0, int32))
        counting = Node(
            Op.ACCUMULATE, (rank, constant(0, int64), one), bool_, (), Accumulate("add")
        )
        total = loops.load(rank, 0)
        lines = [
            own,
            rank,
            loops.store(rank, 0, constant(0, int32)),
            loops.loop(other, self.size, [its, counting]),
            total,
            self._result(total.cast(int64) - self.first, each, result),
        ]
        return [loops.loop(each, self.size, lines)]

    def _result(self, place: Node, each: Node, result: Result) -> Node:
        if self.count == self.size:
            return result(place, each, None)
        inside = place.ge(0) & place.lt(self.count)
        return result(where(inside, place, 0), each, inside)


class Radix:
    """Elements move between the halves of a buffer. Keys of up to 32 bits share a word with their place, so that one store moves both."""

    def __init__(self, keys: DType, size: int, bits: int) -> None:
        self.size = size
        self.passes = -(-bits // DIGIT_BITS)
        narrow = size < 1 << 32
        self.together = keys.itemsize <= 4 and narrow
        self.words = [loops.local("keys", uint64, (2 * size,))]
        if not self.together:
            self.words.append(loops.local("places", uint32 if narrow else uint64, (2 * size,)))
        self.counts = loops.local("counts", int64, (self.passes * DIGITS,))
        clear = loops.index("clear")
        zero = loops.store(self.counts, clear, constant(0, int64))
        self.before = [
            *self.words,
            self.counts,
            loops.loop(clear, self.passes * DIGITS, [zero]),
        ]

    def keep(self, place: Node, key: Node) -> list[Node]:
        return [*self.placed(place, key), *self.counted(key.cast(uint64))]

    def placed(self, place: Node, key: Node) -> list[Node]:
        """Store a key and its place."""
        wide = key.cast(uint64)
        if self.together:
            return [loops.store(self.words[0], place, together(key, place))]
        there = loops.store(self.words[1], place, place.cast(self.words[1].dtype))
        return [loops.store(self.words[0], place, wide), there]

    def counted(self, key: Node) -> list[Node]:
        """Count all digits of a key."""
        lines: list[Node] = []
        for number in range(self.passes):
            lines += raised(self.counts, self._slot(key, constant(number, int64)))
        return lines

    def after(self, result: Result) -> list[Node]:
        """Run the passes, then store the places that stand in the half where the last one left them."""
        return self.ordered(constant(self.size, int64), constant(0, int64), self.size, result)

    def ordered(self, size: Node, first: Node, count: int, result: Result) -> list[Node]:
        """Sort the first `size` elements, and store `count` of the places from `first` on."""
        half = loops.local("half", int64)
        read = loops.load(half, 0)
        each, step = loops.index("each"), loops.index("pass")
        place = loops.load(self.words[-1], read + first + each)
        mask = (1 << 32) - 1
        found = place & constant(mask, uint64) if self.together else place
        return [
            half,
            loops.store(half, 0, constant(0, int64)),
            loops.loop(step, self.passes, self._pass(half, step, size)),
            read,
            loops.loop(each, count, [place, result(each, found.cast(int64), None)]),
        ]

    def _pass(self, half: Node, step: Node, size: Node) -> list[Node]:
        """Move every element from one half to the other, in order of one digit, unless all have the same."""
        source = loops.load(half, 0)
        first = loops.load(self.words[0], source)
        equal = loops.load(self.counts, self._slot(self.key(first), step))
        trips = where(equal.eq(size), 0, size)
        target = constant(self.size, int64) - source
        move = loops.index("move")
        words = [loops.load(buffer, source + move) for buffer in self.words]
        slot = self._slot(self.key(words[0]), step)
        to, more = raised(self.counts, slot)
        stores = [
            loops.store(buffer, target + to, word)
            for buffer, word in zip(self.words, words, strict=True)
        ]
        return [
            source,
            first,
            equal,
            *self._starts(step),
            loops.loop(move, trips, [*words, to, more, *stores]),
            loops.store(half, 0, where(trips.eq(0), source, target)),
        ]

    def _starts(self, step: Node) -> list[Node]:
        """Counts become the positions where elements of each digit begin."""
        total, digit = loops.local("total", int64), loops.index("digit")
        slot = step * DIGITS + digit
        count, before = loops.load(self.counts, slot), loops.load(total, 0)
        lines = [count, before, loops.store(self.counts, slot, before)]
        lines.append(loops.store(total, 0, before + count))
        return [
            total,
            loops.store(total, 0, constant(0, int64)),
            loops.loop(digit, DIGITS, lines),
        ]

    def key(self, word: Node) -> Node:
        """The key in a word."""
        return word >> constant(32, uint64) if self.together else word

    def _slot(self, key: Node, step: Node) -> Node:
        """Where the count of a key's digit stands."""
        shift = (step * DIGIT_BITS).cast(uint64)
        digit = (key >> shift) & constant(DIGITS - 1, uint64)
        return step * DIGITS + digit.cast(int64)


def together(key: Node, place: Node) -> Node:
    """A key and its place in one word, whose order is that of keys, and of places where keys are equal."""
    return Node(Op.SHL, (key.cast(uint64), constant(32, uint64)), uint64, ()) | place.cast(uint64)


def less(left: list[Node], right: list[Node]) -> Node:
    """Whether a word comes before another one, or a key and its place before others."""
    if len(left) == 1:
        return left[0].lt(right[0])
    return left[0].lt(right[0]) | (left[0].eq(right[0]) & left[1].lt(right[1]))


def raised(counts: Node, slot: Node) -> tuple[Node, Node]:
    """Read a count, and raise it by one."""
    count = loops.load(counts, slot)
    return count, loops.store(counts, slot, count + 1)


__all__ = ["Radix", "Result", "RowSort", "less", "raised", "row_sort", "together"]
