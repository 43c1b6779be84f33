"""Conversions as LLVM IR text: half floats, casts, and between registers and memory.

In: a value's text and the dtypes. Out: the text of the converted value, after its instructions were added. Every result is
defined: a float that an integer cannot hold becomes what x86-64 makes of it, as in PyTorch.
"""

from __future__ import annotations

import struct

from lazygrad.ir.args import Constant
from lazygrad.ir.dtype import DType, bfloat16, float16, float64
from lazygrad.ir.node import Node

from .llvm_text import (
    Emitter,
    float_text,
    is_half,
    lanes_of,
    memory_type,
    register_type,
    select,
    splat_text,
    suffix,
    type_of,
    with_lanes,
)

# --- half floats


def round_half(emit: Emitter, dtype: DType, lanes: int | None, value: str) -> str:
    """A float32 rounded to a half float's precision, to nearest even."""
    if dtype is float16 and emit.has_half_conversions:
        single, half = with_lanes("float", lanes), with_lanes("half", lanes)
        narrow = emit.value(f"fptrunc {single} {value} to {half}", "half")
        rounded = emit.value(f"fpext {half} {narrow} to {single}", "rounded")
        word = with_lanes("i16", lanes)
        emit.packed[rounded] = emit.value(f"bitcast {half} {narrow} to {word}", "bits")
        return rounded
    return expand_half(emit, dtype, lanes, pack_half(emit, dtype, lanes, value))


def expand_half(emit: Emitter, dtype: DType, lanes: int | None, bits: str) -> str:
    """The float32 that 16 bits stand for; exact. They are what is stored of it."""
    value = _expanded(emit, dtype, lanes, bits)
    emit.packed[value] = bits
    return value


def _expanded(emit: Emitter, dtype: DType, lanes: int | None, bits: str) -> str:
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


def narrow_to_odd(emit: Emitter, lanes: int | None, value: str) -> str:
    """A float64 as a float32 whose last bit is set if anything was cut off, so that rounding it to a half rounds once."""
    double, single, word = (with_lanes(kind, lanes) for kind in ("double", "float", "i32"))
    flag, one = with_lanes("i1", lanes), splat_text("1", "i32", lanes)
    nearest = emit.value(f"fptrunc {double} {value} to {single}", "nearest")
    back = emit.value(f"fpext {single} {nearest} to {double}", "back")
    bits = emit.value(f"bitcast {single} {nearest} to {word}", "bits")
    sizes = [
        emit.value(
            emit.call(f"llvm.fabs.{suffix('double', lanes)}", double, ((double, v),)), "size"
        )
        for v in (back, value)
    ]
    away = emit.value(f"fcmp ogt {double} {sizes[0]}, {sizes[1]}", "away")
    excess = emit.value(f"zext {flag} {away} to {word}", "excess")
    cut = emit.value(f"sub {word} {bits}, {excess}", "cut")
    odd = emit.value(f"or {word} {cut}, {one}", "odd")
    inexact = emit.value(f"fcmp one {double} {back}, {value}", "inexact")
    chosen = select(emit, lanes, inexact, word, odd, bits)
    return emit.value(f"bitcast {word} {chosen} to {single}", "narrow")


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


def half_bits(node: Node) -> str:
    """A CONST half float as it is stored."""
    assert isinstance(node.arg, Constant)
    value = float(node.arg.value)
    if value != value:
        bits = 0x7FC0 if node.dtype is bfloat16 else 0x7E00
    else:
        (double,) = struct.unpack("d", struct.pack("Q", int(float_text(value, node.dtype), 16)))
        if node.dtype is float16:
            (bits,) = struct.unpack("h", struct.pack("e", double))
        else:
            bits = struct.unpack("i", struct.pack("f", double))[0] >> 16
    return splat_text(str(bits), "i16", lanes_of(node))


# --- conversions


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
        if is_half(new):
            return narrow_to_odd(emit, lanes_of(node), source)
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
        return emit.packed.get(value) or pack_half(emit, dtype, lanes, value)
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
