"""Optimizers follow torch.optim's curves, keep state as it does, and a step computes nothing by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import nn, optim
from lazygrad.optim.optimizer import required
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
    (
        "Adagrad",
        {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.1},
    ),
    ("Adadelta", {"lr": 0.7, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "maximize": True}),
    ("Adamax", {"lr": 0.02, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    (
        "NAdam",
        {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True, "momentum_decay": 0.1},
    ),
    ("NAdam", {"lr": 0.02, "weight_decay": 0.1}),
    (
        "RAdam",
        {"lr": 0.02, "weight_decay": 0.1, "betas": (0.9, 0.99), "decoupled_weight_decay": True},
    ),
    ("ASGD", {"lr": 0.05, "t0": 10.0, "lambd": 0.1, "weight_decay": 0.1}),
    ("Rprop", {"lr": 0.02, "etas": (0.4, 1.1), "step_sizes": (1e-3, 0.1)}),
    ("Adafactor", {"lr": 0.01, "weight_decay": 0.1}),
    (
        "Adafactor",
        {"lr": 0.02, "eps": (1e-4, 1e-2), "d": 1.5, "beta2_decay": -0.5, "maximize": True},
    ),
    ("Muon", {"lr": 0.02, "ns_steps": 3}),
    ("Muon", {"lr": 0.02, "nesterov": False, "ns_steps": 2, "adjust_lr_fn": "match_rms_adamw"}),
]
PHASES = {"RAdam": 1}
"""How often an optimizer begins another kind of step on its way: when the variance is known."""
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
        updated = [p for p in self.parameters if name != "Muon" or p.ndim == 2]
        self.optimizer = getattr(framework.optim, name)(updated, **options)
        self.rate = options["lr"]

    def loss(self) -> Any:
        first, bias, second = self.parameters
        hidden = (self.input @ first + bias).tanh()
        return ((hidden @ second - self.target) ** 2).mean()

    def step(self, number: int) -> float:
        """One step at a rate of its own; the loss before it."""
        self.optimizer.param_groups[0]["lr"] = self.rate * (1 + 0.5 * math.cos(number))
        for parameter in self.parameters:
            parameter.grad = None
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
    # Muon makes its directions in bfloat16, where a sum in another order may round to a neighbour, 0.4 % away
    relative, absolute = (1e-3, 1e-3) if name == "Muon" else (1e-4, 1e-5)
    np.testing.assert_allclose(mine, expected, rtol=relative)
    for left, right in zip(ours.parameters, theirs.parameters):
        np.testing.assert_allclose(
            left.detach().numpy(), right.detach().numpy(), relative, absolute
        )
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
    expected = PHASES.get(name, 0) + ("dampening" in options)
    assert PLANS.compiled - before - first == expected


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
    updated = [p for p in resumed.parameters if name != "Muon" or p.ndim == 2]
    resumed.optimizer = getattr(optim, name)(updated, lr=123.0)
    state = whole.optimizer.state_dict()
    assert [group["params"] for group in state["param_groups"]] == [list(range(len(updated)))]
    resumed.optimizer.load_state_dict(state)
    # what is saved is data: copies that a step would still have to make are part of its kernels, which may then sum in another order
    lg.realize(resumed.parameters, resumed.optimizer.state_dict()["state"])
    losses, again = [[run.step(n) for n in range(4, 8)] for run in (whole, resumed)]
    assert again == losses


def plain(entry: Any) -> Any:
    """A state without either framework's tensors."""
    if isinstance(entry, dict):
        return {key: plain(value) for key, value in entry.items()}
    if isinstance(entry, list):
        return [plain(value) for value in entry]
    return entry.detach().numpy().copy() if hasattr(entry, "detach") else entry


def moved(framework: Any, entry: Any) -> Any:
    """The state with a framework's tensors."""
    if isinstance(entry, dict):
        return {key: moved(framework, value) for key, value in entry.items()}
    if isinstance(entry, list):
        return [moved(framework, value) for value in entry]
    return framework.tensor(entry) if isinstance(entry, np.ndarray) else entry


