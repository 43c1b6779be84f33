"""Learning rate schedules give PyTorch's rates, state, warnings and errors; a new rate is no new program."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import optim
from lazygrad.optim import lr_scheduler
from lazygrad.runtime.realize import PLANS

torch = pytest.importorskip("torch")

Make = Callable[[Any, Any], Any]


class Root:
    """A function with something to save."""

    def __init__(self) -> None:
        self.power = 0.5

    def __call__(self, epoch: float) -> float:
        return float((epoch + 1) ** -self.power)


SCHEDULES: dict[str, Make] = {
    "lambda": lambda s, o: s.LambdaLR(o, [lambda epoch: 0.95**epoch, Root()]),
    "multiplicative": lambda s, o: s.MultiplicativeLR(o, lambda epoch: 1 - 0.5 / (epoch + 1)),
    "step": lambda s, o: s.StepLR(o, 7, gamma=0.7),
    "milestones": lambda s, o: s.MultiStepLR(o, [30, 5, 5, 60], gamma=0.5),
    "constant": lambda s, o: s.ConstantLR(o, 0.3, total_iters=11),
    "linear": lambda s, o: s.LinearLR(o, 0.1, 0.9, total_iters=23),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.97),
    "polynomial": lambda s, o: s.PolynomialLR(o, total_iters=40, power=2.5),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, 13, eta_min=0.01),
    "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 9, T_mult=2, eta_min=0.001),
    "plain restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 9),
    "chained": lambda s, o: s.ChainedScheduler(
        [s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.95), s.CosineAnnealingLR(o, 10)]
    ),
    "sequence": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=20), s.CosineAnnealingLR(o, 30), s.StepLR(o, 9)], [20, 50]
    ),
    "nested": lambda s, o: s.SequentialLR(
        o, [s.ChainedScheduler([s.LinearLR(o), s.ExponentialLR(o, 0.9)]), s.ConstantLR(o, 0.5)], [30]
    ),
    "triangles": lambda s, o: s.CyclicLR(o, 0.01, [0.1, 0.2], 8, 5),
    "falling triangles": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 6, mode="triangular2"),
    "exponential range": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 6, mode="exp_range", gamma=0.98),
    "own scale": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 6, scale_fn=Root(), cycle_momentum=False),
    "one cycle": lambda s, o: s.OneCycleLR(o, [0.5, 0.1], total_steps=101),
    "three phases": lambda s, o: s.OneCycleLR(
        o, 0.5, epochs=11, steps_per_epoch=10, three_phase=True, anneal_strategy="linear", pct_start=0.25
    ),
    "plateau": lambda s, o: s.ReduceLROnPlateau(o, factor=0.5, patience=3, cooldown=2, min_lr=[0.01, 0.0]),
    "rising plateau": lambda s, o: s.ReduceLROnPlateau(
        o, "max", patience=2, threshold=0.05, threshold_mode="abs"
    ),
}  # fmt: skip


def optimizer(framework: Any, tensor: bool = False, name: str = "SGD") -> Any:
    """Two groups with rates of their own."""
    weights = [framework.zeros(2, requires_grad=True) for _ in range(2)]
    rates = [framework.tensor(rate) if tensor else rate for rate in (0.1, 0.2)]
    groups = [{"params": [w], "lr": rate} for w, rate in zip(weights, rates)]
    return getattr(framework.optim, name)(groups, **({"momentum": 0.9} if name == "SGD" else {}))


def rates(schedule: Any, steps: int, first: int = 0) -> list[list[float]]:
    """What the groups have at each step."""
    found = []
    held = schedule.optimizer
    for step in range(first, first + steps):
        momenta = [group.get("momentum", group.get("betas", (0,))) for group in held.param_groups]
        momenta = [each[0] if isinstance(each, tuple) else each for each in momenta]
        last = [float(rate) for rate in schedule.get_last_lr()]
        assert last == [float(group["lr"]) for group in held.param_groups]
        found.append(last + momenta)
        held.step()
        if "Plateau" in type(schedule).__name__:
            schedule.step(abs(math.sin(step / 3) * (1 - step / 90)))
        else:
            schedule.step()
    return found


def plain(state: Any) -> Any:
    """A state that can be compared: no tensors, no functions."""
    if isinstance(state, dict):
        return {key: plain(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [plain(value) for value in state]
    return float(f"{float(state):.9g}") if isinstance(state, (int, float)) else str(state)


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_pytorchs(name: str) -> None:
    """Over 100 steps, with SGD's momentum and Adam's first beta; the states are equal, too."""
    for kind in ("SGD", "Adam"):
        both = []
        for framework in (lg, torch):
            schedule = SCHEDULES[name](
                framework.optim.lr_scheduler, optimizer(framework, name=kind)
            )
            both.append((rates(schedule, 100), plain(schedule.state_dict())))
        np.testing.assert_allclose(both[0][0], both[1][0], rtol=1e-9, atol=1e-15)
        assert both[0][1] == both[1][1]


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_go_on_from_pytorchs_state(name: str) -> None:
    """40 steps there, a new schedule here with the saved state, 20 steps here: as 60 steps there."""
    theirs = SCHEDULES[name](torch.optim.lr_scheduler, optimizer(torch))
    rates(theirs, 40)
    saved = copy.deepcopy((theirs.state_dict(), theirs.optimizer.state_dict()))
    ours = SCHEDULES[name](lr_scheduler, optimizer(lg))
    ours.optimizer.load_state_dict(saved[1])
    ours.load_state_dict(saved[0])
    np.testing.assert_allclose(rates(ours, 20, 40), rates(theirs, 20, 40), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", ["step", "cosine", "sequence", "one cycle", "plateau"])
def test_rates_that_are_tensors_keep_their_identity(name: str) -> None:
    both = []
    for framework in (lg, torch):
        held = optimizer(framework, tensor=True)
        before = [group["lr"] for group in held.param_groups]
        schedule = SCHEDULES[name](framework.optim.lr_scheduler, held)
        both.append(rates(schedule, 12))
        assert all(a is group["lr"] for a, group in zip(before, held.param_groups))
        assert all(a is not b for a, b in zip(before, schedule.get_last_lr()))
    np.testing.assert_allclose(both[0], both[1], rtol=1e-5)


def test_a_given_epoch_and_a_late_start() -> None:
    both = []
    for framework in (lg, torch):
        module, found = framework.optim.lr_scheduler, []
        for name in (
            "step",
            "milestones",
            "constant",
            "linear",
            "exponential",
            "polynomial",
            "cosine",
            "restarts",
        ):
            schedule = SCHEDULES[name](module, optimizer(framework))
            for epoch in (3, 40, 8):
                with warnings.catch_warnings(record=True) as seen:
                    warnings.simplefilter("always")
                    schedule.step(epoch)
                found.append([len(seen), *schedule.get_last_lr()])
            held = optimizer(framework)
            for group in held.param_groups:
                group["initial_lr"] = 1.0
            kind = type(schedule)
            options = {
                "StepLR": (3,),
                "MultiStepLR": ([5],),
                "ExponentialLR": (0.5,),
                "CosineAnnealingLR": (4,),
                "CosineAnnealingWarmRestarts": (4,),
            }.get(kind.__name__, ())
            late = kind(held, *options, last_epoch=4)
            for _ in range(4):
                held.step()
                found.append([late.last_epoch, *late.get_last_lr()])
                late.step()
        both.append(found)
    np.testing.assert_allclose(both[0], both[1], rtol=1e-9, atol=1e-15)


def test_warnings_are_pytorchs() -> None:
    both = []
    for framework in (lg, torch):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            early = SCHEDULES["step"](framework.optim.lr_scheduler, optimizer(framework))
            early.step()
            held = optimizer(framework)
            changed = SCHEDULES["step"](framework.optim.lr_scheduler, held)
            held.step = lambda: None
            changed.step()
            changed.get_lr()
            fine = SCHEDULES["step"](framework.optim.lr_scheduler, optimizer(framework))
            fine.optimizer.step()
            fine.step()
        both.append([str(warning.message) for warning in seen])
    assert len(both[0]) == 3
    assert both[0] == both[1]


ERRORS: list[Make] = [
    lambda s, o: s.StepLR(3, 1),
    lambda s, o: s.StepLR(o, 1, last_epoch=3),
    lambda s, o: s.LambdaLR(o, [Root()]),
    lambda s, o: s.MultiplicativeLR(o, 0.5),
    lambda s, o: s.ConstantLR(o, 2.0),
    lambda s, o: s.LinearLR(o, 0.0),
    lambda s, o: s.LinearLR(o, end_factor=2.0),
    lambda s, o: s.CosineAnnealingWarmRestarts(o, 0),
    lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, T_mult=0.5),
    lambda s, o: s.CosineAnnealingWarmRestarts(o, 3).step(-1),
    lambda s, o: s.CyclicLR(o, 0.1, 0.2, mode="saw"),
    lambda s, o: s.CyclicLR(o, [0.1], 0.2),
    lambda s, o: s.CyclicLR(type(o)([o.param_groups[0]["params"][0]], lr=0.1), 0.1, 0.2) and s.OneCycleLR(o, 1),
    lambda s, o: s.OneCycleLR(o, 0.1, total_steps=-1),
    lambda s, o: s.OneCycleLR(o, 0.1, epochs=2, steps_per_epoch=0.5),
    lambda s, o: s.OneCycleLR(o, 0.1, total_steps=5, pct_start=2),
    lambda s, o: s.OneCycleLR(o, 0.1, total_steps=5, anneal_strategy="step"),
    lambda s, o: [schedule.step() for schedule in [s.OneCycleLR(o, 0.1, total_steps=5)] * 9],
    lambda s, o: s.ReduceLROnPlateau(o, factor=1.0),
    lambda s, o: s.ReduceLROnPlateau(o, mode="best"),
    lambda s, o: s.ReduceLROnPlateau(o, threshold_mode="best"),
    lambda s, o: s.ReduceLROnPlateau(o, min_lr=[1]),
    lambda s, o: s.SequentialLR(o, [], []),
    lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1)], [3]),
    lambda s, o: s.ChainedScheduler([]),
    lambda s, o: s.ChainedScheduler([s.ReduceLROnPlateau(o)]),
    lambda s, o: s.ChainedScheduler([s.StepLR(o, 1), 3]),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_errors_are_pytorchs(number: int) -> None:
    raised = []
    for framework in (lg, torch):
        with pytest.raises(Exception) as caught:
            ERRORS[number](framework.optim.lr_scheduler, optimizer(framework))
        raised.append((type(caught.value), str(caught.value)[:80]))
    assert raised[0] == raised[1]


def test_a_new_rate_is_no_new_program() -> None:
    weight = lg.ones(37, requires_grad=True)
    held = optim.AdamW([weight], lr=1.0)
    schedule = lr_scheduler.LambdaLR(held, lambda epoch: 1 - abs(epoch / 4 - 1))
    compiled, rates = [], []
    for _ in range(9):
        rates += schedule.get_last_lr()
        weight.grad = weight.detach() * 2
        held.step()
        weight.sum().item()
        schedule.step()
        compiled.append(PLANS.compiled)
    assert 0.0 in rates and 1.0 in rates
    assert compiled[-1] == compiled[1], "the rates 0 and 1 are no programs of their own"
