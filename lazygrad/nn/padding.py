"""Padding layers: constant, mirrored, repeated or circular, over one to three axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ..functional.padding import pad
from ..tensor import Tensor
from .convolution import sizes_of
from .module import Module

Sizes = int | Sequence[int]


class _Padding(Module):
    """Padding by `padding`, two amounts an axis from the last one on; a number stands for all of them."""

    rank: ClassVar[int]
    mode: ClassVar[str]
    value: float | None = None

    def __init__(self, padding: Sizes) -> None:
        super().__init__()
        self.padding: tuple[int, ...] = sizes_of(padding, 2 * self.rank)

    def forward(self, input: Tensor) -> Tensor:
        return pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Padding):
    mode = "constant"

    def __init__(self, padding: Sizes, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Sizes) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ReflectionPad(_Padding):
    mode = "reflect"


class _ReplicationPad(_Padding):
    mode = "replicate"


class _CircularPad(_Padding):
    mode = "circular"


class ConstantPad1d(_ConstantPad):
    """`value` before and after the last axis. Same as torch.nn.ConstantPad1d."""

    rank = 1


class ConstantPad2d(_ConstantPad):
    """`value` around the last two axes. Same as torch.nn.ConstantPad2d."""

    rank = 2


class ConstantPad3d(_ConstantPad):
    """`value` around the last three axes. Same as torch.nn.ConstantPad3d."""

    rank = 3


class ZeroPad1d(_ZeroPad):
    """Zeros before and after the last axis. Same as torch.nn.ZeroPad1d."""

    rank = 1


class ZeroPad2d(_ZeroPad):
    """Zeros around the last two axes. Same as torch.nn.ZeroPad2d."""

    rank = 2


class ZeroPad3d(_ZeroPad):
    """Zeros around the last three axes. Same as torch.nn.ZeroPad3d."""

    rank = 3


class ReflectionPad1d(_ReflectionPad):
    """The last axis mirrored at its ends. Same as torch.nn.ReflectionPad1d."""

    rank = 1


class ReflectionPad2d(_ReflectionPad):
    """The last two axes mirrored at their ends. Same as torch.nn.ReflectionPad2d."""

    rank = 2


class ReflectionPad3d(_ReflectionPad):
    """The last three axes mirrored at their ends. Same as torch.nn.ReflectionPad3d."""

    rank = 3


class ReplicationPad1d(_ReplicationPad):
    """The end elements of the last axis repeated. Same as torch.nn.ReplicationPad1d."""

    rank = 1


class ReplicationPad2d(_ReplicationPad):
    """The end elements of the last two axes repeated. Same as torch.nn.ReplicationPad2d."""

    rank = 2


class ReplicationPad3d(_ReplicationPad):
    """The end elements of the last three axes repeated. Same as torch.nn.ReplicationPad3d."""

    rank = 3


class CircularPad1d(_CircularPad):
    """The last axis as a ring. Same as torch.nn.CircularPad1d."""

    rank = 1


class CircularPad2d(_CircularPad):
    """The last two axes as rings. Same as torch.nn.CircularPad2d."""

    rank = 2


class CircularPad3d(_CircularPad):
    """The last three axes as rings. Same as torch.nn.CircularPad3d."""

    rank = 3
