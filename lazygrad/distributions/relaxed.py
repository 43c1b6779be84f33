"""Distributions that are close to truths and classes, with gradients of draws: RelaxedBernoulli, RelaxedOneHotCategorical; and LogisticNormal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..functional.shaping import broadcast_tensors
from ..tensor import Tensor
from . import constraints
from .continuous import Normal, open_uniform
from .discrete import _Binary, _inside, _OfClasses
from .distribution import parameters
from .transformed import TransformedDistribution
from .transforms import ExpTransform, SigmoidTransform, StickBreakingTransform


class LogitRelaxedBernoulli(_Binary):
    """The logit of a RelaxedBernoulli. Same as torch.distributions.relaxed_bernoulli.LogitRelaxedBernoulli."""

    has_rsample = True
    support = constraints.real

    def __init__(
        self,
        temperature: float | Tensor,
        probs: float | Tensor | None = None,
        logits: float | Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        (self.temperature,) = parameters(temperature)
        super().__init__(probs, logits, validate_args)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        probs = _inside(self.probs)
        u = _inside(open_uniform(self._extended_shape(sample_shape), probs))
        noise = u.log() - (-u).log1p()
        return (noise + probs.log() - (-probs).log1p()) / self.temperature

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        logits, value = broadcast_tensors(self.logits, value)
        away = logits - value * self.temperature
        return self.temperature.log() + away - 2 * away.exp().log1p()


class _Relaxed(TransformedDistribution):
    """Draws of a base that has a temperature, turned into what they are near to: the parameters are those of the base."""

    @property
    def temperature(self) -> Tensor:
        """How far draws are from what is relaxed."""
        found: Tensor = self.base_dist.temperature  # type: ignore[attr-defined]
        return found

    @property
    def logits(self) -> Tensor:
        """Those of the base: of 1, or the logarithms of the probabilities of the classes."""
        found: Tensor = self.base_dist.logits  # type: ignore[attr-defined]
        return found

    @property
    def probs(self) -> Tensor:
        """The probabilities of 1, or of the classes."""
        found: Tensor = self.base_dist.probs  # type: ignore[attr-defined]
        return found


class RelaxedBernoulli(_Relaxed):
    """Between 0 and 1, near to both for a low temperature (Maddison et al., "The concrete distribution", 2016). Same as torch.distributions.RelaxedBernoulli."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval

    def __init__(
        self,
        temperature: float | Tensor,
        probs: float | Tensor | None = None,
        logits: float | Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        base = LogitRelaxedBernoulli(temperature, probs, logits, validate_args)
        super().__init__(base, SigmoidTransform(), validate_args)


class ExpRelaxedCategorical(_OfClasses):
    """The logarithm of a RelaxedOneHotCategorical. Same as torch.distributions.relaxed_categorical.ExpRelaxedCategorical."""

    has_rsample = True
    support = constraints.real_vector

    def __init__(
        self,
        temperature: float | Tensor,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        (self.temperature,) = parameters(temperature)
        super().__init__(probs, logits, validate_args)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        logits = self.logits
        u = _inside(open_uniform(self._extended_shape(sample_shape), logits))
        scores = (logits - (-u.log()).log()) / self.temperature
        made: Tensor = scores.log_softmax(-1)
        return made

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        count = self._categorical._num_events
        logits, value = broadcast_tensors(self.logits, value)
        score = (logits - value * self.temperature).log_softmax(-1).sum(-1)
        scale = math.lgamma(count) + self.temperature.log() * (count - 1)
        return score + scale


class RelaxedOneHotCategorical(_Relaxed):
    """Shares of classes, near to one of them for a low temperature: Gumbel-softmax. Same as torch.distributions.RelaxedOneHotCategorical."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.simplex

    def __init__(
        self,
        temperature: float | Tensor,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args)
        super().__init__(base, ExpTransform(), validate_args)


class LogisticNormal(TransformedDistribution):
    """n + 1 shares made of n normal draws by StickBreakingTransform. Same as torch.distributions.LogisticNormal."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.simplex

    def __init__(
        self, loc: float | Tensor, scale: float | Tensor, validate_args: bool | None = None
    ) -> None:
        base = Normal(loc, scale, validate_args)
        if not base.batch_shape:
            base = base.expand((1,))
        super().__init__(base, StickBreakingTransform(), validate_args)

    @property
    def loc(self) -> Any:
        """The means of the normal draws."""
        return self.base_dist.base_dist.loc  # type: ignore[attr-defined]

    @property
    def scale(self) -> Any:
        """The standard deviations of the normal draws."""
        return self.base_dist.base_dist.scale  # type: ignore[attr-defined]
