"""Parametrized modules are PyTorch's: values, gradients, state dicts, what is refused, and the way back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.nn import utils

torch = pytest.importorskip("torch")

WEIGHT = np.random.default_rng(6).normal(size=(4, 3)).astype("float32")
INPUT = np.random.default_rng(7).normal(size=(5, 3)).astype("float32")


def linear(framework: Any) -> Any:
    module = framework.nn.Linear(3, 4)
    module.weight.data = framework.tensor(WEIGHT)
    module.bias.data = framework.zeros(4)
    return module


def doubling(framework: Any) -> Any:
    class Doubling(framework.nn.Module):  # type: ignore[misc]
        def forward(self, half: Any) -> Any:
            return half * 2

        def right_inverse(self, value: Any) -> Any:
            return value / 2

    return Doubling()


KINDS: dict[str, Callable[[Any], Any]] = {
    "rows": lambda f: f.nn.utils.parametrizations.weight_norm(linear(f)),
    "columns": lambda f: f.nn.utils.parametrizations.weight_norm(linear(f), dim=1),
    "whole": lambda f: f.nn.utils.parametrizations.weight_norm(linear(f), dim=None),
    "older": lambda f: f.nn.utils.weight_norm(linear(f)),
    "older whole": lambda f: f.nn.utils.weight_norm(linear(f), dim=None),
    "twice": lambda f: f.nn.utils.parametrize.register_parametrization(
        f.nn.utils.parametrizations.weight_norm(linear(f)), "weight", doubling(f)
    ),
    "inverse": lambda f: f.nn.utils.parametrize.register_parametrization(
        linear(f), "weight", doubling(f)
    ),
    "spectral": lambda f: f.nn.utils.parametrizations.spectral_norm(
        linear(f), n_power_iterations=50
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", KINDS)
def test_values_gradients_and_the_way_back(name: str) -> None:
    found = []
    for framework in (lg, torch):
        module = KINDS[name](framework)
        keys = sorted(module.state_dict())
        result = module(framework.tensor(INPUT))
        (result**2).sum().backward()
        gradients = [p.grad.numpy() for _, p in sorted(module.named_parameters())]
        weight = module.weight.detach().numpy()
        shown = repr(module)
        if "older" in name:
            framework.nn.utils.remove_weight_norm(module)
        else:
            twin = copy.deepcopy(module)
            np.testing.assert_allclose(twin.weight.detach().numpy(), weight, rtol=1e-5)
            framework.nn.utils.parametrize.remove_parametrizations(module, "weight")
        assert type(module) is framework.nn.Linear and isinstance(
            module.weight, framework.nn.Parameter
        )
        found.append(
            (
                keys,
                shown,
                [result.detach().numpy(), *gradients, weight, module.weight.detach().numpy()],
            )
        )
    assert found[0][:2] == found[1][:2]
    for mine, expected in zip(found[0][2], found[1][2], strict=True):
        np.testing.assert_allclose(mine, expected, rtol=2e-4, atol=1e-5)


def test_state_dicts_of_both_kinds_load() -> None:
    older, newer = (KINDS[name](lg) for name in ("older", "rows"))
    for parameter in older.parameters():
        parameter.data = parameter.data * 1.5
    newer.load_state_dict(older.state_dict())
    np.testing.assert_allclose(newer.weight.detach().numpy(), WEIGHT * 1.5, rtol=1e-5)
    newer.weight = lg.ones(4, 3)
    np.testing.assert_allclose(
        newer.parametrizations.weight.original0.detach().numpy(), [[3**0.5]] * 4
    )


def test_cached_values_and_what_is_refused() -> None:
    parametrize = utils.parametrize
    module = KINDS["inverse"](lg)
    with parametrize.cached():
        assert module.weight is module.weight
    assert module.weight is not module.weight
    assert parametrize.is_parametrized(module) and not parametrize.is_parametrized(module, "bias")
    assert parametrize.type_before_parametrizations(module) is lg.nn.Linear
    with pytest.raises(ValueError, match="may not change the shape"):
        parametrize.register_parametrization(linear(lg), "weight", lg.nn.Flatten(0))
    with pytest.raises(ValueError, match="does not have a parameter"):
        parametrize.register_parametrization(linear(lg), "height", doubling(lg))
    with pytest.raises(ValueError, match="does not have a parametrization on"):
        parametrize.remove_parametrizations(linear(lg), "weight")
    with pytest.raises(ValueError, match="sequence of tensors"):
        parametrize.remove_parametrizations(KINDS["rows"](lg), "weight", leave_parametrized=False)
    with pytest.raises(RuntimeError, match="does not implement right_inverse"):
        one_way = parametrize.register_parametrization(linear(lg), "weight", lg.nn.Tanh())
        one_way.weight = lg.ones(4, 3)
    with pytest.raises(RuntimeError, match="two weight_norm hooks"):
        utils.weight_norm(KINDS["older"](lg))
    with pytest.raises(ValueError, match="weight_norm of 'weight' not found"):
        utils.remove_weight_norm(linear(lg))


ROTATION = np.linalg.qr(np.random.default_rng(8).normal(size=(3, 3)))[0].astype("float32")


@pytest.mark.parametrize("way", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 5)])
def test_orthogonal(way: str, shape: tuple[int, int]) -> None:
    """A square weight that is orthogonal is kept; of any shape the values, in training too, are orthonormal."""
    module = lg.nn.Linear(shape[1], shape[0])
    if shape == (3, 3):
        module.weight.data = lg.tensor(ROTATION)
    utils.parametrizations.orthogonal(module, orthogonal_map=way)
    if shape == (3, 3):
        np.testing.assert_allclose(module.weight.detach().numpy(), ROTATION, atol=1e-5)
    optimizer = lg.optim.SGD(module.parameters(), lr=0.1)
    x, before = lg.randn(6, shape[1]), module.weight.detach().clone()
    for _ in range(3):
        optimizer.zero_grad()
        (module(x) ** 3).sum().backward()
        optimizer.step()
        weight = module.weight if shape[0] >= shape[1] else module.weight.mT
        unit = (weight.mT @ weight).detach().numpy()
        np.testing.assert_allclose(unit, np.eye(min(shape)), atol=1e-5)
    assert (module.weight - before).abs().max() > 1e-3


def test_orthogonal_is_as_pytorchs() -> None:
    """From the same parameters and bases come the same weights and gradients; state dicts have the same keys."""
    for way in ("matrix_exp", "cayley", "householder"):
        found: list[Any] = []
        for t in (lg, torch):
            module = t.nn.utils.parametrizations.orthogonal(linear(t), orthogonal_map=way)
            if t is torch:
                state = {key: torch.tensor(value.numpy()) for key, value in found[0][0].items()}
                module.load_state_dict(state)
            else:
                lower = np.tril(WEIGHT, -1) - np.eye(4, 3, dtype="float32")
                given = lower if way == "householder" else WEIGHT
                module.parametrizations.weight.original.data = lg.tensor(given)
            (module(t.tensor(INPUT)) ** 3).sum().backward()
            gradient = module.parametrizations.weight.original.grad
            found.append((module.state_dict(), module.weight.detach().numpy(), gradient.numpy()))
        assert sorted(found[0][0]) == sorted(found[1][0])
        np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-5)
        np.testing.assert_allclose(found[0][2], found[1][2], 1e-3, 1e-3)


def test_what_orthogonal_refuses() -> None:
    cases: tuple[Any, ...] = (
        lambda o, t: o(linear(t), "height"),
        lambda o, t: o(linear(t), "bias"),
        lambda o, t: o(linear(t), orthogonal_map="rotation"),
        lambda o, t: setattr(o(linear(t)), "weight", t.ones(2, 2)),
        lambda o, t: o(linear(t), orthogonal_map="cayley", use_trivialization=False),
    )
    for case in cases:
        with pytest.raises((ValueError, NotImplementedError)) as theirs:
            case(torch.nn.utils.parametrizations.orthogonal, torch)
            case(torch.nn.utils.parametrizations.orthogonal, torch).weight = torch.ones(4, 3)
        with pytest.raises(theirs.type):
            case(utils.parametrizations.orthogonal, lg)
            case(utils.parametrizations.orthogonal, lg).weight = lg.ones(4, 3)
