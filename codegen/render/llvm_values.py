"""Elementwise operations as LLVM IR text: one rule an operation, for a scalar and for a vector alike.

In: a node and the text of its operands. Out: the text of its result, after the instructions that compute it were added to
the `Emitter`. In registers a bool is i1, and a half float is a float32 that every operation rounds to its own precision, so
that no machine needs instructions for it. No result is ever undefined: conversions, divisions and shifts out of range
give what PyTorch gives on x86-64.
"""

from __future__ import annotations

import struct
from ctypes import c_float

from lazygrad.ir.args import Constant, Reduction
from lazygrad.ir.dtype import DType, bfloat16, float16, float64
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op
from lazygrad.ir.rewrite import RuleTable

from .ranges import Range, Ranges

ROUNDED = frozenset((Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.SQRT, Op.RSQRT, Op.FMA, Op.CAST, Op.REDUCE))
"""Operations whose float32 result may not be a number of a narrower dtype."""


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


def compute(emit: Emitter, node: Node, operands: list[str]) -> str:
    """The instructions of one value that is not a load; returns its operand text.

    Raises:
        RenderError: an operation that must have been expanded before.
    """
    result = VALUES(node.op, emit, node, *operands)
    if result is None:
        raise RenderError(
            f"{node.op.name.lower()} on {node.dtype.short} has no LLVM code: "
            "transcendental functions are expanded before rendering"
        )
    if node.op in ROUNDED and is_half(node.dtype):
        return round_half(emit, node.dtype, lanes_of(node), result)
    return result


# --- half floats


def is_half(dtype: DType) -> bool:
    return dtype.kind == "float" and dtype.itemsize == 2


def round_half(emit: Emitter, dtype: DType, lanes: int | None, value: str) -> str:
    """A float32 rounded to a half float's precision, to nearest even."""
    if dtype is float16 and emit.has_half_conversions:
        single, half = with_lanes("float", lanes), with_lanes("half", lanes)
        narrow = emit.value(f"fptrunc {single} {value} to {half}", "half")
        return emit.value(f"fpext {half} {narrow} to {single}", "rounded")
    return expand_half(emit, dtype, lanes, pack_half(emit, dtype, lanes, value))


def expand_half(emit: Emitter, dtype: DType, lanes: int | None, bits: str) -> str:
    """The float32 that 16 bits stand for; exact."""
    short, word, single = (with_lanes(kind, lanes) for kind in ("i16", "i32", "float"))

    def number(value: int) -> str:
        return splat_text(str(value), "i32", lanes)

    if dtype is float16 and emit.has_half_conversions:
        half = with_lanes("half", lanes)
        narrow = emit.value(f"bitcast {short} {bits} to {half}", "half")
        return emit.value(f"fpext {half} {narrow} to {single}", "expanded")
    wide = emit.value(f"zext {short} {bits} to {word}", "wide")
    if dtype is bfloat16:
        high = emit.value(f"shl {word} {wide}, {number(16)}", "high")
        return emit.value(f"bitcast {word} {high} to {single}", "expanded")
    # Shifted into a float32's fields the exponent is 112 too small, which one product makes up, denormals included.
    size = emit.value(f"and {word} {wide}, {number(0x7FFF)}", "size")
    fields = emit.value(f"shl {word} {size}, {number(13)}", "fields")
    small = emit.value(f"bitcast {word} {fields} to {single}", "small")
    scale = splat_text(float_text(2.0**112, dtype=float64), "float", lanes)
    scaled = emit.value(f"fmul {single} {small}, {scale}", "scaled")
    finite = emit.value(f"bitcast {single} {scaled} to {word}", "finite")
    special = emit.value(f"icmp uge {word} {size}, {number(0x7C00)}", "special")
    infinite = emit.value(f"or {word} {finite}, {number(0x7F800000)}", "infinite")
    chosen = select(emit, lanes, special, word, infinite, finite)
    sign = emit.value(f"and {word} {wide}, {number(0x8000)}", "sign")
    moved = emit.value(f"shl {word} {sign}, {number(16)}", "moved")
    joined = emit.value(f"or {word} {chosen}, {moved}", "joined")
    return emit.value(f"bitcast {word} {joined} to {single}", "expanded")


