"""cascade: sum a loop in parts, each from zero, and then the sums of the parts: what is lost in rounding grows with the parts, not with the loop.

A running sum of n numbers loses up to n roundings, a sum of sums as many as its longest chain (Higham, "The accuracy of floating point
summation", 1993). Applied again to the loop inside, it makes a tree with leaves of a few tens, about as good as pairwise summation.
"""

from __future__ import annotations

from lazygrad.codegen.reductions import identity
from lazygrad.ir import loops
from lazygrad.ir.args import Accumulate, Loop, Name
from lazygrad.ir.dtype import bool_, int64
from lazygrad.ir.node import Node, constant, postorder
from lazygrad.ir.op import Op

from .access import (
    ScheduleError,
    all_loops,
    body,
    lines_inside,
    loop_named,
    replace_loop,
    with_body,
)
from .nest import divide

SUMMED = 32
"""How many terms are added one after the other."""


def cascade(kernel: Node, name: str, factor: int) -> Node:
    """Sum the loop over `name` in parts of `factor` iterations.

    Requires: its step is 1, and it adds to registers from outside. Where a group of threads shares it, the group shares each part.
    Guarantees: each register gets the same terms, in another order.

    Raises:
        ScheduleError: there is no such loop, or it adds to no register.
    """
    targets = running(loop_named(kernel, name))
    if not targets:
        raise ScheduleError(f"loop {name} adds to no register from outside")
    kernel = _parts(kernel, name, factor)
    inner = loop_named(kernel, name)
    taken = {node.arg.name for node in postorder([kernel]) if isinstance(node.arg, Name)}
    before: list[Node] = []
    after: list[Node] = []
    parts: dict[int, Node] = {}
    for target in targets:
        assert isinstance(target.arg, Name)
        count = next(n for n in range(len(taken) + 1) if f"{target.arg.name}_part{n}" not in taken)
        part = loops.local(f"{target.arg.name}_part{count}", target.dtype)
        taken.add(f"{target.arg.name}_part{count}")
        before += [part, loops.store(part, 0, identity("add", target.dtype))]
        total = loops.load(part, 0)
        step = (target, constant(0, int64), total)
        after += [total, Node(Op.ACCUMULATE, step, bool_, (), Accumulate("add"))]
        parts[id(target)] = part
    return replace_loop(kernel, inner, [*before, _into(inner, parts), *after])


def _parts(kernel: Node, name: str, factor: int) -> Node:
    """The loop over `name` in parts of `factor` iterations, one part after the other where threads share it: neighbours stay side by side."""
    loop = loop_named(kernel, name)
    kernel = divide(kernel, name, factor)
    if not isinstance(loop.arg, Loop) or loop.arg.kind != "threads":
        return kernel
    inner = loop_named(kernel, name)
    outer = next(around[-1] for each, around in all_loops(kernel) if each is inner)
    shared = loops.loop(inner.src[0], inner.src[1], body(inner), 1, "threads")
    return replace_loop(kernel, outer, [loops.loop(outer.src[0], outer.src[1], [shared])])


def running(loop: Node) -> list[Node]:
    """The registers from outside that a loop adds floating numbers to."""
    own = {id(line) for line in lines_inside(loop) if line.op is Op.LOCAL}
    found: dict[int, Node] = {}
    for line in lines_inside(loop):
        if line.op is Op.ACCUMULATE and isinstance(line.arg, Accumulate) and line.arg.kind == "add":
            target = line.src[0]
            register = target.op is Op.LOCAL and target.shape == () and id(target) not in own
            if register and target.dtype.kind == "float":
                found[id(target)] = target
    return list(found.values())


def _into(loop: Node, parts: dict[int, Node]) -> Node:
    """The loop with what it adds to some registers added to others. Recursion is over the depth of the loop nest only."""
    lines: list[Node] = []
    for line in body(loop):
        if line.op is Op.LOOP:
            line = _into(line, parts)
        elif line.op is Op.ACCUMULATE and id(line.src[0]) in parts:
            src = (parts[id(line.src[0])], *line.src[1:])
            line = Node(Op.ACCUMULATE, src, line.dtype, line.shape, line.arg)
        lines.append(line)
    return with_body(loop, lines)
