"""Random numbers: Philox's published vectors, reproducibility, distributions, and that a new draw compiles nothing."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

import lazygrad as lg
from lazygrad import config, random
from lazygrad.ir.dtype import int64
from lazygrad.ir.node import constant
from lazygrad.random import philox
from lazygrad.results import from_node

DEVICES = ["interpret", "cpu"]


@pytest.fixture(params=DEVICES, autouse=True)
def device(request: Any) -> Any:
    with config.override(device=request.param):
        lg.manual_seed(0)
        yield request.param


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        (0, 0, (0x6627E8D5, 0xE169C58D)),
    ],
)
def test_philox_is_philox(device: str, counter: int, key: int, words: tuple[int, int]) -> None:
    """The first words of Random123's known answers."""
    place = lg.zeros(1).place
    first, second = philox(constant(counter, int64, (1,), place), constant(key, int64, (1,), place))
    assert (from_node(first).item(), from_node(second).item()) == words


def test_a_seed_begins_the_same_stream() -> None:
    first = [
        lg.rand(5).tolist(),
        lg.randn(3).tolist(),
        lg.randint(10, (4,)).tolist(),
        lg.randperm(6).tolist(),
    ]
    lg.manual_seed(0)
    second = [
        lg.rand(5).tolist(),
        lg.randn(3).tolist(),
        lg.randint(10, (4,)).tolist(),
        lg.randperm(6).tolist(),
    ]
    assert first == second
    assert lg.rand(5).tolist() != first[0]
    state = lg.get_rng_state()
    one = lg.randn(4).tolist()
    lg.set_rng_state(state)
    assert lg.randn(4).tolist() == one
    generator = lg.Generator().manual_seed(7)
    assert generator.initial_seed() == 7
    assert (
        lg.rand(3, generator=generator).tolist()
        == lg.rand(3, generator=lg.Generator().manual_seed(7)).tolist()
    )


def test_the_devices_draw_the_same_numbers(device: str) -> None:
    mine = lg.rand(8).tolist() + lg.randint(1000, (8,)).tolist()
    with config.override(device="interpret"):
        lg.manual_seed(0)
        assert mine == lg.rand(8).tolist() + lg.randint(1000, (8,)).tolist()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_distributions(dtype: str) -> None:
    count = 20000
    uniform = lg.rand(count, dtype=getattr(lg, dtype)).double()
    assert uniform.min().item() >= 0.0 and uniform.max().item() < 1.0
    assert abs(uniform.mean().item() - 0.5) < 0.01
    assert abs(uniform.var().item() - 1 / 12) < 0.005
    normal = lg.randn(count, dtype=getattr(lg, dtype)).double()
    assert abs(normal.mean().item()) < 0.03
    assert abs(normal.std().item() - 1) < 0.03
    assert abs((normal.abs() < 1).double().mean().item() - math.erf(math.sqrt(0.5))) < 0.02
    assert normal.isfinite().all().item()


def test_neighbours_are_independent() -> None:
    draws = lg.randn(20000)
    assert abs((draws[1:] * draws[:-1]).mean().item()) < 0.03
    again = lg.randn(20000)
    assert abs((draws * again).mean().item()) < 0.03


def test_integers_and_permutations() -> None:
    draws = lg.randint(-3, 5, (10000,))
    assert draws.dtype is lg.int64
    assert (draws.min().item(), draws.max().item()) == (-3, 4)
    counts = [(draws == value).sum().item() for value in range(-3, 5)]
    assert all(abs(count - 1250) < 200 for count in counts)
    wide = lg.randint(0, 2**62, (1000,))
    assert wide.max().item() > 2**61 and wide.min().item() >= 0
    assert sorted(lg.randperm(1000).tolist()) == list(range(1000))
    assert lg.randperm(0).tolist() == [] and lg.randperm(1, dtype=lg.float32).tolist() == [0.0]
    odd = lg.randint(0, 2**32, (1000,)) & 1  # the product with the span has 64 bits
    assert 400 < odd.sum().item() < 600
    whole = lg.randint(-(2**63), 2**63 - 1, (1000,))  # the span has 64 bits
    assert (whole < -(2**61)).any() and (whole > 2**61).any()
    most = lg.randint(0, 3 * 2**30, (1000,)).max().item()
    assert 2.9 * 2**30 < most < 3 * 2**30
    assert abs(lg.bernoulli(lg.full((10000,), 0.3)).mean().item() - 0.3) < 0.03


def test_orders_of_many_are_those_of_random_keys(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "SHUFFLED", 4)
    many = lg.randperm(300, dtype=lg.int32)
    assert many.dtype is lg.int32 and sorted(many.tolist()) == list(range(300))
    if device == "cpu":
        orders = Counter(tuple(lg.randperm(4).tolist()) for _ in range(240))
        assert len(orders) > 20 and max(orders.values()) < 30
    lg.manual_seed(3)
    mine = lg.randperm(300).tolist()
    lg.manual_seed(3)
    with config.override(device="interpret"):
        assert mine == lg.randperm(300).tolist()


def test_in_place_draws() -> None:
    x = lg.empty(1000)
    view = x[:500]
    assert x.uniform_(2, 3) is x
    assert view.min().item() >= 2 and view.max().item() < 3
    assert abs(x.normal_(5, 0.1).mean().item() - 5) < 0.05
    assert set(x.bernoulli_(0.5).tolist()) == {0.0, 1.0}
    assert x.random_(3).max().item() == 2
    assert lg.zeros(2, dtype=lg.int64).random_(4, 5).tolist() == [4, 4]
    assert abs(x.exponential_(2.0).mean().item() - 0.5) < 0.1


def test_dropout_keeps_the_mean_and_its_gradient_is_the_mask() -> None:
    x = lg.ones(10000, requires_grad=True)
    y = lg.nn.functional.dropout(x, 0.25)
    y.sum().backward()
    assert abs(y.mean().item() - 1) < 0.05
    assert x.grad is not None and x.grad.tolist() == y.tolist()


def test_a_new_draw_compiles_nothing(device: str) -> None:
    from lazygrad.runtime import realize

    lg.randn(33).tolist()
    before = realize.PLANS.compiled
    for _ in range(10):
        lg.randn(33).tolist()
    lg.manual_seed(99)
    lg.randn(33).tolist()
    assert realize.PLANS.compiled == before
