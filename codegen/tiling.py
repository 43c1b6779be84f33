"""How a contraction is cut into tiles: blocks that fit the caches, packed operands, register tiles.

In: a scalar loop tree whose results are sums of what several of them share. Out: the steps that tile it, or none where it is too
small to gain. The block of the operand that the vectors run along stays in the second cache while the rows of the other pass by
(the scheme of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008, without a block of terms: the
sum of a tile ends before the tile does, so that whatever follows it is computed in registers).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lazygrad.ir import loops
from lazygrad.ir.dim import product
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op

from .target import Target
from .transform.access import ScheduleError, Stride, body, carries, extent, loop_name
from .transform.ahead import read_apart
from .transform.nest import interchange, merge, runs_on
from .transform.pack import Sum, bound, invariant_operands, sums

VECTORS = 2
"""Vectors in each row of a register tile, which has as many rows as its accumulators allow."""
LEAST_WORK = 1 << 18
"""Products that a contraction has before tiles pay."""
LEAST_ROWS = 48
"""Rows that a packed block serves before packing it pays."""
LEAST_ROWS_NEAR = 160
"""The same where what would be packed is a quarter of the second cache: it is read again from there, row after row of tiles."""
LEAST_ROWS_APART = 16
"""The same where vectors gather what is not packed, and other loops stand between rows and columns (a convolution's)."""
TYPICAL_EXTENT = 256
"""What rows and columns of unknown number are taken for."""
NEAR_TERMS = 192
"""Lines of the cache, one for each term, that stay near while a row of register tiles needs them again."""
PACKED_ROWS = 64
"""Rows that are packed together, where they are: whole lines of the cache where they lie across memory."""
TILE_WORK = 2_500_000
"""Products of a tile that a thread takes: about 40 microseconds."""
MOST_TILES = 8
"""Tiles to aim at: enough to share out, few enough to pack seldom."""
HELD_ROWS = 16
"""Rows whose sums are held until they are written along the rows."""
NEAR, TURNED, APART = 0.15, 0.35, 1.5
"""Cycles an element that is moved in vectors, turned in registers, or gathered; a vector of products takes half of one."""
FAR, ASKED, CLOSE = 0.7, 0.25, 0.1
"""Cycles beside that for an element which comes from beyond the second cache: waited for, or asked for while others are multiplied; and for one in that cache."""
PACKED = 0.35
"""Cycles beside that for an element which is packed: its loops, and what the caches lose."""
MANY_ROWS = 2.0
"""How much more it costs to turn elements of more rows than PACKED_ROWS at once: their pages are more than a processor keeps at hand."""
LESS = 0.95
"""The part of a price below which another order of the loops is taken."""


@dataclass(frozen=True, slots=True)
class Contraction:
    """The loops of one: over batches, rows and columns of its results, and the operand packed for each."""

    outer: tuple[Node, ...]
    rows: Node
    columns: Node
    terms: int
    found: Sum
    itemsize: int


def contraction(kernel: Node) -> Contraction | None:
    """The contraction that a kernel is, if it is one alone and its sums have a known number of terms.

    The columns are the innermost loop that has results; the rows the nearest loop around it that an operand of theirs does not
    depend on.
    """
    lines = body(kernel)
    if not lines or lines[-1].op is not Op.LOOP or any(line.op is Op.LOOP for line in lines[:-1]):
        return None
    chain = _chain(kernel)
    columns = chain[-1]
    found = list(sums(columns))
    if len(chain) < 2 or len(found) != 1 or found[0].tile is not columns:
        return None
    (each,) = found
    sizes = [bound(loop.src[1]) for loop in each.around[1:]]
    if not sizes or None in sizes or any(carries(loop) for loop in chain):
        return None
    stride = Stride(columns.src[0])
    for rows in reversed(chain[:-1]):
        shared = [part for part in invariant_operands(each, rows) if stride(part) != 0]
        if shared and Stride(rows.src[0])(each.line.src[2]) != 0:  # else all rows are the same
            outer = tuple(loop for loop in chain[:-1] if loop is not rows)
            size = max(node.dtype.itemsize for node in (*shared, each.line.src[0]))
            terms = math.prod(size for size in sizes if size is not None)
            return Contraction(outer, rows, columns, terms, each, size)
    return None


def arranged(kernel: Node, found: Contraction, target: Target) -> list[tuple[str, str, int]]:
    """The steps that give a contraction with few columns more, or others.

    Loops that all operands depend on, one of many products each, come first. Two loops that run on in everything that they reach
    become one (the pixels of a convolution with a kernel of one weight). Where the columns are fewer than the lanes of a vector, the most columns that another operand has come innermost, and
    the loops that this operand does not depend on become one, its rows (the gradient of a convolution's kernel: a column for each
    output channel, a row for each weight of one).
    """
    lanes = target.vector_bytes // found.itemsize
    chain = _chain(kernel)
    read = {id(loop): _read_again(found.found, loop) for loop in chain}
    each = [loop for loop in chain if not read[id(loop)]]
    if steps := _outwards(chain, each):
        return steps
    if len(chain) > 2:
        for outside, inside in reversed(list(pairwise(chain))):
            if runs_on(outside, inside):
                return [("merge", loop_name(outside), 0)]
    if (bound(found.columns.src[1]) or TYPICAL_EXTENT) >= lanes:
        return []
    operands = {id(part): part for loop in chain for part in read[id(loop)]}
    ways: list[tuple[int, int, list[Node], Node]] = []
    for part in operands.values():
        depends = [loop for loop in chain if Stride(loop.src[0])(part) != 0]
        sizes = {id(loop): extent(loop) or TYPICAL_EXTENT for loop in depends}
        own = [loop for loop in depends if loop not in each]  # the others stay outside
        widest = max(own, key=lambda loop: sizes[id(loop)], default=None)
        if len(depends) < len(chain) and widest is not None and sizes[id(widest)] >= lanes:
            ways.append((math.prod(sizes.values()), len(ways), depends, widest))
    if not ways:
        return []
    _, _, depends, columns = min(ways)
    order = [loop for loop in chain if loop is not columns]
    outer = [loop for loop in order if loop in depends]
    rows = [loop for loop in order if loop not in depends]
    steps = _outwards(chain, [*outer, *rows, columns])
    return [*steps, *merged([loop_name(each) for each in rows])]


def _read_again(found: Sum, loop: Node) -> list[Node]:
    """The operands of a sum that each iteration of `loop` reads again, whatever order the loops of its results are in.

    What is the same in all terms is no operand: which loops depend on it says nothing of how its loops should stand.
    """
    terms = [Stride(each.src[0]) for each in found.around[1:]]
    parts = invariant_operands(found, loop)
    return [part for part in parts if any(stride(part) != 0 for stride in terms)]


def _outwards(chain: Sequence[Node], first: Sequence[Node]) -> list[tuple[str, str, int]]:
    """The steps that put some loops, in their order, around the others of a chain."""
    wanted = [loop_name(each) for each in (*first, *[loop for loop in chain if loop not in first])]
    names = [loop_name(loop) for loop in chain]
    steps: list[tuple[str, str, int]] = []
    for _ in names:
        for place in range(len(names) - 1):
            if wanted.index(names[place]) > wanted.index(names[place + 1]):
                steps.append(("interchange", names[place], 0))
                names[place : place + 2] = names[place + 1], names[place]
    return steps


def _chain(kernel: Node) -> list[Node]:
    """The loops of a kernel's results, from the outermost."""
    chain = [body(kernel)[-1]]
    while (inner := _only_loop(chain[-1])) is not None:
        chain.append(inner)
    return chain


def _only_loop(loop: Node) -> Node | None:
    """The one loop in the body of `loop`, where it has nothing else but loads and checks before it."""
    *lines, last = body(loop)
    if last.op is Op.LOOP and all(line.op in (Op.LOAD, Op.CHECK) for line in lines):
        return last
    return None


def apart(kernel: Node) -> list[Node]:
    """The nests of loops of a kernel where several stand beside each other and one of them is a contraction; otherwise none."""
    if not _several(kernel):
        return []
    found: list[Node] = []
    stack = [kernel]
    while stack:
        inner = [line for line in body(stack.pop()) if line.op is Op.LOOP]
        for loop in inner:
            if _several(loop):
                stack.append(loop)
            elif len(inner) > 1:
                found.append(loop)
    return found if any(contraction(alone(nest)) is not None for nest in found) else []


def _several(kernel: Node) -> bool:
    """Whether loops stand beside each other, alone in all loops around them."""
    while True:
        inner = [line for line in body(kernel) if line.op is Op.LOOP]
        if len(inner) != 1:
            return len(inner) > 1
        (kernel,) = inner


def alone(loop: Node) -> Node:
    """A kernel that has nothing but a loop, to ask about it what is asked of kernels."""
    return loops.kernel("nest", [], [loop])


def tiles(
    kernel: Node, target: Target, shared: bool = True, turned: bool = False
) -> list[tuple[str, str, int]]:
    """The steps, as (name, loop, factor), that tile the contraction of a kernel, in their order; none where it is too small.

    Threads share the tiles, unless `shared` says that they have other loops to share. `turned`: rows and columns stay what they are.
    """
    found = contraction(kernel)
    if found is None:
        return []
    if arranging := arranged(kernel, found, target):
        for name, loop, _ in arranging:
            kernel = interchange(kernel, loop) if name == "interchange" else merge(kernel, loop)
        tiled = tiles(kernel, target, shared, turned)
        return [*arranging, *tiled] if tiled else []
    if not turned and (turning := _turned(kernel, found, target)):
        changed = kernel
        for _, loop, _ in turning:
            changed = interchange(changed, loop)
        if tiled := tiles(changed, target, shared, True):
            return [*turning, *tiled]
    rows, columns = _size(found.rows), _size(found.columns)
    lanes, most = VECTORS * target.vector_bytes // found.itemsize, target.accumulators // VECTORS
    outer, far = _rows_around(found)
    batch, tall = _sizes(outer), rows * _sizes(far)
    work = tall * columns * found.terms
    between = distance(found)
    if work * (batch if between else 1) < LEAST_WORK or columns < lanes // VECTORS:
        return []
    row, column = loop_name(found.rows), loop_name(found.columns)
    direct = _moves(found.found, found.rows, found.columns) == 1
    size = found.terms * found.itemsize
    near = direct and target.level1_cache < size * columns <= target.level2_cache // 4
    few = LEAST_ROWS_APART if between and not direct else LEAST_ROWS
    if tall < (LEAST_ROWS_NEAR if near else few):
        return _beside(found, rows, columns, target) if direct and rows > 1 else []
    if size * lanes > target.level2_cache:
        return []
    if direct and size * columns <= target.level1_cache:
        return _beside(found, rows, columns, target) if found.outer else []
    wanted = max(1, min(MOST_TILES, batch * work // TILE_WORK)) if shared else 1
    wanted = -(-wanted // batch)
    while far and _size(far[0]) < wanted:
        outer.append(far.pop(0))
        wanted = -(-wanted // _size(outer[-1]))
    head, deep = (far[0], rows * _sizes(far[1:])) if far else (found.rows, 1)
    along = _moves(found.found, found.columns, found.found.around[-1])
    width, height = _block(found, deep * _size(head), columns, lanes, wanted, along, target)
    steps = [("interchange", row, 0)] * between
    names = [loop_name(loop) for loop in outer]
    if width < columns or bound(found.columns.src[1]) is None:
        steps.append(("divide", column, width))
        steps += [("interchange", loop_name(loop), 0) for loop in (found.rows, *reversed(far))]
        names.append(f"{column}_part")
    if height < deep * _size(head) or bound(head.src[1]) is None:
        steps.append(("divide", loop_name(head), max(1, height // deep)))
        names.append(f"{loop_name(head)}_part")
    steps.append(("pack", loop_name(head), lanes))
    across = along != 1 and (along is None or found.terms > NEAR_TERMS)
    across = across and width > lanes and bool(invariant_operands(found.found, found.columns))
    if across:
        room = target.level2_cache // 4 // (found.terms * found.itemsize)
        block = max(1, min(PACKED_ROWS, room) // most) * most
        if block < min(height, rows):
            steps.append(("divide", row, block))
        steps += [("interchange", row, 0), ("pack", column, most)]
    steps += merged(names)
    if not across and _written(found) == "rows":
        if rows > (held := HELD_ROWS // most * most):
            steps.append(("divide", row, held))
        steps.append(("hold", row, 0))
    steps += [("jam", row, min(most, rows)), ("vectorize", column, lanes)]
    return [*steps, ("ahead", row, 0)] if _asks(found, columns >= lanes, target) else steps


def _asks(found: Contraction, whole: bool, target: Target) -> bool:
    """Whether rows are read where they lie, once for each vector of columns, from an input that has not been near."""
    operands = invariant_operands(found.found, found.columns)
    if not whole or len(found.found.around) != 2 or len(operands) != 1:
        return False
    (part,) = operands
    if (
        not read_apart(part, found.rows, found.columns)
        or Stride(found.found.around[-1].src[0])(part.src[1]) != 1
    ):
        return False
    size = _elements(part, _size(found.rows) * found.terms) * found.itemsize
    return size > target.level2_cache // (16 if _stay(found, target) else 1)


def _stay(found: Contraction, target: Target) -> bool:
    """Whether the rows of a register tile stay in the first cache while all columns meet them."""
    together = target.accumulators // VECTORS
    return together * found.terms * found.itemsize <= target.level1_cache


def _turned(kernel: Node, found: Contraction, target: Target) -> list[tuple[str, str, int]]:
    """The steps that make columns of the rows, where vectors along those waste less, or less is packed for them."""
    chain = _chain(kernel)
    steps = [("interchange", loop_name(found.rows), 0)] * (len(chain) - 1 - chain.index(found.rows))
    changed = kernel
    try:
        for _, loop, _ in steps:
            changed = interchange(changed, loop)
    except ScheduleError:
        return []
    other = contraction(changed)
    if other is None or other.columns.src[0] is not found.rows.src[0]:
        return []
    return steps if _price(other, target) < LESS * _price(found, target) else []


def _price(found: Contraction, target: Target) -> float:
    """About how many cycles a contraction takes in tiles: products, packing, and writing its results."""
    outer, far = _rows_around(found)
    lanes = target.vector_bytes // found.itemsize
    rows, columns = _size(found.rows) * _sizes(far), _size(found.columns)
    first = found.found.around[-1]
    cycles = rows * -(-columns // lanes) * found.terms / 2
    cycles += columns * found.terms * _moving(found.found, found.rows, found.columns, first)
    cycles += _arriving(found, found.rows, columns, target)
    blocks = -(-2 * columns * found.terms * found.itemsize // target.level2_cache)
    written = {"columns": NEAR, "rows": TURNED, "": APART}[_written(found)]
    if _moves(found.found, found.columns, first) == 1:
        cycles += blocks * _reading(found, rows, target)
    else:
        moving = _moving(found.found, found.columns, found.rows, first)
        cycles += blocks * (
            rows * found.terms * moving + _arriving(found, found.columns, rows, target)
        )
        written = max(written, APART * (written == TURNED))
    return (cycles + rows * columns * written) * _sizes(outer)


def _arriving(found: Contraction, shared: Node, size: int, target: Target) -> float:
    """Cycles until the operand that does not depend on `shared` is there to be packed.

    One that is more than half of the second cache has not stayed there beside what ran before.
    """
    parts = invariant_operands(found.found, shared)
    elements = sum(_elements(part, size * found.terms) for part in parts)
    return elements * FAR if elements * found.itemsize > target.level2_cache // 2 else 0.0


def _reading(found: Contraction, rows: int, target: Target) -> float:
    """Cycles to bring near what the rows read where it lies: from the second cache, or from further away."""
    parts = invariant_operands(found.found, found.columns)
    elements = sum(_elements(part, rows * found.terms) for part in parts)
    if elements * found.itemsize <= target.level2_cache:
        return elements * CLOSE
    return elements * ASKED * (1 if _stay(found, target) else 2)


def _elements(part: Node, computed: int) -> int:
    """How many elements an operand has in memory; as many as are `computed` where it is no plain read, or nobody knows."""
    size = product(part.src[0].shape) if part.op is Op.LOAD else computed
    return size if isinstance(size, int) else computed


def _moving(found: Sum, shared: Node, along: Node, across: Node) -> float:
    """What it costs to put an element of an operand, that which does not depend on `shared`, in the order of vectors along a loop."""
    if _moves(found, shared, along) == 1:
        return NEAR
    return TURNED if _moves(found, shared, across) == 1 else APART


def _written(found: Contraction) -> str:
    """Which loop the results of a tile run along in memory: "columns", "rows", or neither."""
    own = {id(line) for line in body(found.columns) if line.op is Op.LOCAL}
    stores = [line for line in body(found.columns) if line.op in (Op.STORE, Op.ACCUMULATE)]
    offsets = [line.src[1] for line in stores if id(line.src[0]) not in own]
    for name, loop in (("columns", found.columns), ("rows", found.rows)):
        stride = Stride(loop.src[0])
        if all(stride(offset) == 1 for offset in offsets):
            return name
    return ""


def _rows_around(found: Contraction) -> tuple[list[Node], list[Node]]:
    """The outer loops of a contraction, and of those the ones next to its rows that are rows too: what is packed of the columns'
    operand serves all of them."""
    outer = list(found.outer)
    far: list[Node] = []
    if not distance(found):
        shared = invariant_operands(found.found, found.rows)
        while outer:
            stride = Stride(outer[-1].src[0])
            if any(stride(operand) != 0 for operand in shared):
                break
            far.insert(0, outer.pop())
    return outer, far


def _size(loop: Node) -> int:
    return bound(loop.src[1]) or TYPICAL_EXTENT


def _sizes(chain: Sequence[Node]) -> int:
    return math.prod(_size(loop) for loop in chain)


def _beside(
    found: Contraction, rows: int, columns: int, target: Target
) -> list[tuple[str, str, int]]:
    """The steps that pack nothing: what the vectors read lies as they read it, and few rows read it.

    The rows stand beside the columns, of which there are as many at once as stay in the second cache for all rows.
    """
    row, column = loop_name(found.rows), loop_name(found.columns)
    lanes, most = VECTORS * target.vector_bytes // found.itemsize, target.accumulators // VECTORS
    steps = [("interchange", row, 0)] * distance(found)
    outer = [loop_name(loop) for loop in found.outer]
    panel = found.terms * found.itemsize * lanes
    width = max(1, target.level2_cache // 2 // panel) * lanes
    if rows > most and width < columns:
        steps += [("divide", column, width), ("interchange", row, 0)]
        outer.append(f"{column}_part")
    return [
        *steps,
        *merged(outer),
        ("jam", row, min(most, rows)),
        ("vectorize", column, lanes),
    ]


def merged(names: list[str]) -> list[tuple[str, str, int]]:
    """The steps that make one loop of several around each other."""
    return [("merge", "_".join(names[:count]), 0) for count in range(1, len(names))]


def distance(found: Contraction) -> int:
    """How many loops stand between the rows and the columns."""
    indices = {id(loop.src[0]) for loop in found.outer}
    count, loop = 0, found.rows
    while (inner := _only_loop(loop)) is not None and id(inner.src[0]) in indices:
        count, loop = count + 1, inner
    return count


def _block(
    found: Contraction,
    rows: int,
    columns: int,
    lanes: int,
    wanted: int,
    along: int | None,
    target: Target,
) -> tuple[int, int]:
    """Columns and rows of a block: the packed part of an operand in half of the second cache, and enough blocks to share out.

    Of the ways to make enough blocks it takes the one that packs least: more blocks of columns pack the rows again, where they
    are packed, or far, and more blocks of rows the columns.
    """
    panels = -(-columns // lanes)
    most = max(1, target.level2_cache // 2 // (found.terms * found.itemsize * lanes))
    least = -(-panels // most)
    turns = _moves(found.found, found.rows, found.columns) != 1
    late = _arriving(found, found.rows, columns, target) / (columns * found.terms)
    pack = PACKED + late + (2 * TURNED if turns else NEAR)
    read = pack if along != 1 else _reading(found, rows, target) / (rows * found.terms)
    finest = -(-panels * lanes // PACKED_ROWS) if turns else wanted
    ways = []
    for parts in range(least, max(least, min(panels, max(wanted, finest))) + 1):
        width = min(-(-panels // parts) * lanes, columns)
        divisions = max(1, min(-(-wanted // parts), rows // LEAST_ROWS))
        even = [d for d in range(divisions, 2 * divisions) if rows % d == 0]
        together = target.accumulators // VECTORS
        height = min(_upwards(math.ceil(rows / divisions), together), rows)
        height = rows // even[0] if even else height
        blocks = math.ceil(columns / width) * math.ceil(rows / height)
        short = max(0, wanted - blocks)
        crowded = turns and width > PACKED_ROWS
        packed = columns * divisions * pack * (MANY_ROWS if crowded else 1.0)
        ways.append((short, packed + read * rows * parts, width, height))
    return min(ways)[2:]


def _upwards(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _moves(found: Sum, shared: Node, loop: Node) -> int | None:
    """How the operands that do not depend on `shared` move in memory with `loop`; None where they are computed, or differ."""
    stride = Stride(loop.src[0])
    moves = {
        stride(part.src[1]) if part.op is Op.LOAD else None
        for part in invariant_operands(found, shared)
    }
    return moves.pop() if len(moves) == 1 else None
