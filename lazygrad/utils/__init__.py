"""What PyTorch keeps in torch.utils; each part is imported when it is named."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = ("checkpoint", "data", "dlpack")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
