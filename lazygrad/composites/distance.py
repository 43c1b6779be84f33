"""Distances: the p-norm of differences, with PyTorch's gradients where a norm has corners."""

from __future__ import annotations

import math

from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents
from ..ir.composite import composite
from ..ir.node import Node, unary, where
from ..ir.op import Op
from .activation import attribute
from .norm import norm, norm_reverse


@composite("distance")
def distance(x: Node, p: float, axes: tuple[int, ...]) -> Node:
    """The norm of differences `x`."""
    return norm(x, p, axes)


@COMPOSITE_REVERSE.rule("distance")
def distance_reverse(node: Node, cotangent: Node) -> Cotangents:
    """As of a norm; of the largest difference all that are as large have the whole gradient, not a share."""
    if attribute(node, "p") != math.inf:
        return norm_reverse(node, cotangent)
    (x,) = node.src
    largest = unary(Op.ABS, x).eq(node.expand(x.shape))
    return (where(largest, unary(Op.SIGN, x) * cotangent.expand(x.shape), 0.0),)
