"""Simplification of graphs: equal nodes become one, and rules make them fewer and smaller.

In: a graph without GRAD and CALL. Out: a graph that computes the same, to the bit (see algebra.py), where no rule of the table
applies any more. A node with a realised value is a leaf and stays the node it is.

Rules terminate since each removes a node, or moves an EXPAND, a PERMUTE or a sign one step towards the roots.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.dim import UndecidedError
from ..ir.node import Node
from ..ir.op import COMMUTATIVE, Op
from . import (
    movement as movement,  # rules are tried in the order they are registered: the algebra first
)
from . import reduction as reduction
from .algebra import SIMPLIFY

# Which of two equal zeros a maximum returns depends on their order.
UNORDERED = COMMUTATIVE - {Op.MAX, Op.MIN}


def simplify(roots: Sequence[Node]) -> list[Node]:
    """The roots with every rule of SIMPLIFY applied everywhere, and equal nodes shared. One walk, sources first.

    A new node without a line in the user's program takes that of the node it stands for.
    """
    done: dict[int, Node] = {}  # node -> its final form
    canonical: dict[object, Node] = {}
    waiting: dict[int, Node] = {}  # node -> what a rule made of it, which is on its way
    keep: list[Node] = []  # ids stay unique while their nodes live
    stack: list[Node] = list(reversed(roots))
    while stack:
        node = stack[-1]
        if id(node) in done:
            stack.pop()
            continue
        if node.value is not None:
            done[id(node)] = node
            continue
        replacement = waiting.get(id(node))
        if replacement is not None:
            done[id(node)] = done[id(replacement)]
            stack.pop()
            continue
        pending = [source for source in node.src if id(source) not in done]
        if pending:
            for source in reversed(pending):
                if source.site is None:
                    source.site = node.site
                stack.append(source)
            continue
        src = tuple([done[id(source)] for source in node.src])
        key = _key(node, src)
        current = canonical.get(key)
        if current is not None:
            # known: its final form, or on its way in a rewriting that this node is part of
            done[id(node)] = done.get(id(current), current)
            stack.pop()
            continue
        if all(a is b for a, b in zip(src, node.src, strict=True)):
            current = node
        else:
            current = node.like(src)
            keep.append(current)
        try:
            result = SIMPLIFY(current.op, current)
        except UndecidedError:  # the bounds of a size do not say whether the rule applies
            result = None
        if result is None:
            canonical[key] = done[id(node)] = done[id(current)] = current
            stack.pop()
            continue
        if result.site is None:
            result.site = node.site
        keep.append(result)
        waiting[id(node)] = result
        stack.append(result)
    return [done[id(root)] for root in roots]


def _key(node: Node, src: tuple[Node, ...]) -> object:
    sources = tuple([id(source) for source in src])
    if len(sources) == 2 and node.op in UNORDERED and sources[0] > sources[1]:
        sources = (sources[1], sources[0])
    return (node.op, sources, node.arg, node.dtype, node.shape, node.place)
