"""Functions that kernels in C call, written out once a program: half floats, rounding division, masked memory, reductions of lanes.

In: dtypes and lanes. Out: the name of a function, whose text is then among those of the kernel. Each is the same for a scalar and for vectors:
a comparison is 1 or -1 where it holds, and `?:` chooses lane by lane.
"""

from __future__ import annotations

from lazygrad.ir.dtype import DType, bfloat16, float64

from .c_text import (
    SIGNED,
    UNSIGNED,
    Writer,
    memory_type,
    register_type,
    suffix,
)
from .llvm_text import is_half

LANE = "0123456789abcdef"
"""The names of a vector's lanes: s0, s1, ..."""

# --- half floats

FROM_FLOAT16 = """
float@ NAME(ushort@ bits) {
  const uint@ wide = convert_uint@(bits), size = wide & 0x7fffu;
  // Shifted into a float's fields the exponent is 112 too small, which one product makes up, denormals included.
  const uint@ finite = as_uint@(as_float@(size << 13) * 0x1p112f);
  return as_float@((size >= 0x7c00u ? finite | 0x7f800000u : finite) | (wide & 0x8000u) << 16);
}"""
TO_FLOAT16 = """
ushort@ NAME(float@ x) {
  const uint@ bits = as_uint@(x), size = bits & 0x7fffffffu;
  // 0.5 has a float16's smallest denormal as its last bit, so the sum's low bits are the rounded result.
  const uint@ tiny = as_uint@(as_float@(size) + 0.5f) - 0x3f000000u;
  const uint@ normal = (size + ((bits >> 13 & 1u) + 0xc8000fffu)) >> 13;
  const uint@ finite = size < 0x38800000u ? tiny : normal;
  const uint@ all = size > 0x7f800000u ? (uint@)(0x7e00u) : size >= 0x477ff000u ? (uint@)(0x7c00u) : finite;
  return convert_ushort@(all | (bits >> 16 & 0x8000u));
}"""
FROM_BFLOAT16 = """
float@ NAME(ushort@ bits) {
  return as_float@(convert_uint@(bits) << 16);
}"""
TO_BFLOAT16 = """
ushort@ NAME(float@ x) {
  const uint@ bits = as_uint@(x);
  const uint@ nearest = (bits + ((bits >> 16 & 1u) + 0x7fffu)) >> 16;
  return convert_ushort@(x != x ? (uint@)(0x7fc0u) : nearest);
}"""
NARROW_TO_ODD = """
float@ NAME(double@ x) { // what is cut off sets the last bit, so that rounding the result again rounds once
  const float@ nearest = convert_float@(x);
  const double@ back = convert_double@(nearest);
  const uint@ bits = as_uint@(nearest);
  const uint@ cut = CONVERT(fabs(back) > fabs(x)) ? bits - 1u : bits;
  return as_float@(CONVERT((back < x) | (back > x)) ? cut | 1u : bits);
}"""


def from_half(writer: Writer, dtype: DType, lanes: int | None, text: str) -> str:
    """The float that 16 bits stand for; exact."""
    name = f"expand_{dtype.short}"
    source = FROM_BFLOAT16 if dtype is bfloat16 else FROM_FLOAT16
    return f"{_function(writer, name, source, lanes)}({text})"


def to_half(writer: Writer, dtype: DType, lanes: int | None, text: str) -> str:
    """The 16 bits of a float rounded to a half float, to nearest even; a NaN becomes the quiet one."""
    name = f"pack_{dtype.short}"
    source = TO_BFLOAT16 if dtype is bfloat16 else TO_FLOAT16
    return f"{_function(writer, name, source, lanes)}({text})"


def narrow_to_odd(writer: Writer, lanes: int | None, text: str) -> str:
    """A double as a float whose last bit is set if anything was cut off."""
    convert = "" if lanes is None else f"convert_int{lanes}"
    source = NARROW_TO_ODD.replace("CONVERT", convert)
    return f"{_function(writer, 'narrow_to_odd', source, lanes)}({text})"


