"""Placement for a GPU: kernels that have enough trips to keep it busy, contractions apart, and the values of the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.codegen import choose_cuda, choose_opencl
from lazygrad.codegen.target import Target, host
from lazygrad.ir.args import Slot
from lazygrad.ir.dtype import float32
from lazygrad.ir.interpret import evaluate
from lazygrad.ir.kernel_graph import KernelGraph
from lazygrad.ir.node import Node, postorder, unary
from lazygrad.ir.op import Op
from lazygrad.runtime.compile import compile_graph
from lazygrad.runtime.cpu import CpuDevice
from lazygrad.runtime.plans import Record
from lazygrad.schedule import cost
from lazygrad.schedule.divide import divide_reductions
from lazygrad.schedule.place import contraction, place


class Placed(Target):
    """This processor, with the placement of a GPU."""

    @property
    def machine(self) -> cost.Machine:
        return cost.GPU


def buffer(number: int, *shape: int) -> Node:
    return Node(Op.BUFFER, (), float32, shape, Slot(number), "cpu")


def on_gpu(roots: Sequence[Node]) -> list[KernelGraph]:
    """The kernels of a graph as they are placed for a GPU; this processor computes the values of the interpreter with them."""
    target, record = host(), Record()
    device = CpuDevice(Placed(*[getattr(target, each.name) for each in fields(target)]), "placed")
    plan: Any = compile_graph(device, roots, record)
    leaves = {node.arg.index: node for root in roots for node in _leaves(root)}
    random = np.random.default_rng(1)
    shapes = [leaves[number].shape for number in range(len(leaves))]
    arrays = [random.standard_normal(shape, dtype="float32") for shape in shapes]
    made = plan.run([device.from_host(each) for each in arrays], [])
    for found, root, expected in zip(made, roots, evaluate(roots, arrays), strict=True):
        ours = device.to_host(found, root.dtype, root.shape)
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)
    return record.schedule


def _leaves(root: Node) -> list[Any]:
    return [node for node in postorder([root]) if node.op is Op.BUFFER]


def trips(graph: KernelGraph) -> list[int]:
    return [cost.count([loop.extent]) for loop in graph.loops]


def normalised(x: Node, axes: tuple[int, ...]) -> Node:
    """Less its mean, by the root of its mean square."""
    count = cost.count(x.shape) // cost.count([n for a, n in enumerate(x.shape) if a not in axes])
    centred = x - (x.sum(axes) * (1 / count)).expand(x.shape)
    square = (centred * centred).sum(axes) * (1 / count)
    return centred * unary(Op.RSQRT, square + 1e-5).expand(x.shape)


def softmax(x: Node, axis: int) -> Node:
    powers = unary(Op.EXP, x - x.reduce("max", (axis,)).expand(x.shape))
    return powers / powers.sum((axis,)).expand(x.shape)


def test_machines_of_targets() -> None:
    assert host().machine == cost.PROCESSOR and cost.PROCESSOR.blocks
    assert choose_opencl.target("cpu").machine == cost.DRIVER
    assert choose_opencl.target("gpu").machine == choose_cuda.target().machine == cost.GPU
    assert not cost.DRIVER.blocks and not cost.GPU.blocks


def test_channels_are_normalised_by_a_kernel_over_all_elements() -> None:
    """Six channels are six groups of threads: too few for half a million elements."""
    x = buffer(0, 8, 6, 100, 110)
    last = on_gpu([normalised(x, (0, 2, 3))])[-1]
    assert trips(last) == [8, 6, 100, 110] and not last.stages
    assert len(place([normalised(x, (0, 2, 3))]).kernels) == 1, "a processor is busy"


@pytest.mark.parametrize(
    ("rows", "columns", "kernels"), [(200, 2000, 1), (16, 4000, 1), (8, 40000, 3)]
)
def test_rows_share_a_kernel_while_they_are_many_or_short(
    rows: int, columns: int, kernels: int
) -> None:
    x = buffer(0, rows, columns)
    assert (len(on_gpu([softmax(x, 1)])) > 1) == (kernels > 1)


def test_loops_stay_in_order_where_columns_are_too_few() -> None:
    """Neighbouring threads have neighbouring elements."""
    last = on_gpu([softmax(buffer(0, 30000, 5), 0)])[-1]
    assert trips(last) == [30000, 5]


def test_a_row_that_a_group_cannot_share_is_computed_again() -> None:
    """Its exponentials, rather than an array that has no room."""
    (graph,) = on_gpu([softmax(buffer(0, 200, 10000), 1)])
    assert all(not stage.free for stage in graph.stages)
    (graph,) = place([softmax(buffer(0, 200, 10000), 1)]).kernels
    assert any(stage.free for stage in graph.stages)


def plain(q: Any, k: Any, v: Any) -> Any:
    return lg.softmax(q @ k.transpose(-1, -2) / 8, -1) @ v


def causal(q: Any, k: Any, v: Any) -> Any:
    return lg.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


@pytest.mark.parametrize("function", [plain, causal])
def test_contractions_of_attention_are_kernels_of_their_own(function: Callable[..., Any]) -> None:
    """Forward and backward; the scores are stored, and their softmax is a row a trip."""
    *inputs, cotangent = (lg.randn(2, 2, 600, 16) for _ in range(4))
    for each in inputs:
        each.requires_grad_()

    def whole() -> Any:
        result = function(*inputs)
        return [result, *lg.autograd.grad(result, inputs, cotangent)]

    lowered = lg.lower(whole)
    roots = [node for record in lowered._records for node in record.graph]
    kernels = place(roots, cost.GPU).kernels
    found = [[contraction(stage.node) for stage in graph.stages].count(True) for graph in kernels]
    assert sum(found) == 6, "scores, weights, values, and the gradients of the three"
    for graph, count in zip(kernels, found, strict=True):
        if count:
            assert len(graph.stages) == 1, f"{graph.name} cannot be tiled"
            assert all(stage.path == graph.loops for stage in graph.stages)
    for graph in kernels:
        rows = [stage for stage in graph.stages if not contraction(stage.node)]
        assert all(cost.count([v.extent for v in stage.path]) == 4 * 600 for stage in rows)


def divided(root: Node) -> list[Node]:
    return divide_reductions([root], cost.GPU)


def reductions(root: Node) -> list[int]:
    """How many results each reduction of a graph has, the last one first."""
    found = [node for node in postorder([root]) if node.op is Op.REDUCE]
    return [cost.count(node.shape) for node in reversed(found)]


def test_columns_are_summed_by_a_thread_for_each_part() -> None:
    """Neighbouring threads read neighbouring columns, and a kernel of its own adds the parts."""
    parts, whole = on_gpu([buffer(0, 4096, 768).sum((0,))])
    assert trips(parts) == [64, 768] and trips(whole) == [768]
    prime = buffer(0, 4093, 768)  # a rest that no part has
    assert len(on_gpu([prime.reduce("max", (0,))])) > 1


def test_few_long_rows_are_summed_by_groups_for_each_part() -> None:
    parts, whole = on_gpu([buffer(0, 6, 700_000).sum((1,))])
    assert trips(parts) == [6, 160] and trips(whole) == [6]
    (alone,) = on_gpu([buffer(0, 600, 3000).sum((1,))])
    assert trips(alone) == [600]


def test_what_runs_along_memory_is_found_behind_movement_and_functions() -> None:
    """The rows of a transposed matrix are columns: threads, not groups."""
    turned = unary(Op.EXP, buffer(0, 4096, 768).permute((1, 0)))
    parts, whole = on_gpu([turned.sum((1,))])
    assert sorted(trips(parts)) == [64, 768] and trips(whole) == [768]


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_what_is_in_parts_is_not_divided_again(axes: tuple[int, ...]) -> None:
    once = divided(buffer(0, 30_000, 128).sum(axes))
    assert len(reductions(once[0])) == 2 - (axes == (1,))
    assert divide_reductions(once, cost.GPU) == once


def test_columns_are_normalised_in_the_order_of_memory() -> None:
    """Sums of columns by parts, then elements: no kernel whose neighbouring threads are far apart in memory."""
    x = buffer(0, 3000, 700)
    for graph in on_gpu([softmax(x, 0)]):
        assert trips(graph)[-1] == 700
