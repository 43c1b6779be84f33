"""Every operation of the graph has a forward and a batching rule: tangents are differences of values, batches are Python loops."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import pytest

import lazygrad.func  # noqa: F401  registers the rules of composites
from lazygrad.gradient.batching import BATCHING, COMPOSITE_BATCHING, batch
from lazygrad.gradient.forward import FORWARD, push_forward
from lazygrad.gradient.reverse import COMPOSITE_REVERSE, REVERSE
from lazygrad.ir import build
from lazygrad.ir.args import ScanKind, Slot, Windows
from lazygrad.ir.composite import call
from lazygrad.ir.dtype import BY_NAME, float64, int64
from lazygrad.ir.extern import host_call
from lazygrad.ir.grammar import GRAPH_GRAMMAR
from lazygrad.ir.interpret import evaluate
from lazygrad.ir.node import Node, iota, postorder, unary, where
from lazygrad.ir.op import BINARY, COMPARISON, UNARY, Op
from lazygrad.ir.verify import verify_graph

Array = np.ndarray[Any, Any]
Case = tuple[Callable[..., Node], list[Array]]

X = np.array([[0.3, -1.2, 0.8], [1.7, 0.45, -0.6]])
Y = np.array([[0.7, 0.9, -1.4], [-0.35, 2.1, 1.3]])
INSIDE = np.abs(X) / 2
INDEX = np.array([[1, 0, 1], [0, 0, 1]])
KINDS: tuple[Literal["add", "mul", "max", "min"], ...] = ("add", "mul", "max", "min")
SCANS: tuple[ScanKind, ...] = (*KINDS, "logaddexp")
LEAVES = {Op.CONST, Op.ARGUMENT, Op.BUFFER, Op.IOTA}
EXPANDED = {Op.GRAD, Op.CALL, Op.APPLY}
"""What is replaced by other operations before a rule is asked for, or has tables of its own by name."""


def leaf(slot: int, array: Array) -> Node:
    return Node(Op.BUFFER, (), BY_NAME[array.dtype.name], array.shape, Slot(slot), "cpu")


def binary(op: Op) -> Callable[[Node, Node], Node]:
    if op in COMPARISON:
        return lambda x, y: Node(op, (x, y), BY_NAME["bool"], x.shape)
    return lambda x, y: Node(op, (x, y), x.dtype, x.shape)


def unary_case(op: Op) -> Case:
    if op is Op.NOT:
        return (lambda x: unary(op, x)), [INDEX]
    if op is Op.CAST:
        return (lambda x: x.cast(BY_NAME["float32"]).cast(float64)), [X]
    if op is Op.BITCAST:
        return (lambda x: x.bitcast(int64)), [X]
    points = INSIDE + 1.1 if op is Op.ACOSH else INSIDE
    return (lambda x: unary(op, x)), [points]


def binary_case(op: Op) -> Case:
    if op in (Op.IDIV, Op.MOD, Op.GCD, Op.AND, Op.OR, Op.XOR, Op.SHL, Op.SHR):
        return binary(op), [INDEX, INDEX + 1]
    return binary(op), [np.abs(X) if op is Op.POW else X, Y]


def scatter(kind: str) -> Case:
    return (lambda base, index, value: build.scatter(base, index, value, 0, kind)), [X, INDEX, Y]


def window_of(x: Node) -> Node:
    return build.window(x, (1,), (2,), (1,), (1,))


CASES: dict[str, Case] = {
    **{op.name.lower(): unary_case(op) for op in map(Op, sorted(UNARY))},
    **{op.name.lower(): binary_case(op) for op in map(Op, sorted(BINARY))},
    "where": (lambda c, x, y: where(c.eq(0), x, y), [INDEX, X, Y]),
    "fma": (lambda x, y, z: Node(Op.FMA, (x, y, z), x.dtype, x.shape), [X, Y, X]),
    **{f"reduce_{kind}": (partial(Node.reduce, kind=kind, axes=(1,)), [X]) for kind in KINDS},
    **{f"scan_{kind}": (partial(build.scan, kind=kind, axis=1), [X]) for kind in SCANS},
    **{f"scatter_{kind}": scatter(kind) for kind in ("set", "add", "mul", "max", "min")},
    "sort": (lambda x: build.sort(x, 1, 64), [INDEX.astype(np.uint64)]),
    "reshape": (lambda x: x.reshape((3, 2)), [X]),
    "permute": (lambda x: x.permute((1, 0)), [X]),
    "expand": (lambda x: x.reshape((2, 1, 3)).expand((4, 2, 5, 3)), [X]),
    "pad": (lambda x: build.pad(x, (1, 0), (0, 2), (1, 0), 7.0), [X]),
    "shrink": (lambda x: build.shrink(x, (0, 1), (2, 1), (1, 2)), [X]),
    "flip": (lambda x: x.flip((1,)), [X]),
    "window": (window_of, [X]),
    "fold": (
        lambda x: Node(Op.FOLD, (x,), x.dtype, (2, 4), Windows((1,), (2,), (1,), (1,))),
        [np.stack([X, Y], -1)],
    ),
    "gather": (lambda x, index: build.gather(x, index, 0), [X, INDEX]),
    "gather_columns": (lambda x, index: build.gather(x, index, 1), [X, INDEX]),
    "update": (lambda x, y: build.update(x, build.shrink(y, (0, 1), (2, 2)), (0, 0)), [X, Y]),
    "stop": (lambda x: x.stop(), [X]),
    "copy": (lambda x: Node(Op.COPY, (x,), x.dtype, x.shape, None, "cpu"), [X]),
    "host": (
        lambda x: host_call("cholesky", [x], caller="")[0],
        [np.array([[2.0, 0.5], [0.5, 1.0]])],
    ),
    "constants": (lambda x: x * 2.0 + iota(3).reshape((1, 3)).expand((2, 3)).cast(float64), [X]),
    "body": (lambda x, y: call("abs", [x * y]), [X, Y]),
    "trigamma": (lambda x: unary(Op.LGAMMA, unary(Op.DIGAMMA, x + 3.0)), [INSIDE]),
    "unmoved": (lambda x, y: call("clamp_tensor", [x, y, y + 1.0]), [X, Y]),
}
STILL = {"host", "sort", "stop", "bitcast"}
"""What does not move, whatever the values."""


def test_every_operation_has_both_rules_and_a_case() -> None:
    batched = {op for op in GRAPH_GRAMMAR if op not in LEAVES | EXPANDED}
    assert batched <= set(BATCHING.rules)
    of_floats = {
        op for op in batched if op in FORWARD.rules or op in REVERSE.rules or op is Op.STOP
    }
    # the others give no floats
    assert batched - of_floats == {
        Op.NOT, Op.IDIV, Op.MOD, Op.GCD, Op.LT, Op.LE, Op.EQ, Op.NE, Op.AND, Op.OR, Op.XOR, Op.SHL, Op.SHR, Op.SORT,
    }  # fmt: skip
    met = {
        node.op
        for function, arrays in CASES.values()
        for node in postorder([function(*[leaf(i, a) for i, a in enumerate(arrays)])])
    }
    assert batched <= met


def test_every_gradient_of_a_composite_is_kept_by_batches() -> None:
    """The body of a composite may have another gradient than its rule: one with a reverse rule needs a batching rule."""
    assert set(COMPOSITE_REVERSE.rules) <= set(COMPOSITE_BATCHING.rules)


@pytest.mark.parametrize("name", CASES)
def test_tangents_are_differences(name: str) -> None:
    function, arrays = CASES[name]
    floats = [index for index, array in enumerate(arrays) if array.dtype.kind == "f"]
    leaves = [leaf(index, array) for index, array in enumerate(arrays)]
    root = function(*leaves)
    if root.dtype is not float64:
        assert push_forward([root], {leaves[i]: leaves[i] for i in floats}) == [None]
        return
    directions = [np.cos(3 * arrays[i] + i) for i in floats]
    tangents = {
        leaves[i]: leaf(len(arrays) + number, directions[number]) for number, i in enumerate(floats)
    }
    (tangent,) = push_forward([root], tangents)
    if tangent is None:
        assert name in STILL | {"sign", "floor", "ceil", "trunc", "round"}
        return
    verify_graph([tangent])
    (found,) = evaluate([tangent], [*arrays, *directions])
    step = 1e-6
    sides = []
    for sign in (step, -step):
        moved = list(arrays)
        for number, index in enumerate(floats):
            moved[index] = arrays[index] + sign * directions[number]
        sides.append(evaluate([root], moved)[0])
    tolerance = 1e-1 if name == "cast" else 1e-6
    np.testing.assert_allclose(found, (sides[0] - sides[1]) / (2 * step), tolerance, tolerance)


@pytest.mark.parametrize("name", CASES)
def test_batches_are_loops(name: str) -> None:
    """With every choice of the sources that have a batch."""
    function, arrays = CASES[name]
    size = 3
    leaves = [leaf(index, array) for index, array in enumerate(arrays)]
    root = function(*leaves)
    for flags in itertools.product((True, False), repeat=len(arrays)):
        if not any(flags):
            continue
        given = [
            np.stack([_another(array, number) for number in range(size)]) if flag else array
            for flag, array in zip(flags, arrays, strict=True)
        ]
        batches = {
            node: leaf(index, given[index])
            for index, (node, flag) in enumerate(zip(leaves, flags, strict=True))
            if flag
        }
        (made,) = batch([root], batches, size)
        assert made is not None
        assert made.shape == (size, *root.shape)
        verify_graph([made])
        (found,) = evaluate([made], given)
        for number in range(size):
            one = [a[number] if flag else a for a, flag in zip(given, flags, strict=True)]
            np.testing.assert_array_equal(found[number], evaluate([root], one)[0])


def _another(array: Array, number: int) -> Array:
    """The values of another example: indices stay indices, and what is positive definite stays so."""
    if array.dtype.kind == "f":
        return array * (1 + number / 8) if array.shape != (2, 2) else array + np.eye(2) * number
    return np.roll(array, number, 1)


def test_a_batch_does_not_touch_what_is_the_same_for_all() -> None:
    x, weight = leaf(0, X), leaf(1, Y)
    shared = unary(Op.EXP, weight)
    made, same = batch([x * shared, shared], {x: leaf(0, np.stack([X, Y]))}, 2)
    assert made is not None
    assert shared in postorder([made])
    assert same is None
