"""How samples become a batch: `default_collate` for lists of them, `default_convert` for one.

In: samples made of tensors, numpy arrays, numbers, strings, and dicts, tuples and lists of those. Out: the same structure of tensors.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from ...functional.creation import as_tensor, from_numpy, tensor
from ...functional.joining import stack
from ...ir.dtype import bfloat16, float64
from ...reading import realize
from ...tensor import Tensor


def _is_text(kind: np.dtype[Any]) -> bool:
    """Whether a numpy dtype has no numbers."""
    return kind.kind in "SaUO"


def default_convert(data: Any) -> Any:
    """The structure with numpy arrays as tensors. Same as torch.utils.data.default_convert."""
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        return data if _is_text(data.dtype) else as_tensor(data)
    if isinstance(data, Mapping):
        return _mapping(data, lambda key: default_convert(data[key]))
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*[default_convert(each) for each in data])
    if isinstance(data, tuple):
        return [default_convert(each) for each in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _sequence(data, [default_convert(each) for each in data])
    return data


def default_collate(batch: Any) -> Any:
    """One structure whose leaves are the samples' leaves, stacked. Same as torch.utils.data.default_collate.

    Numbers become tensors of int64 and float64, strings stay lists, tuples become lists.

    Raises:
        TypeError: a leaf of another kind.
        RuntimeError: shapes, or lengths of sequences, differ.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return _stacked(batch)
    if isinstance(first, np.ndarray):
        if _is_text(first.dtype):
            raise TypeError(_unknown(first.dtype))
        return _stacked([as_tensor(each) for each in batch])
    if isinstance(first, np.generic):
        if _is_text(first.dtype):
            raise TypeError(_unknown(first.dtype))
        return as_tensor(np.asarray(batch))
    if isinstance(first, float):
        return tensor(batch, dtype=float64)
    if isinstance(first, int):
        return tensor(list(batch))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _mapping(first, lambda key: default_collate([each[key] for each in batch]))
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*[default_collate(column) for column in zip(*batch)])
    if isinstance(first, Sequence):
        if any(len(each) != len(first) for each in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [default_collate(column) for column in zip(*batch)]
        return columns if isinstance(first, tuple) else _sequence(first, columns)
    raise TypeError(_unknown(type(first)))


def _stacked(batch: Sequence[Tensor]) -> Tensor:
    """The tensors in one; on the host as data, so that no program is compiled for each size of a batch."""
    first = batch[0]
    if not all(
        not each.requires_grad
        and each.device.type == "cpu"
        and each.dtype is first.dtype is not bfloat16
        and each.shape == first.shape
        for each in batch
    ):
        return stack(list(batch))
    realize(list(batch))
    return from_numpy(np.stack([each.numpy() for each in batch]))


def _mapping(like: Mapping[Any, Any], value: Callable[[Any], Any]) -> Any:
    """A mapping of the same kind with other values, or a dict where that kind cannot be made."""
    made = {key: value(key) for key in like}
    try:
        if isinstance(like, MutableMapping):
            clone = copy.copy(like)
            clone.update(made)
            return clone
        return type(like)(made)  # type: ignore[call-arg]
    except TypeError:
        return made


def _sequence(like: Sequence[Any], values: list[Any]) -> Any:
    """A sequence of the same kind with other values, or a list where that kind cannot be made."""
    try:
        if isinstance(like, MutableSequence):
            clone = copy.copy(like)
            for place, value in enumerate(values):
                clone[place] = value
            return clone
        return type(like)(values)  # type: ignore[call-arg]
    except TypeError:
        return values


def _unknown(kind: object) -> str:
    return f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {kind}"
