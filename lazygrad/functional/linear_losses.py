"""Losses of a linear layer's outputs. The compiler decides what is stored of these, so the options that PyTorch has for that change nothing."""

from __future__ import annotations

from math import prod
from typing import Any

from ..ir.record import record
from ..tensor import Tensor
from .contraction import linear
from .losses import cross_entropy
from .registry import function


@record
class LinearCrossEntropyOptions:
    """How PyTorch cuts a batch to save memory; taken for its sake. Same fields as torch.nn.LinearCrossEntropyOptions."""

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: Any = None


@function("linear_cross_entropy", module=False, method=False, nn=True)
def linear_cross_entropy(
    input: Tensor, linear_weight: Tensor, target: Tensor, *, linear_bias: Tensor | None = None, weight: Tensor | None = None,
    reduction: str = "mean", ignore_index: int | None = None, label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
) -> Tensor:  # fmt: skip
    """The cross entropy of linear(input, linear_weight, linear_bias).

    Args:
        input: (in_features,) or (N, in_features).
        linear_weight: (C, in_features) or (C, d1, ..., dk, in_features).
        target: classes, (), (N,) or (N, d1, ..., dk); or probabilities, of the shape of the outputs.
        linear_bias: (C,) or (C, d1, ..., dk).
        weight, reduction, label_smoothing: as for `cross_entropy`; `ignore_index` is -100 for classes that are not said.

    Raises:
        RuntimeError: shapes do not fit; `ignore_index` with probabilities.

    Same as torch.nn.functional.linear_cross_entropy.
    """
    if not 1 <= input.ndim <= 2:
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.ndim}")
    if linear_weight.ndim < 2:
        raise RuntimeError(
            f"expected linear_weight with dimensionality at least 2, got {linear_weight.ndim}"
        )
    width = input.shape[-1]
    if width != linear_weight.shape[-1]:
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), got "
            f"{width} and {linear_weight.shape[-1]}, respectively"
        )
    outputs = tuple(linear_weight.shape[:-1])
    if linear_bias is not None and tuple(linear_bias.shape) != outputs:
        raise RuntimeError(f"expected linear_bias shape {outputs}, got {tuple(linear_bias.shape)}")
    if len(outputs) > 1 and input.ndim == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} requires batched input, "
            f"(N, {width}), got unbatched input with shape {tuple(input.shape)}"
        )
    shape = (*input.shape[:-1], *outputs)
    if tuple(target.shape) == shape and ignore_index is not None:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    if len(outputs) > 1:
        linear_weight = linear_weight.reshape((prod(outputs), width))
        linear_bias = None if linear_bias is None else linear_bias.reshape((prod(outputs),))
    logits: Tensor = linear(input, linear_weight, linear_bias).reshape(shape)
    return cross_entropy(
        logits, target, weight=weight, reduction=reduction, ignore_index=-100 if ignore_index is None else ignore_index,
        label_smoothing=label_smoothing,
    )  # fmt: skip
