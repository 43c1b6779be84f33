"""log |gamma(x)| and digamma, in float64; float32 goes by way of it: near their roots a float32 sum keeps no digits."""

from __future__ import annotations

from lazygrad.ir.dtype import float32, float64
from lazygrad.ir.node import Node, unary, where
from lazygrad.ir.op import Op

from .coefficients import COS, DIGAMMA, DIGAMMA_NEAR, LOG_GAMMA, SIN, STIRLING, TAN
from .floats import (
    DOUBLE,
    INFINITY,
    LN2,
    NAN,
    PI,
    Word,
    fast_two_sum,
    flip_sign,
    fma,
    magnitude,
    number,
    polynomial,
    two_product,
    two_sum,
    word_product,
)
from .logarithm import log1p_core, log_of_parts, reduced
from .table import MATH

HALF_LOG_TWO_PI = 0.9189385332046727418
LOG_PI = 1.1447298858494001741


@MATH.rule(Op.LGAMMA, Op.DIGAMMA)
def by_way_of_double(node: Node) -> Node | None:
    if node.dtype is not float32:
        return None
    return unary(node.op, node.src[0].cast(float64)).cast(float32)


def log_positive(x: Node) -> Node:
    """log(x) for positive x; 0 and infinity are the caller's."""
    return log_of_parts(*reduced(x, DOUBLE), DOUBLE)


def fraction_of(x: Node) -> Node:
    """x minus the nearest integer."""
    return x - unary(Op.ROUND, x)


def sine_of_pi(fraction: Node) -> Node:
    """|sin(pi r)| for |r| <= 1/2."""
    size = magnitude(fraction)
    small = size.lt(0.25)
    angle = where(small, size, 0.5 - size) * float(PI)
    square = angle * angle
    sine = fma(angle * square, polynomial(square, SIN[float64]), angle)
    return where(small, sine, polynomial(square, (1.0, -0.5, *COS[float64])))


@MATH.rule(Op.LGAMMA)
def log_gamma(node: Node) -> Node | None:
    """By x gamma(x) = gamma(x + 1) into [1.5, 2.5], from 8 on Stirling's series, below -1/2 the reflection.

    Between the roots on the negative axis the error is relative to the terms, not to their difference.
    """
    if node.dtype is not float64:
        return None
    x = node.src[0]
    size = magnitude(x)
    one = number(1.0, x)
    reflected = x.lt(-0.5)
    a = where(reflected, size, x)
    # log(gamma(a)) = t q(t) + log(product), with 2 + t in [1.5, 2.5], or - log(product) where a is small
    tiny, small = a.lt(0.5), a.lt(1.5)
    product, place = one, a
    for _ in range(6):
        large = place.gt(2.5)
        place = where(large, place - 1.0, place)
        product = where(large, product * place, product)
    product = where(small, where(tiny, magnitude(a) * (a + 1.0), a), product)
    t = where(tiny, a, where(small, a - 1.0, place - 2.0))
    stirling = a.ge(8.0)
    # gamma(x) gamma(-x) = -pi / (x sin(pi x)): the sine joins the product, so both are one logarithm
    fraction = fraction_of(where(reflected, x, 0.25))
    sine = sine_of_pi(fraction)
    joined = where(reflected, where(small, sine, size * sine * product), product)
    logarithm = log_positive(where(stirling, a, joined))
    logarithm = where(product.eq(0.0), -INFINITY, logarithm)
    taken = where(small, where(reflected, logarithm, -logarithm), logarithm)
    near = fma(t, polynomial(t, LOG_GAMMA[float64]), taken)
    inverse = 1.0 / where(stirling, a, 8.0)
    rest = fma(inverse, polynomial(inverse * inverse, STIRLING[float64]), HALF_LOG_TWO_PI - 0.5)
    value = where(stirling, fma(a - 0.5, logarithm - 1.0, rest), near)
    mirror = LOG_PI - value
    far = where(reflected, size, 0.0).ge(8.0)
    mirror = where(far, mirror - log_positive(size * sine), mirror)
    mirror = where(fraction.eq(0.0), INFINITY, mirror)
    value = where(reflected, mirror, value)
    value = where(size.lt(INFINITY), value, INFINITY)
    return where(x.eq(x), value, x)


