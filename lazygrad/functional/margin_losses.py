"""Losses with a margin, and those that compare pairs and triplets of rows. `reduction` is "mean", "sum" or "none".

In: float tensors of rows; targets that are 1 or -1, classes, or sets of classes. Out: () for "mean" and "sum".
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..ir.dtype import int64
from ..tensor import Tensor
from .activations import clamp_min, logsigmoid
from .arguments import describe_operands, sizes_text
from .arithmetic import minimum
from .creation import arange
from .gathering import gather, index_select, where
from .losses import _loss, _old_reduction, _reduce
from .normalization import pairwise_distance
from .reductions import sum as sum_of
from .unary import log1p, sqrt


@_loss("cosine_embedding_loss")
def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """1 - cosine where target is 1, max(0, cosine - margin) where it is -1.

    Args:
        input1, input2: (N, D) or (D,); target: (N,) or ().

    Raises:
        RuntimeError: other ranks, or shapes that do not broadcast.

    Same as torch.nn.functional.cosine_embedding_loss.
    """
    reduction = _old_reduction(size_average, reduce, reduction)
    operands = describe_operands(input1=input1, input2=input2, target=target)
    if target.ndim not in (0, 1):
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported" + operands)
    rank = target.ndim + 1
    if input1.ndim != rank or input2.ndim != rank:
        raise RuntimeError(
            f"{target.ndim}D target tensor expects {rank}D input tensors, but found inputs with sizes "
            f"{sizes_text(input1.shape)} and {sizes_text(input2.shape)}.{operands}"
        )
    dot = sum_of(input1 * input2, target.ndim)
    squares = [sum_of(each * each, target.ndim) + 1e-12 for each in (input1, input2)]
    cosine = dot / sqrt(squares[0] * squares[1])
    zero = cosine.detach() * 0
    similar = where(target.eq(1), 1 - cosine, zero)
    return _reduce(similar + where(target.eq(-1), clamp_min(cosine - margin, 0), zero), reduction)


@_loss("soft_margin_loss")
def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:  # fmt: skip
    """log(1 + exp(-target * input)). Same as torch.nn.functional.soft_margin_loss."""
    reduction = _old_reduction(size_average, reduce, reduction)
    product = -target * input
    # log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), which no input overflows
    return _reduce(clamp_min(product, 0) + log1p((-product.abs()).exp()), reduction)


@_loss("triplet_margin_loss")
def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2, eps: float = 1e-6,
    swap: bool = False, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """max(0, margin + |anchor - positive| - |anchor - negative|), in the p-norm over the last axis.

    Args:
        swap: the distance of positive and negative counts where it is the smaller one.

    Raises:
        ValueError: the margin is not positive. RuntimeError: ranks that differ.

    Same as torch.nn.functional.triplet_margin_loss.
    """
    reduction = _old_reduction(size_average, reduce, reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs"
        )
    return _triplet(
        anchor, positive, negative, lambda x, y: pairwise_distance(x, y, p, eps), margin, swap, reduction
    )  # fmt: skip


@_loss("triplet_margin_with_distance_loss")
def triplet_margin_with_distance_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, *, distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0, swap: bool = False, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """triplet_margin_loss with a distance of one's own. Same as torch.nn.functional.triplet_margin_with_distance_loss."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs"
        )
    distance = pairwise_distance if distance_function is None else distance_function
    return _triplet(anchor, positive, negative, distance, margin, swap, reduction)


def _triplet(
    anchor: Tensor, positive: Tensor, negative: Tensor, distance: Callable[[Tensor, Tensor], Tensor], margin: float, swap: bool,
    reduction: str,
) -> Tensor:  # fmt: skip
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return _reduce(clamp_min(margin + near - far, 0), reduction)


# --- class targets


def _rows(name: str, input: Tensor, target: Tensor, sets: bool) -> tuple[Tensor, Tensor]:
    """The scores as (N, C), and the targets as (N,), or (N, C) where they are `sets`."""
    rank = input.ndim
    classes = int(input.shape[-1]) if rank else 1
    batch = int(input.shape[0]) if rank == 2 else 1
    if rank > 2 or not classes:
        raise RuntimeError(
            f"{name}: Expected non-empty vector or matrix with optional 0-dim batch size, but got: {sizes_text(input.shape)}"
        )
    shape: tuple[int, ...] = (batch, classes) if sets else (batch,)
    if sets:
        allowed = [tuple(input.shape)] + (
            [(), (1,)] if rank == 0 or input.numel() == 1 == rank else []
        )
    else:
        allowed = [(batch,)] + ([()] if rank < 2 else [])
    if tuple(target.shape) not in allowed:
        raise RuntimeError(
            f"{name}: inconsistent target size: {sizes_text(target.shape)} for input of size: {sizes_text(input.shape)}"
            + describe_operands(input=input, target=target)
        )
    if target.dtype is not int64:
        raise RuntimeError(f"{name}: expected scalar type Long but found {target.dtype}")
    return input.reshape(batch, classes), target.reshape(shape)


