"""Pieces of LLVM IR text: types, constants, names, instructions.

In: dtypes, constants, instructions without their result's name. Out: the text of one function, line by line. In registers a bool
is i1, and a half float is a float32 that every operation rounds to its own precision (llvm_convert.py), so that no machine
needs instructions for it.
"""

from __future__ import annotations

import struct
from ctypes import c_float

from lazygrad.ir.args import Constant
from lazygrad.ir.dtype import DType, bfloat16, float16, float64
from lazygrad.ir.node import Node

from .ranges import Ranges


class RenderError(ValueError):
    """A kernel holds what this renderer has no code for."""


def register_type(dtype: DType) -> str:
    """How LLVM holds one value of `dtype` in a register."""
    if dtype.kind == "float":
        return "double" if dtype is float64 else "float"
    return "i1" if dtype.kind == "bool" else f"i{dtype.bits}"


def memory_type(dtype: DType) -> str:
    """How LLVM holds one value of `dtype` in memory."""
    if dtype.kind == "float" and dtype.itemsize == 2:
        return "i16"
    return "i8" if dtype.kind == "bool" else register_type(dtype)


def is_half(dtype: DType) -> bool:
    return dtype.kind == "float" and dtype.itemsize == 2


def lanes_of(node: Node) -> int | None:
    """The lanes of a vector, None for a scalar."""
    if not node.shape:
        return None
    (size,) = node.shape
    if not isinstance(size, int):
        raise RenderError(f"a vector of {size} lanes: the number must be constant")
    return size


def with_lanes(kind: str, lanes: int | None) -> str:
    """A scalar type, or the vector of it."""
    return kind if lanes is None else f"<{lanes} x {kind}>"


def type_of(node: Node) -> str:
    return with_lanes(register_type(node.dtype), lanes_of(node))


def splat_text(scalar: str, kind: str, lanes: int | None) -> str:
    """A constant operand with `scalar` in every lane."""
    return scalar if lanes is None else f"splat ({kind} {scalar})"


def float_text(value: float, dtype: DType) -> str:
    """A float constant, rounded to `dtype`; LLVM reads the bits of a double."""
    if value != value:
        return "0x7FF8000000000000"
    if dtype is float16:
        try:
            (value,) = struct.unpack("e", struct.pack("e", value))
        except OverflowError:
            value = float("inf") if value > 0 else float("-inf")
    elif dtype is not float64:
        value = c_float(value).value  # overflows to infinity, where struct raises
    if dtype is bfloat16 and abs(value) != float("inf"):
        (bits,) = struct.unpack("I", struct.pack("f", value))
        bits = bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000
        (value,) = struct.unpack("f", struct.pack("I", bits))
    (bits,) = struct.unpack("Q", struct.pack("d", value))
    return f"0x{bits:016X}"


def constant_text(node: Node) -> str:
    """A CONST as an operand."""
    assert isinstance(node.arg, Constant)
    value = node.arg.value
    if node.dtype.kind == "float":
        text = float_text(float(value), node.dtype)
    elif node.dtype.kind == "bool":
        text = "true" if value else "false"
    else:
        text = str(int(value))
    return splat_text(text, register_type(node.dtype), lanes_of(node))


class Emitter:
    """The text of one function as it grows: names, instructions, and the intrinsics that they call."""

    def __init__(self, has_half_conversions: bool) -> None:
        self.lines: list[str] = []
        self.declarations: dict[str, str] = {}
        self.ranges = Ranges()
        self.packed: dict[str, str] = {}
        """The 16 bits of half floats that were made of them."""
        self.has_half_conversions = has_half_conversions
        self._uses: dict[str, int] = {}

    def name(self, hint: str) -> str:
        """A name that nothing has yet: the hint, numbered from its second use."""
        count = self._uses.get(hint, 0)
        self._uses[hint] = count + 1
        return hint if count == 0 else f"{hint}.{count}"

    def add(self, text: str) -> None:
        """An instruction without a result."""
        self.lines.append("  " + text)

    def value(self, text: str, hint: str) -> str:
        """An instruction with a result; returns its name."""
        name = "%" + self.name(hint)
        self.lines.append(f"  {name} = {text}")
        return name

    def call(
        self, name: str, result: str, operands: tuple[tuple[str, str], ...], flags: str = ""
    ) -> str:
        """A call of an intrinsic with operands (type, text); returns the text of the instruction."""
        if name not in self.declarations:
            types = ", ".join(kind for kind, _ in operands)
            self.declarations[name] = f"declare {result} @{name}({types})"
        arguments = ", ".join(f"{kind} {text}" for kind, text in operands)
        return f"call {flags}{result} @{name}({arguments})"


def suffix(kind: str, lanes: int | None) -> str:
    """The part of an intrinsic's name that says its type."""
    short = {"float": "f32", "double": "f64"}.get(kind, kind)
    return short if lanes is None else f"v{lanes}{short}"


def select(emit: Emitter, lanes: int | None, condition: str, kind: str, yes: str, no: str) -> str:
    """`yes` where `condition` (with `lanes` lanes of its own), else `no`; `kind` is their type."""
    flag = with_lanes("i1", lanes)
    return emit.value(f"select {flag} {condition}, {kind} {yes}, {kind} {no}", "chosen")
