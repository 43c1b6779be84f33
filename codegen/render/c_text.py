"""Pieces of C text that OpenCL C and CUDA C share: types, constants, names, and what a dialect calls its own things.

In: dtypes, constants, values. Out: text. Type names are OpenCL's (`uint`, `long` of 64 bits, `float16` of 16 lanes); a dialect without
them defines them in its header, and one without vectors says so (`lanes`). In registers a bool is `bool`, a vector of them a vector of
chars that are 0 or -1, and a half float is a float that conversions round to its own precision, so that no device needs half arithmetic.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from ctypes import c_float
from dataclasses import dataclass, field

from lazygrad.ir.args import Constant
from lazygrad.ir.dtype import DType, bfloat16, float16, float64, int64
from lazygrad.ir.node import Node

from . import llvm_text
from .llvm_text import is_half
from .ranges import Ranges

SCALARS = {
    "float64": "double", "float32": "float", "float16": "float", "bfloat16": "float", "int64": "long", "int32": "int",
    "int16": "short", "int8": "char", "uint8": "uchar", "uint32": "uint", "uint64": "ulong", "bool": "bool",
}  # fmt: skip
"""How a register holds one value of a dtype."""
NARROW_LIMIT = 1 << 31
"""What indices of a dialect's narrow type are less than."""
SIGNED = {1: "char", 2: "short", 4: "int", 8: "long"}
UNSIGNED = {1: "uchar", 2: "ushort", 4: "uint", 8: "ulong"}
"""Integers by their bytes."""
RESERVED = frozenset(
    """
    auto break case char const continue default do double else enum extern float for goto if inline int long register restrict return short
    signed sizeof static struct switch typedef union unsigned void volatile while bool uchar ushort uint ulong half kernel global local
    constant private item chunk launch first last error scratch trips true false min max abs sign exp log sin cos tan floor ceil round trunc sqrt
    fma fmod rint fabs rsqrt pow atan2 exp2 log2 log10 expm1 log1p select all any step mix dot cross distance length normalize image event this new class template operator and or not xor begin end
    thread block asm catch delete explicit export friend mutable namespace protected public throw try typeid typename using virtual nullptr decltype constexpr
    noexcept alignas alignof static_assert linux unix NAN INFINITY
    """.split()
)
"""Names that a kernel's params, loops and locals do not get."""


@dataclass(frozen=True, slots=True)
class Atomics:
    """What a dialect calls its atomic updates of memory (c_atomics.py)."""

    space: str
    """The address space of what is updated."""
    updates: Mapping[tuple[str, str], tuple[str, str]]
    """Of a kind of step and a dtype: the function that does it at once, where there is one, and the type that it takes elements for."""
    swaps: Mapping[int, tuple[str, str]]
    """Of a number of bytes: the function that compares and swaps so many, and their type. Smaller elements are parts of four."""
    extensions: Mapping[int, str] = field(default_factory=dict)
    """Of a number of bytes: what a text says before it uses these functions."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """A C of a device: what it calls its own things."""

    language: str
    header: str
    """What stands before everything."""
    kernel: str
    """What a kernel's definition begins with, where a group has {group} work-items; its {bounds} are that, and the least groups at a time that registers are kept for."""
    function: str
    """What a function's definition begins with."""
    memory: str
    """The address space of buffers."""
    restrict: str
    lanes: int
    """The most lanes that a vector may have; 1 where there are none."""
    item: str
    """The number of the work-item, as a long."""
    items: str
    """How many work-items there are."""
    first_error: str
    """Puts {number} into the error word, unless another came first."""
    narrow: str = ""
    """The type of an index that fits 32 bits, where shorter arithmetic is faster; none where all indices are `long`."""
    name: str = "{}_kernel"
    """What a kernel is called, from the name of its loop tree."""
    definitions: Mapping[str, str] = field(default_factory=dict)
    """What texts use of OpenCL C by its name, and the dialect does not have: its definition."""
    private_bytes: int = 16 << 10
    """Local arrays of more bytes than this in all, for a work-item, live in scratch memory, the largest first."""
    block: str = ""
    """The number of the work-item's group, and how many groups there are: where groups share loops."""
    blocks: str = ""
    thread: str = ""
    """The number of the work-item in its group."""
    shared: str = ""
    """What the declaration of an array of a group begins with."""
    shared_bytes: int = 0
    """How much of such arrays a group may have; the rest lives in scratch memory."""
    fence: str = ""
    """Waits until what the work-item has stored is in memory; no load behind it is done in front of it."""
    barrier: str = ""
    """Waits for all work-items of the group."""
    exchanges: bool = False
    """Whether the work-items of a warp exchange registers; those of others reduce through an array of the group."""
    hoists: bool = False
    """Whether the arrays of a group are declared at the head of a kernel, and nowhere else."""
    halves: Mapping[str, str] = field(default_factory=dict)
    """Conversions of half floats that it has instructions for, by the name of the function that is written here."""
    aligned: str = ""
    """What the declaration of a local array begins with that is copied at once."""
    apart: str = ""
    """What the definition of a function begins with that has a kernel's text, where the kernel itself only calls it."""
    builtin_bytes: int = 128
    """The widest vectors that its built-in functions take."""
    diverges: bool = False
    """Whether work-items that go another way than their neighbours cost: then scalars that few of them need are jumped over, too."""
    copies: bool = False
    """Whether it has the functions of tiles: copies that are under way until they are waited for, products of matrices. Elsewhere a copy is a load and a store."""
    atomics: Atomics | None = None
    """How work-items update memory that others update too."""


