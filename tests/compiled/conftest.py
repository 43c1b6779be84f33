"""What the tests of compiled functions share: the same calls made plainly and compiled, and everything they leave behind compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.tensor import Tensor

Function = Callable[..., Any]
Make = Callable[[], tuple[Function, Callable[[], Any]]]
Compare = Callable[[Make, Sequence[Callable[[Function], Any]]], Any]


def described(value: Any) -> Any:
    """A result with all that a user can see of it."""
    if isinstance(value, Tensor):
        array = value.detach().float().tolist()
        flags = (value.dtype, value.requires_grad, value.is_leaf, value._version, value.stride())
        return "tensor", array, flags
    if isinstance(value, (list, tuple)):
        return type(value), [described(each) for each in value]
    if isinstance(value, dict):
        return {key: described(each) for key, each in value.items()}
    return type(value), value


def agree(left: Any, right: Any) -> None:
    """Compare, numbers up to rounding."""
    if isinstance(left, float):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key, value in left.items():
            agree(value, right[key])
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right)
        for a, b in zip(left, right):
            agree(a, b)
    else:
        assert left == right


@pytest.fixture
def compare() -> Compare:
    """compare(make, calls): `make()` gives a function and what to look at afterwards; `calls` call it. Returns the compiled one."""

    def run(make: Make, calls: Sequence[Callable[[Function], Any]]) -> Any:
        found = []
        compiled: Any = None
        for wrap in (lambda function: function, lg.compile):
            lg.manual_seed(3)
            np.random.seed(3)
            function, state = make()
            compiled = wrap(function)
            results = [call(compiled) for call in calls]
            found.append([described(results), described(state()), lg.get_rng_state().tolist()])
        agree(found[0], found[1])
        return compiled

    return run


@pytest.fixture
def data() -> Callable[[int], Tensor]:
    """data(i): the i-th of some inputs, 4 by 3."""
    arrays = np.random.RandomState(5).randn(7, 4, 3).astype("float32")
    return lambda index: lg.tensor(arrays[index % 7])
