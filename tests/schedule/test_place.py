"""Placement: how many kernels a program becomes, where its nodes are computed, and that the result is the interpreter's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lazygrad.codegen.choose import optimise
from lazygrad.codegen.lower import lower
from lazygrad.codegen.target import typical
from lazygrad.ir import build
from lazygrad.ir.args import Slot
from lazygrad.ir.dtype import DType, float32, float64, int64
from lazygrad.ir.interpret import evaluate
from lazygrad.ir.kernel_graph import KernelGraph
from lazygrad.ir.node import Node, iota, unary, where
from lazygrad.ir.op import Op
from lazygrad.ir.text import show
from lazygrad.ir.verify import VerificationError, verify_order
from lazygrad.schedule import cost
from lazygrad.schedule.growing import results_early
from lazygrad.schedule.place import contraction, place

Compile = Callable[[Sequence[Node]], Any]
Golden = Callable[..., None]


def buffer(number: int, *shape: int, dtype: DType = float32) -> Node:
    return Node(Op.BUFFER, (), dtype, shape, Slot(number), "cpu")


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def softmax(x: Node, axis: int) -> Node:
    top = x.reduce("max", (axis,)).expand(x.shape)
    powers = unary(Op.EXP, x - top)
    return powers / powers.sum((axis,)).expand(x.shape)


def layer_norm(x: Node) -> Node:
    size = x.shape[-1]
    assert isinstance(size, int)
    centred = x - (x.sum((1,)) * (1 / size)).expand(x.shape)
    variance = (centred * centred).sum((1,)) * (1 / size)
    return centred * unary(Op.RSQRT, variance + 1e-5).expand(x.shape)


def cross_entropy(x: Node, target: Node) -> Node:
    rows = x.shape[0]
    assert isinstance(rows, int)
    top = x.reduce("max", (1,))
    total = unary(Op.EXP, x - top.expand(x.shape)).sum((1,))
    chosen = build.gather(x, target.reshape((rows, 1)), 1)
    return ((unary(Op.LOG, total) + top) - chosen).sum((0,)) * (1 / rows)


def matmul(left: Node, right: Node) -> Node:
    (rows, inner), columns = left.shape, right.shape[1]
    full = (rows, inner, columns)
    product = left.reshape((rows, inner, 1)).expand(full) * right.reshape(
        (1, inner, columns)
    ).expand(full)
    return product.sum((1,)).reshape((rows, columns))


def test_results_that_run_early_wait_for_all_that_they_read() -> None:
    """`c` runs early, right behind `a`; `d` reads it and `b`, which stands before `c` and runs behind it."""
    x = buffer(0, 512, 512)
    a, b = unary(Op.NEG, x), unary(Op.EXP, x)
    c = unary(Op.SIN, a)
    d = b + c
    kernels = [KernelGraph(n, (), (), [node], inputs=read) for n, node, read in (
        ("a", a, [x]), ("b", b, [x]), ("c", c, [a]), ("d", d, [b, c]))]  # fmt: skip
    ran = results_early(kernels, [c, d])
    assert [kernel.name for kernel in ran] == ["a", "c", "b", "d"]
    verify_order(ran)
    with pytest.raises(VerificationError, match="d reads what no kernel before it writes"):
        verify_order([kernels[0], kernels[2], kernels[3], kernels[1]])


@pytest.mark.parametrize("axis", [0, 1])
def test_softmax_is_one_kernel(compiled: Compile, golden: Golden, axis: int) -> None:
    x = buffer(0, 64, 1000)
    program = compiled([softmax(x, axis)])
    assert len(program.names) == 1
    golden(optimise(lower(program.record.schedule[0]), typical("avx512")))
    (got,) = program.run([draw(64, 1000)])
    (expected,) = evaluate([softmax(x, axis)], [draw(64, 1000)])
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


def test_layer_norm_is_one_kernel(compiled: Compile, golden: Golden) -> None:
    x = buffer(0, 32, 768)
    program = compiled([layer_norm(x)])
    assert len(program.names) == 1
    golden(optimise(lower(program.record.schedule[0]), typical("avx512")))
    (got,) = program.run([draw(32, 768)])
    (expected,) = evaluate([layer_norm(x)], [draw(32, 768)])
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_cross_entropy_is_one_kernel(compiled: Compile) -> None:
    x, target = buffer(0, 16, 10), buffer(1, 16, dtype=int64)
    arrays = [draw(16, 10), np.arange(16) % 10]
    program = compiled([cross_entropy(x, target)])
    assert len(program.names) == 1
    (got,) = program.run(arrays)
    (expected,) = evaluate([cross_entropy(x, target)], arrays)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_a_row_larger_than_the_cache_is_split(compiled: Compile) -> None:
    x = buffer(0, 2, 400_000)
    program = compiled([softmax(x, 1)])
    assert len(program.names) > 1
    (got,) = program.run([draw(2, 400_000)])
    np.testing.assert_allclose(got.sum(axis=1), [1, 1], rtol=1e-4)


UNARY = [
    lambda x: x * x,
    lambda x: unary(Op.TANH, x),
    lambda x: x * 0.5 + 1.0,
    lambda x: unary(Op.ABS, x),
    lambda x: unary(Op.SIN, x),
]
BINARY: list[Callable[[Node, Node], Node]] = [
    lambda x, r: x - r,
    lambda x, r: x * r,
    lambda x, r: x.maximum(r),
    lambda x, r: where(x.gt(r), x, r),
]


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_drawn_reduce_broadcast_reduce_programs_are_one_kernel(
    compiled: Compile, data: st.DataObject
) -> None:
    rows = data.draw(st.integers(2, 20))
    columns = data.draw(st.integers(2, 300))
    axis = data.draw(st.sampled_from([0, 1]))
    steps = data.draw(st.integers(2, 4))
    x = value = buffer(0, rows, columns, dtype=float64)  # sines of large sums amplify rounding
    for _ in range(steps):
        value = data.draw(st.sampled_from(UNARY))(value)
        kind = data.draw(st.sampled_from(["add", "max", "min"]))
        reduced = value.reduce(kind, (axis,))
        reduced = data.draw(st.sampled_from(UNARY))(reduced) * 0.1
        value = data.draw(st.sampled_from(BINARY))(value, reduced.expand(x.shape))
    root = value.reduce("add", (axis,)) if data.draw(st.booleans()) else value
    program = compiled([root])
    assert len(program.names) == 1, program.names
    array = draw(rows, columns).astype("float64")
    (got,) = program.run([array])
    (expected,) = evaluate([root], [array])
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_an_epilogue_joins_its_contraction(compiled: Compile, golden: Golden) -> None:
    x, w, b = buffer(0, 64, 100), buffer(1, 100, 48), buffer(2, 48)
    root = (matmul(x, w) + b.expand((64, 48))).maximum(0.0)
    program = compiled([root])
    assert len(program.names) == 1
    golden(optimise(lower(program.record.schedule[0]), typical("avx512")))
    arrays = [draw(64, 100), draw(100, 48, seed=1), draw(48, seed=2)]
    np.testing.assert_allclose(
        program.run(arrays)[0], evaluate([root], arrays)[0], rtol=1e-4, atol=1e-4
    )


def two_layer_step(x: Node, y: Node, w1: Node, w2: Node) -> list[Node]:
    hidden = matmul(x, w1)
    active = hidden.maximum(0.0)
    error = matmul(active, w2) - y
    by_output = error * 2.0
    by_hidden = where(hidden.gt(0.0), matmul(by_output, w2.permute((1, 0))), 0.0)
    return [
        (error * error).sum((0, 1)),
        w1 - matmul(x.permute((1, 0)), by_hidden) * 1e-6,
        w2 - matmul(active.permute((1, 0)), by_output) * 1e-6,
    ]


def test_a_training_step_has_each_contraction_once(compiled: Compile) -> None:
    nodes = [buffer(0, 64, 200), buffer(1, 64, 10), buffer(2, 200, 50), buffer(3, 50, 10)]
    arrays = [draw(*n.shape, seed=i) for i, n in enumerate(nodes)]  # type: ignore[arg-type]
    program = compiled(two_layer_step(*nodes))
    found = [s.node for g in program.record.schedule for s in g.stages if contraction(s.node)]
    assert len(found) == 5
    for got, expected in zip(program.run(arrays), evaluate(program.roots, arrays), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


def test_contractions_that_are_joined_are_computed_once(compiled: Compile) -> None:
    """The gradient of the chunks of one projection: what a PAD reads is not computed for the padding too."""
    x, w = buffer(0, 40, 30), buffer(1, 30, 40)
    parts = [matmul(x, w), matmul(w.permute((1, 0)), x.permute((1, 0)))]
    joined = [
        build.pad(part.reshape((1, 5, 8, 40)), (at, 0, 0, 0), (1 - at, 0, 0, 0))
        for at, part in enumerate(parts)
    ]
    program = compiled([joined[0] + joined[1]])
    stages = [(g, s.node) for g in program.record.schedule for s in g.stages]
    assert len(stages) == 2
    for graph, node in stages:
        assert cost.count([v.extent for v in graph.loops]) == cost.count(node.shape)
    arrays = [draw(40, 30), draw(30, 40, seed=1)]
    for got, expected in zip(program.run(arrays), evaluate(program.roots, arrays), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_a_contraction_reads_and_writes_in_order(compiled: Compile) -> None:
    """Heads of attention that become columns are put in order before, or written in order by the contraction that makes them."""
    heads, other, w = buffer(0, 2, 4, 16, 8), buffer(1, 8, 16, 16), buffer(2, 32, 24)
    rows, full = heads.reshape((8, 16, 8)), (8, 16, 16, 8)
    product = other.reshape((8, 16, 16, 1)).expand(full) * rows.reshape((8, 1, 16, 8)).expand(full)
    mixed = product.sum((2,)).reshape((2, 4, 16, 8))
    columns = [each.permute((0, 2, 1, 3)).reshape((32, 32)) for each in (heads, mixed)]
    program = compiled([matmul(each, w) for each in columns])
    for kernel in program.record.schedule:
        if any(contraction(stage.node) for stage in kernel.stages):
            text = show(lower(kernel), sites=False)
            assert "//" not in text and " % " not in text, text
    arrays = [draw(2, 4, 16, 8), draw(8, 16, 16, seed=1), draw(32, 24, seed=2)]
    for got, expected in zip(program.run(arrays), evaluate(program.roots, arrays), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


CASES: dict[str, Callable[[Node, Node, Node], Sequence[Node]]] = {
    "gather under a pad": lambda x, i, w: [build.pad(build.gather(x, i, 1), (1, 0), (0, 2))],
    "gather under a pad and beside it": lambda x, i, w: [
        build.pad(build.gather(x, i, 1), (0, 1), (0, 1))
        + build.pad(x, (0, 0), (0, 0)).sum((0, 1)).expand((16, 7)),
        build.shrink(build.pad(build.gather(x, i, 1), (1, 1), (1, 1)), (0, 0), (16, 5))
        * build.gather(x, i, 1),
    ],
    "scatter": lambda x, i, w: [build.scatter(x, i, build.gather(x, i, 1), 1)],
    "scan": lambda x, i, w: [build.scan(x, "add", 1), build.scan(x, "max", 0)],
    "scan of what a stage computes": lambda x, i, w: [
        build.scan(x * x.sum((1,)).expand(x.shape), "add", 0),
        build.scan(matmul(x, x.permute((1, 0))), "add", 0).sum((1,)),
        build.scan(matmul(w, w.permute((1, 0))), "add", 0).permute((1, 0)) * 2.0,
    ],
    "window": lambda x, i, w: [build.window(x, (1,), (3,), (2,), (1,)).reduce("max", (2,))],
    "fold": lambda x, i, w: [
        build.fold(build.window(x, (1,), (3,), (2,), (2,)), x.shape, (1,), (3,), (2,), (2,))
    ],
    "flip": lambda x, i, w: [x.flip((1,)) + x],
    "strided shrink": lambda x, i, w: [build.shrink(x, (1, 3), (5, 10), (3, 7))],
    "pad between": lambda x, i, w: [build.pad(x, (2, 1), (0, 3), (1, 2), 5.0)],
    "update": lambda x, i, w: [build.update(x, w, (5, 6), (2, 3))],
    "reshape": lambda x, i, w: [x.reshape((8, 200)).permute((1, 0)).reshape((40, 40)) * 2.0],
    "several": lambda x, i, w: [x + 1.0, x * 2.0, x.sum((0, 1)), x.sum((0,))],
    "its own reader": lambda x, i, w: [x * 2.0, unary(Op.EXP, x * 2.0)],
    "a leaf and its views": lambda x, i, w: [x, x.reshape((1600,)), x.permute((1, 0))],
    "mean of a product": lambda x, i, w: [(x * x).sum((0, 1)).reshape(()) * (1 / 1600)],
}


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_node_lowers(compiled: Compile, name: str) -> None:
    x, index, w = buffer(0, 16, 100), buffer(1, 16, 5, dtype=int64), buffer(2, 5, 20)
    rng = np.random.default_rng(3)
    arrays = [draw(16, 100), rng.permuted(np.tile(np.arange(5), (16, 1)), axis=1), draw(5, 20)]
    program = compiled(CASES[name](x, index, w))
    for got, expected in zip(program.run(arrays), evaluate(program.roots, arrays), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_results_that_share_what_they_read_share_a_launch(compiled: Compile) -> None:
    x, y = buffer(0, 2000), buffer(1, 2000)
    error = unary(Op.SIN, x) - y
    sums = [(error * x).sum((0,)), (error * x * x).sum((0,)), (error * error).sum((0,)) * 2.0]
    program = compiled([*sums, x + 1.0, x * y])
    assert len(program.names) == 2, program.names
    arrays = [draw(2000), draw(2000, seed=1)]
    for got, expected in zip(program.run(arrays), evaluate(program.roots, arrays), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)


def test_a_launch_is_not_shared_with_its_own_reader(compiled: Compile) -> None:
    x, w = buffer(0, 8, 8), buffer(1, 8, 8)
    first = unary(Op.EXP, x)
    second = matmul(first, w)
    program = compiled([first, (second + x).sum((0, 1)).expand((8, 8)) + x])
    arrays = [draw(8, 8), draw(8, 8, seed=1)]
    for got, expected in zip(program.run(arrays), evaluate(program.roots, arrays), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


def test_long_chains_place_without_recursion(compiled: Compile) -> None:
    """Chunks of one size, so that they compile once, and no work that grows with the square of the length."""
    value = buffer(0, 100)
    for _ in range(10_000):
        value = value * 1.0001 + 0.5
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        kernels = place([value]).kernels
        texts = {show(lower(kernel), sites=False) for kernel in kernels}
    finally:
        sys.setrecursionlimit(limit)
    assert len(kernels) >= 20_000 // cost.KERNEL_NODES
    assert len(texts) <= 2


def test_gradients_of_weights_run_while_what_they_read_is_there() -> None:
    """The gradient of each layer's weight before that of the layer below: no activation waits for the end."""
    x, *weights = buffer(0, 512, 256), *(buffer(n, 256, 256) for n in range(1, 4))
    values = [x]
    for weight in weights:
        values.append(matmul(values[-1], weight).maximum(0.0))
    cotangent, gradients = values[-1] * 2.0, []
    for weight, value in zip(reversed(weights), reversed(values[:-1]), strict=True):
        gradients.append(matmul(value.permute((1, 0)), cotangent))
        cotangent = matmul(cotangent, weight.permute((1, 0))) * value
    schedule = place([cotangent, *gradients])
    kernels = schedule.kernels
    position = {id(n): number for number, kernel in enumerate(kernels) for n in kernel.results}
    for kernel in kernels:
        for node in kernel.inputs:
            assert node.op is Op.BUFFER or position[id(node)] < kernels.index(kernel)
    asked = {id(each) for each in schedule.values[1:]}
    order = [any(id(node) in asked for node in kernel.results) for kernel in kernels]
    last = len(order) - order[::-1].index(False)  # after the last kernel that is no gradient's
    assert order.count(True) == 3 and order[last:].count(True) <= 1


