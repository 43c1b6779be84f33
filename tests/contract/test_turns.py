"""Loops whose calls are known before they are made: they compute what the same loops compute with every call made in full, whatever
else goes on in between, and nothing that a user can see tells the two apart.
"""

from __future__ import annotations

import gc
import math
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import lazygrad as lg
from lazygrad import turns
from lazygrad.runtime import realize as realizing
from lazygrad.runtime.compile import KERNELS
from lazygrad.runtime.steady import STEADY

Loop = Callable[[list[Any]], None]


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """No turn of another test is under way."""
    STEADY.leave()
    realizing.PLANS.clear()
    yield
    STEADY.leave()


def seen(loop: Loop, foreseen: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], int]:
    """What a loop notes, and how many of its turns were passed as foreseen."""
    passed = 0
    after = turns.Passage.after

    def counted(ready: Any) -> None:
        nonlocal passed
        passed += 1
        after(ready)

    STEADY.leave()
    realizing.PLANS.clear()
    with monkeypatch.context() as patch:
        patch.setattr(realizing, "on_run", turns.ran if foreseen else None)
        patch.setattr(turns.Passage, "after", staticmethod(counted))
        lg.manual_seed(7)
        noted: list[Any] = []
        loop(noted)
        STEADY.leave()
    return [plain(each) for each in noted], passed


def plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, lg.Tensor) else value


def close(left: Any, right: Any) -> bool:
    """Whether two nests of values are the same but for rounding: what is looked at in the middle of a step is computed by another plan."""
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(close, left, right))
    if isinstance(left, float):
        return math.isclose(left, right, rel_tol=1e-4, abs_tol=1e-5)
    return bool(left == right)


def weights(*shapes: tuple[int, ...]) -> list[Any]:
    made = [lg.randn(*shape) * 0.1 if shape else lg.randn(()) for shape in shapes]
    return [each.realize().requires_grad_() for each in made]


def data(*shape: int) -> Any:
    return lg.randn(*shape).realize()


def descend(parameters: list[Any], rate: float = 1e-2) -> None:
    with lg.no_grad():
        for each in parameters:
            each -= rate * each.grad
            each.grad = None


def polynomial(noted: list[Any], between: Callable[..., None] | None = None) -> None:
    x = lg.linspace(-math.pi, math.pi, 40).realize()
    y = lg.sin(x).realize()
    parameters = weights((), (), (), ())
    a, b, c, d = parameters
    for t in range(24):
        predicted = a + b * x + c * x**2 + d * x**3
        loss = (predicted - y).pow(2).sum()
        if between is not None:
            between(t, noted, predicted, loss, parameters)
        loss.backward()
        descend(parameters, 1e-5)
    noted += [loss, predicted, *parameters]


def changing_rate(noted: list[Any]) -> None:
    w, x = weights((3, 4))[0], data(5, 3)
    for t in range(20):
        loss = (x.mm(w) * (0.5 + 0.01 * t)).pow(2).sum()
        loss.backward()
        descend([w], 0.1 / (1.5 + t))
    noted += [w, loss]


def chain(noted: list[Any]) -> None:
    inputs = [data(33) for _ in range(4)]
    a = data(33)
    for t in range(20):
        y = (lg.sin(inputs[t % 4] * a + 0.3 * t) - a) * 0.5
        noted.append(lg.realize(y))


def state(noted: list[Any]) -> None:
    x, h = data(6), lg.zeros(6).realize()
    for t in range(20):
        h = lg.tanh(h * 0.9 + x * (0.1 + 0.1 * t)).realize()
        if t % 7 == 3:
            noted.append(h)
    noted.append(h)


def reads(noted: list[Any]) -> None:
    def between(t: int, noted: list[Any], predicted: Any, loss: Any, parameters: list[Any]) -> None:
        if t % 6 == 5:
            noted.append(loss.item())

    polynomial(noted, between)


def views(noted: list[Any]) -> None:
    def between(t: int, noted: list[Any], predicted: Any, loss: Any, parameters: list[Any]) -> None:
        if t in (15, 19):
            noted += [
                predicted[3:5],
                predicted.reshape(5, 8).sum(0),
                loss.detach(),
                loss.grad_fn.name(),
            ]

    polynomial(noted, between)


