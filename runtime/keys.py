"""The normal form of what is asked for: a key that two runs of one program share, and the values that fill it in.

In: the nodes to compute. Out: `Normal`: a hashable key; the buffers and numbers of this run, numbered as the key numbers them;
and the nodes themselves, to hang results on. One walk without recursion; for a known program it is most of the cost of a
call, so it is written flat.

What is in the key: operations, args, shapes and dtypes of the graph down to its leaves; of a leaf its dtype, shape, device,
whether its address is aligned, and which leaves are the same memory. What is not: addresses, source lines, and numbers that
only scale, shift or are compared with (a learning rate, a step count): those are arguments of the plan.

A node with a value is a leaf. Below a GRAD it is not, since gradients need to know how it was made: there the walk goes
through values, notes them as stored, and ends at leaves and STOPs. One node can be met both ways; a number given above
a GRAD to something that rests on such a leaf is not used below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazygrad.ir.args import Scalar, Slot
from lazygrad.ir.node import Node
from lazygrad.ir.op import BINARY, ELEMENTWISE, UNARY, Op

from .memory import ALIGNMENT, Buffer

Entry = tuple[Any, ...]

SCALING = frozenset(
    (
        Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.MAX, Op.MIN, Op.LT, Op.LE, Op.EQ, Op.NE, Op.WHERE, Op.FMA,
    )
)  # fmt: skip
"""The readers that leave a number to be an argument: its value selects no algorithm in them."""
SELECTING = frozenset((0, 1, -1))
"""The values that select an algorithm wherever they stand."""
DERIVED = frozenset(ELEMENTWISE - {Op.CAST, Op.BITCAST})
"""The operations whose dtype and shape follow from their sources."""
LEAVES = frozenset((Op.BUFFER, Op.ARGUMENT, Op.CONST, Op.IOTA))
_UNALIGNED = ALIGNMENT - 1


SINGLE = frozenset(
    (
        Op.CAST, Op.BITCAST, Op.REDUCE, Op.RESHAPE, Op.PERMUTE, Op.EXPAND, Op.SHRINK, Op.PAD, Op.FLIP, Op.ELEMENT,
    )
)  # fmt: skip
"""Frequent operations with one source that does not say all about the result."""


def _kind(op: Op) -> int:
    """How `normalise` treats an operation: 1 and 2 derived ones by the number of their sources, 3 SINGLE, 0 any other."""
    if op in BINARY:
        return 2
    if op in SINGLE:
        return 3
    return 1 if op in UNARY else 0


KINDS = {op: _kind(op) for op in Op}
"""The kind of each operation."""


class Normal:
    """A normalised graph. Node i of `nodes` has entry i of `key`, which names its sources by their numbers."""

    __slots__ = (
        "buffers", "copies", "extra", "free", "gradients", "history", "interior", "key", "nodes", "numbers", "roots", "stored", "watched",
    )  # fmt: skip

    def __init__(
        self,
        key: Entry,
        nodes: list[Node],
        roots: tuple[int, ...],
        history: tuple[int, ...],
        stored: list[tuple[int, int]],
        buffers: list[Buffer],
        numbers: list[Scalar],
        interior: list[int],
        copies: bool,
        gradients: int,
    ) -> None:
        self.key = key
        self.nodes = nodes
        self.roots = roots
        self.history = history
        self.stored = stored
        """Nodes that have a value and are walked through: (number, buffer slot)."""
        self.buffers = buffers
        self.numbers = numbers
        self.interior = interior
        """Leaves that have sources: values that a gradient goes on below."""
        self.copies = copies
        """Whether there is more than one device."""
        self.gradients = gradients
        """How many nodes were numbered before the first GRAD was met; no fewer than all where there is none."""
        self.extra: tuple[int, ...] = ()
        """Nodes that are to be kept beside the roots."""
        self.watched: tuple[int, ...] = ()
        """Nodes that gradients may be asked of, as they may of the roots."""
        self.free: set[int] = set()
        """Those of them that no gradient looks behind."""

    def keep(self, extra: tuple[int, ...]) -> None:
        """Ask for more nodes of the graph."""
        self.extra = extra
        self.key = (*self.key[:4], extra)

    def watch(self, watched: tuple[int, ...], history: tuple[int, ...]) -> None:
        """Ask for what gradients of inner nodes with respect to leaves below them will read."""
        self.watched, self.history = watched, history
        self.key = (*self.key[:2], (watched, history), *self.key[3:])

    @property
    def entries(self) -> tuple[Entry, ...]:
        entries: tuple[Entry, ...] = self.key[0]
        return entries

    def sources(self, number: int) -> tuple[int, ...]:
        """The numbers of a node's sources; none for a leaf."""
        entry = self.entries[number]
        op = entry[0]
        if op in LEAVES:
            return ()
        sources: tuple[int, ...] | int = entry[1]
        if isinstance(sources, tuple):
            return sources
        return (sources, entry[2]) if KINDS[op] == 2 else (sources,)

    def graph(self) -> list[Node]:
        """The graph as the compiler sees it, node by number: BUFFER and ARGUMENT leaves have slots.

        A node that is stored has, as its value, the BUFFER to read instead.
        """
        made: list[Node] = []
        for number, (entry, node) in enumerate(zip(self.entries, self.nodes, strict=True)):
            op = entry[0]
            if op is Op.BUFFER or op is Op.ARGUMENT:
                new = Node(op, (), node.dtype, node.shape, Slot(entry[1]), node.place, node.site)
            else:
                new = node.like(tuple(made[source] for source in self.sources(number)))
            made.append(new)
        self.attach_stored(made)
        return made

    def attach_stored(self, made: Sequence[Node]) -> None:
        """Give the stored ones of the compiler's nodes their BUFFERs."""
        for number, slot in self.stored:
            node = made[number]
            node.value = Node(
                Op.BUFFER, (), node.dtype, node.shape, Slot(slot), node.place, node.site
            )


