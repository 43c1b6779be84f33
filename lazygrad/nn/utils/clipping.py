"""Clipping gradients, by their norm or their values; and parameters as one vector, there and back.

In: tensors, of which those without a gradient are passed over. Out: gradients changed in place; nothing is computed before it is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from ...autograd.grad_mode import no_grad
from ...functional.casting import convert
from ...functional.creation import tensor
from ...functional.joining import cat, stack
from ...tensor import Tensor


def _listed(given: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [given] if isinstance(given, Tensor) else list(given)


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [each.grad for each in _listed(parameters) if each.grad is not None]


def _norm(value: Tensor, norm_type: float) -> Tensor:
    """The norm of all elements, as of one vector."""
    norm: Tensor = value.norm(norm_type)
    return norm


@no_grad()
def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of the tensors' norms, which is that of all elements as one vector. Same as torch.nn.utils.get_total_norm.

    Args:
        norm_type: the power, or infinity.
        foreach: taken for PyTorch's sake.

    Raises:
        RuntimeError: `error_if_nonfinite`, and it is infinite or NaN.
    """
    tensors = _listed(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return tensor(0.0)
    total = _norm(stack([_norm(each, norm_type) for each in tensors]), norm_type)
    if error_if_nonfinite and not bool(total.isfinite().item()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be clipped. To "
            "disable this error and scale the gradients by the non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    total_norm: Tensor,
    foreach: bool | None = None,
) -> None:
    """Scale the gradients so that a norm of `total_norm` becomes `max_norm` at most. Same as torch.nn.utils.clip_grads_with_norm_."""
    gradients = _gradients(parameters)
    if gradients:
        scale = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(convert(scale, None, gradient.place))


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients so that their norm, as of one vector, is `max_norm` at most. Same as torch.nn.utils.clip_grad_norm_.

    Args:
        parameters: a tensor, or tensors.
        norm_type: the power, or infinity.
        foreach: taken for PyTorch's sake.

    Returns: the norm before, ().

    Raises:
        RuntimeError: `error_if_nonfinite`, and the norm is infinite or NaN.
    """
    parameters = _listed(parameters)
    total = get_total_norm(_gradients(parameters), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(parameters, max_norm, total, foreach)
    return total


@no_grad()
def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Hold every element of the gradients between -clip_value and clip_value. Same as torch.nn.utils.clip_grad_value_."""
    limit = float(clip_value)
    for gradient in _gradients(parameters):
        gradient.clamp_(-limit, limit)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements in one vector, in order, with gradients. Same as torch.nn.utils.parameters_to_vector."""
    return cat([each.reshape(-1) for each in parameters])


def vector_to_parameters(vec: Any, parameters: Iterable[Tensor]) -> None:
    """Give each parameter its part of a vector as its `.data`. Same as torch.nn.utils.vector_to_parameters.

    Raises:
        TypeError: the vector is no tensor.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    offset = 0
    for each in parameters:
        size = each.numel()
        each.data = vec[offset : offset + size].view(each.shape).data
        offset += size


def clip_grad_norm(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The older name of `clip_grad_norm_`."""
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)
