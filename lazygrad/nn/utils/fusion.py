"""Batch norms in evaluation mode, taken into the weights of the layer before them; and modules whose parameters are not drawn.

In: a convolution or a linear layer, and the norm of its output. Out: one layer that computes both. torch.nn.utils.fusion.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from ...functional.creation import ones_like, zeros_like
from ...tensor import Tensor
from ..module import Module
from ..parameter import Parameter

Layer = TypeVar("Layer", bound=Module)


def _scaled(
    weight: Tensor, bias: Tensor | None, mean: Tensor, variance: Tensor, eps: float, scale: Tensor | None, shift: Tensor | None, axis: int
) -> tuple[Parameter, Parameter]:  # fmt: skip
    bias = zeros_like(mean) if bias is None else bias
    scale = ones_like(mean) if scale is None else scale
    shift = zeros_like(mean) if shift is None else shift
    factor = (variance + eps).rsqrt() * scale
    shape = [1] * weight.dim()
    shape[axis] = -1
    made = (weight * factor.reshape(shape)).to(weight.dtype)
    moved = ((bias - mean) * factor + shift).to(bias.dtype)
    return Parameter(made, weight.requires_grad), Parameter(moved, bias.requires_grad)


def fuse_conv_bn_weights(
    conv_w: Tensor, conv_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor | None, bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """The weight and bias of a convolution and the norm behind it. Same as torch.nn.utils.fuse_conv_bn_weights."""
    return _scaled(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 1 if transpose else 0)


def fuse_linear_bn_weights(
    linear_w: Tensor, linear_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor, bn_b: Tensor
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """The weight and bias of a linear layer and the norm behind it. Same as torch.nn.utils.fuse_linear_bn_weights."""
    return _scaled(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)


def _fused(layer: Layer, norm: Any, *more: bool, weights: Callable[..., Any]) -> Layer:
    if layer.training or norm.training:
        raise AssertionError("Fusion only for eval!")
    if norm.running_mean is None or norm.running_var is None:
        raise AssertionError("expected a norm with running statistics")
    made = copy.deepcopy(layer)
    given: Any = made
    given.weight, given.bias = weights(
        given.weight, given.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias, *more
    )  # fmt: skip
    return made


def fuse_conv_bn_eval(conv: Layer, bn: Module, transpose: bool = False) -> Layer:
    """A convolution that does what `conv` and the norm behind it do. Same as torch.nn.utils.fuse_conv_bn_eval.

    Raises:
        AssertionError: one of them is in training mode.
    """
    return _fused(conv, bn, transpose, weights=fuse_conv_bn_weights)


def fuse_linear_bn_eval(linear: Layer, bn: Any) -> Layer:
    """A linear layer that does what `linear` and the norm behind it do. Same as torch.nn.utils.fuse_linear_bn_eval.

    Raises:
        AssertionError: one of them is in training mode, or the sizes do not fit.
    """
    features: int = linear.out_features
    if features != bn.num_features and bn.num_features != 1:
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1"
        )
    return _fused(linear, bn, weights=fuse_linear_bn_weights)


def skip_init(module_cls: Callable[..., Layer], *args: Any, **kwargs: Any) -> Layer:
    """A module whose parameters have no values yet. Same as torch.nn.utils.skip_init.

    Values are drawn when they are read, so leaving them out costs nothing that drawing them would not.
    """
    device = kwargs.get("device")
    made = module_cls(*args, **kwargs)
    return made if device is None else made.to_empty(device=device)
