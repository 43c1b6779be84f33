"""Distributions whose inverse is a formula, with long or bounded tails: HalfCauchy, Pareto, GeneralizedPareto, Weibull, Kumaraswamy; and VonMises."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..functional.arithmetic import mul
from ..functional.comparison import isclose
from ..functional.gathering import gather, where
from ..functional.special import i0e, i1e
from ..ir.dtype import float64, int32
from ..random import rand
from ..tensor import Tensor
from . import constraints
from .continuous import EULER, Cauchy, open_uniform
from .distribution import Distribution, parameters

Parameter = float | Tensor


class HalfCauchy(Distribution):
    """The absolute value of a Cauchy around 0. Same as torch.distributions.HalfCauchy."""

    has_rsample = True
    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative

    def __init__(self, scale: Parameter, validate_args: bool | None = None) -> None:
        (self.scale,) = parameters(scale)
        super().__init__(tuple(self.scale.shape), (), validate_args)

    @property
    def base_dist(self) -> Cauchy:
        """The distribution before its absolute value is taken."""
        return Cauchy(self.scale * 0, self.scale, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.scale * 0 + math.inf

    @property
    def mode(self) -> Tensor:
        return self.scale * 0

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        drawn: Tensor = self.base_dist.rsample(sample_shape).abs()
        return drawn

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        found: Tensor = where(value >= 0, self.base_dist.log_prob(value) + math.log(2), -math.inf)
        return found

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return 2 * self.base_dist.cdf(value) - 1

    def icdf(self, value: Tensor) -> Tensor:
        return self.base_dist.icdf((value + 1) / 2)

    def entropy(self) -> Tensor:
        return self.base_dist.entropy() - math.log(2)


class _Inverted(Distribution):
    """A distribution whose draws are `icdf` of uniform ones."""

    has_rsample = True

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        like: Tensor = getattr(self, self._names()[0])
        return self.icdf(open_uniform(self._extended_shape(sample_shape), like))


class Pareto(_Inverted):
    """alpha scale^alpha x^(-alpha - 1) from scale on. Same as torch.distributions.Pareto."""

    arg_constraints = {"alpha": constraints.positive, "scale": constraints.positive}

    def __init__(
        self, scale: Parameter, alpha: Parameter, validate_args: bool | None = None
    ) -> None:
        self.scale, self.alpha = parameters(scale, alpha)
        super().__init__(tuple(self.scale.shape), (), validate_args)

    @property
    def support(self) -> Any:
        return constraints.greater_than_eq(self.scale)

    @property
    def mean(self) -> Tensor:
        alpha = self.alpha.clamp(min=1)
        found: Tensor = alpha * self.scale / (alpha - 1)
        return found

    @property
    def mode(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        alpha = self.alpha.clamp(min=2)
        found: Tensor = self.scale.pow(2) * alpha / ((alpha - 1).pow(2) * (alpha - 2))
        return found

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        alpha = self.alpha
        return alpha.log() - alpha * (value / self.scale).log() - value.log()

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        found: Tensor = 1 - (self.scale / value).pow(self.alpha)
        return found

    def icdf(self, value: Tensor) -> Tensor:
        return self.scale * (-(-value).log1p() / self.alpha).exp()

    def entropy(self) -> Tensor:
        return (self.scale / self.alpha).log() + (1 + self.alpha.reciprocal())


class GeneralizedPareto(_Inverted):
    """What exceeds a high threshold: exp of -z where the concentration is 0, z = (x - loc) / scale. Same as torch.distributions.GeneralizedPareto."""

    arg_constraints = {
        "loc": constraints.real, "scale": constraints.positive, "concentration": constraints.real,
    }  # fmt: skip

    def __init__(
        self,
        loc: Parameter,
        scale: Parameter,
        concentration: Parameter,
        validate_args: bool | None = None,
    ) -> None:
        self.loc, self.scale, self.concentration = parameters(loc, scale, concentration)
        super().__init__(tuple(self.loc.shape), (), validate_args)

    @property
    def support(self) -> Any:
        c = self.concentration
        end = where(c < 0, self.loc - self.scale / c, math.inf)
        return constraints.interval(self.loc, end)

    @property
    def mean(self) -> Tensor:
        c = self.concentration
        inside = c < 1
        found: Tensor = where(inside, self.loc + self.scale / (1 - where(inside, c, 0.5)), math.nan)
        return found

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        inside = self.concentration < 0.5
        c = where(inside, self.concentration, 0.25)
        spread = self.scale.pow(2) / ((1 - c).pow(2) * (1 - 2 * c))
        found: Tensor = where(inside, spread, math.nan)
        return found

    def _split(self) -> tuple[Tensor, Tensor]:
        """Where the concentration is 0, and a concentration that is not."""
        zero = isclose(self.concentration, self.concentration * 0)
        return zero, where(zero, 1.0, self.concentration)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        zero, c = self._split()
        z = (value - self.loc) / self.scale
        factor = 1 / c + 1
        bent = where(factor == 0, factor, factor * (c * z).log1p())
        found: Tensor = -self.scale.log() - where(zero, z, bent)
        return found

    def log_survival_function(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of larger values."""
        self._validate_sample(value)
        zero, c = self._split()
        z = (value - self.loc) / self.scale
        found: Tensor = where(zero, -z, -(c * z).log1p() / c)
        return found

    def log_cdf(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of values that are not larger."""
        found: Tensor = (-self.log_survival_function(value).exp()).log1p()
        return found

    def cdf(self, value: Tensor) -> Tensor:
        found: Tensor = -self.log_survival_function(value).expm1()
        return found

    def icdf(self, value: Tensor) -> Tensor:
        zero, c = self._split()
        left = (-value).log1p()
        bent = self.loc + self.scale / c * (-c * left).expm1()
        found: Tensor = where(zero, self.loc - self.scale * left, bent)
        return found

    def entropy(self) -> Tensor:
        return self.scale.log() + self.concentration + 1


class Weibull(_Inverted):
    """(x / scale)^concentration is a waiting time of rate 1. Same as torch.distributions.Weibull."""

    arg_constraints = {"scale": constraints.positive, "concentration": constraints.positive}
    support = constraints.positive

    def __init__(
        self, scale: Parameter, concentration: Parameter, validate_args: bool | None = None
    ) -> None:
        self.scale, self.concentration = parameters(scale, concentration)
        super().__init__(tuple(self.scale.shape), (), validate_args)

    def _moment(self, order: int) -> Tensor:
        """Of x / scale."""
        found: Tensor = (1 + order / self.concentration).lgamma().exp()
        return found

    @property
    def mean(self) -> Tensor:
        return self.scale * self._moment(1)

    @property
    def mode(self) -> Tensor:
        c = self.concentration
        found: Tensor = self.scale * ((c - 1) / c).pow(c.reciprocal())
        return found

    @property
    def variance(self) -> Tensor:
        return self.scale.pow(2) * (self._moment(2) - self._moment(1).pow(2))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        c, part = self.concentration, value / self.scale
        found: Tensor = c.log() + c * part.log() - value.log() - part.pow(c)
        return found

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        found: Tensor = -(-(value / self.scale).pow(self.concentration)).expm1()
        return found

    def icdf(self, value: Tensor) -> Tensor:
        waited = -(-value).log1p()
        found: Tensor = self.scale * waited.pow(self.concentration.reciprocal())
        return found

    def entropy(self) -> Tensor:
        inverse = self.concentration.reciprocal()
        return EULER * (1 - inverse) + (self.scale * inverse).log() + 1


class Kumaraswamy(_Inverted):
    """a b x^(a - 1) (1 - x^a)^(b - 1) between 0 and 1, a and b concentration1 and concentration0. Same as torch.distributions.Kumaraswamy."""

    arg_constraints = {
        "concentration1": constraints.positive, "concentration0": constraints.positive,
    }  # fmt: skip
    support = constraints.unit_interval

    def __init__(
        self,
        concentration1: Parameter,
        concentration0: Parameter,
        validate_args: bool | None = None,
    ) -> None:
        self.concentration1, self.concentration0 = parameters(concentration1, concentration0)
        super().__init__(tuple(self.concentration1.shape), (), validate_args)

    def _moment(self, order: int) -> Tensor:
        a, b = 1 + order / self.concentration1, self.concentration0
        return b * (a.lgamma() + b.lgamma() - (a + b).lgamma()).exp()

    @property
    def mean(self) -> Tensor:
        return self._moment(1)

    @property
    def mode(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        logarithm = b.reciprocal() * (-b).log1p() - (-b * a).log1p()
        found: Tensor = where((a < 1) | (b < 1), math.nan, logarithm.exp())
        return found

    @property
    def variance(self) -> Tensor:
        return self._moment(2) - self.mean.pow(2)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a, b = self.concentration1, self.concentration0
        left = (-value.pow(a)).log1p()
        found: Tensor = a.log() + b.log() + (a - 1).xlogy(value) + (b - 1) * left
        return found

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        found: Tensor = 1 - (1 - value.pow(self.concentration1)).pow(self.concentration0)
        return found

    def icdf(self, value: Tensor) -> Tensor:
        left = (1 - value).pow(self.concentration0.reciprocal())
        found: Tensor = (1 - left).pow(self.concentration1.reciprocal())
        return found

    def entropy(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        harmonic = (b + 1).digamma() + EULER
        return (1 - b.reciprocal()) + (1 - a.reciprocal()) * harmonic - a.log() - b.log()


CANDIDATES = 32
"""How many angles are tried for a draw of VonMises. Each is taken with a probability above 0.65; the last stands once in 10^14 draws."""


class VonMises(Distribution):
    """exp(concentration cos(x - loc)) on a circle. Same as torch.distributions.VonMises.

    Drawn as by Best and Fisher, "Efficient simulation of the von Mises distribution", 1979; all candidates are made at once.
    """

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real

    def __init__(
        self, loc: Parameter, concentration: Parameter, validate_args: bool | None = None
    ) -> None:
        self.loc, self.concentration = parameters(loc, concentration)
        super().__init__(tuple(self.loc.shape), (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """Of the direction: 1 minus the length of its mean."""
        return 1 - i1e(self.concentration) / i0e(self.concentration)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        k = self.concentration
        # cos x - 1 as a square: near the mean nothing cancels
        bend = -2 * (0.5 * (value - self.loc)).sin().square()
        return k * bend - math.log(2 * math.pi) - i0e(k).log()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        loc, k = self.loc.detach().to(float64), self.concentration.detach().to(float64)
        tau = 1 + (1 + 4 * k.square()).sqrt()
        rho = (tau - (2 * tau).sqrt()) / (2 * k)
        r = where(k < 1e-5, 1 / k + k, (1 + rho.square()) / (2 * rho))
        shape = self._extended_shape(sample_shape)
        u, v, w = rand(3, CANDIDATES, *shape, dtype=float64, device=loc.device).unbind(0)
        z = mul(u, math.pi).cos()
        angle = (1 + r * z) / (r + z)
        c = k * (r - angle)
        taken = (c * (2 - c) - v > 0) | ((c / v).log() + 1 - c >= 0)
        first = taken.to(int32).argmax(0, keepdim=True)
        turned = gather((w - 0.5).sign() * angle.clamp(-1, 1).acos(), 0, first).squeeze(0)
        made: Tensor = ((turned + math.pi + loc) % (2 * math.pi) - math.pi).to(self.loc.dtype)
        return made
