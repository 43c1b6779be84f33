"""Stochastic gradient descent, with momentum, weight decay and Nesterov's variant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..functional.creation import stored_zeros
from ..functional.updates import descend, gather_speed, steady
from ..tensor import Tensor
from .optimizer import Group, Member, Optimizer, directed, require, require_form, require_rate


class SGD(Optimizer):
    """parameter -= lr * gradient, with PyTorch's options. Same as torch.optim.SGD.

    Args:
        params: see Optimizer.
        lr: the learning rate; it may change between steps, and may be a tensor with one element.
        momentum: what of the last direction is kept; `dampening`: what of the gradient is left out when it is added to it.
        weight_decay: this times the parameter is added to the gradient.
        nesterov: look ahead along the momentum.
        maximize: go up instead of down.
        differentiable: record the step for autograd.
        foreach, fused: taken for PyTorch's sake; the compiler fuses the step in any case.

    Raises:
        RuntimeError: `fused` together with `foreach` or `differentiable`.
        ValueError: a negative option; Nesterov without momentum, or with dampening.
    """

    ELEMENTWISE = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        require_rate(lr)
        require(momentum >= 0, "momentum value", momentum)
        require(weight_decay >= 0, "weight_decay value", weight_decay)
        require_form(fused, foreach, differentiable)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
                "maximize": maximize, "foreach": foreach, "differentiable": differentiable, "fused": fused,
            },
        )  # fmt: skip

    def update(self, group: Group, members: list[Member]) -> None:
        lr, decay, maximize = steady(group["lr"]), group["weight_decay"], group["maximize"]
        momentum, nesterov = group["momentum"], group["nesterov"]
        taken = 1.0 - group["dampening"]
        for parameter, direction, state in members:
            direction = directed(direction, parameter, maximize, decay)
            if momentum != 0:
                speed = state.get("momentum_buffer")
                if (
                    speed is None
                ):  # it begins as the direction: as nothing to which all of it is added
                    speed = state["momentum_buffer"] = stored_zeros(parameter)
                    gather_speed(speed, direction, momentum, 1.0)
                else:
                    gather_speed(speed, direction, momentum, taken)
                direction = direction.add(speed, alpha=momentum) if nesterov else speed
            descend(parameter, direction, lr)