def test_what_all_readers_compute_of_what_they_read_is_not_stored() -> None:
    """The error function of `h` is asked for behind a contraction and in another kernel; both read `h` itself."""
    h = buffer(0, 256, 64) + 1.0  # stored: it is a result
    phi = unary(Op.ERF, h * 0.7)
    forward = matmul(h * phi, buffer(1, 64, 128))
    backward = matmul(buffer(2, 256, 64), buffer(3, 64, 64)) * (phi + h)
    schedule = place([h, forward, backward])
    assert not any(node is phi for kernel in schedule.kernels for node in kernel.results)
    assert len(schedule.kernels) == 3


@pytest.mark.parametrize("moments", [1, 2])
def test_many_large_results_are_not_written_behind_a_tile(moments: int) -> None:
    """What updates parameters and one moment is behind the tile of the gradient; with two moments the gradient is stored."""
    gradient = matmul(buffer(0, 256, 64), buffer(1, 64, 256))
    first = buffer(2, 256, 256) * 0.9 + gradient * 0.1
    second = buffer(3, 256, 256) * 0.99 + gradient * gradient * 0.01
    scale = unary(Op.RSQRT, second) if moments == 2 else 0.1
    results = [first, second][:moments] + [buffer(4, 256, 256) - first * scale]
    assert len(place(results).kernels) == moments