def kept(noted: list[Any]) -> None:
    def between(t: int, noted: list[Any], predicted: Any, loss: Any, parameters: list[Any]) -> None:
        noted += [loss, predicted]

    polynomial(noted, between)


def hooks(noted: list[Any]) -> None:
    def between(t: int, noted: list[Any], predicted: Any, loss: Any, parameters: list[Any]) -> None:
        if t == 14:
            parameters[0].register_hook(lambda gradient: gradient * 2)
        if t == 17:
            predicted.register_hook(lambda gradient: gradient * 0.5)

    polynomial(noted, between)


def written_from_outside(noted: list[Any]) -> None:
    def between(t: int, noted: list[Any], predicted: Any, loss: Any, parameters: list[Any]) -> None:
        if t == 16:
            with lg.no_grad():
                parameters[1].fill_(0.25)
        if t == 19:
            parameters[2].data.mul_(0.5)
        if t == 21:
            parameters[3].data = lg.full((), 0.125)

    def loop(noted: list[Any]) -> None:
        try:
            polynomial(noted, between)
        except (
            RuntimeError
        ) as error:  # what backward saved was written: the same message at the same step
            noted.append(str(error)[:80])

    loop(noted)


def written_before(noted: list[Any]) -> None:
    w, x = weights((4, 4))[0], data(4, 4)
    for t in range(20):
        if t == 15:
            x.copy_(x * 2)
        if t == 17:
            w.data.clamp_(min=0)
        y = x.mm(w)
        loss = (y - x).tanh().sum()
        loss.backward()
        if t == 16:
            x.add_(1.0)
        descend([w])
    noted += [w, y, loss, w._version, x._version]


def second_backward(noted: list[Any]) -> None:
    def between(t: int, noted: list[Any], predicted: Any, loss: Any, parameters: list[Any]) -> None:
        if t == 15:
            loss.backward(retain_graph=True)
        if t == 18:
            noted += lg.autograd.grad(loss, parameters, retain_graph=True)

    polynomial(noted, between)


def accumulated(noted: list[Any]) -> None:
    w, x = weights((4, 2))[0], data(3, 4)
    for t in range(24):
        loss = x.mm(w).sin().sum()
        loss.backward()
        if t % 8 == 7 or t < 14:
            descend([w])
    noted += [w, w.grad]


def later_backward(noted: list[Any]) -> None:
    w, x = weights((4, 2))[0], data(3, 4)
    losses = []
    for t in range(16):
        loss = (x.mm(w) * (1.5 + t)).sin().sum()
        noted.append(loss.item())
        losses.append(loss)
    for loss in losses[::5]:
        loss.backward()
    noted.append(w.grad)


def frozen(noted: list[Any]) -> None:
    w, v, x = *weights((4, 2), (4, 2)), data(3, 4)
    for t in range(22):
        if t == 16:
            v.requires_grad_(False)
        loss = (x.mm(w) * x.mm(v)).sum()
        loss.backward()
        descend([w] if t >= 16 else [w, v])
    noted += [w, v, v.requires_grad, loss.requires_grad]


def other_shapes(noted: list[Any]) -> None:
    w, batches = weights((4, 2))[0], [data(3, 4), data(3, 4), data(4, 4)]
    for t in range(24):
        x = batches[t % 2 if t != 17 else 2]
        loss = x.mm(w).exp().sum()
        loss.backward()
        descend([w])
    noted += [w, loss]


def a_branch(noted: list[Any]) -> None:
    w, x = weights((4, 2))[0], data(3, 4)
    for t in range(24):
        y = x.mm(w)
        y = y.relu() if t % 9 == 8 else y.tanh()
        loss = (y * y).sum()
        loss.backward()
        descend([w])
    noted += [w, loss]


def not_recorded(noted: list[Any]) -> None:
    w, x = weights((4, 2))[0], data(3, 4)
    for t in range(24):
        if t == 18:
            with lg.no_grad():
                noted.append(x.mm(w).tanh().sum())
        loss = x.mm(w).tanh().sum()
        loss.backward()
        descend([w])
    noted += [w, loss.requires_grad]


def same_operand(noted: list[Any]) -> None:
    x, y = data(5), data(5)
    for t in range(20):
        noted.append(((x * (y if t < 15 else x)) + x).realize())


def aliases(noted: list[Any]) -> None:
    x, y = data(5), data(5)
    for t in range(20):
        z = x * 2.5
        noted.append((z + (y if t < 15 else x.detach())).realize())


