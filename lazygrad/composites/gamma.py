"""The incomplete gamma functions, and the gamma distribution's draws as values with a gradient.

A draw x of shape a satisfies P(a, x) = u for a uniform u that does not depend on a, so dx/da = -(dP/da) / p(x; a): implicit
reparametrisation (Figurnov, Mohamed, Mnih, "Implicit Reparameterization Gradients", 2018). The draw itself is made by rejection
(functional/gammas.py), and no gradient goes through that.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents, exp, log
from ..ir.composite import composite
from ..ir.dtype import float64
from ..ir.node import Node, unary, where
from ..ir.op import Op
from .activation import attribute

NEAR = 15.0
"""Up to which shape the series is used, and beyond it the expansion in 1 / sqrt(a)."""
TERMS = 72
"""How many terms of the series: draws of shapes up to NEAR need no more in float64."""


@composite("gamma_draw")
def gamma_draw(shape: Node, drawn: Node) -> Node:
    """The draw; its gradient goes to the shape."""
    return drawn


def _series(a: Node, x: Node) -> Node:
    """-(dP/da) / p from P = p (x / a) S, S the sum of x^n / ((a + 1) ... (a + n)): (x / a) (S (psi(a + 1) - log x) - dS/da), dS/da < 0."""
    term = total = a * 0.0 + 1.0
    harmonic = moved = a * 0.0
    for index in range(1, TERMS + 1):
        each = 1.0 / (a + float(index))
        term = term * x * each
        harmonic = harmonic + each
        total = total + term
        moved = moved + term * harmonic
    return x / a * (total * (unary(Op.DIGAMMA, a + 1.0) - log(x)) + moved)


def _expansion(a: Node, x: Node) -> Node:
    """The derivative at a fixed normal quantile z of Cornish and Fisher's expansion of x (Abramowitz and Stegun, 26.2.49 with 26.2.51).

    z comes from Wilson and Hilferty's cube root and two steps of Newton's.
    """
    root = unary(Op.SQRT, a)
    cube = exp(log(x / a) / 3.0)
    z = (cube - 1.0 + 1.0 / (a * 9.0)) * root * 3.0

    def powers(z: Node) -> tuple[Node, Node, Node, Node]:
        square = z * z
        return (
            square,
            z * (square - 7.0),
            square * (square * 3.0 + 7.0) - 16.0,
            z * (square * (square * 9.0 + 256.0) - 433.0),
        )

    for _ in range(2):
        square, third, fourth, fifth = powers(z)
        value = (
            a + root * z + (square - 1.0) / 3.0 + third / (root * 36.0) - fourth / (a * 810.0) + fifth / (a * root * 38880.0)
        )  # fmt: skip
        slope = (
            root + z * (2.0 / 3.0) + (square * 3.0 - 7.0) / (root * 36.0) - z * (square * 12.0 + 14.0) / (a * 810.0)
            + (square * (square * 45.0 + 768.0) - 433.0) / (a * root * 38880.0)
        )  # fmt: skip
        z = z - (value - x) / slope
    square, third, fourth, fifth = powers(z)
    return (
        z / (root * 2.0) - third / (a * root * 72.0) + fourth / (a * a * 810.0) - fifth / (a * a * root * 25920.0) + 1.0
    )  # fmt: skip


@COMPOSITE_REVERSE.rule("gamma_draw")
def gamma_draw_reverse(node: Node, cotangent: Node) -> Cotangents:
    """In float64: at the far end the series subtracts numbers that are almost equal."""
    a, x = (source.cast(float64) for source in node.src)
    positive = x.gt(0.0)
    drawn = where(positive, x, 1.0)
    near = a.lt(NEAR)
    low = _series(where(near, a, 1.0), where(near, drawn, 1.0))
    high = _expansion(where(near, NEAR, a), where(near, NEAR, drawn))
    slope = where(positive, where(near, low, high), 0.0).cast(node.dtype)
    return cotangent * slope, None


# --- the incomplete gamma functions

LARGE = 20.0
"""From which shape Temme's expansion is used around x = a."""
APART = 0.3
"""How far from it, of a."""
ORDERS, POWERS = 10, 16
STEPS = 40
"""Levels of the continued fraction, which begins at x = a + 10."""


