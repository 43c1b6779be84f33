"""How exact results are: contractions within the error bound of their length, sums as good as pairwise ones, and the same bits
from run to run and for any number of threads.

What is expected is computed in float64. u is half a unit in the last place of float32: one rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.nn import functional as F

u = 2.0**-24
LEAF = 128
"""The terms that a pairwise sum adds one after the other."""

Array = np.ndarray[Any, np.dtype[Any]]


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype="float32")


def within(ours: lg.Tensor, exact: Array, bound: Array | float) -> None:
    error = np.abs(ours.numpy().astype("float64") - exact)
    worst = float((error / np.maximum(bound, 1e-300)).max())
    assert worst <= 1, f"{worst:.2f} times the bound"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((70, 1000), (1000, 50)),
        ((256, 384), (384, 130)),
        ((3, 65, 33), (33, 9)),
        ((4096,), (4096,)),
    ],
)
def test_products_are_within_the_bound_of_their_length(
    left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    a, b = draw(*left), draw(*right, seed=1)
    terms = left[-1]
    size = np.abs(a).astype("float64") @ np.abs(b)
    within(lg.tensor(a) @ lg.tensor(b), a.astype("float64") @ b, (terms + 1) * u * size)


def test_convolutions_are_within_the_bound_of_their_length() -> None:
    x, weight = draw(2, 24, 20, 20), draw(40, 24, 3, 3, seed=1)

    def whole(x: Array, weight: Array) -> Array:
        windows = np.lib.stride_tricks.sliding_window_view(x.astype("float64"), (3, 3), (2, 3))
        made: Array = np.einsum(
            "ncyxij,ocij->noyx", windows, weight.astype("float64"), optimize=True
        )
        return made

    bound = (24 * 9 + 1) * u * whole(np.abs(x), np.abs(weight))
    within(F.conv2d(lg.tensor(x), lg.tensor(weight)), whole(x, weight), bound)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((1 << 20,), (0,)),
        ((300_007,), (0,)),
        ((40, 20_000), (1,)),
        ((16_384, 96), (0,)),
        ((5_003, 33), (0,)),
        ((600, 10, 60), (0, 2)),
    ],
)
def test_sums_are_no_worse_than_pairwise(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    """Of one number, whose roundings all go one way, and of random ones."""
    terms = math.prod(shape[axis] for axis in axes)
    for x in (np.full(shape, 0.1, "float32"), np.abs(draw(*shape))):
        exact = x.astype("float64").sum(axes)
        within(lg.tensor(x).sum(axes), exact, (LEAF + math.log2(terms)) * u * exact)
        mean = exact / terms
        within(lg.tensor(x).mean(axes), mean, (LEAF + math.log2(terms) + 1) * u * mean)


def softmax(x: Array) -> Array:
    power: Array = np.exp(x.astype("float64") - x.max(-1, keepdims=True))
    made: Array = power / power.sum(-1, keepdims=True)
    return made


def test_softmax_is_as_exact_as_its_exponentials() -> None:
    """The difference from the largest is rounded once, which is so many units more; the sum is pairwise."""
    x = 4 * draw(50, 3000)
    exact = softmax(x)
    far = x.max(-1, keepdims=True) - x
    bound = (2 * far + LEAF + math.log2(3000) + 8) * u * exact + 2.0**-149
    within(lg.softmax(lg.tensor(x), -1), exact, bound)


def test_layer_norm_is_as_exact_as_its_sums() -> None:
    x = draw(70, 2000) + 3
    wide = x.astype("float64")
    scale = 1 / np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
    exact = (wide - wide.mean(-1, keepdims=True)) * scale
    size = np.abs(wide).mean(-1, keepdims=True) * scale + np.abs(exact)
    within(F.layer_norm(lg.tensor(x), (2000,)), exact, (LEAF + math.log2(2000) + 8) * u * size)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_as_exact_as_its_scores(causal: bool) -> None:
    """Scores within the bound of their length become relative errors of the weights, to which those of the second sum are added."""
    q, k, v = (draw(4, 257, 32, seed=seed) for seed in range(3))
    wide = [each.astype("float64") for each in (q, k, v)]
    scores = wide[0] @ wide[1].swapaxes(-1, -2) / math.sqrt(32)
    sizes = np.abs(wide[0]) @ np.abs(wide[1]).swapaxes(-1, -2) / math.sqrt(32)
    if causal:
        scores = np.where(np.tril(np.ones((257, 257), bool)), scores, -np.inf)
    power = np.exp(scores - scores.max(-1, keepdims=True))
    weights = power / power.sum(-1, keepdims=True)
    relative = 2 * (32 + 3) * u * sizes.max(-1, keepdims=True) + (2 * 257 + 20) * u
    queries, keys, values = (lg.tensor(each) for each in (q, k, v))
    made = F.scaled_dot_product_attention(queries, keys, values, is_causal=causal)
    within(made, weights @ wide[2], relative * (weights @ np.abs(wide[2])))


PROGRAMS: dict[str, tuple[tuple[tuple[int, ...], ...], Callable[..., Any]]] = {
    "sums": (((500, 700),), lambda x: [x.sum(), x.sum(0), x.mean(1), x.var()]),
    "softmax": (((300, 900),), lambda x: [lg.softmax(x, -1), lg.softmax(x, 0)]),
    "layer norm": (((600, 300), (300,), (300,)), lambda x, w, b: [F.layer_norm(x, (300,), w, b)]),
    "attention": (
        ((4, 2, 261, 16),) * 3,
        lambda q, k, v: [F.scaled_dot_product_attention(q, k, v, is_causal=True)],
    ),
    "product": (((300, 310), (310, 290)), lambda a, b: [a @ b]),
    "convolution": (((4, 16, 30, 30), (24, 16, 3, 3)), lambda x, w: [F.conv2d(x, w, padding=1)]),
}


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = lg.get_num_threads()
    yield lg.set_num_threads
    lg.set_num_threads(before)


@pytest.mark.parametrize("name", PROGRAMS)
def test_bits_are_the_same_from_run_to_run_and_for_any_number_of_threads(
    name: str, threads: Callable[[int], None]
) -> None:
    shapes, program = PROGRAMS[name]
    arrays = [draw(*shape, seed=seed) for seed, shape in enumerate(shapes)]

    def run() -> list[bytes]:
        inputs = [lg.tensor(each).requires_grad_() for each in arrays]
        results = program(*inputs)
        total = sum((each * each).sum() for each in results)
        gradients = lg.autograd.grad(total, inputs)
        return [each.detach().numpy().tobytes() for each in (*results, *gradients)]

    found = []
    for count in (1, 2, 1, 3):
        threads(count)
        found.append(run())
    assert all(each == found[0] for each in found[1:])
