"""The element types, and how they promote.

In: names, numpy dtypes, Python scalars. Out: `DType` singletons, compared by identity.
Promotion is PyTorch's lattice: within a category the wider type wins; a higher category (bool < integer < float) wins
over a lower one whatever the widths; a Python scalar only raises the category.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["bool", "int", "uint", "float"]


@dataclass(frozen=True, eq=False, slots=True)
class DType:
    """An element type. `name` is PyTorch's, `short` is the text form's, `storage` is the numpy name of its bytes."""

    name: str
    short: str
    itemsize: int
    kind: Kind
    storage: str

    @property
    def bits(self) -> int:
        return self.itemsize * 8

    @property
    def is_floating_point(self) -> bool:
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        """True for the signed and unsigned integers, not for bool."""
        return self.kind in ("int", "uint")

    @property
    def is_signed(self) -> bool:
        return self.kind in ("int", "float")

    @property
    def is_complex(self) -> bool:
        return False

    @property
    def category(self) -> int:
        """0 for bool, 1 for integers, 2 for floats."""
        return 0 if self.kind == "bool" else 2 if self.kind == "float" else 1

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return "bool_" if self.kind == "bool" else self.name


float64 = DType("float64", "f64", 8, "float", "float64")
float32 = DType("float32", "f32", 4, "float", "float32")
float16 = DType("float16", "f16", 2, "float", "float16")
bfloat16 = DType("bfloat16", "bf16", 2, "float", "uint16")
int64 = DType("int64", "i64", 8, "int", "int64")
int32 = DType("int32", "i32", 4, "int", "int32")
int16 = DType("int16", "i16", 2, "int", "int16")
int8 = DType("int8", "i8", 1, "int", "int8")
uint8 = DType("uint8", "u8", 1, "uint", "uint8")
uint32 = DType("uint32", "u32", 4, "uint", "uint32")
uint64 = DType("uint64", "u64", 8, "uint", "uint64")
bool_ = DType("bool", "bool", 1, "bool", "bool")

ALL: tuple[DType, ...] = (
    float64, float32, float16, bfloat16, int64, int32, int16, int8, uint8, uint32, uint64, bool_,
)  # fmt: skip
BY_NAME: dict[str, DType] = {dtype.name: dtype for dtype in ALL}
BY_SHORT: dict[str, DType] = {dtype.short: dtype for dtype in ALL}
_WIDE = (uint32, uint64)


def promote(left: DType, right: DType) -> DType:
    """The type of a result of two tensors of these types, as torch.promote_types.

    Raises:
        RuntimeError: a uint32 or uint64 with another integer type or bool, which PyTorch does not promote either.
    """
    if left is right:
        return left
    if left.category < 2 and right.category < 2 and (left in _WIDE or right in _WIDE):
        raise RuntimeError(
            f"Promotion for uint16, uint32, uint64 types is not supported, "
            f"attempted to promote {left.name} and {right.name}"
        )
    if left.category != right.category:
        return left if left.category > right.category else right
    if left.kind == "float":
        if left.itemsize == right.itemsize:
            return float32  # float16 with bfloat16
        return left if left.itemsize > right.itemsize else right
    if left.kind == right.kind:
        return left if left.itemsize > right.itemsize else right
    signed = left if left.kind == "int" else right  # the other is uint8
    return int16 if signed is int8 else signed
