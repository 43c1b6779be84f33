"""Plans for sizes that change: the keys that differ in sizes alone are a family, and share plans with dims.

In: a normalised graph whose key is new. Out: its structure (the key without its sizes), the sizes as a vector, and, from the second
vector on, a graph with Dims in the place of the sizes that vary (schedule/dims.py). A family compiles its first sizes as they
are, its second with Dims; when a vector comes that does not fit, once more from all that were seen. After that, and wherever
the graph cannot be written or verified with Dims, sizes are compiled as they are. So are the first few of a program with so much
to compute that code for its very sizes is worth the wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lazygrad.ir.args import Arg, Padding, Region, Slot
from lazygrad.ir.composite import expand_call
from lazygrad.ir.dim import Size, example, product
from lazygrad.ir.node import Node, Shape
from lazygrad.ir.op import Op
from lazygrad.schedule.dims import HIGH, Pattern, generalise

from .keys import DERIVED, Entry, Normal

PATTERN_LIMIT = 2
"""How many patterns a family may try: with its first, concrete sizes at most three plans."""
VECTOR_LIMIT = 4
"""How many vectors a pattern is made from."""
HEAVY = 1 << 24
"""Elements of one node, such as the products of a contraction, from which a program is compiled for its very sizes,"""
HEAVY_LIMIT = 8
"""that many times in a family: then lengths that change at every step are taken to go on changing."""


@dataclass(slots=True)
class Family:
    """The sizes of one structure that were seen, and the plans with Dims that were made for them."""

    vectors: list[tuple[int, ...]] = field(default_factory=list)
    limits: list[tuple[int | None, ...]] = field(default_factory=list)
    """How large the offsets among each may be."""
    plans: list[tuple[Pattern, Any]] = field(default_factory=list)
    attempts: int = 0
    heavy: int = 0
    """How many plans were made for their very sizes because they have much to compute."""


@dataclass(slots=True)
class Sizes:
    """A key taken apart: the structure, the sizes in the order of the entries, and how large an offset among them may be."""

    structure: Entry
    vector: tuple[int, ...]
    limits: tuple[int | None, ...]
    heavy: tuple[int, ...] = ()
    """Where the sizes of nodes with much to compute stand among them."""


def shape_apart(shape: Shape) -> tuple[Shape, tuple[Size, ...]]:
    """A shape with -1 for its sizes, and the sizes. Those of 0 and 1 stay where they are: they say what is broadcast, and what is empty."""
    small = tuple([-1 if size.__class__ is not int or size > 1 else size for size in shape])
    return small, tuple([size for size, kept in zip(shape, small) if kept == -1])


def arg_apart(arg: Arg | None) -> tuple[Any, tuple[Size, ...]]:
    """An attribute without its sizes, and the sizes: where a region starts, and how wide paddings are."""
    if isinstance(arg, Region):
        return ("region", arg.steps), arg.starts
    if isinstance(arg, Padding):
        return ("padding", arg.between, arg.value), (*arg.before, *arg.after)
    return arg, ()


def take_apart(normal: Normal) -> Sizes:
    """The structure and the sizes of a key."""
    vector: list[int] = []
    limits: list[int | None] = []
    entries: list[Entry] = []
    heavy: set[int] = set()

    def note(sizes: Sequence[Size], most: Sequence[int | None]) -> None:
        for size, limit in zip(sizes, most, strict=True):
            assert isinstance(size, int)
            vector.append(size)
            limits.append(limit)

    def shape(whole: Shape) -> Shape:
        small, sizes = shape_apart(whole)
        note(sizes, [None] * len(sizes))
        return small

    for entry, node in zip(normal.entries, normal.nodes, strict=True):
        op = entry[0]
        if op in DERIVED:
            entries.append(entry)
        elif op is Op.BUFFER or op is Op.ARGUMENT:
            entries.append((op, entry[1], entry[2], shape(entry[3]), *entry[4:]))
        elif op is Op.CONST or op is Op.IOTA:
            entries.append((op, entry[1], entry[2], shape(entry[3]), entry[4]))
        elif op is Op.COPY:
            entries.append(entry)
        else:
            _, sources, sizes, dtype, arg = entry
            rest, inside = arg_apart(arg)
            if isinstance(arg, Region):
                note(inside, last_starts(node, arg))
                rest = (*rest, _whole_axes(node))
            else:
                note(inside, [HIGH] * len(inside))
            before = len(vector)
            entries.append((op, sources, shape(sizes), dtype, rest))
            if _most_elements(node) >= HEAVY:
                heavy.update(range(before, len(vector)))
    structure = (tuple(entries), *normal.key[1:])
    return Sizes(structure, tuple(vector), tuple(limits), tuple(sorted(heavy)))


def _most_elements(node: Node) -> int:
    """The elements of the largest node that a node stands for: of a convolution, its products."""
    most = example(product(node.shape))
    if node.op is not Op.CALL or len(node.src) < 2:
        return most
    if most * max(example(product(source.shape)) for source in node.src) < HEAVY:
        return most  # no product of these operands has more
    seen = {id(source) for source in node.src}
    stack = [expand_call(node)]
    while stack:
        inner = stack.pop()
        if id(inner) not in seen:
            seen.add(id(inner))
            most = max(most, example(product(inner.shape)))
            stack.extend(inner.src)
    return most


def _part(node: Node) -> Shape:
    """The shape of the region that a node reads or writes."""
    return node.src[1].shape if node.op is Op.UPDATE else node.shape


def _whole_axes(node: Node) -> tuple[bool, ...]:
    """On which axes a region is all that there is: a concatenation of columns shares no plan with one of rows."""
    return tuple([n == m for n, m in zip(node.src[0].shape, _part(node), strict=True)])


def last_starts(node: Node, region: Region) -> list[int]:
    """The largest start on each axis with which a region ends inside of what it is a region of."""
    whole, part = node.src[0].shape, _part(node)
    return [
        example(n) - (example(m) - 1) * step - 1
        for n, m, step in zip(whole, part, region.steps, strict=True)
    ]


def symbolic_graph(normal: Normal, pattern: Pattern) -> list[Node]:
    """The graph of `normal.graph()` with the sizes of a pattern in the place of its own."""
    sizes = iter(pattern.sizes)
    made: list[Node] = []

    def shape(old: Shape) -> Shape:
        return tuple([next(sizes) if size > 1 else size for size in old])

    def place(old: Sequence[Size]) -> tuple[Size, ...]:
        return tuple([next(sizes) for _ in old])

    for number, (entry, node) in enumerate(zip(normal.entries, normal.nodes, strict=True)):
        op, arg = entry[0], node.arg
        src = tuple([made[source] for source in normal.sources(number)])
        if op in DERIVED or op is Op.COPY:
            new_shape = src[0].shape
        else:
            if op is Op.BUFFER or op is Op.ARGUMENT:  # a computed region is a leaf too
                arg = Slot(entry[1])
            elif isinstance(arg, Region):
                arg = Region(place(arg.starts), arg.steps)
            elif isinstance(arg, Padding):
                before, after = place(arg.before), place(arg.after)
                arg = Padding(before, after, arg.between, arg.value)
            new_shape = shape(node.shape)
        made.append(Node(op, src, node.dtype, new_shape, arg, node.place, node.site))
    normal.attach_stored(made)
    return made


def pattern_for(family: Family, sizes: Sizes) -> Pattern | None:
    """A new pattern that covers these sizes too, if the family may try one."""
    if not family.vectors or family.attempts >= PATTERN_LIMIT:
        return None
    pattern = generalise([*family.vectors, sizes.vector], [*family.limits, sizes.limits])
    if pattern is not None:
        family.attempts += 1
    return pattern


def deserves_its_own(family: Family, sizes: Sizes) -> bool:
    """Whether what a program computes most of has other sizes than before, so that a plan without dims pays, and the family has not
    had many of those."""
    if family.heavy >= HEAVY_LIMIT:
        return False
    return any(vector[at] != sizes.vector[at] for vector in family.vectors for at in sizes.heavy)


def note(family: Family, sizes: Sizes) -> None:
    """Remember the sizes of a run, for the next pattern."""
    if sizes.vector not in family.vectors and len(family.vectors) < VECTOR_LIMIT:
        family.vectors.append(sizes.vector)
        family.limits.append(sizes.limits)
