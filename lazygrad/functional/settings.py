"""The defaults that creation reads: the dtype of floats and the device. Changed by set_default_dtype and set_default_device.

Beside them what PyTorch lets programs ask for and lazygrad does in any case, or has no use for: it is remembered, so that it reads back.
"""

from __future__ import annotations

from typing import Any

from ..ir.dtype import DType, float32
from ..recipes import forget
from ..runtime import schedules


class Defaults:
    """The one record of defaults; `device` None means the device that the configuration names."""

    __slots__ = (
        "dtype", "device", "deterministic", "warn_only", "matmul_precision", "warn_always",
    )  # fmt: skip

    def __init__(self) -> None:
        self.dtype: DType = float32
        self.device: str | None = None
        self.deterministic = self.warn_only = self.warn_always = False
        self.matmul_precision = "highest"


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


# --- remembered


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for results that are the same from run to run, as they are in any case but for sums of a scatter on a GPU. Same as torch.use_deterministic_algorithms."""
    DEFAULTS.deterministic, DEFAULTS.warn_only = bool(mode), bool(mode and warn_only)
    schedules.ask_deterministic(DEFAULTS.deterministic)


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was told. Same as torch.are_deterministic_algorithms_enabled."""
    return DEFAULTS.deterministic


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """What it was told of warnings. Same as torch.is_deterministic_algorithms_warn_only_enabled."""
    return DEFAULTS.warn_only


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """The same as a number or word: 0 "default", 1 "warn", 2 "error".

    Raises:
        RuntimeError: another. TypeError: neither number nor word.
    """
    if not isinstance(debug_mode, (int, str)):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    modes: list[int | str] = [0, 1, 2] if isinstance(debug_mode, int) else ["default", "warn", "error"]  # fmt: skip
    if debug_mode not in modes:
        raise RuntimeError(
            f"invalid value of debug_mode, expected one of {modes}, but got {debug_mode}"
        )
    number = modes.index(debug_mode)
    use_deterministic_algorithms(number > 0, warn_only=number == 1)


def get_deterministic_debug_mode() -> int:
    """The mode as a number. Same as torch.get_deterministic_debug_mode."""
    return (1 if DEFAULTS.warn_only else 2) if DEFAULTS.deterministic else 0


def set_float32_matmul_precision(precision: str) -> None:
    """Say how exact products of float32 have to be: "highest", "high" or "medium". Here they are float32 throughout.

    Raises:
        RuntimeError: another word.

    Same as torch.set_float32_matmul_precision.
    """
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(
            f"{precision} is not one of 'highest', 'high', or 'medium'; the current setting is {DEFAULTS.matmul_precision}"
        )
    DEFAULTS.matmul_precision = precision


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` was told. Same as torch.get_float32_matmul_precision."""
    return DEFAULTS.matmul_precision


def set_warn_always(b: bool) -> None:
    """Ask for warnings each time. Same as torch.set_warn_always."""
    DEFAULTS.warn_always = bool(b)


def is_warn_always_enabled() -> bool:
    """What `set_warn_always` was told. Same as torch.is_warn_always_enabled."""
    return DEFAULTS.warn_always


def set_flush_denormal(mode: bool) -> bool:
    """False: denormal numbers are never flushed. Same as torch.set_flush_denormal where that is not supported."""
    return False
