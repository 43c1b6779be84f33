"""Lowering: what the loop tree of a kernel must never do, seen by the simulator, which refuses an access outside of a buffer."""

from __future__ import annotations

import numpy as np

from lazygrad.codegen.lower import lower
from lazygrad.ir import build
from lazygrad.ir.args import Slot
from lazygrad.ir.dtype import float64, int64
from lazygrad.ir.interpret import run_kernel
from lazygrad.ir.node import Node, unary
from lazygrad.ir.op import Op
from lazygrad.schedule.place import place


def test_a_stage_read_through_padding_stays_inside_its_source() -> None:
    """cat([s, s * c, s]): the middle part is computed at the loop over all three, also where it is not wanted."""
    x = Node(Op.BUFFER, (), float64, (4,), Slot(0), "cpu")
    scale = Node(Op.BUFFER, (), float64, (4,), Slot(1), "cpu")
    heavy = x
    for _ in range(6):
        heavy = unary(Op.TAN, heavy * heavy)
    middle = heavy
    for _ in range(6):
        middle = unary(Op.TAN, middle * scale)
    root = (
        build.pad(heavy, (0,), (8,)) + build.pad(middle, (4,), (4,)) + build.pad(heavy, (8,), (0,))
    )
    random = np.random.default_rng(0)
    values = {id(x): random.random(4) / 4, id(scale): random.random(4)}
    arrays = dict(values)
    for graph in place([root]).kernels:
        results = [np.zeros([int(str(n)) for n in node.shape]) for node in graph.results]
        run_kernel(lower(graph), [*(arrays[id(node)] for node in graph.inputs), *results])
        arrays.update(
            {id(node): result for node, result in zip(graph.results, results, strict=True)}
        )
    heavy_value = values[id(x)]
    for _ in range(6):
        heavy_value = np.tan(heavy_value * heavy_value)
    middle_value = heavy_value
    for _ in range(6):
        middle_value = np.tan(middle_value * values[id(scale)])
    expected = np.concatenate([heavy_value, middle_value, heavy_value])
    np.testing.assert_allclose(arrays[id(root)], expected, 1e-12)


def test_an_index_read_through_padding_is_not_checked_there() -> None:
    """pad(gather(heavy, index)): the place of the gathered stage rests on an index that the padding does not have."""
    x = Node(Op.BUFFER, (), float64, (3, 5), Slot(0), "cpu")
    index = Node(Op.BUFFER, (), int64, (15,), Slot(1), "cpu")
    heavy = x
    for _ in range(6):
        heavy = unary(Op.TAN, heavy * heavy)
    picked = build.gather(heavy.reshape((15,)), index, 0).reshape((3, 5))
    for _ in range(6):
        picked = unary(Op.TAN, picked * picked)
    root = build.pad(picked, (3, 0), (0, 0)) + 1.0
    random = np.random.default_rng(0)
    arrays = {id(x): random.random((3, 5)) / 4, id(index): random.permutation(15)}
    for graph in place([root]).kernels:
        results = [np.zeros([int(str(n)) for n in node.shape]) for node in graph.results]
        run_kernel(lower(graph), [*(arrays[id(node)] for node in graph.inputs), *results])
        arrays.update(
            {id(node): result for node, result in zip(graph.results, results, strict=True)}
        )
    assert (arrays[id(root)][:3] == 1.0).all()


def test_an_index_that_padding_decides_by_is_read_inside_of_its_own_padding() -> None:
    """pad(gather(cat([x, x * c]), index)): which part an element is of is known by an index that the padding does not have."""
    x = Node(Op.BUFFER, (), float64, (2,), Slot(0), "cpu")
    index = Node(Op.BUFFER, (), int64, (3,), Slot(1), "cpu")
    both = build.pad(x, (0,), (2,)) + build.pad(x * x, (2,), (0,))
    root = build.pad(build.gather(both, index, 0), (0,), (4,))
    (graph,) = place([root]).kernels
    given = {id(x): np.array([2.0, 3.0]), id(index): np.array([3, 0, 2])}
    result = np.zeros(7)
    run_kernel(lower(graph), [*(given[id(node)] for node in graph.inputs), result])
    assert result.tolist() == [9.0, 2.0, 4.0, 0.0, 0.0, 0.0, 0.0]
