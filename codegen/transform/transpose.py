"""transpose: a tile of two loops at once, where what is read runs along the outer loop and what is written along the inner one.

A tile is read in vectors along the outer loop, turned in registers, and used in vectors along the inner loop: every access is
contiguous, where vectors along either loop alone would gather or scatter.
"""

from __future__ import annotations

from collections.abc import Sequence

from lazygrad.ir import loops
from lazygrad.ir.args import Loop, Param
from lazygrad.ir.dtype import int64
from lazygrad.ir.node import Node, constant
from lazygrad.ir.op import Op

from .access import (
    ScheduleError,
    Stride,
    all_loops,
    body,
    carries,
    constant_value,
    loop_name,
    loop_named,
    replace_loop,
    unused_suffix,
)
from .jam import Copies
from .vectorize import Partials, Widen

LEAST_PART = 3
"""A tile may have a third of its rows, or more: fewer are read one by one."""


def transpose(kernel: Node, name: str, lanes: int) -> Node:
    """Transpose tiles of `lanes` iterations, a power of two, of the loop over `name` and as many of the loop around it.

    Requires: the loop around has nothing else in it, both steps are 1, no iteration needs another one, and loads of what the
    loops do not write run along the outer loop.
    Guarantees: every iteration runs exactly once; those outside of whole tiles run in a tile that is read in part, or in loops of their own.

    Raises:
        ScheduleError: there is no such loop, or it is not so.
    """
    inner = loop_named(kernel, name)
    outer = next((each for each, _ in all_loops(kernel) if body(each) == (inner,)), None)
    if outer is None:
        raise ScheduleError(f"loop {name} is not alone in a loop")
    assert isinstance(inner.arg, Loop) and isinstance(outer.arg, Loop)
    if inner.arg.step != 1 or outer.arg.step != 1 or carries(inner) or carries(outer):
        raise ScheduleError(f"iterations of loop {name} or of that around it need each other")
    if lanes & (lanes - 1):
        raise ScheduleError(f"tiles are a power of two wide, not {lanes}")
    if any(line.op not in (Op.LOAD, Op.STORE) for line in body(inner)):
        raise ScheduleError(f"loop {name} does more than load and store")
    if any(line.src[-1].shape + line.shape != () for line in body(inner)):
        raise ScheduleError(f"the body of loop {name} is vectorized already")
    turned = crossing(outer, inner)
    if not turned:
        raise ScheduleError(f"nothing that loop {name} reads runs along the loop around it")
    suffix = unused_suffix(kernel, outer)
    rows, rows_left = _parts(outer.src[1], lanes)
    columns, columns_left = _parts(inner.src[1], lanes)

    def tiles(start: Node, count: int, suffix: str) -> list[Node]:
        """The lines for `count` iterations of the outer loop, from `start`: tiles, and one by one what the inner loop has beside them."""
        at = (
            inner.src[0] if start is outer.src[0] else loops.index(loop_name(inner) + suffix + "_2")
        )
        made = _tile(outer, inner, turned, lanes, start, count, at)
        lines = [loops.loop(at, columns, made, lanes)]
        if columns_left is not None:
            place = loops.index(loop_name(outer) + suffix + "_0")
            begin = loops.index(loop_name(inner) + suffix)
            row = Copies(outer, start + place, 1, suffix).lines(body(outer))[0]
            rest = Copies(row, columns + begin, 1, suffix).lines(body(row))
            lines.append(
                loops.loop(place, constant(count, int64), [loops.loop(begin, columns_left, rest)])
            )
        return lines

    made: list[Node] = []
    if constant_value(rows) != 0:
        made.append(
            loops.loop(
                outer.src[0], rows, tiles(outer.src[0], lanes, suffix), lanes, outer.arg.kind
            )
        )
    left = constant_value(rows_left) if rows_left is not None else None
    if left is not None and fills_part(turned, left, lanes):
        made += tiles(rows, left, suffix + "_1")
    elif rows_left is not None:
        place = loops.index(loop_name(outer) + suffix + "_1")
        copies = Copies(outer, rows + place, 1, suffix + "_1")
        made.append(loops.loop(place, rows_left, copies.lines(body(outer))))
    return replace_loop(kernel, outer, made)


