"""Distributions of counts: Poisson, Binomial, NegativeBinomial and Multinomial. Their draws have no gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..autograd.grad_mode import no_grad
from ..functional.activations import logsigmoid
from ..functional.creation import arange
from ..functional.draws import binomial, poisson
from ..functional.gathering import where
from ..tensor import Tensor
from . import constraints
from .discrete import _Binary, _enumerated, _OfClasses, _require_one
from .distribution import Distribution, parameters
from .gamma import Gamma


class Poisson(Distribution):
    """rate^k exp(-rate) / k!. Same as torch.distributions.Poisson."""

    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer

    def __init__(self, rate: float | Tensor, validate_args: bool | None = None) -> None:
        (self.rate,) = parameters(rate)
        super().__init__(tuple(self.rate.shape), (), validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def mode(self) -> Tensor:
        found: Tensor = self.rate.floor()
        return found

    @property
    def variance(self) -> Tensor:
        return self.rate

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            return poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        found: Tensor = value.xlogy(self.rate) - self.rate - (value + 1).lgamma()
        return found


class _Counted(_Binary):
    """A number of trials, and the probability of success of each or its logit."""

    total_count: Tensor

    def __init__(
        self,
        total_count: int | Tensor = 1,
        probs: float | Tensor | None = None,
        logits: float | Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        _require_one(probs, logits)
        name = "logits" if probs is None else "probs"
        (given,) = parameters(logits if probs is None else probs)
        total, value = parameters(total_count, given)
        self.total_count = total.to(value.dtype)
        self.__dict__[name] = value
        Distribution.__init__(self, tuple(value.shape), (), validate_args)


class Binomial(_Counted):
    """How many of `total_count` trials succeed. Same as torch.distributions.Binomial."""

    has_enumerate_support = True
    arg_constraints = {
        "total_count": constraints.nonnegative_integer, "probs": constraints.unit_interval, "logits": constraints.real,
    }  # fmt: skip

    @property
    def support(self) -> Any:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        found: Tensor = self.total_count * self.probs
        return found

    @property
    def mode(self) -> Tensor:
        found: Tensor = ((self.total_count + 1) * self.probs).floor().minimum(self.total_count)
        return found

    @property
    def variance(self) -> Tensor:
        found: Tensor = self.total_count * self.probs * (1 - self.probs)
        return found

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        total, logits = self.total_count, self.logits
        ways = (total + 1).lgamma() - (value + 1).lgamma() - (total - value + 1).lgamma()
        level = total * (logits.clamp(min=0) + (-logits.abs()).exp().log1p())
        found: Tensor = value * logits + ways - level
        return found

    def entropy(self) -> Tensor:
        """Summed over the support.

        Raises:
            NotImplementedError: the numbers of trials differ.
        """
        terms = self.log_prob(self.enumerate_support(False))
        found: Tensor = -(terms.exp() * terms).sum(0)
        return found

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All counts.

        Raises:
            NotImplementedError: the numbers of trials differ.
        """
        total = int(self.total_count.max().item())
        if not self.total_count.min().item() == total:
            raise NotImplementedError(
                "Inhomogeneous total count not supported by `enumerate_support`."
            )
        return _enumerated(arange(1 + total, dtype=self._given.dtype), self, expand)


class NegativeBinomial(_Counted):
    """How many trials succeed before `total_count` fail. Same as torch.distributions.NegativeBinomial."""

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0), "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }  # fmt: skip
    support = constraints.nonnegative_integer

    def __init__(
        self,
        total_count: float | Tensor,
        probs: float | Tensor | None = None,
        logits: float | Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(total_count, probs, logits, validate_args)  # type: ignore[arg-type]

    @property
    def mean(self) -> Tensor:
        found: Tensor = self.total_count * self.logits.exp()
        return found

    @property
    def mode(self) -> Tensor:
        found: Tensor = ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)
        return found

    @property
    def variance(self) -> Tensor:
        found: Tensor = self.mean / (-self.logits).sigmoid()
        return found

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            rates = Gamma(self.total_count, (-self.logits).exp(), validate_args=False)
            return poisson(rates.sample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        total = self.total_count
        plain = total * logsigmoid(-self.logits) + value * logsigmoid(self.logits)
        ways = (total + value).lgamma() - (1.0 + value).lgamma() - total.lgamma()
        found: Tensor = plain + where(total + value == 0.0, 0.0, ways)
        return found


class Multinomial(_OfClasses):
    """How often each class is among `total_count` draws of a Categorical. Same as torch.distributions.Multinomial."""

    def __init__(
        self,
        total_count: int = 1,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        super().__init__(probs, logits, validate_args)

    @property
    def support(self) -> Any:
        return constraints.multinomial(self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        drawn = self._categorical.sample((self.total_count, *sample_shape))
        every = arange(self._categorical._num_events, device=drawn.device)
        counted: Tensor = (drawn.unsqueeze(-1) == every).to(self.probs.dtype).sum(0)
        return counted

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        ways = (value.sum(-1) + 1).lgamma() - (value + 1).lgamma().sum(-1)
        logits = self.logits
        never = (value == 0) & (logits == -float("inf"))
        found: Tensor = ways + (where(never, 0.0, logits) * value).sum(-1)
        return found

    def entropy(self) -> Tensor:
        total = self.total_count
        each = Binomial(total, self.probs, validate_args=False)
        support = each.enumerate_support(False)[1:]
        weights = each.log_prob(support).exp() * (support + 1).lgamma()
        rest: Tensor = support.new_tensor(float(total + 1)).lgamma()
        found: Tensor = total * self._categorical.entropy() - rest + weights.sum((0, -1))
        return found
