"""Differences of neighbours as estimates of a derivative: gradient.

In: samples of a function on a grid. Out: its derivative along each axis, by central differences of second order within and
differences of first or second order at the ends, exact for parabolas on any grid (Fornberg, "Generation of finite difference formulas on
arbitrarily spaced grids", 1988).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.dtype import uint8
from ..tensor import Tensor
from . import arguments
from .joining import cat
from .registry import function
from .shaping import reshape, slice_axis


@function("gradient", method=False)
def gradient(
    input: Tensor, *, spacing: Any = None, dim: int | Sequence[int] | None = None, edge_order: int = 1
) -> list[Tensor]:  # fmt: skip
    """The derivative of samples along each axis of `dim`, or along all.

    Args:
        spacing: the distance of neighbours, a number for all axes or one for each; or where the samples are, a tensor (n,) for each.
        edge_order: 1 or 2, the order of the differences at the ends.

    Returns: a tensor of the input's shape for each axis.

    Raises:
        RuntimeError: not as many distances as axes; an axis with fewer than edge_order + 1 samples; another `edge_order`; uint8.

    Same as torch.gradient.
    """
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    if input.dtype is uint8:
        raise RuntimeError("torch.gradient does not support uint8 input.")
    if dim is None:
        axes = list(range(input.ndim))
    else:
        given = dim if isinstance(dim, (tuple, list)) else (dim,)
        axes = [arguments.axis(each, input.ndim, "gradient") for each in given]
        if len(set(axes)) < len(axes):
            raise RuntimeError("dim appears multiple times in the list of dims")
    for axis in axes:
        if not input.ndim or input.shape[axis] < edge_order + 1:
            raise RuntimeError(
                "torch.gradient expected each dimension size to be at least edge_order+1"
            )
    several = isinstance(spacing, (tuple, list))
    places = list(spacing) if several else [1.0 if spacing is None else spacing] * len(axes)
    if len(places) != len(axes):
        raise RuntimeError(
            f"torch.gradient expected spacing to be unspecified, a scalar, or a list of length {len(axes)}, but got a list of length {len(places)}"
        )
    return [_along(input, axis, at, edge_order) for axis, at in zip(axes, places, strict=True)]


def _along(input: Tensor, axis: int, spacing: Any, edge_order: int) -> Tensor:
    size = int(input.shape[axis])

    def part(tensor: Tensor, start: int, count: int) -> Tensor:
        return slice_axis(tensor, axis, start, start + count, 1)

    if isinstance(spacing, Tensor):
        if spacing.ndim != 1 or spacing.shape[0] != size:
            raise RuntimeError(
                f"torch.gradient expected each element of spacing to be a 1-d tensor with as many elements as there are samples: "
                f"{size}, not {list(spacing.shape)}"
            )
        line = [1] * input.ndim
        line[axis] = size
        at = reshape(spacing, tuple(line))
        steps = part(at, 1, size - 1) - part(at, 0, size - 1)
        first, last = part(steps, 0, 1), part(steps, size - 2, 1)
    else:
        steps = first = last = spacing
    ends = []
    for near, step in ((0, first), (size - 1, last)):
        if edge_order == 1:
            low = min(near, size - 2)
            ends.append((part(input, low + 1, 1) - part(input, low, 1)) / step)
        else:
            ends.append(_end(input, axis, near, steps))
    if size == 2:
        return cat(ends, axis)
    left, middle, right = (part(input, start, size - 2) for start in range(3))
    if isinstance(steps, Tensor):
        before, after = part(steps, 0, size - 2), part(steps, 1, size - 2)
        inner = (
            left * (-after / (before * (before + after)))
            + middle * ((after - before) / (before * after))
            + right * (before / (after * (before + after)))
        )
    else:
        inner = (right - left) / (2.0 * steps)
    return cat([ends[0], inner, ends[1]], axis)


def _end(input: Tensor, axis: int, near: int, steps: Any) -> Tensor:
    """The derivative at an end of the parabola through the three samples there."""
    size, inwards = int(input.shape[axis]), 1 if near == 0 else -1
    samples = [
        slice_axis(input, axis, near + inwards * k, near + inwards * k + 1, 1) for k in range(3)
    ]
    if isinstance(steps, Tensor):
        begin = 0 if near == 0 else size - 2
        short, long = (
            slice_axis(steps, axis, begin + inwards * k, begin + inwards * k + 1, 1) for k in (0, 1)
        )
    else:
        short = long = steps
    made = (
        samples[0] * (-(2.0 * short + long) / (short * (short + long)))
        + samples[1] * ((short + long) / (short * long))
        - samples[2] * (short / (long * (short + long)))
    )
    return made if near == 0 else -made
