"""From a normalised graph to a plan: the passes, in the order they run.

In: `Normal` (keys.py). Out: a plan for the device of its roots, and which nodes the outputs are values of.
"""

from __future__ import annotations

from collections.abc import Sequence

from lazygrad.gradient.expand import expand
from lazygrad.ir.composite import inline
from lazygrad.ir.node import Node

from . import device as devices
from .keys import Normal
from .realize import CompiledPlan


def compile_normal(normal: Normal) -> CompiledPlan:
    """A plan that computes the roots of `normal`, and what it keeps for gradients."""
    made = normal.graph()
    wanted = list(dict.fromkeys(normal.roots))
    roots = inline(attach_values(expand([made[number] for number in wanted])))
    place = normal.nodes[wanted[0]].place
    plan = devices.get(place).compile(roots)
    return CompiledPlan(plan, wanted)


def attach_values(roots: Sequence[Node]) -> list[Node]:
    """The roots with every node whose value is stored replaced by the BUFFER that has it."""
    done: dict[int, Node] = {}
    keep: list[Node] = []
    stack = list(reversed(roots))
    while stack:
        node = stack[-1]
        if id(node) in done:
            stack.pop()
            continue
        if node.value is not None:
            done[id(node)] = node.value
            stack.pop()
            continue
        pending = [source for source in node.src if id(source) not in done]
        if pending:
            stack.extend(reversed(pending))
            continue
        stack.pop()
        src = tuple([done[id(source)] for source in node.src])
        new = node
        if any([a is not b for a, b in zip(src, node.src, strict=True)]):
            new = node.like(src)
            keep.append(new)
        done[id(node)] = new
    return [done[id(root)] for root in roots]