def pack_half(emit: Emitter, dtype: DType, lanes: int | None, value: str) -> str:
    """The 16 bits of a float32 rounded to a half float, to nearest even; a NaN becomes the quiet one."""
    short, word, single = (with_lanes(kind, lanes) for kind in ("i16", "i32", "float"))

    def number(value: int) -> str:
        return splat_text(str(value), "i32", lanes)

    if dtype is float16 and emit.has_half_conversions:
        half = with_lanes("half", lanes)
        narrow = emit.value(f"fptrunc {single} {value} to {half}", "half")
        return emit.value(f"bitcast {half} {narrow} to {short}", "bits")
    bits = emit.value(f"bitcast {single} {value} to {word}", "bits")
    drop = 16 if dtype is bfloat16 else 13
    shifted = emit.value(f"lshr {word} {bits}, {number(drop)}", "shifted")
    odd = emit.value(f"and {word} {shifted}, {number(1)}", "odd")
    if dtype is bfloat16:
        nan = emit.value(f"fcmp uno {single} {value}, {value}", "nan")
        bias = emit.value(f"add {word} {odd}, {number(0x7FFF)}", "bias")
        sum_ = emit.value(f"add {word} {bits}, {bias}", "sum")
        high = emit.value(f"lshr {word} {sum_}, {number(16)}", "high")
        chosen = select(emit, lanes, nan, word, number(0x7FC0), high)
        return emit.value(f"trunc {word} {chosen} to {short}", "packed")
    size = emit.value(f"and {word} {bits}, {number(0x7FFFFFFF)}", "size")
    bias = emit.value(f"add {word} {odd}, {number(0xFFF - (112 << 23))}", "bias")
    sum_ = emit.value(f"add {word} {size}, {bias}", "sum")
    normal = emit.value(f"lshr {word} {sum_}, {number(13)}", "normal")
    # 0.5 has a float16's smallest denormal as its last bit, so the sum's low bits are the rounded result.
    absolute = emit.value(f"bitcast {word} {size} to {single}", "absolute")
    half_ = splat_text(float_text(0.5, float64), "float", lanes)
    raised = emit.value(f"fadd {single} {absolute}, {half_}", "raised")
    low = emit.value(f"bitcast {single} {raised} to {word}", "low")
    denormal = emit.value(f"sub {word} {low}, {number(0x3F000000)}", "denormal")
    tiny = emit.value(f"icmp ult {word} {size}, {number(113 << 23)}", "tiny")
    chosen = select(emit, lanes, tiny, word, denormal, normal)
    huge = emit.value(
        f"icmp uge {word} {size}, {number(0x477FF000)}", "huge"
    )  # 65520 rounds to infinity
    chosen = select(emit, lanes, huge, word, number(0x7C00), chosen)
    nan = emit.value(f"icmp ugt {word} {size}, {number(0x7F800000)}", "nan")
    chosen = select(emit, lanes, nan, word, number(0x7E00), chosen)
    high = emit.value(f"lshr {word} {bits}, {number(16)}", "high")
    sign = emit.value(f"and {word} {high}, {number(0x8000)}", "sign")
    joined = emit.value(f"or {word} {chosen}, {sign}", "joined")
    return emit.value(f"trunc {word} {joined} to {short}", "packed")


def select(emit: Emitter, lanes: int | None, condition: str, kind: str, yes: str, no: str) -> str:
    """`yes` where `condition` (with `lanes` lanes of its own), else `no`; `kind` is their type."""
    flag = with_lanes("i1", lanes)
    return emit.value(f"select {flag} {condition}, {kind} {yes}, {kind} {no}", "chosen")


# --- the rules

VALUES: RuleTable[str] = RuleTable("llvm values")

