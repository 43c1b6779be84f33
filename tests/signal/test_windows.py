"""Windows: what a formula gives, both forms of each, and what is refused. Values stand in PyTorch's database (tests/database)."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest

import lazygrad as lg
from lazygrad.signal import windows

OWN: dict[str, dict[str, Any]] = {"general_cosine": {"a": [0.4, 0.5, 0.1]}}


@pytest.mark.parametrize("name", windows.__all__)
def test_symmetric_and_periodic(name: str) -> None:
    """A symmetric window is its own mirror image; a periodic one is that of an element more, without its last."""
    window, own = getattr(windows, name), OWN.get(name, {})
    assert list(inspect.signature(window).parameters)[:3] == ["M", "sym", "dtype"]
    whole = window(9, dtype=lg.float64, **own)
    assert whole.tolist() == pytest.approx(whole.flip(0).tolist(), abs=1e-15)
    assert whole[4].item() == pytest.approx(1.0)
    assert window(8, sym=False, dtype=lg.float64, **own).tolist() == pytest.approx(whole[:8].tolist(), abs=1e-15)  # fmt: skip
    assert window(0, **own).tolist() == [] and window(1, **own).tolist() == [1.0]
    assert window(4, requires_grad=True, **own).requires_grad


def test_values() -> None:
    assert windows.gaussian(3, std=0.5).tolist() == pytest.approx([math.exp(-2), 1, math.exp(-2)])
    found = windows.exponential(3, center=0.0, tau=2.0, sym=False).tolist()
    assert found == pytest.approx([1, math.exp(-0.5), math.exp(-1)])
    assert windows.cosine(2).tolist() == pytest.approx([math.sqrt(0.5)] * 2)
    assert windows.bartlett(4, sym=False).tolist() == [0.0, 0.5, 1.0, 0.5]
    assert windows.general_cosine(3, a=(2,)).tolist() == [2.0] * 3


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("hann", {"M": -1}, ValueError),
        ("hann", {"M": 3, "dtype": lg.int64}, ValueError),
        ("hann", {"M": 3, "dtype": lg.float16}, ValueError),
        ("hann", {"M": 3.5}, TypeError),
        ("gaussian", {"M": 3, "std": 0}, ValueError),
        ("exponential", {"M": 3, "tau": -1}, ValueError),
        ("exponential", {"M": 3, "center": 1.0}, ValueError),
        ("kaiser", {"M": 3, "beta": -1}, ValueError),
        ("general_cosine", {"M": 3, "a": []}, ValueError),
        ("general_cosine", {"M": 3, "a": 1}, TypeError),
        ("hann", {"M": 3, "alpha": 1}, TypeError),
    ],
)
def test_refused(name: str, arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        getattr(windows, name)(**arguments)