def wrong_argument(noted: list[Any]) -> None:
    w, x = weights((4, 2))[0], data(3, 4)
    for t in range(20):
        y = x.mm(w)
        if t == 16:
            try:
                y.mm(y)
            except RuntimeError as error:
                noted.append(str(error))
        y.tanh().sum().backward()
        descend([w])
    noted.append(w)


def special_numbers(noted: list[Any]) -> None:
    x = data(5)
    for t in range(24):
        factor = {15: 0.0, 16: -0.0, 17: 1.0, 18: math.inf, 19: math.nan}.get(t, 0.5 + t)
        noted.append(str((x * factor + 1.5).tolist()))


def old_spelling(
    noted: list[Any], look: Callable[..., None] | None = None, steps: int = 24, zero: bool = True
) -> None:
    """The loss is read before backward(), weights are written by `.data`, gradients are set to zero in place."""
    x, y = data(6, 5), data(6, 3)
    w1, w2 = weights((5, 4), (4, 3))

    def at(place: int, t: int, **seen: Any) -> None:
        if look is not None:
            look(place, t, noted, w1=w1, w2=w2, x=x, **seen)

    for t in range(steps):
        y_pred = x.mm(w1).clamp(min=0).mm(w2)
        at(0, t, y_pred=y_pred)
        loss = (y_pred - y).pow(2).sum()
        at(1, t, y_pred=y_pred, loss=loss)
        noted.append(loss.data.item())
        at(2, t, y_pred=y_pred, loss=loss)
        loss.backward()
        at(3, t, y_pred=y_pred, loss=loss)
        w1.data -= (1e-2 + 1e-4 * t) * w1.grad.data
        at(4, t, y_pred=y_pred, loss=loss)
        w2.data -= 1e-2 * w2.grad.data
        at(5, t, y_pred=y_pred, loss=loss)
        if zero:
            w1.grad.data.zero_()
            at(6, t, y_pred=y_pred, loss=loss)
            w2.grad.data.zero_()
        at(7, t, y_pred=y_pred, loss=loss)
    noted += [w1, w2, w1.grad, w2.grad, loss, y_pred, w1._version, w1.grad._version]


def gradients_that_grow(noted: list[Any]) -> None:
    old_spelling(noted, zero=False)


LOOKS: list[Callable[[dict[str, Any]], Any]] = [
    lambda seen: seen["y_pred"].sum().item(),
    lambda seen: seen["w1"].tolist(),
    lambda seen: None if seen["w1"].grad is None else seen["w1"].grad.tolist(),
    lambda seen: (seen["w1"]._version, seen["w2"].grad is None or seen["w2"].grad._version),
    lambda seen: seen["y_pred"].grad_fn.name() + str(seen["y_pred"][1:3].tolist()),
    lambda seen: seen["w2"].data.mul_(0.75) and None,
    lambda seen: seen["loss"].item() if "loss" in seen else None,
    lambda seen: seen["loss"].detach().tolist() if "loss" in seen else None,
    lambda seen: seen["w2"].grad.mul_(2.0) and None if seen["w2"].grad is not None else None,
    lambda seen: setattr(seen["w1"], "data", seen["w1"].data * 0.5),
]


def looked_at_everywhere(noted: list[Any]) -> None:
    """At every place of a step everything that can be looked at or written is, with calm steps in between."""
    calm = 6
    events = [(place, look) for look in LOOKS for place in range(8)]

    def look(place: int, t: int, noted: list[Any], **seen: Any) -> None:
        event, step = divmod(t - 12, calm)
        if t >= 12 and step == 0 and event < len(events) and events[event][0] == place:
            try:
                noted.append(events[event][1](seen))
            except (
                RuntimeError
            ) as error:  # backward() of what was changed in place: the same message
                noted.append(str(error)[:60])

    old_spelling(noted, look, 12 + calm * len(events))


def held(noted: list[Any]) -> None:
    """Everything of some steps is kept, and looked at when the loop is over."""
    kept: list[Any] = []

    def look(place: int, t: int, noted: list[Any], **seen: Any) -> None:
        if t in (14, 15, 19) and place in (2, 5):
            kept.extend(
                [seen["loss"], seen["y_pred"], seen["loss"].data, seen["w1"].data, seen["w1"].grad]
            )

    old_spelling(noted, look)
    noted += [each.tolist() for each in kept]
    noted += [kept[0].grad_fn.name(), kept[-4].grad_fn.next_functions[0][0].name()]
    try:
        kept[-5].backward()
    except RuntimeError as error:
        noted.append(str(error)[:50])


