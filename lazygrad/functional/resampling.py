"""Resampling pictures, lines and volumes to another size: interpolate and its older names.

In: (N, C, *sizes) with one to three sizes. Out: a tensor with the record of its operation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..ir import composite
from ..ir.dtype import uint8
from ..ir.node import Node, accumulation
from ..results import result, tensor_nodes
from ..tensor import Tensor
from .arguments import no_kernel, sizes_text
from .pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from .registry import NN_FUNCTIONS, function
from .windows import per_axis

_AXES = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
_RECORDS = {
    "nearest": "Nearest", "nearest-exact": "NearestExact", "linear": "Linear", "bilinear": "Bilinear", "trilinear": "Trilinear",
    "bicubic": "Bicubic",
}  # fmt: skip


def _resampled_sizes(
    input: Tensor, size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[tuple[int, ...], tuple[float | None, ...]]:
    """The sizes of the result, and the scale factors that positions are computed with (None: from the sizes).

    Raises:
        ValueError: neither or both of size and scale_factor; as many numbers as the input has no axes.
    """
    spatial = tuple(int(n) for n in input.shape[2:])
    if size is not None and scale_factor is not None:
        raise ValueError("interpolate: only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ValueError("interpolate: either size or scale_factor should be defined")
    given = size if size is not None else scale_factor
    values = tuple(given) if isinstance(given, (tuple, list)) else (given,) * len(spatial)
    if len(values) != len(spatial):
        word = "output size" if size is not None else "scale_factor"
        raise ValueError(
            f"interpolate: Input and {word} must have the same number of spatial dimensions, but got input with spatial "
            f"dimensions of {list(spatial)} and {word} of {given}"
        )
    if size is not None:
        if recompute:
            raise ValueError(
                "interpolate: recompute_scale_factor is not meaningful with an explicit size."
            )
        sizes = tuple(per_axis("interpolate", "size", value, 1)[0] for value in values)
        return sizes, (None,) * len(spatial)
    sizes = tuple(math.floor(float(n) * value) for n, value in zip(spatial, values, strict=True))
    return sizes, (None,) * len(spatial) if recompute else tuple(float(value) for value in values)


def _resampled(
    node: Node, mode: str, axis: int, size: int, factor: float | None, aligned: bool, antialias: bool
) -> Node:  # fmt: skip
    """The node with `size` elements along one axis."""
    before = int(node.shape[axis])  # type: ignore[arg-type]
    scale = 1.0 / factor if factor else before / size
    if mode.startswith("nearest"):
        centred = mode == "nearest-exact"
        if size % before == 0 and scale == before / size:
            times = size // before
            spread = node.reshape((*node.shape[: axis + 1], 1, *node.shape[axis + 1 :]))
            spread = spread.expand((*node.shape[: axis + 1], times, *node.shape[axis + 1 :]))
            return spread.reshape((*node.shape[:axis], size, *node.shape[axis + 1 :]))
        return composite.call("resample_nearest", [node], axis=axis, size=size, scale=scale, centred=centred)  # fmt: skip
    if size == before and scale == 1.0:
        return node
    if aligned:
        scale = (before - 1) / (size - 1) if size > 1 else 0.0
    cubic = mode == "bicubic"
    if node.dtype is uint8:
        return composite.call(
            "resample_bytes", [node], axis=axis, size=size, scale=scale, aligned=aligned, cubic=cubic, antialias=antialias
        )  # fmt: skip
    if antialias:
        return composite.call("resample_covered", [node], axis=axis, size=size, scale=scale, cubic=cubic)  # fmt: skip
    kind = "resample_cubic" if cubic else "resample_linear"
    return composite.call(kind, [node], axis=axis, size=size, scale=scale, aligned=aligned)


@function("nn.interpolate", module=False, method=False)
def interpolate(
    input: Tensor, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest", align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:  # fmt: skip
    """A picture, line or volume in another size.

    Args:
        input: (N, C, *sizes) with one to three sizes, float; for the nearest modes, "bilinear" and "bicubic" also uint8.
        size: the sizes of the result, or scale_factor: what they are times those of the input, rounded down.
        mode: "nearest", "nearest-exact" (positions in the middle of elements), "area" (adaptive_avg_pool), "linear" (one axis),
            "bilinear" and "bicubic" (two), "trilinear" (three).
        align_corners: whether the first and the last elements of both lie on each other, not the ends of these elements.
        recompute_scale_factor: whether positions are computed with the ratio of the sizes, not with `scale_factor`.
        antialias: weigh all elements that an element of the result covers; for "bilinear" and "bicubic" of
            pictures; not of half types.

    Raises:
        ValueError: arguments that exclude each other.
        NotImplementedError: a mode that is not for so many axes.
        RuntimeError: an empty result.

    Same as torch.nn.functional.interpolate.
    """
    modes = ("nearest", "area", "nearest-exact")
    aligned = bool(align_corners)
    if mode in modes and align_corners is not None:
        raise ValueError(
            "interpolate: align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    rank = input.ndim - 2
    sizes, factors = _resampled_sizes(input, size, scale_factor, recompute_scale_factor)
    if antialias and (mode not in ("bilinear", "bicubic") or rank != 2):
        raise ValueError(
            "interpolate: Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as input"
        )
    if rank not in (1, 2, 3) or (mode not in modes and mode not in _AXES):
        raise NotImplementedError(
            f"interpolate: Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D) for the modes: nearest | "
            f"linear | bilinear | bicubic | trilinear | area | nearest-exact (got {mode})"
        )
    if mode in _AXES and rank != _AXES[mode]:
        raise NotImplementedError(
            f"interpolate: Got {input.ndim}D input, but {mode} mode needs {_AXES[mode] + 2}D input"
        )
    if mode == "area":
        pools = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}
        pooled: Tensor = pools[rank](input, sizes)
        return pooled
    if min(sizes) <= 0 or 0 in input.shape[1:]:
        raise RuntimeError(
            f"interpolate: Input and output sizes should be greater than 0, but got input {sizes_text(input.shape[2:])} output "
            f"{sizes_text(sizes)}"
        )
    bytes_too = (*modes, "bilinear", "bicubic")
    if input.dtype.kind != "float" and not (mode in bytes_too and input.dtype is uint8):
        raise no_kernel("interpolate", input.dtype)
    if antialias and input.dtype.kind == "float" and input.dtype.itemsize == 2:
        raise no_kernel("compute_index_ranges_weights", input.dtype)
    (node,) = tensor_nodes(input)
    exact = mode in modes or antialias or node.dtype is uint8
    made = node if exact else node.cast(accumulation(node.dtype))  # rounded once
    for axis in reversed(range(2, 2 + rank)):
        made = _resampled(made, mode, axis, sizes[axis - 2], factors[axis - 2], aligned, antialias)
    record = f"Upsample{_RECORDS[mode]}{rank}D{'Aa' if antialias else ''}Backward0"
    return result(record, made.cast(input.dtype), (input,))


@function("nn.upsample", module=False, method=False)
def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None,
) -> Tensor:  # fmt: skip
    """The older name of `interpolate`. Same as torch.nn.functional.upsample."""
    return interpolate(input, size, scale_factor, mode, align_corners)


@function("nn.upsample_nearest", module=False, method=False)
def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with mode="nearest". Same as torch.nn.functional.upsample_nearest."""
    return interpolate(input, size, scale_factor, "nearest")


@function("nn.upsample_bilinear", module=False, method=False)
def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with mode="bilinear" and align_corners. Same as torch.nn.functional.upsample_bilinear."""
    return interpolate(input, size, scale_factor, "bilinear", align_corners=True)


for _run in (interpolate, upsample, upsample_nearest, upsample_bilinear):
    NN_FUNCTIONS[_run.__name__] = _run
