"""Large reductions in two steps: parts first, then the results of the parts.

Reductions to few results, so that threads can share them; contractions with so many terms that what is packed of an operand for
one row of results would leave the cache, so that it stays there while all the other rows meet it. On a GPU, contractions of
fewer tiles of results than it computes at once, and of many terms.

In: a simplified graph. Out: a graph that computes the same, its sums in another order. The parts depend on shapes alone, so a
result does not depend on how many threads there are, nor on which of them did what.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..ir.access import Position, source_position
from ..ir.args import Reduction
from ..ir.build import shrink
from ..ir.dim import Size
from ..ir.dtype import DType
from ..ir.index import Variable, flatten, of
from ..ir.node import Node
from ..ir.op import ELEMENTWISE, MOVEMENT, Op
from ..ir.rewrite import rebuild, remake
from .cost import PROCESSOR, Machine, Parts
from .reads import contraction, factor_axes

TERM_BYTES = 32 * 1024
"""The terms of one result of a contraction: those of thirty-two beside each other, as a vector reads them, fill half of a second cache."""
FEWEST_TILES = 128
"""Of a contraction on a GPU, one for each multiprocessor; where there are fewer, parts of its terms make up `TILES` of them."""
TILES = 256
TILE_SIDES = (16, 32, 64)
PART_TERMS = 256
"""A part has at least so many terms of each result."""
COMBINE = {
    "add": Op.ADD,
    "mul": Op.MUL,
    "max": Op.MAX,
    "min": Op.MIN,
    "and": Op.AND,
    "or": Op.OR,
}


def divide_reductions(roots: Sequence[Node], machine: Machine = PROCESSOR) -> list[Node]:
    """The roots with every large reduction to few results in two steps."""
    parted = _tiled if machine.grid else _blocked

    def make(node: Node, src: tuple[Node, ...]) -> Node:
        made = remake(node, src)
        if made.op is not Op.REDUCE:
            return made
        if machine.grid and _of_parts(made):
            return made
        return parted(made) if contraction(made) else _divided(made, machine.parts)

    return rebuild(roots, lambda node: node if node.value is not None else None, make)


def _blocked(node: Node) -> Node:
    """A contraction as the sum of those of blocks of its terms, where they are too many for the cache."""
    source, arg = node.src[0], node.arg
    assert isinstance(arg, Reduction)
    results, terms = _count(node), _count(source) // max(_count(node), 1)
    wanted = -(-terms * source.dtype.itemsize // TERM_BYTES)
    if wanted < 2 or not results:
        return node
    axis = max(arg.axes, key=lambda each: (min(_size(source, each), wanted), -each))
    size = _size(source, axis)
    parts = next(
        (n for n in range(min(wanted, size), min(2 * wanted, size) + 1) if size % n == 0), 0
    )
    if not parts:
        return node
    total = _in_parts(source, arg, axis, parts)
    total.site = node.site
    return total


def _tiled(node: Node) -> Node:
    """A contraction as the sum of those of parts of its terms, where its results are too few tiles for a GPU."""
    source, arg, sides = node.src[0], node.arg, factor_axes(node)
    assert isinstance(arg, Reduction) and sides is not None
    elements, results = _count(source), _count(node)
    product = source
    while product.op is Op.CAST:
        product = product.src[0]
    if not elements or product.op is not Op.MUL:
        return node
    tiles = results
    for one, other in (sides, sides[::-1]):
        size = math.prod(_size(source, axis) for axis in one - other - set(arg.axes))
        tiles = tiles // size * -(-size // _side(size))
    wanted = min(-(-TILES // tiles), elements // results // PART_TERMS)
    if tiles >= FEWEST_TILES or wanted < 2:
        return node
    cuts = _cuts(source, arg.axes, wanted)
    if not cuts:
        return node
    total = _parts_apart(source, arg, cuts)
    total.site = node.site
    return total


def _parts_apart(source: Node, arg: Reduction, cuts: Mapping[int, int]) -> Node:
    """As `_in_parts`, of a product: its parts are the outermost axes, so that threads beside each other write what lies together."""
    shape: list[Size] = []
    first: list[int] = []
    for axis, size in enumerate(source.shape):
        if axis in cuts:
            first.append(len(shape))
            shape.append(cuts[axis])
            size = _size(source, axis) // cuts[axis]
        shape.append(size)
    order = [*first, *(axis for axis in range(len(shape)) if axis not in first)]
    casts: list[DType] = []
    while source.op is Op.CAST:
        casts.append(source.dtype)
        source = source.src[0]
    left, right = (factor.reshape(shape).permute(order) for factor in source.src)
    product = left * right
    for dtype in reversed(casts):
        product = product.cast(dtype)
    each = product.reduce(arg.kind, [axis + len(cuts) for axis in arg.axes], arg.accumulate)
    total = each.reduce(arg.kind, range(len(cuts)), arg.accumulate)
    return total.reshape([1 if n in arg.axes else size for n, size in enumerate(source.shape)])


def _side(size: int) -> int:
    """Of the tiles of so many rows, or columns."""
    return next((side for side in TILE_SIDES if size <= side), TILE_SIDES[-1])


def _cuts(source: Node, axes: Sequence[int], wanted: int) -> dict[int, int]:
    """About so many equal parts of the terms, by the parts of each axis: outer axes one by one, and the next one in as many as divide it."""
    cuts: dict[int, int] = {}
    for axis in axes:
        size = _size(source, axis)
        fitting = [n for n in range(2, min(size, 4 * wanted) + 1) if size % n == 0]
        if wanted < 2 or not fitting:
            continue
        cuts[axis] = min(fitting, key=lambda n: (n < wanted, abs(n - wanted)))
        wanted = -(-wanted // cuts[axis])
    return cuts


def _of_parts(node: Node) -> bool:
    """Whether it reduces the results of parts."""
    source = node.src[0]
    while source.op is Op.RESHAPE:
        source = source.src[0]
    return source.op is Op.REDUCE and source.arg.kind == node.arg.kind  # type: ignore[union-attr]


def _wanted(node: Node, limits: Parts, across: bool) -> int:
    """In how many parts a reduction is divided, if that pays; `across`: by a thread each, beside those of other results."""
    source, arg = node.src[0], node.arg
    assert isinstance(arg, Reduction)
    elements, results = _count(source), max(_count(node), 1)
    if across:
        most = min(limits.most, limits.threads // results)
        parts = min(elements // results // limits.thread_elements, most)
        return parts if parts * results >= limits.few_threads else 0
    if results > limits.results:
        return 0
    if not limits.groups:
        return min(elements // limits.elements, limits.most)
    return min(elements // results // limits.elements, limits.groups // results)


def _along(source: Node, axes: Sequence[int]) -> bool:
    """Whether one of the axes runs along the memory of the largest buffer that a node is computed of; else along its own last one."""
    at = [Variable(f"d{axis}", n) for axis, n in enumerate(source.shape)]
    position: Position = tuple(of(variable) for variable in at)
    node = source
    while node.op is not Op.BUFFER:
        if node.op is Op.CAST or node.op in MOVEMENT:
            position = source_position(node, position)[0] if node.op in MOVEMENT else position
            node = node.src[0]
        elif node.op in ELEMENTWISE:
            node = max(node.src, key=_stored)
        else:
            break
    terms = dict(flatten(position, node.shape).terms)
    beside = [axis for axis, variable in enumerate(at) if terms.get(variable) in (1, -1)]
    last = [axis for axis, n in enumerate(source.shape) if n != 1][-1:]
    return any(axis in axes for axis in beside or last)


def _stored(node: Node) -> int:
    """How much of a node comes from memory: what its movement, and that of what it is computed of, leaves of it."""
    while node.op in MOVEMENT or node.op is Op.CAST:
        node = node.src[0]
    return 0 if node.op in (Op.CONST, Op.ARGUMENT, Op.IOTA) else _count(node)


def _divided(node: Node, limits: Parts) -> Node:
    source, arg = node.src[0], node.arg
    assert isinstance(arg, Reduction)
    across = bool(limits.threads) and not _along(source, arg.axes)
    parts = _wanted(node, limits, across)
    if parts < 4:
        return node
    axis = max(arg.axes, key=lambda each: (min(_size(source, each), parts), -each))
    size = _size(source, axis)
    parts = min(parts, size)
    fitting = next((n for n in range(parts, parts // 4, -1) if size % n == 0), 0)
    if parts < 4:
        return node
    if source.dtype is not arg.accumulate:
        source = source.cast(arg.accumulate)
    if fitting:
        total = _in_parts(source, arg, axis, fitting, across)
    else:
        starts, shape = [0] * len(source.shape), list(source.shape)
        shape[axis] = size - size % parts
        total = _in_parts(shrink(source, starts, shape), arg, axis, parts, across)
        starts[axis], shape[axis] = size - size % parts, size % parts
        rest = shrink(source, starts, shape).reduce(arg.kind, arg.axes, arg.accumulate)
        total = Node(COMBINE[arg.kind], (total, rest), total.dtype, total.shape)
    total = total.cast(node.dtype)
    total.site = node.site
    return total


def _in_parts(source: Node, arg: Reduction, axis: int, parts: int, outermost: bool = False) -> Node:
    """The reduction of `parts` equal parts of an axis, then that of their results; where the parts are outermost, what lies together in the results stays together."""
    shape = list(source.shape)
    cut = source.reshape([*shape[:axis], parts, _size(source, axis) // parts, *shape[axis + 1 :]])
    inner = [each + (each >= axis) for each in arg.axes]
    flat = [1 if number in arg.axes else size for number, size in enumerate(shape)]
    if outermost and axis:
        cut = cut.permute([axis, *(n for n in range(len(cut.shape)) if n != axis)])
        each = cut.reduce(arg.kind, [n + (n < axis) for n in inner], arg.accumulate)
        return each.reduce(arg.kind, (0,), arg.accumulate).reshape(flat)
    each = cut.reduce(arg.kind, inner, arg.accumulate)
    flat[axis] = parts
    return each.reshape(flat).reduce(arg.kind, (axis,), arg.accumulate)


def _count(node: Node) -> int:
    """The elements of a node; 0 where a size is not known."""
    total = 1
    for size in node.shape:
        if not isinstance(size, int):
            return 0
        total *= size
    return total


def _size(node: Node, axis: int) -> int:
    size = node.shape[axis]
    assert isinstance(size, int)
    return size
