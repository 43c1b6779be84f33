"""Vector norms. The gradient at a norm of 0 is 0."""

from __future__ import annotations

import math

from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents
from ..ir.composite import composite
from ..ir.node import Node, unary, where
from ..ir.op import Op
from .activation import attribute
from .power import pow_scalar
from .precision import wide
from .statistics import axes_of


@composite("norm")
def norm(x: Node, p: float, axes: tuple[int, ...]) -> Node:
    """(sum of |x| ** p) ** (1 / p); for p of 0 how many are not 0, for infinities the extremes."""
    values = wide(x)
    size = unary(Op.ABS, values)
    if p == math.inf:
        result = size.reduce("max", axes)
    elif p == -math.inf:
        result = size.reduce("min", axes)
    elif p == 0:
        result = values.ne(0.0).cast(values.dtype).sum(axes)
    elif p == 1:
        result = size.sum(axes)
    elif p == 2:
        result = unary(Op.SQRT, (values * values).sum(axes))
    else:
        result = pow_scalar(pow_scalar(size, p).sum(axes), 1.0 / p)
    return result.cast(x.dtype)


@COMPOSITE_REVERSE.rule("norm")
def norm_reverse(node: Node, cotangent: Node) -> Cotangents:
    source = node.src[0]
    p, axes, shape = attribute(node, "p"), axes_of(node), source.shape
    x, result, incoming = wide(source), wide(node), wide(cotangent)
    if p == 0:
        return (None,)
    sign = unary(Op.SIGN, x)
    if p == 1:
        return ((sign * incoming.expand(shape)).cast(source.dtype),)
    if math.isinf(p):
        chosen = unary(Op.ABS, x).eq(result.expand(shape)).cast(x.dtype)
        share = (incoming / chosen.sum(axes)).expand(shape)
        return ((sign * share * chosen).cast(source.dtype),)
    is_zero = result.eq(0.0)
    safe = where(is_zero, 1.0, result)
    if p == 2:
        scale = where(is_zero, 0.0, incoming / safe)
        return ((x * scale.expand(shape)).cast(source.dtype),)
    scale = where(is_zero, 0.0, incoming * pow_scalar(safe, 1.0 - p)).expand(shape)
    flat = x.eq(0.0)
    size = where(flat, 1.0, unary(Op.ABS, x))
    slope = where(flat, 0.0, sign * pow_scalar(size, p - 1.0))
    return ((slope * scale).cast(source.dtype),)
