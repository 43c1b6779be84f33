"""MultivariateNormal: vectors, by the covariance of their entries, its inverse, or its Cholesky factor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

from ..functional.arguments import broadcast_shapes
from ..functional.linalg.factorizations import cholesky
from ..functional.linalg.solving import inv, solve_triangular
from ..random import randn
from ..size import Size
from ..tensor import Tensor
from . import constraints
from .distribution import Distribution

LOG_2_PI = math.log(2 * math.pi)


class OfCovariance(Distribution):
    """A distribution with a covariance that is given as itself, its inverse, or its Cholesky factor: the other two are computed when they are asked for."""

    _factor: Tensor

    def _keep_factor(self, name: str) -> None:
        value = self.__dict__[name]
        if name == "precision_matrix":
            self._factor = factor_of_inverse(value)
        else:
            self._factor = value if name == "scale_tril" else cholesky(value)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        made = super().expand(batch_shape)
        made._factor = self._factor.expand((*batch_shape, *self._factor.shape[-2:]))
        return made

    def __getattr__(self, name: str) -> Any:
        if name == "scale_tril" and "_factor" in self.__dict__:
            return self._factor
        if name == "covariance_matrix" and "_factor" in self.__dict__:
            return self._factor @ self._factor.mT
        if name == "precision_matrix" and "_factor" in self.__dict__:
            return inv(self._factor @ self._factor.mT)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")


class MultivariateNormal(OfCovariance):
    """A normal distribution of vectors. Same as torch.distributions.MultivariateNormal.

    Args:
        loc: the mean, (..., n).
        covariance_matrix, precision_matrix, scale_tril: one of them, (..., n, n): the covariance, its inverse, or its lower Cholesky factor.

    Raises:
        ValueError: not exactly one of them; a shape or value does not fit.
    """

    has_rsample = True
    arg_constraints = {
        "loc": constraints.real_vector, "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite, "scale_tril": constraints.lower_cholesky,
    }  # fmt: skip
    support = constraints.real_vector

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        given = {
            "covariance_matrix": covariance_matrix, "scale_tril": scale_tril, "precision_matrix": precision_matrix,
        }  # fmt: skip
        named = {name: value for name, value in given.items() if value is not None}
        if len(named) != 1:
            raise ValueError(
                "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
            )
        ((name, matrix),) = named.items()
        if matrix.dim() < 2:
            raise ValueError(
                f"{name} must be at least two-dimensional, with optional leading batch dimensions"
            )
        batch = broadcast_shapes(
            "MultivariateNormal", tuple(matrix.shape[:-2]), tuple(loc.shape[:-1])
        )
        size = loc.shape[-1:]
        self.loc = loc.expand((*batch, -1))
        self.__dict__[name] = matrix.expand((*batch, -1, -1))
        super().__init__(tuple(batch), tuple(size), validate_args)
        self._keep_factor(name)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        found: Tensor = self._factor.pow(2).sum(-1)
        return found

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        noise = randn(*shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + (self._factor @ noise.unsqueeze(-1)).squeeze(-1)

    def _half_log_det(self) -> Tensor:
        found: Tensor = self._factor.diagonal(0, -2, -1).log().sum(-1)
        return found

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        distance = squared_distance(self._factor, value - self.loc)
        return -0.5 * (self.event_shape[0] * LOG_2_PI + distance) - self._half_log_det()

    def entropy(self) -> Tensor:
        return 0.5 * self.event_shape[0] * (1.0 + LOG_2_PI) + self._half_log_det()

    def __repr__(self) -> str:
        names = [name for name in self.arg_constraints if name in self.__dict__]
        texts = [f"{name}: {Size(self.__dict__[name].shape)}" for name in names]
        return f"MultivariateNormal({', '.join(texts)})"


def factor_of_inverse(matrix: Tensor) -> Tensor:
    """The lower Cholesky factor of the inverse of a matrix P: of P = M^T M with M lower (a factorisation from the last entry on), the inverse of M."""
    return inv(cholesky(matrix.flip(-2, -1)).flip(-2, -1).mT)


def squared_distance(factor: Tensor, difference: Tensor) -> Tensor:
    """x^T (L L^T)^-1 x."""
    batch = broadcast_shapes(
        "MultivariateNormal", tuple(factor.shape[:-2]), tuple(difference.shape[:-1])
    )
    size = factor.shape[-1]
    solved = solve_triangular(
        factor.expand((*batch, size, size)),
        difference.expand((*batch, size)).unsqueeze(-1),
        upper=False,
    )
    found: Tensor = solved.squeeze(-1).pow(2).sum(-1)
    return found
