"""Built-in functions of OpenCL for drivers that take vectors of so many bytes only: wider ones are asked for half by half.

In: the text of a program, and the bytes. Out: the same, where functions of its own stand between it and the built-ins it calls. Operators are
not built-ins: every compiler divides the vectors of a sum as its registers are. Functions are overloaded as clang does that, of which such
drivers are made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

BYTES = {
    "char": 1, "uchar": 1, "short": 2, "ushort": 2, "int": 4, "uint": 4, "long": 8, "ulong": 8, "float": 4, "double": 8,
}  # fmt: skip
"""What a lane of each type takes."""
LANES = (2, 4, 8, 16)
OPERANDS = {
    "fabs": 1, "floor": 1, "ceil": 1, "trunc": 1, "rint": 1, "sqrt": 1, "fmod": 2, "fma": 3,
}  # fmt: skip
"""The built-ins of floats that texts call, and how many operands each has."""
VECTOR = re.compile(rf"\b({'|'.join(BYTES)})({'|'.join(map(str, LANES))})\b")
CALLED = re.compile(rf"\b({'|'.join(OPERANDS)}|convert_({'|'.join(BYTES)})(\d+))\(")


def by_halves(text: str, nbytes: int) -> str:
    """A program whose built-ins get and give vectors of at most so many bytes; unchanged where they do already."""
    if all(BYTES[kind] * int(lanes) <= nbytes for kind, lanes in VECTOR.findall(text)):
        return text
    functions: dict[str, str] = {}
    for name, kind, lanes in CALLED.findall(text):
        made = _conversions(kind, int(lanes), nbytes) if kind else _operations(name, nbytes)
        functions.update(made)
    return "\n".join([*functions.values(), "", CALLED.sub(r"any_\1(", text)])


def _operations(name: str, nbytes: int) -> Iterator[tuple[str, str]]:
    """The overloads of a built-in of floats, the narrow ones first; each with its signature."""
    for kind in ("float", "double"):
        for lanes in (1, *LANES):
            vector = kind if lanes == 1 else f"{kind}{lanes}"
            half = name if lanes * BYTES[kind] > nbytes else ""
            yield _overload(name, vector, vector, OPERANDS[name], half)


def _conversions(kind: str, lanes: int, nbytes: int) -> Iterator[tuple[str, str]]:
    """The overloads of a conversion to vectors of so many lanes, after those of its halves where some are wide."""
    if lanes * max(BYTES.values()) > nbytes:
        yield from _conversions(kind, lanes // 2, nbytes)
    for source in BYTES:
        wide = lanes * max(BYTES[source], BYTES[kind]) > nbytes
        half = f"convert_{kind}{lanes // 2}" if wide else ""
        name, result = f"convert_{kind}{lanes}", f"{kind}{lanes}"
        yield _overload(name, f"{source}{lanes}", result, 1, half)


def _overload(name: str, source: str, result: str, count: int, half: str) -> tuple[str, str]:
    """A function that calls the built-in, or twice that of its halves where one is named; with its signature."""
    names = "abc"[:count]
    if half:
        sides = (", ".join(f"{each}.{side}" for each in names) for side in ("lo", "hi"))
        text = f"({result})({', '.join(f'any_{half}({side})' for side in sides)})"
    else:
        text = f"{name}({', '.join(names)})"
    signature = f"any_{name}({', '.join(f'{source} {each}' for each in names)})"
    return signature, (
        f"static inline {result} __attribute__((overloadable)) {signature} {{\n  return {text};\n}}"
    )
