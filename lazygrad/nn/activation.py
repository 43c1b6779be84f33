"""Activation functions as modules: each applies the function of the same name in nn.functional.

The arguments are attributes, as in torch.nn, and show in the repr.
"""

from __future__ import annotations

import warnings
from typing import Any

from ..ir.dtype import DType
from ..tensor import Tensor
from . import functional, init
from .module import Module
from .parameter import Parameter, empty_parameter


class _Activation(Module):
    """Calls `_function` of nn.functional with the attributes named in `_arguments`."""

    _function: str
    _arguments: tuple[str, ...] = ()

    def forward(self, input: Tensor) -> Tensor:
        arguments = {name: getattr(self, name) for name in self._arguments}
        output: Tensor = getattr(functional, self._function)(input, **arguments)
        return output

    def extra_repr(self) -> str:
        shown = []
        for name in self._arguments:
            value = getattr(self, name)
            if name != "inplace" or value:
                shown.append(f"{name}={value!r}")
        return ", ".join(shown)


class _InPlace(_Activation):
    """An activation whose only argument says whether it overwrites its input."""

    _arguments = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


class ReLU(_InPlace):
    """max(input, 0). Same as torch.nn.ReLU."""

    _function = "relu"


class ReLU6(_InPlace):
    """min(max(input, 0), 6). Same as torch.nn.ReLU6."""

    _function = "relu6"


class SiLU(_InPlace):
    """input * sigmoid(input). Same as torch.nn.SiLU."""

    _function = "silu"


class SELU(_InPlace):
    """The scaled ELU of self-normalising networks. Same as torch.nn.SELU."""

    _function = "selu"


class Mish(_InPlace):
    """input * tanh(softplus(input)). Same as torch.nn.Mish."""

    _function = "mish"


class Hardswish(_InPlace):
    """input * hardsigmoid(input). Same as torch.nn.Hardswish."""

    _function = "hardswish"

    def extra_repr(self) -> str:
        return ""


class Hardsigmoid(_InPlace):
    """min(max(input + 3, 0), 6) / 6. Same as torch.nn.Hardsigmoid."""

    _function = "hardsigmoid"

    def extra_repr(self) -> str:
        return ""


class Tanh(_Activation):
    """The hyperbolic tangent. Same as torch.nn.Tanh."""

    _function = "tanh"


class Sigmoid(_Activation):
    """1 / (1 + exp(-input)). Same as torch.nn.Sigmoid."""

    _function = "sigmoid"


class LogSigmoid(_Activation):
    """log(sigmoid(input)), without overflow. Same as torch.nn.LogSigmoid."""

    _function = "logsigmoid"


class Softsign(_Activation):
    """input / (1 + |input|). Same as torch.nn.Softsign."""

    _function = "softsign"


class Tanhshrink(_Activation):
    """input - tanh(input). Same as torch.nn.Tanhshrink."""

    _function = "tanhshrink"


class LeakyReLU(_Activation):
    """input where positive, else negative_slope * input. Same as torch.nn.LeakyReLU."""

    _function = "leaky_relu"
    _arguments = ("negative_slope", "inplace")

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace


class ELU(_Activation):
    """input where positive, else alpha * (exp(input) - 1). Same as torch.nn.ELU."""

    _function = "elu"
    _arguments = ("alpha", "inplace")

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace


class CELU(ELU):
    """max(0, input) + min(0, alpha * (exp(input / alpha) - 1)). Same as torch.nn.CELU."""

    _function = "celu"


class Hardtanh(_Activation):
    """input clamped to [min_val, max_val]. `min_value` and `max_value` are their older names. Same as torch.nn.Hardtanh."""

    _function = "hardtanh"
    _arguments = ("min_val", "max_val", "inplace")

    def __init__(
        self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False, min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        for old, value in (("min_value", min_value), ("max_value", max_value)):
            if value is not None:
                new = old.replace("value", "val")
                warnings.warn(
                    f"keyword argument `{old}` is deprecated and renamed to `{new}`",
                    FutureWarning,
                    stacklevel=2,
                )
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        if not self.max_val > self.min_val:
            raise AssertionError(
                f"max_val ({self.max_val}) must be greater than min_val ({self.min_val})"
            )
        self.inplace = inplace


class GELU(_Activation):
    """input * P(X <= input) for a normal X; approximate="tanh" is the formula with tanh. Same as torch.nn.GELU."""

    _function = "gelu"
    _arguments = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate


class Softplus(_Activation):
    """log(1 + exp(beta * input)) / beta; the input itself above threshold / beta. Same as torch.nn.Softplus."""

    _function = "softplus"
    _arguments = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold


class _Shrink(_Activation):
    _arguments = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def extra_repr(self) -> str:
        return str(self.lambd)


class Hardshrink(_Shrink):
    """input, but 0 in [-lambd, lambd]. Same as torch.nn.Hardshrink."""

    _function = "hardshrink"


class Softshrink(_Shrink):
    """input moved by lambd towards 0. Same as torch.nn.Softshrink."""

    _function = "softshrink"


class Threshold(_Activation):
    """input where above threshold, else value. Same as torch.nn.Threshold."""

    _function = "threshold"
    _arguments = ("threshold", "value", "inplace")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace


class _AlongAxis(_Activation):
    _arguments = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim


class Softmax(_AlongAxis):
    """exp(input) over its sum along `dim`. Same as torch.nn.Softmax."""

    _function = "softmax"


class LogSoftmax(_AlongAxis):
    """The logarithm of softmax, without overflow. Same as torch.nn.LogSoftmax."""

    _function = "log_softmax"

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmin(_AlongAxis):
    """softmax(-input). Same as torch.nn.Softmin."""

    _function = "softmin"


class Softmax2d(Module):
    """softmax over the channels of (N, C, H, W) or (C, H, W). Same as torch.nn.Softmax2d.

    Raises (when called):
        ValueError: another rank.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in (3, 4):
            raise ValueError(
                f"Softmax2d: expected input to be 3D or 4D, got {input.dim()}D instead"
            )
        output: Tensor = functional.softmax(input, -3)
        return output


class RReLU(Module):
    """input where positive, else input times a draw from U(lower, upper), or their mean after eval(). Same as torch.nn.RReLU."""

    def __init__(
        self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False
    ) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = functional.rrelu(
            input, self.lower, self.upper, self.training, self.inplace
        )
        return output

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}" + (
            ", inplace=True" if self.inplace else ""
        )


class GLU(_Activation):
    """The first half along `dim` times the sigmoid of the second. Same as torch.nn.GLU."""

    _function = "glu"
    _arguments = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim


class PReLU(Module):
    """input where positive, else a learnt slope times it. Same as torch.nn.PReLU."""

    weight: Parameter

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = empty_parameter((num_parameters,), device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set every slope to the value given at the start."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = functional.prelu(input, self.weight)
        return output

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"