@MATH.rule(Op.DIGAMMA)
def digamma(node: Node) -> Node | None:
    """By digamma(x) = digamma(x + 1) - 1/x into [1.5, 2.5], or beyond 8 to the asymptotic series; below 0 the reflection."""
    if node.dtype is not float64:
        return None
    x = node.src[0]
    negative = x.lt(0.0)
    a = where(negative, 1.0 - x, x)
    tiny, small, near = a.lt(0.5), a.lt(1.5), a.lt(2.5)
    t = where(tiny, a, where(small, a - 1.0, a - 2.0))
    # the sum of 1 / (a + k) as one quotient
    numerator, denominator, place = number(0.0, x), number(1.0, x), where(near, 8.0, a)
    for _ in range(6):
        below = place.lt(8.0)
        numerator = where(below, fma(numerator, place, denominator), numerator)
        denominator = where(below, denominator * place, denominator)
        place = where(below, place + 1.0, place)
    numerator = where(tiny, a + (a + 1.0), where(small, 1.0, numerator))
    denominator = where(tiny, a * (a + 1.0), where(small, a, denominator))
    inverse = 1.0 / place
    square = inverse * inverse
    series = fma(inverse, -0.5, -(square * polynomial(square, DIGAMMA[float64])))
    middle = polynomial(t, DIGAMMA_NEAR[float64])
    high, low = log_word(place)
    high = where(near, middle, high)
    low = where(near, 0.0, low + series) - numerator / denominator
    value = where(place.lt(INFINITY), high + low, place)
    fraction = fraction_of(x)
    cotangent, cotangent_low = cotangent_of_pi(fraction)
    total, error = two_sum(high, -cotangent)
    mirror = total + (error + (low - cotangent_low))
    mirror = where(magnitude(cotangent).lt(INFINITY), mirror, -cotangent)
    mirror = where(fraction.eq(0.0), NAN, mirror)
    value = where(negative, mirror, value)
    return where(x.eq(0.0), -1.0 / x, value)


def log_word(x: Node) -> Word:
    """log(x) for positive x as a sum of two floats, as exact as the logarithm of the significand."""
    power, rest = reduced(x, DOUBLE)
    two_high, two_low = DOUBLE.split(LN2, 2)
    product, lost = two_product(power, number(two_high, x))
    total, error = two_sum(product, log1p_core(rest, DOUBLE))
    return total, error + fma(power, two_low, lost)


def cotangent_of_pi(fraction: Node) -> Word:
    """pi / tan(pi r) for |r| <= 1/2 as a sum of two floats: next to a root of digamma it cancels against a logarithm."""
    size = magnitude(fraction)
    shallow = size.lt(0.25)
    pi_high, pi_low = (number(part, fraction) for part in DOUBLE.split(PI, 2))
    angle, angle_low = word_product(
        (where(shallow, size, 0.5 - size), number(0.0, fraction)), (pi_high, pi_low)
    )
    square = angle * angle
    bend = fma(angle * square, polynomial(square, TAN[float64]), fma(angle_low, square, angle_low))
    tangent, error = fast_two_sum(angle, bend)
    quotient = pi_high / tangent
    rest = (fma(-quotient, tangent, pi_high) - fma(quotient, error, -pi_low)) / tangent
    product, lost = word_product((tangent, error), (pi_high, pi_low))
    high, low = where(shallow, quotient, product), where(shallow, rest, lost)
    return flip_sign(high, fraction, DOUBLE), flip_sign(low, fraction, DOUBLE)
