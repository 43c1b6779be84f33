"""lg.realize: one plan for everything that is given, whatever it is nested in; what gradients read is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.ir import build
from lazygrad.ir.node import iota, where
from lazygrad.results import result, tensor_nodes
from lazygrad.runtime import device, realize
from lazygrad.runtime.steady import STEADY


def draw(*shape: int) -> Any:
    return lg.tensor(np.random.default_rng(len(shape)).standard_normal(shape).astype("float32"))


def done(tensor: Any) -> bool:
    return tensor.storage.node.value is not None


@pytest.fixture(autouse=True)
def nothing_pending() -> None:
    STEADY.done()


def test_nested_tensors_are_computed_in_one_plan() -> None:
    x = draw(8)
    a, b, c, d = x * 2, (x + 1).reshape(2, 4), x.exp(), x - 3
    runs = STEADY.runs
    nest: dict[str, Any] = {"b": [b, None, 1.5, "text"], "c": ({c}, c)}
    nest["itself"] = nest
    result = lg.realize(a, nest, [d[1:]])
    assert result == (a, nest, result[2])
    assert all(map(done, (a, b, c, d))) and STEADY.runs == runs + 1
    launches = device.get(a.place).launches
    np.testing.assert_array_equal(d.numpy(), x.numpy() - np.float32(3))
    assert lg.realize(a, b) == (a, b) and device.get(a.place).launches == launches


def test_one_argument_is_given_back() -> None:
    x = draw(3) + 1
    assert lg.realize(x) is x and done(x)
    state = {"weight": draw(3) * 2, "step": 4}
    assert lg.realize(state) is state and done(state["weight"])
    assert lg.realize() == ()


@pytest.mark.of_the_cpu("looks at kernels of the CPU")
def test_what_a_gradient_reads_is_kept() -> None:
    """A second forward would launch the first product again: three contractions where one is left."""
    x, w = draw(16, 32), draw(32, 8).requires_grad_()
    hidden = (x @ w).clamp(min=0)
    loss, largest = hidden.pow(2).sum(), hidden.detach().max()
    lg.realize(loss, largest)
    before = lg.lower(lambda: lg.autograd.grad(loss, w, retain_graph=True))
    assert sum("matmul" in name for name in before.kernels) == 1
    loss.backward()
    xs, ws = x.numpy(), w.detach().numpy()
    np.testing.assert_allclose(w.grad.numpy(), xs.T @ (2 * np.maximum(xs @ ws, 0)), 1e-4, 1e-5)


def test_a_view_computes_its_storage_and_pending_writes_go_along() -> None:
    x, other = draw(6).clone(), draw(4).clone()
    first = x[:2]
    x.mul_(3)
    other.add_(1)
    lg.realize(first)
    assert done(x) and done(other)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3, "argument 2 must be a Tensor or a list, tuple, dict or set of Tensors, not int"),
        (iter([1]), r"not list_iterator; unpack it, as in realize\(\*tensors\)"),
        (lg.nn.ReLU(), "not ReLU"),
    ],
)
def test_what_is_no_tensor_is_refused_before_anything_runs(value: Any, words: str) -> None:
    x = draw(2) + 1
    with pytest.raises(TypeError, match=words):
        lg.realize(x, value)
    assert not done(x)


def test_an_error_leaves_every_tensor_as_it_was() -> None:
    x = draw(3)
    fine, wrong = x + 1, x.gather(0, lg.tensor([0, 7]))
    plans = realize.PLANS.compiled
    with pytest.raises(IndexError):
        lg.realize([fine, wrong])
    assert realize.PLANS.compiled == plans + 1 and not done(fine)
    np.testing.assert_array_equal(fine.numpy(), x.numpy() + 1)


def test_a_value_that_one_gradient_reads_as_data_and_another_looks_behind() -> None:
    """where(c, x.stop(), x) in one operator: reading one gradient keeps x as data, and x is on the way of the other one."""
    weight = lg.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], requires_grad=True)
    scale = lg.tensor([[2.0], [3.0], [4.0]], requires_grad=True)
    (table,) = tensor_nodes(weight)
    found = build.gather(table, iota(6).reshape((3, 2)) % 3, 0)
    chosen = where(found.lt(3.0), found.stop(), found)
    product = result("ChosenBackward0", chosen, (weight,)) * scale
    product.tolist()
    product.sum().backward()
    assert scale.grad is not None and weight.grad is not None
    scale.grad.tolist()
    assert weight.grad.tolist() == [[0.0, 0.0], [4.0, 2.0], [3.0, 4.0]]
