"""Half types: computed in float32 and rounded once to the half type.

float32 has more than twice the bits of float16 and bfloat16, so + - * / and sqrt come out correctly rounded. FMA has an exact
product but a sum that float32 rounds a first time: that one is rounded to odd, after which the second rounding is right.
"""

from __future__ import annotations

from lazygrad.ir.dtype import DType, bfloat16, bool_, float16, float32, float64
from lazygrad.ir.node import Node, where
from lazygrad.ir.op import COMPARISON, Op

from .floats import DOUBLE, SINGLE, Format, bits, magnitude, number, two_sum
from .table import MATH

HALF = (float16, bfloat16)

COMPUTED = (
    Op.NEG, Op.ABS, Op.SIGN, Op.FLOOR, Op.CEIL, Op.TRUNC, Op.ROUND, Op.SQRT, Op.RSQRT, Op.EXP, Op.EXP2, Op.EXPM1,
    Op.LOG, Op.LOG2, Op.LOG10, Op.LOG1P, Op.SIN, Op.COS, Op.TAN, Op.ASIN, Op.ACOS, Op.ATAN, Op.SINH, Op.COSH, Op.TANH,
    Op.ASINH, Op.ACOSH, Op.ATANH, Op.ERF, Op.ERFC, Op.ERFINV, Op.LGAMMA, Op.DIGAMMA, Op.ADD, Op.SUB, Op.MUL, Op.DIV,
    Op.FMOD, Op.POW, Op.ATAN2, Op.MAX, Op.MIN, Op.LT, Op.LE, Op.EQ, Op.NE,
)  # fmt: skip


@MATH.rule(*COMPUTED)
def half_operation(node: Node) -> Node | None:
    if node.src[0].dtype not in HALF:
        return None
    src = tuple(source.cast(float32) for source in node.src)
    if node.op in COMPARISON:
        return Node(node.op, src, bool_, node.shape)
    return Node(node.op, src, float32, node.shape).cast(node.dtype)


def round_to_odd(total: Node, error: Node, fmt: Format) -> Node:
    """`total`, whose rounding lost `error`, with its last bit set where something was lost: no tie appears that was none."""
    pattern = bits(total, fmt)
    away = error.lt(0.0).eq(total.lt(0.0))  # the lost part points away from zero
    step = where(away, number(1, pattern), number(-1, pattern))
    inexact = error.ne(0.0) & (pattern & 1).eq(0) & magnitude(total).lt(float("inf"))
    return where(inexact, pattern + step, pattern).bitcast(fmt.dtype)


def narrow(value: Node, dtype: DType) -> Node:
    """A float64 rounded once to a half type, by way of float32."""
    single = value.cast(float32)
    # beyond float32's range the error is infinite, and the guard of `round_to_odd` leaves infinity alone
    return round_to_odd(single, (value - single.cast(float64)).cast(float32), SINGLE).cast(dtype)


@MATH.rule(Op.FMA)
def half_fma(node: Node) -> Node | None:
    """A product of halves is exact in float64, and in range."""
    if node.dtype not in HALF:
        return None
    left, right, addend = (source.cast(float64) for source in node.src)
    total, error = two_sum(left * right, addend)
    return narrow(round_to_odd(total, error, DOUBLE), node.dtype)


@MATH.rule(Op.CAST)
def half_cast(node: Node) -> Node | None:
    """Between a half type and anything but float32: by way of float32."""
    source = node.src[0]
    if node.dtype in HALF:
        if source.dtype is float32 or source.dtype is node.dtype:
            return None
        return (
            narrow(source, node.dtype)
            if source.dtype is float64
            else source.cast(float32).cast(node.dtype)
        )
    if source.dtype in HALF and node.dtype is not float32:
        return source.cast(float32).cast(node.dtype)
    return None
