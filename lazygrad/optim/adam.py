"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..functional.creation import stored_zeros
from ..functional.updates import descend_normalized, mix, mix_square
from ..tensor import Tensor
from .optimizer import Group, Member, Optimizer, require, require_form, require_rate


class Adam(Optimizer):
    """Steps along the mean gradient over its root mean square, both exponentially averaged. Same as torch.optim.Adam.

    Args:
        params: see Optimizer.
        lr: the learning rate; it may change between steps, and may be a tensor with one element, as the betas may.
        betas: how much of the average gradient, and of the average square, is kept at each step.
        eps: added to the root mean square.
        weight_decay: this times the parameter is added to the gradient, or, with `decoupled_weight_decay`, this times the
            learning rate times the parameter is subtracted from the parameter.
        amsgrad: divide by the largest mean square so far.
        maximize: go up instead of down.
        differentiable: record the step for autograd.
        foreach, fused, capturable: taken for PyTorch's sake; the compiler fuses the step in any case.

    The step count of the state is a Python number, not a tensor.

    Raises:
        ValueError: a negative option, a beta outside [0, 1), or a tensor of several elements.
        RuntimeError: `fused` together with `foreach` or `differentiable`.
    """

    COUNTERS = ("step",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
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
        require_rate(lr)
        require(eps >= 0, "epsilon value", eps)
        if isinstance(betas[0], Tensor) is not isinstance(betas[1], Tensor):
            raise ValueError("betas must be either both floats or both Tensors")
        for index, beta in enumerate(betas):
            require(0 <= float(beta) < 1, f"beta parameter at index {index}", beta)
        require(weight_decay >= 0, "weight_decay value", weight_decay)
        require_form(fused, foreach, differentiable)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad, "maximize": maximize,
                "foreach": foreach, "capturable": capturable, "differentiable": differentiable, "fused": fused,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )  # fmt: skip

    def update(self, group: Group, members: list[Member]) -> None:
        lr, (beta1, beta2), eps = group["lr"], group["betas"], group["eps"]
        decay, maximize, amsgrad = group["weight_decay"], group["maximize"], group["amsgrad"]
        decoupled = decay != 0 and group["decoupled_weight_decay"]
        kept = 1.0 - lr * decay if decoupled else 1.0
        first, second = 1.0 - beta1, 1.0 - beta2
        taken: Any = None
        for parameter, gradient, state in members:
            if not state:
                state["step"] = 0
                state["exp_avg"] = stored_zeros(parameter)
                state["exp_avg_sq"] = stored_zeros(parameter)
                if amsgrad:
                    state["max_exp_avg_sq"] = stored_zeros(parameter)
            step = state["step"] = state["step"] + 1
            if step != taken:
                # Both corrections are in these two numbers, which do not become 1 as the corrections do: that would compile again.
                taken = step
                root = (1.0 - beta2**step) ** 0.5
                rate, small = lr * root / (1.0 - beta1**step), eps * root
            if maximize:
                gradient = -gradient
            if decay != 0 and not decoupled:
                gradient = gradient.add(parameter, alpha=decay)
            mean = mix(state["exp_avg"], gradient, first)
            square = mix_square(state["exp_avg_sq"], gradient, beta2, second)
            if amsgrad:
                largest = state["max_exp_avg_sq"]
                square = largest.copy_(largest.maximum(square))
            descend_normalized(parameter, mean, square, rate, small, kept)


class AdamW(Adam):
    """Adam with weight decay that does not pass through the averages. Same as torch.optim.AdamW."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
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