def read_behind(noted: list[Any]) -> None:
    """The loss is read when the weights are written."""
    w, x = weights((4, 2))[0], data(3, 4)
    total = 0.0
    for t in range(24):
        loss = x.mm(w).sin().sum()
        loss.backward()
        descend([w], 0.05 + 0.001 * t)
        total += loss.item()
        if t % 8 == 7:
            noted += [total, loss.grad_fn.name()]
    noted += [w, loss]


def two_models(noted: list[Any]) -> None:
    """Two losses by turns, each with weights of its own, whose gradients stay."""
    a, b = weights((4, 2), (2, 3))
    x = data(3, 4)
    losses: list[tuple[Any, Callable[[], Any]]] = [
        (a, lambda: x.mm(a).sin()),
        (b, lambda: x.mm(a).detach().mm(b).cos()),
    ]
    for _ in range(24):
        for mine, of in losses:
            loss = of().sum()
            noted.append(loss.item())
            loss.backward()
            mine.data -= 0.1 * mine.grad.data
            mine.grad.zero_()
    noted += [a, b]


def evaluated(noted: list[Any]) -> None:
    """Losses are read that no gradient is asked of, though one could be."""
    w, x = weights((4, 2))[0], [data(3, 4) for _ in range(3)]
    for t in range(24):
        noted.append((x[t % 3].mm(w) * (0.5 + t)).sin().sum().item())


def network(
    noted: list[Any], look: Callable[..., None] | None = None, steps: int = 24, kind: str = "Adam"
) -> None:
    """Modules, a loss, an optimizer whose rate changes; the loss is read when the step has been made."""
    nn = lg.nn
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    options: dict[str, dict[str, Any]] = {
        "SGD": {"momentum": 0.9},
        "AdamW": {"amsgrad": True},
        "Adam": {},
    }
    groups = [
        {"params": model[0].parameters(), "lr": 0.02},
        {"params": [*model[2].parameters(), *model[4].parameters()]},
    ]
    optimizer = getattr(lg.optim, kind)(groups, lr=0.01, **options[kind])
    schedule = lg.optim.lr_scheduler.ExponentialLR(optimizer, 0.995)
    x = [data(6, 5) for _ in range(3)]
    y = lg.tensor([0, 1, 2, 0, 1, 2]).realize()

    def at(place: int, t: int, **seen: Any) -> None:
        if look is not None:
            look(
                place,
                t,
                noted,
                model=model,
                optimizer=optimizer,
                w1=model[2].weight,
                w2=model[4].weight,
                **seen,
            )

    for t in range(steps):
        optimizer.zero_grad()
        y_pred = model(x[t % 3])
        at(0, t, y_pred=y_pred)
        loss = nn.functional.cross_entropy(y_pred, y)
        try:
            loss.backward()
        except RuntimeError as error:  # what backward() reads was written
            noted.append(str(error)[:60])
            continue
        at(1, t, y_pred=y_pred, loss=loss)
        optimizer.step()
        at(2, t, y_pred=y_pred, loss=loss)
        schedule.step()
        if kind != "SGD":
            noted.append(loss.item())
        at(3, t, y_pred=y_pred, loss=loss)
    noted += [
        *model.parameters(),
        loss,
        y_pred,
        [plain(each) for each in optimizer.state_dict()["state"][0].values()],
        [p._version for p in model.parameters()],
    ]


def network_that_nobody_reads(noted: list[Any]) -> None:
    network(noted, kind="SGD")


def network_with_largest_averages(noted: list[Any]) -> None:
    network(noted, kind="AdamW")


