"""Bessel's and Airy's functions against their values with 30 digits, and orthogonal polynomials against their definitions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import lazygrad as lg

VALUES = {
    "bessel_j0": [(0.3, 0.97762624653829609), (1.7, 0.39798485944610952), (2.4048, 1.3268284301171568e-5), (5.2, -0.11029043979098648), (7.9, 0.19436184484127824), (8.1, 0.14751745404437767), (30.5, -0.019389754517762152)],
    "bessel_j1": [(0.3, 0.148318816273104), (1.7, 0.57776523152902322), (3.8317, 2.4045590431036321e-6), (5.2, -0.34322300587192191), (7.9, 0.2191793999217512), (8.1, 0.24760776698159288), (30.5, -0.14349430015097094)],
    "bessel_y0": [(0.3, -0.80727357780451949), (1.7, 0.45202700018163461), (5.2, -0.33125093481988441), (7.9, 0.20652094814437577), (8.1, 0.23809132870223481), (30.5, -0.14315731617410765)],
    "bessel_y1": [(0.3, -2.2931051383885291), (1.7, -0.28472624506406841), (5.2, 0.0791903429820843), (7.9, -0.18172107728057313), (8.1, -0.13314879595249593), (30.5, 0.017046142883876454)],
    "modified_bessel_i0": [(0.01, 1.0000250001562504), (0.7, 1.1263030183068092), (9.5, 1753.4809905273227), (60.0, 5.8940770556098012e24)],
    "modified_bessel_i1": [(0.01, 0.0050000625002604173), (0.7, 0.37187967777700863), (9.5, 1658.4530777821342), (60.0, 5.8447515883904683e24)],
    "modified_bessel_k0": [(0.01, 4.7212447301610949), (0.7, 0.6605198599151016), (1.99, 0.1153017675517768), (2.01, 0.11250436099872805), (9.5, 3.0057884957934335e-5), (60.0, 1.4138978405591078e-27)],
    "modified_bessel_k1": [(0.01, 99.973894118296246), (0.7, 1.050283535312918), (1.99, 0.14171756162240131), (2.01, 0.13804087731920771), (9.5, 3.1602034110426746e-5), (60.0, 1.4256320265171043e-27)],
    "scaled_modified_bessel_k0": [(0.01, 4.7686940285444619), (1.99, 0.84349397337899282), (2.01, 0.83965574909086785), (900.0, 0.041771339152548793)],
    "scaled_modified_bessel_k1": [(0.01, 100.97864845824005), (1.99, 1.0367396067608633), (2.01, 1.0302428743356034), (900.0, 0.041794539013033705)],
    "spherical_bessel_j0": [(1e-9, 1.0), (0.4, 0.97354585577162623), (3.0, 0.047040002686622407), (40.0, 0.01862782901198372)],
    "airy_ai": [(-12.3, -0.28747208025644158), (-5.01, 0.34740160871220592), (-4.99, 0.35394503668420789), (-4.0879, -3.9709143678815326e-5), (-2.3381, 5.1962945899810603e-6), (0.0, 0.35502805388781724), (1.99, 0.035458538570668385), (2.01, 0.034396707129894229), (8.0, 4.6922076160992316e-8), (20.0, 1.6916728686705403e-27)],
}  # fmt: skip
"""Of numbers as float64 has them."""


@pytest.mark.parametrize("name", VALUES)
def test_values(name: str) -> None:
    """Near a zero and on both sides of where a sum begins."""
    points, values = zip(*VALUES[name], strict=True)
    x = lg.tensor(points, dtype=lg.float64)
    found = getattr(lg.special, name)(x)
    assert found.tolist() == pytest.approx(values, rel=1e-13, abs=2e-16)
    narrow = getattr(lg.special, name)(x.float())
    again = getattr(lg.special, name)(x.float().double())  # what that number has
    assert narrow.tolist() == pytest.approx(again.tolist(), rel=1e-5, abs=2e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bessel_j0", [1.0, math.nan, math.nan]),
        ("bessel_j1", [0.0, math.nan, math.nan]),
        ("bessel_y0", [-math.inf, math.nan, math.nan]),
        ("bessel_y1", [-math.inf, math.nan, math.nan]),
        ("modified_bessel_k0", [math.inf, 0.0, math.nan]),
        ("scaled_modified_bessel_k1", [math.inf, 0.0, math.nan]),
        ("spherical_bessel_j0", [1.0, 0.0, 0.0]),
        ("airy_ai", [0.35502805388781724, math.nan, math.nan]),
    ],
)
def test_at_zero_and_infinities(name: str, expected: list[float]) -> None:
    """As PyTorch has them, of which some are NaN where the limit is 0."""
    found = getattr(lg.special, name)(lg.tensor([0.0, math.inf, -math.inf], dtype=lg.float64))
    assert found.tolist() == pytest.approx(expected, rel=1e-14, nan_ok=True)
    assert math.isnan(getattr(lg.special, name)(lg.tensor(math.nan)).item())


def test_odd_and_even() -> None:
    x = lg.tensor([0.5, 4.0, 12.0], dtype=lg.float64)
    assert lg.special.bessel_j0(-x).tolist() == lg.special.bessel_j0(x).tolist()
    assert lg.special.bessel_j1(-x).tolist() == (-lg.special.bessel_j1(x)).tolist()


def test_there_is_no_gradient() -> None:
    """As in PyTorch: what is computed of a variable is a constant, also for what goes on with it."""
    x = lg.tensor([0.5, 4.0], requires_grad=True)
    factor = lg.special.bessel_j0(x)
    assert not factor.requires_grad
    assert not lg.special.legendre_polynomial_p(x, 3).requires_grad
    (x * factor).sum().backward()
    assert x.grad is not None and x.grad.tolist() == factor.tolist()


def test_dtypes() -> None:
    assert lg.special.bessel_j0(lg.tensor([2])).dtype is lg.float32
    assert lg.special.airy_ai(lg.tensor([True])).dtype is lg.float32
    assert lg.special.hermite_polynomial_h(lg.tensor([2]), 3).tolist() == [40.0]
    for function in (
        lg.special.bessel_y1,
        lambda x: lg.special.chebyshev_polynomial_t(x, 2),
    ):
        with pytest.raises(NotImplementedError, match="not implemented for 'Half'"):
            function(lg.tensor([1.0], dtype=lg.float16))


DEFINITIONS: dict[str, Callable[[int, float], float]] = {
    "chebyshev_polynomial_t": lambda n, x: math.cos(n * math.acos(x)),
    "chebyshev_polynomial_u": lambda n, x: math.sin((n + 1) * math.acos(x)) / math.sin(math.acos(x)),
    "chebyshev_polynomial_v": lambda n, x: math.cos((n + 0.5) * math.acos(x)) / math.cos(math.acos(x) / 2),
    "chebyshev_polynomial_w": lambda n, x: math.sin((n + 0.5) * math.acos(x)) / math.sin(math.acos(x) / 2),
    "hermite_polynomial_he": lambda n, x: sum(
        (-1) ** k * math.factorial(n) / (math.factorial(k) * math.factorial(n - 2 * k) * 2**k) * x ** (n - 2 * k) for k in range(n // 2 + 1)
    ),
    "hermite_polynomial_h": lambda n, x: sum(
        (-1) ** k * math.factorial(n) / (math.factorial(k) * math.factorial(n - 2 * k)) * (2 * x) ** (n - 2 * k) for k in range(n // 2 + 1)
    ),
    "laguerre_polynomial_l": lambda n, x: sum((-x) ** k * math.comb(n, k) / math.factorial(k) for k in range(n + 1)),
    "legendre_polynomial_p": lambda n, x: sum(math.comb(n, k) * math.comb(n + k, k) * ((x - 1) / 2) ** k for k in range(n + 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", DEFINITIONS)
def test_polynomials(name: str) -> None:
    """A degree for each element; a fraction of a degree is left out, a negative degree gives 0."""
    points, degrees = [-0.9, -0.3, 0.2, 0.7, 0.95], list(range(13))
    x = lg.tensor(points, dtype=lg.float64)
    found = getattr(lg.special, name)(x, lg.tensor(degrees)[:, None] + 0.25)
    for row, degree in zip(found.tolist(), degrees, strict=True):
        expected = [DEFINITIONS[name](degree, point) for point in points]
        assert row == pytest.approx(expected, rel=1e-7, abs=1e-7)  # the definitions cancel
        assert getattr(lg.special, name)(x, degree).tolist() == pytest.approx(row, rel=1e-12)
    assert getattr(lg.special, name)(x, -1).tolist() == [0.0] * 5
    assert getattr(lg.special, name)(0.2, lg.tensor([2.0], dtype=lg.float64)).item() == found[2, 2]
    if name.startswith("chebyshev"):
        shifted = getattr(lg.special, f"shifted_{name}")((x + 1) / 2, lg.tensor(degrees)[:, None])
        assert shifted.flatten().tolist() == pytest.approx(found.flatten().tolist(), rel=1e-9)


def test_polynomials_of_high_degree() -> None:
    """More steps than a program has; beyond 1 in size, where they grow, and where they are known."""
    points = lg.tensor([1.0, -1.0, 1.01, 0.3], dtype=lg.float64)
    found = lg.special.chebyshev_polynomial_t(points, 101).tolist()
    assert found[:2] == [1.0, -1.0]
    assert found[2] == pytest.approx(math.cosh(101 * math.acosh(1.01)), rel=1e-10)
    assert found[3] == pytest.approx(math.cos(101 * math.acos(0.3)), rel=1e-10)
    assert lg.special.chebyshev_polynomial_u(points, 101)[:2].tolist() == [102.0, -102.0]
    high = lg.special.legendre_polynomial_p(lg.tensor([0.0, 0.5], dtype=lg.float64), 60)
    assert high.tolist() == pytest.approx([math.comb(60, 30) / 2**60, 0.10643680647123466], rel=1e-9)  # fmt: skip
    assert math.isnan(lg.special.hermite_polynomial_h(lg.tensor(2.0), 129).item())
    assert lg.special.laguerre_polynomial_l(lg.tensor(0.0), 200).item() == 1.0


def test_polynomials_of_wrong_operands() -> None:
    wrong: list[tuple[Any, Any]] = [(2, 2), (lg.ones(2), "a"), ([1.0], lg.ones(1))]
    for input, n in wrong:
        with pytest.raises(TypeError, match="invalid combination of arguments"):
            lg.special.legendre_polynomial_p(input, n)
    with pytest.raises(RuntimeError):
        lg.special.legendre_polynomial_p(lg.ones(2), lg.ones(3))
