"""Operators that work element by element: arithmetic, comparison, logic, bits, casts.

In: tensors that broadcast. Out: a tensor of the broadcast shape; ONNX promotes nothing, both operands have one dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

import lazygrad as lg

from ..ir.dtype import DType
from ..tensor import Tensor
from .elements import DTYPES, numpy_dtype, tensor_of
from .held import Held
from .table import operator

Value = Any

UNARY = {
    "Abs": "abs",
    "Acos": "acos",
    "Acosh": "acosh",
    "Asin": "asin",
    "Asinh": "asinh",
    "Atan": "atan",
    "Atanh": "atanh",
    "BitwiseNot": "bitwise_not",
    "Ceil": "ceil",
    "Cos": "cos",
    "Cosh": "cosh",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "IsNaN": "isnan",
    "Log": "log",
    "Neg": "neg",
    "Not": "logical_not",
    "Reciprocal": "reciprocal",
    "Round": "round",
    "Sigmoid": "sigmoid",
    "Sign": "sign",
    "Sin": "sin",
    "Sinh": "sinh",
    "Sqrt": "sqrt",
    "Tan": "tan",
    "Tanh": "tanh",
}
"""Operators of one input without attributes, and the functions of lazygrad that are the same."""
BINARY = {
    "Add": "add",
    "And": "logical_and",
    "BitwiseAnd": "bitwise_and",
    "BitwiseOr": "bitwise_or",
    "BitwiseXor": "bitwise_xor",
    "Equal": "eq",
    "Greater": "gt",
    "GreaterOrEqual": "ge",
    "Less": "lt",
    "LessOrEqual": "le",
    "Mul": "mul",
    "Or": "logical_or",
    "Sub": "sub",
    "Xor": "logical_xor",
}
"""The same for two inputs."""


def _one(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def apply(input: Tensor) -> Any:
        return function(input)

    return apply


def _two(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    def apply(left: Tensor, right: Tensor) -> Any:
        return function(left, right)

    return apply


for _operator, _function in UNARY.items():
    operator(_operator, 1)(_one(getattr(lg, _function)))
for _operator, _function in BINARY.items():
    operator(_operator, 1)(_two(getattr(lg, _function)))


@operator("Div", 7)
def divide(left: Tensor, right: Tensor) -> Any:
    """Integers are cut towards zero."""
    rounding = None if left.dtype.is_floating_point else "trunc"
    return left.div(right, rounding_mode=rounding)


@operator("Pow", 7)
def power(base: Tensor, exponent: Value) -> Any:
    """The result has the dtype of the base. One known exponent is a number, so that a square is a product."""
    if isinstance(exponent, np.ndarray):
        number = exponent.size == 1 and exponent.ndim <= base.ndim
        exponent = exponent.item() if number else tensor_of(exponent)
    return base.pow(exponent).to(base.dtype)


@operator("Mod", 10)
def modulo(left: Tensor, right: Tensor, *, fmod: int = 0) -> Any:
    """The sign is that of the divisor, or with fmod=1 that of the dividend."""
    return left.fmod(right) if fmod else left.remainder(right)


@operator("BitShift", 11)
def bit_shift(left: Tensor, right: Tensor, *, direction: str) -> Any:
    if direction == "LEFT":
        return left.bitwise_left_shift(right)
    return left.bitwise_right_shift(right)


@operator("IsInf", 10)
def is_infinite(input: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Any:
    if detect_negative and detect_positive:
        return input.isinf()
    if detect_negative:
        return input.isneginf()
    return input.isposinf() if detect_positive else input.isinf() & False


@operator("Where", 9)
def where(condition: Tensor, left: Tensor, right: Tensor) -> Any:
    return lg.where(condition, left, right)


@operator("Max", 6)
def maximum(*inputs: Tensor) -> Any:
    return reduce(lg.maximum, inputs)


@operator("Min", 6)
def minimum(*inputs: Tensor) -> Any:
    return reduce(lg.minimum, inputs)


@operator("Sum", 6)
def total(*inputs: Tensor) -> Any:
    return reduce(lg.add, inputs)


@operator("Mean", 6)
def mean(*inputs: Tensor) -> Any:
    return total(*inputs) / len(inputs)


@operator("Clip", 6)
def clip_attributes(
    input: Tensor, *, min: float = -3.4028234663852886e38, max: float = 3.4028234663852886e38
) -> Any:
    return input.clamp(min, max)


@operator("Clip", 11)
def clip(input: Tensor, low: Value = None, high: Value = None) -> Any:
    """Where the limits are the wrong way round, the upper one wins."""
    low, high = (value.item() if isinstance(value, np.ndarray) else value for value in (low, high))
    if low is None and high is None:
        return input
    if isinstance(low, Tensor) != isinstance(high, Tensor) and None not in (low, high):
        return clip(clip(input, low, None), None, high)
    return input.clamp(low, high)


@operator("Cast", 6)
def cast(
    input: Tensor, *, to: DType, saturate: int = 1, round_mode: str = "up", held: Held | None = None
) -> Any:
    return input.to(to) if held is None else held.cast(input, bool(saturate), round_mode)


@operator("CastLike", 15)
def cast_like(
    input: Tensor,
    like: Value,
    *,
    saturate: int = 1,
    round_mode: str = "up",
    held: Held | None = None,
) -> Any:
    if held is not None:
        return held.cast(input, bool(saturate), round_mode)
    dtype = like.dtype
    if isinstance(dtype, np.dtype):
        dtype = next(each for each in DTYPES.values() if numpy_dtype(each) == dtype)
    return input.to(dtype)
