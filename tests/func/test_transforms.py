"""Composites, whose gradients have to live through batches, and networks under transforms, against torch.func.

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
random = np.random.RandomState(0)
X, W = random.randn(3, 4), random.randn(4, 4)
MATRICES = random.randn(2, 3, 3) + 3 * np.eye(3)


@pytest.fixture(autouse=True)
def interpreted() -> Iterator[None]:
    with config.override(device="interpret"):
        yield


COMPOSITES: dict[str, Callable[..., Any]] = {
    "cholesky": lambda m, F, a: m.linalg.cholesky(a @ a.T + m.eye(3, dtype=m.float64)),
    "solve": lambda m, F, a: m.linalg.solve(a, a.T.exp()),
    "eigh": lambda m, F, a: m.linalg.eigh(a + a.T)[0],
    "slogdet": lambda m, F, a: m.linalg.slogdet(a)[1] * a,
    "conv of each with each": lambda m, F, a: F.conv1d(a[None, :1], a[:, None], padding=2),
    "conv": lambda m, F, a: F.conv1d(a[None, :1], m.ones(2, 1, 3, dtype=a.dtype), stride=2),
    "kernel": lambda m, F, a: F.conv1d(m.ones(1, 1, 5, dtype=a.dtype), a[:, None]),
    "max_pool": lambda m, F, a: F.max_pool1d(a[None], 2),
    "median": lambda m, F, a: a.median() * a,
    "topk": lambda m, F, a: a.topk(2, 1)[0],
    "norm": lambda m, F, a: a.norm(3, dim=0),
    "layer_norm": lambda m, F, a: F.layer_norm(a, (3,), a[0], a[1]),
    "smooth": lambda m, F, a: F.softplus(F.elu(F.silu(a))) + F.leaky_relu(a).clamp(-1, 2),
    "embedding": lambda m, F, a: F.embedding(m.tensor([0, 2, 1]), a),
    "mse": lambda m, F, a: F.mse_loss(a, a.roll(1)) * a,
    "bce": lambda m, F, a: F.binary_cross_entropy_with_logits(a, a.sigmoid().detach()),
    "weights": lambda m, F, a: F.nll_loss(
        F.log_softmax(a, 1), m.tensor([0, 2, -100]), m.tensor([1.0, 2.0, 3.0]).double()
    ),
    "sum": lambda m, F, a: F.cross_entropy(a, m.tensor([0, -100, 1]), reduction="sum"),
    "attention": lambda m, F, a: F.scaled_dot_product_attention(a[None], a[None] * 2, a[None]),
}


@pytest.mark.parametrize("name", COMPOSITES)
def test_composites(agree: Agree, name: str) -> None:
    """Values and gradients of batches, and tangents."""

    def run(m: Any) -> Any:
        T = m.func
        f = lambda a: COMPOSITES[name](m, m.nn.functional, a)  # noqa: E731
        batch, one = m.tensor(MATRICES), m.tensor(MATRICES[0])
        return [
            T.grad_and_value(lambda a: (T.vmap(f)(a) ** 2).sum())(batch),
            T.jvp(f, (one,), (one.cos(),)),
        ]

    agree(run, 1e-7)


def test_a_tie_has_the_same_gradient_in_a_batch() -> None:
    x = lg.tensor([[0.0, 1.0], [0.0, -1.0]])
    whole = lg.func.grad(lambda x: lg.vmap(lambda a: a.relu() + a.clamp(min=0))(x).sum())(x)
    assert whole.tolist() == [[1.0, 2.0], [1.0, 0.0]]


def test_per_example_gradients_of_a_network(agree: Agree) -> None:
    def run(m: Any) -> Any:
        state = {"0.weight": W, "0.bias": W[0], "2.weight": W[:2], "2.bias": W[1, :2]}
        net = m.nn.Sequential(m.nn.Linear(4, 4), m.nn.Tanh(), m.nn.Linear(4, 2)).double()
        state = {name: m.tensor(value) for name, value in state.items()}

        def loss(state: Any, x: Any, y: Any) -> Any:
            scores = m.func.functional_call(net, state, (x[None],))
            return m.nn.functional.cross_entropy(scores, y[None])

        each = m.func.vmap(m.func.grad(loss), in_dims=(None, 0, 0))
        return each(state, m.tensor(X), m.tensor([0, 1, 1]))

    agree(run)


def test_hessian_of_a_network(agree: Agree) -> None:
    def run(m: Any) -> Any:
        def loss(weight: Any, bias: Any) -> Any:
            return ((m.tensor(X) @ weight).tanh() @ bias).square().mean()

        return m.func.hessian(loss, argnums=(0, 1))(m.tensor(W), m.tensor(W[0]))

    agree(run)


def test_an_ensemble(agree: Agree) -> None:
    def run(m: Any) -> Any:
        nets = [m.nn.Linear(4, 2).double() for _ in range(3)]
        for index, net in enumerate(nets):
            net.weight.data.copy_(m.tensor(W[:2] * index))
            net.bias.data.fill_(index)
        parameters, buffers = m.func.stack_module_state(nets)
        call = lambda p, b, x: m.func.functional_call(nets[0], (p, b), (x,))  # noqa: E731
        out = m.vmap(call, in_dims=(0, 0, None))(parameters, buffers, m.tensor(X))
        out.square().sum().backward()
        return out, parameters["weight"].grad

    agree(run)


def test_tangents_have_the_dtypes_of_their_values() -> None:
    found, expected = (
        m.func.jvp(lambda x: x.float().sin().double() * x, (m.tensor(X),), (m.tensor(X * 2),))[1]
        for m in (lg, torch)
    )
    assert str(found.dtype) == str(expected.dtype)
    np.testing.assert_allclose(found.tolist(), expected.tolist(), 1e-6)
