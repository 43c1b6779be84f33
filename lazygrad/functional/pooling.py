"""Pooling: the largest element, the mean or the p-norm of windows or of a fixed number of parts, and unpooling.

In: (N, C, *sizes) or (C, *sizes). Out: a tensor with the record of its operation, or two, the second of which has indices: of each
largest element, among those of its channel in row-major order. Pooling of one axis is pooling of two, the first of size 1, as in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..ir import composite
from ..ir.build import scatter
from ..ir.node import constant
from ..results import result, results, tensor_nodes
from ..tensor import Tensor
from .arguments import describe_operands, no_kernel, sizes_text
from .gathering import index_node
from .registry import FUNCTIONS, NN_FUNCTIONS, function
from .shaping import squeeze, unsqueeze
from .windows import Sizes, per_axis

Maybe = int | None


# --- checks


def _extents(
    name: str, rank: int, kernel: Any, stride: Any, padding: Any, dilation: Any
) -> tuple[tuple[int, ...], ...]:
    """Sizes, strides, paddings and dilations of the windows, one for each axis.

    Raises:
        RuntimeError: one is not positive; the padding is more than half of a window.
    """
    sizes = per_axis(name, "kernel_size", kernel, rank)
    strides = sizes if stride is None or stride == () or stride == [] else None
    if strides is None:
        strides = per_axis(name, "stride", stride, rank)
    paddings = per_axis(name, "padding", padding, rank)
    dilations = per_axis(name, "dilation", dilation, rank)
    for word, numbers in (("kernel_size", sizes), ("stride", strides), ("dilation", dilations)):
        if min(numbers) <= 0:
            raise RuntimeError(f"{name}() {word} must be greater than zero, but got {min(numbers)}")
    if min(paddings) < 0:
        raise RuntimeError(f"{name}: pad must be non-negative, but got pad: {min(paddings)}")
    for p, k, d in zip(paddings, sizes, dilations, strict=True):
        if p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                f"{name}: pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and "
                f"dilation={d}"
            )
    return sizes, strides, paddings, dilations


def _check_input(name: str, input: Tensor, rank: int) -> None:
    """Whether the input has channels and elements.

    Raises:
        RuntimeError: it has another number of axes, or nothing but its batch axis may be empty and something else is.
    """
    if input.ndim not in (rank + 1, rank + 2) or 0 in input.shape[input.ndim - rank - 1 :]:
        raise RuntimeError(
            f"{name}: Expected {rank + 1}D or {rank + 2}D (batch mode) tensor with optional 0 dim batch size for input "
            f"(Expected input's non-batch dimensions to have positive length; non-empty {rank + 1}D or {rank + 2}D), but got:"
            f"{sizes_text(input.shape)}" + describe_operands(input=input)
        )


def _after(
    name: str, input: Tensor, sizes: Sequence[int], strides: Sequence[int], paddings: Sequence[int], dilations: Sequence[int],
    ceil_mode: bool,
) -> tuple[int, ...]:  # fmt: skip
    """What is put after the input on each axis, so that the last window fits.

    Raises:
        RuntimeError: there would be no window.
    """
    amounts, counts = [], []
    spatial = input.shape[input.ndim - len(sizes) :]
    for n, k, s, p, d in zip(spatial, sizes, strides, paddings, dilations, strict=True):
        span = d * (k - 1) + 1
        room = n + 2 * p - span
        count = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (count - 1) * s >= n + p:
            count -= 1  # the last window begins in the input or before it
        counts.append(count)
        amounts.append(max((count - 1) * s + span - n - p, 0))
    if min(counts) < 1:
        channels = input.shape[-len(sizes) - 1]
        raise RuntimeError(
            f"{name}: Given input size: ({_product([channels, *spatial])}). Calculated output size: "
            f"({_product([channels, *counts])}). Output size is too small; {name}() Invalid computed output size: {min(counts)}"
            + describe_operands(input=input)
        )
    return tuple(amounts)


def _product(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))


# --- maxima


def _max_pool(
    name: str, rank: int, input: Tensor, kernel_size: Sizes, stride: Sizes | None, padding: Sizes, dilation: Sizes,
    ceil_mode: bool, return_indices: bool,
) -> Any:  # fmt: skip
    sizes, strides, paddings, dilations = _extents(
        name, rank, kernel_size, stride, padding, dilation
    )
    _check_input(name, input, rank)
    if input.dtype.kind == "bool":
        raise no_kernel(name, input.dtype)
    after = _after(name, input, sizes, strides, paddings, dilations, ceil_mode)
    if rank == 1:
        made = _max_pool(
            name, 2, unsqueeze(input, -2), (1, *sizes), (1, *strides), (0, *paddings), (1, *dilations), ceil_mode,
            return_indices,
        )  # fmt: skip
        return (squeeze(made[0], -2), squeeze(made[1], -2)) if return_indices else squeeze(made, -2)
    (node,) = tensor_nodes(input)
    attributes: dict[str, Any] = {
        "sizes": sizes, "strides": strides, "dilations": dilations, "before": paddings, "after": after,
    }  # fmt: skip
    record = f"MaxPool{rank}DWithIndicesBackward0"
    largest = composite.call("max_pool", [node], **attributes)
    if not return_indices:
        return result(record, largest, (input,), (input,))
    where = composite.call("max_pool_index", [node], **attributes)
    return results(record, [largest, where], (input,), (input,))


@function("max_pool1d", method=False, nn=True)
def max_pool1d(
    input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of each window of the last axis; see `max_pool2d`. Same as torch.nn.functional.max_pool1d."""
    return _max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)  # fmt: skip


