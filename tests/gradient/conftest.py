"""The comparison with PyTorch that the tests of gradient rules share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import lazygrad.composites  # noqa: F401  registers the composites
from lazygrad.gradient.expand import expand
from lazygrad.ir import build
from lazygrad.ir.args import Slot
from lazygrad.ir.composite import inline
from lazygrad.ir.dtype import DType, bool_, float32, float64, int64
from lazygrad.ir.interpret import evaluate
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op
from lazygrad.schedule.simplify import simplify

Array = np.ndarray[Any, Any]
DTYPES = {"float64": float64, "float32": float32, "int64": int64, "bool": bool_}


def leaf(slot: int, array: Array, dtype: DType | None = None) -> Node:
    return Node(Op.BUFFER, (), dtype or DTYPES[array.dtype.name], array.shape, Slot(slot), "cpu")


def compare_with_torch(
    function: Callable[..., Node],
    reference: Callable[..., Any],
    *arrays: Sequence[Any] | Array,
    second: bool = True,
    tolerance: float = 1e-9,
) -> None:
    """First and second derivatives of both functions with respect to their float arguments, with generic cotangents."""
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(len(arrays))
    data = [np.asarray(a, None if isinstance(a, np.ndarray) else np.float64) for a in arrays]
    floats = [i for i, a in enumerate(data) if a.dtype.kind == "f"]

    tensors = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in data]
    result = reference(*tensors)
    weight = random.uniform(0.5, 1.5, tuple(result.shape))
    seed = torch.tensor(weight, requires_grad=True)
    targets = [tensors[i] for i in floats]
    first = torch.autograd.grad(result, targets, seed, create_graph=second, allow_unused=True)
    expected = [
        np.zeros_like(data[i]) if g is None else g.detach().numpy()
        for i, g in zip(floats, first, strict=True)
    ]
    weights = [random.uniform(0.5, 1.5, a.shape) for a in expected]

    leaves = [leaf(i, a) for i, a in enumerate(data)]
    node = function(*leaves)
    seed_node = leaf(len(data), weight)
    node_targets = [leaves[i] for i in floats]
    gradients = build.grad([node], [seed_node], node_targets)
    buffers = [*data, weight, *weights]
    value, *found = evaluate(compiled([node, *gradients]), buffers)
    np.testing.assert_allclose(value, result.detach().numpy(), tolerance, tolerance)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, tolerance, tolerance)
    if not second:
        return
    total = sum(
        (g * torch.tensor(w)).sum() for g, w in zip(first, weights, strict=True) if g is not None
    )
    sought = [*targets, seed]
    if isinstance(total, torch.Tensor) and total.requires_grad:
        again = torch.autograd.grad(total, sought, allow_unused=True)
    else:
        again = (None,) * len(sought)
    cotangents = [leaf(len(data) + 1 + i, w) for i, w in enumerate(weights)]
    nodes = compiled(build.grad(gradients, cotangents, [*node_targets, seed_node]))
    for ours, g, t in zip(evaluate(nodes, buffers), again, sought, strict=True):
        theirs = np.zeros(tuple(t.shape)) if g is None else g.detach().clone().numpy(force=True)
        np.testing.assert_allclose(ours, theirs, 10 * tolerance, 10 * tolerance)


def compiled(roots: Sequence[Node]) -> list[Node]:
    """The graph passes, as the compiler runs them."""
    return simplify(inline(expand(roots)))


@pytest.fixture
def compare() -> Callable[..., None]:
    return compare_with_torch
