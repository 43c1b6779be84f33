"""tile: a contraction in tiles that the threads of a group compute together, through arrays that they share and registers.

A group computes a square of results. It goes through the terms a few at a time (stage.py brings them into shared arrays); each thread takes a few rows and
columns of them into registers, where every one meets every other. What follows the sum is done on the registers. Shared memory is read 16 bytes at a time, and threads that
read together never wait for the same bank: they read neighbouring columns, or the same terms of neighbouring columns whose units have changed places.
"""

from __future__ import annotations

from lazygrad.ir import loops
from lazygrad.ir.node import Node

from .access import ScheduleError, loop_name
from .contraction import contraction, count
from .stage import Operand, Tile

SIDE = 16
"""Threads along each side of a tile."""
THREADS = SIDE * SIDE
RUN = 4
"""Neighbouring rows, or columns, of a thread; and the terms that it reads at once where these lie together."""
NARROW = (16, 32)
"""Rows, or columns, of tiles where there are no more."""
DEPTH = 16
STAGES = 2
NARROW_STAGES = 4
"""Of narrow tiles at most, which do little with what they wait for: where they go round often, in memory that every GPU has."""
MANY_STEPS = 16
MOST_SHARED = 32 << 10


def tile(kernel: Node, name: str, size: int) -> Node:
    """Tile the contraction whose columns are the loop over `name` into squares of `size` results a side, 64 or 128; what has few rows or columns, into tiles that have no more of them.

    Requires: a kernel that is one contraction, of known size, with nothing checked in it.
    Guarantees: the same sums, in another order.

    Raises:
        ScheduleError: the kernel is something else.
    """
    found = contraction(kernel)
    if found is None or loop_name(found.columns[-1]) != name:
        raise ScheduleError(f"loop {name} is not over the columns of a contraction alone")
    row, column = (
        loops.index(f"{loop_name(each)}_tile") for each in (found.rows[-1], found.columns[-1])
    )
    height, width = (side(count(nest), size) for nest in (found.rows, found.columns))
    sizes = [n * value.dtype.itemsize for n, value in ((height, found.left), (width, found.right))]
    narrow = min(height, width) <= NARROW[-1] and found.size[2] >= MANY_STEPS * DEPTH
    stages = min(NARROW_STAGES, MOST_SHARED // (DEPTH * sum(sizes))) if narrow else STAGES
    whole = Tile(kernel, found, height, width, DEPTH, stages, THREADS, row, column)
    return _Tiling(whole).kernel()


def side(count: int, size: int) -> int:
    """Of the tiles of so many rows, or columns, where `size` is what others have."""
    return next((each for each in NARROW if count <= each), size)


class _Tiling:
    def __init__(self, whole: Tile) -> None:
        self.whole = whole
        self.left = Operand(whole, "left")
        self.right = Operand(whole, "right", apart=True)
        dtype = whole.found.line.src[0].dtype
        self.sums = loops.local("sums", dtype, (THREADS * whole.sums,))

    def kernel(self) -> Node:
        whole = self.whole
        through = whole.through_terms([self.left, self.right], self._multiply)
        return whole.grid([self.sums, whole.no_sums(self.sums), *through, self._finish()])

    def _multiply(self, slot: Node) -> Node:
        """Each thread's rows meet its columns, at every term of a stage."""
        thread, first, term = loops.index("thread"), loops.index("run"), loops.index("term")
        row, column = loops.index("own_row"), loops.index("own_column")
        outer: list[Node] = []
        inner: list[Node] = []
        own: list[Node] = []
        for operand, part in ((self.left, thread // SIDE), (self.right, thread % SIDE)):
            name = operand.name
            at, step = loops.index(f"{name}_own"), loops.index(f"{name}_term")
            terms = RUN if operand.along_terms else 1
            count = _own(operand)
            mine = loops.local(f"own_{name}", operand.value.dtype, (count * terms,))
            at_term = first + step if operand.along_terms else first + term
            place = slot * operand.size + operand.place(_place(operand, part, at), at_term)
            value = loops.load(operand.array, place)
            stored = loops.store(mine, at * terms + step if operand.along_terms else at, value)
            lines = [value, stored]
            if operand.along_terms:
                lines = [loops.loop(step, RUN, lines, 1, "unroll")]
            (outer if operand.along_terms else inner).extend(
                [mine, loops.loop(at, count, lines, 1, "unroll")]
            )
            index = row if operand is self.left else column
            own.append(loops.load(mine, index * terms + term if operand.along_terms else index))
        one, other = own
        rows, columns = _own(self.left), _own(self.right)
        place = thread * self.whole.sums + (row * columns + column)
        step_ = loops.accumulate(self.sums, place, one * other, "add")
        across = loops.loop(column, columns, [other, step_], 1, "unroll")
        inner.append(loops.loop(row, rows, [one, across], 1, "unroll"))
        run = [*outer, loops.loop(term, RUN, inner, 1, "unroll")]
        whole = loops.loop(first, DEPTH, run, RUN, "unroll")
        return loops.loop(thread, THREADS, [whole], 1, "threads")

    def _finish(self) -> Node:
        """What follows the sum, for each result of a thread."""
        thread = loops.index("thread_finish")
        own_row, own_column = loops.index("row_finish"), loops.index("column_finish")
        rows, columns = _own(self.left), _own(self.right)
        total = loops.load(self.sums, thread * self.whole.sums + (own_row * columns + own_column))
        row = _place(self.left, thread // SIDE, own_row)
        column = _place(self.right, thread % SIDE, own_column)
        lines = self.whole.results(total, row, column)
        inner = loops.loop(own_column, columns, lines, 1, "unroll")
        outer = loops.loop(own_row, rows, [inner], 1, "unroll")
        return loops.loop(thread, THREADS, [outer], 1, "threads")


def _own(operand: Operand) -> int:
    """The rows, or columns, of a thread."""
    return operand.side // SIDE


def _place(operand: Operand, part: Node, at: Node) -> Node:
    """Which row (or column) of the tile is a thread's own number `at`: runs of four, half a tile apart, or each beside a neighbour's."""
    if operand.apart:
        return part + at * SIDE
    if _own(operand) <= RUN:
        return part * _own(operand) + at
    return part * RUN + at % RUN + at // RUN * (SIDE * RUN)
