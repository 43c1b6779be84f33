"""The values and steps of reductions and scans: what each starts from, and how two partial results become one."""

from __future__ import annotations

import math

from lazygrad.ir.args import ScanKind
from lazygrad.ir.dtype import DType
from lazygrad.ir.node import Node, constant, unary, where
from lazygrad.ir.op import Op


def identity(kind: ScanKind, dtype: DType) -> Node:
    """The value that a reduction starts from."""
    if kind == "add":
        return constant(0, dtype)
    if kind == "mul":
        return constant(1, dtype)
    if kind in ("and", "or"):
        full = True if dtype.kind == "bool" else -1
        return constant(full if kind == "and" else 0, dtype)
    if dtype.kind == "float":
        return constant(float("inf") if kind == "min" else float("-inf"), dtype)
    if dtype.kind == "bool":
        return constant(kind == "min", dtype)
    low = -(1 << dtype.bits - 1) if dtype.kind == "int" else 0
    high = (1 << dtype.bits - (dtype.kind == "int")) - 1
    return constant(low if kind == "max" else high, dtype)


def combine(kind: str, left: Node, right: Node) -> Node:
    """One step of a reduction or scan."""
    if kind == "logaddexp":
        return _log_add_exp(left, right)
    op = {"add": Op.ADD, "mul": Op.MUL, "max": Op.MAX, "min": Op.MIN, "and": Op.AND, "or": Op.OR}[
        kind
    ]
    return Node(op, (left, right), left.dtype, left.shape)


def _log_add_exp(left: Node, right: Node) -> Node:
    """log(exp(left) + exp(right)) without overflow; equal values, infinite ones too, have a rule of their own."""
    large = left.maximum(right)
    below = unary(Op.LOG1P, unary(Op.EXP, left.minimum(right) - large))
    return large + where(left.eq(right), math.log(2.0), below)


__all__ = ["combine", "identity"]
