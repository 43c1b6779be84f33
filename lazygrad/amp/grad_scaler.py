"""`GradScaler`: losses scaled up before backward, so that small gradients in float16 do not become 0, and steps skipped where large ones overflowed.

In: losses and optimizers. Out: scaled losses, steps with the true gradients. The scale is a number of a program, so a change of it compiles nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from ..autograd.grad_mode import no_grad
from ..functional.creation import full
from ..functional.joining import stack
from ..ir.dtype import float16, float32
from ..tensor import Tensor
from .autocast_mode import _there


class GradScaler:
    """Scale losses, and take steps with unscaled gradients. Same as torch.amp.GradScaler.

    Args:
        device: "cuda", "cpu" or "opencl". A device that is not there warns, and the scaler does nothing.
        init_scale: the first scale.
        growth_factor: what it is multiplied by after `growth_interval` steps in a row without an overflow.
        backoff_factor: what it is multiplied by after an overflow.
        enabled: False makes every method do nothing beside taking the step.

    Raises:
        AssertionError: a growth factor that is not above 1, a backoff factor that is not below.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = device
        if enabled and device == "cuda" and not _there("cuda"):
            warnings.warn(
                "torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        if enabled:
            assert growth_factor > 1.0, "The growth factor must be > 1.0."
            assert backoff_factor < 1.0, "The backoff factor must be < 1.0."
        self._scale = float(init_scale)
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._growth_tracker = 0
        self._optimizers: dict[int, _OfOptimizer] = {}

    def scale(self, outputs: Any) -> Any:
        """A tensor, or a list, tuple or iterable of tensors, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * full((), self._scale, dtype=float32, device=outputs.device)
        if isinstance(outputs, Iterable):
            scaled = [self.scale(each) for each in outputs]
            return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer's parameters by the scale, before they are looked at or clipped.

        Raises:
            RuntimeError: it was called for this optimizer since the last update, or after its step.
            ValueError: gradients in float16, whose parameters are float16 themselves.
        """
        if not self._enabled:
            return
        found = self._of(optimizer)
        if found.unscaled:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if found.stepped:
            raise RuntimeError("unscale_() is being called after step().")
        self._unscale(optimizer, found)

    def _unscale(self, optimizer: Any, found: _OfOptimizer) -> None:
        finite: list[Tensor] = []
        with no_grad():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    gradient = parameter.grad
                    if gradient is None:
                        continue
                    if gradient.dtype is float16:
                        raise ValueError("Attempting to unscale FP16 gradients.")
                    finite.append(gradient.isfinite().all())
                    gradient.mul_(1.0 / self._scale)
        found.finite = stack(finite).all() if finite else None
        found.unscaled = True

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """Unscale the gradients, unless that is done, and take the optimizer's step if none of them is infinite or NaN.

        Returns: what the optimizer's step returns; None for one that is skipped.

        Raises:
            RuntimeError: a closure is given; the second step since the last update; no gradients.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        found = self._of(optimizer)
        if found.stepped:
            raise RuntimeError("step() has already been called since the last update().")
        if not found.unscaled:
            self._unscale(optimizer, found)
        if found.finite is None:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        found.stepped = True
        return optimizer.step(*args, **kwargs) if found.finite.item() else None

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Change the scale by what the steps since the last update met, or to `new_scale`.

        Raises:
            AssertionError: no step was taken.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        else:
            checks = [each.finite for each in self._optimizers.values() if each.finite is not None]
            assert checks, "No inf checks were recorded prior to update."
            if all(check.item() for check in checks):
                self._growth_tracker += 1
                if self._growth_tracker == self._growth_interval:
                    grown = self._scale * self._growth_factor
                    self._scale = grown if grown < 3.4e38 else self._scale
                    self._growth_tracker = 0
            else:
                self._scale *= self._backoff_factor
                self._growth_tracker = 0
        self._optimizers.clear()

    def _of(self, optimizer: Any) -> _OfOptimizer:
        found = self._optimizers.get(id(optimizer))
        if found is None:
            found = self._optimizers[id(optimizer)] = _OfOptimizer(optimizer)
        return found

    # --- the settings

    def get_scale(self) -> float:
        """The scale, 1 for a scaler that is not enabled."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The state, as PyTorch's scaler has it; empty for a scaler that is not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state over.

        Raises:
            RuntimeError: it is empty: the scaler it came from was not enabled.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            )
        self._scale = float(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = int(state_dict["_growth_tracker"])


class _OfOptimizer:
    """What has been done to an optimizer's gradients since the last update."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer  # alive as long as its id is a key
        self.unscaled = False
        self.stepped = False
        self.finite: Tensor | None = None
        """Whether all gradients are finite, to be read."""
