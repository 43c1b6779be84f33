"""share: the iterations of a loop divided among the work-items of a group.

What the loop accumulates into a local from outside of it, each work-item first has a part of, and the group reduces the parts behind the loop: a
`reduce` of one value, which is that value where nothing is shared. So the kernel computes the same run one iteration after the other.
"""

from __future__ import annotations

from lazygrad.codegen.reductions import identity
from lazygrad.ir import loops
from lazygrad.ir.args import Accumulate, Loop, Reduction
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op

from .access import (
    ScheduleError,
    Stride,
    all_loops,
    body,
    carries,
    extent,
    lines_inside,
    loop_named,
    replace_loop,
    with_body,
)

LEAST_THREADS = 32
MOST_THREADS = 256
TYPICAL_EXTENT = 1024
"""What a loop of unknown extent is taken for."""


def share(kernel: Node, name: str) -> Node:
    """Make the loop over `name` one of the kind `threads`.

    Requires: its iterations are independent, but for what they accumulate into one element of a local from outside.
    Guarantees: the same iterations; an accumulated value is reassociated, as its declaration allows.

    Raises:
        ScheduleError: there is no such loop, or an iteration needs another one.
    """
    loop = loop_named(kernel, name)
    reason = obstacle(loop)
    if reason:
        raise ScheduleError(f"loop {name} cannot be shared: {reason}")
    assert isinstance(loop.arg, Loop)
    own = {id(line) for line in lines_inside(loop) if line.op is Op.LOCAL}
    sums = [
        line
        for line in lines_inside(loop)
        if line.op is Op.ACCUMULATE and id(line.src[0]) not in own and _still(loop, line.src[1])
    ]
    anchor = _anchor(kernel, loop, sums)
    before: list[Node] = []
    after: list[Node] = []
    changed: dict[int, Node] = {}
    parts: dict[tuple[int, int, str], Node] = {}
    for line in sums:
        assert isinstance(line.arg, Accumulate)
        buffer, offset, value = line.src[:3]
        key = (id(buffer), id(offset), line.arg.kind)
        part = parts.get(key)
        if part is None:
            part = parts[key] = loops.local(f"{_name(buffer)}_part{len(parts) or ''}", value.dtype)
            whole = loops.load(part, 0)
            reduced = Node(
                Op.REDUCE, (whole,), value.dtype, (), Reduction(line.arg.kind, (0,), value.dtype)
            )
            before += [part, loops.store(part, 0, identity(line.arg.kind, value.dtype))]
            after += [whole, loops.accumulate(buffer, offset, reduced, line.arg.kind)]
        mask = line.src[3] if len(line.src) > 3 else None
        changed[id(line)] = loops.accumulate(part, 0, value, line.arg.kind, mask)
    shared = _with_lines(loop, changed)
    shared = Node(Op.LOOP, shared.src, loop.dtype, loop.shape, Loop(loop.arg.step, "threads"))
    if anchor is loop:
        return replace_loop(kernel, loop, [*before, shared, *after])
    inside = replace_loop(anchor, loop, [shared])
    return replace_loop(kernel, anchor, [*before, inside, *after])


def group_size(kernel: Node) -> int:
    """How many work-items share the loops of a kernel: about one for four iterations of the longest, whole warps; 0 where none is shared."""
    waits = [line for line in lines_inside(kernel) if line.op is Op.AWAIT]
    if waits:
        return _size_of_tiles(kernel, {id(array) for line in waits for array in line.src})
    sizes = [
        extent(loop) or TYPICAL_EXTENT
        for loop, _ in all_loops(kernel)
        if isinstance(loop.arg, Loop) and loop.arg.kind == "threads"
    ]
    return threads_for(max(sizes)) if sizes else 0


def threads_for(size: int | None) -> int:
    """About a work-item for four iterations of a loop, whole warps."""
    threads = LEAST_THREADS
    while threads < MOST_THREADS and threads * 4 < (TYPICAL_EXTENT if size is None else size):
        threads *= 2
    return threads


