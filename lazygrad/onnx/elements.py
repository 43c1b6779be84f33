"""Element types and tensors of ONNX on their way in and out.

In: TensorProto, numbers of ONNX element types, numpy arrays. Out: `DType`, numpy arrays, tensors. bfloat16 is an array of the package
ml_dtypes, which comes with onnx; types that tensors do not have are held in wider ones (held.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import SparseTensorProto, TensorProto, numpy_helper

from ..functional.creation import full
from ..functional.creation import tensor as make_tensor
from ..ir.dtype import (
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint32,
    uint64,
)
from ..tensor import Tensor
from .held import HELD

Array = npt.NDArray[Any]

DTYPES: dict[int, DType] = {
    TensorProto.FLOAT: float32,
    TensorProto.DOUBLE: float64,
    TensorProto.FLOAT16: float16,
    TensorProto.BFLOAT16: bfloat16,
    TensorProto.INT8: int8,
    TensorProto.INT16: int16,
    TensorProto.INT32: int32,
    TensorProto.INT64: int64,
    TensorProto.UINT8: uint8,
    TensorProto.UINT32: uint32,
    TensorProto.UINT64: uint64,
    TensorProto.BOOL: bool_,
}
"""The element types that tensors have, by their numbers in ONNX."""


def dtype_of(number: int) -> DType:
    """The dtype of tensors of an ONNX element type, or that which holds them.

    Raises:
        NotImplementedError: tensors have no such elements (text, complex numbers).
    """
    found = DTYPES.get(number) or (HELD[number].dtype if number in HELD else None)
    if found is None:
        raise NotImplementedError(f"tensors of {element_name(number)} are not supported")
    return found


def element_name(number: int) -> str:
    return (
        str(TensorProto.DataType.Name(number))
        if number in TensorProto.DataType.values()
        else str(number)
    )


def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """The numpy dtype whose arrays stand for tensors of a dtype; for bfloat16 that of ml_dtypes."""
    if dtype is bfloat16:
        from ml_dtypes import bfloat16 as element

        found: np.dtype[Any] = np.dtype(element)
        return found
    return np.dtype(dtype.storage)


def array_of(proto: TensorProto) -> Array:
    """The value of a TensorProto.

    Raises:
        NotImplementedError: an element type that tensors do not have.
    """
    held = HELD.get(proto.data_type)
    if held is None:
        dtype_of(proto.data_type)
    array: Array = np.asarray(numpy_helper.to_array(proto))
    return array if held is None else np.asarray(held.hold(array))


def dense_array_of(proto: SparseTensorProto) -> Array:
    """The value of a sparse tensor with zeros where it has nothing."""
    values = array_of(proto.values)
    places = np.asarray(numpy_helper.to_array(proto.indices))
    result: Array = np.zeros(tuple(proto.dims), values.dtype)
    if places.ndim == 2:
        result[tuple(places.T)] = values
    else:
        result.reshape(-1)[places] = values
    return result


def tensor_of(array: Array) -> Tensor:
    """A tensor with a copy of an array; a single number becomes a constant, which kernels have in their text.

    Raises:
        NotImplementedError: an array of elements that tensors do not have.
    """
    if array.dtype.name == "bfloat16":
        wide = tensor_of(np.asarray(array.astype(np.float32)))
        return as_bfloat16(wide)
    if array.dtype.kind not in "fiub" or array.dtype.name == "uint16":
        kind = "text" if array.dtype == object else array.dtype.name
        raise NotImplementedError(f"tensors of {kind} are not supported")
    if array.size == 1:
        dtype = DTYPES_BY_NAME[array.dtype.name]
        return full(array.shape, array.item(), dtype=dtype)
    return make_tensor(array)


def as_bfloat16(value: Tensor) -> Tensor:
    narrow: Tensor = value.to(bfloat16)
    return narrow


def stored(array: Array) -> Tensor:
    """A tensor with a copy of an array in memory, never a constant: another value needs no other plan."""
    if array.dtype.name == "bfloat16":
        return as_bfloat16(stored(np.asarray(array.astype(np.float32))))
    return make_tensor(array)


DTYPES_BY_NAME = {dtype.name: dtype for dtype in DTYPES.values()}


def array_from(value: Tensor) -> Array:
    """The value of a tensor, computed if it is not yet, as an array of its own dtype."""
    if value.dtype is bfloat16:
        return np.asarray(value.to(float32).numpy().astype(numpy_dtype(bfloat16)))
    return np.asarray(value.numpy())
