"""A step of many parameters that are in memory is one launch, in place; it does what the general way does, and nobody else's values change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.optim.optimizer import Optimizer
from lazygrad.runtime import device
from lazygrad.runtime.compile import KERNELS
from lazygrad.runtime.in_place import UPDATES
from lazygrad.runtime.realize import PLANS

pytestmark = [
    pytest.mark.skipif(
        config.current.device != "cpu" or config.current.verify,
        reason="updates in place are the CPU device's; plans that are checked run launch by launch",
    ),
    pytest.mark.of_the_cpu("updates in place are the CPU device's"),
]
SIZES = ((3, 5), (64,), (), (0, 2), (7, 33), (3000,))
EVERY: tuple[tuple[str, dict[str, Any]], ...] = (
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {"amsgrad": True, "maximize": True, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.02}),
    ("Adagrad", {"lr_decay": 0.1}),
    ("Adadelta", {}),
    ("RMSprop", {"centered": True, "momentum": 0.9}),
    ("Adamax", {}),
    ("NAdam", {}),
    ("RAdam", {"decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("ASGD", {"t0": 2}),
    ("Rprop", {}),
)
GENERAL = {("SGD", 0), *[("ASGD", step) for step in range(4)]}
"""Steps that go the general way: momentum begins as the gradient, and an average as the parameter itself."""


def members(sizes: Any = SIZES, dtype: Any = None) -> list[lg.Tensor]:
    """Parameters with gradients, all in memory."""
    draws = np.random.default_rng(1)
    made = []
    for size in sizes:
        made.append(lg.tensor(draws.normal(size=size).astype("f"), dtype=dtype).requires_grad_())
        made[-1].grad = lg.tensor(draws.normal(size=size).astype("f"), dtype=dtype)
        lg.realize(made[-1], made[-1].grad)
    return made


def launches(run: Callable[[], object]) -> int:
    before = device.default().launches
    run()
    return device.default().launches - before


@pytest.mark.parametrize(("name", "options"), EVERY, ids=str)
def test_it_is_the_general_way_in_one_launch(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind: type[Optimizer] = getattr(lg.optim, name)
    ours, theirs = members(), members()
    quick = kind(ours, **options)
    general = kind(theirs, **options)
    for step in range(8):
        for optimizer in (quick, general):
            optimizer.param_groups[0]["lr"] = 0.02 / (1 + step)
        monkeypatch.setattr(kind, "ELEMENTWISE", True)
        expected = (name, step) not in GENERAL or options == {"lr": 0.1}
        assert launches(quick.step) == expected
        monkeypatch.setattr(kind, "ELEMENTWISE", False)
        general.step()
        lg.realize(ours, theirs)
    for left, right in zip(ours, theirs):
        np.testing.assert_array_equal(left.detach().numpy(), right.detach().numpy())
    mine, other = quick.state_dict(), general.state_dict()
    for number, state in mine["state"].items():
        for entry, value in state.items():
            np.testing.assert_array_equal(
                lg.asarray(value).numpy(), other["state"][number][entry].numpy()
            )


def test_steps_compile_nothing_and_sizes_share_a_kernel() -> None:
    many = members([(number % 7 + 1, 3) for number in range(60)])
    optimizer = lg.optim.AdamW([{"params": many[:30]}, {"params": many[30:], "lr": 0.5}])
    optimizer.step()
    before = PLANS.compiled, KERNELS.built, UPDATES.compiled
    for step in range(3):
        optimizer.param_groups[0]["lr"] = 0.1 + step
        assert launches(optimizer.step) == 2
    assert (PLANS.compiled, KERNELS.built, UPDATES.compiled) == before
    other = members([(100, number + 1) for number in range(5)])
    again = lg.optim.AdamW(other)
    known = KERNELS.built, UPDATES.compiled
    assert launches(again.step) == 1
    assert (KERNELS.built, UPDATES.compiled) == known


def test_what_others_hold_stays() -> None:
    """Pending readers, records and copies of an old value keep it; aliases see the new one."""
    (weight,) = members([(4,)])
    start = weight.detach().numpy().copy()
    optimizer = lg.optim.SGD([weight], lr=1.0)
    pending, alias, row = weight.detach() * 1.0, weight.detach(), weight.detach()[1:3]
    loss = (weight * weight).sum()
    assert launches(optimizer.step) == 1
    assert weight.grad is not None
    after = start - weight.grad.numpy()
    np.testing.assert_array_equal(pending.numpy(), start)
    np.testing.assert_array_equal(alias.numpy(), after)
    np.testing.assert_array_equal(row.numpy(), after[1:3])
    assert weight._version == 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    held = weight.storage.node.value
    assert launches(optimizer.step) == 1
    assert weight.storage.node.value is not held, "somebody held it"
    address = weight.data_ptr()
    del held
    optimizer.step()
    assert weight.data_ptr() == address


def test_what_is_not_alike_goes_the_general_way() -> None:
    """Memory that the outside sees, views, one tensor twice, gradients that wait, gradients that are parameters."""
    shown, plain = members([(3,), (3,)])
    view = shown.detach().numpy()
    lg.optim.SGD([shown, plain], lr=1.0).step()
    np.testing.assert_array_equal(view, shown.detach().numpy())
    left, right = members([(3,), (3,)])
    expected = left.detach().numpy() - (right.detach().numpy())
    left.grad = right.detach()
    lg.optim.SGD([left, right], lr=1.0).step()
    np.testing.assert_array_equal(left.detach().numpy(), expected)
    (twice,) = members([(3,)])
    assert twice.grad is not None
    expected = twice.detach().numpy() - twice.grad.numpy() - twice.grad.numpy()
    with pytest.warns(UserWarning, match="duplicate"):
        optimizer = lg.optim.SGD([twice, twice], lr=1.0)
    optimizer.step()
    np.testing.assert_allclose(twice.detach().numpy(), expected, rtol=1e-6)
    (waits,) = members([(3,)])
    waits.grad = None
    (waits * 2).sum().backward()
    optimizer = lg.optim.SGD([waits], lr=1.0)
    assert launches(optimizer.step) == 0


def test_states_may_change_between_steps() -> None:
    """Counts that come apart, a state that is loaded, a rate that is a tensor, half types beside others."""
    ours, theirs = members(SIZES[:2]), members(SIZES[:2])
    rate = lg.tensor(0.1)
    quick, general = lg.optim.Adam(ours, lr=rate), lg.optim.Adam(theirs, lr=0.1)
    general.ELEMENTWISE = False  # type: ignore[misc]
    for step in range(5):
        if step == 2:
            for optimizer, tensors in ((quick, ours), (general, theirs)):
                optimizer.state[tensors[0]]["step"] = 50
        if step == 4:
            quick.load_state_dict(quick.state_dict())
        assert launches(quick.step) == (1, 1, 2, 2, 2)[step]
        general.step()
    for left, right in zip(ours, theirs):
        np.testing.assert_allclose(left.detach().numpy(), right.detach().numpy(), 1e-5)
    mixed = [*members(SIZES[:2], lg.bfloat16), *members(SIZES[:2])]
    optimizer = lg.optim.AdamW(mixed)
    assert launches(optimizer.step) == 2


def test_a_compiled_step_is_one_launch_too() -> None:
    """It is left as it is written, without a word; a function that does more than that is replayed."""
    ours, theirs, others = members(SIZES[:2]), members(SIZES[:2]), members(SIZES[:2])
    quick, general, third = (lg.optim.AdamW(each) for each in (ours, theirs, others))
    step = lg.compile(quick.step, fullgraph=True)

    @lg.compile
    def more() -> lg.Tensor:
        third.step()
        return others[0].detach().sum()

    for _ in range(4):
        made = launches(step)
        general.step()
        more()
    assert made == 1 and step.traces <= 2 and not more.refusal
    for left, right, other in zip(ours, theirs, others):
        np.testing.assert_allclose(left.detach().numpy(), right.detach().numpy(), 1e-6)
        np.testing.assert_allclose(other.detach().numpy(), right.detach().numpy(), 1e-6)
