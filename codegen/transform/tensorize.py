"""tensorize: a contraction of half floats in tiles that the warps of a group compute with matrix instructions.

As in `tile`, a group computes a square of results and goes through the terms a few at a time. Its warps share the square: each has a quarter of it, whose sums its threads have in
registers, in the order of the instruction (ir/tiles.py), and adds the products of a stage by MMA. What follows the sum is done on the registers.
"""

from __future__ import annotations

from dataclasses import replace

from lazygrad.ir import loops
from lazygrad.ir.args import Mma
from lazygrad.ir.dtype import bfloat16, float16, float32
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op
from lazygrad.ir.tiles import COLUMNS, LANES, OWN, ROWS

from .access import ScheduleError, loop_name
from .contraction import Contraction, contraction
from .stage import Operand, Tile

WARPS = 4
"""Of a group: two beside and two below each other."""
ACROSS = 2
THREADS = WARPS * LANES
DEPTH = 32
MOST_STAGES = 3
MANY_STEPS = 24
"""So many steps that two beyond the last one are nothing."""


def tensorize(kernel: Node, name: str, size: int) -> Node:
    """Tile the contraction whose columns are the loop over `name` into squares of `size` results a side, 64 or 128, for matrix instructions.

    Requires: a kernel that is one contraction of known size, of values of one half type, with sums in float32 and nothing checked in it.
    Guarantees: the same sums, in another order.

    Raises:
        ScheduleError: the kernel is something else.
    """
    found = contraction(kernel)
    if found is None or loop_name(found.columns[-1]) != name:
        raise ScheduleError(f"loop {name} is not over the columns of a contraction alone")
    halves = of_halves(found)
    if halves is None:
        raise ScheduleError(f"loop {name} is over the columns of a contraction of other types")
    row, column = (
        loops.index(f"{loop_name(each)}_tile") for each in (found.rows[-1], found.columns[-1])
    )
    stages = _stages(-(-found.size[2] // DEPTH))
    whole = Tile(kernel, halves, size, size, DEPTH, stages, THREADS, row, column, True)
    return _Tiling(whole).kernel()


def _stages(steps: int) -> int:
    """Of a ring that so many steps go round: two where three would have much more to do beyond the last one."""
    if steps >= MANY_STEPS or -steps % MOST_STAGES <= -steps % 2:
        return MOST_STAGES
    return 2


def of_halves(found: Contraction) -> Contraction | None:
    """The contraction with operands of a half type, whose products are exact in the float32 of the sums; nothing if they have another type."""
    left, right = _half(found.left), _half(found.right)
    if left is None or right is None or left.dtype is not right.dtype:
        return None
    return replace(found, left=left, right=right) if found.line.src[0].dtype is float32 else None


def _half(operand: Node) -> Node | None:
    if operand.op is Op.CAST and operand.src[0].dtype in (float16, bfloat16):
        return operand.src[0]
    return None


class _Tiling:
    def __init__(self, whole: Tile) -> None:
        self.whole = whole
        self.side = whole.width // ACROSS
        """Rows, and columns, of a warp."""
        self.left = Operand(whole, "left")
        self.right = Operand(whole, "right")
        self.sums = loops.local("sums", float32, (THREADS * whole.sums,))

    def kernel(self) -> Node:
        whole = self.whole
        through = whole.through_terms([self.left, self.right], self._multiply)
        return whole.grid([self.sums, whole.no_sums(self.sums), *through, self._finish()])

    def _multiply(self, slot: Node) -> Node:
        """Each warp's rows meet its columns, at the terms of a stage."""
        warp, whole, side = loops.index("warp"), self.whole, self.side
        left, right = self.left, self.right
        arg = Mma(
            side,
            side,
            DEPTH,
            left.side_stride,
            left.term_stride,
            right.term_stride,
            right.side_stride,
        )
        begins = [
            (each.array, slot * each.size + place * (side * each.side_stride))
            for each, place in ((left, warp // ACROSS), (right, warp % ACROSS))
        ]
        product = loops.mma((self.sums, warp * (LANES * whole.sums)), begins[0], begins[1], arg)
        return loops.loop(warp, WARPS, [product], 1, "warps")

    def _finish(self) -> Node:
        """What follows the sum, for each result of a thread: two neighbours in a row, two rows eight apart, for each instruction."""
        whole, side = self.whole, self.side
        thread = loops.index("thread_finish")
        warp, lane = thread // LANES, thread % LANES
        names = ("row_finish", "column_finish", "half_finish", "pair_finish")
        down, across, half, pair = (loops.index(name) for name in names)
        own = (down * (side // COLUMNS) + across) * OWN + half * 2 + pair
        total = loops.load(self.sums, thread * whole.sums + own)
        row = warp // ACROSS * side + down * ROWS + half * (ROWS // 2) + lane // 4
        column = warp % ACROSS * side + across * COLUMNS + lane % 4 * 2 + pair
        lines = whole.results(total, row, column)
        for index, count in ((pair, 2), (across, side // COLUMNS), (half, 2), (down, side // ROWS)):
            lines = [loops.loop(index, count, lines, 1, "unroll")]
        return loops.loop(thread, THREADS, lines, 1, "threads")
