"""Lowering: a kernel graph becomes a loop tree.

In: a `KernelGraph`. Out: a KERNEL node of the loop stratum, scalar and serial (its outermost loop over independent results is marked
`parallel`); transforms make it fast afterwards. Every load stands in the innermost loop that its offset depends on; pure values
find their place by the same rule (ir/blocks.py), so nothing is computed again for a loop that it does not depend on.

The value of a node at a position is found by mutually recursive rules, written as generators that a small driver runs, so that
expressions of any depth lower under any recursion limit.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from functools import partial
from typing import Any, Literal

from lazygrad.ir import access, loops
from lazygrad.ir.access import Position
from lazygrad.ir.args import (
    Accumulate,
    Axis,
    Constant,
    Padding,
    ReduceKind,
    Reduction,
    Scan,
    ScanKind,
    Scatter,
    Sort,
)
from lazygrad.ir.dim import Dim, Size, product
from lazygrad.ir.dtype import DType, bool_, int64
from lazygrad.ir.index import (
    ZERO,
    Condition,
    Index,
    Indirect,
    Quotient,
    Remainder,
    Variable,
    conjunction,
    emit,
    flatten,
    indirect_atoms,
    load_depth,
    of,
    unflatten,
)
from lazygrad.ir.kernel_graph import KernelGraph, Path, Stage
from lazygrad.ir.node import Node, constant, unary, where
from lazygrad.ir.op import ELEMENTWISE, MOVEMENT, Op

from .sorting import row_sort

Conditions = frozenset[Condition]
NO_CONDITION: Conditions = frozenset()
Step = Generator["Step", Node, Node]
"""A computation of a value: it yields the computations that it waits for, and is sent their values."""


class _NotFlat(Exception):
    """A kernel that was tried with one loop over all elements needs its axes."""


class _Scope:
    """One loop while its body is written; the root scope is the kernel itself. Lines are only ever added at the end, or just before
    the loop at the end."""

    def __init__(
        self, variable: Variable | None, parent: _Scope | None, parallel: bool = False
    ) -> None:
        self.variable = variable
        self.parent = parent
        self.parallel = parallel
        self.lines: list[Node | _Scope] = []
        self.depth: int = parent.depth + 1 if parent else 0
        self.path: Path = () if parent is None or variable is None else (*parent.path, variable)

    def hoist(self, line: Node, target: _Scope) -> None:
        """Add a line in `target`, this scope or one around it, before the loop there that leads here."""
        position = len(target.lines) - (target is not self)
        target.lines.insert(position, line)

    def around(self, variables: frozenset[Variable], least: int = 0) -> _Scope:
        """The outermost scope inside all the loops of `variables`, at depth `least` or deeper."""
        scope = self
        while scope.parent is not None and scope.depth > least and scope.variable not in variables:
            scope = scope.parent
        return scope


def lower(graph: KernelGraph) -> Node:
    """The loop tree of a kernel. Its params are those of `graph`, in the order that KernelGraph says."""
    empty = any(variable.extent == 0 for variable in graph.loops)
    if len(graph.loops) > 1 and not graph.stages and not empty:
        try:
            return _Lowering(graph, flat=True).kernel()
        except _NotFlat:
            pass
    return _Lowering(graph).kernel()


class _Lowering:
    def __init__(self, graph: KernelGraph, flat: bool = False) -> None:
        self.graph = graph
        self.flat = flat
        self.params: dict[int, Node] = {}
        self.numbers: dict[int, Node] = {}
        self.dims: dict[str, Node] = {}
        self.indices: dict[Variable, Node] = {}
        self.locals: dict[int, tuple[Stage, Node, _Scope]] = {}
        self.memo: dict[object, Node] = {}
        self.root = _Scope(None, None)
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
            _run(self.value(node, self.position, NO_CONDITION, scope))
            for node in self.graph.outputs
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

    def _body(self, scope: _Scope) -> list[Node]:
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
            kind: Literal["serial", "parallel"] = "parallel" if line.parallel else "serial"
            lines.append(loops.loop(index, extent, self._body(line), 1, kind))
        return lines

    def _descend(self, scope: _Scope, variables: Sequence[Variable]) -> _Scope:
        """Open a loop over each variable; in each, compute first the stages that belong there."""
        for variable in variables:
            if variable.extent == 1:
                continue
            parallel = scope is self.root and variable in self.loops
            inner = _Scope(variable, scope, parallel)
            scope.lines.append(inner)
            scope = inner
            self._stages_here(scope)
        return scope

    def _stages_here(self, scope: _Scope) -> None:
        for stage in self.cleared.pop(scope.path, ()):
            self._clear(stage, scope)
        for stage in self.waiting.pop(scope.path, ()):
            self._stage(stage, scope)

    def _clear(self, stage: Stage, outer: _Scope) -> None:
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

    def _stage(self, stage: Stage, outer: _Scope) -> None:
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
                value = _run(self.value(node, stage.position, _inside(stage), scope))
                if register:
                    self.memo[("stage", id(node))] = value
                scope.lines.append(loops.store(buffer, self._offset(offset, scope), value))
        if buffer is not None:
            self.locals[id(node)] = (stage, buffer, outer)

    def _storage(
        self, stage: Stage, outer: _Scope, name: str = "t"
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

    def _reduce(self, stage: Stage, scope: _Scope, kept: tuple[Node, Index] | None = None) -> Node:
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
        value = _run(self.value(source, at, conditions, inner))
        if kept is not None:
            inner.lines.append(loops.store(kept[0], self._offset(kept[1], inner), value))
        value = value.cast(accumulate)
        src: tuple[Node, ...] = (total, constant(0, int64), value)
        mask = _run(self._mask(conditions, inner))
        if mask is not None:
            src = (*src, mask)
        inner.lines.append(Node(Op.ACCUMULATE, src, bool_, (), Accumulate(kind)))
        result = loops.load(total, 0)
        scope.lines.append(result)
        return result.cast(node.dtype)

    def _scan(self, stage: Stage, outer: _Scope, buffer: Node, offset: Index) -> None:
        node = stage.node
        assert isinstance(node.arg, Scan)
        along = stage.scanned
        scope = self._descend(outer, [variable for variable in stage.free if variable is not along])
        total = loops.local(f"r{self._count('r')}", node.arg.accumulate)
        scope.lines.append(total)
        scope.lines.append(loops.store(total, 0, identity(node.arg.kind, node.arg.accumulate)))
        inner = self._descend(scope, [along])
        value = _run(self.value(node.src[0], stage.position, _inside(stage), inner))
        before = loops.load(total, 0)
        inner.lines.append(before)
        after = combine(node.arg.kind, before, value.cast(node.arg.accumulate))
        inner.lines.append(loops.store(total, 0, after))
        inner.lines.append(loops.store(buffer, self._offset(offset, inner), after.cast(node.dtype)))

    def _carried(self, stage: Stage, scope: _Scope) -> None:
        """One step of a scan in each iteration of the loop that reads it; before the loop it is what a scan starts from."""
        node = stage.node
        assert isinstance(node.arg, Scan) and scope.parent is not None
        total = loops.local(f"r{self._count('r')}", node.arg.accumulate)
        scope.hoist(total, scope.parent)
        scope.hoist(
            loops.store(total, 0, identity(node.arg.kind, node.arg.accumulate)), scope.parent
        )
        value = _run(self.value(node.src[0], stage.position, _inside(stage), scope))
        before = loops.load(total, 0)
        scope.lines.append(before)
        after = combine(node.arg.kind, before, value.cast(node.arg.accumulate))
        scope.lines.append(loops.store(total, 0, after))
        self.memo[("stage", id(node))] = after.cast(node.dtype)

    def _sort(self, stage: Stage, outer: _Scope, buffer: Node) -> None:
        node, along = stage.node, stage.scanned
        assert isinstance(node.arg, Sort) and isinstance(along.extent, int)
        scope = self._descend(outer, [variable for variable in stage.free if variable is not along])
        count = node.shape[node.arg.axis]
        assert isinstance(count, int)
        row = row_sort(node.src[0].dtype, along.extent, node.arg.bits, node.arg.first, count)
        scope.lines.extend(row.before)
        inner = self._descend(scope, [along])
        key = _run(self.value(node.src[0], stage.position, NO_CONDITION, inner))
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

    def _scatter(self, stage: Stage, outer: _Scope, buffer: Node, offset: Index) -> None:
        """Copy the base, then meet it with each value in the order of the index."""
        node = stage.node
        assert isinstance(node.arg, Scatter)
        base, index, value = node.src
        scope = self._descend(outer, stage.free)
        start = _run(self.value(base, stage.position, NO_CONDITION, scope))
        scope.lines.append(loops.store(buffer, self._offset(offset, scope), start))
        scope = self._descend(outer, stage.inner)
        rest = iter(stage.inner)
        own = [each for each in stage.fixed if each is not None]
        at = (*own, *[ZERO if n == 1 else of(next(rest)) for n in index.shape[len(own) :]])
        target = list(at)
        axis = node.arg.axis
        target[axis] = Index(((Indirect(index, at, base.shape[axis]), 1),), 0)
        new = _run(self.value(value, at, NO_CONDITION, scope))
        where_to = self._offset(flatten(target, base.shape), scope)
        if node.arg.kind != "set":
            old = loops.load(buffer, where_to)
            scope.lines.append(old)
            new = combine(node.arg.kind, old, new)
        scope.lines.append(loops.store(buffer, where_to, new))

    # --- values

    def value(self, node: Node, at: Position, conditions: Conditions, scope: _Scope) -> Step:
        """The element of `node` at `at`; where a condition does not hold it may be anything, and nothing is read."""
        if node.op is Op.CONST:
            assert isinstance(node.arg, Constant)
            return constant(node.arg.value, node.dtype)
        if id(node) in self.numbers:
            return self.numbers[id(node)]
        key = (id(node), at, conditions)
        found = self.memo.get(key)
        if found is not None:
            return found
        result = yield self._value(node, at, conditions, scope)
        self.memo[key] = result
        return result

    def _value(self, node: Node, at: Position, conditions: Conditions, scope: _Scope) -> Step:
        register = self.memo.get(("stage", id(node)))
        if register is not None:
            return register
        if id(node) in self.locals:
            return (yield self._load_local(node, at, conditions, scope))
        if id(node) in self.params and node not in self.graph.results:
            param = self.params[id(node)]
            offset = flatten(at, node.shape)
            return (yield self._load(param, offset, conditions, scope, 0))
        if node.op in ELEMENTWISE:
            return (yield self._elementwise(node, at, conditions, scope))
        match node.op:
            case Op.IOTA:
                assert isinstance(node.arg, Axis)
                yield self._prepare(at[node.arg.axis], conditions, scope)
                return self._offset(at[node.arg.axis], scope, conditions).cast(node.dtype)
            case Op.GATHER:
                inside = access.gathered(node, at)
                for (
                    index
                ) in inside:  # checked also where the source is a number, which nothing reads
                    yield self._prepare(index, conditions, scope)
                return (yield self.value(node.src[0], inside, conditions, scope))
            case Op.UPDATE:
                return (yield self._update(node, at, conditions, scope))
            case Op.PAD:
                return (yield self._pad(node, at, conditions, scope))
            case _ if node.op in MOVEMENT:
                inner, _ = access.source_position(node, at)
                return (yield self.value(node.src[0], inner, conditions, scope))
            case _:
                raise NotImplementedError(f"{node.op.name.lower()} inside a kernel")

    def _elementwise(self, node: Node, at: Position, conditions: Conditions, scope: _Scope) -> Step:
        operands: list[Node] = []
        for source in node.src:
            operands.append((yield self.value(source, at, conditions, scope)))
        if node.op in (Op.IDIV, Op.MOD):
            operands[1] = yield self._divisor(operands[1], conditions, scope)
        return Node(node.op, tuple(operands), node.dtype, (), site=node.site)

    def _divisor(self, divisor: Node, conditions: Conditions, scope: _Scope) -> Step:
        """An integer divisor that is not zero: a zero is reported, and divided by as if it were one."""
        if _never_zero(divisor):
            return divisor
        fine = divisor.ne(0)
        mask = yield self._mask(conditions, scope)
        test = fine if mask is None else fine | ~mask
        scope.lines.append(loops.check(test, "RuntimeError", "ZeroDivisionError"))
        return where(fine, divisor, 1)

    def _update(self, node: Node, at: Position, conditions: Conditions, scope: _Scope) -> Step:
        base, value = node.src
        inside, needed = access.region(node, at)
        if not needed:
            return (yield self.value(value, inside, conditions, scope))
        old = yield self.value(base, at, conditions, scope)
        new = yield self.value(value, inside, conditions | frozenset(needed), scope)
        mask = yield self._mask(frozenset(needed), scope, conditions)
        return new if mask is None else where(mask, new, old)

    def _pad(self, node: Node, at: Position, conditions: Conditions, scope: _Scope) -> Step:
        assert isinstance(node.arg, Padding)
        inner, needed = access.source_position(node, at)
        value = yield self.value(node.src[0], inner, conditions | frozenset(needed), scope)
        mask = yield self._mask(frozenset(needed), scope, conditions)
        if mask is None:
            return value
        return where(mask, value, constant(node.arg.value.value, node.dtype))

    def _load_local(self, node: Node, at: Position, conditions: Conditions, scope: _Scope) -> Step:
        stage, buffer, defined = self.locals[id(node)]
        if node in self.graph.stored:
            offset = flatten(at, node.shape)
        else:
            free = [index for index, fixed in zip(at, stage.fixed, strict=True) if fixed is None]
            if stage.starts:
                free = [index - start for index, start in zip(free, stage.starts, strict=False)]
            place = dict(zip(stage.free, free, strict=True))
            nest = stage.nest
            offset = flatten([place[v] for v in nest], [v.extent for v in nest])
        return (yield self._load(buffer, offset, conditions, scope, defined.depth))

    def _load(
        self, buffer: Node, offset: Index, conditions: Conditions, scope: _Scope, least: int
    ) -> Step:
        key = ("load", id(buffer), offset, conditions)
        found = self.memo.get(key)
        if found is not None:
            return found
        yield self._prepare(offset, conditions, scope)
        mask = yield self._mask(conditions, scope)
        variables = offset.variables
        for condition in conditions:
            variables |= condition.index.variables
        for variable in variables & self.graph.at_most.keys():
            variables |= self.graph.at_most[variable].variables
        target = scope.around(variables, least)
        node = loops.load(buffer, self._offset(offset, scope, conditions), mask)
        scope.hoist(node, target)
        self.memo[key] = node
        return node

    # --- indices

    def _prepare(self, index: Index, conditions: Conditions, scope: _Scope) -> Step:
        """Load the indices that `index` needs, checked and made safe."""
        for atom in reversed(indirect_atoms(index)):
            if ("index", atom, conditions) not in self.memo:
                raw = yield self.value(atom.node, atom.position, conditions, scope)
                if raw.dtype is not int64:
                    raw = raw.cast(int64)
                size = self._size(atom.extent)
                fine = raw.ge(0) & Node(Op.LT, (raw, size), bool_, ())
                mask = yield self._mask(conditions, scope)
                test = fine if mask is None else fine | ~mask
                text = f"index out of range: it must be in [0, {atom.extent})"
                variables: frozenset[Variable] = frozenset()
                for position in atom.position:
                    variables |= position.variables
                scope.lines.append(loops.check(test, "IndexError", text))
                self.memo[("index", atom, conditions)] = where(fine, raw, 0)
        return constant(0, int64)

    def _mask(
        self, conditions: Conditions, scope: _Scope, known: Conditions = NO_CONDITION
    ) -> Generator[Step, Node, Any]:
        """All conditions as one bool value; None where there are none to test.

        An index that a condition loads is loaded where those conditions hold, of these and the `known`, that take fewer loads.
        """
        tests: list[Node] = []
        for condition in sorted(conditions, key=lambda c: (str(c.index), str(c.low))):
            depth = load_depth(condition.index)
            first = NO_CONDITION
            if depth:
                first = frozenset(c for c in conditions | known if load_depth(c.index) < depth)
            key = ("mask", condition, first)
            found = self.memo.get(key)
            if found is None:
                yield self._prepare(condition.index, first, scope)
                test = condition.emit(partial(self._leaf, first), self._size)
                if test is None:
                    continue
                found = self.memo[key] = test
            tests.append(found)
        return conjunction(tests)

    def _offset(self, index: Index, scope: _Scope, conditions: Conditions = NO_CONDITION) -> Node:
        if self.flat and any(isinstance(atom, (Quotient, Remainder)) for atom, _ in index.terms):
            raise _NotFlat
        _run(self._prepare(index, conditions, scope))
        return emit(index, partial(self._leaf, conditions), self._size)

    def _leaf(self, conditions: Conditions, atom: Variable | Indirect) -> Node:
        if isinstance(atom, Variable):
            return self._index(atom)
        return self.memo[("index", atom, conditions)]

    def _plain(self, index: Index) -> Node:
        """An index of loop variables alone."""
        return emit(index, partial(self._leaf, NO_CONDITION), self._size)

    def _index(self, variable: Variable) -> Node:
        found = self.indices.get(variable)
        if found is None:
            found = loops.index(variable.name)
            if variable in self.graph.at_most:
                index, last = self.graph.at_most[variable], variable.extent - 1
                found = self._plain(index).minimum(self._size(last))
            self.indices[variable] = found
        return found

    def _size(self, size: Size) -> Node:
        if isinstance(size, int):
            return constant(size, int64)
        return size_node(size, self.dims)

    def _count(self, prefix: str) -> int:
        key = ("count", prefix)
        number: Any = self.memo.get(key, -1)
        self.memo[key] = number + 1
        return int(number) + 1


def size_node(size: Dim, dims: dict[str, Node]) -> Node:
    """A size as int64 nodes over the kernel's dim params."""
    total: Node | None = None
    for monomial, coefficient in size.terms:
        term: Node | None = None
        for variable in monomial:
            factor = dims[variable.name]
            term = factor if term is None else term * factor
        if term is None:
            term = constant(coefficient, int64)
        elif coefficient != 1:
            term = term * coefficient
        total = term if total is None else total + term
    assert total is not None
    return total


