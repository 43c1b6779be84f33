"""asin, acos, atan, atan2: one odd polynomial each, and the identities that bring the argument into its interval."""

from __future__ import annotations

from lazygrad.ir.node import Node, where
from lazygrad.ir.op import Op

from .coefficients import ASIN, ATAN
from .floats import (
    PI,
    Format,
    bits,
    flip_sign,
    fma,
    format_of,
    magnitude,
    number,
    polynomial,
    sqrt,
    with_sign_of,
)
from .table import MATH


def arcsine_parts(x: Node, fmt: Format) -> tuple[Node, Node, Node]:
    """(small, s, p): p = asin(s), where s is |x| for small x and sqrt((1 - |x|) / 2) otherwise."""
    size = magnitude(x)
    small = size.lt(0.5625)  # so that 2 asin(s) < 1 has the ulp of the result
    square = where(small, size * size, fma(size, -0.5, 0.5))
    root = where(small, size, sqrt(square))
    return small, root, fma(root * square, polynomial(square, ASIN[fmt.dtype]), root)


@MATH.rule(Op.ASIN)
def arcsine(node: Node) -> Node | None:
    """asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)); beyond 1 the root is NaN."""
    fmt = format_of(node)
    if fmt is None:
        return None
    x = node.src[0]
    small, _, value = arcsine_parts(x, fmt)
    high, low = fmt.split(PI / 2, 2)
    result = where(small, value, high - fma(value, 2.0, -low))
    return flip_sign(result, x, fmt)


@MATH.rule(Op.ACOS)
def arccosine(node: Node) -> Node | None:
    fmt = format_of(node)
    if fmt is None:
        return None
    x = node.src[0]
    small, _, value = arcsine_parts(x, fmt)
    half_high, half_low = fmt.split(PI / 2, 2)
    signed = flip_sign(value, x, fmt)
    near = half_high - (signed - half_low)
    double = value + value
    far = where(x.lt(0.0), half_high * 2.0 - (double - half_low * 2.0), double)
    return where(small, near, far)


def arctangent_of_quotient(quotient: Node, large: Node, fmt: Format) -> Node:
    """atan(q) for q in [0, 1], or pi/2 - atan(q) where `large`."""
    square = quotient * quotient
    value = fma(quotient * square, polynomial(square, ATAN[fmt.dtype]), quotient)
    high, low = fmt.split(PI / 2, 2)
    return where(large, high - (value - low), value)


@MATH.rule(Op.ATAN)
def arctangent(node: Node) -> Node | None:
    fmt = format_of(node)
    if fmt is None:
        return None
    x = node.src[0]
    size = magnitude(x)
    large = size.gt(1.0)
    quotient = where(large, 1.0 / size, size)
    return with_sign_of(arctangent_of_quotient(quotient, large, fmt), x, fmt)


@MATH.rule(Op.ATAN2)
def arctangent2(node: Node) -> Node | None:
    """The angle of (x, y). Equal magnitudes have the quotient 1, infinite ones included; 0 / 0 counts as 0."""
    fmt = format_of(node)
    if fmt is None:
        return None
    y, x = node.src
    height, width = magnitude(y), magnitude(x)
    large = height.gt(width)
    above = where(large, width, height)
    below = where(large, height, width)
    quotient = above / below
    quotient = where(
        above.eq(below), where(above.eq(0.0), number(0.0, x), number(1.0, x)), quotient
    )
    value = arctangent_of_quotient(quotient, large, fmt)
    high, low = fmt.split(PI, 2)
    left = bits(x, fmt).lt(0)  # -0 is left of 0
    value = where(left, high - (value - low), value)
    return with_sign_of(value, y, fmt)