def _function(writer: Writer, name: str, source: str, lanes: int | None) -> str:
    if lanes is None and name in writer.dialect.halves:
        return writer.dialect.halves[name]
    name = name if lanes is None else f"{name}_x{lanes}"
    text = source.strip().replace("NAME", name).replace("@", suffix(lanes))
    return writer.function(name, writer.dialect.function + text)


FUSED = """
TYPE NAME(TYPE a, TYPE b, TYPE c) { // rounded once
#ifdef CONTRACTS_EXACTLY
  #pragma OPENCL FP_CONTRACT ON
  return a * b + c;
#else
  return fma(a, b, c);
#endif
}"""


def fused(writer: Writer, dtype: DType, lanes: int) -> str:
    """The name of a vector's a * b + c with one rounding: fma, or where a driver says so what its compiler contracts."""
    kind = register_type(dtype, lanes)
    name = f"fused_{kind}"
    text = FUSED.replace("NAME", name).replace("TYPE", kind)
    return writer.function(name, writer.dialect.function + text.strip())


# --- integers

FLOOR = """
TYPE floor_NAME_TYPE(TYPE a, TYPE b) { // never traps: 0 counts as 1, and -1 is a negation
  const TYPE divisor = ((b == ZERO) | (b == MINUS)) ? ONE : b;
  const TYPE quotient = a / divisor, rest = a - quotient * divisor;
  const MASK uneven = (rest != ZERO) & ((rest ^ divisor) < ZERO);
  RETURN
}"""
UNSIGNED_DIVISION = """
TYPE floor_NAME_TYPE(TYPE a, TYPE b) { // 0 counts as 1
  return a OPERATOR (b == ZERO ? ONE : b);
}"""


def floor_division(writer: Writer, dtype: DType, lanes: int | None, modulo: bool) -> str:
    """The name of the quotient, or the remainder, that rounds to minus infinity."""
    kind, name = register_type(dtype, lanes), "mod" if modulo else "div"
    if dtype.is_signed:
        unsigned = UNSIGNED[dtype.itemsize] + suffix(lanes)
        negated = f"as_{kind}(({unsigned})(({unsigned})(0) - as_{unsigned}(a)))"
        end = (
            "return uneven ? rest + divisor : rest;"
            if modulo
            else f"return b == MINUS ? {negated} : uneven ? quotient - ONE : quotient;"
        )
        source = FLOOR.replace("RETURN", end)
    else:
        source = UNSIGNED_DIVISION.replace("OPERATOR", "%" if modulo else "/")
    mask = "int" if lanes is None else SIGNED[dtype.itemsize] + suffix(lanes)
    for word, text in (("NAME", name), ("MASK", mask), ("TYPE", kind)):
        source = source.replace(word, text)
    for word, value in (("ZERO", 0), ("MINUS", -1), ("ONE", 1)):
        source = source.replace(word, f"({kind})({value})")
    return writer.function(f"floor_{name}_{kind}", writer.dialect.function + source.strip())


def lane_by_lane(writer: Writer, function: str, dtype: DType, lanes: int) -> str:
    """The name of a function of two vectors that calls that of two numbers for each lane."""
    kind = register_type(dtype, lanes)
    each = ", ".join(f"{function}(a.s{k}, b.s{k})" for k in LANE[:lanes])
    head = f"{writer.dialect.function}{kind} {function}_{kind}({kind} a, {kind} b)"
    return writer.function(f"{function}_{kind}", f"{head} {{\n  return ({kind})({each});\n}}")


