"""Lowering: a kernel graph becomes a loop tree.

In: a `KernelGraph`. Out: a KERNEL node of the loop stratum, scalar and serial (its outermost loop over independent results is marked
`parallel`); transforms make it fast afterwards. Every load stands in the innermost loop that its offset depends on; pure values
find their place by the same rule (ir/blocks.py), so nothing is computed again for a loop that it does not depend on.

Here are the loops and the stages in them; what the value of a node at a position is stands in values.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from lazygrad.ir import access, loops
from lazygrad.ir.access import Position
from lazygrad.ir.args import (
    Accumulate,
    ReduceKind,
    Reduction,
    Scan,
    Scatter,
    Sort,
)
from lazygrad.ir.dim import Size, product
from lazygrad.ir.dtype import bool_, int64
from lazygrad.ir.index import (
    ZERO,
    Condition,
    Index,
    Indirect,
    Variable,
    flatten,
    indirect_atoms,
    of,
    unflatten,
)
from lazygrad.ir.kernel_graph import KernelGraph, Path, Stage
from lazygrad.ir.node import Node, constant
from lazygrad.ir.op import Op

from .merging import merged_place
from .reductions import combine, identity
from .sorting import RowSort, row_sort
from .sorting_network import Network, fits
from .values import NO_CONDITION, Conditions, Kind, NotFlat, Scope, Values, run


def lower(graph: KernelGraph, groups: bool = False) -> Node:
    """The loop tree of a kernel. Its params are those of `graph`, in the order that KernelGraph says.

    `groups`: groups of threads sort the rows that they have memory for.
    """
    empty = any(variable.extent == 0 for variable in graph.loops)
    if len(graph.loops) > 1 and not graph.stages and not empty:
        try:
            return _Lowering(graph, True, groups).kernel()
        except NotFlat:
            pass
    return _Lowering(graph, groups=groups).kernel()


class _Lowering(Values):
    """One kernel: its stages in the loops that they belong to, and the results behind them."""

    def __init__(self, graph: KernelGraph, flat: bool = False, groups: bool = False) -> None:
        super().__init__(graph, flat, groups)
        self.root = Scope(None, None)
        self.waiting: dict[Path, list[Stage]] = {}
        self.cleared: dict[Path, list[Stage]] = {}
        self.loops = graph.loops
        self.position = graph.position
        self.ends = {loop: end for stage in graph.stages for loop, end in stage.ends}
        if flat:
            total: Size = 1
            for variable in graph.loops:
                total = total * variable.extent
            single = Variable("i", total)
            shape = graph.outputs[0].shape
            self.loops = (single,)
            self.position = unflatten(of(single), shape)

    def kernel(self) -> Node:
        params = self._parameters()
        for stage in self.graph.stages:
            path = tuple(variable for variable in stage.path if variable.extent != 1)
            self.waiting.setdefault(path, []).append(stage)
            if stage.cleared is not None:
                path = tuple(variable for variable in stage.cleared if variable.extent != 1)
                self.cleared.setdefault(path, []).append(stage)
        self._stages_here(self.root)
        scope = self._descend(self.root, self.loops)
        results = [
            run(self.value(node, self.position, NO_CONDITION, scope)) for node in self.graph.outputs
        ]
        for node, value in zip(self.graph.outputs, results, strict=True):
            offset = self._offset(flatten(self.position, node.shape), scope)
            scope.lines.append(loops.store(self.params[id(node)], offset, value))
        return loops.kernel(self.graph.name, params, self._body(self.root))

    def _parameters(self) -> list[Node]:
        graph = self.graph
        params: list[Node] = []
        for number, node in enumerate(graph.inputs):
            params.append(loops.parameter(f"x{number}", node.dtype, node.shape, "in"))
            self.params[id(node)] = params[-1]
        for number, node in enumerate(graph.numbers):
            params.append(loops.parameter(f"c{number}", node.dtype, (), "number"))
            self.numbers[id(node)] = params[-1]
        for name in graph.dims:
            params.append(loops.parameter(name, int64, (), "dim"))
            self.dims[name] = params[-1]
        for number, node in enumerate(graph.results):
            params.append(loops.parameter(f"y{number}", node.dtype, node.shape, "out"))
            self.params[id(node)] = params[-1]
        return params

    def _body(self, scope: Scope) -> list[Node]:
        """The finished lines of a scope. Recursion is over the depth of the loop nest only."""
        lines: list[Node] = []
        for line in scope.lines:
            if isinstance(line, Node):
                lines.append(line)
                continue
            assert line.variable is not None
            index, extent = self._index(line.variable), self._size(line.variable.extent)
            if line.variable in self.ends:
                extent = self._plain(self.ends[line.variable]).minimum(extent)
            lines.append(loops.loop(index, extent, self._body(line), 1, line.kind))
        return lines

    def _descend(self, scope: Scope, variables: Sequence[Variable], kind: Kind = "serial") -> Scope:
        """Open a loop over each variable; in each, compute first the stages that belong there."""
        for variable in variables:
            if variable.extent == 1:
                continue
            parallel = scope is self.root and variable in self.loops
            inner = Scope(variable, scope, "parallel" if parallel else kind)
            scope.lines.append(inner)
            scope = inner
            self._stages_here(scope)
        return scope

    def _stages_here(self, scope: Scope) -> None:
        for stage in self.cleared.pop(scope.path, ()):
            self._clear(stage, scope)
        for stage in self.waiting.pop(scope.path, ()):
            self._stage(stage, scope)

    def _clear(self, stage: Stage, outer: Scope) -> None:
        """Fill what a stage adds to with zeros."""
        node = stage.node
        again = {
            variable: Variable(f"{variable.name}_zero", variable.extent) for variable in stage.free
        }
        values = {old: of(new) for old, new in again.items()}
        scope = self._descend(outer, tuple(again.values()))
        offset = flatten([index.substitute(values) for index in stage.position], node.shape)
        zero = constant(0, node.dtype)
        scope.lines.append(loops.store(self.params[id(node)], self._offset(offset, scope), zero))

    # --- stages

    def _stage(self, stage: Stage, outer: Scope) -> None:
        node = stage.node
        if stage.carried:
            self._carried(stage, outer)
            return
        buffer, offset, register = self._storage(stage, outer)
        match node.op:
            case Op.REDUCE | Op.FOLD:
                kept: tuple[Node, Index] | None = None
                if stage.keeps is not None:
                    filled, element, _ = self._storage(stage.keeps, outer, "kept")
                    assert filled is not None
                    kept = filled, element
                scope = self._descend(outer, stage.nest)
                value = self._reduce(stage, scope, kept)
                if stage.keeps is not None and kept is not None:
                    self.locals[id(stage.keeps.node)] = stage.keeps, kept[0], outer
                if register:
                    self.memo[("stage", id(node))] = value
                if buffer is not None:
                    place = self._offset(offset, scope)
                    line = loops.store(buffer, place, value)
                    if stage.cleared is not None:
                        line = loops.accumulate(buffer, place, value, "add")
                    scope.lines.append(line)
            case Op.SCAN:
                assert buffer is not None
                self._scan(stage, outer, buffer, offset)
            case Op.SORT:
                assert buffer is not None
                self._sort(stage, outer, buffer)
            case Op.SCATTER:
                assert buffer is not None
                self._scatter(stage, outer, buffer, offset)
            case _:
                assert buffer is not None
                scope = self._descend(outer, stage.nest)
                value = run(self.value(node, stage.position, _inside(stage), scope))
                if register:
                    self.memo[("stage", id(node))] = value
                scope.lines.append(loops.store(buffer, self._offset(offset, scope), value))
        if buffer is not None:
            self.locals[id(node)] = (stage, buffer, outer)

    def _storage(
        self, stage: Stage, outer: Scope, name: str = "t"
    ) -> tuple[Node | None, Index, bool]:
        """Where the stage's results go: the buffer, the offset there, and whether readers can take the value itself."""
        node = stage.node
        if node in self.graph.stored:
            return self.params[id(node)], flatten(stage.position, node.shape), not stage.free
        if not stage.free and node.op in (Op.REDUCE, Op.FOLD):
            return None, ZERO, True
        shape = tuple(variable.extent for variable in stage.nest)
        buffer = loops.local(f"{name}{len(self.locals)}", node.dtype, shape)
        outer.lines.append(buffer)
        return buffer, flatten([of(v) for v in stage.nest], shape), False

    def _reduce(self, stage: Stage, scope: Scope, kept: tuple[Node, Index] | None = None) -> Node:
        """One reduction into a register; the value is what it holds after the loops.

        `kept` is where the elements that it reduces go besides, buffer and offset.
        """
        node = stage.node
        source = node.src[0]
        kind: ReduceKind = "add"
        accumulate = node.dtype
        conditions = _inside(stage)
        if isinstance(node.arg, Reduction):
            kind, accumulate = node.arg.kind, node.arg.accumulate
            rest = iter(stage.summed)
            axes = node.arg.axes
            at = tuple(
                next(rest) if axis in axes and source.shape[axis] != 1 else index
                for axis, index in enumerate(stage.position)
            )
        else:
            at, needed = access.folded(
                node, stage.position, access.window_positions(node, stage.inner)
            )
            conditions |= frozenset(needed)
        total = loops.local(f"r{self._count('r')}", accumulate)
        scope.lines.append(total)
        scope.lines.append(loops.store(total, 0, identity(kind, accumulate)))
        inner = self._descend(scope, stage.inner)
        value = run(self.value(source, at, conditions, inner))
        if kept is not None:
            inner.lines.append(loops.store(kept[0], self._offset(kept[1], inner), value))
        value = value.cast(accumulate)
        src: tuple[Node, ...] = (total, constant(0, int64), value)
        mask = run(self._mask(conditions, inner))
        if mask is not None:
            src = (*src, mask)
        inner.lines.append(Node(Op.ACCUMULATE, src, bool_, (), Accumulate(kind)))
        result = loops.load(total, 0)
        scope.lines.append(result)
        return result.cast(node.dtype)

    def _scan(self, stage: Stage, outer: Scope, buffer: Node, offset: Index) -> None:
        node = stage.node
        assert isinstance(node.arg, Scan)
        along = stage.scanned
        scope = self._descend(outer, [variable for variable in stage.free if variable is not along])
        total = loops.local(f"r{self._count('r')}", node.arg.accumulate)
        scope.lines.append(total)
        scope.lines.append(loops.store(total, 0, identity(node.arg.kind, node.arg.accumulate)))
        inner = self._descend(scope, [along])
        value = run(self.value(node.src[0], stage.position, _inside(stage), inner))
        before = loops.load(total, 0)
        inner.lines.append(before)
        after = combine(node.arg.kind, before, value.cast(node.arg.accumulate))
        inner.lines.append(loops.store(total, 0, after))
        inner.lines.append(loops.store(buffer, self._offset(offset, inner), after.cast(node.dtype)))

    def _carried(self, stage: Stage, scope: Scope) -> None:
        """One step of a scan in each iteration of the loop that reads it; before the loop it is what a scan starts from."""
        node = stage.node
        assert isinstance(node.arg, Scan) and scope.parent is not None
        total = loops.local(f"r{self._count('r')}", node.arg.accumulate)
        scope.hoist(total, scope.parent)
        scope.hoist(
            loops.store(total, 0, identity(node.arg.kind, node.arg.accumulate)), scope.parent
        )
        value = run(self.value(node.src[0], stage.position, _inside(stage), scope))
        before = loops.load(total, 0)
        scope.lines.append(before)
        after = combine(node.arg.kind, before, value.cast(node.arg.accumulate))
        scope.lines.append(loops.store(total, 0, after))
        self.memo[("stage", id(node))] = after.cast(node.dtype)

    def _sort(self, stage: Stage, outer: Scope, buffer: Node) -> None:
        node, along = stage.node, stage.scanned
        assert isinstance(node.arg, Sort) and isinstance(along.extent, int)
        scope = self._descend(outer, [variable for variable in stage.free if variable is not along])
        if node.arg.run:
            self._merge(stage, scope, buffer)
            return
        count = node.shape[node.arg.axis]
        assert isinstance(count, int)
        size, bits, start = along.extent, node.arg.bits, node.arg.first
        shared = self.groups and fits(size)
        row: RowSort = (
            Network(size, bits, start, count)
            if shared
            else row_sort(node.src[0].dtype, size, bits, start, count)
        )
        scope.lines.extend(row.before)
        inner = self._descend(scope, [along], "threads" if shared else "serial")
        key = run(self.value(node.src[0], stage.position, NO_CONDITION, inner))
        if node.arg.bits < key.dtype.bits:
            key = key & ((1 << node.arg.bits) - 1)
        inner.lines.extend(row.keep(self._index(along), key))
        position = list(stage.position)
        position[node.arg.axis] = ZERO
        first = self._offset(flatten(position, node.shape), scope)
        step = self._size(product(node.shape[node.arg.axis + 1 :]))

        def result(place: Node, value: Node, mask: Node | None) -> Node:
            return loops.store(buffer, first + place * step, value, mask)

        scope.lines.extend(row.after(result))

    def _merge(self, stage: Stage, outer: Scope, buffer: Node) -> None:
        """A row of two runs: each element of the result on its own."""
        node, along = stage.node, stage.scanned
        assert isinstance(node.arg, Sort) and isinstance(along.extent, int)
        axis, first = node.arg.axis, node.arg.first
        each = Variable(f"{along.name}_ordered", node.shape[axis])
        scope = self._descend(outer, [each], "parallel")

        def at(index: Index) -> Position:
            return (*stage.position[:axis], index, *stage.position[axis + 1 :])

        def read(place: Node) -> tuple[list[Node], Node]:
            variable = Variable(f"{along.name}_read{self._count('read')}", along.extent)
            self.indices[variable] = place
            block, memo = Scope(None, None), self.memo
            self.memo = dict(memo)  # what is read here is known only here
            key = run(self.value(node.src[0], at(of(variable)), NO_CONDITION, block))
            self.memo = memo
            return self._body(block), key

        number = self._plain(of(each)) + first
        lines, place = merged_place(number, along.extent, node.arg.run, read)
        scope.lines.extend(lines)
        offset = self._offset(flatten(at(of(each)), node.shape), scope)
        scope.lines.append(loops.store(buffer, offset, place))

    def _scatter(self, stage: Stage, outer: Scope, buffer: Node, offset: Index) -> None:
        """Copy the base, then meet it with each value in the order of the index."""
        node = stage.node
        assert isinstance(node.arg, Scatter)
        base, index, value = node.src
        scope = self._descend(outer, stage.free)
        start = run(self.value(base, stage.position, NO_CONDITION, scope))
        scope.lines.append(loops.store(buffer, self._offset(offset, scope), start))
        scope = self._descend(outer, stage.inner)
        rest = iter(stage.inner)
        own = [each for each in stage.fixed if each is not None]
        at = (*own, *[ZERO if n == 1 else of(next(rest)) for n in index.shape[len(own) :]])
        target = list(at)
        axis = node.arg.axis
        target[axis] = Index(((Indirect(index, at, base.shape[axis]), 1),), 0)
        new = run(self.value(value, at, NO_CONDITION, scope))
        where_to = self._offset(flatten(target, base.shape), scope)
        if node.arg.kind != "set":
            old = loops.load(buffer, where_to)
            scope.lines.append(old)
            new = combine(node.arg.kind, old, new)
        scope.lines.append(loops.store(buffer, where_to, new))


def _inside(stage: Stage) -> Conditions:
    """What keeps the place of a stage inside its node, and that of the indices it is found by inside theirs.

    A stage that is read through a PAD is computed for the padding too.
    """
    places = list(zip(stage.position, stage.node.shape, strict=True))
    for position in stage.position:
        for atom in indirect_atoms(position):
            places += zip(atom.position, atom.node.shape, strict=True)
    inside = (Condition(position, 0, size) for position, size in places)
    return frozenset(condition for condition in inside if not condition.certain)


__all__ = ["lower"]
