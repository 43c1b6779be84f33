"""Reverse-mode gradients: how the cotangent of a node becomes the cotangents of its sources.

In: a float node of the graph stratum and its cotangent (same shape and dtype). Out: one cotangent per source, in order, each of its
source's shape and dtype; None where no gradient flows. Rules build ordinary nodes, so that their results differentiate again.
The formulas are PyTorch's, so that singular points (0 * inf, ties, x**0) give what PyTorch gives.

This file has the tables and the elementwise family; `reverse_structure.py` has reductions, scans, movement and indexing.
"""

from __future__ import annotations

import math

from ..ir.node import Node, unary, where
from ..ir.op import Op
from ..ir.rewrite import RuleTable

Cotangents = tuple[Node | None, ...]

REVERSE: RuleTable[Cotangents] = RuleTable("reverse gradient")
"""Rules by operation: rule(node, cotangent)."""

COMPOSITE_REVERSE: RuleTable[Cotangents] = RuleTable("reverse gradient of composites")
"""Rules by the name of a composite; they stand beside the bodies. A composite without one differentiates through its body."""

LOG_2 = math.log(2.0)
LOG_10 = math.log(10.0)
TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)
HALF_SQRT_PI = math.sqrt(math.pi) / 2.0


def reciprocal(node: Node) -> Node:
    return 1.0 / node


def exp(node: Node) -> Node:
    return unary(Op.EXP, node)


def log(node: Node) -> Node:
    return unary(Op.LOG, node)


def rsqrt(node: Node) -> Node:
    return unary(Op.RSQRT, node)


# --- one source


@REVERSE.rule(Op.NEG)
def neg(node: Node, cotangent: Node) -> Cotangents:
    return (-cotangent,)


@REVERSE.rule(Op.ABS)
def absolute(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent * unary(Op.SIGN, node.src[0]),)


@REVERSE.rule(Op.SIGN, Op.FLOOR, Op.CEIL, Op.TRUNC, Op.ROUND, Op.BITCAST)
def step(node: Node, cotangent: Node) -> Cotangents:
    """Flat wherever it is differentiable."""
    return (None,)


@REVERSE.rule(Op.SQRT)
def sqrt(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent / (node * 2.0),)


@REVERSE.rule(Op.RSQRT)
def reciprocal_sqrt(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent * -0.5 * (node * node * node),)


@REVERSE.rule(Op.EXP)
def exponential(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent * node,)


@REVERSE.rule(Op.EXP2)
def exponential_2(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent * node * LOG_2,)


@REVERSE.rule(Op.EXPM1)
def exponential_minus_1(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent * (node + 1.0),)


@REVERSE.rule(Op.LOG)
def logarithm(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent / node.src[0],)


@REVERSE.rule(Op.LOG2)
def logarithm_2(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent / (node.src[0] * LOG_2),)


@REVERSE.rule(Op.LOG10)
def logarithm_10(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent / (node.src[0] * LOG_10),)


@REVERSE.rule(Op.LOG1P)
def logarithm_1_plus(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent / (node.src[0] + 1.0),)


@REVERSE.rule(Op.SIN)
def sine(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent * unary(Op.COS, node.src[0]),)


@REVERSE.rule(Op.COS)
def cosine(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent * -unary(Op.SIN, node.src[0]),)


@REVERSE.rule(Op.TAN)
def tangent(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent * (node * node + 1.0),)


@REVERSE.rule(Op.ASIN)
def arc_sine(node: Node, cotangent: Node) -> Cotangents:
    x = node.src[0]
    return (cotangent * rsqrt(1.0 - x * x),)


@REVERSE.rule(Op.ACOS)
def arc_cosine(node: Node, cotangent: Node) -> Cotangents:
    x = node.src[0]
    return (cotangent * -rsqrt(1.0 - x * x),)


@REVERSE.rule(Op.ATAN)
def arc_tangent(node: Node, cotangent: Node) -> Cotangents:
    x = node.src[0]
    return (cotangent / (x * x + 1.0),)


@REVERSE.rule(Op.SINH)
def hyperbolic_sine(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent * unary(Op.COSH, node.src[0]),)


@REVERSE.rule(Op.COSH)
def hyperbolic_cosine(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent * unary(Op.SINH, node.src[0]),)


@REVERSE.rule(Op.TANH)
def hyperbolic_tangent(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent * (1.0 - node * node),)


@REVERSE.rule(Op.ASINH)
def area_hyperbolic_sine(node: Node, cotangent: Node) -> Cotangents:
    x = node.src[0]
    return (cotangent * rsqrt(x * x + 1.0),)


@REVERSE.rule(Op.ACOSH)
def area_hyperbolic_cosine(node: Node, cotangent: Node) -> Cotangents:
    x = node.src[0]
    return (cotangent * rsqrt(x * x - 1.0),)


@REVERSE.rule(Op.ATANH)
def area_hyperbolic_tangent(node: Node, cotangent: Node) -> Cotangents:
    x = node.src[0]
    return (cotangent * reciprocal(1.0 - x * x),)


