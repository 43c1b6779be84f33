"""weight_norm and spectral_norm: weights of which length and direction are learned apart, or of a norm of at most one. orthogonal stands beside.

In: a module. Out: the same, whose weight is computed from others at each access. torch.nn.utils.parametrizations.
"""

from __future__ import annotations

from typing import Any

from ...autograd.grad_mode import no_grad
from ...tensor import Tensor
from .. import functional
from ..module import Module
from .orthogonal import orthogonal as orthogonal
from .parametrize import register_parametrization


def norm_except(weight: Tensor, dim: int) -> Tensor:
    """The norms of the slices along one dimension, each with size 1 in the others; () for -1, the norm of all."""
    if dim == -1:
        whole: Tensor = weight.norm()
        return whole
    others = tuple(each for each in range(weight.ndim) if each != dim % weight.ndim)
    norms: Tensor = weight.norm(2, others, keepdim=True) if others else weight.abs()
    return norms


class _WeightNorm(Module):
    """length * direction / |direction|, for each slice along `dim`, or (-1) as a whole."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, length: Tensor, direction: Tensor) -> Tensor:
        return direction * (length / norm_except(direction, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn the length of each slice of a weight along `dim` (None: of the whole) apart from its direction.

    Same as torch.nn.utils.parametrizations.weight_norm: state dicts have `parametrizations.weight.original0` (lengths) and
    `original1`; those with `weight_g` and `weight_v` load, too.

    Raises:
        ValueError: there is no such parameter.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(module: Module, state_dict: Any, prefix: str, *others: Any) -> None:
        old = [f"{prefix}{name}_{letter}" for letter in "gv"]
        if all(key in state_dict for key in old):
            for number, key in enumerate(old):
                new = f"{prefix}parametrizations.{name}.original{number}"
                state_dict[new] = state_dict.pop(key)

    module.register_load_state_dict_pre_hook(rename)
    return module


class _SpectralNorm(Module):
    """The weight over its largest singular value, which power iterations follow from step to step in training."""

    _u: Tensor
    _v: Tensor

    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        ndim = weight.ndim
        if dim >= ndim or dim < -ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim % ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = self._matrix(weight.detach())
            for side, size in zip(("_u", "_v"), matrix.shape):
                draw = matrix.new_empty(size).normal_(0, 1)
                self.register_buffer(side, functional.normalize(draw, dim=0, eps=eps))
            self._follow(matrix, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        """The weight as a matrix whose rows are its slices along `dim`."""
        made: Tensor = weight.movedim(self.dim, 0).flatten(1)
        return made

    def _follow(self, matrix: Tensor, times: int) -> None:
        with no_grad():
            for _ in range(times):
                u = functional.normalize(matrix.mv(self._v), dim=0, eps=self.eps)
                self._u.copy_(u)
                self._v.copy_(functional.normalize(matrix.T.mv(u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            only: Tensor = functional.normalize(weight, dim=0, eps=self.eps)
            return only
        matrix = self._matrix(weight)
        if self.training:
            self._follow(matrix.detach(), self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()
        scaled: Tensor = weight / u.dot(matrix.mv(v))
        return scaled

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a weight by its largest singular value. Same as torch.nn.utils.parametrizations.spectral_norm.

    Args:
        n_power_iterations: how many steps follow the singular value at each access in training.
        eps: the least norm that a vector is divided by.
        dim: whose slices are the rows of the matrix: 1 for transposed convolutions, else 0.

    Raises:
        ValueError: there is no such parameter; no iterations.
        IndexError: `dim` is out of range.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if dim is None:
        dim = int(any("ConvTranspose" in kind.__name__ for kind in type(module).__mro__))
    return register_parametrization(
        module, name, _SpectralNorm(weight, n_power_iterations, dim, eps)
    )
