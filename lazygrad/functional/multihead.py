"""Attention with several heads: projections, the split into heads, masks, and the projection of what the heads found.

In: sequences (L, N, E), weights and masks as torch.nn.MultiheadAttention keeps them. Out: (L, N, E), and the weights of the attention
where they are asked for. All of it is made of tensor operations.
"""

from __future__ import annotations

import math

from ..ir.dtype import DType, bool_
from ..tensor import Tensor
from .activations import softmax
from .arguments import describe_operands
from .attention import scaled_dot_product_attention
from .contraction import linear, matmul
from .creation import zeros
from .dropout import dropout
from .gathering import where
from .joining import cat
from .registry import function


def require(condition: bool, text: str, **operands: Tensor) -> None:
    """PyTorch's assertion.

    Raises:
        AssertionError: the condition does not hold.
    """
    if not condition:
        raise AssertionError(text + describe_operands(**operands))


def added_mask(name: str, mask: Tensor | None, dtype: DType) -> Tensor | None:
    """A mask as something to add to scores: minus infinity where a bool one holds.

    Raises:
        AssertionError: it is neither bool nor floating.
    """
    if mask is None or mask.dtype.kind == "float":
        return mask
    require(mask.dtype is bool_, f"only bool and floating types of {name} are supported", mask=mask)
    blocked: Tensor = where(mask, -math.inf, 0.0).to(dtype)
    return blocked


def _check_ranks(
    query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None, mask: Tensor | None
) -> None:
    rank = query.ndim
    word = {2: "unbatched (2-D)", 3: "batched (3-D)"}.get(rank)
    require(
        word is not None,
        f"query should be unbatched 2D or batched 3D tensor but received {rank}-D query tensor",
        query=query,
    )
    require(
        key.ndim == rank and value.ndim == rank,
        f"For {word} `query`, expected `key` and `value` to be {rank}-D but found {key.ndim}-D and {value.ndim}-D tensors "
        "respectively",
    )
    require(
        padding is None or padding.ndim == rank - 1,
        f"For {word} `query`, expected `key_padding_mask` to be `None` or {rank - 1}-D",
    )
    require(
        mask is None or mask.ndim in (2, 3),
        f"For {word} `query`, expected `attn_mask` to be `None`, 2-D or 3-D",
    )


def _projected(
    query: Tensor, key: Tensor, value: Tensor, weights: list[Tensor | None], packed: Tensor | None, bias: Tensor | None
) -> list[Tensor]:  # fmt: skip
    """The three projections: by one packed weight (3 * E, E), of one product where all three are the same, or by three weights."""
    if packed is not None and query is key is value:
        return list(linear(query, packed, bias).chunk(3, -1))
    parts = list(packed.chunk(3)) if packed is not None else weights
    biases = [None] * 3 if bias is None else list(bias.chunk(3))
    made = []
    for name, given, weight, offset in zip("qkv", (query, key, value), parts, biases):
        if weight is None:
            raise AssertionError(f"use_separate_proj_weight is True but {name}_proj_weight is None")
        made.append(linear(given, weight, offset))
    return made


def _one_more(mask: Tensor | None) -> Tensor | None:
    """A mask for one key more, which is not masked."""
    if mask is None:
        return None
    free = zeros(*mask.shape[:-1], 1, dtype=mask.dtype, device=mask.device)
    return cat([mask, free], -1)


