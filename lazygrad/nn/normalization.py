"""Normalisation over the last axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.dtype import DType
from ..tensor import Tensor
from . import functional, init
from .module import Module
from .parameter import Parameter, empty_parameter


def _sizes(shape: int | Sequence[int]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


class LayerNorm(Module):
    """Each of the last axes' blocks with mean 0 and variance 1, then scaled and shifted. Same as torch.nn.LayerNorm.

    Args:
        normalized_shape: the sizes of the last axes, over which the mean and the variance are taken.
        eps: added to the variance.
        elementwise_affine: whether there are a learnt weight and (with `bias`) a learnt bias.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _sizes(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        for name, wanted in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            parameter = empty_parameter(self.normalized_shape, device, dtype) if wanted else None
            self.register_parameter(name, parameter)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weight to 1 and the bias to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = functional.layer_norm(
            input, self.normalized_shape, self.weight, self.bias, self.eps
        )
        return output

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """Each of the last axes' blocks over its root mean square, then scaled. Same as torch.nn.RMSNorm.

    Args:
        normalized_shape: the sizes of the last axes, over which the mean square is taken.
        eps: added to the mean square; None is the smallest step at 1 of the input's dtype.
        elementwise_affine: whether there is a learnt weight.
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _sizes(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        wanted = elementwise_affine
        parameter = empty_parameter(self.normalized_shape, device, dtype) if wanted else None
        self.register_parameter("weight", parameter)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weight to 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = functional.rms_norm(input, self.normalized_shape, self.weight, self.eps)
        return output

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )
