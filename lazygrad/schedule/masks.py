"""How far a row goes before a mask has taken out all the rest: blocks of attention that are wholly masked are not computed.

In: what a reduction in a block of rows (blocks.py) sums, and the index of each of its axes. Out: for an axis, from where on, as a
function of the row, every element is one number: minus infinity before an exponential, 0 after it. Found by following numbers
through the graph, from comparisons of indices and the selections that they decide.

A product with 0 counts as 0, whatever the other factor is: an infinity or a NaN among values that a mask takes out is not seen
where the whole block is, as in PyTorch's own kernels. Everything else is exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..ir import access
from ..ir.access import Position
from ..ir.args import Axis, Constant, Reduction, Scalar
from ..ir.index import Index, Variable, of
from ..ir.node import Node
from ..ir.op import ELEMENTWISE, MOVEMENT, Op
from .fold import compute
from .reads import contraction, inlined_reads

FOLLOWED = MOVEMENT - {Op.PAD, Op.WINDOW}
MOST_NODES = 256
"""A reduction of more than this is not looked through."""


@dataclass(frozen=True, slots=True)
class Beyond:
    """Every element at `start` and after it is `value`; `start` is an index of the row alone."""

    start: Index
    value: Scalar


Known = dict[Variable, Beyond]


def beyond(root: Node, at: Position, row: Variable, order: dict[int, int]) -> Known:
    """What is known of `root` at `at`, for each variable of it but `row`. `order` numbers the nodes, sources first."""
    pairs = _reached(root, at, order)
    known: dict[tuple[int, Position], Known] = {}
    for node, place in pairs:
        sources = [(source, found) for source, found in _reads(node, place)]
        behind = [known.get((id(source), found), {}) for source, found in sources]
        if node.op in (Op.LE, Op.LT) and node.src[0].dtype.is_integer:
            known[id(node), place] = _compared(node, place, row)
        elif node.op in ELEMENTWISE:
            known[id(node), place] = _computed(node, behind)
        elif node.op is Op.REDUCE:
            known[id(node), place] = _reduced(node, behind[0], place) if behind else {}
        elif node.op in FOLLOWED:
            known[id(node), place] = behind[0]
    return known.get((id(root), at), {})


def _reached(root: Node, at: Position, order: dict[int, int]) -> list[tuple[Node, Position]]:
    """Nodes and the positions they are read at, sources first; none where there are many."""
    found = {(id(root), at): (root, at)}
    stack = [(root, at)]
    while stack:
        node, place = stack.pop()
        for source, inner in _reads(node, place):
            if (id(source), inner) not in found:
                found[id(source), inner] = source, inner
                stack.append((source, inner))
        if len(found) > MOST_NODES:
            return []
    return sorted(found.values(), key=lambda pair: order.get(id(pair[0]), -1))


def _reads(node: Node, at: Position) -> list[tuple[Node, Position]]:
    if node.op is Op.REDUCE:
        if contraction(node):
            return []
        assert isinstance(node.arg, Reduction)
        shape, axes = node.src[0].shape, node.arg.axes
        inner = [of(Variable(f"s{n}", shape[n])) if n in axes else i for n, i in enumerate(at)]
        return [(node.src[0], tuple(inner))]
    return inlined_reads(node, at) if node.op in ELEMENTWISE or node.op in FOLLOWED else []


def _reduced(node: Node, source: Known, at: Position) -> Known:
    """A reduction over other axes of one number: the number, where it is the same as often as it is met."""
    assert isinstance(node.arg, Reduction)
    kept = {v for index in at for v in index.variables}
    same = node.arg.kind in ("max", "min")
    return {v: b for v, b in source.items() if v in kept and (same or b.value == 0)}


def _compared(node: Node, at: Position, row: Variable) -> Known:
    """From where on a comparison of indices is decided: left - right is a column and what depends on the row alone."""
    left, right = (_affine(source, at) for source in node.src)
    if left is None or right is None:
        return {}
    difference = left - right + (1 if node.op is Op.LT else 0)  # it holds up to 0
    result: Known = {}
    for atom, coefficient in difference.terms:
        if not isinstance(atom, Variable) or atom == row or coefficient not in (1, -1):
            continue
        rest = difference - of(atom) * coefficient
        if rest.variables <= {row} and all(isinstance(each, Variable) for each, _ in rest.terms):
            start = rest * -1 + 1 if coefficient == 1 else rest
            result[atom] = Beyond(start, coefficient == -1)
    return result


def _affine(node: Node, at: Position) -> Index | None:
    """An integer node at a position as an index, where it is one."""
    total = of(0)
    stack = [(node, at, 1)]
    while stack:
        node, at, factor = stack.pop()
        if node.op is Op.IOTA and isinstance(node.arg, Axis):
            total = total + at[node.arg.axis] * factor
        elif node.op is Op.CONST and isinstance(node.arg, Constant):
            total = total + int(node.arg.value) * factor
        elif node.op in FOLLOWED:
            stack.append((node.src[0], access.source_position(node, at)[0], factor))
        elif node.op is Op.CAST and node.src[0].dtype.is_integer:
            stack.append((node.src[0], at, factor))
        elif node.op in (Op.ADD, Op.SUB):
            left, right = node.src
            stack += [(left, at, factor), (right, at, factor if node.op is Op.ADD else -factor)]
        else:
            return None
        if len(stack) > MOST_NODES:
            return None
    return total


def _computed(node: Node, sources: Sequence[Known]) -> Known:
    """An operation whose operands are one number each from somewhere on, or enough of them."""
    result: Known = {}
    for variable in dict.fromkeys(v for source in sources for v in source):
        at = [source.get(variable) for source in sources]
        starts = {each.start for each in at if each is not None}
        values = [
            each.value if each is not None else _number(source)
            for each, source in zip(at, node.src, strict=True)
        ]
        value = _value(node, values)
        if value is not None and len(starts) == 1:
            result[variable] = Beyond(starts.pop(), value)
        elif value is not None:  # where one of them decides alone, from there on
            for each in at:
                alone = [
                    value if other is each else _number(source)
                    for other, value, source in zip(at, values, node.src, strict=True)
                ]
                if each is not None and (decided := _value(node, alone)) is not None:
                    result[variable] = Beyond(each.start, decided)
                    break
    return result


def _number(node: Node) -> Scalar | None:
    return node.arg.value if node.op is Op.CONST and isinstance(node.arg, Constant) else None


def _value(node: Node, values: Sequence[Scalar | None]) -> Scalar | None:
    """The result of an operation on numbers, where None is any finite number."""
    known = [value for value in values if value is not None]
    if node.op is Op.WHERE:
        condition, left, right = values
        if condition is None:
            return left if left == right else None
        return left if condition else right
    if node.op in (Op.EXP, Op.EXP2) and known == [-math.inf]:
        return 0.0
    if len(known) == len(values):
        return compute(node.op, node.dtype, [source.dtype for source in node.src], known)
    if not known or len(values) > 2:
        return None
    zero = 0.0 if node.dtype.kind == "float" else 0
    left, right = values
    match node.op:
        case Op.MUL if known[0] == 0:
            return zero
        case Op.DIV if left == 0:
            return zero
        case Op.ADD | Op.SUB if node.dtype.kind == "float" and math.isinf(known[0]):
            return -known[0] if node.op is Op.SUB and left is None else known[0]
        case Op.AND if node.dtype.kind == "bool" and not known[0]:
            return False
        case Op.OR if node.dtype.kind == "bool" and known[0]:
            return True
    return None


__all__ = ["Beyond", "beyond"]
