"""The older spectral_norm: a module has `weight_orig`, `weight_u` and `weight_v`, and its weight is computed before each call."""

from __future__ import annotations

from typing import Any

from ...autograd.grad_mode import no_grad
from ...tensor import Tensor
from .. import functional
from ..convolution import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ..module import Module
from ..parameter import Parameter


class SpectralNorm:
    """The hook that divides a weight by its largest singular value, which power iterations follow from call to call in training."""

    def __init__(
        self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.name = name
        self.dim = dim
        self.n_power_iterations = n_power_iterations
        self.eps = eps

    def matrix(self, weight: Tensor) -> Tensor:
        """The weight as a matrix whose rows are its slices along `dim`."""
        made: Tensor = weight.movedim(self.dim, 0).flatten(1)
        return made

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """The weight; its singular vectors are followed first, if that is asked for."""
        weight, u, v = (getattr(module, f"{self.name}_{part}") for part in ("orig", "u", "v"))
        matrix = self.matrix(weight)
        if do_power_iteration:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(functional.normalize(matrix.t().mv(u), dim=0, eps=self.eps))
                    u.copy_(functional.normalize(matrix.mv(v), dim=0, eps=self.eps))
            u, v = u.clone(), v.clone()  # what a later call writes is not what this gradient reads
        scaled: Tensor = weight / u.dot(matrix.mv(v))
        return scaled

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a weight by its largest singular value. Same as torch.nn.utils.spectral_norm.

    Args:
        n_power_iterations: how many steps follow the singular value at each call in training.
        eps: the least norm that a vector is divided by.
        dim: whose slices are the rows of the matrix: 1 for transposed convolutions, else 0.

    Raises:
        RuntimeError: the weight has it already.
        ValueError: there are no iterations; the parameter is None.
    """
    if dim is None:
        dim = int(isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)))
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            raise RuntimeError(
                f"Cannot register two spectral_norm hooks on the same parameter {name}"
            )
    made = SpectralNorm(name, n_power_iterations, dim, eps)
    weight = module._parameters[name]
    if weight is None:
        raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
    with no_grad():
        sides = [
            functional.normalize(weight.new_empty(size).normal_(0, 1), dim=0, eps=eps)
            for size in made.matrix(weight).shape
        ]
    delattr(module, name)
    module.register_parameter(f"{name}_orig", weight)
    setattr(module, name, weight.data)
    for part, side in zip("uv", sides):
        module.register_buffer(f"{name}_{part}", side)
    module.register_forward_pre_hook(made)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight a plain parameter again. Same as torch.nn.utils.remove_spectral_norm.

    Raises:
        ValueError: it has no spectral norm.
    """
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, SpectralNorm) and hook.name == name:
            with no_grad():
                weight = hook.compute_weight(module, do_power_iteration=False)
            for part in ("", "_u", "_v", "_orig"):
                delattr(module, name + part)
            module.register_parameter(name, Parameter(weight.detach()))
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"spectral_norm of '{name}' not found in {module}")
