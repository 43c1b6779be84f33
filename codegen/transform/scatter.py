"""Scatters by many threads: the loop that fills what a scatter updates, and the loop that updates it, each as a grid.

In: the loop tree of a scatter. An update goes where an index says, so nobody knows which iterations meet. `distribute` sets fill and updates apart. Then the updates are
`atomic`: in any order, each at once; or `owned`: a thread has a range of the places, and goes through all updates for those that are its own, in order; or the last one
that comes to a place is its `winner`, and writes it alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lazygrad.ir import loops
from lazygrad.ir.args import Loop, ReduceKind
from lazygrad.ir.dim import product
from lazygrad.ir.dtype import DType, int32, int64
from lazygrad.ir.node import Node, constant, postorder, same, where
from lazygrad.ir.op import Op

from .access import (
    ScheduleError,
    Stride,
    all_loops,
    body,
    carries,
    constant_value,
    extent,
    lines_inside,
    loop_name,
    loop_named,
    multiple,
    replace_loop,
    unused_suffix,
    with_body,
)
from .jam import Copies

KINDS: dict[Op, ReduceKind] = {Op.ADD: "add", Op.MUL: "mul", Op.MAX: "max", Op.MIN: "min"}
"""How an update may meet what is there."""
NARROW_LIMIT = 1 << 31
"""So many updates have numbers of 32 bits."""


@dataclass(frozen=True, slots=True)
class Updates:
    """A nest of loops whose innermost one updates one element of a buffer from outside."""

    loops: tuple[Node, ...]
    """Each but the last holds the next one, and before it loads and checks alone."""
    lines: tuple[Node, ...]
    """Those of an update: what the outer loops load and check, then the body of the innermost one."""
    store: Node
    before: Node | None
    """The load of what is there; none where an update overwrites it."""
    kind: ReduceKind | None
    value: Node

    @property
    def target(self) -> Node:
        return self.store.src[0]

    @property
    def place(self) -> Node:
        return self.store.src[1]


# --- fill and updates apart


def distribute(kernel: Node, name: str) -> Node:
    """Make a loop of each loop that the body of the loop over `name` holds, one after the other (loop distribution).

    Requires: beside those loops it has loads and checks alone, and what an iteration writes no other one meets.
    Guarantees: the same iterations of each, in the same order.

    Raises:
        ScheduleError: there is no such loop, or it is not so.
    """
    loop = loop_named(kernel, name)
    assert isinstance(loop.arg, Loop)
    inside = [line for line in body(loop) if line.op is Op.LOOP]
    others = [line for line in body(loop) if line.op is not Op.LOOP]
    if len(inside) < 2 or any(line.op not in (Op.LOAD, Op.CHECK) for line in others):
        raise ScheduleError(f"the body of loop {name} is not loops, loads and checks")
    written: set[int] = set()
    for line in lines_inside(loop):
        if line.op in (Op.STORE, Op.ACCUMULATE) and line.src[0].op is Op.PARAM:
            written.add(id(line.src[0]))
            if not apart(kernel, loop, line.src[1]):
                raise ScheduleError(f"two iterations of loop {name} may write the same element")
    if any(line.op is Op.LOAD and id(line.src[0]) in written for line in others):
        raise ScheduleError(f"the body of loop {name} reads what a loop in it writes")
    made: list[Node] = []
    for nest in inside:
        needed = {id(node) for node in postorder([nest])}
        first = nest is inside[0]
        lines = [line for line in others if id(line) in needed or (first and line.op is Op.CHECK)]
        needed = {id(node) for node in postorder(lines)} | needed
        own = with_body(loop, [*(each for each in others if id(each) in needed), nest])
        if not first:
            index = loops.index(loop_name(loop) + unused_suffix(with_loops(kernel, made), loop))
            suffix = index.arg.name.removeprefix(loop_name(loop))  # type: ignore[union-attr]
            again = Copies(own, index, 1, suffix).lines(body(own))
            own = loops.loop(index, loop.src[1], again, loop.arg.step, loop.arg.kind)
        made.append(own)
    return replace_loop(kernel, loop, made)


def with_loops(kernel: Node, made: Sequence[Node]) -> Node:
    """The kernel with loops behind it, for the names in them."""
    return with_body(kernel, [*body(kernel), *made])


def apart(kernel: Node, loop: Node, place: Node) -> bool:
    """Whether two iterations of a loop never come to the same place, whatever other loops and indices do.

    One part of the place is the loop's variable, in steps. The rest is less than a step, or goes in steps beyond all of the loop's.
    """
    own = _own_part(loop, place)
    if own is None:
        return False
    size, step = extent(loop), Stride(loop.src[0])(own)
    assert step
    around = {id(each.src[0]): each for each, _ in all_loops(kernel)}
    low = high = 0
    for addend in _addends(place):
        if addend is own or (size is not None and multiple(addend) % (step * size) == 0):
            continue
        found = _bounds(addend, around)
        if found is None:
            return False
        low, high = low + found[0], high + found[1]
    return high - low < step


def _own_part(loop: Node, place: Node) -> Node | None:
    """The addend of a place that is the loop's variable, in steps forwards, and nothing else; none where there is no such one, or are several."""
    index = loop.src[0]
    found = [
        addend
        for addend in _addends(place)
        if all(node is index or node.op in (Op.CONST, Op.MUL) for node in postorder([addend]))
        and (Stride(index)(addend) or 0) > 0
    ]
    return found[0] if len(found) == 1 else None


