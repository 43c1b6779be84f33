"""Simplification: each rule's text before and after, and everything against the interpreter, to the bit."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lazygrad.ir import build
from lazygrad.ir.args import Slot
from lazygrad.ir.dim import Dim
from lazygrad.ir.dtype import DType, bfloat16, bool_, float32, float64, int32, int64, uint32
from lazygrad.ir.interpret import evaluate
from lazygrad.ir.node import Node, constant, iota, postorder, unary, where
from lazygrad.ir.op import COMPARISON, Op
from lazygrad.ir.text import show
from lazygrad.schedule.algebra import SIMPLIFY, holds
from lazygrad.schedule.simplify import simplify

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, math.inf, -math.inf, math.nan, 1e-40, 65504.0]
Shape = tuple[int, ...]


def leaf(shape: Shape, dtype: DType = float32, slot: int = 0) -> Node:
    return Node(Op.BUFFER, (), dtype, shape, Slot(slot), "cpu")


def number(value: float, like: Node) -> Node:
    return constant(value, like.dtype, like.shape, like.place)


def x(shape: Shape = (3, 4)) -> Node:
    return leaf(shape)


def y(shape: Shape = (3, 4)) -> Node:
    return leaf(shape, slot=1)


def i(shape: Shape = (3, 4)) -> Node:
    return leaf(shape, int32)


def c(shape: Shape = (3, 4)) -> Node:
    return leaf(shape, bool_, 2)


def binary(op: Op, left: Node, right: Node | float) -> Node:
    other = right if isinstance(right, Node) else number(right, left)
    return Node(op, (left, other), bool_ if op in COMPARISON else left.dtype, left.shape)


def raw_update(base: Node, value: Node, *starts: int) -> Node:
    return build.update(base, value, starts)


def padded(source: Node) -> Node:
    return build.pad(source, (1, 2), (1, 0), value=7.0)


def shrink(source: Node, starts: Shape, shape: Shape, steps: Shape | None = None) -> Node:
    return build.shrink(source, starts, shape, steps)


def same_condition() -> Node:
    condition = c()
    return where(condition, where(condition, x(), y()), where(condition, y(), -x()))


def again(function: Callable[[Node], Node], node: Node) -> Node:
    return function(function(node))


def update_with_itself() -> Node:
    base = x()
    return raw_update(base, shrink(base, (1, 1), (2, 2)), 1, 1)


def single_index() -> Node:
    return Node(Op.IOTA, (), int64, (1, 4), iota(1).arg, "cpu")


def scattered(shape: Shape) -> Node:
    return build.scatter(x(), leaf(shape, int64, 3), leaf(shape, slot=1), 1)


CASES: dict[str, Callable[[], Node | Sequence[Node]]] = {
    "fold_of_windows_side_by_side": lambda: build.fold(
        x((2, 3, 2, 2, 3)), (2, 6, 6), (1, 2), (2, 3), (2, 3), (1, 1)
    ),
    "fold": lambda: x() * (number(0.1, x()) + 0.2) + unary(Op.EXP, number(0.5, x())),
    "number_right": lambda: 2.0 * x() + 3.0,
    "add_zero": lambda: [x() + -0.0, x() + 0.0, i() + 0],
    "add_negative": lambda: [x() + -y(), -x() + y()],
    "integer_chain": lambda: [(i() + 3) + 4, (i() * 3) * -4],
    "subtract_zero": lambda: [x() - 0.0, x() - -0.0, i() - 0],
    "subtract_from_zero": lambda: [-0.0 - x(), 0.0 - x(), 0 - i()],
    "subtract_negative": lambda: x() - -y(),
    "integer_difference": lambda: [binary(Op.XOR, i(), i()), i() - i(), x() - x()],
    "negate_negative": lambda: again(lambda n: unary(Op.NEG, n), x()),
    "negate_product": lambda: [-(x() * 3.0), -(x() / 3.0)],
    "multiply_by_one": lambda: [x() * 1.0, x() / 1.0, i() // 1],
    "multiply_by_minus_one": lambda: [x() * -1.0, x() / -1.0],
    "integer_zero": lambda: [i() * 0, x() * 0.0, binary(Op.AND, i(), 0)],
    "remainder_of_one": lambda: i() % 1,
    "multiply_negative": lambda: [-x() * y(), x() * -y(), -x() * -y(), -x() * 3.0, x() / -y()],
    "divide_by_power_of_two": lambda: [x() / 8.0, x() / 3.0, x() / 1e-30],
    "small_power": lambda: [binary(Op.POW, x(), e) for e in (0, 1, 2, 3, -1, 2.5)],
    "idempotent": lambda: [x().maximum(x()), x().minimum(x())],
    "unbounded": lambda: [x().maximum(-math.inf), x().minimum(math.inf)],
    "neutral_bits": lambda: [binary(Op.AND, i(), -1), binary(Op.SHL, i(), 0), c() & True],
    "saturated_bits": lambda: [c() | True, binary(Op.OR, i(), -1)],
    "compare_with_itself": lambda: [x().eq(x()), x().lt(x()), i().le(i()), i().ne(i())],
    "compare_with_truth": lambda: [c().eq(True), c().ne(True)],
    "negated": lambda: [~x().lt(y()), ~x().eq(y()), ~i().lt(i() + 1), ~~c()],
    "absolute": lambda: [unary(Op.ABS, -x()), again(lambda n: unary(Op.ABS, n), x())],
    "already_whole": lambda: unary(Op.FLOOR, unary(Op.ROUND, x())),
    "known_choice": lambda: [where(c(), x(), x()), where(number(True, c()), x(), y())],
    "choice_of_truths": lambda: [where(c(), number(True, c()), False)],
    "negated_choice": lambda: where(~c(), x(), y()),
    "repeated_choice": same_condition,
    "same_type": lambda: Node(Op.CAST, (x(),), float32, (3, 4)),
    "lossless_chain": lambda: [
        x().cast(float64).cast(float32), x().cast(bfloat16).cast(float32), i().cast(float64).cast(bfloat16),
    ],
    "nothing": lambda: unary(Op.EXP, shrink(x(), (0, 0), (0, 4))),
    "move_number": lambda: number(2.0, x()).reshape((12,)),
    "pad_number": lambda: [build.pad(number(7.0, x()), (1, 0), (0, 0), value=7.0),
                           build.pad(shrink(x(), (0, 0), (0, 4)), (1, 0), (2, 0), value=7.0)],
    "stop": lambda: x().stop() * 2.5,
    "copy_to_itself": lambda: Node(Op.COPY, (x(),), float32, (3, 4), None, "cpu"),
    "move_iota": lambda: iota(4, place="cpu").reshape((4, 1)).expand((5, 4, 3)).permute((1, 0, 2)),
    "single_index": single_index,
    "shrink_iota": lambda: shrink(iota(9, place="cpu"), (2,), (3,), (3,)),
    "flip_iota": lambda: iota(9, place="cpu").flip((0,)),
    "same_shape": lambda: Node(Op.RESHAPE, (x(),), float32, (3, 4)),
    "reshape_chain": lambda: x().reshape((12,)).reshape((2, 6)),
    "expand_chain": lambda: x((3, 1)).expand((3, 4)).expand((2, 3, 4)),
    "expand_reshape": lambda: x((1, 4)).reshape((4,)).expand((3, 4)),
    "permute_chain": lambda: [x((2, 3, 4)).permute((1, 2, 0)).permute((0, 2, 1)),
                              x((2, 3, 4)).permute((1, 2, 0)).permute((2, 0, 1))],
    "permute_units": lambda: x((1, 3, 1, 4)).permute((1, 0, 3, 2)),
    "flip_chain": lambda: [x().flip((0, 1)).flip((1,)), x((1, 4)).flip((0, 1))],
    "shrink_chain": lambda: shrink(shrink(x((9, 9)), (1, 0), (4, 9), (2, 1)), (1, 3), (2, 3), (2, 2)),
    "pad_chain": lambda: padded(build.pad(x(), (1, 0), (0, 1), (0, 1), value=7.0)),
    "shrink_pad": lambda: [shrink(padded(x()), (1, 2), (3, 4)), shrink(padded(x()), (0, 3), (2, 2)),
                           shrink(padded(x()), (0, 0), (5, 2)), shrink(padded(x()), (2, 3), (2, 1)),
                           shrink(build.pad(x(), (0, 1), (0, 1), (0, 2)), (0, 1), (3, 4), (1, 3))],
    "shrink_update": lambda: [shrink(raw_update(x(), y((2, 2)), 1, 1), (1, 1), (2, 2)),
                              shrink(raw_update(x(), y((2, 2)), 1, 1), (0, 3), (3, 1)),
                              shrink(raw_update(x(), y((2, 2)), 1, 1), (0, 2), (3, 1))],
    "update_of_nothing": lambda: raw_update(x(), y((0, 2)), 0, 0),
    "update_again": lambda: raw_update(raw_update(x(), y((2, 2)), 1, 1), -y((2, 2)), 1, 1),
    "update_with_itself": update_with_itself,
    "permute_expand": lambda: x((3, 1)).expand((2, 3, 4)).permute((2, 0, 1)),
    "shrink_expand": lambda: shrink(x((3, 1)).expand((2, 3, 4)), (1, 1, 1), (1, 2, 2)),
    "flip_expand": lambda: x((3, 1)).expand((2, 3, 4)).flip((0, 1, 2)),
    "reshape_expand": lambda: [x((3, 1)).expand((3, 4)).reshape((3, 2, 2)),
                               x((3, 1)).expand((3, 4)).reshape((12,)),
                               x((1, 6)).expand((5, 6)).reshape((1, 5, 2, 3))],
    "compute_before_expand": lambda: [unary(Op.EXP, x((3, 1)).expand((3, 4))) * y((4,)).expand((3, 4)),
                                      x((3, 1)).expand((3, 4)) * 2.5],
    "reduce_nothing": lambda: [x((3, 0)).reduce("max", (1,)), x((3, 0)).sum((1,))],
    "reduce_single": lambda: x((3, 1, 4)).sum((1, 2)),
    "reduce_twice": lambda: [x().sum((1,)).sum((0,)), x().cast(bfloat16).sum((1,)).sum((0,))],
    "reduce_number": lambda: [number(2.0, x()).sum((0, 1)), number(0.1, x()).sum((0,)),
                              number(0.1, x()).reduce("max", (0,))],
    "reduce_repeated": lambda: [x((3, 1)).expand((3, 4)).reduce("max", (0, 1)), x((3, 1)).expand((3, 4)).sum((1,)),
                                i((3, 1)).expand((3, 4)).sum((0, 1))],
    "sort_single": lambda: build.sort(leaf((3, 1), uint32), 1, 32),
    "scan_single": lambda: build.scan(x((3, 1)), "add", 1),
    "gather_in_order": lambda: build.gather(
        x(), iota(2, place="cpu").reshape((1, 2)).expand((3, 2)), 1
    ),
    "scatter_nothing": lambda: scattered((3, 0)),
}  # fmt: skip


def bits(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Bits, with all NaNs made one."""
    if value.dtype.kind != "f":
        return value
    return np.where(np.isnan(value), math.nan, value).view(f"u{value.dtype.itemsize}")


