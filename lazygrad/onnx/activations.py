"""Activation functions, and softmax in its two meanings.

In: a floating tensor. Out: one of the same shape and dtype.
"""

from __future__ import annotations

import math
from typing import Any

import lazygrad as lg

from ..nn import functional
from ..tensor import Tensor
from .table import operator


@operator("Relu", 6)
def relu(input: Tensor) -> Any:
    return input.relu()


@operator("LeakyRelu", 6)
def leaky_relu(input: Tensor, *, alpha: float = 0.01) -> Any:
    return functional.leaky_relu(input, alpha)


@operator("PRelu", 7)
def prelu(input: Tensor, slope: Tensor) -> Any:
    """The slope broadcasts to the input; one for each channel, as older models have it, is told by its size."""
    channels = slope.ndim == 1 and input.ndim > 2 and slope.shape[0] not in (1, input.shape[-1])
    if channels and slope.shape[0] == input.shape[1]:
        slope = slope.reshape(-1, *[1] * (input.ndim - 2))
    return lg.where(input < 0, input * slope, input)


@operator("Elu", 6)
def elu(input: Tensor, *, alpha: float = 1.0) -> Any:
    return functional.elu(input, alpha)


@operator("Celu", 12)
def celu(input: Tensor, *, alpha: float = 1.0) -> Any:
    return functional.celu(input, alpha)


@operator("Selu", 6)
def selu(
    input: Tensor, *, alpha: float = 1.6732631921768188, gamma: float = 1.0507010221481323
) -> Any:
    return gamma * lg.where(input > 0, input, alpha * (input.exp() - 1))


@operator("HardSigmoid", 6)
def hard_sigmoid(input: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Any:
    return (input * alpha + beta).clamp(0, 1)


@operator("HardSwish", 14)
def hard_swish(input: Tensor) -> Any:
    return input * hard_sigmoid(input, alpha=1 / 6)


@operator("Softplus", 1)
def softplus(input: Tensor) -> Any:
    """log(1 + exp(x)) without overflow."""
    return input.clamp(min=0) + (-input.abs()).exp().log1p()


@operator("Softsign", 1)
def softsign(input: Tensor) -> Any:
    return input / (input.abs() + 1)


@operator("ThresholdedRelu", 10)
def thresholded_relu(input: Tensor, *, alpha: float = 1.0) -> Any:
    return functional.threshold(input, alpha, 0.0)


@operator("Shrink", 9)
def shrink(input: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Any:
    where = lg.where
    moved = where(input < -lambd, input + bias, where(input > lambd, input - bias, input * 0))
    return moved.to(input.dtype)


@operator("Gelu", 20)
def gelu(input: Tensor, *, approximate: str = "none") -> Any:
    return functional.gelu(input, approximate=approximate)


@operator("Mish", 18)
def mish(input: Tensor) -> Any:
    return functional.mish(input)


@operator("Swish", 24)
def swish(input: Tensor, *, alpha: float = 1.0) -> Any:
    return input * (input * alpha).sigmoid()


def _as_rows(input: Tensor, axis: int) -> Any:
    """The axes from `axis` on as one, those before it as another."""
    axis += input.ndim if axis < 0 else 0
    return input.reshape(math.prod(input.shape[:axis]), math.prod(input.shape[axis:]))


@operator("Softmax", 1)
def softmax_of_rows(input: Tensor, *, axis: int = 1) -> Any:
    """Over all axes from `axis` on."""
    return _as_rows(input, axis).softmax(1).reshape(input.shape)


@operator("Softmax", 13)
def softmax(input: Tensor, *, axis: int = -1) -> Any:
    return input.softmax(axis)


@operator("LogSoftmax", 1)
def log_softmax_of_rows(input: Tensor, *, axis: int = 1) -> Any:
    return _as_rows(input, axis).log_softmax(1).reshape(input.shape)


@operator("LogSoftmax", 13)
def log_softmax(input: Tensor, *, axis: int = -1) -> Any:
    return input.log_softmax(axis)


@operator("Hardmax", 1)
def hardmax_of_rows(input: Tensor, *, axis: int = 1) -> Any:
    return hardmax(_as_rows(input, axis), axis=1).reshape(input.shape)


@operator("Hardmax", 13)
def hardmax(input: Tensor, *, axis: int = -1) -> Any:
    """1 at the first largest element, 0 elsewhere."""
    largest = input.argmax(axis, keepdim=True)
    shape = [1] * input.ndim
    shape[axis] = input.shape[axis]
    places = lg.arange(input.shape[axis]).reshape(shape)
    return (places == largest).to(input.dtype)