@function("max_pool2d", method=False, nn=True)
def max_pool2d(
    input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of each window of the last two axes.

    Args:
        input: (N, C, H, W) or (C, H, W), any dtype but bool.
        kernel_size: the size of a window, for both axes or each; `stride`: the distance between windows, by default their size.
        padding: how far windows reach beyond each end, at most half of one; nothing is there.
        dilation: the distance inside a window.
        ceil_mode: also a last window that reaches further, if it begins in the input or its padding.
        return_indices: also where each element was found, int64: the first of equals, in row-major order of H and W.

    Returns: (N, C, H', W') or (C, H', W'), and with `return_indices` a tuple of two such tensors. A NaN is the largest.

    Raises:
        RuntimeError: sizes, strides or paddings do not fit.

    Same as torch.nn.functional.max_pool2d.
    """
    return _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)  # fmt: skip


@function("max_pool3d", method=False, nn=True)
def max_pool3d(
    input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of each window of the last three axes; see `max_pool2d`. Same as torch.nn.functional.max_pool3d."""
    return _max_pool("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)  # fmt: skip


def _with_indices(pool: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        return pool(*args, **{**kwargs, "return_indices": True})

    run.__name__ = run.__qualname__ = f"{pool.__name__}_with_indices"
    run.__doc__ = f"`{pool.__name__}` with return_indices=True."
    return run


for _pool in (max_pool1d, max_pool2d, max_pool3d):
    function(f"{_pool.__name__}_with_indices", module=_pool is max_pool1d, method=False, nn=True)(
        _with_indices(_pool)
    )


# --- means


def _avg_pool(
    name: str, rank: int, input: Tensor, kernel_size: Sizes, stride: Sizes | None, padding: Sizes, ceil_mode: bool,
    count_include_pad: bool, divisor_override: int | None,
) -> Tensor:  # fmt: skip
    sizes, strides, paddings, dilations = _extents(name, rank, kernel_size, stride, padding, 1)
    _check_input(name, input, rank)
    if divisor_override == 0:
        raise RuntimeError(f"{name}: divisor must be not zero")
    if input.dtype.kind == "bool":
        raise no_kernel(name, input.dtype)
    after = _after(name, input, sizes, strides, paddings, dilations, ceil_mode)
    if rank == 1:
        made = _avg_pool(
            name, 2, unsqueeze(input, -2), (1, *sizes), (1, *strides), (0, *paddings), ceil_mode, count_include_pad,
            divisor_override,
        )  # fmt: skip
        return squeeze(made, -2)
    (node,) = tensor_nodes(input)
    node = composite.call(
        "avg_pool", [node], sizes=sizes, strides=strides, before=paddings, after=after,
        padding_counts=bool(count_include_pad), divisor=divisor_override,
    )  # fmt: skip
    return result(f"AvgPool{rank}DBackward0", node, (input,), (input,))


@function("avg_pool1d", method=False, nn=True)
def avg_pool1d(
    input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """The mean of each window of the last axis; see `avg_pool2d`. Same as torch.nn.functional.avg_pool1d."""
    return _avg_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)  # fmt: skip


@function("avg_pool2d", module=False, method=False, nn=True, out=True)
def avg_pool2d(
    input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """The mean of each window of the last two axes.

    Args:
        input: (N, C, H, W) or (C, H, W), any dtype but bool.
        kernel_size, stride, padding, ceil_mode: as those of `max_pool2d`; what lies beyond an end is 0.
        count_include_pad: whether those zeros count in the divisor.
        divisor_override: the divisor of every window's sum.

    Raises:
        RuntimeError: sizes, strides or paddings do not fit; the divisor is 0.

    Same as torch.nn.functional.avg_pool2d.
    """
    return _avg_pool("avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)  # fmt: skip


@function("avg_pool3d", module=False, method=False, nn=True, out=True)
def avg_pool3d(
    input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """The mean of each window of the last three axes; see `avg_pool2d`. Same as torch.nn.functional.avg_pool3d."""
    return _avg_pool("avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)  # fmt: skip


def _lp_pool(
    pool: Callable[..., Tensor], rank: int, input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None,
    ceil_mode: bool,
) -> Tensor:  # fmt: skip
    """The root of as many times the mean of powers as a window has elements; a mean below 0 counts as 0 does."""
    from .activations import relu
    from .arithmetic import mul
    from .arithmetic import pow as power
    from .unary import abs as absolute
    from .unary import sign

    mean = pool(power(input, norm_type), kernel_size, stride, 0, ceil_mode)
    elements = math.prod(per_axis("lp_pool", "kernel_size", kernel_size, rank))
    return power(mul(mul(sign(mean), relu(absolute(mean))), elements), 1.0 / norm_type)


@function("lp_pool1d", module=False, method=False, nn=True)
def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: int, stride: Sizes | None = None, ceil_mode: bool = False,
) -> Tensor:  # fmt: skip
    """The p-norm of each window of the last axis; see `lp_pool2d`. Same as torch.nn.functional.lp_pool1d."""
    return _lp_pool(avg_pool1d, 1, input, norm_type, kernel_size, stride, ceil_mode)


@function("lp_pool2d", module=False, method=False, nn=True)
def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False,
) -> Tensor:  # fmt: skip
    """The root of the sum of powers, sum(x ** p) ** (1 / p), over each window of the last two axes.

    Args:
        norm_type: p; `kernel_size`, `stride`, `ceil_mode`: as those of `max_pool2d`.

    Same as torch.nn.functional.lp_pool2d.
    """
    return _lp_pool(avg_pool2d, 2, input, norm_type, kernel_size, stride, ceil_mode)


@function("lp_pool3d", module=False, method=False, nn=True)
def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False,
) -> Tensor:  # fmt: skip
    """The p-norm of each window of the last three axes; see `lp_pool2d`. Same as torch.nn.functional.lp_pool3d."""
    return _lp_pool(avg_pool3d, 3, input, norm_type, kernel_size, stride, ceil_mode)


# --- a fixed number of parts


def _parts(name: str, rank: int, input: Tensor, output_size: Any) -> tuple[int, ...]:
    """The number of parts on each axis; None is the input's size.

    Raises:
        ValueError: the input has too few axes.
        RuntimeError: too many axes or empty ones; a wrong number of sizes; a negative one.
    """
    several = isinstance(output_size, (tuple, list))
    if input.ndim < rank + 1 and rank > 1 and several:
        raise ValueError(
            f"{name}: Input dimension should be at least {rank + 1}, got {sizes_text(input.shape)}"
        )
    if several and len(output_size) != rank:
        contains = (
            "'output_size' should contain one int" if rank == 1 else f"output_size must be {rank}"
        )
        raise RuntimeError(
            f"{name}() internal error: {contains} (output_size.size() must be {rank}, got {len(output_size)})"
        )
    given = output_size if several else (output_size,) * rank
    spatial = tuple(input.shape)[-rank:] if input.ndim >= rank else (0,) * rank
    parts = tuple(
        n if each is None else per_axis(name, "output_size", each, 1)[0]
        for each, n in zip(given, spatial, strict=True)
    )
    if min(parts) < 0:
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received {parts} "
            f"(Trying to create tensor with negative dimension)"
        )
    if input.ndim not in (rank + 1, rank + 2) or 0 in input.shape[input.ndim - rank - 1 :]:
        raise RuntimeError(
            f"{name}: Expected {rank + 1}D or {rank + 2}D tensor, and to have non-zero size for non-batch dimensions, but "
            f"input has shape {sizes_text(input.shape)}" + describe_operands(input=input)
        )
    if input.dtype.kind != "float":
        raise no_kernel(name, input.dtype)
    return parts


def _even(sizes: Sequence[int], parts: Sequence[int]) -> tuple[int, ...] | None:
    """The size of the parts, if they are of one size on each axis: then they are windows."""
    if any(not part or size % part for size, part in zip(sizes, parts, strict=True)):
        return None
    return tuple(size // part for size, part in zip(sizes, parts, strict=True))


def _adaptive_avg_pool(name: str, rank: int, input: Tensor, output_size: Any) -> Tensor:
    parts = _parts(name, rank, input, output_size)
    if rank == 1:
        return squeeze(_adaptive_avg_pool(name, 2, unsqueeze(input, -2), (1, *parts)), -2)
    if parts == (1,) * rank:
        from .reductions import mean

        return mean(input, tuple(range(-1, -rank - 1, -1)), True)
    (node,) = tensor_nodes(input)
    sizes = _even(input.shape[-rank:], parts)
    if sizes is not None:
        none = (0,) * rank
        node = composite.call(
            "avg_pool", [node], sizes=sizes, strides=sizes, before=none, after=none, padding_counts=True,
            divisor=math.prod(sizes),
        )  # fmt: skip
    else:
        node = composite.call("adaptive_avg_pool", [node], parts=parts)
    return result(f"AdaptiveAvgPool{rank}DBackward0", node, (input,), (input,))


@function("adaptive_avg_pool1d", method=False, nn=True)
def adaptive_avg_pool1d(input: Tensor, output_size: Sizes) -> Tensor:
    """The means of `output_size` parts of the last axis; see `adaptive_avg_pool2d`. Same as torch.nn.functional.adaptive_avg_pool1d."""
    return _adaptive_avg_pool("adaptive_avg_pool1d", 1, input, output_size)


@function("adaptive_avg_pool2d", module=False, method=False, nn=True)
def adaptive_avg_pool2d(input: Tensor, output_size: Maybe | Sequence[Maybe]) -> Tensor:
    """The means of a fixed number of parts of the last two axes.

    Part i of n on an axis of size m has the elements from floor(i m / n) up to ceil((i + 1) m / n).

    Args:
        input: (N, C, H, W) or (C, H, W), float.
        output_size: n, for both axes or each; None is the input's size.

    Raises:
        ValueError, RuntimeError: the numbers of axes or sizes do not fit.

    Same as torch.nn.functional.adaptive_avg_pool2d.
    """
    return _adaptive_avg_pool("adaptive_avg_pool2d", 2, input, output_size)


@function("adaptive_avg_pool3d", module=False, method=False, nn=True)
def adaptive_avg_pool3d(input: Tensor, output_size: Maybe | Sequence[Maybe]) -> Tensor:
    """The means of parts of the last three axes; see `adaptive_avg_pool2d`. Same as torch.nn.functional.adaptive_avg_pool3d."""
    return _adaptive_avg_pool("adaptive_avg_pool3d", 3, input, output_size)


def _adaptive_max_pool(
    name: str, rank: int, input: Tensor, output_size: Any, return_indices: bool
) -> Any:
    parts = _parts(name, rank, input, output_size)
    if rank == 1:
        made = _adaptive_max_pool(name, 2, unsqueeze(input, -2), (1, *parts), return_indices)
        return (squeeze(made[0], -2), squeeze(made[1], -2)) if return_indices else squeeze(made, -2)
    (node,) = tensor_nodes(input)
    sizes = _even(input.shape[-rank:], parts)
    kind, attributes = "adaptive_max_pool", dict[str, Any](parts=parts)
    if sizes is not None:
        none = (0,) * rank
        kind = "max_pool"
        attributes = {"sizes": sizes, "strides": sizes, "dilations": (1,) * rank, "before": none, "after": none}  # fmt: skip
    record = f"AdaptiveMaxPool{rank}DBackward0"
    largest = composite.call(kind, [node], **attributes)
    if not return_indices:
        return result(record, largest, (input,), (input,))
    where = composite.call(f"{kind}_index", [node], **attributes)
    return results(record, [largest, where], (input,), (input,))


@function("adaptive_max_pool1d", module=False, method=False, nn=True)
def adaptive_max_pool1d(input: Tensor, output_size: Sizes, return_indices: bool = False) -> Any:
    """The largest elements of parts of the last axis; see `adaptive_max_pool2d`. Same as torch.nn.functional.adaptive_max_pool1d."""
    return _adaptive_max_pool("adaptive_max_pool1d", 1, input, output_size, return_indices)


@function("adaptive_max_pool2d", module=False, method=False, nn=True)
def adaptive_max_pool2d(
    input: Tensor, output_size: Maybe | Sequence[Maybe], return_indices: bool = False
) -> Any:
    """The largest elements of a fixed number of parts of the last two axes, as `adaptive_avg_pool2d` makes them.

    Returns: (N, C, *output_size) or (C, *output_size), and with `return_indices` a tuple of it and of where each was found, as max_pool2d.

    Same as torch.nn.functional.adaptive_max_pool2d.
    """
    return _adaptive_max_pool("adaptive_max_pool2d", 2, input, output_size, return_indices)


@function("adaptive_max_pool3d", module=False, method=False, nn=True)
def adaptive_max_pool3d(
    input: Tensor, output_size: Maybe | Sequence[Maybe], return_indices: bool = False
) -> Any:
    """The largest elements of parts of the last three axes; see `adaptive_max_pool2d`. Same as torch.nn.functional.adaptive_max_pool3d."""
    return _adaptive_max_pool("adaptive_max_pool3d", 3, input, output_size, return_indices)


for _adaptive in (adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d):
    function(f"{_adaptive.__name__}_with_indices", module=False, method=False, nn=True)(
        _with_indices(_adaptive)
    )
FUNCTIONS["adaptive_max_pool1d"] = NN_FUNCTIONS["adaptive_max_pool1d_with_indices"]


# --- the way back


def _unpooled_sizes(
    spatial: Sequence[int], sizes: Sequence[int], strides: Sequence[int], paddings: Sequence[int], output_size: Sequence[int] | None,
) -> tuple[int, ...]:  # fmt: skip
    """The sizes of the result.

    Raises:
        ValueError: `output_size` has too many or too few of them, or one that pooling would not give the input's size.
    """
    default = [
        (n - 1) * s + k - 2 * p
        for n, s, k, p in zip(spatial, strides, sizes, paddings, strict=True)
    ]
    if output_size is None:
        return tuple(default)
    given = list(output_size)
    if len(given) == len(default) + 2:
        given = given[2:]
    if len(given) != len(default):
        raise ValueError(
            f"output_size should be a sequence containing {len(default)} or {len(default) + 2} elements, but it has a length of "
            f"'{len(given)}'"
        )
    for axis, (n, usual, stride) in enumerate(zip(given, default, strides, strict=True)):
        if not usual - stride < n < usual + stride:
            raise ValueError(
                f'invalid output_size "{given}" (dim {axis} must be between {usual - stride} and {usual + stride})'
            )
    return tuple(given)


def _max_unpool(
    name: str, rank: int, input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None, padding: Sizes,
    output_size: Sequence[int] | None,
) -> Tensor:  # fmt: skip
    sizes, strides, paddings, _ = _extents(name, rank, kernel_size, stride, padding, 1)
    shape = _unpooled_sizes(input.shape[input.ndim - rank :], sizes, strides, paddings, output_size)
    if tuple(indices.shape) != tuple(input.shape):
        raise RuntimeError(
            f"{name}: Expected shape of indices to be same as that of the input tensor ({sizes_text(input.shape)}) but got "
            f"indices tensor with shape: {sizes_text(indices.shape)}"
        )
    _check_input(name, input, rank)
    if input.dtype.kind != "float":
        raise no_kernel(name, input.dtype)
    if rank == 1:
        input, indices = unsqueeze(input, -1), unsqueeze(indices, -1)
        made = _max_unpool(
            name, 2, input, indices, (*sizes, 1), (*strides, 1), (*paddings, 0), (*shape, 1)
        )
        return squeeze(made, -1)
    (node,) = tensor_nodes(input)
    lead = node.shape[: input.ndim - rank]
    flat = (*lead, math.prod(input.shape[len(lead) :]))
    zeros = constant(0, node.dtype, (*lead, math.prod(shape)), node.place)
    index = index_node(name, indices, 0).reshape(flat)
    node = scatter(zeros, index, node.reshape(flat), len(lead), "set").reshape((*lead, *shape))
    return result(f"MaxUnpool{rank}DBackward0", node, (input,), (indices,))


@function("max_unpool1d", module=False, method=False, nn=True)
def max_unpool1d(
    input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """Maxima where they were found, along the last axis; see `max_unpool2d`. Same as torch.nn.functional.max_unpool1d."""
    return _max_unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


@function("max_unpool2d", module=False, method=False, nn=True)
def max_unpool2d(
    input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """The elements that `max_pool2d` found, where it found them, and 0 elsewhere.

    Args:
        input, indices: its two results; `kernel_size`, `stride`, `padding`: its arguments.
        output_size: the sizes of what was pooled, where several pool to one.

    Raises:
        ValueError: an impossible `output_size`.
        RuntimeError: the shapes of input and indices differ.

    Same as torch.nn.functional.max_unpool2d. Of several elements with one index the last counts.
    """
    return _max_unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


@function("max_unpool3d", module=False, method=False, nn=True)
def max_unpool3d(
    input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """Maxima where they were found, over the last three axes; see `max_unpool2d`. Same as torch.nn.functional.max_unpool3d."""
    return _max_unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)