def identity(kind: ScanKind, dtype: DType) -> Node:
    """The value that a reduction starts from."""
    if kind == "add":
        return constant(0, dtype)
    if kind == "mul":
        return constant(1, dtype)
    if kind in ("and", "or"):
        full = True if dtype.kind == "bool" else -1
        return constant(full if kind == "and" else 0, dtype)
    if dtype.kind == "float":
        return constant(float("inf") if kind == "min" else float("-inf"), dtype)
    if dtype.kind == "bool":
        return constant(kind == "min", dtype)
    low = -(1 << dtype.bits - 1) if dtype.kind == "int" else 0
    high = (1 << dtype.bits - (dtype.kind == "int")) - 1
    return constant(low if kind == "max" else high, dtype)


def combine(kind: str, left: Node, right: Node) -> Node:
    """One step of a reduction or scan."""
    if kind == "logaddexp":
        return _log_add_exp(left, right)
    op = {"add": Op.ADD, "mul": Op.MUL, "max": Op.MAX, "min": Op.MIN, "and": Op.AND, "or": Op.OR}[
        kind
    ]
    return Node(op, (left, right), left.dtype, left.shape)


def _log_add_exp(left: Node, right: Node) -> Node:
    """log(exp(left) + exp(right)) without overflow; equal values, infinite ones too, have a rule of their own."""
    large = left.maximum(right)
    below = unary(Op.LOG1P, unary(Op.EXP, left.minimum(right) - large))
    return large + where(left.eq(right), math.log(2.0), below)


def _never_zero(node: Node) -> bool:
    """Whether an integer is a constant, or where(x == 0, constant, x), that is not zero."""
    if node.op is Op.WHERE and _never_zero(node.src[1]):
        test, _, rest = node.src
        return test.op is Op.EQ and test.src[0] is rest and _zero(test.src[1])
    return node.op is Op.CONST and isinstance(node.arg, Constant) and node.arg.value != 0


def _zero(node: Node) -> bool:
    """Whether a node is the constant 0."""
    return node.op is Op.CONST and isinstance(node.arg, Constant) and node.arg.value == 0


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


def _run(step: Generator[Any, Any, Any]) -> Any:
    """Drive a computation and those it waits for, on a stack of its own."""
    stack = [step]
    sent: Any = None
    while stack:
        try:
            waiting = stack[-1].send(sent)
        except StopIteration as stop:
            stack.pop()
            sent = stop.value
            continue
        stack.append(waiting)
        sent = None
    return sent


__all__: Sequence[str] = ["combine", "identity", "lower"]