SIMPLE_FLOAT = {Op.ADD: "fadd", Op.SUB: "fsub", Op.MUL: "fmul", Op.DIV: "fdiv"}
SIMPLE_INTEGER = {Op.ADD: "add", Op.SUB: "sub", Op.MUL: "mul"}
BITWISE = {Op.AND: "and", Op.OR: "or", Op.XOR: "xor"}
INTRINSIC = {
    Op.SQRT: "sqrt", Op.FLOOR: "floor", Op.CEIL: "ceil", Op.TRUNC: "trunc", Op.ROUND: "roundeven",
}  # fmt: skip
FLOAT_COMPARE = {Op.LT: "olt", Op.LE: "ole", Op.EQ: "oeq", Op.NE: "une"}
SIGNED_COMPARE = {Op.LT: "slt", Op.LE: "sle", Op.EQ: "eq", Op.NE: "ne"}
UNSIGNED_COMPARE = {Op.LT: "ult", Op.LE: "ule", Op.EQ: "eq", Op.NE: "ne"}


def _hint(node: Node) -> str:
    return node.op.name.lower()


def _number(node: Node, value: int) -> str:
    """An integer constant of the type of `node`."""
    return splat_text(str(value), register_type(node.dtype), lanes_of(node))


@VALUES.rule(Op.ADD, Op.SUB, Op.MUL)
def arithmetic(emit: Emitter, node: Node, left: str, right: str) -> str | None:
    if node.dtype.kind == "float":
        return emit.value(f"{SIMPLE_FLOAT[node.op]} {type_of(node)} {left}, {right}", _hint(node))
    if node.dtype.kind == "bool":
        return None
    flags = ""
    known = emit.ranges.of(node)
    if known is not None and node.dtype.is_signed:
        first, second = emit.ranges.of(node.src[0]), emit.ranges.of(node.src[1])
        unsigned = known[0] >= 0 and first is not None and first[0] >= 0
        unsigned = unsigned and second is not None and second[0] >= 0 and node.op is not Op.SUB
        flags = " nuw nsw" if unsigned else " nsw"
    return emit.value(
        f"{SIMPLE_INTEGER[node.op]}{flags} {type_of(node)} {left}, {right}", _hint(node)
    )


@VALUES.rule(Op.ADD, Op.MUL)
def bool_arithmetic(emit: Emitter, node: Node, left: str, right: str) -> str:
    """PyTorch's sum and product of bools: or, and."""
    instruction = "or" if node.op is Op.ADD else "and"
    return emit.value(f"{instruction} {type_of(node)} {left}, {right}", _hint(node))


@VALUES.rule(Op.DIV)
def divide(emit: Emitter, node: Node, left: str, right: str) -> str:
    return emit.value(f"fdiv {type_of(node)} {left}, {right}", "div")


@VALUES.rule(Op.FMOD)
def float_modulo(emit: Emitter, node: Node, left: str, right: str) -> str:
    """Exact, so a half float's result needs no rounding."""
    return emit.value(f"frem {type_of(node)} {left}, {right}", "fmod")


@VALUES.rule(Op.IDIV, Op.MOD)
def integer_division(emit: Emitter, node: Node, left: str, right: str) -> str:
    """Rounds to minus infinity. Never traps: a divisor of 0 counts as 1, and -1 is a negation."""
    kind, division = type_of(node), node.op is Op.IDIV
    first, second = emit.ranges.of(node.src[0]), emit.ranges.of(node.src[1])
    positive = second is not None and second[0] > 0
    unsigned = not node.dtype.is_signed or (positive and first is not None and first[0] >= 0)
    if (
        positive
        and second is not None
        and second[0] == second[1]
        and second[0] & second[0] - 1 == 0
    ):
        if division:
            shift = _number(node, second[0].bit_length() - 1)
            instruction = "lshr" if unsigned else "ashr"
            return emit.value(f"{instruction} {kind} {left}, {shift}", "idiv")
        return emit.value(f"and {kind} {left}, {_number(node, second[0] - 1)}", "mod")
    if unsigned:
        if not positive:
            lanes, zero = lanes_of(node), _number(node, 0)
            none = emit.value(f"icmp eq {kind} {right}, {zero}", "none")
            right = select(emit, lanes, none, kind, _number(node, 1), right)
        return emit.value(f"{'udiv' if division else 'urem'} {kind} {left}, {right}", _hint(node))
    return _floor_division(emit, node, left, right, second)


