"""Connectionist temporal classification: the probability that a sequence of class probabilities spells a target.

In: log probabilities (T, N, C) and targets with their lengths. Out: minus the logarithm of the probability of the target, summed over
all alignments by the forward recursion, in log space, as operations of the graph: the gradient is that of the recursion, and as
PyTorch's with exp(log_probs) added, which a log_softmax before takes away again.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from ..ir.dtype import int64
from ..tensor import Tensor
from .activations import clamp_min
from .arguments import describe_operands, sizes_text
from .creation import full, tensor
from .gathering import gather, where
from .joining import cat, stack, unbind
from .losses import _check_reduction, _loss
from .unary import exp, log


def _lengths(name: str, lengths: Any, batch: int) -> list[int]:
    """Lengths as numbers; tensors are read now."""
    if isinstance(lengths, Tensor):
        if lengths.dtype.is_floating_point:
            raise RuntimeError(f"ctc_loss: {name} must be integral")
        lengths = lengths.tolist()
    found = [int(length) for length in (lengths if hasattr(lengths, "__iter__") else [lengths])]
    if len(found) != batch:
        raise RuntimeError(f"ctc_loss: {name} must be of size batch_size")
    return found


@_loss("ctc_loss")
def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """Minus the log probability of each target, over all alignments with blanks.

    Args:
        log_probs: float, (T, N, C) or (T, C): log probabilities of the classes at each step.
        targets: int64, (N, S), or all in a row; (S,) for an input without batch.
        input_lengths, target_lengths: (N,), tensors or sequences; they are read now.
        blank: the class that stands for nothing.
        reduction: "mean" divides each loss by its target's length first, at least 1.
        zero_infinity: losses that are infinite (the target does not fit the input) become 0, with gradient 0.

    Raises:
        RuntimeError: shapes, lengths or `blank` that do not fit.

    Same as torch.nn.functional.ctc_loss. Source: Graves et al., Connectionist Temporal Classification, ICML 2006.
    """
    _check_reduction(reduction)
    batched = log_probs.ndim == 3
    if log_probs.ndim not in (2, 3):
        raise RuntimeError(
            f"ctc_loss: log_probs must be (T, N, C) or (T, C), got {sizes_text(log_probs.shape)}"
        )
    if not batched:
        log_probs = log_probs.unsqueeze(1)
    steps, batch, classes = (int(n) for n in log_probs.shape)
    if not batch:
        raise RuntimeError("ctc_loss: log_probs tensor must not be empty")
    if not 0 <= blank < classes:
        raise RuntimeError("ctc_loss: blank must be in label range")
    if targets.dtype.is_floating_point:
        raise RuntimeError("ctc_loss: targets must be integral")
    times = _lengths("input_lengths", input_lengths, batch)
    sizes = _lengths("target_lengths", target_lengths, batch)
    if max(times) > steps:
        raise RuntimeError(
            f"ctc_loss: Expected input_lengths to have value at most {steps}, but got value {max(times)}"
        )
    if min(times) < 0 or min(sizes) < 0:
        raise RuntimeError("ctc_loss: Expected lengths to have value at least 0")
    labels = _padded_targets(targets, sizes, batch, batched)
    losses = _losses(log_probs, labels, times, sizes, blank)
    if zero_infinity:
        losses = where(losses.eq(float("inf")), 0.0, losses)
    if reduction == "mean":
        scale = tensor([max(size, 1) for size in sizes], device=log_probs.device)
        mean: Tensor = (losses / scale.to(losses.dtype)).mean()
        return mean
    if reduction == "sum":
        total: Tensor = losses.sum()
        return total
    found: Tensor = losses if batched else losses.squeeze(0)
    return found


def _padded_targets(targets: Tensor, sizes: list[int], batch: int, batched: bool) -> Tensor:
    """The targets as (N, longest), int64."""
    longest = max(sizes)
    if targets.ndim == 1 and (batched or targets.numel() == sum(sizes)):
        if int(targets.shape[0]) < sum(sizes):
            raise RuntimeError(
                "ctc_loss: Expected targets to be at least the sum of target_lengths"
                + describe_operands(targets=targets)
            )
        last = max(0, int(targets.shape[0]) - 1)
        starts = [end - size for end, size in zip(accumulate(sizes), sizes, strict=True)]
        places = [
            min(start + min(place, max(size - 1, 0)), last)
            for start, size in zip(starts, sizes, strict=True)
            for place in range(longest)
        ]
        index = tensor(places, dtype=int64, device=targets.device)
        padded: Tensor = targets.to(int64).index_select(0, index).reshape(batch, longest)
        return padded
    if targets.ndim == 1:
        targets = targets.unsqueeze(0)
    if targets.ndim != 2 or int(targets.shape[0]) != batch or int(targets.shape[1]) < longest:
        raise RuntimeError(
            f"ctc_loss: Expected tensor to have size at least {longest} at dimension 1, but got size "
            f"{sizes_text(targets.shape)}" + describe_operands(targets=targets)
        )
    rows: Tensor = targets.to(int64)[:, :longest]
    return rows


def _log_add(terms: list[Tensor]) -> Tensor:
    """log(sum(exp(terms))), elementwise; -inf where all of them are, with gradient 0."""
    largest = terms[0].detach()
    for each in terms[1:]:
        largest = largest.maximum(each.detach())
    finite = largest.gt(float("-inf"))
    base = where(finite, largest, 0.0)
    total = exp(terms[0] - base)
    for each in terms[1:]:
        total = total + exp(each - base)
    rows_of_one: Tensor = where(finite, log(where(finite, total, 1.0)) + base, float("-inf"))
    return rows_of_one


def _losses(
    log_probs: Tensor, labels: Tensor, times: list[int], sizes: list[int], blank: int
) -> Tensor:
    """The loss of each sequence by the forward recursion over states blank, label, blank, label, ..., blank."""
    batch, longest = (int(n) for n in labels.shape)
    device, dtype = log_probs.device, log_probs.dtype
    states = 2 * longest + 1
    blanks = full((batch, longest), blank, dtype=int64, device=device)
    between = stack([blanks, labels], 2).reshape(batch, 2 * longest)
    extended = cat([between, full((batch, 1), blank, dtype=int64, device=device)], 1)
    places = extended.unsqueeze(0).expand(int(log_probs.shape[0]), batch, states)
    emitted = unbind(gather(log_probs, 2, places), 0)
    minus = full((batch, 2), float("-inf"), dtype=dtype, device=device)
    before = (
        cat([full((batch, 2), blank, dtype=int64, device=device), extended[:, :-2]], 1)
        if states > 2
        else None
    )
    skips = None if before is None else extended.ne(blank) & extended.ne(before)
    lengths = tensor(times, device=device).unsqueeze(1)
    runs = [lengths.gt(time) for time in range(len(emitted))]
    first = tensor([[state < 2 for state in range(states)]], device=device)
    alpha = where(first, emitted[0], float("-inf"))
    for time in range(1, len(emitted)):
        terms = [alpha, cat([minus[:, :1], alpha[:, :-1]], 1)]
        if skips is not None:
            terms.append(where(skips, cat([minus, alpha[:, :-2]], 1), float("-inf")))
        alpha = where(runs[time], _log_add(terms) + emitted[time], alpha)
    ends = tensor([[2 * size, max(2 * size - 1, 0)] for size in sizes], device=device)
    last, label = unbind(gather(alpha, 1, ends), 1)
    has_label = tensor([size > 0 for size in sizes], device=device)
    found = _log_add([last, where(has_label, label, float("-inf"))])
    started = tensor([length > 0 for length in times], device=device)
    empty = where(has_label, float("inf"), clamp_min(-found.detach() * 0, 0))
    likely = where(stack(runs, 0), exp(log_probs), 0.0).sum((0, 2))
    losses = where(started, -found, empty)
    with_exponentials: Tensor = losses + (likely - likely.detach())
    return with_exponentials
