"""Operators whose nodes are not built yet: an APPLY node stands for them, and its arg is the template that says which they are.

In: the nodes that one run of an operator built (`capture`). Out: a `Template`; a later run with operands of the same kinds makes
one APPLY node instead. Whoever looks at operations unfolds first: the node then becomes the last node of its body, in
place, so that everyone who refers to it keeps the same variable. Keys name an APPLY by its template, which makes them short.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from .args import Arg, Constant
from .dtype import DType
from .node import Kind, Node, Shape, kind_of, postorder
from .op import Op

BODY_LIMIT = 64
"""How many nodes a body may have."""
OPAQUE = frozenset((Op.BUFFER, Op.ARGUMENT, Op.GRAD, Op.ELEMENT, Op.STOP, Op.COPY, Op.EXTERN))
"""What is never part of a body."""


class Line(NamedTuple):
    """One node of a body. A source is an operand, or behind them a line; `number` is the number whose value a CONST has."""

    op: Op
    sources: tuple[int, ...]
    dtype: DType
    shape: Shape
    arg: Arg | None
    place: str
    number: int


class Template(Arg):
    """The nodes of one operator on operands of given kinds."""

    __slots__ = ("form", "height", "kind", "lines", "numbers", "operands")

    def __init__(self, operands: int, lines: tuple[Line, ...], kind: Kind, count: int) -> None:
        self.operands = operands
        self.lines = lines
        self.kind = kind
        """The kind of the result."""
        heights = [0] * operands
        numbers: list[DType | None] = [None] * count
        for line in lines:
            heights.append(1 + max([heights[s] for s in line.sources], default=-1))
            if line.number >= 0:
                numbers[line.number] = line.dtype
        self.height = heights[-1]
        """How many operations stand on one another."""
        self.form: Any = None
        """It without its sizes, and the sizes, once somebody has asked (runtime/resized.py)."""
        self.numbers = tuple(numbers)
        """The dtype that each number is used in; None for one that is not used."""

    def __repr__(self) -> str:
        return f"Template({'+'.join(line.op.name.lower() for line in self.lines)})"


def capture(
    root: Node,
    operands: Sequence[Node],
    numbers: Sequence[float],
    outside: Collection[int],
    scaling: Collection[Op],
) -> Template | None:
    """The template of what an operator built, or None where it has none.

    Args:
        root: the result; `operands`: the nodes that it was built on.
        numbers: the number operands, told by identity: each may only become constants that are read by `scaling` operations.
        outside: ids of nodes that existed before and are no operands.
    """
    position = {id(node): number for number, node in reversed(list(enumerate(operands)))}
    if id(root) in position:
        root = Node(Op.RESHAPE, (root,), root.dtype, root.shape)
    order: list[Node] = []
    stack = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            if id(node) not in position:
                position[id(node)] = len(operands) + len(order)
                order.append(node)
            continue
        if id(node) in position:
            continue
        if node.op in OPAQUE or node.value is not None or id(node) in outside:
            return None
        if node.op is Op.APPLY:
            unfold(node)
        stack.append((node, True))
        stack.extend([(source, False) for source in node.src])
        if len(stack) + len(order) > 4 * BODY_LIMIT:
            return None
    if len(order) > BODY_LIMIT:
        return None
    names = {id(number): index for index, number in enumerate(numbers)}
    uses: dict[int, DType] = {}
    lines: list[Line] = []
    for node in order:
        sources = tuple([position[id(source)] for source in node.src])
        arg, index = node.arg, -1
        if isinstance(arg, Constant):
            index = names.get(id(arg.value), -1)
            if index >= 0 and uses.setdefault(index, node.dtype) is not node.dtype:
                return None
            if index < 0 and type(arg.value) is float:
                arg = Constant(own(arg.value))
        if node.op not in scaling and any(
            lines[source - len(operands)].number >= 0
            for source in sources
            if source >= len(operands)
        ):
            return None
        lines.append(Line(node.op, sources, node.dtype, node.shape, arg, node.place, index))
    return Template(len(operands), tuple(lines), kind_of(root), len(numbers))


def own(value: float) -> float:
    """The same number as an object that nobody else has: numbers are told apart by identity."""
    opposite = -value
    return -opposite


def unfold(node: Node) -> list[Node]:
    """Build the body of an APPLY, whose last node it becomes. Returns the nodes of the body, in the order of its lines."""
    template = node.arg
    assert isinstance(template, Template)
    made = list(node.src)
    for line in template.lines[:-1]:
        new = Node(
            line.op,
            tuple([made[source] for source in line.sources]),
            line.dtype,
            line.shape,
            line.arg if line.number < 0 else Constant(node.numbers[line.number]),
            line.place,
            node.site,
        )
        if node.depth < 0:
            new.depth = node.depth
        made.append(new)
    last = template.lines[-1]
    node.src = tuple([made[source] for source in last.sources])
    node.arg = last.arg if last.number < 0 else Constant(node.numbers[last.number])
    node.op = last.op
    return [*made[template.operands :], node]


def unfold_all(roots: Iterable[Node]) -> None:
    """Build the bodies of all APPLYs that the roots reach."""
    for node in postorder(roots):
        if node.op is Op.APPLY:
            unfold(node)
