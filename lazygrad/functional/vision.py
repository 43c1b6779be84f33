"""Pictures: patches, shuffled pixels, sampling at positions.

In: (N, C, *sizes), for patches also (C, H, W). Out: a tensor with the record of its operation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..ir import composite
from ..ir.build import fold as fold_node
from ..ir.build import pad, shrink, window
from ..ir.node import Node, iota
from ..results import result, tensor_nodes
from ..tensor import Tensor
from .arguments import describe_operands, no_kernel, sizes_text
from .registry import NN_FUNCTIONS, function
from .windows import Sizes, per_axis

# --- patches


def _patches(
    name: str, kernel: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[tuple[int, ...], ...]:
    """Sizes, dilations, paddings and strides of patches, two of each.

    Raises:
        RuntimeError: one is too small.
    """
    sizes = per_axis(name, "kernel_size", kernel, 2)
    dilations = per_axis(name, "dilation", dilation, 2)
    paddings = per_axis(name, "padding", padding, 2)
    strides = per_axis(name, "stride", stride, 2)
    for word, numbers in (("kernel_size", sizes), ("dilation", dilations), ("stride", strides)):
        if min(numbers) <= 0:
            raise RuntimeError(
                f"{name}: {word} should be greater than zero, but got {list(numbers)}"
            )
    if min(paddings) < 0:
        raise RuntimeError(f"{name}: padding should be non-negative, but got {list(paddings)}")
    return sizes, dilations, paddings, strides


def _blocks(
    spatial: Sequence[int], sizes: Sequence[int], dilations: Sequence[int], paddings: Sequence[int], strides: Sequence[int],
) -> tuple[int, ...]:  # fmt: skip
    """How many patches there are along each axis."""
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(spatial, sizes, dilations, paddings, strides, strict=True)
    )


@function("nn.unfold", module=False, method=False)
def unfold(
    input: Tensor, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
) -> Tensor:
    """The patches of a picture as columns.

    Args:
        input: (N, C, H, W) or (C, H, W), float or bool.
        kernel_size, dilation, padding, stride: how the patches lie, as those of conv2d.

    Returns: (N, C * h * w, L) or (C * h * w, L) for L patches of h * w.

    Raises:
        RuntimeError: the sizes do not fit.

    Same as torch.nn.functional.unfold.
    """
    sizes, dilations, paddings, strides = _patches("unfold", kernel_size, dilation, padding, stride)
    if input.ndim not in (3, 4) or 0 in input.shape[-3:]:
        raise RuntimeError(
            f"unfold: Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for "
            f"input, but got: {sizes_text(input.shape)}"
        )
    if input.dtype.kind not in ("float", "bool"):
        raise no_kernel("im2col_out", input.dtype)
    blocks = _blocks(input.shape[-2:], sizes, dilations, paddings, strides)
    if min(blocks) < 1:
        raise RuntimeError(
            f"unfold: Given input with spatial size {tuple(input.shape[-2:])}, kernel_size={sizes}, dilation={dilations}, "
            f"padding={paddings}, stride={strides}, calculated shape of the array of sliding blocks as {blocks}, but its "
            f"components must be at least one." + describe_operands(input=input)
        )
    (node,) = tensor_nodes(input)
    lead = len(node.shape) - 2
    before = (*(0,) * lead, *paddings)
    windows = window(pad(node, before, before), (lead, lead + 1), sizes, strides, dilations)
    channels = int(input.shape[-3]) * math.prod(sizes)
    batch = node.shape[: lead - 1]
    order = [*range(lead), lead + 2, lead + 3, lead, lead + 1]
    made = windows.permute(order).reshape((*batch, channels, math.prod(blocks)))
    return result("Im2ColBackward0", made, (input,))


@function("nn.fold", module=False, method=False)
def fold(
    input: Tensor, output_size: Sizes, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1,
) -> Tensor:  # fmt: skip
    """The picture whose elements are the sums of the patches that cover them: the transpose of `unfold`.

    Args:
        input: (N, C * h * w, L) or (C * h * w, L), float or bool.
        output_size: H and W of the picture.

    Returns: (N, C, H, W) or (C, H, W).

    Raises:
        RuntimeError: the sizes do not fit.

    Same as torch.nn.functional.fold.
    """
    shape = per_axis("fold", "output_size", output_size, 2)
    sizes, dilations, paddings, strides = _patches("fold", kernel_size, dilation, padding, stride)
    if input.ndim not in (2, 3) or 0 in input.shape[-2:]:
        raise RuntimeError(
            f"fold: Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for "
            f"input, but got: {sizes_text(input.shape)}"
        )
    patch = math.prod(sizes)
    if input.shape[-2] % patch:
        raise RuntimeError(
            f"fold: Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got input.size(1)="
            f"{input.shape[-2]} and kernel_size={sizes}."
        )
    blocks = _blocks(shape, sizes, dilations, paddings, strides)
    if min(blocks) < 1 or math.prod(blocks) != input.shape[-1]:
        raise RuntimeError(
            f"fold: Given output_size={shape}, kernel_size={sizes}, dilation={dilations}, padding={paddings}, stride={strides}, "
            f"expected size of input's dimension 2 to match the calculated number of sliding blocks {blocks[0]} * {blocks[1]} = "
            f"{math.prod(blocks)}, but got input.size(2)={input.shape[-1]}."
        )
    if input.dtype.kind != "float":
        raise no_kernel("col2im_out", input.dtype)
    (node,) = tensor_nodes(input)
    batch = node.shape[:-2]
    lead = len(batch) + 1
    channels = int(input.shape[-2]) // patch
    windows = node.reshape((*batch, channels, *sizes, *blocks))
    order = [*range(lead), lead + 2, lead + 3, lead, lead + 1]
    padded = tuple(n + 2 * p for n, p in zip(shape, paddings, strict=True))
    made = fold_node(
        windows.permute(order), (*batch, channels, *padded), (lead, lead + 1), sizes, strides, dilations
    )  # fmt: skip
    made = shrink(made, (*(0,) * lead, *paddings), (*batch, channels, *shape))
    return result("Col2ImBackward0", made, (input,))


NN_FUNCTIONS["unfold"] = unfold
NN_FUNCTIONS["fold"] = fold


# --- pixels and channels


@function("pixel_shuffle", method=False, nn=True)
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., C * r * r, H, W) as (..., C, H * r, W * r): channels become pixels.

    Raises:
        RuntimeError: fewer than three axes; r * r does not divide the channels; r < 1.

    Same as torch.nn.functional.pixel_shuffle.
    """
    r = per_axis("pixel_shuffle", "upscale_factor", upscale_factor, 1)[0]
    if input.ndim < 3 or r < 1 or input.shape[-3] % (r * r):
        raise RuntimeError(
            f"pixel_shuffle expects at least 3 dimensions, a positive upscale_factor, and its input's 'channel' dimension to be "
            f"divisible by the square of upscale_factor, but got input with shape {sizes_text(input.shape)} and "
            f"upscale_factor={upscale_factor}"
        )
    (node,) = tensor_nodes(input)
    *lead, channels, height, width = (int(n) for n in input.shape)
    n = len(lead)
    split = node.reshape((*lead, channels // (r * r), r, r, height, width))
    moved = split.permute((*range(n), n, n + 3, n + 1, n + 4, n + 2))
    made = moved.reshape((*lead, channels // (r * r), height * r, width * r))
    return result("PixelShuffleBackward0", made, (input,))


@function("pixel_unshuffle", method=False, nn=True)
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(..., C, H * r, W * r) as (..., C * r * r, H, W): the inverse of `pixel_shuffle`.

    Raises:
        RuntimeError: fewer than three axes; r does not divide the height or the width; r < 1.

    Same as torch.nn.functional.pixel_unshuffle.
    """
    r = per_axis("pixel_unshuffle", "downscale_factor", downscale_factor, 1)[0]
    if input.ndim < 3 or r < 1 or input.shape[-2] % r or input.shape[-1] % r:
        raise RuntimeError(
            f"pixel_unshuffle expects at least 3 dimensions, a positive downscale_factor, and height and width to be divisible "
            f"by downscale_factor, but got input with shape {sizes_text(input.shape)} and downscale_factor={downscale_factor}"
        )
    (node,) = tensor_nodes(input)
    *lead, channels, height, width = (int(n) for n in input.shape)
    n = len(lead)
    split = node.reshape((*lead, channels, height // r, r, width // r, r))
    moved = split.permute((*range(n), n, n + 2, n + 4, n + 1, n + 3))
    made = moved.reshape((*lead, channels * r * r, height // r, width // r))
    return result("PixelUnshuffleBackward0", made, (input,))


@function("channel_shuffle", "native_channel_shuffle", method=False, nn=True)
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """(N, C, ...) whose channels are dealt out to `groups`: channel g * (C / groups) + i becomes channel i * groups + g.

    Raises:
        RuntimeError: fewer than three axes; groups does not divide the channels.

    Same as torch.nn.functional.channel_shuffle.
    """
    if input.ndim < 3 or groups < 1 or input.shape[1] % groups:
        raise RuntimeError(
            f"channel_shuffle expects at least 3 dimensions, a positive groups, and channels divisible by it, but got input with "
            f"sizes {sizes_text(input.shape)} and groups={groups}"
        )
    (node,) = tensor_nodes(input)
    batch, channels, *rest = node.shape
    split = node.reshape((batch, groups, int(channels) // groups, *rest))  # type: ignore[arg-type]
    order = (0, 2, 1, *range(3, len(split.shape)))
    return result("ChannelShuffleBackward0", split.permute(order).reshape(node.shape), (input,))


# --- positions


@function("nn.affine_grid", module=False, method=False)
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The positions that a picture of `size` has after affine maps, for `grid_sample`.

    Args:
        theta: (N, 2, 3) for size (N, C, H, W), or (N, 3, 4) for (N, C, D, H, W); float.
        align_corners: whether -1 and 1 are the middles of the outermost elements, not their ends.

    Returns: (N, H, W, 2) or (N, D, H, W, 3).

    Raises:
        ValueError: theta is not float, or not of the shape that fits `size`.

    Same as torch.nn.functional.affine_grid.
    """
    if theta.dtype.kind != "float":
        raise ValueError(
            f"affine_grid: Expected theta to have floating point type, but got {theta.dtype}"
        )
    rank = len(size) - 2
    if rank not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size "
            f"{tuple(size)}."
        )
    if theta.ndim != 3 or tuple(theta.shape[1:]) != (rank, rank + 1):
        raise ValueError(
            f"affine_grid: Expected a batch of {rank}D affine matrices of shape Nx{rank}x{rank + 1} for size {tuple(size)}. "
            f"Got {sizes_text(theta.shape)}."
        )
    if min(size) <= 0:
        raise ValueError(f"affine_grid: Expected non-zero, positive output size. Got {tuple(size)}")
    (node,) = tensor_nodes(theta)
    shape = tuple(int(n) for n in size[2:])
    parts = []
    for axis in reversed(range(rank)):
        n = shape[axis]
        line = iota(n, place=node.place).cast(node.dtype)
        if align_corners:
            line = line * (2 / (n - 1)) - 1.0 if n > 1 else line * 0.0
        else:
            line = (line * 2.0 + (1 - n)) / float(n)
        parts.append(line.reshape(tuple(n if a == axis else 1 for a in range(rank))).expand(shape))
    total: Node | None = None
    for column in range(rank + 1):
        factor = shrink(node, (0, 0, column), (node.shape[0], rank, 1))
        factor = factor.reshape((node.shape[0], *(1,) * rank, rank))
        factor = factor.expand((node.shape[0], *shape, rank))
        if column < rank:
            position = parts[column].reshape((1, *shape, 1)).expand(factor.shape)
            factor = factor * position
        total = factor if total is None else total + factor
    assert total is not None
    return result("AffineGridGeneratorBackward0", total, (theta,))


@function("nn.grid_sample", module=False, method=False)
def grid_sample(
    input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None,
) -> Tensor:  # fmt: skip
    """The values of a picture or volume at the positions of a grid.

    Args:
        input: (N, C, H, W) or (N, C, D, H, W), float.
        grid: (N, H', W', 2) or (N, D', H', W', 3): for each element of the result its position, the last axis of the input first;
            -1 and 1 are the ends of the input, or with `align_corners` the middles of its outermost elements.
        mode: "bilinear" (of volumes trilinear), "nearest" or "bicubic" (pictures only).
        padding_mode: what lies outside: "zeros", "border" (the outermost element) or "reflection".

    Returns: (N, C, H', W') or (N, C, D', H', W').

    Raises:
        ValueError: an unknown mode or padding_mode.
        RuntimeError: shapes or dtypes do not fit.

    Same as torch.nn.functional.grid_sample.
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            f"nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: '{padding_mode}'"
        )
    shapes = describe_operands(input=input, grid=grid)
    rank = input.ndim - 2
    if rank not in (2, 3) or grid.ndim != input.ndim or grid.shape[-1] != rank:
        raise RuntimeError(
            f"grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, the last of size "
            f"{rank}, but got input with sizes {sizes_text(input.shape)} and grid with sizes {sizes_text(grid.shape)}"
            + shapes
        )
    if input.shape[0] != grid.shape[0]:
        raise RuntimeError(
            f"grid_sampler(): expected grid and input to have same batch size, but got input with sizes "
            f"{sizes_text(input.shape)} and grid with sizes {sizes_text(grid.shape)}" + shapes
        )
    if input.dtype is not grid.dtype:
        raise RuntimeError(
            f"grid_sampler(): expected input and grid to have same dtype, but input has {input.dtype} and grid has {grid.dtype}"
            + shapes
        )
    if mode == "bicubic" and rank != 2:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input" + shapes)
    if input.dtype.kind != "float":
        raise no_kernel("grid_sampler", input.dtype)
    if 0 in input.shape[2:]:
        raise RuntimeError(
            f"grid_sampler(): expected input to have non-empty spatial dimensions, but got {sizes_text(input.shape)}"
            + shapes
        )
    nodes = tensor_nodes(input, grid)
    node = composite.call(
        "grid_sample", list(nodes), mode=mode, padding=padding_mode, aligned=bool(align_corners)
    )
    return result(f"GridSampler{rank}DBackward0", node, (input, grid), (input, grid))


NN_FUNCTIONS["affine_grid"] = affine_grid
NN_FUNCTIONS["grid_sample"] = grid_sample