@pytest.mark.parametrize("name", sorted({name for name, _ in OPTIMIZERS} - {"Muon"}))
def test_state_goes_to_pytorch_and_back(name: str) -> None:
    """Four steps there, four here, four there: as twelve there. The layouts are equal."""
    torch = pytest.importorskip("torch")
    options = dict(next(options for other, options in OPTIMIZERS if other == name))
    whole, problem = Problem(torch, name, options), Problem(torch, name, options)
    expected = [whole.step(number) for number in range(12)]
    losses = [problem.step(number) for number in range(4)]
    for framework, numbers in ((lg, range(4, 8)), (torch, range(8, 12))):
        values, saved = plain(problem.parameters), problem.optimizer.state_dict()
        before = plain(saved)
        problem = Problem(framework, name, options)
        problem.parameters = [framework.tensor(each, requires_grad=True) for each in values]
        problem.optimizer = getattr(framework.optim, name)(problem.parameters, lr=123.0)
        problem.optimizer.load_state_dict(moved(framework, before))
        assert str(before) == str(plain(problem.optimizer.state_dict()))
        losses += [problem.step(number) for number in numbers]
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.1, "max_iter": 8},
        {"line_search_fn": "strong_wolfe"},
        {"line_search_fn": "strong_wolfe", "history_size": 3, "max_iter": 5},
    ],
    ids=str,
)
def test_lbfgs_goes_pytorchs_way(options: dict[str, Any]) -> None:
    """Every evaluation of Rosenbrock's function is at the same place, also after the state has been to PyTorch and back."""
    torch = pytest.importorskip("torch")
    places: list[list[Any]] = [[], []]
    for found, frameworks in zip(places, ((lg, torch, lg), (torch, torch, torch))):
        value: Any = [-1.2, 1.0, 0.5, 2.0]
        state: Any = None
        for framework in frameworks:
            x = framework.tensor(value, dtype=framework.float64, requires_grad=True)
            optimizer = framework.optim.LBFGS([x], **options)
            if state is not None:
                optimizer.load_state_dict(moved(framework, state))

            def closure(x: Any = x, optimizer: Any = optimizer, found: Any = found) -> Any:
                found.append(x.detach().tolist())
                optimizer.zero_grad()
                wall = (
                    100 * (x[1:] - x[:-1] ** 2) ** 2 if "line_search_fn" in options else x[1:] ** 4
                )
                loss = (wall + (1 - x[:-1]) ** 2).sum()
                loss.backward()
                return loss

            for _ in range(2):
                optimizer.step(closure)
            value, state = x.detach().tolist(), plain(optimizer.state_dict())
    assert len(places[0]) == len(places[1]) > 15
    np.testing.assert_allclose(places[0], places[1], rtol=1e-6)


def test_hooks_run_in_pytorchs_order() -> None:
    torch = pytest.importorskip("torch")
    seen: list[list[str]] = []
    for framework in (lg, torch):
        calls: list[str] = []
        module = import_module(f"{framework.__name__}.optim.optimizer")
        weight = framework.nn.Parameter(framework.ones(2))
        weight.grad = framework.ones(2)
        optimizer = framework.optim.SGD([weight], lr=0.5)

        def note(word: str, calls: list[str] = calls) -> Any:
            return lambda *given: calls.append(f"{word} {len(given)} {type(given[0]).__name__}")

        handles = [
            module.register_optimizer_step_pre_hook(note("all before")),
            module.register_optimizer_step_post_hook(note("all after")),
            optimizer.register_step_pre_hook(note("before")),
            optimizer.register_step_post_hook(note("after")),
            optimizer.register_state_dict_pre_hook(note("saving")),
            optimizer.register_state_dict_post_hook(note("saved")),
            optimizer.register_state_dict_post_hook(note("saved first"), prepend=True),
            optimizer.register_load_state_dict_pre_hook(note("loading")),
            optimizer.register_load_state_dict_post_hook(note("loaded")),
        ]
        swap = optimizer.register_step_pre_hook(
            lambda self, args, kwargs, calls=calls: ((self, lambda: calls.append("closure")), {})
        )
        optimizer.step()
        swap.remove()
        optimizer.load_state_dict(optimizer.state_dict())
        for handle in handles:
            handle.remove()
        optimizer.step()
        calls.append(str(weight.tolist()))
        seen.append(calls)
    assert seen[0] == seen[1]


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


