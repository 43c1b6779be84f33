"""Atomic updates in C: a step of a reduction whose element other work-items may meet at the same time.

In: a dtype and how a value meets what is there. Out: the name of a function of a place and a value. Sums of numbers of 32 and 64 bits, and the extremes of integers, are
instructions; any other update compares and swaps the bits of its element, those of a byte in the word that holds it, until nobody came between.
"""

from __future__ import annotations

from lazygrad.ir.dtype import DType

from .c_functions import from_memory, step, to_memory
from .c_text import UNSIGNED, Writer, memory_type, register_type
from .llvm_text import RenderError

UPDATE = """
void NAME(MEMORY *place, TYPE value) {
  FUNCTION((SPACEWORD *)place, (WORD)value);
}"""
SWAP = """
void NAME(MEMORY *place, TYPE value) {
  SPACEWORD *word = (SPACEWORD *)place;
  WORD seen = 0;  // a guess: the first swap says what is there
  for (;;) {
    const TYPE a = OLD, b = value;
    const WORD found = FUNCTION(word, seen, NEW);
    if (found == seen) return;
    seen = found;
  }
}"""
SWAP_PART = """
void NAME(MEMORY *place, TYPE value) {
  SPACEWORD *word = (SPACEWORD *)((ulong)place & ~3UL);
  const int shift = (int)((ulong)place & 3UL) * 8;
  WORD seen = 0;
  for (;;) {
    const TYPE a = OLD, b = value;
    const WORD found = FUNCTION(word, seen, (seen & ~(MASK << shift)) | (WORD)NEW << shift);
    if (found == seen) return;
    seen = found;
  }
}"""
PART = 4
"""The bytes of the word that a smaller element is a part of."""


def atomic_update(writer: Writer, dtype: DType, kind: str) -> str:
    """The name of a function that updates an element of memory with a value, at once.

    Raises:
        RenderError: the dialect has no atomic updates.
    """
    dialect, atomics = writer.dialect, writer.dialect.atomics
    if atomics is None:
        raise RenderError(f"{dialect.language} has no atomic updates here")
    memory, register = memory_type(dtype), register_type(dtype, None)
    name = f"atomic_{kind}_{dtype.short}"
    words = {"NAME": name, "MEMORY": f"{dialect.memory}{memory}", "SPACE": atomics.space}
    size = dtype.itemsize
    if (kind, dtype.name) in atomics.updates:
        text, (function, word) = UPDATE, atomics.updates[kind, dtype.name]
    else:
        part = size not in atomics.swaps
        text, (function, word) = SWAP_PART if part else SWAP, atomics.swaps[PART if part else size]
        seen = f"({UNSIGNED[size]})(seen >> shift)" if part else "seen"
        new = to_memory(writer, dtype, None, f"({_met(dtype, kind)})")
        words |= {
            "OLD": from_memory(writer, dtype, None, _of_bits(memory, dtype, seen)),
            "NEW": _to_bits(memory, dtype, new),
            "MASK": hex((1 << 8 * size) - 1) + "u",
        }
    words |= {"FUNCTION": function, "WORD": word, "TYPE": register}
    text = text.strip()
    for key, value in words.items():
        text = text.replace(key, value)
    return writer.function(name, atomics.extensions.get(size, "") + dialect.function + text)


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
