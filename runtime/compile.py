"""From a normalised graph to a plan: the passes, in the order they run.

In: `Normal` (keys.py). Out: a plan for the device of its roots, and which nodes the outputs are values of.
"""

from __future__ import annotations

from collections.abc import Sequence

from lazygrad.gradient.expand import expand
from lazygrad.ir.args import Slot
from lazygrad.ir.composite import inline
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op

from . import device as devices
from .keys import Normal
from .realize import CompiledPlan


def compile_normal(normal: Normal) -> CompiledPlan:
    """A plan that computes the roots of `normal`, and what it keeps for gradients."""
    made = normal.graph()
    wanted = list(dict.fromkeys(normal.roots))
    roots = expand_stored(normal, made, wanted)
    roots = inline(roots)
    place = normal.nodes[wanted[0]].place
    plan = devices.get(place).compile(roots)
    return CompiledPlan(plan, wanted)


def expand_stored(normal: Normal, made: Sequence[Node], wanted: Sequence[int]) -> list[Node]:
    """The wanted nodes with gradients expanded, reading stored values where there are some."""
    roots = [made[number] for number in wanted]
    expanded = expand([*roots, *(made[number] for number, _ in normal.stored)])
    values: dict[int, Node] = {}
    for node, (number, slot) in zip(expanded[len(roots) :], normal.stored, strict=True):
        like = made[number]
        values[id(node)] = Node(
            Op.BUFFER, (), like.dtype, like.shape, Slot(slot), like.place, like.site
        )
    return replace(expanded[: len(roots)], values)


def replace(roots: Sequence[Node], values: dict[int, Node]) -> list[Node]:
    """The roots with some nodes, by id, replaced by others."""
    if not values:
        return list(roots)
    done = dict(values)
    keep: list[Node] = []
    for node in postorder(roots):
        if id(node) in done:
            continue
        src = tuple([done[id(source)] for source in node.src])
        if any(a is not b for a, b in zip(src, node.src, strict=True)):
            new = node.like(src)
            keep.append(new)
        else:
            new = node
        done[id(node)] = new
    return [done[id(root)] for root in roots]
