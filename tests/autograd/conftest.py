"""Scenarios: functions of the module under test. Each is run with PyTorch and with lazygrad, and must observe the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import lazygrad

Scenario = Callable[[Any, Any], Any]


def plain(value: Any) -> Any:
    """An observation as data that two libraries can be compared by: numbers rounded, tensors as lists, records by name."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, (tuple, list)):
        return [plain(each) for each in value]
    if hasattr(value, "next_functions"):
        return type(value).__name__
    if hasattr(value, "detach"):
        return [str(value.dtype).split(".")[-1], list(value.shape), plain(value.detach().tolist())]
    return str(value)


def attempt(function: Callable[[], Any]) -> Any:
    """What a call returns, or the type and the key words of what it raises, as an observation."""
    try:
        return plain(function())
    except Exception as error:
        return type(error).__name__, str(error).splitlines()[0][:75]


@pytest.fixture
def same_as_torch() -> Callable[[Scenario], None]:
    """Run a scenario, a function of a module and of `attempt`, with both libraries, and compare what it returns."""
    torch = pytest.importorskip("torch")

    def compare(scenario: Scenario) -> None:
        expected = plain(scenario(torch, attempt))
        assert plain(scenario(lazygrad, attempt)) == expected

    return compare
