"""Convolutions and transposed convolutions over one, two and three axes: one composite, `correlation`, serves them all.

In: a signal (N, C, *sizes) or (C, *sizes), a weight, what PyTorch takes beside them. Out: a tensor with the record of its operation.
A convolution slides its windows over the signal; a transposed one spreads the signal by its stride and slides the weight, turned around, over that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir import composite
from ..ir.node import Node, accumulation
from ..results import result, tensor_nodes
from ..tensor import Tensor
from .arguments import common_place, describe_operands, no_kernel, sizes_text, type_name
from .registry import function
from .shaping import squeeze, unsqueeze
from .windows import Sizes, per_axis, require_rank


def _check_tensors(
    name: str, input: Tensor, weight: Tensor, bias: Tensor | None, rank: int
) -> None:
    """Whether weight and bias are tensors of the input's dtype and device, the weight with two axes more than `rank`.

    Raises:
        TypeError: one is no tensor.
        RuntimeError: they are not alike.
        NotImplementedError: they are bool.
    """
    for word, each in (("input", input), ("weight", weight), ("bias", bias)):
        if not isinstance(each, Tensor) and (each is not None or word != "bias"):
            raise TypeError(
                f"{name}() received an invalid combination of arguments: '{word}' must be Tensor, not {type(each).__name__}"
            )
    shapes = describe_operands(input=input, weight=weight, bias=bias)
    if weight.ndim < 3:
        raise RuntimeError(f"{name}: weight should have at least three dimensions" + shapes)
    if weight.ndim != rank + 2:
        raise RuntimeError(
            f"{name}: Expected {weight.ndim}-dimensional input for {weight.ndim}-dimensional weight "
            f"{sizes_text(weight.shape)}, but {name} takes weights of {rank + 2} dimensions"
            + shapes
        )
    for word, each in (("weight", weight), ("bias", bias)):
        if each is not None and each.dtype is not input.dtype:
            raise RuntimeError(
                f"{name}: Input type ({type_name(input.dtype)}) and {word} type ({type_name(each.dtype)}) should be the same"
                + shapes
            )
    if input.dtype.kind == "bool":
        raise no_kernel(name, input.dtype)
    common_place(name, [each for each in (input, weight, bias) if each is not None])


def _check_channels(
    name: str, input: Tensor, weight: Tensor, bias: Tensor | None, rank: int, groups: int, transposed: bool
) -> None:  # fmt: skip
    """Whether the channels of input, weight and bias fit.

    Raises:
        RuntimeError: they do not.
    """
    shapes = describe_operands(input=input, weight=weight, bias=bias)
    if groups <= 0:
        raise RuntimeError(f"{name}: non-positive groups is not supported")
    given = f"Given {'transposed=1, ' if transposed else ''}groups={groups}"
    if weight.shape[0] < groups or weight.shape[0] % groups:
        wanted = f"at least {groups}" if weight.shape[0] < groups else f"divisible by {groups}"
        raise RuntimeError(
            f"{name}: {given}, expected weight to be {wanted} at dimension 0, but got weight of size "
            f"{sizes_text(weight.shape)} instead" + shapes
        )
    channels = input.shape[-rank - 1]
    expected = weight.shape[0] if transposed else weight.shape[1] * groups
    if channels != expected:
        raise RuntimeError(
            f"{name}: {given}, weight of size {sizes_text(weight.shape)}, expected input{sizes_text(input.shape)} to have "
            f"{expected} channels, but got {channels} channels instead" + shapes
        )
    features = weight.shape[1] * groups if transposed else weight.shape[0]
    if bias is not None and tuple(bias.shape) != (features,):
        raise RuntimeError(
            f"{name}: {given}, weight of size {sizes_text(weight.shape)}, expected bias to be 1-dimensional with {features} "
            f"elements, but got bias of size {sizes_text(bias.shape)} instead" + shapes
        )


def _check_distances(name: str, strides: Sequence[int], dilations: Sequence[int]) -> None:
    if min(strides) <= 0:
        raise RuntimeError(f"{name}: non-positive stride is not supported, got {list(strides)}")
    if min(dilations) <= 0:
        raise RuntimeError(
            f"{name}: non-positive dilation is not supported, dilation should be greater than zero, got {list(dilations)}"
        )


def _paddings(
    name: str, padding: str | Sizes, rank: int, reach: Sequence[int], strides: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The zeros before and after; `reach` is the distance from the first to the last element of a window.

    Raises:
        RuntimeError: an unknown string; "same" with a stride; a negative padding.
    """
    if isinstance(padding, str):
        if padding == "valid":
            return (0,) * rank, (0,) * rank
        if padding != "same":
            raise RuntimeError(f"{name}: Invalid padding string: '{padding}'")
        if any(stride != 1 for stride in strides):
            raise RuntimeError(f"{name}: padding='same' is not supported for strided convolutions")
        return tuple(r // 2 for r in reach), tuple(r - r // 2 for r in reach)
    sizes = per_axis(name, "padding", padding, rank)
    if min(sizes) < 0:
        raise RuntimeError(f"{name}: negative padding is not supported")
    return sizes, sizes


def _build(
    input: Tensor, weight: Node, signal: Node, bias: Node | None, groups: int, **attributes: Any
) -> Node:  # fmt: skip
    """The correlation of a signal (N, C, *sizes) with a grouped weight (G, O, C, *window), plus the bias; half types in float32."""
    wide = accumulation(signal.dtype)
    batch, channels, *sizes = signal.shape
    grouped = signal.cast(wide).reshape((batch, groups, int(channels) // groups, *sizes))  # type: ignore[arg-type]
    made = composite.call("correlation", [grouped, weight.cast(wide)], **attributes)
    made = made.reshape((batch, made.shape[1] * made.shape[2], *made.shape[3:]))
    if bias is not None:
        column = bias.cast(wide).reshape((1, bias.shape[0], *(1,) * len(sizes)))
        made = made + column.expand(made.shape)
    return made.cast(input.dtype)


def _convolve(
    name: str, rank: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Sizes, padding: str | Sizes,
    dilation: Sizes, groups: int,
) -> Tensor:  # fmt: skip
    _check_tensors(name, input, weight, bias, rank)
    batched = require_rank(name, input, rank)
    strides = per_axis(name, "stride", stride, rank)
    dilations = per_axis(name, "dilation", dilation, rank)
    _check_distances(name, strides, dilations)
    window = tuple(weight.shape[2:])
    reach = [d * (size - 1) for d, size in zip(dilations, window, strict=True)]
    before, after = _paddings(name, padding, rank, reach, strides)
    _check_channels(name, input, weight, bias, rank, groups, transposed=False)
    padded = [n + b + a for n, b, a in zip(input.shape[-rank:], before, after, strict=True)]
    if min(window) <= 0 or any(n <= r for n, r in zip(padded, reach, strict=True)):
        raise RuntimeError(
            f"{name}: Calculated padded input size per channel: ({_product(padded)}). Kernel size: "
            f"({_product([r + 1 for r in reach])}). Kernel size can't be greater than actual input size"
            + describe_operands(input=input, weight=weight)
        )
    signal = input if batched else unsqueeze(input, 0)
    operands = (signal, weight) if bias is None else (signal, weight, bias)
    nodes = tensor_nodes(*operands)
    features, channels = nodes[1].shape[:2]
    kernel = nodes[1].reshape((groups, int(features) // groups, channels, *window))  # type: ignore[arg-type]
    node = _build(
        input, kernel, nodes[0], nodes[2] if bias is not None else None, groups,
        strides=strides, dilations=dilations, between=(0,) * rank, before=before, after=after,
    )  # fmt: skip
    made = result("ConvolutionBackward0", node, (signal, weight, bias), (signal, weight))
    return made if batched else squeeze(made, 0)


def _transpose(
    name: str, rank: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Sizes, padding: Sizes,
    output_padding: Sizes, groups: int, dilation: Sizes,
) -> Tensor:  # fmt: skip
    _check_tensors(name, input, weight, bias, rank)
    batched = require_rank(name, input, rank)
    strides = per_axis(name, "stride", stride, rank)
    dilations = per_axis(name, "dilation", dilation, rank)
    paddings = per_axis(name, "padding", padding, rank)
    extra = per_axis(name, "output_padding", output_padding, rank)
    _check_distances(name, strides, dilations)
    if min(paddings) < 0 or min(extra) < 0:
        raise RuntimeError(f"{name}: negative padding is not supported")
    _check_channels(name, input, weight, bias, rank, groups, transposed=True)
    if any(e >= max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
        raise RuntimeError(
            f"{name}: output padding must be smaller than either stride or dilation, but got output_padding: "
            f"{list(extra)} stride: {list(strides)} dilation: {list(dilations)}"
        )
    window = tuple(weight.shape[2:])
    reach = [d * (size - 1) for d, size in zip(dilations, window, strict=True)]
    sizes = [
        (n - 1) * s - 2 * p + r + e + 1
        for n, s, p, r, e in zip(input.shape[-rank:], strides, paddings, reach, extra, strict=True)
    ]
    if min(sizes) <= 0 or min(window) <= 0 or min(input.shape[-rank:]) <= 0:
        raise RuntimeError(
            f"{name}: Given input size per channel: ({_product(list(input.shape[-rank:]))}). Calculated output size per "
            f"channel: ({_product(sizes)}). Output size is too small"
            + describe_operands(input=input, weight=weight)
        )
    signal = input if batched else unsqueeze(input, 0)
    operands = (signal, weight) if bias is None else (signal, weight, bias)
    nodes = tensor_nodes(*operands)
    channels, features = nodes[1].shape[:2]
    kernel = nodes[1].reshape((groups, int(channels) // groups, features, *window))  # type: ignore[arg-type]
    axes = range(3, rank + 3)
    node = _build(
        input, kernel.permute((0, 2, 1, *axes)).flip(axes), nodes[0], nodes[2] if bias is not None else None, groups,
        strides=(1,) * rank, dilations=dilations, between=tuple(s - 1 for s in strides),
        before=tuple(r - p for r, p in zip(reach, paddings, strict=True)),
        after=tuple(r - p + e for r, p, e in zip(reach, paddings, extra, strict=True)),
    )  # fmt: skip
    made = result("ConvolutionBackward0", node, (signal, weight, bias), (signal, weight))
    return made if batched else squeeze(made, 0)


def _product(sizes: Sequence[int]) -> str:
    """Sizes as PyTorch writes them here: 3 x 8."""
    return " x ".join(map(str, sizes))


# --- PyTorch's functions


@function("conv1d", method=False, nn=True)
def conv1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1, padding: str | Sizes = 0,
    dilation: Sizes = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Sums of products over sliding windows of the last axis; see `conv2d`. Same as torch.nn.functional.conv1d."""
    return _convolve("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@function("conv2d", method=False, nn=True)
def conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1, padding: str | Sizes = 0,
    dilation: Sizes = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """For each output channel, the sums of products of a weight with sliding windows of the input, over its channels.

    Args:
        input: (N, C, H, W) or (C, H, W), any dtype but bool.
        weight: (O, C / groups, h, w), of the input's dtype; bias: (O,).
        stride: the distance between windows, for both axes or each; dilation: the distance inside a window.
        padding: the zeros at each end, "valid" (none) or "same" (as many as the output has the input's size).
        groups: the channels are cut into so many groups, and the output channels of a group see its channels only.

    Returns: (N, O, H', W') or (O, H', W'), H' = (H + 2 padding - dilation (h - 1) - 1) // stride + 1. Half types are summed in float32.

    Raises:
        RuntimeError: shapes, dtypes or paddings do not fit; the window is larger than the padded input.
        TypeError: an argument is of a wrong type.

    Same as torch.nn.functional.conv2d. No copy of the windows is made: they are read where they lie.
    """
    return _convolve("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@function("conv3d", method=False, nn=True)
def conv3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1, padding: str | Sizes = 0,
    dilation: Sizes = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Sums of products over sliding windows of the last three axes; see `conv2d`. Same as torch.nn.functional.conv3d."""
    return _convolve("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


@function("conv_transpose1d", method=False, nn=True)
def conv_transpose1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1, padding: Sizes = 0,
    output_padding: Sizes = 0, groups: int = 1, dilation: Sizes = 1,
) -> Tensor:  # fmt: skip
    """The transpose of `conv1d` in its input; see `conv_transpose2d`. Same as torch.nn.functional.conv_transpose1d."""
    return _transpose(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )  # fmt: skip


@function("conv_transpose2d", method=False, nn=True)
def conv_transpose2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1, padding: Sizes = 0,
    output_padding: Sizes = 0, groups: int = 1, dilation: Sizes = 1,
) -> Tensor:  # fmt: skip
    """Each element of the input adds its multiple of the weight to the output, `stride` apart: the transpose of `conv2d` in its input.

    Args:
        input: (N, C, H, W) or (C, H, W), any dtype but bool.
        weight: (C, O / groups, h, w), of the input's dtype; bias: (O,).
        padding: elements cut from each end of the output; output_padding: elements added at its end, fewer than stride or dilation.
        stride, dilation, groups: as those of conv2d.

    Returns: (N, O, H', W') or (O, H', W'), H' = (H - 1) stride - 2 padding + dilation (h - 1) + output_padding + 1.

    Raises:
        RuntimeError: shapes or dtypes do not fit; the output would be empty.
        TypeError: an argument is of a wrong type.

    Same as torch.nn.functional.conv_transpose2d.
    """
    return _transpose(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )  # fmt: skip


@function("conv_transpose3d", method=False, nn=True)
def conv_transpose3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1, padding: Sizes = 0,
    output_padding: Sizes = 0, groups: int = 1, dilation: Sizes = 1,
) -> Tensor:  # fmt: skip
    """The transpose of `conv3d` in its input; see `conv_transpose2d`. Same as torch.nn.functional.conv_transpose3d."""
    return _transpose(
        "conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )  # fmt: skip
