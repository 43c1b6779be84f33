"""What expansion of GRAD promises: paths, boundaries, identity, realised values, nesting, cost; and finite differences."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lazygrad.composites.contraction import matmul
from lazygrad.gradient.expand import GradientError, expand
from lazygrad.gradient.reverse_structure import along
from lazygrad.ir import build
from lazygrad.ir.args import Element, Slot
from lazygrad.ir.composite import call, inline
from lazygrad.ir.dtype import bfloat16, float32, float64, int64
from lazygrad.ir.interpret import evaluate
from lazygrad.ir.node import Node, constant, postorder, unary, where
from lazygrad.ir.op import Op
from lazygrad.schedule.simplify import simplify

Array = np.ndarray[Any, Any]


def leaf(slot: int = 0, shape: tuple[int, ...] = (), dtype: Any = float64) -> Node:
    return Node(Op.BUFFER, (), dtype, shape, Slot(slot), "cpu")


def one(node: Node) -> Node:
    return constant(1, node.dtype, node.shape, "cpu")


def gradients(root: Node, *targets: Node, boundary: tuple[bool, ...] | None = None) -> list[Node]:
    return build.grad([root], [one(root)], targets, boundary)


def numbers(nodes: list[Node], *values: float) -> list[float]:
    return [float(v) for v in evaluate(expand(nodes), [np.array(v) for v in values])]


def test_equal_expressions_are_two_variables() -> None:
    x = leaf()
    a, b = x * 2.0, x * 2.0
    assert numbers(gradients(a * 3.0 + b * 5.0, a, b, x), 1.0) == [3.0, 5.0, 16.0]


def test_a_variable_with_several_readers_sums_its_paths() -> None:
    x = leaf()
    y = x * x
    assert numbers(gradients(y * y + y, x, y), 2.0) == [36.0, 9.0]


def test_several_roots_and_a_root_that_is_a_target() -> None:
    x = leaf()
    y = x * x
    nodes = build.grad([y, x, y], [one(y), one(x), one(y)], [x, y])
    assert numbers(nodes, 3.0) == [13.0, 2.0]


def test_a_stop_and_an_integer_end_a_path() -> None:
    x = leaf()
    rounded = x.cast(int64).cast(float64)
    assert numbers(gradients(x * (x * x).stop() + rounded * x, x), 2.0) == [6.0]


def test_a_stop_that_is_a_target_passes_nothing_on() -> None:
    """Also where there is a path from what it stops to another target."""
    x = leaf()
    y = x * x
    stopped = y.stop()
    assert numbers(gradients(stopped * 3.0 + y, stopped, x), 2.0) == [3.0, 4.0]


def test_a_boundary_ends_a_path_and_other_targets_do_not() -> None:
    x = leaf()
    y = x * x
    root = y * 3.0 + x
    assert numbers(gradients(root, y, x, boundary=(True, False)), 2.0) == [3.0, 1.0]
    assert numbers(gradients(root, y, x), 2.0) == [3.0, 13.0]


def test_an_unreachable_target_gets_zeros() -> None:
    x, y = leaf(0, (2,), float32), leaf(1, (3,), bfloat16)
    (found,) = expand(gradients(x * 2.0, y))
    assert (found.op, found.dtype, found.shape, found.place) == (Op.CONST, bfloat16, (3,), "cpu")


def test_only_rules_on_a_path_are_asked() -> None:
    """An operation without a rule does no harm beside the path."""
    x, y = leaf(), leaf(1)
    element = Node(Op.ELEMENT, (y,), float64, (), Element(0))
    expand(gradients(x * element, x))
    with pytest.raises(GradientError, match="derivative for element is not implemented"):
        expand(gradients(x * element, y))


def test_gradients_of_gradients() -> None:
    x = leaf()
    (first,) = gradients(x * x * x * x, x)
    (second,) = gradients(first * x, x)
    (third,) = gradients(second, x)
    assert numbers([first, second, third], 2.0) == [32.0, 128.0, 192.0]


def test_a_gradient_that_is_a_target() -> None:
    """Its identity holds even where its value is another node's: here the cotangent."""
    x, c = leaf(), leaf(1)
    (g,) = build.grad([x + 1.0], [c], [x])
    assert numbers(gradients(g * 2.0 + c * 3.0, g, c), 1.0, 1.0) == [2.0, 5.0]