def float_to_integer(writer: Writer, old: DType, new: DType, lanes: int | None) -> str:
    """The name of the conversion that truncates; what does not fit becomes the least integer of 32 (or 64) bits, and of that the low bits."""
    source, result = register_type(old, lanes), register_type(new, lanes)
    bits = 64 if new.bits == 64 or new.name == "uint32" else 32
    word = ("long" if bits == 64 else "int") + suffix(lanes)
    same = (8 if old is float64 else 4) * 8 == bits
    least = f"({word})(-{(1 << bits - 1) - 1}{'L' if bits == 64 else ''} - 1)"
    name = f"{source}_to_{result}"

    def choose(condition: str, yes: str, no: str) -> str:
        if lanes is not None and not same:
            condition = f"convert_{word}({condition})"
        return f"{condition} ? {yes} : {no}"

    single = "" if old is float64 else "f"
    lines = [
        f"{writer.dialect.function}{result} {name}({source} x) {{",
        f"  const {word} whole = {choose(f'(fabs(x) < 0x1p{bits - 1}{single})', f'convert_{word}(x)', least)};",
    ]
    if new.name == "uint64":
        high = choose(f"(x < 0x1p64{single})", "convert_ulong@(x)", "(ulong@)(0)")
        upper = choose(f"(x >= 0x1p63{single})", f"({high})", "as_ulong@(whole)")
        lines.append(f"  return {upper};".replace("@", suffix(lanes)))
    else:
        lines.append(f"  return convert_{result}(whole);")
    return writer.function(name, "\n".join([*lines, "}"]))


# --- memory


def whole_access(writer: Writer, dtype: DType, lanes: int, space: str, write: bool) -> str:
    """The name of a function that reads or writes a vector at any element, what vload and vstore do, which are calls in PoCL; at a multiple of its size where the dialect aligns arrays for that."""
    vector, element = memory_type(dtype, lanes), memory_type(dtype)
    pointed, value = vector, f"*({space}{'' if write else 'const '}{vector} *)p"
    if not writer.dialect.aligned:
        pointed = writer.function(
            f"unaligned_{vector}",
            f"typedef struct __attribute__((packed)) {{ {vector} value; }} unaligned_{vector};",
        )
        value = f"(({space}{'' if write else 'const '}{pointed} *)p)->value"
    name = f"{'store' if write else 'load'}_{space.strip() or 'private'}_{vector}"
    if write:
        head = f"void {name}({space}{element} *p, {vector} v)"
        line = f"{value} = v;"
    else:
        head = f"{vector} {name}({space}const {element} *p)"
        line = f"return {value};"
    return writer.function(name, f"{writer.dialect.function}{head} {{\n  {line}\n}}")


def streaming_store(writer: Writer, dtype: DType, lanes: int, space: str) -> str:
    """The name of a function that writes a vector at a multiple of its size, past the caches where the compiler has a word for that."""
    vector, element = memory_type(dtype, lanes), memory_type(dtype)
    name = f"stream_{vector}"
    lines = [
        "#ifdef __has_builtin",
        "#if __has_builtin(__builtin_nontemporal_store)",
        "#define STREAMED(v, p) __builtin_nontemporal_store(v, p)",
        "#endif",
        "#endif",
        "#ifndef STREAMED",
        "#define STREAMED(v, p) *(p) = (v)",
        "#endif",
    ]
    writer.function("STREAMED", "\n".join(lines))
    head = f"{writer.dialect.function}void {name}({space}{element} *p, {vector} v)"
    return writer.function(name, f"{head} {{\n  STREAMED(v, ({space}{vector} *)p);\n}}")


def masked_access(
    writer: Writer, dtype: DType, lanes: int, space: str, write: bool, offsets: bool
) -> str:
    """The name of a function that reads or writes the lanes that a mask names; the others are 0, or stay."""
    element, vector = memory_type(dtype), memory_type(dtype, lanes)
    where = "global" if space else "private"
    verb = (
        ("scatter" if write else "gather")
        if offsets
        else ("store_masked" if write else "load_masked")
    )
    name = f"{verb}_{where}_{vector}"
    at = [f"at.s{LANE[k]}" if offsets else str(k) for k in range(lanes)]
    pointer = f"{space}{'' if write else 'const '}{element} *p"
    arguments = [
        pointer,
        *([f"long{lanes} at"] if offsets else []),
        *([f"{vector} v"] if write else []),
        f"char{lanes} on",
    ]
    head = f"({', '.join(arguments)}) {{"
    if write:
        lines = [f"  if (on.s{LANE[k]}) p[{at[k]}] = v.s{LANE[k]};" for k in range(lanes)]
        text = "\n".join([f"{writer.dialect.function}void {name}{head}", *lines, "}"])
    else:
        each = ", ".join(f"on.s{LANE[k]} ? p[{at[k]}] : ({element})0" for k in range(lanes))
        text = f"{writer.dialect.function}{vector} {name}{head}\n  return ({vector})({each});\n}}"
    return writer.function(name, text)


