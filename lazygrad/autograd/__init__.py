"""Gradients as users call them: backward, grad, hooks, custom functions, and where history is recorded."""

from importlib import import_module
from typing import Any

from .engine import backward, grad
from .function import Function, once_differentiable
from .grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from .variable import Variable

_LATER = {
    "detect_anomaly": "anomaly.detect_anomaly",
    "set_detect_anomaly": "anomaly.set_detect_anomaly",
    "forward_ad": "forward_ad",
    "functional": "functional",
    "gradcheck": "checking.gradcheck",
    "gradgradcheck": "checking.gradgradcheck",
    "GradcheckError": "checking.GradcheckError",
}
"""What is imported when it is named: a module, or a name in one."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, inside = _LATER[name].partition(".")
    found = import_module(f"{__name__}.{module}")
    return getattr(found, inside) if inside else found


__all__ = [
    "Function",
    "Variable",
    "backward",
    "enable_grad",
    "grad",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "once_differentiable",
    "set_grad_enabled",
]
