"""Quotients and remainders of vectors, where processors divide integers one by one and call a library for remainders of floats.

In: IDIV, MOD or FMOD of vectors, and the text of their operands. Out: the text of the result and the block that the code ends in, or
None where the plain instructions are as good. Floats divide the vector; what their precision does not answer for is computed lane by
lane, in code that is jumped over where no lane needs it.

Integers: let q be the nearest float to a / b. If a / b is no integer it is at least 1 / b from one, which is 1 / a of it, so floor(q) is right
where a has a bit less than the float's significand. Floats: trunc(q) is right, or one too far from 0, where it is an integer of the
significand; a - trunc(q) * b is then exact in one fused step, and its sign tells.
"""

from __future__ import annotations

from collections.abc import Callable

from lazygrad.ir.dtype import float64
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op

from ..target import Target
from .llvm_text import (
    Emitter,
    float_text,
    lanes_of,
    register_type,
    select,
    splat_text,
    suffix,
    type_of,
    with_lanes,
)

DIVISIONS = frozenset((Op.IDIV, Op.MOD, Op.FMOD))
EXACT = {"float": 1 << 23, "double": 1 << 52}
"""The dividends, or quotients, below which a float answers."""
Lane = Callable[[str, str], str]
"""The result of one lane, given its operands."""
Found = tuple[str, str]
"""The text of a result, and the block that it is known in."""


def compute(
    emit: Emitter, node: Node, operands: list[str], target: Target, entry: list[str], current: str,
    lane: Lane,
) -> Found | None:  # fmt: skip
    """A quotient or remainder of vectors; locals are added to `entry`. `lane` computes one that floats do not answer for."""
    if lanes_of(node) is None:
        return None
    if node.op is Op.FMOD:
        if not target.fuses:
            return None
        result, fast = _float_remainder(emit, node, operands[0], operands[1])
    else:
        found = _integers(emit, node, operands[0], operands[1], target)
        if found is None:
            return None
        result, fast = found
    if not fast:
        return result, current
    return _otherwise(emit, node, operands, (result, fast), entry, current, lane)


def _float_remainder(emit: Emitter, node: Node, left: str, right: str) -> tuple[str, str]:
    """The remainder with the sign of the dividend, and where it is right."""
    kind, scalar, lanes = type_of(node), register_type(node.dtype), lanes_of(node)
    short = suffix(scalar, lanes)

    def call(name: str, *arguments: str) -> str:
        given = tuple((kind, each) for each in arguments)
        return emit.value(emit.call(f"llvm.{name}.{short}", kind, given), name)

    limit = splat_text(float_text(float(EXACT[scalar]), float64), scalar, lanes)
    zero = splat_text(float_text(0.0, float64), scalar, lanes)
    ratio = emit.value(f"fdiv {kind} {left}, {right}", "ratio")
    fast = emit.value(f"fcmp olt {kind} {call('fabs', ratio)}, {limit}", "fast")
    times = emit.value(f"fneg {kind} {call('trunc', ratio)}", "times")
    rest = call("fma", times, right, left)
    size = call("fabs", right)
    back = emit.value(f"fadd {kind} {rest}, {call('copysign', size, left)}", "back")
    positive = emit.value(f"fcmp ogt {kind} {left}, {zero}", "positive")
    below = emit.value(f"fcmp olt {kind} {rest}, {zero}", "below")
    above = emit.value(f"fcmp ogt {kind} {rest}, {zero}", "above")
    far = select(emit, lanes, positive, with_lanes("i1", lanes), below, above)
    rest = select(emit, lanes, far, kind, back, rest)
    less = emit.value(f"fcmp olt {kind} {call('fabs', left)}, {size}", "less")
    return select(emit, lanes, less, kind, left, call("copysign", rest, left)), fast