def _floor_division(emit: Emitter, node: Node, left: str, right: str, known: Range | None) -> str:
    kind, lanes, zero = type_of(node), lanes_of(node), _number(node, 0)
    divisor = right
    safe = known is not None and (known[0] > 0 or known[1] < -1)
    if not safe:  # 0 and -1 are the two values that may trap
        next_ = emit.value(f"add {kind} {right}, {_number(node, 1)}", "next")
        unsafe = emit.value(f"icmp ult {kind} {next_}, {_number(node, 2)}", "unsafe")
        divisor = select(emit, lanes, unsafe, kind, _number(node, 1), right)
    remainder = emit.value(f"srem {kind} {left}, {divisor}", "remainder")
    uneven = emit.value(f"icmp ne {kind} {remainder}, {zero}", "uneven")
    signs = emit.value(f"xor {kind} {remainder}, {divisor}", "signs")
    differ = emit.value(f"icmp slt {kind} {signs}, {zero}", "differ")
    adjust = emit.value(f"and {with_lanes('i1', lanes)} {uneven}, {differ}", "adjust")
    if node.op is Op.MOD:
        moved = emit.value(f"add {kind} {remainder}, {divisor}", "moved")
        return select(emit, lanes, adjust, kind, moved, remainder)
    quotient = emit.value(f"sdiv {kind} {left}, {divisor}", "quotient")
    lower = emit.value(f"sub {kind} {quotient}, {_number(node, 1)}", "lower")
    result = select(emit, lanes, adjust, kind, lower, quotient)
    if safe:
        return result
    minus = emit.value(f"icmp eq {kind} {right}, {_number(node, -1)}", "minus")
    negated = emit.value(f"sub {kind} {zero}, {left}", "negated")
    return select(emit, lanes, minus, kind, negated, result)


@VALUES.rule(Op.AND, Op.OR, Op.XOR)
def bitwise(emit: Emitter, node: Node, left: str, right: str) -> str:
    return emit.value(f"{BITWISE[node.op]} {type_of(node)} {left}, {right}", _hint(node))


@VALUES.rule(Op.SHL, Op.SHR)
def shift(emit: Emitter, node: Node, left: str, right: str) -> str:
    """A shift by the width or more (or by less than 0) leaves nothing, or the sign."""
    kind, lanes, bits = type_of(node), lanes_of(node), node.dtype.bits
    known = emit.ranges.of(node.src[1])
    sure = known is not None and known[0] >= 0 and known[1] < bits
    if node.op is Op.SHR and node.dtype.is_signed:
        if not sure:
            name = f"llvm.umin.{suffix(register_type(node.dtype), lanes)}"
            operands = ((kind, right), (kind, _number(node, bits - 1)))
            right = emit.value(emit.call(name, kind, operands), "amount")
        return emit.value(f"ashr {kind} {left}, {right}", "shr")
    instruction = "shl" if node.op is Op.SHL else "lshr"
    shifted = emit.value(f"{instruction} {kind} {left}, {right}", _hint(node))
    if sure:
        return shifted
    inside = emit.value(f"icmp ult {kind} {right}, {_number(node, bits)}", "inside")
    return select(emit, lanes, inside, kind, shifted, _number(node, 0))


@VALUES.rule(Op.MAX, Op.MIN)
def extremum(emit: Emitter, node: Node, left: str, right: str) -> str:
    """NaN if either is NaN; of two zeros the right one, which is what one x86 instruction gives."""
    kind, lanes = type_of(node), lanes_of(node)
    largest = node.op is Op.MAX
    if node.dtype.kind == "bool":
        return emit.value(f"{'or' if largest else 'and'} {kind} {left}, {right}", _hint(node))
    if node.dtype.kind == "float":
        better = emit.value(f"fcmp {'ogt' if largest else 'olt'} {kind} {left}, {right}", "better")
        chosen = select(emit, lanes, better, kind, left, right)
        nan = emit.value(f"fcmp uno {kind} {left}, {left}", "nan")
        return select(emit, lanes, nan, kind, left, chosen)
    name = f"{'s' if node.dtype.is_signed else 'u'}{_hint(node)}"
    operands = ((kind, left), (kind, right))
    return emit.value(
        emit.call(f"llvm.{name}.{suffix(register_type(node.dtype), lanes)}", kind, operands),
        _hint(node),
    )


