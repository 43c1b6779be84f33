"""Arithmetic on known numbers: what shape chains are made of, computed on the host without running a plan.

In: small numpy arrays that are known (shapes, constants, and what is made of them), and the attributes of a node. Out: arrays. Each
function computes what the operator of its name does on tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir.dtype import DType
from .elements import Array, numpy_dtype
from .held import TEXT, Held

FOLDED: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Abs": np.abs,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Sqrt": np.sqrt,
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
    "Not": np.logical_not,
    "Where": np.where,
}
"""By the operator's name; a numpy function stands for itself where the attributes are none and 0-d results are arrays again."""

for _name, _function in tuple(FOLDED.items()):

    def _array(*values: Array, function: Callable[..., Any] = _function) -> Array:
        return np.asarray(function(*values))

    FOLDED[_name] = _array


def folded(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the host's function for an operator."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        FOLDED[name] = function
        return function

    return register


def integers(values: Any) -> list[int]:
    """Numbers of an input or attribute; a single one is a list too."""
    return [int(value) for value in np.asarray(values).reshape(-1)]


@folded("Div")
def divide(left: Array, right: Array) -> Array:
    """Integers are cut towards zero."""
    if left.dtype.kind == "f":
        with np.errstate(all="ignore"):
            return np.asarray(left / right)
    if not np.all(right):
        raise ZeroDivisionError("Div: integer division by zero")
    return np.asarray(np.sign(left) * np.sign(right) * (np.abs(left) // np.abs(right))).astype(
        left.dtype
    )


@folded("Mod")
def modulo(left: Array, right: Array, fmod: int = 0) -> Array:
    return np.asarray(np.fmod(left, right) if fmod else np.mod(left, right))


@folded("Min")
def minimum(*values: Array) -> Array:
    return np.asarray(np.minimum.reduce(np.broadcast_arrays(*values)))


@folded("Max")
def maximum(*values: Array) -> Array:
    return np.asarray(np.maximum.reduce(np.broadcast_arrays(*values)))


@folded("Cast")
def cast(
    value: Array, to: DType, saturate: int = 1, round_mode: str = "up", held: Held | None = None
) -> Array:
    """To text (numbers as numpy prints them alone) and from it too."""
    if held is TEXT:
        return np.asarray(TEXT.hold(value))
    if value.dtype == object:
        numbers = np.array([float(item) for item in value.reshape(-1)], np.float64)
        whole = to.is_integer and all(item.lstrip("+-").isdigit() for item in value.reshape(-1))
        if whole:
            numbers = np.array([int(item) for item in value.reshape(-1)], numpy_dtype(to))
        value = numbers.reshape(value.shape)
    with np.errstate(all="ignore"):
        return value.astype(numpy_dtype(to))


@folded("Concat")
def concat(*values: Array, axis: int) -> Array:
    return np.concatenate(values, axis)


@folded("Gather")
def gather(data: Array, indices: Array, axis: int = 0) -> Array:
    return np.asarray(np.take(data, indices, axis))


@folded("Slice")
def cut(
    data: Array,
    starts: Array | None = None,
    ends: Array | None = None,
    axes: Any = None,
    steps: Array | None = None,
) -> Array:
    """With attributes (before version 10) or with inputs."""
    assert starts is not None and ends is not None
    return data[slices(data.shape, starts, ends, axes, steps)]


def slices(
    shape: Sequence[int], starts: Any, ends: Any, axes: Any, steps: Any
) -> tuple[slice, ...]:
    """What the inputs of Slice mean, as slices: out of range is cut, and a negative step goes backwards."""
    found = [slice(None)] * len(shape)
    firsts, lasts = integers(starts), integers(ends)
    chosen = range(len(firsts)) if axes is None else integers(axes)
    strides = [1] * len(firsts) if steps is None else integers(steps)
    for axis, first, last, step in zip(chosen, firsts, lasts, strides):
        size = shape[axis]
        first = first + size if first < 0 else first
        last = last + size if last < 0 else last
        if step > 0:
            found[axis] = slice(min(max(first, 0), size), min(max(last, 0), size), step)
        else:
            last = min(max(last, -1), size - 1)
            found[axis] = slice(min(max(first, -1), size - 1), last, step)
            if last < 0:
                found[axis] = slice(found[axis].start, None, step)
            if found[axis].start < 0:
                found[axis] = slice(0, 0, 1)
    return tuple(found)


@folded("Squeeze")
def squeeze(data: Array, axes: Any = None) -> Array:
    return np.squeeze(data, None if axes is None else tuple(integers(axes)))


@folded("Unsqueeze")
def unsqueeze(data: Array, axes: Any) -> Array:
    return np.expand_dims(data, tuple(integers(axes)))


@folded("Reshape")
def reshape(data: Array, shape: Array, allowzero: int = 0) -> Array:
    return data.reshape(target_shape(data.shape, shape, allowzero))


def target_shape(given: Sequence[int], shape: Array, allowzero: int = 0) -> tuple[int, ...]:
    """What the second input of Reshape means: 0 is the size that is there, -1 the rest."""
    return tuple(
        given[axis] if size == 0 and not allowzero else int(size) for axis, size in enumerate(shape)
    )


@folded("Transpose")
def transpose(data: Array, perm: Sequence[int] | None = None) -> Array:
    return np.transpose(data, perm)


@folded("Identity")
def identity(data: Array) -> Array:
    return data


@folded("ReduceProd")
def reduce_product(
    data: Array, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Array:
    return reduce(np.prod, data, axes, keepdims, noop_with_empty_axes)


@folded("ReduceSum")
def reduce_sum(
    data: Array, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Array:
    return reduce(np.sum, data, axes, keepdims, noop_with_empty_axes)


@folded("ReduceMax")
def reduce_maximum(
    data: Array, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Array:
    return reduce(np.max, data, axes, keepdims, noop_with_empty_axes)


@folded("ReduceMin")
def reduce_minimum(
    data: Array, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Array:
    return reduce(np.min, data, axes, keepdims, noop_with_empty_axes)


def reduce(function: Any, data: Array, axes: Any, keepdims: int, noop: int) -> Array:
    if (axes is None or not np.size(axes)) and noop:
        return data
    chosen = tuple(integers(axes)) if axes is not None and np.size(axes) else None
    return np.asarray(function(data, axis=chosen, keepdims=bool(keepdims))).astype(data.dtype)


@folded("Split")
def split(
    data: Array,
    sizes: Any = None,
    axis: int = 0,
    split: Any = None,
    num_outputs: int = 0,
    outputs: int = 1,
) -> tuple[Array, ...]:
    """`sizes` is an input, `split` the attribute of versions before 13."""
    ends = np.cumsum(
        split_sizes(data.shape[axis], sizes if split is None else split, num_outputs or outputs)
    )
    return tuple(np.split(data, ends[:-1], axis))


def split_sizes(size: int, sizes: Any, parts: int) -> list[int]:
    """The sizes of the parts of an axis: those that are given, or equal ones, the last of which is smaller."""
    if sizes is not None:
        return integers(sizes)
    each = -(-size // parts)
    return [max(min(each, size - part * each), 0) for part in range(parts)]
