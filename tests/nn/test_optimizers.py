"""Optimizers follow torch.optim's curves, keep state as it does, and a step computes nothing by itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import nn, optim
from lazygrad.recipes import forget
from lazygrad.runtime import device
from lazygrad.runtime.realize import PLANS

OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.001, "maximize": True}),
    ("Adam", {"lr": 0.02}),
    ("Adam", {"lr": 0.02, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.02, "amsgrad": True}),
    ("Adam", {"lr": 0.002, "maximize": True}),
    ("AdamW", {"lr": 0.02, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.02, "amsgrad": True}),
]
STEPS = 50
draws = np.random.default_rng(4)
INPUT = draws.normal(size=(16, 4)).astype("float32")
TARGET = draws.normal(size=(16, 2)).astype("float32")


def weights(hidden: int) -> list[np.ndarray]:
    """The first values of a network with so many hidden units."""
    start = np.random.default_rng(4)
    shapes = ((4, hidden), (hidden,), (hidden, 2))
    return [start.normal(size=shape).astype("float32") for shape in shapes]


class Problem:
    """A small network under either framework; one learning rate schedule, one optimizer."""

    def __init__(self, framework: Any, name: str, options: dict[str, Any], hidden: int = 8) -> None:
        self.parameters = [framework.tensor(w, requires_grad=True) for w in weights(hidden)]
        self.input, self.target = framework.tensor(INPUT), framework.tensor(TARGET)
        self.optimizer = getattr(framework.optim, name)(self.parameters, **options)
        self.rate = options["lr"]

    def loss(self) -> Any:
        first, bias, second = self.parameters
        hidden = (self.input @ first + bias).tanh()
        return ((hidden @ second - self.target) ** 2).mean()

    def step(self, number: int) -> float:
        """One step at a rate of its own; the loss before it."""
        self.optimizer.param_groups[0]["lr"] = self.rate * (1 + 0.5 * math.cos(number))
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        self.optimizer.step()
        return float(loss.item())


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=str)
def test_curve_is_pytorchs(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = Problem(lg, name, options), Problem(torch, name, options)
    assert repr(ours.optimizer) == repr(theirs.optimizer)
    mine = [ours.step(number) for number in range(STEPS)]
    expected = [theirs.step(number) for number in range(STEPS)]
    np.testing.assert_allclose(mine, expected, rtol=1e-4)
    for left, right in zip(ours.parameters, theirs.parameters):
        np.testing.assert_allclose(left.detach().numpy(), right.detach().numpy(), 1e-4, 1e-5)
    assert expected[-1] != pytest.approx(expected[0], rel=0.01), "the problem does not move"


@pytest.mark.parametrize("number", range(len(OPTIMIZERS)), ids=lambda n: str(OPTIMIZERS[n]))
def test_all_steps_share_a_plan(number: int) -> None:
    """The first one included, unless momentum begins undamped; also where the corrections have become 1."""
    name, options = OPTIMIZERS[number]
    problem = Problem(
        lg, name, options, hidden=20 + number
    )  # sizes that no other test has compiled
    forget()
    before = PLANS.compiled
    problem.step(0)
    first = PLANS.compiled - before
    assert first >= 1
    for step in range(1, 4):
        problem.step(step)
    for state in problem.optimizer.state.values():
        if "step" in state:
            state["step"] = 100_000
    problem.step(4)
    assert PLANS.compiled - before - first == ("dampening" in options)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_rates_that_are_tensors(name: str) -> None:
    torch = pytest.importorskip("torch")
    curves = []
    for framework in (lg, torch):
        options: dict[str, Any] = {"lr": framework.tensor(0.02), "weight_decay": 0.1}
        if name != "SGD":
            options["betas"] = (framework.tensor(0.8), framework.tensor(0.9))
            options |= {"capturable": False, "foreach": False}
        problem = Problem(framework, name, {**options, "lr": 0.02})
        problem.optimizer = getattr(framework.optim, name)(problem.parameters, **options)
        losses = []
        for number in range(10):
            problem.optimizer.zero_grad()
            loss = problem.loss()
            loss.backward()
            problem.optimizer.step()
            losses.append(float(loss.item()))
            options["lr"].fill_(0.02 + 0.001 * number)
        curves.append((repr(problem.optimizer), losses))
    assert curves[0][0] == curves[1][0]
    np.testing.assert_allclose(curves[0][1], curves[1][1], rtol=1e-4)


def test_half_precision_rounds_once_a_step() -> None:
    """Parameters of bfloat16 follow the formula in float32, rounded at each step; their state has their dtype."""
    parameter = lg.tensor([1.0, -2.0, 3.0], dtype=lg.bfloat16, requires_grad=True)
    optimizer = optim.AdamW([parameter], lr=0.1, weight_decay=0.0)
    value, mean, square = np.array([1.0, -2.0, 3.0], "float32"), np.zeros(3), np.zeros(3)

    def rounded(array: Any) -> np.ndarray:
        stored: np.ndarray = lg.tensor(np.asarray(array, "float32")).bfloat16().float().numpy()
        return stored

    for step in range(1, 6):
        parameter.grad = lg.tensor([0.5, 0.25, -1.0], dtype=lg.bfloat16)
        optimizer.step()
        gradient = np.array([0.5, 0.25, -1.0])
        mean = rounded(mean + (gradient - mean) * 0.1)
        square = rounded(square * 0.999 + gradient**2 * 0.001)
        root = np.sqrt(square / (1 - 0.999**step)) + 1e-8
        value = rounded(value - 0.1 / (1 - 0.9**step) * mean / root)
    assert optimizer.state[parameter]["exp_avg"].dtype is lg.bfloat16
    np.testing.assert_allclose(parameter.detach().float().numpy(), value, rtol=1e-2)


def test_a_recorded_step_has_gradients() -> None:
    """differentiable=True: the loss after a step, differentiated by the parameters before it and by the learning rate."""
    torch = pytest.importorskip("torch")
    found = []
    for framework in (lg, torch):
        start = framework.tensor([1.0, -2.0, 0.5], requires_grad=True)
        rate = framework.tensor(0.1, requires_grad=True)
        weight = start.clone()
        optimizer = framework.optim.SGD([weight], lr=rate, differentiable=True)
        weight.grad = framework.autograd.grad(
            (weight.clone() ** 3).sum(), weight, create_graph=True
        )[0]
        optimizer.step()
        (weight**2).sum().backward()
        found.append([start.grad.numpy(), rate.grad.numpy()])
    for mine, expected in zip(*found):
        np.testing.assert_allclose(mine, expected, rtol=1e-5)


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=str)
def test_state_round_trip(name: str, options: dict[str, Any]) -> None:
    """A run that stops, saves, and goes on in a new optimizer is the run that never stopped."""
    whole = Problem(lg, name, options)
    for number in range(4):
        whole.step(number)
    resumed = Problem(lg, name, options)
    resumed.parameters = [p.detach().clone().requires_grad_() for p in whole.parameters]
    resumed.optimizer = getattr(optim, name)(resumed.parameters, lr=123.0)
    state = whole.optimizer.state_dict()
    assert [group["params"] for group in state["param_groups"]] == [[0, 1, 2]]
    resumed.optimizer.load_state_dict(state)
    assert [whole.step(n) for n in range(4, 8)] == [resumed.step(n) for n in range(4, 8)]


def test_state_made_by_pytorch_loads() -> None:
    torch = pytest.importorskip("torch")
    theirs = Problem(torch, "Adam", {"lr": 0.02})
    for number in range(3):
        theirs.step(number)
    ours = Problem(lg, "Adam", {"lr": 0.02})
    ours.parameters = [lg.tensor(p.detach().numpy(), requires_grad=True) for p in theirs.parameters]
    ours.optimizer = optim.Adam(ours.parameters)
    saved = theirs.optimizer.state_dict()
    state = {
        number: {key: lg.tensor(value.numpy()) for key, value in entry.items()}
        for number, entry in saved["state"].items()
    }
    ours.optimizer.load_state_dict({"state": state, "param_groups": saved["param_groups"]})
    assert ours.optimizer.state[ours.parameters[0]]["step"] == 3
    np.testing.assert_allclose(
        [ours.step(n) for n in range(3, 8)], [theirs.step(n) for n in range(3, 8)], rtol=1e-4
    )


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_a_step_computes_nothing(name: str) -> None:
    problem = Problem(lg, name, {"lr": 0.1})
    problem.step(0)
    counter = device.default()
    before = counter.launches
    problem.optimizer.zero_grad()
    problem.loss().backward()
    problem.optimizer.step()
    assert counter.launches == before
    problem.parameters[0].detach().numpy()
    assert counter.launches > before


def test_groups_closures_and_zero_grad() -> None:
    slow, fast = nn.Parameter(lg.ones(2)), nn.Parameter(lg.ones(2))
    optimizer = optim.SGD([{"params": [slow], "lr": 0.5}], lr=0.1)
    optimizer.add_param_group({"params": fast})
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.1]

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (slow * 2 + fast * 3).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 10.0
    assert slow.tolist() == [0.0, 0.0] and fast.tolist() == pytest.approx([0.7, 0.7])
    optimizer.zero_grad(set_to_none=False)
    assert slow.grad is not None and slow.grad.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert slow.grad is None
    optimizer.step()
    assert fast.tolist() == pytest.approx([0.7, 0.7])
    assert fast.requires_grad and fast.is_leaf


def test_errors_are_pytorchs() -> None:
    weight = nn.Parameter(lg.ones(2))
    with pytest.raises(ValueError, match="empty parameter list"):
        optim.SGD([])
    with pytest.raises(TypeError, match="iterable of Tensors or dicts"):
        optim.Adam(weight)
    with pytest.raises(TypeError, match="can only optimize Tensors, but one of the params is int"):
        optim.SGD([3])
    with pytest.raises(ValueError, match="non-leaf"):
        optim.SGD([weight * 2])
    with pytest.raises(ValueError, match="Invalid learning rate: -1"):
        optim.Adam([weight], lr=-1)
    with pytest.raises(ValueError, match="Invalid beta parameter at index 1"):
        optim.Adam([weight], betas=(0.9, 1.0))
    with pytest.raises(ValueError, match="Tensor lr must be 1-element"):
        optim.AdamW([weight], lr=lg.ones(2))
    with pytest.raises(ValueError, match="both floats or both Tensors"):
        optim.Adam([weight], betas=(lg.tensor(0.9), 0.999))
    with pytest.raises(RuntimeError, match="`fused` and `foreach` cannot be `True` together"):
        optim.AdamW([weight], fused=True, foreach=True)
    with pytest.raises(ValueError, match="Nesterov momentum requires"):
        optim.SGD([weight], nesterov=True)
    with pytest.raises(ValueError, match="more than one parameter group"):
        optim.SGD([{"params": [weight]}, {"params": [weight]}])
    with pytest.raises(ValueError, match="different number of parameter groups"):
        optim.SGD([weight]).load_state_dict({"state": {}, "param_groups": []})