def _integers(
    emit: Emitter, node: Node, left: str, right: str, target: Target
) -> tuple[str, str] | None:
    """The quotient or remainder that rounds to minus infinity, and where it is right; "" where that is everywhere."""
    bits, lanes, kind = node.dtype.bits, lanes_of(node), type_of(node)
    first, second = emit.ranges.of(node.src[0]), emit.ranges.of(node.src[1])
    positive = second is not None and second[0] > 0
    if positive and second is not None and second[0] == second[1] and not second[0] & second[0] - 1:
        return None  # shifts and masks
    limit = EXACT["double"]
    sure = bits < 64 or (first is not None and -limit < first[0] and first[1] < limit)
    if bits == 64 and ("avx512dq" not in target.features or not (sure or node.dtype.is_signed)):
        return None
    register = register_type(node.dtype)

    def number(value: int) -> str:
        return splat_text(str(value), register, lanes)

    signed = node.dtype.is_signed
    minus = ""
    if not positive:
        none = emit.value(f"icmp eq {kind} {right}, {number(0)}", "none")
        if signed and bits < 64:  # the least number has no opposite
            minus = emit.value(f"icmp eq {kind} {right}, {number(-1)}", "minus")
            none = emit.value(f"or {with_lanes('i1', lanes)} {none}, {minus}", "none")
        right = select(emit, lanes, none, kind, number(1), right)
    scalar = "float" if bits <= 16 else "double"
    wide, widen = with_lanes(scalar, lanes), "sitofp" if signed else "uitofp"
    a, b = (emit.value(f"{widen} {kind} {each} to {wide}", "wide") for each in (left, right))
    ratio = emit.value(f"fdiv {wide} {a}, {b}", "ratio")
    floor = f"llvm.floor.{suffix(scalar, lanes)}"
    times = emit.value(emit.call(floor, wide, ((wide, ratio),)), "times")
    narrow = "fptosi" if signed else "fptoui"
    whole = kind if bits >= 32 else with_lanes("i32", lanes)

    def integer(value: str, hint: str) -> str:
        found = emit.value(f"{narrow} {wide} {value} to {whole}", hint)
        return found if whole == kind else emit.value(f"trunc {whole} {found} to {kind}", hint)

    if node.op is Op.IDIV:
        result = integer(times, "idiv")
        if minus:
            opposite = emit.value(f"sub {kind} {number(0)}, {left}", "opposite")
            result = select(emit, lanes, minus, kind, opposite, result)
    elif bits < 64:
        product = emit.value(f"fmul {wide} {times}, {b}", "product")
        result = integer(emit.value(f"fsub {wide} {a}, {product}", "rest"), "mod")
    else:
        product = emit.value(f"mul {kind} {integer(times, 'times')}, {right}", "product")
        result = emit.value(f"sub {kind} {left}, {product}", "mod")
    if sure:
        return result, ""
    size = emit.value(
        emit.call(f"llvm.abs.{suffix(register, lanes)}", kind, ((kind, left), ("i1", "false"))), "size"
    )  # fmt: skip
    return result, emit.value(f"icmp ult {kind} {size}, {number(limit)}", "fast")


def _otherwise(
    emit: Emitter, node: Node, operands: list[str], found: tuple[str, str], entry: list[str], current: str,
    lane: Lane,
) -> Found:  # fmt: skip
    """What was found where all lanes are right; else every lane is computed by itself."""
    lanes, kind, scalar = lanes_of(node), type_of(node), register_type(node.dtype)
    result, fast = found
    name = f"llvm.vector.reduce.and.v{lanes}i1"
    every = emit.value(emit.call(name, "i1", ((f"<{lanes} x i1>", fast),)), "every")
    apart, each, done = emit.name("apart"), emit.name("each"), emit.name("divided")
    emit.add(f"br i1 {every}, label %{done}, label %{apart}")
    emit.lines.append(f"{apart}:")
    places = ["%" + emit.name("lanes") for _ in range(3)]
    entry += [f"  {place} = alloca {kind}, align 64" for place in places]
    for operand, place in zip(operands, places, strict=False):
        emit.add(f"store {kind} {operand}, ptr {place}, align 64")
    emit.add(f"br label %{each}")
    emit.lines.append(f"{each}:")
    index = emit.value(f"phi i64 [ 0, %{apart} ], [ %{each}.next, %{each} ]", f"{each}.index")
    at = [emit.value(f"getelementptr {scalar}, ptr {place}, i64 {index}", "at") for place in places]
    one = lane(*(emit.value(f"load {scalar}, ptr {place}", "operand") for place in at[:2]))
    emit.add(f"store {scalar} {one}, ptr {at[2]}")
    emit.add(f"%{each}.next = add nuw nsw i64 {index}, 1")
    more = emit.value(f"icmp ult i64 %{each}.next, {lanes}", "more")
    after = emit.name("together")
    emit.add(f"br i1 {more}, label %{each}, label %{after}")
    emit.lines.append(f"{after}:")
    slow = emit.value(f"load {kind}, ptr {places[2]}, align 64", "slow")
    emit.add(f"br label %{done}")
    emit.lines.append(f"{done}:")
    text = f"phi {kind} [ {result}, %{current} ], [ {slow}, %{after} ]"
    return emit.value(text, node.op.name.lower()), done


__all__ = ["DIVISIONS", "compute"]
