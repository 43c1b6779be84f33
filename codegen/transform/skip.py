"""skip: a loop that does next to nothing where a flag is not set passes by the blocks of its iterations in which none is.

A compaction (nonzero, masked_select, unique) counts flags as it goes, and writes each place that is flagged to where the count says; what is
not flagged goes to one place that nobody reads. An iteration without its flag leaves the count as it is, and writes where all such
iterations write. So of a block without flags the last iteration alone is as good as all of them, and vectors find such blocks.
"""

from __future__ import annotations

from collections.abc import Iterator

from lazygrad.ir import loops
from lazygrad.ir.dtype import bool_, int64
from lazygrad.ir.node import Node, constant, postorder, where
from lazygrad.ir.op import ELEMENTWISE, Op

from .access import (
    ScheduleError,
    all_loops,
    body,
    constant_value,
    counted,
    loop_name,
    replace_loop,
)
from .jam import copied


def skip(kernel: Node, name: str, factor: int) -> Node:
    """Cut the loop over `name` into blocks of `factor` iterations; of a block in which no flag is set only the last iteration runs.

    Requires: its step is 1, its extent is known and no less than `factor`, and it has a flag as `flag` says. What `factor` leaves over is a
    loop of its own. The loop that looks at the flags of a block is `name`_any.
    Guarantees: what is written in the end is the same.

    Raises:
        ScheduleError: there is no such loop, or it is not so.
    """
    loop, size = counted(kernel, name, factor)
    found = flag(loop)
    if found is None:
        raise ScheduleError(f"loop {name} has no flag without which its iterations do nothing new")
    taken = {loop_name(each) for each, _ in all_loops(kernel)}

    def fresh(suffix: str) -> str:
        names = (f"{name}_{suffix}{number or ''}" for number in range(len(taken) + 1))
        return next(each for each in names if each not in taken)

    looking_over = fresh("any")
    block, each, inner = loops.index(fresh("block")), loops.index(looking_over), loops.index(name)
    start = block * factor
    some = loops.local(f"{looking_over}_set", bool_)
    needed = {id(node) for node in postorder([found])}
    reading = [line for line in body(loop) if line.op is Op.LOAD and id(line) in needed]
    looking = [*reading, loops.accumulate(some, 0, found, "or")]
    looked = copied(loops.loop(loop.src[0], loop.src[1], looking), start + each)
    known = loops.load(some, 0)
    first = where(known, constant(0, int64), constant(factor - 1, int64))
    lines = [
        some,
        loops.store(some, 0, constant(False, bool_)),
        loops.loop(each, factor, looked),
        known,
        loops.loop(inner, factor - first, copied(loop, start + first + inner)),
    ]
    made = [loops.loop(block, size // factor, lines)]
    if rest := size % factor:
        last = loops.index(fresh("rest"))
        made.append(loops.loop(last, rest, copied(loop, last + (size - rest))))
    return replace_loop(kernel, loop, made)


def flag(loop: Node) -> Node | None:
    """A condition without which an iteration changes no register, and writes where every other iteration without it writes.

    It is computed from what the loop only reads.
    """
    lines = body(loop)
    if any(line.op not in (Op.LOAD, Op.STORE, Op.CHECK) for line in lines):
        return None
    written = {id(line.src[0]) for line in lines if line.op is Op.STORE}
    for candidate in _conditions(lines):
        read = [node for node in postorder([candidate]) if node.op is Op.LOAD]
        if not any(id(node.src[0]) in written for node in read) and _idle(loop, candidate):
            return candidate
    return None


def _conditions(lines: tuple[Node, ...]) -> Iterator[Node]:
    """What the lines of a loop choose by, and what is counted."""
    for node in postorder([source for line in lines for source in line.src[1:]]):
        if node.op is Op.WHERE or (node.op is Op.CAST and node.src[0].dtype is bool_):
            if node.src[0].shape == () and node.src[0].op is not Op.CONST:
                yield node.src[0]


def _idle(loop: Node, condition: Node) -> bool:
    """Whether iterations in which `condition` is false leave every register as it is, and write and check the same as each other."""
    lines = body(loop)
    registers = {
        id(line.src[0])
        for line in lines
        if line.op is Op.STORE and line.src[0].op is Op.LOCAL and line.src[0].shape == ()
    }
    read = {id(line.src[0]) for line in lines if line.op is Op.LOAD}
    written = {id(line.src[0]) for line in lines if line.op is Op.STORE}
    known: dict[int, Node | None] = {id(loop.src[0]): None, id(condition): constant(False, bool_)}
    for node in postorder(list(lines)):
        if id(node) not in known:
            known[id(node)] = _without(node, known, registers, written)
    for line in lines:
        if line.op is Op.STORE:
            buffer, offset, value, *mask = (known[id(source)] for source in line.src)
            if id(line.src[0]) in registers:
                kept = value is not None and value.op is Op.LOAD and value.src[0] is buffer
                if not kept or mask:
                    return False
            elif offset is None or mask or id(line.src[0]) in read:
                return False  # what is added to is another value each time
        elif line.op is Op.CHECK and known[id(line.src[0])] is None:
            return False
    return True


def _without(
    node: Node, known: dict[int, Node | None], registers: set[int], written: set[int]
) -> Node | None:
    """What a value is in every iteration of a stretch of such iterations; None where it differs from one to the next.

    A register is what it was before them: whatever is loaded from it is one value, its first load or another.
    """
    if not node.src:
        return node
    src = [known[id(source)] for source in node.src]
    if node.op is Op.LOAD:
        if id(node.src[0]) in registers:
            return node
        return None if id(node.src[0]) in written or None in src else node
    if node.op not in ELEMENTWISE:
        return node
    if node.op is Op.WHERE and src[0] is not None and src[0].op is Op.CONST:
        return src[1] if src[0].arg.value else src[2]  # type: ignore[union-attr]
    if node.op is Op.CAST and src[0] is not None and constant_value(src[0]) == 0:
        return constant(0, node.dtype)
    if node.op is Op.ADD and node.dtype.is_integer:
        for side in (0, 1):
            if (term := src[side]) is not None and constant_value(term) == 0:
                return src[1 - side]
    return None if None in src else node


__all__ = ["flag", "skip"]
