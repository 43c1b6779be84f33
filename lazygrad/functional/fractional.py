"""Fractional max pooling: the largest element of windows whose places are drawn, so that sizes shrink by any factor.

In: (N, C, *sizes) or (C, *sizes). Out: a tensor with the record of its operation, or two, the second of which has indices: of each largest
element, among those of its channel in row-major order. Graham, "Fractional max-pooling", 2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.dtype import int64
from ..random import rand
from ..results import from_node, result, results, tensor_nodes
from ..tensor import Tensor
from .creation import arange
from .gathering import gather
from .reductions import max
from .registry import function
from .windows import Sizes, per_axis

Ratio = float | Sequence[float]
AXES = ("time", "height", "width")


def _starts(sample: Tensor, size: int, windows: int, span: int) -> Tensor:
    """Where the windows of one axis begin, for each number of `sample`: (*sample.shape, windows). The last one ends where the axis ends."""
    last = size - span
    if windows == 1:
        return (sample.unsqueeze(-1) * 0 + last).to(int64)
    step = last / (windows - 1)
    turn = sample.unsqueeze(-1)
    place = arange(windows, dtype=sample.dtype, device=sample.device)
    begun = ((place + turn) * step).to(int64) - (turn * step).to(int64)
    found: Tensor = (place < windows - 1).to(int64) * (begun - last) + last
    return found


def _pool(
    name: str, rank: int, input: Tensor, kernel_size: Sizes, output_size: Sizes | None, output_ratio: Ratio | None,
    samples: Tensor | None, return_indices: bool,
) -> Any:  # fmt: skip
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if input.ndim not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"{name}: Expected {rank + 1}D or {rank + 2}D tensor, but got: {list(input.shape)}"
        )
    sizes = tuple(input.shape[-rank:])
    if output_size is None:
        ratios = (output_ratio,) * rank if isinstance(output_ratio, (int, float)) else output_ratio
        assert ratios is not None
        output_size = [int(size * ratio) for size, ratio in zip(sizes, ratios)]
    kernel = per_axis(name, "kernel_size", kernel_size, rank)
    counts = per_axis(name, "output_size", output_size, rank)
    for word, size, span, count in zip(AXES[-rank:], sizes, kernel, counts):
        if count + span - 1 > size - (rank == 3):  # PyTorch asks for one more element in spaces
            raise RuntimeError(
                f"{name}(): pool {word} {span} too large relative to input {word} {size}"
            )
    (node,) = tensor_nodes(input)
    plain = from_node(node)
    whole = plain if input.ndim == rank + 2 else plain.unsqueeze(0)
    batch, channels = whole.shape[:2]
    if samples is None:
        samples = rand(batch, channels, rank, dtype=input.dtype, device=input.device)
    # PyTorch draws the last axis first in planes, and the first one in spaces
    order = range(rank) if rank == 3 else reversed(range(rank))
    places: Any = 0
    for axis, number in zip(range(rank), order):
        starts = _starts(samples.detach()[..., number], sizes[axis], counts[axis], kernel[axis])
        inside = starts.unsqueeze(-1) + arange(kernel[axis], device=input.device)
        shape = [batch, channels] + [1] * (2 * rank)
        shape[2 + axis], shape[2 + rank + axis] = counts[axis], kernel[axis]
        places = places * sizes[axis] + inside.reshape(shape)
    places = places.flatten(2 + rank)
    seen = gather(whole.flatten(2), -1, places.flatten(2)).reshape(places.shape)
    record = f"FractionalMaxPool{rank}DBackward0"
    outer = (batch, channels, *counts) if input.ndim == rank + 2 else (channels, *counts)
    largest, which = max(seen, -1)
    (made,) = tensor_nodes(largest.reshape(outer))
    if not return_indices:
        return result(record, made, (input,), (input,))
    (where,) = tensor_nodes(gather(places, -1, which.unsqueeze(-1)).reshape(outer))
    return results(record, [made, where], (input,), (input,))


@function("fractional_max_pool2d", method=False, module=False, nn=True)
def fractional_max_pool2d(
    input: Tensor, kernel_size: Sizes, output_size: Sizes | None = None, output_ratio: Ratio | None = None,
    return_indices: bool = False, _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """The largest element of windows of the last two axes whose places are drawn.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: the size of a window, for both axes or each.
        output_size, output_ratio: how many windows there are, or how many for each element, in (0, 1).
        return_indices: also where each element was found, int64.
        _random_samples: (N, C, 2), numbers in [0, 1) that say where windows begin; drawn by default.

    Returns: (N, C, *output_size) or (C, *output_size), and with `return_indices` a tuple of two such tensors.

    Raises:
        ValueError: neither size nor ratio. RuntimeError: the windows do not fit.

    Same as torch.nn.functional.fractional_max_pool2d.
    """
    return _pool("fractional_max_pool2d", 2, input, kernel_size, output_size, output_ratio, _random_samples, return_indices)  # fmt: skip


@function("fractional_max_pool3d", method=False, module=False, nn=True)
def fractional_max_pool3d(
    input: Tensor, kernel_size: Sizes, output_size: Sizes | None = None, output_ratio: Ratio | None = None,
    return_indices: bool = False, _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """The same for the last three axes; see `fractional_max_pool2d`. Same as torch.nn.functional.fractional_max_pool3d."""
    return _pool("fractional_max_pool3d", 3, input, kernel_size, output_size, output_ratio, _random_samples, return_indices)  # fmt: skip
