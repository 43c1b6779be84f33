"""Hooks, state, paths and containers do what PyTorch's do: the same calls on both, compared by what they print, return or raise."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import nn

torch = pytest.importorskip("torch")

Call = Callable[[Any, Any], Any]

CALLS: dict[str, Call] = {
    "parameter list": lambda t, n: n.ParameterList([t.ones(2), 3, n.Parameter(t.ones(2, 3))]),
    "parameter list slice": lambda t, n: n.ParameterList([t.ones(2), t.ones(3), t.ones(4)])[::2],
    "parameter list of a tensor": lambda t, n: n.ParameterList(t.ones(2)),
    "parameter list called": lambda t, n: n.ParameterList()(1),
    "parameter list state": lambda t, n: list(n.ParameterList([t.ones(1), 2]).state_dict()),
    "parameter dict": lambda t, n: n.ParameterDict({"b": t.ones(2), "a": 3}),
    "parameter dict order": lambda t, n: list(n.ParameterDict({"b": t.ones(2), "a": 3}).keys()),
    "parameter dict union": lambda t, n: n.ParameterDict({"b": t.ones(2)}) | n.ParameterDict({"c": 1}),
    "parameter dict popitem": lambda t, n: n.ParameterDict([("b", 1), ("a", 3)]).popitem(),
    "parameter dict of a number": lambda t, n: n.ParameterDict(3),
    "parameter dict of triples": lambda t, n: n.ParameterDict([(1, 2, 3)]),
    "parameter dict without names": lambda t, n: n.ParameterDict({3: 4}),
    "sequential sum": lambda t, n: n.Sequential(n.ReLU(), n.Tanh()) + n.Sequential(n.ReLU()),
    "sequential sum of a number": lambda t, n: n.Sequential(n.ReLU()) + 3,
    "sequential times": lambda t, n: 2 * n.Sequential(n.ReLU(), n.Tanh()),
    "sequential times 0": lambda t, n: n.Sequential(n.ReLU()) * 0,
    "sequential insert": lambda t, n: n.Sequential(n.ReLU(), n.Tanh()).insert(-1, n.GELU()),
    "sequential insert nowhere": lambda t, n: n.Sequential(n.ReLU()).insert(5, n.GELU()),
    "sequential pop": lambda t, n: n.Sequential(n.ReLU(), n.Tanh()).pop(0),
    "sequential names": lambda t, n: n.Sequential(OrderedDict(a=n.ReLU(), b=n.Tanh()))[1:],
    "sequential deletion": lambda t, n: _without(n.Sequential(OrderedDict(a=n.ReLU(), b=n.Tanh())), 0),
    "module list sum": lambda t, n: n.ModuleList([n.ReLU(), n.Tanh()]) + [n.ReLU()],
    "module list index": lambda t, n: n.ModuleList([n.ReLU()])[5],
    "module list of a number": lambda t, n: n.ModuleList(3),
    "module list of numbers": lambda t, n: n.ModuleList([3]),
    "module dict of a number": lambda t, n: n.ModuleDict([3]),
    "module dict missing": lambda t, n: n.ModuleDict({"a": n.ReLU()})["b"],
    "submodule missing": lambda t, n: n.Linear(2, 3).get_submodule("a"),
    "submodule no module": lambda t, n: n.Linear(2, 3).get_submodule("weight"),
    "parameter missing": lambda t, n: n.Linear(2, 3).get_parameter("x"),
    "parameter of another kind": lambda t, n: n.Linear(2, 3).get_parameter("in_features"),
    "buffer of another kind": lambda t, n: n.Linear(2, 3).get_buffer("weight"),
    "set below nothing": lambda t, n: n.Linear(2, 3).set_submodule("a.b", n.ReLU()),
    "set nothing": lambda t, n: n.Linear(2, 3).set_submodule("a", 3),
    "set strictly": lambda t, n: n.Linear(2, 3).set_submodule("a", n.ReLU(), strict=True),
    "set nowhere": lambda t, n: n.Linear(2, 3).set_submodule("", n.ReLU()),
    "load": lambda t, n: n.Linear(2, 3).load_state_dict({"weight": t.ones(3, 3), "x": 3, "bias": 4}),
    "load loosely": lambda t, n: n.Linear(2, 3).load_state_dict({"weight": t.ones(3, 2), "x": 3}, False),
    "load no mapping": lambda t, n: n.Linear(2, 3).load_state_dict([3]),
    "versions": lambda t, n: n.Sequential(n.Linear(2, 3)).state_dict(prefix="a.")._metadata,
    "module argument": lambda t, n: n.Module(3),
    "module keyword": lambda t, n: n.Module(a=3),
    "train": lambda t, n: n.Linear(2, 3).train(3),
    "integers": lambda t, n: n.Linear(2, 3).to(t.int32),
    "like a tensor": lambda t, n: n.Linear(2, 3).to(t.zeros(1, dtype=t.float16)).weight.dtype,
    "device and dtype": lambda t, n: n.Linear(2, 3).to("cpu", t.float64).weight.dtype,
    "a dot in a name": lambda t, n: n.Linear(2, 3).add_module("a.b", n.ReLU()),
    "a taken name": lambda t, n: n.Linear(2, 3).add_module("weight", n.ReLU()),
    "an empty name": lambda t, n: n.Linear(2, 3).register_parameter("", None),
    "no buffer": lambda t, n: n.Linear(2, 3).register_buffer("w", 3),
    "no parameter": lambda t, n: n.Linear(2, 3).register_parameter("w", 3),
    "no attribute": lambda t, n: n.Linear(2, 3).missing,
}  # fmt: skip


def _without(module: Any, index: int) -> Any:
    del module[index]
    return module


@pytest.mark.parametrize("name", CALLS)
def test_same_answer(name: str) -> None:
    answers = []
    for framework, modules in ((lg, nn), (torch, torch.nn)):
        try:
            answers.append(repr(CALLS[name](framework, modules)))
        except Exception as error:
            answers.append(f"{type(error).__name__}: {error}")
    answers[0] = answers[0].replace("torch.cuda.", "torch.").replace(" (cuda:0)", "")
    assert answers[0] == answers[1].replace("torch.nn.modules.container", "lazygrad.nn.container")


def backward_hooks(t: Any, n: Any, inputs_need: bool) -> list[Any]:
    """What each hook of two nested modules sees, in order, and the gradients as the hooks changed them."""
    inner, outer = n.Linear(2, 2), n.Sequential()
    outer.append(inner)
    with t.no_grad():
        inner.weight.copy_(t.tensor([[1.0, 2.0], [3.0, 4.0]]))
    seen: list[Any] = []

    def note(word: str, change: float | None = None) -> Any:
        def hook(module: Any, *grads: Any) -> Any:
            values = [[None if g is None else g.tolist() for g in each] for each in grads]
            seen.append((word, type(module).__name__, values))
            return (
                None
                if change is None
                else tuple(None if g is None else g * change for g in grads[0])
            )

        return hook

    inner.register_full_backward_hook(note("after", 10.0 if inputs_need else None))
    outer.register_full_backward_hook(note("after outer"))
    inner.register_full_backward_pre_hook(note("before", 0.5))
    inner.register_full_backward_pre_hook(note("before, first"), prepend=True)
    gone = inner.register_full_backward_hook(note("never"))
    gone.remove()
    x = t.ones(1, 2, requires_grad=inputs_need)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outer(x).sum().backward()
    seen.append([None if each is None else each.tolist() for each in (x.grad, inner.weight.grad)])
    return seen


@pytest.mark.parametrize("inputs_need", [True, False])
def test_backward_hooks(inputs_need: bool) -> None:
    ours = backward_hooks(lg, nn, inputs_need)
    assert ours == backward_hooks(torch, torch.nn, inputs_need)
    assert len(ours) == 5


def test_a_wrong_number_of_gradients_is_an_error() -> None:
    layer = nn.Linear(2, 2)
    layer.register_full_backward_hook(lambda module, before, after: (before[0], before[0]))
    with pytest.raises(RuntimeError, match="invalid number of grad_input, got 2, but expected 1"):
        layer(lg.ones(1, 2, requires_grad=True)).sum().backward()


def forward_hooks(t: Any, n: Any) -> list[str]:
    class Fails(n.Module):  # type: ignore[misc]
        def forward(self, x: Any, *, fail: bool = False) -> Any:
            if fail:
                raise ValueError("on purpose")
            return x + 1

    seen: list[str] = []
    module = Fails()
    module.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(f"pre {kwargs}"), with_kwargs=True
    )
    module.register_forward_hook(
        lambda module, args, output: seen.append("always"), always_call=True
    )
    module.register_forward_hook(
        lambda module, args, output: seen.append(f"last {output.tolist()}")
    )
    module.register_forward_hook(
        lambda module, args, kwargs, output: output * 2, prepend=True, with_kwargs=True
    )
    module(t.zeros(2))
    with pytest.raises(ValueError, match="on purpose"):
        module(t.zeros(2), fail=True)
    module.register_forward_pre_hook(lambda module, args, kwargs: 3, with_kwargs=True)
    with pytest.raises(RuntimeError, match="forward pre-hook must return None or a tuple"):
        module(t.zeros(2))
    return seen


def test_forward_hooks() -> None:
    assert forward_hooks(lg, nn) == forward_hooks(torch, torch.nn)


def state_hooks(t: Any, n: Any) -> list[Any]:
    """State dict hooks, extra state and versions, with a parameter renamed while it is loaded."""

    class Layer(n.Module):  # type: ignore[misc]
        _version = 2

        def __init__(self) -> None:
            super().__init__()
            self.weight = n.Parameter(t.ones(1))
            self.seen = n.Buffer(t.zeros(1), persistent=False)
            self.count = n.Buffer(t.zeros(1))
            self.extra = 5

        def get_extra_state(self) -> Any:
            return {"extra": self.extra}

        def set_extra_state(self, state: Any) -> None:
            self.extra = state["extra"] + 1

    log: list[Any] = []
    layer = Layer()
    model = n.Sequential(layer)
    layer.register_state_dict_pre_hook(lambda *args: log.append(("pre", args[1:])))
    layer.register_state_dict_post_hook(
        lambda *args: log.append(("post", list(args[1]), *args[2:]))
    )
    model._register_state_dict_hook(lambda module, state, prefix, meta: OrderedDict(state, more=1))
    state = model.state_dict()
    log.append((list(state), [name for name, _ in model.named_buffers()], state["0._extra_state"]))

    def rename(module: Any, state: Any, prefix: str, meta: Any, *rest: Any) -> None:
        log.append((type(module).__name__, prefix, meta, rest[0]))
        state[prefix + "weight"] = state.pop(prefix + "old")

    def forget(module: Any, keys: Any) -> None:
        log.append((list(keys.missing_keys), list(keys.unexpected_keys)))
        keys.unexpected_keys.clear()

    layer.register_load_state_dict_pre_hook(rename)
    model.register_load_state_dict_post_hook(forget)
    given = {
        "0.old": t.full((1,), 9.0),
        "0.count": t.ones(1),
        "0._extra_state": {"extra": 7},
        "more": 1,
    }
    log.append(repr(model.load_state_dict(given)))
    log.append((layer.weight.tolist(), layer.extra))
    copied = copy.deepcopy(model)
    return [*log, list(copied.state_dict()), list(copied[0]._non_persistent_buffers_set)]


def test_state_hooks() -> None:
    assert state_hooks(lg, nn) == state_hooks(torch, torch.nn)


def test_pickles_and_copies() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.ReLU()).half().eval()
    model[0].register_load_state_dict_pre_hook(print)
    model.tied = model[0].weight
    twin = pickle.loads(pickle.dumps(model))
    assert not twin.training and twin.tied is twin[0].weight and twin[0].weight.dtype is lg.float16
    assert type(twin.tied) is nn.Parameter and twin.tied.requires_grad
    np.testing.assert_array_equal(twin[0].bias.detach().numpy(), model[0].bias.detach().numpy())
    assert (
        twin[0]._load_state_dict_pre_hooks and twin.load_state_dict(model.state_dict()) is not None
    )
    for values in (
        lg.arange(6).reshape(2, 3).t(),
        lg.ones(0, 2, dtype=lg.bfloat16),
        lg.tensor(True),
    ):
        same = pickle.loads(pickle.dumps(values))
        assert same.dtype is values.dtype and same.shape == values.shape and same.equal(values)
    alias = copy.copy(twin.tied)
    with lg.no_grad():
        alias.fill_(3)
    assert twin[0].weight[0, 0].item() == 3 and type(alias) is nn.Parameter


@pytest.mark.of_the_cpu("shares the host's memory with a child")
def test_shared_memory_is_seen_by_the_parent() -> None:
    import os

    layer = nn.Linear(2, 2).share_memory()
    assert layer.weight.is_shared() and layer.bias is not None and not lg.ones(1).is_shared()
    child = os.fork()
    if child == 0:
        try:
            with lg.no_grad():
                layer.weight.fill_(7.0)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert layer.weight.tolist() == [[7.0, 7.0], [7.0, 7.0]]
