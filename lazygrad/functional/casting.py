"""Changing the dtype or the device: to, type, float, long, cpu, ... A tensor that already is what is asked comes back itself."""

from __future__ import annotations

import builtins
from typing import Any

from ..ir import dtype as dtypes
from ..ir.build import copy
from ..ir.dtype import DType
from ..results import result, tensor_nodes
from ..tensor import Tensor
from .arguments import as_dtype
from .arguments import can_cast as arguments_can_cast
from .arguments import result_type as operands_type
from .registry import METHODS, function, method


def convert(
    input: Tensor, dtype: DType | None, place: str | None = None, fresh: bool = False
) -> Tensor:
    """The tensor with another dtype, on another device, or a copy if `fresh`; itself when nothing changes."""
    if dtype is not None:
        dtype = as_dtype(dtype)
    same_dtype = dtype is None or dtype is input.dtype
    same_place = place is None or place == input.node.place
    if same_dtype and same_place:
        if not fresh:
            return input
        from .shaping import clone

        return clone(input)
    (node,) = tensor_nodes(input)
    if dtype is not None:
        node = node.cast(dtype)
    if place is not None:
        node = copy(node, place)
    return result("ToCopyBackward0", node, (input,))


@method("to")
def to(
    input: Tensor, *args: Any, dtype: DType | None = None, device: Any = None, other: Tensor | None = None,
    non_blocking: bool = False, copy: bool = False, memory_format: object = None,
) -> Tensor:  # fmt: skip
    """The tensor as another dtype, on another device, or as another tensor is; itself when nothing changes.

    Args:
        args: a dtype, a device (or its name), a device and a dtype, or a tensor.
        copy: make a copy in any case.

    Same as torch.Tensor.to.
    """
    from .devices import device_of, place_of

    flags = [arg for arg in args if isinstance(arg, bool)]  # non_blocking, copy
    copy = copy or (len(flags) > 1 and flags[1])
    for arg in args:
        if isinstance(arg, (DType, builtins.type)):
            dtype = as_dtype(arg)
        elif isinstance(arg, Tensor):
            other = arg
        elif arg is not None and not isinstance(arg, bool):
            device = arg
    if other is not None:
        return convert(input, other.dtype, other.node.place, copy)
    return convert(input, dtype, None if device is None else place_of(device_of(device)), copy)


@method("type")
def type(input: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The name of the tensor's class, such as "torch.FloatTensor"; or the tensor as another dtype.

    Args:
        dtype: a dtype, a class such as FloatTensor, or its name.

    Same as torch.Tensor.type.
    """
    from .legacy import dtype_named, place_named, type_of

    if dtype is None:
        return type_of(input)
    return convert(input, dtype_named(dtype), place_named(dtype, input))


@method("type_as")
def type_as(input: Tensor, other: Tensor) -> Tensor:
    """The tensor with the dtype and device of another. Same as torch.Tensor.type_as."""
    return convert(input, other.dtype, other.node.place)


def _caster(name: str, dtype: DType) -> None:
    def run(self: Tensor, memory_format: object = None) -> Tensor:
        return convert(self, dtype)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"The tensor as {dtype.name}. Same as torch.Tensor.{name}."
    METHODS[name] = run


for _name, _dtype in {
    "double": dtypes.float64, "float": dtypes.float32, "half": dtypes.float16, "bfloat16": dtypes.bfloat16,
    "long": dtypes.int64, "int": dtypes.int32, "short": dtypes.int16, "char": dtypes.int8, "byte": dtypes.uint8,
    "bool": dtypes.bool_,
}.items():  # fmt: skip
    _caster(_name, _dtype)


# --- questions about dtypes


@function("result_type", method=False)
def result_type(tensor1: Any, tensor2: Any) -> DType:
    """The dtype of an elementwise result of two operands. Same as torch.result_type."""
    return operands_type(tensor1, tensor2)


@function("promote_types", method=False)
def promote_types(type1: DType, type2: DType) -> DType:
    """The smallest dtype that both promote to. Same as torch.promote_types."""
    return dtypes.promote(type1, type2)


@function("can_cast", method=False)
def can_cast(from_: DType, to: DType) -> bool:
    """Whether an in-place operator may store one dtype in the other. Same as torch.can_cast."""
    return arguments_can_cast(from_, to)


@function("is_floating_point")
def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a float. Same as torch.is_floating_point."""
    return input.dtype.is_floating_point


@function("is_complex")
def is_complex(input: Tensor) -> bool:
    """Always False: there are no complex dtypes. Same as torch.is_complex."""
    return False


@method("is_signed")
def is_signed(input: Tensor) -> bool:
    """Whether the dtype has a sign. Same as torch.Tensor.is_signed."""
    return input.dtype.is_signed