@function("multi_head_attention_forward", module=False, method=False, nn=True)
def multi_head_attention_forward(
    query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int, in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None, bias_k: Tensor | None, bias_v: Tensor | None, add_zero_attn: bool, dropout_p: float,
    out_proj_weight: Tensor, out_proj_bias: Tensor | None, training: bool = True, key_padding_mask: Tensor | None = None,
    need_weights: bool = True, attn_mask: Tensor | None = None, use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None, k_proj_weight: Tensor | None = None, v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None, static_v: Tensor | None = None, average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Attention of several heads with its projections; see nn.MultiheadAttention.

    Args:
        query: (L, N, E) or (L, E); key, value: (S, N, ...) or (S, ...).
        in_proj_weight: (3 * E, E), or `use_separate_proj_weight` and three weights; in_proj_bias: (3 * E,).
        bias_k, bias_v: (1, 1, E), appended to keys and values; add_zero_attn: append zeros to both.
        key_padding_mask: (N, S) or (S,); attn_mask: (L, S) or (N * heads, L, S); bool, true where a key is left out, or
            floating, added to the scores.
        static_k, static_v: (N * heads, S, E / heads), taken for the projected keys and values.
        is_causal: says that `attn_mask` is the causal one.

    Returns: the result, of the shape of `query`, and the weights: (N, L, S), or (N, heads, L, S) unless averaged; or None.

    Raises:
        AssertionError: ranks, sizes or dtypes do not fit.
        RuntimeError: the shape of `attn_mask` does not fit, or `is_causal` without it.

    Same as torch.nn.functional.multi_head_attention_forward.
    """
    _check_ranks(query, key, value, key_padding_mask, attn_mask)
    batched = query.ndim == 3
    if not batched:
        shared = query is key is value
        query = query.unsqueeze(1)
        key, value = (query, query) if shared else (key.unsqueeze(1), value.unsqueeze(1))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    length, batch, width = (int(size) for size in query.shape)
    require(
        width == embed_dim_to_check,
        f"was expecting embedding dimension of {embed_dim_to_check}, but got {width}",
        query=query,
    )
    head = width // num_heads
    require(head * num_heads == width, f"embed_dim {width} not divisible by num_heads {num_heads}")
    same = (
        key.shape[:2] == value.shape[:2] if use_separate_proj_weight else key.shape == value.shape
    )
    require(same, f"key shape {key.shape} does not match value shape {value.shape}")
    require(
        key_padding_mask is None or tuple(key_padding_mask.shape) == (batch, int(key.shape[0])),
        f"expected key_padding_mask.shape[0] to be {batch} and [1] to be {key.shape[0]}",
    )
    causal = is_causal and key_padding_mask is None and not need_weights
    shapes = (length, int(key.shape[0])), (batch * num_heads, length, int(key.shape[0]))
    if attn_mask is not None and tuple(attn_mask.shape) not in shapes:
        wanted = shapes[attn_mask.ndim - 2]
        raise RuntimeError(
            f"The shape of the {attn_mask.ndim}D attn_mask is {attn_mask.shape}, but should be {wanted}."
        )
    mask = None if causal else added_mask("attn_mask", attn_mask, query.dtype)
    padding = added_mask("key_padding_mask", key_padding_mask, query.dtype)

    separate = [q_proj_weight, k_proj_weight, v_proj_weight]
    packed = None if use_separate_proj_weight else in_proj_weight
    queries, keys, values = _projected(query, key, value, separate, packed, in_proj_bias)
    if bias_k is not None and bias_v is not None:
        keys = cat([keys, bias_k.expand(1, batch, width)])
        values = cat([values, bias_v.expand(1, batch, width)])
        mask, padding, causal = _one_more(mask), _one_more(padding), False

    def split(sequence: Tensor) -> Tensor:
        """(L, N, E) to (N, heads, L, E / heads)."""
        parts: Tensor = sequence.reshape(-1, batch, num_heads, head).permute(1, 2, 0, 3)
        return parts

    queries = split(queries)
    keys = split(keys) if static_k is None else static_k.reshape(batch, num_heads, -1, head)
    values = split(values) if static_v is None else static_v.reshape(batch, num_heads, -1, head)
    if add_zero_attn:
        nothing = zeros(batch, num_heads, 1, head, dtype=keys.dtype, device=keys.device)
        keys, values = cat([keys, nothing], 2), cat([values, nothing], 2)
        mask, padding, causal = _one_more(mask), _one_more(padding), False
    if mask is not None and mask.ndim == 3:
        mask = mask.reshape(batch, num_heads, length, -1)
    if padding is not None:
        padding = padding.reshape(batch, 1, 1, -1)
        mask = padding if mask is None else mask + padding

    chance = dropout_p if training else 0.0
    weights = None
    if need_weights:
        scores = matmul(queries * math.sqrt(1.0 / head), keys.transpose(-2, -1))
        weights = dropout(softmax(scores if mask is None else scores + mask, -1), chance)
        found = matmul(weights, values)
        weights = weights.mean(1) if average_attn_weights else weights
    else:
        found = scaled_dot_product_attention(queries, keys, values, mask, chance, causal)
    joined = found.permute(2, 0, 1, 3).reshape(length, batch, width)
    made = linear(joined, out_proj_weight, out_proj_bias)
    if batched:
        return made, weights
    return made.squeeze(1), None if weights is None else weights.squeeze(0)