@VALUES.rule(Op.LT, Op.LE, Op.EQ, Op.NE)
def comparison(emit: Emitter, node: Node, left: str, right: str) -> str:
    source = node.src[0]
    if source.dtype.kind == "float":
        return emit.value(
            f"fcmp {FLOAT_COMPARE[node.op]} {type_of(source)} {left}, {right}", _hint(node)
        )
    table = SIGNED_COMPARE if source.dtype.is_signed else UNSIGNED_COMPARE
    return emit.value(f"icmp {table[node.op]} {type_of(source)} {left}, {right}", _hint(node))


@VALUES.rule(Op.NEG)
def negate(emit: Emitter, node: Node, source: str) -> str | None:
    if node.dtype.kind == "float":
        return emit.value(f"fneg {type_of(node)} {source}", "neg")
    if node.dtype.kind == "bool":
        return None
    return emit.value(f"sub {type_of(node)} {_number(node, 0)}, {source}", "neg")


@VALUES.rule(Op.ABS)
def absolute(emit: Emitter, node: Node, source: str) -> str:
    kind, name = type_of(node), suffix(register_type(node.dtype), lanes_of(node))
    if node.dtype.kind == "float":
        return emit.value(emit.call(f"llvm.fabs.{name}", kind, ((kind, source),)), "abs")
    if not node.dtype.is_signed:
        return source
    operands = (
        (kind, source),
        ("i1", "false"),
    )  # false: the least integer is its own absolute value
    return emit.value(emit.call(f"llvm.abs.{name}", kind, operands), "abs")


@VALUES.rule(Op.SIGN)
def sign(emit: Emitter, node: Node, source: str) -> str:
    """(0 < x) - (x < 0): 0 for zeros of either sign and for NaN."""
    kind, lanes = type_of(node), lanes_of(node)
    if node.dtype.kind == "bool":
        return source
    if node.dtype.kind == "float":
        zero, one, minus = (
            splat_text(float_text(v, node.dtype), register_type(node.dtype), lanes) for v in (0.0, 1.0, -1.0)
        )  # fmt: skip
        above = emit.value(f"fcmp ogt {kind} {source}, {zero}", "above")
        below = emit.value(f"fcmp olt {kind} {source}, {zero}", "below")
    else:
        zero, one, minus = (_number(node, v) for v in (0, 1, -1))
        prefix = "s" if node.dtype.is_signed else "u"
        above = emit.value(f"icmp {prefix}gt {kind} {source}, {zero}", "above")
        below = emit.value(f"icmp {prefix}lt {kind} {source}, {zero}", "below")
    rest = select(emit, lanes, below, kind, minus, zero)
    return select(emit, lanes, above, kind, one, rest)


@VALUES.rule(Op.SQRT, Op.FLOOR, Op.CEIL, Op.TRUNC, Op.ROUND)
def intrinsic(emit: Emitter, node: Node, source: str) -> str:
    if node.dtype.kind != "float":
        return source  # an integer is whole already
    kind = type_of(node)
    name = f"llvm.{INTRINSIC[node.op]}.{suffix(register_type(node.dtype), lanes_of(node))}"
    return emit.value(emit.call(name, kind, ((kind, source),)), _hint(node))


@VALUES.rule(Op.RSQRT)
def reciprocal_root(emit: Emitter, node: Node, source: str) -> str:
    kind, scalar, lanes = type_of(node), register_type(node.dtype), lanes_of(node)
    root = emit.value(
        emit.call(f"llvm.sqrt.{suffix(scalar, lanes)}", kind, ((kind, source),)), "root"
    )
    one = splat_text(float_text(1.0, node.dtype), scalar, lanes)
    return emit.value(f"fdiv {kind} {one}, {root}", "rsqrt")


