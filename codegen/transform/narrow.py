"""Values that were widened: whether a value is exactly what a narrower one stands for, and that one.

In: a scalar value and a narrow type. Out: a value of that type that, widened, is the same number; or None.
"""

from __future__ import annotations

import struct

from lazygrad.ir.args import Constant, Scalar
from lazygrad.ir.dtype import DType, bfloat16
from lazygrad.ir.node import Node, constant, postorder
from lazygrad.ir.op import Op

_KEEPS = frozenset((Op.NEG, Op.ABS, Op.MAX, Op.MIN))
"""Operations whose result has no more digits than their operands; in integers it may have another sign."""


def narrowed(node: Node, dtype: DType) -> Node | None:
    """The value of type `dtype` that `node` is when it is widened, if it is one."""
    found: dict[int, Node | None] = {}
    for each in postorder([node]):
        found[id(each)] = _narrowed(each, dtype, found)
    return found[id(node)]


def _narrowed(node: Node, dtype: DType, found: dict[int, Node | None]) -> Node | None:
    if node.dtype.category != dtype.category or node.dtype.itemsize <= dtype.itemsize:
        return None
    if node.op is Op.CAST:
        return node.src[0] if node.src[0].dtype is dtype else found[id(node.src[0])]
    if node.op is Op.CONST:
        assert isinstance(node.arg, Constant)
        return (
            constant(node.arg.value, dtype, node.shape) if _holds(dtype, node.arg.value) else None
        )
    parts = [found[id(source)] for source in node.src[node.op is Op.WHERE :]]
    sources = [part for part in parts if part is not None]
    if len(sources) < len(parts):
        return None
    if node.op is Op.WHERE:
        return Node(Op.WHERE, (node.src[0], *sources), dtype, node.shape)
    if node.op in _KEEPS and dtype.kind == "float":
        return Node(node.op, tuple(sources), dtype, node.shape)
    return None


def _holds(dtype: DType, value: Scalar) -> bool:
    """Whether a number is one of the type's."""
    if dtype.kind != "float":
        low = -(1 << dtype.bits - 1) if dtype.is_signed else 0
        return low <= value < low + (1 << dtype.bits)
    try:
        if dtype is not bfloat16:
            return value != value or bool(struct.unpack("e", struct.pack("e", value))[0] == value)
        return value != value or struct.pack("<f", value)[:2] == b"\0\0"
    except OverflowError:
        return False
