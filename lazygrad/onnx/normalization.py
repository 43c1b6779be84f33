"""Normalization: over batches, layers, groups, instances, channels beside each other; and dropout.

In: a tensor with scales and shifts. Out: one of the same shape, and the statistics where a node asks for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lazygrad as lg

from ..ir.dtype import float32, float64
from ..nn import functional
from ..tensor import Tensor
from .elements import Array
from .table import operator, prepares


def _channels(value: Tensor, rank: int) -> Any:
    return value.reshape(1, -1, *[1] * (rank - 2))


def _factors(scale: Any, shift: Any, mean: Any, variance: Any, epsilon: float) -> tuple[Any, Any]:
    """What each channel is multiplied by, and what is added to it."""
    factor = scale / (variance + epsilon).sqrt()
    return factor, shift - mean * factor


def affine(input: Tensor, factor: Tensor, shift: Tensor) -> Any:
    result = input * _channels(factor, input.ndim) + _channels(shift, input.ndim)
    return result.to(input.dtype)


@prepares("BatchNormalization")
def prepare_batch_normalization(
    input: Any, scale: Any, shift: Any, mean: Any, variance: Any, *,
    epsilon: float = 1e-5, training_mode: int = 0, spatial: int = 1, **others: Any,
) -> Any:  # fmt: skip
    statistics = (scale, shift, mean, variance)
    if training_mode or not spatial or any(value is None for value in statistics):
        return None
    return affine, (0, *_factors(*statistics, epsilon))


@operator("BatchNormalization", 7)
def batch_normalization(
    input: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor, *,
    epsilon: float = 1e-5, momentum: float = 0.9, spatial: int = 1, training_mode: int = 0, outputs: int = 1,
) -> Any:  # fmt: skip
    """By the running statistics; with training_mode by those of the batch, and the running ones moved towards them."""
    if not spatial:
        raise NotImplementedError("BatchNormalization: spatial=0 is not supported")
    if not training_mode:
        factor = scale / (variance + epsilon).sqrt()
        moved = shift - mean * factor
        return (input * _channels(factor, input.ndim) + _channels(moved, input.ndim)).to(
            input.dtype
        )
    axes = (0, *range(2, input.ndim))
    batch_mean, batch_variance = input.mean(axes), input.var(axes, correction=0)
    result = batch_normalization(input, scale, shift, batch_mean, batch_variance, epsilon=epsilon)
    new_mean = mean * momentum + batch_mean * (1 - momentum)
    new_variance = variance * momentum + batch_variance * (1 - momentum)
    return (result, new_mean, new_variance)[: max(outputs, 1)]


@operator("InstanceNormalization", 6)
def instance_normalization(
    input: Tensor, scale: Tensor, shift: Tensor, *, epsilon: float = 1e-5
) -> Any:
    return functional.instance_norm(input, None, None, scale, shift, True, 0.0, epsilon)


def standardized(input: Tensor, axes: tuple[int, ...], epsilon: float) -> tuple[Any, Any, Any]:
    """Less the mean, divided by the deviation; computed in float32 at least. Also the mean and the reciprocal deviation."""
    wide = input if input.dtype in (float32, float64) else input.to(float32)
    mean = wide.mean(axes, keepdim=True)
    centred = wide - mean
    inverse = ((centred * centred).mean(axes, keepdim=True) + epsilon).rsqrt()
    return centred * inverse, mean, inverse


@operator("LayerNormalization", 1)
@operator("LayerNormalization", 17)
def layer_normalization(
    input: Tensor, scale: Tensor, shift: Tensor | None = None, *,
    axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1, outputs: int = 1,
) -> Any:  # fmt: skip
    axes = tuple(range(axis % input.ndim, input.ndim))
    if outputs == 1 and tuple(scale.shape) == tuple(input.shape[axes[0] :]):
        return functional.layer_norm(input, tuple(scale.shape), scale, shift, epsilon)
    result, mean, inverse = standardized(input, axes, epsilon)
    result = result.to(input.dtype) * scale
    return (result if shift is None else result + shift), mean, inverse


@operator("RMSNormalization", 23)
@operator("SimplifiedLayerNormalization", 1)
def rms_normalization(
    input: Tensor,
    scale: Tensor,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    outputs: int = 1,
) -> Any:
    """Divided by the root of the mean square; also its reciprocal."""
    wide = input if input.dtype in (float32, float64) else input.to(float32)
    axes = tuple(range(axis % input.ndim, input.ndim))
    inverse = ((wide * wide).mean(axes, keepdim=True) + epsilon).rsqrt()
    return (wide * inverse).to(input.dtype) * scale, inverse


def _groups(input: Tensor, count: int, epsilon: float) -> Any:
    parts = input.reshape(input.shape[0], count, -1)
    return standardized(parts, (2,), epsilon)[0].to(input.dtype)


@operator("GroupNormalization", 18)
def group_normalization_by_group(
    input: Tensor, scale: Tensor, shift: Tensor, *, num_groups: int, epsilon: float = 1e-5
) -> Any:
    """One scale and shift for each group."""
    parts = _groups(input, num_groups, epsilon)
    return (parts * scale.reshape(1, -1, 1) + shift.reshape(1, -1, 1)).reshape(input.shape)


@operator("GroupNormalization", 21)
def group_normalization(
    input: Tensor,
    scale: Tensor,
    shift: Tensor,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Any:
    """One scale and shift for each channel."""
    parts = _groups(input, num_groups, epsilon).reshape(input.shape)
    return parts * _channels(scale, input.ndim) + _channels(shift, input.ndim)


@operator("LRN", 1)
def local_response_normalization(
    input: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Any:
    """By the squares of `size` channels around each; of an even number one more behind."""
    squares = input * input
    before = (size - 1) // 2
    squares = functional.pad(squares, [0, 0] * (input.ndim - 2) + [before, size - 1 - before])
    sums = squares.unfold(1, size, 1).sum(-1)
    return input / (sums * (alpha / size) + bias).pow(beta)


@operator("LpNormalization", 1)
def lp_normalization(input: Tensor, *, axis: int = -1, p: int = 2) -> Any:
    """Where all is 0 the result is 0."""
    if p == 1:
        norm = input.abs().sum(axis, keepdim=True)
    else:
        norm = (input * input).sum(axis, keepdim=True).sqrt()
    return lg.where(norm == 0, 0.0, input / norm).to(input.dtype)


@operator("MeanVarianceNormalization", 9)
def mean_variance_normalization(input: Tensor, *, axes: Sequence[int] = (0, 2, 3)) -> Any:
    chosen = tuple(axes)
    mean = input.mean(chosen, keepdim=True)
    variance = (input * input).mean(chosen, keepdim=True) - mean * mean
    return (input - mean) / (variance.sqrt() + 1e-9)


@operator("Dropout", 7)
def dropout_inference(input: Tensor, *, ratio: float = 0.5, outputs: int = 1) -> Any:
    return (input, lg.ones(input.shape, dtype=lg.bool))[: max(outputs, 1)]


@operator("Dropout", 12, random=True)
def dropout(
    input: Tensor,
    ratio: Array | None = None,
    training: Array | None = None,
    *,
    seed: int = 0,
    outputs: int = 1,
) -> Any:
    """With training_mode random, from lazygrad's generator, or one of its own if there is a seed."""
    probability = 0.5 if ratio is None else float(ratio.item())
    if training is None or not training.item() or not probability:
        return dropout_inference(input, outputs=outputs)
    generator = lg.Generator().manual_seed(seed) if seed else None
    mask = lg.rand(input.shape, generator=generator) >= probability
    return (input * mask / (1 - probability)).to(input.dtype), mask