def lanes_of(node: Node) -> int | None:
    """The lanes of a vector, None for a scalar, which a vector of one lane is, too: C has no such vectors."""
    lanes = llvm_text.lanes_of(node)
    return None if lanes == 1 else lanes


def suffix(lanes: int | None) -> str:
    """What a type's name ends with: its lanes."""
    return "" if lanes is None else str(lanes)


def register_type(dtype: DType, lanes: int | None) -> str:
    """How a register holds one value, or a vector of them."""
    scalar = "char" if lanes is not None and dtype.kind == "bool" else SCALARS[dtype.name]
    return scalar + suffix(lanes)


def memory_type(dtype: DType, lanes: int | None = None) -> str:
    """How memory holds one value, or a vector of them."""
    if is_half(dtype):
        return "ushort" + suffix(lanes)
    return ("uchar" if dtype.kind == "bool" else SCALARS[dtype.name]) + suffix(lanes)


def width(dtype: DType) -> int:
    """The bytes of a lane in a register."""
    return 4 if is_half(dtype) else dtype.itemsize


def type_of(node: Node) -> str:
    return register_type(node.dtype, lanes_of(node))


def float_text(value: float, dtype: DType) -> str:
    """A float constant, rounded to `dtype`, so that it reads back exactly."""
    if value != value:
        return "NAN" if dtype is not float64 else "(double)NAN"
    if dtype is float16:
        try:
            (value,) = struct.unpack("e", struct.pack("e", value))
        except OverflowError:
            value = float("inf") if value > 0 else float("-inf")
    elif dtype is not float64:
        value = c_float(value).value  # overflows to infinity, where struct raises
    if dtype is bfloat16 and abs(value) != float("inf"):
        (bits,) = struct.unpack("I", struct.pack("f", value))
        (value,) = struct.unpack(
            "f", struct.pack("I", bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000)
        )
    if abs(value) == float("inf"):
        text = "INFINITY" if dtype is not float64 else "(double)INFINITY"
        return text if value > 0 else f"(-{text})"
    text = repr(value) if dtype is float64 else f"{value:.9g}"
    if "." not in text and "e" not in text:
        text += ".0"
    text += "" if dtype is float64 else "f"
    return f"({text})" if text.startswith("-") else text


