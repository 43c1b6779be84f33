"""GRAD becomes nodes: the rule tables applied along the paths from roots to targets.

In: any graph of the graph stratum. Out: the same roots without GRAD and ELEMENT. A node that no gradient is below stays the very
node it was; one with a realised value keeps it.

A gradient is a sum over paths. A path ends at a STOP, at a node that is not of a float type, and at a target marked as a boundary.
A GRAD among whose roots another gradient is read (grad of grad) comes after that one, and differentiates its nodes.
Composites that have no rule of their own are replaced by their bodies first, so that forward and backward share them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..ir.args import Call, Element, Grad
from ..ir.composite import expand_call
from ..ir.node import Node, constant
from ..ir.op import Op
from .reverse import COMPOSITE_REVERSE, REVERSE, Cotangents


class GradientError(RuntimeError):
    """A path leads through an operation that has no gradient rule."""


def expand(roots: Sequence[Node]) -> list[Node]:
    """The roots with every GRAD expanded.

    Guarantees: a distinct variable stays one; work is linear in the nodes below the GRADs.

    Raises:
        GradientError: an operation on a path has no rule.
    """
    historic, variables = _below_gradients(roots)
    if not historic:
        return list(roots)
    done: dict[int, Node] = {}
    gradients: dict[int, list[Node]] = {}  # of each GRAD, one for each target
    keep: list[Node] = []  # ids stay unique while their nodes live
    stack: list[tuple[Node, Node | None]] = [(root, None) for root in reversed(roots)]
    while stack:
        node, body = stack.pop()
        if body is not None:
            done[id(node)] = _as_result(node, done[id(body)], variables)
            continue
        if id(node) in done:
            continue
        if node.value is not None and id(node) not in historic:
            done[id(node)] = node
            continue
        pending = [source for source in node.src if id(source) not in done]
        if pending:
            stack.append((node, None))
            stack.extend((source, None) for source in reversed(pending))
            continue
        src = tuple([done[id(source)] for source in node.src])
        if node.op is Op.GRAD:
            gradients[id(node)] = pull_back(node, src)
            done[id(node)] = node
        elif node.op is Op.ELEMENT and node.src[0].op is Op.GRAD:
            assert isinstance(node.arg, Element)
            found = gradients[id(node.src[0])][node.arg.index]
            done[id(node)] = _as_result(node, found, variables)
        elif id(node) in historic and _is_transparent(node):
            body = expand_call(node.like(src))
            _mark(body, src, node, historic)
            keep.append(body)
            stack.append((node, body))
            stack.append((body, None))
        else:
            done[id(node)] = _rebuilt(node, src)
    return [done[id(root)] for root in roots]


def _rebuilt(node: Node, src: tuple[Node, ...]) -> Node:
    if all(a is b for a, b in zip(src, node.src, strict=True)):
        return node
    new = node.like(src)
    new.value = node.value
    return new


def _as_result(node: Node, found: Node, variables: set[int]) -> Node:
    """The node that stands for `node`, which computes what `found` does.

    Two variables whose gradients are one node (the terms of a sum) are still two variables to a later gradient, and each has
    its own realised value: a reshape to the same shape tells them apart, and costs nothing.
    """
    if id(node) not in variables and node.value is None:
        return found
    alias = Node(Op.RESHAPE, (found,), found.dtype, found.shape, None, found.place, node.site)
    alias.value = node.value
    return alias


def _is_transparent(node: Node) -> bool:
    """Whether gradients go through the body of this composite."""
    return (
        node.op is Op.CALL
        and isinstance(node.arg, Call)
        and node.arg.name not in COMPOSITE_REVERSE.rules
    )


def _below_gradients(roots: Sequence[Node]) -> tuple[set[int], set[int]]:
    """The nodes whose history some GRAD may need (those below it, and itself), and the targets of all GRADs.

    Realised values are read and not looked below, unless a GRAD is above; a STOP ends that.
    """
    historic: set[int] = set()
    variables: set[int] = set()
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(root, False) for root in roots]
    while stack:
        node, history = stack.pop()
        if node.op is Op.STOP:
            history = False
        if id(node) in (historic if history else seen):
            continue
        seen.add(id(node))
        if history:
            historic.add(id(node))
        elif node.value is not None:
            continue
        if node.op is Op.GRAD:
            assert isinstance(node.arg, Grad)
            variables.update(map(id, node.src[2 * node.arg.roots :]))
            historic.add(id(node))
            history = True
        for source in node.src:
            if id(source) not in (historic if history else seen):
                stack.append((source, history))
    return historic, variables


def _mark(body: Node, src: tuple[Node, ...], call: Node, historic: set[int]) -> None:
    """The nodes of a composite's body belong to the history and to the line of the call."""
    ends = set(map(id, src))
    stack = [body]
    while stack:
        node = stack.pop()
        if id(node) in ends:
            continue
        ends.add(id(node))
        historic.add(id(node))
        if node.site is None:
            node.site = call.site
        stack.extend(node.src)


