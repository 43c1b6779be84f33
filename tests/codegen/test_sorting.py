"""SORT as loops: ranked, by digits with a key and its place in one word or in two, along any axis; run line by line."""

from __future__ import annotations

import numpy as np
import pytest

from lazygrad.codegen.lower import lower
from lazygrad.ir import build
from lazygrad.ir.args import Slot
from lazygrad.ir.dtype import DType, uint32, uint64
from lazygrad.ir.interpret import evaluate, run_kernel
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op
from lazygrad.ir.verify import verify_graph, verify_kernel
from lazygrad.schedule.place import place


@pytest.mark.parametrize(
    ("shape", "axis", "keys", "bits", "most"),
    [
        ((2, 9, 3), 1, uint32, 32, 1 << 32),
        ((2, 9), 1, uint64, 3, 1 << 63),
        ((1, 150, 2), 1, uint32, 20, 1 << 32),
        ((1, 70), 1, uint64, 64, 1 << 63),
        ((150,), 0, uint32, 32, 5),  # the digits that all keys share take no pass
        ((140,), 0, uint32, 32, 1),
    ],
)
def test_places_are_in_stable_order(
    shape: tuple[int, ...], axis: int, keys: DType, bits: int, most: int
) -> None:
    source = Node(Op.BUFFER, (), keys, shape, Slot(0), "cpu")
    node = build.sort(source, axis, bits)
    verify_graph([node])
    values = np.random.default_rng(0).integers(0, most, shape, keys.storage)
    values[values % 3 == 0] = values.flat[0]
    expected = np.argsort(values & values.dtype.type((1 << bits) - 1), axis=axis, kind="stable")
    np.testing.assert_array_equal(evaluate([node], [values])[0], expected)
    (graph,) = place([node]).kernels
    kernel = lower(graph)
    verify_kernel(kernel)
    result = np.full(shape, -1)
    run_kernel(kernel, [values, result])
    np.testing.assert_array_equal(result, expected)
