"""Operators of com.microsoft, the domain of what onnxruntime's optimizer makes of graphs: fused products, norms, attention.

In and out: as the operators of ai.onnx that they are made of.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import lazygrad as lg

from ..nn import functional
from ..tensor import Tensor
from .activations import hard_sigmoid, softmax, softmax_of_rows
from .attention import heads, joined, turn
from .convolution import Ints, convolution
from .normalization import rms_normalization, standardized
from .pooling import average_pool
from .quantized import (
    along,
    dequantize,
    dynamic_quantize,
    matmul_integer,
    quantize,
    saturated,
)
from .table import MICROSOFT, operator

fused = partial(operator, domain=MICROSOFT)


def _transposed(value: Tensor, last: int, batch: int) -> Any:
    """The last two axes exchanged, or the first one put before the last."""
    if batch:
        value = value.movedim(0, value.ndim - 2)
    return value.transpose(-1, -2) if last else value


@fused("FusedMatMul", 1)
def fused_matmul(
    left: Tensor, right: Tensor, *, alpha: float = 1.0, transA: int = 0, transB: int = 0,
    transBatchA: int = 0, transBatchB: int = 0,
) -> Any:  # fmt: skip
    product = _transposed(left, transA, transBatchA) @ _transposed(right, transB, transBatchB)
    return product if alpha == 1 else product * alpha


@fused("TransposeMatMul", 1)
def transpose_matmul(
    left: Tensor, right: Tensor, *, alpha: float = 1.0, transA: int = 0, transB: int = 0
) -> Any:
    return fused_matmul(left, right, alpha=alpha, transA=transA, transB=transB)


@fused("Gelu", 1)
def gelu(input: Tensor) -> Any:
    return functional.gelu(input)


@fused("BiasGelu", 1)
def bias_gelu(input: Tensor, bias: Tensor) -> Any:
    return functional.gelu(input + bias)


@fused("FastGelu", 1)
def fast_gelu(input: Tensor, bias: Tensor | None = None) -> Any:
    return functional.gelu(input if bias is None else input + bias, approximate="tanh")


@fused("QuickGelu", 1)
def quick_gelu(input: Tensor, *, alpha: float = 1.702) -> Any:
    return input * (input * alpha).sigmoid()


def _activated(value: Any, name: str, parameters: tuple[float, ...]) -> Any:
    """The activation that an attribute names, with its parameters."""
    if name in ("", "Relu", "Sigmoid", "Tanh"):
        return getattr(value, name.lower())() if name else value
    if name == "LeakyRelu":
        return functional.leaky_relu(value, *parameters)
    if name == "Clip":
        return value.clamp(*parameters)
    if name == "HardSigmoid":
        return hard_sigmoid(value, alpha=parameters[0], beta=parameters[1])
    raise NotImplementedError(f"the activation {name!r} is not supported")


@fused("FusedConv", 1)
def fused_convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, addend: Tensor | None = None, *,
    activation: str = "", activation_params: tuple[float, ...] = (), auto_pad: str = "NOTSET",
    dilations: Ints | None = None, group: int = 1, kernel_shape: Ints | None = None, pads: Ints | None = None,
    strides: Ints | None = None,
) -> Any:  # fmt: skip
    """A convolution, perhaps with something added, and an activation."""
    result = convolution(
        input,
        weight,
        bias,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        pads=pads,
        strides=strides,
    )
    return _activated(result if addend is None else result + addend, activation, activation_params)


@fused("FusedGemm", 1)
def fused_gemm(
    left: Tensor, right: Tensor, bias: Tensor | None = None, *, activation: str = "", activation_alpha: float = 0.01,
    activation_beta: float = 0.0, activation_gamma: float = 0.0, alpha: float = 1.0, beta: float = 1.0,
    transA: int = 0, transB: int = 0,
) -> Any:  # fmt: skip
    product = fused_matmul(left, right, alpha=alpha, transA=transA, transB=transB)
    if bias is not None:
        product = product + bias * beta
    return _activated(product, activation, (activation_alpha,))


@fused("SkipLayerNormalization", 1)
def skip_layer_normalization(
    input: Tensor, skip: Tensor, scale: Tensor, shift: Tensor | None = None, bias: Tensor | None = None, *,
    epsilon: float = 1e-5,
) -> Any:  # fmt: skip
    """Layer norm of a sum; also the mean, the reciprocal deviation, and the sum."""
    total = input + skip if bias is None else input + skip + bias
    normal, mean, inverse = standardized(total, (-1,), epsilon)
    result = normal.to(input.dtype) * scale
    return (result if shift is None else result + shift), mean, inverse, total


@fused("SkipSimplifiedLayerNormalization", 1)
def skip_rms_normalization(
    input: Tensor, skip: Tensor, scale: Tensor, bias: Tensor | None = None, *, epsilon: float = 1e-5
) -> Any:
    total = input + skip if bias is None else input + skip + bias
    result, inverse = rms_normalization(total, scale, epsilon=epsilon)
    return result, None, inverse, total


@fused("EmbedLayerNormalization", 1)
def embed_layer_normalization(
    words: Tensor, segments: Tensor | None, word_table: Tensor, place_table: Tensor,
    segment_table: Tensor | None = None, scale: Tensor | None = None, shift: Tensor | None = None,
    mask: Tensor | None = None, places: Tensor | None = None, *, epsilon: float = 1e-12, mask_index_type: int = 0,
) -> Any:  # fmt: skip
    """The sum of the embeddings of words, places and segments, normalized; the lengths by the mask; the sum."""
    total = functional.embedding(words.to(lg.int64), word_table)
    if places is None:
        total = total + place_table[: words.shape[1]]
    else:
        total = total + functional.embedding(places.to(lg.int64), place_table)
    if segments is not None and segment_table is not None:
        total = total + functional.embedding(segments.to(lg.int64), segment_table)
    normal, _, _ = standardized(total, (-1,), epsilon)
    lengths = lg.zeros(words.shape[0], dtype=lg.int32)
    if mask is not None:
        lengths = mask.to(lg.int32).sum(1, dtype=lg.int32)
    return normal * scale + shift, lengths, total


def _attended(
    query: Any, key: Any, value: Any, scale: float, bias: Any, mask: Any, causal: int, filler: float
) -> Any:
    """(batch, steps, heads * size): softmax(query key / scale + bias) value, over (batch, heads, steps, size)."""
    scores = query @ key.transpose(-1, -2) * (scale or 1 / math.sqrt(query.shape[-1]))
    if bias is not None:
        scores = scores + bias
    steps, seen = scores.shape[-2:]
    if causal:
        later = lg.arange(seen) > lg.arange(steps).unsqueeze(1) + (seen - steps)
        scores = lg.where(later, filler, scores)
    if mask is not None:
        scores = lg.where(_opened(mask, seen), scores, filler)
    return joined(scores.softmax(-1) @ value)


def _opened(mask: Any, seen: int) -> Any:
    """Which keys may be seen: a mask of keys (batch, keys), of pairs (batch, steps, keys), or how many keys each batch has (batch,)."""
    if mask.ndim == 1:
        return (lg.arange(seen) < mask.reshape(-1, 1)).reshape(-1, 1, 1, seen)
    return (mask != 0).reshape(mask.shape[0], 1, -1, seen)


@fused("Attention", 1)
def attention(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, mask: Tensor | None = None, past: Tensor | None = None,
    attention_bias: Tensor | None = None, *, num_heads: int, unidirectional: int = 0, scale: float = 0.0,
    mask_filter_value: float = -10000.0, do_rotary: int = 0, qkv_hidden_sizes: Ints | None = None,
) -> Any:  # fmt: skip
    """Self-attention with one matrix for queries, keys and values; also the keys and values with those of the past."""
    if do_rotary:
        raise NotImplementedError("Attention: do_rotary is not supported")
    both = input @ weight
    if bias is not None:
        both = both + bias
    sizes = list(qkv_hidden_sizes or [weight.shape[1] // 3] * 3)
    query, key, value = (heads(part, num_heads) for part in both.split(sizes, -1))
    if past is not None:
        key, value = lg.cat([past[0], key], 2), lg.cat([past[1], value], 2)
    result = _attended(
        query, key, value, scale, attention_bias, mask, unidirectional, mask_filter_value
    )
    return result, lg.stack([key, value])


@fused("MultiHeadAttention", 1)
def multi_head_attention(
    query: Tensor, key: Tensor | None = None, value: Tensor | None = None, bias: Tensor | None = None,
    mask: Tensor | None = None, attention_bias: Tensor | None = None, past_key: Tensor | None = None,
    past_value: Tensor | None = None, *, num_heads: int, mask_filter_value: float = -10000.0, scale: float = 0.0,
    unidirectional: int = 0,
) -> Any:  # fmt: skip
    """Attention of projected queries, keys and values; also the keys and values with those of the past."""
    if key is None or value is None:
        raise NotImplementedError(
            "MultiHeadAttention: packed queries, keys and values are not supported"
        )
    parts: list[Any] = [query, key, value]
    if bias is not None:
        sizes = [query.shape[-1], query.shape[-1], bias.shape[0] - 2 * query.shape[-1]]
        pieces = bias.split(sizes)
        parts = [
            part + piece if part.ndim == 3 else part + piece.reshape(1, num_heads, 1, -1)
            for part, piece in zip(parts, pieces)
        ]
    q, k, v = (heads(part, num_heads) for part in parts)
    if past_key is not None:
        k, v = lg.cat([past_key, k], 2), lg.cat([past_value, v], 2)
    result = _attended(q, k, v, scale, attention_bias, mask, unidirectional, mask_filter_value)
    return result, k, v


@fused("QLinearAdd", 1)
def quantized_add(
    left: Tensor, left_scale: Tensor, left_zero: Tensor | None, right: Tensor, right_scale: Tensor,
    right_zero: Tensor | None, scale: Tensor, zero_point: Tensor | None = None,
) -> Any:  # fmt: skip
    total = _plain(left, left_scale, left_zero) + _plain(right, right_scale, right_zero)
    return _quantized(total, scale, zero_point, left)


@fused("QLinearMul", 1)
def quantized_multiply(
    left: Tensor, left_scale: Tensor, left_zero: Tensor | None, right: Tensor, right_scale: Tensor,
    right_zero: Tensor | None, scale: Tensor, zero_point: Tensor | None = None,
) -> Any:  # fmt: skip
    product = _plain(left, left_scale, left_zero) * _plain(right, right_scale, right_zero)
    return _quantized(product, scale, zero_point, left)


@fused("QLinearSigmoid", 1)
def quantized_sigmoid(
    input: Tensor,
    input_scale: Tensor,
    input_zero: Tensor | None,
    scale: Tensor,
    zero_point: Tensor | None = None,
) -> Any:
    return _quantized(_plain(input, input_scale, input_zero).sigmoid(), scale, zero_point, input)


@fused("QLinearLeakyRelu", 1)
def quantized_leaky_relu(
    input: Tensor, input_scale: Tensor, input_zero: Tensor | None, scale: Tensor, zero_point: Tensor | None = None, *,
    alpha: float = 0.01,
) -> Any:  # fmt: skip
    plain = functional.leaky_relu(_plain(input, input_scale, input_zero), alpha)
    return _quantized(plain, scale, zero_point, input)


@fused("QLinearGlobalAveragePool", 1)
def quantized_global_average_pool(
    input: Tensor,
    input_scale: Tensor,
    input_zero: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    *,
    channels_last: int = 0,
) -> Any:
    axes = tuple(range(1, input.ndim - 1)) if channels_last else tuple(range(2, input.ndim))
    plain = _plain(input, input_scale, input_zero).mean(axes, keepdim=True)
    return _quantized(plain, scale, zero_point, input)


@fused("QLinearConcat", 1)
def quantized_concat(scale: Tensor, zero_point: Tensor, *inputs: Tensor, axis: int) -> Any:
    parts = [_plain(*inputs[place : place + 3]) for place in range(0, len(inputs), 3)]
    return _quantized(lg.cat(parts, axis), scale, zero_point, inputs[0])


@fused("QLinearAveragePool", 1)
def quantized_average_pool(
    input: Tensor, input_scale: Tensor, input_zero: Tensor | None, scale: Tensor, zero_point: Tensor | None = None, *,
    kernel_shape: Ints, auto_pad: str = "NOTSET", ceil_mode: int = 0, channels_last: int = 0, count_include_pad: int = 0,
    pads: Ints | None = None, strides: Ints | None = None,
) -> Any:  # fmt: skip
    plain = _plain(input, input_scale, input_zero)
    pooled = average_pool(
        plain.movedim(-1, 1) if channels_last else plain, kernel_shape=kernel_shape, strides=strides, pads=pads,
        auto_pad=auto_pad, ceil_mode=ceil_mode, count_include_pad=count_include_pad,
    )  # fmt: skip
    return _quantized(pooled.movedim(1, -1) if channels_last else pooled, scale, zero_point, input)


@fused("QLinearSoftmax", 1)
def quantized_softmax(
    input: Tensor, input_scale: Tensor, input_zero: Tensor | None, scale: Tensor, zero_point: Tensor | None = None, *,
    axis: int = -1, opset: int,
) -> Any:  # fmt: skip
    """Before version 13 of the operator set over all axes from `axis` on."""
    plain = _plain(input, input_scale, input_zero)
    made = softmax(plain, axis=axis) if opset >= 13 else softmax_of_rows(plain, axis=axis)
    return _quantized(made, scale, zero_point, input)


@fused("QGemm", 1)
def quantized_gemm(
    left: Tensor, left_scale: Tensor, left_zero: Tensor | None, right: Tensor, right_scale: Tensor,
    right_zero: Tensor | None, bias: Tensor | None = None, scale: Tensor | None = None, zero_point: Tensor | None = None, *,
    alpha: float = 1.0, transA: int = 0, transB: int = 0,
) -> Any:  # fmt: skip
    """The bias is int32, in units of the product of the scales and alpha. Without a scale of its own the result is float."""
    if transA:
        left = left.t()
    if transB:
        right = right.t()
    sums = matmul_integer(left, right, left_zero, right_zero)
    if bias is not None:
        sums = sums + bias
    wide = sums.to(lg.float32) * (left_scale.reshape(()) * right_scale * alpha)
    return wide if scale is None else _quantized(wide, scale, zero_point, left)


fused("QuantizeLinear", 1)(quantize)
fused("DequantizeLinear", 1)(dequantize)


def _plain(input: Tensor, scale: Tensor, zero_point: Tensor | None) -> Any:
    numbers = input.to(lg.float32)
    if zero_point is not None:
        numbers = numbers - zero_point.to(lg.float32).reshape(())
    return numbers * scale.reshape(())


def _quantized(value: Any, scale: Tensor, zero_point: Tensor | None, like: Tensor) -> Any:
    numbers = (value / scale.reshape(())).round()
    if zero_point is not None:
        numbers = numbers + zero_point.to(lg.float32).reshape(())
    return saturated(numbers, like.dtype)


@fused("MatMulIntegerToFloat", 1)
def matmul_integer_to_float(
    left: Tensor, right: Tensor, left_scale: Tensor, right_scale: Tensor, left_zero: Tensor | None = None,
    right_zero: Tensor | None = None, bias: Tensor | None = None,
) -> Any:  # fmt: skip
    product = matmul_integer(left, right, left_zero, right_zero).to(lg.float32)
    result = product * (left_scale * along(right_scale, right, right.ndim - 1, 0))
    return result if bias is None else result + bias


@fused("DynamicQuantizeMatMul", 1)
def dynamic_quantize_matmul(
    left: Tensor,
    right: Tensor,
    right_scale: Tensor,
    right_zero: Tensor | None = None,
    bias: Tensor | None = None,
) -> Any:
    """The left matrix is quantized by its range."""
    numbers, scale, zero = dynamic_quantize(left)
    return matmul_integer_to_float(numbers, right, scale, right_scale, zero, right_zero, bias)


@fused("RotaryEmbedding", 1)
def rotary_embedding(
    input: Tensor, places: Tensor, cosines: Tensor, sines: Tensor, *, interleaved: int = 0, num_heads: int = 0,
    rotary_embedding_dim: int = 0, scale: float = 1.0, is_packed_batching: int = 0,
) -> Any:  # fmt: skip
    """Pairs of elements turned by the angle of their place; the tables have a row for each place."""
    split = heads(input, num_heads or input.shape[-1] // (2 * cosines.shape[1]))
    rows = places.to(lg.int64)
    rows = rows.reshape(1, 1) + lg.arange(split.shape[2]) if rows.numel() == 1 else rows
    turned = turn(split, cosines[rows], sines[rows], bool(interleaved))
    return turned if input.ndim == 4 else joined(turned)
