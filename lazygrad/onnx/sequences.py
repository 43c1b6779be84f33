"""Sequences (lists of tensors) and optional values (None where there is nothing).

In and out: lists, tensors, None. A list is never changed: each operator makes another one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import lazygrad as lg

from ..tensor import Tensor
from .elements import Array, tensor_of
from .folding import split_sizes
from .program import Body, Value
from .table import operator


def _tensor(value: Value) -> Any:
    return tensor_of(value) if isinstance(value, np.ndarray) else value


@operator("SequenceConstruct", 11)
def construct(*inputs: Value) -> Any:
    return list(inputs)


@operator("SequenceEmpty", 11)
def empty(*, dtype: int = 1) -> Any:
    return []


@operator("SequenceAt", 11)
def at(sequence: Value, position: Array) -> Any:
    return sequence[int(position.item())]


@operator("SequenceLength", 11)
def length(sequence: Value) -> Any:
    return np.array(len(sequence), np.int64)


@operator("SequenceInsert", 11)
def insert(sequence: Value, tensor: Value, position: Array | None = None) -> Any:
    made = list(sequence)
    made.insert(len(made) if position is None else int(position.item()), tensor)
    return made


@operator("SequenceErase", 11)
def erase(sequence: Value, position: Array | None = None) -> Any:
    made = list(sequence)
    del made[-1 if position is None else int(position.item())]
    return made


@operator("SplitToSequence", 11)
def split(input: Tensor, sizes: Array | None = None, *, axis: int = 0, keepdims: int = 1) -> Any:
    """A number as sizes is the size of all parts but the last; without sizes each part is one element."""
    total = input.shape[axis]
    if sizes is None:
        parts = input.split(1, axis)
        return [part if keepdims else part.squeeze(axis) for part in parts]
    if sizes.ndim:
        return list(input.split(split_sizes(total, sizes, 0), axis))
    return list(input.split(int(sizes.item()), axis))


@operator("ConcatFromSequence", 11)
def concat(sequence: Value, *, axis: int, new_axis: int = 0) -> Any:
    parts = [_tensor(value) for value in sequence]
    return lg.stack(parts, axis) if new_axis else lg.cat(parts, axis)


@operator("SequenceMap", 17)
def apply(sequence: Value, *others: Value, body: Body) -> Any:
    """The body for each element; a further sequence goes along, a tensor is the same for all."""
    results = [
        body(item, *[other[place] if isinstance(other, list) else other for other in others])
        for place, item in enumerate(sequence)
    ]
    count = len(body.program.outputs)
    return tuple([result[output] for result in results] for output in range(count))


@operator("Optional", 15)
def optional(value: Value = None, *, type: Any = None) -> Any:
    return value


@operator("OptionalGetElement", 15)
def element(value: Value) -> Any:
    if value is None:
        raise ValueError("OptionalGetElement: the optional value is absent")
    return value


@operator("OptionalHasElement", 15)
def has_element(value: Value = None) -> Any:
    return np.array(value is not None)
