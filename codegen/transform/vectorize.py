"""vectorize: run `lanes` iterations of a loop at once, as explicit vectors.

What does not depend on the loop stays scalar. Loads and stores whose offset moves by one are contiguous, those that move backwards or by a few are
made of whole vectors (strided.py), others gather and scatter. A local
buffer that is declared in the loop gets a row of lanes for each element. An ACCUMULATE into something outside the loop is a
reduction over it: it goes to a vector of partial results that are reduced after the loop. The iterations that `lanes` does not divide
run as one more, masked, vector.
"""

from __future__ import annotations

from collections.abc import Callable

from lazygrad.codegen.reductions import identity
from lazygrad.ir import loops
from lazygrad.ir.args import Accumulate, Loop, Name, Reduction
from lazygrad.ir.dtype import bool_, int64
from lazygrad.ir.node import Node, constant
from lazygrad.ir.op import Op

from . import strided
from .access import (
    ScheduleError,
    Stride,
    body,
    carries,
    constant_value,
    lines_inside,
    loop_name,
    loop_named,
    remainders,
    replace_loop,
    unused_suffix,
)

_VALUES = frozenset((Op.LOAD, Op.STORE, Op.ACCUMULATE, Op.CHECK))


def vectorize(kernel: Node, name: str, lanes: int) -> Node:
    """Vectorize the loop over `name`.

    Requires: its step is 1, and iterations meet only in ACCUMULATEs.
    Guarantees: every iteration runs exactly once, also when `lanes` does not divide the extent.

    Raises:
        ScheduleError: there is no such loop, or an iteration needs the one before it.
    """
    loop = loop_named(kernel, name)
    assert isinstance(loop.arg, Loop)
    if loop.arg.step != 1:
        raise ScheduleError(
            f"loop {name} has step {loop.arg.step}; only a loop with step 1 is vectorized"
        )
    if any(
        line.op in _VALUES and line.src[-1].shape + line.shape != () for line in lines_inside(loop)
    ):
        raise ScheduleError(f"the body of loop {name} is vectorized already")
    if carries(loop):
        raise ScheduleError(f"an iteration of loop {name} may read what another one writes")
    size = constant_value(loop.src[1])
    left = remainders(loop.src[1], lanes) - {0}
    most = max(left, default=0)
    lines: list[Node] = []
    partials = Partials(lanes)
    if size is not None:
        whole, rest = constant(size - most, int64), constant(most, int64)
    elif most:
        whole, rest = loop.src[1] - loop.src[1] % lanes, loop.src[1] % lanes
    else:
        whole = loop.src[1]
    if size is None or size >= lanes:
        main = Widen(loop, loop.src[0], lanes, None, partials, "")
        inner = main.lines(body(loop))
        lines.append(loops.loop(loop.src[0], whole, inner, lanes, loop.arg.kind))
    if most:
        suffix = unused_suffix(kernel, loop)
        narrow = lanes
        while not partials.found and most <= narrow // 2 and narrow > 2:
            narrow //= 2
        count = constant(most, int64) if len(left) == 1 else rest
        extent = rest if size is None else None
        lines.extend(_tail(loop, narrow, whole, count, extent, partials, suffix))
    return replace_loop(kernel, loop, [*partials.before, *lines, *partials.after()])


def _tail(
    loop: Node,
    lanes: int,
    whole: Node,
    count: Node,
    extent: Node | None,
    partials: Partials,
    suffix: str,
) -> list[Node]:
    """The last, masked, vector of `count` iterations. Where it may be none, it stands in a loop of at most one trip, to `extent`."""
    offset = constant(0, int64) if extent is None else loops.index(loop_name(loop) + suffix)
    start = whole if extent is None else whole + offset
    inside: Node | None = Node(Op.LANES, (), int64, (lanes,)).lt(loops.splat(count, lanes))
    if constant_value(count) == lanes:
        inside = None
    widen = Widen(loop, start, lanes, inside, partials, suffix)
    lines = widen.lines(body(loop))
    return lines if extent is None else [loops.loop(offset, extent, lines, lanes)]