def network_looked_at(noted: list[Any]) -> None:
    """At every place of a step of a network's training."""
    calm = 7
    more: list[Callable[[dict[str, Any]], Any]] = [
        lambda seen: seen["optimizer"].state[seen["w1"]]["exp_avg"].tolist(),
        lambda seen: seen["optimizer"].state[seen["w2"]]["exp_avg_sq"].mul_(0.5) and None,
        lambda seen: seen["optimizer"].load_state_dict(seen["optimizer"].state_dict()),
        lambda seen: seen["w1"].requires_grad_(not seen["w1"].requires_grad) and None,
        lambda seen: setattr(seen["w1"], "grad", None),
        lambda seen: (
            seen["model"].load_state_dict(
                {k: v * 0.9 for k, v in seen["model"].state_dict().items()}
            )
            and None
        ),
    ]
    events = [(place, look) for look in [*LOOKS, *more] for place in range(4)]

    def look(place: int, t: int, noted: list[Any], **seen: Any) -> None:
        event, step = divmod(t - 12, calm)
        if t >= 12 and step == 0 and event < len(events) and events[event][0] == place:
            try:
                noted.append(events[event][1](seen))
            except RuntimeError as error:
                noted.append(str(error)[:60])

    network(noted, look, 12 + calm * len(events))


def parts_of_data(noted: list[Any]) -> None:
    """Views that are made anew in each turn, of data that is replaced, written to, and read whole in between."""
    x, w = data(6, 4), weights((3,))[0]
    for t in range(40):
        if t % 11 == 9:
            x = data(6, 4)
        if t % 13 == 12:
            x[1, 2] += 1.0
        part = x[:, 1:] if t % 17 < 15 else x[:, :3]
        loss = ((part.t() * 0.5).sum(1) * w + x[2][1:]).pow(2).sum()
        if t == 20:
            noted += [loss.requires_grad, (x * 2).sum()]
        if t == 27:
            part.mul_(0.5)
        loss.backward()
        descend([w])
    noted += [w, loss, x]


def parts_held(noted: list[Any]) -> None:
    """Results of views, looked at behind the end of a turn and when what they were computed of has changed."""
    x, s, before = data(5, 4), data(4), None
    for t in range(56):
        column = x[:, 1].clone()
        row = x[3] * s[:4:1]
        column.realize()
        row.realize()
        if t % 12 == 11:
            noted += [column, before, row.stride(), column.is_contiguous(), row._version]
            x[:, 1] = column * 0.5
        if t % 14 == 13:
            s.add_(1.0)
        if t == 43:
            s.requires_grad_()
        if t == 49:
            s = s.detach()
        before = row
    noted += [x, row]


def parts_of_variables(noted: list[Any]) -> None:
    """A view of what needs gradients is none of data, whoever made it."""
    w, x = weights((4, 3))[0], data(4)
    with lg.no_grad():
        unrecorded = w[:, 0]
    for t in range(24):
        y = (w[:, 1] * x + unrecorded).sum()
        if t % 3 == 0:
            y.backward()
            noted.append(w.grad.sum())
            descend([w])
        with lg.no_grad():
            noted.append((w[:, 1] * x).sum().realize())
    noted.append(w)


def parts_and_wholes(noted: list[Any]) -> None:
    """A tensor and parts of it in one turn, and a part that is written to."""
    x, y = data(4, 4), data(4)
    for _ in range(24):
        noted.append((x[1] + x.sum(0) + x[1]).realize())
        row = y[1:3]
        row *= 0.9
        noted.append((row + 1).realize())
        noted.append((x.detach()[2] * y[0]).realize())
    noted.append(y)


