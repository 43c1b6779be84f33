"""erf, erfc, erfinv.

-log(erfc(x)) / x is smooth where erf is not yet 1, so erf of float64 is expm1 of a polynomial, with neither branches nor a division.
In float32 two polynomials take two thirds of that.
"""

from __future__ import annotations

from fractions import Fraction

from lazygrad.ir.node import Node, where
from lazygrad.ir.op import Op

from .coefficients import ERF, ERF_FAR, ERF_NEAR, ERFC_TAIL, ERFINV_CENTRE, ERFINV_FAR, ERFINV_TAIL
from .exponential import expm1_scaled, exponential_word
from .floats import (
    INFINITY,
    NAN,
    SINGLE,
    Format,
    at_most,
    fast_two_sum,
    fma,
    format_of,
    magnitude,
    number,
    polynomial,
    sqrt,
    two_product,
    with_sign_of,
)
from .logarithm import log_of_parts, split_exponent
from .table import MATH

TWO_OVER_ROOT_PI = Fraction(
    "1.1283791670955125738961589031215451716881012586579977136881714434212849"
)


def error_of_magnitude(size: Node, fmt: Format) -> Node:
    """erf(size) for size >= 0."""
    return single_error(size, fmt) if fmt is SINGLE else double_error(size, fmt)


def error_below_one(size: Node, fmt: Format) -> Node:
    """erf(size) from 0 to 1."""
    if fmt is not SINGLE:
        return double_error(size, fmt)
    return fma(size, polynomial(size * size, ERF_NEAR[fmt.dtype]), size)


def single_error(size: Node, fmt: Format) -> Node:
    """In two pieces: an odd polynomial below 1, and from there 1 minus a polynomial, whose error counts as one of 1."""
    near = error_below_one(size, fmt)
    far = 1.0 - polynomial(at_most(size, 4.0) - 2.5, ERF_FAR[fmt.dtype])
    return where(size.lt(1.0), near, far)


def double_error(size: Node, fmt: Format) -> Node:
    """expm1 of a polynomial. The exponent is a sum of two floats, or small sizes would lose an ulp."""
    size = at_most(size, 6.0)
    high, low = fmt.split(TWO_OVER_ROOT_PI, 2)
    linear = size * -high
    curve = polynomial(size, tuple(-c for c in (low, *ERF[fmt.dtype])))
    total, error = fast_two_sum(linear, fma(size, curve, fma(size, -high, -linear)))
    return magnitude(expm1_scaled(total, fmt, 0, error))


@MATH.rule(Op.ERF)
def error_function(node: Node) -> Node | None:
    fmt = format_of(node)
    if fmt is None:
        return None
    x = node.src[0]
    return with_sign_of(error_of_magnitude(magnitude(x), fmt), x, fmt)


@MATH.rule(Op.ERFC)
def complementary_error_function(node: Node) -> Node | None:
    """Beyond 0.45 exp(-x^2) times a polynomial in (x - 2) / (x + 2); the rounding error of x^2 is put back."""
    fmt = format_of(node)
    if fmt is None:
        return None
    x = node.src[0]
    size = at_most(magnitude(x), fmt.pick(10.1, 27.3))
    near = 1.0 - with_sign_of(error_below_one(at_most(size, 1.0), fmt), x, fmt)
    square, lost = two_product(size, size)
    value, value_low, scale, rest_of_scale = exponential_word(-square, fmt, -lost)
    first, *others = ERFC_TAIL[fmt.dtype]
    divisor, beyond = fma(size, 2.0, 1.0), size + 2.0
    # one division for both quotients: what it loses of the second is put back
    both = 1.0 / (divisor * beyond)
    inverse, ratio = beyond * both, (size - 2.0) * (divisor * both)
    curve, curve_low = fast_two_sum(number(first, x), ratio * polynomial(ratio, others))
    tail = curve * inverse
    tail_low = fma(-tail, divisor, curve) + curve_low - tail * fma(size, 2.0, 1.0 - divisor)
    high, low = two_product(value, tail)
    low = fma(value_low, tail, fma(value, tail_low * inverse, low))
    far = ((high + low) * scale) * rest_of_scale
    far = where(x.lt(0.0), 2.0 - far, far)
    return where(size.lt(0.45), near, far)


@MATH.rule(Op.ERFINV)
def inverse_error_function(node: Node) -> Node | None:
    """x times a polynomial in w = -log(1 - x^2), from w = 5 on in its square root.

    1 - x^2 is rounded once, so that its last bits are kept near 1.
    """
    fmt = format_of(node)
    if fmt is None:
        return None
    x = node.src[0]
    size = magnitude(x)
    inside = size.lt(1.0)
    size = where(inside, size, 0.0)
    exponent, rest = split_exponent(fma(-size, size, 1.0), fmt)  # at least an ulp: a normal number
    w = -log_of_parts((exponent >> fmt.mantissa).cast(fmt.dtype), rest, fmt)
    root = sqrt(magnitude(w))
    pieces = [(w, w.lt(5.0), ERFINV_CENTRE), (root - 3.0, root.lt(4.0), ERFINV_TAIL)]
    if fmt.dtype in ERFINV_FAR:
        pieces.append((root - 5.0, root.ge(4.0), ERFINV_FAR))
    chosen: tuple[Node, Node, Node] | None = None
    for argument, condition, table in reversed(pieces):
        start, *others = table[fmt.dtype]
        piece = (argument, number(start, x), polynomial(argument, others))
        if chosen is None:
            chosen = piece
        else:
            chosen = (
                where(condition, piece[0], chosen[0]),
                where(condition, piece[1], chosen[1]),
                where(condition, piece[2], chosen[2]),
            )
    assert chosen is not None
    rest, first, curve = chosen
    # first + rest * curve, times x, with one rounding that counts
    value = fma(rest, curve, first)
    value_low = fma(rest, curve, first - value)
    product, product_low = two_product(x, value)
    result = product + fma(x, value_low, product_low)
    result = where(product.eq(0.0), product, result)
    outside = where(magnitude(x).eq(1.0), x * INFINITY, number(NAN, x))
    return where(inside, result, outside)
