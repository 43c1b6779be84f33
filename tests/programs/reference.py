"""What operators mean, in numpy: the functions that numpy itself does not have, or has with another meaning than PyTorch.

In: arrays. Out: arrays, of the dtype that PyTorch gives. Nothing here comes from lazygrad: it is one of its oracles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def fresh(value: Any) -> Array:
    """The result of an operator: an array in row-major order with memory of its own."""
    return np.array(value, order="C")


def elementwise(function: Callable[..., float]) -> Callable[..., Array]:
    """A function of floats on arrays, the result in the dtype of the first."""
    general = np.vectorize(function, otypes=[np.float64])

    def apply(first: Array, *rest: Any) -> Array:
        return np.asarray(general(first, *rest)).astype(first.dtype)

    return apply


def _digamma(x: float) -> float:
    result = 0.0
    while x < 12:
        result -= 1 / x
        x += 1
    series = sum(
        c / x ** (2 * n)
        for n, c in enumerate((1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760), 1)
    )
    return result + math.log(x) - 0.5 / x - series


def _erfinv(y: float) -> float:
    x = 0.0
    for _ in range(60):
        x -= (math.erf(x) - y) * math.sqrt(math.pi) / 2 * math.exp(x * x)
    return x


erf = elementwise(math.erf)
erfc = elementwise(math.erfc)
erfinv = elementwise(_erfinv)
lgamma = elementwise(math.lgamma)
digamma = elementwise(_digamma)


def sigmoid(a: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-a))
    return result


def softplus(a: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    safe = np.minimum(a * beta, threshold)
    return np.where(a * beta > threshold, a, np.log1p(np.exp(safe)) / beta)


def gelu_tanh(a: Array) -> Array:
    result: Array = 0.5 * a * (1 + np.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a**3)))
    return result


def elu(a: Array, alpha: float = 1.0, scale: float = 1.0, inside: float = 1.0) -> Array:
    return scale * np.where(a > 0, a, alpha * np.expm1(np.minimum(a, 0) * inside))


def softmax(a: Array, axis: int) -> Array:
    if not a.size:
        return a.copy()
    e = np.exp(a - a.max(axis if a.ndim else None, keepdims=True))
    result: Array = e / e.sum(axis if a.ndim else None, keepdims=True)
    return result


def log_softmax(a: Array, axis: int) -> Array:
    if not a.size:
        return a.copy()
    shifted = a - a.max(axis if a.ndim else None, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis if a.ndim else None, keepdims=True))
    return result


def total(a: Array, axis: Any = None, keep: bool = False) -> Any:
    """sum, of integers in int64."""
    return np.sum(a, axis=axis, keepdims=keep, dtype=None if a.dtype.kind == "f" else np.int64)


def product(a: Array, axis: Any = None, keep: bool = False) -> Any:
    return np.prod(a, axis=axis, keepdims=keep, dtype=None if a.dtype.kind == "f" else np.int64)


def running(a: Array, kind: str, axis: int) -> Array:
    if not a.ndim:
        return a.copy()
    dtype = None if a.dtype.kind == "f" else np.int64
    return np.cumsum(a, axis, dtype=dtype) if kind == "sum" else np.cumprod(a, axis, dtype=dtype)


def logsumexp(a: Array, axis: Any, keep: bool = False) -> Any:
    return np.log(np.sum(np.exp(a), axis=axis, keepdims=keep))


def norm(a: Array, p: float, axis: Any = None, keep: bool = False) -> Any:
    if p == math.inf:
        return np.max(np.abs(a), axis=axis, keepdims=keep)
    return np.sum(np.abs(a) ** p, axis=axis, keepdims=keep) ** (1 / p)


def standardized(a: Array, axes: Any, eps: float) -> Array:
    mean = a.mean(axes, keepdims=True)
    result: Array = (a - mean) / np.sqrt(a.var(axes, keepdims=True) + eps)
    return result


def fmod(a: Array, b: Any) -> Any:
    return np.fmod(a, b)


def truncated(a: Array, b: Any) -> Any:
    """Division of integers, rounded to zero."""
    quotient = np.abs(a.astype(np.int64)) // np.abs(np.asarray(b, dtype=np.int64))
    return (quotient * np.sign(a) * np.sign(b)).astype(a.dtype)


def mixed(function: Callable[..., Any], a: Array, b: Array) -> Any:
    """A binary function of two dtypes, by PyTorch's promotion: a tensor of rank 0 counts only by its category."""
    order = "biuf"

    def category(array: Array) -> int:
        return 0 if array.dtype.kind == "b" else 2 if array.dtype.kind == "f" else 1

    assert a.dtype.kind in order and b.dtype.kind in order
    if (a.ndim == 0) != (b.ndim == 0):
        high, low = (a, b) if a.ndim else (b, a)
        if category(high) >= category(low):
            return function(a.astype(high.dtype), b.astype(high.dtype))
        return function(a.astype(low.dtype), b.astype(low.dtype))
    common = np.result_type(a.dtype, b.dtype)
    if category(a) != category(b):
        common = a.dtype if category(a) > category(b) else b.dtype
    return function(a.astype(common), b.astype(common))


