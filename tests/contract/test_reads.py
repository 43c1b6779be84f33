"""A loss that is read before backward() costs no second forward: contractions are counted as they are launched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.runtime import realize
from lazygrad.runtime.compile import compile_normal
from lazygrad.runtime.plan import KernelPlan
from lazygrad.runtime.plans import Record
from lazygrad.schedule.reads import contraction

F = lg.nn.functional
pytestmark = pytest.mark.of_the_cpu("counts launches of the CPU")


def draw(*shape: int) -> Any:
    return lg.tensor(np.random.default_rng(len(shape)).standard_normal(shape).astype("float32"))


def contractions(record: Record) -> int:
    """How many contractions the kernels of a plan compute, those computed in two kernels counted twice."""
    total = 0
    for kernel in record.schedule:
        seen = set(kernel.inputs)
        pending = list(kernel.results)
        while pending:
            node = pending.pop()
            if node not in seen:
                seen.add(node)
                total += contraction(node)
                pending.extend(node.src)
    return total


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """launched(): the contractions that have been launched since."""
    total = 0
    by_plan: dict[int, tuple[KernelPlan, int]] = {}
    run = KernelPlan.run

    def compiling(normal: Any, record: Record | None = None, general: Any = None) -> Any:
        record = record or Record()
        compiled = compile_normal(normal, record, general)
        assert isinstance(compiled.plan, KernelPlan)
        by_plan[id(compiled.plan)] = compiled.plan, contractions(record)
        return compiled

    def running(plan: KernelPlan, *arguments: Any) -> Any:
        nonlocal total
        total += by_plan[id(plan)][1]
        return run(plan, *arguments)

    realize.PLANS.clear()
    monkeypatch.setattr(realize, "plan_for", compiling)
    monkeypatch.setattr(KernelPlan, "run", running)
    yield lambda: total
    realize.PLANS.clear()


class Net:
    """Two layers on data that need no gradient: 2 contractions forward, and 3 backward."""

    def __init__(self) -> None:
        self.x, self.target = draw(16, 20), draw(16, 5)
        self.w1, self.w2 = draw(20, 12).requires_grad_(), draw(12, 5).requires_grad_()

    def loss(self) -> Any:
        return F.mse_loss(F.relu(self.x @ self.w1) @ self.w2, self.target)

    def update(self) -> None:
        with lg.no_grad():
            for weight in (self.w1, self.w2):
                weight -= 0.1 * weight.grad
                weight.grad = None


READS: dict[str, Callable[[Any], object]] = {
    "not read": lambda loss: None,
    "item": lambda loss: loss.item(),
    "data[0]": lambda loss: loss.data[0],
    "printed": repr,
    "detached": lambda loss: loss.detach().numpy(),
    "a function of it": lambda loss: (loss * 2).item(),
    "a norm that no gradient goes through": lambda loss: (loss.data * 2).norm() < 1000,
    "both": lambda loss: (loss.data[0], loss.item()),
}


@pytest.mark.parametrize("read", READS)
def test_five_contractions_a_step(read: str, launched: Callable[[], int]) -> None:
    with config.override(device="cpu"):
        net = Net()
        for step in range(1, 6):
            loss = net.loss()
            READS[read](loss)
            loss.backward()
            net.update()
            net.w1.tolist(), net.w2.tolist()
            assert launched() == 5 * step


def test_a_read_between_layers_and_of_gradients(launched: Callable[[], int]) -> None:
    with config.override(device="cpu"):
        net = Net()
        hidden = F.relu(net.x @ net.w1)
        float(hidden.abs().max())
        loss = F.mse_loss(hidden @ net.w2, net.target)
        loss.item()
        loss.backward()
        float(net.w1.grad.norm()), float(net.w2.grad.norm())
        net.update()
        net.w1.tolist(), net.w2.tolist()
        assert launched() == 5


def test_a_retained_graph_gives_its_gradients_again(launched: Callable[[], int]) -> None:
    with config.override(device="cpu"):
        net = Net()
        loss = net.loss()
        loss.item()
        loss.backward(retain_graph=True)
        once = net.w1.grad.tolist()
        assert launched() == 5 - 1  # nobody has asked for the gradient of w2 yet
        loss.backward()
        twice = net.w1.grad.numpy()
        np.testing.assert_allclose(twice, 2 * np.asarray(once), rtol=1e-5)
