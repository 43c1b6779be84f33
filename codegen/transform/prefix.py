"""prefix: a loop with a running value (a scan) divided among the work-items of a group.

The group takes a block of iterations at a time. It computes their values into an array, neighbours side by side; each work-item combines a stretch of the array, the group scans what
these amount to in steps of 1, 2, 4, ... stretches, and each work-item goes through its stretch again from what is in front of it. Then the group does what follows, neighbours side by
side again. What the block amounts to goes on to the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, product
from typing import get_args

from lazygrad.codegen.reductions import combine, identity
from lazygrad.ir import loops
from lazygrad.ir.args import Loop, ReduceKind, ScanKind
from lazygrad.ir.dtype import int64
from lazygrad.ir.node import Node, constant, postorder, same, where
from lazygrad.ir.op import Op
from lazygrad.ir.rewrite import rebuild

from .access import (
    ScheduleError,
    body,
    extent,
    lines_inside,
    loop_name,
    loop_named,
    names,
    replace_loop,
    unused_suffix,
)
from .jam import Copies
from .pack import without_unread
from .share import obstacle, share, threads_for

STRETCH_BYTES = 72
"""The most of a work-item's stretch: a block is 17 or 18 KB, of which a multiprocessor holds several."""
KINDS: tuple[ScanKind, ...] = (*get_args(ReduceKind), "logaddexp")


@dataclass(frozen=True, slots=True)
class Running:
    """A value that each iteration of a loop goes on with."""

    total: Node
    """The local that has it."""
    before: Node
    after: Node
    value: Node
    """What an iteration adds to it, or meets it with."""
    kind: ScanKind
    line: Node
    """The store of `after`."""


def prefix(kernel: Node, name: str, stretch: int) -> Node:
    """Divide the loop over `name` among a group, blocks of `stretch` iterations for each of its work-items one after the other.

    Requires: its step is 1, and iterations meet only in running values, which are combined as a scan combines them. An odd `stretch` keeps work-items from waiting for each
    other's banks of memory.
    Guarantees: the same iterations; running values are reassociated, in an order that depends on `stretch` and the extent alone.

    Raises:
        ScheduleError: there is no such loop, or an iteration needs another one in another way.
    """
    loop = loop_named(kernel, name)
    found, early = _scanned(loop)
    taken = names(kernel)

    def new(suffix: str) -> str:
        free = (f"{name}_{suffix}{number or ''}" for number in count())
        taken.add(made := next(each for each in free if each not in taken))
        return made

    size, known = loop.src[1], extent(loop)
    threads = threads_for(known)
    length = threads * stretch
    single = known is not None and known <= length
    block: Node = constant(0, int64) if single else loops.index(new("block"))
    scans = [_Scan(each, new, threads, stretch) for each in found]
    entry, left = loops.index(new("entry")), loops.index(new("result"))
    at = entry if single else block + entry
    whole = known is not None and known % length == 0
    inside = at.lt(size)
    for scan, each in zip(scans, found, strict=True):
        value = each.value
        if not whole:  # beyond the end the last iteration is computed again
            value = where(inside, value, identity(each.kind, value.dtype))
        early.append(loops.store(scan.values, entry, value))
    suffix = unused_suffix(kernel, loop)
    first = _moved(loop, early, entry, length, at if whole else at.minimum(size - 1), suffix)
    results = [loops.load(scan.values, left) for scan in scans]
    late = [*results, *_rest(loop, found, results)]
    rest = size if single else length if whole else (size - block).minimum(length)
    second = _moved(loop, late, left, rest, left if single else block + left, "")
    lines = [first, *[line for scan in scans for line in scan.lines()], second]
    if not single:
        lines = [loops.loop(block, size, lines, length)]
    arrays = [line for scan in scans for line in (scan.values, scan.sums)]
    kernel = replace_loop(kernel, loop, [*arrays, *lines])
    return share(share(kernel, loop_name(first)), loop_name(second))


