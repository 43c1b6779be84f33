"""Distributions of truths, classes and counts, by probabilities or by logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from ..functional.creation import arange
from ..functional.gathering import where
from ..functional.losses import binary_cross_entropy_with_logits
from ..functional.numeric_limits import finfo
from ..functional.shaping import broadcast_tensors
from ..ir.dtype import float64
from ..random import rand
from ..tensor import Tensor
from . import constraints
from .continuous import open_uniform
from .distribution import Distribution, parameters

ONE_OF = "Either `probs` or `logits` must be specified, but not both."


def _require_one(probs: Any, logits: Any) -> None:
    if (probs is None) == (logits is None):
        raise ValueError(ONE_OF)


def _inside(probs: Tensor) -> Tensor:
    """Probabilities that have a finite logarithm."""
    eps = finfo(probs.dtype).eps
    clamped: Tensor = probs.clamp(min=eps, max=1 - eps)
    return clamped


class _Binary(Distribution):
    """A distribution of the probability of success of a trial, or of its logit; the one that is not given is made of the other."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}

    def __init__(
        self,
        probs: float | Tensor | None = None,
        logits: float | Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        _require_one(probs, logits)
        name = "logits" if probs is None else "probs"
        (value,) = parameters(logits if probs is None else probs)
        self.__dict__[name] = value
        super().__init__(tuple(value.shape), (), validate_args)

    def __getattr__(self, name: str) -> Any:
        if name == "logits" and "probs" in self.__dict__:
            inside = _inside(self.probs)
            return inside.log() - (-inside).log1p()
        if name == "probs" and "logits" in self.__dict__:
            return self.logits.sigmoid()
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    @property
    def param_shape(self) -> Any:
        """The shape of the parameter."""
        return self._given.size()

    @property
    def _given(self) -> Tensor:
        value: Tensor = self.__dict__["probs" if "probs" in self.__dict__ else "logits"]
        return value

    def _surprise(self, value: Tensor) -> Tensor:
        """The cross entropy of a truth, or of a probability."""
        logits, value = broadcast_tensors(self.logits, value)
        return binary_cross_entropy_with_logits(logits, value, reduction="none")


class Bernoulli(_Binary):
    """1 with probability probs, else 0. Same as torch.distributions.Bernoulli."""

    has_enumerate_support = True
    support = constraints.boolean

    @property
    def mean(self) -> Tensor:
        found: Tensor = self.probs
        return found

    @property
    def mode(self) -> Tensor:
        probs = self.probs
        found: Tensor = where(probs == 0.5, float("nan"), (probs >= 0.5).to(probs.dtype))
        return found

    @property
    def variance(self) -> Tensor:
        found: Tensor = self.probs * (1 - self.probs)
        return found

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        probs = self.probs.detach()
        shape = self._extended_shape(sample_shape)
        drawn = rand(*shape, dtype=probs.dtype, device=probs.device)
        made: Tensor = (drawn < probs).to(probs.dtype)
        return made

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return -self._surprise(value)

    def entropy(self) -> Tensor:
        return self._surprise(self.probs)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return _enumerated(arange(2, dtype=self._given.dtype), self, expand)


class Geometric(_Binary):
    """How many trials fail before the first success: (1 - probs)^x probs. Same as torch.distributions.Geometric."""

    support = constraints.nonnegative_integer

    def __init__(
        self,
        probs: float | Tensor | None = None,
        logits: float | Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(probs, logits, validate_args)
        if self._validate_args and probs is not None:
            self._require_parameter("probs", self.probs, constraints.greater_than(0.0))

    @property
    def mean(self) -> Tensor:
        found: Tensor = 1.0 / self.probs - 1.0
        return found

    @property
    def mode(self) -> Tensor:
        found: Tensor = self.probs * 0
        return found

    @property
    def variance(self) -> Tensor:
        found: Tensor = (1.0 / self.probs - 1.0) / self.probs
        return found

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        probs = self.probs.detach()
        u = open_uniform(self._extended_shape(sample_shape), probs)
        counts: Tensor = (u.log() / (-probs).log1p()).floor()
        return counts

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        value, probs = broadcast_tensors(value, self.probs)
        failing = where((probs == 1) & (value == 0), 0.0, probs)
        found: Tensor = value * (-failing).log1p() + self.probs.log()
        return found

    def entropy(self) -> Tensor:
        found: Tensor = self._surprise(self.probs) / self.probs
        return found


class Categorical(Distribution):
    """A class, int64, by probabilities along the last axis, which need not sum to 1, or by logits. Same as torch.distributions.Categorical.

    A draw is the class with the largest sum of its logit and a Gumbel number (Gumbel, "Statistical theory of extreme values", 1954), so that
    drawing reads nothing.
    """

    has_enumerate_support = True
    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(
        self,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        _require_one(probs, logits)
        given = logits if probs is None else probs
        assert given is not None
        if given.dim() < 1:
            name = "logits" if probs is None else "probs"
            raise ValueError(f"`{name}` parameter must be at least one-dimensional.")
        if probs is not None:
            self.__dict__["probs"] = probs / probs.sum(-1, keepdim=True)
        else:
            self.__dict__["logits"] = given - given.logsumexp(-1, keepdim=True)
        self._num_events = int(given.shape[-1])
        super().__init__(tuple(given.shape[:-1]), (), validate_args)

    def __getattr__(self, name: str) -> Any:
        if name == "logits" and "probs" in self.__dict__:
            return _inside(self.probs).log()
        if name == "probs" and "logits" in self.__dict__:
            return self.logits.softmax(-1)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    @property
    def support(self) -> Any:
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def param_shape(self) -> Any:
        """The shape of the probabilities."""
        return self._given.size()

    @property
    def _given(self) -> Tensor:
        value: Tensor = self.__dict__["probs" if "probs" in self.__dict__ else "logits"]
        return value

    @property
    def mean(self) -> Tensor:
        return self._given.sum(-1) * float("nan")

    @property
    def mode(self) -> Tensor:
        found: Tensor = self._given.argmax(-1)
        return found

    @property
    def variance(self) -> Tensor:
        return self.mean

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        given = self._given.detach().to(float64)
        logits = given.log() if "probs" in self.__dict__ else given
        u = open_uniform((*sample_shape, *given.shape), given)
        found: Tensor = (logits - (-u.log()).log()).argmax(-1)
        return found

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        index, logits = broadcast_tensors(value.long().unsqueeze(-1), self.logits)
        found: Tensor = logits.gather(-1, index[..., :1]).squeeze(-1)
        return found

    def entropy(self) -> Tensor:
        logits = self.logits
        found: Tensor = -(logits.clamp(min=finfo(logits.dtype).min) * self.probs).sum(-1)
        return found

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return _enumerated(arange(self._num_events), self, expand)


class _OfClasses(Distribution):
    """One whose events are vectors with an entry for each class of a Categorical."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(
        self,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._categorical = Categorical(probs, logits, validate_args)
        classes = (self._categorical._num_events,)
        super().__init__(tuple(self._categorical.batch_shape), classes, validate_args)

    @property
    def probs(self) -> Tensor:
        """The probabilities."""
        found: Tensor = self._categorical.probs
        return found

    @property
    def logits(self) -> Tensor:
        """Their logarithms."""
        found: Tensor = self._categorical.logits
        return found

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        made: Self = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._categorical = self._categorical.expand(batch_shape)
        made._batch_shape = made._categorical.batch_shape
        return made

    def __repr__(self) -> str:
        return repr(self._categorical).replace("Categorical", type(self).__name__, 1)


class OneHotCategorical(_OfClasses):
    """A class as a vector that is 1 there and 0 elsewhere. Same as torch.distributions.OneHotCategorical."""

    support = constraints.one_hot
    has_enumerate_support = True

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return self._vectors(self._categorical.mode)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def _vectors(self, classes: Tensor) -> Tensor:
        every = arange(self._categorical._num_events, device=classes.device)
        made: Tensor = (classes.unsqueeze(-1) == every).to(self._categorical._given.dtype)
        return made

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._vectors(self._categorical.sample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return self._categorical.log_prob(value.argmax(-1))

    def entropy(self) -> Tensor:
        return self._categorical.entropy()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._vectors(self._categorical.enumerate_support(expand))


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """As OneHotCategorical; gradients of draws go to the probabilities. Same as torch.distributions.OneHotCategoricalStraightThrough."""

    has_rsample = True

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.sample(sample_shape) + (self.probs - self.probs.detach())


def _enumerated(values: Tensor, distribution: Distribution, expand: bool) -> Tensor:
    made: Tensor = values.reshape(-1, *[1] * len(distribution.batch_shape))
    if expand:
        made = made.expand(-1, *distribution.batch_shape)
    return made