def normalise(roots: Sequence[Node], history: Sequence[Node] = ()) -> Normal:
    """Number everything that `roots` need, sources first."""
    entries: list[Entry] = []
    nodes: list[Node] = []
    buffers: list[Buffer] = []
    numbers: list[Scalar] = []
    stored: list[tuple[int, int]] = []
    interior: list[int] = []
    copies = False
    gradients = 1 << 62
    buffer_slots: dict[int, int] = {}
    number_slots: dict[object, int] = {}
    # The numbers of nodes: `outside` above GRADs, `inside` below them, one dict until a leaf with sources is met outside.
    outside: dict[Node, int] = {}
    inside = outside
    known = outside
    through = False
    targets: set[Node] = set()
    turns: list[tuple[int, bool]] = []  # where on the stack `through` changed, and what it was
    kinds, scaling, selecting, unaligned = KINDS, SCALING, SELECTING, _UNALIGNED
    buffer, argument, constant, stop = Op.BUFFER, Op.ARGUMENT, Op.CONST, Op.STOP
    emit, keep = entries.append, nodes.append

    def place(node: Node) -> int:
        """Number a node without sources."""
        count = known[node] = len(nodes)
        if known is not outside:
            outside[node] = count
        keep(node)
        value = node.value
        if value is not None:
            slot = buffer_slots.get(id(value))
            if slot is None:
                slot = buffer_slots[id(value)] = len(buffers)
                buffers.append(value)
            emit((buffer, slot, node.dtype, node.shape, node.place, value.address & unaligned == 0))
        elif node.op is constant:
            number = node.arg.value  # type: ignore[union-attr]
            if number in selecting or number - number != 0:
                emit((constant, node.arg, node.dtype, node.shape, node.place))
            else:
                # One object read twice in one dtype is one number in every run; equal numbers may differ in the next.
                name = (id(number), node.dtype) if type(number) is float else -1 - count
                slot = number_slots.get(name)
                if slot is None:
                    slot = number_slots[name] = len(numbers)
                    numbers.append(number)
                emit((argument, slot, node.dtype, node.shape, node.place))
        elif node.op is buffer:
            raise RuntimeError(f"a leaf without a value: {node!r}")
        else:
            emit((node.op, node.arg, node.dtype, node.shape, node.place))
        return count

    def select(number: int, node: Node) -> None:
        """A number has a reader that its value selects an algorithm in: it stays in the key."""
        entries[number] = (constant, node.arg, node.dtype, node.shape, node.place)

    stack = list(roots)
    stack.reverse()
    pop, push, get = stack.pop, stack.append, known.get
    while stack:
        node = stack[-1]
        if node in known:
            pop()
            continue
        op = node.op
        value = node.value
        if value is not None and (not through or op is stop):
            pop()
            if node.src and op is not stop:
                if inside is outside:
                    inside = dict(outside)
                interior.append(len(nodes))
            place(node)
            continue
        kind = kinds[op]
        if kind == 2:  # two sources that say all about the result
            left, right = node.src
            first = get(left)
            second = get(right)
            if first is None or second is None:
                if first is None:
                    if left.src:
                        push(left)
                    else:
                        first = place(left)
                if second is None:
                    if right.src:
                        push(right)
                        continue
                    second = place(right) if right is not left else first
                if first is None:
                    continue
            pop()
            if op not in scaling:
                if left.op is constant:
                    select(first, left)
                if right.op is constant:
                    select(second, right)  # type: ignore[arg-type]
            entry: Entry = (op, first, second)
        elif kind:  # one source; with kind 3 an arg, a dtype or a shape too
            (left,) = node.src
            first = get(left)
            if first is None:
                if left.src:
                    push(left)
                    continue
                first = place(left)
            pop()
            if left.op is constant:
                select(first, left)
            entry = (op, first) if kind == 1 else (op, first, node.shape, node.dtype, node.arg)
        elif kind == 0:
            src = node.src
            if not src:
                pop()
                place(node)
                continue
            if op is Op.GRAD or op is stop:
                if op is stop and through and src[0].value is not None and node not in targets:
                    # Below a GRAD that does not ask for it a value is data, whether or not it was known when it was read.
                    (source,) = src
                    before = outside.get(source)
                    if before is None or (
                        # Numbered below a GRAD so far, as what it was computed by.
                        source.src and source.op is not stop and before == inside.get(source)
                    ):
                        if source.src and inside is outside:
                            inside = dict(outside)
                        if source.src:
                            interior.append(len(nodes))
                        known = outside
                        place(source)
                        known = inside
                        get = known.get
                    inside[node] = outside[source]
                    if node not in outside:
                        outside[node] = outside[source]
                    pop()
                    continue
                if op is Op.GRAD:
                    targets.update(src[2 * node.arg.roots :])  # type: ignore[union-attr]
                if not turns or turns[-1][0] != len(stack):
                    if through and node in outside:  # a STOP: the same from both sides
                        inside[node] = outside[node]
                        pop()
                        continue
                    turns.append((len(stack), through))
                    through = op is Op.GRAD
                    if through and len(nodes) < gradients:
                        gradients = len(nodes)
                    known = inside if through else outside
                    get = known.get
            waiting = len(stack)
            for source in src:
                if source not in known:
                    if source.src:
                        push(source)
                    else:
                        place(source)
            if len(stack) != waiting:
                continue
            pop()
            sources = tuple([known[source] for source in src])
            if op not in scaling:
                for source in src:
                    if source.op is constant:
                        select(known[source], source)
            if op is Op.COPY:
                copies = True
                entry = (op, sources, node.place)
            elif op in DERIVED:
                entry = (op, sources)
            else:
                entry = (op, sources, node.shape, node.dtype, node.arg)
            if op is Op.GRAD or op is stop:
                through = turns.pop()[1]
                known = inside if through else outside
                get = known.get
                inside[node] = outside[node] = len(nodes)
        count = known[node] = len(nodes)
        if known is not outside:
            outside[node] = count
        if value is not None:
            slot = buffer_slots.get(id(value))
            if slot is None:
                slot = buffer_slots[id(value)] = len(buffers)
                buffers.append(value)
            stored.append((count, slot))
        emit(entry)
        keep(node)
    if len(roots) > 1:
        first_place = roots[0].place
        copies = copies or any([root.place != first_place for root in roots])  # noqa: C419
    root_numbers = tuple([outside[root] for root in roots])
    leaves: tuple[int, ...] = ()
    if history:
        leaves = tuple([outside[leaf] for leaf in history if leaf in outside])
    key = (tuple(entries), root_numbers, leaves, tuple(stored))
    return Normal(
        key, nodes, root_numbers, leaves, stored, buffers, numbers, interior, copies, gradients
    )  # fmt: skip
