"""What a kernel is when it is one contraction: results by rows and columns, each a sum of products of two operands.

In: a scalar loop tree whose grid is marked. Out: its loops and operands by what they are, for the transforms that tile it (tile, tensorize).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lazygrad.ir.args import Accumulate, Loop
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op

from .access import body, extent, lines_inside
from .parallel import parallel_loop


@dataclass(frozen=True, slots=True)
class Contraction:
    """What a kernel is when it can be tiled: results by rows and columns, each a sum of products of two operands."""

    outer: tuple[Node, ...]
    rows: Node
    columns: Node
    terms: tuple[Node, ...]
    """The loops of the sum, outermost first."""
    line: Node
    """Its ACCUMULATE."""
    left: Node
    """The operand that depends on the row, and the one that depends on the column."""
    right: Node

    @property
    def size(self) -> tuple[int, int, int]:
        """The numbers of rows, columns and terms."""
        terms = math.prod(extent(loop) or 0 for loop in self.terms)
        return extent(self.rows) or 0, extent(self.columns) or 0, terms


def contraction(kernel: Node) -> Contraction | None:
    """The contraction that a kernel is, if it can be tiled."""
    first = parallel_loop(kernel)
    if first is None:
        return None
    chain = [first]
    while len(body(chain[-1])) == 1 and body(chain[-1])[0].op is Op.LOOP:
        chain.append(body(chain[-1])[0])
    columns, lines = chain[-1], body(chain[-1])
    nests = [line for line in lines if line.op is Op.LOOP]
    if len(chain) < 2 or len(nests) != 1 or any(line.op is Op.LOCAL for line in body(kernel)):
        return None
    terms = [nests[0]]
    while len(body(terms[-1])) == 1 and body(terms[-1])[0].op is Op.LOOP:
        terms.append(body(terms[-1])[0])
    inside = list(lines_inside(columns))
    sums = [line for line in inside if line.op is Op.ACCUMULATE]
    locals_ = [line for line in inside if line.op is Op.LOCAL]
    if len(sums) != 1 or len(locals_) != 1 or any(line.op is Op.CHECK for line in inside):
        return None
    (line,) = sums
    assert isinstance(line.arg, Accumulate)
    product = line.src[2]
    whole = [*chain, *terms]
    if (
        line.src[0] is not locals_[0]
        or locals_[0].shape != ()
        or line.arg.kind != "add"
        or len(line.src) > 3
        or not any(each is line for each in body(terms[-1]))
        or product.op is not Op.MUL
        or product.shape
        or any(extent(loop) is None or _step(loop) != 1 for loop in whole)
    ):
        return None
    first_side, second_side = product.src
    for rows in reversed(chain[:-1]):
        for left, right in ((first_side, second_side), (second_side, first_side)):
            apart = not _depends(left, columns) and not _depends(right, rows)
            if apart and _depends(left, rows) and _depends(right, columns):
                outer = tuple(loop for loop in chain[:-1] if loop is not rows)
                return Contraction(outer, rows, columns, tuple(terms), line, left, right)
    return None


def _step(loop: Node) -> int:
    assert isinstance(loop.arg, Loop)
    return loop.arg.step


def _depends(node: Node, loop: Node) -> bool:
    return any(each is loop.src[0] for each in postorder([node]))
