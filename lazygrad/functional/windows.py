"""Arguments of operators with windows: a number for every spatial axis or one for each, and how many windows there are.

In: what the user passed for kernel_size, stride, padding, dilation. Out: tuples of plain ints, one for each spatial axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..tensor import Tensor
from .arguments import describe_operands, sizes_text

Sizes = int | Sequence[int]
"""A number for all spatial axes, or one for each."""


def per_axis(name: str, argument: str, value: Any, rank: int) -> tuple[int, ...]:
    """`value` for each of `rank` spatial axes.

    Raises:
        TypeError: it is neither an int nor a sequence of ints.
        RuntimeError: there are neither one nor `rank` of them.
    """
    if isinstance(value, bool) or not (
        hasattr(value, "__index__") or isinstance(value, (tuple, list))
    ):
        raise TypeError(
            f"{name}(): argument '{argument}' must be tuple of ints, not {type(value).__name__}"
        )
    values = [value] if hasattr(value, "__index__") else list(value)
    for position, each in enumerate(values, 1):
        if isinstance(each, bool) or not hasattr(each, "__index__"):
            raise TypeError(
                f"{name}(): argument '{argument}' failed to unpack the object at pos {position} with error "
                f'"type must be tuple of ints,but got {type(each).__name__}"'
            )
    numbers = [int(each.__index__()) for each in values]
    if len(numbers) == 1:
        numbers *= rank
    if len(numbers) != rank:
        raise RuntimeError(
            f"{name}: expected {argument} to be a single integer value or a list of {rank} values to match the "
            f"{name} dimensions, but got {argument}={numbers}"
        )
    return tuple(numbers)


def require_rank(name: str, input: Tensor, rank: int) -> bool:
    """Whether the input (N, C, *sizes) or (C, *sizes) has a batch axis.

    Raises:
        RuntimeError: it has another number of axes.
    """
    if input.ndim not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"{name}: Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {name}, but got input of size: "
            f"{sizes_text(input.shape)}" + describe_operands(input=input)
        )
    return input.ndim == rank + 2
