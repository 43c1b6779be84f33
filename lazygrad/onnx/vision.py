"""Sampling and boxes: grids, regions of interest, columns, and the suppression of boxes.

In: pictures (N, C, *sizes), grids, boxes. Out: tensors. How many boxes are left depends on their values, so they are computed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import lazygrad as lg

from ..nn import functional
from ..tensor import Tensor
from .elements import Array
from .table import operator

MODES = {"linear": "bilinear", "cubic": "bicubic"}


@operator("GridSample", 16)
def grid_sample(
    input: Tensor,
    grid: Tensor,
    *,
    align_corners: int = 0,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
) -> Any:
    return functional.grid_sample(
        input, grid.to(input.dtype), MODES.get(mode, mode), padding_mode, bool(align_corners)
    )


@operator("AffineGrid", 20)
def affine_grid(theta: Tensor, size: Array, *, align_corners: int = 0) -> Any:
    return functional.affine_grid(theta, tuple(int(each) for each in size), bool(align_corners))


@operator("Col2Im", 18)
def columns_to_image(
    input: Tensor, image_shape: Array, block_shape: Array, *, dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None, strides: Sequence[int] | None = None,
) -> Any:  # fmt: skip
    """The sum of what the blocks have at each place, added up block element by block element."""
    sizes = [int(size) for size in image_shape]
    block = [int(size) for size in block_shape]
    rank = len(sizes)
    apart, step = tuple(dilations or (1,) * rank), tuple(strides or (1,) * rank)
    amounts = list(pads or (0,) * (2 * rank))
    whole = [size + amounts[axis] + amounts[axis + rank] for axis, size in enumerate(sizes)]
    counts = [
        (size - (window - 1) * dilation - 1) // stride + 1
        for size, window, dilation, stride in zip(whole, block, apart, step)
    ]
    channels = input.shape[1] // math.prod(block)
    parts = input.reshape(input.shape[0], channels, *block, math.prod(counts))
    numbers = np.arange(math.prod(whole)).reshape(whole)
    places = []
    for element in itertools.product(*(range(size) for size in block)):
        at = tuple(
            slice(place * dilation, place * dilation + (count - 1) * stride + 1, stride)
            for place, dilation, count, stride in zip(element, apart, counts, step)
        )
        places.append(numbers[at].reshape(-1))
    flat = parts.reshape(input.shape[0], channels, -1)
    index = lg.tensor(np.concatenate(places)).expand(flat.shape)
    image = lg.zeros(input.shape[0], channels, math.prod(whole), dtype=input.dtype)
    image = image.scatter_add(2, index, flat).reshape(input.shape[0], channels, *whole)
    for axis, size in enumerate(sizes):
        image = image.narrow(axis + 2, amounts[axis], size)
    return image


@operator("NonMaxSuppression", 10)
def non_max_suppression(
    boxes: Array, scores: Array, most: Array | None = None, overlap: Array | None = None,
    lowest: Array | None = None, *, center_point_box: int = 0,
) -> Any:  # fmt: skip
    """(count, 3): batch, class and box of those that are kept: the best first, none that overlaps a better one too much."""
    limit = 0 if most is None else int(most.item())
    threshold = 0.0 if overlap is None else float(overlap.item())
    minimum = -math.inf if lowest is None else float(lowest.item())
    found = []
    for batch in range(scores.shape[0]):
        corners = _corners(boxes[batch], bool(center_point_box))
        for category in range(scores.shape[1]):
            values = scores[batch, category]
            order = np.argsort(-values, kind="stable")
            order = order[values[order] > minimum]
            kept = 0
            while len(order) and kept < limit:
                best, order = order[0], order[1:]
                found.append((batch, category, int(best)))
                kept += 1
                order = order[_overlaps(corners[best], corners[order]) <= threshold]
    return np.array(found, np.int64).reshape(-1, 3)


def _corners(boxes: Array, centred: bool) -> Array:
    """(count, 4): the smaller corner, then the larger one."""
    first, second = boxes[:, :2], boxes[:, 2:]
    if centred:
        return np.concatenate([first - second / 2, first + second / 2], 1)
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], 1)


def _overlaps(box: Array, others: Array) -> Array:
    """The area that a box shares with each other one, of what both have."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.clip(high - low, 0, None).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
    return np.asarray(shared / np.maximum(areas - shared, 1e-12))


@operator("RoiAlign", 10)
def roi_align_10(
    input: Tensor, rois: Tensor, batches: Tensor, *, mode: str = "avg", output_height: int = 1,
    output_width: int = 1, sampling_ratio: int = 0, spatial_scale: float = 1.0,
) -> Any:  # fmt: skip
    return roi_align(
        input, rois, batches, mode=mode, output_height=output_height, output_width=output_width,
        sampling_ratio=sampling_ratio, spatial_scale=spatial_scale, coordinate_transformation_mode="output_half_pixel",
    )  # fmt: skip


