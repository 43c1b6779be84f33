"""Long sorts in steps: the same places in the same order, on random rows, whatever part of the order is wanted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lazygrad.codegen.choose_cuda import optimise, target
from lazygrad.codegen.lower import lower
from lazygrad.ir import build
from lazygrad.ir.args import Slot, Sort
from lazygrad.ir.dtype import uint32, uint64
from lazygrad.ir.interpret import evaluate, run_kernel
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op
from lazygrad.ir.verify import verify_graph
from lazygrad.schedule.merging import divide_sorts
from lazygrad.schedule.place import place
from lazygrad.schedule.simplify import simplify

Array = np.ndarray[Any, np.dtype[Any]]
KEYS = ((uint32, 32), (uint32, 8), (uint32, 1), (uint64, 64), (uint64, 61))


@pytest.mark.parametrize("seed", range(20))
def test_places_are_those_of_the_sort(seed: int) -> None:
    random = np.random.default_rng(seed)
    axes, most = int(random.integers(1, 4)), int(random.choice([8, 16, 31]))
    axis = int(random.integers(axes))
    shape = [int(n) for n in random.integers(1, 3, axes)]
    shape[axis] = size = int(random.integers(2, 150))
    keys, bits = KEYS[seed % len(KEYS)]
    count = (size, min(3, size), int(random.integers(0, size + 1)))[seed % 3]
    first = int(random.integers(0, size - count + 1))
    source = Node(Op.BUFFER, (), keys, tuple(shape), Slot(0), "cpu")
    node = build.sort(source, axis, bits, first, count)
    values = random.integers(0, random.choice([3, 1 << 20, 1 << 31]), shape, keys.storage)
    values[random.random(shape) < 0.05] = np.iinfo(keys.storage).max
    masked = values & values.dtype.type((1 << bits) - 1)
    part = (slice(None),) * axis + (slice(first, first + count),)
    expected = np.argsort(masked, axis=axis, kind="stable")[part]
    roots = divide_sorts([node], most)
    for each in postorder(roots):
        if isinstance(each.arg, Sort) and not each.arg.run:
            assert sizes(each.src[0])[each.arg.axis] <= most
    for found in (roots, simplify(roots)):
        verify_graph(found)
        np.testing.assert_array_equal(evaluate(found, [values])[0], expected)
    np.testing.assert_array_equal(computed(simplify(roots)[0], values), expected)


def sizes(node: Node) -> list[int]:
    return [n for n in node.shape if isinstance(n, int)]


def computed(root: Node, values: Array) -> Array:
    """What the kernels for a GPU compute, one iteration after the other."""
    schedule = place([root])
    known: dict[int, Array] = {}
    for graph in schedule.kernels:
        kernel = optimise(lower(graph, groups=True), target())
        given = [known.get(id(each), values) for each in graph.inputs]
        for each in graph.results:
            known[id(each)] = np.zeros(sizes(each), each.dtype.storage)
        run_kernel(kernel, [*given, *[known[id(each)] for each in graph.results]])
    (value,) = schedule.values
    return known[id(value)].reshape(sizes(root))


def test_what_is_merged_is_stored() -> None:
    """A merge reads each key several times: what computes it is a kernel of its own."""
    node = build.sort(Node(Op.BUFFER, (), uint32, (100,), Slot(0), "cpu"), 0, 32)
    kernels = place(simplify(divide_sorts([node], 25))).kernels
    assert len(kernels) == 6  # blocks, words; two merges, and what each puts in order
