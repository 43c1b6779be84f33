"""Which values of a kernel are only moved: read, put into another order, chosen among, and written.

A half float is computed with as a float32. One that is only moved stays the 16 bits that it is in memory, so that it comes out as
it went in, and nothing is converted.
"""

from __future__ import annotations

from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op

MOVES = frozenset((Op.LOAD, Op.SHUFFLE, Op.WHERE, Op.SPLAT, Op.CONST))


def moved(kernel: Node) -> set[int]:
    """The ids of the half floats that are only moved."""
    order = postorder([kernel])
    used: set[int] = set()
    for node in reversed(order):
        if node.op is Op.LOOP or node.op is Op.KERNEL:
            continue
        carries = id(node) not in used and _is_moved(node)
        for position, source in enumerate(node.src):
            stays = (
                (node.op is Op.STORE and position == 2)
                or (carries and node.op is Op.WHERE and position > 0)
                or (carries and node.op in (Op.SHUFFLE, Op.SPLAT))
            )
            if not stays:
                used.add(id(source))
    return {id(node) for node in order if _is_moved(node) and id(node) not in used}


def _is_moved(node: Node) -> bool:
    return node.op in MOVES and node.dtype.kind == "float" and node.dtype.itemsize == 2