def test_two_gradients_that_are_one_node_are_two_variables() -> None:
    x, y, c = leaf(), leaf(1), leaf(2)
    g, h = build.grad([x + y], [c], [x, y])
    assert numbers(gradients(g * 2.0 + h * 3.0, g, h, c), 1.0, 1.0, 1.0) == [2.0, 3.0, 5.0]


def test_realised_nodes_are_read_and_differentiated_through() -> None:
    x = leaf()
    y = x * x
    y.value = np.array(9.0)
    (g,) = gradients(unary(Op.EXP, y), x)
    (found,) = expand([g])
    assert y in postorder([found])
    assert float(evaluate([found], [np.array(3.0)])[0]) == 6.0 * math.exp(9.0)


def test_a_realised_gradient_keeps_its_value_and_its_history() -> None:
    x = leaf()
    (g,) = gradients(x * x, x)
    g.value = np.array(4.0)
    (h,) = gradients(g * g, x)
    result = expand([g * 1.0, h])
    assert [float(v) for v in evaluate(result, [np.array(2.0)])] == [4.0, 16.0]
    assert float(evaluate(result[:1], [np.array(7.0)])[0]) == 4.0  # read, not computed


def test_below_a_realised_node_no_gradient_is_expanded() -> None:
    x = leaf()
    (g,) = gradients(x * x, x)
    weight = x - g * 0.1
    weight.value = np.array(1.0)
    root = weight * 2.0
    assert expand([root])[0] is root


def test_nodes_without_gradients_stay_the_same() -> None:
    x = leaf()
    (g,) = gradients(x * x, x)
    plain = x * 3.0
    found, _ = expand([plain, g])
    assert found is plain


def test_a_composite_without_a_rule_is_differentiated_through_one_body() -> None:
    x = leaf(0, (3, 4))
    y = call("rms_norm", [x], axes=(1,), eps=1e-5)
    value, _ = expand([y, *gradients(y * y, x)])
    assert value.op is not Op.CALL


def test_new_nodes_have_the_line_of_their_forward_node() -> None:
    x = leaf()
    y = x * x
    y.site = (test_new_nodes_have_the_line_of_their_forward_node.__code__, 4)
    silu = call("silu", [y])
    silu.site = (test_gradients_of_gradients.__code__, 2)
    (found,) = expand(gradients(silu, x))
    for node in postorder([found]):
        assert node.op in (Op.BUFFER, Op.CONST) or node.site in (y.site, silu.site)


def test_half_types_keep_their_dtype() -> None:
    x, w = leaf(0, (2, 3), bfloat16), leaf(1, (3, 2), bfloat16)
    y = call("gelu", [matmul(x, w)]).sum((0, 1))
    found = expand(gradients(y, x, w))
    assert [n.dtype for n in found] == [bfloat16, bfloat16]


def chain(length: int) -> tuple[int, int]:
    """Calls of functions, Python's own among them, and nodes of the gradient of a chain."""
    x = leaf()
    node = x
    for step in range(length):
        node = node * 1.0001 if step % 2 else unary(Op.SIN, node)
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        found = expand(gradients(node, x))
    finally:
        sys.setprofile(before)
    return calls, len(postorder(found))


def test_a_chain_of_twenty_thousand() -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        short, _ = chain(2_000)
        long, nodes = chain(20_000)
    finally:
        sys.setrecursionlimit(limit)
    assert nodes < 80_000
    assert long < 11 * short


