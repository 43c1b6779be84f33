"""Simplification rules of elementwise operations: constants are computed, identities removed.

Every rule gives the same bits as what it replaces, NaN, infinities and signed zeros included (NaNs are all one). So x * 1 is x,
but x + 0.0 is not (-0.0 + 0.0 is 0.0), and x * 0 is 0 for integers only. What would only round differently is left alone.
"""

from __future__ import annotations

import math

from ..ir.args import Constant, Scalar
from ..ir.dtype import DType, bool_
from ..ir.node import Node, constant, unary, where
from ..ir.op import ELEMENTWISE, Op
from ..ir.rewrite import RuleTable
from .fold import compute

SIMPLIFY: RuleTable[Node] = RuleTable("simplify")
"""rule(node) -> a simpler node that computes the same; its sources are simplified already, and equal nodes are one."""

EVERY_ELEMENTWISE = tuple(Op(op) for op in sorted(ELEMENTWISE))

MANTISSA = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
"""Every integer below 2 ** this has an exact value."""


def number_of(node: Node) -> Scalar | None:
    """The value of a CONST."""
    return node.arg.value if node.op is Op.CONST and isinstance(node.arg, Constant) else None


def is_number(node: Node, value: Scalar) -> bool:
    """Whether a node is the CONST `value`, with its sign if that is a zero."""
    found = number_of(node)
    if found is None or found != value:
        return False
    return value != 0 or math.copysign(1.0, found) == math.copysign(1.0, value)


def filled(node: Node, value: Scalar) -> Node:
    """A CONST in place of `node`."""
    return constant(value, node.dtype, node.shape, node.place)


def is_float(node: Node) -> bool:
    return node.dtype.kind == "float"


@SIMPLIFY.rule(*EVERY_ELEMENTWISE)
def fold(node: Node) -> Node | None:
    """An operation on numbers is a number, the interpreter's. What raises is left to raise when it runs."""
    values = []
    for source in node.src:
        value = number_of(source)
        if value is None:
            return None
        values.append(value)
    result = compute(node.op, node.dtype, [source.dtype for source in node.src], values)
    return None if result is None else filled(node, result)


# --- sums


@SIMPLIFY.rule(Op.ADD, Op.MUL, Op.AND, Op.OR, Op.XOR, Op.EQ, Op.NE)
def number_right(node: Node) -> Node | None:
    """c + x is x + c, so that later rules look on one side."""
    left, right = node.src
    if left.op is Op.CONST and right.op is not Op.CONST:
        return Node(node.op, (right, left), node.dtype, node.shape)
    return None


@SIMPLIFY.rule(Op.ADD)
def add_zero(node: Node) -> Node | None:
    """x + 0 for integers, x + -0.0 for floats."""
    left, right = node.src
    return left if is_number(right, -0.0 if is_float(node) else 0) else None


@SIMPLIFY.rule(Op.ADD)
def add_negative(node: Node) -> Node | None:
    """x + -y and -y + x are x - y."""
    left, right = node.src
    if right.op is Op.NEG:
        return left - right.src[0]
    if left.op is Op.NEG:
        return right - left.src[0]
    return None


@SIMPLIFY.rule(Op.ADD, Op.MUL)
def integer_chain(node: Node) -> Node | None:
    """(x + a) + b is x + (a + b): integers wrap, so the order does not matter."""
    left, right = node.src
    if is_float(node) or node.dtype is bool_ or left.op is not node.op:
        return None
    outer, inner = number_of(right), number_of(left.src[1])
    if outer is None or inner is None:
        return None
    total = outer + inner if node.op is Op.ADD else outer * inner
    return Node(node.op, (left.src[0], filled(node, total)), node.dtype, node.shape)


@SIMPLIFY.rule(Op.SUB)
def subtract_zero(node: Node) -> Node | None:
    left, right = node.src
    return left if is_number(right, 0.0 if is_float(node) else 0) else None


@SIMPLIFY.rule(Op.SUB)
def subtract_from_zero(node: Node) -> Node | None:
    """0 - x for integers, -0.0 - x for floats."""
    left, right = node.src
    return -right if is_number(left, -0.0 if is_float(node) else 0) else None


@SIMPLIFY.rule(Op.SUB)
def subtract_negative(node: Node) -> Node | None:
    left, right = node.src
    return left + right.src[0] if right.op is Op.NEG else None


@SIMPLIFY.rule(Op.SUB, Op.XOR)
def integer_difference(node: Node) -> Node | None:
    left, right = node.src
    return filled(node, 0) if left is right and not is_float(node) else None


