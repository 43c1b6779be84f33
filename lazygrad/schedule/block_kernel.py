"""The kernel of a block (blocks.py): loops over batches and blocks of rows, and in them a stage for each matrix and each result.

In: a `Block`. Out: a kernel that is whole, and what it reads. The buffers of a stage have the rows of a block innermost: reductions
over the other axis run along vectors, and the contraction that fills a buffer packs the few rows of a block, not all of the other
operand.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.args import Reduction
from ..ir.dim import Size
from ..ir.elementwise import identity
from ..ir.index import ZERO, Index, Variable, of
from ..ir.kernel_graph import KernelGraph, Path, Stage
from ..ir.node import Node, postorder
from ..ir.op import ELEMENTWISE, MOVEMENT, Op
from . import cost
from .blocks import Block, grows, readers_of
from .growing import Growing, label
from .masks import beyond
from .reads import (
    LEAVES,
    Reads,
    cheap_operand,
    contraction,
    evaluations,
    inlined_reads,
    inner_sizes,
)

HEIGHTS = (32, 16)
"""Rows of a block: the lanes of a register tile, so that a panel of the scores is one tile wide; half of them where those are too large.
The last block may begin inside of the one before.
"""
MOST_BYTES = 1 << 23
"""The local buffers of a block hold at most this much: it is near the last cache then."""
LEAST_BATCH = 2
"""Blocks that add to one result run one after the other: threads share matrices, of which there are at least two."""


def block_kernel(
    block: Block, order: Sequence[Node], work: dict[int, int]
) -> tuple[Growing, dict[int, tuple[Node, Reads]]] | None:
    """The kernel of a block, and the nodes that it reads, where they are read; None where a block of rows is too large, or a
    buffer would have the rows on two axes.

    `work` is that of an element of each node when it is inlined.
    """
    position = {id(node): number for number, node in enumerate(order)}
    readers = {number: len(found) for number, found in readers_of(order).items()}
    rows = block.rows.extent
    assert isinstance(rows, int)
    batches = cost.count([v.extent for v in block.batch])
    adds = any(block.rows not in _used(block, sink) for sink in block.sinks)
    if adds and batches < LEAST_BATCH:
        return None
    masks = _masks(block, position)
    for height in HEIGHTS:
        height = min(height, rows)
        made = _Builder(block, height, position, readers, work, masks)
        try:
            made.run()
        except _RowsTakenApart:
            return None
        if made.bytes <= MOST_BYTES:
            return made.kernel, made.inputs
    return None


def _masks(block: Block, position: dict[int, int]) -> dict[int, dict[int, Index]]:
    """For each reduction of a block, the axes of its source of which a mask leaves nothing from somewhere on, as a function of the row."""
    result: dict[int, dict[int, Index]] = {}
    nodes = {id(sink): sink for sink in block.sinks}
    for sink in block.sinks:
        for node in postorder([sink]):
            if id(node) in block.members and node.op is Op.REDUCE:
                nodes[id(node)] = node
    for node in nodes.values():
        (source,) = node.src
        given = block.sums.get(id(node)) or block.labels.get(id(source))
        assert isinstance(node.arg, Reduction)
        if given is None:
            continue
        whole = {Variable(f"b{a}", source.shape[a]): a for a, i in enumerate(given) if i is None}
        at = list(given)
        for variable, axis in whole.items():
            at[axis] = of(variable)
        nothing = identity(node.arg.kind, node.dtype)
        known = beyond(source, tuple([i for i in at if i is not None]), block.rows, position)
        result[id(node)] = {
            whole[v]: found.start for v, found in known.items() if found.value == nothing
        }
    return result


def _used(block: Block, node: Node) -> set[Variable]:
    """The variables in the label of a node."""
    return {v for index in block.labels[id(node)] if index is not None for v in index.variables}


class _RowsTakenApart(Exception):
    """A member has the rows of its block on two axes."""


class _Builder:
    def __init__(
        self,
        block: Block,
        height: int,
        position: dict[int, int],
        readers: dict[int, int],
        work: dict[int, int],
        masks: dict[int, dict[int, Index]],
    ) -> None:
        rows = block.rows.extent
        assert isinstance(rows, int)
        self.block, self.height, self.work = block, height, work
        self.position, self.readers, self.masks = position, readers, masks
        self.part = Variable("part", -(-rows // height))
        self.path: Path = (*block.batch, self.part)
        self.kernel = Growing(KernelGraph("", self.path, (), []), 0, closed=True)
        self.first = of(self.part) * height
        self.ends: dict[Variable, Index] = {}
        self.overlaps = rows % height != 0
        if self.overlaps:  # the last block has rows of the one before it again
            start = Variable("start", rows - height + 1)
            self.kernel.graph.at_most[start] = self.first
            self.first = of(start)
        self.reads: dict[int, tuple[Node, Reads]] = {}
        self.inputs: dict[int, tuple[Node, Reads]] = {}
        self.products: set[int] = set()
        self.bytes = 0

    def run(self) -> None:
        """Visit the nodes from the results down, as placement does."""
        outputs = {id(node): node for node in self.block.outputs}
        waiting = {**outputs}
        while waiting or self.reads:
            number = max((*waiting, *self.reads), key=self.position.__getitem__)
            waiting.pop(number, None)
            node, reads = self.reads.pop(number, (outputs.get(number), {}))
            assert node is not None
            if number in self.block.members and self._register(node, reads):
                continue
            if number in outputs or (number in self.block.members and self._held(node, reads)):
                if number in outputs or not self._kept(node, reads):
                    self._stage(node, reads, stored=number in outputs)
            elif number in self.block.members or self._inlined(node):
                self.kernel.names += [label(node)] * (node.op in ELEMENTWISE)
                for at, paths in reads.items():
                    for source, inner in inlined_reads(node, at):
                        for path in paths:
                            self._read(source, inner, path)
            elif node.op not in (Op.CONST, Op.IOTA):
                self.inputs[number] = node, reads

    def _held(self, node: Node, reads: Reads) -> bool:
        """Whether a member has a buffer of its own: it is read more often than it is cheap."""
        if node.op is Op.REDUCE:
            return True
        again = evaluations(node, reads) - 1
        if node.op not in ELEMENTWISE or id(node) in self.products or again < 0.01:
            return False
        return again * self.work[id(node)] > cost.LOCAL_WORK or self._follows(node)

    def _follows(self, node: Node) -> bool:
        """Whether it is computed of a contraction that nothing else reads: on the tile, before it leaves the registers."""
        stack = list(node.src)
        while stack:
            source = stack.pop()
            if self.readers.get(id(source), 0) == 1 and id(source) in self.block.members:
                if grows(source):
                    return True
                if source.op in ELEMENTWISE or source.op in MOVEMENT:
                    stack.extend(source.src)
        return False

    def _inlined(self, node: Node) -> bool:
        """Whether what is no member is computed where it is read: movement, masks of numbers alone, what is cheap."""
        if node.op in MOVEMENT or id(node) in self.products:
            return True
        return node.op in ELEMENTWISE and (cheap_operand(node) or _of_numbers(node))

    def _register(self, node: Node, reads: Reads) -> bool:
        """Compute a contraction where it is read, if that is once for each of its elements: in the loops of the stage that follows it."""
        paths = [(at, path) for at, found in reads.items() for path in found]
        if len(paths) != 1 or not grows(node) or evaluations(node, reads) > 1.01:
            return False
        ((at, path),) = paths
        inner = tuple(self.kernel.variable(size) for size in inner_sizes(node))
        self._add(Stage(node, path, at, (), inner))
        return True

    def _kept(self, node: Node, reads: Reads) -> bool:
        """Fill the buffer of a node in the loops of the first reduction that reads it, if that reads each of its elements once."""
        if self._follows(node):
            return False
        paths = {path for found in reads.values() for path in found}
        stage = next(s for s in reversed(self.kernel.graph.stages) if s.loops in paths)
        summed = iter(stage.summed)
        if (
            stage.node.op is not Op.REDUCE
            or stage.node.src[0] is not node
            or contraction(stage.node)
        ):
            return False
        assert isinstance(stage.node.arg, Reduction)
        axes = [a for a in stage.node.arg.axes if node.shape[a] != 1]
        variables = dict(zip(axes, stage.inner, strict=True))
        free = iter(stage.free)
        fixed: list[Index | None] = []
        for axis, index in enumerate(stage.fixed):
            if index is None:
                variables[axis] = next(free)
            fixed.append(None if axis in variables else index)
        if any(self._end(node, axis, reads) != self.ends.get(v) for axis, v in variables.items()):
            return False
        places = {axis: next(summed) for axis in axes}
        at = tuple([places.get(axis, index) for axis, index in enumerate(stage.position)])
        held = tuple([variables[axis] for axis in sorted(variables)])
        starts = tuple([at[axis] - of(variables[axis]) for axis in sorted(variables)])
        kept = Stage(node, stage.path, tuple(fixed), held, (), starts)
        kept.innermost = next((v for v in stage.free if v.extent == self.height), None)
        stage.keeps = kept
        self.bytes += cost.count([v.extent for v in held]) * node.dtype.itemsize
        self.kernel.names.append(label(node))
        for below, place in inlined_reads(node, at):
            self._read(below, place, stage.loops)
        return True

    def _stage(self, node: Node, reads: Reads, stored: bool) -> None:
        block = self.block
        summed = block.sums.get(id(node))
        masks = self.masks.get(id(node), {})
        adds = summed is not None and block.rows not in _used(block, node)
        fixed: list[Index | None] = []
        free: list[Variable] = []
        starts: list[Index] = []
        innermost: Variable | None = None
        for axis, (size, index) in enumerate(zip(node.shape, block.labels[id(node)], strict=True)):
            row = index is not None and block.rows in index.variables
            fixed.append(None if row else index)
            if index is None or row:
                if row and index != of(block.rows):
                    raise _RowsTakenApart
                free.append(self.kernel.variable(self.height if row else size))
                starts.append(self.first if row else ZERO)
                innermost = free[-1] if row and not stored else innermost
                if index is None and adds:
                    self._ends_at(free[-1], self._before(masks.get(axis), size))
                elif index is None and not stored:
                    self._ends_at(free[-1], self._end(node, axis, reads))
        inner: list[Variable] = []
        for axis in node.arg.axes if isinstance(node.arg, Reduction) else ():
            size = node.src[0].shape[axis]
            if size != 1:
                row = summed is not None and summed[axis] is not None
                inner.append(self.kernel.variable(self.height if row else size))
                starts.append(self.first if row else ZERO)
                if not row:
                    self._ends_at(inner[-1], self._before(masks.get(axis), size))
                elif self.overlaps:  # those of the block before have been added
                    starts[-1] = of(self.part) * self.height
                    self.ends[inner[-1]] = of(self.part) * -self.height + size
        stage = Stage(node, self.path, tuple(fixed), tuple(free), tuple(inner), tuple(starts))
        stage.innermost = innermost
        stage.cleared = block.batch if adds else None
        stage.ends = tuple([(v, self.ends[v]) for v in (*free, *inner) if v in self.ends])
        if stored:
            self.kernel.graph.stored.append(node)
        else:
            self.bytes += cost.count([v.extent for v in free]) * node.dtype.itemsize
        self._add(stage)

    # --- where loops end

    def _ends_at(self, variable: Variable, end: Index | None) -> None:
        if end is not None:
            self.ends[variable] = end

    def _before(self, start: Index | None, size: Size) -> Index | None:
        """Where an axis ends for all rows of a block of which nothing is left from `start` on, a function of the row; None for its size.

        Rows begin at multiples of their number, and so does what they end at, rounded up: nothing is left over of tiles.
        """
        if start is None or any(coefficient < 1 for _, coefficient in start.terms):
            return None
        last = of(self.part) * self.height + (self.height - 1)
        end = start.substitute({self.block.rows: last})
        if not isinstance(end.constant, int):
            return None
        end = end + -end.constant % self.height
        least = end.bounds()[0]
        return end if least >= 1 and least < size else None

    def _end(self, node: Node, axis: int, reads: Reads) -> Index | None:
        """Where all loops that read an axis of a node end; None where one of them runs to its size."""
        ends: set[Index | None] = set()
        for at in reads:
            variables = at[axis].variables
            variable = next(iter(variables)) if len(variables) == 1 else None
            known = variable is not None and at[axis] == of(variable)
            ends.add(self.ends.get(variable) if variable is not None and known else None)
        return ends.pop() if len(ends) == 1 else None

    def _add(self, stage: Stage) -> None:
        """Make a stage part of the kernel, and note what it reads."""
        node = stage.node
        self.kernel.graph.stages.append(stage)
        self.kernel.names.append(label(node))
        if not isinstance(node.arg, Reduction):
            for below, place in inlined_reads(node, stage.position):
                self._read(below, place, stage.loops)
            return
        (source,) = node.src
        if contraction(node):
            self._products(source)
        summing = iter(stage.summed)
        at = [
            next(summing) if axis in node.arg.axes and source.shape[axis] != 1 else index
            for axis, index in enumerate(stage.position)
        ]
        self._read(source, tuple(at), stage.loops)

    def _products(self, node: Node) -> None:
        """Note what a contraction sums: it is never stored."""
        while node.op is Op.CAST or node.op in MOVEMENT:
            self.products.add(id(node))
            node = node.src[0]
        self.products.add(id(node))

    def _read(self, node: Node, at: tuple[Index, ...], path: Path) -> None:
        _, reads = self.reads.setdefault(id(node), (node, {}))
        reads.setdefault(at, set()).add(path)


def _of_numbers(node: Node) -> bool:
    """Whether it is computed of constants and indices alone."""
    stack, seen = [node], {id(node)}
    while stack:
        current = stack.pop()
        if current.op is Op.BUFFER or not (
            current.op in ELEMENTWISE or current.op in MOVEMENT or current.op in LEAVES
        ):
            return False
        stack.extend(source for source in current.src if id(source) not in seen)
        seen.update(map(id, current.src))
    return True


__all__ = ["block_kernel"]