@_loss("multi_margin_loss")
def multi_margin_loss(
    input: Tensor, target: Tensor, p: int = 1, margin: float = 1.0, weight: Tensor | None = None,
    size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """The sum over all classes but the target's of max(0, margin - score of target + score) ** p, over the number of classes.

    Args:
        input: (N, C) or (C,); target: int64, (N,) or (), in [0, C).
        p: 1 or 2; weight: of each class, (C,).

    Raises:
        ValueError: another `p`; ranks. RuntimeError: shapes. IndexError: a target outside [0, C), when the result is read.

    Same as torch.nn.functional.multi_margin_loss.
    """
    reduction = _old_reduction(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.ndim != 1:
        raise ValueError("weight must be one-dimensional")
    scores, classes = _rows("multi_margin_loss", input, target, False)
    count = int(scores.shape[1])
    if weight is not None and tuple(weight.shape) != (count,):
        raise RuntimeError(
            f"multi_margin_loss: inconsistent weight size, expected {count} but got {sizes_text(weight.shape)}"
        )
    own = classes.unsqueeze(1)
    terms = clamp_min(margin - gather(scores, 1, own) + scores, 0)
    if p == 2:
        terms = terms * terms
    if weight is not None:
        terms = terms * index_select(weight, 0, classes).unsqueeze(1)
    others = arange(count, device=scores.device).unsqueeze(0).ne(own)
    losses = sum_of(where(others, terms, 0.0), 1) / count
    return _reduce(
        losses.reshape(tuple(target.shape) if input.ndim < 2 else losses.shape), reduction
    )


@_loss("multilabel_margin_loss")
def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:  # fmt: skip
    """The sum over target classes and other classes of max(0, 1 - score of the target + score of the other), over C.

    Args:
        input: (N, C) or (C,); target: int64, the same shape: each row lists classes, and ends at the first -1.

    Raises:
        RuntimeError: shapes. IndexError: a target outside [-1, C), when the result is read.

    Same as torch.nn.functional.multilabel_margin_loss.
    """
    reduction = _old_reduction(size_average, reduce, reduction)
    scores, listed = _rows("multilabel_margin_loss", input, target, True)
    count = int(scores.shape[1])
    counted = listed.lt(0).to(int64).cumsum(1).eq(0)
    own = where(counted, listed, 0)
    at = arange(count, device=scores.device)
    is_target = (own.unsqueeze(2).eq(at) & counted.unsqueeze(2)).any(1)
    terms = clamp_min(1 - gather(scores, 1, own).unsqueeze(2) + scores.unsqueeze(1), 0)
    terms = where(counted.unsqueeze(2) & ~is_target.unsqueeze(1), terms, 0.0)
    losses = sum_of(terms, (1, 2)) / count
    return _reduce(losses if input.ndim == 2 else losses.reshape(()), reduction)


@_loss("multilabel_soft_margin_loss")
def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Binary cross entropy of logits, averaged over the last axis; `weight` is of each class.

    Same as torch.nn.functional.multilabel_soft_margin_loss.
    """
    reduction = _old_reduction(size_average, reduce, reduction)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    axis = input.ndim - 1
    return _reduce(
        sum_of(loss, axis) / max(1, int(input.shape[axis]) if input.ndim else 1), reduction
    )


@_loss("gaussian_nll_loss")
def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:  # fmt: skip
    """0.5 * (log(var) + (input - target) ** 2 / var); `full` adds the constant 0.5 * log(2 pi).

    Args:
        var: variances, of input's shape, or with a last axis of 1, or without it, or a number; at least `eps` (no gradient through that).

    Raises:
        ValueError: `var` has another shape or is negative (which is read now); unknown `reduction`.

    Same as torch.nn.functional.gaussian_nll_loss.
    """
    spread: Tensor
    if isinstance(var, Tensor):
        spread = var
    elif var < 0:
        raise ValueError("var has negative entry/entries")
    else:
        spread = input.detach() * 0 + var
    shape, size = tuple(spread.shape), tuple(input.shape)
    if shape != size:
        if size[:-1] == shape:
            spread = spread.unsqueeze(-1)
        elif size[:-1] != shape[:-1] or shape[-1] != 1:
            broadcast = len(size) == len(shape) and all(m in (1, n) for n, m in zip(size, shape))
            if not broadcast:
                raise ValueError("var is of incorrect size")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(reduction + " is not valid")
    if spread.numel() and bool(spread.lt(0).any()):
        raise ValueError("var has negative entry/entries")
    # the value is at least eps, the gradient that of var itself
    safe = spread + (clamp_min(spread.detach(), eps) - spread.detach())
    loss = 0.5 * (safe.log() + (input - target) ** 2 / safe)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return _reduce(loss, reduction)
