"""sink: what is read once for many iterations of a loop is read in each of them, so that the loop is all that the loop around it holds, and both can be the grid.

A thread reads for itself what it needs, and neighbours that need the same read it at once.
"""

from __future__ import annotations

from lazygrad.ir.node import Node
from lazygrad.ir.op import Op

from .access import body, lines_inside, replace_loop, with_body


def sink(kernel: Node, loop: Node) -> Node:
    """The kernel with the loads of a loop that stand in front of a loop, and of buffers that nothing writes, in that one; as it is where anything else stands there."""
    *lines, last = body(loop)
    written = {
        id(line.src[0]) for line in lines_inside(kernel) if line.op in (Op.STORE, Op.ACCUMULATE)
    }
    if last.op is not Op.LOOP or not all(
        line.op is Op.LOAD and line.src[0].op is Op.PARAM and id(line.src[0]) not in written
        for line in lines
    ):
        return kernel
    inside = with_body(last, [*lines, *body(last)])
    return replace_loop(kernel, loop, [with_body(loop, [inside])])
