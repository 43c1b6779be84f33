"""From text to nodes: what text.py writes, and what people write in tests.

In: one graph or one kernel. Out: the graph's roots, or the KERNEL. What the text means is not checked here but in verify.py.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import loops
from .args import Arg, Constant, Dots, Scalar, Slot
from .dim import Dim, Size
from .dtype import DType, bool_, int64
from .node import Node
from .op import COMPARISON, ELEMENTWISE, TILED, Op
from .tokens import Line, ParseError

__all__ = ["ParseError", "default_type", "parse"]

_OPERATORS = {
    "+": (Op.ADD, 1),
    "-": (Op.SUB, 1),
    "*": (Op.MUL, 2),
    "//": (Op.IDIV, 2),
    "%": (Op.MOD, 2),
}


def parse(text: str) -> list[Node]:
    """The roots of a graph, or one KERNEL.

    Raises:
        ParseError: the text is not in the form; the message has the line.
    """
    lines = [
        Line(number, line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.split("#")[0].strip()
    ]
    dims: dict[str, Dim] = {}
    while lines and lines[0].peek() == "dims":
        lines[0].dims(dims)
        del lines[0]
    for line in lines:
        line.variables = dims
    if lines and lines[0].peek() == "graph":
        return _graph(lines)
    if lines and lines[0].peek() == "kernel":
        return [_kernel(lines)]
    raise ParseError("the text starts with neither `graph` nor `kernel`")


# --- graphs


def _graph(lines: list[Line]) -> list[Node]:
    nodes: dict[str, Node] = {}
    for line in lines[1:]:
        if line.accept("return"):
            roots = [_known(line, nodes)]
            while line.accept(","):
                roots.append(_known(line, nodes))
            line.end()
            return roots
        name = line.take("name")
        line.expect("=")
        op, called = line.operation()
        src: list[Node] = []
        arg: Arg | None = None
        if op is Op.CONST:
            arg = Constant(line.scalar())
        elif op in (Op.ARGUMENT, Op.BUFFER):
            arg = Slot(line.integer()) if line.kind() == "number" else None
        else:
            while line.kind() == "name":
                src.append(_known(line, nodes))
                line.accept(",")
            arg = line.arg(op, called)
        line.expect(":")
        dtype, shape = line.type()
        place = None
        if line.kind() == "place":
            place = line.take()[1:]
            place = "" if place == "-" else place
        line.end()
        nodes[name] = Node(op, tuple(src), dtype, shape, arg, place)
    raise ParseError("the graph has no `return`")


def _known(line: Line, nodes: dict[str, Node]) -> Node:
    name = line.take("name")
    return nodes[name] if name in nodes else line.fail(f"{name} is not defined")


# --- kernels


def default_type(
    op: Op, position: int, dtype: DType, shape: Sequence[Size], sources: Sequence[Node | None]
) -> tuple[DType, tuple[Size, ...]] | None:
    """The type of a number written as operand `position` of a line whose result has `dtype` and `shape`.

    `sources` are the operands that are not numbers. None where a number must say its type (`2.0:f32x16`).
    """
    if op in COMPARISON:
        other = next((source for source in sources if source is not None), None)
        return None if other is None else (other.dtype, other.shape)
    if op in (Op.CAST, Op.BITCAST, Op.REDUCE) or (op is Op.WHERE and position == 0):
        return None
    if op is Op.SPLAT:
        return dtype, ()
    return (dtype, tuple(shape)) if op in ELEMENTWISE else None


@dataclass(slots=True)
class _Body:
    """A loop whose lines are being read: `close` makes its node of them."""

    indent: int
    close: Callable[[list[Node]], Node]
    lines: list[Node] = field(default_factory=list)


def _kernel(lines: list[Line]) -> Node:
    values: dict[str, Node] = {}
    head = lines[0]
    head.expect("kernel")
    name = head.take("word")
    head.expect("(")

    def parameter() -> Node:
        own = head.take("name")
        head.expect(":")
        dtype, shape = head.type()
        role: Any = head.take("word")
        values[own] = loops.parameter(own[1:], dtype, shape, role)
        return values[own]

    params = head.listed(parameter, ")")
    head.end()
    stack = [_Body(-1, lambda body: loops.kernel(name, params, body))]
    for line in lines[1:]:
        while len(stack) > 1 and line.indent <= stack[-1].indent:
            done = stack.pop()
            stack[-1].lines.append(done.close(done.lines))
        reader = _Reader(line, values)
        if line.peek() == "for":
            stack.append(_Body(line.indent, reader.loop()))
        elif line.kind() == "name":
            node = reader.value()
            if node.op is Op.LOAD:
                stack[-1].lines.append(node)
        else:
            stack[-1].lines.append(reader.statement())
        line.end()
    while len(stack) > 1:
        done = stack.pop()
        stack[-1].lines.append(done.close(done.lines))
    return stack[0].close(stack[0].lines)


@dataclass(slots=True)
class _Reader:
    """One line of a kernel, and the values that have names before it."""

    line: Line
    values: dict[str, Node]

    def loop(self) -> Callable[[list[Node]], Node]:
        line = self.line
        line.expect("for")
        name = line.take("name")
        for word in ("in", "range", "(", "0", ","):
            line.expect(word)
        extent = self.index()
        step = line.integer() if line.accept(",") else 1
        line.expect(")")
        kind: Any = line.take("word") if line.kind() == "word" else "serial"
        line.expect(":")
        variable = self.values[name] = loops.index(name[1:])
        return lambda body: loops.loop(variable, extent, body, step, kind)

    def statement(self) -> Node:
        line = self.line
        if line.accept("local"):
            name = line.take("name")
            line.expect(":")
            dtype, shape = line.type()
            self.values[name] = loops.local(name[1:], dtype, shape)
            return self.values[name]
        if line.accept("check"):
            condition = self.operand(None)
            line.expect(",")
            error: Any = line.take("word")
            line.expect(",")
            return loops.check(condition, error, ast.literal_eval(line.take("string")))
        op, _ = line.operation()
        if op is Op.DOTS:
            return self.dots()
        if op in TILED:
            return self.tiled(op)
        if op not in (Op.STORE, Op.ACCUMULATE):
            line.fail(f"{op.name.lower()} has no result to name, or is none of a kernel's lines")
        buffer, offset = self.place()
        line.expect(",")
        value = self.operand((buffer.dtype, ()))
        if op is Op.STORE:
            return loops.store(buffer, offset, value, self.mask())
        arg = line.arg(op, "")
        mask = self.mask()
        return Node(op, (buffer, offset, value, *([mask] if mask else [])), bool_, (), arg)

    def dots(self) -> Node:
        places: list[tuple[Node, Node]] = []
        for number in range(3):
            if number:
                self.line.expect(",")
            places.append(self.place())
        arg = self.line.arg(Op.DOTS, "")
        assert isinstance(arg, Dots)
        tile, left, right = places
        return loops.dots(tile, left, right, arg)

    def tiled(self, op: Op) -> Node:
        """Places, or the names of locals, then the arg and a mask."""
        line = self.line
        src: list[Node] = []
        while line.kind() == "name":
            src += self.place() if op is not Op.AWAIT else [_known(line, self.values)]
            line.accept(",")
        arg = line.arg(op, "")
        mask = self.mask()
        return Node(op, (*src, *([mask] if mask else [])), bool_, (), arg)

    def value(self) -> Node:
        line = self.line
        name = line.take("name")
        line.expect("=")
        if line.kind() != "word":
            node = self.index()
            line.expect(":")
            line.expect("i64")
        else:
            node = self.computed()
        self.values[name] = node
        return node

    def computed(self) -> Node:
        line = self.line
        op, _ = line.operation()
        if op is Op.LOAD:
            buffer, offset = self.place()
            mask = self.mask()
            line.expect(":")
            _, shape = line.type()
            node = loops.load(buffer, offset, mask)
            return Node(op, node.src, node.dtype, shape)
        operands: list[Node | tuple[Scalar, Any]] = []
        while line.kind() in ("name", "number") or line.peek() in ("-", "True", "False"):
            operands.append(self.number_or_value())
            line.accept(",")
        arg = line.arg(op, "")
        line.expect(":")
        dtype, shape = line.type()
        others = [item if isinstance(item, Node) else None for item in operands]
        src: list[Node] = []
        for position, item in enumerate(operands):
            if isinstance(item, Node):
                src.append(item)
                continue
            kind = item[1] or default_type(op, position, dtype, shape, others)
            src.append(self.number(item[0], kind))
        return Node(op, tuple(src), dtype, shape, arg)

    def number_or_value(self, ends: bool = False) -> Node | tuple[Scalar, Any]:
        """A named value, or a number and its type if it says one.

        `2.0:f32x16` does; in `mul %a, 2.0 : f32x16` the type that ends the line is the result's. With `ends` nothing else can
        end the line, and any type is the number's own.
        """
        line = self.line
        if line.kind() == "name":
            return _known(line, self.values)
        value = line.scalar()
        if line.peek() == ":" and (ends or line.peek(2)):
            line.expect(":")
            return value, line.type()
        return value, None

    def number(self, value: Scalar, kind: Any) -> Node:
        if kind is None:
            self.line.fail(f"the number {value!r} must say its type here")
        dtype, shape = kind
        return Node(Op.CONST, (), dtype, shape, Constant(value))

    def operand(self, kind: Any, ends: bool = True) -> Node:
        item = self.number_or_value(ends)
        return item if isinstance(item, Node) else self.number(item[0], item[1] or kind)

    def mask(self) -> Node | None:
        return self.operand(None) if self.line.accept("if") else None

    def place(self) -> tuple[Node, Node]:
        buffer = _known(self.line, self.values)
        self.line.expect("[")
        offset = self.index()
        self.line.expect("]")
        return buffer, offset

    def index(self) -> Node:
        """Infix index arithmetic, by two stacks."""
        line = self.line
        operands: list[Node] = []
        operators: list[tuple[Op | None, int]] = []

        def reduce(strength: int) -> None:
            while operators and operators[-1][1] >= strength:
                op, _ = operators.pop()
                assert op is not None
                right, left = operands.pop(), operands.pop()
                operands.append(Node(op, (left, right), int64, ()))

        while True:
            while line.accept("("):
                operators.append((None, 0))
            operands.append(self.operand((int64, ()), ends=False))
            while operators and line.peek() == ")":
                reduce(1)
                if not operators:
                    break
                operators.pop()
                line.expect(")")
            if line.peek() not in _OPERATORS or line.kind() != "mark":
                break
            op, strength = _OPERATORS[line.take()]
            reduce(strength)
            operators.append((op, strength))
        reduce(1)
        if len(operands) != 1 or operators:
            line.fail("a parenthesis is open")
        return operands[0]
