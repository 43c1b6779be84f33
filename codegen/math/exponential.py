"""exp, exp2, expm1.

x = 2 m ln2 + r with an integer m. Halving the exponent costs two more terms of the polynomial, for a larger r, and saves
the arithmetic of two different scales: 2^m is always a normal number, and multiplying by it twice rounds once, also to a
denormal result.
"""

from __future__ import annotations

from lazygrad.ir.node import Node, where
from lazygrad.ir.op import Op

from .coefficients import EXP, EXP2, EXPM1
from .floats import (
    LN2,
    LOG2_E,
    Format,
    at_least,
    at_most,
    fast_two_sum,
    fma,
    format_of,
    magnitude,
    nearest,
    number,
    polynomial,
    power_of_two,
)
from .table import MATH


def exponential_parts(x: Node, fmt: Format) -> tuple[Node, Node]:
    """(p, s) with exp(x) = p s s; s is a power of two, and p s is exact. x must be clamped."""
    integer, multiple = nearest(x, LOG2_E / 2, fmt, fmt.bias)
    high, low = fmt.split(2 * LN2, 2)
    rest = fma(multiple, -low, fma(multiple, -high, x))
    return polynomial(rest, (1.0, 1.0, *EXP[fmt.dtype])), power_of_two(integer, fmt)


def above(x: Node, low: float) -> tuple[Node, Node]:
    """x, but 0 where it is less than `low`, and where that is.

    There the result is 0, and is not computed: a processor takes a hundred cycles for a product that is too small for it,
    and the weights that a mask takes out of a softmax are all such products.
    """
    none = x.lt(number(low, x))
    return where(none, number(0.0, x), x), none


@MATH.rule(Op.EXP)
def exponential(node: Node) -> Node | None:
    fmt = format_of(node)
    if fmt is None:
        return None
    x, none = above(node.src[0], fmt.pick(-104.0, -746.0))
    value, scale = exponential_parts(at_most(x, fmt.pick(89.0, 710.0)), fmt)
    return where(none, 0.0, (value * scale) * scale)


@MATH.rule(Op.EXP2)
def exponential2(node: Node) -> Node | None:
    fmt = format_of(node)
    if fmt is None:
        return None
    x, none = above(node.src[0], fmt.pick(-151.0, -1076.0))
    value, scale = exponential2_parts(at_most(x, fmt.pick(129.0, 1025.0)), fmt)
    return where(none, 0.0, (value * scale) * scale)


def exponential2_parts(x: Node, fmt: Format, low: Node | None = None) -> tuple[Node, Node]:
    """(p, s) with 2 ** (x + low) = p s s, as `exponential_parts`."""
    integer, multiple = nearest(x, 0.5, fmt, fmt.bias)
    rest = fma(multiple, -2.0, x)
    if low is not None:
        rest = rest + low
    return polynomial(rest, (1.0, *EXP2[fmt.dtype])), power_of_two(integer, fmt)


def expm1_scaled(x: Node, fmt: Format, halvings: int, low_part: Node | None = None) -> Node:
    """(exp(x + low_part) - 1) / 2 ** halvings, for x that are clamped so that 2 ** (x log2(e) - halvings) is normal."""
    integer, multiple = nearest(x, LOG2_E, fmt, fmt.bias - halvings)
    scale = power_of_two(integer, fmt)
    high, low = fmt.split(LN2, 2)
    exact = fma(multiple, -high, x)
    rest = fma(multiple, -low, exact)
    lost = fma(multiple, -low, exact - rest)  # by the rounding of `rest`: the sum below can cancel
    if low_part is not None:
        lost = lost + low_part
    curve = fma(rest * rest, polynomial(rest, EXPM1[fmt.dtype]), lost)
    return fma(scale, curve, fma(scale, rest, scale - 2.0**-halvings))


@MATH.rule(Op.EXPM1)
def expm1(node: Node) -> Node | None:
    """Below a quarter ulp of 1 the result is x: this keeps -0 and denormal numbers."""
    fmt = format_of(node)
    if fmt is None:
        return None
    x = node.src[0]
    clamped = at_most(at_least(x, fmt.pick(-40.0, -60.0)), fmt.pick(88.8, 709.9))
    half = expm1_scaled(clamped, fmt, 1)
    tiny = magnitude(x).lt(number(2.0 ** (-fmt.mantissa - 2), x))
    return where(tiny, x, half + half)


def exponential_plus_one(x: Node, fmt: Format) -> Node:
    """exp(x) + 1, for x that are clamped so that exp(x) is a normal number."""
    integer, multiple = nearest(x, LOG2_E, fmt, fmt.bias)
    high, low = fmt.split(LN2, 2)
    rest = fma(multiple, -low, fma(multiple, -high, x))
    return fma(power_of_two(integer, fmt), polynomial(rest, (1.0, 1.0, *EXPM1[fmt.dtype])), 1.0)


def exponential_word(x: Node, fmt: Format, low_part: Node) -> tuple[Node, Node, Node, Node]:
    """(high, low, s, t) with exp(x + low_part) = (high + low) s t; s and t are powers of two, and high s is exact.

    Unlike in `exponential_parts`, r is at most ln2 / 2, since what is left beside 1 + r is rounded in proportion to r^2.
    """
    integer, multiple = nearest(x, LOG2_E, fmt)
    power = integer - fmt.magic_bits
    half = power >> 1
    high, low = fmt.split(LN2, 2)
    exact = fma(multiple, -high, x)
    rest = fma(multiple, -low, exact)
    lost = fma(multiple, -low, exact - rest) + low_part
    total, error = fast_two_sum(number(1.0, x), rest)
    curve = fma(rest * rest, polynomial(rest, EXPM1[fmt.dtype]), error)
    scale, rest_of_scale = (power_of_two(n + fmt.bias, fmt) for n in (half, power - half))
    return total, fma(lost, total + curve, curve), scale, rest_of_scale
