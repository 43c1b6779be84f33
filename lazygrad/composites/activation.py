"""Activation functions."""

from __future__ import annotations

import math

from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents, exp
from ..ir.args import Call
from ..ir.composite import call, composite
from ..ir.node import Node, unary, where
from ..ir.op import Op


def attribute(node: Node, name: str) -> float:
    """A number among the attributes of a CALL."""
    assert isinstance(node.arg, Call)
    value = node.arg.get(name)
    assert isinstance(value, (int, float))
    return value


@composite("relu")
def relu(x: Node) -> Node:
    return x.maximum(0)


@COMPOSITE_REVERSE.rule("relu")
def relu_reverse(node: Node, cotangent: Node) -> Cotangents:
    return (where(node.src[0].le(0.0), 0.0, cotangent),)


@composite("sigmoid")
def sigmoid(x: Node) -> Node:
    return 1.0 / (exp(-x) + 1.0)


@COMPOSITE_REVERSE.rule("sigmoid")
def sigmoid_reverse(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent * (1.0 - node) * node,)


def sigmoid_of(x: Node) -> Node:
    return call("sigmoid", [x], like=x)


@composite("silu")
def silu(x: Node) -> Node:
    return x / (exp(-x) + 1.0)


@COMPOSITE_REVERSE.rule("silu")
def silu_reverse(node: Node, cotangent: Node) -> Cotangents:
    x = node.src[0]
    sigma = sigmoid_of(x)
    return (cotangent * sigma * (x * (1.0 - sigma) + 1.0),)


SQRT_HALF = math.sqrt(0.5)
INVERSE_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
GELU_SCALE = math.sqrt(2.0 / math.pi)
GELU_CUBIC = 0.044715


@composite("gelu")
def gelu(x: Node, approximate: str = "none") -> Node:
    if approximate == "tanh":
        return (_gelu_tanh(x) + 1.0) * (x * 0.5)
    return x * 0.5 * (unary(Op.ERF, x * SQRT_HALF) + 1.0)


def _gelu_tanh(x: Node) -> Node:
    return unary(Op.TANH, (x + x * x * x * GELU_CUBIC) * GELU_SCALE)


@COMPOSITE_REVERSE.rule("gelu")
def gelu_reverse(node: Node, cotangent: Node) -> Cotangents:
    assert isinstance(node.arg, Call)
    x = node.src[0]
    if node.arg.get("approximate") == "tanh":
        tanh = _gelu_tanh(x)
        inner = (x * x * (3.0 * GELU_CUBIC) + 1.0) * GELU_SCALE
        slope = (tanh + 1.0) * 0.5 + x * 0.5 * (1.0 - tanh * tanh) * inner
    else:
        below = (unary(Op.ERF, x * SQRT_HALF) + 1.0) * 0.5
        slope = below + x * exp(x * x * -0.5) * INVERSE_SQRT_2PI
    return (cotangent * slope,)


@composite("softplus")
def softplus(x: Node, beta: float = 1.0, threshold: float = 20.0) -> Node:
    """log(1 + e**(beta x)) / beta, where neither form overflows."""
    scaled = x * beta
    soft = scaled.maximum(0.0) + unary(Op.LOG1P, exp(-unary(Op.ABS, scaled)))
    return where(scaled.gt(threshold), x, soft / beta)


@COMPOSITE_REVERSE.rule("softplus")
def softplus_reverse(node: Node, cotangent: Node) -> Cotangents:
    scaled = node.src[0] * attribute(node, "beta")
    linear = scaled.gt(attribute(node, "threshold"))
    return (where(linear, cotangent, cotangent * sigmoid_of(scaled)),)


@composite("leaky_relu")
def leaky_relu(x: Node, slope: float = 0.01) -> Node:
    return where(x.gt(0.0), x, x * slope)


@COMPOSITE_REVERSE.rule("leaky_relu")
def leaky_relu_reverse(node: Node, cotangent: Node) -> Cotangents:
    return (where(node.src[0].gt(0.0), cotangent, cotangent * attribute(node, "slope")),)


@composite("elu")
def elu(x: Node, alpha: float = 1.0) -> Node:
    return where(x.gt(0.0), x, unary(Op.EXPM1, x) * alpha)


@COMPOSITE_REVERSE.rule("elu")
def elu_reverse(node: Node, cotangent: Node) -> Cotangents:
    """exp sees no positive x: it could overflow, and infinity times the 0 of the branch not taken is NaN."""
    x = node.src[0]
    slope = exp(where(x.ge(0.0), 0.0, x)) * attribute(node, "alpha")
    return (where(x.gt(0.0), cotangent, cotangent * slope),)


@composite("hardtanh")
def hardtanh(x: Node, min: float = -1.0, max: float = 1.0) -> Node:
    return x.maximum(min).minimum(max)


@COMPOSITE_REVERSE.rule("hardtanh")
def hardtanh_reverse(node: Node, cotangent: Node) -> Cotangents:
    """No gradient at the ends (clamp has it there)."""
    x = node.src[0]
    flat = x.le(attribute(node, "min")) | x.ge(attribute(node, "max"))
    return (where(flat, 0.0, cotangent),)
