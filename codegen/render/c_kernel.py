"""A KERNEL of the loop stratum as a kernel in C, of any dialect.

In: a verified kernel without transcendental functions, a dialect, and how its grid is mapped (c_grid.py). Out: `Source`: its text, the functions
it calls, and what a launch must know. The loops that are `parallel` from the outermost inwards become the grid. Loops of the kind `threads` are
shared by the work-items of a group, which then runs a trip of the grid together (c_group.py).
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from lazygrad.ir.args import Accumulate, Kernel, Loop, Message, Name, Param, Reduction
from lazygrad.ir.blocks import Block, Nested, blocks, parameters
from lazygrad.ir.dim import product
from lazygrad.ir.dtype import int64
from lazygrad.ir.node import Node
from lazygrad.ir.op import TILED, Op
from lazygrad.ir.text import user_line

from ..transform.access import constant_value, lines_inside
from .c_atomics import atomic_update
from .c_functions import (
    LANE,
    from_memory,
    masked_access,
    some_lane,
    streaming_store,
    to_memory,
    whole_access,
)
from .c_grid import Mapped, Source, grid_loops, names, user_lines
from .c_group import PARTS, barriers, group_reduction
from .c_index import IndexText
from .c_locals import Places, is_shared, owned_place, place_locals
from .c_loops import DividedLoops
from .c_text import (
    NARROW_LIMIT,
    SIGNED,
    Dialect,
    Writer,
    lanes_of,
    memory_type,
    number_text,
    register_type,
    type_of,
    without_unused,
)
from .c_tiles import (
    copy,
    copy_at_once,
    is_ring,
    lanes,
    products,
    split_place,
    staged_arrays,
    swizzles,
    wait,
)
from .c_values import compute, lane_mask, repeated_flag
from .late import MANY, late_loads
from .llvm_text import RenderError
from .rare import Arm, Arms, rare_arms

MANY_SUMS = 64
"""So many registers of an array are half of those that two groups of 256 leave a work-item."""


@dataclass(slots=True)
class _Frame:
    """A block that is being written, and whether it stands in braces."""

    block: Block
    position: int = 0
    braces: int = 0
    loop: Node | None = None


def render_kernel(
    kernel: Node,
    dialect: Dialect,
    mapping: Mapped,
    name: str = "",
    group: int = 1,
    streamed: Set[int] = frozenset(),
    checks: dict[Message, int] | None = None,
) -> Source:
    """The text of `kernel`, which is called `name`, for groups of so many work-items; the stores with the ids `streamed` pass the caches by.

    `checks` are those of launches before it, with their numbers; its own are added.

    Raises:
        RenderError: the kernel holds something that has no code here.
    """
    return _KernelWriter(
        kernel, dialect, mapping, name, group, streamed, {} if checks is None else checks
    ).write()


class _KernelWriter:
    """Writes one kernel. A stack of frames stands for the nesting of its loops, so nothing recurses."""

    def __init__(
        self,
        kernel: Node,
        dialect: Dialect,
        mapping: Mapped,
        name: str,
        group: int,
        streamed: Set[int],
        checks: dict[Message, int],
    ) -> None:
        assert isinstance(kernel.arg, Kernel)
        self.kernel = kernel
        self.dialect = dialect
        self.mapping = mapping
        self.writer = Writer(dialect)
        self.group = group
        self.streamed = streamed
        self.name = name or names([kernel], dialect)[0]
        self.grid = grid_loops(kernel, mapping)
        self.operands: dict[int, str] = {}
        self.indices = indices = IndexText(self.writer, self.operands)
        self._index, self._operand = indices.index, indices.operand
        self.loops = DividedLoops(self.writer, mapping, self.grid, group, self._index)
        self.buffers: dict[int, str] = {}
        self.spaces: dict[int, str] = {}
        self.hoisted: dict[str, str] = {}
        """The declarations at the head of the kernel, by name."""
        self.places: Places = place_locals(kernel, dialect, mapping == "group")
        self.alone = mapping != "group"
        """Whether what is written now a work-item runs on its own."""
        self.swizzles = swizzles(kernel)
        self.lanes: dict[tuple[int, int], str] = {}
        """Where a lane's lines of the operands of an MMA begin."""
        self.barriers = set() if self.alone else self._barriers()
        self.checks = checks
        self.arms = Arms({}, {})
        self.late: set[int] = set()
        """Loads that wait until a line needs them."""
        self.waited = 0
        """The registers of those that were read since the last fence."""
        self.steps: list[Node] = []
        self.line = ""

    def _barriers(self) -> set[int]:
        kept = self.places.shared | self.places.group_scratch.keys()
        kept -= staged_arrays(self.kernel)
        locals_ = [line for line in lines_inside(self.kernel) if line.op is Op.LOCAL]
        return barriers(self.kernel, {id(line) for line in locals_} - kept)

    def write(self) -> Source:
        arguments = self._params()
        lanes(self.writer, self.kernel, self.lanes)
        self._body()
        writer = self.writer
        if self.streamed:
            writer.add(f"{self.dialect.fence};")
        memory = self.dialect.memory
        if self.checks:
            arguments += [f"{memory}int *error", "const long launch"]
        if self._scratch_bytes:
            arguments.append(f"{memory}uchar *scratch")
        if self.grid and self.mapping == "chunk":
            arguments.append("long chunk")
        head = []
        if self.mapping == "chunk" and (self.grid or self._scratch_bytes):
            head.append(f"  const long item = {self.dialect.item};")
        if self.mapping == "group":
            head.append(f"  const int thread = {self.dialect.thread};")
        head += self.hoisted.values()
        # no register is spilled for more work-items at a time; where sums fill registers, as many groups as these allow are wanted
        few = self.places.own < MANY_SUMS
        bounds = f"{self.group}, 1" if few else f"{self.group}"
        kernel = self.dialect.kernel.format(group=self.group, bounds=bounds)
        body = without_unused(writer.lines) if self.dialect.narrow else writer.lines
        lines = [f"// {line}" for line in user_lines(self.kernel)]
        if self.dialect.apart and self.mapping == "chunk":
            function = f"{self.name}_trips"
            given = ["const long item", *arguments]
            lines += _function(f"{self.dialect.apart}{function}", given, body)
            names = (text.split()[-1].lstrip("*") for text in arguments)
            call = f"  {function}({', '.join([self.dialect.item, *names])});"
            lines += ["", *_function(f"{kernel}{self.name}", arguments, [call])]
        else:
            lines += _function(f"{kernel}{self.name}", arguments, [*head, *body])
        return Source(
            self.name,
            "\n".join(lines) + "\n",
            writer.functions,
            tuple(self.checks),
            self.grid,
            self.mapping,
            self._scratch_bytes,
            self.group,
        )

    @property
    def _scratch_bytes(self) -> int:
        """The scratch memory of a work-item, or of a group of them."""
        own = self.places.scratch_bytes
        return (
            own * self.group + self.places.group_scratch_bytes if self.mapping == "group" else own
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

    def _declare(self, node: Node) -> None:
        writer, places = self.writer, self.places
        assert isinstance(node.arg, Name)
        name = node.arg.name
        if id(node) in places.variables:
            variables = places.variables[id(node)]
            for place in variables:
                variables[place] = writer.name(name if len(variables) == 1 else f"{name}_at{place}")
            if variables:
                kind = register_type(node.dtype, places.lanes[id(node)])
                writer.add(f"{kind} {', '.join(variables.values())};")
            return
        name = self.buffers[id(node)] = writer.name(name)
        kind = memory_type(node.dtype)
        start = self._scratch(node)
        if start:
            memory = self.dialect.memory
            self.spaces[id(node)] = memory
            writer.add(f"{memory}{kind} *const {name} = ({memory}{kind} *)({start});")
        else:
            self.spaces[id(node)] = ""
            shared = self.dialect.shared if id(node) in places.shared else ""
            at_once = shared or places.lanes.get(id(node)) is not None
            aligned = self.dialect.aligned if at_once else ""
            size = int(product(node.shape))  # type: ignore[arg-type]
            if id(node) in places.owned:
                size //= self.group
            declared = f"{shared}{aligned}{kind} {name}[{max(size, 1)}];"
            if self.dialect.hoists and id(node) in places.shared:
                self.spaces[id(node)] = shared
                self.hoisted[name] = f"  {declared}"
            else:
                writer.add(declared)

    def _scratch(self, node: Node) -> str:
        """Where the scratch memory of a local begins, if it has any."""
        places, dialect = self.places, self.dialect
        own = places.scratch.get(id(node))
        if self.mapping != "group":
            item = "item" if self.mapping == "chunk" else f"({dialect.item})"
            return "" if own is None else f"scratch + {item} * {places.scratch_bytes} + {own}"
        of_group = f"scratch + ({dialect.block}) * {self._scratch_bytes}"
        if own is not None:
            start = places.group_scratch_bytes + own
            return f"{of_group} + {start} + thread * {places.scratch_bytes}"
        start = places.group_scratch.get(id(node), -1)
        return f"{of_group} + {start}" if start >= 0 else ""

    # --- lines and loops

    def _body(self) -> None:
        root = blocks(self.kernel)
        self.arms = rare_arms(self.kernel, root, scalars=self.dialect.diverges)
        if self.dialect.diverges:
            self.late = late_loads(self.kernel, root)
        stack = [_Frame(root)]
        while stack:
            frame = stack[-1]
            if frame.position == len(frame.block.lines):
                stack.pop()
                for _ in range(frame.braces):
                    self.writer.depth -= 1
                    self.writer.add("}")
                if frame.loop is not None and is_shared(frame.loop) and self.mapping == "group":
                    self.alone = False
                continue
            line = frame.block.lines[frame.position]
            frame.position += 1
            if id(line) in self.arms.owner or id(line) in self.late:
                continue
            for arm in self.arms.before.get(id(line), ()):
                self._arm(arm)
            self._wait(line.loop if isinstance(line, Nested) else line)
            if self.late and isinstance(line, Node):
                self._load_late(line.src)
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
            elif line.op in TILED:
                self._tiled(line)
            else:
                self._value(line)

    def _wait(self, line: Node) -> None:
        """The barrier before a line, where there is one."""
        if id(line) in self.barriers and not self.alone:
            self.writer.add(self.dialect.barrier)

    def _enter(self, nested: Nested) -> _Frame:
        writer, loop = self.writer, nested.loop
        index, extent = loop.src[0], loop.src[1]
        assert isinstance(loop.arg, Loop) and isinstance(index.arg, Name)
        step, limit = loop.arg.step, self._index(extent)
        name = self.operands[id(index)] = writer.name(index.arg.name)
        if loop in self.grid:
            braces = self.loops.grid_trip(loop, name)
        elif extent.op is Op.WHERE and [constant_value(n) for n in extent.src[1:]] == [1, 0]:
            writer.add(f"if ({self._index(extent.src[0])}) {{")
            braces = 1
        elif (constant_value(extent) or step + 1) <= step and not is_shared(loop):
            writer.add(f"{{ const {writer.index_type(extent, step)} {name} = 0;")
            braces = 1
        elif is_shared(loop) and not self.alone:
            self.alone = True
            braces = self.loops.shared(loop, name)
        else:
            if loop.arg.kind == "unroll":
                writer.add("#pragma unroll")
            elif is_ring(loop):
                writer.add("#pragma unroll 1")
            advance = f"{name}++" if step == 1 else f"{name} += {step}"
            kind = writer.index_type(extent, step)
            writer.add(f"for ({kind} {name} = 0; {name} < {limit}; {advance}) {{")
            braces = 1
        writer.depth += braces
        writer.ranges.enter(loop)
        return _Frame(nested.block, 0, braces, loop)

    # --- values

    def _value(self, node: Node) -> None:
        writer = self.writer
        writer.ranges.learn(node)
        known = writer.ranges.of(node)
        if known is not None and known[0] == known[1]:
            self.operands[id(node)] = number_text(known[0], node.dtype, lanes_of(node))
            if node.dtype is int64 and lanes_of(node) is None and 0 <= known[0] < NARROW_LIMIT:
                self.indices.bare[id(node)] = str(known[0])
            return
        if node.dtype is int64 and lanes_of(node) is None and known is not None:
            text = self.indices.inline(node)
            if text is not None:
                self.indices.bare[id(node)] = text
                self.operands[id(node)] = f"({text})"
                return
        operands = [self._operand(source) for source in node.src]
        if self.indices.overflows(node):
            operands[0] = f"(long){operands[0]}"
        elif self.indices.short(node):
            operands = [
                self.indices.factor(s) if s.op is Op.CONST else t
                for s, t in zip(node.src, operands, strict=True)
            ]
        if node.op is Op.REDUCE and not self.alone:
            assert isinstance(node.arg, Reduction)
            text = group_reduction(writer, node.dtype, node.arg.kind, self.group, operands[0])
            if not self.dialect.exchanges:
                self.hoisted[PARTS] = f"  {self.dialect.shared}ulong {PARTS}[{self.group}];"
        else:
            text = compute(writer, node, operands)
        hint, lanes = self.indices.hint(node), lanes_of(node)
        if id(node) in writer.mask_bytes:
            kind = f"{SIGNED[writer.mask_bytes[id(node)]]}{lanes}"
            writer.masks[id(node)] = writer.value(kind, text, hint, self._comment(node))
            self.operands[id(node)] = f"convert_char{lanes}({writer.masks[id(node)]})"
            return
        kind = self.dialect.narrow if writer.is_narrow(node) else type_of(node)
        self.operands[id(node)] = writer.value(kind, text, hint, self._comment(node))

    def _arm(self, arm: Arm) -> None:
        """Compute what some lanes may need, unless none does; the zeros that stand there then are chosen by none.

        Recursion is over arms within arms, each a good part of the one around it.
        """
        writer = self.writer
        self._load_late((arm.condition,))
        names = {id(node): writer.name("if_needed") for node in arm.results}
        for node in arm.results:
            kind = type_of(node)
            writer.add(f"{kind} {names[id(node)]} = ({kind})(0);")
        condition, lanes = arm.condition, lanes_of(arm.condition)
        needed = writer.masks.get(id(condition)) or self._operand(condition)
        nbytes = writer.mask_bytes.get(id(condition), 1)
        writer.add(f"if ({some_lane(writer, nbytes, lanes, needed, arm.side == 2)}) {{")
        writer.depth += 1
        for line in arm.lines:
            if self.arms.owner[id(line)] is arm:
                for within in self.arms.before.get(id(line), ()):
                    self._arm(within)
                self._load_late(line.src)
                self._value(line)
        for node in arm.results:
            writer.add(f"{names[id(node)]} = {self.operands[id(node)]};")
            self.operands[id(node)] = names[id(node)]
        writer.depth -= 1
        writer.add("}")

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
        return repeated_flag(f"char{lanes}", mask)

    def _copy(self, value: Node, target: Node) -> None:
        """Neighbours from a buffer into a local, or from a local into a buffer, where there are no vectors."""
        lanes = lanes_of(value)
        assert lanes is not None
        places = [_at(self.buffers[id(each.src[0])], self._place(each)) for each in (target, value)]
        size = lanes * value.dtype.itemsize
        self.writer.add(f"lg_copy_{size}({', '.join(places)});")

    def _load(self, node: Node) -> None:
        writer, buffer, lanes = self.writer, node.src[0], lanes_of(node)
        if lanes is not None and self.dialect.lanes == 1:
            return  # where it is stored
        mask = self._mask(node.src[2], lanes) if len(node.src) > 2 else None
        kind = type_of(node)
        hint = self._name_of(buffer)
        if id(buffer) in self.places.variables:
            place = constant_value(node.src[1])
            assert place is not None
            text = self.places.variables[id(buffer)][place]
            if mask is not None:
                chosen = lane_mask(writer, node.src[2], lanes, mask, node.dtype)
                text = f"{chosen} ? {text} : {number_text(0, node.dtype, lanes)}"
        else:
            text = self._read(node, mask)
        self.operands[id(node)] = writer.value(kind, text, f"{hint}_value", self._comment(node))

    def _load_late(self, needed: Sequence[Node]) -> None:
        """Read those of the values that have waited until now."""
        for node in needed:
            if id(node) in self.late:
                self.late.discard(id(node))
                if self.waited >= MANY:  # the compiler would read it ahead of what is in front
                    self.writer.add(f"{self.dialect.fence};")
                    self.waited = 0
                self.waited += max(node.dtype.itemsize // 4, 1)
                self._load(node)

    def _place(self, node: Node) -> str:
        """Where a line reads or writes: in a part of its own, where each work-item has one."""
        offset = node.src[1]
        if id(node.src[0]) in self.places.owned:
            offset = owned_place(offset) or offset
        return self._swizzled(node.src[0], offset)

    def _swizzled(self, buffer: Node, offset: Node) -> str:
        """Where an element stands in an array: in one that matrix instructions read, not in order."""
        shift = self.swizzles.get(id(buffer))
        if shift is None:
            return self._index(offset)
        whole, rest = (self._sum(each) for each in split_place(offset, shift))
        changed = f"lg_swizzled<{shift}>({rest})"
        return f"{whole} + {changed}" if whole else changed

    def _sum(self, addends: list[Node]) -> str:
        return " + ".join(text for text in map(self._index, addends) if text != "0")

    def _tiled(self, node: Node) -> None:
        """A line of ir/tiles.py; where copies are not under way by themselves, a barrier alone is waited for."""
        writer, dialect = self.writer, self.dialect
        if node.op is Op.COMMIT:
            if dialect.copies:
                writer.add("lg_cp_async_commit();")
        elif node.op is Op.AWAIT:
            if dialect.copies:
                writer.add(wait(node))
            writer.add(dialect.barrier)
        elif node.op is Op.FETCH:
            target, at, source, begin, *mask = node.src
            places = [
                _at(self.buffers[id(target)], self._swizzled(target, at)),
                _at(self.buffers[id(source)], self._index(begin)),
                *map(self._operand, mask),
            ]
            spaces = [self.spaces[id(target)], self.spaces[id(source)]]
            at_once = None if dialect.copies else copy_at_once(writer, node, places, spaces)
            writer.add(at_once or f"{copy(node)}({', '.join(places)});")
        elif not dialect.copies:
            raise RenderError(f"{dialect.language} has no {node.op.name.lower()}")
        else:
            places = [self.buffers[id(node.src[0])]]
            for operand in (2, 4):
                array, offset = node.src[operand : operand + 2]
                stage = self._sum(split_place(offset, self.swizzles[id(array)])[0])
                places += [
                    _at(self.buffers[id(array)], stage or "0"),
                    self.lanes[id(node), operand],
                ]
            writer.add(f"{products(writer, node)}({', '.join(places)});")

    def _read(self, node: Node, mask: str | None) -> str:
        writer, buffer, lanes = self.writer, node.src[0], lanes_of(node)
        name, space = self.buffers[id(buffer)], self.spaces[id(buffer)]
        offset = self._place(node)
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
        if lanes is not None and self.dialect.lanes == 1 and value.op is Op.LOAD:
            self._copy(value, node)
            return
        mask = self._mask(node.src[3], lanes) if len(node.src) > 3 else None
        text = self._operand(value)
        if id(buffer) in self.places.variables:
            place = constant_value(offset)
            assert place is not None
            name = self.places.variables[id(buffer)][place]
            if mask is not None and lanes is not None:
                chosen = lane_mask(writer, node.src[3], lanes, mask, value.dtype)
                text, mask = f"{chosen} ? {text} : {name}", None
            line = f"{name} = {text};"
            writer.add(line if mask is None else f"if ({mask}) {line}")
            return
        name, space = self.buffers[id(buffer)], self.spaces[id(buffer)]
        if not self.alone:
            mask = "thread == 0" if mask is None else f"thread == 0 && {mask}"
        at = self._place(node)
        stored = to_memory(writer, value.dtype, lanes, text)
        if lanes_of(offset) is not None:
            assert lanes is not None
            function = masked_access(writer, value.dtype, lanes, space, write=True, offsets=True)
            writer.add(f"{function}({name}, {at}, {stored}, {mask or f'(char{lanes})(-1)'});")
        elif lanes is None:
            line = f"{name}[{at}] = {stored};"
            writer.add(line if mask is None else f"if ({mask}) {line}")
        elif mask is None:
            if id(node) in self.streamed:
                function = streaming_store(writer, value.dtype, lanes, space)
            else:
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
        if node.arg.atomic:
            function = atomic_update(self.writer, value.dtype, node.arg.kind)
            given = f"{_at(self.buffers[id(buffer)], self._place(node))}, {self._operand(value)}"
            conditions = [self._operand(each) for each in mask]
            conditions += [] if self.alone else ["thread == 0"]
            guard = f"if ({' && '.join(conditions)}) " if conditions else ""
            self.writer.add(f"{guard}{function}({given});")
            return
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


def _function(head: str, arguments: Sequence[str], body: Sequence[str]) -> list[str]:
    ends = [","] * (len(arguments) - 1) + [")"]
    given = [f"    {text}{end}" for text, end in zip(arguments, ends, strict=False)]
    return [f"{head}(", *given, "{" if arguments else ") {", *body, "}"]


def _at(name: str, offset: str) -> str:
    return name if offset == "0" else f"{name} + {offset}"
