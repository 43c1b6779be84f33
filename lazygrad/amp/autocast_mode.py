"""`autocast`: products in a lower dtype inside a block or a function; and the same for the parts of an autograd.Function.

In: a device type, a dtype. Out: a context manager and decorator. What it does to which operator stands in functional/autocasting.py.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

from ..functional.autocasting import ask_on_gpu, default_dtype_of, lies_on, on_gpu, state
from ..functional.devices import KNOWN
from ..ir.dtype import DType, bfloat16, float16, float64
from ..tensor import Tensor

Run = TypeVar("Run", bound=Callable[..., Any])


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast knows a device type. Same as torch.amp.is_autocast_available."""
    return device_type in KNOWN and device_type != "interpret"


class autocast:
    """Products of matrices and convolutions compute in a lower dtype; what needs it in float32. Same as torch.autocast.

    Args:
        device_type: "cpu", "cuda" or "opencl": tensors elsewhere are left alone.
        dtype: the lower dtype, float16 or bfloat16; by default bfloat16 on the host and float16 on a GPU.
        enabled: False switches autocast off inside the block.
        cache_enabled: taken for PyTorch's sake: equal casts are one value to the compiler, so there is nothing to keep.

    Raises:
        RuntimeError: an unknown device type. ValueError: a device type that is no text.

    As a decorator it holds while the function runs. A device that is not there, and a dtype that is neither, warn and switch it off.
    """

    def __init__(
        self,
        device_type: str,
        dtype: DType | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if not is_autocast_available(device_type):
            raise RuntimeError(
                f"User specified an unsupported autocast device_type '{device_type}'"
            )
        self.device = self.device_type = device_type
        self.fast_dtype = default_dtype_of(device_type) if dtype is None else dtype
        if enabled and self.fast_dtype not in (float16, bfloat16):
            warnings.warn(
                f"In {device_type.upper()} autocast, but the target dtype is not supported. Disabling autocast.\n {device_type.upper()} Autocast "
                f"only supports dtypes of torch.bfloat16, torch.float16 currently.",
                stacklevel=2,
            )
            enabled = False
        if enabled and device_type == "cuda" and not _there("cuda"):
            warnings.warn(
                "User provided device_type of 'cuda', but CUDA is not available. Disabling",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        self._cache_enabled = state.cache if cache_enabled is None else cache_enabled
        self._before: list[tuple[dict[str, DType], dict[str, DType], bool]] = []

    def __enter__(self) -> Self:
        self._before.append((state.active, state.chosen, state.cache))
        others = {name: dtype for name, dtype in state.active.items() if name != self.device_type}
        if self._enabled:
            if on_gpu(self.device_type):
                ask_on_gpu()
            others[self.device_type] = self.fast_dtype
        state.active = others
        state.chosen = {**state.chosen, self.device_type: self.fast_dtype}
        state.cache = self._cache_enabled
        return self

    def __exit__(self, *exception: object) -> None:
        state.active, state.chosen, state.cache = self._before.pop()

    def __call__(self, func: Run) -> Run:
        @functools.wraps(func)
        def called(*args: Any, **kwargs: Any) -> Any:
            with self:
                return func(*args, **kwargs)

        return called  # type: ignore[return-value]


def _there(name: str) -> bool:
    """Whether there is a GPU of a kind; any other device says so itself when it is used."""
    if name != "cuda":
        return True
    from ..runtime.cuda_driver import device_count

    return device_count() > 0


# --- the switches as functions


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether autocast is on for a device type, CUDA unless one is named. Same as torch.is_autocast_enabled."""
    return (device_type or "cuda") in state.active


def set_autocast_enabled(device_type: str, enabled: bool) -> None:
    """Switch autocast on or off until it is switched again. Same as torch.set_autocast_enabled."""
    others = {name: dtype for name, dtype in state.active.items() if name != device_type}
    if enabled:
        if on_gpu(device_type):
            ask_on_gpu()
        others[device_type] = default_dtype_of(device_type)
    state.active = others


def get_autocast_dtype(device_type: str) -> DType:
    """The lower dtype of a device type. Same as torch.get_autocast_dtype."""
    return default_dtype_of(device_type)


def set_autocast_dtype(device_type: str, dtype: DType) -> None:
    """Set the lower dtype of a device type. Same as torch.set_autocast_dtype."""
    state.chosen = {**state.chosen, device_type: dtype}
    if device_type in state.active:
        state.active = {**state.active, device_type: dtype}


def is_autocast_cache_enabled() -> bool:
    """What `cache_enabled` says. Same as torch.is_autocast_cache_enabled."""
    return state.cache


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Set it. Same as torch.set_autocast_cache_enabled."""
    state.cache = enabled


def clear_autocast_cache() -> None:
    """There is no cache: equal casts are one value to the compiler. Same as torch.clear_autocast_cache."""


# --- autograd.Function


def custom_fwd(fwd: Any = None, *, device_type: str, cast_inputs: DType | None = None) -> Any:
    """Decorate the forward of an autograd.Function for autocast.

    Args:
        cast_inputs: while autocast is on, cast floating arguments to this dtype and run the forward with autocast off.

    Raises:
        ValueError: a device type that is no text.

    Same as torch.amp.custom_fwd.
    """
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(*args: Any, **kwargs: Any) -> Any:
        context = args[0]
        context._dtype = get_autocast_dtype(device_type)
        on = is_autocast_enabled(device_type)
        context._fwd_used_autocast = on and cast_inputs is None
        if cast_inputs is None or not on:
            return fwd(*args, **kwargs)
        with autocast(device_type, enabled=False):
            return fwd(
                *_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs)
            )

    return forward


def custom_bwd(bwd: Any = None, *, device_type: str) -> Any:
    """Decorate the backward of an autograd.Function: it runs with autocast as its forward did. Same as torch.amp.custom_bwd."""
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(*args: Any, **kwargs: Any) -> Any:
        context = args[0]
        with autocast(device_type, enabled=context._fwd_used_autocast, dtype=context._dtype):
            return bwd(*args, **kwargs)

    return backward


def _cast(value: Any, kind: str, dtype: DType) -> Any:
    """A tree of arguments with its floating tensors on a device type cast; float64 stays."""
    if isinstance(value, Tensor):
        fits = value.is_floating_point() and value.dtype is not float64
        return value.to(dtype) if fits and lies_on(value, kind) else value
    if isinstance(value, Mapping):
        return {_cast(key, kind, dtype): _cast(each, kind, dtype) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_cast(each, kind, dtype) for each in value])
    return value
