"""Placement: which nodes make a kernel, and where in it each is computed. The one mechanism of fusion.

In: a simplified graph (no GRAD, CALL or STOP). Out: a `Schedule`: kernels in the order they run, and for each root the node whose buffer holds
its value. Nodes are visited from the roots down, so that every reader of a node is placed before it, and the exact positions that they read are
known. Each node is then inlined into its readers (computed where it is read), made a stage of their kernel (computed at a loop into a local
buffer), or stored by a kernel of its own; `cost.py` has the numbers that decide, and every decision leaves its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..ir import access
from ..ir.access import Position
from ..ir.args import Padding, Reduction, Region, Scan, Scatter, Windows
from ..ir.dim import Size, UndecidedError, example
from ..ir.index import ZERO, Index, Variable, of
from ..ir.kernel_graph import KernelGraph, Path, Stage
from ..ir.node import Node, postorder
from ..ir.op import ELEMENTWISE, MOVEMENT, Op
from . import cost

LEAVES = frozenset((Op.CONST, Op.ARGUMENT, Op.BUFFER, Op.IOTA))
STAGED = frozenset((Op.REDUCE, Op.SCAN, Op.FOLD, Op.SCATTER))
"""Operations with loops of their own."""


@dataclass(slots=True)
class Schedule:
    """Kernels in the order they run; `values[i]` is the node whose buffer holds root i (a BUFFER, or a kernel's result)."""

    kernels: list[KernelGraph]
    values: list[Node]


def place(roots: Sequence[Node]) -> Schedule:
    """Partition the graph of `roots` into kernels."""
    return _Placement(roots).run()


def stored_value(node: Node) -> Node:
    """The node whose buffer is also that of `node`: reshaping moves nothing."""
    while node.op is Op.RESHAPE:
        node = node.src[0]
    return node


@dataclass(slots=True, eq=False)
class _Growing:
    """A kernel while nodes are added to it."""

    graph: KernelGraph
    order: int
    nodes: int = 0
    work: int = 0
    inputs: set[int] = field(default_factory=set)
    names: list[str] = field(default_factory=list)
    variables: int = 0
    dims: set[str] = field(default_factory=set)

    def size(self, size: Size) -> None:
        """Note the dim variables of a size that the kernel may compute with."""
        if not isinstance(size, int):
            self.dims.update(variable.name for variable in size.variables)

    def variable(self, extent: Size) -> Variable:
        """A new loop variable."""
        self.variables += 1
        letters = "ijklmnpquvwxyz"
        number = self.variables - 1
        suffix = str(number // len(letters)) if number >= len(letters) else ""
        return Variable(letters[number % len(letters)] + suffix, extent)


Reads = dict[Position, set[Path]]
"""The positions at which one kernel reads a node, and the loops around each read."""


class _Placement:
    def __init__(self, roots: Sequence[Node]) -> None:
        self.roots = [stored_value(root) for root in roots]
        self.order = postorder(self.roots)
        self.must_store = {id(root) for root in self.roots if root.op is not Op.BUFFER}
        self.reads: dict[int, dict[_Growing, Reads]] = {}
        self.kernels: list[_Growing] = []
        self.writer: dict[int, _Growing] = {}
        self.subtree = self._subtree_work()

    def run(self) -> Schedule:
        for node in reversed(self.order):
            reads = self.reads.pop(id(node), {})
            if node.op is Op.BUFFER:
                for kernel in reads:
                    self._input(kernel, node)
            elif id(node) in self.must_store:
                self._store(node, reads)
            elif node.op in LEAVES:
                self._leaf(node, reads)
            elif node.op in MOVEMENT or node.op is Op.COPY:
                for kernel, positions in reads.items():
                    self._inline(node, kernel, positions)
            elif reads:
                self._place(node, reads)
        self.kernels.reverse()
        for kernel in self.kernels:
            _finish(kernel)
        return Schedule(_ordered([kernel.graph for kernel in self.kernels]), self.roots)

    # --- decisions

    def _place(self, node: Node, reads: dict[_Growing, Reads]) -> None:
        if len(reads) == 1:
            ((kernel, positions),) = reads.items()
            if self._fuse(node, kernel, positions):
                return
            self._store(node, reads)
            return
        if self._cheap_everywhere(node, reads):
            for kernel, positions in reads.items():
                self._inline(node, kernel, positions)
            return
        self._store(node, reads)

    def _store(self, node: Node, reads: dict[_Growing, Reads]) -> None:
        """Give `node` memory: as one more result of a reader, where that costs nothing, or from a kernel of its own."""
        for kernel, positions in reads.items():
            others = [other for other in reads if other is not kernel]
            if self._room(kernel, node) and not self._depends(kernel, others):
                if self._join(node, kernel, positions):
                    reads = {other: reads[other] for other in others}
                    break
        else:
            self._new_kernel(node)
        for kernel in reads:
            self._input(kernel, node)

    def _join(self, node: Node, kernel: _Growing, positions: Reads) -> bool:
        """Make `node` one more result of `kernel`, which reads it."""
        graph = kernel.graph
        if node.op is Op.REDUCE:
            return not contraction(node) and self._stage(node, kernel, positions, stored=True)
        if node.op not in ELEMENTWISE or node.shape != _shape(graph):
            return False
        if set(positions) != {graph.position}:
            return False
        graph.outputs.append(node)
        self.writer[id(node)] = kernel
        self._inline(node, kernel, positions)
        return True

    def _depends(self, kernel: _Growing, others: Sequence[_Growing]) -> bool:
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

    def _fuse(self, node: Node, kernel: _Growing, positions: Reads) -> bool:
        if not self._room(kernel, node):
            kernel.graph.reasons.append(f"{_label(node)} stored: the kernel is full")
            return False
        if node.op is Op.SCATTER or node.op is Op.EXTERN:
            return False
        if node.op in STAGED:
            return self._stage(node, kernel, positions)
        again = _evaluations(node, positions) - 1
        work = again * self.subtree[id(node)]
        if again > 0.01 and self._feeds_contraction(kernel, positions):
            if work > cost.LOCAL_WORK and not _cheap_operand(node):
                kernel.graph.reasons.append(
                    f"{_label(node)} stored: a contraction would compute it {again + 1:.0f} times"
                )
                return False
        elif again > 0.01 and work > cost.LOCAL_WORK:
            if self._stage(node, kernel, positions):
                return True
            if work > cost.STORE_WORK:
                kernel.graph.reasons.append(
                    f"{_label(node)} stored: it would be computed {again + 1:.0f} times"
                )
                return False
        self._inline(node, kernel, positions)
        return True

    def _feeds_contraction(self, kernel: _Growing, positions: Reads) -> bool:
        last = {path[-1] for paths in positions.values() for path in paths if path}
        return any(
            last.intersection(stage.inner) and contraction(stage.node)
            for stage in kernel.graph.stages
        )

    def _cheap_everywhere(self, node: Node, reads: dict[_Growing, Reads]) -> bool:
        """Whether computing it again in each kernel beats storing it: little work on at most one loaded value."""
        if node.op not in ELEMENTWISE or self.subtree[id(node)] > 4:
            return False
        loaded = 0
        pending = list(node.src)
        while pending:
            source = pending.pop()
            if source.op in (Op.BUFFER,):
                loaded += 1
            elif source.op in ELEMENTWISE or source.op in MOVEMENT:
                pending.extend(source.src)
            elif source.op not in LEAVES:
                return False
        return loaded <= 1 and all(
            self._room(kernel, node) and _evaluations(node, positions) <= 2
            for kernel, positions in reads.items()
        )

    def _room(self, kernel: _Growing, node: Node) -> bool:
        return (
            kernel.nodes < cost.KERNEL_NODES
            and kernel.work + cost.work(node) <= cost.KERNEL_WORK
            and len(kernel.inputs) < cost.KERNEL_INPUTS
            and len(kernel.graph.stages) < cost.KERNEL_STAGES
        )

    # --- stages

    def _stage(self, node: Node, kernel: _Growing, positions: Reads, stored: bool = False) -> bool:
        """Compute `node` at a loop of `kernel`, if there is a loop where it is computed once and what it holds fits."""
        graph = kernel.graph
        paths = [path for found in positions.values() for path in found]
        fixed = _agreed(positions, len(node.shape))
        if isinstance(node.arg, Scan):
            fixed[node.arg.axis] = None  # it runs along all of its axis
        common = _common_prefix(paths)
        prefix = self._prefix(graph, fixed, common)
        if prefix is None:
            prefix = self._reordered(graph, fixed, common)
        if prefix is None:
            prefix, fixed = _shortened(fixed, common)
        inside = set(prefix)
        fixed = [i if i is not None and i.variables <= inside else None for i in fixed]
        free_sizes = [n for n, i in zip(node.shape, fixed, strict=True) if i is None and n != 1]
        if any(extent.extent != 1 for extent in inside - _used(fixed)):
            return False
        if free_sizes and (
            cost.symbolic(tuple(free_sizes))
            or cost.count(free_sizes) * node.dtype.itemsize > cost.LOCAL_BYTES
        ):
            graph.reasons.append(f"{_label(node)} stored: a row of it does not fit in cache")
            return False
        full = all(set(path) <= inside for path in paths)
        if contraction(node) and (free_sizes or not full or inside != set(graph.loops)):
            graph.reasons.append(f"{_label(node)} stored: a contraction is blocked on its own")
            return False
        if not full and not self._row_fits(node, prefix):
            graph.reasons.append(f"{_label(node)} stored: what it reads does not fit in cache")
            return False
        if stored and not _covers(node, fixed):
            return False
        fixed = [ZERO if n == 1 else i for n, i in zip(node.shape, fixed, strict=True)]
        self._add_stage(node, kernel, prefix, tuple(fixed), stored)
        return True

    def _add_stage(
        self,
        node: Node,
        kernel: _Growing,
        prefix: Path,
        fixed: tuple[Index | None, ...],
        stored: bool,
    ) -> None:
        sizes = [n for n, i in zip(node.shape, fixed, strict=True) if i is None]
        free = tuple(kernel.variable(n) for n in sizes)
        inner = tuple(kernel.variable(n) for n in _inner_sizes(node))
        stage = Stage(node, prefix, fixed, free, inner)
        kernel.graph.stages.append(stage)
        if stored:
            kernel.graph.stored.append(node)
            self.writer[id(node)] = kernel
        self._count(kernel, node)
        position = stage.position
        self._propagate(node, kernel, position, stage)

    def _propagate(self, node: Node, kernel: _Growing, position: Position, stage: Stage) -> None:
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
            case Op.SCAN:
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
                at = tuple(ZERO if n == 1 else i for n, i in _zip_inner(index.shape, at))
                self._read(index, kernel, at, (*stage.path, *stage.inner))
                self._read(value, kernel, at, (*stage.path, *stage.inner))
            case _:
                for read in inlined_reads(node, position):
                    self._read(read[0], kernel, read[1], path)

    def _prefix(
        self, graph: KernelGraph, fixed: Sequence[Index | None], common: Path
    ) -> Path | None:
        """The shortest run of the outer loops that the fixed indices need, if they need all of it."""
        needed = _used(fixed)
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
        needed = _used(fixed)
        root = [v for v in graph.loops if v in needed]
        if not needed <= set(graph.loops) or not set(graph.loops) <= set(common):
            return None
        order = tuple(root + [v for v in graph.loops if v not in needed])
        for stage in graph.stages:
            outer = {v for v in stage.path if v in graph.loops}
            if set(order[: len(outer)]) != outer:
                return None
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
        return tuple(root)

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
        kernel = _Growing(graph, len(self.kernels))
        self.kernels.append(kernel)
        if node.op in (Op.SCAN, Op.SCATTER):
            assert isinstance(node.arg, (Scan, Scatter))
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
        self.writer[id(node)] = kernel
        for size in node.shape:
            kernel.size(size)
        loops = tuple(kernel.variable(n) for n in node.shape)
        graph.loops = tuple(v for v in loops if v.extent != 1)
        graph.position = tuple(of(v) for v in loops)
        graph.outputs.append(node)
        if node.op is Op.ARGUMENT:
            graph.numbers.append(node)
        reads: Reads = {graph.position: {graph.loops}}
        if node.op in STAGED:
            self._add_stage(node, kernel, graph.loops, graph.position, stored=False)
        else:
            self._inline(node, kernel, reads)

    def _inline(self, node: Node, kernel: _Growing, positions: Reads) -> None:
        self._count(kernel, node)
        for position, paths in positions.items():
            for source, at in inlined_reads(node, position):
                for path in paths:
                    self._read(source, kernel, at, path)

    def _leaf(self, node: Node, reads: dict[_Growing, Reads]) -> None:
        if node.op is Op.ARGUMENT:
            for kernel in reads:
                if node not in kernel.graph.numbers:
                    kernel.graph.numbers.append(node)

    def _read(self, node: Node, kernel: _Growing, position: Position, path: Path) -> None:
        reads = self.reads.setdefault(id(node), {}).setdefault(kernel, {})
        reads.setdefault(position, set()).add(path)
        for size in node.shape:
            kernel.size(size)

    def _input(self, kernel: _Growing, node: Node) -> None:
        if id(node) not in kernel.inputs:
            kernel.inputs.add(id(node))
            kernel.graph.inputs.append(node)

    def _count(self, kernel: _Growing, node: Node) -> None:
        kernel.nodes += 1
        kernel.work += cost.work(node)
        if isinstance(node.arg, Region):
            for size in node.arg.starts:
                kernel.size(size)
        elif isinstance(node.arg, Padding):
            for size in (*node.arg.before, *node.arg.after):
                kernel.size(size)
        if node.op in ELEMENTWISE or node.op in STAGED:
            kernel.names.append(_label(node))

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


def inlined_reads(node: Node, position: Position) -> list[tuple[Node, Position]]:
    """The nodes, and the positions in them, that one element of an inlined node reads."""
    if node.op in ELEMENTWISE:
        return [(source, position) for source in node.src]
    if node.op is Op.GATHER:
        return [(node.src[1], position), (node.src[0], access.gathered(node, position))]
    if node.op is Op.UPDATE:
        inside, _ = access.region(node, position)
        return [(node.src[0], position), (node.src[1], inside)]
    if node.op in LEAVES:
        return []
    return [(node.src[0], access.source_position(node, position)[0])]


def contraction(node: Node) -> bool:
    """Whether it is a sum of products in which both factors are read again for other results (a matmul, a convolution)."""
    if node.op is not Op.REDUCE or not isinstance(node.arg, Reduction) or node.arg.kind != "add":
        return False
    source = node.src[0]
    while source.op is Op.CAST or (source.op is Op.RESHAPE and source.src[0].op is Op.MUL):
        source = source.src[0]
    if source.op is not Op.MUL:
        return False
    variables = [Variable(f"c{axis}", n) for axis, n in enumerate(source.shape)]
    position = tuple(of(v) for v in variables)
    reads: list[frozenset[Variable]] = []
    for factor in source.src:
        at = position
        while factor.op in MOVEMENT or factor.op is Op.CAST:
            if factor.op is not Op.CAST:
                at = access.source_position(factor, at)[0]
            factor = factor.src[0]
        used: frozenset[Variable] = frozenset()
        for index in at:
            used |= index.variables
        reads.append(used)
    kept = {v for v in variables if v.extent != 1}
    return bool(kept - reads[0]) and bool(kept - reads[1])


def _cheap_operand(node: Node) -> bool:
    """Whether it is at most two cheap operations on one value: computed again in registers, it costs a contraction little."""
    for _ in range(2):
        if cost.work(node) > 1 or node.op not in ELEMENTWISE:
            return False
        sources = [source for source in node.src if source.op not in (Op.CONST, Op.ARGUMENT)]
        if len(sources) != 1:
            return False
        node = sources[0]
    return node.op not in ELEMENTWISE


def _inner_sizes(node: Node) -> list[Size]:
    """The extents of the loops that a stage runs beside those over its own axes."""
    if isinstance(node.arg, Reduction):
        return [node.src[0].shape[a] for a in node.arg.axes if node.src[0].shape[a] != 1]
    if isinstance(node.arg, Windows) and node.op is Op.FOLD:
        return [n for n in node.arg.sizes if n != 1]
    if node.op is Op.SCATTER:
        return [n for n in node.src[1].shape if n != 1]
    return []


def _zip_inner(shape: Sequence[Size], inner: Sequence[Index]) -> list[tuple[Size, Index]]:
    rest = iter(inner)
    return [(n, ZERO if n == 1 else next(rest)) for n in shape]


def _agreed(positions: Reads, rank: int) -> list[Index | None]:
    """The index on each axis that all readers share; None where they differ."""
    found = list(positions)
    return [
        found[0][axis] if all(p[axis] == found[0][axis] for p in found[1:]) else None
        for axis in range(rank)
    ]


def _common_prefix(paths: Sequence[Path]) -> Path:
    first = paths[0]
    length = min(len(path) for path in paths)
    for depth in range(length):
        if any(path[depth] != first[depth] for path in paths):
            return first[:depth]
    return first[:length]


def _shortened(fixed: Sequence[Index | None], common: Path) -> tuple[Path, list[Index | None]]:
    """Give up fixing the axes that need more than the loops at the front; those are then computed whole."""
    needed = _used(fixed)
    length = 0
    while length < len(common) and (common[length] in needed or common[length].extent == 1):
        length += 1
    prefix = common[:length]
    inside = set(prefix)
    kept = [i if i is not None and i.variables <= inside else None for i in fixed]
    used = _used(kept)
    while prefix and prefix[-1] not in used:
        prefix = prefix[:-1]
    return prefix, kept


def _used(fixed: Sequence[Index | None]) -> set[Variable]:
    used: set[Variable] = set()
    for index in fixed:
        if index is not None:
            used |= index.variables
    return used


def _covers(node: Node, fixed: Sequence[Index | None]) -> bool:
    """Whether the loops reach each element of `node` exactly once."""
    seen: set[Variable] = set()
    for size, index in zip(node.shape, fixed, strict=True):
        if index is None or size == 1:
            continue
        if len(index.variables) != 1:
            return False
        (variable,) = index.variables
        if index != of(variable) or variable.extent != size or variable in seen:
            return False
        seen.add(variable)
    return True


def _evaluations(node: Node, positions: Reads) -> float:
    """How often each element is computed when `node` is inlined: loops that a read does not depend on cost nothing inside."""
    total = 0
    for position, paths in positions.items():
        used: set[Variable] = set()
        for index in position:
            used |= index.variables
        nests = set()
        for path in paths:
            depth = max((d + 1 for d, v in enumerate(path) if v in used), default=0)
            nests.add(path[:depth])
        for nest in nests:
            count = 1
            for variable in nest:
                count *= example(variable.extent)
            total += count
    return total / max(cost.count(node.shape), 1)


def _shape(graph: KernelGraph) -> tuple[Size, ...]:
    return graph.outputs[0].shape if graph.outputs else ()


def _label(node: Node) -> str:
    if isinstance(node.arg, Reduction):
        return "matmul" if contraction(node) else {"add": "sum"}.get(node.arg.kind, node.arg.kind)
    return node.op.name.lower()


def _finish(kernel: _Growing) -> None:
    """Order the stages, name the kernel, and list the dims it needs."""
    graph = kernel.graph
    graph.stages.reverse()  # found from the readers down; they run from the sources up
    names = [name for name in reversed(kernel.names) if name not in ("cast", "where")]
    short = names if len(names) <= 4 else [*names[:2], *names[-2:]]
    graph.name = "_".join(short) or graph.results[0].op.name.lower()
    for extent in [v.extent for stage in graph.stages for v in stage.loops]:
        kernel.size(extent)
    graph.dims = sorted(kernel.dims)


def _ordered(kernels: list[KernelGraph]) -> list[KernelGraph]:
    """The kernels so that each runs after those whose results it reads; otherwise as they stand."""
    writer = {id(node): kernel for kernel in kernels for node in kernel.results}
    done: set[int] = set()
    result: list[KernelGraph] = []
    for first in kernels:
        stack = [first]
        while stack:
            kernel = stack[-1]
            if id(kernel) in done:
                stack.pop()
                continue
            before = [
                writer[id(node)]
                for node in kernel.inputs
                if id(node) in writer and id(writer[id(node)]) not in done
            ]
            if before:
                stack.extend(before)
                continue
            done.add(id(kernel))
            result.append(kernel)
            stack.pop()
    return result


__all__ = ["Schedule", "UndecidedError", "contraction", "inlined_reads", "place", "stored_value"]
