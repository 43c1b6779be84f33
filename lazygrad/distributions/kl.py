"""The Kullback-Leibler divergence of two distributions, by formulas that are registered for pairs of their classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..functional.activations import softplus
from ..functional.gathering import where
from ..functional.special import mvlgamma
from ..tensor import Tensor
from .continuous import (
    EULER,
    Cauchy,
    Exponential,
    Gumbel,
    HalfNormal,
    Laplace,
    LogNormal,
    Normal,
    Uniform,
)
from .continuous_bernoulli import ContinuousBernoulli
from .counts import Binomial, Poisson
from .discrete import Bernoulli, Categorical, Geometric, OneHotCategorical
from .distribution import Distribution, Independent, summed
from .gamma import Beta, Dirichlet, Gamma, InverseGamma
from .low_rank import LowRankMultivariateNormal
from .matrices import Wishart
from .multivariate import MultivariateNormal, squared_distance
from .tails import HalfCauchy, Pareto
from .transformed import TransformedDistribution

Formula = TypeVar("Formula", bound=Callable[..., Any])
_FORMULAS: dict[tuple[type, type], Callable[..., Any]] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Formula], Formula]:
    """Register a function of two distributions as their divergence. Same as torch.distributions.register_kl.

    Raises:
        TypeError: one of them is no class of distributions.
    """
    for each, name in ((type_p, "type_p"), (type_q, "type_q")):
        if not (isinstance(each, type) and issubclass(each, Distribution)):
            raise TypeError(f"Expected {name} to be a Distribution subclass but got {each}")

    def register(function: Formula) -> Formula:
        _FORMULAS[type_p, type_q] = function
        return function

    return register


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The expectation of log p - log q over p. Same as torch.distributions.kl_divergence.

    Raises:
        NotImplementedError: there is no formula for these two.
    """
    for left in type(p).__mro__:
        for right in type(q).__mro__:
            found = _FORMULAS.get((left, right))
            if found is not None:
                value: Tensor = found(p, q)
                return value
    raise NotImplementedError(
        f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}"
    )


@register_kl(Normal, Normal)
def _normal(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(LogNormal, LogNormal)
def _log_normal(p: LogNormal, q: LogNormal) -> Tensor:
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(HalfCauchy, HalfCauchy)
@register_kl(HalfNormal, HalfNormal)
def _half(p: Any, q: Any) -> Tensor:
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _laplace(p: Laplace, q: Laplace) -> Tensor:
    ratio, away = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + away / q.scale + ratio * (-away / p.scale).exp() - 1


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Cauchy, q: Cauchy) -> Tensor:
    """Chyzak and Nielsen, "A closed-form formula for the Kullback-Leibler divergence between Cauchy distributions", 2019."""
    spread = (p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)
    return spread.log() - (4 * p.scale * q.scale).log()


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Gumbel, q: Gumbel) -> Tensor:
    first, second = p.scale / q.scale, q.loc / q.scale
    third = p.loc / q.scale
    inner = (second + (first + 1).lgamma() - third).exp()
    return third - first.log() - second + first * EULER + inner - (1 + EULER)


@register_kl(Exponential, Exponential)
def _exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - 1 - ratio.log()


@register_kl(Uniform, Uniform)
def _uniform(p: Uniform, q: Uniform) -> Tensor:
    value = ((q.high - q.low) / (p.high - p.low)).log()
    found: Tensor = where((q.low > p.low) | (q.high < p.high), float("inf"), value)
    return found


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    yes = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    yes = where(q.probs == 0, float("inf"), yes)
    yes = where(p.probs == 0, 0.0, yes)
    no = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    no = where(q.probs == 1, float("inf"), no)
    no = where(p.probs == 1, 0.0, no)
    found: Tensor = yes + no
    return found


@register_kl(Geometric, Geometric)
def _geometric(p: Geometric, q: Geometric) -> Tensor:
    found: Tensor = -p.entropy() - (-q.probs).log1p() / p.probs - q.logits
    return found


@register_kl(Categorical, Categorical)
def _categorical(p: Categorical, q: Categorical) -> Tensor:
    terms = p.probs * (p.logits - q.logits)
    terms = where((q.probs == 0).expand(terms.shape), float("inf"), terms)
    terms = where((p.probs == 0).expand(terms.shape), 0.0, terms)
    found: Tensor = terms.sum(-1)
    return found


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p: OneHotCategorical, q: OneHotCategorical) -> Tensor:
    return _categorical(p._categorical, q._categorical)