def check(roots: Sequence[Node], buffers: Sequence[Any]) -> list[Node]:
    simple = simplify(roots)
    for before, after, root, new in zip(
        evaluate(roots, buffers), evaluate(simple, buffers), roots, simple, strict=True
    ):
        assert (root.dtype, root.shape) == (new.dtype, new.shape)
        np.testing.assert_array_equal(bits(before), bits(after), show([root, new]))
    assert len(postorder(simple)) <= len(postorder(roots)) + 3
    return simple


def concrete(node: Node) -> Shape:
    known = tuple(size for size in node.shape if isinstance(size, int))
    assert len(known) == len(node.shape)
    return known


def values(node: Node, seed: int) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(seed)
    if node.dtype is float32:
        return random.choice(SPECIAL, concrete(node)).astype(np.float32)
    if node.dtype is bool_:
        return random.random(concrete(node)) < 0.5
    return random.integers(-3, 4, concrete(node)).astype(node.dtype.name)


def numbered(roots: Sequence[Node]) -> list[Node]:
    """Give each leaf (a dtype, a shape and a name) a slot of its own; one node for each slot."""
    found: dict[object, int] = {}
    first: list[Node] = []
    for node in postorder(roots):
        if node.op is Op.BUFFER:
            key = (node.dtype, node.shape, node.arg)
            if key not in found:
                found[key] = len(first)
                first.append(node)
            node.arg = Slot(found[key])
    return first