def bfloat16(a: Array) -> Array:
    """Rounded to bfloat16 by way of float32, and back."""
    bits = a.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32)
    return np.asarray(rounded).view(np.float32).astype(a.dtype)


def contiguous(a: Array) -> Array:
    return a if a.flags.c_contiguous else a.copy(order="C")


def windows(a: Array, axis: int, size: int, step: int) -> Array:
    view = np.lib.stride_tricks.sliding_window_view(a, size, axis)
    index = [slice(None)] * view.ndim
    index[axis % a.ndim] = slice(None, None, step)
    return view[tuple(index)]


def scatter(
    a: Array, axis: int, index: Array, source: Any, kind: str = "set", own: bool = True
) -> Array:
    """scatter and scatter_add; index and source may be shorter than the array."""
    result = a.copy()
    for position in np.ndindex(*index.shape):
        target = list(position)
        target[axis] = int(index[position])
        value = source[position] if isinstance(source, np.ndarray) else source
        old = result[tuple(target)]
        if kind == "set":
            new = value
        elif kind == "add":
            new = old + value
        elif kind == "prod":
            new = old * value
        elif kind == "amax":
            new = max(old, value)
        else:
            new = min(old, value)
        result[tuple(target)] = new
    return result


def along(a: Array, axis: int, index: Array, source: Any, kind: str) -> Array:
    """index_add, index_copy and index_fill."""
    result = a.copy()
    moved = np.moveaxis(result, axis, 0)
    values = np.moveaxis(source, axis, 0) if isinstance(source, np.ndarray) else None
    for position, target in enumerate(index):
        value = values[position] if values is not None else source
        moved[target] = moved[target] + value if kind == "add" else value
    return result


def gather(a: Array, axis: int, index: Array) -> Array:
    result = np.empty(index.shape, a.dtype)
    for position in np.ndindex(*index.shape):
        source = list(position)
        source[axis] = int(index[position])
        result[position] = a[tuple(source)]
    return result


def masked_scatter(a: Array, mask: Array, source: Array) -> Array:
    result = np.broadcast_to(a, np.broadcast_shapes(a.shape, mask.shape)).copy()
    where = np.broadcast_to(mask, result.shape)
    result[where] = source.reshape(-1)[: int(where.sum())]
    return result


def smooth_l1(a: Array, b: Array, beta: float) -> Any:
    d = np.abs(a - b)
    return np.where(d < beta, 0.5 * d * d / beta, d - 0.5 * beta)


def huber(a: Array, b: Array, delta: float) -> Any:
    d = np.abs(a - b)
    return np.where(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta))


def at_target(a: Array, target: Array) -> Any:
    """The entry of the class axis (the second, or the only one) at each target."""
    axis = min(1, a.ndim - 1)
    return np.take_along_axis(a, np.expand_dims(target, axis), axis).squeeze(axis)


def diagonal_matrix(a: Array, offset: int = 0) -> Array:
    size = a.shape[-1] + abs(offset)
    result = np.zeros((*a.shape[:-1], size, size), a.dtype)
    for i in range(a.shape[-1]):
        result[..., i + max(-offset, 0), i + max(offset, 0)] = a[..., i]
    return result


def chunk(a: Array, pieces: int, axis: int, which: int) -> Array:
    size = -(-a.shape[axis] // pieces)
    index: list[Any] = [slice(None)] * a.ndim
    index[axis] = slice(which * size, (which + 1) * size)
    result: Array = a[tuple(index)]
    return result


def cosine(a: Array, b: Array, axis: int) -> Any:
    def length(x: Array) -> Any:
        return np.maximum(np.sqrt((x * x).sum(axis)), 1e-8)

    return (a * b).sum(axis) / (length(a) * length(b))


def one_hot(a: Array, classes: int) -> Array:
    result: Array = (np.expand_dims(a, -1) == np.arange(classes)).astype(np.int64)
    return result


def pad(a: Array, amounts: Sequence[int], value: float) -> Array:
    """constant_pad_nd: pairs from the last axis on; a negative amount cuts."""
    result = a
    for position in range(len(amounts) // 2):
        axis = a.ndim - 1 - position
        before, after = amounts[2 * position], amounts[2 * position + 1]
        index: list[Any] = [slice(None)] * a.ndim
        index[axis] = slice(max(-before, 0), result.shape[axis] - max(-after, 0))
        result = result[tuple(index)]
        widths = [(0, 0)] * a.ndim
        widths[axis] = (max(before, 0), max(after, 0))
        result = np.pad(result, widths, constant_values=value)
    return result


def put(a: Array, index: Any, value: Any) -> Array:
    """A copy of the array with the elements at an index replaced."""
    result = a.copy()
    result[index] = value
    return result


def gap(a: Array, axis: Any, sign: int) -> Any:
    """How far the greatest (sign 1) or least (sign -1) element of each group stands from its next."""
    axes = tuple(range(a.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    axes = tuple(each % a.ndim for each in axes)
    rest = [each for each in range(a.ndim) if each not in axes]
    flat = np.transpose(a * sign, [*rest, *axes]).reshape([a.shape[r] for r in rest] + [-1])
    if flat.shape[-1] < 2:
        return np.ones(1)
    ordered = np.sort(flat, -1)
    return ordered[..., -1] - ordered[..., -2]
