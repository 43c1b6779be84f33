"""Loops that are divided, in C: among the work-items of the grid, or those of a group.

In: a loop and the name of its index. Out: lines that open it, for the trips that one work-item has.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from lazygrad.ir.args import Loop
from lazygrad.ir.node import Node

from ..transform.access import constant_value
from .c_grid import Mapped
from .c_locals import WARP
from .c_text import NARROW_LIMIT, Writer

FEW = 8
"""Iterations of a shared loop for each work-item, at most, that are written out."""


class DividedLoops:
    """The text of a kernel's divided loops; `index` gives that of an extent."""

    def __init__(
        self,
        writer: Writer,
        mapping: Mapped,
        grid: tuple[Node, ...],
        group: int,
        index: Callable[[Node], str],
    ) -> None:
        self.writer = writer
        self.mapping = mapping
        self.grid = grid
        self.group = group
        self.index = index

    def shared(self, loop: Node, name: str) -> int:
        """A loop of the group: the iterations of this work-item, written out where they are few. Returns how many braces it opened."""
        assert isinstance(loop.arg, Loop)
        writer, step, known = self.writer, loop.arg.step, constant_value(loop.src[1])
        if loop.arg.kind == "warps":  # as many as the group has
            writer.add(f"{{ const int {name} = thread / {WARP};")
            return 1
        first = "thread" if step == 1 else f"thread * {step}"
        by = self.group * step
        kind = writer.index_type(loop.src[1], by)
        if known == by:
            writer.add(f"{{ const {kind} {name} = {first};")
        elif known is not None and known % by == 0 and known // by <= FEW:
            turn = writer.name("turn")
            writer.add("#pragma unroll")
            writer.add(f"for (int {turn} = 0; {turn} < {known // by}; {turn}++) {{")
            writer.add(f"  const {kind} {name} = {first} + {turn} * {by};")
        else:
            limit = self.index(loop.src[1])
            writer.add(f"for ({kind} {name} = {first}; {name} < {limit}; {name} += {by}) {{")
        return 1

    def grid_trip(self, loop: Node, name: str) -> int:
        """A loop of the grid: its trips of this work-item. Returns how many braces it opened."""
        writer = self.writer
        assert isinstance(loop.arg, Loop)
        step = loop.arg.step
        limit = self.index(loop.src[1])
        if self.mapping == "chunk":
            start = "item * chunk" if step == 1 else f"item * chunk * {step}"
            last = f"(item + 1) * chunk * {step}" if step != 1 else "(item + 1) * chunk"
            advance = f"{name}++" if step == 1 else f"{name} += {step}"
            last = writer.value("long", f"min((long)({limit}), {last})", "last_trip")
            writer.add(f"for (long {name} = {start}; {name} < {last}; {advance}) {{")
            return 1
        inner = self.grid[self.grid.index(loop) + 1 :]
        first = loop is self.grid[0]
        number = name if len(self.grid) == 1 and step == 1 else "item"
        if first:
            trips, kind = self._all_trips()
            start, by = self._items
            if kind != "long":
                start, by = (f"({kind})({each.removeprefix('(long)')})" for each in (start, by))
            writer.add(f"for ({kind} {number} = {start}; {number} < {trips}; {number} += {by}) {{")
        rest = "item"
        for each in inner:
            rest = f"{rest} / {self._trips(each)}"
        if not first:
            rest = f"{rest} % {self._trips(loop)}"
        if step != 1:
            rest = f"({rest}) * {step}"
        if number == "item":
            kind = writer.index_type(loop.src[1], step)
            writer.add(f"{'  ' if first else ''}const {kind} {name} = {rest};")
        return int(first)

    def _all_trips(self) -> tuple[str, str]:
        """How many trips the grid has, as text, and the type that counts them: a grid of one thread a trip is at most twice as large."""
        sizes = [constant_value(loop.src[1]) for loop in self.grid]
        texts = [self._trips(loop, least=0) for loop in self.grid]
        known = [int(text) for text, size in zip(texts, sizes, strict=True) if size is not None]
        narrow = self.writer.dialect.narrow
        if narrow and len(known) == len(texts) and math.prod(known) < NARROW_LIMIT // 4:
            return " * ".join(texts), narrow
        long = [
            text if size is None else f"{text}L" for text, size in zip(texts, sizes, strict=True)
        ]
        return " * ".join(long), "long"

    @property
    def _items(self) -> tuple[str, str]:
        """Which trip of the grid comes first, and the distance to the next one."""
        dialect = self.writer.dialect
        if self.mapping == "group":
            return dialect.block, dialect.blocks
        return dialect.item, dialect.items

    def _trips(self, loop: Node, least: int = 1) -> str:
        """How many trips a loop of the grid has, as text; never fewer than `least`."""
        assert isinstance(loop.arg, Loop)
        known, step = constant_value(loop.src[1]), loop.arg.step
        if known is not None:
            return f"{max(-(-known // step), least)}"
        extent = self.index(loop.src[1])
        trips = f"({extent})" if step == 1 else f"((({extent}) + {step - 1}) / {step})"
        return f"max({trips}, {least}L)" if least else trips
