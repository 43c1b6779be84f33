"""tile: a contraction in tiles that the threads of a group compute together, through arrays that they share and registers.

A group computes a square of results. It goes through the terms a few at a time: first its threads put those of both operands into shared arrays, each element once
for the whole square (what computes an element, a conversion or a mask, runs there); then each thread takes a few rows and columns of them into registers, where every one meets every
other. What follows the sum is done on the registers. The shared arrays lie so that neither filling nor reading them makes threads of a warp wait for the same bank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lazygrad.ir import loops
from lazygrad.ir.args import Accumulate, Loop
from lazygrad.ir.node import Node, constant, postorder, where
from lazygrad.ir.op import Op

from .access import ScheduleError, Stride, body, extent, lines_inside, loop_name
from .parallel import parallel_loop

SIDE = 16
"""Threads along each side of a tile."""
THREADS = SIDE * SIDE
RUN = 4
"""Neighbouring rows, or columns, of a thread: one load of 128 bits."""
PADDING = 4
"""Unused elements behind each row of a shared array, so that its columns lie in different banks."""
FILLED = 1024
"""Elements of an operand that are filled together: four for each thread."""


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


def tile(kernel: Node, name: str, size: int) -> Node:
    """Tile the contraction whose columns are the loop over `name` into squares of `size` results a side, 64 or 128.

    Requires: a kernel that is one contraction, of known size, with nothing checked in it.
    Guarantees: the same sums, in another order.

    Raises:
        ScheduleError: the kernel is something else.
    """
    found = contraction(kernel)
    if found is None or loop_name(found.columns) != name:
        raise ScheduleError(f"loop {name} is not over the columns of a contraction alone")
    return _Tiling(kernel, found, size).kernel()


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


class _Tiling:
    def __init__(self, kernel: Node, found: Contraction, size: int) -> None:
        self.whole = kernel
        self.found = found
        self.side = size
        self.own = size // SIDE
        """Rows, and columns, of a thread."""
        self.depth = FILLED // size
        """Terms that are filled together."""
        self.pitch = size + PADDING
        self.row_tile = loops.index(f"{loop_name(found.rows)}_tile")
        self.column_tile = loops.index(f"{loop_name(found.columns)}_tile")
        self.outside = {id(line) for line in body(kernel)}
        """Lines that stay where they are."""

    def kernel(self) -> Node:
        found, whole = self.found, self.whole
        rows, columns, terms = found.size
        dtype = found.line.src[0].dtype
        sums = loops.local("sums", dtype, (THREADS * self.own**2,))
        lines: list[Node] = [sums, self._zero(sums)]
        depth = loops.index("terms")
        left, fill_left = self._fill("left", found.left, found.rows, self.row_tile, depth)
        right, fill_right = self._fill("right", found.right, found.columns, self.column_tile, depth)
        inside = [fill_left, fill_right, self._multiply(sums, left, right)]
        lines += [left, right, loops.loop(depth, terms, inside, self.depth)]
        lines.append(self._finish(sums))
        for index, size in ((self.column_tile, columns), (self.row_tile, rows)):
            lines = [loops.loop(index, -(-size // self.side), lines, 1, "parallel")]
        for outer in reversed(found.outer):
            lines = [loops.loop(outer.src[0], outer.src[1], lines, 1, "parallel")]
        head = whole.src[: len(whole.src) - 1]
        return Node(
            Op.KERNEL, (*head, *lines), whole.dtype, whole.shape, whole.arg, whole.place, whole.site
        )

    def _zero(self, sums: Node) -> Node:
        thread, at = loops.index("thread_zero"), loops.index("own_zero")
        store = loops.store(sums, thread * self.own**2 + at, constant(0, sums.dtype))
        inner = loops.loop(at, self.own**2, [store], 1, "unroll")
        return loops.loop(thread, THREADS, [inner], 1, "threads")

    def _fill(
        self, name: str, operand: Node, loop: Node, part: Node, depth: Node
    ) -> tuple[Node, Node]:
        """The shared array of an operand, and the loop that fills it: along the memory that the operand reads."""
        array = loops.local(f"{name}_tile", operand.dtype, (self.depth * self.pitch,))
        at = loops.index(f"{name}_fill")
        stride = Stride(self.found.terms[-1].src[0])
        loads = [node for node in postorder([operand]) if node.op is Op.LOAD]
        if any(stride(load.src[1]) == 1 for load in loads):
            term, place = at % self.depth, at // self.depth
        else:
            term, place = at // self.side, at % self.side
        line = part * self.side + place
        size, terms = extent(loop) or 0, self.found.size[2]
        valid: list[Node] = []
        if size % self.side:
            valid.append(line.lt(size))
        rest = terms % self.depth != 0
        if rest:
            valid.append((depth + term).lt(terms))
        mask = _all(valid)
        known = {id(loop.src[0]): line, **self._terms(depth + term)}
        lines: list[Node] = []
        value = self._copy(operand, known, mask, lines)
        if rest and not _is_load(operand):
            value = where((depth + term).lt(terms), value, constant(0, operand.dtype))
        lines.append(loops.store(array, term * self.pitch + place, value))
        return array, loops.loop(at, self.depth * self.side, lines, 1, "threads")

    def _terms(self, flat: Node) -> dict[int, Node]:
        """The indices of the sum's loops at one of all terms."""
        found: dict[int, Node] = {}
        below = 1
        for number, loop in enumerate(reversed(self.found.terms)):
            size = extent(loop) or 1
            value = flat // below if below > 1 else flat
            if number + 1 < len(self.found.terms):
                value = value % size
            found[id(loop.src[0])] = value
            below *= size
        return found

    def _multiply(self, sums: Node, left: Node, right: Node) -> Node:
        thread, term = loops.index("thread"), loops.index("term")
        row, column = loops.index("own_row"), loops.index("own_column")
        mine = [
            loops.local("own_left", left.dtype, (self.own,)),
            loops.local("own_right", right.dtype, (self.own,)),
        ]
        lines = list(mine)
        for name, array, own, side in (
            ("left_own", left, mine[0], thread // SIDE),
            ("right_own", right, mine[1], thread % SIDE),
        ):
            at = loops.index(name)
            value = loops.load(array, term * self.pitch + self._place(side, at))
            lines.append(
                loops.loop(at, self.own, [value, loops.store(own, at, value)], 1, "unroll")
            )
        one, other = loops.load(mine[0], row), loops.load(mine[1], column)
        place = thread * self.own**2 + (row * self.own + column)
        step = loops.accumulate(sums, place, one * other, "add")
        columns = loops.loop(column, self.own, [other, step], 1, "unroll")
        lines.append(loops.loop(row, self.own, [one, columns], 1, "unroll"))
        inner = loops.loop(term, self.depth, lines, 1, "unroll")
        return loops.loop(thread, THREADS, [inner], 1, "threads")

    def _place(self, side: Node, at: Node) -> Node:
        """Which row (or column) of the tile is a thread's own number `at`: runs of four, half a tile apart."""
        if self.own == RUN:
            return side * RUN + at
        return side * RUN + at % RUN + at // RUN * (SIDE * RUN)

    def _finish(self, sums: Node) -> Node:
        """What follows the sum, for each result of a thread."""
        found = self.found
        thread = loops.index("thread_finish")
        own_row, own_column = loops.index("row_finish"), loops.index("column_finish")
        row = self.row_tile * self.side + self._place(thread // SIDE, own_row)
        column = self.column_tile * self.side + self._place(thread % SIDE, own_column)
        rows, columns, _ = found.size
        valid: list[Node] = []
        if rows % self.side:
            valid.append(row.lt(rows))
        if columns % self.side:
            valid.append(column.lt(columns))
        mask = _all(valid)
        place = thread * self.own**2 + (own_row * self.own + own_column)
        total = loops.load(sums, place)
        lines = [total]
        known = {id(found.rows.src[0]): row, id(found.columns.src[0]): column}
        buffer = found.line.src[0]
        for line in body(found.columns):
            if line.op is Op.LOAD and line.src[0] is buffer:
                known[id(line)] = total
            elif line.op is Op.STORE and line.src[0] is not buffer:
                target, offset, value = (
                    self._copy(source, known, mask, lines) for source in line.src[:3]
                )
                masks = [self._copy(each, known, mask, lines) for each in line.src[3:]]
                lines.append(loops.store(target, offset, value, _all([*masks, *valid])))
        inner = loops.loop(own_column, self.own, lines, 1, "unroll")
        outer = loops.loop(own_row, self.own, [inner], 1, "unroll")
        return loops.loop(thread, THREADS, [outer], 1, "threads")

    def _copy(
        self, root: Node, known: dict[int, Node], mask: Node | None, lines: list[Node]
    ) -> Node:
        """A value elsewhere: at the indices that `known` gives. Loads that it needs go to `lines`, where `mask` allows them."""
        for node in postorder([root]):
            if id(node) in known:
                continue
            if id(node) in self.outside or node.op in (Op.PARAM, Op.CONST, Op.INDEX):
                known[id(node)] = node
                continue
            src = tuple(known[id(source)] for source in node.src)
            if node.op is Op.LOAD:
                masks = [*src[2:], *([mask] if mask is not None else [])]
                new = loops.load(src[0], src[1], _all(masks))
                lines.append(new)
            else:
                new = node if src == node.src else node.like(src)
            known[id(node)] = new
        return known[id(root)]


def _is_load(node: Node) -> bool:
    """Whether a value is 0 where what it reads is 0: a load, converted perhaps."""
    while node.op is Op.CAST:
        node = node.src[0]
    return node.op is Op.LOAD


def _all(conditions: Sequence[Node]) -> Node | None:
    found: Node | None = None
    for each in conditions:
        found = each if found is None else found & each
    return found
