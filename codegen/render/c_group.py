"""What the work-items of a group do together, in C: where they wait for each other, and how they reduce what each of them has.

In: a KERNEL with loops of the kind `threads`, and which of its buffers belong to a group. Out: the lines before which a barrier stands, and the text
of reductions. A group runs what is outside of its shared loops as one: each work-item computes it, and the first one writes.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from lazygrad.ir.dtype import DType
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op

from ..transform.access import body, lines_inside
from .c_functions import step
from .c_locals import WARP, is_shared
from .c_text import UNSIGNED, Writer, register_type


@dataclass(slots=True)
class _Unit:
    """A shared loop, or a line outside of one, and the buffers that its threads meet."""

    line: Node
    reads: set[int]
    writes: set[int]

    def meets(self, other: _Unit) -> bool:
        """Whether one of two that follow each other writes what the other one reads or writes; a unit itself, run again, is in order with what it writes alone."""
        if self is other:
            return bool(self.line.op is Op.LOOP and self.reads & self.writes)
        return bool(self.writes & (other.reads | other.writes) or self.reads & other.writes)


def barriers(kernel: Node, private: Set[int]) -> set[int]:
    """The shared loops, and the lines outside of them, before which a group waits.

    It does where memory that is no work-item's own (`private` names those) was met since the group last waited, and one of the two writes it. What is
    repeated, by a loop or because a group takes another trip of the grid, is gone through twice.
    """
    units: dict[int, _Unit] = {}
    found: set[int] = set()
    since: list[_Unit] = []
    stack = list(reversed(body(kernel)))
    while stack:
        line = stack.pop()
        if line.op is Op.LOOP and not is_shared(line):
            stack.extend([*reversed(body(line))] * 2)
            continue
        if line.op in (Op.COMMIT, Op.AWAIT):
            since = [] if line.op is Op.AWAIT else since  # which has a barrier of its own
            continue
        unit = units.get(id(line))
        if unit is None:
            inside = list(lines_inside(line)) if line.op is Op.LOOP else [line]
            reads = _buffers(inside, (Op.LOAD, Op.ACCUMULATE)) - private
            reads |= {id(each.src[2]) for each in inside if each.op is Op.FETCH}
            writes = _buffers(inside, (Op.STORE, Op.ACCUMULATE)) - private
            unit = units[id(line)] = _Unit(line, reads, writes)
        if id(line) in found or any(unit.meets(earlier) for earlier in since):
            found.add(id(line))
            since = []
        since.append(unit)
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
PARTS = "group_parts"
"""The array through which a group reduces that exchanges no registers: 8 bytes for each work-item."""
REDUCTION_OF_PARTS = """
TYPE group_KIND_TYPE_COUNT(TYPE x, SHAREDTYPE *parts) { // of halves, quarters, eighths of the group; each work-item has the result
  const int thread = THREAD;
  parts[thread] = x;
  for (int apart = HALF; apart > 0; apart >>= 1) {
    BARRIER
    if (thread < apart) parts[thread] = NAME(parts[thread], parts[thread + apart], false);
  }
  BARRIER
  x = parts[0];
  BARRIER  // the parts may be written again
  return x;
}"""
STEP = """
TYPE step_KIND_TYPE(TYPE mine, TYPE other, bool second) { // the same two in the same order on both sides
  const TYPE a = second ? other : mine, b = second ? mine : other;
  return RESULT;
}"""


def group_reduction(writer: Writer, dtype: DType, kind: str, threads: int, value: str) -> str:
    """What reduces the `value` that each work-item of a group has; in an order that depends on their number alone.

    Where they exchange no registers, the kernel must have the array `PARTS`.
    """
    scalar = register_type(dtype, None)
    form = step(dtype, kind)
    result = form.format(a="a", b="b")
    if dtype.is_integer and dtype.is_signed and kind in ("add", "mul"):
        word = UNSIGNED[dtype.itemsize]
        result = f"({scalar})({form.format(a=f'({word})a', b=f'({word})b')})"
    function, name = writer.dialect.function, f"step_{kind}_{scalar}"
    words = {"KIND": kind, "TYPE": scalar, "NAME": name, "RESULT": result}
    writer.function(name, function + _filled(STEP, words))
    whole, dialect = f"group_{kind}_{scalar}_{threads}", writer.dialect
    words |= {"COUNT": str(threads), "BARRIER": dialect.barrier, "SHARED": dialect.shared}
    if not dialect.exchanges:
        words |= {"THREAD": dialect.thread, "HALF": str(threads // 2)}
        writer.function(whole, function + _filled(REDUCTION_OF_PARTS, words))
        return f"{whole}({value}, ({dialect.shared}{scalar} *){PARTS})"
    small = dtype.itemsize < 4 and dtype.kind != "float"
    warps = threads // WARP
    words |= {
        "SHUFFLE": f"({scalar})__shfl_xor_sync(0xffffffffu, {'(int)' if small else ''}x, apart)",
        "LANES": str(WARP // 2),
        "WARPS": str(warps),
        "SHARED": dialect.shared + dialect.aligned,
        "HALF": str(warps // 2),
    }
    text = GROUP_REDUCTION.replace("REST", REST if warps > 1 else "")
    return f"{writer.function(whole, function + _filled(text, words))}({value})"


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text.strip()
