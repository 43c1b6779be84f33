"""What the work-items of a group do together, in C: where they wait for each other, and how they reduce what each of them has.

In: a KERNEL with loops of the kind `threads`, and which of its buffers belong to a group. Out: the lines behind which a barrier stands, and the text
of reductions. A group runs what is outside of its shared loops as one: each work-item computes it, and the first one writes.
"""

from __future__ import annotations

from collections.abc import Set

from lazygrad.ir.dtype import DType
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op

from ..transform.access import body, lines_inside
from .c_functions import COMBINE
from .c_locals import is_shared
from .c_text import UNSIGNED, Writer, register_type

WARP = 32
"""The work-items that exchange registers."""


def barriers(kernel: Node, private: Set[int]) -> set[int]:
    """The shared loops, and the lines outside of them, behind which a group waits.

    It does where what was read or written there meets another place that writes it: memory that is no work-item's own (`private` names those).
    """
    units: list[tuple[Node, bool]] = []
    stack: list[tuple[Node, bool]] = [(line, False) for line in body(kernel)]
    while stack:
        line, repeated = stack.pop()
        if line.op is Op.LOOP and not is_shared(line):
            again = repeated or line is not body(kernel)[-1]
            stack.extend((each, again) for each in body(line))
        else:
            units.append((line, repeated))
    reads: list[set[int]] = []
    writes: list[set[int]] = []
    for line, _ in units:
        inside = list(lines_inside(line)) if line.op is Op.LOOP else [line]
        reads.append(_buffers(inside, (Op.LOAD, Op.ACCUMULATE)) - private)
        writes.append(_buffers(inside, (Op.STORE, Op.ACCUMULATE)) - private)
    found: set[int] = set()
    for at, (line, repeated) in enumerate(units):
        met = any(
            writes[at] & (reads[k] | writes[k]) or reads[at] & writes[k]
            for k in range(len(units))
            if k != at
        )
        if met or (repeated and line.op is Op.LOOP and reads[at] & writes[at]):
            found.add(id(line))
    return found


def _buffers(lines: list[Node], ops: tuple[Op, ...]) -> set[int]:
    return {id(line.src[0]) for line in lines if line.op in ops}


GROUP_REDUCTION = """
TYPE group_KIND_TYPE_COUNT(TYPE x) { // of the lanes of each warp, then of the warps; each thread has the result
  for (int apart = LANES; apart > 0; apart >>= 1) x = NAME(x, SHUFFLE, threadIdx.x & apart);
REST  return x;
}"""
REST = """  SHAREDTYPE parts[WARPS];
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  BARRIER
  x = parts[threadIdx.x % WARPS];
  for (int apart = HALF; apart > 0; apart >>= 1) x = NAME(x, SHUFFLE, threadIdx.x & apart);
  BARRIER  // the parts may be written again
"""
STEP = """
TYPE step_KIND_TYPE(TYPE mine, TYPE other, bool second) { // the same two in the same order on both sides
  const TYPE a = second ? other : mine, b = second ? mine : other;
  return RESULT;
}"""


def group_reduction(writer: Writer, dtype: DType, kind: str, threads: int) -> str:
    """The name of a function that reduces the values of a group's work-items; in an order that depends on their number alone."""
    scalar = register_type(dtype, None)
    form = COMBINE[kind]
    if dtype.kind == "float" and kind in ("max", "min"):
        form = f"(({{b}} {'>' if kind == 'max' else '<'} {{a}}) | ({{b}} != {{b}})) ? {{b}} : {{a}}"
    if dtype.kind == "bool":
        form = COMBINE[{"add": "or", "mul": "and", "max": "or", "min": "and"}.get(kind, kind)]
    result = form.format(a="a", b="b")
    if dtype.is_integer and dtype.is_signed and kind in ("add", "mul"):
        word = UNSIGNED[dtype.itemsize]
        result = f"({scalar})({form.format(a=f'({word})a', b=f'({word})b')})"
    function, name = writer.dialect.function, f"step_{kind}_{scalar}"
    words = {"KIND": kind, "TYPE": scalar, "NAME": name, "RESULT": result}
    writer.function(name, function + _filled(STEP, words))
    small = dtype.itemsize < 4 and dtype.kind != "float"
    warps = threads // WARP
    words |= {
        "SHUFFLE": f"({scalar})__shfl_xor_sync(0xffffffffu, {'(int)' if small else ''}x, apart)",
        "COUNT": str(threads),
        "LANES": str(WARP // 2),
        "WARPS": str(warps),
        "HALF": str(warps // 2),
        "BARRIER": writer.dialect.barrier,
        "SHARED": writer.dialect.shared,
    }
    text = GROUP_REDUCTION.replace("REST", REST if warps > 1 else "")
    whole = f"group_{kind}_{scalar}_{threads}"
    return writer.function(whole, function + _filled(text, words))


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text.strip()
