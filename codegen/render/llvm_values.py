"""Elementwise operations as LLVM IR text: one rule an operation, for a scalar and for a vector alike.

In: a node and the text of its operands. Out: the text of its result, after the instructions that compute it were added to
the `Emitter`. No result is ever undefined: divisions and shifts out of range give what PyTorch gives on x86-64.
"""

from __future__ import annotations

from lazygrad.ir.args import Lanes, Reduction
from lazygrad.ir.dtype import float64, int16
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op
from lazygrad.ir.rewrite import RuleTable

from .llvm_convert import bitcast, cast, narrow_to_odd, round_half
from .llvm_text import (
    Emitter,
    RenderError,
    float_text,
    is_half,
    lanes_of,
    register_type,
    select,
    splat_text,
    suffix,
    type_of,
    with_lanes,
)
from .ranges import Range

ROUNDED = frozenset((Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.SQRT, Op.RSQRT, Op.FMA, Op.CAST, Op.REDUCE))
"""Operations whose float32 result may not be a number of a narrower dtype."""


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


def compute_bits(emit: Emitter, node: Node, operands: list[str]) -> str:
    """The same of a half float that is only moved: on its 16 bits."""
    sources = [
        Node(Op.CONST, (), int16, source.shape) if is_half(source.dtype) else source
        for source in node.src
    ]
    return compute(emit, Node(node.op, tuple(sources), int16, node.shape, node.arg), operands)


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


def one_division(emit: Emitter, node: Node, left: str, right: str) -> str:
    """IDIV, MOD or FMOD of one lane of a vector."""
    if node.op is Op.FMOD:
        return emit.value(f"frem {register_type(node.dtype)} {left}, {right}", "fmod")
    return _floor_division(emit, Node(node.op, (), node.dtype, ()), left, right, None)


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
    """NaN if either is NaN; of two zeros the left one.

    The comparison gives the left one where either is NaN, so only the right one is looked at: a reduction's new value, which
    does not wait for the step before.
    """
    kind, lanes = type_of(node), lanes_of(node)
    largest = node.op is Op.MAX
    if node.dtype.kind == "bool":
        return emit.value(f"{'or' if largest else 'and'} {kind} {left}, {right}", _hint(node))
    if node.dtype.kind == "float":
        better = emit.value(f"fcmp {'ogt' if largest else 'olt'} {kind} {right}, {left}", "better")
        chosen = select(emit, lanes, better, kind, right, left)
        nan = emit.value(f"fcmp uno {kind} {right}, {right}", "nan")
        return select(emit, lanes, nan, kind, right, chosen)
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
    if is_half(node.dtype):
        return _fused_half(emit, node, left, right, addend)
    name = f"llvm.fma.{suffix(register_type(node.dtype), lanes_of(node))}"
    return emit.value(emit.call(name, kind, ((kind, left), (kind, right), (kind, addend))), "fma")


def _fused_half(emit: Emitter, node: Node, left: str, right: str, addend: str) -> str:
    """In float64 the product of two halves is exact; the sum is made odd where it is not, and so rounds once."""
    lanes = lanes_of(node)
    single, double, word = (with_lanes(kind, lanes) for kind in ("float", "double", "i64"))
    flag = with_lanes("i1", lanes)
    a, b, c = (
        emit.value(f"fpext {single} {value} to {double}", "wide") for value in (left, right, addend)
    )
    product = emit.value(f"fmul {double} {a}, {b}", "product")
    total = emit.value(f"fadd {double} {product}, {c}", "total")
    # What the sum lost, exactly (Knuth).
    second = emit.value(f"fsub {double} {total}, {product}", "second")
    first = emit.value(f"fsub {double} {total}, {second}", "first")
    lost = emit.value(
        f"fadd {double} {emit.value(f'fsub {double} {product}, {first}', 'lost')}, "
        f"{emit.value(f'fsub {double} {c}, {second}', 'lost')}",
        "lost",
    )
    zero = splat_text(float_text(0.0, float64), "double", lanes)
    inexact = emit.value(f"fcmp one {double} {lost}, {zero}", "inexact")
    one, ones = splat_text("1", "i64", lanes), splat_text("-1", "i64", lanes)
    bits = emit.value(f"bitcast {double} {total} to {word}", "bits")
    lost_bits = emit.value(f"bitcast {double} {lost} to {word}", "lost.bits")
    signs = emit.value(f"xor {word} {bits}, {lost_bits}", "signs")
    inward = emit.value(f"icmp slt {word} {signs}, {splat_text('0', 'i64', lanes)}", "inward")
    step = select(emit, lanes, inward, word, ones, one)
    last = emit.value(f"and {word} {bits}, {one}", "last")
    even = emit.value(f"icmp ne {word} {last}, {one}", "even")
    adjust = emit.value(f"and {flag} {inexact}, {even}", "adjust")
    moved = emit.value(f"add {word} {bits}, {step}", "moved")
    chosen = select(emit, lanes, adjust, word, moved, bits)
    return narrow_to_odd(emit, lanes, emit.value(f"bitcast {word} {chosen} to {double}", "exact"))


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


@VALUES.rule(Op.SHUFFLE)
def shuffle(emit: Emitter, node: Node, left: str, right: str) -> str:
    assert isinstance(node.arg, Lanes)
    kind, chosen = type_of(node.src[0]), ", ".join(f"i32 {lane}" for lane in node.arg.lanes)
    return emit.value(
        f"shufflevector {kind} {left}, {kind} {right}, <{len(node.arg.lanes)} x i32> <{chosen}>",
        "shuffle",
    )


def _reduce_extremum(emit: Emitter, node: Node, source: str) -> str:
    """The largest or smallest lane, or NaN: whether there is one is asked apart, so that the tree is one instruction a level."""
    assert isinstance(node.arg, Reduction)
    lanes, vector, kind = lanes_of(node.src[0]), type_of(node.src[0]), register_type(node.dtype)
    flags = with_lanes("i1", lanes)
    unordered = emit.value(f"fcmp uno {vector} {source}, {source}", "unordered")
    name = f"llvm.vector.reduce.or.{suffix('i1', lanes)}"
    nan = emit.value(emit.call(name, "i1", ((flags, unordered),)), "nan")
    name = f"llvm.vector.reduce.f{node.arg.kind}.{suffix(kind, lanes)}"
    best = emit.value(emit.call(name, kind, ((vector, source),), "nnan "), node.arg.kind)
    return select(emit, None, nan, kind, float_text(float("nan"), node.dtype), best)


@VALUES.rule(Op.REDUCE)
def reduce(emit: Emitter, node: Node, source: str) -> str | None:
    """All lanes of a vector as one scalar; a sum or product in the order that is quickest."""
    assert isinstance(node.arg, Reduction)
    vector, kind = type_of(node.src[0]), register_type(node.dtype)
    width, which = suffix(kind, lanes_of(node.src[0])), node.arg.kind
    operands: tuple[tuple[str, str], ...] = ((vector, source),)
    if node.dtype.kind == "float":
        if which in ("max", "min"):
            return _reduce_extremum(emit, node, source)
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


VALUES.rule(Op.CAST)(cast)
VALUES.rule(Op.BITCAST)(bitcast)
