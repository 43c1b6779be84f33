"""Schedules that multiply the rate at each epoch, and LambdaLR, which multiplies the first one.

A schedule that multiplies what it finds works together with others (ChainedScheduler). `_ratio` is what an epoch multiplies by;
`_share` what all epochs up to one have multiplied the first rate by.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from ..optimizer import Optimizer
from .scheduler import LRScheduler, Rate, options, restore_functions, saved_functions

Lambda = Callable[[int], float]


class Multiplying(LRScheduler):
    """A schedule with a ratio an epoch, and a closed form for the product of the ratios."""

    def _ratio(self, epoch: int) -> float:
        raise NotImplementedError

    def _share(self, epoch: int) -> float:
        raise NotImplementedError

    def get_lr(self) -> list[Rate]:
        self._warn_outside_step()
        ratio = self._ratio(self.last_epoch)
        return [group["lr"] * ratio for group in self.optimizer.param_groups]

    def _get_closed_form_lr(self) -> list[Rate]:
        share = self._share(self.last_epoch)
        return [rate * share for rate in self.base_lrs]


class StepLR(Multiplying):
    """Multiplies the rates by `gamma` every `step_size` epochs. Same as torch.optim.lr_scheduler.StepLR."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _ratio(self, epoch: int) -> float:
        return self.gamma if epoch != 0 and epoch % self.step_size == 0 else 1.0

    def _share(self, epoch: int) -> float:
        return float(self.gamma ** (epoch // self.step_size))


class MultiStepLR(Multiplying):
    """Multiplies the rates by `gamma` at each of `milestones`. Same as torch.optim.lr_scheduler.MultiStepLR."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _ratio(self, epoch: int) -> float:
        return float(self.gamma ** self.milestones[epoch])

    def _share(self, epoch: int) -> float:
        return float(self.gamma ** bisect_right(sorted(self.milestones.elements()), epoch))


class ConstantLR(Multiplying):
    """Multiplies the rates by `factor` until epoch `total_iters`. Same as torch.optim.lr_scheduler.ConstantLR.

    Raises:
        ValueError: a factor outside [0, 1].
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if factor > 1.0 or factor < 0:
            raise ValueError("Constant multiplicative factor expected to be between 0 and 1.")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _ratio(self, epoch: int) -> float:
        if epoch == 0:
            return self.factor
        return 1.0 / self.factor if epoch == self.total_iters else 1.0

    def _share(self, epoch: int) -> float:
        return 1.0 if epoch >= self.total_iters else self.factor


class LinearLR(Multiplying):
    """Goes from `start_factor` to `end_factor` times the rates in `total_iters` epochs. Same as torch.optim.lr_scheduler.LinearLR.

    Raises:
        ValueError: a start outside (0, 1], an end outside [0, 1].
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if start_factor > 1.0 or start_factor <= 0:
            raise ValueError(
                "Starting multiplicative factor expected to be greater than 0 and less or equal to 1."
            )
        if end_factor > 1.0 or end_factor < 0:
            raise ValueError("Ending multiplicative factor expected to be between 0 and 1.")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _ratio(self, epoch: int) -> float:
        if epoch == 0:
            return self.start_factor
        if self._is_initial or epoch > self.total_iters:
            return 1.0
        slope = self.end_factor - self.start_factor
        return 1.0 + slope / (self.total_iters * self.start_factor + (epoch - 1) * slope)

    def _share(self, epoch: int) -> float:
        slope = self.end_factor - self.start_factor
        return self.start_factor + slope * min(self.total_iters, epoch) / self.total_iters


class ExponentialLR(Multiplying):
    """Multiplies the rates by `gamma` every epoch. Same as torch.optim.lr_scheduler.ExponentialLR."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _ratio(self, epoch: int) -> float:
        return 1.0 if self._is_initial else self.gamma

    def _share(self, epoch: int) -> float:
        return float(self.gamma**epoch)


class PolynomialLR(Multiplying):
    """Goes to nothing in `total_iters` epochs as a power of what is left. Same as torch.optim.lr_scheduler.PolynomialLR."""

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def _ratio(self, epoch: int) -> float:
        if self._is_initial or epoch > self.total_iters:
            return 1.0
        left, before = (1.0 - each / self.total_iters for each in (epoch, epoch - 1))
        return float((left / before) ** self.power)

    def _share(self, epoch: int) -> float:
        return float((1.0 - min(self.total_iters, epoch) / self.total_iters) ** self.power)


class ByFunction(LRScheduler):
    """A schedule by functions of the epoch, one or one for each group."""

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Lambda | list[Lambda], last_epoch: int = -1
    ) -> None:
        groups = len(optimizer.param_groups)
        if not isinstance(lr_lambda, (list, tuple)):
            self.lr_lambdas = [lr_lambda] * groups
        elif len(lr_lambda) != groups:
            raise ValueError(f"Expected {groups} lr_lambdas, but got {len(lr_lambda)}")
        else:
            self.lr_lambdas = list(lr_lambda)
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer; of the functions only the attributes of objects that can be called."""
        return {**super().state_dict(), "lr_lambdas": saved_functions(self.lr_lambdas)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        others = {key: value for key, value in state_dict.items() if key != "lr_lambdas"}
        super().load_state_dict(others)
        restore_functions(self.lr_lambdas, state_dict["lr_lambdas"])


class LambdaLR(ByFunction):
    """The first rate times a function of the epoch. Same as torch.optim.lr_scheduler.LambdaLR.

    Raises:
        ValueError: not as many functions as groups.
    """

    def get_lr(self) -> list[Rate]:
        self._warn_outside_step()
        return [
            rate * function(self.last_epoch)
            for rate, function in zip(self.base_lrs, self.lr_lambdas, strict=True)
        ]


class MultiplicativeLR(ByFunction):
    """Multiplies the rates by a function of the epoch. Same as torch.optim.lr_scheduler.MultiplicativeLR.

    Raises:
        TypeError: something that cannot be called.
        ValueError: not as many functions as groups.
    """

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Lambda | list[Lambda], last_epoch: int = -1
    ) -> None:
        for each in lr_lambda if isinstance(lr_lambda, (list, tuple)) else [lr_lambda]:
            if not callable(each):
                raise TypeError(f"lr_lambda should be a function, but got {type(each).__name__}")
        super().__init__(optimizer, lr_lambda, last_epoch)

    def get_lr(self) -> list[Rate]:
        self._warn_outside_step()
        if self._is_initial:
            return options(self.optimizer, "lr")
        return [
            group["lr"] * function(self.last_epoch)
            for group, function in zip(self.optimizer.param_groups, self.lr_lambdas, strict=True)
        ]
