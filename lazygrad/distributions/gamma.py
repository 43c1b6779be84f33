"""Distributions made of gamma draws: Gamma, Chi2, InverseGamma, Beta, Dirichlet, StudentT and FisherSnedecor.

Gradients of draws are implicit ones (composites/gamma.py): of Gamma the same as PyTorch's for each draw; of Beta and Dirichlet those of normalised
gamma draws, which have PyTorch's mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..functional.gammas import _sample_dirichlet, _standard_gamma
from ..functional.gathering import where
from ..functional.joining import stack
from ..functional.numeric_limits import finfo
from ..functional.special import igamma
from ..random import randn
from ..tensor import Tensor
from . import constraints
from .distribution import Distribution, parameters

Parameter = float | Tensor


class _OfRate(Distribution):
    """One of a concentration and a rate."""

    has_rsample = True
    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}

    def __init__(
        self, concentration: Parameter, rate: Parameter, validate_args: bool | None = None
    ) -> None:
        self.concentration, self.rate = parameters(concentration, rate)
        super().__init__(tuple(self.rate.shape), (), validate_args)


class Gamma(_OfRate):
    """rate^c x^(c - 1) exp(-rate x) / gamma(c), c the concentration. Same as torch.distributions.Gamma."""

    support = constraints.nonnegative

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        found: Tensor = ((self.concentration - 1) / self.rate).clamp(min=0)
        return found

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate.pow(2)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        drawn = _standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)
        found: Tensor = drawn.clamp(min=finfo(drawn.dtype).tiny)
        return found

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        c, rate = self.concentration, self.rate
        found: Tensor = c.xlogy(rate) + (c - 1).xlogy(value) - rate * value - c.lgamma()
        return found

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return igamma(self.concentration, self.rate * value)

    def entropy(self) -> Tensor:
        c = self.concentration
        return c - self.rate.log() + c.lgamma() + (1.0 - c) * c.digamma()


class Chi2(Gamma):
    """The sum of the squares of `df` normal draws. Same as torch.distributions.Chi2."""

    arg_constraints = {"df": constraints.positive}

    def __init__(self, df: Parameter, validate_args: bool | None = None) -> None:
        (self.df,) = parameters(df)
        super().__init__(0.5 * self.df, 0.5, validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> Chi2:
        return type(self)(self.df.expand(tuple(batch_shape)), validate_args=False)


class InverseGamma(_OfRate):
    """The reciprocal of a Gamma. Same as torch.distributions.InverseGamma."""

    support = constraints.positive

    @property
    def base_dist(self) -> Gamma:
        """The distribution of the reciprocal."""
        return Gamma(self.concentration, self.rate, validate_args=False)

    @property
    def mean(self) -> Tensor:
        c = self.concentration
        found: Tensor = where(c > 1, self.rate / (c - 1), math.inf)
        return found

    @property
    def mode(self) -> Tensor:
        return self.rate / (self.concentration + 1)

    @property
    def variance(self) -> Tensor:
        c = self.concentration
        found: Tensor = where(c > 2, self.rate.square() / ((c - 1).square() * (c - 2)), math.inf)
        return found

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        found: Tensor = self.base_dist.rsample(sample_shape).reciprocal()
        return found

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return self.base_dist.log_prob(value.reciprocal()) - 2 * value.log()

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return 1 - self.base_dist.cdf(value.reciprocal())

    def entropy(self) -> Tensor:
        c = self.concentration
        return c + self.rate.log() + c.lgamma() - (1 + c) * c.digamma()


class Dirichlet(Distribution):
    """Shares of a whole along the last axis, with a concentration each. Same as torch.distributions.Dirichlet."""

    has_rsample = True
    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        shape = tuple(concentration.shape)
        super().__init__(shape[:-1], shape[-1:], validate_args)

    @property
    def mean(self) -> Tensor:
        found: Tensor = self.concentration / self.concentration.sum(-1, True)
        return found

    @property
    def mode(self) -> Tensor:
        """Where all concentrations are below 1 it is a corner: PyTorch takes the first."""
        above = (self.concentration - 1).clamp(min=0.0)
        mode = above / above.sum(-1, True)
        corner = (self.concentration < 1).all(-1, keepdim=True)
        first = (above.cumsum(-1) * 0 + 1).cumsum(-1) == 1
        found: Tensor = where(corner, first.to(mode.dtype), mode)
        return found

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, True)
        c = self.concentration
        found: Tensor = c * (total - c) / (total.pow(2) * (total + 1))
        return found

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return _sample_dirichlet(self.concentration.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        c = self.concentration
        found: Tensor = (c - 1.0).xlogy(value).sum(-1) + c.sum(-1).lgamma() - c.lgamma().sum(-1)
        return found

    def entropy(self) -> Tensor:
        c = self.concentration
        total = c.sum(-1)
        spread = (c.shape[-1] - total) * total.digamma() + ((c - 1.0) * c.digamma()).sum(-1)
        found: Tensor = c.lgamma().sum(-1) - total.lgamma() - spread
        return found


class Beta(Distribution):
    """x^(a - 1) (1 - x)^(b - 1) / B(a, b), a and b the concentrations of 1 and 0. Same as torch.distributions.Beta."""

    has_rsample = True
    arg_constraints = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval

    def __init__(
        self,
        concentration1: Parameter,
        concentration0: Parameter,
        validate_args: bool | None = None,
    ) -> None:
        self.concentration1, self.concentration0 = parameters(concentration1, concentration0)
        super().__init__(tuple(self.concentration0.shape), (), validate_args)

    @property
    def _both(self) -> Dirichlet:
        return Dirichlet(stack([self.concentration1, self.concentration0], -1), validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Tensor:
        found: Tensor = self._both.mode[..., 0]
        return found

    @property
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        found: Tensor = self._both.rsample(sample_shape)[..., 0]
        return found

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return self._both.log_prob(stack([value, 1.0 - value], -1))

    def entropy(self) -> Tensor:
        return self._both.entropy()


class StudentT(Distribution):
    """A normal draw over the root of a Chi2 draw's mean square. Same as torch.distributions.StudentT."""

    has_rsample = True
    arg_constraints = {
        "df": constraints.positive, "loc": constraints.real, "scale": constraints.positive,
    }  # fmt: skip
    support = constraints.real

    def __init__(
        self,
        df: Parameter,
        loc: Parameter = 0.0,
        scale: Parameter = 1.0,
        validate_args: bool | None = None,
    ) -> None:
        self.df, self.loc, self.scale = parameters(df, loc, scale)
        super().__init__(tuple(self.df.shape), (), validate_args)

    @property
    def mean(self) -> Tensor:
        found: Tensor = where(self.df > 1, self.loc, math.nan)
        return found

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        heavy = where(self.df > 1, self.df * 0 + math.inf, math.nan)
        found: Tensor = where(self.df > 2, self.scale.pow(2) * self.df / (self.df - 2), heavy)
        return found

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        noise = randn(
            *self._extended_shape(sample_shape), dtype=self.df.dtype, device=self.df.device
        )
        drawn = Chi2(self.df, validate_args=False).rsample(sample_shape)
        return self.loc + self.scale * (noise * (drawn / self.df).rsqrt())

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        y = (value - self.loc) / self.scale
        level = self.scale.log() + self._log_beta() + 0.5 * self.df.log()
        return -0.5 * (self.df + 1.0) * (y.square() / self.df).log1p() - level

    def _log_beta(self) -> Tensor:
        half = 0.5 * self.df
        return half.lgamma() + 0.5 * math.log(math.pi) - (half + 0.5).lgamma()

    def entropy(self) -> Tensor:
        half = 0.5 * self.df
        apart = (half + 0.5).digamma() - half.digamma()
        return self.scale.log() + (half + 0.5) * apart + 0.5 * self.df.log() + self._log_beta()


