"""Indices in C: arithmetic as it is written by hand, in the shortest type that holds it.

In: int64 values of a kernel, whose ranges are known as far as they are. Out: their text, where they are used if it is short.
"""

from __future__ import annotations

from lazygrad.ir.dtype import int64
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op

from ..transform.access import constant_value
from .c_text import Writer, constant_text
from .c_values import OPERATOR

SHORT_BITS = 32
"""Of a narrow index."""
INDEX_NAMES = {
    Op.ADD: "place", Op.MUL: "place", Op.SUB: "place", Op.IDIV: "quotient", Op.MOD: "rest", Op.LT: "inside", Op.LE: "inside", Op.AND: "inside",
}  # fmt: skip
"""What indices are called, and conditions on them, where they are not written where they are used."""
INLINED = 40
"""An index of more characters than this has a name of its own."""


class IndexText:
    """The text of a kernel's indices. `operands` has that of every value so far, `bare` that of indices without parentheses."""

    def __init__(self, writer: Writer, operands: dict[int, str]) -> None:
        self.writer = writer
        self.operands = operands
        self.bare: dict[int, str] = {}
        """Indices that are written where they are used, without parentheses."""

    def hint(self, node: Node) -> str:
        """What a value is called: by what it does, or where that says little by what it is for."""
        if self.writer.dialect.narrow and (node.dtype is int64 or self.compares(node)):
            return INDEX_NAMES.get(node.op, node.op.name.lower())
        return node.op.name.lower()

    def compares(self, node: Node) -> bool:
        """Whether it says of indices that they are inside of something."""
        if node.op is Op.AND and node.dtype.kind == "bool":
            return all(map(self.compares, node.src))
        return node.op in (Op.LT, Op.LE) and node.src[0].dtype is int64

    def short(self, node: Node) -> bool:
        """Whether short arithmetic is enough for a value, or for a comparison."""
        narrow = self.writer.is_narrow
        compares = node.op in (Op.LT, Op.LE, Op.EQ, Op.NE) and any(map(narrow, node.src))
        return compares or narrow(node)

    def overflows(self, node: Node) -> bool:
        """Whether an index may leave what short arithmetic on its sources can hold."""
        narrow = self.writer.is_narrow
        if node.op is Op.SHR and narrow(node.src[0]):
            return (constant_value(node.src[1]) or SHORT_BITS) >= SHORT_BITS
        if node.op not in (Op.ADD, Op.SUB, Op.MUL) or node.dtype is not int64:
            return False
        return all(map(narrow, node.src)) and not narrow(node)

    def inline(self, node: Node) -> str | None:
        """Index arithmetic as it is written by hand: i*16 + j."""
        left, right = node.src if len(node.src) == 2 else (node, node)
        if node.op in (Op.IDIV, Op.MOD):
            return self.quotient(node)
        if node.op not in (Op.ADD, Op.SUB, Op.MUL):
            return None
        if node.op is Op.ADD and (0, 0) in (known := [*map(self.writer.ranges.of, node.src)]):
            return self.index(right if known[0] == (0, 0) else left)
        if node.op is Op.MUL:
            text = f"{self.factor(left)}*{self.factor(right)}"
        else:
            second = self.index(right) if node.op is Op.ADD else self.factor(right)
            text = f"{self.index(left)} {'+' if node.op is Op.ADD else '-'} {second}"
        if self.overflows(node):
            text = f"(long)({self.index(left)}) {OPERATOR[node.op]} {self.factor(right)}"
        return text if len(text) <= INLINED else None

    def quotient(self, node: Node) -> str | None:
        """A quotient or remainder that C rounds as it is meant: short, of what is not negative."""
        left, right = node.src
        known, by = self.writer.ranges.of(left), constant_value(right)
        if not self.short(node) or known is None or known[0] < 0 or not by or by < 0:
            return None
        text = f"{self.factor(left)} {OPERATOR[node.op]} {by}"
        return text if len(text) <= INLINED and self.writer.is_narrow(left) else None

    def index(self, node: Node) -> str:
        """An operand without parentheses around a sum, constants without their ending."""
        value = constant_value(node)
        if value is not None and abs(value) < 1 << 31:
            return str(value)
        return self.bare.get(id(node)) or self.operand(node)

    def factor(self, node: Node) -> str:
        """The same as part of a product or of what is subtracted."""
        value = constant_value(node)
        if value is not None:
            return f"{value}" if 0 <= value < 1 << 31 else self.operand(node)
        bare = self.bare.get(id(node))
        return bare if bare is not None and bare.isalnum() else self.operand(node)

    def operand(self, node: Node) -> str:
        return constant_text(node) if node.op is Op.CONST else self.operands[id(node)]
