"""Placement: which nodes make a kernel, and where in it each is computed. The one mechanism of fusion.

In: a simplified graph (no GRAD, CALL or STOP). Out: a `Schedule`: kernels in the order they run, and for each root the node whose buffer holds
its value. Nodes are visited from the roots down, so that every reader of a node is placed before it, and the exact positions that they read are
known. Each node is then inlined into its readers (computed where it is read), made a stage of their kernel (computed at a loop into a local
buffer), or stored by a kernel of its own; `cost.py` has the numbers that decide, and every decision leaves its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir import access
from ..ir.access import Position
from ..ir.args import Padding, Reduction, Region, Scan, Scatter, Sort
from ..ir.dim import Size, example
from ..ir.index import ZERO, Index, Quotient, Remainder, Variable, flatten, of
from ..ir.kernel_graph import KernelGraph, Path, Stage
from ..ir.node import Node, postorder
from ..ir.op import ELEMENTWISE, MOVEMENT, Op
from ..ir.verify import verify_order
from . import cost
from .block_kernel import block_kernel
from .block_rewrite import rewritten
from .blocks import find_blocks
from .growing import Growing, finish, label, ordered, results_early
from .reads import (
    LEAVES,
    STAGED,
    Reads,
    agreed,
    batch_axes,
    carried_along,
    cheap_operand,
    common_prefix,
    contraction,
    covers,
    evaluations,
    inlined_reads,
    inner_sizes,
    scattered_position,
    shortened,
    used_variables,
    widened,
)

NUMBERS = LEAVES - {Op.BUFFER}


@dataclass(slots=True)
class Schedule:
    """Kernels in the order they run; `values[i]` is the node whose buffer holds root i (a BUFFER, or a kernel's result)."""

    kernels: list[KernelGraph]
    values: list[Node]


def place(roots: Sequence[Node]) -> Schedule:
    """Partition the graph of `roots` into kernels."""
    return _Placement(rewritten(roots)).run()


def stored_value(node: Node) -> Node:
    """The node whose buffer is also that of `node`: reshaping moves nothing."""
    while node.op is Op.RESHAPE:
        node = node.src[0]
    return node


class _Placement:
    def __init__(self, roots: Sequence[Node]) -> None:
        self.roots = [stored_value(root) for root in roots]
        self.order = postorder(self.roots)
        self.must_store = {id(root) for root in self.roots if root.op is not Op.BUFFER}
        self.users: dict[int, list[Node]] = {}
        for node in self.order:
            for source in node.src:
                self.users.setdefault(id(source), []).append(node)
        self.reads: dict[int, dict[Growing, Reads]] = {}
        self.kernels: list[Growing] = []
        self.writer: dict[int, Growing] = {}
        self.subtree = self._subtree_work()
        self.span = 0
        self.contractions: dict[int, bool] = {}
        self.blocks: dict[int, tuple[Growing, dict[int, tuple[Node, Reads]]]] = {}
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

    def _contraction(self, node: Node) -> bool:
        known = self.contractions.get(id(node))
        if known is None:
            known = self.contractions[id(node)] = contraction(node)
        return known

    def _near(self, node: Node) -> set[int] | None:
        """What is read not far below `node`, and is worth reading once for several results.

        None where there is a contraction, which has a kernel of its own.
        """
        found: set[int] = set()
        pending, seen = [node], {id(node)}
        self.span = size = cost.count(node.shape)
        while pending:
            current = pending.pop()
            self.span = max(self.span, cost.count(current.shape))
            if self._contraction(current) or current.op in (
                Op.SCAN,
                Op.SORT,
                Op.SCATTER,
                Op.GATHER,
            ):
                return None
            if current.op is Op.SHRINK and _halves(current):
                found.add(id(current))  # who reads another part of it shares nothing
                continue
            if current.op is Op.BUFFER and cost.count(current.shape) * cost.SHARED_PART >= size:
                found.add(id(current))
            if len(seen) < cost.NEAR_NODES:
                for source in current.src:
                    if id(source) not in seen:
                        seen.add(id(source))
                        pending.append(source)
        return found

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
        if self.subtree[id(node)] > cost.STORE_WORK and _sorts(kernel, node):
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
        elif again > 0.01 and work > cost.LOCAL_WORK:
            if self._stage(node, kernel, positions):
                return True
            if work > cost.STORE_WORK:
                kernel.graph.reasons.append(
                    f"{label(node)} stored: it would be computed {again + 1:.0f} times"
                )
                return False
        self._inline(node, kernel, positions)
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
            and len(kernel.graph.stages) < cost.KERNEL_STAGES
        )

    # --- stages

    def _stage(self, node: Node, kernel: Growing, positions: Reads, stored: bool = False) -> bool:
        """Compute `node` at a loop of `kernel`, if there is a loop where it is computed once and what it holds fits."""
        graph = kernel.graph
        if (path := carried_along(node, graph, positions)) is not None:
            ((position, _),) = positions.items()
            stage = Stage(node, path, position, (), (), carried=True)
            graph.stages.append(stage)
            self._count(kernel, node)
            self._propagate(node, kernel, position, stage)
            return True
        paths = [path for found in positions.values() for path in found]
        fixed = agreed(positions, len(node.shape))
        if isinstance(node.arg, Scan):
            fixed[node.arg.axis] = None  # it runs along all of its axis
        common = common_prefix(paths)
        prefix = self._prefix(graph, fixed, common)
        if prefix is None:
            prefix = self._reordered(graph, fixed, common)
        if prefix is None:
            prefix, fixed = shortened(fixed, common)
        inside = set(prefix)
        if self._divides(node, graph, inside):
            graph.reasons.append(f"{label(node)} stored: threads divide what is apart")
            return False
        fixed = [i if i is not None and i.variables <= inside else None for i in fixed]
        free_sizes = [n for n, i in zip(node.shape, fixed, strict=True) if i is None and n != 1]
        if any(extent.extent != 1 for extent in inside - used_variables(fixed)):
            return False
        if free_sizes and (
            cost.symbolic(tuple(free_sizes))
            or cost.count(free_sizes) * node.dtype.itemsize > cost.LOCAL_BYTES
        ):
            graph.reasons.append(f"{label(node)} stored: a row of it does not fit in cache")
            return False
        full = all(set(path) <= inside for path in paths)
        if self._contraction(node) and (free_sizes or not full or inside != set(graph.loops)):
            graph.reasons.append(f"{label(node)} stored: a contraction is blocked on its own")
            return False
        if self._contraction(node) and (times := evaluations(node, positions)) > 1.01:
            graph.reasons.append(f"{label(node)} stored: it would be computed {times:.0f} times")
            return False
        if node.op is Op.REDUCE and not free_sizes and (again := self._again(node, prefix)):
            graph.reasons.append(f"{label(node)} stored: it would be computed {again:.0f} times")
            return False
        if not full and not self._row_fits(node, prefix):
            graph.reasons.append(f"{label(node)} stored: what it reads does not fit in cache")
            return False
        if stored and not covers(node, fixed):
            return False
        fixed = [ZERO if n == 1 else i for n, i in zip(node.shape, fixed, strict=True)]
        if self._contraction(node):
            # The loops over matrices come first: those within a matrix are blocked together.
            batch = used_variables([fixed[axis] for axis in batch_axes(node)])
            rest = [v for v in graph.loops if v not in batch]
            self._reorder(graph, (*[v for v in graph.loops if v in batch], *rest))
            prefix = graph.loops
        self._add_stage(node, kernel, prefix, tuple(fixed), stored)
        return True

    def _again(self, node: Node, prefix: Path) -> float:
        """How often each sum is computed by a stage at `prefix`, if storing it costs less (windows that all their elements ask for); or 0."""
        times = cost.count([variable.extent for variable in prefix]) / max(
            cost.count(node.shape), 1
        )
        terms = cost.count(node.src[0].shape) / max(cost.count(node.shape), 1)
        work = (times - 1) * terms * (1 + self.subtree[id(node.src[0])])
        return times if times >= 2 and work > cost.STORE_WORK else 0

    def _divides(self, node: Node, graph: KernelGraph, inside: set[Variable]) -> bool:
        """Whether a stage of `node` keeps threads from dividing much work: its own, or that of the kernel whose loops wait for it."""
        trips = cost.count([v.extent for v in graph.loops if v in inside])
        if trips >= cost.FEW_TRIPS:
            return False
        within = [stage for stage in graph.stages if set(graph.loops) <= set(stage.path)]
        sums = [cost.count([v.extent for v in stage.inner]) for stage in within]
        work = cost.count([v.extent for v in graph.loops]) * max(sums, default=1)
        if graph.loops and work >= cost.DIVIDED_ELEMENTS:
            return True
        return (
            node.op is Op.REDUCE
            and cost.count(node.shape) >= cost.FEW_TRIPS
            and cost.count(node.src[0].shape) >= cost.DIVIDED_ELEMENTS
        )

    def _add_stage(
        self,
        node: Node,
        kernel: Growing,
        prefix: Path,
        fixed: tuple[Index | None, ...],
        stored: bool,
    ) -> None:
        shape = node.src[0].shape if node.op is Op.SORT else node.shape  # it runs over all keys
        sizes = [n for n, i in zip(shape, fixed, strict=True) if i is None]
        free = tuple(kernel.variable(n) for n in sizes)
        inner = tuple(kernel.variable(n) for n in inner_sizes(node))
        stage = Stage(node, prefix, fixed, free, inner)
        kernel.graph.stages.append(stage)
        if stored:
            kernel.graph.stored.append(node)
            self.writer[id(node)] = kernel
        self._count(kernel, node)
        position = stage.position
        self._propagate(node, kernel, position, stage)

    def _propagate(self, node: Node, kernel: Growing, position: Position, stage: Stage) -> None:
        source = node.src[0]
        path = stage.loops
        inner = [of(v) for v in stage.inner]
        match node.op:
            case Op.REDUCE:
                assert isinstance(node.arg, Reduction)
                rest = iter(inner)
                inner_position = tuple(
                    next(rest) if axis in node.arg.axes and source.shape[axis] != 1 else i
                    for axis, i in enumerate(position)
                )
                self._read(source, kernel, inner_position, path)
            case Op.SCAN | Op.SORT:
                self._read(source, kernel, position, path)
            case Op.FOLD:
                inside, _ = access.folded(
                    node, position, access.window_positions(node, stage.inner)
                )
                self._read(source, kernel, inside, path)
            case Op.SCATTER:
                assert isinstance(node.arg, Scatter)
                base, index, value = node.src
                self._read(base, kernel, position, (*stage.path, *stage.free))
                at = tuple(inner)
                at = tuple(ZERO if n == 1 else i for n, i in scattered_position(index.shape, at))
                self._read(index, kernel, at, (*stage.path, *stage.inner))
                self._read(value, kernel, at, (*stage.path, *stage.inner))
            case _:
                for read in inlined_reads(node, position):
                    self._read(read[0], kernel, read[1], path)

    def _prefix(
        self, graph: KernelGraph, fixed: Sequence[Index | None], common: Path
    ) -> Path | None:
        """The shortest run of the outer loops that the fixed indices need, if they need all of it."""
        needed = used_variables(fixed)
        length = 0
        for position, variable in enumerate(common):
            if variable in needed:
                length = position + 1
        prefix = common[:length]
        return prefix if all(v in needed or v.extent == 1 for v in prefix) else None

    def _reordered(
        self, graph: KernelGraph, fixed: Sequence[Index | None], common: Path
    ) -> Path | None:
        """Put the loops that the fixed indices need outermost, where no stage stands in the way."""
        needed = used_variables(fixed)
        root = [v for v in graph.loops if v in needed]
        if not needed <= set(graph.loops) or not set(graph.loops) <= set(common):
            return None
        order = (*root, *[v for v in graph.loops if v not in needed])
        return tuple(root) if self._reorder(graph, order) else None

    def _reorder(self, graph: KernelGraph, order: Path) -> bool:
        """Nest the loops of a kernel in this order; whether no stage stands in the way."""
        for stage in graph.stages:
            outer = {v for v in stage.path if v in graph.loops}
            if set(order[: len(outer)]) != outer:
                return False
        rank = {v: i for i, v in enumerate(order)}

        def sort(path: Path) -> Path:
            outer = sorted((v for v in path if v in rank), key=rank.__getitem__)
            return (*outer, *(v for v in path if v not in rank))

        graph.loops = order
        for stage in graph.stages:
            stage.path = sort(stage.path)
        for kernels in self.reads.values():
            for kernel, positions in kernels.items():
                if kernel.graph is graph:
                    for position, paths in positions.items():
                        positions[position] = {sort(path) for path in paths}
        return True

    def _row_fits(self, node: Node, prefix: Path) -> bool:
        """Whether what one iteration of `prefix` reads for `node` stays in cache until its readers read it again."""
        source = node.src[0]
        iterations = 1
        for variable in prefix:
            iterations *= example(variable.extent)
        return cost.count(source.shape) * source.dtype.itemsize <= cost.ROW_BYTES * iterations

    # --- growing a kernel

    def _new_kernel(self, node: Node) -> None:
        graph = KernelGraph("", (), (), [])
        kernel = Growing(graph, len(self.kernels))
        self.kernels.append(kernel)
        if node.op in (Op.SCAN, Op.SORT, Op.SCATTER):
            assert isinstance(node.arg, (Scan, Sort, Scatter))
            axes = () if node.op is Op.SCATTER else (node.arg.axis,)
            outer: list[Index | None] = []
            path: list[Variable] = []
            for axis, size in enumerate(node.shape):
                if node.op is Op.SCATTER or axis in axes:
                    outer.append(None)
                else:
                    variable = kernel.variable(size)
                    path.append(variable)
                    outer.append(of(variable))
            graph.loops = tuple(path)
            self._add_stage(node, kernel, graph.loops, tuple(outer), stored=True)
            return
        for size in node.shape:
            kernel.size(size)
        graph.loops = tuple(kernel.variable(n) for n in node.shape if n != 1)
        loops = iter(graph.loops)
        graph.position = tuple(ZERO if n == 1 else of(next(loops)) for n in node.shape)
        kernel.near, kernel.span = self._near(node), self.span
        self._add_output(kernel, node)

    def _add_output(self, kernel: Growing, node: Node) -> None:
        """Have `kernel` compute `node` in each iteration of its loops, and store it."""
        graph = kernel.graph
        self.writer[id(node)] = kernel
        graph.outputs.append(node)
        if node.op is Op.ARGUMENT:
            graph.numbers.append(node)
        reads: Reads = {graph.position: {graph.loops}}
        if node.op in STAGED:
            self._add_stage(node, kernel, graph.loops, graph.position, stored=False)
        else:
            self._inline(node, kernel, reads)

    def _inline(self, node: Node, kernel: Growing, positions: Reads) -> None:
        self._count(kernel, node)
        for position, paths in positions.items():
            for source, at in inlined_reads(node, position):
                for path in paths:
                    self._read(source, kernel, at, path)

    def _leaf(self, node: Node, reads: dict[Growing, Reads]) -> None:
        if node.op is Op.ARGUMENT:
            for kernel in reads:
                if node not in kernel.graph.numbers:
                    kernel.graph.numbers.append(node)

    def _read(self, node: Node, kernel: Growing, position: Position, path: Path) -> None:
        reads = self.reads.setdefault(id(node), {}).setdefault(kernel, {})
        reads.setdefault(position, set()).add(path)
        for size in node.shape:
            kernel.size(size)

    def _input(self, kernel: Growing, node: Node) -> None:
        if id(node) not in kernel.inputs:
            kernel.inputs.add(id(node))
            kernel.graph.inputs.append(node)

    def _count(self, kernel: Growing, node: Node) -> None:
        if node.op not in MOVEMENT and cost.count(node.shape) > 1:
            kernel.nodes += 1  # what moves nothing costs nothing, what is one number is computed before the loops
            kernel.work += cost.work(node)
        if isinstance(node.arg, Region):
            for size in node.arg.starts:
                kernel.size(size)
        elif isinstance(node.arg, Padding):
            for size in (*node.arg.before, *node.arg.after):
                kernel.size(size)
        if node.op in ELEMENTWISE or node.op in STAGED:
            kernel.names.append(label(node))

    def _subtree_work(self) -> dict[int, int]:
        """The work of one element of each node when everything below it up to buffers and stages is computed for it."""
        result: dict[int, int] = {}
        for node in self.order:
            if node.op in STAGED or node.op in LEAVES:
                result[id(node)] = 0
                continue
            below = sum(result[id(source)] for source in node.src)
            result[id(node)] = min(below + cost.work(node), cost.KERNEL_WORK)
        return result


def _sorts(kernel: Growing, node: Node) -> bool:
    """Whether a node is what a kernel sorts: no vector computes it there."""
    return any(stage.node.op is Op.SORT and node in stage.node.src for stage in kernel.graph.stages)


def _halves(node: Node) -> bool:
    """Whether a SHRINK takes at most half."""
    return 2 * cost.count(node.shape) <= cost.count(node.src[0].shape)


def _shape(graph: KernelGraph) -> tuple[Size, ...]:
    return graph.outputs[0].shape if graph.outputs else ()


__all__ = ["Schedule", "contraction", "place", "stored_value"]
