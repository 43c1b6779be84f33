"""Losses with margins, likelihoods and CTC: values, first and (where PyTorch has them) second gradients, errors; and all loss modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import nn

torch = pytest.importorskip("torch")

draw = np.random.default_rng(0)
SIGNS = np.array([1, -1, 1, -1])
SETS = np.array([[3, 0, -1, 1], [1, -1, 0, 0], [-1, 0, 0, 0]])


def normal(*shape: int) -> Any:
    return draw.normal(size=shape)


def log_softmax(f: Any, x: Any) -> Any:
    return f.log_softmax(x, -1)


Loss = Callable[..., Any]

LOSSES: dict[str, tuple[int, Loss, Any]] = {
    "cosine": (2, lambda t, f, a, b, y: f.cosine_embedding_loss(a, b, y, margin=0.2), (normal(4, 3), normal(4, 3), SIGNS)),
    "cosine of rows": (1, lambda t, f, a, b, y: f.cosine_embedding_loss(a, b, y), (normal(3), normal(3), np.array(1))),
    "soft margin of large": (2, lambda t, f, a, y: f.soft_margin_loss(a, y, reduction="sum"), (normal(4) * 300, SIGNS)),
    "triplet": (2, lambda t, f, *x: f.triplet_margin_loss(*x, swap=True, size_average=False), [normal(4, 3) for _ in range(3)]),
    "triplet distance": (
        1,
        lambda t, f, *x: f.triplet_margin_with_distance_loss(*x, distance_function=lambda a, b: (a - b).abs().sum(-1)),
        [normal(4, 3) for _ in range(3)],
    ),
    "multi margin": (
        1,
        lambda t, f, a, y: f.multi_margin_loss(a, y, 2, 0.5, t.tensor([1.0, 2, 3]).double(), reduction="none"),
        (normal(4, 3), np.array([0, 2, 1, 1])),
    ),
    "multi margin of a row": (1, lambda t, f, a, y: f.multi_margin_loss(a, y, reduce=False), (normal(3), np.array(1))),
    "multi label margin": (1, lambda t, f, a, y: f.multilabel_margin_loss(a, y, reduction="none"), (normal(3, 4), SETS)),
    "multi label soft margin": (
        2,
        lambda t, f, a, y: f.multilabel_soft_margin_loss(a, y, t.arange(4.0).double()),
        (normal(3, 4), draw.integers(0, 2, (3, 4))),
    ),
    "gaussian": (1, lambda t, f, a, b, v: f.gaussian_nll_loss(a, b, v.abs(), True), [normal(3, 4) for _ in range(3)]),
    "gaussian small": (
        1,
        lambda t, f, a, b, v: f.gaussian_nll_loss(a, b, v.abs() * 1e-3, eps=1e-3, reduction="none"),
        (normal(3, 4), normal(3, 4), normal(3)),
    ),
    "ctc": (
        1,
        lambda t, f, a: f.ctc_loss(log_softmax(f, a), t.tensor([1, 2, 2, 3, 1, 1]), (5, 4, 3), (3, 2, 1)),
        (normal(5, 3, 4),),
    ),
    "ctc that does not fit": (
        1,
        lambda t, f, a: f.ctc_loss(
            log_softmax(f, a), t.tensor([[1, 2, 2], [0, 1, 0]]), t.tensor([3, 4]), t.tensor([3, 0]), 3, "sum", zero_infinity=True
        ),
        (normal(4, 2, 4),),
    ),
    "ctc of a row": (1, lambda t, f, a: f.ctc_loss(log_softmax(f, a), t.tensor([1, 2]), (4,), (2,)), (normal(4, 3),)),
}  # fmt: skip


def outcome(framework: Any, functions: Any, name: str) -> list[Any]:
    order, loss, values = LOSSES[name]
    inputs = [framework.tensor(x, requires_grad=x.dtype.kind == "f") for x in values]
    leaves = [x for x in inputs if x.requires_grad]
    made = loss(framework, functions, *inputs)
    weights = np.cos(np.arange(made.numel())).reshape(tuple(made.shape))
    total = (made * framework.tensor(weights)).sum()
    grads = framework.autograd.grad(total, leaves, create_graph=order > 1, allow_unused=True)
    found = [made, *grads]
    if order > 1:
        found += framework.autograd.grad(sum((g**2).sum() for g in grads), leaves)
    return [None if x is None else np.array(x.tolist()) for x in found]


@pytest.mark.parametrize("name", LOSSES)
def test_loss(name: str) -> None:
    ours = outcome(lg, nn.functional, name)
    theirs = outcome(torch, torch.nn.functional, name)
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs):
        np.testing.assert_allclose(
            0 if mine is None else mine, 0 if other is None else other, 1e-8, 1e-10
        )


ERRORS: dict[str, Loss] = {
    "cosine ranks": lambda t, f: f.cosine_embedding_loss(t.ones(3), t.ones(3), t.ones(4)),
    "triplet margin": lambda t, f: f.triplet_margin_loss(*[t.ones(2, 3)] * 3, margin=-1.0),
    "triplet ranks": lambda t, f: f.triplet_margin_loss(t.ones(2, 3), t.ones(3), t.ones(2, 3)),
    "multi margin p": lambda t, f: f.multi_margin_loss(t.ones(2, 3), t.zeros(2).long(), p=3),
    "multi margin sizes": lambda t, f: f.multi_margin_loss(t.ones(2, 3), t.zeros(5).long()),
    "multi label sizes": lambda t, f: f.multilabel_margin_loss(t.ones(2, 3), t.zeros(3).long()),
    "variance": lambda t, f: f.gaussian_nll_loss(t.ones(2, 3), t.ones(2, 3), -t.ones(2, 3)),
    "variance shape": lambda t, f: f.gaussian_nll_loss(t.ones(2, 3), t.ones(2, 3), t.ones(5)),
    "reduction": lambda t, f: f.soft_margin_loss(t.ones(2), t.ones(2), reduction="all"),
    "ctc blank": lambda t, f: f.ctc_loss(t.ones(2, 1, 3), t.ones(1, 1).long(), [2], [1], blank=3),
    "ctc long": lambda t, f: f.ctc_loss(t.ones(2, 1, 3), t.ones(1, 1).long(), [3], [1]),
    "ctc lengths": lambda t, f: f.ctc_loss(t.ones(2, 1, 3), t.ones(1, 1).long(), [2, 2], [1]),
    "module p": lambda t, f: (t.nn if t is torch else nn).MultiMarginLoss(p=3),
    "module margin": lambda t, f: (t.nn if t is torch else nn).TripletMarginLoss(margin=-1.0),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(name: str) -> None:
    with pytest.raises((ValueError, RuntimeError)) as theirs:
        ERRORS[name](torch, torch.nn.functional)
    with pytest.raises(theirs.type):
        ERRORS[name](lg, nn.functional)


ROWS, CLASSES = normal(3, 4), np.array([0, 3, 1])
MODULES: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = [
    ("BCELoss", {}, (1 / (1 + np.exp(-ROWS)), 1.0 * (ROWS > 0))),
    ("NLLLoss", {"size_average": False}, (ROWS, CLASSES)),
    ("PoissonNLLLoss", {"log_input": False, "full": True}, (np.abs(ROWS) + 0.1, np.abs(ROWS) * 3)),
    ("GaussianNLLLoss", {"eps": 1e-3}, (ROWS, ROWS[::-1].copy(), np.abs(ROWS))),
    ("HingeEmbeddingLoss", {"margin": 0.7, "reduce": False}, (ROWS, np.sign(ROWS))),
    ("CosineEmbeddingLoss", {"margin": 0.1}, (ROWS, ROWS[::-1].copy(), np.array([1, -1, 1]))),
    ("MarginRankingLoss", {"margin": 0.3}, (ROWS[0], ROWS[1], np.sign(ROWS[2]))),
    ("SoftMarginLoss", {}, (ROWS, np.sign(ROWS))),
    ("MultiLabelMarginLoss", {}, (ROWS, SETS)),
    ("MultiLabelSoftMarginLoss", {"reduction": "sum"}, (ROWS, 1.0 * (ROWS > 0))),
    ("MultiMarginLoss", {"p": 2, "margin": 0.5}, (ROWS, CLASSES)),
    ("TripletMarginLoss", {"swap": True}, (ROWS, ROWS[::-1].copy(), ROWS + 1)),
    ("TripletMarginWithDistanceLoss", {"margin": 2.0}, (ROWS, ROWS[::-1].copy(), ROWS + 1)),
    ("CTCLoss", {"blank": 3}, (np.log(draw.dirichlet(np.ones(4), (5, 1))), np.array([[1, 2]]), np.array([5]), np.array([2]))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "values"), MODULES, ids=[each[0] for each in MODULES])
def test_module(name: str, options: dict[str, Any], values: tuple[Any, ...]) -> None:
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    assert repr(ours) == repr(theirs) and ours.reduction == theirs.reduction
    mine, other = ours(*map(lg.tensor, values)), theirs(*map(torch.tensor, values))
    np.testing.assert_allclose(mine.tolist(), other.tolist(), 1e-6)
