"""Matrices that are too large to store, computed a block of rows at a time: attention without its N x N scores.

In: the nodes of a simplified graph. Out: `Block`s: contractions and what stands between them, with the axis of each node that has the
rows; block_kernel.py makes kernels of them, and local buffers of a block of rows of each matrix. A contraction whose result is much larger than its operands (queries times keys) is followed to the contractions that make
it small again (weights times values, and the three gradients). A result that sums over the rows themselves grows from block to
block. So memory grows with the rows, not with their square, and the blocks stay in cache.

Sums are not rescaled while a row passes by (Dao et al., "FlashAttention", 2022): a block holds whole rows, in less space than that
saves while some rows fit in cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..ir.access import Position
from ..ir.args import Reduction
from ..ir.index import ZERO, Index, Variable, of
from ..ir.node import Node
from ..ir.op import ELEMENTWISE, Op
from . import cost
from .reads import batch_axes, contraction, inlined_reads

LEAST_BYTES = 1 << 20
"""A matrix smaller than this is stored: it stays in cache anyway."""
GROWTH = 2
"""How much longer the axes of a matrix are than the sum that makes it."""
MOVED = frozenset((Op.RESHAPE, Op.PERMUTE, Op.EXPAND))
"""Movement that a block can be followed through."""

Label = tuple[Index | None, ...]
"""For each axis of a node: the index that the kernel gives it, made of batches and the row, or None where a block has all of it."""


class _Failed(Exception):
    """A node that a block cannot be followed through."""


@dataclass(slots=True, eq=False)
class Block:
    """What one kernel computes for a row at a time: results (`sinks`), and the `members` between them, with a label each.

    `sums` has the label of what each sink sums; `outputs` are the sinks, and members that others read.
    """

    batch: tuple[Variable, ...]
    rows: Variable
    sinks: list[Node] = field(default_factory=list)
    members: set[int] = field(default_factory=set)
    labels: dict[int, Label] = field(default_factory=dict)
    sums: dict[int, Label] = field(default_factory=dict)
    outputs: list[Node] = field(default_factory=list)


def find_blocks(order: Sequence[Node], roots: Sequence[Node]) -> list[Block]:
    """The blocks of a graph in an order in which they can run; a matrix that is wanted itself is in none."""
    kept = {id(root) for root in roots}
    large = {id(node) for node in order if grows(node)} - kept
    if not large:
        return []
    readers = readers_of(order)
    members, sinks = between(order, readers, large)
    position = {id(node): number for number, node in enumerate(order)}
    blocks: list[Block] = []
    for group in _together(order, sinks, members):
        while group:  # sinks that do not agree on the rows have blocks of their own
            block = _block(group, members, position)
            if block is None:
                group = group[1:]
                continue
            blocks.append(block)
            group = [sink for sink in group if sink not in block.sinks]
    return _whole(blocks, order, readers, kept, large)


def _whole(
    blocks: list[Block],
    order: Sequence[Node],
    readers: dict[int, list[Node]],
    kept: set[int],
    large: set[int],
) -> list[Block]:
    """The blocks of whose members nothing is read from outside but reductions, which become results."""
    while True:
        inside = set[int]().union(*(block.members for block in blocks))
        inside.update(id(sink) for block in blocks for sink in block.sinks)
        wanted = [
            node
            for node in order
            if id(node) in inside
            and (id(node) in kept or any(id(reader) not in inside for reader in readers[id(node)]))
        ]
        refused = {id(n) for n in wanted if n.op is not Op.REDUCE or id(n) in large}
        remaining = [block for block in blocks if not block.members & refused]
        if len(remaining) == len(blocks):
            break
        blocks = remaining
    for node in wanted:
        block = next((each for each in blocks if id(node) in each.members), None)
        if block is not None and node not in block.outputs:
            block.outputs.append(node)
    return blocks


def readers_of(order: Sequence[Node]) -> dict[int, list[Node]]:
    """The nodes that read each node, once for each time."""
    readers: dict[int, list[Node]] = {}
    for node in order:
        for source in node.src:
            readers.setdefault(id(source), []).append(node)
    return readers


def grows(node: Node) -> bool:
    """Whether it is a contraction whose results are many more than what it reads."""
    if node.op is not Op.REDUCE or not contraction(node) or not node.dtype.is_floating_point:
        return False
    source = node.src[0]
    if cost.symbolic(source.shape):
        return False
    assert isinstance(node.arg, Reduction)
    terms = cost.count([source.shape[axis] for axis in node.arg.axes])
    batch = set(batch_axes(node))
    sides = [n for axis, n in enumerate(node.shape) if n != 1 and axis not in batch]
    return (
        len(sides) == 2
        and all(isinstance(n, int) and n >= GROWTH * terms for n in sides)
        and cost.count(node.shape) * node.dtype.itemsize >= LEAST_BYTES
    )


def between(
    order: Sequence[Node], readers: dict[int, list[Node]], large: set[int]
) -> tuple[set[int], set[int]]:
    """The nodes between large contractions and the contractions that make them small again, and those."""
    size = min([cost.count(node.shape) for node in order if id(node) in large])
    reached = set(large)
    ends: set[int] = set()
    for node in order:
        if id(node) in reached or not any(id(source) in reached for source in node.src):
            continue
        if node.op is Op.REDUCE and contraction(node):
            if 2 * cost.count(node.shape) <= size:
                ends.add(id(node))
        elif node.op in ELEMENTWISE or node.op in MOVED or node.op is Op.REDUCE:
            reached.add(id(node))
    members: set[int] = set()
    for node in reversed(order):
        if id(node) in reached and any(
            id(reader) in members or id(reader) in ends for reader in readers.get(id(node), ())
        ):
            members.add(id(node))
    return members, ends


def _together(order: Sequence[Node], sinks: set[int], members: set[int]) -> list[list[Node]]:
    """Sinks in groups that share members; what a sink is computed of never needs another sink of its group from outside."""
    bit = {number: 1 << place for place, number in enumerate(sinks)}
    behind: dict[int, int] = {}
    groups: list[list[Node]] = []
    shared: list[set[int]] = []
    bits: list[int] = []
    for node in order:
        behind[id(node)] = 0
        for source in node.src:
            behind[id(node)] |= behind[id(source)] | bit.get(id(source), 0)
        if id(node) not in sinks:
            continue
        inside = _inside(node, members)
        for number, group in enumerate(groups):
            if shared[number] & inside and not behind[id(node)] & bits[number]:
                group.append(node)
                break
        else:
            number = len(groups)
            groups.append([node])
            shared.append(set())
            bits.append(0)
        shared[number] |= inside
        bits[number] |= bit[id(node)]
    return groups


def _inside(sink: Node, members: set[int]) -> set[int]:
    """The members that a sink is computed of."""
    found: set[int] = set()
    stack = list(sink.src)
    while stack:
        node = stack.pop()
        if id(node) in members and id(node) not in found:
            found.add(id(node))
            stack.extend(node.src)
    return found


# --- which axis of each node has the rows


def _block(sinks: Sequence[Node], members: set[int], position: dict[int, int]) -> Block | None:
    """The block of the first sink, and of the others that agree with it."""
    first, *others = sinks
    sizes = [first.shape[axis] for axis in batch_axes(first) if first.shape[axis] != 1]
    batch = tuple([Variable(f"batch{number or ''}", size) for number, size in enumerate(sizes)])
    for size in dict.fromkeys(first.src[0].shape):
        if not isinstance(size, int) or size < 2:
            continue
        for axis in range(len(first.src[0].shape)):
            block = Block(batch, Variable("row", size))
            if not _joined(block, first, axis, members, position):
                continue
            for sink in others:
                any(
                    _joined(block, sink, each, members, position)
                    for each in range(len(sink.src[0].shape))
                )
            return block
    return None


def _joined(
    block: Block, sink: Node, axis: int, members: set[int], position: dict[int, int]
) -> bool:
    """Make a sink one of a block whose rows are an axis of what it sums; whether everything behind it agrees."""
    source = sink.src[0]
    assert isinstance(sink.arg, Reduction)
    axes = [each for each in batch_axes(sink) if sink.shape[each] != 1]
    if [sink.shape[each] for each in axes] != [v.extent for v in block.batch]:
        return False
    if source.shape[axis] != block.rows.extent or axis in axes:
        return False
    fixed = {**dict(zip(axes, block.batch, strict=True)), axis: block.rows}
    given = tuple(
        [
            of(fixed[a]) if a in fixed else ZERO if n == 1 else None
            for a, n in enumerate(source.shape)
        ]
    )
    try:
        labels = _labels(block, source, given, members, position)
    except _Failed:
        return False
    block.labels.update(labels)
    block.members.update(number for number in labels if number in members)
    kept = tuple([ZERO if a in sink.arg.axes else index for a, index in enumerate(given)])
    block.labels[id(sink)] = kept
    block.sums[id(sink)] = given
    block.sinks.append(sink)
    block.outputs.append(sink)
    return True


def _labels(
    block: Block, source: Node, given: Label, members: set[int], position: dict[int, int]
) -> dict[int, Label]:
    """The labels of the members that `source` is computed of, and of itself.

    Raises:
        _Failed: a member would have two labels, or none.
    """
    known = {block.rows, *block.batch}
    found: dict[int, Label] = {id(source): given}
    pending = {id(source): source}
    while pending:
        number = max(pending, key=position.__getitem__)
        node = pending.pop(number)
        if number not in members:
            raise _Failed
        if block.labels.get(number, found[number]) != found[number]:
            raise _Failed
        for below, at in _reads(node, found[number]):
            if id(below) not in members:
                continue
            label = _label(below, at, known)
            if found.setdefault(id(below), label) != label:
                raise _Failed
            pending[id(below)] = below
    return found


def _reads(node: Node, label: Label) -> list[tuple[Node, Position]]:
    """What one element of a node reads, with a variable of its own for each axis that its label leaves whole."""
    at = tuple(
        [of(Variable(f"a{n}", node.shape[n])) if i is None else i for n, i in enumerate(label)]
    )
    if node.op is Op.REDUCE:
        assert isinstance(node.arg, Reduction)
        shape, axes = node.src[0].shape, node.arg.axes
        inner = [of(Variable(f"s{n}", shape[n])) if n in axes else i for n, i in enumerate(at)]
        return [(node.src[0], tuple(inner))]
    return inlined_reads(node, at)


def _label(node: Node, at: Position, known: set[Variable]) -> Label:
    result: list[Index | None] = []
    for size, index in zip(node.shape, at, strict=True):
        if size == 1:
            result.append(ZERO)
        elif index.variables <= known:
            result.append(index)
        elif any(index == of(v) and v.extent == size for v in index.variables):
            result.append(None)
        else:
            raise _Failed
    return tuple(result)


__all__ = ["MOVED", "Block", "Label", "between", "find_blocks", "grows", "readers_of"]