@pytest.mark.parametrize("name", CASES)
def test_rule(name: str, golden: Callable[..., None]) -> None:
    made = CASES[name]()
    roots = [made] if isinstance(made, Node) else list(made)
    (rule,) = [rule for rule in SIMPLIFY.all_rules() if rule.name == name]
    hits = rule.hits
    leaves = numbered(roots)
    for seed in range(20):
        buffers = [values(node, 100 * seed + slot) for slot, node in enumerate(leaves)]
        simple = check(roots, buffers)
    assert rule.hits > hits, f"{name} gave no result"
    golden(f"{show(roots, sites=False)}\n=>\n{show(simple, sites=False)}")


def test_every_rule_has_a_case() -> None:
    assert {rule.name for rule in SIMPLIFY.all_rules()} == set(CASES)


def test_equal_nodes_become_one() -> None:
    (total,) = simplify([unary(Op.EXP, x() * y()) + unary(Op.EXP, y() * x())])
    assert total.src[0] is total.src[1]


def test_realised_nodes_stay_what_they_are() -> None:
    stored = x() * 1.0
    stored.value = object()
    (result,) = simplify([(stored * 1.0).reshape((12,))])
    assert result.src[0] is stored


def test_undecided_sizes_are_left_alone() -> None:
    n = Dim.variable("n")
    source = build.pad(Node(Op.BUFFER, (), float32, (n,), Slot(0), "cpu"), (2,), (2,))
    (result,) = simplify([build.shrink(source, (1,), (n,))])
    values = np.arange(5, dtype=np.float32)
    (value,) = evaluate([result], [values], dims={"n": 5})
    np.testing.assert_array_equal(value, [0, 0, 1, 2, 3])


