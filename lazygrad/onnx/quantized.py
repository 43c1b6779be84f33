"""Quantized numbers: integers with a scale and a zero point, and products and convolutions of them.

In: tensors of int8, uint8, int16, int32, and of what is held (held.py), with scales and zero points: one number, one for each element of an axis, or one for each
block of an axis. Out: integers, rounded to even and saturated, or floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lazygrad as lg

from ..ir.dtype import DType, float32, int32, uint8
from ..tensor import Tensor
from .convolution import convolution
from .held import Held, Integer
from .table import operator

Ints = Sequence[int]


def along(value: Tensor, like: Tensor, axis: int, block_size: int) -> Any:
    """A scale or zero point so that it broadcasts to the tensor."""
    if block_size:
        axis %= like.ndim
        return value.repeat_interleave(block_size, axis).narrow(axis, 0, like.shape[axis])
    if value.numel() == 1:
        return value.reshape(())
    shape = [1] * like.ndim
    shape[axis] = -1
    return value.reshape(shape)


def saturated(numbers: Any, dtype: DType, held: Held | None = None, saturate: int = 1) -> Any:
    """Rounded to even, cut to what the dtype has, or the type that it holds."""
    if held is not None and not isinstance(held, Integer):
        return held.cast(numbers, bool(saturate))
    low, high = held.limits if held is not None else (lg.iinfo(dtype).min, lg.iinfo(dtype).max)
    return numbers.round().clamp(low, high).to(dtype)


@operator("QuantizeLinear", 10)
def quantize(
    input: Tensor, scale: Tensor, zero_point: Tensor | None = None, *, axis: int = 1, block_size: int = 0,
    output_dtype: DType | None = None, precision: DType | None = None, saturate: int = 1, held: Held | None = None,
) -> Any:  # fmt: skip
    dtype = zero_point.dtype if zero_point is not None else output_dtype or uint8
    wide = input.to(precision or scale.dtype) if input.dtype is int32 or precision else input
    scaled = (wide / along(scale, input, axis, block_size).to(wide.dtype)).to(float32)
    if dtype.is_integer:
        scaled = scaled.round()
    if zero_point is not None:
        scaled = scaled + along(zero_point, input, axis, block_size).to(float32)
    return saturated(scaled, dtype, held, saturate)


@operator("DequantizeLinear", 10)
def dequantize(
    input: Tensor, scale: Tensor, zero_point: Tensor | None = None, *, axis: int = 1, block_size: int = 0,
    output_dtype: DType | None = None,
) -> Any:  # fmt: skip
    exact = int32 if input.dtype.is_integer else float32
    numbers: Any = input.to(exact)
    if zero_point is not None:
        numbers = numbers - along(zero_point, input, axis, block_size).to(exact)
    wide = numbers.to(float32) * along(scale, input, axis, block_size).to(float32)
    return wide.to(output_dtype or scale.dtype)


@operator("DynamicQuantizeLinear", 11)
def dynamic_quantize(input: Tensor) -> Any:
    """By the range of the values with 0: uint8, the scale, the zero point."""
    lowest, highest = input.min().clamp(max=0), input.max().clamp(min=0)
    scale = (highest - lowest) / 255
    scale = lg.where(scale == 0, 1.0, scale).to(float32)
    zero_point = saturated(-lowest / scale, uint8)
    return saturated((input / scale).round() + zero_point.to(float32), uint8), scale, zero_point


def _less(value: Tensor, zero_point: Tensor | None, axis: int) -> Any:
    """The integers less their zero point, which is one number or one for each element of an axis."""
    numbers = value.to(int32)
    if zero_point is None:
        return numbers
    point = zero_point.to(int32)
    if point.ndim > 1 or point.numel() == 1:
        return numbers - (point.reshape(()) if point.numel() == 1 else point)
    return numbers - along(point, value, axis, 0)


@operator("MatMulInteger", 10)
def matmul_integer(
    left: Tensor, right: Tensor, left_zero: Tensor | None = None, right_zero: Tensor | None = None
) -> Any:
    """Zero points for each row of the left matrix, each column of the right one."""
    return _less(left, left_zero, left.ndim - 2).matmul(_less(right, right_zero, right.ndim - 1))


@operator("QLinearMatMul", 10)
def quantized_matmul(
    left: Tensor, left_scale: Tensor, left_zero: Tensor, right: Tensor, right_scale: Tensor, right_zero: Tensor,
    scale: Tensor, zero_point: Tensor,
) -> Any:  # fmt: skip
    product = matmul_integer(left, right, left_zero, right_zero)
    left_factor = along(left_scale, left, left.ndim - 2, 0) if left_scale.ndim < 2 else left_scale
    right_factor = (
        along(right_scale, right, right.ndim - 1, 0) if right_scale.ndim < 2 else right_scale
    )
    wide = product.to(float32) * (
        left_factor.to(float32) * right_factor.to(float32) / scale.to(float32)
    )
    return saturated(wide.round() + zero_point.to(float32), zero_point.dtype)


@operator("ConvInteger", 10)
def convolution_integer(
    input: Tensor, weight: Tensor, input_zero: Tensor | None = None, weight_zero: Tensor | None = None, *,
    auto_pad: str = "NOTSET", dilations: Ints | None = None, group: int = 1, kernel_shape: Ints | None = None,
    pads: Ints | None = None, strides: Ints | None = None,
) -> Any:  # fmt: skip
    """Padding is the zero point, that is 0 after it is taken away."""
    return convolution(
        _less(input, input_zero, 1), _less(weight, weight_zero, 0), None,
        auto_pad=auto_pad, dilations=dilations, group=group, pads=pads, strides=strides,
    )  # fmt: skip


@operator("QLinearConv", 10)
def quantized_convolution(
    input: Tensor, input_scale: Tensor, input_zero: Tensor, weight: Tensor, weight_scale: Tensor,
    weight_zero: Tensor, scale: Tensor, zero_point: Tensor, bias: Tensor | None = None, *,
    auto_pad: str = "NOTSET", dilations: Ints | None = None, group: int = 1, kernel_shape: Ints | None = None,
    pads: Ints | None = None, strides: Ints | None = None,
) -> Any:  # fmt: skip
    """The bias is int32, in units of the product of the scales."""
    sums = convolution_integer(
        input, weight, input_zero, weight_zero,
        auto_pad=auto_pad, dilations=dilations, group=group, pads=pads, strides=strides,
    )  # fmt: skip
    if bias is not None:
        sums = sums + along(bias, sums, 1, 0)
    factor = along(input_scale * weight_scale / scale, sums, 1, 0)
    return saturated(
        (sums.to(float32) * factor).round() + zero_point.to(float32).reshape(()), zero_point.dtype
    )
