"""Pooling: of windows, and of all that a channel has.

In: (N, C, *sizes). Out: (N, C, *sizes). Windows that PyTorch's pooling has too are left to it; others are read as windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import lazygrad as lg

from ..nn import functional
from ..tensor import Tensor
from .convolution import padded, paddings
from .elements import Array
from .table import operator

Ints = Sequence[int]
Amounts = list[tuple[int, int]]


class Windows:
    """Which windows a pooling has: `amounts` is the padding, `beyond` what the last windows need behind it (ceil_mode)."""

    def __init__(
        self, sizes: Ints, kernel: Ints, strides: Ints | None, dilations: Ints | None, pads: Ints | None, auto_pad: str,
        ceil_mode: int,
    ) -> None:  # fmt: skip
        rank = len(kernel)
        self.kernel = tuple(kernel)
        self.strides = tuple(strides or (1,) * rank)
        self.dilations = tuple(dilations or (1,) * rank)
        self.amounts = paddings(sizes, kernel, self.strides, self.dilations, pads, auto_pad)
        self.counts, self.beyond = [], []
        for size, window, stride, dilation, (before, behind) in zip(
            sizes, self.kernel, self.strides, self.dilations, self.amounts
        ):
            room = size + before + behind - (window - 1) * dilation - 1
            count = (-(-room // stride) if ceil_mode else room // stride) + 1
            if ceil_mode and (count - 1) * stride >= size + before:
                count -= 1  # a window must not start behind the input and its padding before
            self.counts.append(count)
            self.beyond.append(max((count - 1) * stride - room, 0))

    def plain(self) -> bool:
        """Whether padding is even, and small enough, for PyTorch's pooling."""
        return not any(self.beyond) and all(
            before == behind and before <= ((window - 1) * dilation + 1) // 2
            for (before, behind), window, dilation in zip(self.amounts, self.kernel, self.dilations)
        )

    def read(self, input: Tensor, value: float) -> Any:
        """(N, C, *counts, *kernel): the elements of each window, `value` where there are none."""
        behind = [
            (before, after + more) for (before, after), more in zip(self.amounts, self.beyond)
        ]
        result = padded(input, behind, value)
        for axis, (window, stride, dilation, count) in enumerate(
            zip(self.kernel, self.strides, self.dilations, self.counts)
        ):
            result = result.unfold(axis + 2, (window - 1) * dilation + 1, stride)
            result = result.narrow(axis + 2, 0, count)[..., ::dilation]
        return result

    def last_axes(self) -> tuple[int, ...]:
        return tuple(range(-len(self.kernel), 0))


