"""Normalisation over axes: to mean 0 and variance 1, layer normalisation, and division by the root of the mean square."""

from __future__ import annotations

from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents
from ..ir.composite import call, composite
from ..ir.node import Node, unary
from ..ir.op import Op
from .activation import attribute
from .precision import wide
from .statistics import axes_of, mean_of


def _standard(x: Node, axes: tuple[int, ...], eps: float) -> tuple[Node, Node]:
    """x with mean 0 and variance 1, and what it was multiplied by."""
    centred = x - mean_of(x, axes).expand(x.shape)
    scale = unary(Op.RSQRT, mean_of(centred * centred, axes) + eps).expand(x.shape)
    return centred * scale, scale


@composite("standardize")
def standardize(x: Node, axes: tuple[int, ...], eps: float) -> Node:
    """(x - mean) / sqrt(variance + eps), the variance without correction: the heart of layer, group, instance and batch norm."""
    return _standard(wide(x), axes, eps)[0].cast(x.dtype)


@COMPOSITE_REVERSE.rule("standardize")
def standardize_reverse(node: Node, cotangent: Node) -> Cotangents:
    """What is left of the cotangent after its mean and its part along the result are taken out, scaled."""
    x, axes = node.src[0], axes_of(node)
    result, scale = _standard(wide(x), axes, attribute(node, "eps"))
    incoming = wide(cotangent)
    mean = mean_of(incoming, axes).expand(x.shape)
    parallel = mean_of(incoming * result, axes).expand(x.shape)
    return (((incoming - mean - result * parallel) * scale).cast(x.dtype),)


@composite("layer_norm")
def layer_norm(x: Node, *affine: Node, axes: tuple[int, ...], eps: float = 1e-5) -> Node:
    """`affine` is nothing, a weight, or a weight and a bias, of the shape of the last axes, which are `axes`."""
    values = wide(x)
    return _scaled(call("standardize", [values], like=values, axes=axes, eps=eps), affine, x)


@composite("rms_norm")
def rms_norm(x: Node, *affine: Node, axes: tuple[int, ...], eps: float) -> Node:
    """`affine` is nothing or a weight, of the shape of the last axes, which are `axes`."""
    values = wide(x)
    scale = unary(Op.RSQRT, mean_of(values * values, axes) + eps)
    return _scaled(values * scale.expand(x.shape), affine, x)


def _scaled(values: Node, affine: tuple[Node, ...], like: Node) -> Node:
    if affine:
        values = values * wide(affine[0]).expand(like.shape)
    if len(affine) > 1:
        values = values + wide(affine[1]).expand(like.shape)
    return values.cast(like.dtype)
