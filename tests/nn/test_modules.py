"""What modules do beside computing: registration, state, modes, hooks, containers, errors. Needs no PyTorch."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import nn


class Block(nn.Module):
    """A parameter, a persistent and a passing buffer, and a child."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(lg.ones(3))
        self.register_buffer("seen", lg.zeros(1))
        self.register_buffer("scratch", lg.zeros(1), persistent=False)
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Any) -> Any:
        return self.linear(x) * self.scale


def test_registration_and_names() -> None:
    block = Block()
    assert list(block.state_dict()) == ["scale", "seen", "linear.weight", "linear.bias"]
    assert [name for name, _ in block.named_parameters()] == [
        "scale",
        "linear.weight",
        "linear.bias",
    ]
    assert [name for name, _ in block.named_buffers()] == ["seen", "scratch"]
    assert list(block.children()) == [block.linear] and list(block.modules()) == [
        block,
        block.linear,
    ]
    assert block.get_submodule("linear") is block.linear
    assert block.get_parameter("linear.bias") is block.linear.bias
    assert block.get_buffer("seen") is block.seen
    assert {"scale", "seen", "linear"} <= set(dir(block))
    del block.scale
    assert not hasattr(block, "scale") and "scale" not in block.state_dict()


def test_a_shared_parameter_counts_once() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    both = nn.Sequential(first, second)
    assert len(list(both.parameters())) == 3
    assert len(both.state_dict()) == 4


def test_wrong_assignments_say_what_is_expected() -> None:
    block = Block()
    with pytest.raises(TypeError, match="cannot assign 'Tensor' as parameter 'scale'"):
        block.scale = lg.ones(3)  # type: ignore[assignment]
    with pytest.raises(TypeError, match="as child module 'linear'"):
        block.linear = 3  # type: ignore[assignment]
    with pytest.raises(TypeError, match="as buffer 'seen'"):
        block.seen = 3
    with pytest.raises(KeyError, match="already exists"):
        block.register_buffer("forward", lg.ones(1))
    with pytest.raises(KeyError, match="contain"):
        block.register_parameter("a.b", None)
    changed = nn.Parameter(lg.ones(3), requires_grad=False)
    changed.mul_(block.scale)
    with pytest.raises(ValueError, match="non-leaf"):
        block.register_parameter("result", changed)
    with pytest.raises(AttributeError, match="'Block' object has no attribute 'missing'"):
        block.missing  # noqa: B018

    class Early(nn.Module):
        def __init__(self) -> None:
            self.weight = nn.Parameter(lg.ones(1))

    with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
        Early()


def test_state_round_trip_and_disagreements() -> None:
    first, second = Block(), Block()
    keys = second.load_state_dict(first.state_dict())
    assert repr(keys) == "<All keys matched successfully>"
    for left, right in zip(first.parameters(), second.parameters()):
        np.testing.assert_array_equal(left.detach().numpy(), right.detach().numpy())
        assert left is not right
    state = first.state_dict()
    before = second.scale.detach().numpy().copy()
    state["scale"] = lg.ones(4)
    state["extra"] = lg.ones(1)
    del state["seen"]
    with pytest.raises(RuntimeError) as failure:
        second.load_state_dict(state)
    message = str(failure.value)
    for words in (
        "Error(s) in loading state_dict for Block", 'Unexpected key(s) in state_dict: "extra"',
        'Missing key(s) in state_dict: "seen"', "size mismatch for scale", "torch.Size([4])",
    ):  # fmt: skip
        assert words in message
    np.testing.assert_array_equal(second.scale.detach().numpy(), before)
    del state["scale"]
    keys = second.load_state_dict(state, strict=False)
    assert sorted(keys.missing_keys) == ["scale", "seen"] and keys.unexpected_keys == ["extra"]


def test_state_shares_memory_and_loading_keeps_identity() -> None:
    linear = nn.Linear(2, 1)
    weight = linear.weight
    linear.state_dict()["weight"].fill_(5.0)
    assert linear.weight.detach().numpy().tolist() == [[5.0, 5.0]]
    linear.load_state_dict({"weight": lg.zeros(1, 2), "bias": lg.ones(1)})
    assert linear.weight is weight and linear.bias is not None
    assert linear(lg.ones(1, 2)).item() == 1.0
    linear.load_state_dict({"weight": lg.ones(1, 2), "bias": lg.ones(1)}, assign=True)
    assert linear.weight is not weight and isinstance(linear.weight, nn.Parameter)


