"""How contractions are tiled: the steps that are chosen, and that what they make computes what it did before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.codegen.choose import Transform
from lazygrad.codegen.lower import lower
from lazygrad.codegen.target import typical
from lazygrad.codegen.tiling import tiles
from lazygrad.ir.node import Node
from lazygrad.nn import functional as F


def weight_gradient(images: int = 2, size: int = 12) -> lg.Tensor:
    image, weight = lg.rand(images, 4, size, size), lg.rand(32, 4, 3, 3).requires_grad_()
    (gradient,) = lg.autograd.grad(F.conv2d(image, weight, padding=1).square().sum(), weight)
    assert gradient is not None
    return gradient


CASES: dict[str, tuple[Callable[[], lg.Tensor], list[str]]] = {
    "the columns of a product of matrices": (
        lambda: lg.rand(256, 256) @ lg.rand(256, 256),
        ["pack(i, 32)", "jam(i, 8)", "vectorize(j, 32)"],
    ),
    "rows that come from far": (
        lambda: lg.rand(1024, 256).realize() @ lg.rand(256, 1024).realize(),
        ["pack(i, 32)", "jam(i, 8)", "vectorize(j, 32)", "ahead(i)"],
    ),
    "a layer whose weights are read once, where they lie": (
        lambda: lg.rand(128, 768).realize() @ lg.rand(3072, 768).realize().t(),
        ["pack(j, 32)", "hold(j)", "jam(j, 8)", "vectorize(i, 32)", "ahead(j)"],
    ),
    "pixels that run on": (
        lambda: F.conv2d(lg.rand(2, 16, 24, 24), lg.rand(64, 16, 1, 1)),
        ["merge(k)", "jam(j, 8)", "vectorize(k_l, 32)"],
    ),
    "few channels of large pictures": (
        lambda: F.conv2d(lg.rand(1, 16, 40, 40), lg.rand(12, 16, 3, 3), padding=1),
        ["interchange(i)", "jam(i, 8)", "vectorize(k, 32)"],
    ),
    "pixels that fill no vectors": (
        lambda: F.conv2d(lg.rand(2, 16, 24, 24), lg.rand(32, 16, 3, 3), padding=1),
        ["pack(i, 32)", "hold(l)", "jam(l, 8)", "vectorize(j, 32)"],
    ),
    "the kernel of a convolution": (
        weight_gradient,
        ["merge(i)", "merge(i_k)", "pack(i_k_l, 32)", "jam(i_k_l, 8)"],
    ),
}


def kernels(make: Callable[[], lg.Tensor]) -> list[Node]:
    return [lower(graph) for graph in lg.lower(make)._graphs()]


@pytest.mark.parametrize("name", CASES)
def test_the_steps_of_a_contraction(name: str) -> None:
    make, expected = CASES[name]
    chosen = [
        [str(Transform(*step)) for step in tiles(k, typical("avx512"))] for k in kernels(make)
    ]
    (steps,) = [each for each in chosen if each]
    assert [each for each in steps if each in expected] == expected, steps


def few_rows(rows: int, terms: int, columns: int) -> lg.Tensor:
    left = (lg.arange(rows * terms) % 7 - 3).float().reshape(rows, terms)
    return left @ (lg.arange(terms * columns) % 5 - 2).float().reshape(terms, columns)


BLOCKED: dict[str, Callable[[], lg.Tensor]] = {
    "a product of matrices": lambda: few_rows(50, 20000, 40),
    "terms that no number of blocks divides": lambda: few_rows(50, 16411, 40),
    "the kernel of a convolution": weight_gradient,
    "the kernel of a convolution of many": lambda: weight_gradient(16, 24),
    "pixels that fill no vectors": lambda: CASES["pixels that fill no vectors"][0]().relu() + 1.0,
    "pixels that run on": CASES["pixels that run on"][0],
    "few channels": CASES["few channels of large pictures"][0],
    "few channels, every second pixel": lambda: F.conv2d(
        lg.rand(1, 3, 65, 65), lg.rand(20, 3, 3, 3), stride=2
    ),
    "rows of which the next are asked for": lambda: few_rows(260, 512, 72),
    "many batches of few columns": lambda: (
        lg.rand(32, 64, 40).realize() @ lg.rand(32, 40, 3).realize()
    ),
    "rows that are all the same": lambda: lg.zeros(64, 32) @ lg.ones(128, 32).realize().t() + 1.0,
}


@pytest.mark.parametrize("name", BLOCKED)
def test_tiled_contractions_compute_what_the_interpreter_does(name: str) -> None:
    found: list[np.ndarray] = []
    for device in ("cpu", "interpret"):
        with lg.config.override(device=device):
            lg.manual_seed(0)
            found.append(np.array(BLOCKED[name]().tolist()))
    np.testing.assert_allclose(found[0], found[1], 1e-4, 1e-3)


def test_a_long_sum_of_products_is_blocked() -> None:
    """So that what is packed of it stays in the cache: the sums of the blocks are a kernel of their own."""
    long, short = (lg.lower(few_rows, 50, terms, 40).kernels for terms in (20000, 2000))
    assert len([name for name in long if "sum" in name]) == 1
    assert not any("sum" in name for name in short)


def test_operands_that_are_the_same_in_all_terms_choose_no_order() -> None:
    """Each order of the loops over the results asked for the other one, without end."""
    draw = np.random.default_rng(0)
    a, b, d = draw.random(6), draw.random(5), draw.random((6, 5, 40))
    rows, columns, terms = lg.tensor(a), lg.tensor(b), lg.tensor(d)
    found = (rows[:, None, None] * columns[None, :, None] + terms).sum(-1)
    np.testing.assert_allclose(found.numpy(), (a[:, None, None] * b[None, :, None] + d).sum(-1))
    same = rows[:, None].expand(6, 4)
    np.testing.assert_allclose((same @ same.t()).numpy(), 4 * np.outer(a, a))
