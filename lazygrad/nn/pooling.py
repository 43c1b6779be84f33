"""Pooling layers: what their functions in nn.functional take, kept with the names and the repr that PyTorch's have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..functional import pooling
from ..functional.fractional import fractional_max_pool2d, fractional_max_pool3d
from ..tensor import Tensor
from .convolution import sizes_of
from .module import Module

Sizes = int | Sequence[int]
Parts = int | None | Sequence[int | None]


class _Pool(Module):
    """A module that calls one function with its input and the attributes in `arguments`; `shown` stand in its repr."""

    arguments: ClassVar[tuple[str, ...]]
    shown: ClassVar[tuple[str, ...]]
    function: ClassVar[Any]

    def forward(self, input: Tensor) -> Any:
        given = {name: getattr(self, name) for name in self.arguments}
        return type(self).function(input, **given)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.shown)


class _MaxPool(_Pool):
    shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    arguments = (*shown, "return_indices")

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
        return_indices: bool = False, ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode


class MaxPool1d(_MaxPool):
    """The largest element of each window of (N, C, L) or (C, L); see `MaxPool2d`. Same as torch.nn.MaxPool1d."""

    function = staticmethod(pooling.max_pool1d)


class MaxPool2d(_MaxPool):
    """The largest element of each window of (N, C, H, W) or (C, H, W); see nn.functional.max_pool2d. Same as torch.nn.MaxPool2d."""

    function = staticmethod(pooling.max_pool2d)


class MaxPool3d(_MaxPool):
    """The largest element of each window of (N, C, D, H, W) or (C, D, H, W); see `MaxPool2d`. Same as torch.nn.MaxPool3d."""

    function = staticmethod(pooling.max_pool3d)


class AvgPool1d(_Pool):
    """The mean of each window of (N, C, L) or (C, L); see `AvgPool2d`. Same as torch.nn.AvgPool1d."""

    shown = ("kernel_size", "stride", "padding")
    arguments = (*shown, "ceil_mode", "count_include_pad")
    function = staticmethod(pooling.avg_pool1d)

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size = sizes_of(kernel_size, 1)
        self.stride = sizes_of(kernel_size if stride is None else stride, 1)
        self.padding = sizes_of(padding, 1)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad


class AvgPool2d(_Pool):
    """The mean of each window of (N, C, H, W) or (C, H, W); see nn.functional.avg_pool2d. Same as torch.nn.AvgPool2d."""

    shown = ("kernel_size", "stride", "padding")
    arguments = (*shown, "ceil_mode", "count_include_pad", "divisor_override")
    function = staticmethod(pooling.avg_pool2d)

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override


class AvgPool3d(AvgPool2d):
    """The mean of each window of (N, C, D, H, W) or (C, D, H, W); see `AvgPool2d`. Same as torch.nn.AvgPool3d."""

    function = staticmethod(pooling.avg_pool3d)


class _LPPool(_Pool):
    shown = arguments = ("norm_type", "kernel_size", "stride", "ceil_mode")

    def __init__(
        self, norm_type: float, kernel_size: Any, stride: Sizes | None = None, ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode


class LPPool1d(_LPPool):
    """The p-norm of each window of (N, C, L) or (C, L); see nn.functional.lp_pool2d. Same as torch.nn.LPPool1d."""

    function = staticmethod(pooling.lp_pool1d)


class LPPool2d(_LPPool):
    """The p-norm of each window of (N, C, H, W) or (C, H, W); see nn.functional.lp_pool2d. Same as torch.nn.LPPool2d."""

    function = staticmethod(pooling.lp_pool2d)


class LPPool3d(_LPPool):
    """The p-norm of each window of (N, C, D, H, W) or (C, D, H, W); see nn.functional.lp_pool2d. Same as torch.nn.LPPool3d."""

    function = staticmethod(pooling.lp_pool3d)


class _AdaptiveAvgPool(_Pool):
    shown = arguments = ("output_size",)

    def __init__(self, output_size: Parts) -> None:
        super().__init__()
        self.output_size = output_size


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The means of a fixed number of parts of (N, C, L) or (C, L). Same as torch.nn.AdaptiveAvgPool1d."""

    function = staticmethod(pooling.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The means of a fixed number of parts; see nn.functional.adaptive_avg_pool2d. Same as torch.nn.AdaptiveAvgPool2d."""

    function = staticmethod(pooling.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The means of a fixed number of parts of three axes. Same as torch.nn.AdaptiveAvgPool3d."""

    function = staticmethod(pooling.adaptive_avg_pool3d)


class _AdaptiveMaxPool(_Pool):
    shown = ("output_size",)
    arguments = ("output_size", "return_indices")

    def __init__(self, output_size: Parts, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The largest elements of a fixed number of parts of (N, C, L) or (C, L). Same as torch.nn.AdaptiveMaxPool1d."""

    function = staticmethod(pooling.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest elements of parts; see nn.functional.adaptive_max_pool2d. Same as torch.nn.AdaptiveMaxPool2d."""

    function = staticmethod(pooling.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The largest elements of a fixed number of parts of three axes. Same as torch.nn.AdaptiveMaxPool3d."""

    function = staticmethod(pooling.adaptive_max_pool3d)


class _MaxUnpool(Module):
    rank: ClassVar[int]
    function: ClassVar[Any]

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        super().__init__()
        self.kernel_size = sizes_of(kernel_size, self.rank)
        self.stride = sizes_of(kernel_size if stride is None else stride, self.rank)
        self.padding = sizes_of(padding, self.rank)

    def forward(
        self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None
    ) -> Tensor:
        made: Tensor = type(self).function(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )
        return made

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """What MaxPool1d found, where it found it; see nn.functional.max_unpool2d. Same as torch.nn.MaxUnpool1d."""

    rank = 1
    function = staticmethod(pooling.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    """What MaxPool2d found, where it found it; see nn.functional.max_unpool2d. Same as torch.nn.MaxUnpool2d."""

    rank = 2
    function = staticmethod(pooling.max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    """What MaxPool3d found, where it found it; see nn.functional.max_unpool2d. Same as torch.nn.MaxUnpool3d."""

    rank = 3
    function = staticmethod(pooling.max_unpool3d)


class _FractionalMaxPool(Module):
    rank: ClassVar[int]
    function: ClassVar[Any]
    output_size: tuple[int, ...] | None
    output_ratio: tuple[float, ...] | None

    def __init__(
        self, kernel_size: Sizes, output_size: Sizes | None = None, output_ratio: float | Sequence[float] | None = None,
        return_indices: bool = False, _random_samples: Tensor | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        name, rank = type(self).__name__, self.rank
        self.kernel_size = sizes_of(kernel_size, rank)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else sizes_of(output_size, rank)
        ratio = (output_ratio,) * rank if isinstance(output_ratio, float) else output_ratio
        self.output_ratio = None if ratio is None else tuple(ratio)
        if output_size is None and output_ratio is None:
            raise ValueError(
                f"{name} requires specifying either an output size, or a pooling ratio"
            )
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < each < 1 for each in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input: Tensor) -> Any:
        return type(self).function(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices,
            _random_samples=self._random_samples,
        )  # fmt: skip


class FractionalMaxPool2d(_FractionalMaxPool):
    """The largest element of windows of (N, C, H, W) or (C, H, W) whose places are drawn; see nn.functional.fractional_max_pool2d.

    Raises:
        ValueError: neither or both of size and ratio; a ratio outside of (0, 1).

    Same as torch.nn.FractionalMaxPool2d.
    """

    rank = 2
    function = staticmethod(fractional_max_pool2d)


class FractionalMaxPool3d(_FractionalMaxPool):
    """The same for (N, C, D, H, W) or (C, D, H, W); see `FractionalMaxPool2d`. Same as torch.nn.FractionalMaxPool3d."""

    rank = 3
    function = staticmethod(fractional_max_pool3d)