@SIMPLIFY.rule(Op.NEG)
def negate_negative(node: Node) -> Node | None:
    return node.src[0].src[0] if node.src[0].op is Op.NEG else None


@SIMPLIFY.rule(Op.NEG)
def negate_product(node: Node) -> Node | None:
    """-(x * c) is x * -c, -(x / c) is x / -c."""
    source = node.src[0]
    if source.op not in (Op.MUL, Op.DIV) or not is_float(node):
        return None
    factor = number_of(source.src[1])
    if factor is None:
        return None
    return Node(source.op, (source.src[0], filled(node, -factor)), node.dtype, node.shape)


# --- products


@SIMPLIFY.rule(Op.MUL, Op.DIV, Op.IDIV)
def multiply_by_one(node: Node) -> Node | None:
    left, right = node.src
    return left if is_number(right, 1) else None


@SIMPLIFY.rule(Op.MUL, Op.DIV)
def multiply_by_minus_one(node: Node) -> Node | None:
    left, right = node.src
    return -left if is_number(right, -1) and node.dtype.is_signed else None


@SIMPLIFY.rule(Op.MUL, Op.AND)
def integer_zero(node: Node) -> Node | None:
    return filled(node, 0) if not is_float(node) and is_number(node.src[1], 0) else None


@SIMPLIFY.rule(Op.MOD)
def remainder_of_one(node: Node) -> Node | None:
    return filled(node, 0) if is_number(node.src[1], 1) else None


@SIMPLIFY.rule(Op.MUL, Op.DIV)
def multiply_negative(node: Node) -> Node | None:
    """The sign moves out of products, or into their number: -x * y is -(x * y), -x * c is x * -c."""
    left, right = node.src
    if not is_float(node):
        return None
    factor = number_of(right)
    if left.op is Op.NEG and factor is not None:
        return Node(node.op, (left.src[0], filled(node, -factor)), node.dtype, node.shape)
    if left.op is Op.NEG and right.op is Op.NEG:
        return Node(node.op, (left.src[0], right.src[0]), node.dtype, node.shape)
    if left.op is Op.NEG:
        return -Node(node.op, (left.src[0], right), node.dtype, node.shape)
    if right.op is Op.NEG:
        return -Node(node.op, (left, right.src[0]), node.dtype, node.shape)
    return None


@SIMPLIFY.rule(Op.DIV)
def divide_by_power_of_two(node: Node) -> Node | None:
    """The reciprocal is exact, so both round the same number."""
    divisor = number_of(node.src[1])
    if divisor is None or divisor == 0 or not math.isfinite(divisor):
        return None
    fraction, exponent = math.frexp(divisor)
    if abs(fraction) != 0.5 or abs(exponent) > 14:  # 2 ** -14 is the least normal float16
        return None
    return node.src[0] * (1.0 / divisor)


@SIMPLIFY.rule(Op.POW)
def small_power(node: Node) -> Node | None:
    base = node.src[0]
    exponent = number_of(node.src[1])
    if exponent == 0:
        return filled(node, 1)
    if exponent == 1:
        return base
    if exponent == 2:
        return base * base
    if exponent == 3:
        return base * base * base
    if exponent == -1 and is_float(node):
        return 1.0 / base
    return None


# --- extremes, bits, comparisons


@SIMPLIFY.rule(Op.MAX, Op.MIN, Op.AND, Op.OR)
def idempotent(node: Node) -> Node | None:
    left, right = node.src
    return left if left is right else None


@SIMPLIFY.rule(Op.MAX, Op.MIN)
def unbounded(node: Node) -> Node | None:
    """A bound at infinity; NaN passes it too."""
    left, right = node.src
    bound = -math.inf if node.op is Op.MAX else math.inf
    return left if is_number(right, bound) else right if is_number(left, bound) else None


@SIMPLIFY.rule(Op.AND, Op.OR, Op.XOR, Op.SHL, Op.SHR)
def neutral_bits(node: Node) -> Node | None:
    left, right = node.src
    if node.op is Op.AND:
        return left if is_number(right, _all_ones(node.dtype)) else None
    return left if is_number(right, 0) else None


@SIMPLIFY.rule(Op.OR)
def saturated_bits(node: Node) -> Node | None:
    return node.src[1] if is_number(node.src[1], _all_ones(node.dtype)) else None


def _all_ones(dtype: DType) -> Scalar:
    return True if dtype is bool_ else -1 if dtype.kind == "int" else (1 << dtype.bits) - 1


