"""sinh, cosh, tanh, asinh, acosh, atanh.

Those that are odd take an odd polynomial near 0, where a difference of exponentials or logarithms would cancel; elsewhere
asinh, acosh and atanh are logarithms of sums of two floats.
"""

from __future__ import annotations

from lazygrad.ir.node import Node, where
from lazygrad.ir.op import Op

from .coefficients import ASINH, ATANH, SINH, TANH
from .exponential import expm1_scaled, exponential_parts, exponential_plus_one
from .floats import (
    INFINITY,
    NAN,
    Format,
    Word,
    at_most,
    fast_two_sum,
    flip_sign,
    fma,
    format_of,
    magnitude,
    number,
    polynomial,
    sqrt,
    two_product,
    two_sum,
    with_sign_of,
)
from .logarithm import log_of_parts, log_of_word, reduced
from .table import MATH


@MATH.rule(Op.TANH)
def hyperbolic_tangent(node: Node) -> Node | None:
    fmt = format_of(node)
    if fmt is None:
        return None
    x = node.src[0]
    size = magnitude(x)
    square = x * x
    near = fma(size * square, polynomial(square, TANH[fmt.dtype]), size)
    far = 1.0 - 2.0 / exponential_plus_one(at_most(size * 2.0, fmt.pick(20.0, 44.0)), fmt)
    return with_sign_of(where(size.lt(0.6), near, far), x, fmt)


@MATH.rule(Op.SINH)
def hyperbolic_sine(node: Node) -> Node | None:
    """The factor 4 keeps the exponential finite while half of it is."""
    fmt = format_of(node)
    if fmt is None:
        return None
    x = node.src[0]
    size = magnitude(x)
    square = x * x
    near = fma(x * square, polynomial(square, SINH[fmt.dtype]), x)
    quarter = expm1_scaled(at_most(size, fmt.pick(89.6, 710.6)), fmt, 2)
    far = quarter + quarter / fma(quarter, 4.0, 1.0)
    return where(size.lt(1.0), near, flip_sign(far + far, x, fmt))


@MATH.rule(Op.COSH)
def hyperbolic_cosine(node: Node) -> Node | None:
    fmt = format_of(node)
    if fmt is None:
        return None
    value, scale = exponential_parts(at_most(magnitude(node.src[0]), fmt.pick(90.0, 711.0)), fmt)
    half = (value * scale) * (scale * 0.5)
    return half + 0.25 / half


def root_of_word(value: Word) -> Word:
    """The square root of a word."""
    root = sqrt(value[0])
    return root, (fma(-root, root, value[0]) + value[1]) / (root + root)


@MATH.rule(Op.ASINH)
def inverse_hyperbolic_sine(node: Node) -> Node | None:
    """log(|x| + sqrt(x^2 + 1)); where x^2 is large, log(2 |x|)."""
    fmt = format_of(node)
    if fmt is None:
        return None
    x = node.src[0]
    size = magnitude(x)
    square = x * x
    near = fma(size * square, polynomial(square, ASINH[fmt.dtype]), size)
    middle = where(size.lt(2.0 ** (fmt.mantissa / 2 + 2)), size, 1.0)
    product, error = two_product(middle, middle)
    total, lost = two_sum(product, number(1.0, x))
    root = root_of_word((total, lost + error))
    high, low = two_sum(middle, root[0])
    far = where(
        size.lt(2.0 ** (fmt.mantissa / 2 + 2)),
        log_of_word(high, low + root[1], fmt),
        log_of_double(size, fmt),
    )
    far = where(size.lt(INFINITY), far, size)
    return flip_sign(where(size.lt(0.5), near, far), x, fmt)


def log_of_double(x: Node, fmt: Format) -> Node:
    """log(2 x), also where 2 x overflows."""
    power, rest = reduced(x, fmt)
    return log_of_parts(power + 1.0, rest, fmt)


@MATH.rule(Op.ACOSH)
def inverse_hyperbolic_cosine(node: Node) -> Node | None:
    """With t = x - 1: log1p(t + sqrt(t (t + 2))); for large x, log(2 x)."""
    fmt = format_of(node)
    if fmt is None:
        return None
    x = node.src[0]
    bound = 2.0 ** (fmt.mantissa / 2 + 2)
    middle = where(x.lt(bound), x, 1.0)
    rest = middle - 1.0
    product, error = two_product(rest, rest)
    total, lost = two_sum(rest + rest, product)
    safe = where(total.eq(0.0), 1.0, total)
    root = sqrt(total)
    correction = (fma(-root, root, total) + (lost + error)) / (sqrt(safe) * 2.0)
    high, low = two_sum(rest, root)
    low = low + correction
    argument, left = two_sum(number(1.0, x), high)
    far = where(x.lt(bound), log_of_word(argument, left + low, fmt), log_of_double(x, fmt))
    far = where(x.lt(INFINITY), far, x)
    return where(x.ge(1.0), far, NAN)


@MATH.rule(Op.ATANH)
def inverse_hyperbolic_tangent(node: Node) -> Node | None:
    """log((1 + |x|) / (1 - |x|)) / 2, with the quotient as a sum of two floats; 1 - |x| is exact from 1/2 on."""
    fmt = format_of(node)
    if fmt is None:
        return None
    x = node.src[0]
    size = magnitude(x)
    square = x * x
    near = fma(x * square, polynomial(square, ATANH[fmt.dtype]), x)
    high, low = fast_two_sum(number(1.0, x), size)
    inside = size.lt(1.0)
    divisor = where(inside, 1.0 - size, 1.0)
    quotient = high / divisor
    error = (fma(-quotient, divisor, high) + low) / divisor
    far = log_of_word(quotient, error, fmt) * 0.5
    far = where(inside, far, where(size.eq(1.0), number(INFINITY, x), number(NAN, x)))
    return where(size.lt(0.5), near, flip_sign(far, x, fmt))
