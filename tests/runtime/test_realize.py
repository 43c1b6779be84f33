"""Realize: keys, plans and values, on the interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from lazygrad.ir import build
from lazygrad.ir.dtype import DType, float32, float64
from lazygrad.ir.node import Node, constant
from lazygrad.ir.op import Op
from lazygrad.runtime import device
from lazygrad.runtime.device import Array
from lazygrad.runtime.keys import normalise
from lazygrad.runtime.realize import PLANS, realize

PLACE = "interpret"


@pytest.fixture(params=["interpret", "cpu"], autouse=True)
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test on each device."""
    monkeypatch.setitem(globals(), "PLACE", request.param)
    return str(request.param)


def leaf(array: Array, dtype: DType = float32) -> Node:
    node = Node(Op.BUFFER, (), dtype, array.shape, None, place=PLACE)
    node.value = device.get(PLACE).from_host(array)
    return node


def number(value: float, like: Node) -> Node:
    return constant(value, like.dtype, like.shape, like.place)


def read(node: Node) -> Array:
    return device.get(PLACE).to_host(node.value, node.dtype, node.shape)


def matmul(left: Node, right: Node) -> Node:
    (m, k), (_, n) = left.shape, right.shape
    product = left.reshape((m, k, 1)).expand((m, k, n)) * right.reshape((1, k, n)).expand((m, k, n))
    return product.sum((1,)).reshape((m, n))


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def compiled() -> int:
    return PLANS.compiled


def test_realize_computes_and_attaches() -> None:
    x, y = leaf(random(3, 4)), leaf(random(3, 4, seed=1))
    total = x + y
    scaled = total * 2.5
    launches = device.get(PLACE).launches
    realize([scaled, total, scaled])
    assert device.get(PLACE).launches == launches + 1
    np.testing.assert_array_equal(read(total), read(x) + read(y))
    np.testing.assert_array_equal(read(scaled), (read(x) + read(y)) * np.float32(2.5))
    realize([scaled])
    assert device.get(PLACE).launches == launches + 1
    assert scaled.depth == 0


def test_a_number_that_scales_is_an_argument_and_one_that_selects_is_not() -> None:
    x = leaf(random(5))
    before = compiled()
    for rate in (0.5, 0.25, 7.0):
        result = x * number(rate, x)
        realize([result])
        np.testing.assert_array_equal(read(result), read(x) * np.float32(rate))
    assert compiled() == before + 1
    for exponent in (2.5, 3.5):
        realize([Node(Op.POW, (x, number(exponent, x)), x.dtype, x.shape)])
    assert compiled() == before + 3
    first, second = (normalise([x * number(v, x)]) for v in (1.0, 0.0))
    assert first.key != second.key and not first.numbers


def test_a_number_is_selected_by_any_reader() -> None:
    x = leaf(random(5))
    shared = number(2.5, x)
    normal = normalise([x * shared, Node(Op.POW, (x, shared), x.dtype, x.shape)])
    assert not [entry for entry in normal.entries if entry[0] is Op.ARGUMENT]


def test_keys_tell_graphs_apart() -> None:
    x, y = leaf(random(4)), leaf(random(4, seed=1))
    same_memory = Node(Op.BUFFER, (), float32, (4,), None, place=PLACE)
    same_memory.value = x.value
    programs = [
        [x + y], [x + x], [x + same_memory], [y - x], [x, x + y], [x.reshape((2, 2))], [x.sum((0,))],
        [x.reduce("max", (0,))], [leaf(np.zeros(4), float64).sum((0,))], [leaf(random(5)).sum((0,))],
    ]  # fmt: skip
    keys = [normalise(program).key for program in programs]
    assert len(set(keys)) == len(keys)
    assert normalise([y + x]).key == keys[0]


def two_layers(w1: Node, w2: Node, x: Node, y: Node) -> Node:
    hidden = matmul(x, w1).maximum(0.0)
    difference = matmul(hidden, w2) - y
    return (difference * difference).sum((0, 1)).reshape(())


def by_hand(w1: Array, w2: Array, x: Array, y: Array) -> tuple[Array, Array]:
    pre = x @ w1
    hidden = np.maximum(pre, 0)
    d = 2 * (hidden @ w2 - y)
    share = np.where(pre == 0, 0.5, pre > 0)
    return x.T @ ((d @ w2.T) * share), hidden.T @ d


@pytest.mark.parametrize("read_first", [False, True])
def test_gradients_with_and_without_a_read_of_the_loss(read_first: bool) -> None:
    w1, w2, x, y = (
        leaf(random(*s, seed=i)) for i, s in enumerate([(5, 4), (4, 3), (6, 5), (6, 3)])
    )
    loss = two_layers(w1, w2, x, y)
    if read_first:
        realize([loss], [w1, w2])
    grads = build.grad([loss], [number(1.0, loss)], [w1, w2])
    realize(grads)
    for grad, expected in zip(grads, by_hand(*(read(n) for n in (w1, w2, x, y))), strict=True):
        np.testing.assert_allclose(read(grad), expected, rtol=1e-4, atol=1e-5)


def test_a_stopped_value_lets_its_past_go() -> None:
    x = leaf(random(3))
    node = (x + 1.5).stop()
    realize([node])
    assert node.op is Op.BUFFER and not node.src


def test_parameters_that_begin_equal_have_memory_of_their_own() -> None:
    """Written one by one later, they are the program of the first step and of every other."""
    zeros = [constant(0.0, float32, (1, 5), PLACE).expand((4, 5)) for _ in range(3)]
    realize(zeros)
    assert len({id(each.value) for each in zeros}) == 3
    for each in zeros:
        np.testing.assert_array_equal(read(each), np.zeros((4, 5), np.float32))
