"""Layers that take their sizes from their first input, and the adaptive softmax, beside PyTorch's."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import nn, optim

torch = pytest.importorskip("torch")

LAZY: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("LazyLinear", (3,), {}, (2, 6)),
    ("LazyLinear", (3, False), {"dtype": "float64"}, (6,)),
    ("LazyConv1d", (4, 3, 1, 1, 1, 2, False), {}, (2, 6, 5)),
    ("LazyConv2d", (4, (3, 1)), {"stride": 2, "padding_mode": "circular", "padding": 1}, (6, 5, 4)),
    ("LazyConvTranspose2d", (4, 2, 2, 0, 1, 2), {}, (2, 6, 3, 3)),
    ("LazyBatchNorm2d", (1e-3,), {}, (2, 6, 3, 2)),
    ("LazyBatchNorm1d", (), {"affine": False, "momentum": None}, (4, 6)),
    ("LazyInstanceNorm1d", (), {"bias": False}, (2, 6, 4)),
]


def outcome(run: Any) -> tuple[str, str]:
    """The type and the first words of an error."""
    with pytest.raises((RuntimeError, ValueError)) as caught:
        run()
    return type(caught.value).__name__, str(caught.value)[:40]


@pytest.mark.parametrize(("name", "args", "options", "shape"), LAZY, ids=str)
def test_lazy_layer_becomes_the_ordinary_one(
    name: str, args: tuple[Any, ...], options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    made = []
    for framework in (lg, torch):
        given = {key: getattr(framework, v) if key == "dtype" else v for key, v in options.items()}
        dtype = given.get("dtype", framework.float32)
        module: Any = getattr(framework.nn, name)(*args, **given)
        seen: list[Any] = [repr(module), str(list(module.state_dict().values())), module.has_uninitialized_params()]  # fmt: skip
        parameters = list(module.parameters())
        optimizer = framework.optim.SGD(parameters, lr=0.5) if parameters else None
        if parameters:
            seen += [
                outcome(lambda p=parameters[0]: p.shape),
                outcome(lambda p=parameters[0]: p + 1),
            ]
        input = np.random.default_rng(0).normal(size=shape)
        output = module(framework.tensor(input, dtype=dtype))
        seen += [repr(module), type(module).__name__, tuple(output.shape), str(output.dtype)[-7:]]
        seen += [tuple(value.shape) for value in module.state_dict().values()]
        if optimizer is not None:  # made before there were shapes, it moves the same parameters
            before = parameters[0].detach().clone()
            output.square().sum().backward()
            optimizer.step()
            assert (parameters[0] - (before - 0.5 * parameters[0].grad)).abs().max() < 1e-6
        made.append(seen)
    assert made[0] == made[1]


def test_lazy_layers_are_loaded_copied_and_cast() -> None:
    theirs = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.BatchNorm1d(3))
    state = {name: lg.tensor(value.numpy()) for name, value in theirs.state_dict().items()}
    empty = nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d())
    assert empty.double()[0].weight.dtype is lg.float64 and empty[1].running_var.dtype is lg.float64
    for module in (empty.float(), copy.deepcopy(empty), pickle.loads(pickle.dumps(empty))):
        assert repr(module.load_state_dict(state)) == "<All keys matched successfully>"
        input = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
        expected = copy.deepcopy(theirs)(torch.tensor(input)).detach().numpy()
        np.testing.assert_allclose(module(lg.tensor(input)).detach().numpy(), expected, 1e-5, 1e-6)
        assert repr(module) == repr(theirs)
    with pytest.raises(RuntimeError, match="Can't share memory on an uninitialized"):
        nn.LazyLinear(2).share_memory()
    with pytest.raises(RuntimeError, match=r"Expected 3D \(unbatched\) or 4D"):
        nn.LazyConv2d(2, 1)(lg.ones(2, 3))


@pytest.mark.parametrize("bias", [False, True])
def test_adaptive_softmax(bias: bool) -> None:
    """Outputs, loss, gradients, all log probabilities and predictions; one cluster has no target."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"cutoffs": [4, 10, 15], "div_value": 2.0, "head_bias": bias}
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(8, 20, **options)
    ours: Any = nn.AdaptiveLogSoftmaxWithLoss(8, 20, **options)
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({key: lg.tensor(v.numpy()) for key, v in theirs.state_dict().items()})
    states = np.random.default_rng(1).normal(0, 3, (7, 8)).astype("float32")
    targets = [0, 19, 3, 5, 4, 15, 9]
    results = []
    for framework, module in ((lg, ours), (torch, theirs)):
        input = framework.tensor(states, requires_grad=True)
        output, loss = module(input, framework.tensor(targets))
        (loss + output[1] * 0.5).backward()
        one = module(framework.tensor(states[0]), framework.tensor(12))
        values = [output, loss, one.output, one.loss, module.log_prob(input), module.predict(input)]
        grads = [input.grad, *(p.grad for p in module.head.parameters()), module.tail[2][1].weight.grad]  # fmt: skip
        results.append([each.detach().numpy() for each in (*values, *grads)])
        assert module.tail[1][0].weight.grad is None
    for mine, expected in zip(*results, strict=True):
        np.testing.assert_allclose(mine, expected, 1e-4, 1e-5)
    for arguments in (([],), ([3, 3],), ([20],), ([0, 4],)):
        with pytest.raises(ValueError, match="cutoffs should be a sequence"):
            nn.AdaptiveLogSoftmaxWithLoss(8, 20, *arguments)
    with pytest.raises(RuntimeError, match=r"Target values should be in \[0, 19\]"):
        ours(lg.ones(1, 8), lg.tensor([20]))
    with pytest.raises(RuntimeError, match="same size in the batch"):
        ours(lg.ones(2, 8), lg.tensor([2]))
    assert optim.SGD(ours.parameters(), lr=0.1)
