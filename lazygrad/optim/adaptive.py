"""Adagrad, Adadelta and RMSprop: steps divided by the root of an average of squared gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..functional.creation import stored_full
from ..functional.updates import descend, descend_normalized, gather_speed, mix, mix_square, steady
from ..tensor import Tensor
from .adam import COUNTED
from .optimizer import (
    Group,
    Member,
    Optimizer,
    State,
    directed,
    require,
    require_form,
    require_rate,
    state_of,
)


class Adagrad(Optimizer):
    """Steps along the gradient over the root of the sum of all squares so far. Same as torch.optim.Adagrad.

    Args:
        params: see Optimizer.
        lr: the learning rate, which step number t (from 0) divides by 1 + t * lr_decay.
        weight_decay: this times the parameter is added to the gradient.
        initial_accumulator_value: what the sum of squares begins with.
        eps: added to the root.
        maximize: go up instead of down.
        differentiable: record the step for autograd.
        foreach, fused: taken for PyTorch's sake; the compiler fuses the step in any case.

    Raises:
        ValueError: a negative option, or a tensor of several elements.
        RuntimeError: `fused` together with `foreach` or `differentiable`.
    """

    COUNTERS = COUNTED
    ELEMENTWISE = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        require_rate(lr)
        require(lr_decay >= 0, "lr_decay value", lr_decay)
        require(weight_decay >= 0, "weight_decay value", weight_decay)
        require(
            initial_accumulator_value >= 0,
            "initial_accumulator_value value",
            initial_accumulator_value,
        )
        require(eps >= 0, "epsilon value", eps)
        require_form(fused, foreach, differentiable)
        super().__init__(
            params,
            {
                "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize": maximize,
                "differentiable": differentiable, "fused": fused,
            },
        )  # fmt: skip
        for group in self.param_groups:
            for parameter in group["params"]:
                self.begin(group, parameter, self.state[parameter])

    def begin(self, group: Group, parameter: Tensor, state: State) -> None:
        state["step"] = 0
        state["sum"] = stored_full(parameter, self.defaults["initial_accumulator_value"])

    def update(self, group: Group, members: list[Member]) -> None:
        lr, lr_decay, eps = group["lr"], group["lr_decay"], group["eps"]
        decay, maximize = group["weight_decay"], group["maximize"]
        taken: Any = None
        for parameter, gradient, state in members:
            if not state:
                self.begin(group, parameter, state)
            state["step"] += 1
            if state["step"] != taken:
                taken = state["step"]
                rate = steady(lr / (1.0 + (taken - 1) * lr_decay))
            gradient = directed(gradient, parameter, maximize, decay)
            total = mix_square(state["sum"], gradient, 1.0, 1.0)
            descend_normalized(parameter, gradient, total, rate, eps, 1.0)


class Adadelta(Optimizer):
    """Steps in the parameters' own units: the gradient over its root mean square, times that of the steps before. Same as torch.optim.Adadelta.

    Args:
        params: see Optimizer.
        lr: the learning rate.
        rho: how much of both averages of squares is kept at each step.
        eps: added under both roots.
        weight_decay: this times the parameter is added to the gradient.
        maximize: go up instead of down.
        differentiable: record the step for autograd.
        foreach, capturable: taken for PyTorch's sake; the compiler fuses the step in any case.

    Raises:
        ValueError: a negative option, rho above 1, or a tensor of several elements.
    """

    COUNTERS = COUNTED
    ELEMENTWISE = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        require_rate(lr)
        require(0 <= rho <= 1, "rho value", rho)
        require(eps >= 0, "epsilon value", eps)
        require(weight_decay >= 0, "weight_decay value", weight_decay)
        super().__init__(
            params,
            {
                "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
                "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
            },
        )  # fmt: skip

    def begin(self, group: Group, parameter: Tensor, state: State) -> None:
        state_of(state, parameter, "square_avg", "acc_delta")

    def update(self, group: Group, members: list[Member]) -> None:
        lr, rho, eps = steady(group["lr"]), group["rho"], group["eps"]
        decay, maximize = group["weight_decay"], group["maximize"]
        for parameter, gradient, state in members:
            if not state:
                self.begin(group, parameter, state)
            state["step"] += 1
            gradient = directed(gradient, parameter, maximize, decay)
            square = mix_square(state["square_avg"], gradient, rho, 1.0 - rho)
            steps = state["acc_delta"]
            delta = (steps + eps).sqrt() / (square + eps).sqrt() * gradient
            mix_square(steps, delta, rho, 1.0 - rho)
            descend(parameter, delta, lr)


class RMSprop(Optimizer):
    """Steps along the gradient over its root mean square. Same as torch.optim.RMSprop.

    Args:
        params: see Optimizer.
        lr: the learning rate.
        alpha: how much of the average of squares is kept at each step.
        eps: added to the root.
        weight_decay: this times the parameter is added to the gradient.
        momentum: what of the last direction is kept.
        centered: divide by the standard deviation instead: the square of the mean gradient is subtracted from the mean square.
        maximize: go up instead of down.
        differentiable: record the step for autograd.
        foreach, capturable: taken for PyTorch's sake; the compiler fuses the step in any case.

    Raises:
        ValueError: a negative option, or a tensor of several elements.
    """

    COUNTERS = COUNTED
    ELEMENTWISE = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        require_rate(lr)
        require(eps >= 0, "epsilon value", eps)
        require(momentum >= 0, "momentum value", momentum)
        require(weight_decay >= 0, "weight_decay value", weight_decay)
        require(alpha >= 0, "alpha value", alpha)
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered, "weight_decay": weight_decay,
                "capturable": capturable, "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
            },
        )  # fmt: skip

    def begin(self, group: Group, parameter: Tensor, state: State) -> None:
        buffers = ["square_avg"]
        if group["momentum"] > 0:
            buffers.append("momentum_buffer")
        if group["centered"]:
            buffers.append("grad_avg")
        state_of(state, parameter, *buffers)

    def update(self, group: Group, members: list[Member]) -> None:
        lr, alpha, eps = steady(group["lr"]), group["alpha"], group["eps"]
        decay, maximize = group["weight_decay"], group["maximize"]
        momentum, centered = group["momentum"], group["centered"]
        for parameter, gradient, state in members:
            if not state:
                self.begin(group, parameter, state)
            state["step"] += 1
            gradient = directed(gradient, parameter, maximize, decay)
            spread = mix_square(state["square_avg"], gradient, alpha, 1.0 - alpha)
            if centered:
                mean = mix(state["grad_avg"], gradient, 1.0 - alpha)
                spread = spread - mean * mean
            if momentum > 0:
                scaled = gradient / (spread.sqrt() + eps)
                speed = gather_speed(state["momentum_buffer"], scaled, momentum, 1.0)
                descend(parameter, speed, lr)
            else:
                descend_normalized(parameter, gradient, spread, lr, eps, 1.0)
