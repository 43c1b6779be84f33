"""Elementwise operations as C text: one rule an operation, for a scalar and for a vector alike.

In: a node and the text of its operands. Out: an expression. No result is ever undefined or left to the device: divisions and shifts out of
range, conversions that do not fit and sums that overflow give what PyTorch gives on x86-64.
"""

from __future__ import annotations

from lazygrad.ir.args import Lanes, Reduction
from lazygrad.ir.dtype import DType, float64
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op
from lazygrad.ir.rewrite import RuleTable

from .c_functions import (
    LANE,
    float_to_integer,
    floor_division,
    from_half,
    from_memory,
    lane_by_lane,
    narrow_to_odd,
    reduction,
    to_half,
    to_memory,
)
from .c_functions import (
    fused as fused_name,
)
from .c_text import (
    SIGNED,
    UNSIGNED,
    Writer,
    lanes_of,
    memory_type,
    number_text,
    register_type,
    suffix,
    type_of,
    width,
)
from .llvm_text import RenderError, is_half
from .llvm_values import ROUNDED

OPERATOR = {
    Op.ADD: "+", Op.SUB: "-", Op.MUL: "*", Op.DIV: "/", Op.AND: "&", Op.OR: "|", Op.XOR: "^",
    Op.LT: "<", Op.LE: "<=", Op.EQ: "==", Op.NE: "!=", Op.IDIV: "/", Op.MOD: "%",
}  # fmt: skip
FUNCTION = {
    Op.SQRT: "sqrt", Op.FLOOR: "floor", Op.CEIL: "ceil", Op.TRUNC: "trunc", Op.ROUND: "rint",
}  # fmt: skip

VALUES: RuleTable[str] = RuleTable("C values")


def compute(writer: Writer, node: Node, operands: list[str]) -> str:
    """The expression of one value that is not a load.

    Raises:
        RenderError: an operation that must have been expanded before, or a vector that the dialect has not.
    """
    lanes = lanes_of(node)
    if lanes is not None and lanes > writer.dialect.lanes:
        raise RenderError(f"{writer.dialect.language} has no vectors of {lanes} lanes")
    text = VALUES(node.op, writer, node, *operands)
    if text is None:
        raise RenderError(
            f"{node.op.name.lower()} on {node.dtype.short} has no C code: "
            "transcendental functions are expanded before rendering"
        )
    if node.op in ROUNDED and is_half(node.dtype):
        return from_half(writer, node.dtype, lanes, to_half(writer, node.dtype, lanes, text))
    return text


def _number(node: Node, value: float) -> str:
    return number_text(value, node.dtype, lanes_of(node))


def _unsigned(node: Node, text: str) -> str:
    """An operand as an unsigned number of the same width."""
    lanes = lanes_of(node)
    kind = UNSIGNED[node.dtype.itemsize] + suffix(lanes)
    return f"({kind}){text}" if lanes is None else f"as_{kind}({text})"


def _back(node: Node, text: str) -> str:
    """An expression of unsigned numbers as one of the node's own type."""
    kind = type_of(node)
    return f"({kind})({text})" if lanes_of(node) is None else f"as_{kind}({text})"


def _flag(writer: Writer, node: Node, text: str) -> str:
    """A comparison of the first source of `node`: of vectors a mask as wide as what is compared."""
    nbytes = width(node.src[0].dtype)
    if lanes_of(node) is None or nbytes == 1:
        return f"({text})"
    writer.mask_bytes[id(node)] = nbytes
    return text


def lane_mask(writer: Writer, node: Node, lanes: int | None, text: str, dtype: DType) -> str:
    """The bool `node`, whose text is this, as `?:` takes it to choose between values of `dtype`."""
    nbytes, name = width(dtype), writer.masks.get(id(node), text)
    if lanes is None or writer.mask_bytes.get(id(node), 1) == nbytes:
        return name
    return f"convert_{SIGNED[nbytes]}{lanes}({name})"


