"""Attention: each query takes a mean of the values, weighted by how well their keys fit it.

In: queries (..., L, E), keys (..., S, E) and values (..., S, V). Out: (..., L, V). Written as two contractions around a softmax, in the
type that sums have, so that gradients of every order follow from theirs and the scheduler sees all of it.
"""

from __future__ import annotations

import math

from ..composites.contraction import matmul
from ..ir import composite
from ..ir.dim import Size
from ..ir.dtype import bool_, int64
from ..ir.node import Node, Shape, accumulation, iota, where
from ..results import result, tensor_nodes
from ..tensor import Tensor
from .arguments import broadcast_shapes, common_place, describe_operands, sizes_text
from .dropout import drop_elements
from .registry import function


def _swapped(node: Node) -> Node:
    """The last two axes exchanged."""
    rank = len(node.shape)
    return node.permute((*range(rank - 2), rank - 1, rank - 2))


def _not_after(scores: Node, length: Size) -> Node:
    """Where the key's place is not after the query's; the rows are those of `length` queries, once for each head of a group."""
    rows, columns = scores.shape[-2:]
    queries = iota(length, int64, scores.place).reshape((1, length, 1))
    queries = queries.expand((rows // length, length, columns)).reshape((rows, columns))
    keys = iota(columns, int64, scores.place).reshape((1, columns)).expand((rows, columns))
    return keys.le(queries).expand(scores.shape)


def _checked(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, p: float) -> None:
    operands = {"query": query, "key": key, "value": value}
    if not query.dtype is key.dtype is value.dtype:
        raise RuntimeError(
            "scaled_dot_product_attention: Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{query.dtype.name} key.dtype: {key.dtype.name} and value.dtype: {value.dtype.name} instead."
            + describe_operands(**operands)
        )
    if query.dtype.kind != "float":
        raise RuntimeError(
            f"scaled_dot_product_attention: expected floating point tensors, but got {query.dtype.name}"
            + describe_operands(**operands)
        )
    if min(each.ndim for each in operands.values()) < 2:
        raise RuntimeError(
            "scaled_dot_product_attention: Expected query, key, and value to all be at least 2 dimensional, but got "
            f"query.dim: {query.ndim} key.dim: {key.ndim} and value.dim: {value.ndim} instead."
        )
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError(
            f"scaled_dot_product_attention: sizes do not fit: query {sizes_text(query.shape)}, key {sizes_text(key.shape)} and "
            f"value {sizes_text(value.shape)} must be (..., L, E), (..., S, E) and (..., S, V)"
            + describe_operands(**operands)
        )
    if mask is not None and mask.dtype is not bool_ and mask.dtype.kind != "float":
        raise RuntimeError(
            "scaled_dot_product_attention: Expected attn_mask dtype to be bool or float or to match query dtype, but got "
            f"attn_mask.dtype: {mask.dtype.name} and query.dtype: {query.dtype.name} instead."
        )
    if not 0.0 <= p <= 1.0:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p}")
    common_place(
        "scaled_dot_product_attention", (query, key, value, *([] if mask is None else [mask]))
    )


def _groups(query: Tensor, key: Tensor, value: Tensor) -> tuple[int, int]:
    """The heads of the keys, and how many heads of the queries share each."""
    heads, shared, also = (
        int(each.shape[-3]) if each.ndim > 2 else 0 for each in (query, key, value)
    )
    if not shared or also != shared or heads % shared:
        raise RuntimeError(
            "scaled_dot_product_attention: Number of heads in key and value must divide the number of heads in query, but got "
            f"{sizes_text(query.shape)}, {sizes_text(key.shape)} and {sizes_text(value.shape)}"
            + describe_operands(query=query, key=key, value=value)
        )
    return shared, heads // shared


@function("scaled_dot_product_attention", module=False, method=False, nn=True)
def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, *, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """softmax(query @ key^T * scale + mask) @ value.

    Args:
        query: (..., L, E); key: (..., S, E); value: (..., S, V); the leading axes broadcast.
        attn_mask: bool, true where a query may look at a key, or floating, added to the scores; broadcasts to (..., L, S).
            A query that may look at no key gets 0.
        dropout_p: the probability of each weight to become 0. It always applies: pass 0 outside of training.
        is_causal: query i looks at keys up to i only.
        scale: 1 / sqrt(E) if not given.
        enable_gqa: keys and values may have fewer heads (axis -3); each is used by as many heads of the queries in a row.

    Raises:
        RuntimeError: shapes or dtypes do not fit; `dropout_p` is not in [0, 1].

    Same as torch.nn.functional.scaled_dot_product_attention.
    """
    _checked(query, key, value, attn_mask, dropout_p)
    inputs = (query, key, value) if attn_mask is None else (query, key, value, attn_mask)
    queries, keys, values, *masks = tensor_nodes(*inputs)
    dtype = queries.dtype
    wide = accumulation(dtype)
    groups = _groups(query, key, value) if enable_gqa else None
    length = queries.shape[-2]
    if groups is not None:  # the queries of a group are so many more rows, so nothing is repeated
        queries = queries.reshape(_joined_heads(queries.shape, groups))
    leading = [each.shape[:-2] for each in (queries, keys, values)]
    broadcast_shapes("scaled_dot_product_attention", *leading)  # type: ignore[arg-type]
    factor = 1.0 / math.sqrt(max(int(query.shape[-1]), 1)) if scale is None else float(scale)
    scores = matmul(queries.cast(wide), _swapped(keys.cast(wide))) * factor
    softmax = "softmax"
    if is_causal:
        scores = where(_not_after(scores, length), scores, -math.inf)
    for mask in masks:
        softmax = "safe_softmax"
        mask = _spread(mask, scores.shape, groups, length)
        if mask.dtype is bool_:
            scores = where(mask, scores, -math.inf)
        else:
            scores = scores + mask.cast(wide)
    weights = composite.call(softmax, [scores], like=scores, axis=len(scores.shape) - 1)
    if dropout_p:
        weights = drop_elements(weights, float(dropout_p))
    made = matmul(weights, values.cast(wide)).cast(dtype)
    if groups is not None:
        made = made.reshape(_split_heads(made.shape, groups, length))
    return result("ScaledDotProductFlashAttentionForCpuBackward0", made, inputs, inputs)


def _joined_heads(shape: Shape, groups: tuple[int, int]) -> Shape:
    """The shape of queries whose heads of a group follow each other as rows."""
    return (*shape[:-3], groups[0], groups[1] * shape[-2], shape[-1])


def _split_heads(shape: Shape, groups: tuple[int, int], length: Size) -> Shape:
    """The same before."""
    return (*shape[:-3], groups[0] * groups[1], length, shape[-1])


def _spread(mask: Node, shape: Shape, groups: tuple[int, int] | None, length: Size) -> Node:
    """The mask in every element of scores of `shape`."""
    whole = shape if groups is None else _split_heads(shape, groups, length)
    if broadcast_shapes("scaled_dot_product_attention", mask.shape, whole) != whole:  # type: ignore[arg-type]
        raise RuntimeError(
            f"scaled_dot_product_attention: attn_mask {sizes_text(mask.shape)} must broadcast to {sizes_text(whole)}"
        )
    return mask.expand(whole).reshape(shape)
