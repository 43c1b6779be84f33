"""Convolutions of one to three spatial axes, and their transposes.

In: (N, C, *sizes) and (M, C / group, *kernel). Out: (N, M, *sizes). Paddings that differ at the two ends of an axis are added before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import lazygrad as lg

from ..nn import functional
from ..tensor import Tensor
from .elements import tensor_of
from .shaping import pad_amounts
from .table import operator

Ints = Sequence[int]


def paddings(
    sizes: Ints, kernel: Ints, strides: Ints, dilations: Ints, pads: Ints | None, auto_pad: str
) -> list[tuple[int, int]]:
    """What is added before and behind each spatial axis."""
    rank = len(sizes)
    if auto_pad in ("NOTSET", ""):
        given = list(pads) if pads else [0] * (2 * rank)
        return [(given[axis], given[axis + rank]) for axis in range(rank)]
    if auto_pad == "VALID":
        return [(0, 0)] * rank
    found = []
    for size, window, stride, dilation in zip(sizes, kernel, strides, dilations):
        reach = (window - 1) * dilation + 1
        total = max((-(-size // stride) - 1) * stride + reach - size, 0)
        small, large = total // 2, total - total // 2
        found.append((small, large) if auto_pad == "SAME_UPPER" else (large, small))
    return found


def padded(input: Tensor, amounts: Sequence[tuple[int, int]], value: float = 0) -> Any:
    """The spatial axes with amounts before and behind."""
    return pad_amounts(input, {axis + 2: pair for axis, pair in enumerate(amounts)}, value)


@operator("Conv", 1)
def convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, *, auto_pad: str = "NOTSET",
    dilations: Ints | None = None, group: int = 1, kernel_shape: Ints | None = None, pads: Ints | None = None,
    strides: Ints | None = None,
) -> Any:  # fmt: skip
    rank = input.ndim - 2
    step, apart = tuple(strides or (1,) * rank), tuple(dilations or (1,) * rank)
    amounts = paddings(input.shape[2:], weight.shape[2:], step, apart, pads, auto_pad)
    if any(before != behind for before, behind in amounts):
        input, amounts = padded(input, amounts), [(0, 0)] * rank
    convolve = getattr(functional, f"conv{rank}d")
    return convolve(input, weight, bias, step, tuple(before for before, _ in amounts), apart, group)


@operator("ConvTranspose", 1)
def transposed_convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, *, auto_pad: str = "NOTSET",
    dilations: Ints | None = None, group: int = 1, kernel_shape: Ints | None = None,
    output_padding: Ints | None = None, output_shape: Ints | None = None, pads: Ints | None = None,
    strides: Ints | None = None,
) -> Any:  # fmt: skip
    """The whole transpose, of which the paddings are cut off and the output padding added, as the standard defines it."""
    rank = input.ndim - 2
    step, apart = tuple(strides or (1,) * rank), tuple(dilations or (1,) * rank)
    more = tuple(output_padding or (0,) * rank)
    kernel = weight.shape[2:]
    whole = [
        (size - 1) * stride + (window - 1) * dilation + 1 + extra
        for size, stride, window, dilation, extra in zip(input.shape[2:], step, kernel, apart, more)
    ]
    if output_shape:
        wanted = list(output_shape)[-rank:]
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [size * stride for size, stride in zip(input.shape[2:], step)]
    else:
        wanted = []
    if wanted:
        amounts = []
        for size, asked in zip(whole, wanted):
            total = size - asked
            half = total // 2
            amounts.append(
                (half, total - half) if auto_pad == "SAME_UPPER" else (total - half, half)
            )
    else:
        amounts = paddings(input.shape[2:], kernel, step, apart, pads, auto_pad)
    transpose = getattr(functional, f"conv_transpose{rank}d")
    even = all(before == behind and before >= 0 for before, behind in amounts) and all(
        extra < max(stride, dilation) for extra, stride, dilation in zip(more, step, apart)
    )
    if even:
        cut = tuple(before for before, _ in amounts)
        return transpose(input, weight, bias, step, cut, more, group, apart)
    result = transpose(input, weight, None, step, 0, 0, group, apart)
    result = padded(
        result, [(-before, extra - behind) for (before, behind), extra in zip(amounts, more)]
    )
    return result if bias is None else result + bias.reshape(1, -1, *[1] * rank)


@operator("DeformConv", 19)
def deformable_convolution(
    input: Tensor, weight: Tensor, offset: Tensor, bias: Tensor | None = None, mask: Tensor | None = None, *,
    dilations: Ints | None = None, group: int = 1, kernel_shape: Ints | None = None, offset_group: int = 1,
    pads: Ints | None = None, strides: Ints | None = None,
) -> Any:  # fmt: skip
    """A convolution of two axes whose windows read between elements: offset (N, groups * kernel * 2, *sizes) moves each place."""
    batch, channels, height, width = input.shape
    rows, columns = offset.shape[2:]
    kernel = tuple(weight.shape[2:])
    step, apart = strides or (1, 1), dilations or (1, 1)
    amounts = paddings((height, width), kernel, step, apart, pads, "NOTSET")
    count = kernel[0] * kernel[1]
    inside = np.indices(kernel).reshape(2, count, 1, 1) * np.reshape(apart, (2, 1, 1, 1))
    starts = np.stack(
        np.meshgrid(
            np.arange(rows) * step[0] - amounts[0][0],
            np.arange(columns) * step[1] - amounts[1][0],
            indexing="ij",
        )
    )
    places = tensor_of((inside + starts[:, None]).astype(np.float32)).to(input.dtype)
    moved = offset.reshape(batch * offset_group, count, 2, rows, columns).transpose(1, 2) + places
    # grid_sample goes from -1 to 1 between the outer edges, x first; outside of the input it reads 0
    y, x = (moved[:, axis] * 2 + 1 for axis in (0, 1))
    grid = lg.stack([x / width - 1, y / height - 1], -1).reshape(-1, count * rows, columns, 2)
    signal = input.reshape(batch * offset_group, channels // offset_group, height, width)
    read = functional.grid_sample(signal, grid, "bilinear", "zeros", False)
    read = read.reshape(batch, offset_group, channels // offset_group, count, rows, columns)
    if mask is not None:
        read = read * mask.reshape(batch, offset_group, 1, count, rows, columns)
    parts = read.reshape(batch, group, channels // group * count, rows * columns)
    factors = weight.reshape(group, weight.shape[0] // group, -1)
    result = (factors @ parts).reshape(batch, weight.shape[0], rows, columns)
    return result if bias is None else result + bias.reshape(-1, 1, 1)