@pytest.mark.parametrize(
    ("shape", "axis", "rows"), [((6, 200), 1, 1), ((6, 200), 0, 0), ((3, 5, 90, 2), 2, 2), ((9, 20), 1, 0)]
)  # fmt: skip
def test_rows_of_a_scatter_are_apart(
    compiled: Compile, shape: tuple[int, ...], axis: int, rows: int
) -> None:
    """Threads share the loops over what is scattered alone, if it is not short; each row is copied just before it is changed."""
    index_shape = tuple(size - (number > axis) for number, size in enumerate(shape))
    x, i, w = buffer(0, *shape), buffer(1, *index_shape, dtype=int64), buffer(2, *index_shape)
    roots = [build.scatter(x, i, w, axis, "add")]
    (kernel,) = place(roots).kernels
    assert len(kernel.loops) == rows
    index = np.random.default_rng(3).integers(0, shape[axis], index_shape)
    arrays = [draw(*shape), index, draw(*index_shape, seed=1)]
    program = compiled(roots)
    for got, expected in zip(program.run(arrays), evaluate(program.roots, arrays), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_a_mask_of_places_asks_for_no_order_of_loops() -> None:
    """It is computed for each vector of each matrix: a batch in the innermost loop would write here and there."""
    shape = (40, 16, 64)
    places = [
        iota(shape[axis], int64).reshape((1, *[1 if n != axis else shape[n] for n in (1, 2)]))
        for axis in (1, 2)
    ]
    mask = places[0].expand((1, 16, 64)).eq(places[1].expand((1, 16, 64))).expand(shape)
    (kernel,) = place([where(mask, buffer(0, *shape), 0.0)]).kernels
    assert not kernel.stages
    assert [loop.extent for loop in kernel.loops] == [*shape]


def test_results_share_a_launch_while_there_are_not_too_many() -> None:
    """A GPU's compiler keeps what a kernel is given in registers, and a device may not take more."""
    x = buffer(0, 8)
    kernels = place([x.le(float(number)) for number in range(100)]).kernels
    assert sorted(len(kernel.outputs) for kernel in kernels) == [36, cost.KERNEL_OUTPUTS]
