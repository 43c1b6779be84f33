"""How a contraction of narrow values is cut into tiles of dot products (transform/dots.py), where the processor has them and they pay.

In: a scalar loop tree whose results are sums of products. Out: the steps that tile it, or none. A block of results packs the
columns that it needs, which stay in the second cache while its rows pass by.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from lazygrad.ir.dtype import bool_
from lazygrad.ir.node import Node, postorder

from .target import Target
from .tiling import TYPICAL_EXTENT, arranged, contraction, distance, merged
from .transform.access import extent, loop_name
from .transform.dots import TILE, factors
from .transform.nest import interchange, merge
from .transform.pack import bound

PACKED = 16.0
"""Elements that are packed while one vector of products is added."""
DOT_PRODUCTS = {"amx": 256.0, "avx512": 24.0}
"""Products of tiles in the same time, by the family of the instructions."""
PLAIN_PRODUCTS = 12.0
"""Products of narrow values that are widened one by one, in the same time."""
READ = 0.5
"""What reading rows as they lie costs beside packing them."""
LEAST_WORK = 1 << 16
"""Products that a contraction has before tiles are worth their code."""
BLOCK_WORK = 16_000_000
"""Products of a block that a thread takes: some 40 microseconds."""
MOST_BLOCKS = 2
"""Blocks to aim at where more would fit the cache: every block reads its rows and columns anew, which takes as long as its products."""

Step = tuple[str, str, int]


def dot_tiles(kernel: Node, target: Target, shared: bool = True) -> list[Step]:
    """The steps that make tiles of dot products of the contraction of a kernel, in their order; none where there are none to make.

    Threads share the blocks, unless `shared` says that they have other loops to share.
    """
    if not _narrow(kernel):
        return []
    found = contraction(kernel)
    if found is None:
        return []
    if arranging := arranged(kernel, found, target):
        for name, loop, _ in arranging:
            kernel = interchange(kernel, loop) if name == "interchange" else merge(kernel, loop)
        tiled = dot_tiles(kernel, target, shared)
        return [*arranging, *tiled] if tiled else []
    row, column = loop_name(found.rows), loop_name(found.columns)
    steps: list[Step] = [("interchange", row, 0)] * distance(found)
    for _, loop, _ in steps:
        kernel = interchange(kernel, loop)
    beside = contraction(kernel) if steps else found
    operands = factors(beside.rows) if beside is not None else None
    if beside is None or operands is None:
        return []
    feature = target.dots(operands.left.dtype, operands.right.dtype)
    rows, columns = (bound(loop.src[1]) or TYPICAL_EXTENT for loop in (found.rows, found.columns))
    terms = operands.count
    batch = math.prod(extent(loop) or 1 for loop in found.outer)
    if not feature or not _pays(feature, rows, columns, terms, batch):
        return []
    wanted = max(1, min(MOST_BLOCKS, batch * rows * columns * terms // BLOCK_WORK)) if shared else 1
    size = terms * operands.left.dtype.itemsize
    dear = READ if operands.pitch(beside.rows, TILE) else 1.0
    block = _block(rows, columns, size, dear, -(-wanted // batch), target)
    if block is None:
        return []
    width, height = block
    outer = [loop_name(loop) for loop in found.outer]
    if width < columns or bound(found.columns.src[1]) is None:
        steps += [("divide", column, width), ("interchange", row, 0)]
        outer.append(f"{column}_part")
    if height < rows or bound(found.rows.src[1]) is None:
        steps.append(("divide", row, height))
        outer.append(f"{row}_part")
    lanes = min(TILE, 2 * target.vector_bytes // 4)
    return [*steps, *merged(outer), ("dots", row, 0), ("vectorize", column, lanes)]


def _narrow(kernel: Node) -> bool:
    """Whether anything in a kernel is a value that tiles of dot products take: what a contraction multiplies is found much later."""
    return any(node.dtype.itemsize <= 2 and node.dtype is not bool_ for node in postorder([kernel]))


def _pays(feature: str, rows: int, columns: int, terms: int, batch: int) -> bool:
    """Whether tiles, with packing and what they compute for nobody, take less time than plain products."""
    products = rows * columns * terms
    if products * batch < LEAST_WORK:
        return False
    padded = math.prod(-(-size // 16) * 16 for size in (rows, columns)) * (-(-terms // 32) * 32)
    family = DOT_PRODUCTS["amx" if feature.startswith("amx") else "avx512"]
    return (rows + columns) * terms / PACKED + padded / family < products / PLAIN_PRODUCTS


def _block(
    rows: int, columns: int, size: int, dear: float, wanted: int, target: Target
) -> tuple[int, int] | None:
    """Columns and rows of a block that packs least, of those that fit the second cache and make enough blocks to share out.

    Every block packs its columns, at once, and its rows, a few at a time; `dear` is what a row costs, beside a column.
    """
    most = target.level2_cache // 2 // size
    if most < TILE:
        return None
    ways = []
    for width, across in _parts(columns, most, wanted):
        for height, down in _parts(rows, rows + TILE, -(-wanted // across)):
            packed = columns * down + rows * across * dear
            uneven = (columns % width != 0) + (rows % height != 0)
            ways.append((max(0, wanted - across * down), uneven, packed, width, height))
    return min(ways)[3:]


def _parts(size: int, most: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Ways to cut a size into parts of at most `most`, whole tiles each but for the last: the size of a part, and their number."""
    tiles = -(-size // TILE)
    least = -(-tiles // (most // TILE))
    for parts in range(least, max(least, min(tiles, wanted)) + 1):
        part = min(-(-tiles // parts) * TILE, size)
        yield part, -(-size // part)
