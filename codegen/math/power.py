"""x ** y for floats and for integers.

Floats: 2 ** (y log2|x|), with the logarithm and the product as sums of two floats, since the error of the logarithm is
multiplied by y. Integers: by squaring, once for each bit of the exponent; wraps as integer multiplication does.
"""

from __future__ import annotations

from lazygrad.ir.node import Node, unary, where
from lazygrad.ir.op import Op

from .coefficients import POW_LOG
from .exponential import exponential2_parts
from .floats import (
    INFINITY,
    LOG2_E,
    NAN,
    Format,
    Word,
    at_least,
    at_most,
    bits,
    fast_two_sum,
    fma,
    format_of,
    magnitude,
    number,
    polynomial,
    two_product,
    two_sum,
    word_product,
)
from .logarithm import reduced
from .table import MATH

THIRD = LOG2_E * 2 / 3


def constant_word(value: tuple[float, ...], like: Node) -> Word:
    return number(value[0], like), number(value[1], like)


def logarithm2_word(x: Node, fmt: Format) -> Word:
    """log2(x) for finite positive x, to about 2 ** -(3/2 mantissa): e + 2 log2(e) atanh(s), s = f / (2 + f)."""
    power, rest = reduced(x, fmt)
    below, below_low = fast_two_sum(number(2.0, x), rest)
    quotient = rest / below
    error = (fma(-quotient, below, rest) - quotient * below_low) / below
    s: Word = (quotient, error)
    square, square_low = two_product(quotient, quotient)
    z: Word = (square, fma(quotient * 2.0, error, square_low))
    # atanh(s) = s (1 + z (1/3 + z q(z))); the first two terms carry their rounding errors
    tail = square * polynomial(square, POW_LOG[fmt.dtype]) * fmt.rounded(2 * LOG2_E)
    third = constant_word(fmt.split(THIRD, 2), x)
    inner_high, inner_low = fast_two_sum(third[0], tail)
    curve = word_product(z, (inner_high, inner_low + third[1]))
    unit = constant_word(fmt.split(2 * LOG2_E, 2), x)
    high, low = fast_two_sum(unit[0], curve[0])
    value = word_product(s, (high, low + (curve[1] + unit[1])))
    total, lost = two_sum(power, value[0])
    return fast_two_sum(total, lost + value[1])


@MATH.rule(Op.POW)
def power(node: Node) -> Node | None:
    """Special values as PyTorch's (and C's): anything ** 0 and 1 ** anything are 1, NaN included."""
    fmt = format_of(node)
    if fmt is None:
        return None
    base, exponent = node.src
    size = magnitude(base)
    usual = size.gt(0.0) & size.lt(INFINITY)
    log_high, log_low = logarithm2_word(where(usual, size, 1.0), fmt)
    # an exponent so large that only 0, 1 and infinity can result may be clamped, which keeps the products finite
    limit = fmt.pick(2.0**33, 2.0**64)
    clamped = at_most(at_least(exponent, -limit), limit)
    high, low = two_product(log_high, clamped)
    high, low = fast_two_sum(high, fma(log_low, clamped, low))
    bound = fmt.pick(160.0, 1100.0)
    inside = magnitude(high).lt(bound)
    low = where(inside, low, 0.0)
    high = at_most(at_least(high, -bound), bound)
    value, scale = exponential2_parts(high, fmt, low)
    result = (value * scale) * scale
    # 0 and infinity as bases
    rises = exponent.gt(0.0)
    vast = where(rises, number(INFINITY, base), number(0.0, base))
    none = where(rises, number(0.0, base), number(INFINITY, base))
    result = where(size.eq(0.0), none, where(size.eq(INFINITY), vast, result))
    # negative bases
    whole = unary(Op.FLOOR, exponent).eq(exponent)
    half = exponent * 0.5
    odd = whole & unary(Op.FLOOR, half).ne(half) & magnitude(exponent).lt(INFINITY)
    negative = bits(base, fmt).lt(0)
    result = where(negative & odd, -result, result)
    finite = size.lt(INFINITY)
    result = where(negative & ~whole & size.gt(0.0) & finite, NAN, result)
    # NaN, and the ones that win over it
    result = where(base.ne(base) | exponent.ne(exponent), NAN, result)
    infinite = magnitude(exponent).eq(INFINITY)
    result = where(infinite & size.eq(1.0), 1.0, result)
    return where(base.eq(1.0) | exponent.eq(0.0), 1.0, result)


@MATH.rule(Op.POW)
def integer_power(node: Node) -> Node | None:
    """A negative exponent, which PyTorch refuses, gives what 1 / x ** -y truncates to."""
    if not node.dtype.is_integer:
        return None
    base, exponent = node.src
    one = number(1, base)
    square, result = base, one
    # beyond the width of the type only the low bit of an exponent matters to 0, 1 and -1, and its bits to wrapped powers
    for bit in range(node.dtype.bits - (1 if node.dtype.is_signed else 0)):
        chosen = ((exponent >> bit) & 1).ne(0)
        result = where(chosen, result * square, result)
        square = square * square
    if not node.dtype.is_signed:
        return result
    odd = (exponent & 1).ne(0)
    unit = where(
        base.eq(1) | (base.eq(-1) & ~odd),
        one,
        where(base.eq(-1), number(-1, base), number(0, base)),
    )
    return where(exponent.lt(0), unit, result)
