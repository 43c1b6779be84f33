"""log, log2, log10, log1p: the exponent is taken from the bits.

x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), so that e = 0 around 1 and f is exact there.
"""

from __future__ import annotations

from fractions import Fraction

from lazygrad.ir.node import Node, where
from lazygrad.ir.op import Op

from .coefficients import LOG1P
from .floats import (
    INFINITY,
    LN2,
    LOG2_E,
    LOG10_2,
    LOG10_E,
    NAN,
    Format,
    bits,
    fma,
    format_of,
    magnitude,
    number,
    polynomial,
    two_sum,
)
from .table import MATH

HALF_ROOT = {23: 0x3F3504F3, 52: 0x3FE6A09E667F3BCD}
"""The bits of sqrt(1/2), by stored bits of the significand."""


def split_exponent(x: Node, fmt: Format) -> tuple[Node, Node]:
    """(e << mantissa, f) with x = 2^e (1 + f), for positive normal x."""
    shifted = bits(x, fmt) - HALF_ROOT[fmt.mantissa]
    exponent = shifted & -(1 << fmt.mantissa)
    return exponent, (bits(x, fmt) - exponent).bitcast(fmt.dtype) - 1.0


def reduced(x: Node, fmt: Format) -> tuple[Node, Node]:
    """(e as a float, f) with x = 2^e (1 + f), for positive x, denormal ones included."""
    lift = fmt.mantissa + 2
    small = x.lt(number(fmt.smallest_normal, x))
    pattern = bits(where(small, x * 2.0**lift, x), fmt)
    root = HALF_ROOT[fmt.mantissa]
    # the lifted ones take the lift out of the exponent here; the bits below are the same
    shifted = pattern - where(small, number(root + (lift << fmt.mantissa), pattern), root)
    significand = ((shifted & ((1 << fmt.mantissa) - 1)) + root).bitcast(fmt.dtype)
    return (shifted >> fmt.mantissa).cast(fmt.dtype), significand - 1.0


def log1p_core(rest: Node, fmt: Format) -> Node:
    """log(1 + rest); a zero keeps its sign."""
    return fma(rest, rest * polynomial(rest, LOG1P[fmt.dtype]), rest)


def log_of_parts(power: Node, rest: Node, fmt: Format) -> Node:
    """log(2^power (1 + rest))."""
    high, low = fmt.split(LN2, 2)
    return fma(power, high, fma(power, low, log1p_core(rest, fmt)))


def domain(result: Node, x: Node) -> Node:
    """`result` where x is a positive number, otherwise log's value at 0, infinity and outside."""
    outside = where(x.eq(0.0), number(-INFINITY, x), number(NAN, x))
    result = where(x.lt(INFINITY), result, x)
    return where(x.gt(0.0), result, outside)


@MATH.rule(Op.LOG)
def logarithm(node: Node) -> Node | None:
    fmt = format_of(node)
    if fmt is None:
        return None
    x = node.src[0]
    return domain(log_of_parts(*reduced(x, fmt), fmt), x)


def scaled_logarithm(x: Node, fmt: Format, unit: Fraction, of_two: Fraction) -> Node:
    """unit * log(x), where unit * log(2) = of_two; the product with unit is as exact as the logarithm."""
    power, rest = reduced(x, fmt)
    high, low = fmt.split(unit, 2)
    square = rest * (rest * polynomial(rest, LOG1P[fmt.dtype]))
    value = fma(rest, high, fma(rest, low, square * high))
    two_high, two_low = fmt.split(of_two, 2)
    if two_low:
        value = fma(power, two_low, value)
    return domain(fma(power, two_high, value), x)


@MATH.rule(Op.LOG2)
def logarithm2(node: Node) -> Node | None:
    fmt = format_of(node)
    return None if fmt is None else scaled_logarithm(node.src[0], fmt, LOG2_E, Fraction(1))


@MATH.rule(Op.LOG10)
def logarithm10(node: Node) -> Node | None:
    fmt = format_of(node)
    return None if fmt is None else scaled_logarithm(node.src[0], fmt, LOG10_E, LOG10_2)


def log_of_word(high: Node, low: Node, fmt: Format) -> Node:
    """log(high + low) for a positive normal `high` and a far smaller `low`."""
    exponent, rest = split_exponent(high, fmt)
    inverse = (((fmt.bias + 1) << fmt.mantissa) - exponent).bitcast(
        fmt.dtype
    )  # 2 ** (1 - e), 0 at the largest e
    power = (exponent >> fmt.mantissa).cast(fmt.dtype)
    return log_of_parts(power, fma(low * 0.5, inverse, rest), fmt)


@MATH.rule(Op.LOG1P)
def log1p(node: Node) -> Node | None:
    """1 + x as a sum of two floats; what 1 adds to a large x is below its ulp and dropped."""
    fmt = format_of(node)
    if fmt is None:
        return None
    x = node.src[0]
    high, low = two_sum(number(1.0, x), x)
    low = where(x.lt(2.0 ** (fmt.mantissa + 4)), low, 0.0)
    result = log_of_word(high, low, fmt)
    outside = where(x.eq(-1.0), number(-INFINITY, x), number(NAN, x))
    plain = x.lt(INFINITY) & magnitude(x).ge(
        2.0 ** (-fmt.mantissa - 2)
    )  # -0 and denormal numbers are returned as they are
    return where(x.gt(-1.0), where(plain, result, x), outside)
