"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..functional.updates import descend_normalized, mix, mix_square, steady
from ..tensor import Tensor
from .optimizer import (
    Group,
    Member,
    Optimizer,
    State,
    directed,
    require,
    require_betas,
    require_form,
    require_rate,
    state_of,
)

COUNTED = {"step": int}
"""What the state of most optimizers counts."""
AVERAGES = ("exp_avg", "exp_avg_sq")
AVERAGES_AND_LARGEST = (*AVERAGES, "max_exp_avg_sq")


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

    The step count of the state is a Python number, and a tensor in a state_dict.

    Raises:
        ValueError: a negative option, a beta outside [0, 1), a tensor of several elements, or a tensor with `foreach`.
        RuntimeError: `fused` together with `foreach` or `differentiable`.
    """

    COUNTERS = COUNTED
    ELEMENTWISE = True

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
        plain_foreach = bool(foreach) and not capturable
        _require_plain("lr", lr, plain_foreach)
        require_rate(lr)
        require(eps >= 0, "epsilon value", eps)
        require_betas(betas)
        require(weight_decay >= 0, "weight_decay value", weight_decay)
        if not any(all(isinstance(beta, kind) for beta in betas) for kind in (float, Tensor)):
            raise ValueError("betas must be either both floats or both Tensors")
        for index, beta in enumerate(betas):
            _require_plain(f"betas[{index}]", beta, plain_foreach)
        require_form(fused, foreach, differentiable)
        super().__init__(
            params,
            {
                "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad, "maximize": maximize,
                "foreach": foreach, "capturable": capturable, "differentiable": differentiable, "fused": fused,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )  # fmt: skip

    def begin(self, group: Group, parameter: Tensor, state: State) -> None:
        state_of(state, parameter, *(AVERAGES_AND_LARGEST if group["amsgrad"] else AVERAGES))

    def update(self, group: Group, members: list[Member]) -> None:
        lr, (beta1, beta2), eps = group["lr"], group["betas"], group["eps"]
        decay, maximize, amsgrad = group["weight_decay"], group["maximize"], group["amsgrad"]
        decoupled = decay != 0 and group["decoupled_weight_decay"]
        kept = steady(1.0 - lr * decay) if decoupled else 1.0
        first, second = 1.0 - beta1, 1.0 - beta2
        taken: Any = None
        for parameter, gradient, state in members:
            if not state:
                self.begin(group, parameter, state)
            step = state["step"] = state["step"] + 1
            if step != taken:
                # Both corrections are in these two numbers, for all parameters that have made as many steps.
                taken = step
                root = (1.0 - beta2**step) ** 0.5
                rate, small = steady(lr * root / (1.0 - beta1**step)), steady(eps * root)
            gradient = directed(gradient, parameter, maximize, 0 if decoupled else decay)
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


def _require_plain(name: str, value: float | Tensor, foreach: bool) -> None:
    """Refuse a tensor that PyTorch's implementation by lists does not take, or of several elements."""
    if isinstance(value, Tensor):
        if foreach:
            raise ValueError(
                f"{name} as a Tensor is not supported for capturable=False and foreach=True"
            )
        if value.numel() != 1:
            raise ValueError(f"Tensor {name} must be 1-element")
