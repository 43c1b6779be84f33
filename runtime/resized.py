"""Runs that are like one before but for their sizes: what was decided for that one, with other values of its plan's dims.

In: the key of a sketch that is new. Out: what is left of it without its sizes, and the sizes that differ from one another, in the order in which they
come up; and from these, where a plan with dims was found for a run before that is alike, the values of its dims. Two runs are alike where their sizes
are equal to one another at the same places, so that the same nodes of both are equal expressions: then their normalised graphs have the same
structure (families.py), and each size of one stands where that of the other does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazygrad.ir.args import Padding, Region
from lazygrad.ir.dim import Size
from lazygrad.ir.node import Kind
from lazygrad.ir.template import Template
from lazygrad.schedule.dims import Pattern

from .families import arg_apart, shape_apart
from .plans import CompiledPlan

Form = tuple[tuple[object, ...], tuple[Size, ...]]
"""Something without its sizes, and the sizes. families.py says which those are."""
GROWTH = 4
"""A size may be larger by such a part of it than one before: much larger ones may deserve a plan of their own."""


def likeness(key: Sequence[Any]) -> Form:
    """What runs that are alike share, and the different sizes of this one."""
    entries: list[Any] = []
    sizes: list[Size] = []
    append = entries.append
    for item in key:
        kind = item.__class__
        if kind is Kind:
            form = item.form or _form_of_kind(item)
        elif kind is Template:
            form = item.form or _form_of_template(item)
        elif kind is Region or kind is Padding:
            form = arg_apart(item)
        else:
            append(item)
            continue
        append(form[0])
        sizes += form[1]
    first: dict[Size, int] = {}
    places = tuple([first.setdefault(size, len(first)) for size in sizes])
    return (tuple(entries), places), tuple(first)


def _form_of_kind(kind: Kind) -> Form:
    small, sizes = shape_apart(kind.shape)
    form: Form = ((kind.dtype, small, kind.place), sizes)
    kind.form = form
    return form


def _form_of_template(template: Template) -> Form:
    """Numbers that its lines are given are no part of it."""
    lines: list[object] = [template.operands]
    sizes: list[Size] = []
    for line in template.lines:
        small, own = shape_apart(line.shape)
        arg, inside = (None, ()) if line.number >= 0 else arg_apart(line.arg)
        lines.append((line.op, line.sources, line.dtype, small, arg, line.place, line.number))
        sizes += (*own, *inside)
    form: Form = (tuple(lines), tuple(sizes))
    template.form = form
    return form


class Resized:
    """A run whose plan has dims: which plan, and which of its different sizes each size of the pattern is."""

    __slots__ = ("buffers", "found", "most", "numbers", "outputs", "pattern", "places")

    def __init__(
        self, ready: Any, found: CompiledPlan, pattern: Pattern, sizes: Sequence[Size], vector: Sequence[int]
    ) -> None:  # fmt: skip
        self.found, self.pattern = found, pattern
        self.buffers, self.numbers, self.outputs = ready.buffers, ready.numbers, ready.outputs
        where = {size: place for place, size in enumerate(sizes)}
        self.places = [where[size] for size in vector]
        self.most = [size + size // GROWTH + GROWTH for size in sizes if isinstance(size, int)]

    def bind(self, sizes: Sequence[Size]) -> CompiledPlan | None:
        """The plan for these sizes, or None where it is not known to fit."""
        if any(size.__class__ is not int or size > most for size, most in zip(sizes, self.most)):
            return None
        values = self.pattern.bind([sizes[place] for place in self.places])  # type: ignore[misc]
        return None if values is None else with_sizes(self.found, self.pattern, values)


def with_sizes(found: CompiledPlan, pattern: Pattern, values: Sequence[int]) -> CompiledPlan:
    """A plan with dims, for the sizes of one key."""
    by_name = dict(zip(pattern.names, values, strict=True))
    dims = [by_name[name] for name in found.plan.dims]
    return CompiledPlan(found.plan, found.attach, dims, pattern)
