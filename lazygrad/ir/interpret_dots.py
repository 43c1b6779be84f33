"""What DOTS computes, in numpy, and which places in its packed operands it reads.

In: its arg, and the values that lie there, a row for each trip. Out: the values of the tile. Sums of half types are float32 sums.
"""

from __future__ import annotations

import numpy as np

from .args import Dots
from .dots import ROWS, run_terms, step_terms
from .dtype import DType, float32
from .elementwise import Array


def left_places(arg: Dots, dtype: DType) -> Array:
    """Where a(i, term) lies, by [i, term]."""
    if arg.pitch:
        return np.arange(arg.rows).reshape(-1, 1) * arg.pitch + np.arange(arg.terms)
    step = step_terms(dtype)
    shape = arg.rows // ROWS, arg.terms // step, ROWS, step
    places = np.arange(arg.rows * arg.terms).reshape(shape)
    return places.transpose(0, 2, 1, 3).reshape(arg.rows, arg.terms)


def right_places(arg: Dots, dtype: DType) -> Array:
    """Where b(term, j) lies, by [term, j]."""
    step, run = step_terms(dtype), run_terms(dtype)
    shape = arg.columns // ROWS, arg.terms // step, step // run, ROWS, run
    places = np.arange(arg.columns * arg.terms).reshape(shape)
    return places.transpose(1, 2, 4, 0, 3).reshape(arg.terms, arg.columns)


def products(arg: Dots, dtype: DType, left: Array, right: Array) -> Array:
    """The tile, for each of several trips: from what lies at `left_places` and `right_places`, flat."""
    rows = left.reshape(-1, arg.rows, arg.terms)
    columns = right.reshape(-1, arg.terms, arg.columns)
    if dtype is float32:
        total = np.matmul(rows.astype(np.float32), columns.astype(np.float32))
    else:  # 32 bits wrap in the end as they would on the way
        total = np.matmul(rows.astype(np.int64), columns.astype(np.int64)).astype(np.int32)
    tiles: Array = total.reshape(-1, arg.rows * arg.columns)
    return tiles