def stretch_of(loop: Node) -> int:
    """How many iterations of a loop that `prefix` can divide each work-item takes at a time; 0 where it cannot."""
    try:
        found = _scanned(loop)[0]
    except ScheduleError:
        return 0
    known = extent(loop)
    most = STRETCH_BYTES // sum(each.before.dtype.itemsize for each in found)
    wanted = most if known is None else -(-known // threads_for(known))
    return min(wanted | 1, max(most - 1, 0) | 1)


class _Scan:
    """One running value: the arrays of a group, and the lines that scan a block whose values are in the first one."""

    def __init__(
        self, running: Running, new: Callable[[str], str], threads: int, stretch: int
    ) -> None:
        self.running = running
        self.threads = threads
        self.stretch = stretch
        dtype = running.before.dtype
        self.values = loops.local(new("values"), dtype, (threads * stretch,))
        self.sums = loops.local(new("sums"), dtype, (2 * threads,))
        self.new = new

    def lines(self) -> list[Node]:
        return [self._stretches(), *self._stretch_sums(), *self._again()]

    def _stretches(self) -> Node:
        """What each stretch amounts to."""
        kind, dtype = self.running.kind, self.values.dtype
        thread = loops.index(self.new("stretch"))
        sum_ = loops.local(self.new("sum"), dtype)
        lines = [
            sum_,
            loops.store(sum_, 0, identity(kind, dtype)),
            self._through(sum_, thread, False),
        ]
        whole = loops.load(sum_, 0)
        lines += [whole, loops.store(self.sums, thread, whole)]
        return loops.loop(thread, self.threads, lines, 1, "threads")

    def _stretch_sums(self) -> list[Node]:
        """A scan of these: in each step a stretch meets what is so many stretches in front of it, from one half of the array into the other."""
        steps = self.threads.bit_length() - 1
        step, thread = loops.index(self.new("step")), loops.index(self.new("meets"))
        apart = constant(1, int64) << step
        source, target = step % 2 * self.threads, (1 - step % 2) * self.threads
        own = loops.load(self.sums, source + thread)
        other = loops.load(self.sums, source + (thread - apart).maximum(0))
        met = where(thread.lt(apart), own, combine(self.running.kind, other, own))
        lines = [own, other, loops.store(self.sums, target + thread, met)]
        meet = loops.loop(thread, self.threads, lines, 1, "threads")
        return [loops.loop(step, steps, [meet], 1, "unroll")]

    def _again(self) -> list[Node]:
        """Each stretch from what is in front of it; then what the whole block amounts to is in front of the next one."""
        kind, total = self.running.kind, self.running.total
        half = (self.threads.bit_length() - 1) % 2 * self.threads
        thread = loops.index(self.new("again"))
        sum_ = loops.local(self.new("total"), self.values.dtype)
        carried = loops.load(total, 0)
        front = loops.load(self.sums, (thread + (half - 1)).maximum(half))
        begin = where(thread.lt(1), carried, combine(kind, carried, front))
        lines = [front, sum_, loops.store(sum_, 0, begin), self._through(sum_, thread, True)]
        carried_on = loops.load(self.sums, half + self.threads - 1)
        return [
            carried,
            loops.loop(thread, self.threads, lines, 1, "threads"),
            carried_on,
            loops.store(total, 0, combine(kind, carried, carried_on)),
        ]

    def _through(self, sum_: Node, thread: Node, kept: bool) -> Node:
        """The loop that combines a stretch; what is in each place is `kept` there."""
        at = loops.index(self.new("at"))
        place = thread * self.stretch + at
        value, before = loops.load(self.values, place), loops.load(sum_, 0)
        after = combine(self.running.kind, before, value)
        lines = [value, before, loops.store(sum_, 0, after)]
        if kept:
            lines.append(loops.store(self.values, place, after))
        short = self.running.kind != "logaddexp"  # which is dozens of operations
        return loops.loop(at, self.stretch, lines, 1, "unroll" if short else "serial")


def _scanned(loop: Node) -> tuple[list[Running], list[Node]]:
    """The running values of a loop, and the lines that compute what they meet.

    Raises:
        ScheduleError: there are none, or an iteration needs another one in another way.
    """
    assert isinstance(loop.arg, Loop)
    name = loop_name(loop)
    found = list(_running(loop))
    if not found or loop.arg.step != 1:
        raise ScheduleError(f"loop {name} has no running value, or a step")
    early = _computing(body(loop), [each.value for each in found], lambda line: False)
    results = [_result(each, loop.src[0]) for each in found]
    late = _rest(loop, found, results)
    own = {id(line) for line in lines_inside(loop) if line.op is Op.LOCAL}
    met = {id(node) for node in postorder([*early, *[each.value for each in found]])}
    if met & ({id(each.before) for each in found} | (_written(body(loop)) - own)):
        raise ScheduleError(f"what a running value of loop {name} meets needs other iterations")
    if {id(node) for node in postorder(late)} & {id(each.total) for each in found}:
        raise ScheduleError(f"loop {name} reads a running value as it is before an iteration")
    for lines in (early, [*results, *late]):
        if reason := obstacle(loops.loop(loop.src[0], loop.src[1], lines)):
            raise ScheduleError(f"loop {name} cannot be shared: {reason}")
    return found, early


def _running(loop: Node) -> Iterator[Running]:
    """The locals of one element that each iteration reads and then writes, once, as a step of a scan does."""
    lines = body(loop)
    every = [each for each in lines_inside(loop) if each.op in (Op.LOAD, Op.STORE, Op.ACCUMULATE)]
    own = {id(line) for line in lines if line.op is Op.LOCAL}
    for line in lines:
        total = line.src[0] if line.op is Op.STORE else line
        if total.op is not Op.LOCAL or id(total) in own or total.shape or len(line.src) != 3:
            continue
        met = [each for each in every if each.src[0] is total]
        if len(met) != 2 or met[1] is not line or met[0].op is not Op.LOAD or met[0] not in lines:
            continue
        before, after = met[0], line.src[2]
        for kind, value in product(KINDS, _partners(before, after)):
            if same([after], [combine(kind, before, value)]):
                yield Running(total, before, after, value, kind, line)
                break


def _partners(before: Node, after: Node) -> list[Node]:
    """What a value before an iteration may meet in it."""
    found = [
        node.src[1]
        for node in postorder([after])
        if node.src[:1] == (before,) and len(node.src) == 2
    ]
    return [
        each for each in dict.fromkeys(found) if each.dtype is before.dtype and each is not before
    ]


def _result(running: Running, place: Node) -> Node:
    """A line that reads a running value of an array of them."""
    return loops.load(loops.local("values", running.after.dtype, (1,)), place)


def _rest(loop: Node, found: Sequence[Running], results: Sequence[Node]) -> list[Node]:
    """The lines that do everything beside the running values, which are `results`."""
    given = {id(each.after): result for each, result in zip(found, results, strict=True)}
    stores = {id(each.line) for each in found}
    lines = [line for line in body(loop) if id(line) not in stores]
    lines = rebuild(lines, lambda node: given.get(id(node)))
    own = {id(line) for line in lines_inside(loop) if line.op is Op.LOCAL}
    return _computing(lines, [], lambda line: line.op is Op.CHECK or bool(_written([line]) - own))


def _computing(
    lines: Sequence[Node], values: Sequence[Node], kept: Callable[[Node], bool]
) -> list[Node]:
    """Those of the lines that are needed for some values, or are kept."""
    read = {id(node) for node in postorder(values)}
    found: list[Node] = []
    for line in reversed(lines):
        needed = id(line) in read if line.op in (Op.LOAD, Op.LOCAL) else _written([line]) & read
        if needed or kept(line):
            found.append(line)
            read.update(id(node) for node in postorder([line]))
    return found[::-1]


def _written(lines: Sequence[Node]) -> set[int]:
    """The buffers that lines write, by id."""
    inside = [
        each for line in lines for each in (lines_inside(line) if line.op is Op.LOOP else [line])
    ]
    return {id(each.src[0]) for each in inside if each.op in (Op.STORE, Op.ACCUMULATE)}


def _moved(
    loop: Node, lines: list[Node], index: Node, size: Node | int, at: Node, suffix: str
) -> Node:
    """A loop of these lines of another one, in whose place `index` is its iteration `at`."""
    whole = without_unread(loops.loop(loop.src[0], loop.src[1], lines))
    return loops.loop(index, size, Copies(whole, at, 1, suffix).lines(body(whole)))
