"""detect_anomaly names the operation and the line that made a NaN, and is over where its block is."""

from __future__ import annotations

import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.autograd import detect_anomaly, set_detect_anomaly


def gradient() -> float:
    """0 * inf, in the gradient alone."""
    x = lg.zeros(1, requires_grad=True)
    (x.sqrt() * 0).sum().backward()
    assert x.grad is not None
    return x.grad.item()


def test_the_line_of_a_nan_is_told() -> None:
    before = config.active().debug_nans
    with detect_anomaly(), pytest.raises(Exception, match=r"test_anomaly\.py"):
        gradient()
    with set_detect_anomaly(True):
        assert config.active().debug_nans
        with set_detect_anomaly(False), detect_anomaly(check_nan=False):
            assert gradient() != gradient()
    set_detect_anomaly(True)
    assert config.active().debug_nans
    set_detect_anomaly(before)
    assert config.active().debug_nans is before
