"""What the elementwise operations compute, in numpy: the meaning that every device is tested against.

In: an operation, its result's dtype, its sources' dtypes and their values. Out: the value, rounded once to the dtype.
A value of dtype bfloat16 is a float32 array that bfloat16 holds exactly; other values have the numpy dtype of their storage.
Functions without an exact answer are computed in float64, whatever the dtype, so they are within one rounding of the truth
for the narrower types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .dtype import DType, bfloat16, float64
from .op import Op
from .special import digamma, erf, erfc, erfinv, fused_multiply_add, log_gamma

Array = np.ndarray[Any, Any]

_VALUE = {name: np.dtype(name) for name in (
    "float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "uint32", "uint64", "bool",
)}  # fmt: skip
_VALUE["bfloat16"] = np.dtype("float32")


def value_dtype(dtype: DType) -> np.dtype[Any]:
    """The numpy dtype that values of `dtype` have in the interpreter."""
    return _VALUE[dtype.name]


def from_storage(array: Array, dtype: DType) -> Array:
    """The value of stored elements: bfloat16 bits become float32."""
    if dtype is bfloat16 and array.dtype == np.uint16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(_VALUE[dtype.name], copy=False)


def to_storage(array: Array, dtype: DType) -> Array:
    """The elements of a value as they are stored: bfloat16 as uint16 bits."""
    if dtype is bfloat16 and array.dtype == np.float32:
        return (np.ascontiguousarray(array).view(np.uint32) >> 16).astype(np.uint16)
    return array


def round_to(array: Array, dtype: DType) -> Array:
    """A float value, of any float type at least as wide, rounded once to `dtype`, to nearest even."""
    if dtype is not bfloat16:
        return array.astype(_VALUE[dtype.name], copy=False)
    single = array.astype(np.float32)
    bits = np.ascontiguousarray(single).reshape(single.shape).view(np.uint32)
    if array.dtype == np.float64:
        # Round to odd on the way, so that the second rounding sees whether anything was cut off.
        towards_zero = np.where(np.abs(single) > np.abs(array), bits - np.uint32(1), bits)
        bits = np.where(single != array, towards_zero | np.uint32(1), bits)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) & np.uint32(0xFFFF0000)
    quiet = np.uint32(0x7FC00000)
    return np.where(np.isnan(array), quiet, rounded).astype(np.uint32).view(np.float32)


def apply(op: Op, dtype: DType, kinds: Sequence[DType], values: Sequence[Array]) -> Array:
    """The result of elementwise `op`, of type `dtype`, on `values` of types `kinds`. numpy's warnings are the caller's to silence.

    Raises:
        RuntimeError: "ZeroDivisionError", an integer divided by zero, as PyTorch.
    """
    if op is Op.CAST:
        return cast(values[0], kinds[0], dtype)
    if op is Op.BITCAST:
        return bitcast(values[0], kinds[0], dtype)
    if op is Op.FMA:
        return _fma(dtype, *values)
    exact = _EXACT.get(op)
    if exact is not None:
        result = exact(*values)
        if dtype is bfloat16 and op in _INEXACT_RESULT:
            return round_to(result, dtype)
        wanted = _VALUE[dtype.name]
        return result if result.dtype == wanted else result.astype(wanted)
    if op is Op.POW and dtype.kind != "float":
        return _integer_power(*values)
    function = _TRANSCENDENTAL[op]
    return round_to(function(*(value.astype(np.float64, copy=False) for value in values)), dtype)


def cast(value: Array, source: DType, target: DType) -> Array:
    """Convert. Floats that an integer type cannot hold become what x86 and PyTorch make of them: see below."""
    if source is target:
        return value
    if target.kind == "bool":
        return np.not_equal(value, 0)
    if target.kind == "float":
        if source.kind == "float" and source.itemsize >= target.itemsize:
            return round_to(value, target)
        if target is bfloat16:
            # int64 -> float64 may round; the float32 that PyTorch goes through rounds too, and first.
            return round_to(value.astype(np.float32), target)
        if target.name == "float16" and source.is_integer:
            return value.astype(np.float32).astype(np.float16)
        return value.astype(_VALUE[target.name])
    if source.kind != "float":
        return value.astype(_VALUE[target.name])
    return _truncate(value.astype(np.float64, copy=False), target)


def _truncate(value: Array, target: DType) -> Array:
    """Float to integer: NaN and what the conversion's register cannot hold give its lowest number, then high bits are cut.

    The register is int32 for signed types up to 32 bits and for uint8, int64 for the rest; uint64 reaches up to 2**64
    and is 0 beyond.
    """
    if target.itemsize <= 2 or target.name == "int32":
        held = (value > -(2.0**31) - 1) & (value < 2.0**31)
        whole = np.where(held, value, -(2.0**31)).astype(np.int64).astype(np.int32)
        return whole.astype(_VALUE[target.name])
    held = (value >= -(2.0**63)) & (value < 2.0**63)
    whole = np.where(held, value, -(2.0**63)).astype(np.int64)
    if target.name != "uint64":
        return whole.astype(_VALUE[target.name])
    large = (value >= 2.0**63) & (value < 2.0**64)
    upper = np.where(large, value - 2.0**63, 0.0).astype(np.int64).astype(np.uint64)
    result = np.where(large, upper + np.uint64(1 << 63), whole.astype(np.uint64))
    return np.where(value >= 2.0**64, np.uint64(0), result)


def bitcast(value: Array, source: DType, target: DType) -> Array:
    """The same bits."""
    stored = np.ascontiguousarray(to_storage(value, source)).reshape(value.shape)
    return from_storage(stored.view(np.dtype(target.storage)), target)


def zero_division() -> RuntimeError:
    """What an integer division by zero raises."""
    return RuntimeError("ZeroDivisionError")


def _floor_divide(left: Array, right: Array) -> Array:
    if not np.all(right):
        raise zero_division()
    return np.floor_divide(left, right)


def _modulo(left: Array, right: Array) -> Array:
    if not np.all(right):
        raise zero_division()
    return np.remainder(left, right)


def _shift_left(left: Array, right: Array) -> Array:
    inside = (right >= 0) & (right < left.dtype.itemsize * 8)
    return np.where(inside, np.left_shift(left, np.where(inside, right, 0)), 0).astype(left.dtype)


def _shift_right(left: Array, right: Array) -> Array:
    """Distances that are negative or too large shift everything out: 0, or the sign."""
    bits = left.dtype.itemsize * 8
    inside = (right >= 0) & (right < bits)
    shifted = np.right_shift(left, np.where(inside, right, 0).astype(left.dtype))
    out = left >> left.dtype.type(bits - 1) if left.dtype.kind == "i" else np.zeros_like(left)
    return np.where(inside, shifted, out).astype(left.dtype)


def _integer_power(base: Array, exponent: Array) -> Array:
    """Wraps around. A negative exponent gives the truncated fraction: 0 but for bases 1 and -1."""
    base, exponent = np.broadcast_arrays(base, exponent)
    result = np.ones(base.shape, base.dtype)
    square = base.copy()
    left = np.maximum(exponent, 0)
    while np.any(left):
        result = np.where(left & 1, result * square, result)
        square = square * square
        left = left >> 1
    if exponent.dtype.kind == "i":
        odd = np.where(exponent & 1, base, base * base)
        fraction = np.where((base == 1) | (base == -1), odd, 0)
        result = np.where(exponent < 0, fraction, result)
    return result.astype(base.dtype)


def _fma(dtype: DType, a: Array, b: Array, c: Array) -> Array:
    a, b, c = (value.astype(np.float64, copy=False) for value in (a, b, c))
    return round_to(fused_multiply_add(a, b, c, odd=dtype is not float64), dtype)


def _not(value: Array) -> Array:
    return ~value


def _sign(value: Array) -> Array:
    """-1, 0 or 1; 0 for NaN, as PyTorch."""
    return np.where(value > 0, 1, np.where(value < 0, -1, 0)).astype(value.dtype)


def _divide(left: Array, right: Array) -> Array:
    return np.divide(left, right)


def _reciprocal_root(value: Array) -> Array:
    return 1.0 / np.sqrt(value)


def _round(value: Array) -> Array:
    return np.rint(value).astype(value.dtype, copy=False)


def _integral(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """A rounding function that leaves integers alone."""
    return lambda value: function(value) if value.dtype.kind == "f" else value


def _absolute(value: Array) -> Array:
    return value if value.dtype.kind in "ub" else np.abs(value)


_EXACT: dict[Op, Callable[..., Array]] = {
    Op.NEG: np.negative,
    Op.ABS: _absolute,
    Op.SIGN: _sign,
    Op.FLOOR: _integral(np.floor),
    Op.CEIL: _integral(np.ceil),
    Op.TRUNC: _integral(np.trunc),
    Op.ROUND: _integral(_round),
    Op.SQRT: np.sqrt,
    Op.NOT: _not,
    Op.ADD: np.add,
    Op.SUB: np.subtract,
    Op.MUL: np.multiply,
    Op.DIV: _divide,
    Op.IDIV: _floor_divide,
    Op.MOD: _modulo,
    Op.GCD: np.gcd,
    Op.FMOD: np.fmod,
    Op.MAX: np.maximum,
    Op.MIN: np.minimum,
    Op.LT: np.less,
    Op.LE: np.less_equal,
    Op.EQ: np.equal,
    Op.NE: np.not_equal,
    Op.AND: np.bitwise_and,
    Op.OR: np.bitwise_or,
    Op.XOR: np.bitwise_xor,
    Op.SHL: _shift_left,
    Op.SHR: _shift_right,
    Op.WHERE: np.where,
}
"""Correctly rounded by the hardware: computed in the values' own type (bfloat16's float32 is wide enough to round again)."""

_INEXACT_RESULT = frozenset((Op.SQRT, Op.ADD, Op.SUB, Op.MUL, Op.DIV))

_TRANSCENDENTAL: dict[Op, Callable[..., Array]] = {
    Op.RSQRT: _reciprocal_root,
    Op.EXP: np.exp,
    Op.EXP2: np.exp2,
    Op.EXPM1: np.expm1,
    Op.LOG: np.log,
    Op.LOG2: np.log2,
    Op.LOG10: np.log10,
    Op.LOG1P: np.log1p,
    Op.SIN: np.sin,
    Op.COS: np.cos,
    Op.TAN: np.tan,
    Op.ASIN: np.arcsin,
    Op.ACOS: np.arccos,
    Op.ATAN: np.arctan,
    Op.SINH: np.sinh,
    Op.COSH: np.cosh,
    Op.TANH: np.tanh,
    Op.ASINH: np.arcsinh,
    Op.ACOSH: np.arccosh,
    Op.ATANH: np.arctanh,
    Op.ERF: erf,
    Op.ERFC: erfc,
    Op.ERFINV: erfinv,
    Op.LGAMMA: log_gamma,
    Op.DIGAMMA: digamma,
    Op.POW: np.power,
    Op.ATAN2: np.arctan2,
}


def identity(kind: str, dtype: DType) -> int | float | bool:
    """What a reduction of no elements gives, and what changes no other element."""
    if kind == "add" or kind == "or":
        return False if dtype.kind == "bool" else 0
    if kind == "mul":
        return True if dtype.kind == "bool" else 1
    if kind == "and":
        return (
            True if dtype.kind == "bool" else -1 if dtype.kind == "int" else (1 << dtype.bits) - 1
        )
    if dtype.kind == "float":
        return float("-inf") if kind == "max" else float("inf")
    if dtype.kind == "bool":
        return kind == "min"
    limits = np.iinfo(_VALUE[dtype.name])
    return int(limits.min if kind == "max" else limits.max)


REDUCERS: dict[str, Any] = {
    "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum,
    "and": np.bitwise_and, "or": np.bitwise_or, "logaddexp": np.logaddexp,
}  # fmt: skip
"""The ufunc of each kind of reduction and scan."""


def partial_dtype(kind: str, accumulate: DType) -> np.dtype[Any]:
    """The type that the interpreter reduces in: float64 for sums and products, so that their order does not show."""
    if kind in ("add", "mul", "logaddexp") and accumulate.kind == "float":
        return _VALUE["float64"]
    return _VALUE[accumulate.name]


def rounded(value: Array, accumulate: DType, dtype: DType) -> Array:
    """A reduction's result, rounded to the type of its partial results and then to the node's."""
    if dtype.kind != "float":
        return value.astype(_VALUE[dtype.name], copy=False)
    return round_to(round_to(value, accumulate), dtype)
