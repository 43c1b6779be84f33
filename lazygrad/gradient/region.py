"""The part of a graph that a transform rewrites, cut out of what stands around it.

In: roots, and the nodes that a transform starts from (its ends). Out: the same roots with fresh leaves in the place of the ends and
of everything that does not depend on them; templates unfolded, gradients expanded. A rule table then sees operations only, and
nothing outside is copied: what is put back where the leaves stand is the very node, which autograd may know as a variable.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ..ir.args import Grad
from ..ir.composite import expand_call
from ..ir.node import Node
from ..ir.op import Op
from ..ir.rewrite import rebuild
from ..ir.template import unfold
from .expand import expand, place_new

_SMALL = frozenset((Op.CONST, Op.IOTA, Op.ARGUMENT))
"""Leaves that are as good as the leaf that would stand for them: rules may look at them."""


class Region:
    """The operations between ends and roots, on leaves of their own."""

    def __init__(self, roots: Sequence[Node], ends: Iterable[Node]) -> None:
        """Cut `roots` at `ends`, which are not looked below."""
        self._leaves: dict[int, Node] = {}
        self._originals: dict[int, Node] = {}
        self._keep = list(ends)  # ids stay unique while their nodes live
        stop = {id(end) for end in self._keep}
        order = _below(roots, stop)
        if _unfold(order):
            order = _below(roots, stop)
        self.copied, kept = _moving(order, stop)
        """The nodes of the outside (ids) that operations in `roots` stand for."""
        stop |= kept
        small = {id(node) for node in order if node.op in _SMALL}

        def outside(node: Node) -> Node | None:
            if id(node) in stop:
                return self.leaf(node)
            if id(node) in self.copied:
                return None
            return node if id(node) in small else self.leaf(node)

        self.roots = expand(rebuild(roots, outside))
        """The roots, on the leaves."""

    def leaf(self, node: Node) -> Node:
        """What stands for a node of the outside."""
        found = self._leaves.get(id(node))
        if found is None:
            found = leaf_like(node)
            self._leaves[id(node)] = found
            self._originals[id(found)] = node
            self._keep.append(node)
        return found

    def restore(self, nodes: Sequence[Node]) -> list[Node]:
        """The nodes with what the leaves stand for in the place of the leaves."""
        return rebuild(nodes, lambda node: self._originals.get(id(node)))


def leaf_like(node: Node) -> Node:
    """A leaf without a value, of a node's dtype and shape."""
    return Node(Op.BUFFER, (), node.dtype, node.shape, None, node.place)


def opened(node: Node) -> tuple[Node, list[Node]]:
    """The body of a composite on leaves of its own, and these: walking through it is no work on the rest of the graph."""
    leaves = [source if source.op in _SMALL else leaf_like(source) for source in node.src]
    copy = node.like(tuple(leaves))
    body = expand_call(copy)
    place_new(copy, leaves, [body])
    return body, leaves


def replaced(root: Node, *pairs: tuple[Sequence[Node], Sequence[Node]]) -> Node:
    """The root with other nodes in the place of some of them: (nodes, what stands for them)."""
    found = {id(a): b for before, after in pairs for a, b in zip(before, after, strict=True)}
    return rebuild([root], lambda node: found.get(id(node)))[0]


def _below(roots: Iterable[Node], stop: Collection[int]) -> list[Node]:
    """Every node that the roots reach, sources first, without what is below the nodes of `stop`."""
    order: list[Node] = []
    seen: set[int] = set()
    stack = [(root, False) for root in roots]
    while stack:
        node, finished = stack.pop()
        if finished:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            if id(node) not in stop:
                stack.extend([(source, False) for source in node.src])
    return order


def _unfold(order: Iterable[Node]) -> bool:
    found = [node for node in order if node.op is Op.APPLY]
    for node in found:
        unfold(node)
    return bool(found)


def _moving(order: Sequence[Node], ends: Collection[int]) -> tuple[set[int], set[int]]:
    """The nodes that depend on the ends, and targets of gradients that do not.

    What lies on the way from the roots of such a gradient to its targets belongs to the former, though it may not depend on the
    ends: it is where the gradient is found.
    """
    targets: set[int] = set()
    while True:
        moving: set[int] = set()
        path: set[int] = set()
        found: set[int] = set()
        for node in order:
            if id(node) in ends:
                continue
            reads = [id(source) for source in node.src]
            depends = any([each in ends or each in moving for each in reads])  # noqa: C419
            leads = node.op is not Op.STOP and any([e in targets or e in path for e in reads])  # noqa: C419
            if depends:
                moving.add(id(node))
            if leads:
                path.add(id(node))
            if (depends or leads) and isinstance(node.arg, Grad):
                found.update(map(id, node.src[2 * node.arg.roots :]))
        if found <= targets:
            moving |= path
            return moving, targets - moving - set(ends)
        targets |= found
