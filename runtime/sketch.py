"""A short key of what is asked for, made in one tight walk: enough to know a program that has run before.

In: the nodes to compute. Out: `Sketch`: a flat tuple that two runs of one program share, and the nodes, buffers and numbers of this
run in the order of the walk. A sketch says more than a plan's key does (keys.py): the states of nodes, the value of every
constant that is not drawn; so one that is new may still have a plan, and `realize` finds out by the long way. APPLYs are named by their templates.

A node with a value is a leaf, except below a GRAD, which looks at how it was made. Where both could be meant, values are walked
through everywhere: what the sketch then says too much costs a longer key, and never joins two programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazygrad.ir.args import Drawn, Scalar
from lazygrad.ir.node import Node, kind_of
from lazygrad.ir.op import Op

from .memory import ALIGNMENT, Buffer

_UNALIGNED = ALIGNMENT - 1


class Sketch:
    """What one walk has found."""

    __slots__ = ("buffers", "key", "nodes", "numbers", "through")

    def __init__(
        self,
        key: tuple[Any, ...],
        nodes: list[Node],
        buffers: list[Buffer],
        numbers: list[Scalar],
        through: bool,
    ) -> None:
        self.key = key
        self.nodes = nodes
        self.buffers = buffers
        self.numbers = numbers
        self.through = through
        """Whether a GRAD looks behind values: a good guess for the next walk."""

    def behind(self, asked: int, waiting: int, history: int) -> bool:
        """Whether each of the first `asked` roots was reached only behind all of the `waiting` others: it depends on them."""
        end = len(self.key) - 1 - history
        places = self.key[end - waiting - asked : end]
        first: int = min(places[:asked])
        last: int = max(places[asked:])
        return last < first


def sketch(
    roots: Sequence[Node], history: Sequence[Node] = (), asked: int = 0, through: bool = False
) -> Sketch:
    """Walk down from the roots, sources first. `asked` is part of the key.

    `through` walks through values, from the start: only of use where there is a GRAD, and else longer.
    """
    key: list[Any] = [asked, len(roots)]
    nodes: list[Node] = []
    buffers: list[Buffer] = []
    numbers: list[Scalar] = []
    known: dict[Node, int] = {}
    buffer_slots: dict[int, int] = {}
    number_slots: dict[tuple[int, object], int] = {}
    behind = False  # whether there is a GRAD
    opaque = False  # whether a value that has a history was taken for a leaf
    seen_through = False  # whether one was walked through
    get, keep, number_slot = known.get, nodes.append, number_slots.get
    apply, buffer, stop, gradient = Op.APPLY, Op.BUFFER, Op.STOP, Op.GRAD
    constant = Op.CONST
    stack = list(roots)
    stack.reverse()
    pop, push = stack.pop, stack.append
    while stack:
        node = pop()
        if node in known:
            continue
        src = node.src
        value = node.value
        op = node.op
        if value is not None:
            slot = buffer_slots.get(id(value))
            if slot is None:
                slot = buffer_slots[id(value)] = len(buffers)
                buffers.append(value)
            key += (
                buffer,
                slot,
                node.kind or kind_of(node),
                value.address & _UNALIGNED == 0,
            )
            if not src or op is stop or not through:
                if src:
                    opaque = opaque or op is not stop
                    key.append(op)  # a STOP is another variable than what it stands on
                known[node] = len(nodes)
                keep(node)
                continue
            seen_through = True
        elif op is apply:
            if len(src) == 2:
                left, right = src
                first = get(left)
                second = get(right)
                if first is None or second is None:
                    push(node)
                    if second is None:
                        push(right)
                    if first is None:
                        push(left)
                    continue
                key += (node.arg, first, second, node.tracked if node.depth >= 0 else ~node.tracked)
            else:
                waiting = len(stack)
                for source in src:
                    if source not in known:
                        if len(stack) == waiting:
                            push(node)
                        push(source)
                if len(stack) != waiting:
                    continue
                key.append(node.arg)
                for source in src:
                    key.append(known[source])
                key.append(node.tracked if node.depth >= 0 else ~node.tracked)
            if node.numbers:
                for number, dtype in zip(node.numbers, node.arg.numbers):  # type: ignore[union-attr]
                    if dtype is not None:
                        name = (id(number), dtype)
                        slot = number_slot(name)
                        if slot is None:
                            slot = number_slots[name] = len(numbers)
                            numbers.append(number)
                        key.append(slot)
            known[node] = len(nodes)
            keep(node)
            continue
        if op is stop and src[0].value is not None:
            # No one looks behind a STOP: a value below it is part of what is said of it, and is not numbered.
            (source,) = src
            slot = buffer_slots.get(id(source.value))
            if slot is None:
                slot = buffer_slots[id(source.value)] = len(buffers)
                buffers.append(source.value)
            aligned = source.value.address & _UNALIGNED == 0
            key += (stop, slot, source.kind or kind_of(source), aligned)
        elif src:
            if op is gradient:
                behind = True
                if opaque and not through:
                    return sketch(roots, history, asked, True)
            waiting = len(stack)
            for source in src:
                if source not in known:
                    if len(stack) == waiting:
                        push(node)
                    push(source)
            if len(stack) != waiting:
                if value is not None:
                    del key[-4:]  # it is said when the sources are numbered
                continue
            key.append(op)
            if op is not stop:
                key += (node.arg, node.kind or kind_of(node), len(src))
            for source in src:
                key.append(known[source])
            key.append(node.tracked if node.depth >= 0 else ~node.tracked)
        elif op is constant and node.arg.value.__class__ is Drawn:  # type: ignore[union-attr]
            key += (Drawn, node.kind or kind_of(node), len(numbers))
            numbers.append(node.arg.value)  # type: ignore[union-attr]
        else:
            key += (op, node.arg, node.kind or kind_of(node))
        known[node] = len(nodes)
        keep(node)
    for root in roots:
        key.append(known[root])
    for leaf in history:
        key.append(get(leaf, -1))
    key.append(seen_through)
    return Sketch(tuple(key), nodes, buffers, numbers, through and behind)
