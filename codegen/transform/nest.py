"""The shape of a nest of loops: divide a loop into parts, interchange it with the one inside, merge the two into one.

None of them changes what an iteration does, or how often it is done.
"""

from __future__ import annotations

from itertools import count

from lazygrad.ir import loops
from lazygrad.ir.args import Loop
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
    extent,
    lines_inside,
    loop_name,
    loop_named,
    replace_loop,
)
from .jam import copied


def divide(kernel: Node, name: str, factor: int) -> Node:
    """Cut the loop over `name` into one over parts, of the same kind, and in it a serial one of at most `factor` iterations.

    Requires: its step is 1. What other transforms leave over of the inner loop then stands inside of the outer one.
    Guarantees: the same iterations in the same order.

    Raises:
        ScheduleError: there is no such loop, or its step is not 1.
    """
    loop = loop_named(kernel, name)
    arg = _arg(loop)
    size = loop.src[1]
    known = constant_value(size)
    taken = {loop_name(each) for each, _ in all_loops(kernel)}
    names = (f"{name}_part{number or ''}" for number in count(0))
    part = loops.index(next(each for each in names if each not in taken))
    inner = loops.index(name)
    start = part * factor
    if known is None:
        parts: Node = (size + (factor - 1)) // factor
    else:
        parts = constant(-(-known // factor), int64)
    if known is not None and known % factor == 0:
        least: Node = constant(factor, int64)
    else:
        least = (size - start).minimum(factor)
    lines = copied(loop, start + inner)
    nested = loops.loop(inner, least, lines)
    return replace_loop(kernel, loop, [loops.loop(part, parts, [nested], 1, arg.kind)])


def interchange(kernel: Node, name: str) -> Node:
    """Put the loop over `name` inside of the one loop that its body has. What else the body has, loads and checks, goes inside too.

    Requires: its iterations are independent of each other, and the extent of the inner loop of its variable.
    Guarantees: the same iterations; those of one value of `name` in the same order.

    Raises:
        ScheduleError: there is no such loop, its body is another, or an iteration needs the one before it.
    """
    loop = loop_named(kernel, name)
    lines, inner = _nested(loop)
    if carries(loop):
        raise ScheduleError(f"an iteration of loop {name} may read what another one writes")
    within = loops.loop(loop.src[0], loop.src[1], [*lines, *body(inner)], _arg(loop).step)
    kind = "serial" if carries(inner) else _arg(loop).kind
    outer = loops.loop(inner.src[0], inner.src[1], [within], _arg(inner).step, kind)
    return replace_loop(kernel, loop, [outer])


def merge(kernel: Node, name: str) -> Node:
    """Make one loop of the loop over `name` and the one loop that its body has, so that threads can divide the iterations of both.

    Requires: both steps are 1, and the extent of the inner loop does not depend on the outer one.
    Guarantees: the same iterations in the same order.

    Raises:
        ScheduleError: there is no such loop, or its body is another.
    """
    loop = loop_named(kernel, name)
    lines, inner = _nested(loop)
    both = loops.index(f"{name}_{loop_name(inner)}")
    kind = "serial" if carries(inner) else _arg(loop).kind
    if _arg(inner).step != 1:
        raise ScheduleError(f"loop {loop_name(inner)} has step {_arg(inner).step}")
    on = runs_on(loop, inner)
    whole = loops.loop(loop.src[0], loop.src[1], [*lines, *body(inner)])
    start = constant(0, int64) if on else both // inner.src[1]
    flat = loops.loop(inner.src[0], inner.src[1], copied(whole, start))
    merged = copied(flat, both if on else both % inner.src[1])
    sizes = constant_value(loop.src[1]), constant_value(inner.src[1])
    if sizes[0] is not None and sizes[1] is not None:
        size: Node = constant(sizes[0] * sizes[1], int64)
    else:
        size = loop.src[1] * inner.src[1]
    return replace_loop(kernel, loop, [loops.loop(both, size, merged, 1, kind)])


def runs_on(outer: Node, inner: Node) -> bool:
    """Whether an iteration of the outer loop goes on where the inner loop ends, wherever it reads or writes, and does nothing else."""
    size = extent(inner)
    far, near = Stride(outer.src[0]), Stride(inner.src[0])
    if size is None or body(outer) != (inner,):
        return False
    for line in lines_inside(inner):
        rest = line.src[1:2] if line.op is Op.LOOP else line.src
        if line.op in (Op.LOAD, Op.STORE, Op.ACCUMULATE):
            moves, rest = near(line.src[1]), line.src[2:]
            if moves is None or far(line.src[1]) != moves * size:
                return False
        if any(far(source) != 0 or near(source) != 0 for source in rest):
            return False
        if line.op is Op.LOAD:
            far.mark(line, 0)
            near.mark(line, 0)
    return True


def _nested(loop: Node) -> tuple[list[Node], Node]:
    """The loads and checks of a loop's body, and the one loop that follows them."""
    name = loop_name(loop)
    _arg(loop)
    *lines, inner = body(loop)
    if inner.op is not Op.LOOP or any(line.op not in (Op.LOAD, Op.CHECK) for line in lines):
        raise ScheduleError(f"the body of loop {name} is not one loop")
    if Stride(loop.src[0])(inner.src[1]) != 0 or any(line in lines for line in inner.src[1].src):
        raise ScheduleError(f"the extent of loop {loop_name(inner)} depends on loop {name}")
    written = {id(line.src[0]) for line in lines_inside(inner) if line.op is Op.STORE}
    if any(line.op is Op.LOAD and id(line.src[0]) in written for line in lines):
        raise ScheduleError(f"the body of loop {name} reads what the loop in it writes")
    return lines, inner


def _arg(loop: Node) -> Loop:
    assert isinstance(loop.arg, Loop)
    if loop.arg.step != 1:
        raise ScheduleError(f"loop {loop_name(loop)} has step {loop.arg.step}")
    return loop.arg
