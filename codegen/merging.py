"""Merging two runs that are in order: the lines that find where one element of the result comes from.

In: how long the runs are together and the left one alone, and how a key is read. Out: the lines of a loop tree that find the place of the element with a
given number. No element waits for another one: of the elements before it some are the first ones of the left run, the others the first ones
of the right run, and how many there are of each is found by halves. Of equal keys the left one comes first, so it is stable.
"""

from __future__ import annotations

from collections.abc import Callable

from lazygrad.ir import loops
from lazygrad.ir.dtype import int64
from lazygrad.ir.node import Node, constant, where

Read = Callable[[Node], tuple[list[Node], Node]]
"""The lines that read the key at a place, and the key."""


def merged_place(number: Node, size: int, run: int, read: Read) -> tuple[list[Node], Node]:
    """The lines that find where the element `number` of the order stands, and its place; keys up to `run` and from there to `size` are in order."""
    bits = run.bit_length()
    taken = loops.local("taken", int64)
    most = number.minimum(run)
    step = loops.index("halving")

    def known() -> tuple[Node, Node]:
        """How many elements of the left run come before; the bits that such a number has say so to whom ranges help."""
        found = loops.load(taken, 0)
        return found, found & ((1 << bits) - 1)

    def is_left(inside: Node, left: Node, right: Node) -> tuple[list[Node], Node]:
        """Whether the element at `left` comes before the one at `right`, where both are inside."""
        first, left_key = read(where(inside, left, 0))
        second, right_key = read(where(inside, right, 0))
        return [*first, *second], left_key.le(right_key)

    held, before = known()
    more = before + (constant(1 << (bits - 1), int64) >> step)
    inside = more.le(most)
    lines, fewer = is_left(inside, more - 1, number - more + run)
    halving = [held, *lines, loops.store(taken, 0, where(inside & fewer, more, before))]
    held, left = known()
    right = number - left + run
    some, others = left.lt(run), right.lt(size)
    lines, first = is_left(some & others, left, right)
    place = where(where(some & others, first, some), left, right)
    start = (number - (size - run)).maximum(0)
    return [
        taken,
        loops.store(taken, 0, start),
        loops.loop(step, bits, halving),
        held,
        *lines,
    ], place


__all__ = ["Read", "merged_place"]