def _addends(place: Node) -> list[Node]:
    found: list[Node] = []
    stack = [place]
    while stack:
        node = stack.pop()
        if node.op is Op.ADD:
            stack.extend(node.src)
        else:
            found.append(node)
    return found


def _bounds(node: Node, around: dict[int, Node]) -> tuple[int, int] | None:
    """The least and the most that an index can be: a number, that of a loop, what a check has let through, or a multiple of one."""
    value = constant_value(node)
    if value is not None:
        return value, value
    if id(node) in around:
        size = extent(around[id(node)])
        return None if size is None else (0, max(size - 1, 0))
    if node.op is Op.MUL:
        for number, other in (node.src, node.src[::-1]):
            factor, found = constant_value(number), _bounds(other, around)
            if factor is not None and factor >= 0 and found is not None:
                return factor * found[0], factor * found[1]
    if node.op is Op.WHERE and node.src[0].op is Op.AND:
        condition, chosen, other = node.src
        least, most = condition.src
        if (
            least.op is Op.LE
            and most.op is Op.LT
            and constant_value(least.src[0]) == 0
            and least.src[1] is chosen
            and most.src[0] is chosen
            and constant_value(other) == 0
        ):
            size = constant_value(most.src[1])
            return None if size is None else (0, max(size - 1, 0))
    return None


# --- what a nest does


def updates(kernel: Node, name: str) -> Updates:
    """What the nest of the loop over `name`, one of the kernel's own lines, updates.

    Raises:
        ScheduleError: there is no such loop there, or it does something else.
    """
    nest = loop_named(kernel, name)
    if not any(line is nest for line in body(kernel)):
        raise ScheduleError(f"loop {name} is none of the kernel's own lines")
    found, lines = [nest], list[Node]()
    while True:
        assert isinstance(found[-1].arg, Loop)
        if found[-1].arg.step != 1 or found[-1].arg.kind not in ("serial", "parallel"):
            raise ScheduleError(f"loop {loop_name(found[-1])} has a step, or is shared")
        *first, last = body(found[-1])
        if last.op is not Op.LOOP or any(line.op not in (Op.LOAD, Op.CHECK) for line in first):
            break
        inner = {id(node) for node in postorder([last.src[1]])}
        if any(id(each) in inner for each in (*first, *(loop.src[0] for loop in found))):
            break
        lines += first
        found.append(last)
    lines += body(found[-1])
    own = {id(line) for line in lines_inside(nest) if line.op is Op.LOCAL}
    written = [
        line
        for line in lines_inside(nest)
        if line.op in (Op.STORE, Op.ACCUMULATE) and id(line.src[0]) not in own
    ]
    if len(written) != 1 or written[0].op is not Op.STORE or written[0] not in body(found[-1]):
        raise ScheduleError(f"loop {name} does not update one element in each iteration")
    (store,) = written
    target, place, value, *mask = store.src
    read = [line for line in lines_inside(nest) if line.op is Op.LOAD and line.src[0] is target]
    if target.op is not Op.PARAM or mask or place.shape:
        raise ScheduleError(f"loop {name} updates a local, or several elements at once")
    if not read:
        return Updates(tuple(found), tuple(lines), store, None, None, value)
    (before, *others), kind = read, KINDS.get(value.op)
    if others or kind is None or value.src[0] is not before:
        raise ScheduleError(f"loop {name} reads what it writes, and not to update it")
    if len(before.src) > 2 or not same([before.src[1]], [place]):
        raise ScheduleError(f"loop {name} reads another element than it writes")
    users = [node for node in postorder([nest]) if before in node.src and node.op is not Op.LOOP]
    if users != [value]:
        raise ScheduleError(f"loop {name} uses what it reads more than once")
    return Updates(tuple(found), tuple(lines), store, before, kind, value.src[1])


