"""Losses over classes.

In: scores or log probabilities (N, C, *sizes), targets (N, *sizes), weights (C,). Out: the loss; with "mean" over the weights.
"""

from __future__ import annotations

from typing import Any

import lazygrad as lg

from ..tensor import Tensor
from .table import operator


@operator("NegativeLogLikelihoodLoss", 12)
def negative_log_likelihood(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Any:
    """`ignore_index` may be any number, also one that is no class."""
    classes = target.to(lg.int64)
    counted = (
        lg.ones(target.shape, dtype=lg.bool) if ignore_index is None else classes != ignore_index
    )
    places = lg.where(counted, classes, 0)
    chosen = -input.gather(1, places.unsqueeze(1)).squeeze(1)
    factor = counted.to(input.dtype)
    if weight is not None:
        factor = factor * weight.index_select(0, places.reshape(-1)).reshape(places.shape)
    loss = lg.where(counted, chosen * factor, 0.0).to(input.dtype)
    if reduction == "none":
        return loss
    return loss.sum() / factor.sum() if reduction == "mean" else loss.sum()


@operator("SoftmaxCrossEntropyLoss", 12)
def softmax_cross_entropy(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Any:
    """Also the log probabilities."""
    logarithms = scores.log_softmax(1)
    loss = negative_log_likelihood(
        logarithms, target, weight, ignore_index=ignore_index, reduction=reduction
    )
    return loss, logarithms
