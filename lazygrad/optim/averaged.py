"""ASGD and Rprop: gradient descent that averages its path, and descent by the gradient's sign alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..functional.creation import stored_full
from ..functional.gathering import where
from ..functional.updates import descend, mix, steady
from ..tensor import Tensor
from .adam import COUNTED
from .optimizer import (
    Group,
    Member,
    Optimizer,
    State,
    directed,
    require,
    require_rate,
    state_of,
)


class ASGD(Optimizer):
    """Gradient descent whose path is averaged in the state's "ax". Same as torch.optim.ASGD.

    Args:
        params: see Optimizer.
        lr: the learning rate, which step t divides by (1 + lambd * lr * t) ** alpha.
        lambd: what of the parameter, times the rate, is lost at each step.
        t0: the step at which averaging begins.
        weight_decay: this times the parameter is added to the gradient.
        maximize: go up instead of down.
        differentiable: record the step for autograd.
        foreach, capturable: taken for PyTorch's sake; the compiler fuses the step in any case.

    Raises:
        ValueError: a negative learning rate or weight decay, or a tensor of several elements.
    """

    COUNTERS = {**COUNTED, "eta": float, "mu": float}
    ELEMENTWISE = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        require_rate(lr)
        require(weight_decay >= 0, "weight_decay value", weight_decay)
        super().__init__(
            params,
            {
                "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "foreach": foreach,
                "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
            },
        )  # fmt: skip

    def begin(self, group: Group, parameter: Tensor, state: State) -> None:
        state_of(state, parameter, "ax").update(eta=float(group["lr"]), mu=1.0)

    def update(self, group: Group, members: list[Member]) -> None:
        lr, lambd, alpha, start = float(group["lr"]), group["lambd"], group["alpha"], group["t0"]
        decay, maximize = group["weight_decay"], group["maximize"]
        taken: Any = None
        for parameter, gradient, state in members:
            if not state:
                self.begin(group, parameter, state)
            step = state["step"] = state["step"] + 1
            known = (step, state["eta"], state["mu"])
            if known != taken:
                taken = known
                rate, kept = steady(state["eta"]), steady(1.0 - lambd * state["eta"])
                begins, weight = state["mu"] == 1, steady(state["mu"])
            average = state["ax"]
            gradient = directed(gradient, parameter, maximize, decay)
            descend(parameter, gradient, rate, kept)
            if begins:
                average.copy_(parameter)
            else:
                mix(average, parameter, weight)
            state["eta"] = lr / (1.0 + lambd * lr * step) ** alpha
            state["mu"] = 1.0 / max(1.0, step - start)


class Rprop(Optimizer):
    """Each element has a step of its own, which grows while its gradient keeps its sign. Same as torch.optim.Rprop.

    Args:
        params: see Optimizer.
        lr: every element's first step.
        etas: what a step is multiplied by where the sign has changed, and where it has not.
        step_sizes: the smallest and the largest step.
        maximize: go up instead of down.
        differentiable: record the step for autograd.
        foreach, capturable: taken for PyTorch's sake; the compiler fuses the step in any case.

    Raises:
        ValueError: a negative learning rate, a tensor of several elements, or etas not on both sides of 1.
    """

    COUNTERS = COUNTED
    ELEMENTWISE = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        require_rate(lr)
        require(0.0 < etas[0] < 1.0 < etas[1], "eta values", f"{etas[0]}, {etas[1]}")
        super().__init__(
            params,
            {
                "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize,
                "differentiable": differentiable, "capturable": capturable,
            },
        )  # fmt: skip

    def begin(self, group: Group, parameter: Tensor, state: State) -> None:
        state_of(state, parameter, "prev")
        state["step_size"] = stored_full(parameter, float(group["lr"]))

    def update(self, group: Group, members: list[Member]) -> None:
        (shrink, grow), (smallest, largest) = group["etas"], group["step_sizes"]
        for parameter, gradient, state in members:
            if not state:
                self.begin(group, parameter, state)
            state["step"] += 1
            gradient = directed(gradient, parameter, group["maximize"], 0)
            agreement = gradient * state["prev"]
            sizes = state["step_size"]
            turned = agreement < 0
            factor = where(agreement > 0, grow, where(turned, shrink, agreement.new_ones(())))
            sizes.copy_((sizes * factor).clamp(smallest, largest))
            gradient = where(turned, 0.0, gradient)
            parameter.sub_(gradient.sign() * sizes)
            state["prev"].copy_(gradient)
