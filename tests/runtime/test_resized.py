"""Runs that are like one before but for their sizes: the same numbers as if each was looked at anew, and hardly any is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.runtime import realize
from lazygrad.runtime.realize import PLANS

Array = Any
WEIGHT = np.random.default_rng(1).standard_normal((8, 8)).astype("float32")
WEIGHT_TENSOR = lg.tensor(WEIGHT)


def draw(*shape: int) -> Array:
    return np.random.default_rng(shape).standard_normal(shape).astype("float32")


def grown(n: int, m: int) -> tuple[Any, Array]:
    """What is kept, and one more."""
    old, new = draw(n, 8), draw(m, 8)
    ours = lg.cat([lg.tensor(old), lg.tensor(new) @ WEIGHT_TENSOR])
    return ours.softmax(0) * ours, _softmax(np.concatenate([old, new @ WEIGHT]), times=True)


def part(n: int, m: int) -> tuple[Any, Array]:
    """A stretch that begins where a size says."""
    x = draw(n + m, 5)
    ours = lg.tensor(x)
    return ours[n:] * 2 + ours[n - 1 : n], x[n:] * 2 + x[n - 1 : n]


def two_sizes(n: int, m: int) -> tuple[Any, Array]:
    """The same expression where the sizes are equal."""
    x, y = draw(n, 8), draw(m, 8)
    ours = (lg.tensor(x) @ WEIGHT_TENSOR).sum(0) + (lg.tensor(y) @ WEIGHT_TENSOR).sum(0)
    return ours, (x @ WEIGHT).sum(0) + (y @ WEIGHT).sum(0)


def zeros_of_two_sizes(n: int, m: int) -> tuple[Any, Array]:
    """Two leaves of the program that are one where the sizes are equal."""
    return lg.cat([lg.zeros(n, 3) + 1, lg.zeros(m, 3) + 1]).exp(), np.exp(np.ones((n + m, 3)))


def mean(n: int, m: int) -> tuple[Any, Array]:
    """A number of the program that follows from a size."""
    x = draw(n, m)
    return lg.tensor(x).mean(0) + lg.tensor(x).var(1, keepdim=True), x.mean(0) + x.var(
        1, ddof=1, keepdims=True
    )


def masked(n: int, m: int) -> tuple[Any, Array]:
    x = draw(n, m)
    return lg.tensor(x).tril().sum(1), np.tril(x).sum(1)


def padded(n: int, m: int) -> tuple[Any, Array]:
    x = draw(n, 4)
    return lg.nn.functional.pad(lg.tensor(x), (0, 0, m, 1)) + 1, np.pad(x, ((m, 1), (0, 0))) + 1


def written(n: int, m: int) -> tuple[Any, Array]:
    x = draw(n + m, 3)
    ours = lg.tensor(x) * 1
    ours[n:] = 7.0
    x[n:] = 7
    return ours + 1, x + 1


def gradient(n: int, m: int) -> tuple[Any, Array]:
    x, y = draw(n, 8), draw(n, 8)
    ours = lg.tensor(x).requires_grad_()
    ((ours @ WEIGHT_TENSOR - lg.tensor(y)) ** 2).mean().backward()
    return ours.grad, 2 * (x @ WEIGHT - y) @ WEIGHT.T / x.size


def _softmax(x: Array, times: bool) -> Array:
    powers = np.exp(x - x.max(0))
    return powers / powers.sum(0) * (x if times else 1)


PROGRAMS: list[Callable[[int, int], tuple[Any, Array]]] = [
    grown, part, two_sizes, zeros_of_two_sizes, mean, masked, padded, written, gradient,
]  # fmt: skip


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """One entry for each run that is looked at anew."""
    PLANS.clear()
    slowly, runs = realize._run_slowly, []

    def run(*args: Any) -> None:
        runs.append(1)
        slowly(*args)

    monkeypatch.setattr(realize, "_run_slowly", run)
    yield runs


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_numbers_of_many_sizes(
    program: Callable[[int, int], tuple[Any, Array]], looked_at: list[int]
) -> None:
    sizes = np.random.default_rng(0).integers(2, 24, (60, 2))
    for n, m in sizes:
        ours, expected = program(int(n), int(m))
        np.testing.assert_allclose(
            ours.numpy(), expected, rtol=2e-5, atol=2e-5, err_msg=f"{n}, {m}"
        )


def test_a_cache_that_grows_is_seldom_looked_at_anew(looked_at: list[int]) -> None:
    keys = lg.zeros(1, 8).realize()
    for step in range(100):
        keys = lg.cat([keys, keys[-1:] * 0.5 + WEIGHT_TENSOR[step % 8 : step % 8 + 1]]).realize()
    assert keys.shape == (101, 8)
    assert len(looked_at) < 40


def test_sizes_that_are_equal_for_once_are_looked_at_anew(looked_at: list[int]) -> None:
    for n, m in ((3, 5), (4, 9), (7, 6)):
        two_sizes(n, m)[0].numpy()
    before = len(looked_at)
    two_sizes(5, 7)[0].numpy()
    assert len(looked_at) == before
    ours, expected = two_sizes(6, 6)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=2e-5, atol=2e-5)
    assert len(looked_at) == before + 1
