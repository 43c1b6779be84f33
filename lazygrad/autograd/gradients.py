"""Gradients as tensors: one GRAD node with a history of its own where one is recorded, sums of gradients, and what calling a grad_fn does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..history import AccumulateGrad, Record, distinct, mode, record_class
from ..ir import build
from ..ir.node import Node
from ..results import attach, from_node, store
from ..tensor import Tensor
from .records import Target, depending, require_intact


def gradients(
    roots: Sequence[tuple[Node, Record, int]],
    cotangents: Sequence[Tensor],
    targets: Sequence[Node],
    ends: Sequence[bool],
    depends: dict[int, bool] | None,
    records: Sequence[Record],
) -> list[Tensor]:
    """One GRAD: the gradients of the targets.

    `depends` says of which targets the gradient has a history of its own (None: of none); `records` are those that the gradients
    run through, whose operands that history leads to.
    """
    nodes = [
        cotangent.node if cotangent.requires_grad else cotangent._constant()
        for cotangent in cotangents
    ]
    made = build.grad([node for node, _, _ in roots], nodes, targets, ends)
    results = [from_node(node) for node in made]
    if depends is None or not any(depends.get(id(target), False) for target in targets):
        return results
    reads: dict[int, tuple[tuple[Record | None, int], Node | None]] = {
        id(node): ((record, index), node) for node, record, index in roots
    }
    for node, each in zip(nodes, cotangents):
        if each.requires_grad:
            reads.setdefault(id(node), (each._edge(), node))
    for record in records:
        for edge, operand in zip(record.edges, record.operands):
            if edge[0] is not None and operand is not None:
                reads.setdefault(id(operand), (edge, operand))
    edges, operands = zip(*reads.values())
    record = record_class("Grad")(tuple(made), edges, operands)
    record.saved = ("result",)
    for index, (each, target) in enumerate(zip(results, targets)):
        if depends.get(id(target), False):
            attach(each, record, index)
            each.storage.tracked = True
    return results


def add(left: Tensor, right: Tensor) -> Tensor:
    """The sum of two gradients."""
    from ..results import result, tensor_nodes

    a, b = tensor_nodes(left, right)
    return result("Add", a + b, (left, right))


def accumulate_into(variable: Tensor, gradient: Tensor, create_graph: bool) -> None:
    """Add to `.grad`: the first gradient is assigned, later ones are added, in place where no history is recorded."""
    before = variable._grad
    if before is None:
        variable._grad = gradient
    elif create_graph:
        variable._grad = add(before, gradient)
    else:
        store(before, before._raw() + gradient._raw())
        before._counter.version += 1


def apply(record: Record, cotangents: Sequence[Tensor | None]) -> Any:
    """The gradients of a record's operands; what calling a grad_fn does.

    Raises:
        RuntimeError: the record was released, or something that it saved was changed in place.
    """
    if isinstance(record, AccumulateGrad):
        if cotangents[0] is not None:
            accumulate_into(record.variable, copied(cotangents[0]), mode.enabled)
        return None
    if record.special:
        return record.run(cotangents)  # type: ignore[attr-defined]
    require_intact([record])
    given = [(i, each) for i, each in enumerate(cotangents) if each is not None]
    operands = [operand for operand in record.operands if operand is not None]
    unique = list({id(operand): operand for operand in operands}.values())
    start: list[tuple[Target, Tensor]] = [((record, i), each) for i, each in given]
    depends = depending([record], start) if mode.enabled else None
    roots = [(record.nodes[i], record, i) for i, _ in given]
    made = gradients(
        roots, [each for _, each in given], unique, [True] * len(unique), depends, [record]
    )
    by_node = {id(node): each for node, each in zip(unique, made)}
    # An operand that was used twice has one gradient, the sum: it stands at its first place.
    results = tuple(
        [None if operand is None else by_node.pop(id(operand), None) for operand in record.operands]
    )
    return results[0] if len(results) == 1 else results


def copied(gradient: Tensor) -> Tensor:
    """A gradient with a storage of its own."""
    return from_node(distinct(gradient._raw())) if not gradient.requires_grad else gradient


__all__ = ["accumulate_into", "add", "apply", "copied", "gradients"]
