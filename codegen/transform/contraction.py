"""What a kernel is when it is one contraction: results by rows and columns, each a sum of products of two operands.

In: a scalar loop tree whose grid is marked. Out: its loops and operands by what they are, for the transforms that tile it (tile, tensorize).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lazygrad.ir.args import Accumulate, Loop
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op

from .access import Stride, body, extent, lines_inside
from .parallel import parallel_loop
from .share import TYPICAL_EXTENT

LARGEST_SIDE = 128
"""Of a tile: results whose number is about a multiple of it leave little of the last one unused."""


@dataclass(frozen=True, slots=True)
class Contraction:
    """What a kernel is when it can be tiled: results by rows and columns, each a sum of products of two operands."""

    outer: tuple[Node, ...]
    rows: tuple[Node, ...]
    """The loops over what only the left operand depends on, outermost first; as many of them as tiles need."""
    columns: tuple[Node, ...]
    """Those over what only the right one depends on; the innermost loop that is no batch's is among them."""
    inner: Node
    """The loop around one result."""
    terms: tuple[Node, ...]
    """The loops of the sum, outermost first."""
    line: Node
    """Its ACCUMULATE."""
    left: Node
    right: Node

    @property
    def size(self) -> tuple[int, int, int]:
        """The numbers of rows, columns and terms, common ones where they are not known."""
        rows, columns, terms = map(count, (self.rows, self.columns, self.terms))
        return rows, columns, terms

    @property
    def is_known(self) -> bool:
        """Whether all of them are known. Where they are not, arithmetic on indices takes registers."""
        return all(extent(loop) is not None for loop in (*self.rows, *self.columns, *self.terms))

    @property
    def is_straight(self) -> bool:
        """Whether operands lie at distances that are known."""
        indices = [loop.src[0] for loop in (*self.outer, *self.rows, *self.columns, *self.terms)]
        loads = [node for node in postorder([self.left, self.right]) if node.op is Op.LOAD]
        return all(Stride(each)(load.src[1]) is not None for each in indices for load in loads)


def contraction(kernel: Node) -> Contraction | None:
    """The contraction that a kernel is, if it can be tiled."""
    first = parallel_loop(kernel)
    if first is None:
        return None
    chain = [first]
    while len(body(chain[-1])) == 1 and body(chain[-1])[0].op is Op.LOOP:
        chain.append(body(chain[-1])[0])
    inner, lines = chain[-1], body(chain[-1])
    nests = [line for line in lines if line.op is Op.LOOP]
    if len(chain) < 2 or len(nests) != 1 or any(line.op is Op.LOCAL for line in body(kernel)):
        return None
    terms = [nests[0]]
    while len(body(terms[-1])) == 1 and body(terms[-1])[0].op is Op.LOOP:
        terms.append(body(terms[-1])[0])
    inside = list(lines_inside(inner))
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
        or any(_step(loop) != 1 or not _is_of_dims(loop.src[1]) for loop in whole)
    ):
        return None
    left, right = product.src
    rows = [loop for loop in chain if _depends(left, loop) and not _depends(right, loop)]
    columns = [loop for loop in chain if _depends(right, loop) and not _depends(left, loop)]
    if not rows or not columns:
        return None
    if chain.index(rows[-1]) > chain.index(columns[-1]):
        left, right, rows, columns = right, left, columns, rows
    rows, columns = _enough(rows), _enough(columns)
    if any(extent(loop) is None for nest in (rows, columns, terms) for loop in nest[1:]):
        return None  # where an iteration of the nest is, a division by a number that is not known would say
    sides = {id(loop) for loop in (*rows, *columns)}
    outer = tuple(loop for loop in chain if id(loop) not in sides)
    return Contraction(outer, tuple(rows), tuple(columns), inner, tuple(terms), line, left, right)


def count(nest: Sequence[Node]) -> int:
    """The iterations of nested loops; a common number of those whose extents are not known."""
    sizes = (extent(loop) for loop in nest)
    return math.prod(TYPICAL_EXTENT if size is None else size for size in sizes)


def iterations(nest: Sequence[Node]) -> int | Node:
    """The iterations of nested loops, of which only the outermost may have an extent that is not known."""
    if nest and extent(nest[0]) is None:
        inner = count(nest[1:])
        return nest[0].src[1] * inner if inner > 1 else nest[0].src[1]
    return count(nest)


def _is_of_dims(size: Node) -> bool:
    """Whether an extent is known when the kernel is launched."""
    return not any(node.op in (Op.INDEX, Op.LOAD) for node in postorder([size]))


def _enough(side: list[Node]) -> list[Node]:
    """The innermost of some loops, so many that tiles of their iterations leave little of the last one unused; none outside of one of unknown extent."""
    for number in range(1, len(side)):
        size = count(side[-number:])
        if extent(side[-number]) is None or -(-size // LARGEST_SIDE) * LARGEST_SIDE * 8 <= size * 9:
            return side[-number:]
    return side


def _step(loop: Node) -> int:
    assert isinstance(loop.arg, Loop)
    return loop.arg.step


def _depends(node: Node, loop: Node) -> bool:
    return any(each is loop.src[0] for each in postorder([node]))