ERRORS: list[Callable[[Any, Any], Any]] = [
    lambda optim, w: optim.SGD([]),
    lambda optim, w: optim.Adam(w),
    lambda optim, w: optim.SGD([3]),
    lambda optim, w: optim.SGD([w * 2]),
    lambda optim, w: optim.SGD([{"params": {w}}]),
    lambda optim, w: optim.SGD([("a", w), w]),
    lambda optim, w: optim.SGD([{"params": [("a", w)]}, {"params": [w.detach()]}]),
    lambda optim, w: optim.SGD([{"params": [w]}, {"params": [w]}]),
    lambda optim, w: optim.SGD([w]).add_param_group([w]),
    lambda optim, w: optim.SGD([w]).load_state_dict({"state": {}, "param_groups": []}),
    lambda optim, w: optim.SGD([w]).load_state_dict(
        {"state": {}, "param_groups": [{"params": []}]}
    ),
    lambda optim, w: optim.SGD([w], nesterov=True),
    lambda optim, w: optim.SGD([w], momentum=-1),
    lambda optim, w: optim.Adam([w], lr=-1),
    lambda optim, w: optim.Adam([w], betas=(0.9, 1.0)),
    lambda optim, w: optim.Adam([w], betas=(0, 0.9)),
    lambda optim, w: optim.AdamW([w], lr=w),
    lambda optim, w: optim.Adam([w], betas=(w.sum() / 4, 0.999)),
    lambda optim, w: optim.Adam([w], lr=w.sum(), foreach=True),
    lambda optim, w: optim.AdamW([w], fused=True, foreach=True),
    lambda optim, w: optim.Adagrad([w], lr_decay=-1),
    lambda optim, w: optim.Adadelta([w], rho=1.5),
    lambda optim, w: optim.RMSprop([w], alpha=-1),
    lambda optim, w: optim.NAdam([w], momentum_decay=-1),
    lambda optim, w: optim.RAdam([w], eps=-1),
    lambda optim, w: optim.Adamax([w], weight_decay=-1),
    lambda optim, w: optim.Rprop([w], etas=(1, 1.2)),
    lambda optim, w: optim.Muon([w]),
    lambda optim, w: optim.Muon([w], momentum=-1),
    lambda optim, w: optim.Muon([w], adjust_lr_fn="best"),
    lambda optim, w: optim.LBFGS([{"params": [w]}, {"params": [w.detach()]}]),
    lambda optim, w: optim.LBFGS([w], line_search_fn="armijo").step(
        lambda: backward((w * w).sum())
    ),
    lambda optim, w: optim.LBFGS([w]).step(),
]


def backward(loss: Any) -> Any:
    loss.backward()
    return loss


def test_errors_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for make in ERRORS:
        raised = []
        for framework in (lg, torch):
            with pytest.raises(Exception) as caught:
                make(framework.optim, framework.nn.Parameter(framework.ones(2)))
            said = str(caught.value).replace("torch.", "").replace("cuda.", "")
            raised.append((type(caught.value).__name__, said))
        assert raised[0] == raised[1]


def test_duplicates_only_warn() -> None:
    weight = nn.Parameter(lg.ones(2))
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optimizer = optim.SGD([weight, weight], lr=0.25)
    weight.grad = lg.ones(2)
    optimizer.step()
    assert weight.tolist() == [0.5, 0.5]
    assert optimizer.state_dict()["param_groups"][0]["params"] == [0, 0]
    with pytest.raises(ValueError, match="required optimization parameter lr"):
        optim.Optimizer([weight], {"lr": required})
