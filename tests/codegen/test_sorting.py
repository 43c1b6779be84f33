"""SORT as loops: ranked, by digits with a key and its place in one word or in two, by a network, merged; along any axis; run line by line."""

from __future__ import annotations

import numpy as np
import pytest

from lazygrad.codegen.choose_cuda import optimise, target
from lazygrad.codegen.lower import lower
from lazygrad.codegen.transform.share import group_size
from lazygrad.ir import build
from lazygrad.ir.args import Slot
from lazygrad.ir.dtype import DType, int64, uint32, uint64
from lazygrad.ir.interpret import evaluate, run_kernel
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op
from lazygrad.ir.text import parse, show
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


@pytest.mark.parametrize(
    ("shape", "axis", "keys", "bits", "first", "count"),
    [
        ((2, 8), 1, uint32, 32, 0, 8),
        ((3, 9, 2), 1, uint32, 16, 0, 9),  # a key and its place in one word of 32 bits
        ((1, 50), 1, uint64, 64, 0, 50),  # a key and its place in a word each
        ((33,), 0, uint64, 61, 3, 20),
        ((5, 40), 1, uint32, 1, 0, 3),
        ((2, 65), 1, uint32, 32, 64, 1),
        ((64,), 0, uint64, 64, 0, 64),
    ],
)
def test_a_group_of_threads_sorts_a_row(
    shape: tuple[int, ...], axis: int, keys: DType, bits: int, first: int, count: int
) -> None:
    """By a network, which is stable since places tell equal keys apart; whatever the size is, nothing behind the row is read."""
    node = build.sort(Node(Op.BUFFER, (), keys, shape, Slot(0), "cpu"), axis, bits, first, count)
    verify_graph([node])
    (graph,) = place([node]).kernels
    kernel = lower(graph, groups=True)
    assert group_size(kernel) >= 32
    for each in (kernel, parse(show(kernel))[0], optimise(kernel, target())):
        verify_kernel(each)
        for most in (1 << keys.bits, 3):
            values = np.random.default_rng(0).integers(0, most, shape, keys.storage)
            values[values % 3 == 0] = values.flat[-1]
            part = (slice(None),) * axis + (slice(first, first + count),)
            masked = values & values.dtype.type((1 << bits) - 1)
            expected = np.argsort(masked, axis=axis, kind="stable")[part]
            result = np.full(expected.shape, -1)
            run_kernel(each, [values, result])
            np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("shape", "axis", "run", "first", "count"),
    [
        ((2, 16), 1, 8, 0, 16),
        ((3, 37, 2), 1, 20, 0, 37),
        ((3, 37), 1, 30, 30, 5),
        ((37,), 0, 1, 0, 37),
        ((37,), 0, 37, 0, 37),
    ],
)
def test_runs_are_merged(
    shape: tuple[int, ...], axis: int, run: int, first: int, count: int
) -> None:
    """Each element of the result finds its place on its own, in a loop whose iterations are independent."""
    node = build.sort(
        Node(Op.BUFFER, (), uint32, shape, Slot(0), "cpu"), axis, 32, first, count, run
    )
    verify_graph([node])
    (again,) = parse(show([node]))
    assert again.arg == node.arg
    (graph,) = place([node]).kernels
    kernel = lower(graph)
    random = np.random.default_rng(0)
    for each in (kernel, optimise(kernel, target())):
        verify_kernel(each)
        for most in (1 << 32, 4, 1):
            values = random.integers(0, most, shape, np.uint32)
            parts = np.split(values, [run], axis)
            values = np.concatenate([np.sort(part, axis) for part in parts], axis)
            part = (slice(None),) * axis + (slice(first, first + count),)
            expected = np.argsort(values, axis=axis, kind="stable")[part]
            result = np.full(expected.shape, -1)
            run_kernel(each, [values, result])
            np.testing.assert_array_equal(result, expected)


def test_places_that_a_sort_finds_are_not_checked() -> None:
    """Where groups sort, so that no plan waits for it. An index that somebody gives is, in the same kernel else; a longer row has other places."""
    x = Node(Op.BUFFER, (), uint32, (4, 50), Slot(0), "cpu")
    given = Node(Op.BUFFER, (), int64, (4, 50), Slot(1), "cpu")
    places = build.sort(x, 1, 32)
    found, asked = (place([build.gather(x, index, 1)]).kernels[-1] for index in (places, given))
    assert found.structure() != asked.structure()
    assert "check" not in show(lower(found, groups=True)) and "check" in show(lower(found))
    assert "check" in show(lower(asked, groups=True))
    longer = build.gather(build.shrink(x, (0, 0), (4, 40)), places, 1)
    assert "check" in show(lower(place([longer]).kernels[-1], groups=True))
