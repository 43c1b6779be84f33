"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..functional.creation import zeros_like
from ..tensor import Tensor
from .optimizer import Group, Optimizer, require


class Adam(Optimizer):
    """Steps along the mean gradient over its root mean square, both exponentially averaged. Same as torch.optim.Adam.

    Args:
        params: see Optimizer.
        lr: the learning rate; it may change between steps.
        betas: how much of the average gradient, and of the average square, is kept at each step.
        eps: added to the root mean square.
        weight_decay: this times the parameter is added to the gradient, or, with `decoupled_weight_decay`, this times the
            learning rate times the parameter is subtracted from the parameter.
        amsgrad: divide by the largest mean square so far.
        maximize: go up instead of down.
        foreach, fused, capturable, differentiable: taken for PyTorch's sake; the compiler fuses the step in any case.

    The step count of the state is a Python number, not a tensor.

    Raises:
        ValueError: a negative option, or a beta outside [0, 1).
    """

    COUNTERS = ("step",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        require(lr >= 0, "learning rate", lr)
        require(eps >= 0, "epsilon value", eps)
        require(0 <= betas[0] < 1, "beta parameter at index 0", betas[0])
        require(0 <= betas[1] < 1, "beta parameter at index 1", betas[1])
        require(weight_decay >= 0, "weight_decay value", weight_decay)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad, "maximize": maximize,
                "foreach": foreach, "capturable": capturable, "differentiable": differentiable, "fused": fused,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )  # fmt: skip

    def update(
        self, parameter: Tensor, gradient: Tensor, group: Group, state: dict[str, Any]
    ) -> None:
        if not state:
            state["step"] = 0
            state["exp_avg"] = zeros_like(parameter)
            state["exp_avg_sq"] = zeros_like(parameter)
            if group["amsgrad"]:
                state["max_exp_avg_sq"] = zeros_like(parameter)
        state["step"] += 1
        lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        if group["maximize"]:
            gradient = -gradient
        if decay != 0:
            if group["decoupled_weight_decay"]:
                parameter.mul_(1 - lr * decay)
            else:
                gradient = gradient + parameter * decay
        mean.copy_(mean + (gradient - mean) * (1 - beta1))
        square.copy_(square * beta2 + gradient * gradient * (1 - beta2))
        if group["amsgrad"]:
            largest = state["max_exp_avg_sq"]
            largest.copy_(largest.maximum(square))
            square = largest
        scale = (1 - beta2 ** state["step"]) ** 0.5
        root = square.sqrt() / scale + group["eps"]
        parameter.sub_(mean / root * (lr / (1 - beta1 ** state["step"])))


class AdamW(Adam):
    """Adam with weight decay that does not pass through the averages. Same as torch.optim.AdamW."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, foreach=foreach,
            capturable=capturable, differentiable=differentiable, fused=fused, decoupled_weight_decay=True,
        )  # fmt: skip
