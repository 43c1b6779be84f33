"""The value of a graph's node at a position: lines and pure values of a loop tree, in the scopes of its loops.

In: a node of a kernel graph, the position that is read, the conditions under which it is, and the scope that is being written. Out: the
value as a node of the loop stratum; loads and checks that it needs are lines of the scope, or of one around it, where their offset is
known. Mutually recursive rules, written as generators that a small driver runs, so that expressions of any depth lower under any
recursion limit.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any, Literal

from lazygrad.ir import access, loops
from lazygrad.ir.access import Position
from lazygrad.ir.args import Axis, Constant, Padding
from lazygrad.ir.dim import Dim, Size
from lazygrad.ir.dtype import bool_, int64
from lazygrad.ir.index import (
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
)
from lazygrad.ir.kernel_graph import KernelGraph, Path, Stage, ordered
from lazygrad.ir.node import Node, constant, where
from lazygrad.ir.op import ELEMENTWISE, MOVEMENT, Op

Conditions = frozenset[Condition]
NO_CONDITION: Conditions = frozenset()
Step = Generator["Step", Node, Node]
"""A computation of a value: it yields the computations that it waits for, and is sent their values."""
Kind = Literal["serial", "parallel", "threads"]
"""What the iterations of a loop may do (ir/args.Loop), as lowering has it."""
ROW = 16
"""Elements of a row that are worth a loop of their own."""


class NotFlat(Exception):
    """A kernel that was tried with one loop over all elements needs its axes."""


class Scope:
    """One loop while its body is written; the root scope is the kernel itself. Lines are only ever added at the end, or just before
    the loop at the end."""

    def __init__(
        self, variable: Variable | None, parent: Scope | None, kind: Kind = "serial"
    ) -> None:
        self.variable = variable
        self.parent = parent
        self.kind = kind
        self.lines: list[Node | Scope] = []
        self.depth: int = parent.depth + 1 if parent else 0
        self.path: Path = () if parent is None or variable is None else (*parent.path, variable)

    def hoist(self, line: Node, target: Scope) -> None:
        """Add a line in `target`, this scope or one around it, before the loop there that leads here."""
        position = len(target.lines) - (target is not self)
        target.lines.insert(position, line)

    def around(self, variables: frozenset[Variable], least: int = 0) -> Scope:
        """The outermost scope inside all the loops of `variables`, at depth `least` or deeper."""
        scope = self
        while scope.parent is not None and scope.depth > least and scope.variable not in variables:
            scope = scope.parent
        return scope


class Values:
    """What is known while a kernel is lowered, and the rules that find values in it.

    `params` has the param of each buffer by the identity of its node, `numbers` and `dims` those of numbers and sizes, `locals` where the
    results of stages are, with the scope that they are defined in; `memo` what has been computed, loaded or tested already.
    """

    def __init__(self, graph: KernelGraph, flat: bool = False, groups: bool = False) -> None:
        self.graph = graph
        self.flat = flat
        self.groups = groups
        """Whether it is for a device whose groups of threads sort rows; a plan there waits for what it checks, so places that a sort has found are not checked."""
        self.params: dict[int, Node] = {}
        self.numbers: dict[int, Node] = {}
        self.dims: dict[str, Node] = {}
        self.indices: dict[Variable, Node] = {}
        self.locals: dict[int, tuple[Stage, Node, Scope]] = {}
        self.memo: dict[object, Node] = {}

    def value(self, node: Node, at: Position, conditions: Conditions, scope: Scope) -> Step:
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

    def _value(self, node: Node, at: Position, conditions: Conditions, scope: Scope) -> Step:
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

    def _elementwise(self, node: Node, at: Position, conditions: Conditions, scope: Scope) -> Step:
        operands: list[Node] = []
        for source in node.src:
            operands.append((yield self.value(source, at, conditions, scope)))
        if node.op in (Op.IDIV, Op.MOD):
            operands[1] = yield self._divisor(operands[1], conditions, scope)
        return Node(node.op, tuple(operands), node.dtype, (), site=node.site)

    def _divisor(self, divisor: Node, conditions: Conditions, scope: Scope) -> Step:
        """An integer divisor that is not zero: a zero is reported, and divided by as if it were one."""
        if _never_zero(divisor):
            return divisor
        fine = divisor.ne(0)
        mask = yield self._mask(conditions, scope)
        test = fine if mask is None else fine | ~mask
        scope.lines.append(loops.check(test, "RuntimeError", "ZeroDivisionError"))
        return where(fine, divisor, 1)

    def _update(self, node: Node, at: Position, conditions: Conditions, scope: Scope) -> Step:
        base, value = node.src
        inside, needed = access.region(node, at)
        if not needed:
            return (yield self.value(value, inside, conditions, scope))
        old = yield self.value(base, at, conditions, scope)
        new = yield self.value(value, inside, conditions | frozenset(needed), scope)
        mask = yield self._mask(frozenset(needed), scope, conditions)
        return new if mask is None else where(mask, new, old)

    def _pad(self, node: Node, at: Position, conditions: Conditions, scope: Scope) -> Step:
        assert isinstance(node.arg, Padding)
        inner, needed = access.source_position(node, at)
        value = yield self.value(node.src[0], inner, conditions | frozenset(needed), scope)
        mask = yield self._mask(frozenset(needed), scope, conditions)
        if mask is None:
            return value
        return where(mask, value, constant(node.arg.value.value, node.dtype))

    def _load_local(self, node: Node, at: Position, conditions: Conditions, scope: Scope) -> Step:
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
        self, buffer: Node, offset: Index, conditions: Conditions, scope: Scope, least: int
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

    def _prepare(self, index: Index, conditions: Conditions, scope: Scope) -> Step:
        """Load the indices that `index` needs, checked and made safe."""
        for atom in reversed(indirect_atoms(index)):
            if ("index", atom, conditions) not in self.memo:
                raw = yield self.value(atom.node, atom.position, conditions, scope)
                if raw.dtype is not int64:
                    raw = raw.cast(int64)
                if self.groups and _is_place(atom):
                    self.memo[("index", atom, conditions)] = raw
                    continue
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
        self, conditions: Conditions, scope: Scope, known: Conditions = NO_CONDITION
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
                if self.flat and self.dims and _by_rows(condition.index):
                    raise NotFlat
                yield self._prepare(condition.index, first, scope)
                test = condition.emit(partial(self._leaf, first), self._size)
                if test is None:
                    continue
                found = self.memo[key] = test
            tests.append(found)
        return conjunction(tests)

    def _offset(self, index: Index, scope: Scope, conditions: Conditions = NO_CONDITION) -> Node:
        if self.flat and any(isinstance(atom, (Quotient, Remainder)) for atom, _ in index.terms):
            raise NotFlat
        run(self._prepare(index, conditions, scope))
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


def _is_place(atom: Indirect) -> bool:
    """Whether an index is one of the places that a sort of rows of this length finds, moved perhaps."""
    node = atom.node
    while node.op in MOVEMENT and node.op is not Op.PAD:
        node = node.src[0]
    return ordered(node) == atom.extent


def _by_rows(index: Index) -> bool:
    """Whether an index of all elements is the row of one, and a row is at least a vector: in a loop over rows a condition of it is one flag for vectors.

    Where sizes are numbers, stretches of the loop over all elements are found instead (transform/partition.py).
    """
    return any(
        isinstance(atom, Quotient) and isinstance(atom.divisor, int) and atom.divisor >= ROW
        for atom, _ in index.terms
    )


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


def _never_zero(node: Node) -> bool:
    """Whether an integer is a constant, or where(x == 0, constant, x), that is not zero."""
    if node.op is Op.WHERE and _never_zero(node.src[1]):
        test, _, rest = node.src
        return test.op is Op.EQ and test.src[0] is rest and _zero(test.src[1])
    return node.op is Op.CONST and isinstance(node.arg, Constant) and node.arg.value != 0


def _zero(node: Node) -> bool:
    """Whether a node is the constant 0."""
    return node.op is Op.CONST and isinstance(node.arg, Constant) and node.arg.value == 0


def run(step: Generator[Any, Any, Any]) -> Any:
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


__all__ = ["NO_CONDITION", "Conditions", "NotFlat", "Scope", "Values", "run"]
