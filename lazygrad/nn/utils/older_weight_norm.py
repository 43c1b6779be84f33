"""The older weight_norm: a module has `weight_g` and `weight_v`, and its weight is computed before each call."""

from __future__ import annotations

from typing import Any

from ...tensor import Tensor
from ..module import Module
from ..parameter import Parameter
from .parametrizations import norm_except


class WeightNorm:
    """The hook that computes a weight before each call."""

    def __init__(self, name: str, dim: int) -> None:
        self.name = name
        self.dim = dim

    def compute_weight(self, module: Module) -> Tensor:
        """The weight, of its lengths and directions."""
        length, direction = (getattr(module, f"{self.name}_{letter}") for letter in "gv")
        weight: Tensor = direction * (length / norm_except(direction, self.dim))
        return weight

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn the length of each slice of a weight along `dim` (None: of the whole) apart. Same as torch.nn.utils.weight_norm.

    Raises:
        RuntimeError: the weight has it already.
    """
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and hook.name == name:
            raise RuntimeError(
                f"Cannot register two weight_norm hooks on the same parameter {name}"
            )
    made = WeightNorm(name, -1 if dim is None else dim)
    weight = getattr(module, name)
    del module._parameters[name]
    module.register_parameter(f"{name}_g", Parameter(norm_except(weight, made.dim).detach()))
    module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    setattr(module, name, made.compute_weight(module))
    module.register_forward_pre_hook(made)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight a plain parameter again. Same as torch.nn.utils.remove_weight_norm.

    Raises:
        ValueError: it has no weight norm.
    """
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, WeightNorm) and hook.name == name:
            weight = hook.compute_weight(module)
            delattr(module, name)
            for letter in "gv":
                del module._parameters[f"{name}_{letter}"]
            setattr(module, name, Parameter(weight.detach()))
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
