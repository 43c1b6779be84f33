"""testing.make_tensor: the bounds of each dtype, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest

import lazygrad as lg
from lazygrad.testing import make_tensor


@pytest.mark.parametrize(
    ("dtype", "bounds"),
    [
        (lg.bool_, (0, 1)), (lg.uint8, (0, 9)), (lg.int64, (-9, 9)), (lg.int8, (-9, 9)), (lg.float32, (-9, 9)), (lg.bfloat16, (-9, 9)),
    ],
)  # fmt: skip
def test_bounds(dtype: Any, bounds: tuple[int, int]) -> None:
    made = make_tensor((40, 40), dtype=dtype, device=None)
    assert made.dtype is dtype and made.shape == (40, 40)
    least, most = made.double().min().item(), made.double().max().item()
    assert bounds[0] <= least <= bounds[0] + 0.5 and bounds[1] - 0.5 <= most <= bounds[1]
    assert not (make_tensor(40, 40, dtype=dtype, device=None, exclude_zero=True) == 0).any()


def test_whole_range() -> None:
    """Bounds beyond a dtype's numbers are those of the dtype; nothing overflows on the way."""
    for dtype in (lg.float32, lg.float64, lg.bfloat16):
        made = make_tensor(1000, dtype=dtype, device=None, low=-math.inf, high=math.inf)
        assert made.isfinite().all() and (made < 0).any() and (made > 0).any()
    made = make_tensor(1000, dtype=lg.int64, device=None, low=-(2**70), high=2**70)
    assert (made < -(2**61)).any() and (made > 2**61).any()


def test_noncontiguous() -> None:
    made = make_tensor((3, 4), dtype=lg.float32, device=None, noncontiguous=True)
    assert made.shape == (3, 4) and not made.is_contiguous()
    assert make_tensor(1, dtype=lg.float32, device=None, noncontiguous=True).is_contiguous()


def test_refused() -> None:
    wrong: list[dict[str, Any]] = [
        {"low": 3, "high": 3, "dtype": lg.int64},
        {"low": math.nan, "dtype": lg.float32},
        {"low": 300, "high": 400, "dtype": lg.uint8},
        {"requires_grad": True, "dtype": lg.int64},
        {"noncontiguous": True, "memory_format": "any", "dtype": lg.float32},
    ]
    for arguments in wrong:
        with pytest.raises(ValueError):
            make_tensor(3, device=None, **arguments)
    with pytest.warns(FutureWarning):
        assert make_tensor(2, dtype=lg.float32, device=None, low=3, high=3).tolist() == [3.0, 3.0]
