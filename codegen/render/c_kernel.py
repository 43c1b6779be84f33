"""A KERNEL of the loop stratum as a kernel in C, of any dialect.

In: a verified kernel without transcendental functions, and a dialect. Out: `Source`: its text, the functions it calls, and what a launch must
know. The loops that are `parallel` from the outermost inwards become the grid: one work-item runs `chunk` trips of the outermost one
(`mapping="chunk"`, for processors, which is `runtime.plan`'s choice), or one trip of all of them together ("item", for GPUs). Locals
that are always met whole, at constant places, are variables; others are arrays, and large ones live in scratch memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lazygrad.ir.args import Accumulate, Constant, Kernel, Loop, Message, Name, Param
from lazygrad.ir.blocks import Block, Nested, blocks, parameters
from lazygrad.ir.dim import Dim, product
from lazygrad.ir.dtype import int64
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op
from lazygrad.ir.text import user_line
from lazygrad.site import describe

from ..transform.access import body, constant_value, lines_inside
from ..transform.parallel import parallel_loop
from .c_functions import LANE, from_memory, masked_access, to_memory, whole_access
from .c_text import (
    Dialect,
    Writer,
    constant_text,
    lanes_of,
    memory_type,
    number_text,
    register_type,
    type_of,
)
from .c_values import compute, lane_mask
from .llvm_text import RenderError

Mapped = Literal["chunk", "item"]
PRIVATE_LIMIT = 16 << 10
"""Locals of more bytes than this in all live in scratch, the largest first."""
VARIABLES_LIMIT = 64
"""A local of more elements (or vectors) than this is an array."""
INLINED = 40
"""An index of more characters than this has a name of its own."""


@dataclass(frozen=True, slots=True)
class Source:
    """A kernel's text, and what its caller must provide or know.

    Its arguments are the kernel's params in order (a half float as its bits, a bool as a byte), then the error words and which of them is this launch's where
    there are `checks`, the scratch memory where `scratch_bytes` (a work-item) is not 0, and `chunk` where `grid` loops are mapped by chunks.
    """

    name: str
    text: str
    functions: Mapping[str, str]
    checks: tuple[Message, ...]
    grid: tuple[Node, ...]
    """The loops that are the grid, outermost first."""
    mapping: Mapped
    scratch_bytes: int

    def trips(self, dims: Mapping[str, int]) -> int:
        """How many trips the grid has."""
        result = 1
        for loop in self.grid:
            assert isinstance(loop.arg, Loop)
            result *= max(-(-evaluate(loop.src[1], dims) // loop.arg.step), 0)
        return result


def evaluate(node: Node, dims: Mapping[str, int]) -> int:
    """The value of an extent, which is arithmetic on dims."""
    known: dict[int, int] = {}
    for each in postorder([node]):
        values = [known[id(source)] for source in each.src]
        match each.op:
            case Op.CONST:
                assert isinstance(each.arg, Constant)
                value = int(each.arg.value)
            case Op.PARAM:
                assert isinstance(each.arg, Param)
                value = dims[each.arg.name]
            case Op.ADD:
                value = values[0] + values[1]
            case Op.SUB:
                value = values[0] - values[1]
            case Op.MUL:
                value = values[0] * values[1]
            case Op.IDIV:
                value = values[0] // values[1]
            case Op.MOD:
                value = values[0] % values[1]
            case Op.MIN:
                value = min(values)
            case Op.MAX:
                value = max(values)
            case _:
                raise RenderError(f"a grid cannot have the extent {each.op.name.lower()}")
        known[id(each)] = value
    return known[id(node)]


@dataclass(slots=True)
class _Frame:
    """A block that is being written, and whether it stands in braces."""

    block: Block
    position: int = 0
    braces: int = 0


def render_kernel(kernel: Node, dialect: Dialect, mapping: Mapped, name: str = "") -> Source:
    """The text of `kernel`, which is called `name`.

    Raises:
        RenderError: the kernel holds something that has no code here.
    """
    return _KernelWriter(kernel, dialect, mapping, name).write()


class _KernelWriter:
    """Writes one kernel. A stack of frames stands for the nesting of its loops, so nothing recurses."""

    def __init__(self, kernel: Node, dialect: Dialect, mapping: Mapped, name: str) -> None:
        assert isinstance(kernel.arg, Kernel)
        self.kernel = kernel
        self.dialect = dialect
        self.mapping = mapping
        self.writer = Writer(dialect)
        base = kernel.arg.name
        self.name = (
            name or "".join(c if c.isalnum() and c.isascii() else "_" for c in base) + "_kernel"
        )
        self.grid = grid_loops(kernel, mapping)
        self.operands: dict[int, str] = {}
        self.bare: dict[int, str] = {}
        """Indices that are written where they are used, without parentheses."""
        self.buffers: dict[int, str] = {}
        self.spaces: dict[int, str] = {}
        self.variables: dict[int, dict[int, str]] = {}
        """The variables of a local, by offset."""
        self.checks: dict[Message, int] = {}
        self.steps: list[Node] = []
        self.scratch: dict[int, int] = {}
        self.scratch_bytes = 0
        self.line = ""

    def write(self) -> Source:
        arguments = self._params()
        self._place_locals()
        self._body()
        writer = self.writer
        memory = self.dialect.memory
        if self.checks:
            arguments += [f"{memory}int *error", "const long launch"]
        if self.scratch_bytes:
            arguments.append(f"{memory}uchar *scratch")
        if self.grid and self.mapping == "chunk":
            arguments.append("long chunk")
        head = []
        if self.grid or self.scratch_bytes:
            head.append(f"  const long item = {self.dialect.item};")
        lines = [
            *(f"// {line}" for line in _user_lines(self.kernel)),
            f"{self.dialect.kernel}{self.name}(",
            *(
                f"    {text}{',' if at + 1 < len(arguments) else ')'}"
                for at, text in enumerate(arguments)
            ),
            "{" if arguments else ") {",
            *head,
            *writer.lines,
            "}",
        ]
        return Source(
            self.name,
            "\n".join(lines) + "\n",
            writer.functions,
            tuple(self.checks),
            self.grid,
            self.mapping,
            self.scratch_bytes,
        )

    # --- what the caller gives

    def _params(self) -> list[str]:
        params = parameters(self.kernel)
        writer, memory = self.writer, self.dialect.memory
        alone = not any(isinstance(p.arg, Param) and p.arg.role == "inout" for p in params)
        restrict = f"{self.dialect.restrict} " if alone else ""
        arguments: list[str] = []
        for param in params:
            assert isinstance(param.arg, Param)
            name, role = writer.name(param.arg.name), param.arg.role
            kind = memory_type(param.dtype)
            if role == "dim":
                arguments.append(f"const long {name}")
                self.operands[id(param)] = name
            elif role == "number":
                arguments.append(f"const {kind} {name}")
                if kind != register_type(param.dtype, None):
                    text = from_memory(writer, param.dtype, None, name)
                    name = writer.value(register_type(param.dtype, None), text, f"{name}_value")
                self.operands[id(param)] = name
            else:
                constant = "const " if role == "in" else ""
                arguments.append(f"{memory}{constant}{kind} *{restrict}{name}")
                self.buffers[id(param)] = name
                self.spaces[id(param)] = memory
        return arguments

    def _place_locals(self) -> None:
        """Which locals are variables, which arrays, and which live in scratch memory."""
        places: dict[int, set[tuple[int | None, int | None]]] = {}
        found: list[tuple[int, Node]] = []
        for line in lines_inside(self.kernel):
            if line.op is Op.LOCAL:
                size = product(line.shape)
                if isinstance(size, Dim):
                    raise RenderError(f"a local of {size} elements: the number must be constant")
                found.append((size * line.dtype.itemsize, line))
            elif line.op in (Op.LOAD, Op.STORE, Op.ACCUMULATE) and line.src[0].op is Op.LOCAL:
                value = line if line.op is Op.LOAD else line.src[2]
                offset = line.src[1]
                place = constant_value(offset) if lanes_of(offset) is None else None
                places.setdefault(id(line.src[0]), set()).add((place, lanes_of(value)))
        private = 0
        for size, line in sorted(found, key=lambda item: item[0]):
            used = places.get(id(line), set())
            lanes = {lane for _, lane in used}
            each = next(iter(lanes), None) or 1
            whole = all(place is not None and place % each == 0 for place, _ in used)
            if len(lanes) == 1 and whole and len(used) <= VARIABLES_LIMIT:
                self.variables[id(line)] = dict.fromkeys(
                    sorted(place for place, _ in used if place is not None), ""
                )
            elif private + size <= PRIVATE_LIMIT:
                private += size
            else:
                self.scratch[id(line)] = self.scratch_bytes
                self.scratch_bytes += (size + 127) & -128

    def _declare(self, node: Node) -> None:
        writer = self.writer
        assert isinstance(node.arg, Name)
        name = node.arg.name
        if id(node) in self.variables:
            places = self.variables[id(node)]
            for place in places:
                places[place] = writer.name(name if len(places) == 1 else f"{name}_at{place}")
            lanes = self._lanes[id(node)] if places else None
            if places:
                writer.add(f"{register_type(node.dtype, lanes)} {', '.join(places.values())};")
            return
        name = self.buffers[id(node)] = writer.name(name)
        kind = memory_type(node.dtype)
        if id(node) in self.scratch:
            memory = self.dialect.memory
            self.spaces[id(node)] = memory
            start = f"scratch + item * {self.scratch_bytes} + {self.scratch[id(node)]}"
            writer.add(f"{memory}{kind} *const {name} = ({memory}{kind} *)({start});")
        else:
            self.spaces[id(node)] = ""
            writer.add(f"{kind} {name}[{max(int(product(node.shape)), 1)}];")  # type: ignore[arg-type]

    @property
    def _lanes(self) -> dict[int, int | None]:
        """How many lanes the accesses of each local have."""
        found: dict[int, int | None] = {}
        for line in lines_inside(self.kernel):
            if line.op in (Op.LOAD, Op.STORE, Op.ACCUMULATE):
                found[id(line.src[0])] = lanes_of(line if line.op is Op.LOAD else line.src[2])
        return found

    # --- lines and loops

    def _body(self) -> None:
        stack = [_Frame(blocks(self.kernel))]
        while stack:
            frame = stack[-1]
            if frame.position == len(frame.block.lines):
                stack.pop()
                for _ in range(frame.braces):
                    self.writer.depth -= 1
                    self.writer.add("}")
                continue
            line = frame.block.lines[frame.position]
            frame.position += 1
            if isinstance(line, Nested):
                stack.append(self._enter(line))
            elif line.op is Op.LOAD:
                self._load(line)
            elif line.op is Op.STORE:
                self._store(line)
            elif line.op is Op.ACCUMULATE:
                self._accumulate(line)
            elif line.op is Op.CHECK:
                self._check(line)
            elif line.op is Op.LOCAL:
                self._declare(line)
            else:
                self._value(line)

    def _enter(self, nested: Nested) -> _Frame:
        writer, loop = self.writer, nested.loop
        index, extent = loop.src[0], loop.src[1]
        assert isinstance(loop.arg, Loop) and isinstance(index.arg, Name)
        step, limit = loop.arg.step, self._index(extent)
        name = self.operands[id(index)] = writer.name(index.arg.name)
        if loop in self.grid:
            braces = self._enter_grid(loop, name)
        elif (constant_value(extent) or step + 1) <= step:
            writer.add(f"{{ const long {name} = 0;")
            braces = 1
        else:
            if loop.arg.kind == "unroll":
                writer.add("#pragma unroll")
            advance = f"{name}++" if step == 1 else f"{name} += {step}"
            writer.add(f"for (long {name} = 0; {name} < {limit}; {advance}) {{")
            braces = 1
        writer.depth += braces
        writer.ranges.enter(loop)
        return _Frame(nested.block, 0, braces)

    def _enter_grid(self, loop: Node, name: str) -> int:
        """A loop of the grid: its trips of this work-item. Returns how many braces it opened."""
        writer = self.writer
        assert isinstance(loop.arg, Loop)
        step = loop.arg.step
        limit = self._index(loop.src[1])
        if self.mapping == "chunk":
            start = "item * chunk" if step == 1 else f"item * chunk * {step}"
            last = f"(item + 1) * chunk * {step}" if step != 1 else "(item + 1) * chunk"
            advance = f"{name}++" if step == 1 else f"{name} += {step}"
            last = writer.value("long", f"min((long)({limit}), {last})", "last_trip")
            writer.add(f"for (long {name} = {start}; {name} < {last}; {advance}) {{")
            return 1
        inner = self.grid[self.grid.index(loop) + 1 :]
        rest = "item"
        for each in inner:
            rest = f"{rest} / {self._trips(each)}"
        first = loop is self.grid[0]
        if not first:
            rest = f"{rest} % {self._trips(loop)}"
        if step != 1:
            rest = f"({rest}) * {step}"
        writer.add(f"const long {name} = {rest};")
        if first:
            writer.add(f"if ({name} < {limit}) {{")
            return 1
        return 0

    def _trips(self, loop: Node) -> str:
        """How many trips a loop of the grid has, as text; never 0."""
        assert isinstance(loop.arg, Loop)
        known = constant_value(loop.src[1])
        if known is not None:
            return f"{max(-(-known // loop.arg.step), 1)}"
        return f"max((({self._index(loop.src[1])}) + {loop.arg.step - 1}) / {loop.arg.step}, 1L)"

    # --- values

    def _value(self, node: Node) -> None:
        writer = self.writer
        writer.ranges.learn(node)
        known = writer.ranges.of(node)
        if known is not None and known[0] == known[1]:
            self.operands[id(node)] = number_text(known[0], node.dtype, lanes_of(node))
            return
        if node.dtype is int64 and lanes_of(node) is None and known is not None:
            text = self._inline(node)
            if text is not None:
                self.bare[id(node)] = text
                self.operands[id(node)] = f"({text})"
                return
        operands = [self._operand(source) for source in node.src]
        text = compute(writer, node, operands)
        hint = node.op.name.lower()
        self.operands[id(node)] = writer.value(type_of(node), text, hint, self._comment(node))

    def _inline(self, node: Node) -> str | None:
        """Index arithmetic as it is written by hand: i*16 + j."""
        if node.op not in (Op.ADD, Op.SUB, Op.MUL):
            return None
        left, right = node.src
        if node.op is Op.MUL:
            text = f"{self._factor(left)}*{self._factor(right)}"
        else:
            second = self._index(right) if node.op is Op.ADD else self._factor(right)
            text = f"{self._index(left)} {'+' if node.op is Op.ADD else '-'} {second}"
        return text if len(text) <= INLINED else None

    def _index(self, node: Node) -> str:
        """An operand without parentheses around a sum, constants without their ending."""
        value = constant_value(node)
        if value is not None and abs(value) < 1 << 31:
            return str(value)
        return self.bare.get(id(node)) or self._operand(node)

    def _factor(self, node: Node) -> str:
        """The same as part of a product or of what is subtracted."""
        value = constant_value(node)
        if value is not None:
            return f"{value}" if 0 <= value < 1 << 31 else self._operand(node)
        bare = self.bare.get(id(node))
        return bare if bare is not None and bare.isalnum() else self._operand(node)

    def _operand(self, node: Node) -> str:
        return constant_text(node) if node.op is Op.CONST else self.operands[id(node)]

    def _comment(self, node: Node) -> str:
        """The user's line, where it is another than that of the line before."""
        if node.site is None:
            return ""
        line = user_line(node.site)
        if line == self.line:
            return ""
        self.line = line
        return f"  // {line}"

    # --- memory

    def _mask(self, node: Node, lanes: int | None) -> str:
        """A mask with a flag for each lane; one flag for all lanes is repeated."""
        mask = self._operand(node)
        if lanes is None or lanes_of(node) is not None:
            return mask
        return f"(char{lanes})({mask} ? -1 : 0)"

    def _load(self, node: Node) -> None:
        writer, buffer, lanes = self.writer, node.src[0], lanes_of(node)
        mask = self._mask(node.src[2], lanes) if len(node.src) > 2 else None
        kind = type_of(node)
        hint = self._name_of(buffer)
        if id(buffer) in self.variables:
            place = constant_value(node.src[1])
            assert place is not None
            text = self.variables[id(buffer)][place]
            if mask is not None:
                chosen = lane_mask(node.dtype, lanes, mask)
                text = f"{chosen} ? {text} : {number_text(0, node.dtype, lanes)}"
        else:
            text = self._read(node, mask)
        self.operands[id(node)] = writer.value(kind, text, f"{hint}_value", self._comment(node))

    def _read(self, node: Node, mask: str | None) -> str:
        writer, buffer, lanes = self.writer, node.src[0], lanes_of(node)
        name, space = self.buffers[id(buffer)], self.spaces[id(buffer)]
        offset = self._index(node.src[1])
        dtype = node.dtype
        if lanes_of(node.src[1]) is not None:
            assert lanes is not None
            function = masked_access(writer, dtype, lanes, space, write=False, offsets=True)
            text = f"{function}({name}, {offset}, {mask or f'(char{lanes})(-1)'})"
        elif lanes is None:
            text = f"{name}[{offset}]"
            if mask is not None:
                text = f"({mask} ? {text} : ({memory_type(dtype)})0)"
        elif mask is None:
            function = whole_access(writer, dtype, lanes, space, write=False)
            text = f"{function}({_at(name, offset)})"
        else:
            function = masked_access(writer, dtype, lanes, space, write=False, offsets=False)
            text = f"{function}({_at(name, offset)}, {mask})"
        return from_memory(writer, dtype, lanes, text)

    def _store(self, node: Node) -> None:
        writer = self.writer
        buffer, offset, value = node.src[:3]
        lanes = lanes_of(value)
        mask = self._mask(node.src[3], lanes) if len(node.src) > 3 else None
        text = self._operand(value)
        if id(buffer) in self.variables:
            place = constant_value(offset)
            assert place is not None
            name = self.variables[id(buffer)][place]
            if mask is not None and lanes is not None:
                text, mask = f"{lane_mask(value.dtype, lanes, mask)} ? {text} : {name}", None
            line = f"{name} = {text};"
            writer.add(line if mask is None else f"if ({mask}) {line}")
            return
        name, space = self.buffers[id(buffer)], self.spaces[id(buffer)]
        at = self._index(offset)
        stored = to_memory(writer, value.dtype, lanes, text)
        if lanes_of(offset) is not None:
            assert lanes is not None
            function = masked_access(writer, value.dtype, lanes, space, write=True, offsets=True)
            writer.add(f"{function}({name}, {at}, {stored}, {mask or f'(char{lanes})(-1)'});")
        elif lanes is None:
            line = f"{name}[{at}] = {stored};"
            writer.add(line if mask is None else f"if ({mask}) {line}")
        elif mask is None:
            function = whole_access(writer, value.dtype, lanes, space, write=True)
            writer.add(f"{function}({_at(name, at)}, {stored});")
        else:
            function = masked_access(writer, value.dtype, lanes, space, write=True, offsets=False)
            writer.add(f"{function}({_at(name, at)}, {stored}, {mask});")

    def _accumulate(self, node: Node) -> None:
        """A step of a reduction, in the order written: what the transforms have not turned into accumulators."""
        assert isinstance(node.arg, Accumulate)
        buffer, offset, value = node.src[:3]
        mask = node.src[3:]
        before = Node(Op.LOAD, (buffer, offset, *mask), value.dtype, value.shape)
        after = Node(Op[node.arg.kind.upper()], (before, value), value.dtype, value.shape)
        store = Node(Op.STORE, (buffer, offset, after, *mask), node.dtype, ())
        self.steps += [before, after, store]  # their ids stay unique while they live
        self._load(before)
        self._value(after)
        self._store(store)

    def _name_of(self, buffer: Node) -> str:
        assert isinstance(buffer.arg, Param | Name)
        return buffer.arg.name

    # --- checks

    def _check(self, node: Node) -> None:
        """Where the condition is false, put 1 + the check's number into the error word, unless another came first."""
        (source,) = node.src
        assert isinstance(node.arg, Message)
        number = self.checks.setdefault(node.arg, len(self.checks)) + 1
        condition, lanes = self._operand(source), lanes_of(source)
        if lanes is not None:
            condition = " && ".join(f"{condition}.s{LANE[lane]}" for lane in range(lanes))
            condition = f"({condition})"
        failed = self.dialect.first_error.format(number=number)
        self.writer.add(f"if (!{condition}) {failed};  // {node.arg.error}: {node.arg.text}")


def grid_loops(kernel: Node, mapping: Mapped) -> tuple[Node, ...]:
    """The loops that become the grid: the outermost parallel one, and (for GPUs) those that it holds alone."""
    outer = parallel_loop(kernel)
    if outer is None:
        return ()
    found = [outer]
    while mapping == "item":
        lines = body(found[-1])
        if len(lines) != 1 or lines[0].op is not Op.LOOP:
            break
        arg = lines[0].arg
        inner = any(source is found[-1].src[0] for source in postorder([lines[0].src[1]]))
        if not isinstance(arg, Loop) or arg.kind != "parallel" or inner:
            break
        found.append(lines[0])
    return tuple(found)


def _at(name: str, offset: str) -> str:
    return name if offset == "0" else f"{name} + {offset}"


def _user_lines(kernel: Node) -> list[str]:
    """The user's lines that the kernel computes, in the order of their places; the first few."""
    found = dict.fromkeys(describe(node.site) for node in postorder([kernel]) if node.site)
    lines = sorted(line for line in found if line)
    return lines[:6] + ([f"and {len(lines) - 6} lines more"] if len(lines) > 6 else [])
