"""MixtureSameFamily: a draw of one of several distributions of one class, which is drawn, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from ..autograd.grad_mode import no_grad
from ..functional.gathering import gather
from ..size import Size
from ..tensor import Tensor
from . import constraints
from .discrete import Categorical
from .distribution import Distribution


class MixtureSameFamily(Distribution):
    """Which component is drawn is the class of a Categorical. Same as torch.distributions.MixtureSameFamily.

    Args:
        mixture_distribution: a Categorical of k classes, batch (...,) or one that broadcasts with it.
        component_distribution: a distribution with the batch (..., k).

    Raises:
        ValueError: they are no distributions; their batches do not fit.
    """

    def __init__(
        self,
        mixture_distribution: Categorical,
        component_distribution: Distribution,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(
                " The Mixture distribution needs to be an  instance of torch.distributions.Categorical"
            )
        if not isinstance(component_distribution, Distribution):
            raise ValueError(
                "The Component distribution needs to be an instance of torch.distributions.Distribution"
            )
        outer = mixture_distribution.batch_shape
        inner = Size(component_distribution.batch_shape[:-1])
        for one, other in zip(reversed(outer), reversed(inner)):
            if one != 1 and other != 1 and one != other:
                raise ValueError(
                    f"`mixture_distribution.batch_shape` ({outer}) is not compatible with "
                    f"`component_distribution.batch_shape`({inner})"
                )
        count, given = mixture_distribution._num_events, component_distribution.batch_shape[-1]
        if count != given:
            raise ValueError(
                f"`mixture_distribution component` ({count}) does not equal `component_distribution.batch_shape[-1]` ({given})"
            )
        self.mixture_distribution = mixture_distribution
        self.component_distribution = component_distribution
        super().__init__(inner, component_distribution.event_shape, validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        made: Self = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        count = self.mixture_distribution._num_events
        made.mixture_distribution = self.mixture_distribution.expand(batch_shape)
        made.component_distribution = self.component_distribution.expand((*batch_shape, count))
        made._batch_shape = Size(batch_shape)
        return made

    @property
    def support(self) -> Any:
        return constraints.MixtureSameFamilyConstraint(self.component_distribution.support)

    @property
    def _axis(self) -> int:
        """Where the components are in a value of each of them."""
        return -1 - len(self.event_shape)

    def _weights(self) -> Tensor:
        """The probabilities of the components, with an axis for each of an event."""
        probs: Tensor = self.mixture_distribution.probs
        return probs.reshape((*probs.shape, *[1] * len(self.event_shape)))

    @property
    def mean(self) -> Tensor:
        found: Tensor = (self._weights() * self.component_distribution.mean).sum(self._axis)
        return found

    @property
    def variance(self) -> Tensor:
        """The mean of the variances, and the variance of the means."""
        parts, weights = self.component_distribution, self._weights()
        apart = (parts.mean - self.mean.unsqueeze(self._axis)).pow(2)
        found: Tensor = (weights * (parts.variance + apart)).sum(self._axis)
        return found

    def cdf(self, value: Tensor) -> Tensor:
        shares = self.component_distribution.cdf(value.unsqueeze(self._axis))
        found: Tensor = (shares * self.mixture_distribution.probs).sum(-1)
        return found

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        each = self.component_distribution.log_prob(value.unsqueeze(self._axis))
        found: Tensor = (each + self.mixture_distribution.logits.log_softmax(-1)).logsumexp(-1)
        return found

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            drawn = self.component_distribution.sample(sample_shape)
            outer = self.mixture_distribution.expand(self.batch_shape)
            which = outer.sample(sample_shape)
            event = len(self.event_shape)
            which = which.reshape((*which.shape, 1, *[1] * event))
            which = which.expand((*which.shape[: which.dim() - event], *self.event_shape))
            made: Tensor = gather(drawn, drawn.dim() + self._axis, which).squeeze(self._axis)
            return made

    def __repr__(self) -> str:
        return (
            f"MixtureSameFamily(\n  {self.mixture_distribution},\n  {self.component_distribution})"
        )