@VALUES.rule(Op.ADD, Op.SUB, Op.MUL)
def arithmetic(writer: Writer, node: Node, left: str, right: str) -> str | None:
    operator = OPERATOR[node.op]
    if node.dtype.kind == "bool":
        return None
    known = node.dtype.kind != "int" or writer.ranges.of(node) is not None
    if known:
        plain = f"{left} {operator} {right}"
        return (
            f"({type_of(node)})({plain})"
            if node.dtype.itemsize < 4 and lanes_of(node) is None
            else plain
        )
    return _back(node, f"{_unsigned(node, left)} {operator} {_unsigned(node, right)}")


@VALUES.rule(Op.ADD, Op.MUL)
def bool_arithmetic(writer: Writer, node: Node, left: str, right: str) -> str:
    """PyTorch's sum and product of bools: or, and."""
    return f"{left} {'|' if node.op is Op.ADD else '&'} {right}"


@VALUES.rule(Op.DIV)
def divide(writer: Writer, node: Node, left: str, right: str) -> str:
    return f"{left} / {right}"


@VALUES.rule(Op.FMOD)
def float_modulo(writer: Writer, node: Node, left: str, right: str) -> str:
    """PoCL's fmod of vectors of doubles is wrong in some lanes and takes tens of seconds to compile: they are asked lane by lane."""
    lanes = lanes_of(node)
    if lanes is None or node.dtype is not float64:
        return f"fmod({left}, {right})"
    return f"{lane_by_lane(writer, 'fmod', node.dtype, lanes)}({left}, {right})"


@VALUES.rule(Op.IDIV, Op.MOD)
def integer_division(writer: Writer, node: Node, left: str, right: str) -> str:
    """Rounds to minus infinity. Never traps: a divisor of 0 counts as 1, and -1 is a negation."""
    lanes = lanes_of(node)
    first, second = writer.ranges.of(node.src[0]), writer.ranges.of(node.src[1])
    positive = second is not None and second[0] > 0
    if positive and second is not None and second[0] == second[1] & -second[1] == second[1]:
        by = second[0].bit_length() - 1 if node.op is Op.IDIV else second[0] - 1
        return f"{left} {'>>' if node.op is Op.IDIV else '&'} {_number(node, by)}"
    if positive and (not node.dtype.is_signed or (first is not None and first[0] >= 0)):
        return f"{left} {OPERATOR[node.op]} {right}"
    return f"{floor_division(writer, node.dtype, lanes, node.op is Op.MOD)}({left}, {right})"


@VALUES.rule(Op.AND, Op.OR, Op.XOR)
def bitwise(writer: Writer, node: Node, left: str, right: str) -> str:
    """Two masks of one width are another one."""
    first, second = (writer.mask_bytes.get(id(source), 1) for source in node.src)
    if first == second > 1:
        writer.mask_bytes[id(node)] = first
        left, right = (writer.masks[id(source)] for source in node.src)
    return f"{left} {OPERATOR[node.op]} {right}"


@VALUES.rule(Op.SHL, Op.SHR)
def shift(writer: Writer, node: Node, left: str, right: str) -> str:
    """A shift by the width or more (or by less than 0) leaves nothing, or the sign."""
    bits = node.dtype.bits
    known = writer.ranges.of(node.src[1])
    sure = known is not None and known[0] >= 0 and known[1] < bits
    amount, last = _unsigned(node, right), _unsigned(node, _number(node, bits - 1))
    if node.op is Op.SHR and node.dtype.is_signed:
        if not sure:
            right = _back(node, f"{amount} < {last} ? {amount} : {last}")
        return f"{left} >> {right}"
    operator = "<<" if node.op is Op.SHL else ">>"
    shifted = _back(node, f"{_unsigned(node, left)} {operator} {amount}")
    return shifted if sure else f"{amount} <= {last} ? {shifted} : {_number(node, 0)}"


