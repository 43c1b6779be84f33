"""The grid of a kernel in C: which loops are divided among work-items, how many trips they have, and what a launch must know.

In: a KERNEL and how its loops are mapped. Out: `grid_loops`, and `Source`, the text of a kernel with what its caller must provide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lazygrad.ir.args import Constant, Kernel, Loop, Message, Param
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op
from lazygrad.site import describe

from ..transform.access import body
from ..transform.parallel import parallel_loop
from .c_text import Dialect
from .llvm_text import RenderError

Mapped = Literal["chunk", "item", "group"]
"""How the grid's loops are divided: `chunk` trips of the outermost one for each work-item (for processors); or the trips of all of them together, each
for one work-item, or for a group of them (for GPUs)."""


@dataclass(frozen=True, slots=True)
class Source:
    """A kernel's text, and what its caller must provide or know.

    Its arguments are the kernel's params in order (a half float as its bits, a bool as a byte), then the error words and which of them is this launch's where
    there are `checks`, the scratch memory where `scratch_bytes` (a work-item) is not 0, and `chunk` where `grid` loops are mapped by chunks.
    """

    name: str
    text: str
    functions: Mapping[str, str]
    checks: tuple[Message, ...]
    grid: tuple[Node, ...]
    """The loops that are the grid, outermost first."""
    mapping: Mapped
    scratch_bytes: int
    """Of a work-item; of a group where `mapping` says so."""
    group: int
    """The work-items of a group that the text is written for."""
    then: tuple[Source, ...] = ()
    """The launches that follow it, where a kernel is several (transform/launches.py); their checks are those of all before them, and their own."""
    arrays: tuple[Node, ...] = ()
    """What the launches have beside the kernel's params, behind these: arrays that one fills for another."""

    def trips(self, dims: Mapping[str, int]) -> int:
        """How many trips the grid has."""
        result = 1
        for loop in self.grid:
            assert isinstance(loop.arg, Loop)
            result *= max(-(-evaluate(loop.src[1], dims) // loop.arg.step), 0)
        return result


def evaluate(node: Node, dims: Mapping[str, int]) -> int:
    """The value of an extent, which is arithmetic on dims."""
    known: dict[int, int] = {}
    for each in postorder([node]):
        values = [known[id(source)] for source in each.src]
        match each.op:
            case Op.CONST:
                assert isinstance(each.arg, Constant)
                value = int(each.arg.value)
            case Op.PARAM:
                assert isinstance(each.arg, Param)
                value = dims[each.arg.name]
            case Op.ADD:
                value = values[0] + values[1]
            case Op.SUB:
                value = values[0] - values[1]
            case Op.MUL:
                value = values[0] * values[1]
            case Op.IDIV:
                value = values[0] // values[1]
            case Op.MOD:
                value = values[0] % values[1]
            case Op.MIN:
                value = min(values)
            case Op.MAX:
                value = max(values)
            case _:
                raise RenderError(f"a grid cannot have the extent {each.op.name.lower()}")
        known[id(each)] = value
    return known[id(node)]


def grid_loops(kernel: Node, mapping: Mapped) -> tuple[Node, ...]:
    """The loops that become the grid: the outermost parallel one, and (for GPUs) those that it holds alone."""
    outer = parallel_loop(kernel)
    if outer is None:
        return ()
    found = [outer]
    while mapping != "chunk":
        lines = body(found[-1])
        if len(lines) != 1 or lines[0].op is not Op.LOOP:
            break
        arg = lines[0].arg
        inner = any(source is found[-1].src[0] for source in postorder([lines[0].src[1]]))
        if not isinstance(arg, Loop) or arg.kind != "parallel" or inner:
            break
        found.append(lines[0])
    return tuple(found)


def user_lines(kernel: Node) -> list[str]:
    """The user's lines that the kernel computes, in the order of their places; the first few."""
    found = dict.fromkeys(describe(node.site) for node in postorder([kernel]) if node.site)
    lines = sorted(line for line in found if line)
    return lines[:6] + ([f"and {len(lines) - 6} lines more"] if len(lines) > 6 else [])


def names(kernels: Sequence[Node], dialect: Dialect) -> list[str]:
    """What the kernels of one program are called, each by another name."""
    counts: dict[str, int] = {}
    found: list[str] = []
    for kernel in kernels:
        assert isinstance(kernel.arg, Kernel)
        base = "".join(c if c.isalnum() and c.isascii() else "_" for c in kernel.arg.name)
        counts[base] = count = counts.get(base, 0) + 1
        name = dialect.name.format(base)
        found.append(name if count == 1 else f"{name}_{count}")
    return found