def integer_text(value: int, dtype: DType) -> str:
    """An integer constant of the width of `dtype`."""
    if dtype.name == "uint64":
        return f"{value}UL"
    if dtype.name == "uint32":
        return f"{value}u"
    ending = "L" if dtype.itemsize == 8 else ""
    if value == -(1 << dtype.bits - 1) and dtype.itemsize >= 4:
        return f"(-{-value - 1}{ending} - 1)"  # C has no negative constants, and the positive one does not fit
    return f"{value}{ending}" if value >= 0 else f"({value}{ending})"


def scalar_text(value: float | int | bool, dtype: DType, lanes: int | None = None) -> str:
    """One constant, or a lane of a vector of them."""
    if dtype.kind == "float":
        return float_text(float(value), dtype)
    if dtype.kind == "bool":
        return ("true" if value else "false") if lanes is None else ("-1" if value else "0")
    return integer_text(int(value), dtype)


def number_text(value: float | int | bool, dtype: DType, lanes: int | None) -> str:
    """A constant, in every lane of a vector."""
    text = scalar_text(value, dtype, lanes)
    return text if lanes is None else f"({register_type(dtype, lanes)})({text})"


def constant_text(node: Node) -> str:
    """A CONST as an operand."""
    assert isinstance(node.arg, Constant)
    return number_text(node.arg.value, node.dtype, lanes_of(node))


DECLARATION = re.compile(r"\s*const (?:int|long|bool) (\w+) = ")
NAME = re.compile(r"[A-Za-z_]\w*")


def without_unused(lines: Sequence[str]) -> list[str]:
    """The lines but for indices and conditions that no later line uses: they were written where they are used."""
    used: set[str] = set()
    kept: list[str] = []
    for line in reversed(lines):
        declared = DECLARATION.match(line)
        if declared is None or declared[1] in used or line.lstrip().startswith("{"):
            used.update(NAME.findall(line))
            kept.append(line)
    return kept[::-1]


class Writer:
    """The text of one kernel as it grows: lines, names, what is known of values, and the functions that it calls."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.ranges = Ranges()
        self.lines: list[str] = []
        self.depth = 1
        self.functions: dict[str, str] = {}
        self.masks: dict[int, str] = {}
        """Vectors of bools that are masks as wide as what was compared, by their ids; others have chars, which anyone else gets of these, too."""
        self.mask_bytes: dict[int, int] = {}
        """The bytes of a lane of such a mask."""
        self._uses: dict[str, int] = dict.fromkeys(RESERVED, 1)

    def name(self, hint: str) -> str:
        """A name that nothing has yet: the hint, numbered from its second use."""
        hint = "".join(c if c.isalnum() and c.isascii() else "_" for c in hint)
        count = self._uses.get(hint, 0)
        self._uses[hint] = count + 1
        if count == 0:
            return hint
        found = f"{hint}_{count}"
        return self.name(found) if found in self._uses else found

    def add(self, text: str) -> None:
        """A line."""
        self.lines.append("  " * self.depth + text)

    def value(self, kind: str, text: str, hint: str, comment: str = "") -> str:
        """A line that gives a value a name."""
        name = self.name(hint if hint not in RESERVED else f"{hint}_")
        self.add(f"const {kind} {name} = {text};{comment}")
        return name

    def is_narrow(self, node: Node) -> bool:
        """Whether an index is known to fit the dialect's narrow type, which its text then has, or would if all that it is made of were narrow."""
        if not self.dialect.narrow or node.dtype is not int64 or lanes_of(node) is not None:
            return False
        known = self.ranges.of(node)
        return known is not None and max(abs(known[0]), abs(known[1])) < NARROW_LIMIT

    def index_type(self, extent: Node, by: int) -> str:
        """The type of a loop's index that goes on by so much, past the extent too."""
        known = self.ranges.of(extent)
        if not self.dialect.narrow or known is None or known[1] + by >= NARROW_LIMIT:
            return "long"
        return self.dialect.narrow

    def function(self, name: str, text: str) -> str:
        """A function that the kernel calls; returns its name."""
        self.functions.setdefault(name, text)
        return name
