"""jam: run `factor` iterations of a loop together, line by line, inside the loops that its body holds (unroll-and-jam).

What does not depend on the loop is computed once for all of them: a row of one operand of a contraction, loaded once, meets
`factor` rows of the other while it is in a register.
"""

from __future__ import annotations

from lazygrad.ir import loops
from lazygrad.ir.args import Loop, Name
from lazygrad.ir.dtype import int64
from lazygrad.ir.node import Node, constant
from lazygrad.ir.op import Op

from .access import (
    ScheduleError,
    body,
    carries,
    constant_value,
    loop_name,
    loop_named,
    remainders,
    replace_loop,
    unused_suffix,
)


def jam(kernel: Node, name: str, factor: int) -> Node:
    """Jam `factor` iterations of the loop over `name`.

    Requires: its step is 1, and iterations meet only in ACCUMULATEs.
    Guarantees: every iteration runs exactly once; iterations that `factor` does not divide are jammed with each other.

    Raises:
        ScheduleError: there is no such loop, a loop inside it depends on it, or an iteration needs the one before it.
    """
    loop = loop_named(kernel, name)
    assert isinstance(loop.arg, Loop)
    if loop.arg.step != 1:
        raise ScheduleError(
            f"loop {name} has step {loop.arg.step}; only a loop with step 1 is jammed"
        )
    if carries(loop):
        raise ScheduleError(f"an iteration of loop {name} may read what another one writes")
    size = constant_value(loop.src[1])
    index = loop.src[0]
    rest_suffix = unused_suffix(kernel, loop)
    lines: list[Node] = []
    left = remainders(loop.src[1], factor) - {0}
    if size is None and not left:
        return replace_loop(kernel, loop, [_jammed(loop, index, loop.src[1], factor, "", index)])
    if size is None:
        rest = loop.src[1] % factor
        whole = loop.src[1] - rest
        lines.append(_jammed(loop, index, whole, factor, "", index))
        tail = loops.index(name + rest_suffix)
        together = min(left) if len(left) == 1 else 1
        lines.append(_jammed(loop, tail, rest, together, rest_suffix, whole + tail))
        return replace_loop(kernel, loop, lines)
    count = size - size % factor
    if count:
        lines.append(_jammed(loop, index, constant(count, int64), factor, "", index))
    if size % factor:
        copies = Copies(loop, constant(count, int64), size % factor, rest_suffix if count else "")
        lines.extend(copies.lines(body(loop)))
    return replace_loop(kernel, loop, lines)


def copied(loop: Node, start: Node) -> list[Node]:
    """The lines of a loop's body in the iteration `start`."""
    return Copies(loop, start, 1, "").lines(body(loop))


def _jammed(loop: Node, index: Node, extent: Node, factor: int, suffix: str, start: Node) -> Node:
    copies = Copies(loop, start, factor, suffix)
    assert isinstance(loop.arg, Loop)
    return loops.loop(index, extent, copies.lines(body(loop)), factor, loop.arg.kind)


class Copies:
    """The body of a loop with each line that depends on it once for each of `factor` iterations."""

    def __init__(self, loop: Node, start: Node, factor: int, suffix: str) -> None:
        self.name = loop_name(loop)
        self.factor = factor
        self.suffix = suffix
        self.varying: dict[int, bool] = {id(loop.src[0]): True}
        self.copies: list[dict[int, Node]] = []
        for number in range(factor):
            at = start
            if number:
                place = constant_value(start)
                at = constant(place + number, int64) if place is not None else start + number
            self.copies.append({id(loop.src[0]): at})
        self.keep: list[Node] = []

    def lines(self, lines: tuple[Node, ...]) -> list[Node]:
        """Every line, in order, each followed at once by its copies for the other iterations."""
        result: list[Node] = []
        for line in lines:
            match line.op:
                case Op.LOCAL:
                    assert isinstance(line.arg, Name)
                    self.varying[id(line)] = True
                    for number, copy in enumerate(self.copies):
                        name = line.arg.name
                        if self.factor > 1 or self.suffix:
                            name += f"{self.suffix}_{number}"
                        copy[id(line)] = loops.local(name, line.dtype, line.shape)
                        result.append(copy[id(line)])
                case Op.LOAD if not self._varies(line):
                    # a line of its own: the rest of the loop has one too
                    new = line.like(tuple(self.value(source, 0) for source in line.src))
                    for copy in self.copies:
                        copy[id(line)] = new
                    result.append(new)
                case Op.LOOP:
                    result.append(self._loop(line))
                case _:
                    for number in range(self.factor):
                        result.append(self.value(line, number))
        return result

    def _loop(self, line: Node) -> Node:
        if self.factor > 1 and self._varies(line.src[1]):
            raise ScheduleError(f"the extent of loop {loop_name(line)} depends on loop {self.name}")
        assert isinstance(line.arg, Loop)
        index = line.src[0]
        self.varying[id(index)] = False
        if self.suffix:
            index = loops.index(loop_name(line) + self.suffix)
        for copy in self.copies:
            copy[id(line.src[0])] = index
        extent = self.value(line.src[1], 0)
        return loops.loop(index, extent, self.lines(body(line)), line.arg.step, line.arg.kind)

    def _varies(self, node: Node) -> bool:
        stack = [node]
        while stack:
            current = stack[-1]
            if id(current) in self.varying:
                stack.pop()
                continue
            pending = [s for s in current.src if id(s) not in self.varying]
            if pending:
                stack.extend(pending)
                continue
            self.varying[id(current)] = any(self.varying[id(s)] for s in current.src)
            self.keep.append(current)
            stack.pop()
        return self.varying[id(node)]

    def value(self, node: Node, number: int) -> Node:
        """A node in iteration `number`; what does not vary is one node for all."""
        done = self.copies[number]
        stack = [node]
        while stack:
            current = stack[-1]
            if id(current) in done:
                stack.pop()
                continue
            first = self.copies[0].get(id(current)) if number else None
            if first is not None and not self._varies(current):
                done[id(current)] = first
                stack.pop()
                continue
            pending = [s for s in current.src if id(s) not in done]
            if pending:
                stack.extend(pending)
                continue
            src = tuple([done[id(s)] for s in current.src])
            done[id(current)] = current if src == current.src else current.like(src)
            self.keep.append(current)
            stack.pop()
        return done[id(node)]
