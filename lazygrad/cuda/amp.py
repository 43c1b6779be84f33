"""torch.cuda.amp: autocast and GradScaler for GPUs, as they were spelled before torch.amp."""

from __future__ import annotations

import functools

from ..amp import GradScaler as AnyScaler
from ..amp import autocast as any_autocast
from ..amp import custom_bwd as any_custom_bwd
from ..amp import custom_fwd as any_custom_fwd
from ..ir.dtype import DType, float16


class autocast(any_autocast):
    """autocast("cuda", ...). Same as torch.cuda.amp.autocast."""

    def __init__(
        self, enabled: bool = True, dtype: DType = float16, cache_enabled: bool = True
    ) -> None:
        super().__init__("cuda", dtype, enabled, cache_enabled)


class GradScaler(AnyScaler):
    """GradScaler("cuda", ...). Same as torch.cuda.amp.GradScaler."""

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        super().__init__(
            "cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled
        )


custom_fwd = functools.partial(any_custom_fwd, device_type="cuda")
custom_bwd = functools.partial(any_custom_bwd, device_type="cuda")
