"""Vectors whose elements lie a small step apart, forwards or backwards: whole vectors and shuffles, in place of gathers and scatters.

A vector that runs backwards is one vector, reversed. One with steps of k is k vectors, of which every k-th lane is taken; the last of them ends
with the last element, so nothing beyond is read, which may be the end of the buffer. One that reads each element k times (what a picture twice
as large reads of a small one) is a vector of fewer lanes, each of them repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

from lazygrad.ir import loops
from lazygrad.ir.args import Param
from lazygrad.ir.dtype import bool_
from lazygrad.ir.node import Node, constant
from lazygrad.ir.op import Op

from .access import Stride

GATHERED = 1.5
"""What a lane costs that is read by itself, beside a vector that is read at once."""
SCATTERED = 2.5
"""The same where it is written."""
REPEATED = 2.0
"""What a vector costs whose lanes are repeated."""


def cost(line: Node, moves: int | None, lanes: int) -> float:
    """What a vector of an access whose offset moves by `moves` costs, beside a contiguous one."""
    if moves is not None and near(line, moves, lanes):
        return 2.0 * abs(moves) - (moves != -1)
    return lanes * (GATHERED if line.op is Op.LOAD else SCATTERED)


def near(line: Node, moves: int | None, lanes: int) -> bool:
    """Whether an access whose offset moves by `moves` is made of whole vectors, rather than lane by lane.

    What lies between the lanes is read too, so nobody may write there meanwhile, and masks of such vectors are not made.
    """
    if moves is None or moves == 0 or lanes & (lanes - 1):
        return False
    if moves == 1 or moves == -1:
        return True
    if line.op is not Op.LOAD or len(line.src) > 2:
        return False
    arg = line.src[0].arg
    if isinstance(arg, Param) and arg.role != "in":
        return False
    return 2 * abs(moves) - 1 < lanes * GATHERED


def repeated(stride: Stride, line: Node, lanes: int) -> int:
    """How many lanes of a load read the same element, where its offset moves by one after so many; 0 where it is no such load."""
    times = stride.repeats(line.src[1]) if line.op is Op.LOAD else 0
    return times if times and lanes % times == 0 and lanes > times else 0


def load_repeated(
    buffer: Node, first: Node, times: int, lanes: int, mask: Node | None
) -> tuple[Node, Node]:
    """The vector of elements at `first`, each of which `times` lanes read: its load, and its value."""
    inside: Node | None = None
    for lane in range(times if mask is not None else 0):
        assert mask is not None
        each = loops.shuffle(mask, mask, range(lane, lanes, times))
        inside = each if inside is None else inside | each
    narrow = loops.load(buffer, first, inside, lanes // times)
    return narrow, loops.shuffle(narrow, narrow, [lane // times for lane in range(lanes)])


def backwards(vector: Node) -> Node:
    """The same lanes in the opposite order."""
    (lanes,) = vector.shape
    assert isinstance(lanes, int)
    return loops.shuffle(vector, vector, range(lanes)[::-1])


def load(
    buffer: Node, first: Node, moves: int, lanes: int, mask: Node | None
) -> tuple[list[Node], Node]:
    """The vector of elements at `first`, `first + moves`, ...: the loads that it takes, and its value."""
    if moves == 1:
        whole = loops.load(buffer, first, mask, lanes)
        return [whole], whole
    if moves == -1:
        whole = loops.load(
            buffer, first - (lanes - 1), None if mask is None else backwards(mask), lanes
        )
        return [whole], backwards(whole)
    step, span = abs(moves), (lanes - 1) * abs(moves) + 1
    lowest = first if moves > 0 else first - (span - 1)
    if mask is not None and moves < 0:
        mask = backwards(mask)
    read: list[Node] = []
    parts: list[tuple[Node, list[int]]] = []
    for number in range(step):
        begin = number * lanes if mask is not None else min(number * lanes, span - lanes)
        inside = None if mask is None else _every(mask, begin, step)
        vector = loops.load(buffer, lowest + begin if begin else lowest, inside, lanes)
        read.append(vector)
        chosen = range(-(-number * lanes // step), -(-(number + 1) * lanes // step))
        parts.append((vector, [lane * step - begin for lane in chosen]))
    if moves < 0:
        parts = [(vector, chosen[::-1]) for vector, chosen in reversed(parts)]
    return read, _joined(parts, lanes)


def store(buffer: Node, first: Node, moves: int, value: Node, mask: Node | None) -> Node:
    """Write a vector of elements to `first`, `first + moves`, ..., where `moves` is 1 or -1."""
    if moves == 1:
        return loops.store(buffer, first, value, mask)
    (lanes,) = value.shape
    assert isinstance(lanes, int)
    inside = None if mask is None else backwards(mask)
    return loops.store(buffer, first - (lanes - 1), backwards(value), inside)


def _every(mask: Node, begin: int, step: int) -> Node:
    """The mask of a vector that begins at `begin`, of which every `step`-th element is one of the lanes of `mask`."""
    (lanes,) = mask.shape
    assert isinstance(lanes, int)
    outside = Node(Op.CONST, (), bool_, (lanes,), constant(False, bool_).arg)
    places = [begin + lane for lane in range(lanes)]
    return loops.shuffle(
        mask, outside, [lanes if place % step else place // step for place in places]
    )


def _joined(parts: Sequence[tuple[Node, list[int]]], lanes: int) -> Node:
    """One vector of the lanes that are chosen of each part, two parts at a time."""
    while len(parts) > 1:
        alike = len(parts) % 2 == 0 and len({len(chosen) for _, chosen in parts}) == 1
        joined: list[tuple[Node, list[int]]] = []
        for (left, first), (right, second) in zip(parts[::2], parts[1::2], strict=False):
            (width,) = left.shape
            assert isinstance(width, int)
            both = [*first, *(lane + width for lane in second)]
            count = len(both) if alike else lanes
            padded = [*both, *range(len(both), count)]  # nobody looks at the lanes behind
            joined.append((loops.shuffle(left, right, padded), list(range(len(both)))))
        parts = [*joined, *parts[len(joined) * 2 :]]
    return parts[0][0]