def pull_back(grad: Node, src: tuple[Node, ...]) -> list[Node]:
    """One cotangent for each target of `grad`, whose sources have become `src`; zeros where no path leads."""
    assert isinstance(grad.arg, Grad)
    count = grad.arg.roots
    roots, cotangents, targets = src[:count], src[count : 2 * count], src[2 * count :]
    ends = {id(t) for t, end in zip(targets, grad.arg.boundary, strict=True) if end}
    wanted = set(map(id, targets))
    order, needed = _paths(roots, wanted, ends)
    total: dict[int, Node] = {}
    for root, cotangent in zip(roots, cotangents, strict=True):
        _accumulate(total, root, cotangent)
    results: dict[int, Node] = {}
    for node in reversed(order):
        cotangent_of = total.pop(id(node), None)
        if cotangent_of is None:
            continue
        if id(node) in wanted:
            results[id(node)] = cotangent_of
        passes = node.op is not Op.STOP and id(node) not in ends
        if not passes or not any(id(source) in needed for source in node.src):
            continue
        for source, part in zip(node.src, reverse_rule(node, cotangent_of), strict=True):
            if part is not None and id(source) in needed:
                _accumulate(total, source, part)
    return [results[id(target)] if id(target) in results else _zeros(target) for target in targets]


def _zeros(target: Node) -> Node:
    return constant(0, target.dtype, target.shape, target.place)


def _accumulate(total: dict[int, Node], node: Node, part: Node) -> None:
    before = total.get(id(node))
    if before is None:
        total[id(node)] = part
        return
    total[id(node)] = Node(
        Op.ADD, (before, part), part.dtype, part.shape, None, part.place, part.site
    )


def _paths(roots: Sequence[Node], wanted: set[int], ends: set[int]) -> tuple[list[Node], set[int]]:
    """The float nodes below the roots, sources first, and those of them that a path to a target starts from."""
    order: list[Node] = []
    needed: set[int] = set()
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        node, finished = stack.pop()
        if finished:
            through = node.op is not Op.STOP and id(node) not in ends
            if id(node) in wanted or (through and any(id(s) in needed for s in node.src)):
                needed.add(id(node))
                order.append(node)
            continue
        if id(node) in seen or node.dtype.kind != "float":
            continue
        seen.add(id(node))
        stack.append((node, True))
        if node.op is not Op.STOP and id(node) not in ends:
            stack.extend((source, False) for source in reversed(node.src))
    return order, needed


def reverse_rule(node: Node, cotangent: Node) -> Cotangents:
    """The cotangents of a node's sources; new nodes get its line."""
    if node.op is Op.CALL:
        assert isinstance(node.arg, Call)
        found = COMPOSITE_REVERSE(node.arg.name, node, cotangent)
        name = node.arg.name
    else:
        found = REVERSE(node.op, node, cotangent)
        name = node.op.name.lower()
    if found is None:
        raise GradientError(f"derivative for {name} is not implemented")
    place_new(node, (cotangent, *node.src), [part for part in found if part is not None])
    return found


def place_new(node: Node, known: Iterable[Node], made: Iterable[Node]) -> None:
    """Give what a rule has built for `node` its line; `known` are the nodes that it was built on."""
    if node.site is None:
        return
    seen = {id(node), *map(id, known)}
    stack = list(made)
    while stack:
        new = stack.pop()
        if id(new) in seen:
            continue
        seen.add(id(new))
        if new.site is None:
            new.site = node.site
        stack.extend(new.src)