LOOPS = [
    parts_of_data, parts_held, parts_of_variables, parts_and_wholes, network, network_that_nobody_reads, network_with_largest_averages, network_looked_at, old_spelling, gradients_that_grow, looked_at_everywhere, held, read_behind, two_models, evaluated,
    polynomial, changing_rate, chain, state, reads, views, kept, hooks, written_from_outside, written_before, second_backward,
    accumulated, later_backward, frozen, other_shapes, a_branch, not_recorded, same_operand, aliases, wrong_argument, special_numbers,
]  # fmt: skip
NEVER = {
    parts_of_variables,
    later_backward,
    special_numbers,
    two_models,
    network_with_largest_averages,
}
"""Loops in which nothing needs to be foreseen."""


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_a_foreseen_loop_computes_what_a_plain_one_does(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreseen, passed = seen(loop, True, monkeypatch)
    full, none = seen(loop, False, monkeypatch)
    assert foreseen == full or (loop is network_looked_at and close(foreseen, full))
    assert none == 0
    assert passed >= 4 or loop in NEVER


def test_results_are_plain_tensors() -> None:
    """What a foreseen call returns shows what a full one shows, whether or not somebody looks."""
    w, x = weights((4, 2))[0], data(3, 4)
    for _ in range(10):
        y = x.mm(w)
        loss = y.tanh().sum()
        loss.backward()
        gradient = w.grad
        descend([w])
    assert type(loss.storage) is turns.Foreseen
    assert type(loss) is lg.Tensor
    assert loss.shape == () and y.shape == (3, 2)
    assert loss.dtype is lg.float32
    assert type(gradient.storage) is turns.Foreseen
    made_by: Any = loss.grad_fn
    assert made_by.name() == "SumBackward0"
    assert type(loss.storage) is not turns.Foreseen
    with pytest.raises(RuntimeError, match="a second time"):
        loss.backward()
    assert (made_by.next_functions[0][0].name(), y.is_leaf, w.is_leaf) == (
        "TanhBackward0",
        False,
        True,
    )
    assert gradient.shape == w.shape
    assert repr(gradient).startswith("tensor([[")


def test_another_thread_may_look_at_any_time() -> None:
    """Reads of a running passage by another thread see what the loop's own thread would."""
    w, x = weights((4, 4))[0], data(4, 4)
    shared: list[Any] = []
    wrong: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            if shared:
                number, y = shared[-1]
                value = y.sum().item()
                if value != number:
                    wrong.append(f"{value} is not {number}")

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for _ in range(150):
            y = x * 0.0 + 3.0
            shared.append((48.0, y))
            loss = (x.mm(w) * y).tanh().sum()
            loss.backward()
            descend([w])
    finally:
        done.set()
        reader.join()
    assert not wrong
    assert math.isfinite(loss.item())


def test_an_interrupt_in_the_middle_of_a_run_leaves_everything_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The calls of the turn were made; what it would have computed is computed when it is asked for."""
    w, x = weights((4, 2))[0], data(3, 4)

    def step() -> Any:
        loss = x.mm(w).tanh().sum()
        loss.backward()
        descend([w])
        return loss

    for _ in range(10):
        step()
    passage = STEADY.passage
    assert type(passage) is turns.Passage
    before = w.tolist()
    plan = passage.turn.runs[-1].ready.plan

    def interrupted(*given: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(plan), "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            step()
    after = w.tolist()
    assert after != before
    step()
    assert w.tolist() != after


def test_a_failed_check_names_the_line() -> None:
    """An index that is out of range raises as in a plain loop, and the loop goes on with another variable."""
    table, x = data(5, 3), weights((3,))[0]
    places = [lg.tensor([0, 4]).realize(), lg.tensor([1, 7]).realize()]
    for t in range(20):
        y = (lg.index_select(table, 0, places[t == 12]) * x).sum()
        y.backward()
        if t == 12:
            with pytest.raises(IndexError, match=r"index 7 is out of bounds.*index_select"):
                descend([x])
            x = weights((3,))[0]
        else:
            descend([x])
    assert STEADY.passage is not None and STEADY.passage.turn.passed > 8
    assert all(map(math.isfinite, x.tolist()))


def test_what_nobody_has_goes_at_once() -> None:
    """Passages leave nothing behind: no cycles that wait for the collector, no values of earlier turns."""
    w, x = weights((4, 2))[0], data(3, 4)

    def step() -> Any:
        y = x.mm(w)
        loss = y.tanh().sum()
        loss.backward()
        descend([w])
        return weakref.ref(y), weakref.ref(loss), loss

    gc.collect()
    gc.disable()
    try:
        gone = []
        for _ in range(12):
            y, loss, held = step()
            assert y() is None
            gone.append(loss)
        assert isinstance(STEADY.passage, turns.Passage)
        assert STEADY.passage.turn.passed >= 6
        del held
        assert not any(each() is not None for each in gone)
        assert not [each for each in gc.get_objects() if type(each) is turns.Passage and each.done]
    finally:
        gc.enable()


@pytest.mark.of_the_cpu("looks at the kernels of the CPU")
def test_a_schedule_that_is_given_in_the_middle_of_a_loop_is_in_force() -> None:
    x = data(3, 40)
    before = KERNELS.built
    for step in range(9):
        lg.realize((x * 2).exp())
        if step == 7:
            assert STEADY.passage is not None, "the loop is followed"
            before = KERNELS.built
            given = lg.schedule_override("mul_exp", "vectorize(i, 2)")
    given.remove()
    assert KERNELS.built == before + 1
