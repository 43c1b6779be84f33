"""Programs as users write them: loops have a handful of plans, whatever is read, and memory does not grow."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from typing import Self

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.runtime import device
from lazygrad.runtime.realize import PLANS


@pytest.fixture(params=["interpret", "cpu"], autouse=True)
def on(request: pytest.FixtureRequest) -> Iterator[str]:
    with config.override(device=request.param):
        yield request.param


class Counted:
    """How many plans are compiled, and how many launches happen, inside a `with` block."""

    plans = launches = -1

    def __enter__(self) -> Self:
        self._start = (PLANS.compiled, device.default().launches)
        return self

    def __exit__(self, *_: object) -> None:
        self.plans = PLANS.compiled - self._start[0]
        self.launches = device.default().launches - self._start[1]


def floats(*shape: int, seed: int = 0) -> lg.Tensor:
    return lg.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def model() -> lg.nn.Module:
    return lg.nn.Sequential(lg.nn.Linear(7, 5), lg.nn.ReLU(), lg.nn.Linear(5, 3))


def test_updates_in_place_that_nobody_reads() -> None:
    x = lg.zeros(3)
    with Counted() as count:
        for _ in range(3000):
            x += 1
    assert count.plans <= 3 and count.launches <= 300
    assert x.tolist() == [3000.0] * 3


def test_values_bound_anew_that_nobody_reads() -> None:
    x = lg.ones(3)
    with Counted() as count:
        for _ in range(6000):
            x = x * 0.99 + 1
    assert count.plans <= 3 and count.launches <= 600
    np.testing.assert_allclose(x.tolist(), [100.0] * 3, rtol=1e-4)


def test_an_unread_step_with_adam_and_a_rate_that_changes() -> None:
    net, x, y = model(), floats(8, 7), floats(8, 3, seed=1)
    optimizer = lg.optim.Adam(net.parameters(), lr=1e-3)

    def step(number: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 / (number + 1.5)
        optimizer.zero_grad()
        loss = (net(x) - y).square().mean()
        loss.backward()
        optimizer.step()

    with Counted() as count:
        for number in range(30):
            step(number)
    assert count.plans <= 3
    gc.collect()
    tracemalloc.start()
    for number in range(30, 40):
        step(number)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    with Counted() as count:
        for number in range(40, 80):
            step(number)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert count.plans == 0 and grown < 100_000


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_loss_that_is_read_in_each_step(when: str) -> None:
    net, x, y = model(), floats(8, 7), floats(8, 3, seed=1)
    optimizer = lg.optim.SGD(net.parameters(), lr=1e-2, momentum=0.9)
    losses = []
    with Counted() as count:
        for _ in range(20):
            optimizer.zero_grad()
            loss = (net(x) - y).square().mean()
            if when == "before":
                losses.append(loss.item())
            loss.backward()
            optimizer.step()
            if when == "after":
                losses.append(loss.item())
    assert count.plans <= 5
    assert losses[-1] < losses[0]


def test_batches_of_many_sizes() -> None:
    net = model()
    optimizer = lg.optim.SGD(net.parameters(), lr=1e-3)
    with Counted() as count:
        for size in range(2, 40):
            x, y = floats(size, 7), lg.tensor(np.arange(size) % 3)
            optimizer.zero_grad()
            loss = lg.nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            assert np.isfinite(loss.item())
    assert count.plans <= 4


def test_a_chain_of_which_a_function_is_read() -> None:
    matrix = lg.tensor(np.eye(4, dtype=np.float32) * 2 + 0.1)
    vector = lg.ones(4)
    with Counted() as count:
        for _ in range(40):
            vector = matrix @ vector
            vector = vector / vector.norm()
            total = vector.sum().item()
    assert count.plans <= 3
    assert total == pytest.approx(2.0, rel=1e-5)


def test_a_value_read_late_still_has_its_gradient() -> None:
    """What is kept because it is read twice keeps its history where autograd has a record of it."""
    w = floats(4, 4).requires_grad_()
    x = floats(3, 4, seed=1)
    hidden = (x @ w).tanh()
    with lg.no_grad():
        first = hidden.sum().item()
        second = hidden.square().sum().item()
        third = (hidden * 2).sum().item()
    hidden.sum().backward()
    expected = x.numpy().T @ (1 - np.tanh(x.numpy() @ w.detach().numpy()) ** 2)
    assert w.grad is not None
    np.testing.assert_allclose(w.grad.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert third == pytest.approx(2 * first, rel=1e-5) and second > 0


def test_keys_and_values_that_grow_are_computed_once() -> None:
    """Attention to all words so far: a plan for the beginning and two for the growth; what a tensor holds is not computed again."""
    words, weight, last = floats(9, 6), floats(6, 12, seed=1), floats(6, 6, seed=2)
    past: lg.Tensor | None = None
    seen: list[int] = []
    with Counted() as count, lg.no_grad():
        word = words[:2]
        for _ in range(8):
            pair = word @ weight
            past = pair if past is None else lg.cat((past, pair))
            keys, values = past.split(6, dim=1)
            mixed = lg.softmax(word[-1:] @ keys.t(), dim=1) @ values @ last
            seen.append(int((mixed @ words.t()).argmax().item()))
            assert past.storage.node.value is not None, "it will be computed again"
            word = words[seen[-1] : seen[-1] + 1]
    assert count.plans <= 3 + 1  # one chooses the word

    arrays = [each.numpy() for each in (words, weight, last)]
    chosen, kept = arrays[0][:2], np.zeros((0, 12), np.float32)
    for found in seen:
        kept = np.concatenate((kept, chosen @ arrays[1]))
        scores = np.exp(chosen[-1:] @ kept[:, :6].T)
        result = (scores / scores.sum()) @ kept[:, 6:] @ arrays[2] @ arrays[0].T
        assert result[0, found] == result.max()
        chosen = arrays[0][found : found + 1]
