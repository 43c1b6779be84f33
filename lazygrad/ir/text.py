"""The text form of the IR, as docs/architecture.md shows it: `show` here, `parse` in parse.py.

In: the roots of a graph, or a KERNEL. Out: text that `parse` takes back to the same program. The user's lines are comments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from .args import Accumulate, Call, Constant, Kernel, Loop, Message, Name, Param, Slot
from .blocks import blocks, events, parameters
from .dim import Dim, Size, Variable
from .dtype import DType, int64
from .node import Node, Site, postorder
from .op import STATEMENT, TILED, Op
from .parse import default_type, parse
from .template import unfold_all

__all__ = ["describe", "parse", "show", "user_line"]

INFIX = {Op.ADD: ("+", 1), Op.SUB: ("-", 1), Op.MUL: ("*", 2), Op.IDIV: ("//", 2), Op.MOD: ("%", 2)}
"""Index arithmetic that is written between its operands, and how strongly each binds."""

SHORT = 5
"""An index expression of at most so many operands and operators is written wherever it is used; a longer one that is used
more than once has a line."""


def show(roots: Node | Sequence[Node], sites: bool = True) -> str:
    """The text of a graph's roots, or of a KERNEL; with `sites`, the user's lines beside it."""
    nodes = [roots] if isinstance(roots, Node) else list(roots)
    if len(nodes) == 1 and nodes[0].op is Op.KERNEL:
        return _KernelText(sites).show(nodes[0])
    unfold_all(nodes)
    return _graph(nodes, sites)


def describe(node: Node) -> str:
    """One node on one line, its sources by their names or types: what error messages say."""
    sources = ", ".join(
        f"%{s.arg.name}"
        if isinstance(s.arg, (Param, Name))
        else f"{s.op.name.lower()}:{_type(s.dtype, s.shape)}"
        for s in node.src[:8]
    )
    more = ", ..." if len(node.src) > 8 else ""
    words = [
        node.op.name.lower(),
        sources + more,
        attributes(node),
        ":",
        _type(node.dtype, node.shape),
    ]
    return " ".join(word for word in words if word) + _site(node.site)


def user_line(site: Site) -> str:
    """`train.py:7`: where in the user's program a node was made."""
    code, instruction = site
    number = code.co_firstlineno
    for start, end, line in code.co_lines():
        if start <= instruction < end and line is not None:
            number = line
    return f"{code.co_filename.rpartition('/')[2]}:{number}"


def _site(site: Site | None) -> str:
    return f"  # {user_line(site)}" if site is not None else ""


def _type(dtype: DType, shape: Sequence[Size]) -> str:
    return f"{dtype.short}[{', '.join(map(str, shape))}]"


def _lanes(node: Node) -> str:
    """The type of a loop stratum value: f32 or f32x16."""
    return node.dtype.short + "".join(f"x{size}" for size in node.shape)


def _dims(nodes: Sequence[Node]) -> list[str]:
    """The header that declares the variables in shapes and args."""
    found: dict[str, Variable] = {}

    def collect(value: Any) -> None:
        if isinstance(value, Dim):
            found.update((variable.name, variable) for variable in value.variables)
        elif isinstance(value, tuple):
            for item in value:
                collect(item)

    for node in nodes:
        collect(node.shape)
        if node.op in (Op.PAD, Op.SHRINK, Op.UPDATE):
            for entry in fields(node.arg):  # type: ignore[arg-type]
                collect(getattr(node.arg, entry.name))
    return [f"dims {v.name} in {v.low}..{v.high} multiple {v.multiple}" for v in found.values()]


