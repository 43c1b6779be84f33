"""Dtypes: casts, promotion, limits and kinds, and what the namespace can do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import lazygrad as lg

from ..ir.dtype import (
    DType,
    bool_,
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

KINDS: dict[str, tuple[DType, ...]] = {
    "bool": (bool_,),
    "signed integer": (int8, int16, int32, int64),
    "unsigned integer": (uint8, uint32, uint64),
    "real floating": (float32, float64),
    "complex floating": (),
}
KINDS["integral"] = KINDS["signed integer"] + KINDS["unsigned integer"]
KINDS["numeric"] = KINDS["integral"] + KINDS["real floating"]


def promote(left: DType, right: DType) -> DType:
    """What two dtypes promote to: as in PyTorch, and by the standard's table for the wide unsigned integers, which PyTorch does not promote.

    Raises:
        TypeError: uint64 with a signed integer, which no integer holds both of.
    """
    if left is right or not (left.is_integer and right.is_integer):
        plain: DType = lg.promote_types(left, right)
        return plain
    if left.kind == right.kind:
        return left if left.itemsize > right.itemsize else right
    unsigned = right if left.kind == "int" else left
    if unsigned is uint64:
        raise TypeError(f"{left} and {right} do not promote: no integer dtype holds both")
    narrow: DType = int64 if unsigned is uint32 else lg.promote_types(left, right)
    return narrow


def together(*arrays: Tensor) -> list[Tensor]:
    """The arrays in the dtype that all of them promote to."""
    dtype = reduce(promote, [each.dtype for each in arrays])
    return [each.to(dtype) for each in arrays]


def astype(x: Tensor, dtype: DType, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """The tensor in another dtype; memory of its own, or with `copy=False` its own where nothing changes."""
    moved = x if device is None else x.to(device)
    found = moved.to(dtype)
    return found.clone() if copy and found is x else found


def can_cast(from_: Any, to: DType, /) -> bool:
    """Whether promotion leads from one dtype to the other."""
    source = from_.dtype if isinstance(from_, Tensor) else from_
    try:
        return promote(source, to) is to
    except (RuntimeError, TypeError):
        return False


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype that arrays, dtypes and numbers promote to; a number counts by its kind only.

    Raises:
        ValueError: there are only numbers.
    """
    known = [each.dtype if isinstance(each, Tensor) else each for each in arrays_and_dtypes]
    dtypes = [each for each in known if isinstance(each, DType)]
    if not dtypes:
        raise ValueError("result_type needs an array or a dtype")
    found = reduce(promote, dtypes)
    for each in known:
        if isinstance(each, float) and not found.is_floating_point:
            found = lg.get_default_dtype()
        elif isinstance(each, int) and not isinstance(each, bool) and found is bool_:
            found = int64
    return found


def isdtype(dtype: DType, kind: Any) -> bool:
    """Whether a dtype is another one, or of a kind such as "real floating"; or one of a tuple of those.

    Raises:
        ValueError: an unknown kind.
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, each) for each in kind)
    if isinstance(kind, DType):
        return dtype is kind
    if kind not in KINDS:
        raise ValueError(f"isdtype: {kind!r} is none of {', '.join(KINDS)}")
    return dtype in KINDS[kind] or (
        kind in ("real floating", "numeric") and dtype.is_floating_point
    )


@dataclass(frozen=True)
class FloatLimits:
    """What finfo gives."""

    dtype: DType
    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float


@dataclass(frozen=True)
class IntegerLimits:
    """What iinfo gives."""

    dtype: DType
    bits: int
    max: int
    min: int


def finfo(type: Any, /) -> FloatLimits:
    """The limits of a floating dtype, or that of an array."""
    dtype = type.dtype if isinstance(type, Tensor) else type
    found = lg.finfo(dtype)
    return FloatLimits(dtype, found.bits, found.eps, found.max, found.min, found.tiny)


def iinfo(type: Any, /) -> IntegerLimits:
    """The limits of an integer dtype, or that of an array."""
    dtype = type.dtype if isinstance(type, Tensor) else type
    found = lg.iinfo(dtype)
    return IntegerLimits(dtype, found.bits, found.max, found.min)


class Information:
    """What `__array_namespace_info__` gives."""

    def capabilities(self) -> dict[str, Any]:
        """Boolean indices and shapes that depend on data work; there is no limit of dimensions."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": None}

    def default_device(self) -> Any:
        return lg.get_default_device()

    def default_dtypes(self, *, device: Any = None) -> dict[str, Any]:
        """The dtypes of new arrays by kind; there are no complex ones."""
        return {
            "real floating": lg.get_default_dtype(),
            "complex floating": None,
            "integral": int64,
            "indexing": int64,
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """The dtypes of a kind, or all, by name."""
        kinds = KINDS["bool"] + KINDS["numeric"]
        return {each.name: each for each in kinds if kind is None or isdtype(each, kind)}

    def devices(self) -> list[Any]:
        counts = {"cuda": lg.cuda.device_count(), "opencl": lg.opencl.device_count()}
        several = [lg.device(kind, n) for kind, count in counts.items() for n in range(count)]
        return [lg.device("cpu"), *several, lg.device("interpret")]


def __array_namespace_info__() -> Information:
    """What the namespace can do."""
    return Information()
