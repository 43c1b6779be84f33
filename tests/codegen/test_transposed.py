"""Copies in another order of axes, forwards and backwards, of wide and narrow elements, against NumPy."""

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.codegen.choose import choose
from lazygrad.codegen.target import typical
from lazygrad.ir.parse import parse


@pytest.mark.parametrize("kind", ["float32", "float64", "bool", "int16"])
def test_turned_copies(kind: str) -> None:
    for shape in ((70, 83), (33, 16)):  # whole tiles, and what is left of both loops
        values = (np.random.default_rng(0).normal(size=shape) * 50).astype(kind)
        x = lg.tensor(values)
        np.testing.assert_array_equal(x.t().contiguous().numpy(), values.T)
        np.testing.assert_array_equal(x.rot90().numpy(), np.rot90(values))
        np.testing.assert_array_equal(x.rot90(-1).numpy(), np.rot90(values, -1))


@pytest.mark.parametrize("kind", ["float32", "float64", "int32"])
def test_tiles_in_part(kind: str) -> None:
    """A loop that is shorter than a tile, and what it has beside whole tiles, is turned in registers too, read forwards and backwards."""
    for shape in ((11, 40), (27, 16), (21, 47), (6, 32)):
        values = (np.random.default_rng(0).normal(size=shape) * 50).astype(kind)
        x = lg.tensor(values)
        np.testing.assert_array_equal(x.t().contiguous().numpy(), values.T)
        np.testing.assert_array_equal(x.flip(1).t().contiguous().numpy(), values[:, ::-1].T)
        np.testing.assert_array_equal(x.flip(0, 1).t().contiguous().numpy(), values[::-1, ::-1].T)
    (kernel,) = parse("""
        kernel copy(%x: f32[40, 11] in, %y: f32[11, 40] out)
          for %i in range(0, 11):
            for %j in range(0, 40):
              %v = load %x[%j*11 + %i] : f32
              store %y[%i*40 + %j], %v
    """)
    steps = [str(step) for step in choose(kernel, typical("avx512"))]
    assert steps[0] == "transpose(j, 16)"
