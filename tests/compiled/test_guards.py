"""What is guarded, what refuses compilation, what is said about it, and that a failed call changes nothing."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config, nn
from lazygrad.tensor import Tensor

Data = Callable[[int], Tensor]

SCALE = 2.0
COUNT = 0
TABLE = {"shift": 1.0}


class Options:
    gain = 2.0

    def __init__(self) -> None:
        self.bias = 0.5


OPTIONS = Options()


def helper(x: Tensor) -> Any:
    return x * SCALE + TABLE["shift"] * OPTIONS.bias * OPTIONS.gain


@lg.compile
def through(x: Tensor) -> Any:
    return helper(x)


def test_globals_of_called_functions_are_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    x = lg.ones(2)
    expected: Callable[[], float] = lambda: SCALE + TABLE["shift"] * OPTIONS.bias * OPTIONS.gain  # noqa: E731
    changes: list[Callable[[], object]] = [
        lambda: None,
        lambda: monkeypatch.setitem(globals(), "SCALE", 3.0),
        lambda: monkeypatch.setitem(TABLE, "shift", 5.0),
        lambda: monkeypatch.setattr(OPTIONS, "bias", 0.25),
        lambda: monkeypatch.setattr(Options, "gain", 7.0),
    ]
    for number, change in enumerate(changes):
        change()
        for _ in range(2):
            assert through(x).tolist() == [expected()] * 2
        assert through.traces == number + 1
    monkeypatch.setitem(globals(), "helper", lambda x: x * 100)
    assert through(x).tolist() == [100.0, 100.0]


def test_everything_about_an_argument_is_guarded(compare: Any) -> None:
    """Shapes, dtypes, views, requires_grad, the tree of arguments, keywords, grad mode and the default dtype."""
    base = np.arange(12, dtype="float32").reshape(3, 4)

    def calls() -> list[Callable[[Any], Any]]:
        return [
            lambda f: f(lg.tensor(base)),
            lambda f: f(lg.tensor(base).t()),
            lambda f: f(lg.tensor(base)[1:]),
            lambda f: f(lg.tensor(base)[:, ::2]),
            lambda f: f(lg.tensor(base).double()),
            lambda f: f(lg.tensor(base).long()),
            lambda f: f(lg.tensor(base), 2),
            lambda f: f(lg.tensor(base), b=2),
            lambda f: f(lg.tensor(base), [2, 3.0]),
            lambda f: f(lg.tensor(base), (2, {"k": lg.ones(4)})),
            lambda f: f(lg.tensor(base), (2, {"j": lg.ones(4)})),
            lambda f: f(lg.tensor(base), None),
            lambda f: f(lg.tensor(base), True),
            lambda f: f(lg.tensor(base), "text"),
            lambda f: f(lg.tensor(base).requires_grad_()).sum().backward(),
        ]

    def function(a: Tensor, b: Any = 1) -> Any:
        total = a.sum(0) + lg.ones(1)
        if isinstance(b, (int, float)):
            return total * b
        for each in b or ():
            if isinstance(each, dict):
                total = total + each.get("k", 5.0)
            elif not isinstance(each, str):
                total = total * each
        return total

    compiled = compare(lambda: (function, lambda: 0), calls() * 3)
    assert compiled._hits >= 10


def test_modes_of_modules_are_guarded(compare: Any, data: Data) -> None:
    def make() -> Any:
        lg.manual_seed(2)
        model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
        made.append(model)
        return lambda x: model(x).detach(), lambda: list(model.parameters())

    def call(function: Any, index: int) -> Any:
        model = made[-1]
        model.train(index % 3 == 0)
        model[1].p = 0.5 if index < 6 else 0.9
        if index == 8:
            model[0] = nn.Linear(3, 3, bias=False)
        return function(data(index))

    made: list[Any] = []
    compare(make, [lambda f, i=i: call(f, i) for i in range(12)])


def test_side_effects_refuse_compilation_by_name(compare: Any, capsys: Any) -> None:
    kept: list[Any] = []
    state = Options()
    turn = 0

    def prints(x: Tensor) -> Any:
        print("seen")
        return x + 1

    def counts(x: Tensor) -> Any:
        global COUNT
        COUNT += 1
        return x * COUNT

    def turns(x: Tensor) -> Any:
        nonlocal turn
        turn += 1
        return x * turn

    def appends(x: Tensor) -> Any:
        kept.append(x.sum())
        return x + len(kept)

    def keeps(x: Tensor) -> Any:
        kept.append(x.sum().item())
        return x

    def assigns(x: Tensor) -> Any:
        state.bias += 1
        return x * state.bias

    def draws(x: Tensor) -> Any:
        return x * random.random()

    words = {
        prints: "calls print", counts: "the global 'COUNT'", turns: "the nonlocal 'turn'", appends: "closure cell 'kept'",
        keeps: "closure cell 'kept'", assigns: "closure cell 'state'", draws: "random",
    }  # fmt: skip
    for function, word in words.items():
        kept.clear()
        compiled = lg.compile(function)
        with pytest.warns(UserWarning, match=word):
            first = compiled(lg.ones(1)).item()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            second, third = compiled(lg.ones(1)).item(), compiled(lg.ones(1)).item()
        assert word in compiled.refusal
        if function in (counts, turns, assigns, appends):
            assert second - first == third - second == 1
        if function in (appends, keeps):
            assert len(kept) == 3
            assert all(type(each) in (float, Tensor) for each in kept)
        with pytest.raises(RuntimeError, match=word):
            lg.compile(function, fullgraph=True)(lg.ones(1))
    assert capsys.readouterr().out.count("seen") == 3


class Worker:
    """What its constructor does is nothing that a call through an object of it does."""

    def __init__(self, name: str = "tanh") -> None:
        self.apply = getattr(lg, name)
        print("made")

    def work(self, x: Tensor) -> Any:
        return self.apply(x)


def test_constructors_belong_to_code_that_has_the_class() -> None:
    worker = Worker()
    through = [lg.compile(lambda x: worker.work(x) * 1.0), lg.compile(worker.work)]
    making = [
        lg.compile(lambda x: Worker().work(x)),
        lg.compile(lambda x: type(worker)().work(x)),
        lg.compile(lambda x: worker.__class__("exp").work(x)),
    ]
    for compiled in through:
        for number in range(3):
            assert (
                compiled(lg.ones(2) * number).tolist() == worker.work(lg.ones(2) * number).tolist()
            )
        assert compiled.traces == 1 and not compiled.refusal
    for compiled in making:
        with pytest.warns(UserWarning, match="Worker.__init__ calls"):
            compiled(lg.ones(2))


def test_what_cannot_be_watched_is_run_as_written() -> None:
    table = np.ones(2, "float32")
    steps = iter(range(100))

    def reads(x: Tensor) -> Any:
        return x + lg.tensor(table)

    def iterates(x: Tensor) -> Any:
        for each in steps:
            return x + each
        return x

    def exposes(x: Tensor) -> Any:
        return x + float((x * 2).numpy()[0])

    def shuffles(x: Tensor) -> Any:
        return x[lg.randperm(2)]

    compiled = lg.compile(reads)
    assert compiled(lg.ones(2)).tolist() == [2, 2]
    table[0] = 5
    assert compiled(lg.ones(2)).tolist() == [6, 2]
    compiled = lg.compile(iterates)
    assert [compiled(lg.zeros(1)).item() for _ in range(3)] == [0, 1, 2]
    compiled = lg.compile(exposes)
    assert [compiled(lg.ones(1) * n).item() for n in range(4)] == [0, 3, 6, 9]
    compiled = lg.compile(shuffles)
    lg.manual_seed(1)
    found = [compiled(lg.arange(2)).tolist() for _ in range(12)]
    lg.manual_seed(1)
    assert found == [shuffles(lg.arange(2)).tolist() for _ in range(12)]


def test_a_failed_call_changes_nothing() -> None:
    weight = lg.ones(3, requires_grad=True)
    total = lg.ones(3)

    @lg.compile
    def step(index: Tensor, limit: float) -> Any:
        total.add_(1)
        lg.rand(3)
        (weight * total).exp().sum().backward()
        if total.sum() > limit:
            raise ValueError("too large")
        return total[index]

    def state() -> list[Any]:
        grad = None if weight.grad is None else weight.grad.tolist()
        return [total.tolist(), grad, total._version, lg.get_rng_state().tolist()]

    good, bad = lg.tensor([0, 1]), lg.tensor([0, 7])
    for _ in range(2):  # traced, then replayed
        for _ in range(2):
            before = state()
            with pytest.raises(IndexError, match=r"index 7.*test_guards.py"):
                step(bad, 1e9)
            assert state() == before
            with pytest.raises(ValueError, match="too large"):
                step(good, 0.0)
            assert state() == before
        step(good, 1e9)
        assert state() != before


def test_explanations_name_argument_and_line(capfd: Any, data: Data) -> None:
    layer = nn.Linear(3, 3)

    @lg.compile
    def choose(x: Tensor, k: int) -> Any:
        if k > 2:
            return layer(x).detach()
        return x * k

    with config.override(explain={"recompile"}):
        choose(data(0), 2)
        choose(data(0)[0], 2)
        choose(data(0), 3)
        layer.eval()
        choose(data(0), 3)
    said = [line for line in capfd.readouterr().err.splitlines() if "compile: choose" in line]
    assert "traced for the first time" in said[0]
    assert "argument 'x' is float32[3]" in said[1]
    assert "was float32[4, 3]" in said[1]
    assert "choose(data(0)[0], 2)" in said[1]
    assert "if k > 2:" in said[2]
    assert "training is False, was True" in said[3]
    assert "test_guards.py" in said[3]


def test_traces_are_bounded(data: Data) -> None:
    """A function whose calls all differ ends up running as it is written, and comes back when they do not."""
    compiled = lg.compile(lambda x, n: x[:, :1].expand(4, n))
    for n in range(2, 120):
        assert compiled(data(0), n).shape == (4, n)
    assert compiled.traces < 40
    assert len(compiled._programs) <= 16
    assert sum(len(program.traces) for program in compiled._programs) <= 256


def test_arguments_of_compile() -> None:
    def double(x: Tensor) -> Tensor:
        """Twice."""
        return x * 2

    assert lg.compile(double, disable=True) is double
    made = lg.compile(mode="max-autotune", fullgraph=True)(double)
    assert made(lg.ones(1)).item() == 2
    assert (made.__name__, made.__doc__, made.__wrapped__) == ("double", "Twice.", double)
    assert lg.compile(made) is made
    assert "def replay(args, kwargs)" in made.source
    with pytest.raises(TypeError, match="function or a module"):
        lg.compile(3)  # type: ignore[call-overload]
