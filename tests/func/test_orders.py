"""Transforms in every order of two, against torch.func: eight transforms of a dozen functions, four of them of others beside.

They run on the interpreter: what is tested is graphs, not code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config

torch = pytest.importorskip("torch")

Agree = Callable[..., None]
Transform = Callable[[Callable[[Any], Any]], Callable[[Any], Any]]
random = np.random.RandomState(0)
X, W = random.randn(3), random.randn(3, 3)
NETWORKS = {
    m: m.nn.Sequential(m.nn.Linear(3, 3), m.nn.Tanh(), m.nn.Linear(3, 3)).double()
    for m in (lg, torch)
}


@pytest.fixture(autouse=True)
def interpreted() -> Iterator[None]:
    with config.override(device="interpret"):
        yield


def network(m: Any, F: Any, x: Any) -> Any:
    values = {"0.weight": W, "0.bias": W[0], "2.weight": W.T.copy(), "2.bias": W[1]}
    state = {name: m.tensor(value) for name, value in values.items()}
    return m.func.functional_call(NETWORKS[m], state, (x,))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sin": lambda m, F, x: (x.sin() * x).exp(),
    "mean": lambda m, F, x: x.mean() * x,
    "matmul": lambda m, F, x: (x @ m.tensor(W)).tanh(),
    "index": lambda m, F, x: x[m.tensor([0, 2, 2])] * x,
    "softmax": lambda m, F, x: F.log_softmax(x @ m.tensor(W), -1) * x,
    "norm": lambda m, F, x: x / x.norm(),
    "conv": lambda m, F, x: F.conv1d((x * x)[None, None], m.tensor(W)[:1, None], padding=1)[0, 0],
    "cumsum": lambda m, F, x: x.cumsum(0) * x,
    "sort": lambda m, F, x: x.sort()[0] ** 3 * x,
    "where": lambda m, F, x: m.where(x > 0, x * x * x, x.exp()).flip(0),
    "in place": lambda m, F, x: x.clone().mul_(x.sin()).add_(1).sigmoid_(),
    "network": network,
}
OTHERS: dict[str, Callable[..., Any]] = {
    "relu": lambda m, F, x: F.relu(x @ m.tensor(W)) @ m.tensor(W),
    "max": lambda m, F, x: x.max(-1)[0] * x,
    "cumprod": lambda m, F, x: x.cumprod(0),
    "pad": lambda m, F, x: F.pad(x, (1, 2))[1:4].roll(1) * x,
    "gelu": lambda m, F, x: F.gelu(x),
    "std": lambda m, F, x: x.std() * x + x.logsumexp(0),
    "cross entropy": lambda m, F, x: F.cross_entropy(x[None], m.tensor([1])) * x,
    "prod": lambda m, F, x: (x.abs() + 0.1).sqrt().prod() * x.amax(),
}


def transforms(m: Any) -> dict[str, Transform]:
    """Each makes of a function of a vector another: matrices are summed over the arguments, numbers are sums of squares."""
    T = m.func
    direction = m.tensor(X * 0.3 + 1)

    def jvp(f: Any) -> Any:
        return lambda x: T.jvp(f, (x,), (direction.expand(x.shape),))[1]

    def vjp(f: Any) -> Any:
        return lambda x: T.vjp(f, x)[1](direction.expand(x.shape))[0]

    def columns(matrix: Callable[..., Any]) -> Transform:
        return lambda f: lambda x: matrix(f)(x).flatten(x.dim()).sum(-1)

    def squares(f: Any) -> Any:
        return lambda x: (f(x) ** 2).sum()

    return {
        "grad": lambda f: T.grad(squares(f)),
        "jvp": jvp,
        "vmap": T.vmap,
        "compile": lg.compile if m is lg else lambda f: f,
        "vjp": vjp,
        "jacrev": columns(T.jacrev),
        "jacfwd": columns(T.jacfwd),
        "hessian": lambda f: columns(T.hessian)(squares(f)),
    }


EVERY = ("grad", "jvp", "vmap", "compile", "vjp", "jacrev", "jacfwd", "hessian")
REFUSED = {
    ("in place", "vmap", "jvp"): "a batch of tangents is not written in place",
    **{
        ("norm", outer, "hessian"): "a saved result is written in place"
        for outer in ("grad", "vjp", "jacrev", "hessian")
    },
}
"""What PyTorch refuses to do, or fails at; the other orders say that ours are right."""


@pytest.mark.parametrize("name", [*FUNCTIONS, *OTHERS])
def test_every_order_of_two(agree: Agree, name: str) -> None:
    function = {**FUNCTIONS, **OTHERS}[name]

    def build(outer: str, inner: str) -> Callable[[Any], Any]:
        def run(m: Any) -> Any:
            known = transforms(m)
            twice = known[outer](known[inner](lambda x: function(m, m.nn.functional, x)))
            rank = (outer, inner).count("vmap")
            return twice(
                m.tensor({0: X, 1: np.stack([X, X / 2]), 2: np.stack([[X], [X / 2]])}[rank])
            )

        return run

    names = EVERY if name in FUNCTIONS else EVERY[:4]
    for outer in names:
        for inner in names:
            if outer == inner == "compile" or (name, outer, inner) in REFUSED:
                continue
            agree(build(outer, inner))


def test_three_deep(agree: Agree) -> None:
    def run(m: Any) -> Any:
        t = transforms(m)
        f = lambda x: (x.sin() * (x @ m.tensor(W))).tanh()  # noqa: E731
        return [
            t["vmap"](t["jvp"](t["grad"](f)))(m.tensor(W)),
            t["grad"](t["vmap"](t["grad"](f)))(m.tensor(W)),
            t["jvp"](t["grad"](t["vmap"](f)))(m.tensor(W)),
            t["grad"](t["jvp"](t["jvp"](f)))(m.tensor(X)),
        ]

    agree(run)


def test_the_gradients_of_one_argument_are_a_tuple_too() -> None:
    for m in (lg, torch):
        (found,) = m.func.vjp(lambda x: x * 2, m.ones(2))[1](m.ones(2))
        assert found.tolist() == [2.0, 2.0]
