"""Softmax, its logarithm, and logsumexp: the largest element is subtracted first, so that no finite input overflows."""

from __future__ import annotations

import math

from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents, exp, log
from ..ir.args import Call
from ..ir.composite import composite
from ..ir.node import Node, unary, where
from ..ir.op import Op
from .precision import wide


def axis_of(node: Node) -> tuple[int]:
    assert isinstance(node.arg, Call)
    axis = node.arg.get("axis")
    assert isinstance(axis, int)
    return (axis,)


def shifted(x: Node, axes: tuple[int, ...]) -> tuple[Node, Node]:
    """x less its maximum over `axes`, and the maximum."""
    top = x.reduce("max", axes)
    return x - top.expand(x.shape), top


@composite("softmax")
def softmax(x: Node, axis: int) -> Node:
    below, _ = shifted(wide(x), (axis,))
    weights = exp(below)
    return (weights / weights.sum((axis,)).expand(x.shape)).cast(x.dtype)


@composite("safe_softmax")
def safe_softmax(x: Node, axis: int) -> Node:
    """softmax, but 0 in a row that is minus infinity throughout, as a mask of attention may leave it."""
    values = wide(x)
    top = values.reduce("max", (axis,))
    weights = exp(values - where(top.eq(-math.inf), 0.0, top).expand(x.shape))
    total = weights.sum((axis,))
    return (weights / where(total.eq(0.0), 1.0, total).expand(x.shape)).cast(x.dtype)


@COMPOSITE_REVERSE.rule("softmax")
@COMPOSITE_REVERSE.rule("safe_softmax")
def softmax_reverse(node: Node, cotangent: Node) -> Cotangents:
    result, incoming = wide(node), wide(cotangent)
    mean = (incoming * result).sum(axis_of(node)).expand(node.shape)
    return (((incoming - mean) * result).cast(node.dtype),)


@composite("log_softmax")
def log_softmax(x: Node, axis: int) -> Node:
    below, _ = shifted(wide(x), (axis,))
    total = log(exp(below).sum((axis,)))
    return (below - total.expand(x.shape)).cast(x.dtype)


@COMPOSITE_REVERSE.rule("log_softmax")
def log_softmax_reverse(node: Node, cotangent: Node) -> Cotangents:
    incoming, axes = wide(cotangent), axis_of(node)
    total = _only_element(cotangent, axes)
    total = incoming.sum(axes) if total is None else wide(total)
    return ((incoming - exp(wide(node)) * total.expand(node.shape)).cast(node.dtype),)


def _only_element(cotangent: Node, axes: tuple[int]) -> Node | None:
    """The sum of a cotangent that is known to have one element a row, as nll_loss gives it.

    (A target that is not a class raises in the forward pass; one that is ignored has an element of 0.)
    """
    if not isinstance(cotangent.arg, Call) or cotangent.arg.name != "at_target":
        return None
    scores, _, scale = cotangent.src
    if axes != (min(1, len(scores.shape) - 1),):
        return None
    return scale.reshape([1 if a in axes else n for a, n in enumerate(scores.shape)])


@composite("logsumexp")
def logsumexp(x: Node, axes: tuple[int, ...]) -> Node:
    values = wide(x)
    top = values.reduce("max", axes)
    # infinity - infinity would be NaN
    top = where(unary(Op.ABS, top).eq(math.inf), 0.0, top)
    total = log(exp(values - top.expand(x.shape)).sum(axes))
    return (total + top).cast(x.dtype)


@COMPOSITE_REVERSE.rule("logsumexp")
def logsumexp_reverse(node: Node, cotangent: Node) -> Cotangents:
    x = node.src[0]
    share = exp(wide(x) - wide(node).expand(x.shape))
    return ((wide(cotangent).expand(x.shape) * share).cast(x.dtype),)