def atomic(kernel: Node, name: str) -> Node:
    """Make the loops of the nest over `name` parallel ones whose updates are atomic.

    Requires: it is one of the kernel's own lines, and updates one element in each iteration.
    Guarantees: the same updates; those of one element in any order.

    Raises:
        ScheduleError: there is no such loop, its updates overwrite, or iterations need each other in another way.
    """
    found = updates(kernel, name)
    if found.kind is None:
        raise ScheduleError(f"the updates of loop {name} overwrite, so their order counts")
    line = loops.accumulate(found.target, found.place, found.value, _kind(found), None, True)
    lines = [
        line if each is found.store else each for each in found.lines if each is not found.before
    ]
    return replace_loop(kernel, found.loops[0], [_parallel(found.loops, lines)])


def _kind(found: Updates) -> ReduceKind:
    """How the values meet: sums and products of truths are "or" and "and"."""
    assert found.kind is not None
    if found.value.dtype.kind == "bool":
        return {"add": "or", "mul": "and", "max": "or", "min": "and"}[found.kind]  # type: ignore[return-value]
    return found.kind


def _parallel(nest: Sequence[Node], lines: Sequence[Node]) -> Node:
    """The lines in parallel loops, each of which holds nothing else.

    Raises:
        ScheduleError: an iteration needs another one.
    """
    made: list[Node] = list(lines)
    for loop in reversed(nest):
        made = [loops.loop(loop.src[0], loop.src[1], made, 1, "parallel")]
        if carries(made[0]):
            raise ScheduleError(
                f"an iteration of loop {loop_name(loop)} may read what another one writes"
            )
    return made[0]


# --- in order


