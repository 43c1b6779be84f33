"""LowRankMultivariateNormal: vectors whose covariance is a diagonal and a matrix of few columns times its transpose.

With W of m columns and the diagonal D all is computed by the capacitance C = I + W^T D^-1 W of m x m: the inverse of W W^T + D is
D^-1 - D^-1 W C^-1 W^T D^-1, its determinant that of C times that of D.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from ..functional.arguments import broadcast_shapes
from ..functional.creation import eye
from ..functional.diagonals import diag_embed
from ..functional.linalg.factorizations import cholesky
from ..functional.linalg.solving import solve_triangular
from ..random import randn
from ..tensor import Tensor
from . import constraints
from .distribution import Distribution
from .multivariate import LOG_2_PI, squared_distance


class LowRankMultivariateNormal(Distribution):
    """A normal distribution of vectors with covariance W W^T + D. Same as torch.distributions.LowRankMultivariateNormal.

    Args:
        loc: the mean, (..., n).
        cov_factor: W, (..., n, m). cov_diag: the diagonal of D, positive, (..., n).

    Raises:
        ValueError: a shape or value does not fit.
    """

    has_rsample = True
    arg_constraints = {
        "loc": constraints.real_vector, "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }  # fmt: skip
    support = constraints.real_vector

    def __init__(
        self,
        loc: Tensor,
        cov_factor: Tensor,
        cov_diag: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        event = tuple(loc.shape[-1:])
        if cov_factor.dim() < 2:
            raise ValueError(
                "cov_factor must be at least two-dimensional, with optional leading batch dimensions"
            )
        if tuple(cov_factor.shape[-2:-1]) != event:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {event[0]} x m")
        if tuple(cov_diag.shape[-1:]) != event:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {loc.shape[-1:]}")
        try:
            batch = broadcast_shapes(
                "LowRankMultivariateNormal", tuple(loc.shape[:-1]), tuple(cov_factor.shape[:-2]), tuple(cov_diag.shape[:-1])
            )  # fmt: skip
        except RuntimeError as error:
            raise ValueError(
                f"Incompatible batch shapes: loc {loc.shape}, cov_factor {cov_factor.shape}, cov_diag {cov_diag.shape}"
            ) from error
        self.loc = loc.expand((*batch, -1))
        self.cov_factor = cov_factor.expand((*batch, -1, -1))
        self.cov_diag = cov_diag.expand((*batch, -1))
        super().__init__(tuple(batch), event, validate_args)
        scaled = cov_factor.mT / cov_diag.unsqueeze(-2)
        self._capacitance = cholesky(scaled @ cov_factor + self._identity(cov_factor.shape[-1]))

    def _identity(self, size: int) -> Tensor:
        return eye(size, dtype=self.loc.dtype, device=self.loc.device)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        made = super().expand(batch_shape)
        made._capacitance = self._capacitance.expand((*batch_shape, *self._capacitance.shape[-2:]))
        return made

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        found: Tensor = self.cov_factor.pow(2).sum(-1) + self.cov_diag
        return found

    @property
    def covariance_matrix(self) -> Tensor:
        """W W^T + D."""
        return self.cov_factor @ self.cov_factor.mT + diag_embed(self.cov_diag)

    @property
    def scale_tril(self) -> Tensor:
        """The Cholesky factor of the covariance: of I + D^-1/2 W W^T D^-1/2, which is well conditioned, times D^1/2."""
        root = self.cov_diag.sqrt().unsqueeze(-1)
        scaled = self.cov_factor / root
        return root * cholesky(scaled @ scaled.mT + self._identity(self.event_shape[0]))

    @property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        inside = self._solved(self.cov_factor.mT / self.cov_diag.unsqueeze(-2))
        return diag_embed(self.cov_diag.reciprocal()) - inside.mT @ inside

    def _solved(self, columns: Tensor) -> Tensor:
        """L^-1 times columns, L the factor of the capacitance."""
        batch = columns.shape[:-2]
        factor = self._capacitance.expand((*batch, *self._capacitance.shape[-2:]))
        found: Tensor = solve_triangular(factor, columns, upper=False)
        return found

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        kind = {"dtype": self.loc.dtype, "device": self.loc.device}
        few = randn(*shape[:-1], self.cov_factor.shape[-1], 1, **kind)
        own = randn(*shape, **kind)
        return self.loc + (self.cov_factor @ few).squeeze(-1) + self.cov_diag.sqrt() * own

    def _log_det(self) -> Tensor:
        diagonal = self._capacitance.diagonal(0, -2, -1)
        found: Tensor = 2 * diagonal.log().sum(-1) + self.cov_diag.log().sum(-1)
        return found

    def _squared_distance(self, difference: Tensor) -> Tensor:
        """x^T (W W^T + D)^-1 x."""
        scaled = difference / self.cov_diag
        inside = (self.cov_factor.mT @ scaled.unsqueeze(-1)).squeeze(-1)
        return (difference * scaled).sum(-1) - squared_distance(self._capacitance, inside)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        distance = self._squared_distance(value - self.loc)
        return -0.5 * (self.event_shape[0] * LOG_2_PI + self._log_det() + distance)

    def entropy(self) -> Tensor:
        found = 0.5 * (self.event_shape[0] * (1.0 + LOG_2_PI) + self._log_det())
        return found.expand(self._batch_shape)
