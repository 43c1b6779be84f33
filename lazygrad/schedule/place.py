"""Placement: which nodes make a kernel, and where in it each is computed. The one mechanism of fusion.

In: a simplified graph (no GRAD, CALL or STOP). Out: a `Schedule`: kernels in the order they run, and for each root the node whose buffer holds
its value. Nodes are visited from the roots down, so that every reader of a node is placed before it, and the exact positions that they read are
known. Each node is then inlined into its readers (computed where it is read), made a stage of their kernel (computed at a loop into a local
buffer), or stored by a kernel of its own (kernels.py has how); `cost.py` has the numbers that decide, and every decision leaves its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir import access
from ..ir.args import Sort
from ..ir.dim import Size
from ..ir.index import Quotient, Remainder, flatten
from ..ir.kernel_graph import KernelGraph
from ..ir.node import Node, postorder
from ..ir.op import ELEMENTWISE, MOVEMENT, Op
from ..ir.verify import verify_order
from . import cost
from .block_kernel import block_kernel
from .block_rewrite import rewritten
from .blocks import find_blocks
from .growing import Growing, finish, label, ordered, results_early
from .kernels import Kernels
from .reads import (
    LEAVES,
    STAGED,
    Reads,
    cheap_operand,
    contraction,
    covers,
    evaluations,
    used_variables,
    widened,
)

NUMBERS = LEAVES - {Op.BUFFER}


@dataclass(slots=True)
class Schedule:
    """Kernels in the order they run; `values[i]` is the node whose buffer holds root i (a BUFFER, or a kernel's result)."""

    kernels: list[KernelGraph]
    values: list[Node]


def place(roots: Sequence[Node], machine: cost.Machine = cost.PROCESSOR) -> Schedule:
    """Partition the graph of `roots` into kernels for a machine."""
    return _Placement(rewritten(roots) if machine.blocks else roots, machine).run()


def stored_value(node: Node) -> Node:
    """The node whose buffer is also that of `node`: reshaping moves nothing."""
    while node.op is Op.RESHAPE:
        node = node.src[0]
    return node


class _Placement(Kernels):
    """The decisions; what follows from one is in kernels.py."""

    def __init__(self, roots: Sequence[Node], machine: cost.Machine) -> None:
        self.roots = [stored_value(root) for root in roots]
        super().__init__(postorder(self.roots), machine)
        self.must_store = {id(root) for root in self.roots if root.op is not Op.BUFFER}
        self.users: dict[int, list[Node]] = {}
        for node in self.order:
            for source in node.src:
                self.users.setdefault(id(source), []).append(node)
        self.blocks: dict[int, tuple[Growing, dict[int, tuple[Node, Reads]]]] = {}
        if machine.blocks:
            self._make_blocks()

    def run(self) -> Schedule:
        for node in reversed(self.order):
            reads = self.reads.pop(id(node), {})
            if node.op is Op.BUFFER:
                for kernel in reads:
                    self._input(kernel, node)
            elif id(node) in self.blocks:
                self._result_of_block(node, reads)
            elif id(node) in self.must_store:
                self._store(node, reads)
            elif node.op in LEAVES:
                self._leaf(node, reads)
            elif node.op in MOVEMENT or node.op is Op.COPY:
                if any(self._disordered(node, *read) for read in reads.items()):
                    self._store(node, reads)
                    continue
                for kernel, positions in reads.items():
                    self._inline(node, kernel, positions)
            elif reads:
                self._place(node, reads)
        self.kernels.reverse()
        for kernel in self.kernels:
            finish(kernel)
        kernels = ordered([kernel.graph for kernel in self.kernels])
        kernels = results_early(kernels, self.roots)
        verify_order(kernels)
        return Schedule(kernels, self.roots)

    # --- blocks of rows

    def _make_blocks(self) -> None:
        """Kernels that compute large matrices a block of rows at a time. What they read is stored."""
        blocks = find_blocks(self.order, self.roots)
        if not blocks:
            return
        for block in blocks:
            whole = block_kernel(block, self.order, self.subtree)
            if whole is None:
                continue
            for node in block.outputs:
                self.blocks[id(node)] = whole
                self.writer[id(node)] = whole[0]
            stored = [node for node, _ in whole[1].values() if node.op not in LEAVES]
            self.must_store.update(map(id, stored))

    def _result_of_block(self, node: Node, reads: dict[Growing, Reads]) -> None:
        block, inputs = self.blocks[id(node)]
        if block not in self.kernels:
            self.kernels.append(block)
            for number, (_, found) in inputs.items():
                self.reads.setdefault(number, {})[block] = found
        for kernel in reads:
            self._input(kernel, node)

    # --- decisions

    def _place(self, node: Node, reads: dict[Growing, Reads]) -> None:
        if len(reads) == 1:
            ((kernel, positions),) = reads.items()
            if self._fuse(node, kernel, positions):
                return
            self._store(node, reads)
            return
        if self._cheap_everywhere(node, reads) or self._from_what_all_read(node, reads):
            for kernel, positions in reads.items():
                self._inline(node, kernel, positions)
            return
        self._store(node, reads)

    def _store(self, node: Node, reads: dict[Growing, Reads]) -> None:
        """Give `node` memory: as one more result of a reader, where that costs nothing, or from a kernel of its own."""
        for kernel, positions in reads.items():
            others = [other for other in reads if other is not kernel]
            if self._room(kernel, node) and not self._depends(kernel, others):
                if self._join(node, kernel, positions):
                    reads = {other: reads[other] for other in others}
                    break
        else:
            companion = self._companion(node, list(reads))
            if companion is not None:
                self._add_output(companion, node)
            else:
                self._new_kernel(node)
        for kernel in reads:
            self._input(kernel, node)

    def _companion(self, node: Node, readers: Sequence[Growing]) -> Growing | None:
        """A kernel of the same loops that reads something `node` reads, and does not wait for a reader of `node`.

        Results that share a launch share what they load. Where the loops are reductions alone, each result has loops of its
        own, so what they share must stay in cache from one to the next.
        """
        if node.op in (Op.SCAN, Op.SORT, Op.SCATTER, Op.EXTERN):
            return None
        near = self._near(node)
        if near is None:
            return None
        for kernel in reversed(self.kernels[-8:]):
            graph = kernel.graph
            if kernel in readers:
                continue  # it would wait for itself
            if not graph.outputs or graph.outputs[0].shape != node.shape:
                continue
            if kernel.near is None or not near & kernel.near or not self._room(kernel, node):
                continue
            if not graph.loops and max(kernel.span, self.span) > cost.SHARED_ELEMENTS:
                continue
            if not self._depends(kernel, readers):
                kernel.near |= near
                kernel.span = max(kernel.span, self.span)
                return kernel
        return None

    def _join(self, node: Node, kernel: Growing, positions: Reads) -> bool:
        """Make `node` one more result of `kernel`, which reads it."""
        graph = kernel.graph
        if node.op is Op.REDUCE:
            return not self._contraction(node) and self._stage(node, kernel, positions, stored=True)
        if node.op in ELEMENTWISE and self._one_a_row(node, graph, positions):
            return self._stage(node, kernel, positions, stored=True)
        if node.op not in ELEMENTWISE | MOVEMENT or node.shape != _shape(graph):
            return False
        if set(positions) != {graph.position}:
            return False
        graph.outputs.append(node)
        self.writer[id(node)] = kernel
        self._inline(node, kernel, positions)
        return True

    def _one_a_row(self, node: Node, graph: KernelGraph, positions: Reads) -> bool:
        """Whether a kernel reads one element of `node` in each iteration of its outer loops, and no contraction stands in them."""
        if len(positions) != 1 or any(self._contraction(stage.node) for stage in graph.stages):
            return False
        (at,) = positions
        rows = used_variables(at)
        return 0 < len(rows) < len(graph.loops) and rows <= set(graph.loops) and covers(node, at)

    def _depends(self, kernel: Growing, others: Sequence[Growing]) -> bool:
        """Whether `kernel` reads, directly or not, a result of one of `others`."""
        targets = {id(other) for other in others}
        pending, seen = [kernel], {id(kernel)}
        while pending and targets:
            for node in pending.pop().graph.inputs:
                writer = self.writer.get(id(node))
                if writer is None or id(writer) in seen:
                    continue
                if id(writer) in targets:
                    return True
                seen.add(id(writer))
                pending.append(writer)
        return False

    def _fuse(self, node: Node, kernel: Growing, positions: Reads) -> bool:
        if not self._room(kernel, node):
            kernel.graph.reasons.append(f"{label(node)} stored: the kernel is full")
            return False
        if node.op in (Op.SORT, Op.SCATTER, Op.EXTERN):
            return False
        if node.op in STAGED:
            size = cost.count(node.shape)
            results = [each for each in kernel.graph.results if cost.count(each.shape) == size]
            if (
                len(results) > cost.TILE_RESULTS
                and size >= cost.DIVIDED_ELEMENTS
                and self._contraction(node)
            ):
                kernel.graph.reasons.append(
                    f"{label(node)} stored: {len(results)} results are written better in a stretch than by tiles"
                )
                return False
            return self._stage(node, kernel, positions)
        if _sorts(kernel, node, self.subtree[id(node)]):
            kernel.graph.reasons.append(f"{label(node)} stored: a sort takes keys one by one")
            return False
        again = evaluations(node, positions) - 1
        work = again * self.subtree[id(node)]
        if again > 0.01 and self._is_product(node, kernel):
            pass  # as many as the contraction has steps: they are never stored
        elif again > 0.01 and self._feeds_contraction(kernel, positions):
            if work > cost.LOCAL_WORK and not cheap_operand(node):
                kernel.graph.reasons.append(
                    f"{label(node)} stored: a contraction would compute it {again + 1:.0f} times"
                )
                return False
        elif again > 0.01 and work > cost.LOCAL_WORK and not self._of_places(node):
            if self._stage(node, kernel, positions):
                return True
            if work > cost.STORE_WORK:
                kernel.graph.reasons.append(
                    f"{label(node)} stored: it would be computed {again + 1:.0f} times"
                )
                return False
        self._inline(node, kernel, positions)
        return True

    def _of_places(self, node: Node) -> bool:
        """Whether a node is a little arithmetic on places and numbers: where it is read it costs no more than reading it, and asks for no order of loops."""
        if self.subtree[id(node)] > cost.CHEAP_WORK:
            return False
        pending = [node]
        while pending:
            current = pending.pop()
            if current.op not in ELEMENTWISE and current.op not in MOVEMENT | NUMBERS:
                return False
            pending.extend(current.src)
        return True

    def _disordered(self, node: Node, kernel: Growing, positions: Reads) -> bool:
        """Whether a contraction would read `node` again and again in an order that no vector runs along.

        Heads of attention that become columns again: they are put in order once, and then read like any matrix. Reshaping
        alone moves nothing; what grows (windows that overlap) stays as it is.
        """
        if node.op not in (Op.PERMUTE, Op.PAD) or not self._feeds_contraction(kernel, positions):
            return False
        if evaluations(node, positions) < cost.ORDERED_READS:
            return False
        if node.op is Op.PAD:
            kernel.graph.reasons.append(
                f"{label(node)} stored: a contraction reads beyond its edge"
            )
            return True
        along = set(kernel.graph.loops[-1:])
        for stage in kernel.graph.stages:
            along.update(stage.inner)
        for at in positions:
            source = node
            while source.op in MOVEMENT:
                at = access.source_position(source, at)[0]
                source = source.src[0]
            if cost.count(source.shape) < cost.count(node.shape) or source.op in NUMBERS:
                return False
            for atom, _ in flatten(at, source.shape).terms:
                if isinstance(atom, (Quotient, Remainder)) and atom.dividend.variables & along:
                    reason = f"{label(node)} stored: a contraction reads it out of order"
                    kernel.graph.reasons.append(reason)
                    return True
        return False

    def _is_product(self, node: Node, kernel: Growing) -> bool:
        """Whether `node` is the products that a contraction of this kernel sums."""
        return any(
            stage.node.src[0] is node and self._contraction(stage.node)
            for stage in kernel.graph.stages
        )

    def _feeds_contraction(self, kernel: Growing, positions: Reads) -> bool:
        last = {path[-1] for paths in positions.values() for path in paths if path}
        return any(
            last.intersection(stage.inner) and self._contraction(stage.node)
            for stage in kernel.graph.stages
        )

    def _cheap_everywhere(self, node: Node, reads: dict[Growing, Reads]) -> bool:
        """Whether computing it again in each kernel beats storing it: little work on at most one loaded value.

        What has much fewer elements (the mean of a row) does not count: it is stored by itself where it is expensive.
        """
        if node.op not in ELEMENTWISE:
            return False
        if widened(node):
            return all(self._room(kernel, node) for kernel in reads)
        few = cost.count(node.shape) // cost.FEW_SHARE
        work = loaded = 0
        stack, seen = [node], {id(node)}
        while stack:
            current = stack.pop()
            work += cost.work(current)
            for source in current.src:
                if id(source) in seen or 0 < cost.count(source.shape) <= few:
                    continue
                seen.add(id(source))
                if source.op is Op.BUFFER:
                    loaded += 1
                elif source.op in ELEMENTWISE or source.op in MOVEMENT:
                    stack.append(source)
                elif source.op not in LEAVES:
                    return False
            if work > cost.CHEAP_WORK or loaded > 1:
                return False
        return all(
            self._room(kernel, node)
            and (evaluations(node, positions) - 1) * work <= cost.CHEAP_WORK
            for kernel, positions in reads.items()
        )

    def _from_what_all_read(self, node: Node, reads: dict[Growing, Reads]) -> bool:
        """Whether computing it again beats storing it, since each of the kernels reads all that it is computed of anyway, at the same element.

        So the distribution function of a gelu is not kept for its gradient.
        """
        stack, seen, work = [node], {id(node)}, 0
        while stack:
            current = stack.pop()
            work += cost.work(current)
            if current.op not in ELEMENTWISE or work * (len(reads) - 1) > cost.STORE_WORK:
                return False
            for source in current.src:
                known = id(source) in seen or source.op in NUMBERS
                if not known and not self._read_alike(source, node, reads):
                    stack.append(source)
                seen.add(id(source))
        return all(
            self._room(kernel, node) and evaluations(node, positions) <= 1
            for kernel, positions in reads.items()
        )

    def _read_alike(self, source: Node, node: Node, reads: dict[Growing, Reads]) -> bool:
        """Whether all kernels that read `node` read a source of it at the same elements, or something not placed yet that is computed of it."""
        if source.shape != node.shape:
            return False
        users = [user for user in self.users[id(source)] if user.op in ELEMENTWISE]
        found = [self.reads.get(id(each), {}) for each in (source, *users) if each is not node]
        return all(
            any(kernel in each and positions.keys() <= each[kernel].keys() for each in found)
            for kernel, positions in reads.items()
        )

    def _room(self, kernel: Growing, node: Node) -> bool:
        return (
            not kernel.closed
            and kernel.nodes < cost.KERNEL_NODES
            and kernel.work + cost.work(node) <= cost.KERNEL_WORK
            and len(kernel.inputs) < cost.KERNEL_INPUTS
            and len(kernel.graph.outputs) < cost.KERNEL_OUTPUTS
            and len(kernel.graph.stages) < cost.KERNEL_STAGES
        )


def _sorts(kernel: Growing, node: Node, work: float) -> bool:
    """Whether a node is what a kernel sorts, and too much work for that, since no vector computes it there; or what it merges, which is read several times."""
    for stage in kernel.graph.stages:
        if not isinstance(stage.node.arg, Sort):
            continue
        (keys,) = stage.node.src
        if stage.node.arg.run:
            while keys.op in MOVEMENT:
                keys = keys.src[0]
        if keys is node and (stage.node.arg.run or work > cost.STORE_WORK):
            return True
    return False


def _shape(graph: KernelGraph) -> tuple[Size, ...]:
    return graph.outputs[0].shape if graph.outputs else ()


__all__ = ["Schedule", "contraction", "place", "stored_value"]
