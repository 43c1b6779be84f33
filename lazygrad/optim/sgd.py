"""Stochastic gradient descent, with momentum, weight decay and Nesterov's variant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..tensor import Tensor
from .optimizer import Group, Optimizer, require


class SGD(Optimizer):
    """parameter -= lr * gradient, with PyTorch's options. Same as torch.optim.SGD.

    Args:
        params: see Optimizer.
        lr: the learning rate; it may change between steps.
        momentum: what of the last direction is kept; `dampening`: what of the gradient is left out when it is added to it.
        weight_decay: this times the parameter is added to the gradient.
        nesterov: look ahead along the momentum.
        maximize: go up instead of down.
        foreach, fused, differentiable: taken for PyTorch's sake; the compiler fuses the step in any case.

    Raises:
        ValueError: a negative option; Nesterov without momentum, or with dampening.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
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
        require(lr >= 0, "learning rate", lr)
        require(momentum >= 0, "momentum value", momentum)
        require(weight_decay >= 0, "weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
                "maximize": maximize, "foreach": foreach, "differentiable": differentiable, "fused": fused,
            },
        )  # fmt: skip

    def update(
        self, parameter: Tensor, gradient: Tensor, group: Group, state: dict[str, Any]
    ) -> None:
        direction = -gradient if group["maximize"] else gradient
        if group["weight_decay"] != 0:
            direction = direction + parameter * group["weight_decay"]
        momentum = group["momentum"]
        if momentum != 0:
            kept = state.get("momentum_buffer")
            if kept is None:
                kept = state["momentum_buffer"] = direction.detach().clone()
            else:
                kept.copy_(kept * momentum + direction * (1 - group["dampening"]))
            direction = direction + kept * momentum if group["nesterov"] else kept
        parameter.sub_(direction * group["lr"])
