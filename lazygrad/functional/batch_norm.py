"""Normalisation by the statistics of a channel: batch norm over the batch too, instance norm for each of its members.

In: (N, C, ...), and for each channel what it is scaled and shifted by and running statistics. Out: a tensor with the record of its
operation; running statistics are written in place. Half types are computed in float32 and rounded once.
"""

from __future__ import annotations

import math

from ..composites.statistics import mean_of
from ..ir import composite
from ..ir.dtype import float32
from ..ir.node import Node, accumulation, unary
from ..ir.op import Op
from ..results import overwrite, result, tensor_nodes
from ..tensor import Tensor
from .arguments import no_kernel, sizes_text
from .joining import repeat
from .registry import function
from .shaping import view


def _check(name: str, input: Tensor, channels: int, **parameters: Tensor | None) -> None:
    """Whether the input is float and the parameters fit it.

    Raises:
        NotImplementedError: it is not float.
        RuntimeError: a parameter has not one element for each channel, or another dtype (float32 fits half types too).
    """
    if input.dtype.kind != "float":
        raise no_kernel(name, input.dtype)
    for word, each in parameters.items():
        if each is None:
            continue
        if tuple(each.shape) != (channels,):
            count = math.prod(each.shape)
            raise RuntimeError(f"{name}: {word} should contain {channels} elements not {count}")
        if each.dtype is not input.dtype and (
            input.dtype.itemsize > 2 or each.dtype is not float32
        ):
            raise RuntimeError(
                f"{name}: mixed dtype (CPU): expect parameter to have scalar type of Float, but {word} is {each.dtype} for an "
                f"input of {input.dtype}"
            )


def _spread(values: Node, like: Node) -> Node:
    """A value for each channel, in every element, in the dtype of `like`."""
    column = values.cast(like.dtype).reshape((1, like.shape[1], *(1,) * (len(like.shape) - 2)))
    return column.expand(like.shape)


def _affine(node: Node, weight: Node | None, bias: Node | None) -> Node:
    if weight is not None:
        node = node * _spread(weight, node)
    return node if bias is None else node + _spread(bias, node)


def _nodes(*tensors: Tensor | None) -> list[Node | None]:
    """The nodes of those that there are."""
    found = iter(tensor_nodes(*[each for each in tensors if each is not None]))
    return [None if each is None else next(found) for each in tensors]


def _move(input: Tensor, running: tuple[Tensor, Tensor], momentum: float, batch: int = 1) -> None:
    """Move running statistics towards the mean and the variance (with correction) of each channel, and of `batch` such inputs their mean."""
    (node,) = tensor_nodes(input.detach())
    values = node.cast(accumulation(node.dtype))
    axes = (0, *range(2, input.ndim))
    count = math.prod(input.shape) // max(input.shape[1], 1)
    mean = mean_of(values, axes)
    centred = values - mean.expand(values.shape)
    variance = mean_of(centred * centred, axes) * (count / max(count - 1, 1))
    for tensor, found in zip(running, (mean, variance), strict=True):
        (before,) = tensor_nodes(tensor.detach())
        new = mean_of(found.reshape((batch, *tensor.shape)), (0,)).reshape(before.shape)
        old = before.cast(new.dtype)
        overwrite(tensor, (old + (new - old) * float(momentum)).cast(tensor.dtype))


def _normalized(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None, bias: Tensor | None,
    by_input: bool, eps: float,
) -> Tensor:  # fmt: skip
    """(input - mean) / sqrt(variance + eps), scaled and shifted: by the input's own statistics, or by running ones."""
    node, scale, shift, mean, variance = _nodes(input, weight, bias, running_mean, running_var)
    assert node is not None
    values = node.cast(accumulation(node.dtype))
    if by_input:
        axes = (0, *range(2, input.ndim))
        made = composite.call("standardize", [values], like=values, axes=axes, eps=float(eps))
    else:
        assert mean is not None and variance is not None
        root = unary(Op.RSQRT, variance.cast(values.dtype).stop() + float(eps))
        made = (values - _spread(mean.stop(), values)) * _spread(root, values)
    made = _affine(made, scale, shift).cast(input.dtype)
    saved = (input,) if weight is None else (input, weight)
    return result("NativeBatchNormBackward0", made, (input, weight, bias), saved)


@function("batch_norm", method=False, module=False, nn=True)
def batch_norm(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-05,
) -> Tensor:  # fmt: skip
    """(input - mean) / sqrt(variance + eps) for each channel, times weight, plus bias.

    Args:
        input: (N, C, ...), float.
        running_mean, running_var: (C,). With `training` they move towards the input's statistics, in place, by `momentum` of the way;
            without, they are the mean and the variance.
        weight, bias: (C,).

    Raises:
        ValueError: training with one value a channel; one of the running statistics alone.
        RuntimeError: sizes or dtypes do not fit; neither training nor running statistics.

    Same as torch.nn.functional.batch_norm.
    """
    if tuple(input.shape) == (0,):  # no channels
        (node,) = tensor_nodes(input)
        return result("NativeBatchNormBackward0", node, (input, weight, bias), (input,))
    if input.ndim < 2:
        raise RuntimeError(
            f"batch_norm: expected at least 2D input (got {input.ndim}D input {sizes_text(input.shape)})"
        )
    if training and math.prod(input.shape) // max(input.shape[1], 1) == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {input.shape}"
        )
    if (running_mean is None) != (running_var is None):
        raise ValueError(
            "batch_norm: running_mean and running_var must either both be None or neither be None"
        )
    if not training and running_mean is None:
        raise RuntimeError("batch_norm: running_mean must be defined in evaluation mode")
    _check(
        "batch_norm", input, input.shape[1], running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )  # fmt: skip
    made = _normalized(input, running_mean, running_var, weight, bias, training, eps)
    if training and running_mean is not None and running_var is not None:
        _move(input, (running_mean, running_var), momentum)
    return made


@function("instance_norm", method=False, module=False, nn=True)
def instance_norm(
    input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None, weight: Tensor | None = None,
    bias: Tensor | None = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-05,
) -> Tensor:  # fmt: skip
    """As `batch_norm`, with a mean and a variance for each channel of each member of the batch.

    Args:
        use_input_stats: whether these are the input's, whose means over the batch the running statistics then move towards.

    Raises:
        ValueError: one element a channel.
        RuntimeError: sizes or dtypes do not fit; no statistics to use.

    Same as torch.nn.functional.instance_norm.
    """
    if use_input_stats and math.prod(input.shape[2:]) == 1:
        raise ValueError(
            f"Expected more than 1 spatial element when training, got input size {input.shape}"
        )
    if (running_mean is None) != (running_var is None):
        raise RuntimeError(
            "instance_norm: Expected running_mean and running_var to both be None or neither"
        )
    if not use_input_stats and running_mean is None:
        raise RuntimeError(
            "instance_norm: Expected running_mean and running_var to be defined when use_input_stats is false"
        )
    batch, channels, *sizes = input.shape
    _check(
        "instance_norm", input, channels, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )  # fmt: skip
    apart = view(input.contiguous(), (1, batch * channels, *sizes))
    given = [
        None if each is None else repeat(each, batch)
        for each in (running_mean, running_var, weight, bias)
    ]
    made = _normalized(apart, given[0], given[1], given[2], given[3], use_input_stats, eps)
    if use_input_stats and running_mean is not None and running_var is not None:
        _move(apart, (running_mean, running_var), momentum, batch)
    return view(made, tuple(input.shape))
