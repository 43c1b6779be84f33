"""Normalisation and distances of nn.functional."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..ir import composite
from ..ir.node import Node, accumulation
from ..results import result, tensor_nodes
from ..tensor import Tensor
from .arguments import describe_operands, require_floating, sizes_text
from .numeric_limits import finfo
from .registry import function


def _normalized_axes(
    name: str, input: Tensor, normalized_shape: Sequence[int], *affine: Tensor | None
) -> tuple[int, ...]:
    """The last axes, once their sizes and those of the weight and bias are known to be `normalized_shape`."""
    shape = tuple(normalized_shape)
    if not shape:
        raise RuntimeError(
            f"{name}: Expected normalized_shape to be at least 1-dimensional, but got {list(shape)}"
        )
    if tuple(input.shape[-len(shape) :]) != shape:
        expected = "[" + ", ".join(["*", *map(str, shape)]) + "]"
        raise RuntimeError(
            f"{name}: Given normalized_shape={sizes_text(shape)}, expected input with shape {expected}, but got input of "
            f"size{sizes_text(input.shape)}" + describe_operands(input=input)
        )
    for word, each in zip(("weight", "bias"), affine, strict=False):
        if each is not None and tuple(each.shape) != shape:
            raise RuntimeError(
                f"{name}: Expected {word} to be of same shape as normalized_shape, but got {word} of shape "
                f"{sizes_text(each.shape)} and normalized_shape = {sizes_text(shape)}"
            )
    return tuple(range(input.ndim - len(shape), input.ndim))


@function("layer_norm", method=False, nn=True)
def layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None,
    eps: float = 1e-05, cudnn_enable: bool = True,
) -> Tensor:  # fmt: skip
    """(input - mean) / sqrt(variance + eps) over the last axes, times weight, plus bias.

    Args:
        normalized_shape: the sizes of those axes; weight, bias: of that shape.

    Raises:
        RuntimeError: the shapes do not fit.

    Same as torch.nn.functional.layer_norm.
    """
    require_floating("layer_norm", input)
    axes = _normalized_axes("layer_norm", input, normalized_shape, weight, bias)
    if bias is not None and weight is None:
        weight_node: list[Tensor] = []
    else:
        weight_node = [each for each in (weight, bias) if each is not None]
    nodes = tensor_nodes(input, *weight_node)
    node = composite.call("layer_norm", nodes, like=nodes[0], axes=axes, eps=float(eps))
    if bias is not None and weight is None:
        from .arithmetic import add

        return add(result("NativeLayerNormBackward0", node, (input, None, None), (input,)), bias)
    saved = (input,) if weight is None else (input, weight)
    return result("NativeLayerNormBackward0", node, (input, weight, bias), saved)


@function("rms_norm", method=False, nn=True)
def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """input / sqrt(mean of squares + eps) over the last axes, times weight; see `layer_norm`. Same as torch.nn.functional.rms_norm."""
    require_floating("rms_norm", input)
    axes = _normalized_axes("rms_norm", input, normalized_shape, weight)
    given = [input] if weight is None else [input, weight]
    nodes = tensor_nodes(*given)
    small = finfo(accumulation(input.dtype)).eps if eps is None else float(eps)
    node = composite.call("rms_norm", nodes, like=nodes[0], axes=axes, eps=small)
    return result("MulBackward0", node, tuple(given), tuple(given))


def _standardized(node: Node, axes: tuple[int, ...], eps: float) -> Node:
    return composite.call("standardize", [node], like=node, axes=axes, eps=float(eps))


def _per_channel(node: Node, shape: Sequence[Any]) -> Node:
    """A value for each channel (axis 1), in every element."""
    return node.reshape((1, node.shape[0], *(1,) * (len(shape) - 2))).expand(tuple(shape))


@function("group_norm", method=False, nn=True)
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-05,
    cudnn_enabled: bool = True,
) -> Tensor:  # fmt: skip
    """As layer_norm, over each group of channels of (N, C, ...). Same as torch.nn.functional.group_norm."""
    require_floating("group_norm", input)
    if input.ndim < 2 or int(input.shape[1]) % num_groups:
        raise RuntimeError(
            f"group_norm: Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{sizes_text(input.shape)} and num_groups={num_groups}"
        )
    affine = [each for each in (weight, bias) if each is not None]
    node, *rest = tensor_nodes(input, *affine)
    shape = node.shape
    wide = accumulation(node.dtype)  # half types are rounded once, at the end
    grouped = node.reshape((shape[0], num_groups, math.prod(input.shape[1:]) // num_groups))
    made = _standardized(grouped.cast(wide), (2,), eps).reshape(shape)
    found = iter(rest)
    if weight is not None:
        made = made * _per_channel(next(found).cast(wide), shape)
    if bias is not None:
        made = made + _per_channel(next(found).cast(wide), shape)
    made = made.cast(node.dtype)
    return result("NativeGroupNormBackward0", made, (input, weight, bias), (input,))


@function("local_response_norm", module=False, method=False, nn=True)
def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """input / (k + alpha * the mean of squares of `size` channels around each) ** beta; channels outside count as 0.

    Args:
        input: (N, C, ...), at least 3 axes. The mean of integers is cut to an integer, as avg_pool2d's.

    Raises:
        ValueError: fewer axes.

    Same as torch.nn.functional.local_response_norm.
    """
    from .arithmetic import add, div, mul, pow
    from .shaping import narrow

    if input.ndim < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)"
        )
    if not input.numel():
        return input
    channels = int(input.shape[1])
    square = mul(input, input)
    before, after = min(size // 2, channels - 1), min((size - 1) // 2, channels - 1)
    total = square
    for step in range(1, before + 1):
        total = add(total, _shifted(narrow(square, 1, 0, channels - step), step, True))
    for step in range(1, after + 1):
        total = add(total, _shifted(narrow(square, 1, step, channels - step), step, False))
    if input.dtype.kind == "float":
        scaled = mul(total, alpha / size)
    else:
        scaled = mul(div(total, size, rounding_mode="trunc"), alpha)
    return div(input, pow(add(scaled, k), beta))


def _shifted(part: Tensor, step: int, later: bool) -> Tensor:
    """Channels moved by `step` places, zeros in the others."""
    from .padding import pad

    ends = [step, 0] if later else [0, step]
    padded: Tensor = pad(part, [0, 0] * (part.ndim - 2) + ends)
    return padded


@function("normalize", module=False, method=False, nn=True, out=True)
def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """input / its p-norm along `dim`, the norm at least eps. Same as torch.nn.functional.normalize."""
    from .activations import clamp_min
    from .arithmetic import div
    from .reductions import norm
    from .shaping import expand_as

    return div(input, expand_as(clamp_min(norm(input, p, dim, True), eps), input))


@function("cosine_similarity", nn=True, method=False)
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-08) -> Tensor:
    """The cosine of the angle between two tensors along `dim`. Same as torch.nn.functional.cosine_similarity."""
    from .activations import clamp_min
    from .arithmetic import div, mul
    from .reductions import norm, sum
    from .shaping import broadcast_tensors

    x1, x2 = broadcast_tensors(x1, x2)
    left = div(x1, clamp_min(norm(x1, 2, dim, True), eps))
    return sum(mul(left, div(x2, clamp_min(norm(x2, 2, dim, True), eps))), dim)


@function("pairwise_distance", nn=True, method=False)
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of x1 - x2 + eps over the last axis. Same as torch.nn.functional.pairwise_distance."""
    from .arithmetic import add, sub
    from .reductions import norm

    return norm(add(sub(x1, x2), eps), p, -1, keepdim)
