"""Pruned parameters are PyTorch's: masks, values, gradients, state dicts, one method after another, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.nn.utils import prune

torch = pytest.importorskip("torch")

WEIGHT = np.random.default_rng(1).normal(size=(6, 4)).astype("float32")
Step = Callable[[Any, Any, Any], Any]
"""Prunes a layer: of the framework, its prune, and the layer."""


def once(f: Any, p: Any, m: Any) -> None:
    p.l1_unstructured(m, "weight", 7)


def twice(f: Any, p: Any, m: Any) -> None:
    p.l1_unstructured(m, "weight", 0.25)
    p.ln_structured(m, "weight", 2, n=2, dim=0)
    p.l1_unstructured(m, "weight", 3, importance_scores=f.tensor(-WEIGHT).exp())


def columns(f: Any, p: Any, m: Any) -> None:
    p.ln_structured(m, "weight", 0.5, n=float("inf"), dim=-1)
    p.ln_structured(m, "weight", 1, n=1, dim=-1)


def custom(f: Any, p: Any, m: Any) -> None:
    p.identity(m, "weight")
    p.custom_from_mask(m, "weight", f.tensor(WEIGHT) > 0)


def together(f: Any, p: Any, m: Any) -> None:
    p.l1_unstructured(m, "bias", 1)
    p.global_unstructured([(m, "weight"), (m, "bias")], p.L1Unstructured, amount=10)


@pytest.mark.parametrize("step", [once, twice, columns, custom, together])
def test_pruning_is_pytorchs(step: Step) -> None:
    results = []
    for framework in (lg, torch):
        layer = framework.nn.Linear(4, 6)
        layer.weight.data = framework.tensor(WEIGHT)
        layer.bias.data = framework.tensor(WEIGHT[:, 0] * 0.1)
        pruning = prune if framework is lg else __import__("torch.nn.utils.prune").nn.utils.prune
        step(framework, pruning, layer)
        assert pruning.is_pruned(layer)
        output = layer(framework.tensor(WEIGHT))
        (output**2).sum().backward()
        state = {key: value.numpy() for key, value in layer.state_dict().items()}
        gradient = layer.weight_orig.grad.numpy()
        assert pruning.remove(layer, "weight") is layer
        kept = (list(state), list(layer.state_dict()), [n for n, _ in layer.named_parameters()])
        values = (output.detach().numpy(), gradient, layer.weight.detach().numpy(), *state.values())
        results.append((kept, values))
    assert results[0][0] == results[1][0]
    for mine, other in zip(results[0][1], results[1][1]):
        np.testing.assert_allclose(mine, other, 1e-4, 1e-5)


def test_what_is_drawn_and_what_is_refused() -> None:
    layer = lg.nn.Linear(10, 20)
    prune.random_unstructured(layer, "weight", 0.3)
    assert (layer.weight == 0).sum().item() == 60
    prune.random_structured(layer, "weight", 5, dim=1)
    assert (layer.weight == 0).all(0).sum().item() == 5
    prune.random_unstructured(layer, "weight", 1.0)
    assert (layer.weight == 0).all().item()
    for arguments, error in (((-1,), ValueError), ((1.5,), ValueError), (("half",), TypeError)):
        with pytest.raises(error, match="amount"):
            prune.random_unstructured(layer, "bias", *arguments)
    with pytest.raises(ValueError, match="smaller than the number"):
        prune.random_unstructured(layer, "bias", 21)
    with pytest.raises(ValueError, match="multidimensional"):
        prune.random_structured(layer, "bias", 1, 0)
    with pytest.raises(ValueError, match="has to be pruned"):
        prune.remove(layer, "bias")
    assert list(dict(layer.named_parameters())) == ["bias", "weight_orig"]
