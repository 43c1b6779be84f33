"""Initial values of parameters, by PyTorch's formulas: each fills a tensor in place, outside of autograd, and returns it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from ..autograd.grad_mode import no_grad
from ..functional.creation import eye as identity
from ..random import rand, randn
from ..tensor import Tensor

LINEAR = (
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid",
)  # fmt: skip
"""Functions that ask for no larger weights."""


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity asks for larger weights.

    Raises:
        ValueError: the nonlinearity is not known; `param` is no number.
    """
    if nonlinearity in LINEAR:
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs each output reads (fan in), and how many outputs each input reaches (fan out).

    Raises:
        ValueError: fewer than two axes.
    """
    if tensor.dim() < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"
        )
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """`fans` under the name that PyTorch's programs use."""
    return fans(tensor)


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    """The fan that `mode` names, "fan_in" or "fan_out" in any case."""
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return fans(tensor)[mode == "fan_out"]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with draws from U(a, b)."""
    with no_grad():
        filled: Tensor = tensor.uniform_(a, b, generator=generator)
        return filled


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with draws from N(mean, std^2)."""
    with no_grad():
        filled: Tensor = tensor.normal_(mean, std, generator=generator)
        return filled


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """Fill with draws from N(mean, std^2) cut to [a, b]: the inverse of its distribution function at uniform draws.

    Far out, where the distribution function is flat in the tensor's precision, the draws are those nearest to the mean.
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be incorrect.",
            stacklevel=2,
        )
    low, high = (math.erf((edge - mean) / (std * math.sqrt(2.0))) for edge in (a, b))
    with no_grad():
        tensor.uniform_(low, high, generator=generator).erfinv_()
        cut: Tensor = tensor.mul_(std * math.sqrt(2.0)).add_(mean).clamp_(a, b)
        return cut


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with `val`."""
    with no_grad():
        filled: Tensor = tensor.fill_(val)
        return filled


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return constant_(tensor, 0.0)


def _require_matrix(tensor: Tensor) -> None:
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity.

    Raises:
        ValueError: no matrix.
    """
    _require_matrix(tensor)
    with no_grad():
        filled: Tensor = tensor.copy_(
            identity(*tensor.shape, dtype=tensor.dtype, device=tensor.device)
        )
        return filled


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the weight of a convolution so that it gives back as many input channels as it can, in each group.

    Raises:
        ValueError: the weight does not have 3, 4 or 5 axes, or no multiple of `groups` channels.
    """
    if tensor.dim() not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if tensor.shape[0] % groups:
        raise ValueError("dim 0 must be divisible by groups")
    size = int(tensor.shape[0]) // groups
    same = min(size, int(tensor.shape[1]))
    centre = tuple(int(extent) // 2 for extent in tensor.shape[2:])
    with no_grad():
        tensor.zero_()
        for group in range(groups):
            block = tensor[(slice(group * size, group * size + same), slice(0, same), *centre)]
            block.diagonal().fill_(1)
    return tensor


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill from U(-a, a), a = gain * sqrt(6 / (fan in + fan out))."""
    bound = gain * math.sqrt(6.0 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill from N(0, std^2), std = gain * sqrt(2 / (fan in + fan out))."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans(tensor))), generator)


def _is_empty(tensor: Tensor) -> bool:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return True
    return False


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:  # fmt: skip
    """Fill from U(-b, b), b = gain * sqrt(3 / fan); `a` is the slope of leaky_relu below 0."""
    if _is_empty(tensor):
        return tensor
    fan = _calculate_correct_fan(tensor, mode)
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3.0 / fan)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:  # fmt: skip
    """Fill from N(0, std^2), std = gain / sqrt(fan); `a` is the slope of leaky_relu below 0."""
    if _is_empty(tensor):
        return tensor
    fan = _calculate_correct_fan(tensor, mode)
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(fan), generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """Fill with a matrix (the axes after the first as one) whose rows, or columns if they are fewer, are orthonormal, times `gain`.

    Raises:
        ValueError: fewer than two axes.

    The Q of the decomposition of normal draws, with signs that make it uniform.
    """
    if tensor.dim() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if not tensor.numel():
        return tensor
    from ..functional.linalg.factorizations import linalg_qr

    rows = int(tensor.shape[0])
    columns = tensor.numel() // rows
    shape = (rows, columns) if rows >= columns else (columns, rows)
    draws = randn(*shape, generator=generator, dtype=tensor.dtype, device=tensor.device)
    basis, upper = linalg_qr(draws)
    basis = basis * upper.diagonal().sign()
    with no_grad():
        if rows < columns:
            basis = basis.t()
        tensor.copy_(basis.reshape(tuple(tensor.shape)) * gain)
    return tensor


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Fill a matrix from N(0, std^2), then set the fraction `sparsity` of each column to 0, at random places.

    Raises:
        ValueError: no matrix.
    """
    _require_matrix(tensor)
    zeros = math.ceil(sparsity * int(tensor.shape[0]))
    with no_grad():
        tensor.normal_(0, std, generator=generator)
        order = rand(*tensor.shape, generator=generator, device=tensor.device)
        ranks = order.argsort(0).argsort(0)
        made: Tensor = tensor.masked_fill_(ranks.lt(zeros), 0)
        return made


def _deprecated(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function under its old name, without the underscore."""
    name = function.__name__

    def run(*args: Any, **kwargs: Any) -> Tensor:
        warnings.warn(
            f"`nn.init.{name[:-1]}` is now deprecated in favor of `nn.init.{name}`.",
            FutureWarning,
            stacklevel=2,
        )
        return function(*args, **kwargs)

    run.__name__ = run.__qualname__ = name[:-1]
    run.__doc__ = f"The old name of {name}."
    return run


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