def _value(value: Any, attribute: bool = False) -> str:
    """A field of an arg. Texts are bare words where the field's type says that they are texts, else quoted."""
    if isinstance(value, tuple):
        inner = ", ".join(_value(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, Constant):
        return f"constant({value.value!r})" if attribute else repr(value.value)
    if isinstance(value, DType):
        return value.short
    return repr(value) if attribute or not isinstance(value, str) else value


def attributes(node: Node) -> str:
    """The arg between braces, field by field."""
    arg = node.arg
    if arg is None:
        return ""
    if isinstance(arg, Call):
        pairs = [f"{name}={_value(value, attribute=True)}" for name, value in arg.attributes]
    elif isinstance(arg, Constant):
        pairs = [f"value={arg.value!r}"]
    else:
        values = [(f.name, getattr(arg, f.name), f.default) for f in fields(arg)]  # type: ignore[arg-type]
        pairs = [f"{name}={_value(value)}" for name, value, default in values if value != default]
    return "{" + ", ".join(pairs) + "}" if pairs else ""


def _graph(roots: Sequence[Node], sites: bool) -> str:
    order = postorder(roots)
    number = {id(node): f"%{position}" for position, node in enumerate(order)}
    lines = [*_dims(order), "graph"]
    for node in order:
        head, arg = node.op.name.lower(), attributes(node)
        if isinstance(node.arg, Constant):
            head, arg = f"{head} {node.arg.value!r}", ""
        elif isinstance(node.arg, Slot):
            head, arg = f"{head} {node.arg.index}", ""
        elif isinstance(node.arg, Call):
            head = f"{head}.{node.arg.name}"
        sources = ", ".join(number[id(source)] for source in node.src)
        body = " ".join(word for word in (head, sources, arg) if word)
        place = ""
        if node.place != (node.src[0].place if node.src else ""):
            place = f" @{node.place or '-'}"
        comment = _site(node.site) if sites else ""
        lines.append(
            f"  {number[id(node)]} = {body} : {_type(node.dtype, node.shape)}{place}{comment}"
        )
    lines.append(f"  return {', '.join(number[id(root)] for root in roots)}")
    return "\n".join(lines) + "\n"


@dataclass(slots=True)
class _KernelText:
    """The text of one kernel while it is written."""

    sites: bool
    names: dict[int, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    written: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    """Of index arithmetic: its expression, how strongly it binds, how long it is."""
    last_site: str = ""

    def show(self, kernel: Node) -> str:
        assert isinstance(kernel.arg, Kernel)
        order = postorder([kernel])
        inline = _inlined(order)
        params = []
        for param in parameters(kernel):
            assert isinstance(param.arg, Param)
            self.names[id(param)] = f"%{param.arg.name}"
            scalar = param.arg.role in ("number", "dim")
            kind = param.dtype.short if scalar else _type(param.dtype, param.shape)
            params.append(f"%{param.arg.name}: {kind} {param.arg.role}")
        self.lines = _dims(order)
        self._line(0, f"kernel {kernel.arg.name}({', '.join(params)})", kernel)
        for node in order:
            if node.op in (Op.INDEX, Op.LOCAL):
                assert isinstance(node.arg, Name)
                self.names[id(node)] = f"%{node.arg.name}"
        depth, count = 1, 0
        for event, node in events(blocks(kernel)):
            if event == "leave":
                depth -= 1
            elif event == "enter":
                self._line(depth, self._loop(node), node)
                depth += 1
            elif _is_index(node):
                self._write(node)
                if id(node) not in inline:
                    self._name(node, count)
                    count += 1
                    self._line(
                        depth,
                        f"{self.names[id(node)]} = {self.written.pop(id(node))[0]} : i64",
                        node,
                    )
            elif node.op in STATEMENT:
                self._line(depth, self._statement(node), node)
            else:
                self._name(node, count)
                count += 1
                self._line(
                    depth, f"{self.names[id(node)]} = {self._computed(node)} : {_lanes(node)}", node
                )
        return "\n".join(self.lines) + "\n"

    def _name(self, node: Node, count: int) -> None:
        self.names[id(node)] = f"%{count}"

    def _line(self, depth: int, text: str, node: Node) -> None:
        comment = _site(node.site) if self.sites else ""
        if comment == self.last_site:
            comment = ""
        elif comment:
            self.last_site = comment
        self.lines.append("  " * depth + text + comment)

    def _number(self, node: Node, expected: tuple[DType, tuple[Size, ...]] | None) -> str:
        assert isinstance(node.arg, Constant)
        value = repr(node.arg.value)
        return value if expected == (node.dtype, node.shape) else f"{value}:{_lanes(node)}"

    def _operand(self, node: Node, expected: tuple[DType, tuple[Size, ...]] | None) -> str:
        return self._number(node, expected) if node.op is Op.CONST else self.names[id(node)]

    def _index(self, node: Node) -> tuple[str, int, int]:
        """An operand of index arithmetic."""
        found = self.written.get(id(node))
        return found if found is not None else (self._operand(node, (int64, ())), 3, 1)

    def _write(self, node: Node) -> None:
        symbol, strength = INFIX[node.op]
        left, left_strength, left_size = self._index(node.src[0])
        right, right_strength, right_size = self._index(node.src[1])
        if left_strength < strength:
            left = f"({left})"
        if right_strength <= strength:
            right = f"({right})"
        text = f"{left}*{right}" if symbol == "*" else f"{left} {symbol} {right}"
        self.written[id(node)] = (text, strength, left_size + right_size + 1)

    def _place(self, buffer: Node, offset: Node) -> str:
        return f"{self.names[id(buffer)]}[{self._index(offset)[0]}]"

    def _mask(self, mask: Sequence[Node]) -> str:
        return f" if {self._operand(mask[0], None)}" if mask else ""

    def _loop(self, node: Node) -> str:
        assert isinstance(node.arg, Loop)
        step = f", {node.arg.step}" if node.arg.step != 1 else ""
        kind = f" {node.arg.kind}" if node.arg.kind != "serial" else ""
        extent = self._index(node.src[1])[0]
        return f"for {self.names[id(node.src[0])]} in range(0, {extent}{step}){kind}:"

    def _statement(self, node: Node) -> str:
        arg = node.arg
        if isinstance(arg, Message):
            return f"check {self._operand(node.src[0], None)}, {arg.error}, {arg.text!r}"
        if node.op is Op.LOCAL:
            return f"local {self.names[id(node)]} : {_type(node.dtype, node.shape)}"
        if node.op is Op.DOTS:
            pairs = zip(node.src[::2], node.src[1::2], strict=True)
            places = ", ".join(self._place(buffer, offset) for buffer, offset in pairs)
            return f"dots {places} {attributes(node)}"
        if node.op in TILED:
            return self._tiled(node)
        buffer, offset, value, *mask = node.src
        kind = ""
        if isinstance(arg, Accumulate):
            kind = f" {{kind={arg.kind}{', atomic=True' if arg.atomic else ''}}}"
        written = self._operand(value, (buffer.dtype, ()))
        return f"{node.op.name.lower()} {self._place(buffer, offset)}, {written}{kind}{self._mask(mask)}"

    def _tiled(self, node: Node) -> str:
        if node.op is Op.AWAIT:
            places = [self.names[id(source)] for source in node.src]
        else:
            pairs = zip(node.src[::2], node.src[1::2], strict=False)  # a mask may follow
            places = [self._place(buffer, offset) for buffer, offset in pairs]
        words = [node.op.name.lower(), ", ".join(places), attributes(node)]
        mask = self._mask(node.src[4:]) if node.op is Op.FETCH else ""
        return " ".join(word for word in words if word) + mask

    def _computed(self, node: Node) -> str:
        if node.op is Op.LOAD:
            return f"load {self._place(node.src[0], node.src[1])}{self._mask(node.src[2:])}"
        others = [None if source.op is Op.CONST else source for source in node.src]
        operands = ", ".join(
            self._operand(source, default_type(node.op, position, node.dtype, node.shape, others))
            for position, source in enumerate(node.src)
        )
        return " ".join(word for word in (node.op.name.lower(), operands, attributes(node)) if word)


def _is_index(node: Node) -> bool:
    """Whether it is written as an infix expression: scalar int64 arithmetic on operands of that type."""
    return (
        node.op in INFIX
        and node.dtype is int64
        and not node.shape
        and all(s.dtype is int64 and not s.shape for s in node.src)
    )


PLACES = frozenset((Op.DOTS, Op.MMA, Op.FETCH, Op.PREFETCH))
"""What has buffers with an offset in each."""


def _inlined(order: Sequence[Node]) -> set[int]:
    """The index expressions that are written where they are used: in offsets, extents and each other only, and once or short."""
    uses: dict[int, int] = {}
    elsewhere: set[int] = set()
    for node in order:
        for position, source in enumerate(node.src):
            uses[id(source)] = uses.get(id(source), 0) + 1
            offset = position == 1 and node.op in (Op.LOAD, Op.STORE, Op.ACCUMULATE, Op.LOOP)
            offset = offset or (node.op in PLACES and position % 2 == 1)
            if not offset and not _is_index(node):
                elsewhere.add(id(source))
    size: dict[int, int] = {}
    inlined: set[int] = set()
    for node in order:
        if _is_index(node):
            length = 1 + sum(size.get(id(source), 1) for source in node.src)
            inline = id(node) not in elsewhere and (uses[id(node)] == 1 or length <= SHORT)
            size[id(node)] = length if inline else 1
            if inline:
                inlined.add(id(node))
    return inlined