def owned(kernel: Node, name: str, parts: int) -> Node:
    """Cut what the nest over `name` updates into `parts` ranges, and go through all updates for each of them: a grid of the ranges.

    Loops whose iterations never come to the same place are of the grid, too.

    Requires: it is one of the kernel's own lines, updates one element in each iteration, and the range of its indices is known.
    Guarantees: the same updates; those of one element in the same order. What they read beside their index, only the owner reads.

    Raises:
        ScheduleError: there is no such loop, the range is not known, or iterations need each other in another way.
    """
    found = updates(kernel, name)
    lines = _without_order(found)
    free = free_loops(kernel, found)
    ordered = [loop for loop in found.loops if loop not in free]
    around = {id(each.src[0]): each for each, _ in all_loops(kernel)}
    parts_of_free = [_own_part(loop, found.place) for loop in free]
    rest = [each for each in _addends(found.place) if each not in parts_of_free]
    place, size = constant(0, int64), 1
    for addend in rest:
        bounds = _bounds(addend, around)
        if bounds is None:
            raise ScheduleError(f"where the updates of loop {name} go is not known to end")
        place, size = (place + addend if size > 1 else addend), size + bounds[1]
    unit = max(multiple(place), 1)  # no place is between two of these
    length = -(-((size - 1) // unit + 1) // parts) * unit
    owner = loops.index(f"{name}_owner")
    first = owner * length
    mine = first.le(place) & place.lt(first + length)
    late = _values(found, lines)
    own = loops.loop(loops.index(f"{name}_own"), where(mine, constant(1, int64), 0), late)
    skipped = {id(line) for line in late}
    inner: list[Node] = [*(line for line in lines if id(line) not in skipped), own]
    for loop in reversed(ordered):
        inner = [loops.loop(loop.src[0], loop.src[1], inner)]
    for loop in reversed(free):
        inner = [loops.loop(loop.src[0], loop.src[1], inner, 1, "parallel")]
    nest = loops.loop(owner, -(-size // length), inner, 1, "parallel")
    return replace_loop(kernel, found.loops[0], [nest])


def row(kernel: Node, found: Updates) -> Node | None:
    """The loop that goes along memory while all that its updates have looked up stays what it is."""
    for loop in free_loops(kernel, found):
        own, stride = _own_part(loop, found.place), Stride(loop.src[0])
        rest = [each for each in _addends(found.place) if each is not own]
        if stride(found.place) == 1 and all(stride(each) == 0 for each in rest):
            return loop
    return None


def free_loops(kernel: Node, found: Updates) -> list[Node]:
    """Those of the loops whose iterations never come to the same place."""
    return [loop for loop in found.loops if apart(kernel, loop, found.place)]


def _without_order(found: Updates) -> tuple[Node, ...]:
    """The lines of an update.

    Raises:
        ScheduleError: beside the updates themselves an iteration needs another one.
    """
    _parallel(
        found.loops, [line for line in found.lines if line not in (found.before, found.store)]
    )
    return found.lines


def _values(found: Updates, lines: Sequence[Node]) -> list[Node]:
    """Those lines that only the update itself needs: loads of its value, the load of what is there, the store."""
    late: set[int] = {id(found.store), id(found.before)}
    needed: set[int] = {id(node) for node in postorder([found.place])}
    for line in reversed(lines):
        if line.op is Op.LOAD and line.src[0].op is Op.PARAM and id(line) not in needed:
            late.add(id(line))
        elif id(line) not in late:
            needed |= {id(node) for node in postorder([line])}
    return [line for line in lines if id(line) in late]


def numbers(found: Updates) -> DType:
    """The dtype that numbers all updates."""
    sizes = [extent(loop) for loop in found.loops]
    known = [size for size in sizes if size is not None]
    few = len(known) == len(sizes) and math.prod(known) < NARROW_LIMIT
    return int32 if few else int64


def winner(kernel: Node, name: str) -> Node:
    """Let the last update of each element that the nest over `name` overwrites write it, and no other one: three loops of any order.

    One says that no update has come to an element yet; one puts the number of the last one there, atomically; in one each update that finds its number writes.

    Requires: it is one of the kernel's own lines, and overwrites one element of a buffer of known size in each iteration.
    Guarantees: the same values.

    Raises:
        ScheduleError: there is no such loop, sizes are not known, or iterations need each other in another way.
    """
    found = updates(kernel, name)
    size = product(found.target.shape)
    if found.kind is not None or not isinstance(size, int):
        raise ScheduleError(
            f"the updates of loop {name} do not overwrite, or a buffer of unknown size"
        )
    inside = _without_order(found)
    number: Node = constant(0, int64)
    for loop in found.loops:
        number = number * loop.src[1] + loop.src[0]
    kind = numbers(found)
    last = loops.local(f"{name}_winner", kind, (size,))
    number = number.cast(kind)
    clear = loops.index(f"{name}_clear")
    cleared = loops.loop(clear, size, [loops.store(last, clear, constant(-1, kind))], 1, "parallel")
    late = _values(found, inside)
    skipped = {id(line) for line in late}
    early = [line for line in inside if id(line) not in skipped]
    marked = _parallel(
        found.loops, [*early, loops.accumulate(last, found.place, number, "max", None, True)]
    )
    won = loops.load(last, found.place)
    own = loops.loop(loops.index(f"{name}_own"), where(won.eq(number), constant(1, int64), 0), late)
    lines = [*(line for line in early if line.op is not Op.CHECK), won, own]
    for loop in reversed(found.loops):
        lines = [loops.loop(loop.src[0], loop.src[1], lines, 1, "parallel")]
    write = loops.index(f"{name}_write")
    again = Copies(lines[0], write, 1, "_write").lines(body(lines[0]))
    writing = loops.loop(write, found.loops[0].src[1], again, 1, "parallel")
    return replace_loop(kernel, found.loops[0], [last, cleared, marked, writing])


__all__ = [
    "Updates",
    "apart",
    "atomic",
    "distribute",
    "free_loops",
    "numbers",
    "owned",
    "row",
    "updates",
    "winner",
]
