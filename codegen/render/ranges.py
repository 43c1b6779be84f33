"""Which integers a value of the loop stratum can be: what tells a renderer that nothing overflows or is negative.

In: a node whose sources have been asked about before it. Out: (low, high), or None where nothing is known.
"""

from __future__ import annotations

from lazygrad.ir.args import Constant, Loop, Param
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op

Range = tuple[int, int]
DIM_LIMIT = 1 << 40
"""More than any size that changes from run to run can be."""


class Ranges:
    """The ranges of the integer values of one kernel, by node."""

    def __init__(self) -> None:
        self._known: dict[int, Range] = {}

    def enter(self, loop: Node) -> None:
        """Learn the range of a loop's index."""
        extent = self.of(loop.src[1])
        assert isinstance(loop.arg, Loop)
        high = extent[1] - 1 if extent is not None else DIM_LIMIT
        self._known[id(loop.src[0])] = (0, max(high, 0))

    def fix(self, index: Node, value: int) -> None:
        """An index that is written out has one value."""
        self._known[id(index)] = (value, value)

    def of(self, node: Node) -> Range | None:
        """The range of `node`, as far as it is known."""
        if node.op is Op.CONST:
            assert isinstance(node.arg, Constant)
            value = node.arg.value
            return None if isinstance(value, float) else (int(value), int(value))
        if node.op is Op.PARAM:
            assert isinstance(node.arg, Param)
            return (0, DIM_LIMIT) if node.arg.role == "dim" else None
        return self._known.get(id(node))

    def learn(self, node: Node) -> None:
        """Work out the range of a value whose sources are known; a range that its dtype cannot hold is not one."""
        found = self._compute(node)
        self._known.pop(
            id(node), None
        )  # an unrolled loop computes a value again, with another index
        if found is not None and node.dtype.is_integer and _fits(found, node):
            self._known[id(node)] = found

    def _compute(self, node: Node) -> Range | None:
        op = node.op
        if op is Op.LANES:
            size = node.shape[0]
            return (0, size - 1) if isinstance(size, int) else None
        if op is Op.SPLAT or (op is Op.CAST and node.src[0].dtype.is_integer):
            return self.of(node.src[0])
        if op is Op.WHERE:
            return self._join(node.src[1], node.src[2])
        if op not in (
            Op.ADD,
            Op.SUB,
            Op.MUL,
            Op.IDIV,
            Op.MOD,
            Op.MAX,
            Op.MIN,
            Op.SHR,
            Op.AND,
            Op.XOR,
        ):
            return None
        left, right = self.of(node.src[0]), self.of(node.src[1])
        if op is Op.MOD and right is not None and right[0] > 0:
            if left is not None and left[0] >= 0 and left[1] < right[0]:
                return left
            return 0, right[1] - 1
        if op is Op.AND and left is None and right is not None and right[0] >= 0:
            return 0, right[1]
        if left is None or right is None:
            return None
        (a, b), (c, d) = left, right
        if op is Op.ADD:
            return a + c, b + d
        if op is Op.SUB:
            return a - d, b - c
        if op is Op.MUL:
            corners = (a * c, a * d, b * c, b * d)
            return min(corners), max(corners)
        if op is Op.MAX:
            return max(a, c), max(b, d)
        if op is Op.MIN:
            return min(a, c), min(b, d)
        if op is Op.IDIV and c > 0:
            return min(a // c, a // d), max(b // c, b // d)
        if op is Op.SHR and c >= 0 and d < node.dtype.bits:
            return min(a >> c, a >> d), max(b >> c, b >> d)
        if op is Op.XOR and a >= 0 and c >= 0:
            return 0, (1 << max(b, d).bit_length()) - 1
        if op is Op.AND and (a >= 0 or c >= 0):
            return 0, b if c < 0 else d if a < 0 else min(b, d)
        return None

    def _join(self, left: Node, right: Node) -> Range | None:
        first, second = self.of(left), self.of(right)
        if first is None or second is None:
            return None
        return min(first[0], second[0]), max(first[1], second[1])


def _fits(found: Range, node: Node) -> bool:
    bits = node.dtype.bits
    if node.dtype.is_signed:
        return -(1 << bits - 1) <= found[0] and found[1] < 1 << bits - 1
    return found[0] >= 0 and found[1] < 1 << bits