# --- lanes of a vector

COMBINE = {
    "add": "{a} + {b}", "mul": "{a} * {b}", "and": "{a} & {b}", "or": "{a} | {b}",
    "max": "{b} > {a} ? {b} : {a}", "min": "{b} < {a} ? {b} : {a}",
}  # fmt: skip


def step(dtype: DType, kind: str) -> str:
    """How a step of a reduction makes one value of {a} and {b}: NaN if one is NaN, truths by logic; sums of integers as their words are."""
    if dtype.kind == "float" and kind in ("max", "min"):
        compare = ">" if kind == "max" else "<"
        return f"(({{b}} {compare} {{a}}) | ({{b}} != {{b}})) ? {{b}} : {{a}}"
    if dtype.kind == "bool":
        kind = {"add": "or", "mul": "and", "max": "or", "min": "and"}.get(kind, kind)
    return COMBINE[kind]


def reduction(writer: Writer, dtype: DType, lanes: int, kind: str) -> str:
    """The name of a function that reduces the lanes of a vector, halves first; NaN if one is NaN."""
    vector, scalar = register_type(dtype, lanes), register_type(dtype, None)
    element = vector.removesuffix(str(lanes))
    form = step(dtype, kind)
    wraps = dtype.is_integer and dtype.is_signed and kind in ("add", "mul")
    work = UNSIGNED[dtype.itemsize] if wraps else element
    lines = [f"{writer.dialect.function}{scalar} reduce_{kind}_{vector}({vector} x) {{"]
    before = f"as_{work}{lanes}(x)" if wraps else "x"
    if wraps:
        lines.append(f"  const {work}{lanes} v{lanes} = {before};")
        before = f"v{lanes}"
    half = lanes // 2
    while half >= 1:
        kind_ = work + (str(half) if half > 1 else "")
        sides = (f"{before}.lo", f"{before}.hi") if half > 1 else (f"{before}.s0", f"{before}.s1")
        lines.append(f"  const {kind_} v{half} = {form.format(a=sides[0], b=sides[1])};")
        before, half = f"v{half}", half // 2
    result = f"{before} != 0" if dtype.kind == "bool" else f"({scalar}){before}"
    return writer.function(
        f"reduce_{kind}_{vector}", "\n".join([*lines, f"  return {result};", "}"])
    )


def some_lane(writer: Writer, nbytes: int, lanes: int | None, text: str, false: bool) -> str:
    """Whether a lane of a mask, of so many bytes a lane, is true, or one is false; of a scalar its own."""
    if lanes is None:
        return f"!{text}" if false else text
    kind, count = f"{SIGNED[nbytes]}{lanes}", nbytes * lanes // 8
    word = UNSIGNED[min(nbytes * lanes, 8)]
    words = [f"words.s{LANE[k]}" for k in range(count)] if count > 1 else ["words"]
    lines = [
        f"{writer.dialect.function}int some_of_{kind}({kind} mask) {{",
        f"  const {word}{suffix(count if count > 1 else None)} words = as_{word}{suffix(count if count > 1 else None)}(mask);",
        f"  return ({' | '.join(words)}) != 0;",
        "}",
    ]
    return (
        f"{writer.function(f'some_of_{kind}', chr(10).join(lines))}({'~' if false else ''}{text})"
    )


def from_memory(writer: Writer, dtype: DType, lanes: int | None, text: str) -> str:
    """A loaded value as registers hold it; any byte but 0 is true."""
    if is_half(dtype):
        return from_half(writer, dtype, lanes, text)
    return f"({text} != (uchar{suffix(lanes)})(0))" if dtype.kind == "bool" else text


def to_memory(writer: Writer, dtype: DType, lanes: int | None, text: str) -> str:
    """A register's value as it is stored."""
    if is_half(dtype):
        return to_half(writer, dtype, lanes, text)
    if dtype.kind == "bool":
        return f"(uchar){text}" if lanes is None else f"as_uchar{lanes}({text} & (char{lanes})(1))"
    return text
