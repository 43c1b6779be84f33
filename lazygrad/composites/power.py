"""Powers: with a number as exponent the frequent ones are products, roots and quotients, as in PyTorch; and the neighbours of numbers."""

from __future__ import annotations

from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents
from ..ir.composite import composite
from ..ir.dtype import BY_NAME
from ..ir.node import Node, constant, unary, where
from ..ir.op import Op
from .activation import attribute


@composite("pow")
def power(base: Node, exponent: Node) -> Node:
    return Node(Op.POW, (base, exponent), base.dtype, base.shape)


@composite("pow_scalar")
def pow_scalar(x: Node, exponent: float) -> Node:
    """PyTorch's special cases: pow(-inf, 0.5) is inf, but x ** 0.5 is its square root, NaN."""
    if exponent == 0:
        return constant(1, x.dtype, x.shape, x.place)
    if exponent == 1:
        return x
    if exponent == 2:
        return x * x
    if exponent == 3:
        return x * x * x
    if x.dtype.is_floating_point:
        if exponent == 0.5:
            return unary(Op.SQRT, x)
        if exponent == -0.5:
            return unary(Op.RSQRT, x)
        if exponent == -1:
            return 1.0 / x
        if exponent == -2:
            return 1.0 / (x * x)
    return power(x, constant(exponent, x.dtype, x.shape, x.place))


@COMPOSITE_REVERSE.rule("pow_scalar")
def pow_scalar_reverse(node: Node, cotangent: Node) -> Cotangents:
    x = node.src[0]
    exponent = attribute(node, "exponent")
    if exponent == 0:
        return (None,)
    if exponent == 1:
        return (cotangent,)
    return (cotangent * (pow_scalar(x, exponent - 1) * exponent),)


@composite("next_number")
def next_number(x: Node, towards: Node) -> Node:
    """The neighbour of x: numbers of one sign are ordered as their bits, so its bits are one more or one less."""
    bits = x.bitcast(BY_NAME[f"int{x.dtype.bits}"])
    away = towards.gt(x) ^ x.lt(0.0)
    moved = where(away, bits + 1, bits - 1).bitcast(x.dtype)
    least = constant(1, bits.dtype, bits.shape, bits.place).bitcast(x.dtype)
    moved = where(x.eq(0.0), where(towards.lt(0.0), -least, least), moved)
    return where(x.ne(x) | towards.ne(towards), x + towards, where(x.eq(towards), towards, moved))


@COMPOSITE_REVERSE.rule("next_number")
def next_number_reverse(node: Node, cotangent: Node) -> Cotangents:
    """As of x itself."""
    return cotangent, cotangent * 0.0
