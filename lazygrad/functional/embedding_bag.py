"""Bags of rows of a table: what each bag of indices lists, summed, averaged or its largest.

In: indices as (bags, size), or in a row with the position where each bag begins. Out: (bags, width). Nothing of size
(indices, width) is stored for "sum" and "mean": the rows are added to their bag as they are found.
"""

from __future__ import annotations

from ..ir.dtype import int32, int64
from ..ir.node import accumulation
from ..tensor import Tensor
from .activations import clamp_min
from .arguments import describe_operands, sizes_text, type_name
from .creation import arange, ones_like, zeros
from .gathering import gather, index_add, where
from .reductions import any as any_of
from .reductions import argmax, cumsum
from .registry import function
from .shaping import reshape
from .tables import embedding

MODES = ("sum", "mean", "max")


@function("embedding_bag", module=False, method=False, nn=True)
def embedding_bag(
    input: Tensor, weight: Tensor, offsets: Tensor | None = None, max_norm: float | None = None, norm_type: float = 2,
    scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False, padding_idx: int | None = None,
) -> Tensor:  # fmt: skip
    """The rows of a table that each bag of indices lists, reduced to one row; an empty bag gives 0.

    Args:
        input: int64 or int32: (bags, size), or (count,) with `offsets`.
        weight: the table, (rows, width).
        offsets: (bags,), where each bag begins in `input`; the first is 0. With `include_last_offset` one more, the end of the last.
        mode: "sum", "mean" or "max".
        per_sample_weights: of each index, the shape of `input`; for "sum" only.
        padding_idx: a row that does not count.
        max_norm, norm_type, scale_grad_by_freq, sparse: as for `embedding`.

    Raises:
        ValueError: ranks, shapes or mode that do not go together.
        RuntimeError: dtypes that do not; `padding_idx` is no row; the first offset is not 0 (when the result is read).
        NotImplementedError: `per_sample_weights` with another mode; `sparse`.

    Same as torch.nn.functional.embedding_bag, except that `scale_grad_by_freq` divides by the count of each row (PyTorch on the host
    takes the count of another row).
    """
    for name, indices in (("input", input), ("offsets", offsets)):
        if indices is not None and indices.dtype not in (int64, int32):
            raise RuntimeError(
                "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
                f"{type_name(indices.dtype)} instead (while checking arguments for embedding_bag: {name})"
            )
    if mode not in MODES:
        raise ValueError("mode has to be one of sum, mean or max")
    _check_weights(input, weight, mode, per_sample_weights)
    input, offsets, per_sample_weights = _in_a_row(
        input, offsets, per_sample_weights, include_last_offset
    )
    if mode == "max" and scale_grad_by_freq:
        raise ValueError(
            "embedding_bag: max mode does not support scaling the gradient by the frequency"
        )
    rows = int(weight.shape[0])
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise RuntimeError(
                f"padding_idx must be within the number of embeddings, -{rows} through {rows - 1}, but got {padding_idx}"
            )
        padding_idx %= rows
    found = embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    if per_sample_weights is not None:
        wide = accumulation(found.dtype)  # products and their sums are rounded once
        found = found.to(wide) * per_sample_weights.unsqueeze(-1).to(wide)
    counted = None if padding_idx is None else input.ne(padding_idx)
    count = int(input.shape[0])
    bags = int(offsets.shape[0])
    bag = _bag_of_each(offsets, count)
    if mode == "max":
        return _largest(found, bag, bags, counted)
    return _sums(found, bag, bags, counted, mode == "mean").to(weight.dtype)


def _check_weights(
    input: Tensor, weight: Tensor, mode: str, per_sample_weights: Tensor | None
) -> None:
    if weight.ndim != 2:
        raise RuntimeError(f"embedding_bag: 'weight' must be 2-D, got {sizes_text(weight.shape)}")
    if per_sample_weights is None:
        return
    if tuple(per_sample_weights.shape) != tuple(input.shape):
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({sizes_text(per_sample_weights.shape)}) is not None, then it must have the "
            f"same shape as the input ({sizes_text(input.shape)})" + describe_operands(input=input)
        )
    if mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' "
            f"(got mode='{mode}'). Please open a feature request on GitHub."
        )
    if per_sample_weights.dtype is not weight.dtype:
        raise RuntimeError(
            f"embedding_bag: expected weight ({type_name(weight.dtype)}) and per_sample_weights "
            f"({type_name(per_sample_weights.dtype)}) to have the same scalar type"
        )


def _in_a_row(
    input: Tensor, offsets: Tensor | None, per_sample_weights: Tensor | None, last: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The indices (and their weights) in a row, and where each bag begins."""

    if input.ndim == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length sequences. "
                f"However, found offsets of type {type(offsets)}"
            )
        bags, size = (int(n) for n in input.shape)
        offsets = arange(0, bags * size, size) if size else arange(0, bags, dtype=int64) * 0
        flat = None if per_sample_weights is None else reshape(per_sample_weights, (-1,))
        return reshape(input, (bags * size,)), offsets, flat
    if input.ndim != 1:
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}"
        )
    if offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    if offsets.ndim != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    if last:
        if not int(offsets.shape[0]):
            raise RuntimeError("include_last_offset: number of offset should be at least 1")
        offsets = offsets[:-1]
    return input, offsets, per_sample_weights


def _bag_of_each(offsets: Tensor, count: int) -> Tensor:
    """The bag of each position: how many bags begin at it or before, less 1. Before the first offset that is no bag at all."""

    bags = int(offsets.shape[0])
    starts = index_add(
        zeros(count + 1, dtype=int64), 0, offsets.to(int64), zeros(bags, dtype=int64) + 1
    )
    bag = cumsum(starts, 0)[:count] - 1
    numbered: Tensor = where(bag < 0, bags, bag)
    return numbered


def _sums(found: Tensor, bag: Tensor, bags: int, counted: Tensor | None, mean: bool) -> Tensor:

    width = int(found.shape[1])
    if counted is not None:
        found = where(counted.unsqueeze(1), found, 0.0)
    place = found.device
    total: Tensor = index_add(zeros(bags, width, dtype=found.dtype, device=place), 0, bag, found)
    if not mean:
        return total
    ones = ones_like(bag) if counted is None else counted.to(int64)
    sizes = index_add(zeros(bags, dtype=int64, device=place), 0, bag, ones)
    mean_of: Tensor = total / clamp_min(sizes, 1).to(found.dtype).unsqueeze(1)
    return mean_of


def _largest(found: Tensor, bag: Tensor, bags: int, counted: Tensor | None) -> Tensor:
    """The largest of each bag, by comparing every bag with every row: bags times as much work as the sums, but nothing stored."""

    width = int(found.shape[1])
    if not int(found.shape[0]):
        nothing: Tensor = zeros(bags, width, dtype=found.dtype, device=found.device) + found.sum()
        return nothing
    member = bag.unsqueeze(0).eq(arange(bags).unsqueeze(1))
    if counted is not None:
        member = member & counted.unsqueeze(0)
    scores = where(member.unsqueeze(2), found.detach().unsqueeze(0), float("-inf"))
    best = gather(found, 0, argmax(scores, 1))
    largest: Tensor = where(any_of(member, 1, keepdim=True), best, 0.0)
    return largest
