"""ContinuousBernoulli: numbers between 0 and 1 with the density C probs^x (1 - probs)^(1 - x).

C and the moments are quotients of 0 and 0 where probs is 1/2; near it they are the first terms of their series.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..functional.gathering import where
from ..random import rand
from ..tensor import Tensor
from . import constraints
from .discrete import _Binary, _inside


class ContinuousBernoulli(_Binary):
    """C probs^x (1 - probs)^(1 - x) for x in [0, 1]. Same as torch.distributions.ContinuousBernoulli.

    Args:
        probs, logits: one of them.
        lims: between these probabilities series are used.

    Raises:
        ValueError: not exactly one of probs and logits; a value is outside of its range.
    """

    has_rsample = True
    support = constraints.unit_interval

    def __init__(
        self,
        probs: float | Tensor | None = None,
        logits: float | Tensor | None = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        self._lims = lims
        super().__init__(probs, logits, validate_args)
        if "probs" in self.__dict__:
            self.__dict__["probs"] = _inside(self.__dict__["probs"])

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)
        return _inside(found) if name == "probs" else found

    def _apart(self) -> tuple[Tensor, Tensor, Tensor]:
        """Where probs is not near 1/2; probs there, and the lower limit elsewhere; how far probs is from 1/2."""
        probs = self.probs
        outside = (probs <= self._lims[0]) | (probs > self._lims[1])
        return outside, where(outside, probs, self._lims[0]), probs - 0.5

    def _log_factor(self) -> Tensor:
        """log C."""
        outside, probs, away = self._apart()
        exact = ((-probs).log1p() - probs.log()).abs().log()
        exact = exact - where(probs <= 0.5, -2.0 * probs, 2.0 * (probs - 1.0)).log1p()
        square = away * away
        near = math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * square) * square
        made: Tensor = where(outside, exact, near)
        return made

    @property
    def mean(self) -> Tensor:
        outside, probs, away = self._apart()
        exact = probs / (2.0 * probs - 1.0) + 1.0 / ((-probs).log1p() - probs.log())
        made: Tensor = where(outside, exact, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * away * away) * away)
        return made

    @property
    def variance(self) -> Tensor:
        outside, probs, away = self._apart()
        exact = probs * (probs - 1.0) / (1.0 - 2.0 * probs).pow(2)
        exact = exact + 1.0 / ((-probs).log1p() - probs.log()).pow(2)
        square = away * away
        near = 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * square) * square
        made: Tensor = where(outside, exact, near)
        return made

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.rsample(sample_shape).detach()

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        given = self._given
        return self.icdf(rand(*shape, dtype=given.dtype, device=given.device))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return self._log_factor() - self._surprise(value)

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        outside, probs, _ = self._apart()
        rising = probs.pow(value) * (1.0 - probs).pow(1.0 - value)
        inside = where(outside, (rising + probs - 1.0) / (2.0 * probs - 1.0), value)
        made: Tensor = where(value <= 0.0, 0.0, where(value >= 1.0, 1.0, inside))
        return made

    def icdf(self, value: Tensor) -> Tensor:
        outside, probs, _ = self._apart()
        failure = (-probs).log1p()
        exact = ((-probs + value * (2.0 * probs - 1.0)).log1p() - failure) / (probs.log() - failure)
        made: Tensor = where(outside, exact, value)
        return made

    def entropy(self) -> Tensor:
        failure, success = (-self.probs).log1p(), self.probs.log()
        found: Tensor = self.mean * (failure - success) - self._log_factor() - failure
        return found
