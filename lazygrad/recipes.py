"""Operators that have run before: the second time an operator meets operands of the same kinds, its nodes are known.

In: the outcome of an operator's first call. Out: a `Recipe`, under a key: the template of its nodes (ir/template.py) and what autograd
records. Later calls with operands of the same dtypes, shapes, places and needs of gradients, and with the same other arguments, find it
and make one APPLY node (dispatch.py).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import copysign
from typing import Any, ClassVar

from .history import record_class
from .ir.dtype import DType
from .ir.node import Node
from .ir.template import Template, capture
from .runtime.keys import SCALING
from .tensor import Tensor

Key = tuple[Any, ...]

RECIPE_LIMIT = 4096
"""How many recipes an operator keeps, the latest."""
SELECTING = frozenset((0.0, 1.0, -1.0))


class Recipe:
    """What an operator makes of operands of given kinds."""

    __slots__ = (
        "complete",
        "dtype",
        "floating",
        "height",
        "inputs",
        "kind",
        "place",
        "record",
        "saved",
        "shape",
        "template",
    )

    def __init__(
        self, template: Template, name: str, inputs: tuple[int, ...], saved: tuple[int | str, ...]
    ) -> None:
        self.template = template
        kind = template.kind
        self.kind = kind
        self.dtype, self.shape, self.place = kind.dtype, kind.shape, kind.place
        self.floating = kind.dtype.kind == "float"
        self.height = template.height
        self.record = record_class(name)
        self.inputs = inputs
        """The operand of each of next_functions; -1 for a number."""
        self.complete = set(range(template.operands)) <= set(inputs)
        """Whether gradients go to every operand."""
        self.saved = saved
        """What backward reads: an operand, "result", or a word for something without a version; those last."""


class Recipes:
    """The recipes of one operator."""

    __slots__ = ("known", "numeric")

    instances: ClassVar[list[Recipes]] = []
    era: ClassVar[int] = 0
    """How often recipes were dropped because something else had changed."""

    def __init__(self, numeric: bool) -> None:
        self.known: OrderedDict[Key, Recipe] = OrderedDict()
        self.numeric = numeric
        """Whether a float operand only ever becomes constants, so that one recipe serves them all."""
        Recipes.instances.append(self)

    def learn(
        self,
        key: Key,
        outcome: Any,
        tensors: Sequence[Tensor],
        nodes: Sequence[Node],
        numbers: Sequence[float],
    ) -> Recipe | None:
        """Keep what a call has built, if it can be told by its key alone.

        The call itself then goes by the recipe, too: its numbers are the user's objects, as they will be the next time.
        """
        name, node, inputs, saved = outcome
        places = {id(tensor): index for index, tensor in reversed(list(enumerate(tensors)))}
        if any(t is not None and id(t) not in places for t in inputs):
            return None
        if any(not isinstance(t, str) and id(t) not in places for t in saved):
            return None
        if len({id(n) for n in nodes}) != len(places):
            return None  # two tensors on one node: the nodes do not say which is which
        outside = {id(t.storage.node) for t in tensors} | {id(t._raw()) for t in tensors}
        template = capture(node, nodes, numbers, outside, SCALING)
        if template is None:
            return None
        if len(self.known) >= RECIPE_LIMIT:
            self.known.popitem(last=False)
        versions = [each if isinstance(each, str) else places[id(each)] for each in saved]
        versions.sort(key=lambda each: isinstance(each, str) and each != "result")
        recipe = self.known[key] = Recipe(
            template,
            name,
            tuple([-1 if t is None else places[id(t)] for t in inputs]),
            tuple(versions),
        )
        return recipe


def forget() -> None:
    """Drop every recipe: something that operators read beside their arguments has changed."""
    Recipes.era += 1
    for each in Recipes.instances:
        each.known.clear()


def argument_key(value: Any) -> Any:
    """What stands in a key for an argument that is no tensor, or None where it cannot be told by value."""
    kind = value.__class__
    if kind is int or kind is bool or kind is str or value is None:
        return kind, value
    if kind is float:
        if value == 0.0:
            return kind, value, copysign(1.0, value)
        return (kind, value) if value == value else None
    if kind is tuple or kind is list:
        parts = tuple([argument_key(part) for part in value])
        return None if None in parts else (kind, parts)
    return (kind, value) if kind is DType else None


def varies(value: float) -> bool:
    """Whether a number is one of many that do the same: not 0, 1, -1, an infinity or NaN."""
    return value - value == 0.0 and value not in SELECTING
