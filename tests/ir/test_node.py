"""Nodes, args, and what `same` and the rewrite engine make of them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lazygrad.ir.args import Call, Constant, Slot
from lazygrad.ir.dtype import float32, int8, int64
from lazygrad.ir.node import Node, constant, kind_of, postorder, same, unary, where
from lazygrad.ir.op import Op
from lazygrad.ir.rewrite import TABLES, RuleTable, rewrite
from lazygrad.ir.text import parse, show
from lazygrad.ir.verify import verify_graph
from lazygrad.schedule.simplify import simplify


def leaf(slot: int = 0) -> Node:
    return Node(Op.BUFFER, (), float32, (4,), Slot(slot), place="cpu")


@contextmanager
def table(name: str) -> Iterator[RuleTable[Node]]:
    """A rule table that is gone afterwards: the named ones are counted by other tests."""
    made: RuleTable[Node] = RuleTable(name)
    try:
        yield made
    finally:
        del TABLES[name]


def test_two_results_of_one_expression_are_two_nodes() -> None:
    x = leaf()
    left, right = x * 2.0, x * 2.0
    assert left is not right and left != right and same([left], [right])
    assert not same([left, right], [left])
    shared = simplify([left, right])
    assert shared[0] is shared[1]


def test_place_depth_and_sites_come_from_sources() -> None:
    x = leaf()
    y = where(x.lt(0.0), x, 1.0)
    assert (x.depth, y.depth, y.place, y.dtype) == (0, 2, "cpu", float32)


@pytest.mark.parametrize(
    ("left", "right"),
    [(0.0, -0.0), (1, True), (1, 1.0), (0, False), (0.0, 0), (float("nan"), float("inf"))],
)
def test_constants_differ_by_bits_and_type(left: float, right: float) -> None:
    assert Constant(left) != Constant(right)
    assert Constant(left) == Constant(left)
    assert hash(Constant(right)) == hash(Constant(right))
    calls = Call("f", (("a", left),)), Call("f", (("a", right),))
    assert calls[0] != calls[1], "attributes differ like constants"
    assert calls[0] == Call("f", (("a", left),))


def test_nan_constants_are_equal() -> None:
    assert Constant(float("nan")) == Constant(-float("nan"))
    assert hash(Constant(float("nan"))) == hash(Constant(float("nan")))


def test_constants_take_the_category_of_their_dtype() -> None:
    assert constant(300, int8).arg == Constant(44)
    assert constant(200, int8).arg == Constant(-56)
    assert constant(1, float32).arg == Constant(1.0)


def test_rewrite_applies_until_nothing_changes_and_each_node_once() -> None:
    with table("test: negation") as rules:

        @rules.rule(Op.NEG)
        def twice(node: Node) -> Node | None:
            return node.src[0].src[0] if node.src[0].op is Op.NEG else None

        x = leaf()
        y = unary(Op.NEG, unary(Op.NEG, unary(Op.NEG, x)))
        first, second = rewrite([y + y, y], rules)
        assert same([first, second], [-x + -x, -x])
        assert first.src[0] is first.src[1] is second, "sharing is kept"
        assert rules.all_rules()[0].hits == 1


def test_a_rules_result_is_rewritten_in_its_turn_and_keeps_the_site() -> None:
    with table("test: chain of rules") as rules:

        @rules.rule(Op.SUB)
        def minus(node: Node) -> Node:
            return node.src[0] + -node.src[1]

        @rules.rule(Op.NEG)
        def negative(node: Node) -> Node:
            return node.src[0] * -1.0

        x = leaf()
        y = x - x
        y.site = (test_constants_differ_by_bits_and_type.__code__, 0)
        (result,) = rewrite([y], rules)
        assert same([result], [x + x * -1.0]) and result.site == y.site


def test_a_chain_of_20000_is_built_walked_rewritten_printed_and_freed() -> None:
    limit = sys.getrecursionlimit()
    with table("test: exp to log") as rules:

        @rules.rule(Op.EXP)
        def exp(node: Node) -> Node:
            return unary(Op.LOG, node.src[0])

        sys.setrecursionlimit(200)
        try:
            node = leaf()
            for _ in range(20_000):
                node = unary(Op.EXP, node)
            assert node.depth == 20_000 and len(postorder([node])) == 20_001
            verify_graph([node])
            (result,) = rewrite([node], rules)
            assert result.op is Op.LOG and result.depth == 20_000
            (back,) = parse(show(result))
            assert same([back], [result])
            del node, result, back
            gc.collect()
        finally:
            sys.setrecursionlimit(limit)
    assert rules.all_rules()[0].hits == 20_000


def test_iota_and_indices_are_int64() -> None:
    x = leaf()
    assert x.sum((0,)).shape == (1,)
    assert constant(1, int64).dtype is int64


def test_there_is_one_kind_for_equal_nodes_as_long_as_one_is_held() -> None:
    held = kind_of(leaf())
    for size in range(10_000):
        kind_of(constant(1.0, float32, (3, size)))
    assert kind_of(leaf()) is held
