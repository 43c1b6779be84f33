"""torch.cuda.amp and torch.cpu.amp: autocast and GradScaler whose device type is known."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

from ..functional.autocasting import default_dtype_of as default_dtype
from .autocast_mode import autocast, custom_bwd, custom_fwd
from .grad_scaler import GradScaler


@functools.cache
def namespace(device_type: str) -> SimpleNamespace:
    """The namespace `amp` of a device type."""

    class of_device(autocast):
        """autocast on this device type. Same as torch.cuda.amp.autocast."""

        def __init__(
            self, enabled: bool = True, dtype: Any = None, cache_enabled: bool = True
        ) -> None:
            super().__init__(
                device_type,
                default_dtype(device_type) if dtype is None else dtype,
                enabled,
                cache_enabled,
            )

    of_device.__name__ = of_device.__qualname__ = "autocast"

    class scaler(GradScaler):
        """GradScaler on this device type. Same as torch.cuda.amp.GradScaler."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(device_type, *args, **kwargs)

    scaler.__name__ = scaler.__qualname__ = "GradScaler"
    return SimpleNamespace(
        autocast=of_device,
        GradScaler=scaler,
        custom_fwd=functools.partial(custom_fwd, device_type=device_type),
        custom_bwd=functools.partial(custom_bwd, device_type=device_type),
    )