@VALUES.rule(Op.MAX, Op.MIN)
def extremum(writer: Writer, node: Node, left: str, right: str) -> str:
    """NaN if either is NaN; of two zeros the left one."""
    compare = ">" if node.op is Op.MAX else "<"
    if node.dtype.kind == "bool":
        return f"{left} {'|' if node.op is Op.MAX else '&'} {right}"
    if node.dtype.kind == "float":
        if (
            lanes_of(node) is not None
        ):  # one instruction of a processor, and what no step of a running result waits for
            return f"{right} != {right} ? {right} : {right} {compare} {left} ? {right} : {left}"
        return f"({right} {compare} {left}) | ({right} != {right}) ? {right} : {left}"
    return f"{right} {compare} {left} ? {right} : {left}"


@VALUES.rule(Op.LT, Op.LE, Op.EQ, Op.NE)
def comparison(writer: Writer, node: Node, left: str, right: str) -> str:
    source = node.src[0]
    if source.dtype.kind == "bool" and lanes_of(source) is not None:
        return {
            Op.LT: f"~{left} & {right}",
            Op.LE: f"~{left} | {right}",
            Op.EQ: f"~({left} ^ {right})",
            Op.NE: f"{left} ^ {right}",
        }[node.op]
    return _flag(writer, node, f"{left} {OPERATOR[node.op]} {right}")


@VALUES.rule(Op.NEG)
def negate(writer: Writer, node: Node, source: str) -> str | None:
    if node.dtype.kind == "bool":
        return None
    if node.dtype.kind == "float":
        return f"-{source}"
    kind = UNSIGNED[node.dtype.itemsize] + suffix(lanes_of(node))
    return _back(node, f"({kind})(0) - {_unsigned(node, source)}")


@VALUES.rule(Op.ABS)
def absolute(writer: Writer, node: Node, source: str) -> str | None:
    """Of vectors of floats all bits but the sign: PoCL's built-in may be a call."""
    if node.dtype.kind == "float" and lanes_of(node) is None:
        return f"fabs({source})"
    if node.dtype.kind == "float":
        word = UNSIGNED[width(node.dtype)] + suffix(lanes_of(node))
        most = (1 << 8 * width(node.dtype) - 1) - 1
        return f"as_{type_of(node)}(as_{word}({source}) & ({word})({most:#x}))"
    if not node.dtype.is_signed:
        return source
    return f"{source} < {_number(node, 0)} ? {negate(writer, node, source)} : {source}"


@VALUES.rule(Op.SIGN)
def sign(writer: Writer, node: Node, source: str) -> str:
    """0 for zeros of either sign and for NaN."""
    if node.dtype.kind == "bool":
        return source
    zero, one, minus = (_number(node, value) for value in (0, 1, -1))
    if not node.dtype.is_signed:
        return f"{source} > {zero} ? {one} : {zero}"
    return f"{source} > {zero} ? {one} : {source} < {zero} ? {minus} : {zero}"


@VALUES.rule(Op.SQRT, Op.FLOOR, Op.CEIL, Op.TRUNC, Op.ROUND)
def function(writer: Writer, node: Node, source: str) -> str:
    """The functions that every device rounds correctly (sqrt by the option that opencl.py gives the compiler)."""
    return f"{FUNCTION[node.op]}({source})" if node.dtype.kind == "float" else source


@VALUES.rule(Op.RSQRT)
def reciprocal_root(writer: Writer, node: Node, source: str) -> str:
    return f"{_number(node, 1)} / sqrt({source})"


@VALUES.rule(Op.NOT)
def invert(writer: Writer, node: Node, source: str) -> str:
    if id(node.src[0]) in writer.masks:
        writer.mask_bytes[id(node)] = writer.mask_bytes[id(node.src[0])]
        source = writer.masks[id(node.src[0])]
    return f"{'!' if node.dtype.kind == 'bool' and lanes_of(node) is None else '~'}{source}"


