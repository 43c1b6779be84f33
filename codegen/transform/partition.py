"""partition: a loop becomes loops over the stretches in which its conditions do not change, each without the tests that it decides.

What is put together (cat, stack, roll, pad) is chosen by comparisons of an index with constants, and read through masks. In a stretch
that lies on one side of all of them, one source is copied and nothing is asked. Stretches begin at multiples of a vector, so
that results are still written line by line; where a comparison changes between, a short stretch keeps its tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from lazygrad.ir import loops
from lazygrad.ir.args import Constant, Loop
from lazygrad.ir.dtype import bool_, int64
from lazygrad.ir.node import Node, constant, postorder
from lazygrad.ir.op import Op

from .access import (
    ScheduleError,
    all_loops,
    body,
    constant_value,
    counted,
    extent,
    loop_name,
    replace_loop,
)
from .jam import copied

ALIGNED = 64
"""Stretches begin at multiples of so many iterations: whole vectors of any dtype."""
STRETCHES = 40
"""A loop becomes so many at most."""


def partition(kernel: Node, name: str, part: int) -> Node:
    """Cut the loop over `name` into parts of `part` iterations, and each part into the stretches of `stretches`.

    Requires: its step is 1, its extent is known, and it does nothing but load and store.
    Guarantees: the same iterations in the same order. One part, where it is as long as the loop, needs no loop over parts.

    Raises:
        ScheduleError: there is no such loop, it is not so, or nothing is decided by its index.
    """
    loop, size = counted(kernel, name, 0)
    assert isinstance(loop.arg, Loop)
    found = stretches(loop)
    if len(found) < 2:
        raise ScheduleError(f"nothing that loop {name} does is decided by its index")
    taken = {loop_name(each) for each, _ in all_loops(kernel)}
    names = (f"{name}_{number}" for number in range(len(taken) + len(found) + 1))
    free = iter(each for each in names if each not in taken)
    outer = loops.index(next(free)) if part < size else None
    lines: list[Node] = []
    for (low, high), decided in found:
        first, last = constant(low, int64), constant(high, int64)
        if outer is not None:
            start = outer * part
            first, last = start.maximum(low) if low else start, (start + part).minimum(high)
        within = loops.loop(loop.src[0], loop.src[1], _decided(loop, decided))
        inner = loops.index(next(free))
        trips = constant(high - low, int64) if outer is None else (last - first).maximum(0)
        lines.append(loops.loop(inner, trips, copied(within, first + inner if low or outer is not None else inner)))  # fmt: skip
    if outer is None:
        return replace_loop(kernel, loop, lines)
    parts = constant(-(-size // part), int64)
    return replace_loop(kernel, loop, [loops.loop(outer, parts, lines, 1, loop.arg.kind)])


def stretches(loop: Node) -> list[tuple[tuple[int, int], dict[int, bool]]]:
    """Where stretches of a loop begin and end, and what comparisons, by id, are in each; none where there would be too many."""
    size = extent(loop)
    if size is None or any(line.op not in (Op.LOAD, Op.STORE) for line in body(loop)):
        return []
    comparisons = [
        found
        for node in postorder([source for line in body(loop) for source in line.src[1:]])
        if node.op in (Op.LT, Op.LE) and (found := _Comparison.of(node, loop.src[0])) is not None
    ]
    cuts = {0, size}
    for each in comparisons:
        if (change := each.change(size)) is not None:
            cuts |= {change // ALIGNED * ALIGNED, min(-(-change // ALIGNED) * ALIGNED, size)}
        if len(cuts) > STRETCHES:
            return []
    ends = sorted(cuts)
    return [
        ((low, high), {id(each.node): each(low) for each in comparisons if each(low) == each(high - 1)})
        for low, high in pairwise(ends)
    ]  # fmt: skip


class _Comparison:
    """A comparison with a constant of what an index is multiplied, divided and moved to by constants: it changes once at most."""

    def __init__(self, node: Node, index: Node, order: Sequence[Node]) -> None:
        self.node, self.index, self.order = node, index, order

    @staticmethod
    def of(node: Node, index: Node) -> _Comparison | None:
        """`node` as such a comparison, if it is one."""
        order = postorder([node])
        depends = {id(index)}
        for each in order:
            if each is index or constant_value(each) is not None:
                continue
            moving = [id(source) in depends for source in each.src]
            if sum(moving) != 1:
                return None
            depends.add(id(each))
            if each.op is Op.IDIV and moving[0] and (constant_value(each.src[1]) or 0) > 0:
                continue
            if each.op not in (Op.ADD, Op.SUB, Op.MUL) and each is not node:
                return None
        return _Comparison(node, index, order)

    def __call__(self, at: int) -> bool:
        """Whether it holds in an iteration."""
        known: dict[int, int] = {id(self.index): at}
        for node in self.order:
            if node is self.index:
                continue
            value = constant_value(node)
            if value is None:
                left, right = (known[id(source)] for source in node.src)
                value = _COMPUTED[node.op](left, right)
            known[id(node)] = value
        return bool(known[id(self.node)])

    def change(self, size: int) -> int | None:
        """The first of `size` iterations in which it is not what it is in the first; None where there is none."""
        begin = self(0)
        if self(size - 1) == begin:
            return None
        low, high = 0, size - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self(middle) == begin else (low, middle)
        return high


_COMPUTED: dict[Op, Callable[[int, int], int]] = {
    Op.ADD: lambda left, right: left + right,
    Op.SUB: lambda left, right: left - right,
    Op.MUL: lambda left, right: left * right,
    Op.IDIV: lambda left, right: left // right,
    Op.LT: lambda left, right: left < right,
    Op.LE: lambda left, right: left <= right,
}


def _decided(loop: Node, decided: Mapping[int, bool]) -> list[Node]:
    """The lines of a loop where these comparisons are known: choices that are made, loads that are certain, and none that nobody reads."""
    done: dict[int, Node] = {}
    for node in postorder(body(loop)):
        if id(node) in decided:
            done[id(node)] = constant(decided[id(node)], bool_)
            continue
        src = tuple(done[id(source)] for source in node.src)
        same = all(new is old for new, old in zip(src, node.src, strict=True))
        done[id(node)] = _folded(node if same else node.like(src))
    stores = [done[id(line)] for line in body(loop) if line.op is Op.STORE]
    read = {id(node) for node in postorder(stores)}
    lines = [done[id(line)] for line in body(loop)]
    return [line for line in lines if line.op is Op.STORE or (line.op is Op.LOAD and id(line) in read)]  # fmt: skip


def _folded(node: Node) -> Node:
    """A choice or a masked load without a condition that is known."""
    known = [_truth(source) for source in node.src]
    if node.op is Op.WHERE and known[0] is not None:
        return node.src[1] if known[0] else node.src[2]
    if node.op in (Op.AND, Op.OR) and node.dtype is bool_:
        neutral = node.op is Op.AND
        for side in (0, 1):
            if known[side] is not None:
                return node.src[1 - side] if known[side] == neutral else node.src[side]
    if node.op is Op.LOAD and len(node.src) == 3 and known[2] is not None:
        return node.like(node.src[:2]) if known[2] else constant(0, node.dtype, node.shape)
    return node


def _truth(node: Node) -> bool | None:
    if node.op is Op.CONST and node.dtype is bool_ and isinstance(node.arg, Constant):
        return bool(node.arg.value)
    return None


__all__ = ["partition", "stretches"]
