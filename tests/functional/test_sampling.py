"""Draws of categories: how often each is drawn, that none is drawn twice without replacement, and PyTorch's errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lazygrad as lg

NAN, INF = float("nan"), float("inf")


def frequencies(samples: Any, categories: int) -> np.ndarray:
    """How often each category stands in each column, as a part of the rows."""
    counts = [np.bincount(column, minlength=categories) for column in samples.numpy().T]
    found: np.ndarray = np.array(counts) / len(samples)
    return found


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_categories_come_as_often_as_their_weights_say(dtype: str) -> None:
    lg.manual_seed(3)
    weights = lg.tensor([0.5, 0.0, 1.0, 2.5], dtype=getattr(lg, dtype))
    expected = np.array([0.125, 0, 0.25, 0.625])
    rows = weights.expand(4000, 4)
    for samples in (lg.multinomial(rows, 1), weights.multinomial(4000, replacement=True)[:, None]):
        assert samples.dtype is lg.int64 and samples.shape == (4000, 1)
        found = frequencies(samples, 4)[0]
        assert found[1] == 0 and np.abs(found - expected).max() < 0.035

    pairs = lg.multinomial(rows, 3)
    assert (pairs.sort(dim=1)[0] == lg.tensor([0, 2, 3])).all().item(), (
        "drawn twice, or without weight"
    )
    # after the first is taken, the rest race for the second place
    second = np.array([1 / 8 * (1 / 6 + 5 / 3) + (2 / 8) * 1 / 6, 0, 0, 0])
    second[0] = 2 / 8 * 1 / 6 + 5 / 8 * 1 / 3
    second[2] = 1 / 8 * 2 / 7 + 5 / 8 * 2 / 3
    second[3] = 1 / 8 * 5 / 7 + 2 / 8 * 5 / 6
    assert np.abs(frequencies(pairs, 4)[1] - second).max() < 0.035


def test_draws_repeat_from_a_seed_and_take_an_out() -> None:
    weights = lg.rand(5, 7, requires_grad=True)
    draws = [weights.multinomial(4, generator=lg.Generator().manual_seed(2)) for _ in range(2)]
    assert draws[0].tolist() == draws[1].tolist() and not draws[0].requires_grad
    out = lg.empty(0, dtype=lg.int64)
    assert lg.multinomial(weights.detach(), 2, out=out) is out and out.shape == (5, 2)
    assert lg.multinomial(lg.zeros(0, 3), 2).shape == (0, 2)


ERRORS: list[tuple[Any, int, bool, str]] = [
    ([-1.0, 2.0], 1, False, "probability tensor contains either `inf`, `nan` or element < 0"),
    ([NAN, 1.0], 1, True, "probability tensor contains"),
    ([[1.0, 1.0], [INF, 1.0]], 1, False, "probability tensor contains"),
    ([0.0, 0.0], 1, False, r"invalid multinomial distribution \(sum of probabilities <= 0\)"),
    ([[1.0, 1.0], [0.0, 0.0]], 2, True, r"\(sum of probabilities <= 0\)"),
    ([NAN, 1.0], 2, True, r"\(encountering probability entry < 0\)"),
    ([INF, 1.0], 2, True, r"\(encountering probability entry = infinity or NaN\)"),
    ([1.0, 2.0], 3, False, r"cannot sample n_sample > prob_dist.size\(-1\) samples without"),
    ([1.0], 0, False, "cannot sample n_sample <= 0 samples"),
    ([1, 2], 1, False, "only supports floating-point dtypes for input, got: Long"),
    (1.0, 1, False, "prob_dist must be 1 or 2 dim"),
]


@pytest.mark.parametrize(("weights", "count", "replacement", "message"), ERRORS)
def test_errors_are_pytorchs(weights: Any, count: int, replacement: bool, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        lg.multinomial(lg.tensor(weights), count, replacement)
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError, match=message):
        torch.multinomial(torch.tensor(weights), count, replacement)
