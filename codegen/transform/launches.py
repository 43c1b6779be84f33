"""launches: a kernel as what a GPU runs one after the other.

The threads of a grid do not wait for each other between two loops of the kernel's own. So each parallel loop there is a launch, and so is what stands before or behind
one. A local that one launch fills for another lives in memory of the kernel's own, which each of them has as one more param.
"""

from __future__ import annotations

from dataclasses import dataclass

from lazygrad.ir import loops
from lazygrad.ir.args import Kernel, Loop, Name
from lazygrad.ir.blocks import parameters
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op
from lazygrad.ir.rewrite import rebuild

from .access import ScheduleError, body, loop_named, replace_loop
from .share import dependence


@dataclass(frozen=True, slots=True)
class Launches:
    """The kernels that a kernel is run as, in order; each has its params, and behind them those of the arrays between them."""

    kernels: tuple[Node, ...]
    arrays: tuple[Node, ...] = ()


def grid(kernel: Node, name: str) -> Node:
    """Make the loop over `name`, one of the kernel's own lines, and the loops that it alone holds, parallel ones.

    Requires: the iterations of each are independent.
    Guarantees: the same iterations.

    Raises:
        ScheduleError: there is no such loop there, or an iteration needs another one.
    """
    loop = loop_named(kernel, name)
    if not any(line is loop for line in body(kernel)):
        raise ScheduleError(f"loop {name} is none of the kernel's own lines")
    reason = dependence(loop)
    if reason:
        raise ScheduleError(f"loop {name} cannot be a grid: {reason}")
    return replace_loop(kernel, loop, [_marked(loop)])


def _marked(loop: Node) -> Node:
    """The loop as a parallel one, and those that it alone holds. Recursion is over the depth of the loop nest only."""
    assert isinstance(loop.arg, Loop)
    lines = list(body(loop))
    if len(lines) == 1 and lines[0].op is Op.LOOP and not dependence(lines[0]):
        lines = [_marked(lines[0])]
    return loops.loop(loop.src[0], loop.src[1], lines, loop.arg.step, "parallel")


def launches(kernel: Node) -> Launches:
    """What a GPU runs one after the other: the kernel itself where that is one launch."""
    groups = _groups(kernel)
    if len(groups) == 1:
        return Launches((kernel,))
    assert isinstance(kernel.arg, Kernel)
    params = parameters(kernel)
    needed = [{id(node) for node in postorder(group)} for group in groups]
    declared = [
        (at, line) for at, group in enumerate(groups) for line in group if line.op is Op.LOCAL
    ]
    crossing = {
        id(line): loops.parameter(line.arg.name, line.dtype, line.shape, "out")
        for at, line in declared
        if isinstance(line.arg, Name) and any(id(line) in each for each in needed[at + 1 :])
    }
    arrays = tuple(crossing.values())
    made: list[Node] = []
    read: list[Node] = []
    for group, inside in zip(groups, needed, strict=True):
        known = {id(line) for line in group}
        again = [line for line in read if id(line) in inside and id(line) not in known]
        read += [line for line in group if line.op is Op.LOAD]
        lines = [line for line in (*again, *group) if id(line) not in crossing]
        part = Node(
            Op.KERNEL, (*params, *lines), kernel.dtype, (), Kernel(kernel.arg.name, len(params))
        )
        (part,) = rebuild([part], lambda node: crossing.get(id(node)))
        name = f"{kernel.arg.name}_then{len(made)}" if made else kernel.arg.name
        made.append(loops.kernel(name, (*params, *arrays), body(part)))
    return Launches(tuple(made), arrays)


def _groups(kernel: Node) -> list[list[Node]]:
    """The kernel's own lines, launch by launch: a parallel loop with what it needs before it, or lines up to one."""
    groups: list[list[Node]] = [[]]
    ready: list[Node] = []
    for line in body(kernel):
        if isinstance(line.arg, Loop) and line.arg.kind == "parallel":
            if groups[-1]:
                groups.append([])
            groups[-1] = [*ready, line]
            groups.append([])
            ready = []
        elif line.op in (Op.LOCAL, Op.LOAD, Op.CHECK):
            ready.append(line)
        else:
            groups[-1] += [*ready, line]
            ready = []
    groups[-1] += ready
    return [group for group in groups if group] or [[]]


__all__ = ["Launches", "grid", "launches"]
