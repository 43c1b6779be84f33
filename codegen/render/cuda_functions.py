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


DEFINITIONS: dict[str, str] = {
    **CONSTANTS,
    **{_named("convert", kind): _conversion(kind) for kind in (*INTEGERS, "float", "double")},
    **{_named("as", kind): _bits(kind) for kind in (*INTEGERS, "float", "double")},
}
"""The text of each, by its name."""