def _size_of_tiles(kernel: Node, staged: set[int]) -> int:
    """As many as have parts of their own in locals: iterations of the shared loops that meet some which no AWAIT names."""
    sizes: set[int] = set()
    for loop, _ in all_loops(kernel):
        if isinstance(loop.arg, Loop) and loop.arg.kind == "threads":
            lines = list(lines_inside(loop))
            declared = {id(line) for line in lines} | staged
            met = [line.src[0] for line in lines if line.op in (Op.LOAD, Op.STORE)]
            if any(each.op is Op.LOCAL and id(each) not in declared for each in met):
                sizes.add(extent(loop) or 0)
    return max(sizes)


def obstacle(loop: Node) -> str:
    """Why the iterations of a loop cannot be shared; nothing if they can."""
    if carries(loop):
        return "an iteration may read what another one writes"
    read = {id(line.src[0]) for line in lines_inside(loop) if line.op is Op.LOAD}
    for inner, _ in all_loops(loop):
        if isinstance(inner.arg, Loop) and inner.arg.kind == "threads":
            return "it holds a shared loop"
    for line, moves in outside_writes(loop):
        if line.op is Op.ACCUMULATE and moves == 0 and line.src[0].op is Op.LOCAL:
            if id(line.src[0]) in read or not _still(loop, line.src[1]) or line.src[1].shape:
                return "what it accumulates is read, or is several elements"
        elif moves in (0, None):
            return "iterations write the same element"
    return ""


def dependence(loop: Node) -> str:
    """Why the iterations of a loop cannot run in any order, none of which waits for another; nothing if they can. What a group would reduce, they add up."""
    for line, moves in outside_writes(loop):
        if line.op is Op.ACCUMULATE and moves in (0, None):
            return "iterations accumulate in the same element"
    return obstacle(loop)


def outside_writes(loop: Node) -> list[tuple[Node, int | None]]:
    """The lines of a loop that write what is outside of it, and how far their place moves from one iteration to the next; what is loaded moves as nobody knows."""
    stride, lines = Stride(loop.src[0]), list(lines_inside(loop))
    own = {id(line) for line in lines if line.op is Op.LOCAL}
    for line in lines:
        if line.op is Op.LOAD:
            stride.mark(line, None)
    written = [line for line in lines if line.op in (Op.STORE, Op.ACCUMULATE)]
    return [(line, stride(line.src[1])) for line in written if id(line.src[0]) not in own]


def _still(loop: Node, offset: Node) -> bool:
    """Whether an offset is computed outside of the loop."""
    inside = {id(loop.src[0])} | {id(line) for line in lines_inside(loop)}
    inside |= {id(inner.src[0]) for inner, _ in all_loops(loop)}
    return not any(id(node) in inside for node in postorder([offset]))


def _anchor(kernel: Node, loop: Node, sums: list[Node]) -> Node:
    """The outermost loop around `loop` that accumulates the same sums and touches them nowhere else: the group reduces behind it."""
    if not sums:
        return loop
    around = next(outer for each, outer in all_loops(kernel) if each is loop)
    found = loop
    targets = {id(line.src[0]) for line in sums}
    for outer in reversed(around):
        lines = list(lines_inside(outer))
        declared = any(id(line) in targets for line in lines)
        touching = [
            line
            for line in lines
            if line.op in (Op.LOAD, Op.STORE, Op.ACCUMULATE) and id(line.src[0]) in targets
        ]
        still = all(_still(outer, line.src[1]) for line in sums)
        if declared or len(touching) != len(sums) or not still:
            break
        found = outer
    return found


def _name(buffer: Node) -> str:
    return str(getattr(buffer.arg, "name", "sum"))


def _with_lines(loop: Node, changed: dict[int, Node]) -> Node:
    """The loop with some of its lines replaced. Recursion is over the depth of the loop nest only."""
    lines = [
        _with_lines(line, changed) if line.op is Op.LOOP else changed.get(id(line), line)
        for line in body(loop)
    ]
    return with_body(loop, lines)
