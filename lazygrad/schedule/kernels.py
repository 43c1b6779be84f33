"""How a node comes into a kernel: computed where it is read, at a loop into a local buffer (a stage), or as a result.

In: nodes that placement has decided about, and the positions at which kernels read them. Out: kernels that have grown, and the positions
at which they read the sources of those nodes. A stage stands at the outermost loop where it is computed once and what it holds fits in cache;
loops of a kernel may be put in another order for that.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import access
from ..ir.access import Position
from ..ir.args import Padding, Reduction, Region, Scan, Scatter, Sort
from ..ir.dim import example
from ..ir.index import ZERO, Index, Variable, of
from ..ir.kernel_graph import KernelGraph, Path, Stage
from ..ir.node import Node
from ..ir.op import ELEMENTWISE, MOVEMENT, Op
from . import cost
from .growing import Growing, label
from .reads import (
    LEAVES,
    STAGED,
    Reads,
    agreed,
    batch_axes,
    carried_along,
    common_prefix,
    contraction,
    covers,
    evaluations,
    inlined_reads,
    inner_sizes,
    rows_apart,
    scattered_position,
    shortened,
    used_variables,
)


class Kernels:
    """The kernels of a graph while they are made, who reads what at which positions, and who writes it."""

    def __init__(self, order: Sequence[Node], machine: cost.Machine) -> None:
        self.order = order
        self.machine = machine
        self.reads: dict[int, dict[Growing, Reads]] = {}
        self.kernels: list[Growing] = []
        self.writer: dict[int, Growing] = {}
        self.subtree = self._subtree_work()
        self.span = 0
        self.contractions: dict[int, bool] = {}

    # --- stages

    def _stage(self, node: Node, kernel: Growing, positions: Reads, stored: bool = False) -> bool:
        """Compute `node` at a loop of `kernel`, if there is a loop where it is computed once and what it holds fits."""
        graph = kernel.graph
        scatters = any(stage.node.op is Op.SCATTER for stage in graph.stages)
        if self.machine.grid and node.op is Op.SCAN and scatters:
            graph.reasons.append(f"{label(node)} stored: threads divide it, and what is scattered")
            return False
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
            needed = used_variables(fixed)
            if self.machine.grid and self._divides(node, graph, needed):
                graph.reasons.append(f"{label(node)} stored: threads divide what is apart")
                return False
            if self._strides(graph, needed):
                graph.reasons.append(f"{label(node)} stored: threads would read far apart")
                return False
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
            or cost.count(free_sizes) * node.dtype.itemsize > self.machine.local_bytes
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
        machine = self.machine
        trips = cost.count([v.extent for v in graph.loops if v in inside])
        within = [stage for stage in graph.stages if set(graph.loops) <= set(stage.path)]
        sums = cost.count(node.shape) if node.op is Op.REDUCE else 0
        large = sums > 0 and cost.count(node.src[0].shape) >= cost.DIVIDED_ELEMENTS
        if machine.grid and any(stage.node.op is Op.SCAN for stage in within):
            if not inside.issuperset(graph.loops):
                return True  # what parts of a row wait for
            if large and sums > trips:
                return True  # the sums of parts
        if large and sums >= 2 * trips and trips < machine.many_trips:
            return True
        if trips >= machine.few_trips:
            return False
        much = max(cost.DIVIDED_ELEMENTS, trips * machine.trip_elements)
        waits = not inside.issuperset(graph.loops) if machine.grid else bool(graph.loops)
        if waits and _work(graph) >= much:
            return True
        return sums >= machine.few_trips and cost.count(node.src[0].shape) >= much

    def _strides(self, graph: KernelGraph, needed: set[Variable]) -> bool:
        """Whether neighbouring threads would be far apart in memory, for much work, if a stage stood in the loops that are `needed`."""
        machine = self.machine
        if not machine.grid or not graph.loops or graph.loops[-1] not in needed:
            return False
        trips = cost.count([v.extent for v in graph.loops if v in needed])
        return trips < machine.many_trips and _work(graph) >= machine.order_elements

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
                at = scattered_position(index.shape, position[: rows_apart(node)], inner)
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
            apart = [axis != node.arg.axis for axis in range(len(node.shape))]
            if node.op is Op.SCATTER:
                apart = [axis < rows_apart(node) for axis in range(len(node.shape))]
            outer: list[Index | None] = []
            path: list[Variable] = []
            for size, alone in zip(node.shape, apart, strict=True):
                if not alone:
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

    # --- what is near

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


def _work(graph: KernelGraph) -> int:
    """How many elements a kernel computes, or sums in all of its loops."""
    within = [stage for stage in graph.stages if set(graph.loops) <= set(stage.path)]
    terms = [cost.count([v.extent for v in stage.inner]) for stage in within]
    return cost.count([v.extent for v in graph.loops]) * max(terms, default=1)


def _halves(node: Node) -> bool:
    """Whether a SHRINK takes at most half."""
    return 2 * cost.count(node.shape) <= cost.count(node.src[0].shape)