@VALUES.rule(Op.NOT)
def invert(emit: Emitter, node: Node, source: str) -> str:
    ones = splat_text(
        "true" if node.dtype.kind == "bool" else "-1", register_type(node.dtype), lanes_of(node)
    )
    return emit.value(f"xor {type_of(node)} {source}, {ones}", "not")


@VALUES.rule(Op.WHERE)
def where(emit: Emitter, node: Node, condition: str, yes: str, no: str) -> str:
    kind = type_of(node)
    flag = with_lanes("i1", lanes_of(node.src[0]))
    return emit.value(f"select {flag} {condition}, {kind} {yes}, {kind} {no}", "where")


@VALUES.rule(Op.FMA)
def fused(emit: Emitter, node: Node, left: str, right: str, addend: str) -> str:
    kind = type_of(node)
    name = f"llvm.fma.{suffix(register_type(node.dtype), lanes_of(node))}"
    return emit.value(emit.call(name, kind, ((kind, left), (kind, right), (kind, addend))), "fma")


@VALUES.rule(Op.SPLAT)
def splat(emit: Emitter, node: Node, source: str) -> str:
    kind, scalar, lanes = type_of(node), register_type(node.dtype), lanes_of(node)
    if not source.startswith("%"):
        return splat_text(source, scalar, lanes)
    first = emit.value(f"insertelement {kind} poison, {scalar} {source}, i64 0", "first")
    return emit.value(
        f"shufflevector {kind} {first}, {kind} poison, <{lanes} x i32> zeroinitializer", "splat"
    )


@VALUES.rule(Op.LANES)
def lanes(emit: Emitter, node: Node) -> str:
    count = lanes_of(node)
    assert count is not None
    return "<" + ", ".join(f"i64 {lane}" for lane in range(count)) + ">"


@VALUES.rule(Op.REDUCE)
def reduce(emit: Emitter, node: Node, source: str) -> str | None:
    """All lanes of a vector as one scalar; a sum or product in the order that is quickest."""
    assert isinstance(node.arg, Reduction)
    vector, kind = type_of(node.src[0]), register_type(node.dtype)
    width, which = suffix(kind, lanes_of(node.src[0])), node.arg.kind
    operands: tuple[tuple[str, str], ...] = ((vector, source),)
    if node.dtype.kind == "float":
        if which in ("max", "min"):
            name = f"llvm.vector.reduce.f{which}imum.{width}"
            return emit.value(emit.call(name, kind, operands), which)
        if which not in ("add", "mul"):
            return None
        start = float_text(-0.0 if which == "add" else 1.0, node.dtype)
        name = f"llvm.vector.reduce.f{which}.{width}"
        return emit.value(emit.call(name, kind, ((kind, start), *operands), "reassoc "), which)
    if node.dtype.kind == "bool":
        which = "or" if which in ("add", "max", "or") else "and"
    elif which in ("max", "min"):
        return emit.value(
            emit.call(
                f"llvm.vector.reduce.{'s' if node.dtype.is_signed else 'u'}{which}.{width}",
                kind,
                operands,
            ),
            which,
        )
    return emit.value(emit.call(f"llvm.vector.reduce.{which}.{width}", kind, operands), which)


# --- conversions


