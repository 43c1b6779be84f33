"""Histograms: how many elements, or how much weight, lie in bins of one axis or several.

In: points, and how many bins there are or where they end. Out: sums of weights, and the bins' edges. A bin holds its left edge, the last its right
one too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..ir.build import scatter, shrink
from ..ir.dtype import float64
from ..ir.node import Node, constant, where
from ..results import from_node, result, tensor_nodes
from ..tensor import Tensor
from .arguments import describe_operands, no_kernel, type_name
from .creation import linspace
from .registry import function
from .return_types import Histogram, Histogramdd
from .searching import bisect


def _limits(name: str, columns: Node, range_: Any, count: int) -> list[tuple[float, float]]:
    """The ends of the bins of each column: what was asked for, or its extremes, which are read now.

    Raises:
        RuntimeError: ends that are not finite, or in the wrong order.
    """
    if range_ is not None:
        ends = [float(each) for each in range_]
        if len(ends) != 2 * count:
            raise RuntimeError(
                f"torch.{name}: for a {count}-dimensional histogram range should have {2 * count} elements, but got {len(ends)}"
            )
        found = [(ends[2 * i], ends[2 * i + 1]) for i in range(count)]
    elif not columns.shape[0]:
        found = [(0.0, 1.0)] * count
    else:
        low, high = (
            from_node(columns.reduce(kind, (0,)).reshape((count,))).tolist()
            for kind in ("min", "max")
        )
        found = list(zip(low, high, strict=True))
    for low_, high_ in found:
        if not (math.isfinite(low_) and math.isfinite(high_)):
            raise RuntimeError(f"torch.{name}: range of [{low_:g}, {high_:g}] is not finite")
        if low_ > high_:
            raise RuntimeError(
                f"torch.{name}: min should not exceed max, but got min {low_:g} max {high_:g} for dimension 0"
            )
    return [(a - 0.5, b + 0.5) if a == b else (a, b) for a, b in found]


def _counted(
    name: str, input: Tensor, bins: Any, range_: Any, weight: Tensor | None, density: bool
) -> tuple[Tensor, list[Tensor]]:
    """The histogram of the rows of a matrix (points, axes), and the edges along each axis."""
    points, count = (int(n) for n in input.shape)
    if input.dtype.kind != "float" or input.dtype.itemsize < 4:
        raise no_kernel(name, input.dtype)
    if len(bins) != count:
        raise RuntimeError(
            f"torch.{name}: Expected {count} sequences of bin edges or numbers of bins, but got {len(bins)}"
        )
    (node,) = tensor_nodes(input.detach())
    edges: list[Tensor] = []
    if all(isinstance(each, Tensor) for each in bins):
        for each in bins:
            if each.dtype is not input.dtype:
                raise RuntimeError(
                    f"torch.{name}: input tensor and bins tensors should have the same dtype, but got input with dtype "
                    f"{type_name(input.dtype)} and bins with dtype {type_name(each.dtype)}"
                )
            if each.ndim != 1 or not each.numel():
                raise RuntimeError(
                    f"torch.{name}: bins tensors should have one dimension and at least one edge"
                    + describe_operands(bins=each)
                )
            edges.append(each.detach())
    else:
        for each in bins:
            if int(each) <= 0:
                raise RuntimeError(f"torch.{name}(): bins must be > 0, but got {each} for dimension 0")  # fmt: skip
        for (low, high), each in zip(_limits(name, node, range_, count), bins, strict=True):
            edges.append(linspace(low, high, int(each) + 1, dtype=input.dtype, device=input.device))
    shape = tuple([each.numel() - 1 for each in edges])
    place: Node | None = None
    inside: Node | None = None
    for axis, each in enumerate(edges):
        column = shrink(node, (0, axis), (points, 1)).reshape((points,))
        (ends,) = tensor_nodes(each)
        at = bisect(ends, column, right=True) - 1
        first, last = (_edge(ends, i, points) for i in (0, shape[axis]))
        fits = column.ge(first) & column.le(last)
        at = where(column.eq(last), shape[axis] - 1, at)
        at = where(fits, at, 0)
        place = at if place is None else place * shape[axis] + at
        inside = fits if inside is None else inside & fits
    assert place is not None and inside is not None
    wide = float64 if input.dtype is float64 else input.dtype
    if weight is None:
        values = inside.cast(wide)
    else:
        (given,) = tensor_nodes(weight.detach())
        values = where(inside, given.reshape((points,)).cast(wide), 0.0)
    total = math.prod(shape)
    base = constant(0.0, wide, (total,), input.place)
    made = scatter(base, place, values, 0, "add") if total and points else base
    found = result("NotImplemented", made.reshape(shape).cast(input.dtype), ())
    if density:
        found = found / found.sum()
        for axis, each in enumerate(edges):
            line = [1] * count
            line[axis] = -1
            found = found / (each[1:] - each[:-1]).reshape(line)
    return found, edges


def _edge(ends: Node, index: int, count: int) -> Node:
    return shrink(ends, (index,), (1,)).expand((count,))


def _weights(name: str, input: Tensor, weight: Tensor | None, points: int) -> None:
    """Weights go with the points.

    Raises:
        RuntimeError: their dtype or number is another.
    """
    if weight is None:
        return
    if weight.dtype is not input.dtype:
        raise RuntimeError(
            f"torch.{name}: if weight tensor is provided, input tensor and weight tensor should have the same dtype, but got "
            f"input(dtype {type_name(input.dtype)}), and weight(dtype {type_name(weight.dtype)})"
        )
    if weight.numel() != points:
        raise RuntimeError(
            f"torch.{name}: if weight tensor is provided it should have the same shape as the input tensor excluding its "
            "innermost dimension" + describe_operands(input=input, weight=weight)
        )


@function("histogram", out=True)
def histogram(
    input: Tensor, bins: Any, *, range: Sequence[float] | None = None, weight: Tensor | None = None, density: bool = False
) -> Any:  # fmt: skip
    """How many elements lie in each bin, or what they weigh, and the bins' edges, as (hist, bin_edges).

    Args:
        bins: how many bins of one width, or a tensor of edges, (n + 1,), in order; range: the ends of the first and last bin, by default the
            extremes, which are read now; weight: of each element; density: divide by the sum and by the widths.

    Raises:
        RuntimeError: edges or weights of another dtype; no bins; ends that are not finite. NotImplementedError: not float32 or float64.

    Same as torch.histogram.
    """
    flat = input.reshape(-1, 1)
    _weights("histogram", input, weight, input.numel())
    found, (edges,) = _counted("histogram", flat, [bins], range, weight, density)
    return Histogram(found, edges.clone() if isinstance(bins, Tensor) else edges)


@function("histogramdd", method=False)
def histogramdd(
    input: Tensor, bins: Any, *, range: Sequence[float] | None = None, weight: Tensor | None = None, density: bool = False
) -> Any:  # fmt: skip
    """The histogram of points whose coordinates are the last axis, and the edges along each coordinate, as (hist, bin_edges).

    Args:
        bins: how many bins there are along every coordinate or along each, or tensors of edges; see `histogram`.

    Same as torch.histogramdd.
    """
    if input.ndim < 2:
        raise RuntimeError(
            f"torch.histogramdd: input tensor should have at least 2 dimensions, but got {input.ndim}"
        )
    count = int(input.shape[-1])
    flat = input.reshape(-1, count)
    _weights("histogramdd", input, weight, int(flat.shape[0]))
    several = list(bins) if isinstance(bins, (tuple, list)) else [bins] * count
    found, edges = _counted("histogramdd", flat, several, range, weight, density)
    return Histogramdd(found, edges)
