"""Compiled functions do what the functions do: state, results, gradients, random numbers; and they replay."""

from __future__ import annotations

import gc
import math
import threading
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import dispatch, nn, optim
from lazygrad.ir.node import Node
from lazygrad.nn import functional as F
from lazygrad.runtime import device, realize
from lazygrad.tensor import Tensor

Data = Callable[[int], Tensor]


OPTIMIZERS = [
    lambda p: optim.SGD(p, lr=0.1),
    lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
    lambda p: optim.AdamW(p, lr=0.01),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_steps(compare: Any, data: Data, optimizer: Callable[[Any], Any]) -> None:
    """Parameters, gradients, the optimizer's state and its counters; the learning rate changes at every step."""

    def make() -> Any:
        lg.manual_seed(1)
        model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
        chosen = optimizer(model.parameters())

        def step(x: Tensor) -> Any:
            chosen.zero_grad()
            loss = model(x).pow(2).mean()
            loss.backward()
            chosen.step()
            return loss

        def run(function: Any, index: int) -> Any:
            chosen.param_groups[0]["lr"] = 0.1 / (index + 1.5)
            return function(data(index))

        made.append(run)
        parameters = list(model.parameters())
        return step, lambda: [*parameters, *[p.grad for p in parameters], *chosen.state.values()]

    made: list[Any] = []
    compiled = compare(make, [lambda f, i=i: made[-1](f, i) for i in range(9)])
    assert compiled.traces <= 3
    assert compiled._hits >= 6


def test_a_replay_builds_nothing_and_launches_as_much(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = lg.randn(3, 2, requires_grad=True)

    def step(x: Tensor) -> Any:
        loss = (x @ weight).tanh().sum()
        loss.backward()
        with lg.no_grad():
            weight.sub_(weight.grad * 0.1)  # type: ignore[operator]
            weight.grad = None
        return loss

    place = device.default()
    inputs = [data(i).realize() for i in range(4)]
    for x in inputs:
        step(x).item()
    before = place.launches
    for x in inputs:
        step(x).item()
    plain = place.launches - before
    compiled = lg.compile(step)
    compiled(inputs[0])
    built: list[object] = []
    monkeypatch.setattr(Node, "__init__", lambda *args, **kwargs: built.append(args))
    monkeypatch.setattr(dispatch, "apply_node", lambda *args: built.append(args))
    monkeypatch.setattr(realize, "normalise", lambda *args: built.append(args))
    before = place.launches
    losses = [compiled(x) for x in inputs]
    assert place.launches - before <= plain
    assert not built
    monkeypatch.undo()
    assert len({loss.item() for loss in losses}) == 4
    assert compiled.traces == 1


def test_a_kept_output_stays(data: Data) -> None:
    compiled = lg.compile(lambda x, s: (x * s).exp())
    kept = [compiled(data(i), 0.1 * i + 0.3) for i in range(6)]
    arrays = [each.numpy() for each in kept]
    for index, (each, array) in enumerate(zip(kept, arrays)):
        expected = np.exp(np.array(data(index).tolist(), "float32") * (0.1 * index + 0.3))
        np.testing.assert_allclose(array, expected, rtol=1e-5)
        np.testing.assert_allclose(each.numpy(), expected, rtol=1e-5)
    assert compiled.traces == 1


def test_gradients_accumulate(compare: Any, data: Data) -> None:
    def make() -> Any:
        weight = lg.randn(3, 2, requires_grad=True)

        def step(x: Tensor) -> Any:
            loss = (x @ weight).tanh().sum()
            loss.backward()
            return loss

        return step, lambda: [weight, weight.grad]

    compiled = compare(make, [lambda f, i=i: f(data(i)) for i in range(6)])
    assert compiled._hits >= 4


def test_views_and_aliases(compare: Any, data: Data) -> None:
    """A view from before an in-place write sees it; an argument given twice is one memory; a view is not its base."""

    def make() -> Any:
        whole = lg.randn(4, 3)
        row = whole[1]

        def step(x: Tensor, y: Tensor) -> Any:
            x.add_(1.0)
            whole.add_(x)
            row.mul_(2.0)
            return x + y, row, whole[0], whole

        return step, lambda: [whole, row]

    def call(function: Any, index: int) -> Any:
        x = data(index)
        y = (x, x[:], data(index + 1), data(index + 1)[:])[index % 4]
        return function(x, y), x, y

    compiled = compare(make, [lambda f, i=i: call(f, i) for i in range(12)])
    assert compiled._hits >= 8


def test_tensors_bound_anew(compare: Any, data: Data) -> None:
    """A module's buffer that is assigned, and a list whose tensors change places."""

    class Running(nn.Module):
        mean: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", lg.zeros(3))
            self.last: Any = lg.ones(3)

        def forward(self, x: Tensor) -> Any:
            self.mean = self.mean * 0.5 + x[0]
            self.last = self.mean + 1
            return self.mean * 2

    def running() -> Any:
        module = Running()
        return module, lambda: [module.mean, module.last]

    def swapping() -> Any:
        pair = [lg.ones(3), lg.zeros(3)]

        def swap(x: Tensor) -> Any:
            pair[0].lerp_(x[0], 0.1)
            pair[0], pair[1] = pair[1], pair[0]
            return pair[0] + 0

        return swap, lambda: pair

    for make in (running, swapping):
        compiled = compare(make, [lambda f, i=i: f(data(i)) for i in range(6)])
        assert compiled.traces == 1


def test_the_tutorial_in_its_first_spelling(compare: Any, data: Data) -> None:
    """.data is written, and .grad.data emptied in place."""

    def make() -> Any:
        w1: Any = lg.randn(3, 5, requires_grad=True)
        w2: Any = lg.randn(5, 2, requires_grad=True)

        def step(x: Tensor) -> Any:
            loss = x.mm(w1).clamp(min=0).mm(w2).pow(2).sum()
            loss.backward()
            w1.data -= 1e-3 * w1.grad.data
            w2.data = w2.data - 1e-3 * w2.grad.data
            w1.grad.data.zero_()
            w2.grad.data.zero_()
            return loss.item()

        return step, lambda: [w1, w2, w1.grad, w2.grad]

    compiled = compare(make, [lambda f, i=i: f(data(i)) for i in range(8)])
    assert compiled._hits >= 4


def test_random_numbers_go_on_as_in_the_plain_loop(compare: Any, data: Data) -> None:
    def make() -> Any:
        drop = nn.Dropout(0.4)
        generator = lg.Generator().manual_seed(7)

        def draw(x: Tensor) -> Any:
            return drop(x) + lg.randn(4, 3), lg.rand(3), lg.rand(2, generator=generator)

        return draw, lambda: [lg.rand(2, generator=generator)]

    def call(function: Any, index: int) -> Any:
        lg.rand(index + 1)
        if index == 3:
            lg.manual_seed(11)
        return function(data(index))

    compiled = compare(make, [lambda f, i=i: call(f, i) for i in range(7)])
    assert compiled.traces == 1


def test_numbers(compare: Any, data: Data) -> None:
    """A number in every role, of every kind of value."""
    roles: list[Callable[[Tensor, Any], Any]] = [
        lambda x, s: x * s + s / 3 - 1,
        lambda x, s: s - x / (s + 5),
        lambda x, s: x.clamp(min=s),
        lambda x, s: (x.abs() + 1) ** s,
        lambda x, s: lg.full((3,), s) + lg.tensor([s, 1.0, 2.0]),
        lambda x, s: lg.add(x, x, alpha=s),
        lambda x, s: lg.where(x > s, x, s),
        lambda x, s: x.long() * s,
        lambda x, s: x.half() * s,
        lambda x, s: x * math.exp(s),
        lambda x, s: x * abs(s) * max(s, 0.5) * (s % 2) * round(s),
        lambda x, s: x[int(s) % 3],
        lambda x, s: (f"{s:.2f}", s * 2, x if s else x + 1),
        lambda x, s: x * 2 if isinstance(s, float) else x * 3,
        lambda x, s: x * 2 if type(s) is float else x * 3,
        lambda x, s: x * (x.sum().item() * s),
        lambda x, s: F.leaky_relu(x, s).lerp(x, s),
        lambda x, s: x.clone().mul_(s).add_(1).fill_(s),
        lambda x, s: [x + each for each in (s, 1, s)],
    ]
    values = [0.5, 0.7, 1.0, 0.0, -0.0, 2.0, -1.0, 3.25, 1, 2, 0, 0.5]
    replayed = []
    for role in roles:
        calls = [lambda f, i=i, v=v: f(data(i), v) for i, v in enumerate(values)]
        compiled = compare(lambda role=role: (role, lambda: 0), calls)
        replayed.append(compiled._hits)
    assert sum(replayed) > 80


def test_a_number_that_scales_is_no_reason_to_trace(data: Data) -> None:
    lr = 0.5

    def scaled(x: Tensor, s: float) -> Any:
        return x * s * lr + 2 * s

    compiled = lg.compile(scaled)
    for step in range(20):
        lr = 0.25 + step
        s = 0.3 + step / 7
        expected = np.array(data(step).tolist()) * s * lr + 2 * s
        np.testing.assert_allclose(compiled(data(step), s).numpy(), expected, rtol=1e-4)
    assert compiled.traces == 1


def test_reads_in_the_middle(compare: Any, data: Data) -> None:
    """A branch on data, a loop until convergence, item() as a number and as a result, float() and tolist()."""

    def branch(x: Tensor) -> Any:
        return x * 2 if x.sum() > 0 else (x - 1).relu()

    def loop(x: Tensor) -> Any:
        steps = 0
        while x.abs().sum().item() < 60:
            x = x * 1.5 + 0.5
            steps += 1
        return x, steps

    def scaled(x: Tensor) -> Any:
        total = x.sum().item()
        return x / (abs(total) + 1), total, {"mean": x.mean().item()}

    def converted(x: Tensor) -> Any:
        return x * float(x[0, 0]), x[1].tolist()

    for function, hits in ((branch, 8), (loop, 6), (scaled, 4), (converted, 3)):
        calls = [lambda f, i=i: f(data(i)) for i in range(10)]
        compiled = compare(lambda function=function: (function, lambda: 0), calls)
        assert compiled._hits >= hits, function


def test_pending_and_pinned_inputs(compare: Any) -> None:
    def make() -> Any:
        outside = np.ones(3, "float32")
        pinned = lg.from_numpy(outside)
        written = lg.zeros(3)

        def step(x: Tensor) -> Any:
            return pinned * x + written

        def call(function: Any, index: int) -> Any:
            outside[0] = index
            written.add_(index)  # pending when the call begins
            return function(lg.ones(3) * index + 1)

        made.append(call)
        return step, lambda: [pinned, written]

    made: list[Any] = []
    compiled = compare(make, [lambda f, i=i: made[-1](f, i) for i in range(5)])
    assert compiled.traces == 1


def test_a_history_goes_through(compare: Any, data: Data) -> None:
    """A result that gradients go through is computed plainly, under no_grad it is replayed; a spent one says so."""

    def make() -> Any:
        weight = lg.randn(3, 2, requires_grad=True)
        return lambda x: (x @ weight).tanh(), lambda: [weight, weight.grad]

    def call(function: Any, index: int) -> Any:
        if index % 2:
            with lg.no_grad():
                return function(data(index))
        y = function(data(index))
        y.sum().backward()
        return y

    compare(make, [lambda f, i=i: call(f, i) for i in range(8)])
    weight = lg.randn(3, requires_grad=True)

    @lg.compile
    def spent(x: Tensor) -> Any:
        loss = (x * weight).exp().sum()
        loss.backward()
        return loss

    for index in range(3):
        loss = spent(data(index))
        assert loss.grad_fn is not None
        assert loss.grad_fn.name() == "SumBackward0"
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()


def test_modules_methods_and_nesting(data: Data) -> None:
    lg.manual_seed(0)
    plain = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    model = lg.compile(plain)
    assert list(model.parameters()) == list(plain.parameters())

    class Scaled:
        def __init__(self) -> None:
            self.scale = 2.0

        @lg.compile
        def apply(self, x: Tensor) -> Any:
            return x * self.scale

    scaled = Scaled()
    inner = lg.compile(lambda x: x * 2)
    outer = lg.compile(lambda x: inner(x) + inner(x + 1))
    for index in range(4):
        x = data(index)
        with lg.no_grad():
            np.testing.assert_array_equal(model(x).numpy(), plain(x).numpy())
        scaled.scale = 2.0 + index // 2
        np.testing.assert_allclose(scaled.apply(x).numpy(), x.numpy() * scaled.scale, rtol=1e-6)
        np.testing.assert_allclose(outer(x).numpy(), x.numpy() * 4 + 2, rtol=1e-6)
    assert (model.traces, outer.traces, inner.traces) == (1, 1, 0)
    assert Scaled.apply.traces == 2


def test_a_function_that_calls_itself(compare: Any, data: Data) -> None:
    scale = 1.0

    def make() -> Any:
        def power(x: Tensor, n: int) -> Any:
            return x * scale if n == 0 else power(x * 2, n - 1)

        return power, lambda: 0

    def call(function: Any, index: int) -> Any:
        nonlocal scale
        scale = 1.0 + index // 3
        return function(data(index), index % 3)

    compare(make, [lambda f, i=i: call(f, i) for i in range(9)])


def test_threads(data: Data) -> None:
    compiled = lg.compile(lambda x, s: (x * s).tanh() + 1)
    wrong: list[int] = []

    def work(number: int) -> None:
        for turn in range(60):
            x = np.full(4 + number % 3, turn / 50, "float32")
            found = compiled(lg.tensor(x), 0.5 + number).numpy()
            if not np.allclose(found, np.tanh(x * (0.5 + number)) + 1, atol=1e-5):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert compiled.traces <= 4


def test_donated_arguments_are_gone(data: Data) -> None:
    compiled = lg.compile(lambda a, b: a + b, donate="a")
    for index in range(3):
        a, b = data(index), data(index + 1)
        expected = a.numpy().copy() + b.numpy()
        a = data(index)
        np.testing.assert_allclose(compiled(a, b).numpy(), expected)
        np.testing.assert_allclose(b.numpy(), data(index + 1).numpy())
        with pytest.raises(RuntimeError, match="value"):
            a.tolist()


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What only the collector of cycles would let go of stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_traced_step_keeps_nothing_of_the_values_before() -> None:
    """Replays look at no storage again, so what they held on to would stay."""
    model = lg.nn.Linear(200, 200)
    optimizer = lg.optim.AdamW(model.parameters())
    x = lg.ones(4, 200).realize()

    @lg.compile
    def step() -> Any:
        optimizer.zero_grad()
        loss = model(x).sum()
        loss.backward()
        optimizer.step()
        return loss.detach()

    step()
    state = optimizer.state[model.weight]
    before = [weakref.ref(state[name].storage.node.value) for name in ("exp_avg", "exp_avg_sq")]
    traces = step.traces
    step()
    assert step.traces == traces + 1
    assert [each() for each in before] == [None, None]


def test_a_refused_call_keeps_nothing_of_what_it_was_given(no_collector: None) -> None:
    @lg.compile
    def answer(x: Any) -> Any:
        return SimpleNamespace(loss=(x * 2).sum().item())

    x = lg.ones(100, 100).realize()
    assert answer(x).loss == 20000
    value = weakref.ref(x.storage.node.value)
    del x
    assert value() is None
