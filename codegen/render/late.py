"""Loads that wait until their value is needed, where a block has more of them than a work-item has registers.

In: a kernel, laid out in blocks. Out: the loads that may wait. A compiler for GPUs keeps loads where they stand if a branch follows; a choice between a
hundred values that are read first would be spilled, while one after the other they need a register each. Where they would fill registers nevertheless, a fence stands between them.
"""

from __future__ import annotations

from lazygrad.ir.args import Param
from lazygrad.ir.blocks import Block, Nested, parameters
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op

MANY = 64
"""The registers of 4 bytes that the loads of a block may have at once."""


def late_loads(kernel: Node, root: Block) -> set[int]:
    """The loads, by id, of blocks with many: each of memory that the kernel does not write, its value used once, in the same block."""
    roles = [each.arg.role for each in parameters(kernel) if isinstance(each.arg, Param)]
    if "inout" in roles or roles.count("in") * 2 < MANY:
        return set()
    users: dict[int, list[Node]] = {}
    for node in postorder([kernel]):
        for source in () if node.op in (Op.LOOP, Op.KERNEL) else node.src:
            if source.op is Op.LOAD:
                users.setdefault(id(source), []).append(node)
    late: set[int] = set()
    stack = [root]
    while stack:
        block = stack.pop()
        stack += [line.block for line in block.lines if isinstance(line, Nested)]
        lines = [line for line in block.lines if isinstance(line, Node)]
        loads = [line for line in lines if line.op is Op.LOAD]
        if sum(max(line.dtype.itemsize // 4, 1) for line in loads) < MANY:
            continue
        here = set(map(id, lines))
        late |= {
            id(line)
            for line in loads
            if isinstance(line.src[0].arg, Param)
            and not line.shape
            and [id(each) in here for each in users.get(id(line), ())] == [True]
        }
    return late