@VALUES.rule(Op.CAST)
def cast(emit: Emitter, node: Node, source: str) -> str:
    old, new = node.src[0].dtype, node.dtype
    before, after = type_of(node.src[0]), type_of(node)
    if new.kind == "bool":
        if old.kind == "float":
            return emit.value(f"fcmp une {before} {source}, zeroinitializer", "cast")
        if old.kind == "bool":
            return source
        return emit.value(f"icmp ne {before} {source}, zeroinitializer", "cast")
    if old.kind == "float":
        if new.kind != "float":
            return _float_to_integer(emit, node, source)
        if before == after:
            return source  # between float32 and a half: the caller rounds
        wider = register_type(new) == "double"
        return emit.value(f"{'fpext' if wider else 'fptrunc'} {before} {source} to {after}", "cast")
    if new.kind == "float":
        return emit.value(
            f"{'sitofp' if old.is_signed else 'uitofp'} {before} {source} to {after}", "cast"
        )
    if old.kind != "bool" and old.itemsize == new.itemsize:
        return source
    if old.kind != "bool" and old.itemsize > new.itemsize:
        return emit.value(f"trunc {before} {source} to {after}", "cast")
    return emit.value(f"{'sext' if old.is_signed else 'zext'} {before} {source} to {after}", "cast")


def _float_to_integer(emit: Emitter, node: Node, source: str) -> str:
    """Truncates; what does not fit becomes the least integer of 32 (for int64 and wider unsigned ones 64) bits.

    Narrower results are the low bits of that, which is what x86-64 gives PyTorch.
    """
    kind, lanes, old = type_of(node.src[0]), lanes_of(node), node.src[0].dtype
    bits = 64 if node.dtype.bits == 64 or node.dtype.name == "uint32" else 32
    word = with_lanes(f"i{bits}", lanes)
    scalar = register_type(old)
    limit = splat_text(float_text(2.0 ** (bits - 1), float64), scalar, lanes)
    size = emit.value(
        emit.call(f"llvm.fabs.{suffix(scalar, lanes)}", kind, ((kind, source),)), "size"
    )
    fits = emit.value(f"fcmp olt {kind} {size}, {limit}", "fits")
    whole = emit.value(f"fptosi {kind} {source} to {word}", "whole")
    least = splat_text(str(-(1 << bits - 1)), f"i{bits}", lanes)
    if node.dtype.name == "uint64":
        top = splat_text(float_text(2.0**64, float64), scalar, lanes)
        large = emit.value(f"fcmp oge {kind} {source}, {limit}", "large")
        below = emit.value(f"fcmp olt {kind} {source}, {top}", "below")
        upper = emit.value(f"and {with_lanes('i1', lanes)} {large}, {below}", "upper")
        high = emit.value(f"fptoui {kind} {source} to {word}", "high")
        beyond = emit.value(f"fcmp oge {kind} {source}, {top}", "beyond")
        zero = splat_text("0", "i64", lanes)
        least = select(emit, lanes, beyond, word, zero, least)
        least = select(emit, lanes, upper, word, high, least)
    chosen = select(emit, lanes, fits, word, whole, least)
    if node.dtype.bits == bits:
        return chosen
    return emit.value(f"trunc {word} {chosen} to {type_of(node)}", "cast")


@VALUES.rule(Op.BITCAST)
def bitcast(emit: Emitter, node: Node, source: str) -> str:
    bits = to_memory(emit, node.src[0].dtype, lanes_of(node), source)
    before, after = memory_type(node.src[0].dtype), memory_type(node.dtype)
    if before != after:
        first, second = with_lanes(before, lanes_of(node)), with_lanes(after, lanes_of(node))
        bits = emit.value(f"bitcast {first} {bits} to {second}", "bitcast")
    return from_memory(emit, node.dtype, lanes_of(node), bits)


def to_memory(emit: Emitter, dtype: DType, lanes: int | None, value: str) -> str:
    """A register's value as it is stored."""
    if is_half(dtype):
        return pack_half(emit, dtype, lanes, value)
    if dtype.kind == "bool":
        return emit.value(
            f"zext {with_lanes('i1', lanes)} {value} to {with_lanes('i8', lanes)}", "byte"
        )
    return value


def from_memory(emit: Emitter, dtype: DType, lanes: int | None, value: str) -> str:
    """A loaded value as registers hold it; any byte but 0 is true."""
    if is_half(dtype):
        return expand_half(emit, dtype, lanes, value)
    if dtype.kind == "bool":
        return emit.value(f"icmp ne {with_lanes('i8', lanes)} {value}, zeroinitializer", "flag")
    return value