def test_modes_gradients_and_casts() -> None:
    block = Block()
    assert block.eval() is block and not block.linear.training
    assert block.train().linear.training
    block(lg.ones(2, 3)).sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())
    block.zero_grad(set_to_none=False)
    assert block.scale.grad is not None and block.scale.grad.numpy().tolist() == [0.0] * 3
    block.zero_grad()
    assert all(parameter.grad is None for parameter in block.parameters())
    block.requires_grad_(False)
    assert not block(lg.ones(2, 3)).requires_grad
    scale = block.scale
    block.double()
    assert block.scale is scale and scale.dtype is lg.float64 and block.seen.dtype is lg.float64
    assert block(lg.ones(2, 3, dtype=lg.float64)).dtype is lg.float64
    assert block.to(lg.float32).linear.weight.dtype is lg.float32
    with pytest.raises(TypeError, match="floating point"):
        block.to(lg.int64)


def test_hooks_see_and_replace() -> None:
    linear = nn.Linear(2, 2)
    seen: list[str] = []
    pre = linear.register_forward_pre_hook(lambda module, args: (args[0] * 0,))
    post = linear.register_forward_hook(lambda module, args, output: seen.append("last"))
    first = linear.register_forward_hook(
        lambda module, args, output: seen.append("first"), prepend=True
    )
    keyword = linear.register_forward_hook(
        lambda module, args, kwargs, output: output + 1, with_kwargs=True
    )
    assert linear.bias is not None
    np.testing.assert_allclose(
        linear(lg.ones(1, 2)).detach().numpy()[0], linear.bias.detach().numpy() + 1, 1e-6
    )
    assert seen == ["first", "last"]
    for handle in (pre, post, first, keyword):
        handle.remove()
    linear(lg.ones(1, 2))
    assert seen == ["first", "last"]


def test_containers() -> None:
    layers = nn.ModuleList([nn.Linear(1, 2)])
    layers.append(nn.ReLU()).extend([nn.Linear(2, 3)])
    layers.insert(0, nn.Identity())
    assert [type(layer).__name__ for layer in layers] == ["Identity", "Linear", "ReLU", "Linear"]
    assert (
        isinstance(layers[1:], nn.ModuleList) and len(layers[1:]) == 3 and layers[-1] is layers[3]
    )
    del layers[0]
    assert list(layers.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    with pytest.raises(IndexError, match="out of range"):
        layers[3]
    row = nn.Sequential(*layers)
    assert tuple(row(lg.ones(4, 1)).shape) == (4, 3) and tuple(row[:2](lg.ones(4, 1)).shape) == (
        4,
        2,
    )
    named = nn.ModuleDict({"a": nn.ReLU()})
    named["b"] = nn.Tanh()
    assert (
        list(named) == ["a", "b"]
        and "a" in named
        and named.pop("a") is not None
        and len(named) == 1
    )
    with pytest.raises(NotImplementedError, match='missing the required "forward" function'):
        nn.ModuleList()(lg.ones(1))


def test_apply_and_deepcopy() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
    visited: list[str] = []
    model.apply(lambda module: visited.append(type(module).__name__))
    assert visited == ["Linear", "Linear", "Sequential", "Sequential"]
    twin = copy.deepcopy(model)
    nn.init.zeros_(twin[0].weight)
    assert np.abs(model[0].weight.detach().numpy()).sum() > 0 and isinstance(
        twin[0].weight, nn.Parameter
    )
    assert len({id(p) for m in (model, twin) for p in m.parameters()}) == 8


def test_initial_values_are_deterministic_and_bounded() -> None:
    lg.manual_seed(7)
    first = nn.Linear(25, 40)
    lg.manual_seed(7)
    second = nn.Linear(25, 40)
    np.testing.assert_array_equal(first.weight.detach().numpy(), second.weight.detach().numpy())
    assert 0.19 < np.abs(first.weight.detach().numpy()).max() <= 0.2
    with pytest.raises(ValueError, match="Unsupported nonlinearity"):
        nn.init.calculate_gain("nope")
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        nn.init.xavier_normal_(lg.ones(3))
