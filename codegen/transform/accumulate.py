"""accumulate: every step of a declared reduction becomes load, operation, store; a product that is added becomes one FMA.

This is where the freedom of ACCUMULATE is used up: after it, every operation rounds as it is written.
"""

from __future__ import annotations

from lazygrad.codegen.reductions import combine, identity
from lazygrad.ir import loops
from lazygrad.ir.args import Accumulate
from lazygrad.ir.node import Node, where
from lazygrad.ir.op import Op

from .access import all_loops, body, with_body


def accumulate(kernel: Node) -> Node:
    """Lower every ACCUMULATE of the kernel but for atomic ones, which are one instruction or a loop of a device. Masked lanes keep what they hold."""
    done: dict[int, list[Node]] = {}
    nested = [loop for loop, _ in all_loops(kernel)]
    for outer in (*reversed(nested), kernel):
        lines: list[Node] = []
        for line in body(outer):
            if line.op is Op.LOOP:
                lines.extend(done[id(line)])
            elif line.op is Op.ACCUMULATE:
                lines.extend(_step(line))
            else:
                lines.append(line)
        done[id(outer)] = [with_body(outer, lines)]
    return done[id(kernel)][0]


def _step(line: Node) -> list[Node]:
    assert isinstance(line.arg, Accumulate)
    if line.arg.atomic:
        return [line]
    buffer, offset, value = line.src[:3]
    lanes = value.shape[0] if value.shape and offset.shape == () else None
    assert lanes is None or isinstance(lanes, int)
    before = loops.load(buffer, offset, None, lanes)
    mask = line.src[3] if len(line.src) > 3 else None
    if (
        line.arg.kind == "add"
        and value.op is Op.MUL
        and value.dtype.kind == "float"
        and mask is None
    ):
        after = Node(Op.FMA, (*value.src, before), value.dtype, value.shape)
    else:
        if mask is not None:
            neutral = identity(line.arg.kind, value.dtype)
            if value.shape:
                neutral = Node(Op.CONST, (), value.dtype, value.shape, neutral.arg)
            value = where(mask, value, neutral)
        after = combine(line.arg.kind, before, value)
    return [before, loops.store(buffer, offset, after)]