@lru_cache(maxsize=1)
def _temme() -> tuple[tuple[float, ...], ...]:
    """The coefficients of powers of eta, by power of 1 / a (Temme, "The asymptotic expansion of the incomplete gamma functions", 1979; DLMF 8.12.11)."""
    count = POWERS + 2 * ORDERS + 3
    alpha = [Fraction(0), Fraction(1)]
    for n in range(2, count):
        mixed = sum((k * alpha[k] * alpha[n - k + 1] for k in range(2, n)), Fraction(0))
        alpha.append((alpha[n - 1] - mixed) / (n + 1))
    # Stirling's series: a_k of gamma, from the same alphas
    stirling = [
        Fraction(math.prod(range(1, 2 * k + 2, 2))) * alpha[2 * k + 1] for k in range(ORDERS)
    ]
    first = [Fraction(-1, 3), *[(n + 2) * alpha[n + 2] for n in range(1, count - 2)]]
    rows = [first]
    for k in range(1, ORDERS):
        before = rows[-1]
        factor = (-1) ** k * stirling[k]
        rows.append([factor * first[n] + (n + 2) * before[n + 2] for n in range(len(before) - 2)])
    return tuple([tuple([float(each) for each in row[:POWERS]]) for row in rows])


def _around(a: Node, x: Node) -> tuple[Node, Node]:
    """P and Q for large a and x near it."""
    ratio = (x - a) / a
    square = (ratio - unary(Op.LOG1P, ratio)).maximum(0.0) * 2.0
    eta = unary(Op.SQRT, square)
    eta = where(ratio.lt(0.0), -eta, eta)
    total = a * 0.0
    for row in reversed(_temme()):
        inner = a * 0.0
        for coefficient in reversed(row):
            inner = inner * eta + coefficient
        total = total / a + inner
    rest = exp(a * square * -0.5) / unary(Op.SQRT, a * (2.0 * math.pi)) * total
    scaled = eta * unary(Op.SQRT, a * 0.5)
    return unary(Op.ERFC, -scaled) * 0.5 - rest, unary(Op.ERFC, scaled) * 0.5 + rest


@composite("incomplete_gamma")
def incomplete_gamma(a: Node, x: Node, upper: bool) -> Node:
    """P(a, x), or with `upper` Q = 1 - P: by the series below x = a + 10, by Legendre's continued fraction beyond, by Temme's around a large a."""
    shape, value = a.cast(float64), x.cast(float64)
    usual = shape.gt(0.0) & shape.lt(math.inf) & value.gt(0.0) & value.lt(math.inf)
    shape, value = where(usual, shape, 1.0), where(usual, value, 1.0)
    around = shape.gt(LARGE) & unary(Op.ABS, value - shape).lt(shape * APART)
    below = value.lt(where(shape.gt(LARGE), shape, shape + 10.0))

    def chosen(region: Node) -> tuple[Node, Node]:
        return where(region, shape, 1.0), where(region, value, 1.0)

    s, v = chosen(below)
    term = total = s * 0.0 + 1.0
    for index in range(1, TERMS + 25):
        term = term * v / (s + float(index))
        total = total + term
    series = exp(s * log(v) - v - unary(Op.LGAMMA, s + 1.0)) * total
    s = where(below, 1.0, shape)
    v = where(below, 12.0, value)
    fraction = s * 0.0
    for index in range(STEPS, 0, -1):
        fraction = (s - float(index)) * float(index) / (v - s + float(2 * index + 1) + fraction)
    tail = exp(s * log(v) - v - unary(Op.LGAMMA, s)) / (v - s + 1.0 + fraction)
    lower_near, upper_near = _around(where(around, shape, LARGE), where(around, value, LARGE))
    if upper:
        made = where(around, upper_near, where(below, 1.0 - series, tail))
    else:
        made = where(around, lower_near, where(below, series, 1.0 - tail))
    return _edges(made, a.cast(float64), x.cast(float64), usual, upper).cast(a.dtype)


def _edges(made: Node, a: Node, x: Node, usual: Node, upper: bool) -> Node:
    """P is 0 at x = 0 and for an infinite a, 1 at a = 0 and for an infinite x, even where the other operand is NaN, but at a = 0; NaN where both say so, or one is negative."""
    nothing, whole = (1.0, 0.0) if upper else (0.0, 1.0)
    none = x.eq(0.0) | a.eq(math.inf)
    every = (a.eq(0.0) & x.eq(x)) | x.eq(math.inf)
    outside = a.lt(0.0) | x.lt(0.0)
    known = none.ne(every) & ~outside
    ends = where(none, nothing, where(every, whole, made))
    return where(usual, made, where(known, ends, math.nan))


@COMPOSITE_REVERSE.rule("incomplete_gamma")
def incomplete_gamma_reverse(node: Node, cotangent: Node) -> Cotangents:
    """Of x alone: the density; PyTorch has none of a."""
    a, x = node.src
    density = exp((a - 1.0) * log(x) - x - unary(Op.LGAMMA, a))
    return None, cotangent * (-density if attribute(node, "upper") else density)
