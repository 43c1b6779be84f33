"""The old constructors: `Tensor(2, 3)`, `FloatTensor([1, 2])`; and their use as dtypes in `.type(FloatTensor)`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir import dtype as dtypes
from ..ir.dtype import BY_NAME, DType
from ..tensor import Tensor
from .creation import empty, filled, tensor
from .devices import default_place
from .settings import default_dtype


class tensortype(type):
    """The class of FloatTensor and its like: calling makes a tensor, isinstance asks for the dtype."""

    dtype: DType

    def __call__(cls, *args: Any, **_: Any) -> Tensor:
        return construct(cls.dtype, args)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is cls.dtype

    def __repr__(cls) -> str:
        return f"<class 'torch.{cls.__name__}'>"

    __str__ = __repr__


def construct(dtype: DType, args: tuple[Any, ...], named: dict[str, Any] | None = None) -> Tensor:
    """A tensor of `dtype`: of sizes given one by one (contents unspecified), or with a copy of data.

    Raises:
        TypeError: a float where a size or a sequence should be.
    """
    if not args:
        return filled((0,), 0, dtype, default_place())
    first = args[0]
    if len(args) == 1:
        if isinstance(first, Tensor):
            if first.dtype is not dtype:
                from .arguments import type_name

                raise TypeError(
                    f"expected {type_name(dtype)}Tensor (got {type_name(first.dtype)}Tensor); use .type() or tensor()"
                )
            return first.detach()
        from ..size import Size

        if isinstance(first, Size):
            return empty(first, dtype=dtype)
        if isinstance(first, (list, tuple, np.ndarray)):
            if isinstance(first, np.ndarray):
                return tensor(first, dtype=dtype)
            return tensor(first, dtype=dtype)
    for each in args:
        if isinstance(each, (float, str)) or not hasattr(each, "__index__"):
            raise TypeError(f"new(): data must be a sequence (got {type(each).__name__})")
    return empty(*args, dtype=dtype)


def _make(name: str, dtype: DType) -> tensortype:
    return tensortype(name, (), {"dtype": dtype, "__module__": "torch", "is_cuda": False})


NAMES = {
    "FloatTensor": dtypes.float32, "DoubleTensor": dtypes.float64, "HalfTensor": dtypes.float16,
    "BFloat16Tensor": dtypes.bfloat16, "LongTensor": dtypes.int64, "IntTensor": dtypes.int32,
    "ShortTensor": dtypes.int16, "CharTensor": dtypes.int8, "ByteTensor": dtypes.uint8, "BoolTensor": dtypes.bool_,
}  # fmt: skip

CLASSES: dict[str, tensortype] = {name: _make(name, dtype) for name, dtype in NAMES.items()}
"""FloatTensor and its like, by name."""

_NAME_OF = {dtype: name for name, dtype in NAMES.items()}


def type_of(input: Tensor) -> str:
    """The name of a tensor's class, "torch.FloatTensor"."""
    return f"torch.{_NAME_OF.get(input.dtype, input.dtype.name)}"


def dtype_named(value: Any) -> DType:
    """The dtype that a dtype, a class such as FloatTensor, or its name means.

    Raises:
        ValueError: an unknown name. RuntimeError: something else.
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, tensortype):
        return value.dtype
    if value is Tensor:
        return default_dtype()
    if isinstance(value, str):
        name = value.rpartition(".")[2]
        if ".cuda." in value:
            raise AssertionError("Torch not compiled with CUDA enabled")
        if name in NAMES:
            return NAMES[name]
        if name in BY_NAME and value == f"torch.{name}":
            return BY_NAME[name]
        raise ValueError(f"invalid type: '{value}'")
    raise RuntimeError("invalid type object")


def _construct(*args: Any, **named: Any) -> Tensor:
    return construct(default_dtype(), args, named)


Tensor.construct = staticmethod(_construct)
