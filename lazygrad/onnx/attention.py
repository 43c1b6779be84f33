"""Attention of ai.onnx, and its rotary embedding.

In: queries, keys and values, (batch, heads, steps, size) or (batch, steps, heads * size). Out: as the queries; also the keys and values
with those of the past, and the scores at a stage that an attribute names.
"""

from __future__ import annotations

import math
from typing import Any

import lazygrad as lg

from ..ir.dtype import DType
from ..tensor import Tensor
from .table import operator


def heads(value: Any, count: int) -> Any:
    """(batch, steps, heads * size) as (batch, heads, steps, size); four axes are so already."""
    if value.ndim == 4:
        return value
    batch, steps, size = value.shape
    return value.reshape(batch, steps, count, size // count).transpose(1, 2)


def joined(value: Any) -> Any:
    """The way back."""
    batch, count, steps, size = value.shape
    return value.transpose(1, 2).reshape(batch, steps, count * size)


def _allowed(shape: tuple[int, int], offset: Any, causal: bool, left: int, right: int) -> Any:
    """Which keys each query may see by the places of both, or None for all. `offset` is how many keys are before the queries."""
    if not causal and left < 0 and right < 0:
        return None
    ahead = lg.arange(shape[1]) - lg.arange(shape[0]).unsqueeze(1) - offset
    found: Any = None
    limits = [(0 if causal else -1, ahead), (left, -ahead), (right, ahead)]
    for limit, distance in limits:
        if limit >= 0:
            inside = distance <= limit
            found = inside if found is None else found.logical_and(inside)
    return found


@operator("Attention", 23)
def attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, past_key: Tensor | None = None,
    past_value: Tensor | None = None, lengths: Tensor | None = None, *, is_causal: int = 0, kv_num_heads: int = 0,
    q_num_heads: int = 0, qk_matmul_output_mode: int = 0, scale: float | None = None, softcap: float = 0.0,
    softmax_precision: DType | None = None, left_window_size: int = -1, right_window_size: int = -1,
) -> Any:  # fmt: skip
    """softmax(query key scale + mask) value. A query that may see no key gives 0."""
    flat, dtype = query.ndim == 3, query.dtype
    q, k, v = heads(query, q_num_heads), heads(key, kv_num_heads), heads(value, kv_num_heads)
    before: Any = 0
    if past_key is not None and past_value is not None:
        before = past_key.shape[2]
        k, v = lg.cat([past_key, k], 2), lg.cat([past_value, v], 2)
    elif lengths is not None:
        before = lengths.to(lg.int64).reshape(-1, 1, 1, 1) - q.shape[2]
    present = k, v
    repeat = q.shape[1] // k.shape[1]
    if repeat > 1:
        k, v = (part.repeat_interleave(repeat, 1) for part in (k, v))
    factor = math.sqrt(1 / math.sqrt(q.shape[3]) if scale is None else scale)
    scores = (q * factor) @ (k.transpose(2, 3) * factor)
    stages = [scores]
    if softcap:
        scores = (scores / softcap).tanh() * softcap
    stages.append(scores)
    steps, seen = scores.shape[2:]
    allowed = _allowed((steps, seen), before, bool(is_causal), left_window_size, right_window_size)
    if lengths is not None:
        inside = lg.arange(seen) < lengths.to(lg.int64).reshape(-1, 1, 1, 1)
        allowed = inside if allowed is None else allowed.logical_and(inside)
    bias: Any = None if allowed is None else lg.where(allowed, 0.0, -lg.inf).to(dtype)
    if mask is not None:
        if mask.dtype is lg.bool:
            mask = lg.where(mask, 0.0, -lg.inf).to(dtype)
        short = seen - mask.shape[-1]
        if short > 0:
            mask = lg.cat([mask, lg.full((*mask.shape[:-1], short), -lg.inf, dtype=dtype)], -1)
        bias = mask if bias is None else mask + bias
    if bias is not None:
        scores = scores + bias
    stages.append(scores)
    weights = (scores if softmax_precision is None else scores.to(softmax_precision)).softmax(-1)
    weights = weights.to(dtype)
    if bias is not None:
        weights = lg.where(bias.amax(-1, keepdim=True) == -lg.inf, 0.0, weights).to(dtype)
    stages.append(weights)
    result = weights @ v
    return (joined(result) if flat else result), *present, stages[qk_matmul_output_mode]


@operator("RotaryEmbedding", 23)
def rotary_embedding(
    input: Tensor, cosines: Tensor, sines: Tensor, places: Tensor | None = None, *, interleaved: int = 0,
    num_heads: int = 0, rotary_embedding_dim: int = 0,
) -> Any:  # fmt: skip
    """Pairs of elements turned by the angles of their place: rows of tables, or without places (batch, steps, size / 2)."""
    split = heads(input, num_heads)
    size = rotary_embedding_dim or split.shape[3]
    if places is not None:
        cosines, sines = (table[places.to(lg.int64)] for table in (cosines, sines))
    turned = turn(split, cosines[..., : size // 2], sines[..., : size // 2], bool(interleaved))
    return turned if input.ndim == 4 else joined(turned)


def turn(split: Any, cosines: Any, sines: Any, interleaved: bool) -> Any:
    """Turn the first elements of (batch, heads, steps, size) by angles (batch, steps, half)."""
    cosines, sines = cosines.unsqueeze(1), sines.unsqueeze(1)
    half = cosines.shape[-1]
    turned, rest = split[..., : 2 * half], split[..., 2 * half :]
    if interleaved:
        first, second = turned[..., ::2], turned[..., 1::2]
    else:
        first, second = turned[..., :half], turned[..., half:]
    parts = [first * cosines - second * sines, first * sines + second * cosines]
    result = lg.stack(parts, -1).flatten(-2) if interleaved else lg.cat(parts, -1)
    return lg.cat([result, rest], -1) if rest.shape[-1] else result
