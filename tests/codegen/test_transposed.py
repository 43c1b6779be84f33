"""Copies in another order of axes, forwards and backwards, of wide and narrow elements, against NumPy."""

import numpy as np
import pytest

import lazygrad as lg


@pytest.mark.parametrize("kind", ["float32", "float64", "bool", "int16"])
def test_turned_copies(kind: str) -> None:
    for shape in ((70, 83), (33, 16)):  # whole tiles, and what is left of both loops
        values = (np.random.default_rng(0).normal(size=shape) * 50).astype(kind)
        x = lg.tensor(values)
        np.testing.assert_array_equal(x.t().contiguous().numpy(), values.T)
        np.testing.assert_array_equal(x.rot90().numpy(), np.rot90(values))
        np.testing.assert_array_equal(x.rot90(-1).numpy(), np.rot90(values, -1))