@register_kl(Gamma, Gamma)
def _gamma(p: Gamma, q: Gamma) -> Tensor:
    mine, other = p.concentration, q.concentration
    level = other * (p.rate / q.rate).log() + other.lgamma() - mine.lgamma()
    found: Tensor = level + (mine - other) * mine.digamma() + (q.rate - p.rate) * (mine / p.rate)
    return found


@register_kl(InverseGamma, InverseGamma)
def _inverse_gamma(p: InverseGamma, q: InverseGamma) -> Tensor:
    return _gamma(p.base_dist, q.base_dist)


@register_kl(Beta, Beta)
def _beta(p: Beta, q: Beta) -> Tensor:
    return _dirichlet(p._both, q._both)


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Dirichlet, q: Dirichlet) -> Tensor:
    mine, other = p.concentration, q.concentration
    total = mine.sum(-1)
    level = total.lgamma() - other.sum(-1).lgamma() - (mine.lgamma() - other.lgamma()).sum(-1)
    apart = (mine - other) * (mine.digamma() - total.digamma().unsqueeze(-1))
    found: Tensor = level + apart.sum(-1)
    return found


@register_kl(Poisson, Poisson)
def _poisson(p: Poisson, q: Poisson) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Binomial, Binomial)
def _binomial(p: Binomial, q: Binomial) -> Tensor:
    """Raises NotImplementedError where q has more trials than p, infinite where it has fewer."""
    if bool((p.total_count < q.total_count).any()):
        raise NotImplementedError(
            "KL between Binomials where q.total_count > p.total_count is not implemented"
        )
    value = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())  # fmt: skip
    found: Tensor = where(p.total_count > q.total_count, float("inf"), value)
    return found


@register_kl(Independent, Independent)
def _independent(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return summed(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate(p: MultivariateNormal, q: MultivariateNormal) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two Multivariate Normals with different event shapes cannot be computed"
        )
    turned = p._factor.mT
    spread = squared_distance(q._factor.unsqueeze(-3), turned).sum(-1)
    apart = squared_distance(q._factor, q.loc - p.loc)
    return q._half_log_det() - p._half_log_det() + 0.5 * (spread + apart - p.event_shape[0])


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
def _low_rank(p: Any, q: Any) -> Tensor:
    """By the covariances: the trace of the one times the inverse of the other, the distance of the means, and the determinants."""
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two (Low Rank) Multivariate Normals with different event shapes cannot be computed"
        )
    trace = (q.precision_matrix * p.covariance_matrix).sum((-2, -1))
    away = q.loc - p.loc
    if isinstance(q, LowRankMultivariateNormal):
        apart = q._squared_distance(away)
    else:
        apart = squared_distance(q._factor, away)
    p_det, q_det = (
        each._log_det() if isinstance(each, LowRankMultivariateNormal) else 2 * each._half_log_det()
        for each in (p, q)
    )
    found: Tensor = 0.5 * (q_det - p_det + trace + apart - p.event_shape[0])
    return found


@register_kl(Wishart, Wishart)
def _wishart(p: Wishart, q: Wishart) -> Tensor:
    size = p.event_shape[-1]
    trace = (q.precision_matrix * p.covariance_matrix).sum((-2, -1))
    factors = mvlgamma(q.df / 2, p=size) - mvlgamma(p.df / 2, p=size)
    found: Tensor = (
        q.df * (q._half_log_det() - p._half_log_det()) + p.df / 2 * (trace - size) + factors + (p.df - q.df) / 2 * p._slope()
    )  # fmt: skip
    return found


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoulli(p: ContinuousBernoulli, q: ContinuousBernoulli) -> Tensor:
    slope = p.mean * (p.logits - q.logits)
    failure = (-p.probs).log1p() - (-q.probs).log1p()
    found: Tensor = slope + failure + p._log_factor() - q._log_factor()
    return found


@register_kl(Pareto, Pareto)
def _pareto(p: Pareto, q: Pareto) -> Tensor:
    """Infinite where q begins above p."""
    ratio = q.alpha / p.alpha
    value = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    found: Tensor = where(p.scale < q.scale, float("inf"), value)
    return found


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: TransformedDistribution, q: TransformedDistribution) -> Tensor:
    """Equal transforms keep the divergence."""
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    return kl_divergence(p.base_dist, q.base_dist)
