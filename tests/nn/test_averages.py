"""Averages of models are PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.optim import swa_utils

torch = pytest.importorskip("torch")

VALUES = np.random.default_rng(8).normal(size=(5, 2, 3)).astype("float32")


@pytest.mark.parametrize("kind", ["plain", "exponential", "lists", "exponential lists", "own"])
def test_averages_of_parameters_and_buffers(kind: str) -> None:
    found = []
    for framework in (lg, torch):
        module = framework.optim.swa_utils
        functions = {
            "plain": {},
            "exponential": {"avg_fn": module.get_ema_avg_fn(0.9)},
            "lists": {"multi_avg_fn": module.get_swa_multi_avg_fn()},
            "exponential lists": {"multi_avg_fn": module.get_ema_multi_avg_fn(0.8), "use_buffers": True},
            "own": {"avg_fn": lambda average, value, count: average * count + value},
        }  # fmt: skip
        model = framework.nn.Linear(3, 2)
        model.register_buffer("kept", framework.zeros(2, 3))
        averaged = module.AveragedModel(model, **functions[kind])
        for value in VALUES:
            model.weight.data = framework.tensor(value)
            model.bias.data = framework.tensor(value[:, 0])
            model.kept = framework.tensor(value * 2)
            averaged.update_parameters(model)
        state = averaged.state_dict()
        assert averaged(framework.ones(1, 3)).shape == (1, 2)
        found.append({name: value.numpy() for name, value in state.items()})
    assert list(found[0]) == list(found[1])
    for name, value in found[0].items():
        np.testing.assert_allclose(value, found[1][name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options", [{}, {"anneal_strategy": "linear", "anneal_epochs": 4}, {"anneal_epochs": 0}]
)
def test_rates(options: dict[str, Any]) -> None:
    found = []
    for framework in (lg, torch):
        groups = [
            {"params": [framework.ones(1, requires_grad=True)], "lr": rate} for rate in (0.1, 0.3)
        ]
        optimizer = framework.optim.SGD(groups)
        schedule = framework.optim.swa_utils.SWALR(optimizer, [0.05, 0.5], **options)
        rates = []
        for _ in range(14):
            optimizer.step()
            schedule.step()
            rates.append(schedule.get_last_lr())
        found.append(rates)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)


def test_batch_norms_are_measured_again() -> None:
    found = []
    for framework in (lg, torch):
        norm = framework.nn.BatchNorm1d(3, momentum=0.3)
        model = framework.nn.Sequential(norm, framework.nn.Flatten()).eval()
        batches = [framework.tensor(value + 1) for value in VALUES]
        framework.optim.swa_utils.update_bn([(batch, None) for batch in batches], model)
        assert norm.momentum == 0.3 and not model.training
        found.append([norm.running_mean.numpy(), norm.running_var.numpy()])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="Invalid decay value 2"):
        swa_utils.get_ema_avg_fn(2)
    with pytest.raises(AssertionError, match="Only one of"):
        swa_utils.AveragedModel(lg.nn.Linear(1, 1), avg_fn=max, multi_avg_fn=max)
    optimizer = lg.optim.SGD([lg.ones(1, requires_grad=True)])
    for options in ({"anneal_strategy": "log"}, {"anneal_epochs": -1}):
        with pytest.raises(ValueError, match="anneal_"):
            swa_utils.SWALR(optimizer, 0.1, **options)
