"""Functions that numpy has not, on float64 arrays: the error functions, the gamma functions, the fused multiply-add.

In and out: float64 arrays. They are references, written to be right to about one unit in the last place, not to be fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def _each(function: Callable[[float], float]) -> Callable[[Array], Array]:
    """A function of one number on every element."""
    ufunc = np.frompyfunc(function, 1, 1)
    return lambda value: np.asarray(ufunc(value), np.float64)


def _log_gamma(x: float) -> float:
    if math.isinf(x) or (x <= 0 and x == math.floor(x)):
        return math.inf
    try:
        return math.lgamma(x)
    except OverflowError:
        return math.inf


erf = _each(math.erf)
erfc = _each(math.erfc)
_log_gamma_each = _each(_log_gamma)

_ZETA_LESS_1 = (
    0.6449340668482264, 0.2020569031595943, 0.08232323371113819, 0.03692775514336993, 0.01734306198444914,
    0.008349277381922827, 0.00407735619794434, 0.0020083928260822143, 0.0009945751278180853,
    0.0004941886041194645, 0.0002460865533080483, 0.00012271334757848915, 6.124813505870483e-05,
    3.058823630702049e-05, 1.528225940865187e-05, 7.637197637899763e-06, 3.81729326499984e-06,
)  # fmt: skip
"""zeta(k) - 1 for k = 2, 3, ..."""


def log_gamma(value: Array) -> Array:
    """The logarithm of |gamma|. Near its zeros 1 and 2 the standard library's loses its digits: there, the series in x - 2."""
    result = _log_gamma_each(value)
    near_1 = np.abs(value - 1) < 0.125
    near_2 = np.abs(value - 2) < 0.125
    t = np.where(near_1, value - 1, np.where(near_2, value - 2, 0.0))
    series = np.zeros_like(t)
    for order, zeta in reversed(list(enumerate(_ZETA_LESS_1, 2))):
        series = t * (series + (zeta if order % 2 == 0 else -zeta) / order)
    after_2 = t * (1 - 0.5772156649015329 + series)
    return np.where(near_1, after_2 - np.log1p(t), np.where(near_2, after_2, result))


def erfinv(value: Array) -> Array:
    """The inverse of erf: a first guess from logarithms, then Halley's steps on erf, or on erfc near the ends."""
    magnitude = np.abs(value)
    inside = magnitude < 1
    x = np.where(inside, magnitude, 0.0)
    complement = 1.0 - x  # exact where it is used, above 0.5
    logarithm = np.log1p(-x * x)
    term = 2 / (math.pi * 0.147) + logarithm / 2
    guess = np.sqrt(np.maximum(np.sqrt(term * term - logarithm / 0.147) - term, 0.0))
    for _ in range(4):
        error = np.where(x > 0.5, complement - erfc(guess), erf(guess) - x)
        slope = 2 / math.sqrt(math.pi) * np.exp(-guess * guess)
        step = error / slope
        guess = guess - step / (1 + guess * step)
    ends = np.where(magnitude == 1, np.inf, np.nan)
    result = np.where(inside, guess, ends)
    return np.copysign(np.where(value == 0, 0.0, result), value)


def digamma(value: Array) -> Array:
    """The derivative of the logarithm of gamma: upward recurrence, then Stirling's series; reflection below 0."""
    pole = (value <= 0) & (value == np.floor(value))
    negative = (value < 0) & ~pole
    x = np.where(negative, 1.0 - value, np.where(pole, 1.0, value))
    shift = np.zeros_like(x)
    for _ in range(12):
        small = x < 12
        shift = np.where(small, shift - 1 / x, shift)
        x = np.where(small, x + 1, x)
    square = 1 / (x * x)
    series = np.zeros_like(x)
    for coefficient in (
        -3617 / 8160, 1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12
    ):  # fmt: skip
        series = square * (coefficient + series)
    positive = np.log(x) - 0.5 / x - series + shift
    nearer = value - np.rint(
        value
    )  # tan has the period 1 here; this keeps its digits near the poles
    angle = np.where(negative, nearer, 0.25) * math.pi
    result = np.where(negative, positive - math.pi / np.tan(angle), positive)
    at_pole = np.where(value == 0, np.copysign(np.inf, -value), np.nan)
    result = np.where(pole, at_pole, result)
    return np.where(value == np.inf, np.inf, np.where(value == -np.inf, np.nan, result))


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b rounded, and what the rounding lost."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """a * b rounded, and what the rounding lost, for factors far from the ends of the range."""
    split = 134217729.0  # 2**27 + 1
    a_high = a * split - (a * split - a)
    b_high = b * split - (b * split - b)
    a_low, b_low = a - a_high, b - b_high
    total = a * b
    return total, ((a_high * b_high - total) + a_high * b_low + a_low * b_high) + a_low * b_low


def _to_odd(total: Array, error: Array) -> Array:
    """A rounded sum rounded to odd instead: where something was lost, the neighbour whose last bit is set."""
    total = np.ascontiguousarray(total)
    even = (total.view(np.int64) & 1) == 0
    moved = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
    return np.where((error != 0) & even & np.isfinite(total), moved, total)


def fused_multiply_add(a: Array, b: Array, c: Array, odd: bool = False) -> Array:
    """a * b + c with one rounding: to nearest, or with `odd` to odd, so that a later rounding to a narrower type is the only one.

    With `odd` the factors must have been of at most 24 bits, so that their product is exact.
    """
    a, b, c = np.broadcast_arrays(a, b, c)
    if odd:
        total, error = _two_sum(a * b, c)
        return _to_odd(total, np.where(np.isfinite(error), error, 0.0)).reshape(a.shape)
    product, low = _two_product(a, b)
    high, error = _two_sum(c, low)
    top, bottom = _two_sum(product, high)
    rest, lost = _two_sum(bottom, error)
    result = np.array(top + _to_odd(rest, lost).reshape(a.shape))
    exponents = [np.frexp(value)[1] for value in (a, b, c)]
    safe = (np.abs(exponents[0]) < 400) & (np.abs(exponents[1]) < 400)
    safe &= (np.abs(exponents[0] + exponents[1]) < 800) & (np.abs(exponents[2]) < 800)
    safe &= (
        np.isfinite(a)
        & np.isfinite(b)
        & np.isfinite(c)
        & (a != 0)
        & (b != 0)
        & (c != 0)
        & (result != 0)
    )
    for position in np.argwhere(~safe):
        place = tuple(position)
        result[place] = _fma(float(a[place]), float(b[place]), float(c[place]))
    return result


def _fma(a: float, b: float, c: float) -> float:
    """a * b + c with one rounding, by exact arithmetic."""
    plain = a * b + c
    if not (math.isfinite(a) and math.isfinite(b)) or math.isnan(c) or math.isinf(c):
        return c if math.isinf(c) and math.isfinite(a) and math.isfinite(b) else plain
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact == 0:
        return plain if Fraction(a) * Fraction(b) == 0 else 0.0
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf
