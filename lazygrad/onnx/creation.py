"""Constants, ranges, patterns, and random numbers.

In: shapes and numbers. Out: known numbers where they are few, tensors otherwise. Random numbers come from lazygrad's generator, or
from one of the node's own if it has a seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import lazygrad as lg

from ..ir.dtype import DType
from ..tensor import Tensor
from .elements import Array, tensor_of
from .program import KNOWN_SIZE, Value
from .table import operator


@operator("Constant", 1)
def constant(
    *, value: Value = None, value_float: float | None = None, value_floats: Sequence[float] | None = None,
    value_int: int | None = None, value_ints: Sequence[int] | None = None, value_string: str | None = None,
    value_strings: Sequence[str] | None = None, sparse_value: Value = None,
) -> Any:  # fmt: skip
    """`sparse_value` is read with its zeros."""
    if value is not None or sparse_value is not None:
        return sparse_value if value is None else value
    if value_string is not None or value_strings is not None:
        return np.array(value_strings if value_string is None else value_string, object)
    if value_float is not None or value_floats is not None:
        return np.array(value_floats if value_float is None else value_float, np.float32)
    return np.array(value_ints if value_int is None else value_int, np.int64)


@operator("ConstantOfShape", 9)
def constant_of_shape(shape: Array, *, value: Value = None) -> Any:
    element = np.zeros(1, np.float32) if value is None else value
    sizes = tuple(int(size) for size in shape)
    if math.prod(sizes) <= KNOWN_SIZE:
        return np.full(sizes, element.reshape(()), element.dtype)
    return tensor_of(element.reshape(())).broadcast_to(sizes)


@operator("Range", 11)
def number_range(start: Array, limit: Array, delta: Array) -> Any:
    first, last, step = start.item(), limit.item(), delta.item()
    count = max(math.ceil((last - first) / step), 0)
    if count <= KNOWN_SIZE:
        return (first + np.arange(count) * step).astype(start.dtype)
    return (lg.arange(count) * step + first).to(tensor_of(start.reshape(())).dtype)


@operator("EyeLike", 9)
def eye_like(input: Value, *, dtype: DType | None = None, k: int = 0) -> Any:
    rows, columns = input.shape
    wanted = dtype or tensor_dtype(input)
    on = lg.arange(columns).reshape(1, -1) == lg.arange(rows).reshape(-1, 1) + k
    return on.to(wanted)


def tensor_dtype(value: Value) -> DType:
    """The dtype of a tensor, or of the tensor that a known array would be."""
    found: DType = (
        value.dtype if isinstance(value, Tensor) else tensor_of(value.reshape(-1)[:0]).dtype
    )
    return found


def _generator(seed: float | None) -> Any:
    """A generator of the node's own if it has a seed: the standard leaves open which numbers a seed gives."""
    return (
        None if seed is None else lg.Generator().manual_seed(int(np.float32(seed).view(np.int32)))
    )


@operator("RandomNormal", 1, random=True)
def random_normal(
    *, shape: Sequence[int], dtype: DType | None = lg.float32, mean: float = 0.0, scale: float = 1.0,
    seed: float | None = None,
) -> Any:  # fmt: skip
    numbers = lg.randn(tuple(shape), generator=_generator(seed))
    return (numbers * scale + mean).to(dtype)


@operator("RandomNormalLike", 1, random=True)
def random_normal_like(
    input: Value,
    *,
    dtype: DType | None = None,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float | None = None,
) -> Any:
    return random_normal(
        shape=tuple(input.shape),
        dtype=dtype or tensor_dtype(input),
        mean=mean,
        scale=scale,
        seed=seed,
    )


@operator("RandomUniform", 1, random=True)
def random_uniform(
    *, shape: Sequence[int], dtype: DType | None = lg.float32, high: float = 1.0, low: float = 0.0,
    seed: float | None = None,
) -> Any:  # fmt: skip
    numbers = lg.rand(tuple(shape), generator=_generator(seed))
    return (numbers * (high - low) + low).to(dtype)


@operator("RandomUniformLike", 1, random=True)
def random_uniform_like(
    input: Value,
    *,
    dtype: DType | None = None,
    high: float = 1.0,
    low: float = 0.0,
    seed: float | None = None,
) -> Any:
    return random_uniform(
        shape=tuple(input.shape), dtype=dtype or tensor_dtype(input), high=high, low=low, seed=seed
    )


@operator("Bernoulli", 15, random=True)
def bernoulli(input: Tensor, *, dtype: DType | None = None, seed: float | None = None) -> Any:
    numbers = lg.rand(input.shape, generator=_generator(seed))
    return (numbers < input).to(dtype or input.dtype)


@operator("Multinomial", 7, random=True)
def multinomial(
    input: Tensor,
    *,
    dtype: DType | None = lg.int32,
    sample_size: int = 1,
    seed: float | None = None,
) -> Any:
    """Classes by their unnormalized log probabilities: the class where a running sum passes a random number."""
    sums = input.softmax(1).cumsum(1)
    numbers = lg.rand(input.shape[0], sample_size, generator=_generator(seed)) * sums[:, -1:]
    places = (sums.unsqueeze(1) <= numbers.unsqueeze(2)).to(lg.int64).sum(2)
    return places.clamp(max=input.shape[1] - 1).to(dtype)
