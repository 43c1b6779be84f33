"""Large reductions in two steps: parts first, then the results of the parts.

Reductions to few results, so that threads can share them; contractions with so many terms that what is packed of an operand for
one row of results would leave the cache, so that it stays there while all the other rows meet it.

In: a simplified graph. Out: a graph that computes the same, its sums in another order. The parts depend on shapes alone, so a
result does not depend on how many threads there are, nor on which of them did what.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.args import Reduction
from ..ir.build import shrink
from ..ir.node import Node
from ..ir.op import Op
from ..ir.rewrite import rebuild, remake
from .reads import contraction

PART_ELEMENTS = 1 << 15
"""A part reduces at least this many elements: some microseconds of work."""
MOST_PARTS = 256
MOST_RESULTS = 128
"""More results than this keep threads busy by themselves."""
TERM_BYTES = 32 * 1024
"""The terms of one result of a contraction: those of thirty-two beside each other, as a vector reads them, fill half of a second cache."""
COMBINE = {
    "add": Op.ADD,
    "mul": Op.MUL,
    "max": Op.MAX,
    "min": Op.MIN,
    "and": Op.AND,
    "or": Op.OR,
}


def divide_reductions(roots: Sequence[Node]) -> list[Node]:
    """The roots with every large reduction to few results in two steps."""

    def make(node: Node, src: tuple[Node, ...]) -> Node:
        made = remake(node, src)
        if made.op is not Op.REDUCE:
            return made
        return _blocked(made) if contraction(made) else _divided(made)

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


def _divided(node: Node) -> Node:
    source, arg = node.src[0], node.arg
    assert isinstance(arg, Reduction)
    elements, results = _count(source), _count(node)
    parts = min(elements // PART_ELEMENTS, MOST_PARTS)
    if parts < 4 or results > MOST_RESULTS:
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
        total = _in_parts(source, arg, axis, fitting)
    else:
        starts, shape = [0] * len(source.shape), list(source.shape)
        shape[axis] = size - size % parts
        total = _in_parts(shrink(source, starts, shape), arg, axis, parts)
        starts[axis], shape[axis] = size - size % parts, size % parts
        rest = shrink(source, starts, shape).reduce(arg.kind, arg.axes, arg.accumulate)
        total = Node(COMBINE[arg.kind], (total, rest), total.dtype, total.shape)
    total = total.cast(node.dtype)
    total.site = node.site
    return total


def _in_parts(source: Node, arg: Reduction, axis: int, parts: int) -> Node:
    """The reduction of `parts` equal parts of an axis, then that of their results."""
    shape = list(source.shape)
    cut = source.reshape([*shape[:axis], parts, _size(source, axis) // parts, *shape[axis + 1 :]])
    inner = [each + (each >= axis) for each in arg.axes]
    each = cut.reduce(arg.kind, inner, arg.accumulate)
    flat = [1 if number in arg.axes else size for number, size in enumerate(shape)]
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
