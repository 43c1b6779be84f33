"""ahead: while the sums of some rows of a contraction are computed, memory is asked for what the next rows read.

Rows lie far apart, so a processor that looks ahead by itself meets each of them anew, and products wait for it.
"""

from __future__ import annotations

from lazygrad.ir import loops
from lazygrad.ir.args import Loop, Param
from lazygrad.ir.dtype import int64
from lazygrad.ir.node import Node, constant, postorder
from lazygrad.ir.op import Op
from lazygrad.ir.rewrite import rebuild

from .access import ScheduleError, Stride, body, loop_named, replace_loop, with_body
from .pack import bound


def ahead(kernel: Node, name: str) -> Node:
    """Have each step of a sum in the jammed loop over `name` ask for an element that the same step of its next iteration reads.

    Requires: the loop has one loop in it, of columns, and in that are sums, which read rows of an input that do not depend on the columns.
    Guarantees: the same values.

    Raises:
        ScheduleError: there is no such loop, or it is not so.
    """
    rows = loop_named(kernel, name)
    columns = next((line for line in body(rows) if line.op is Op.LOOP), None)
    sums = [line for line in body(columns) if line.op is Op.LOOP] if columns is not None else []
    if columns is None or len(sums) != 1:
        raise ScheduleError(f"in loop {name} is no loop of columns, a sum each")
    (innermost,) = sums
    assert isinstance(rows.arg, Loop) and isinstance(columns.arg, Loop)
    together, width = rows.arg.step, columns.arg.step
    size = bound(columns.src[1]) or together * width
    each = -(-together // -(-size // width))  # rows that one step of a sum asks for
    first: dict[int, Node] = {}
    for line in body(innermost):
        if read_apart(line, rows, columns):
            first.setdefault(id(line.src[0]), line)
    if not first:
        raise ScheduleError(f"no sum in loop {name} reads rows of an input")
    lines: list[Node] = []
    for line in first.values():
        for number in range(each):
            row = columns.src[0] // width * each + number
            row = row.minimum(constant(together - 1, int64))
            offset = _later(line.src[1], rows.src[0], row + together)
            lines.append(loops.prefetch(line.src[0], offset))
    return replace_loop(kernel, innermost, [with_body(innermost, [*lines, *body(innermost)])])


def _later(offset: Node, index: Node, by: Node) -> Node:
    """What an offset is when a loop's index has grown."""
    known = {id(index): index + by}
    return rebuild([offset], lambda node: known.get(id(node)))[0]


def read_apart(line: Node, rows: Node, columns: Node) -> bool:
    """Whether a line reads an element of an input for each row, the same for all columns, at a place that arithmetic alone tells."""
    if line.op is not Op.LOAD or line.shape or len(line.src) > 2:
        return False
    buffer, offset = line.src
    if not isinstance(buffer.arg, Param) or buffer.arg.role != "in":
        return False
    moves = Stride(rows.src[0])(offset)
    plain = all(node.op is not Op.LOAD for node in postorder([offset]))
    return plain and moves not in (0, None) and Stride(columns.src[0])(offset) == 0


__all__ = ["ahead", "read_apart"]
