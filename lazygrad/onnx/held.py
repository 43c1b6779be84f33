"""Element types of ONNX that tensors do not have: held in wider ones, and cut to their own after each operator.

In: numbers of ONNX element types, tensors of the wider dtype with any values. Out: `Held`, and tensors whose values the narrow type has.
uint16 is held in int32, integers of 4 and 2 bits in 8, floats of 8 and 4 bits in float16, which has all of their values. Text is an array
of numpy's objects, and always known: it is computed on the host. Which values of a graph are held is known when it is read, by the
standard's own schemas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import AttributeProto, NodeProto, TensorProto, TypeProto, defs, helper

import lazygrad as lg

from ..ir.dtype import DType, float16, float32, float64, int8, int32, int64, uint8
from ..tensor import Tensor


@dataclass(frozen=True, slots=True)
class Held:
    """An element type: its name in ONNX, and the dtype that holds it, None for text."""

    name: str
    dtype: DType | None

    @property
    def array(self) -> np.dtype[Any]:
        """The dtype of its arrays: numpy's, or that of the package ml_dtypes, which comes with onnx."""
        found: np.dtype[Any] = helper.tensor_dtype_to_np_dtype(
            TensorProto.DataType.Value(self.name)
        )
        return found

    def hold(self, array: Any) -> Any:
        """An array of this type as one of the wider dtype."""
        if self.dtype is None:
            return np.array([_text(item) for item in array.reshape(-1)] or [], object).reshape(
                array.shape
            )
        return array.astype(np.float32).astype(self.dtype.storage)

    def cut(self, value: Any) -> Any:
        """What an operator has computed in the wider dtype, as the narrow one would have: integers wrap around."""
        return value

    def cast(self, value: Tensor, saturate: bool = True, mode: str = "up") -> Any:
        """Other numbers, rounded to this type."""
        raise NotImplementedError(f"tensors of text are not cast to {self.name}")


