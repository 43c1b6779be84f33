"""sign and rsqrt: two operations that are short without being one instruction."""

from __future__ import annotations

from lazygrad.ir.node import Node, where
from lazygrad.ir.op import Op

from .floats import format_of, number, sqrt
from .table import MATH


@MATH.rule(Op.SIGN)
def sign(node: Node) -> Node | None:
    """1, 0 or -1; a float's zero is +0, and so is NaN's sign, as PyTorch's."""
    x = node.src[0]
    if node.dtype.kind == "bool":
        return x
    one = where(x.gt(0), number(1, x), number(0, x))
    return one if node.dtype.kind == "uint" else where(x.lt(0), -1, one)


@MATH.rule(Op.RSQRT)
def reciprocal_root(node: Node) -> Node | None:
    if format_of(node) is None:
        return None
    return 1.0 / sqrt(node.src[0])
