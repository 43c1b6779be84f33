"""wide: neighbouring trips of a grid done by one thread, which reads and writes what lies together in memory at once.

The trips are written out. What they read beside each other comes into a short local first, what they write goes out of one, by a load and a store of all its elements: up to
16 bytes. A last thread that has fewer trips does them one after the other.
"""

from __future__ import annotations

from lazygrad.ir import loops
from lazygrad.ir.args import Loop, Name, Param
from lazygrad.ir.dtype import int64
from lazygrad.ir.node import Node, constant, where
from lazygrad.ir.op import Op

from .access import (
    ScheduleError,
    Stride,
    all_loops,
    body,
    extent,
    loop_name,
    loop_named,
    replace_loop,
)
from .stage import at_zero, copied

BYTES = 16
"""The most that a thread reads or writes at once. Buffers of GPUs begin at multiples of it."""


def wide(kernel: Node, name: str, lanes: int) -> Node:
    """Give a thread `lanes` trips of the loop over `name`.

    Requires: the innermost loop of the grid, without loops in it, whose stores all go to neighbours that are aligned (`widest` says to how many).
    Guarantees: the same iterations.

    Raises:
        ScheduleError: there is no such loop, or it is something else.
    """
    loop = loop_named(kernel, name)
    if not 1 < lanes <= widest(kernel, loop):
        raise ScheduleError(f"loop {name} does not read and write {lanes} neighbours at once")
    index, size = loop.src[:2]
    whole = _Run(kernel, loop, lanes).lines()
    known = extent(loop)
    if known is None or known % lanes:
        fits = (index + (lanes - 1)).lt(size)
        none, one = constant(0, int64), constant(1, int64)
        rest = loops.index("rest_trip")
        lines = _single(kernel, loop, index + rest)
        whole = [
            loops.loop(loops.index("whole"), where(fits, one, none), whole),
            loops.loop(rest, where(fits, none, size - index), lines),
        ]
    return replace_loop(kernel, loop, [loops.loop(index, size, whole, lanes, "parallel")])


def widest(kernel: Node, loop: Node) -> int:
    """How many trips of a grid's innermost loop one thread may do: those whose elements are 16 bytes; 0 or 1 where it may not."""
    assert isinstance(loop.arg, Loop)
    lines = body(loop)
    around = next(outer for each, outer in all_loops(kernel) if each is loop)
    if loop.arg.kind != "parallel" or loop.arg.step != 1:
        return 0
    if any(line.op not in (Op.LOAD, Op.STORE, Op.CHECK) for line in lines):
        return 0
    stored = [line for line in lines if line.op is Op.STORE]
    sizes = [line.src[0].dtype.itemsize for line in stored if line.src[0].op is Op.PARAM]
    if len(sizes) < len(stored) or any(len(line.src) > 3 for line in stored):
        return 0
    stride = _stride(loop)
    for line in lines:
        if line.op is Op.LOAD and line.src[0].op is Op.PARAM and stride(line.src[1]) == 1:
            sizes.append(line.src[0].dtype.itemsize)
    lanes = BYTES // max(sizes, default=BYTES)
    outer = [Stride(each.src[0]) for each in around]
    known = extent(loop)
    while lanes > 1:
        aligned = all(_is_run(line, stride, outer, lanes) for line in stored)
        if aligned and (not around or (known is not None and known % lanes == 0)):
            return lanes if _in_order(lines) else 0
        lanes //= 2
    return lanes


def _stride(loop: Node) -> Stride:
    """How values move from trip to trip; what is loaded moves as nobody knows, unless where it is loaded from stands still."""
    stride = Stride(loop.src[0])
    for line in body(loop):
        if line.op is Op.LOAD:
            still = all(stride(each) == 0 for each in line.src[1:])
            stride.mark(line, 0 if still else None)
    return stride


def _is_run(line: Node, stride: Stride, outer: list[Stride], lanes: int) -> bool:
    """Whether a line meets neighbours of a buffer that is given, from a multiple of `lanes` on."""
    if line.op is Op.LOAD and len(line.src) > 2:
        return False
    offset = line.src[1]
    first = at_zero(offset)
    if line.src[0].op is not Op.PARAM or stride(offset) != 1 or first is None or first % lanes:
        return False
    apart = [each(offset) for each in outer]
    return all(moves is not None and moves % lanes == 0 for moves in apart)


def _in_order(lines: tuple[Node, ...]) -> bool:
    """Whether nothing is read of a buffer after it was written."""
    written: set[int] = set()
    for line in lines:
        if line.op is Op.STORE:
            written.add(id(line.src[0]))
        elif line.op is Op.LOAD and id(line.src[0]) in written:
            return False
    return True


def _single(kernel: Node, loop: Node, index: Node) -> list[Node]:
    """The lines of one trip."""
    lines: list[Node] = []
    known = {id(loop.src[0]): index}
    outside = {id(line) for line in body(kernel)}
    for line in body(loop):
        src = [copied(source, known, None, lines, outside) for source in line.src]
        if line.op is Op.LOAD:
            copied(line, known, None, lines, outside)
        else:
            lines.append(line.like(tuple(src)))
    return lines


class _Run:
    """The lines of all trips of a thread."""

    def __init__(self, kernel: Node, loop: Node, lanes: int) -> None:
        self.loop = loop
        self.count = lanes
        self.stride = _stride(loop)
        around = next(outer for each, outer in all_loops(kernel) if each is loop)
        self.outer = [Stride(each.src[0]) for each in around]
        self.outside = {id(line) for line in body(kernel)}
        self.names = {loop_name(each) for each, _ in all_loops(kernel)}

    def lines(self) -> list[Node]:
        lane = loops.index("lane")
        known = {id(self.loop.src[0]): self.loop.src[0] + lane}
        before: list[Node] = []
        inside: list[Node] = []
        after: list[Node] = []
        runs: dict[tuple[int, int], Node] = {}
        for line in body(self.loop):
            if line.op is Op.LOAD:
                if self.stride(line) == 0:
                    before.append(line)
                    known[id(line)] = line
                elif _is_run(line, self.stride, self.outer, self.count):
                    buffer, offset = line.src[:2]
                    key = (id(buffer), id(offset))
                    if key not in runs:
                        runs[key] = self._local(buffer, len(runs))
                        value = loops.load(buffer, offset, lanes=self.count)
                        before += [runs[key], value, loops.store(runs[key], 0, value)]
                    known[id(line)] = loops.load(runs[key], lane)
                    inside.append(known[id(line)])
                else:
                    copied(line, known, None, inside, self.outside)
                continue
            src = [copied(source, known, None, inside, self.outside) for source in line.src]
            if line.op is Op.CHECK:
                inside.append(line.like(tuple(src)))
                continue
            buffer, offset = line.src[:2]
            run = self._local(buffer, len(after))
            before.append(run)
            inside.append(loops.store(run, lane, src[2]))
            value = loops.load(run, 0, lanes=self.count)
            after += [value, loops.store(buffer, offset, value)]
        return [*before, loops.loop(lane, self.count, inside, 1, "unroll"), *after]

    def _local(self, buffer: Node, number: int) -> Node:
        """A short array for neighbours of a buffer."""
        assert isinstance(buffer.arg, (Param, Name))
        name = f"{buffer.arg.name}_run"
        while name in self.names:
            name += f"_{number + 1}"
        self.names.add(name)
        return loops.local(name, buffer.dtype, (self.count,))
