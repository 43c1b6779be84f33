"""Stacks and splits along an axis of a fixed number: hstack, vstack, dstack, column_stack, hsplit, vsplit, dsplit; atleast_1d, 2d, 3d.

In: tensors, or one tensor. Out: one tensor, or views of its parts. Tensors of too few axes get axes of size 1, as numpy's do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from .joining import cat, require_list, tensor_split
from .registry import function
from .shaping import reshape, unsqueeze

# --- axes of size 1


def _row(input: Tensor) -> Tensor:
    return input if input.ndim else reshape(input, (1,))


def _matrix(input: Tensor) -> Tensor:
    return input if input.ndim > 1 else unsqueeze(_row(input), 0)


def _block(input: Tensor) -> Tensor:
    return input if input.ndim > 2 else unsqueeze(_matrix(input), -1)


def _column(input: Tensor) -> Tensor:
    return input if input.ndim > 1 else reshape(input, (input.numel(), 1))


def _at_least(name: str, rank: int, shaped: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    def run(*tensors: Any) -> Any:
        if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
            return tuple([shaped(each) for each in tensors[0]])
        if len(tensors) == 1:
            return shaped(tensors[0])
        return tuple([shaped(each) for each in tensors])

    run.__name__ = run.__qualname__ = name
    run.__doc__ = (
        f"The tensor, or each of several, with at least {rank} axes. Same as torch.{name}."
    )
    return function(name, method=False)(run)


atleast_1d = _at_least("atleast_1d", 1, _row)
atleast_2d = _at_least("atleast_2d", 2, _matrix)
atleast_3d = _at_least("atleast_3d", 3, _block)

# --- together


@function("hstack", method=False, out=True)
def hstack(tensors: Any) -> Tensor:
    """Along the second axis, vectors along the first. Same as torch.hstack."""
    given = [_row(each) for each in require_list("hstack", tensors)]
    return cat(given, 0 if given[0].ndim == 1 else 1)


@function("vstack", "row_stack", method=False, out=True)
def vstack(tensors: Any) -> Tensor:
    """Along the first axis, vectors as rows. Same as torch.vstack."""
    return cat([_matrix(each) for each in require_list("vstack", tensors)], 0)


@function("dstack", method=False, out=True)
def dstack(tensors: Any) -> Tensor:
    """Along the third axis, matrices (m, n) as (m, n, 1), vectors (n,) as (1, n, 1). Same as torch.dstack."""
    return cat([_block(each) for each in require_list("dstack", tensors)], 2)


@function("column_stack", method=False, out=True)
def column_stack(tensors: Any) -> Tensor:
    """Along the second axis, vectors as columns. Same as torch.column_stack."""
    return cat([_column(each) for each in require_list("column_stack", tensors)], 1)


# --- apart


@function("hsplit")
def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along the second axis, of vectors the first. Same as torch.hsplit."""
    return _split_evenly("hsplit", input, indices_or_sections, 0 if input.ndim == 1 else 1, 1)


@function("vsplit")
def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along the first axis into equal parts. Same as torch.vsplit."""
    return _split_evenly("vsplit", input, indices_or_sections, 0, 2)


@function("dsplit")
def dsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along the third axis into equal parts. Same as torch.dsplit."""
    return _split_evenly("dsplit", input, indices_or_sections, 2, 3)


def _split_evenly(
    name: str, input: Tensor, indices_or_sections: Any, axis: int, least: int
) -> tuple[Tensor, ...]:
    """`tensor_split` of an axis that must have as many equal parts as are asked for."""
    if input.ndim < least:
        raise RuntimeError(
            f"torch.{name} requires a tensor with at least {least} dimension{'s' * (least > 1)}, but got a tensor with "
            f"{input.ndim} dimensions!"
        )
    if isinstance(indices_or_sections, str):
        raise TypeError(
            f"{name}() received an invalid combination of arguments - got (Tensor, str)"
        )
    if isinstance(indices_or_sections, int):
        size = int(input.shape[axis])
        if indices_or_sections == 0 or size % indices_or_sections:
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {axis}, but the size of the dimension {size} is not "
                f"divisible by the split_size {indices_or_sections}!"
            )
    return tensor_split(input, indices_or_sections, axis)
