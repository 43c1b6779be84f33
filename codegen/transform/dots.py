"""dots: the sums of a contraction become tiles of dot products, of operands that are packed for the processor's instructions.

In: a loop over rows and in it one over columns, whose body sums products of values widened from a narrow type. Out: loops that
pack both operands (ir/dots.py says how they lie; what computes an element, a mask or an activation, runs there), then loops over
tiles, each a DOTS and the rest of the body on its results, while they are near.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from lazygrad.ir import loops
from lazygrad.ir.args import Accumulate, Dots, Name, Param
from lazygrad.ir.dots import ROWS, WIDENED, run_terms, step_terms
from lazygrad.ir.dtype import DType, int64
from lazygrad.ir.node import Node, constant, postorder, where
from lazygrad.ir.op import Op
from lazygrad.ir.rewrite import rebuild

from .access import (
    ScheduleError,
    Stride,
    all_loops,
    body,
    carries,
    constant_value,
    extent,
    lines_inside,
    loop_name,
    loop_named,
    multiple,
    replace_loop,
)
from .narrow import narrowed
from .pack import bound, sums
from .transpose import turn
from .vectorize import Partials, Widen

TILE = 2 * ROWS
"""Rows and columns of a tile: four registers of results, so that every load of an operand serves twice."""


@dataclass(frozen=True, slots=True)
class Factors:
    """What a sum of products adds, as its two operands before they are widened."""

    terms: tuple[Node, ...]
    """The loops of the sum, outermost first."""
    total: Node
    """The register that it goes to."""
    left: Node
    right: Node

    @property
    def count(self) -> int:
        return math.prod(extent(loop) or 0 for loop in self.terms)

    def pitch(self, rows: Node, height: int) -> int:
        """How far apart the rows of the left operand lie, where tiles of `height` of them can be read as they are; otherwise 0."""
        whole = (
            multiple(rows.src[1]) % height == 0 and self.count % step_terms(self.left.dtype) == 0
        )
        if (
            not whole
            or self.left.op is not Op.LOAD
            or len(self.left.src) > 2
            or len(self.terms) > 1
        ):
            return 0
        buffer, offset = self.left.src
        inside = any(each is buffer for each in lines_inside(rows))
        if inside or Stride(self.terms[0].src[0])(offset) != 1:
            return 0
        pitch = Stride(rows.src[0])(offset)
        return pitch if pitch is not None and pitch >= self.count else 0


def dots(kernel: Node, name: str) -> Node:
    """Compute the sums of the loop over `name` and of the one loop in it, its columns, as tiles of dot products.

    Requires: both extents are bounded by constants, their steps are 1, what they compute is scalar; `factors` finds operands.
    Guarantees: the same sums, in another order.

    Raises:
        ScheduleError: there is no such loop, or its sums are no dot products of narrow values.
    """
    rows = loop_named(kernel, name)
    found = factors(rows)
    if found is None:
        raise ScheduleError(f"the sums of loop {name} are no dot products of narrow values")
    return replace_loop(kernel, rows, _Tiling(kernel, rows, found).lines())


def factors(rows: Node) -> Factors | None:
    """The operands of the sums of two loops around each other, rows and columns; None where they are no dot products."""
    columns = body(rows)[-1]
    before = body(rows)[:-1]
    if columns.op is not Op.LOOP or any(line.op is not Op.LOAD for line in before):
        return None
    found = list(sums(columns))
    if len(found) != 1 or found[0].tile is not columns:
        return None
    (each,) = found
    line, terms = each.line, each.around[1:]
    assert isinstance(line.arg, Accumulate)
    total = line.src[0]
    if line.arg.kind != "add" or len(line.src) > 3 or total.shape or not terms:
        return None
    if any(extent(loop) is None for loop in terms) or not _is_sum(columns, line, terms):
        return None
    if any(line.op is Op.CHECK for line in lines_inside(rows)) or carries(rows) or carries(columns):
        return None
    product = line.src[2]
    if product.op is not Op.MUL or product.shape:
        return None
    row, column = Stride(rows.src[0]), Stride(columns.src[0])
    for left, right in (product.src, product.src[::-1]):
        if row(right) != 0 or column(left) != 0:
            continue
        for operands, wide in WIDENED.items():
            pair = narrowed(left, operands[0]), narrowed(right, operands[1])
            if wide is total.dtype and pair[0] is not None and pair[1] is not None:
                return Factors(terms, total, pair[0], pair[1])
    return None


def _is_sum(columns: Node, line: Node, terms: Sequence[Node]) -> bool:
    """Whether the body sums once, from 0, in loops that do nothing else."""
    total = line.src[0]
    for loop, inner in zip((columns, *terms), (*terms, line), strict=True):
        others = [each for each in body(loop) if each is not inner and each is not total]
        allowed = (Op.LOAD, Op.STORE) if loop is columns else (Op.LOAD,)
        if any(each.op not in allowed for each in others):
            return False
    starts = [each for each in body(columns) if each.op is Op.STORE and each.src[0] is total]
    if len(starts) != 1:
        return False
    start = starts[0].src[2]
    return start.op is Op.CONST and constant(0, total.dtype).arg == start.arg


_FIRST = constant(0, int64)


class _Tiling:
    def __init__(self, kernel: Node, rows: Node, found: Factors) -> None:
        self.rows = rows
        self.columns = body(rows)[-1]
        self.found = found
        step = step_terms(found.left.dtype)
        self.terms = -(-found.count // step) * step
        self.inside = {id(line) for line in lines_inside(rows)}
        taken = {node.arg.name for node in postorder([kernel]) if isinstance(node.arg, Name)}
        self.taken = {*taken, *(loop_name(each) for each, _ in all_loops(kernel))}

    def name(self, wanted: str) -> str:
        """A name that nothing in the kernel has yet."""
        names = (f"{wanted}{number or ''}" for number in count())
        found = next(each for each in names if each not in self.taken)
        self.taken.add(found)
        return found

    def lines(self) -> list[Node]:
        height, width = (_bounded(loop) for loop in (self.rows, self.columns))
        size = tuple(min(TILE, -(-each // ROWS) * ROWS) for each in (height, width))
        groups = -(-width // size[1]) * size[1] // ROWS
        packed = self._buffer(self.columns, self.found.right.dtype, groups)
        lines = [packed, *self._fill(self.found.right, self.columns, packed, groups, _FIRST, True)]
        return [*lines, self._tiles(packed, size)]

    def _buffer(self, loop: Node, dtype: DType, groups: int) -> Node:
        name = self.name(f"{loop_name(loop)}_pack")
        return loops.local(name, dtype, (groups * ROWS * self.terms,))

    # --- tiles

    def _tiles(self, packed: Node, size: tuple[int, ...]) -> Node:
        """The loops over tiles: rows are packed for one row of tiles at a time, and stay near while it lasts."""
        tile = loops.local(self.name("tile"), self.found.total.dtype, (size[0] * size[1],))
        places: list[Node] = []
        limits: list[Node] = []
        blocks: list[tuple[Node, Node]] = []
        known: dict[int, Node] = {}
        for loop, many in ((self.rows, size[0]), (self.columns, size[1])):
            block = loops.index(self.name(f"{loop_name(loop)}_tile"))
            inner = loops.index(loop_name(loop))
            whole = constant_value(loop.src[1])
            if whole is not None:
                number: Node = constant(-(-whole // many), int64)
            else:
                number = (loop.src[1] + (many - 1)) // many
            exact = multiple(loop.src[1]) % many == 0
            limits.append(
                constant(many, int64) if exact else (loop.src[1] - block * many).minimum(many)
            )
            places.append(inner)
            blocks.append((block, number))
            known[id(loop.src[0])] = block * many + inner
        (row, height), (column, width) = blocks
        start = row * size[0]
        pitch = self.found.pitch(self.rows, size[0])
        if pitch:
            reads, value = self._instance(
                self.found.left,
                {id(self.rows.src[0]): start, id(self.found.terms[0].src[0]): _FIRST},
            )
            assert all(read is value for read in reads)
            filled: list[Node] = []
            left = value.src[0], value.src[1]
        else:
            buffer = self._buffer(self.rows, self.found.left.dtype, size[0] // ROWS)
            filled = [buffer]
            filled += self._fill(self.found.left, self.rows, buffer, size[0] // ROWS, start, False)
            left = buffer, _FIRST
        arg = Dots(size[0], size[1], self.terms, pitch)
        right = packed, column * (size[1] * self.terms)
        at = places[0] * size[1] + places[1]
        lines: list[Node] = []
        for line in body(self.columns):
            if line.op is Op.LOAD and line.src[0] is self.found.total:
                known[id(line)] = loops.load(tile, at)
                lines.append(line)
            elif not self._is_summed(line):
                lines.append(line)
        first = body(self.rows)[:-1]
        copies = rebuild([*first, *lines], lambda node: known.get(id(node)), self._copy)
        inner = loops.loop(places[1], limits[1], copies[len(first) :])
        outer = loops.loop(places[0], limits[0], [*copies[: len(first)], inner])
        soon = self._soon(row, column, size)
        compute = [*soon, tile, loops.dots((tile, 0), left, right, arg), outer]
        return loops.loop(row, height, [*filled, loops.loop(column, width, compute)])

    def _soon(self, row: Node, column: Node, size: tuple[int, ...]) -> list[Node]:
        """What asks memory for where the results of a tile go, so that it is near once they are computed."""
        place = loops.index(self.name(f"{loop_name(self.rows)}_soon"))
        across = Stride(self.columns.src[0])
        known = {
            id(self.rows.src[0]): row * size[0] + place,
            id(self.columns.src[0]): column * size[1],
        }
        lines: list[Node] = []
        for line in body(self.columns):
            outside = line.op is Op.STORE and isinstance(line.src[0].arg, Param)
            if outside and across(line.src[1]) == 1:
                (at,) = rebuild([line.src[1]], lambda node: known.get(id(node)))
                lines.append(loops.prefetch(line.src[0], at))
        return [loops.loop(place, size[0], lines)] if lines else []

    def _is_summed(self, line: Node) -> bool:
        """Whether a line of the body is of the sum itself."""
        return line is self.found.total or line.op is Op.LOOP or line.src[0] is self.found.total

    def _copy(self, node: Node, src: tuple[Node, ...]) -> Node:
        return node.like(src) if src != node.src or id(node) in self.inside else node

    # --- packing

    def _fill(
        self, operand: Node, loop: Node, buffer: Node, groups: int, origin: Node, turned: bool
    ) -> list[Node]:
        """The loops that pack some of an operand: over its groups, and over the steps of its terms, of which the last may not be whole.

        The inner one goes along memory, so that what comes into the cache is used before it leaves.
        """
        step = step_terms(operand.dtype)
        group, at = (
            loops.index(self.name(f"{loop_name(loop)}_{each}")) for each in ("group", "step")
        )
        along = len(self.found.terms) == 1 and self._runs(operand, self.found.terms[0])
        pack = self._along_terms if along else self._along_places
        whole = self.found.count // step
        start = group * (ROWS * self.terms)

        def packed(number: Node, terms: int) -> list[Node]:
            lines, vectors = pack(operand, loop, origin + group * ROWS, number, terms)
            if along == turned:
                vectors = turn(vectors, run_terms(operand.dtype))
            size = vectors[0].shape[0]
            assert isinstance(size, int)
            first = start + number * (ROWS * step)
            return lines + [
                loops.store(buffer, first + place * size, vector)
                for place, vector in enumerate(vectors)
            ]

        nests: list[Node] = []
        many = constant(groups, int64)
        if whole:
            if along:
                inner = loops.loop(at, whole, packed(at, step))
                nests.append(loops.loop(group, many, [inner]))
            else:
                inner = loops.loop(group, many, packed(at, step))
                nests.append(loops.loop(at, whole, [inner]))
        if self.found.count % step:
            if whole:
                group = loops.index(self.name(f"{loop_name(loop)}_group"))
                start = group * (ROWS * self.terms)
            rest = packed(constant(whole, int64), self.found.count % step)
            nests.append(loops.loop(group, many, rest))
        return nests

    def _runs(self, operand: Node, term: Node) -> bool:
        """Whether what an operand reads lies along the loop of its terms."""
        stride = Stride(term.src[0])
        moves = [stride(node.src[1]) for node in postorder([operand]) if node.op is Op.LOAD]
        return 1 in moves and set(moves) <= {0, 1}

    def _along_terms(
        self, operand: Node, loop: Node, first: Node, step: Node, terms: int
    ) -> tuple[list[Node], list[Node]]:
        """A step of 16 rows, or columns, a vector of terms each. Those beyond the last are computed as the last, and read by nobody."""
        lanes = step_terms(operand.dtype)
        (term,) = self.found.terms
        inside = None
        if terms < lanes:
            inside = loops.lanes(lanes).lt(loops.splat(constant(terms, int64), lanes))
        lines: list[Node] = []
        vectors: list[Node] = []
        size = constant_value(loop.src[1])
        last = loop.src[1] - 1 if size is None else constant(size - 1, int64)
        for place in range(ROWS):
            at = first + place if place else first
            if size is None or size % ROWS:
                at = at.minimum(last)
            reads, value = self._instance(operand, {id(loop.src[0]): at})
            widen = Widen(term, step * lanes, lanes, inside, Partials(lanes), "")
            lines += widen.lines(tuple(reads))
            vector = widen.vector(value)
            if inside is not None and vector.op is not Op.LOAD:
                vector = where(inside, vector, _zero(operand.dtype, lanes))
            vectors.append(vector)
        return lines, vectors

    def _along_places(
        self, operand: Node, loop: Node, first: Node, step: Node, terms: int
    ) -> tuple[list[Node], list[Node]]:
        """A step of 16 rows, or columns, in runs of terms: a vector of all places for each term, and their lanes in turn."""
        dtype = operand.dtype
        size = constant_value(loop.src[1])
        inside = None
        if size is None or size % ROWS:
            inside = loops.lanes(ROWS).lt(loops.splat(loop.src[1] - first, ROWS))
        lines: list[Node] = []
        found: list[Node] = []
        for number in range(step_terms(dtype)):
            if number >= terms:
                found.append(_zero(dtype, ROWS))
                continue
            at = step * step_terms(dtype) + number if number else step * step_terms(dtype)
            reads, value = self._instance(operand, self._term(at))
            widen = Widen(loop, first, ROWS, inside, Partials(ROWS), "")
            lines += widen.lines(tuple(reads))
            found.append(widen.vector(value))
        run = run_terms(dtype)
        runs = [found[number : number + run] for number in range(0, len(found), run)]
        return lines, [
            _in_turn(each) if number * run < terms else _zero(dtype, ROWS * run)
            for number, each in enumerate(runs)
        ]

    def _term(self, flat: Node) -> dict[int, Node]:
        """The indices of the sum's loops at one of all terms."""
        known: dict[int, Node] = {}
        below = 1
        for number, loop in enumerate(reversed(self.found.terms)):
            size = extent(loop)
            assert size is not None
            place = flat // below if below > 1 else flat
            known[id(loop.src[0])] = place if number == len(self.found.terms) - 1 else place % size
            below *= size
        return known

    def _instance(self, operand: Node, known: dict[int, Node]) -> tuple[list[Node], Node]:
        """An operand with some indices known: the loads that it needs, and its value."""
        (value,) = rebuild([operand], lambda node: known.get(id(node)), self._copy)
        outside = {id(each) for each in postorder([operand])} - self.inside
        lines = [
            each for each in postorder([value]) if each.op is Op.LOAD and id(each) not in outside
        ]
        return lines, value


def _zero(dtype: DType, lanes: int) -> Node:
    number = constant(0, dtype)
    return Node(Op.CONST, (), dtype, (lanes,), number.arg)


def _in_turn(vectors: Sequence[Node]) -> Node:
    """One vector: the first lanes of all, then the second lanes of all, and so on. Their number is a power of two."""
    level, run = list(vectors), 1
    while len(level) > 1:
        size = level[0].shape[0]
        assert isinstance(size, int)
        order = [
            side * size + place * run + lane
            for place in range(size // run)
            for side in (0, 1)
            for lane in range(run)
        ]
        level = [
            loops.shuffle(left, right, order)
            for left, right in zip(level[::2], level[1::2], strict=True)
        ]
        run *= 2
    return level[0]


def _bounded(loop: Node) -> int:
    size = bound(loop.src[1])
    if size is None:
        raise ScheduleError(f"the extent of loop {loop_name(loop)} has no bound to pack for")
    return size
