"""unroll: a loop written out by the compiler of the language that a kernel is rendered in, so that arrays it goes through can be registers."""

from __future__ import annotations

from lazygrad.ir.args import Loop
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op

from .access import ScheduleError, extent, loop_named, replace_loop


def unroll(kernel: Node, name: str) -> Node:
    """Mark the loop over `name`, whose extent is a constant.

    Raises:
        ScheduleError: there is no such loop, its iterations are shared out, or how many it has is not known.
    """
    loop = loop_named(kernel, name)
    assert isinstance(loop.arg, Loop)
    if loop.arg.kind not in ("serial", "unroll") or extent(loop) is None:
        raise ScheduleError(f"loop {name} is {loop.arg.kind}, and has {extent(loop)} iterations")
    marked = Node(Op.LOOP, loop.src, loop.dtype, loop.shape, Loop(loop.arg.step, "unroll"))
    return replace_loop(kernel, loop, [marked])
