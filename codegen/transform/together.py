"""together: some iterations of a loop at once, what they read and check before what they write.

Each still writes after the one before it. But what it reads and checks need not wait for that.
"""

from __future__ import annotations

from collections.abc import Sequence

from lazygrad.ir import loops
from lazygrad.ir.args import Loop
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op

from .access import ScheduleError, body, counted, loop_name, replace_loop, unused_suffix
from .jam import Copies, copied


def together(kernel: Node, name: str, factor: int) -> Node:
    """Run `factor` iterations of the loop over `name` together: their reads of what the loop does not write, their checks, then the rest in order.

    Requires: its step is 1, its extent is known, and its body has loads, checks and stores alone. Iterations that are left over have a loop of their own.
    Guarantees: the same values.

    Raises:
        ScheduleError: there is no such loop, or it is not so.
    """
    loop, size = counted(kernel, name, factor)
    assert isinstance(loop.arg, Loop)
    if any(line.op not in (Op.LOAD, Op.STORE, Op.CHECK) for line in body(loop)):
        raise ScheduleError(f"the body of loop {name} is not loads, checks and stores alone")
    early, late = parted(loop)
    if not early or not late:
        raise ScheduleError(f"in loop {name} nothing is read before something is written")
    whole = size - size % factor
    copies = [
        Copies(loop, loop.src[0] + number if number else loop.src[0], 1, "")
        for number in range(factor)
    ]
    lines: list[Node] = []
    for line in (line for part in (early, late) for each in copies for line in each.lines(part)):
        lines.append(_another(line, lines))
    made = [loops.loop(loop.src[0], whole, lines, factor, loop.arg.kind)]
    if size % factor:
        rest = loops.index(loop_name(loop) + unused_suffix(kernel, loop))
        left = [_another(line, lines) for line in copied(loop, rest + whole)]
        made.append(loops.loop(rest, size % factor, left))
    return replace_loop(kernel, loop, made)


def _another(line: Node, lines: Sequence[Node]) -> Node:
    """A line that is not among `lines`: one that does not vary would be one node in all iterations."""
    return line.like(line.src) if any(line is other for other in lines) else line


def parted(loop: Node) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """The lines of a body that read what the loop does not write, and check it; and the others."""
    written = {id(line.src[0]) for line in body(loop) if line.op is Op.STORE}
    late: set[int] = set()
    for line in body(loop):
        waits = any(id(node) in late for node in postorder(line.src))
        if line.op is Op.STORE or waits or (line.op is Op.LOAD and id(line.src[0]) in written):
            late.add(id(line))
    lines = body(loop)
    return (
        tuple(line for line in lines if id(line) not in late),
        tuple(line for line in lines if id(line) in late),
    )


__all__ = ["parted", "together"]
