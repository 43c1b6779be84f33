"""prefetch: while elements of one row are gathered, memory is asked for the next row.

Which elements a gather reads is known only when it reads them, so a processor that looks ahead by itself does not find them. But all of them lie in
one row, and which row is next is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

from lazygrad.codegen.target import LINE
from lazygrad.ir import loops
from lazygrad.ir.args import Loop, Param
from lazygrad.ir.dtype import int64
from lazygrad.ir.node import Node, constant, postorder
from lazygrad.ir.op import Op
from lazygrad.ir.rewrite import rebuild

from .access import (
    ScheduleError,
    Stride,
    all_loops,
    body,
    constant_value,
    extent,
    loop_named,
    replace_loop,
    with_body,
)

SPARSE = 4
"""A row is asked for where at most so many elements of it lie between two that are gathered, on average."""


def prefetch(kernel: Node, name: str) -> Node:
    """Have each iteration of the loop over `name` ask for a part of what its next round, in the loop around, gathers from.

    Requires: the loop around has a constant stride from one row to the next, and the loop gathers at checked places of a row of an input.
    Guarantees: the same values.

    Raises:
        ScheduleError: there is no such loop, or it is not so.
    """
    loop = loop_named(kernel, name)
    around = next(outer for each, outer in all_loops(kernel) if each is loop)
    rows = gathered_rows(loop, around)
    if not rows:
        raise ScheduleError(f"loop {name} gathers from no rows that the loop around goes through")
    outer, step = around[-1], _step(loop)
    lines: list[Node] = []
    for buffer, start, size in rows:
        trips = extent(loop) or size
        spread = -(-size // trips)  # elements of the row for each that is gathered
        for number in range(max(1, step * spread * buffer.dtype.itemsize // LINE)):
            place = loop.src[0] * spread if spread > 1 else loop.src[0]
            if number:
                place = place + number * (LINE // buffer.dtype.itemsize)
            if trips * spread > size:
                place = place.minimum(constant(size - 1, int64))
            lines.append(loops.prefetch(buffer, _later(start, outer) + place))
    return replace_loop(kernel, loop, [with_body(loop, [*lines, *body(loop)])])


def _later(start: Node, outer: Node) -> Node:
    """Where a row begins in the next iteration of the loop around."""
    known = {id(outer.src[0]): outer.src[0] + _step(outer)}
    return rebuild([start], lambda node: known.get(id(node)))[0]


def gathered_rows(loop: Node, around: Sequence[Node]) -> list[tuple[Node, Node, int]]:
    """The rows of inputs that a loop gathers from, another one in each iteration of the loop around: buffer, where it begins, elements."""
    found: dict[int, tuple[Node, Node, int]] = {}
    if not around:
        return []
    for line in body(loop):
        if line.op is not Op.LOAD or len(line.src) > 2:
            continue
        buffer, offset = line.src
        parts = list(_addends(offset))
        sizes = [size for size in map(_checked, parts) if size is not None]
        starts = [part for part in parts if _checked(part) is None]
        if len(sizes) != 1 or not isinstance(buffer.arg, Param) or buffer.arg.role != "in":
            continue
        if not starts:
            continue
        start = reduce(lambda left, right: left + right, starts)
        if any(part.shape or part.op is Op.LOAD for part in postorder([start])):
            continue
        moves = Stride(around[-1].src[0])(start)
        inside = Stride(loop.src[0])(start) == 0
        if moves not in (0, None) and inside and sizes[0] <= SPARSE * (extent(loop) or 0):
            found.setdefault(id(buffer), (buffer, start, sizes[0]))
    return list(found.values())


def _addends(offset: Node) -> Iterator[Node]:
    """What an offset is the sum of, splats taken off."""
    stack = [offset]
    while stack:
        node = stack.pop()
        if node.op is Op.SPLAT:
            stack.append(node.src[0])
        elif node.op is Op.ADD:
            stack.extend(reversed(node.src))
        else:
            yield node


def _checked(node: Node) -> int | None:
    """The size of the row that an index is in, where it was read and checked: where(0 <= index < size, index, 0)."""
    if node.op is not Op.WHERE or node.src[0].op is not Op.AND:
        return None
    index = node.src[1]
    below = [each for each in node.src[0].src if each.op is Op.LT and each.src[0] is index]
    return constant_value(below[0].src[1]) if below else None


def _step(loop: Node) -> int:
    assert isinstance(loop.arg, Loop)
    return loop.arg.step


__all__ = ["gathered_rows", "prefetch"]