class FisherSnedecor(Distribution):
    """The ratio of two Chi2 draws, each over its degrees of freedom. Same as torch.distributions.FisherSnedecor."""

    has_rsample = True
    arg_constraints = {"df1": constraints.positive, "df2": constraints.positive}
    support = constraints.positive

    def __init__(self, df1: Parameter, df2: Parameter, validate_args: bool | None = None) -> None:
        self.df1, self.df2 = parameters(df1, df2)
        super().__init__(tuple(self.df1.shape), (), validate_args)

    @property
    def mean(self) -> Tensor:
        found: Tensor = where(self.df2 > 2, self.df2 / (self.df2 - 2), math.nan)
        return found

    @property
    def mode(self) -> Tensor:
        found: Tensor = where(
            self.df1 > 2, (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2), math.nan
        )
        return found

    @property
    def variance(self) -> Tensor:
        one, two = self.df1, self.df2
        value = 2 * two.pow(2) * (one + two - 2) / (one * (two - 2).pow(2) * (two - 4))
        found: Tensor = where(two > 4, value, math.nan)
        return found

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        above, below = (
            Gamma(df * 0.5, df * 0.5, validate_args=False).rsample(sample_shape)
            for df in (self.df1, self.df2)
        )
        least = finfo(below.dtype).tiny
        found: Tensor = (above / below.clamp(min=least)).clamp(min=least)
        return found

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        one, two, ratio = self.df1 * 0.5, self.df2 * 0.5, self.df1 / self.df2
        level = (one + two).lgamma() - one.lgamma() - two.lgamma() + one * ratio.log()
        return level + (one - 1) * value.log() - (one + two) * (ratio * value).log1p()
