"""pack: what the sums inside of a loop read that does not depend on the loop is computed before it, once, into a local buffer.

A block of one operand of a contraction is then read in the order in which it was packed, from memory that is near, as often as
the loop runs; what computes its elements (a mask, a conversion, an index) runs once for each of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from lazygrad.ir import loops
from lazygrad.ir.args import Loop
from lazygrad.ir.dtype import int64
from lazygrad.ir.node import Node, constant, postorder
from lazygrad.ir.op import ELEMENTWISE, Op
from lazygrad.ir.rewrite import rebuild

from .access import (
    ScheduleError,
    Stride,
    all_loops,
    body,
    constant_value,
    lines_inside,
    loop_name,
    loop_named,
    names,
    replace_loop,
    with_body,
)


@dataclass(frozen=True, slots=True)
class Sum:
    """An ACCUMULATE inside of a loop: its line, the loops around it from that loop inwards, and the one that declares its buffer."""

    line: Node
    around: tuple[Node, ...]
    tile: Node


def pack(kernel: Node, name: str, width: int) -> Node:
    """Pack, before the loop over `name`, the operands of sums in it that do not depend on it.

    A packed buffer has the order of the loops inside; the loop whose iterations have a result each comes last, in panels of
    `width` iterations, so that a vector of them is contiguous for each term of the sum.

    Requires: the extents of the loops inside are bounded by constants, their steps are 1, and what they compute is scalar.
    Guarantees: the same values; each element that is read is computed before.

    Raises:
        ScheduleError: there is no such loop, nothing to pack, an extent without a bound, or another transform came first.
    """
    loop = loop_named(kernel, name)
    taken = names(kernel)
    free = (each for number in count() if (each := f"{name}_pack{number}") not in taken)
    fills: list[Node] = []
    reads: dict[int, Node] = {}
    new: dict[int, list[Node]] = {}
    for found in sums(loop):
        for operand in invariant_operands(found, loop):
            if id(operand) not in reads:
                lines, read = _packed(operand, found, loop, width, next(free))
                fills += lines
                reads[id(operand)] = read
                if operand.op is not Op.LOAD:
                    new.setdefault(id(found.line), []).append(read)
    if not fills:
        raise ScheduleError(f"no sum in loop {name} has an operand that does not depend on it")
    (changed,) = rebuild([_with_lines(loop, new)], lambda node: reads.get(id(node)))
    return replace_loop(kernel, loop, [*fills, without_unread(changed)])


def sums(loop: Node) -> Iterator[Sum]:
    """The ACCUMULATEs inside of a loop that go into buffers that are declared there."""
    for inner, around in all_loops(loop):
        path = (*around, inner)
        for line in body(inner):
            if line.op is Op.ACCUMULATE:
                tile = next((each for each in path if line.src[0] in body(each)), None)
                if tile is not None:
                    yield Sum(line, path, tile)


def invariant_operands(found: Sum, loop: Node) -> list[Node]:
    """The largest parts of what a sum adds that read memory, do not depend on `loop`, and do depend on loops inside of it."""
    fixed = Stride(loop.src[0])
    moving = [Stride(each.src[0]) for each in found.around if each is not loop]
    own = {id(line) for line in lines_inside(loop) if line.op is Op.LOCAL}
    result: list[Node] = []
    reading, private = set[int](), set[int]()
    for each in postorder([found.line.src[2]]):
        if each.op is Op.LOAD or any(id(source) in reading for source in each.src):
            reading.add(id(each))
        if (each.op is Op.LOAD and id(each.src[0]) in own) or any(
            id(source) in private for source in each.src
        ):
            private.add(id(each))
    stack, seen = [found.line.src[2]], set[int]()
    while stack:
        node = stack.pop()
        if id(node) in seen or (node.op not in ELEMENTWISE and node.op is not Op.LOAD):
            continue
        seen.add(id(node))
        if id(node) in reading and id(node) not in private and fixed(node) == 0:
            if any(each(node) != 0 for each in moving):
                result.append(node)
        elif node.op in ELEMENTWISE:
            stack.extend(reversed(node.src))
    return result


def fills(kernel: Node) -> Iterator[Node]:
    """The outermost loops that do nothing but fill one local buffer that is declared beside them."""
    stack = [kernel]
    while stack:
        around = stack.pop()
        declared = {id(line) for line in body(around) if line.op is Op.LOCAL}
        for loop in body(around):
            if loop.op is Op.LOOP:
                written = [line for line in lines_inside(loop) if line.op is not Op.LOAD]
                if [line.op for line in written] == [Op.STORE] and id(
                    written[0].src[0]
                ) in declared:
                    yield loop
                else:
                    stack.append(loop)


def bound(size: Node) -> int | None:
    """The most that the extent of a loop can be: that of a part where it is the smaller of that and what is left."""
    known = constant_value(size)
    if known is None and size.op is Op.MIN:
        limits = [limit for each in size.src if (limit := constant_value(each)) is not None]
        known = min(limits, default=None)
    return known


def _packed(
    operand: Node, found: Sum, loop: Node, width: int, name: str
) -> tuple[list[Node], Node]:
    """The lines that compute an operand into a buffer, and the LOAD that stands for it inside."""
    if operand.shape or any(_step(each) != 1 for each in found.around if each is not loop):
        raise ScheduleError(
            f"what is inside of loop {loop_name(loop)} is jammed or vectorized already"
        )
    axes = [
        each
        for each in found.around
        if each is not loop and each is not found.tile and Stride(each.src[0])(operand) != 0
    ]
    tiled = found.tile is not loop and Stride(found.tile.src[0])(operand) != 0
    sizes = [_bounded(each) for each in axes]
    terms = math.prod(sizes)
    panels = -(-_bounded(found.tile) // width) if tiled else 1
    buffer = loops.local(name, operand.dtype, (terms * panels * (width if tiled else 1),))

    def offset(indices: Sequence[Node], place: Node | None) -> Node:
        term = indices[0] if indices else constant(0, int64)
        for index, size in zip(indices[1:], sizes[1:], strict=True):
            term = term * size + index
        if place is None:
            return term
        if panels == 1:
            return term * width + place
        return (place // width) * (terms * width) + term * width + place % width

    nest = [*axes, found.tile] if tiled else axes
    fresh = {id(each.src[0]): loops.index(f"{name}_{loop_name(each)}") for each in nest}
    inside = {id(line) for line in lines_inside(loop)}

    def make(node: Node, src: tuple[Node, ...]) -> Node:
        return node.like(src) if src != node.src or id(node) in inside else node

    (value,) = rebuild([operand], lambda node: fresh.get(id(node)), make)
    outside = {id(each) for each in postorder([operand])} - inside
    lines = [each for each in postorder([value]) if each.op is Op.LOAD and id(each) not in outside]
    indices = [fresh[id(each.src[0])] for each in axes]
    place = fresh[id(found.tile.src[0])] if tiled else None
    lines.append(loops.store(buffer, offset(indices, place), value))
    sized = rebuild([each.src[1] for each in nest], lambda node: fresh.get(id(node)))
    for each, size in zip(reversed(nest), reversed(sized), strict=True):
        lines = [loops.loop(fresh[id(each.src[0])], size, lines)]
    read = loops.load(
        buffer, offset([each.src[0] for each in axes], found.tile.src[0] if tiled else None)
    )
    return [buffer, *lines], read


def _step(loop: Node) -> int:
    assert isinstance(loop.arg, Loop)
    return loop.arg.step


def _bounded(loop: Node) -> int:
    size = bound(loop.src[1])
    if size is None:
        raise ScheduleError(f"the extent of loop {loop_name(loop)} has no bound to pack for")
    return size


def _with_lines(loop: Node, new: dict[int, list[Node]]) -> Node:
    """The loop with lines put before some of its lines."""
    if not new:
        return loop
    lines: list[Node] = []
    for line in body(loop):
        lines += new.get(id(line), [])
        lines.append(_with_lines(line, new) if line.op is Op.LOOP else line)
    return with_body(loop, lines)


def without_unread(loop: Node) -> Node:
    """The loop without the loads that nothing reads any more."""
    read: set[int] = set()
    for line in lines_inside(loop):
        for each in postorder(line.src):
            read.add(id(each))
    for inner, _ in all_loops(loop):
        read.update(id(each) for each in postorder([inner.src[1]]))
    return _filtered(loop, read)


def _filtered(loop: Node, read: set[int]) -> Node:
    lines = [
        _filtered(line, read) if line.op is Op.LOOP else line
        for line in body(loop)
        if line.op is not Op.LOAD or id(line) in read
    ]
    return with_body(loop, lines)
