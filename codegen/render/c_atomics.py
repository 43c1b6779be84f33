"""Atomic updates in C: a step of a reduction whose element other work-items may meet at the same time.

In: a dtype and how a value meets what is there. Out: the name of a function of a place and a value. Sums of numbers of 32 and 64 bits, and the extremes of integers, are
instructions; any other update compares and swaps the bits of its element, those of a byte in the word that holds it, until nobody came between.
"""

from __future__ import annotations

from lazygrad.ir.dtype import DType

from .c_functions import from_memory, step, to_memory
from .c_text import UNSIGNED, Writer, memory_type, register_type

INSTRUCTIONS = {
    ("add", "float32"): "float", ("add", "float64"): "double", ("add", "int32"): "int", ("add", "uint32"): "uint",
    ("add", "int64"): "unsigned long long", ("add", "uint64"): "unsigned long long",
    **{
        (kind, name): word
        for kind in ("min", "max")
        for name, word in {"int32": "int", "uint32": "uint", "int64": "long long", "uint64": "unsigned long long"}.items()
    },
}  # fmt: skip
"""The type that an instruction takes an element for, where there is one."""
SIMPLE = """
void NAME(MEMORY *place, TYPE value) {
  INSTRUCTION((WORD *)place, (WORD)value);
}"""
SWAP = """
void NAME(MEMORY *place, TYPE value) {
  BITS *word = (BITS *)place, seen = 0;  // a guess: the first swap says what is there
  for (;;) {
    const TYPE a = OLD, b = value;
    const BITS found = atomicCAS(word, seen, NEW);
    if (found == seen) return;
    seen = found;
  }
}"""
SWAP_BYTE = """
void NAME(MEMORY *place, TYPE value) {
  uint *word = (uint *)((ulong)place & ~3UL), seen = 0;
  const int shift = (int)((ulong)place & 3UL) * 8;
  for (;;) {
    const TYPE a = OLD, b = value;
    const uint found = atomicCAS(word, seen, (seen & ~(0xffu << shift)) | (uint)NEW << shift);
    if (found == seen) return;
    seen = found;
  }
}"""


def atomic_update(writer: Writer, dtype: DType, kind: str) -> str:
    """The name of a function that updates an element of memory with a value, at once."""
    memory, register = memory_type(dtype), register_type(dtype, None)
    name = f"atomic_{kind}_{dtype.short}"
    words = {"NAME": name, "MEMORY": memory}
    word = INSTRUCTIONS.get((kind, dtype.name))
    if word is not None:
        text, instruction = SIMPLE, f"atomic{kind.capitalize()}"
        words |= {"INSTRUCTION": instruction, "WORD": word, "TYPE": register}
    else:
        text = SWAP_BYTE if dtype.itemsize == 1 else SWAP
        bits = {2: "ushort", 4: "uint", 8: "unsigned long long"}.get(dtype.itemsize, "uint")
        seen = "(uchar)(seen >> shift)" if dtype.itemsize == 1 else "seen"
        new = to_memory(writer, dtype, None, f"({_met(dtype, kind)})")
        words |= {
            "OLD": from_memory(writer, dtype, None, _of_bits(memory, dtype, seen)),
            "NEW": _to_bits(memory, dtype, new),
            "BITS": bits,
            "TYPE": register,
        }
    text = text.strip()
    for key, value in words.items():
        text = text.replace(key, value)
    return writer.function(name, writer.dialect.function + text)


def _met(dtype: DType, kind: str) -> str:
    """What becomes of an element `a` and a value `b`; a NaN stays."""
    form = step(dtype, kind)
    if dtype.is_integer and dtype.is_signed and kind in ("add", "mul"):
        word = UNSIGNED[max(dtype.itemsize, 4)]
        return f"({register_type(dtype, None)})({form.format(a=f'({word})a', b=f'({word})b')})"
    return form.format(a="a", b="b")


def _of_bits(memory: str, dtype: DType, bits: str) -> str:
    """What memory holds, from its bits."""
    if memory in ("float", "double"):
        return f"as_{memory}(({UNSIGNED[dtype.itemsize]}){bits})"
    return f"({memory}){bits}"


def _to_bits(memory: str, dtype: DType, value: str) -> str:
    word = UNSIGNED[dtype.itemsize]
    return f"as_{word}({value})" if memory in ("float", "double") else f"({word})({value})"


__all__ = ["atomic_update"]
