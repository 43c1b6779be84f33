"""Special functions where formulas end or change, and operators whose dtype or memory is not what it seems, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config

torch = pytest.importorskip("torch")

INFINITY, NAN = float("inf"), float("nan")


def both(run: Any) -> tuple[Any, Any]:
    """What a function of a module gives for PyTorch and for lazygrad."""
    with config.override(device="interpret"):
        return run(torch), run(lg)


@pytest.mark.parametrize("name", ["igamma", "igammac"])
def test_incomplete_gamma_at_its_edges(name: str) -> None:
    """A limit that is known is there, even where the other operand is NaN."""
    ends = [-1.0, 0.0, 1.0, INFINITY, NAN]

    def run(m: Any) -> Any:
        return getattr(m, name)(m.tensor(ends).unsqueeze(1), m.tensor([*ends, -INFINITY])).tolist()

    expected, found = both(run)
    np.testing.assert_allclose(found, expected, 1e-6)


def test_zeta_of_large_exponents_and_below_zero() -> None:
    """No factor of the rest overflows where the rest is 0; terms below 0 are as many as there are."""
    exponents = [2.0, 3.0, 7.0, 55.0, 127.0]

    def run(m: Any) -> Any:
        places = [-100.3, -8.5, -5.25, -3.0, 0.0, 0.4, 1.0, 55.0]
        s, q = (m.tensor(each, dtype=m.float64) for each in (exponents, places))
        return m.special.zeta(s.unsqueeze(1), q).tolist()

    expected, found = both(run)
    for row, s in enumerate(exponents[1:], 1):  # what cancels in odd powers is left in PyTorch's
        expected[row][1] = sum((k + 9.5) ** -s for k in range(100_000))
    np.testing.assert_allclose(found, expected, 1e-7)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_polygamma_beside_its_poles(order: int) -> None:
    """As exact as the distance from a pole, on both sides of it."""
    places = [0.0, -3.0, -4.0, -0.75, -1e-15, -1e-20 if order > 1 else -2e-15, 1e-20]
    places += [-3 - 2.0**-20, -3 + 2.0**-20, -2.5, 2.5]

    def run(m: Any) -> Any:
        return m.polygamma(order, m.tensor(places, dtype=m.float64)).tolist()

    expected, found = both(run)
    np.testing.assert_allclose(found, expected, 1e-9)


def test_mvlgamma_of_bfloat16_is_rounded_once() -> None:
    def run(m: Any) -> Any:
        return m.mvlgamma(m.linspace(2.1, 8, 200).to(m.bfloat16), 5).float().tolist()

    expected, found = both(run)
    np.testing.assert_allclose(found, expected, 1e-2, 1e-2)


def test_local_response_norm_of_integers_cuts_the_mean() -> None:
    def run(m: Any) -> Any:
        x = m.tensor([[[1, 2, 3], [4, 5, 6], [7, 8, 9]]])
        norm = m.nn.functional.local_response_norm
        return [norm(x, size, alpha=1.0, beta=1.0, k=0.5).tolist() for size in (1, 2, 3)]

    expected, found = both(run)
    np.testing.assert_allclose(found, expected, 1e-6)


def test_a_sum_to_no_axes_is_a_sum() -> None:
    for shape in ((), (3,)):
        expected, found = both(lambda m, s=shape: m.ones(s, dtype=m.uint8).sum_to_size(()))
        assert str(found.dtype) == str(expected.dtype)
        assert found.item() == expected.item()


def test_edges_of_a_histogram_are_a_copy() -> None:
    edges = lg.tensor([0.0, 1.0, 2.0])
    made = lg.histogram(lg.tensor([0.5, 1.5]), edges).bin_edges
    edges.fill_(9.0)
    assert made.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16"])
def test_powers_of_integers_are_int64(dtype: str) -> None:
    for count in (0, 1, 3):
        expected, found = both(
            lambda m, n=count: m.vander(m.tensor([2, 9, 3], dtype=getattr(m, dtype)), N=n)
        )
        assert str(found.dtype) == str(expected.dtype)
        assert found.tolist() == expected.tolist()