def test_a_long_chain() -> None:
    node = x()
    for step in range(20_000):
        node = node * 1.0 + (0.5 if step % 2 else -0.0)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        (simple,) = simplify([node])
    finally:
        sys.setrecursionlimit(limit)
    assert len(postorder([simple])) == 10_002


def test_what_holds_what() -> None:
    assert holds(float64, int32) and holds(float32, bfloat16) and not holds(float32, int32)
    assert holds(int64, int32) and not holds(int32, int64) and not holds(int32, float32)


# --- random graphs

UNARIES = [Op.NEG, Op.ABS, Op.FLOOR, Op.ROUND, Op.SQRT, Op.SIGN]
BINARIES = [Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.MAX, Op.MIN]
COMPARISONS = [Op.EQ, Op.NE, Op.LT, Op.LE]
SIZES = st.integers(1, 3)


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    """A chain of random operations with shapes of random rank, over two leaves and numbers."""
    shape = tuple(draw(st.lists(SIZES, min_size=1, max_size=3)))
    pool = [leaf(shape), leaf(shape, slot=1)]
    node = pool[0]
    for _ in range(draw(st.integers(3, 14))):
        node = draw(st.sampled_from(STEPS))(draw, node, pool)
        pool.append(node)
    return [node]


def partner(draw: st.DrawFn, node: Node, pool: list[Node]) -> Node:
    fitting = [other for other in pool if other.shape == node.shape]
    if len(fitting) > 0 and draw(st.booleans()):
        return draw(st.sampled_from(fitting))
    if draw(st.booleans()):
        narrow = [other for other in pool if _broadcasts(other.shape, node.shape)]
        if narrow:
            return draw(st.sampled_from(narrow)).expand(node.shape)
    return number(draw(st.sampled_from(SPECIAL)), node)


def _broadcasts(small: Any, large: Any) -> bool:
    if len(small) > len(large):
        return False
    tail = large[len(large) - len(small) :]
    return all(a in (1, b) for a, b in zip(small, tail, strict=True))


