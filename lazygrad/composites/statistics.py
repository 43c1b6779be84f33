"""Mean, variance and product over axes."""

from __future__ import annotations

from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents
from ..ir.args import Call
from ..ir.composite import composite
from ..ir.node import Node
from .activation import attribute
from .precision import count, number, wide


def axes_of(node: Node) -> tuple[int, ...]:
    assert isinstance(node.arg, Call)
    axes = node.arg.get("axes")
    assert isinstance(axes, tuple)
    return axes


def mean_of(x: Node, axes: tuple[int, ...]) -> Node:
    total = x.sum(axes)
    return total / number(count(x, axes), total)


@composite("mean")
def mean(x: Node, axes: tuple[int, ...]) -> Node:
    return mean_of(wide(x), axes).cast(x.dtype)


@COMPOSITE_REVERSE.rule("mean")
def mean_reverse(node: Node, cotangent: Node) -> Cotangents:
    """Divided before it is spread out."""
    x = node.src[0]
    share = wide(cotangent)
    share = share / number(count(x, axes_of(node)), share)
    return (share.cast(x.dtype).expand(x.shape),)


@composite("variance")
def variance(x: Node, axes: tuple[int, ...], correction: float = 1.0) -> Node:
    values = wide(x)
    centred = values - mean_of(values, axes).expand(x.shape)
    total = (centred * centred).sum(axes)
    return (total / _freedom(x, total, axes, correction)).cast(x.dtype)


def _freedom(x: Node, like: Node, axes: tuple[int, ...], correction: float) -> Node:
    return (number(count(x, axes), like) - correction).maximum(0.0)


@COMPOSITE_REVERSE.rule("variance")
def variance_reverse(node: Node, cotangent: Node) -> Cotangents:
    x = node.src[0]
    axes = axes_of(node)
    values, incoming = wide(x), wide(cotangent)
    scale = incoming * 2.0 / _freedom(x, incoming, axes, attribute(node, "correction"))
    centred = values - mean_of(values, axes).expand(x.shape)
    return ((scale.expand(x.shape) * centred).cast(x.dtype),)


@composite("prod")
def prod(x: Node, axes: tuple[int, ...]) -> Node:
    return x.reduce("mul", axes)
