"""stage: the operands of a contraction on their way from memory into arrays that the threads of a group share, a few terms at a time.

Such an array is a ring of stages: while the group computes with one, copies into the next are under way. An operand that is read as it lies in memory is copied past the
registers, 16 bytes at a time where it is aligned to them; one that is computed (a conversion, a mask, a function) is computed as it is stored, once for the whole tile.
The lines of an array run along what lies together in memory: the terms, or the side of the tile (its rows for the left operand, its columns for the right one).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from lazygrad.ir import loops
from lazygrad.ir.args import Constant
from lazygrad.ir.node import Node, constant, postorder, where
from lazygrad.ir.op import Op

from .access import Stride, body, extent, multiple
from .contraction import Contraction, iterations

COPIED_BYTES = (16, 8, 4)
"""What one copy may have, the widest first."""
UNIT_BYTES = 16
"""What a thread reads of shared memory at once."""
MANY_TURNS = 8
"""Of a thread that brings a stage into an array, where they are not written out."""
BANKS = 8
"""How many such units can be read at once."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the squares of results that a contraction is divided into."""

    kernel: Node
    found: Contraction
    height: int
    """Its rows."""
    width: int
    """Its columns."""
    depth: int
    """The terms of a stage."""
    stages: int
    threads: int
    row: Node
    """Which tile it is."""
    column: Node
    written_out: bool = False
    """Whether the loop over the stages of a ring is, so that where they stand is constant."""

    @property
    def sums(self) -> int:
        """The sums of a thread."""
        return self.height * self.width // self.threads

    def no_sums(self, sums: Node) -> Node:
        """The loop that makes all sums 0."""
        thread, at = loops.index("thread_zero"), loops.index("own_zero")
        store = loops.store(sums, thread * self.sums + at, constant(0, sums.dtype))
        inner = loops.loop(at, self.sums, [store], 1, "unroll")
        return loops.loop(thread, self.threads, [inner], 1, "threads")

    def through_terms(
        self, operands: Sequence[Operand], multiply: Callable[[Node], Node]
    ) -> list[Node]:
        """The lines that go through all terms: the loop that `multiply` makes for a slot of the ring stands in a loop over stages.

        The copies of a stage begin as many steps before as there are stages but one. What a step overwrites, all have read before its `await`. Where the loop
        over the slots is written out, the last stages may be beyond all terms: they are 0.
        """
        around, first = loops.index("ring"), loops.index("terms")
        slot: Node = loops.index("slot")
        begin = around + slot * self.depth if self.written_out else first
        if not self.written_out:
            slot = first // self.depth % self.stages
        ahead = (self.stages - 1) * self.depth
        arrays = [operand.array for operand in operands]
        terms = iterations(self.found.terms)
        lines: list[Node] = list(arrays)
        if ahead:
            early = loops.index("early")
            fills = [each.fill(early, early // self.depth, "_early", ahead) for each in operands]
            lines.append(loops.loop(early, ahead, [*fills, loops.commit()], self.depth, "unroll"))
        late = (slot + (self.stages - 1)) % self.stages
        fills = [each.fill(begin + ahead, late, "", None) for each in operands]
        inside = [loops.arrived(arrays, self.stages - 2), *fills, loops.commit(), multiply(slot)]
        if self.written_out:
            steps = loops.loop(slot, self.stages, inside, 1, "unroll")
            lines.append(loops.loop(around, terms, [steps], self.depth * self.stages))
        else:
            lines.append(loops.loop(first, terms, inside, self.depth))
        return [*lines, loops.arrived(arrays)]

    def grid(self, lines: list[Node]) -> Node:
        """The kernel whose grid runs these lines for each tile."""
        found, whole = self.found, self.kernel
        for index, nest, side in (
            (self.column, found.columns, self.width),
            (self.row, found.rows, self.height),
        ):
            tiles = (iterations(nest) + (side - 1)) // side
            lines = [loops.loop(index, tiles, lines, 1, "parallel")]
        for outer in reversed(found.outer):
            lines = [loops.loop(outer.src[0], outer.src[1], lines, 1, "parallel")]
        head = whole.src[: len(whole.src) - 1]
        return Node(
            Op.KERNEL, (*head, *lines), whole.dtype, whole.shape, whole.arg, whole.place, whole.site
        )

    def results(self, total: Node, row: Node, column: Node) -> list[Node]:
        """What follows the sum, for the one result whose sum is `total`."""
        found = self.found
        rows, columns = map(iterations, (found.rows, found.columns))
        row = self.row * self.height + row
        column = self.column * self.width + column
        valid: list[Node] = []
        if partial(rows, self.height):
            valid.append(row.lt(rows))
        if partial(columns, self.width):
            valid.append(column.lt(columns))
        mask = every(valid)
        lines = [total]
        known = {**indices(found.rows, row), **indices(found.columns, column)}
        buffer = found.line.src[0]
        outside = {id(line) for line in body(self.kernel)}
        for line in body(found.inner):
            if line.op is Op.LOAD and line.src[0] is buffer:
                known[id(line)] = total
            elif line.op is Op.STORE and line.src[0] is not buffer:
                target, offset, value = (
                    copied(source, known, mask, lines, outside) for source in line.src[:3]
                )
                masks = [copied(each, known, mask, lines, outside) for each in line.src[3:]]
                lines.append(loops.store(target, offset, value, every([*masks, *valid])))
        return lines


class Operand:
    """One operand of a contraction, in a shared array.

    Where it is `apart` and its terms lie together, the units of 16 bytes in a line change places with the line, so that those of the same
    terms in eight neighbouring lines have a bank each.
    """

    def __init__(self, tile: Tile, name: str, apart: bool = False) -> None:
        found, left = tile.found, name == "left"
        self.tile = tile
        self.name = name
        self.value = value = found.left if left else found.right
        self.nest = found.rows if left else found.columns
        self.part = tile.row if left else tile.column
        self.side = tile.height if left else tile.width
        loads = [node for node in postorder([value]) if node.op is Op.LOAD]
        term, side = (Stride(each[-1].src[0]) for each in (found.terms, self.nest))
        neighbours = any(term(load.src[1]) == 1 for load in loads)
        self.along_terms = neighbours or not any(side(load.src[1]) == 1 for load in loads)
        self.size = tile.depth * self.side
        self.array = loops.local(f"{name}_tile", value.dtype, (tile.stages * self.size,))
        self.copied = self._copied()
        unit = UNIT_BYTES // value.dtype.itemsize
        self.apart = unit if apart and self.along_terms and tile.depth > unit else 0

    @property
    def side_stride(self) -> int:
        """How far apart neighbouring rows (or columns) are in the array."""
        return self.tile.depth if self.along_terms else 1

    @property
    def term_stride(self) -> int:
        return 1 if self.along_terms else self.side

    def place(self, side: Node, term: Node) -> Node:
        """Where the element stands, in a stage, that is the operand's at a row (or column) and a term of the tile."""
        if not self.apart:
            lines, along = (side, term) if self.along_terms else (term, side)
            return lines * max(self.side_stride, self.term_stride) + along
        units = self.tile.depth // self.apart
        turn = side // max(BANKS // units, 1) % min(units, BANKS)
        return side * self.tile.depth + (term // self.apart ^ turn) * self.apart + term % self.apart

    def _copied(self) -> int:
        """How many elements one copy has; 0 where the operand is computed, or its elements are narrower than any copy."""
        value, found = self.value, self.tile.found
        if value.op is not Op.LOAD or len(value.src) > 2 or value.src[0].op is not Op.PARAM:
            return 0
        offset = value.src[1]
        along = (found.terms if self.along_terms else self.nest)[-1]
        every_loop = [*found.outer, *found.rows, *found.columns, *found.terms]
        strides = {id(loop): Stride(loop.src[0])(offset) for loop in every_loop}
        first = at_zero(offset)
        widths = [n // value.dtype.itemsize for n in COPIED_BYTES if n >= value.dtype.itemsize]
        for width in widths:
            if width == 1:
                return 1
            apart = [strides[id(loop)] for loop in every_loop if loop is not along]
            if (
                strides[id(along)] == 1
                and all(each is not None and each % width == 0 for each in apart)
                and first is not None
                and first % width == 0
                and multiple(along.src[1]) % width == 0
                and (self.tile.depth if self.along_terms else self.side) % width == 0
            ):
                return width
        return 0

    def fill(self, first: Node, slot: Node, ending: str, last: int | None) -> Node:
        """The loop that brings a stage, whose terms begin with `first`, into the array: what is beyond the edges is 0.

        `last`: `first` and the stage's other terms are below it, as far as is known.
        """
        tile = self.tile
        thread, turn = (loops.index(f"{self.name}_{name}{ending}") for name in ("fill", "turn"))
        run = self.copied or 1
        threads = min(tile.threads, self.size // run)
        units = (tile.depth if self.along_terms else self.side) // run
        along = thread % units * run if run > 1 else thread % units
        lines = threads // units
        across = thread // units + turn * lines
        side, term = (across, along) if self.along_terms else (along, across)
        line = self.part * self.side + side
        size, terms = iterations(self.nest), iterations(tile.found.terms)
        valid: list[Node] = []
        if partial(size, self.side):
            valid.append(line.lt(size))
        uneven = partial(terms, tile.depth)
        rest = last is None or uneven or (isinstance(terms, int) and last > terms)
        if rest and uneven:
            valid.append((first + term).lt(terms))
        elif rest:
            valid.append(first.lt(terms))
        mask = every(valid)
        known = {**indices(self.nest, line), **indices(tile.found.terms, first + term)}
        outside = {id(each) for each in body(tile.kernel)}
        if self.apart:
            place = slot * self.size + self.place(side, term)
        else:
            pitch = max(self.side_stride, self.term_stride)
            place = slot * self.size + turn * (lines * pitch) + (thread // units * pitch + along)
        if self.copied:
            unused: list[Node] = []
            source, offset = (copied(each, known, None, unused, outside) for each in self.value.src)
            inside = [*unused, loops.fetch((self.array, place), (source, offset), run, mask)]
        else:
            inside = []
            value = copied(self.value, known, mask, inside, outside)
            if rest and not _is_load(self.value):
                value = where((first + term).lt(terms), value, constant(0, self.value.dtype))
            inside.append(loops.store(self.array, place, value))
        turns = self.size // (run * threads)
        kind: Literal["unroll", "serial"] = "unroll" if turns <= MANY_TURNS else "serial"
        return loops.loop(thread, threads, [loops.loop(turn, turns, inside, 1, kind)], 1, "threads")


def partial(size: int | Node, whole: int) -> bool:
    """Whether `size` may not be a multiple of `whole`."""
    return (size if isinstance(size, int) else multiple(size)) % whole != 0


def indices(nest: Sequence[Node], flat: Node) -> dict[int, Node]:
    """The indices of nested loops at one of all their iterations."""
    found: dict[int, Node] = {}
    below = 1
    for number, loop in enumerate(reversed(nest)):
        size = extent(loop) or 1
        value = flat // below if below > 1 else flat
        if number + 1 < len(nest):
            value = value % size
        found[id(loop.src[0])] = value
        below *= size
    return found


def copied(
    root: Node, known: dict[int, Node], mask: Node | None, lines: list[Node], outside: set[int]
) -> Node:
    """A value elsewhere: at the indices that `known` gives. Loads that it needs go to `lines`, where `mask` allows them."""
    for node in postorder([root]):
        if id(node) in known:
            continue
        if id(node) in outside or node.op in (Op.PARAM, Op.CONST, Op.INDEX):
            known[id(node)] = node
            continue
        src = tuple(known[id(source)] for source in node.src)
        if node.op is Op.LOAD:
            masks = [*src[2:], *([mask] if mask is not None else [])]
            new = loops.load(src[0], src[1], every(masks))
            lines.append(new)
        else:
            new = node if src == node.src else node.like(src)
        known[id(node)] = new
    return known[id(root)]


def every(conditions: Sequence[Node]) -> Node | None:
    """Whether all of them hold; nothing for none."""
    found: Node | None = None
    for each in conditions:
        found = each if found is None else found & each
    return found


def _is_load(node: Node) -> bool:
    """Whether a value is 0 where what it reads is 0: a load, converted perhaps."""
    while node.op is Op.CAST:
        node = node.src[0]
    return node.op is Op.LOAD


def at_zero(offset: Node) -> int | None:
    """An offset where all indices are 0; None if it depends on anything else."""
    known: dict[int, int] = {}
    for node in postorder([offset]):
        values = [known[id(source)] for source in node.src]
        match node.op:
            case Op.CONST:
                assert isinstance(node.arg, Constant)
                known[id(node)] = int(node.arg.value)
            case Op.INDEX:
                known[id(node)] = 0
            case Op.ADD:
                known[id(node)] = values[0] + values[1]
            case Op.SUB:
                known[id(node)] = values[0] - values[1]
            case Op.MUL:
                known[id(node)] = values[0] * values[1]
            case Op.IDIV if values[1]:
                known[id(node)] = values[0] // values[1]
            case Op.MOD if values[1]:
                known[id(node)] = values[0] % values[1]
            case _:
                return None
    return known[id(offset)]
