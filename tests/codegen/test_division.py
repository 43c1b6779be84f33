"""Quotients and remainders of vectors against NumPy: what floats answer for, and what is computed lane by lane."""

import numpy as np
import pytest

import lazygrad as lg


def _numbers(kind: str, count: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Dividends and divisors of all sizes, some exact multiples, and each pair of the extreme ones."""
    draw = np.random.default_rng(1)
    if kind.startswith("float"):
        limits = np.finfo(kind)
        found = [
            0.0,
            -0.0,
            1.0,
            7.5,
            np.inf,
            -np.inf,
            np.nan,
            limits.max,
            limits.tiny,
            limits.smallest_subnormal,
        ]
        scale = 10.0 ** draw.integers(-9, 9, count)
        left, right = (
            (draw.normal(size=count) * each).astype(kind) for each in (scale, scale[::-1])
        )
        multiples = (right * draw.integers(-9000, 9000, count)).astype(kind)
        near = np.nextafter(multiples, np.array(np.inf, kind))
        pairs = [(left, right), (multiples, right), (near, right), (left, left[::-1] * 1000)]
    else:
        bounds = np.iinfo(kind)
        found = [bounds.min, bounds.min + 1, 0, 1, 2, 7, 100, bounds.max - 1, bounds.max]
        left, right = (draw.integers(bounds.min, bounds.max, count, kind, True) for _ in range(2))
        shift = draw.integers(0, bounds.bits - 1, count).astype(kind)
        pairs = [(left, right), (left, right >> shift), (left >> shift[::-1], right >> shift)]
    extreme = np.meshgrid(np.array(found, kind), np.array(found, kind))
    pairs.append((extreme[0].reshape(-1), extreme[1].reshape(-1)))
    left, right = (np.concatenate(each) for each in zip(*pairs, strict=True))
    if not kind.startswith("float"):
        fine = right != 0
        left, right = left[fine], right[fine]
    return left, right


@pytest.mark.parametrize("kind", ["float32", "float64", "int64", "int32", "int16", "uint8"])
def test_quotients_and_remainders_are_exact(kind: str) -> None:
    left, right = _numbers(kind)
    near = (
        abs(left.astype("float64")) < 2.0**50
    )  # all lanes are quick: sorted out, so that both ways are run
    for a, b in ((left, right), (left[near], right[near])):
        x, y = lg.tensor(a), lg.tensor(b)
        with np.errstate(all="ignore"):
            if kind.startswith("float"):
                remainder = np.fmod(a, b)
                found = lg.fmod(x, y).numpy()
                np.testing.assert_array_equal(found, remainder)
                known = ~np.isnan(remainder)
                np.testing.assert_array_equal(
                    np.signbit(found[known]), np.signbit(remainder[known])
                )
            else:
                np.testing.assert_array_equal(lg.floor_divide(x, y).numpy(), a // b)
                np.testing.assert_array_equal(lg.remainder(x, y).numpy(), a % b)
                np.testing.assert_array_equal(lg.remainder(x, 7).numpy(), a % 7)