@SIMPLIFY.rule(Op.EQ, Op.NE, Op.LT, Op.LE)
def compare_with_itself(node: Node) -> Node | None:
    """A NaN equals nothing, so of floats only x < x is known."""
    left, right = node.src
    if left is not right or (is_float(left) and node.op is not Op.LT):
        return None
    return filled(node, node.op in (Op.EQ, Op.LE))


@SIMPLIFY.rule(Op.EQ, Op.NE)
def compare_with_truth(node: Node) -> Node | None:
    left, right = node.src
    if left.dtype is not bool_ or right.op is not Op.CONST:
        return None
    return left if bool(number_of(right)) is (node.op is Op.EQ) else ~left


@SIMPLIFY.rule(Op.NOT)
def negated(node: Node) -> Node | None:
    """not not x; not (a == b); for integers not (a < b): a comparison with NaN is false both ways."""
    source = node.src[0]
    if source.op is Op.NOT:
        return source.src[0]
    if node.dtype is not bool_ or source.op not in (Op.EQ, Op.NE, Op.LT, Op.LE):
        return None
    left, right = source.src
    if source.op in (Op.EQ, Op.NE):
        return left.ne(right) if source.op is Op.EQ else left.eq(right)
    if is_float(left):
        return None
    return right.le(left) if source.op is Op.LT else right.lt(left)


@SIMPLIFY.rule(Op.ABS)
def absolute(node: Node) -> Node | None:
    source = node.src[0]
    if source.op is Op.NEG:
        return unary(Op.ABS, source.src[0])
    return source if source.op is Op.ABS else None


ROUNDING = (Op.FLOOR, Op.CEIL, Op.TRUNC, Op.ROUND)


@SIMPLIFY.rule(*ROUNDING)
def already_whole(node: Node) -> Node | None:
    source = node.src[0]
    return source if source.op in ROUNDING or not is_float(node) else None


# --- where


@SIMPLIFY.rule(Op.WHERE)
def known_choice(node: Node) -> Node | None:
    condition, left, right = node.src
    if left is right:
        return left
    chosen = number_of(condition)
    return None if chosen is None else left if chosen else right


@SIMPLIFY.rule(Op.WHERE)
def choice_of_truths(node: Node) -> Node | None:
    condition, left, right = node.src
    if node.dtype is not bool_ or left.op is not Op.CONST or right.op is not Op.CONST:
        return None
    return condition if number_of(left) else ~condition


@SIMPLIFY.rule(Op.WHERE)
def negated_choice(node: Node) -> Node | None:
    condition, left, right = node.src
    return where(condition.src[0], right, left) if condition.op is Op.NOT else None


@SIMPLIFY.rule(Op.WHERE)
def repeated_choice(node: Node) -> Node | None:
    """Inside the branch that a condition chooses, the same condition chooses the same way."""
    condition, left, right = node.src
    if left.op is Op.WHERE and left.src[0] is condition:
        return where(condition, left.src[1], right)
    if right.op is Op.WHERE and right.src[0] is condition:
        return where(condition, left, right.src[2])
    return None


# --- casts


@SIMPLIFY.rule(Op.CAST, Op.BITCAST)
def same_type(node: Node) -> Node | None:
    return node.src[0] if node.src[0].dtype is node.dtype else None


@SIMPLIFY.rule(Op.CAST)
def lossless_chain(node: Node) -> Node | None:
    """A cast on the way through a type that holds every value of the first."""
    middle = node.src[0]
    if middle.op is not Op.CAST:
        return None
    source = middle.src[0]
    if not holds(middle.dtype, source.dtype):
        return None
    if node.dtype.itemsize == 2 and is_float(node) and source.dtype.is_integer:
        # an integer comes to a half type by way of float32, where a wide one is rounded first
        if source.dtype.itemsize > 2:
            return None
    return source.cast(node.dtype)


def holds(wide: DType, narrow: DType) -> bool:
    """Whether `wide` has every value of `narrow`."""
    if narrow is wide or narrow is bool_:
        return True
    if wide is bool_ or (wide.kind != "float" and narrow.kind == "float"):
        return False
    if narrow.kind == "float":
        return wide.itemsize > narrow.itemsize
    bits = narrow.bits - (narrow.kind == "int")
    if wide.kind == "float":
        return bits <= MANTISSA[wide.name]
    if wide.kind == "uint":
        return narrow.kind == "uint" and bits <= wide.bits
    return bits <= wide.bits - 1
