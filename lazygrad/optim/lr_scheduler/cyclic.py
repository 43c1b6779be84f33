"""Schedules that go up and down, with the momentum going down and up: CyclicLR and OneCycleLR."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..optimizer import Optimizer
from .scheduler import (
    LRScheduler,
    Rate,
    assign,
    for_each_group,
    require_optimizer,
    restore_functions,
    saved_functions,
)


class CyclicLR(LRScheduler):
    """Goes from `base_lr` to `max_lr` and back, again and again. Same as torch.optim.lr_scheduler.CyclicLR.

    Args:
        optimizer: with a momentum, or betas, unless `cycle_momentum` is False.
        base_lr, max_lr: the ends; a number, or one for each group.
        step_size_up, step_size_down: how many steps each way takes.
        mode: "triangular"; "triangular2" halves the height after each cycle; "exp_range" multiplies it by `gamma` at each step.
        scale_fn: what multiplies the height instead, of the cycle's number or ("iterations") of the step's, as `scale_mode` says.
        cycle_momentum: the momentum (the first beta) goes from `max_momentum` to `base_momentum` meanwhile.

    Raises:
        ValueError: an unknown mode; an optimizer without momentum; a list of another length than the groups.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        require_optimizer(optimizer)
        self.optimizer = optimizer
        base_lrs = for_each_group("base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for rate, group in zip(base_lrs, optimizer.param_groups, strict=True):
                assign(group, "lr", rate)
        self.max_lrs = for_each_group("max_lr", optimizer, max_lr)
        up = float(step_size_up)
        down = up if step_size_down is None else float(step_size_down)
        self.total_size = up + down
        self.step_ratio = up / self.total_size
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError("mode is invalid and scale_fn is None")
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_betas(optimizer)
            self.base_momentums = for_each_group("base_momentum", optimizer, base_momentum)
            self.max_momentums = for_each_group("max_momentum", optimizer, max_momentum)
            if last_epoch == -1:
                _begin_momenta(
                    self.optimizer, self.max_momentums, self.base_momentums, self.use_beta1
                )
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """What the height is multiplied by, in cycle (or at step) `x`."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular":
            return 1.0
        return float(0.5 ** (x - 1) if self.mode == "triangular2" else self.gamma**x)

    def get_lr(self) -> list[Rate]:
        self._warn_outside_step()
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        place = 1.0 + self.last_epoch / self.total_size - cycle
        rising = place <= self.step_ratio
        height = place / self.step_ratio if rising else (place - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            ends = zip(self.base_momentums, self.max_momentums, strict=True)
            for group, (low, high) in zip(self.optimizer.param_groups, ends, strict=True):
                _set_momentum(group, high - (high - low) * height * scale, self.use_beta1)
        return [
            low + (high - low) * height * scale
            for low, high in zip(self.base_lrs, self.max_lrs, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer; of a function only the attributes of an object that can be called."""
        state = super().state_dict()
        custom = self._scale_fn_custom
        (state["_scale_fn_custom"],) = [None] if custom is None else saved_functions([custom])
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        others = {key: value for key, value in state_dict.items() if key != "_scale_fn_custom"}
        super().load_state_dict(others)
        restore_functions([self._scale_fn_custom], [state_dict["_scale_fn_custom"]])


class OneCycleLR(LRScheduler):
    """Goes up to `max_lr`, then down to far below where it began, once. Same as torch.optim.lr_scheduler.OneCycleLR.

    Args:
        optimizer: with a momentum, or betas, unless `cycle_momentum` is False.
        max_lr: the top; a number, or one for each group.
        total_steps: how many steps there will be; or `epochs` and `steps_per_epoch`.
        pct_start: what part of them goes up.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: the momentum (the first beta) goes from `max_momentum` to `base_momentum` and back meanwhile.
        div_factor: the first rate is max_lr / div_factor; `final_div_factor`: the last one is that over this.
        three_phase: go down to the first rate as fast as it went up, and only then to the last.

    Raises:
        ValueError: an option outside its range; an optimizer without momentum; more steps than there are.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        require_optimizer(optimizer)
        self.optimizer = optimizer
        self.total_steps = _total(total_steps, epochs, steps_per_epoch)
        self._schedule_phases = _phases(self.total_steps, pct_start, three_phase)
        if pct_start < 0 or pct_start > 1 or not isinstance(pct_start, float):
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._anneal_func_type = anneal_strategy
        tops = for_each_group("max_lr", optimizer, max_lr)
        if last_epoch == -1:
            for group, top in zip(optimizer.param_groups, tops, strict=True):
                group["initial_lr"] = top / div_factor
                group["max_lr"] = top
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_betas(optimizer)
            highest = for_each_group("max_momentum", optimizer, max_momentum)
            lowest = for_each_group("base_momentum", optimizer, base_momentum)
            if last_epoch == -1:
                _begin_momenta(optimizer, highest, lowest, self.use_beta1)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Rate]:
        self._warn_outside_step()
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(
                f"Tried to step {step} times. The specified number of total steps is {self.total_steps}"
            )
        phases = self._schedule_phases
        number = next(
            (n for n, phase in enumerate(phases) if step <= phase["end_step"]), len(phases) - 1
        )
        phase, start = phases[number], phases[number - 1]["end_step"] if number else 0.0
        share = (step - start) / (phase["end_step"] - start)
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[phase["start_lr"]], group[phase["end_lr"]], share))
            if self.cycle_momentum:
                ends = group[phase["start_momentum"]], group[phase["end_momentum"]]
                _set_momentum(group, self._between(*ends, share), self.use_beta1)
        return rates

    def _between(self, start: Any, end: Any, share: float) -> Any:
        if self._anneal_func_type == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)


def _total(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    """How many steps there are.

    Raises:
        ValueError: it is not said, or no positive integer.
    """
    if total_steps is not None:
        given = {"total_steps": total_steps}
    elif epochs is not None and steps_per_epoch is not None:
        given = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
    else:
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    for name, value in given.items():
        if value <= 0 or not isinstance(value, int):
            raise ValueError(f"Expected positive integer {name}, but got {value}")
    return math.prod(given.values())


def _phases(total: int, part: float, three: bool) -> list[dict[str, Any]]:
    """The phases: the last step of each, and which options it goes between."""
    rates = (
        ["initial_lr", "max_lr", "initial_lr", "min_lr"]
        if three
        else ["initial_lr", "max_lr", "min_lr"]
    )
    momenta = ["max_momentum", "base_momentum", "max_momentum", "max_momentum"]
    ends = [float(part * total) - 1, total - 1]
    if three:
        ends.insert(1, float(2 * part * total) - 2)
    return [
        {
            "end_step": end, "start_lr": rates[number], "end_lr": rates[number + 1],
            "start_momentum": momenta[number], "end_momentum": momenta[number + 1],
        }
        for number, end in enumerate(ends)
    ]  # fmt: skip


def _uses_betas(optimizer: Optimizer) -> bool:
    """Whether the momentum is the first beta.

    Raises:
        ValueError: there is none.
    """
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ValueError(
            "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
        )
    return "betas" in optimizer.defaults


def _begin_momenta(
    optimizer: Optimizer, highest: list[float], lowest: list[float], betas: bool
) -> None:
    for group, high, low in zip(optimizer.param_groups, highest, lowest, strict=True):
        _set_momentum(group, high, betas)
        group["max_momentum"], group["base_momentum"] = high, low


def _set_momentum(group: dict[str, Any], momentum: float, betas: bool) -> None:
    if betas:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum
