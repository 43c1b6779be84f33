"""Draws of categories by their probabilities: multinomial.

In: weights of categories. Out: int64 places of those that were drawn. Whether weights are valid is data, so drawing runs what is asked.
"""

from __future__ import annotations

from typing import Any

from ..ir import build
from ..ir.dtype import float64, int64
from ..ir.node import Node, constant, unary, where
from ..ir.op import Op
from ..random import Generator, uniform
from ..reading import realize
from ..results import from_node, tensor_nodes
from ..tensor import Tensor
from .arguments import describe_operands, type_name
from .reductions import argmin
from .registry import function
from .searching import bisect
from .sorting import ordering

MOST_CATEGORIES = 1 << 24
INVALID = "probability tensor contains either `inf`, `nan` or element < 0"
EMPTY = "invalid multinomial distribution (sum of probabilities <= 0)"
NEGATIVE = "invalid multinomial distribution (encountering probability entry < 0)"
INFINITE = "invalid multinomial distribution (encountering probability entry = infinity or NaN)"


@function("multinomial", out=True, exact=True)
def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Categories drawn by their weights, `num_samples` of each row.

    Args:
        input: weights, floating, (categories,) or (rows, categories); a row need not sum to 1.
        replacement: draw a category more than once.

    Returns: int64, (num_samples,) or (rows, num_samples); not differentiable.

    Raises:
        RuntimeError: the rank or dtype does not fit; there are fewer categories than distinct samples; a weight is negative,
            infinite or NaN, or a row has none that is positive.

    Same as torch.multinomial; the draws are those of random.py. With replacement, a draw looks up a uniform number among the
    running sums. Without, categories race: each takes a time that is exponential with its weight as the rate, and the first
    ones to arrive are the sample (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006). float64 throughout,
    since the winners of a race among many have few of the bits of a uniform number.
    """
    _check(input, num_samples, replacement)
    (node,) = tensor_nodes(input.detach())
    rows, categories = input.shape if input.ndim == 2 else (1, *input.shape)
    wide = node.reshape((rows, categories)).cast(float64)
    if not rows:
        places = constant(0, int64, (0, num_samples), wide.place)
        return from_node(places)
    if replacement and num_samples > 1:
        drawn = uniform((rows, num_samples), float64, wide.place, generator)
        places = _looked_up(wide, drawn)
    else:
        drawn = uniform((rows, categories), float64, wide.place, generator)
        places = _winners(wide, drawn, num_samples)
    samples = from_node(places if input.ndim == 2 else places.reshape((num_samples,)))
    problems = from_node(_problems(wide))
    realize(samples, problems)
    _raise_invalid(int(problems.item()), replacement and num_samples > 1)
    return samples


def _check(input: Tensor, num_samples: Any, replacement: Any) -> None:
    """What is known before any data is."""
    if isinstance(num_samples, bool) or not hasattr(num_samples, "__index__"):
        raise TypeError(
            f"multinomial(): argument 'num_samples' (position 2) must be int, not {type(num_samples).__name__}"
        )
    operands = describe_operands(input=input)
    if input.ndim not in (1, 2):
        raise RuntimeError(f"prob_dist must be 1 or 2 dim, not {input.ndim}{operands}")
    if input.dtype.kind != "float":
        raise RuntimeError(
            f"multinomial only supports floating-point dtypes for input, got: {type_name(input.dtype)}{operands}"
        )
    if num_samples <= 0:
        raise RuntimeError(f"cannot sample n_sample <= 0 samples: {num_samples}{operands}")
    categories = input.shape[-1]
    if not replacement and num_samples > categories:
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement: "
            f"{num_samples} > {categories}{operands}"
        )
    if categories > MOST_CATEGORIES:
        raise RuntimeError(f"number of categories cannot exceed 2^24, but is {categories}")


def _winners(weights: Node, drawn: Node, count: int) -> Node:
    """The `count` categories of each row whose exponential times are the least, the first one first."""
    waiting = unary(Op.LOG, 1.0 - drawn) * -1.0
    times = where(weights.gt(0.0), waiting / weights, float("inf"))
    if count == 1:
        (first,) = tensor_nodes(argmin(from_node(times), 1, keepdim=True))
        return first
    return build.shrink(ordering(times, 1), (0, 0), (times.shape[0], count))


def _looked_up(weights: Node, drawn: Node) -> Node:
    """For each draw the category whose stretch of the row's sum it falls into."""
    sums = build.scan(weights, "add", 1)
    rows, categories = sums.shape
    assert isinstance(categories, int)
    total = build.shrink(sums, (0, categories - 1), (rows, 1))
    found = bisect(sums, drawn * total.expand(drawn.shape), right=True)
    # a product may round up to the sum itself, which ends with the last category that has a weight
    last = bisect(sums, total, right=False).expand(found.shape)
    return where(found.lt(last), found, last)


def _problems(weights: Node) -> Node:
    """Bits: 1 a negative weight or NaN, 2 an infinite one, 4 a row without any that is positive."""
    bad = (~weights.ge(0.0)).cast(int64) | ((~weights.lt(float("inf"))).cast(int64) * 2)
    empty = (~weights.reduce("max", (1,)).gt(0.0)).cast(int64) * 4
    largest = [bit.reduce("max", (0, 1)) for bit in (bad & 1, bad & 2, empty)]
    return (largest[0] | largest[1] | largest[2]).reshape(())


def _raise_invalid(problems: int, replacement: bool) -> None:
    if problems & 3:
        raise RuntimeError((NEGATIVE if problems & 1 else INFINITE) if replacement else INVALID)
    if problems:
        raise RuntimeError(EMPTY)
