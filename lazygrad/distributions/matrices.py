"""Distributions of matrices: Wishart's, of covariances, and that of Lewandowski, Kurowicka and Joe, of factors of correlations."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

from ..autograd.grad_mode import no_grad
from ..functional.arguments import broadcast_shapes
from ..functional.creation import arange, tensor
from ..functional.diagonals import diag_embed
from ..functional.gathering import where
from ..functional.linalg.solving import slogdet, solve_triangular
from ..functional.numeric_limits import finfo
from ..functional.special import mvlgamma
from ..random import randn
from ..tensor import Tensor
from . import constraints
from .distribution import Distribution, parameters
from .gamma import Beta, Chi2
from .multivariate import OfCovariance


class Wishart(OfCovariance):
    """The sum of `df` products z z^T of normal vectors with a covariance V, for any df > n - 1. Same as torch.distributions.Wishart.

    Draws are L A A^T L^T, with the factor L of V and Bartlett's lower triangular A: chi-distributed numbers on its diagonal, normal ones below.

    Args:
        df: degrees of freedom, a number or (...).
        covariance_matrix, precision_matrix, scale_tril: one of them, (..., n, n): V, its inverse, or its lower Cholesky factor.

    Raises:
        AssertionError: not exactly one of them. ValueError: a shape or value does not fit, df above all.
    """

    has_rsample = True
    support = constraints.positive_definite

    def __init__(
        self,
        df: float | Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        given = {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix, "scale_tril": scale_tril}  # fmt: skip
        named = {name: value for name, value in given.items() if value is not None}
        if len(named) != 1:
            raise AssertionError(
                "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
            )
        ((name, matrix),) = named.items()
        if matrix.dim() < 2:
            raise ValueError(
                "scale_tril must be at least two-dimensional, with optional leading batch dimensions"
            )
        if not isinstance(df, Tensor):
            df = tensor(df, dtype=matrix.dtype, device=matrix.device)
        batch = broadcast_shapes("Wishart", tuple(matrix.shape[:-2]), tuple(df.shape))
        size = matrix.shape[-1]
        self.df = df.expand(batch)
        with no_grad():
            if bool((self.df <= size - 1).any()):
                raise ValueError(
                    f"Value of df={df} expected to be greater than ndim - 1 = {size - 1}."
                )
            if bool((self.df < size).any()):
                warnings.warn(
                    "Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim.",
                    stacklevel=2,
                )
        self.__dict__[name] = matrix.expand((*batch, -1, -1))
        self.arg_constraints = {  # type: ignore[misc]
            "covariance_matrix": constraints.positive_definite, "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky, "df": constraints.greater_than(float(size - 1)),
        }  # fmt: skip
        super().__init__(tuple(batch), (size, size), validate_args)
        self._keep_factor(name)

    @property
    def mean(self) -> Tensor:
        found: Tensor = self.df[..., None, None] * self.covariance_matrix
        return found

    @property
    def mode(self) -> Tensor:
        factor = self.df - self.event_shape[-1] - 1
        factor = where(factor <= 0, math.nan, factor)
        found: Tensor = factor[..., None, None] * self.covariance_matrix
        return found

    @property
    def variance(self) -> Tensor:
        matrix = self.covariance_matrix
        diagonal = matrix.diagonal(0, -2, -1)
        products = diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)
        found: Tensor = self.df[..., None, None] * (matrix.pow(2) + products)
        return found

    def rsample(
        self, sample_shape: Sequence[int] = (), max_try_correction: int | None = None
    ) -> Tensor:
        """Draws, (*sample_shape, *batch_shape, n, n). Where one is singular, all are drawn again, at most `max_try_correction` (10) times."""
        drawn = self._bartlett(sample_shape)
        for _ in range(10 if max_try_correction is None else max_try_correction):
            with no_grad():
                singular = ~self.support.check(drawn)
                if not bool(singular.any()):
                    break
            warnings.warn("Singular sample detected.", stacklevel=2)
            drawn = where(singular[..., None, None], self._bartlett(sample_shape), drawn)
        return drawn

    def _bartlett(self, sample_shape: Sequence[int]) -> Tensor:
        shape = self._extended_shape(sample_shape)
        steps = arange(shape[-1], dtype=self.df.dtype, device=self.df.device)
        squares = Chi2(self.df.unsqueeze(-1) - steps, validate_args=False).rsample(sample_shape)
        roots = squares.sqrt().clamp(min=finfo(squares.dtype).eps)
        below = randn(*shape, dtype=roots.dtype, device=roots.device).tril(-1)
        factor = self._factor @ (below + diag_embed(roots))
        return factor @ factor.mT

    def _half_log_det(self) -> Tensor:
        """Half the logarithm of the determinant of 2 V."""
        logarithms = self._factor.diagonal(0, -2, -1).log().sum(-1)
        found: Tensor = self.event_shape[-1] * math.log(2.0) / 2 + logarithms
        return found

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        size = self.event_shape[-1]
        shape = broadcast_shapes("Wishart", tuple(self._factor.shape), tuple(value.shape))
        factor = self._factor.expand(shape)
        inside = solve_triangular(factor, value.expand(shape), upper=False)
        trace = solve_triangular(factor.mT, inside, upper=True).diagonal(0, -2, -1).sum(-1)
        determinant = slogdet(value)[1]
        found: Tensor = (
            (self.df - size - 1) / 2 * determinant - trace / 2 - self.df * self._half_log_det() - mvlgamma(self.df / 2, p=size)
        )  # fmt: skip
        return found

    def _slope(self) -> Tensor:
        """The derivative of mvlgamma at df / 2."""
        half = self.df / 2
        steps = arange(self.event_shape[-1], dtype=half.dtype, device=half.device) / 2
        found: Tensor = (half.unsqueeze(-1) - steps).digamma().sum(-1)
        return found

    def entropy(self) -> Tensor:
        size = self.event_shape[-1]
        half = self.df / 2
        found: Tensor = (
            (size + 1) * self._half_log_det() + mvlgamma(half, p=size) - (self.df - size - 1) / 2 * self._slope() + self.df * size / 2
        )  # fmt: skip
        return found


class LKJCholesky(Distribution):
    """Lower Cholesky factors of correlation matrices, whose density is that of det ** (concentration - 1). Same as torch.distributions.LKJCholesky.

    Draws are made by the onion method: each row is a direction drawn uniformly, times the root of a beta-distributed number.

    Args:
        dim: the size of the matrices, at least 2.
        concentration: 1 for the uniform distribution over correlation matrices; larger for those near the identity.

    Raises:
        ValueError: dim is less than 2; concentration is not positive.
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(
        self, dim: int, concentration: float | Tensor = 1.0, validate_args: bool | None = None
    ) -> None:
        if dim < 2:
            raise ValueError(
                f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}."
            )
        self.dim = dim
        (self.concentration,) = parameters(concentration)
        super().__init__(tuple(self.concentration.shape), (dim, dim), validate_args)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            shape = self._extended_shape(sample_shape)
            kind = {"dtype": self.concentration.dtype, "device": self.concentration.device}
            offset = (arange(self.dim, **kind) - 1).clamp(min=0)
            middle = self.concentration.unsqueeze(-1) + 0.5 * (self.dim - 2)
            squares = Beta(offset + 0.5, middle - 0.5 * offset, validate_args=False).sample(sample_shape)  # fmt: skip
            below = randn(*shape, **kind).tril(-1)
            length = below.pow(2).sum(-1, keepdim=True).sqrt()
            rows = where(length > 0, below / length, 0.0) * squares.unsqueeze(-1).sqrt()
            rest = (1 - rows.pow(2).sum(-1)).clamp(min=finfo(rows.dtype).tiny).sqrt()
            drawn: Tensor = rows + diag_embed(rest)
            return drawn

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        kind = {"dtype": self.concentration.dtype, "device": self.concentration.device}
        last = self.dim - 1
        powers = 2 * (self.concentration - 1).unsqueeze(-1) + last - arange(1, self.dim, **kind)
        density = (powers * value.diagonal(0, -2, -1)[..., 1:].log()).sum(-1)
        whole = self.concentration + 0.5 * last
        factor = mvlgamma(whole - 0.5, p=last) - last * whole.lgamma() + 0.5 * last * math.log(math.pi)  # fmt: skip
        found: Tensor = density - factor
        return found
