"""The defaults that creation reads: the dtype of floats and the device. Changed by set_default_dtype and set_default_device."""

from __future__ import annotations

from typing import Any

from ..ir.dtype import DType, float32
from ..recipes import forget


class Defaults:
    """The one record of defaults; `device` None means the device that the configuration names."""

    __slots__ = ("dtype", "device")

    def __init__(self) -> None:
        self.dtype: DType = float32
        self.device: str | None = None


DEFAULTS = Defaults()


def default_dtype() -> DType:
    """The dtype that Python floats become."""
    return DEFAULTS.dtype


def get_default_dtype() -> DType:
    """The dtype of tensors made of Python floats, as torch.get_default_dtype."""
    return DEFAULTS.dtype


def set_default_dtype(d: Any) -> None:
    """Set the dtype of tensors made of Python floats.

    Raises:
        TypeError: not a floating dtype.
    """
    if not isinstance(d, DType) or not d.is_floating_point:
        raise TypeError(f"only floating-point types are supported as the default type, got {d!r}")
    DEFAULTS.dtype = d
    forget()
