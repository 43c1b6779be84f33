"""fuse: two loops of a body that run over as much become one, so that what both read is read once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lazygrad.ir import loops
from lazygrad.ir.args import Loop
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import ELEMENTWISE, Op

from .access import (
    ScheduleError,
    all_loops,
    body,
    constant_value,
    lines_inside,
    loop_name,
    loop_named,
    with_body,
)
from .jam import copied

WRITES = frozenset((Op.STORE, Op.ACCUMULATE))


def fuse(kernel: Node, name: str) -> Node:
    """Make one loop of the loop over `name` and of the next one in the same body.

    Requires: both run over as much, write locals alone, and neither touches what the other writes; of the lines between them, none that the
    second loop needs waits for the first one.
    Guarantees: each loop's iterations in the same order; loads that are equal then are one.

    Raises:
        ScheduleError: there is no such loop, none that follows it, or they are not so.
    """
    first = loop_named(kernel, name)
    outer = next(
        around[-1] if around else kernel for each, around in all_loops(kernel) if each is first
    )
    lines = list(body(outer))
    place = next(number for number, line in enumerate(lines) if line is first)
    after = [number for number in range(place + 1, len(lines)) if lines[number].op is Op.LOOP]
    if not after:
        raise ScheduleError(f"no loop follows loop {name} in its body")
    second = lines[after[0]]
    before, behind = _parted(first, second, lines[place + 1 : after[0]])
    both = [*body(first), *copied(second, first.src[0])]
    fused = loops.loop(first.src[0], first.src[1], _shared(both))
    made = [*lines[:place], *before, fused, *behind, *lines[after[0] + 1 :]]
    return _with(kernel, outer, with_body(outer, made))


def _parted(first: Node, second: Node, between: Sequence[Node]) -> tuple[list[Node], list[Node]]:
    """The lines between two loops: those that can stand before both, and those that wait for the first one."""
    names = f"loops {loop_name(first)} and {loop_name(second)}"
    sizes = constant_value(first.src[1]), constant_value(second.src[1])
    same = first.src[1] is second.src[1] or (sizes[0] is not None and sizes[0] == sizes[1])
    if not same or not all(each.arg == Loop(1, "serial") for each in (first, second)):
        raise ScheduleError(f"{names} do not run over as much, one iteration after the other")
    own, other = list(lines_inside(first)), list(lines_inside(second))
    if any(line.op not in WRITES | {Op.LOAD, Op.LOCAL} for line in (*own, *other)):
        raise ScheduleError(f"{names} do more than load and store")
    written, beyond = _written(own), _written(other)
    if any(line.src[0].op is not Op.LOCAL for line in (*own, *other) if line.op in WRITES):
        raise ScheduleError(f"{names} write what is no local")
    if written & _touched(other) or beyond & _touched(own):
        raise ScheduleError(f"one of {names} touches what the other one writes")
    before, behind, waiting = list[Node](), list[Node](), set[int]()
    for line in between:
        waits = any(id(node) in waiting for node in postorder(line.src))
        conflicts = _written([line]) & _touched([*own, *behind])
        conflicts |= _touched([line]) & (written | _written(behind))
        if line.op is Op.LOCAL or not (waits or conflicts or line.op is Op.CHECK):
            before.append(line)
        else:
            behind.append(line)
            waiting.add(id(line))
    needs = any(id(node) in waiting for node in postorder(second.src))
    if needs or _written(behind) & _touched(other) or beyond & _touched(behind):
        raise ScheduleError(f"loop {loop_name(second)} waits for loop {loop_name(first)}")
    if any(line.op in WRITES and line.src[0].op is not Op.LOCAL for line in before):
        raise ScheduleError(f"between {names} something is written that is no local")
    return before, behind


def _written(lines: Iterable[Node]) -> set[int]:
    return {id(line.src[0]) for line in lines if line.op in WRITES}


def _touched(lines: Iterable[Node]) -> set[int]:
    return {id(line.src[0]) for line in lines if line.op in WRITES | {Op.LOAD}}


def _shared(lines: Sequence[Node]) -> list[Node]:
    """The lines with equal loads, of what none of them writes, as one load, and equal values as one value."""
    if any(line.op is Op.LOOP for line in lines):
        return list(lines)
    written = _written(lines)
    own = {id(line) for line in lines}
    made: dict[int, Node] = {}
    known: dict[object, Node] = {}
    result: list[Node] = []
    seen: set[int] = set()
    for line in lines:
        for node in postorder([line]):
            if id(node) in made:
                continue
            if node.op is Op.LOAD and id(node) not in own:
                made[id(node)] = node  # a line of a loop around
                continue
            src = tuple([made[id(source)] for source in node.src])
            new = (
                node if all(a is b for a, b in zip(src, node.src, strict=True)) else node.like(src)
            )
            alike = node.op in ELEMENTWISE or node.op is Op.CONST
            if alike or (node.op is Op.LOAD and id(node.src[0]) not in written):
                key = (node.op, tuple(map(id, src)), node.arg, id(node.dtype), node.shape)
                new = known.setdefault(key, new)
            made[id(node)] = new
        if id(made[id(line)]) not in seen:
            seen.add(id(made[id(line)]))
            result.append(made[id(line)])
    return result


def _with(kernel: Node, old: Node, new: Node) -> Node:
    """The kernel with a loop of it, or all of it, replaced. Recursion is over the depth of the loop nest only."""
    if kernel is old:
        return new
    lines = [_with(line, old, new) if line.op is Op.LOOP else line for line in body(kernel)]
    return with_body(kernel, lines)


__all__ = ["fuse"]
