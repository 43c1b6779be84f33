"""A value whose gradient is scaled: what embedding does for rows that are listed more than once."""

from __future__ import annotations

from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents
from ..ir.composite import composite
from ..ir.node import Node


@composite("scale_gradient")
def scale_gradient(x: Node, factor: Node) -> Node:
    """x; its cotangent is multiplied by `factor`, to which no gradient goes."""
    return x


@COMPOSITE_REVERSE.rule("scale_gradient")
def scale_gradient_reverse(node: Node, cotangent: Node) -> Cotangents:
    return cotangent * node.src[1].stop(), None
