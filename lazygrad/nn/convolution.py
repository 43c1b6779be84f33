"""Convolution layers, and transposed ones: a weight and a bias, and how the windows lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ..functional.convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from ..functional.padding import pad
from ..ir.dtype import DType
from ..tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter, empty_parameter

Sizes = int | Sequence[int]

_MODES = ("zeros", "reflect", "replicate", "circular")


def sizes_of(value: Any, rank: int) -> tuple[Any, ...]:
    """A number for each spatial axis, as PyTorch's modules keep it."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank


class _Convolution(Module):
    """What the six layers share: arguments, parameters, the initial distribution and the repr."""

    rank: ClassVar[int]
    transposed: ClassVar[bool] = False
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes, padding: str | Sizes,
        dilation: Sizes, output_padding: Sizes, groups: int, bias: bool, padding_mode: str, device: Any,
        dtype: DType | None,
    ) -> None:  # fmt: skip
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        if padding_mode not in _MODES:
            raise ValueError(f"padding_mode must be one of {_MODES}, but got {padding_mode=}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size: tuple[int, ...] = sizes_of(kernel_size, self.rank)
        self.stride: tuple[int, ...] = sizes_of(stride, self.rank)
        self.dilation: tuple[int, ...] = sizes_of(dilation, self.rank)
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(
                    f"Invalid padding string {padding!r}, should be one of {{'same', 'valid'}}"
                )
            if padding == "same" and any(each != 1 for each in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        self.padding = padding if isinstance(padding, str) else sizes_of(padding, self.rank)
        self.output_padding: tuple[int, ...] = sizes_of(output_padding, self.rank)
        self.groups = groups
        self.padding_mode = padding_mode
        channels = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (channels[0], channels[1] // groups, *self.kernel_size)
        self.weight = empty_parameter(shape, device, dtype)
        self.register_parameter(
            "bias", empty_parameter((out_channels,), device, dtype) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight and the bias from U(-b, b), b = 1 / sqrt(elements of the weight that make one of the result)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan = math.prod(self.weight.shape[1:])
            if fan:
                bound = 1 / math.sqrt(fan)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        ]
        none = (0,) * self.rank
        if self.padding != none:
            parts.append(f"padding={self.padding}")
        if self.dilation != (1,) * self.rank:
            parts.append(f"dilation={self.dilation}")
        if self.output_padding != none:
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Forward(_Convolution):
    """A convolution; `function` computes it."""

    function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: str | Sizes = 0,
        dilation: Sizes = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Any = None,
        dtype: DType | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode, device,
            dtype,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        run = type(self).function
        if self.padding_mode == "zeros":
            return run(
                input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
            )
        padded = pad(input, self._amounts(), mode=self.padding_mode)
        return run(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def _amounts(self) -> list[int]:
        """The padding before and after, from the last axis on."""
        amounts: list[int] = []
        for axis in reversed(range(self.rank)):
            if not isinstance(self.padding, str):
                amounts += [self.padding[axis]] * 2
                continue
            reach = self.dilation[axis] * (self.kernel_size[axis] - 1)
            total = reach if self.padding == "same" else 0
            amounts += [total // 2, total - total // 2]
        return amounts


class Conv1d(_Forward):
    """A learnt convolution of (N, C, L) or (C, L); see `Conv2d`. Same as torch.nn.Conv1d."""

    rank = 1
    function = staticmethod(conv1d)


class Conv2d(_Forward):
    """A learnt convolution of (N, C, H, W) or (C, H, W). Same as torch.nn.Conv2d, the initial distribution included.

    Args:
        in_channels: C; `out_channels`: the channels of the result.
        kernel_size: the sizes of a window; `stride`: the distance between windows; `dilation`: inside one.
        padding: what is added at each end, "valid" (nothing) or "same" (as much as keeps the size).
        groups: the channels are cut into so many groups that do not see each other.
        bias: whether to add a learnt bias.
        padding_mode: "zeros", "reflect", "replicate" or "circular".

    Raises:
        ValueError: groups does not divide the channels; an unknown padding or padding_mode.
    """

    rank = 2
    function = staticmethod(conv2d)


class Conv3d(_Forward):
    """A learnt convolution of (N, C, D, H, W) or (C, D, H, W); see `Conv2d`. Same as torch.nn.Conv3d."""

    rank = 3
    function = staticmethod(conv3d)


class _Transposed(_Convolution):
    """A transposed convolution; `function` computes it."""

    transposed = True
    function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Sizes = 0,
        output_padding: Sizes = 0, groups: int = 1, bias: bool = True, dilation: Sizes = 1,
        padding_mode: str = "zeros", device: Any = None, dtype: DType | None = None,
    ) -> None:  # fmt: skip
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        if isinstance(padding, str):
            raise TypeError(
                f"{type(self).__name__}: argument 'padding' must be int or tuple of ints, not str"
            )
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        extra = self.output_padding if output_size is None else self._extra(input, output_size)
        return type(self).function(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )  # fmt: skip

    def _extra(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output_padding that gives `output_size`.

        Raises:
            ValueError: none does, or there are too few or too many sizes.
        """
        lead = input.ndim - self.rank
        wanted = list(output_size)
        if len(wanted) == lead + self.rank:
            wanted = wanted[lead:]
        if len(wanted) != self.rank:
            raise ValueError(
                f"ConvTranspose{self.rank}D: for {input.ndim}D input, output_size must have {self.rank} or "
                f"{lead + self.rank} elements (got {len(output_size)})"
            )
        least = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1
            for n, s, p, d, k in zip(
                input.shape[lead:], self.stride, self.padding, self.dilation, self.kernel_size, strict=True
            )
        ]  # fmt: skip
        most = [size + stride - 1 for size, stride in zip(least, self.stride, strict=True)]
        if any(not low <= n <= high for low, n, high in zip(least, wanted, most, strict=True)):
            raise ValueError(
                f"requested an output size of {tuple(output_size)}, but valid sizes range from {least} to {most} "
                f"(for an input of {input.shape[lead:]})"
            )
        return tuple(n - low for n, low in zip(wanted, least, strict=True))


class ConvTranspose1d(_Transposed):
    """A learnt transposed convolution of (N, C, L) or (C, L); see `ConvTranspose2d`. Same as torch.nn.ConvTranspose1d."""

    rank = 1
    function = staticmethod(conv_transpose1d)


class ConvTranspose2d(_Transposed):
    """A learnt transposed convolution of (N, C, H, W) or (C, H, W). Same as torch.nn.ConvTranspose2d.

    Its arguments are those of `Conv2d`, of which it is the transpose, and `output_padding`: elements added at one end of the result.
    `forward` takes an `output_size` in its place, for the sizes that several inputs of Conv2d share.

    Raises:
        ValueError: groups does not divide the channels; a padding_mode other than "zeros".
    """

    rank = 2
    function = staticmethod(conv_transpose2d)


class ConvTranspose3d(_Transposed):
    """A learnt transposed convolution of (N, C, D, H, W) or (C, D, H, W); see `ConvTranspose2d`. Same as torch.nn.ConvTranspose3d."""

    rank = 3
    function = staticmethod(conv_transpose3d)