def test_a_chain_of_gradients() -> None:
    """Each step is a gradient of the one before: a loop of higher derivatives, or of updates that are differentiated."""
    x = leaf()
    node = x * 0.5
    for _ in range(300):
        (g,) = gradients(node * node, node, boundary=(True,))
        node = node - g * 0.25
    assert numbers([node], 1.0) == [0.5 * 0.5**300]
    (total,) = gradients(node, x)
    assert numbers([total], 1.0) == [0.5 * 0.5**300]


# --- finite differences on random programs

SMOOTH: list[Callable[[Node], Node]] = [
    lambda n: unary(Op.SIN, n),
    lambda n: unary(Op.TANH, n),
    lambda n: n * n * 0.5,
    lambda n: -n,
    lambda n: 1.0 / (n * n + 1.0),
    lambda n: unary(Op.EXP, unary(Op.SIN, n)),
    lambda n: call("sigmoid", [n]),
    lambda n: call("silu", [n]),
    lambda n: call("gelu", [n], approximate="none"),
    lambda n: call("softmax", [n], axis=len(n.shape) - 1),
    lambda n: call("log_softmax", [n], axis=0),
    lambda n: call("standardize", [n], axes=(0,), eps=0.1),
    lambda n: n.reduce("add", (0,)).expand(n.shape),
    lambda n: build.scan(n, "add", len(n.shape) - 1),
    lambda n: n.permute(tuple(reversed(range(len(n.shape))))),
    lambda n: n.flip((0,)),
    lambda n: build.pad(n, (1,) * len(n.shape), (0,) * len(n.shape)),
    lambda n: build.shrink(n, (0,) * len(n.shape), [max(1, s - 1) for s in n.shape]),
    lambda n: n.reshape((math.prod(n.shape), 1)),
    lambda n: build.window(n, (0,), (1,), (1,), (1,)).reshape(n.shape),
]


@st.composite
def programs(draw: st.DrawFn) -> tuple[Node, Node]:
    x = leaf(0, (3, 2))
    pool = [x]
    for _ in range(draw(st.integers(2, 9))):
        node = pool[-1] if draw(st.booleans()) else draw(st.sampled_from(pool))
        new = draw(st.sampled_from(SMOOTH))(node)
        fitting = [other for other in pool if other.shape == new.shape]
        if len(fitting) > 0 and draw(st.booleans()):
            other = draw(st.sampled_from(fitting))
            new = draw(st.sampled_from([new + other, new * other, new - other]))
        if draw(st.integers(0, 5)) == 0:
            new = where((along(0, new) % 2).eq(0), new, new * 0.5)
        pool.append(new)
    root = pool[-1]
    return x, root.sum(range(len(root.shape))).reshape(())


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(), st.integers(0, 100))
def test_random_programs_agree_with_finite_differences(
    program: tuple[Node, Node], seed: int
) -> None:
    x, root = program
    random = np.random.default_rng(seed)
    point, direction = random.uniform(-1, 1, (3, 2)), random.normal(size=(3, 2))
    (g,) = gradients(root, x)
    (twice,) = gradients((g * g).sum((0, 1)).reshape(()), x)
    first, second = simplify(inline(expand([g, twice])))
    g_root, g_first = expand([root])[0], first

    def moved(node: Node, step: float) -> Array:
        return evaluate([node], [point + step * direction])[0]

    value, curvature = evaluate([first, second], [point])
    if np.abs(curvature).max() > 1e3:
        return  # too steep for differences
    step = 1e-5
    slope = (moved(g_root, step) - moved(g_root, -step)) / (2 * step)
    np.testing.assert_allclose((value * direction).sum(), slope, 1e-4, 1e-5)
    change = ((moved(g_first, step) ** 2).sum() - (moved(g_first, -step) ** 2).sum()) / (2 * step)
    np.testing.assert_allclose((curvature * direction).sum(), change, 1e-3, 1e-4)
