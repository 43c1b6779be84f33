"""Comparison with torch.func: one function, written for either package, run by both."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import lazygrad as lg


def arrays(value: Any) -> list[Any]:
    """The tensors in a nested result, as arrays."""
    if isinstance(value, dict):
        return [each for part in value.values() for each in arrays(part)]
    if isinstance(value, (tuple, list)):
        return [each for part in value for each in arrays(part)]
    return [value.detach().numpy()] if hasattr(value, "detach") else []


@pytest.fixture
def agree() -> Callable[..., None]:
    """Run build(module) with both packages and compare what it gives."""
    torch = pytest.importorskip("torch")

    def compare(build: Callable[[ModuleType], Any], tolerance: float = 1e-8) -> None:
        ours, theirs = arrays(build(lg)), arrays(build(torch))
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, tolerance, tolerance)

    return compare


@pytest.fixture
def same_error() -> Callable[..., None]:
    """Both packages refuse with the same type, and a message that has these words."""
    torch = pytest.importorskip("torch")

    def compare(build: Callable[[ModuleType], Any], words: str) -> None:
        kinds = []
        for module in (torch, lg):
            with pytest.raises(Exception, match=words) as caught:
                build(module)
            kinds.append(type(caught.value))
        assert kinds[0] is kinds[1]

    return compare
