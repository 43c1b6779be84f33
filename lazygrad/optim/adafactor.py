"""Adafactor: steps divided by the root of an average of squares, of which a matrix keeps only those of its rows and of its columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..functional.creation import stored_zeros
from ..functional.numeric_limits import finfo
from ..functional.updates import descend, mix, steady
from ..tensor import Tensor
from .optimizer import Group, Member, Optimizer


class Adafactor(Optimizer):
    """Adafactor with a relative step size and update clipping. Same as torch.optim.Adafactor.

    Args:
        params: see Optimizer.
        lr: the largest relative step; 1 / sqrt(t) takes its place where that is smaller.
        beta2_decay: what the averages forget at step t is t ** beta2_decay.
        eps: below which a square is not taken (None: the smallest difference of the dtype), and the least scale of a parameter.
        d: an update whose root mean square is above that is scaled down to it.
        weight_decay: how much of the parameter is taken away, times lr.
        maximize: go up instead of down.
        foreach: taken for PyTorch's sake; the compiler fuses the step in any case.

    Raises:
        ValueError: an option out of range, or a rate that is a tensor of several elements.

    Source: Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", 2018.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not float(lr) >= 0:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not beta2_decay <= 0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not eps[0] >= 0:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not eps[1] >= 0:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not d >= 1:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        super().__init__(
            params,
            {
                "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay, "foreach": foreach,
                "maximize": maximize,
            },
        )  # fmt: skip

    def update(self, group: Group, members: list[Member]) -> None:
        lr = group["lr"].item() if isinstance(group["lr"], Tensor) else group["lr"]
        kept = steady(1.0 - lr * group["weight_decay"])
        taken: Any = None
        for parameter, gradient, state in members:
            if not state:
                _begin(gradient, state)
            state["step"] += 1
            if state["step"] != taken:
                taken = state["step"]
                forgotten = steady(taken ** group["beta2_decay"])
                rate = steady(min(lr, taken**-0.5))
            if group["maximize"]:
                gradient = -gradient
            eps = finfo(parameter.dtype).eps if group["eps"][0] is None else group["eps"][0]
            scale = _root_mean_square(parameter).clamp(min=group["eps"][1])
            square = _averaged(gradient, state, forgotten, eps).clamp(min=eps * eps)
            step = square.rsqrt() * gradient
            size = (_root_mean_square(step) / group["d"]).clamp(min=1.0)
            descend(parameter, step * (scale / size), rate, kept)


def _begin(gradient: Tensor, state: dict[str, Any]) -> None:
    state["step"] = 0
    if gradient.dim() > 1:
        state["row_var"] = stored_zeros(gradient[..., :1])
        state["col_var"] = stored_zeros(gradient[..., :1, :])
    else:
        state["variance"] = stored_zeros(gradient)


def _root_mean_square(values: Tensor) -> Tensor:
    root: Tensor = values.norm(2) / values.numel() ** 0.5
    return root


def _averaged(gradient: Tensor, state: dict[str, Any], forgotten: Any, eps: float) -> Tensor:
    """The average of squares; of a matrix the product of those of its rows and its columns, over their mean."""
    squares = gradient.square()
    if "variance" in state:
        return mix(state["variance"], squares, forgotten)
    rows = mix(state["row_var"], squares.mean(-1, keepdim=True), forgotten)
    columns = mix(state["col_var"], squares.mean(-2, keepdim=True), forgotten)
    found: Tensor = (rows @ columns) / rows.mean(-2, keepdim=True).clamp(min=eps)
    return found
