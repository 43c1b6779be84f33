"""Selecting a part of the order of a long row: its first few elements, or any run of places.

In: the keys of a row, as in sorting.py, and which places of the order are wanted. Out: the lines of a loop tree, as there.

The first few are kept in order while the keys are computed: a key that is not less than the last of them costs one comparison. Any other
part is found by digits, most significant first: counts say in which digits the part begins and ends, what lies outside is dropped, and
while the two digits are the same the next one tells more. What is left is sorted. All are stable, as a sort is.
"""

from __future__ import annotations

from lazygrad.ir import loops
from lazygrad.ir.dtype import DType, int64, uint64
from lazygrad.ir.node import Node, constant, where

from .sorting import Radix, Result, less, raised, together

FEW = 16
"""So many elements are kept in order while the keys are computed."""
LONG = 1 << 16
"""A row of so many elements is cut by digits of more bits."""
NOTHING = (1 << 64) - 1


class Few:
    """The first `count` of the order, in a list that each smaller key is put into."""

    def __init__(self, keys: DType, size: int, count: int) -> None:
        self.count = count
        self.together = keys.itemsize <= 4 and size < NOTHING >> 32
        names = ("words",) if self.together else ("keys", "places")
        self.lists = [loops.local(name, uint64, (count,)) for name in names]
        clear = loops.index("clear")
        nothing = [loops.store(each, clear, constant(NOTHING, uint64)) for each in self.lists]
        self.before = [*self.lists, loops.loop(clear, count, nothing)]

    def keep(self, place: Node, key: Node) -> list[Node]:
        """Put a key that is less than the last of the list at its place, and move what comes after it."""
        new = [together(key, place)] if self.together else [key.cast(uint64), place.cast(uint64)]
        last = [loops.load(each, self.count - 1) for each in self.lists]
        carried = [loops.local(f"carried{n}", uint64) for n in range(len(new))]
        slot, once = loops.index("slot"), loops.index("once")
        moving = [loops.load(each, 0) for each in carried]
        there = [loops.load(each, slot) for each in self.lists]
        smaller = less(moving, there)
        lines = [*moving, *there]
        for buffer, list_, its, old in zip(carried, self.lists, moving, there, strict=True):
            lines.append(loops.store(list_, slot, where(smaller, its, old)))
            lines.append(loops.store(buffer, 0, where(smaller, old, its)))
        body = [
            *carried,
            *[loops.store(buffer, 0, value) for buffer, value in zip(carried, new, strict=True)],
            loops.loop(slot, self.count, lines),
        ]
        return [*last, loops.loop(once, less(new, last).cast(int64), body)]

    def after(self, result: Result) -> list[Node]:
        each = loops.index("each")
        word = loops.load(self.lists[-1], each)
        place = word & constant((1 << 32) - 1, uint64) if self.together else word
        return [loops.loop(each, self.count, [word, result(each, place.cast(int64), None)])]


class Selection:
    """`count` places of the order from `first` on."""

    def __init__(self, keys: DType, size: int, bits: int, first: int, count: int) -> None:
        self.size, self.bits, self.first, self.count = size, bits, first, count
        self.digit_bits = min(11 if size >= LONG else 8, bits)
        self.radix = Radix(keys, size, bits)
        self.found = loops.local("found", int64, (1 << self.digit_bits,))
        self.left = loops.local("left", int64)
        """How many elements are left."""
        self.rank = loops.local("rank", int64)
        """Where among them the part begins."""
        self.narrow = loops.local("narrow", int64)
        """1 while all that are left have the same digits so far."""
        starts = [(self.left, size), (self.rank, first), (self.narrow, 1)]
        self.before = [
            *self.radix.before,
            self.found,
            *[each for each, _ in starts],
            *[loops.store(each, 0, constant(value, int64)) for each, value in starts],
        ]

    def keep(self, place: Node, key: Node) -> list[Node]:
        return self.radix.placed(place, key)

    def after(self, result: Result) -> list[Node]:
        passes = -(-self.bits // self.digit_bits)
        step, each = loops.index("narrowing"), loops.index("rest")
        above = constant(self.bits, int64) - (step + 1) * self.digit_bits
        shift = where(above.lt(0), 0, above)
        left, rank = loops.load(self.left, 0), loops.load(self.rank, 0)
        word = loops.load(self.radix.words[0], each)
        counting = [word, *self.radix.counted(self.radix.key(word))]
        return [
            loops.loop(step, passes, self._narrowed(shift)),
            left,
            rank,
            loops.loop(each, left, counting),
            *self.radix.ordered(left, rank, self.count, result),
        ]

    def _narrowed(self, shift: Node) -> list[Node]:
        """Drop the elements whose digit at `shift` says that they are not in the part."""
        left, rank, narrow = (loops.load(each, 0) for each in (self.left, self.rank, self.narrow))
        trips = where(narrow.eq(0), 0, left)
        many = narrow * (1 << self.digit_bits)
        clear, count, move = (loops.index(name) for name in ("reset", "tally", "drop"))
        zero = constant(0, int64)
        counted = loops.load(self.radix.words[0], count)
        ends = _Ends(self.found, rank, self.count, many)
        low, high, base = (loops.load(each, 0) for each in ends.values[:3])
        words = [loops.load(buffer, move) for buffer in self.radix.words]
        to = loops.local("to", int64)
        place = loops.load(to, 0)
        digit = self._digit(words[0], shift)
        inside = digit.ge(low) & digit.le(high)
        stores = [
            loops.store(buffer, place, word)
            for buffer, word in zip(self.radix.words, words, strict=True)
        ]
        total = loops.load(to, 0)
        some = narrow.ne(0)
        return [
            left,
            rank,
            narrow,
            loops.loop(clear, many, [loops.store(self.found, clear, zero)]),
            loops.loop(count, trips, [counted, *raised(self.found, self._digit(counted, shift))]),
            *ends.lines,
            low,
            high,
            base,
            to,
            loops.store(to, 0, zero),
            loops.loop(
                move,
                trips,
                [*words, place, *stores, loops.store(to, 0, place + inside.cast(int64))],
            ),
            total,
            loops.store(self.left, 0, where(some, total, left)),
            loops.store(self.rank, 0, where(some, rank - base, rank)),
            loops.store(self.narrow, 0, (some & low.eq(high)).cast(int64)),
        ]

    def _digit(self, word: Node, shift: Node) -> Node:
        key = self.radix.key(word) >> shift.cast(uint64)
        return (key & constant((1 << self.digit_bits) - 1, uint64)).cast(int64)


class _Ends:
    """The digits in which the part begins and ends, and how many elements have smaller ones than the first."""

    def __init__(self, found: Node, rank: Node, count: int, many: Node) -> None:
        zero = constant(0, int64)
        self.values = [loops.local(name, int64) for name in ("low", "high", "base", "seen")]
        digit = loops.index("bin")
        here = loops.load(found, digit)
        low, high, base, total = (loops.load(each, 0) for each in self.values)
        after = total + here
        last = rank + (count - 1)
        begins = total.le(rank) & rank.lt(after)
        ends = total.le(last) & last.lt(after)
        new = [
            where(begins, digit, low),
            where(ends, digit, high),
            where(begins, total, base),
            after,
        ]
        stores = [loops.store(each, 0, value) for each, value in zip(self.values, new, strict=True)]
        self.lines = [
            *self.values,
            *[loops.store(each, 0, zero) for each in self.values],
            loops.loop(digit, many, [here, low, high, base, total, *stores]),
        ]


__all__ = ["FEW", "Few", "Selection"]