@operator("MaxPool", 1)
def max_pool(
    input: Tensor, *, kernel_shape: Ints, strides: Ints | None = None, dilations: Ints | None = None,
    pads: Ints | None = None, auto_pad: str = "NOTSET", ceil_mode: int = 0, storage_order: int = 0, outputs: int,
) -> Any:  # fmt: skip
    """With indices among all elements of the input where they are asked for, in column order if storage_order is 1."""
    sizes = tuple(input.shape[2:])
    windows = Windows(sizes, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    if windows.plain() and outputs == 1 and len(sizes) <= 3:
        pool = getattr(functional, f"max_pool{len(sizes)}d")
        amounts = tuple(before for before, _ in windows.amounts)
        return pool(input, windows.kernel, windows.strides, amounts, windows.dilations)
    lowest = -math.inf if input.dtype.is_floating_point else lg.iinfo(input.dtype).min
    rank = len(sizes)
    parts = windows.read(input, lowest).flatten(-rank)
    if outputs == 1:
        return parts.amax(-1)
    order = tuple(reversed(range(rank))) if storage_order else tuple(range(rank))
    numbers = np.arange(math.prod(sizes)).reshape([sizes[axis] for axis in order])
    places = lg.tensor(np.ascontiguousarray(numbers.transpose(np.argsort(order))))
    places = windows.read(places.reshape(1, 1, *sizes), -1).flatten(-rank).expand(parts.shape)
    # what is padding is no candidate, even where everything is as small
    chosen = lg.where(places < 0, lowest, parts).argmax(-1, keepdim=True)
    first = lg.arange(input.shape[0] * input.shape[1]).reshape(*input.shape[:2], *[1] * rank)
    values, found = (value.gather(-1, chosen).squeeze(-1) for value in (parts, places))
    return values, found + first * math.prod(sizes)


@operator("AveragePool", 7)
def average_pool(
    input: Tensor, *, kernel_shape: Ints, strides: Ints | None = None, dilations: Ints | None = None,
    pads: Ints | None = None, auto_pad: str = "NOTSET", ceil_mode: int = 0, count_include_pad: int = 0,
) -> Any:  # fmt: skip
    """The mean over what a window has of the input, or also of its padding, but never of what ceil_mode adds."""
    sizes = tuple(input.shape[2:])
    windows = Windows(sizes, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    if windows.plain() and set(windows.dilations) == {1} and len(sizes) <= 3:
        pool = getattr(functional, f"avg_pool{len(sizes)}d")
        amounts = tuple(before for before, _ in windows.amounts)
        return pool(input, windows.kernel, windows.strides, amounts, False, bool(count_include_pad))
    axes = windows.last_axes()
    counted = np.ones(sizes, np.float32)
    if count_include_pad:
        counted = np.pad(counted, windows.amounts, constant_values=1)
        inner = Windows(counted.shape, kernel_shape, strides, dilations, None, "VALID", 0)
        inner.counts, inner.beyond = windows.counts, windows.beyond
    else:
        inner = windows
    numbers = inner.read(lg.tensor(counted[None, None]), 0).sum(axes)
    return windows.read(input, 0).sum(axes) / numbers.to(input.dtype)


@operator("LpPool", 2)
def lp_pool(
    input: Tensor, *, kernel_shape: Ints, p: int = 2, strides: Ints | None = None, dilations: Ints | None = None,
    pads: Ints | None = None, auto_pad: str = "NOTSET", ceil_mode: int = 0,
) -> Any:  # fmt: skip
    windows = Windows(input.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    return _norm(windows.read(input, 0), p, windows.last_axes(), False)


def _norm(input: Tensor, p: int, axes: tuple[int, ...], keep: bool) -> Any:
    if p == 1:
        return input.abs().sum(axes, keepdim=keep)
    if p == 2:
        return (input * input).sum(axes, keepdim=keep).sqrt()
    return input.abs().pow(p).sum(axes, keepdim=keep).pow(1 / p)


def _spatial(input: Tensor) -> tuple[int, ...]:
    return tuple(range(2, input.ndim))


@operator("GlobalAveragePool", 1)
def global_average_pool(input: Tensor) -> Any:
    return input.mean(_spatial(input), keepdim=True)


@operator("GlobalMaxPool", 1)
def global_max_pool(input: Tensor) -> Any:
    return input.amax(_spatial(input), keepdim=True)


@operator("GlobalLpPool", 2)
def global_lp_pool(input: Tensor, *, p: int = 2) -> Any:
    return _norm(input, p, _spatial(input), True)


@operator("MaxUnpool", 9)
def max_unpool(
    input: Tensor, indices: Tensor, shape: Array | None = None, *, kernel_shape: Ints, strides: Ints | None = None,
    pads: Ints | None = None,
) -> Any:  # fmt: skip
    """Elements go where their indices say, among all elements of what was pooled; a given shape is larger than that."""
    rank = len(kernel_shape)
    step, amounts = strides or (1,) * rank, list(pads or (0,) * (2 * rank))
    sizes = [
        (size - 1) * stride + window - amounts[axis] - amounts[axis + rank]
        for axis, (size, stride, window) in enumerate(zip(input.shape[2:], step, kernel_shape))
    ]
    whole = (*input.shape[:2], *sizes)
    empty = lg.zeros(math.prod(whole), dtype=input.dtype)
    result = empty.scatter(0, indices.reshape(-1), input.reshape(-1)).reshape(whole)
    if shape is None:
        return result
    return padded(result, [(0, int(size) - have) for size, have in zip(shape[2:], sizes)])
