"""Arithmetic on single numbers while compiling, in plain Python: the values are those of the interpreter, bit for bit.

In: an elementwise operation and its sources' numbers. Out: its number, or None where the operation is better left to run: what
raises, and what Python computes in another way. Compiling for a device does not touch numpy's arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..ir.args import Scalar
from ..ir.dtype import DType
from ..ir.op import Op

_PRECISION = {"float32": (24, -149, 128), "float16": (11, -24, 16), "bfloat16": (8, -133, 128)}
"""Bits of the significand, exponent of the smallest number, exponent that is infinite. float64 is Python's own."""


def rounded(value: float, dtype: DType) -> float:
    """A float64 rounded once to a float type, to nearest even."""
    if dtype.name == "float64" or value == 0 or not math.isfinite(value):
        return value
    bits, least, infinite = _PRECISION[dtype.name]
    fraction, exponent = math.frexp(value)
    if exponent > infinite:
        return math.copysign(math.inf, value)
    quantum = max(exponent - bits, least)
    result = math.ldexp(round(math.ldexp(fraction, exponent - quantum)), quantum)
    if abs(result) >= math.ldexp(1.0, infinite):
        return math.copysign(math.inf, value)
    return math.copysign(result, value)


def wrapped(value: int, dtype: DType) -> int:
    """An integer in the range of its type, wrapped around."""
    value &= (1 << dtype.bits) - 1
    return value - (1 << dtype.bits) if dtype.kind == "int" and value >> dtype.bits - 1 else value


def _divide(left: float, right: float) -> float:
    if right != 0:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def _round(value: float) -> float:
    return math.copysign(float(round(value)), value) if math.isfinite(value) else value


def _whole(function: Callable[[float], int]) -> Callable[[float], float]:
    def apply(value: float) -> float:
        return math.copysign(float(function(value)), value) if math.isfinite(value) else value

    return apply


def _maximum(left: float, right: float) -> float | None:
    if math.isnan(left) or math.isnan(right):
        return math.nan
    return None if left == right == 0 else max(left, right)  # which zero is numpy's to say


def _minimum(left: float, right: float) -> float | None:
    if math.isnan(left) or math.isnan(right):
        return math.nan
    return None if left == right == 0 else min(left, right)


# Rounding the float64 result to a narrower type is the correctly rounded result: float64 has more than twice the bits.
_FLOAT: dict[Op, Callable[..., float | None]] = {
    Op.NEG: lambda a: -a,
    Op.ABS: abs,
    Op.FLOOR: _whole(math.floor),
    Op.CEIL: _whole(math.ceil),
    Op.TRUNC: _whole(math.trunc),
    Op.ROUND: _round,
    Op.SQRT: lambda a: math.sqrt(a) if a >= 0 else math.nan,
    Op.ADD: lambda a, b: a + b,
    Op.SUB: lambda a, b: a - b,
    Op.MUL: lambda a, b: a * b,
    Op.DIV: _divide,
    Op.MAX: _maximum,
    Op.MIN: _minimum,
}

# In float64 the last bit is the library's, so these are folded for narrower types only.
_FUNCTION: dict[Op, Callable[[float], float]] = {
    Op.EXP: math.exp,
    Op.EXP2: math.exp2,
    Op.EXPM1: math.expm1,
    Op.LOG: math.log,
    Op.LOG2: math.log2,
    Op.LOG10: math.log10,
    Op.LOG1P: math.log1p,
    Op.SIN: math.sin,
    Op.COS: math.cos,
    Op.TAN: math.tan,
    Op.ASIN: math.asin,
    Op.ACOS: math.acos,
    Op.ATAN: math.atan,
    Op.SINH: math.sinh,
    Op.COSH: math.cosh,
    Op.TANH: math.tanh,
    Op.ERF: math.erf,
    Op.ERFC: math.erfc,
}

_INTEGER: dict[Op, Callable[..., int]] = {
    Op.NEG: lambda a: -a,
    Op.ABS: abs,
    Op.SIGN: lambda a: (a > 0) - (a < 0),
    Op.ADD: lambda a, b: a + b,
    Op.SUB: lambda a, b: a - b,
    Op.MUL: lambda a, b: a * b,
    Op.IDIV: lambda a, b: a // b,
    Op.MOD: lambda a, b: a % b,
    Op.MAX: max,
    Op.MIN: min,
    Op.NOT: lambda a: ~a,
    Op.AND: lambda a, b: a & b,
    Op.OR: lambda a, b: a | b,
    Op.XOR: lambda a, b: a ^ b,
}

_TRUTH: dict[Op, Callable[..., bool]] = {
    Op.NOT: lambda a: not a,
    Op.AND: lambda a, b: a and b,
    Op.OR: lambda a, b: a or b,
    Op.XOR: lambda a, b: a != b,
}

_COMPARISON: dict[Op, Callable[[Scalar, Scalar], bool]] = {
    Op.LT: lambda a, b: a < b,
    Op.LE: lambda a, b: a <= b,
    Op.EQ: lambda a, b: a == b,
    Op.NE: lambda a, b: a != b,
}


def compute(
    op: Op, dtype: DType, kinds: Sequence[DType], values: Sequence[Scalar]
) -> Scalar | None:
    """The number that elementwise `op`, of type `dtype`, makes of numbers of types `kinds`; None to leave it to run."""
    if op is Op.CAST:
        return _cast(values[0], kinds[0], dtype)
    held = [
        rounded(float(value), kind) if kind.kind == "float" else value
        for value, kind in zip(values, kinds)
    ]
    if op is Op.WHERE:
        return held[1] if held[0] else held[2]
    if op in _COMPARISON:
        return _COMPARISON[op](held[0], held[1])
    try:
        if dtype.kind == "float":
            if op in _FLOAT:
                result = _FLOAT[op](*held)
                return None if result is None else rounded(result, dtype)
            if op in _FUNCTION and dtype.itemsize < 8 and math.isfinite(held[0]):
                return rounded(_FUNCTION[op](float(held[0])), dtype)
        elif dtype.kind == "bool":
            return _TRUTH[op](*held) if op in _TRUTH else None
        elif op in _INTEGER:
            return wrapped(_INTEGER[op](*held), dtype)
    except (ZeroDivisionError, ValueError, OverflowError):
        pass
    return None


def _cast(value: Scalar, source: DType, target: DType) -> Scalar | None:
    if source.kind == "float":
        value = rounded(float(value), source)
    if target.kind == "bool":
        return value != 0
    if target.kind == "float":
        exact = abs(value) <= 2**53 if source.kind != "float" else True
        return rounded(float(value), target) if exact and _once(source, target) else None
    if source.kind != "float":
        return wrapped(int(value), target)
    inside = math.isfinite(value) and (target.kind == "int" or value >= 0)
    return int(value) if inside and abs(value) < 2 ** (target.bits - 1) else None


def _once(source: DType, target: DType) -> bool:
    """Whether PyTorch rounds once on the way: integers reach the half types through float32."""
    return source.kind in ("float", "bool") or target.itemsize > 2
