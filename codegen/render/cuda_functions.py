"""Functions of CUDA C: what the shared renderer takes from OpenCL C by its name, and single instructions.

In: nothing. Out: `DEFINITIONS`, the text of each by its name; a kernel's text holds those that it uses. An instruction that CUDA C has no word for
stands alone in a function lg_<instruction>, written in PTX. Where LAZYGRAD_EMULATOR is defined another one of that name is used, which comes before the text.
"""

from __future__ import annotations

FUNCTION = "static __device__ __forceinline__ "
"""What the definition of a function begins with."""

TYPES = """
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
""".strip()
"""The integers of OpenCL C."""

CONSTANTS = {
    "INFINITY": "#ifndef INFINITY\n#define INFINITY __int_as_float(0x7f800000)\n#endif",
    "NAN": "#ifndef NAN\n#define NAN __int_as_float(0x7fffffff)\n#endif",
}

INTEGERS = ("signed char", "uchar", "short", "ushort", "int", "uint", "long", "ulong")


def _named(verb: str, kind: str) -> str:
    return f"{verb}_{kind.removeprefix('signed ')}"


def _conversion(kind: str) -> str:
    return f"template <class From> {FUNCTION}{kind} {_named('convert', kind)}(From x) {{\n  return ({kind})x;\n}}"


def _bits(kind: str) -> str:
    """The bits of a value as another type of the same width."""
    if kind == "float":
        body, exact = "__int_as_float((int)x)", "float"
    elif kind == "double":
        body, exact = "__longlong_as_double((long long)x)", "double"
    else:
        body, exact = f"({kind})x", ""
    text = f"template <class From> {FUNCTION}{kind} {_named('as', kind)}(From x) {{\n  return {body};\n}}"
    same = {"int": "float", "uint": "float", "long": "double", "ulong": "double"}.get(kind)
    if same is not None:
        bits = "__float_as_int(x)" if same == "float" else "__double_as_longlong(x)"
        text += (
            f"\n{FUNCTION}{kind} {_named('as', kind)}({same} x) {{\n  return ({kind}){bits};\n}}"
        )
    if exact:
        text += f"\n{FUNCTION}{kind} {_named('as', kind)}({exact} x) {{\n  return x;\n}}"
    return text


def _instruction(declaration: str, body: str) -> str:
    """A function of PTX, which the emulator has one of its own for."""
    return f"#ifndef LAZYGRAD_EMULATOR\n{declaration} {{\n{body}\n}}\n#endif"


def _copy(size: int, zero: bool) -> str:
    """A copy past the registers; `cg` ones do not stay in the first cache, and have 16 bytes."""
    code = f"cp.async.{'cg' if size == 16 else 'ca'}.shared.global [%0], [%1], {size}"
    given, operand = (", bool valid", f', "r"(valid ? {size} : 0)') if zero else ("", "")
    name = f"lg_cp_async_{'zero_' if zero else ''}{size}"
    return _instruction(
        f"{FUNCTION}void {name}(void *shared, const void *global{given})",
        f'  asm volatile("{code}{", %2" if zero else ""};"\n'
        f'      :: "r"((uint)__cvta_generic_to_shared(shared)), "l"(global){operand} : "memory");',
    )


def _ldmatrix(trans: bool) -> str:
    code = f"ldmatrix.sync.aligned.m8n8.x4{'.trans' if trans else ''}.shared.b16"
    return _instruction(
        f"{FUNCTION}void lg_ldmatrix_x4{'_trans' if trans else ''}(uint *result, const void *row)",
        f'  asm volatile("{code} {{%0, %1, %2, %3}}, [%4];"\n'
        '      : "=r"(result[0]), "=r"(result[1]), "=r"(result[2]), "=r"(result[3])\n'
        '      : "r"((uint)__cvta_generic_to_shared(row)) : "memory");',
    )


def _mma(kind: str) -> str:
    code = f"mma.sync.aligned.m16n8k16.row.col.f32.{kind}.{kind}.f32"
    return _instruction(
        f"{FUNCTION}void lg_mma_m16n8k16_{kind}(float *d, const uint *a, const uint *b)",
        f'  asm("{code} {{%0, %1, %2, %3}}, {{%4, %5, %6, %7}}, {{%8, %9}}, {{%0, %1, %2, %3}};"\n'
        '      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])\n'
        '      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));',
    )


def _run(size: int) -> str:
    """Neighbours in memory, all at once."""
    kind = {16: "uint4", 8: "uint2", 4: "uint", 2: "ushort"}[size]
    return _instruction(
        f"{FUNCTION}void lg_copy_{size}(void *to, const void *from)",
        f"  *({kind} *)to = *(const {kind} *)from;",
    )


def _pack(kind: str, nan: str) -> str:
    code = f"cvt.rn.{kind}.f32 %0, %1;"
    return _instruction(
        f"{FUNCTION}ushort lg_pack_{kind}(float x)",
        f'  ushort bits;\n  asm("{code}" : "=h"(bits) : "f"(x));\n  return x != x ? (ushort){nan} : bits;',
    )


HALVES = {"pack_f16": "lg_pack_f16", "expand_f16": "lg_expand_f16", "pack_bf16": "lg_pack_bf16"}
"""The conversions of half floats that are instructions. A NaN becomes the quiet one, as everywhere."""

EXPAND = _instruction(
    f"{FUNCTION}float lg_expand_f16(ushort bits)",
    '  float x;\n  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));\n  return x;',
)

SWIZZLED = f"""
template <int shift> {FUNCTION}int lg_swizzled(int place) {{ // units of 8 elements change places, in each line in another way
  return place ^ (place >> shift & 7) * 8;
}}
""".strip()

KEPT = _instruction(
    f"{FUNCTION}int lg_kept(int x)",
    '  asm volatile("" : "+r"(x));  // computed here, once, and not again where it is used\n  return x;',
)

INSTRUCTIONS: dict[str, str] = {
    **{
        f"lg_cp_async_{'zero_' if zero else ''}{size}": _copy(size, zero)
        for zero in (False, True)
        for size in (4, 8, 16)
    },
    "lg_cp_async_commit": _instruction(
        f"{FUNCTION}void lg_cp_async_commit()",
        '  asm volatile("cp.async.commit_group;" ::: "memory");',
    ),
    "lg_cp_async_wait": _instruction(
        f"template <int left> {FUNCTION}void lg_cp_async_wait()",
        '  asm volatile("cp.async.wait_group %0;" :: "n"(left) : "memory");',
    ),
    **{f"lg_ldmatrix_x4{'_trans' if trans else ''}": _ldmatrix(trans) for trans in (False, True)},
    **{f"lg_mma_m16n8k16_{kind}": _mma(kind) for kind in ("f16", "bf16")},
    **{f"lg_copy_{size}": _run(size) for size in (2, 4, 8, 16)},
    "lg_pack_f16": _pack("f16", "0x7e00"),
    "lg_pack_bf16": _pack("bf16", "0x7fc0"),
    "lg_expand_f16": EXPAND,
    "lg_swizzled": SWIZZLED,
    "lg_kept": KEPT,
}
"""What tiles are made with: copies, loads and products of matrices."""

DEFINITIONS: dict[str, str] = {
    **CONSTANTS,
    **INSTRUCTIONS,
    **{_named("convert", kind): _conversion(kind) for kind in (*INTEGERS, "float", "double")},
    **{_named("as", kind): _bits(kind) for kind in (*INTEGERS, "float", "double")},
}
"""The text of each, by its name."""
