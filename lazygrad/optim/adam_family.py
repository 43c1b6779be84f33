"""Adamax, NAdam and RAdam: Adam with another norm, with Nesterov's momentum, and with a rectified first phase."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..functional.updates import descend, descend_normalized, mix, mix_square, steady
from ..tensor import Tensor
from .adam import AVERAGES, COUNTED
from .optimizer import (
    Group,
    Member,
    Optimizer,
    State,
    directed,
    require,
    require_betas,
    require_rate,
    state_of,
)


class Adamax(Optimizer):
    """Adam with the largest decayed gradient in place of the root mean square. Same as torch.optim.Adamax.

    Args:
        params: see Optimizer.
        lr: the learning rate.
        betas: how much of the average gradient, and of the largest gradient, is kept at each step.
        eps: added to the absolute gradient.
        weight_decay: this times the parameter is added to the gradient.
        maximize: go up instead of down.
        differentiable: record the step for autograd.
        foreach, capturable: taken for PyTorch's sake; the compiler fuses the step in any case.

    Raises:
        ValueError: a negative option, a beta outside [0, 1), or a tensor of several elements.
    """

    COUNTERS = COUNTED
    ELEMENTWISE = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        _require(lr, betas, eps, weight_decay)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
                "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
            },
        )  # fmt: skip

    def begin(self, group: Group, parameter: Tensor, state: State) -> None:
        state_of(state, parameter, "exp_avg", "exp_inf")

    def update(self, group: Group, members: list[Member]) -> None:
        lr, (beta1, beta2), eps = group["lr"], group["betas"], group["eps"]
        decay, maximize = group["weight_decay"], group["maximize"]
        taken: Any = None
        for parameter, gradient, state in members:
            if not state:
                self.begin(group, parameter, state)
            state["step"] += 1
            if state["step"] != taken:
                taken = state["step"]
                rate = steady(lr / (1.0 - beta1**taken))
            gradient = directed(gradient, parameter, maximize, decay)
            mean = mix(state["exp_avg"], gradient, 1.0 - beta1)
            largest = state["exp_inf"]
            largest.copy_((largest * beta2).maximum(gradient.abs() + eps))
            descend(parameter, mean / largest, rate)


class NAdam(Optimizer):
    """Adam that looks ahead along its momentum. Same as torch.optim.NAdam.

    Args:
        params: see Optimizer.
        lr: the learning rate.
        betas: how much of the average gradient, and of the average square, is kept at each step.
        eps: added to the root mean square.
        weight_decay: this times the parameter is added to the gradient, or, with `decoupled_weight_decay`, this times the
            learning rate times the parameter is subtracted from the parameter.
        momentum_decay: how fast the momentum comes near its final value: at step t it is beta1 * (1 - 0.96 ** (t * momentum_decay) / 2).
        maximize: go up instead of down.
        differentiable: record the step for autograd.
        foreach, capturable: taken for PyTorch's sake; the compiler fuses the step in any case.

    Raises:
        ValueError: a negative option, a beta outside [0, 1), or a tensor of several elements.
    """

    COUNTERS = {**COUNTED, "mu_product": float}
    ELEMENTWISE = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        _require(lr, betas, eps, weight_decay)
        require(momentum_decay >= 0, "momentum_decay value", momentum_decay)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach,
                "capturable": capturable, "differentiable": differentiable,
            },
        )  # fmt: skip

    def begin(self, group: Group, parameter: Tensor, state: State) -> None:
        state_of(state, parameter, *AVERAGES)["mu_product"] = 1.0

    def update(self, group: Group, members: list[Member]) -> None:
        lr, (beta1, beta2), eps = group["lr"], group["betas"], group["eps"]
        maximize, momentum_decay = group["maximize"], group["momentum_decay"]
        decay, kept = _decay(group)
        taken: Any = None
        for parameter, gradient, state in members:
            if not state:
                self.begin(group, parameter, state)
            step = state["step"] = state["step"] + 1
            known = (step, state["mu_product"])
            if known != taken:
                taken = known
                momentum, ahead = (
                    beta1 * (1.0 - 0.5 * 0.96 ** (at * momentum_decay)) for at in (step, step + 1)
                )
                product = state["mu_product"] * momentum
                root = (1.0 - beta2**step) ** 0.5
                rate, small = steady(lr * root), steady(eps * root)
                now = steady((1.0 - momentum) / (1.0 - product))
                then = steady(ahead / (1.0 - product * ahead))
            state["mu_product"] = product
            gradient = directed(gradient, parameter, maximize, decay)
            mean = mix(state["exp_avg"], gradient, 1.0 - beta1)
            square = mix_square(state["exp_avg_sq"], gradient, beta2, 1.0 - beta2)
            along = gradient * now + mean * then
            descend_normalized(parameter, along, square, rate, small, kept)


class RAdam(Optimizer):
    """Adam that divides by the root mean square only once its variance is known well enough. Same as torch.optim.RAdam.

    Args:
        params: see Optimizer.
        lr: the learning rate.
        betas: how much of the average gradient, and of the average square, is kept at each step.
        eps: added to the root mean square.
        weight_decay: this times the parameter is added to the gradient, or, with `decoupled_weight_decay`, this times the
            learning rate times the parameter is subtracted from the parameter.
        maximize: go up instead of down.
        differentiable: record the step for autograd.
        foreach, capturable: taken for PyTorch's sake; the compiler fuses the step in any case.

    Raises:
        ValueError: a negative option, a beta outside [0, 1), or a tensor of several elements.
    """

    COUNTERS = COUNTED
    ELEMENTWISE = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        _require(lr, betas, eps, weight_decay)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize, "foreach": foreach,
                "capturable": capturable, "decoupled_weight_decay": decoupled_weight_decay,
                "differentiable": differentiable,
            },
        )  # fmt: skip

    def begin(self, group: Group, parameter: Tensor, state: State) -> None:
        state_of(state, parameter, *AVERAGES)

    def update(self, group: Group, members: list[Member]) -> None:
        lr, (beta1, beta2), eps = group["lr"], group["betas"], group["eps"]
        maximize = group["maximize"]
        decay, kept = _decay(group)
        longest = 2.0 / (1.0 - beta2) - 1.0
        taken: Any = None
        for parameter, gradient, state in members:
            if not state:
                self.begin(group, parameter, state)
            step = state["step"] = state["step"] + 1
            if step != taken:
                taken = step
                rate = lr / (1.0 - beta1**step)
                power = beta2**step
                length = longest - 2.0 * step * power / (1.0 - power)
                known = length > 5.0  # the length of an average that has as much variance
                if known:
                    over = (length - 4.0) * (length - 2.0) * longest
                    under = (longest - 4.0) * (longest - 2.0) * length
                    rate = rate * (over / under * (1.0 - power)) ** 0.5
                rate = steady(rate)
            gradient = directed(gradient, parameter, maximize, decay)
            mean = mix(state["exp_avg"], gradient, 1.0 - beta1)
            square = mix_square(state["exp_avg_sq"], gradient, beta2, 1.0 - beta2)
            if known:
                descend_normalized(parameter, mean, square, rate, eps, kept)
            else:
                descend(parameter, mean, rate, kept)


def _decay(group: Group) -> tuple[float, Any]:
    """The weight decay of the gradient, and what of the parameter is kept at a step."""
    decay = group["weight_decay"]
    if decay != 0 and group["decoupled_weight_decay"]:
        return 0.0, steady(1.0 - group["lr"] * decay)
    return decay, 1.0


def _require(lr: float | Tensor, betas: Any, eps: float, weight_decay: float) -> None:
    require_rate(lr)
    require(eps >= 0, "epsilon value", eps)
    require_betas(betas)
    require(weight_decay >= 0, "weight_decay value", weight_decay)
