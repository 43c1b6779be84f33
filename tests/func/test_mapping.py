"""vmap: arguments, results, randomness, writes, and what it refuses; the other functions of func beside their composition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.func import grad, jvp, linearize, vjp, vmap

Agree = Callable[..., None]


def test_arguments_and_results(agree: Agree) -> None:
    def run(m: Any) -> Any:
        T = m.func
        x, y = m.arange(6.0).reshape(2, 3), m.arange(3.0)
        nested = {"a": m.arange(6.0).reshape(3, 2), "b": (y,)}
        return [
            T.vmap(lambda a: a.sum(), in_dims=-1)(x),
            T.vmap(lambda a, b: (a + b, {"p": [a * 2, None]}), (0, None), (1, {"p": [-1, None]}))(
                x, y
            ),
            T.vmap(lambda d: d["a"] @ d["b"][0], in_dims=({"a": 1, "b": (None,)},))(nested),
            T.vmap(lambda a, scale=1: a * scale, chunk_size=2)(m.arange(5.0), scale=3),
            T.vmap(lambda a: m.zeros(2) + 1)(x),
            T.vmap(T.vmap(lambda a: a * a, in_dims=0, out_dims=0), in_dims=1)(x),
            T.jacrev(lambda a, b: (a * b, (a.sum(),)), argnums=1, chunk_size=2)(y, y),
            T.jacfwd(lambda a, b: (a * b, {"q": a.sum()}), argnums=(1,))(y, y),
            T.grad(lambda a, b: ((a * b["k"]).sum(), {"aux": a}), argnums=(0, 1), has_aux=True)(
                y, {"k": y + 1}
            ),
            T.vjp(lambda a: (a * 2, [a.sum()]), y)[1]((y, [m.tensor(1.0)])),
            T.jvp(lambda a, b: (a @ b, 3 * a), (y, y), (y, y + 1)),
        ]

    agree(run, 1e-6)


def test_writes_are_values(agree: Agree) -> None:
    """In-place operations on what is made inside, through views too, and on an example itself, which is seen outside."""

    def inside(a: Any) -> Any:
        a = a.clone()
        a[1:] = a[1:] * 2 + a[:-1]
        a[0] = 5
        a.view(3).mul_(2)
        return a

    def run(m: Any) -> Any:
        x = m.arange(6.0).reshape(2, 3)
        changed = x.clone()
        total = m.vmap(lambda a: a.add_(1).sum())(changed)
        columns = x.clone()
        m.vmap(lambda a: a.mul_(2), in_dims=1, chunk_size=2)(columns)
        counter = m.zeros(3)
        m.vmap(lambda a: (counter.add_(1), a)[1])(x)
        return m.vmap(inside)(x), m.func.vmap(m.func.grad(lambda a: inside(a).sum()))(x), total, changed, columns, counter  # fmt: skip

    agree(run)
    fresh = vmap(lambda a: lg.zeros(3).add_(a).mul_(2))(lg.ones(2, 3))  # PyTorch refuses this
    assert fresh.tolist() == [[2.0] * 3] * 2


def test_an_example_cannot_be_written_to_the_outside() -> None:
    outside = lg.ones(3)
    outside[0] = 7
    with pytest.raises(RuntimeError, match="inplace arithmetic"):
        vmap(outside.add_)(lg.ones(2, 3))
    assert outside.tolist() == [7.0, 1.0, 1.0]
    with pytest.raises(RuntimeError, match=r"calling \.item\(\) on a Tensor"):
        vmap(lambda a: (outside.add_(a), a.item()))(lg.ones(2, 3)[:, 0])
    assert outside.tolist() == [7.0, 1.0, 1.0]


def test_memory_that_the_outside_sees() -> None:
    data = np.ones((2, 3), np.float32)
    shared = lg.from_numpy(data)
    doubled = vmap(lambda a: a * shared[0] * 2)(shared)
    data[:] = 9
    assert doubled.tolist() == [[2.0] * 3] * 2


@pytest.mark.parametrize("randomness", ["same", "different"])
def test_random_numbers(randomness: str) -> None:
    draw = vmap(lambda a: a * 0 + lg.rand(4), randomness=randomness)
    rows = draw(lg.zeros(3)).tolist()
    assert (rows[0] == rows[1] == rows[2]) == (randomness == "same")
    assert len({number for row in rows for number in row}) == (4 if randomness == "same" else 12)
    orders = vmap(lambda a: lg.randperm(20) + a.long() * 0, randomness=randomness)(
        lg.zeros(3)
    ).tolist()
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert (orders[0] == orders[1]) == (randomness == "same")
    nested = vmap(vmap(lambda a: a + lg.rand(()), randomness="different"), randomness=randomness)
    table = nested(lg.zeros(2, 3)).tolist()
    assert (table[0] == table[1]) == (randomness == "same")
    assert len(set(table[0])) == 3
    with pytest.raises(RuntimeError, match="randomness error mode"):
        vmap(lambda a: a + lg.rand(3))(lg.zeros(3))


def test_dropout_of_each_example_and_the_numbers_after_it() -> None:
    lg.manual_seed(1)
    dropped = vmap(lg.nn.functional.dropout, randomness="different")(lg.ones(4, 64))
    assert len({tuple(row) for row in dropped.tolist()}) == 4
    after = lg.rand(2).tolist()
    lg.manual_seed(1)
    lg.rand(4 * 64)
    assert lg.rand(2).tolist() == after


ERRORS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda m: m.vmap(lambda a: a.item())(m.ones(3)), r"calling \.item\(\) on a Tensor"),
    (lambda m: m.vmap(lambda a: a if a > 0 else -a)(m.ones(3)), "data-dependent control flow"),
    (lambda m: m.vmap(lambda a: a.nonzero())(m.ones(2, 3)), "vmap: "),
    (lambda m: m.vmap(lambda a: 3)(m.ones(3)), "must only return Tensors, got type"),
    (lambda m: m.vmap(lambda a: a, in_dims=2)(m.ones(3)), "Got in_dim=2 for some input"),
    (lambda m: m.vmap(lambda a: a, in_dims=None)(m.ones(3)), "expected `in_dims` to be int or"),
    (lambda m: m.vmap(lambda a: a, in_dims=(None,))(m.ones(3)), "Expected at least one Tensor"),
    (lambda m: m.vmap(lambda a: a, in_dims=(0, 0))(m.ones(3)), "in_dims is not compatible"),
    (lambda m: m.vmap(lambda a, b: a)(m.ones(3), m.ones(2)), "same size in the mapped dimension"),
    (lambda m: m.vmap(lambda a: a, out_dims=3)(m.ones(3)), "Dimension out of range"),
    (lambda m: m.vmap(lambda a: (a, a), out_dims=(0, 0, 0))(m.ones(3)), "out_dims is not compat"),
    (lambda m: m.vmap(lambda: 1)(), "got no inputs"),
    (lambda m: m.vmap(lambda a: a)(1), "We cannot vmap over non-Tensor arguments"),
    (lambda m: m.vmap(lambda a: a, randomness="x"), "Only allowed values for randomness"),
    (lambda m: m.vmap(lambda a: a, chunk_size=0)(m.ones(3)), "chunk_size should be None or"),
    (lambda m: m.func.grad(lambda a: a)(m.ones(3)), "Expected f.* to return a scalar Tensor"),
    (lambda m: m.func.grad(lambda a: 3)(m.ones(3)), "to return a Tensor, got <class 'int'>"),
    (lambda m: m.func.grad(lambda a: a.sum(), argnums=2)(m.ones(3)), "Got argnum=2, but only 1"),
    (lambda m: m.func.grad(lambda a: a.sum())(m.tensor(3)), "only Tensors of floating point"),
    (lambda m: m.func.jvp(lambda a: a, m.ones(3), m.ones(3)), "Expected primals to be a tuple"),
    (lambda m: m.func.jvp(lambda a: a, (m.ones(3),), (m.ones(2),)), "different size than that"),
    (lambda m: m.func.jvp(lambda a: 3, (m.ones(3),), (m.ones(3),)), "to return only tensors"),
    (lambda m: m.func.vjp(lambda a: a, m.ones(3))[1](m.ones(2)), "Mismatch in shape"),
    (lambda m: m.func.vjp(lambda a: (a, a), m.ones(3))[1](m.ones(3)), "pytree structure"),
    (
        lambda m: m.func.functional_call(m.nn.Linear(1, 1), {"a.b": m.ones(1)}, m.ones(1)),
        "Linear has no attribute `a`",
    ),
    (
        lambda m: m.func.functional_call(m.nn.Linear(1, 1), {"x": 1}, m.ones(1), strict=True),
        "Unexpected key",
    ),
]


@pytest.mark.parametrize("case", range(len(ERRORS)))
def test_errors(same_error: Callable[..., None], case: int) -> None:
    same_error(*ERRORS[case])


def test_history_outside_of_a_transform() -> None:
    """Gradients reach what a transformed function was given and what it captured, unless nothing is recorded outside."""
    weight, x = lg.tensor([2.0, 3.0], requires_grad=True), lg.tensor([5.0, 7.0], requires_grad=True)
    vmap(lambda a: a * a * weight)(x[None]).sum().backward()
    jvp(lambda a: a * a * weight, (x,), (weight,))[1].sum().backward()
    grad(lambda a: (a * a * weight).sum())(x).sum().backward()
    vjp(lambda a: a * a * weight, x)[1](weight)[0].sum().backward()
    assert weight.grad is not None
    assert x.grad is not None
    # (x^2) + (4 x w) + (2 x) + (4 x w), and their counterparts
    assert weight.grad.tolist() == [25 + 40 + 10 + 40, 49 + 84 + 14 + 84]
    assert x.grad.tolist() == [20 + 8 + 4 + 8, 42 + 18 + 6 + 18]
    with lg.no_grad():
        assert not grad(lambda a: (a * weight).sum())(x).requires_grad
        assert grad(lambda a: (a * a).sum())(x).tolist() == [10.0, 14.0]
    assert not grad(lambda a: (a * a).sum())(lg.ones(2)).requires_grad


def test_values_may_be_read_inside_of_derivatives() -> None:
    """Control flow by values, as in PyTorch; tangents still go on through what was computed for it."""

    def steps(x: lg.Tensor) -> lg.Tensor:
        while float(x.sum()) < 10:
            x = x * 2
        return x

    value, tangent = jvp(steps, (lg.tensor([1.0, 2.0]),), (lg.ones(2),))
    assert value.tolist() == [4.0, 8.0]
    assert tangent.tolist() == [4.0, 4.0]
    assert grad(lambda x: steps(x).sum())(lg.tensor([1.0, 2.0])).tolist() == [4.0, 4.0]


def test_linearize() -> None:
    """The function runs once, whatever the number of tangents."""
    runs = []

    def function(a: lg.Tensor, b: lg.Tensor) -> dict[str, lg.Tensor]:
        runs.append(1)
        return {"product": a * b, "still": lg.ones(2)}

    x, y = lg.tensor([1.0, 2.0]), lg.tensor([3.0, 4.0])
    value, push = linearize(function, x, y)
    assert value["product"].tolist() == [3.0, 8.0]
    for tangent in (x, y):
        moved = push(tangent, lg.zeros(2))
        assert moved["product"].tolist() == (tangent * y).tolist()
        assert moved["still"].tolist() == [0.0, 0.0]
    assert len(runs) == 1
    with pytest.raises(RuntimeError, match="structure of the primals"):
        push(x)


def test_a_custom_function_needs_its_gradient_inside() -> None:
    class Double(lg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: lg.Tensor) -> lg.Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, gradient: lg.Tensor) -> lg.Tensor:
            return gradient * 5

    x = lg.ones(2, 3)
    assert vmap(grad(lambda a: Double.apply(a).sum()))(x).tolist() == [[5.0] * 3] * 2
    with pytest.raises(RuntimeError, match="does not have vmap support"):
        grad(lambda a: vmap(Double.apply)(a).sum())(x)
    with pytest.raises(RuntimeError, match="forward AD with DoubleBackward"):
        jvp(Double.apply, (x,), (x,))


def test_long_functions_and_loops_in_a_map() -> None:
    """More operations than a chain may have before it is computed; many writes in place."""

    def long(a: lg.Tensor) -> lg.Tensor:
        b: lg.Tensor = lg.zeros(2)
        for _ in range(700):
            a = a * 1.001 + 0.001
        for _ in range(20):
            b.add_(a)
        return b

    with config.override(device="interpret"):
        whole = vmap(long)(lg.ones(3, 2)).numpy()
        pieces = vmap(long, chunk_size=1)(lg.ones(3, 2)).numpy()
    np.testing.assert_allclose(whole, pieces)
    assert whole[0, 0] > 20
