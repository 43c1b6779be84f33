"""Values that are chosen by their order."""

from __future__ import annotations

from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents
from ..ir.composite import composite
from ..ir.node import Node


@composite("one_of")
def one_of(x: Node, value: Node) -> Node:
    """`value`, which is that of one element of `x` or more."""
    return value


@COMPOSITE_REVERSE.rule("one_of")
def one_of_reverse(node: Node, cotangent: Node) -> Cotangents:
    """All elements that are equal to it share the gradient; a NaN is equal to any other here."""
    x, value = node.src
    wide = value.expand(x.shape)
    same = (x.eq(wide) | (x.ne(x) & wide.ne(wide))).cast(x.dtype)
    share = cotangent / same.sum(range(len(x.shape))).reshape(cotangent.shape)
    return same * share.expand(x.shape), None