@dataclass(frozen=True, slots=True)
class Integer(Held):
    """Of `bits` bits."""

    bits: int
    signed: bool

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the largest."""
        half = 1 << self.bits - 1
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)

    def cut(self, value: Any) -> Any:
        bits = value.bitwise_and((1 << self.bits) - 1)
        return bits - 2 * bits.bitwise_and(1 << self.bits - 1) if self.signed else bits

    def cast(self, value: Tensor, saturate: bool = True, mode: str = "up") -> Any:
        return self.cut(value.to(int32)).to(self.dtype)


@dataclass(frozen=True, slots=True)
class Float(Held):
    """With `mantissa` bits behind the point, exponents from `lowest` on, up to `largest`; by `infinite` what overflows is infinite.

    `zeros` says whether there is a negative zero, `numbers` that all patterns are numbers, none NaN.
    """

    mantissa: int
    lowest: int
    largest: float
    infinite: bool = False
    zeros: bool = True
    numbers: bool = False

    def cast(self, value: Tensor, saturate: bool = True, mode: str = "up") -> Any:
        """To the nearest, ties to even; what is too large to the largest, or to infinity or NaN where it is not to saturate."""
        wide: Any = value.to(float32)
        exponent = (wide.view(int32).bitwise_right_shift(23).bitwise_and(255) - 127).clamp(
            self.lowest, 126
        )
        step = (exponent - self.mantissa + 127).bitwise_left_shift(23).view(float32)
        rounded = (wide / step).round() * step
        if saturate or self.numbers:
            rounded = rounded.clamp(-self.largest, self.largest)
        else:
            beyond = rounded.sign() * lg.inf if self.infinite else lg.nan
            rounded = lg.where(rounded.abs() > self.largest, beyond, rounded)
        if not self.zeros:
            rounded = lg.where(rounded == 0, 0.0, rounded)
        return rounded.to(self.dtype)


@dataclass(frozen=True, slots=True)
class Power(Held):
    """Powers of two from 2**-127 to 2**127, and NaN: the exponents of blocks of numbers."""

    def cast(self, value: Tensor, saturate: bool = True, mode: str = "up") -> Any:
        """`mode` is where numbers between two powers go: "up", "down" or "nearest"."""
        bits: Any = value.to(float64).view(int64)
        below = bits.bitwise_right_shift(52) - 1023
        rest = bits.bitwise_and((1 << 52) - 1)
        above = {"up": rest > 0, "down": rest > rest, "nearest": rest >= 1 << 51}[mode]
        exponent = below + above
        fits = (exponent >= -127).logical_and(exponent <= 127)
        exponent = exponent.clamp(-127, 127)
        found = (exponent + 1023).bitwise_left_shift(52).view(float64)
        if saturate:
            fits = value == value
        return lg.where(fits, found, lg.nan).to(self.dtype)


def _text(item: Any) -> str:
    return item.decode() if isinstance(item, bytes) else str(item)


KINDS: tuple[Held, ...] = (
    Held("STRING", None),
    Integer("UINT16", int32, 16, False),
    Integer("UINT4", uint8, 4, False),
    Integer("INT4", int8, 4, True),
    Integer("UINT2", uint8, 2, False),
    Integer("INT2", int8, 2, True),
    Float("FLOAT8E4M3FN", float16, 3, -6, 448.0),
    Float("FLOAT8E4M3FNUZ", float16, 3, -7, 240.0, zeros=False),
    Float("FLOAT8E5M2", float16, 2, -14, 57344.0, infinite=True),
    Float("FLOAT8E5M2FNUZ", float16, 2, -15, 57344.0, zeros=False),
    Float("FLOAT6E2M3", float16, 3, 0, 7.5, numbers=True),
    Float("FLOAT6E3M2", float16, 2, -2, 28.0, numbers=True),
    Float("FLOAT4E2M1", float16, 1, 0, 6.0, numbers=True),
    Power("FLOAT8E8M0", float32),
)
HELD: dict[int, Held] = {
    TensorProto.DataType.Value(kind.name): kind
    for kind in KINDS
    if kind.name in set(TensorProto.DataType.keys())
}
"""By their numbers in ONNX, as far as the onnx that is installed knows them."""
TEXT = KINDS[0]


def held_type(value: TypeProto) -> Held | None:
    """What the elements of a value, or of those in a sequence, are held as."""
    element = value
    while (kind := element.WhichOneof("value")) in ("sequence_type", "optional_type"):
        element = getattr(element, str(kind)).elem_type
    return HELD.get(element.tensor_type.elem_type)


NAMED = ("to", "dtype", "output_dtype", "output_datatype")
"""Attributes that name the element type of the output."""


def held_outputs(
    node: NodeProto, domain: str, version: int, inputs: Sequence[Held | None]
) -> list[Held | None]:
    """What the outputs of a node without bodies are held as: what inputs of the same type are, or what an attribute names.

    Operators that the standard does not have make none.
    """
    named = _by_attribute(node)
    if not any(inputs) and named is None:
        return [None] * len(node.output)
    try:
        schema = defs.get_schema(node.op_type, version, domain)
    except defs.SchemaError:
        return [None] * len(node.output)
    kinds: dict[str, Held | None] = {}
    for place, held in enumerate(inputs):
        formal = schema.inputs[min(place, len(schema.inputs) - 1)].type_str
        kinds[formal] = kinds.get(formal) or held
    known = {formal.type_str for formal in schema.inputs[: len(inputs)]}
    found = []
    for place in range(len(node.output)):
        formal = schema.outputs[min(place, len(schema.outputs) - 1)].type_str
        if formal in known:
            found.append(kinds.get(formal))
        elif "(" in formal:
            found.append(next((kind for kind in KINDS if f"({kind.name.lower()})" in formal), None))
        elif node.op_type.startswith(("Sequence", "SplitTo", "ConcatFrom", "Optional")):
            found.append(next(filter(None, inputs), None))
        else:
            found.append(named)
    return found


def _by_attribute(node: NodeProto) -> Held | None:
    for attribute in node.attribute:
        if attribute.name in NAMED and attribute.type == AttributeProto.INT:
            return HELD.get(attribute.i)
        if attribute.type == AttributeProto.TENSOR:
            return HELD.get(attribute.t.data_type)
        if attribute.name in ("value_string", "value_strings"):
            return TEXT
    return None