@REVERSE.rule(Op.ERF)
def error_function(node: Node, cotangent: Node) -> Cotangents:
    x = node.src[0]
    return (exp(-(x * x)) * TWO_OVER_SQRT_PI * cotangent,)


@REVERSE.rule(Op.ERFC)
def complementary_error_function(node: Node, cotangent: Node) -> Cotangents:
    x = node.src[0]
    return (exp(-(x * x)) * -TWO_OVER_SQRT_PI * cotangent,)


@REVERSE.rule(Op.ERFINV)
def inverse_error_function(node: Node, cotangent: Node) -> Cotangents:
    return (exp(node * node) * HALF_SQRT_PI * cotangent,)


@REVERSE.rule(Op.LGAMMA)
def log_gamma(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent * unary(Op.DIGAMMA, node.src[0]),)


@REVERSE.rule(Op.DIGAMMA)
def digamma(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent * trigamma(node.src[0]),)


def trigamma(x: Node) -> Node:
    """The second derivative of lgamma: reflected to x >= 1/2, six steps of the recurrence, then the asymptotic series."""
    reflect = x.lt(0.5)
    z = where(reflect, 1.0 - x, x)
    total = reciprocal(z * z)
    for _ in range(5):
        z = z + 1.0
        total = total + reciprocal(z * z)
    z = z + 1.0
    inverse = reciprocal(z)
    square = inverse * inverse
    series = square * (-691.0 / 2730.0) + 5.0 / 66.0
    for coefficient in (-1.0 / 30.0, 1.0 / 42.0, -1.0 / 30.0, 1.0 / 6.0):
        series = series * square + coefficient
    total = total + (inverse + square * 0.5 + inverse * square * series)
    # sin has to be kept away from its zeros where the reflection is not used, or its derivative is 0 * inf there
    sine_of = unary(Op.SIN, where(reflect, x, 0.5) * math.pi)
    return where(reflect, (math.pi * math.pi) / (sine_of * sine_of) - total, total)


@REVERSE.rule(Op.CAST)
def cast(node: Node, cotangent: Node) -> Cotangents:
    source = node.src[0].dtype
    return (cotangent.cast(source) if source.is_floating_point else None,)


# --- two sources


@REVERSE.rule(Op.ADD)
def add(node: Node, cotangent: Node) -> Cotangents:
    return cotangent, cotangent


@REVERSE.rule(Op.SUB)
def subtract(node: Node, cotangent: Node) -> Cotangents:
    return cotangent, -cotangent


@REVERSE.rule(Op.MUL)
def multiply(node: Node, cotangent: Node) -> Cotangents:
    left, right = node.src
    return cotangent * right, cotangent * left


@REVERSE.rule(Op.DIV)
def divide(node: Node, cotangent: Node) -> Cotangents:
    right = node.src[1]
    return cotangent / right, -cotangent * (node / right)


@REVERSE.rule(Op.FMOD)
def fmod(node: Node, cotangent: Node) -> Cotangents:
    left, right = node.src
    return cotangent, -cotangent * unary(Op.TRUNC, left / right)


@REVERSE.rule(Op.POW)
def power(node: Node, cotangent: Node) -> Cotangents:
    """x**0 is flat in x, also at 0; 0**y is flat in y from y = 0 on."""
    base, exponent = node.src
    slope = exponent * Node(Op.POW, (base, exponent - 1.0), node.dtype, node.shape)
    flat = exponent.ge(0.0) & base.eq(0.0)
    return (
        where(exponent.eq(0.0), 0.0, cotangent * slope),
        cotangent * where(flat, 0.0, node * log(base)),
    )


@REVERSE.rule(Op.ATAN2)
def arc_tangent_2(node: Node, cotangent: Node) -> Cotangents:
    y, x = node.src
    scale = reciprocal(y * y + x * x)
    return cotangent * x * scale, cotangent * -y * scale


@REVERSE.rule(Op.MAX)
def maximum(node: Node, cotangent: Node) -> Cotangents:
    """Ties share the cotangent equally, as PyTorch's do."""
    left, right = node.src
    share = where(left.eq(right), cotangent / 2.0, cotangent)
    return where(left.lt(right), 0.0, share), where(right.lt(left), 0.0, share)


@REVERSE.rule(Op.MIN)
def minimum(node: Node, cotangent: Node) -> Cotangents:
    """Ties share the cotangent equally, as PyTorch's do."""
    left, right = node.src
    share = where(left.eq(right), cotangent / 2.0, cotangent)
    return where(right.lt(left), 0.0, share), where(left.lt(right), 0.0, share)


# --- three sources


@REVERSE.rule(Op.WHERE)
def select(node: Node, cotangent: Node) -> Cotangents:
    condition = node.src[0]
    return None, where(condition, cotangent, 0.0), where(condition, 0.0, cotangent)


@REVERSE.rule(Op.FMA)
def fused_multiply_add(node: Node, cotangent: Node) -> Cotangents:
    left, right, _ = node.src
    return cotangent * right, cotangent * left, cotangent