class Partials:
    """The vectors of partial results of reductions over the loop, shared by the main loop and the rest."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.before: list[Node] = []
        self.found: dict[tuple[int, int], tuple[Node, Node, Node, Accumulate]] = {}

    def buffer(self, line: Node) -> Node:
        """The vector that stands for the element that `line` accumulates into."""
        target, offset = line.src[0], line.src[1]
        key = (id(target), id(offset))
        place = constant_value(offset)
        if place is not None:
            key = (id(target), -1 - place)
        if key not in self.found:
            arg = target.arg
            assert isinstance(line.arg, Accumulate)
            name = arg.name if isinstance(arg, Name) else f"p{len(self.found)}"
            vector = loops.local(f"{name}_lanes{len(self.found)}", target.dtype, (self.lanes,))
            start = loops.splat(identity(line.arg.kind, target.dtype), self.lanes)
            self.before += [vector, loops.store(vector, 0, start)]
            self.found[key] = (vector, target, offset, line.arg)
        return self.found[key][0]

    def after(self) -> list[Node]:
        """Reduce each vector into the element it stands for."""
        lines: list[Node] = []
        for vector, target, offset, arg in self.found.values():
            partial = loops.load(vector, 0, lanes=self.lanes)
            total = Node(
                Op.REDUCE, (partial,), target.dtype, (), Reduction(arg.kind, (0,), target.dtype)
            )
            lines += [partial, Node(Op.ACCUMULATE, (target, offset, total), bool_, (), arg)]
        return lines


class Widen:
    """One copy of the loop's body with each value that depends on the loop as a vector."""

    def __init__(
        self,
        loop: Node,
        start: Node,
        lanes: int,
        inside: Node | None,
        partials: Partials,
        suffix: str,
    ) -> None:
        self.index = loop.src[0]
        self.start = start
        self.count = lanes
        self.inside = inside
        self.partials = partials
        self.suffix = suffix
        self.stride = Stride(self.index, lanes)  # a vector begins at a multiple of its lanes
        self.private: dict[int, Node] = {}
        self.scalars: dict[int, Node] = {id(self.index): start}
        self.vectors: dict[int, Node] = {}
        self.name = loop_name(loop)

    def lines(self, lines: tuple[Node, ...]) -> list[Node]:
        """Every line, widened where it depends on the loop."""
        result: list[Node] = []
        for line in lines:
            match line.op:
                case Op.LOCAL:
                    assert isinstance(line.arg, Name)
                    shape = (*line.shape, self.count)
                    self.private[id(line)] = loops.local(
                        line.arg.name + self.suffix, line.dtype, shape
                    )
                    result.append(self.private[id(line)])
                case Op.LOAD:
                    result.extend(self._load(line))
                case Op.STORE:
                    result.append(self._store(line))
                case Op.ACCUMULATE:
                    result.append(self._accumulate(line))
                case Op.CHECK:
                    result.append(self._check(line))
                case Op.LOOP:
                    result.append(self._loop(line))
                case _:
                    raise ScheduleError(f"a body lists {line.op.name.lower()}")
        return result

    def _loop(self, line: Node) -> Node:
        if self.stride(line.src[1]) != 0:
            raise ScheduleError(f"the extent of loop {loop_name(line)} depends on loop {self.name}")
        assert isinstance(line.arg, Loop)
        index = line.src[0]
        if self.suffix:
            index = loops.index(loop_name(line) + self.suffix)
            self.scalars[id(line.src[0])] = index
        extent = self.scalar(line.src[1])
        return loops.loop(index, extent, self.lines(body(line)), line.arg.step, line.arg.kind)

    def _load(self, line: Node) -> list[Node]:
        buffer, offset = line.src[0], line.src[1]
        mask = line.src[2] if len(line.src) > 2 else None
        private = self.private.get(id(buffer))
        moves = self.stride(offset)
        if private is not None:
            wide = self._private_offset(offset, moves)
            own = self.vector(mask) if mask is not None else None
            new = loops.load(private, wide, own, self.count if wide.shape == () else None)
            self.vectors[id(line)] = new
            self.stride.mark(line, None)
            return [new]
        if moves == 0 and (mask is None or self.stride(mask) == 0):
            new = Node(Op.LOAD, tuple(self.scalar(s) for s in line.src), line.dtype, ())
            self.scalars[id(line)] = new
            self.stride.mark(line, 0)
            return [new]
        active = self._active(mask)
        self.stride.mark(line, None)
        if moves is not None and strided.near(line, moves, self.count):
            first = self.scalar(offset)
            read, self.vectors[id(line)] = strided.load(buffer, first, moves, self.count, active)
            return read
        if times := strided.repeated(self.stride, line, self.count):
            first = self.scalar(offset)
            narrow, self.vectors[id(line)] = strided.load_repeated(
                buffer, first, times, self.count, active
            )
            return [narrow]
        new = loops.load(buffer, self.vector(offset), active)
        self.vectors[id(line)] = new
        return [new]

    def _store(self, line: Node) -> Node:
        buffer, offset, value = line.src[:3]
        private = self.private.get(id(buffer))
        moves = self.stride(offset)
        if private is not None:
            own = self.vector(line.src[3]) if len(line.src) > 3 else None
            place = self._private_offset(offset, moves)
            return loops.store(private, place, self.vector(value), own)
        if moves == 0:
            raise ScheduleError(f"iterations of loop {self.name} write the same element")
        active = self._active(line.src[3] if len(line.src) > 3 else None)
        wide = self.vector(value)
        if moves is not None and strided.near(line, moves, self.count):
            return strided.store(buffer, self.scalar(offset), moves, wide, active)
        return loops.store(buffer, self.vector(offset), wide, active)

    def _accumulate(self, line: Node) -> Node:
        buffer, offset, value = line.src[:3]
        mask = line.src[3] if len(line.src) > 3 else None
        private = self.private.get(id(buffer))
        moves = self.stride(offset)
        wide = self.vector(value)
        if private is not None:
            src: tuple[Node, ...] = (private, self._private_offset(offset, moves), wide)
            if mask is not None:
                src = (*src, self.vector(mask))
        elif moves == 0:
            target = self.partials.buffer(line)
            src = (target, constant(0, int64), wide)
            active = self._active(mask)
            if active is not None:
                src = (*src, active)
        elif moves == 1:
            src = (buffer, self.scalar(offset), wide)
            active = self._active(mask)
            if active is not None:
                src = (*src, active)
        else:
            raise ScheduleError(
                f"iterations of loop {self.name} accumulate into different elements"
            )
        return Node(Op.ACCUMULATE, src, bool_, (), line.arg)

    def _check(self, line: Node) -> Node:
        (condition,) = line.src
        if self.stride(condition) == 0:
            return Node(Op.CHECK, (self.scalar(condition),), bool_, (), line.arg)
        wide = self.vector(condition)
        if self.inside is not None:
            wide = wide | ~self.inside
        every = Node(Op.REDUCE, (wide,), bool_, (), Reduction("and", (0,), bool_))
        return Node(Op.CHECK, (every,), bool_, (), line.arg)

    def _private_offset(self, offset: Node, moves: int | None) -> Node:
        if moves == 0:
            place = constant_value(offset)
            if place is not None:
                return constant(place * self.count, int64)
            return self.scalar(offset) * self.count
        return self.vector(offset) * self.count + loops.lanes(self.count)

    def _active(self, mask: Node | None) -> Node | None:
        """The lanes that take part: those inside the loop for which `mask` holds."""
        wide = self.vector(mask) if mask is not None else None
        if self.inside is None:
            return wide
        return self.inside if wide is None else wide & self.inside

    # --- values

    def scalar(self, node: Node) -> Node:
        """A value that does not depend on the lane, at the first iteration of the vector."""
        return self._map(node, self.scalars, self._scalar_copy)

    def vector(self, node: Node) -> Node:
        """A value in each lane."""
        return self._map(node, self.vectors, self._vector_copy)

    def _map(self, node: Node, done: dict[int, Node], copy: Callable[[Node], Node]) -> Node:
        if id(node) in done:
            return done[id(node)]
        stack = [node]
        while stack:
            current = stack[-1]
            if id(current) in done:
                stack.pop()
                continue
            if done is self.vectors and self.stride(current) == 0 and current is not self.index:
                done[id(current)] = self._spread(self.scalar(current))
                stack.pop()
                continue
            pending = [s for s in current.src if id(s) not in done]
            if pending and current.op is not Op.LOAD and current is not self.index:
                stack.extend(pending)
                continue
            done[id(current)] = copy(current)
            stack.pop()
        return done[id(node)]

    def _spread(self, node: Node) -> Node:
        if node.op is Op.CONST:
            return Node(Op.CONST, (), node.dtype, (self.count,), node.arg)
        return loops.splat(node, self.count)

    def _scalar_copy(self, node: Node) -> Node:
        if not node.src or node.op is Op.LOAD:
            return node
        src = tuple(self.scalars[id(s)] for s in node.src)
        return node if all(a is b for a, b in zip(src, node.src, strict=True)) else node.like(src)

    def _vector_copy(self, node: Node) -> Node:
        if node is self.index:
            return loops.splat(self.start, self.count) + loops.lanes(self.count)
        if node.op is Op.REDUCE or node.shape != ():
            raise ScheduleError(f"the body of loop {self.name} is vectorized already")
        src = tuple(self.vectors[id(s)] for s in node.src)
        return Node(node.op, src, node.dtype, (self.count,), node.arg, site=node.site)
