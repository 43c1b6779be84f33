"""Loops cut into the stretches that their conditions decide: results against NumPy, and what is left of the tests."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config

WIDE = 70_001  # several parts, and a rest that no vector divides
Function = Callable[..., Any]


def _values(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


CASES: dict[str, tuple[Function, Function, tuple[np.ndarray, ...]]] = {
    "parts of odd lengths": (
        lambda a, b, c: lg.cat([a, b, c]),
        lambda a, b, c: np.concatenate([a, b, c]),
        (_values(WIDE), _values(5), _values(40_000)),
    ),
    "whole rows, moved": (lambda a: a.roll(3, 0), lambda a: np.roll(a, 3, 0), (_values(700, 96),)),
    "stacked and changed": (
        lambda a, b: lg.stack([a * 2, b + 1]),
        lambda a, b: np.stack([a * 2, b + 1]),
        (_values(300, 100), _values(300, 100)),
    ),
    "columns": (
        lambda a, b: lg.cat([a, b], 1),
        lambda a, b: np.concatenate([a, b], 1),
        (_values(9, 300), _values(9, 517)),
    ),
    "a border": (
        lambda a: lg.nn.functional.pad(a, (3, 130, 2, 1), value=2.0),
        lambda a: np.pad(a, ((2, 1), (3, 130)), constant_values=2),
        (_values(11, 403),),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_stretches_are_the_same_loop(name: str) -> None:
    ours, theirs, inputs = CASES[name]
    with config.override(verify=True):
        found = ours(*[lg.tensor(each) for each in inputs])
        np.testing.assert_array_equal(found.numpy(), theirs(*inputs))


def test_a_stretch_asks_nothing() -> None:
    """Of tensors that are put together at whole vectors, every element is read without a mask but in rests of parts."""
    joined = lg.lower(
        lambda a, b: lg.cat([a, b]), lg.tensor(_values(1 << 15)), lg.tensor(_values(1 << 16))
    )
    (text,) = joined.kernels.values()
    assert "partition(" in next(iter(joined.schedules().values()))
    stretches = [part for part in text.split("for ")[2:] if "_rest in" not in part]
    assert len(stretches) == 2
    assert all(" if " not in part for part in stretches)
    assert "where" not in text