def step_unary(draw: st.DrawFn, node: Node, pool: list[Node]) -> Node:
    return unary(draw(st.sampled_from(UNARIES)), node)


def step_binary(draw: st.DrawFn, node: Node, pool: list[Node]) -> Node:
    pair = [node, partner(draw, node, pool)]
    if draw(st.booleans()):
        pair.reverse()
    return binary(draw(st.sampled_from(BINARIES)), *pair)


def step_where(draw: st.DrawFn, node: Node, pool: list[Node]) -> Node:
    condition = binary(draw(st.sampled_from(COMPARISONS)), node, partner(draw, node, pool))
    if draw(st.booleans()):
        condition = ~condition
    return where(condition, node, partner(draw, node, pool))


def step_reshape(draw: st.DrawFn, node: Node, pool: list[Node]) -> Node:
    sizes = [s for s in node.shape if s != 1]
    if draw(st.booleans()):
        sizes = [math.prod(sizes)]
    for _ in range(draw(st.integers(0, 2))):
        sizes.insert(draw(st.integers(0, len(sizes))), 1)
    return node.reshape(sizes)


def step_permute(draw: st.DrawFn, node: Node, pool: list[Node]) -> Node:
    return node.permute(draw(st.permutations(range(len(node.shape)))))


def step_expand(draw: st.DrawFn, node: Node, pool: list[Node]) -> Node:
    sizes = [draw(SIZES) if s == 1 else s for s in node.shape]
    lead = [draw(SIZES)] if len(sizes) < 4 and draw(st.booleans()) else []
    return node.expand([*lead, *sizes]) if math.prod([*lead, *sizes]) < 500 else node


def step_flip(draw: st.DrawFn, node: Node, pool: list[Node]) -> Node:
    return node.flip([a for a in range(len(node.shape)) if draw(st.booleans())])


def step_pad(draw: st.DrawFn, node: Node, pool: list[Node]) -> Node:
    rank = len(node.shape)
    before, after, between = (
        draw(st.lists(st.integers(0, 2), min_size=rank, max_size=rank)) for _ in range(3)
    )
    if math.prod(node.shape) > 200:
        return node
    return build.pad(node, before, after, between, value=draw(st.sampled_from([0.0, -0.0, 7.0])))


def step_shrink(draw: st.DrawFn, node: Node, pool: list[Node]) -> Node:
    starts, sizes, steps = [], [], []
    for size in node.shape:
        assert isinstance(size, int)
        step = draw(st.integers(1, 3))
        start = draw(st.integers(0, size - 1)) if size else 0
        starts.append(start)
        steps.append(step)
        sizes.append(
            draw(st.integers(0 if not size else 1, max(0, (size - start + step - 1) // step)))
        )
    return build.shrink(node, starts, sizes, steps)


def step_reduce(draw: st.DrawFn, node: Node, pool: list[Node]) -> Node:
    axes = [a for a in range(len(node.shape)) if draw(st.booleans())]
    return node.reduce(draw(st.sampled_from(["max", "min"])), axes)


def step_update(draw: st.DrawFn, node: Node, pool: list[Node]) -> Node:
    part = step_shrink(draw, node, pool)
    if part is node:
        return node
    value = draw(st.sampled_from([part, -part, number(2.0, part)]))
    return Node(Op.UPDATE, (node, value), node.dtype, node.shape, part.arg)


STEPS = [step_unary, step_binary, step_where, step_reshape, step_permute, step_expand, step_flip,
         step_pad, step_shrink, step_reduce, step_update]  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs(), st.integers(0, 1000))
def test_random_graphs_keep_their_bits(roots: list[Node], seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = next((concrete(n) for n in postorder(roots) if n.op is Op.BUFFER), ())
    buffers = [random.choice(SPECIAL, shape).astype(np.float32) for _ in range(2)]
    simple = simplify(roots)
    (before,), (after,) = evaluate(roots, buffers), evaluate(simple, buffers)
    np.testing.assert_array_equal(bits(before), bits(after), show([*roots, *simple]))