@VALUES.rule(Op.WHERE)
def where(writer: Writer, node: Node, condition: str, yes: str, no: str) -> str:
    mask = lane_mask(writer, node.src[0], lanes_of(node.src[0]), condition, node.dtype)
    return f"{mask} ? {yes} : {no}"


@VALUES.rule(Op.FMA)
def fused(writer: Writer, node: Node, left: str, right: str, addend: str) -> str | None:
    """One rounding: every device's fma is exact. That of halves is expanded before."""
    if is_half(node.dtype):
        return None
    lanes = lanes_of(node)
    name = "fma" if lanes is None else fused_name(writer, node.dtype, lanes)
    return f"{name}({left}, {right}, {addend})"


@VALUES.rule(Op.SPLAT)
def splat(writer: Writer, node: Node, source: str) -> str:
    if lanes_of(node) is None:
        return source
    if node.dtype.kind == "bool":
        return repeated_flag(type_of(node), source)
    return f"({type_of(node)})({source})"


def repeated_flag(kind: str, flag: str) -> str:
    """A flag in each lane. Chosen, not repeated: LLVM 14 ends the process ("Cannot select") at bytes that repeat what it has compared with others in a mask of AVX512."""
    return f"({flag} ? ({kind})(-1) : ({kind})(0))"


@VALUES.rule(Op.LANES)
def lanes(writer: Writer, node: Node) -> str:
    count = lanes_of(node)
    return f"({type_of(node)})({', '.join(map(str, range(count or 1)))})"


@VALUES.rule(Op.SHUFFLE)
def shuffle(writer: Writer, node: Node, left: str, right: str) -> str:
    """OpenCL's shuffle2, whose mask has unsigned integers as wide as the lanes; lane by lane where built-ins do not take such vectors."""
    assert isinstance(node.arg, Lanes)
    lanes, count = node.arg.lanes, lanes_of(node.src[0]) or 1
    if max(count, len(lanes)) * width(node.dtype) > writer.dialect.builtin_bytes:
        each = (f"({left if at < count else right}).s{LANE[at % count]}" for at in lanes)
        return f"({type_of(node)})({', '.join(each)})"
    word = UNSIGNED[width(node.dtype)]
    chosen = ", ".join(map(str, lanes))
    return f"shuffle2({left}, {right}, ({word}{len(lanes)})({chosen}))"


@VALUES.rule(Op.REDUCE)
def reduce(writer: Writer, node: Node, source: str) -> str:
    """All lanes of a vector as one scalar."""
    assert isinstance(node.arg, Reduction)
    count = lanes_of(node.src[0])
    if count is None:
        return source
    return f"{reduction(writer, node.dtype, count, node.arg.kind)}({source})"


@VALUES.rule(Op.CAST)
def cast(writer: Writer, node: Node, source: str) -> str:
    old, new, count = node.src[0].dtype, node.dtype, lanes_of(node)
    after = register_type(new, count)
    if new.kind == "bool":
        if old.kind == "bool":
            return source
        return _flag(writer, node, f"{source} != {number_text(0, old, count)}")
    if old.kind == "bool":
        if count is None:
            return f"({after}){source}"
        return f"convert_{after}({source} & ({register_type(old, count)})(1))"
    if old.kind == "float" and new.kind != "float":
        return f"{float_to_integer(writer, old, new, count)}({source})"
    if old.kind == "float" and is_half(new) and old is float64:
        return narrow_to_odd(writer, count, source)
    if register_type(old, count) == after:
        return source  # between float32 and a half: the caller rounds
    return f"({after}){source}" if count is None else f"convert_{after}({source})"


@VALUES.rule(Op.BITCAST)
def bitcast(writer: Writer, node: Node, source: str) -> str:
    old, new, count = node.src[0].dtype, node.dtype, lanes_of(node)
    bits = to_memory(writer, old, count, source)
    if memory_type(old) != memory_type(new):
        bits = f"as_{memory_type(new, count)}({bits})"
    return from_memory(writer, new, count, bits)
