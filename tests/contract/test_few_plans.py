"""What changes in every step and compiles nothing: a learning rate, a step counter, a length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.runtime.realize import PLANS

F = lg.nn.functional


class Fit:
    """Least squares with two layers, by data that have no structure."""

    def __init__(self, rows: int = 12) -> None:
        draw = np.random.default_rng(0).standard_normal
        self.inputs, self.targets = draw((rows, 7)).astype("f"), draw((rows, 3)).astype("f")
        self.take(rows)
        self.weights: list[Any] = [
            lg.tensor((draw(s) * 0.3).astype("f"), requires_grad=True) for s in ((7, 5), (5, 3))
        ]

    def take(self, rows: int) -> None:
        self.x, self.y = lg.tensor(self.inputs[:rows]), lg.tensor(self.targets[:rows])

    def loss(self) -> Any:
        w1, w2 = self.weights
        return F.mse_loss(lg.tanh(self.x @ w1) @ w2, self.y)


def by_hand(fit: Fit, rate: float) -> None:
    with lg.no_grad():
        for weight in fit.weights:
            weight -= rate * weight.grad
            weight.grad = None


@pytest.mark.parametrize("read", [True, False])
def test_a_learning_rate_that_changes_every_step(
    on: str, read: bool, counts: Callable[..., Any]
) -> None:
    PLANS.clear()
    fit, counted, losses = Fit(), counts(on), []
    for step in range(40):
        loss = fit.loss()
        if read:
            losses.append(loss.item())
        loss.backward()
        by_hand(fit, 0.2 / (1 + 0.37 * step))
    assert counted.since()[1] <= 3
    last = fit.loss().item()
    assert not read or last < losses[1] < losses[0]


@pytest.mark.parametrize("optimiser", ["SGD", "Adam", "AdamW"])
def test_optimisers_and_schedules(on: str, optimiser: str, counts: Callable[..., Any]) -> None:
    """Adam's bias corrections have the step's number in them; the rate is the user's to change."""
    PLANS.clear()
    fit, counted = Fit(), counts(on)
    if not hasattr(lg.optim, optimiser):
        optimiser = "Adam"
    update = getattr(lg.optim, optimiser)(fit.weights, lr=0.05)
    losses = []
    for step in range(30):
        for group in update.param_groups:
            group["lr"] = 0.05 * 0.97**step
        update.zero_grad()
        loss = fit.loss()
        loss.backward()
        update.step()
        losses.append(loss.item())
    assert counted.since()[1] <= 3
    assert losses[-1] < losses[0]


def test_numbers_of_every_kind(on: str, counts: Callable[..., Any]) -> None:
    """Python numbers that scale and shift are arguments; 0, 1, -1 and exponents are part of the program."""
    PLANS.clear()
    counted = counts(on)
    for step in range(2, 50):
        x = lg.tensor([1.0, 2.0])
        found = ((x * (step + 0.5) + 3 * step) / (step * 0.3)).tolist()
        expected = [(v * (step + 0.5) + 3 * step) / (step * 0.3) for v in (1.0, 2.0)]
        assert found == pytest.approx(expected, rel=1e-5)
    assert counted.since()[1] <= 3


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "elementwise": lambda x: (x * 2.5).exp(),
    "softmax": lambda x: lg.softmax(x, 1),
    "rows": lambda x: x.sum(0),
    "columns": lambda x: (x - x.mean(0)).pow(2).sum(1),
    "matmul": lambda x: x @ x.t(),
    "layer norm": lambda x: F.layer_norm(x, (5,)),
    "cat": lambda x: lg.cat([x, x * 2.5]),
    "cross entropy": lambda x: F.cross_entropy(x, lg.zeros(x.shape[0], dtype=lg.long)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_two_hundred_lengths(on: str, name: str, counts: Callable[..., Any]) -> None:
    PLANS.clear()
    data = np.random.default_rng(1).standard_normal((400, 5)).astype("float32")
    lengths = np.random.default_rng(2).permutation(np.arange(2, 202))
    counted = counts(on)
    found = {}
    for length in map(int, lengths):
        found[length] = PROGRAMS[name](lg.tensor(data[:length])).tolist()
    assert counted.since()[1] <= 3
    for length in (2, 63, 200):
        PLANS.clear()
        expected = PROGRAMS[name](lg.tensor(data[:length].astype("float64"))).numpy()
        np.testing.assert_allclose(found[length], expected, rtol=2e-4, atol=2e-5)


def test_two_hundred_lengths_of_training(on: str, counts: Callable[..., Any]) -> None:
    """Batches of every length, with gradients and an update each."""
    PLANS.clear()
    fit, counted = Fit(210), counts(on)
    for length in range(201, 1, -1):
        fit.take(length)
        loss = fit.loss()
        loss.backward()
        by_hand(fit, 0.01 + 1e-5 * length)
        assert loss.item() > 0
    assert counted.since()[1] <= 3


def test_a_window_that_moves(on: str, counts: Callable[..., Any]) -> None:
    """An offset that changes is an argument too."""
    PLANS.clear()
    x = lg.arange(500.0).realize()
    counted = counts(on)
    for start in range(3, 203):
        assert (x[start : start + 4] * 2.5).sum().item() == 2.5 * (4 * start + 6)
    assert counted.since()[1] <= 3
