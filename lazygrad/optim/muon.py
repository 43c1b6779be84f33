"""Muon: momentum whose matrices are made orthogonal before each step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..functional.creation import stored_zeros
from ..functional.updates import descend, mix, steady
from ..ir.dtype import bfloat16, float32
from ..tensor import Tensor
from .optimizer import Group, Member, Optimizer

ADJUSTMENTS = ("original", "match_rms_adamw")


class Muon(Optimizer):
    """Steps along the momentum's nearest orthogonal matrix, for parameters that are matrices. Same as torch.optim.Muon.

    Args:
        params: see Optimizer; every one has two dimensions.
        lr: the learning rate.
        weight_decay: this times the learning rate times the parameter is subtracted from the parameter.
        momentum: how much of the average gradient is kept at each step.
        nesterov: look ahead along the momentum.
        ns_coefficients: of the first, third and fifth power in a Newton-Schulz step, `ns_steps` how many of them there are.
        eps: the least norm that a matrix is divided by.
        adjust_lr_fn: "original" (or None) scales the rate by max(1, rows / columns) ** 0.5; "match_rms_adamw" by
            0.2 * max(rows, columns) ** 0.5, so that the step is as large as AdamW's.

    The matrices are made orthogonal with the precision of bfloat16, as PyTorch's are.

    Raises:
        ValueError: a negative option, an unknown adjustment, coefficients that are not three, 100 steps or more, a parameter that is no matrix.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        for what, value in (
            ("Learning rate", lr),
            ("momentum", momentum),
            ("weight decay", weight_decay),
        ):
            if not float(value) >= 0:
                raise ValueError(f"{what} should be >= 0 but is: {value}")
        if adjust_lr_fn is not None and adjust_lr_fn not in ADJUSTMENTS:
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        super().__init__(
            params,
            {
                "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
                "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn,
            },
        )  # fmt: skip
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim != 2:
                    raise ValueError(
                        f"Muon only supports 2D parameters whereas we found a parameter with size: {parameter.size()}"
                    )

    def update(self, group: Group, members: list[Member]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        kept = steady(1.0 - lr * group["weight_decay"])
        rates: dict[tuple[int, ...], Any] = {}
        for parameter, gradient, state in members:
            if gradient.ndim != 2:
                raise ValueError("Param gradient must be a 2D matrix")
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = stored_zeros(gradient)
            direction = mix(state["momentum_buffer"], gradient, 1.0 - momentum)
            if group["nesterov"]:
                direction = gradient.lerp(direction, momentum)
            step = orthogonal(direction, group["ns_coefficients"], group["ns_steps"], group["eps"])
            shape = tuple(parameter.shape)
            if shape not in rates:
                rates[shape] = steady(lr * _adjustment(group["adjust_lr_fn"], *shape))
            descend(parameter, step, rates[shape], kept)


def orthogonal(matrix: Tensor, coefficients: tuple[float, ...], steps: int, eps: float) -> Tensor:
    """A matrix with nearly the same singular vectors, whose singular values are all near 1, rounded to bfloat16 in each step.

    The Newton-Schulz iteration of https://kellerjordan.github.io/posts/muon/: x -> a x + b (x x') x + c (x x')^2 x.

    Raises:
        ValueError: 100 steps or more; coefficients that are not three.
    """
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    first, third, fifth = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = _rounded(matrix.T if tall else matrix)
    x = _rounded(x / _rounded(x.norm()).clamp(min=eps))
    for _ in range(steps):
        gram = _rounded(x @ x.T)
        x = _rounded(x * first + _rounded(gram * third + (gram @ gram) * fifth) @ x)
    return x.T if tall else x


def _rounded(matrix: Tensor) -> Tensor:
    """The nearest values of bfloat16, in float32: products are summed in it, as PyTorch's of bfloat16 are."""
    made: Tensor = matrix.to(bfloat16).to(float32)
    return made


def _adjustment(name: str | None, rows: int, columns: int) -> float:
    if name == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))