def fills_part(turned: Sequence[Node], left: int, lanes: int) -> bool:
    """Whether `left` iterations are worth a tile of their own, whose vectors are read in part.

    They are where a processor reads a part of a vector at once: of 32 bytes or more, in elements of 4 or 8.
    """
    sizes = [line.dtype.itemsize for line in turned]
    return left * LEAST_PART >= lanes and min(sizes) >= 4 and lanes * min(sizes) >= 32


def crossing(outer: Node, inner: Node) -> list[Node]:
    """The loads in `inner` that run along `outer`, forwards or backwards, and not along `inner`."""
    along, across = Stride(outer.src[0]), Stride(inner.src[0])
    written = {id(line.src[0]) for line in body(inner) if line.op is not Op.LOAD}
    return [
        line
        for line in body(inner)
        if line.op is Op.LOAD
        and len(line.src) == 2
        and id(line.src[0]) not in written
        and not (isinstance(line.src[0].arg, Param) and line.src[0].arg.role != "in")
        and along(line.src[1]) in (1, -1)
        and across(line.src[1]) not in (0, 1, None)
    ]


def _parts(size: Node, lanes: int) -> tuple[Node, Node | None]:
    """As many iterations as fill whole tiles, and those that are left."""
    known = constant_value(size)
    if known is None:
        return size - size % lanes, size % lanes
    left = known % lanes
    return constant(known - left, int64), constant(left, int64) if left else None


def _tile(
    outer: Node,
    inner: Node,
    turned: Sequence[Node],
    lanes: int,
    start: Node,
    count: int,
    at: Node,
) -> list[Node]:
    """The lines of a tile of `count` iterations of the outer loop, from `start`, and `lanes` of the inner one, from `at`."""
    rows = Copies(outer, start, count, "")
    lines = rows.lines(body(inner))
    mask = None
    if count < lanes:
        mask = loops.lanes(lanes).lt(loops.splat(constant(count, int64), lanes))
    columns = Copies(inner, at, lanes, "")
    widen = Widen(inner, at, lanes, None, Partials(lanes), "")
    read: list[Node] = []
    dropped: set[int] = set()
    for line in turned:
        backwards = Stride(outer.src[0])(line.src[1]) == -1
        order = [count - 1 - number if backwards else number for number in range(count)]
        offset = rows.copies[order[0]][id(line)].src[1]
        vectors = [
            loops.load(line.src[0], columns.value(offset, number), mask, lanes)
            for number in range(lanes)
        ]
        read += vectors
        for number, vector in zip(order, turn(vectors)[:count], strict=True):
            copy = rows.copies[number][id(line)]
            dropped.add(id(copy))
            widen.vectors[id(copy)] = vector
            widen.stride.mark(copy, None)
    return [*read, *widen.lines(tuple(line for line in lines if id(line) not in dropped))]


def turn(vectors: Sequence[Node], run: int = 1) -> list[Node]:
    """The vectors whose lane `i` of number `k` is lane `k` of number `i`: blocks change places, from halves down to single lanes.

    With `run`, so many neighbouring lanes move as one.
    """
    turned, count = list(vectors), len(vectors)
    block = count // 2
    while block:
        low = [p if p // block % 2 == 0 else count + p - block for p in range(count)]
        high = [p + block if p // block % 2 == 0 else count + p for p in range(count)]
        lower, upper = (
            [p * run + lane for p in each for lane in range(run)] for each in (low, high)
        )
        for number in range(count):
            if number // block % 2 == 0:
                pair = turned[number], turned[number + block]
                turned[number] = loops.shuffle(*pair, lower)
                turned[number + block] = loops.shuffle(*pair, upper)
        block //= 2
    return turned
