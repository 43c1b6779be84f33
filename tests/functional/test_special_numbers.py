"""Infinities, NaNs and the ends of the range of numbers, against the C library's functions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

import lazygrad as lg

ENDS = [0.0, -0.0, 1.0, -2.0, 3e38, -3e38, 1e-38, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize("dtype", [lg.float32, lg.float64, lg.bfloat16])
def test_hypot_at_the_ends(dtype: Any) -> None:
    """An infinity wins over a NaN, and nothing overflows in between."""
    pairs = list(itertools.product(ENDS, ENDS))
    left, right = (lg.tensor(list(each), dtype=dtype) for each in zip(*pairs, strict=True))
    found = lg.hypot(left, right).double().tolist()
    for a, b, value in zip(left.double().tolist(), right.double().tolist(), found, strict=True):
        expected = math.hypot(a, b)
        if expected > lg.finfo(dtype).max:
            expected = math.inf
        assert value == pytest.approx(expected, rel=1e-2, abs=1e-40, nan_ok=True), (a, b)


def test_trigamma_at_its_poles() -> None:
    """PyTorch's values, which are finite where pi times a whole number is rounded."""
    found = lg.polygamma(1, lg.tensor([0.0, -1.0, -2.0], dtype=lg.float64)).tolist()
    assert found == pytest.approx([math.inf, 6.580790147320947e32, 1.6451975368302367e32], rel=1e-6)
    assert lg.polygamma(2, lg.tensor([-1.0])).item() == -math.inf