@operator("RoiAlign", 16)
def roi_align(
    input: Tensor, rois: Tensor, batches: Tensor, *, mode: str = "avg", output_height: int = 1,
    output_width: int = 1, sampling_ratio: int = 0, spatial_scale: float = 1.0,
    coordinate_transformation_mode: str = "half_pixel",
) -> Any:  # fmt: skip
    """The mean (or the largest weighted neighbour) of samples in each cell of each region.

    With sampling_ratio=0 the number of samples depends on the size of a region, so the regions are computed, and done one by one.
    """
    half = 0.5 if coordinate_transformation_mode == "half_pixel" else 0.0
    regions = rois * spatial_scale - half
    if sampling_ratio:
        counts = [(sampling_ratio, sampling_ratio)]
        groups = [(regions, batches.to(lg.int64))]
    else:
        numbers = regions.numpy()
        extents = numbers[:, [3, 2]] - numbers[:, [1, 0]]
        extents = np.maximum(extents, 1.0) if not half else extents
        counts = [
            (max(math.ceil(height / output_height), 1), max(math.ceil(width / output_width), 1))
            for height, width in extents
        ]
        groups = [
            (regions[place : place + 1], batches[place : place + 1].to(lg.int64))
            for place in range(len(counts))
        ]
    results = []
    for (part, which), samples in zip(groups, counts):
        pictures = input.index_select(0, which)
        rows, columns = (
            _samples(part[:, low], part[:, low + 2], cells, count, not half)
            for low, cells, count in ((1, output_height, samples[0]), (0, output_width, samples[1]))
        )
        results.append(_cells(pictures, rows, columns, samples, mode))
    return lg.cat(results, 0) if len(results) > 1 else results[0]


def _samples(low: Any, high: Any, cells: int, count: int, at_least_one: bool) -> Any:
    """(regions, cells * count): where the samples are along one axis."""
    extent = high - low
    if at_least_one:
        extent = extent.clamp(min=1.0)
    places = (np.arange(cells * count, dtype=np.float32) + 0.5) / (cells * count)
    return low.unsqueeze(1) + extent.unsqueeze(1) * lg.tensor(places)


def _cells(pictures: Any, rows: Any, columns: Any, samples: tuple[int, int], mode: str) -> Any:
    """(regions, C, cells, cells): each sample from its four neighbours; outside there is 0."""
    count, channels, height, width = pictures.shape

    def sides(places: Any, size: int) -> list[tuple[Any, Any]]:
        """The two neighbours along an axis, and their weights."""
        valid = (places >= -1).logical_and(places <= size)
        inside = places.clamp(0, size - 1)
        first = inside.floor()
        weight = inside - first
        second = (first + 1).clamp(max=size - 1)
        keep = valid.to(places.dtype)
        return [(first.to(lg.int64), (1 - weight) * keep), (second.to(lg.int64), weight * keep)]

    flat = pictures.reshape(count, channels, height * width)
    parts = []
    for (row, row_weight), (column, column_weight) in itertools.product(
        sides(rows, height), sides(columns, width)
    ):
        places = (row.unsqueeze(2) * width + column.unsqueeze(1)).reshape(count, 1, -1)
        values = flat.gather(2, places.expand(count, channels, places.shape[2]))
        weights = (row_weight.unsqueeze(2) * column_weight.unsqueeze(1)).reshape(count, 1, -1)
        parts.append(values * weights)
    vertical, horizontal = rows.shape[1] // samples[0], columns.shape[1] // samples[1]
    shape = (count, channels, vertical, samples[0], horizontal, samples[1])
    if mode == "max":
        return lg.stack(parts).amax(0).reshape(shape).amax((3, 5))
    total = parts[0] + parts[1] + parts[2] + parts[3]
    return total.reshape(shape).mean((3, 5))


@operator("MaxRoiPool", 1)
def max_roi_pool(
    input: Tensor, rois: Array, *, pooled_shape: Sequence[int], spatial_scale: float = 1.0
) -> Any:
    """The largest element of each cell of each region; the cells' bounds depend on the regions, which are computed."""
    height, width = input.shape[2:]
    results = []
    scaled = rois[:, 1:].astype(np.float32) * np.float32(spatial_scale)
    for batch, box in zip(rois[:, 0].tolist(), np.floor(scaled + np.float32(0.5)).tolist()):
        left, top, right, bottom = map(int, box)
        rows, columns = max(bottom - top + 1, 1), max(right - left + 1, 1)
        cells = []
        for i, j in itertools.product(range(pooled_shape[0]), range(pooled_shape[1])):
            low, high = _bounds(i, rows / pooled_shape[0], top, height)
            near, far = _bounds(j, columns / pooled_shape[1], left, width)
            part = input[int(batch), :, low:high, near:far]
            cells.append(
                part.amax((1, 2)) if high > low and far > near else lg.zeros(input.shape[1])
            )
        results.append(lg.stack(cells, 1).reshape(input.shape[1], *pooled_shape))
    return lg.stack(results)


def _bounds(cell: int, extent: float, start: int, size: int) -> tuple[int, int]:
    low, high = math.floor(cell * extent) + start, math.ceil((cell + 1) * extent) + start
    return min(max(low, 0), size), min(max(high, 0), size)
