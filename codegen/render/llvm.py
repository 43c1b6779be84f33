"""A KERNEL of the loop stratum as LLVM IR text.

In: a verified kernel without transcendental functions, and a target. Out: one function `i64 name(ptr slots, i64 begin,
i64 end, ptr scratch)`, as docs/architecture.md describes it. The vectors of the kernel are LLVM's vectors; nothing is left for
LLVM to vectorise, so few of its passes are needed. Loops are written with their test at the end, locals as allocas in the entry
block, `unroll` loops written out.
"""

from __future__ import annotations

from dataclasses import dataclass

from lazygrad.ir.args import Accumulate, Kernel, Loop, Message, Name, Param
from lazygrad.ir.blocks import Block, Nested, blocks, parameters
from lazygrad.ir.dim import Dim, product
from lazygrad.ir.dtype import DType
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op

from ..target import LINE, Target
from ..transform.access import lines_inside
from ..transform.parallel import grain, parallel_loop
from . import llvm_division, llvm_dots
from .llvm_convert import from_memory, half_bits, to_memory
from .llvm_division import DIVISIONS
from .llvm_text import (
    Emitter,
    RenderError,
    constant_text,
    is_half,
    lanes_of,
    memory_type,
    register_type,
    splat_text,
    suffix,
    with_lanes,
)
from .llvm_values import compute, compute_bits, one_division
from .moves import moved
from .rare import Arm, Arms, rare_arms
from .streaming import half_lines, streamed

STACK_LIMIT = 16 << 10
"""Locals of more bytes than this in all live in scratch, the largest first."""
NOTHING = "@nothing"
"""Zeros, which a load reads instead whose mask is false as a whole: a masked load of what no page holds costs hundreds of cycles, even if no lane is read."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A kernel's text, and what its caller must provide or know."""

    text: str
    scratch_bytes: int
    checks: tuple[Message, ...]
    grain: int
    """How many trips of its parallel loop make a chunk; 0 where it is not to be divided."""


@dataclass(slots=True)
class _Frame:
    """A block that is being written: where it stands, and the loop around it."""

    block: Block
    position: int = 0
    loop: Node | None = None
    label: str = ""
    extent: str = ""
    phi: int = -1  # the line that the label of the last block of the body completes
    iterations: list[int] | None = (
        None  # the values of the index still to come, of a loop that is written out
    )


def render(kernel: Node, target: Target) -> str:
    """The LLVM IR of `kernel`.

    Raises:
        RenderError: the kernel holds something that has no code here.
    """
    return render_kernel(kernel, target).text


def render_kernel(kernel: Node, target: Target) -> Rendered:
    """The LLVM IR of `kernel`, and how much scratch memory and which checks it has."""
    return _Writer(kernel, target).write()


class _Writer:
    """Writes one kernel. A stack of frames stands for the nesting of its loops, so nothing recurses."""

    def __init__(self, kernel: Node, target: Target) -> None:
        assert isinstance(kernel.arg, Kernel)
        self.kernel = kernel
        self.arg = kernel.arg
        self.target = target
        self.emit = Emitter(target.converts_halves)
        self.outer = parallel_loop(kernel)
        self.trips = "1"
        self.operands: dict[int, str] = {}
        self.current = "entry"
        self.checks: dict[Message, int] = {}
        self.addresses: dict[int, str] = {}
        self.scopes: dict[int, int] = {}
        self.scratch_bytes = 0
        self.arms = Arms({}, {})
        self.steps: list[Node] = []
        self.entry: list[str] = []
        self.streamed = streamed(kernel, target)
        self.moved = moved(kernel)
        self.constants: list[str] = []
        self.nothing_bytes = 8
        self.has_inout = any(
            isinstance(p.arg, Param) and p.arg.role == "inout" for p in parameters(kernel)
        )

    def write(self) -> Rendered:
        emit = self.emit
        self._params()
        self._locals()
        tiles = any(
            line.op is Op.DOTS and llvm_dots.uses_tiles(line, self.target)
            for line in lines_inside(self.kernel)
        )
        if tiles:
            self.constants.append(llvm_dots.enter(emit))
        self._body()
        if tiles:
            llvm_dots.leave(emit)
        if self.streamed:  # what has passed the caches by is there before anything that follows
            emit.add(emit.call("llvm.x86.sse.sfence", "void", ()))
        emit.add(f"ret i64 {self.trips}")
        width = str(self.target.vector_bytes * (4 if half_lines(self.kernel, self.target) else 8))
        text = [
            f"{NOTHING} = private unnamed_addr constant [{self.nothing_bytes} x i8] zeroinitializer, align 8",
            *self.constants,
            "",
            f"define i64 @{quoted(symbol(self.arg.name))}(ptr noalias readonly %slots, i64 %begin, i64 %end, "
            "ptr noalias align 64 %scratch) #0 {",
            "entry:",
            *self.entry,
            *emit.lines,
            "}",
            "",
            *emit.declarations.values(),
            "",
            f'attributes #0 = {{ nounwind "prefer-vector-width"="{width}" "min-legal-vector-width"="{width}" }}',
            *self._metadata(),
            "",
        ]
        return Rendered("\n".join(text), self.scratch_bytes, tuple(self.checks), grain(self.kernel))

    # --- what the caller gives

    def _params(self) -> None:
        emit = self.emit
        for position, param in enumerate(parameters(self.kernel)):
            assert isinstance(param.arg, Param)
            name, role = param.arg.name, param.arg.role
            slot = emit.value(
                f"getelementptr inbounds i64, ptr %slots, i64 {position}", f"{name}.slot"
            )
            if role == "dim":
                self.operands[id(param)] = emit.value(f"load i64, ptr {slot}, align 8", name)
            elif role == "number":
                loaded = emit.value(f"load {memory_type(param.dtype)}, ptr {slot}, align 8", name)
                self.operands[id(param)] = from_memory(emit, param.dtype, None, loaded)
            else:
                self.addresses[id(param)] = emit.value(f"load ptr, ptr {slot}, align 8", name)
                # Inputs may be one buffer given twice, and an inout buffer may be an input too; outputs are alone.
                self.scopes[id(param)] = len(self.scopes) + 1 if role == "out" else 0
        slot = emit.value(
            f"getelementptr inbounds i64, ptr %slots, i64 {self.arg.params}", "error.slot"
        )
        self.error = emit.value(f"load ptr, ptr {slot}, align 8", "error")

    def _locals(self) -> None:
        """Give every local its place, in registers and stack while they are small."""
        found: list[tuple[int, Node]] = []
        stack = [self.kernel]
        while stack:
            for node in stack.pop().src:
                if node.op is Op.LOCAL:
                    found.append((_local_bytes(node), node))
                elif node.op is Op.LOOP:
                    stack.append(node)
        on_stack = 0
        for size, node in sorted(found, key=lambda item: item[0]):
            assert isinstance(node.arg, Name)
            if on_stack + size <= STACK_LIMIT:
                on_stack += size
                name = "%" + self.emit.name(node.arg.name)
                kind = f"[{max(size // node.dtype.itemsize, 1)} x {memory_type(node.dtype)}]"
                self.entry.append(f"  {name} = alloca {kind}, align 64")
                self.addresses[id(node)] = name
            else:
                self.addresses[id(node)] = self.emit.value(
                    f"getelementptr inbounds i8, ptr %scratch, i64 {self.scratch_bytes}",
                    node.arg.name,
                )
                self.scratch_bytes += (size + 63) & -64
                self.scopes[id(node)] = len(self.scopes) + 1

    # --- lines and loops

    def _body(self) -> None:
        root = blocks(self.kernel)
        self.arms = rare_arms(self.kernel, root)
        stack = [_Frame(root)]
        while stack:
            frame = stack[-1]
            if frame.position == len(frame.block.lines):
                if not self._leave(frame):
                    stack.pop()
                continue
            line = frame.block.lines[frame.position]
            frame.position += 1
            if id(line) in self.arms.owner:
                continue
            for arm in self.arms.before.get(id(line), ()):
                self._arm(arm)
            if isinstance(line, Nested):
                entered = self._enter(line)
                if entered is not None:
                    stack.append(entered)
            elif line.op is Op.LOAD:
                self.operands[id(line)] = self._load(line)
            elif line.op is Op.STORE:
                self._store(line)
            elif line.op is Op.ACCUMULATE:
                self._accumulate(line)
            elif line.op is Op.DOTS:
                self._dots(line)
            elif line.op is Op.PREFETCH:
                self._prefetch(line)
            elif line.op is Op.CHECK:
                self._check(line)
            elif line.op is not Op.LOCAL:
                self._value(line)

    def _prefetch(self, node: Node) -> None:
        arg, pointer = node.src[0].arg, self._pointer_to(node.src[0], node.src[1], False)
        writes = isinstance(arg, Param) and arg.role == "out"
        flags = ("1", "3", "1") if writes else ("0", "2", "1")  # what is read, to the second cache
        operands = (("ptr", pointer), *(("i32", flag) for flag in flags))
        self.emit.add(self.emit.call("llvm.prefetch.p0", "void", operands))

    def _dots(self, node: Node) -> None:
        places = [
            self._pointer_to(buffer, offset, True)
            for buffer, offset in zip(node.src[::2], node.src[1::2], strict=True)
        ]
        self.current = llvm_dots.compute(self.emit, node, self.target, places, self.current)

    def _arm(self, arm: Arm) -> None:
        """Compute what some lanes may need, unless none does; what stands there then is chosen by none.

        Recursion is over arms within arms, each a good part of the one around it.
        """
        emit, lanes = self.emit, lanes_of(arm.condition)
        flags = f"<{lanes} x i1>"
        needed = self._operand(arm.condition)
        if arm.side == 2:
            needed = emit.value(f"xor {flags} {needed}, {splat_text('true', 'i1', lanes)}", "other")
        some = emit.value(
            emit.call(f"llvm.vector.reduce.or.v{lanes}i1", "i1", ((flags, needed),)), "some"
        )
        before, inside, after = self.current, emit.name("arm"), emit.name("armed")
        emit.add(f"br i1 {some}, label %{inside}, label %{after}")
        self._label(inside)
        for line in arm.lines:
            if self.arms.owner[id(line)] is arm:
                for within in self.arms.before.get(id(line), ()):
                    self._arm(within)
                self._value(line)
        emit.add(f"br label %{after}")
        last = self.current
        self._label(after)
        for node in arm.results:
            kind = with_lanes("i16" if id(node) in self.moved else register_type(node.dtype), lanes)
            text = (
                f"phi {kind} [ {self.operands[id(node)]}, %{last} ], [ zeroinitializer, %{before} ]"
            )
            self.operands[id(node)] = emit.value(text, "if.needed")

    def _value(self, node: Node) -> None:
        self.emit.ranges.learn(node)
        if id(node) in self.moved:
            operands = [
                self._bits(source) if source.dtype is node.dtype else self._operand(source)
                for source in node.src
            ]
            self.operands[id(node)] = compute_bits(self.emit, node, operands)
            return
        known = self.emit.ranges.of(node)
        if known is not None and known[0] == known[1]:
            kind = register_type(node.dtype)
            self.operands[id(node)] = splat_text(str(known[0]), kind, lanes_of(node))
        else:
            operands = [self._operand(source) for source in node.src]
            if node.op not in DIVISIONS or not self._divided(node, operands):
                self.operands[id(node)] = compute(self.emit, node, operands)

    def _divided(self, node: Node, operands: list[str]) -> bool:
        """Divide vectors by means of floats, where they can."""

        def lane(left: str, right: str) -> str:
            return one_division(self.emit, node, left, right)

        found = llvm_division.compute(
            self.emit, node, operands, self.target, self.entry, self.current, lane
        )
        if found is not None:
            self.operands[id(node)], self.current = found
        return found is not None

    def _accumulate(self, node: Node) -> None:
        """A step of a reduction, in the order written: what the transforms have not turned into accumulators."""
        assert isinstance(node.arg, Accumulate)
        buffer, offset, value = node.src[:3]
        mask = node.src[3:]
        before = Node(Op.LOAD, (buffer, offset, *mask), value.dtype, value.shape)
        after = Node(Op[node.arg.kind.upper()], (before, value), value.dtype, value.shape)
        store = Node(Op.STORE, (buffer, offset, after, *mask), node.dtype, ())
        self.steps += [before, after, store]  # their ids stay unique while they live
        self.operands[id(before)] = self._load(before)
        self._value(after)
        self._store(store)

    def _bits(self, node: Node) -> str:
        """A half float as it is stored."""
        if node.op is Op.CONST:
            return half_bits(node)
        text = self._operand(node)
        return (
            text
            if id(node) in self.moved
            else to_memory(self.emit, node.dtype, lanes_of(node), text)
        )

    def _operand(self, node: Node) -> str:
        return constant_text(node) if node.op is Op.CONST else self.operands[id(node)]

    def _enter(self, nested: Nested) -> _Frame | None:
        """Begin a loop; None where it has no trips."""
        emit, loop = self.emit, nested.loop
        index, extent = loop.src[0], loop.src[1]
        assert isinstance(loop.arg, Loop) and isinstance(index.arg, Name)
        step, known = loop.arg.step, emit.ranges.of(extent)
        constant = known[0] if known is not None and known[0] == known[1] else None
        if loop is self.outer:
            return self._enter_outer(nested, constant)
        if constant is not None and constant <= 0:
            return None
        if constant is not None and (constant <= step or loop.arg.kind == "unroll"):
            frame = _Frame(nested.block, loop=loop, iterations=list(range(0, constant, step))[::-1])
            self._next_iteration(frame)
            return frame
        limit = self._operand(extent)
        label = emit.name(index.arg.name)
        if constant is None:
            some = emit.value(f"icmp sgt i64 {limit}, 0", f"{label}.some")
            emit.add(f"br i1 {some}, label %{label}.body, label %{label}.exit")
        else:
            emit.add(f"br label %{label}.body")
        return self._open(nested, label, "0", limit)

    def _enter_outer(self, nested: Nested, constant: int | None) -> _Frame:
        """The loop whose trips [begin, end) the caller chose; a negative end means all of them."""
        emit, loop = self.emit, nested.loop
        index = loop.src[0]
        assert isinstance(loop.arg, Loop) and isinstance(index.arg, Name)
        label = emit.name(index.arg.name)
        limit = str(constant) if constant is not None else self._operand(loop.src[1])
        if constant is not None:
            self.trips = str(max(-(-constant // loop.arg.step), 0))
        else:
            rounded = emit.value(f"add nsw i64 {limit}, {loop.arg.step - 1}", f"{label}.rounded")
            trips = emit.value(f"sdiv i64 {rounded}, {loop.arg.step}", f"{label}.trips")
            self.trips = emit.value(
                emit.call("llvm.smax.i64", "i64", (("i64", trips), ("i64", "0"))), f"{label}.trips"
            )
        start = emit.value(f"mul nuw nsw i64 %begin, {loop.arg.step}", f"{label}.start")
        stop = emit.value(f"mul nsw i64 %end, {loop.arg.step}", f"{label}.stop")
        whole = emit.value("icmp slt i64 %end, 0", f"{label}.whole")
        limit = emit.value(f"select i1 {whole}, i64 {limit}, i64 {stop}", f"{label}.limit")
        some = emit.value(f"icmp slt i64 {start}, {limit}", f"{label}.some")
        emit.add(f"br i1 {some}, label %{label}.body, label %{label}.exit")
        return self._open(nested, label, start, limit)

    def _open(self, nested: Nested, label: str, start: str, limit: str) -> _Frame:
        emit, index = self.emit, nested.loop.src[0]
        before = self.current
        self._label(f"{label}.body")
        emit.ranges.enter(nested.loop)
        name = "%" + label
        self.operands[id(index)] = name
        emit.lines.append(f"  {name} = phi i64 [ {start}, %{before} ], [ %{label}.next, %")
        return _Frame(nested.block, 0, nested.loop, label, limit, len(emit.lines) - 1)

    def _next_iteration(self, frame: _Frame) -> None:
        assert frame.loop is not None and frame.iterations is not None
        value = frame.iterations.pop()
        index = frame.loop.src[0]
        self.operands[id(index)] = str(value)
        self.emit.ranges.fix(index, value)
        frame.position = 0

    def _leave(self, frame: _Frame) -> bool:
        """End an iteration; whether another one of a loop that is written out follows."""
        if frame.loop is None:
            return False
        if frame.iterations is not None:
            if not frame.iterations:
                return False
            self._next_iteration(frame)
            return True
        emit, label = self.emit, frame.label
        assert isinstance(frame.loop.arg, Loop)
        emit.lines[frame.phi] += f"{self.current} ]"
        emit.add(f"%{label}.next = add nuw nsw i64 %{label}, {frame.loop.arg.step}")
        more = emit.value(f"icmp slt i64 %{label}.next, {frame.extent}", f"{label}.more")
        emit.add(f"br i1 {more}, label %{label}.body, label %{label}.exit")
        self._label(f"{label}.exit")
        return False

    def _label(self, label: str) -> None:
        self.emit.lines.append(f"{label}:")
        self.current = label

    # --- memory

    def _load(self, node: Node) -> str:
        emit, buffer, lanes = self.emit, node.src[0], lanes_of(node)
        flag = self._flag(node.src[2]) if len(node.src) > 2 else None
        scalar = memory_type(node.dtype)
        kind, align = with_lanes(scalar, lanes), node.dtype.itemsize
        notes = self._notes(buffer, read=True)
        if lanes_of(node.src[1]) is not None:
            mask = self._mask(node.src[2], lanes) if len(node.src) > 2 else None
            pointers = self._pointer(node, mask is None)
            mask = mask or splat_text("true", "i1", lanes)
            name = f"llvm.masked.gather.{suffix(scalar, lanes)}.v{lanes}p0"
            text = emit.call(
                name, kind, ((f"<{lanes} x ptr>", pointers), ("i32", str(align)),
                             (f"<{lanes} x i1>", mask), (kind, "zeroinitializer")),
            )  # fmt: skip
        elif len(node.src) == 2:
            text = f"load {kind}, ptr {self._pointer(node, True)}, align {align}"
        elif flag is not None:
            pointer = emit.value(
                f"select i1 {flag}, ptr {self._pointer(node, False)}, ptr {NOTHING}", "safe"
            )
            self.nothing_bytes = max(self.nothing_bytes, (lanes or 1) * align)
            text, notes = f"load {kind}, ptr {pointer}, align {align}", ""
        else:
            mask = self._mask(node.src[2], lanes)
            name = f"llvm.masked.load.{suffix(scalar, lanes)}.p0"
            text = emit.call(
                name, kind, (("ptr", self._pointer(node, False)), ("i32", str(align)),
                             (f"<{lanes} x i1>", mask), (kind, "zeroinitializer")),
            )  # fmt: skip
        loaded = emit.value(text + notes, f"{_buffer_name(buffer)}.value")
        if id(node) in self.moved:
            return loaded
        return from_memory(emit, node.dtype, lanes, loaded)

    def _store(self, node: Node) -> None:
        emit, (buffer, offset, value) = self.emit, node.src[:3]
        lanes = lanes_of(value)
        if lanes is None:
            lanes = lanes_of(offset)
        scalar = memory_type(value.dtype)
        if lanes is not None and lanes_of(value) is None:
            raise RenderError("a scatter of one scalar: splat it first")
        if id(value) in self.moved:
            text = self._bits(value)
        else:
            text = to_memory(emit, value.dtype, lanes, self._operand(value))
        kind, align = with_lanes(scalar, lanes), value.dtype.itemsize
        flag = self._flag(node.src[3]) if len(node.src) > 3 else None
        notes = self._notes(buffer, read=False)
        if lanes_of(offset) is not None:
            mask = self._mask(node.src[3], lanes) if len(node.src) > 3 else None
            pointers = self._pointer(node, mask is None)
            mask = mask or splat_text("true", "i1", lanes)
            name = f"llvm.masked.scatter.{suffix(scalar, lanes)}.v{lanes}p0"
            operands = (
                (kind, text), (f"<{lanes} x ptr>", pointers), ("i32", str(align)), (f"<{lanes} x i1>", mask),
            )  # fmt: skip
            emit.add(emit.call(name, "void", operands) + notes)
        elif len(node.src) == 3:
            pointer = self._pointer(node, True)
            if id(node) in self.streamed:
                align, notes = LINE, f"{notes}, !nontemporal !{self._last_note}"
            emit.add(f"store {kind} {text}, ptr {pointer}, align {align}{notes}")
        elif flag is not None:
            then, after = emit.name("store"), emit.name("stored")
            pointer = self._pointer(node, False)
            emit.add(f"br i1 {flag}, label %{then}, label %{after}")
            self._label(then)
            emit.add(f"store {kind} {text}, ptr {pointer}, align {align}{notes}")
            emit.add(f"br label %{after}")
            self._label(after)
        else:
            mask = self._mask(node.src[3], lanes)
            name = f"llvm.masked.store.{suffix(scalar, lanes)}.p0"
            operands = (
                (kind, text), ("ptr", self._pointer(node, False)), ("i32", str(align)), (f"<{lanes} x i1>", mask),
            )  # fmt: skip
            emit.add(emit.call(name, "void", operands) + notes)

    def _flag(self, mask: Node) -> str | None:
        """The one flag that is a mask in all of its lanes; None where lanes may differ."""
        while mask.op is Op.SPLAT:
            (mask,) = mask.src
        return self._operand(mask) if lanes_of(mask) is None else None

    def _mask(self, node: Node, lanes: int | None) -> str:
        """A mask with a flag for each lane; one flag for all lanes is repeated."""
        mask = self._operand(node)
        if lanes is None or lanes_of(node) is not None:
            return mask
        if not mask.startswith("%"):
            return splat_text(mask, "i1", lanes)
        kind = f"<{lanes} x i1>"
        first = self.emit.value(f"insertelement {kind} poison, i1 {mask}, i64 0", "first")
        return self.emit.value(
            f"shufflevector {kind} {first}, {kind} poison, <{lanes} x i32> zeroinitializer", "mask"
        )

    def _pointer(self, node: Node, certain: bool) -> str:
        """The address (a vector of them for a gather) of an access; `certain` that it lies in the buffer."""
        return self._pointer_to(node.src[0], node.src[1], certain)

    def _pointer_to(self, buffer: Node, offset: Node, certain: bool) -> str:
        base, lanes, text = self.addresses[id(buffer)], lanes_of(offset), self._operand(offset)
        flags = "inbounds nuw " if certain else ""
        kind = memory_type(buffer.dtype)
        if lanes is None and text == "0":
            return base
        return self.emit.value(
            f"getelementptr {flags}{kind}, ptr {base}, {with_lanes('i64', lanes)} {text}",
            f"{_buffer_name(buffer)}.at",
        )

    def _notes(self, buffer: Node, read: bool) -> str:
        """What LLVM may assume of an access: which other buffers it cannot touch, and that inputs never change."""
        scope = self.scopes.get(id(buffer))
        if scope is None:
            return ""
        notes = f", !alias.scope !{2 + 2 * scope}, !noalias !{3 + 2 * scope}"
        if read and scope == 0 and not self.has_inout:
            notes += ", !invariant.load !1"
        return notes

    @property
    def _last_note(self) -> int:
        """The number of the note that nobody reads a store soon."""
        return 2 + 3 * (max(self.scopes.values(), default=0) + 1)

    def _metadata(self) -> list[str]:
        """The scopes that `_notes` refers to: !(2 + 2k) is scope k alone, !(3 + 2k) all the others."""
        count = max(self.scopes.values(), default=0) + 1
        names = [2 + 2 * count + k for k in range(count)]
        lines = ['!0 = distinct !{!0, !"buffers"}', "!1 = !{}"]
        for k in range(count):
            others = ", ".join(f"!{name}" for name in names if name != names[k])
            lines += [f"!{2 + 2 * k} = !{{!{names[k]}}}", f"!{3 + 2 * k} = !{{{others}}}"]
        lines += [f'!{name} = distinct !{{!{name}, !0, !"{k}"}}' for k, name in enumerate(names)]
        return [*lines, f"!{self._last_note} = !{{i32 1}}"] if self.streamed else lines

    # --- checks

    def _check(self, node: Node) -> None:
        """Where the condition is false, put 1 + the check's number into the error word, unless another came first."""
        emit, (source,) = self.emit, node.src
        assert isinstance(node.arg, Message)
        number = self.checks.setdefault(node.arg, len(self.checks)) + 1
        condition, lanes = self._operand(source), lanes_of(source)
        if lanes is not None:
            operands = ((f"<{lanes} x i1>", condition),)
            condition = emit.value(
                emit.call(f"llvm.vector.reduce.and.v{lanes}i1", "i1", operands), "all"
            )
        fail, after = emit.name("failed"), emit.name("checked")
        emit.add(f"br i1 {condition}, label %{after}, label %{fail}")
        self._label(fail)
        emit.add(
            f"%{emit.name('first.error')} = cmpxchg ptr {self.error}, i64 0, i64 {number} monotonic monotonic, align 8"
        )
        emit.add(f"br label %{after}")
        self._label(after)


def symbol(name: str) -> str:
    """The symbol of a kernel: never one that code may call, as a kernel that is named fmod after its operation calls fmod."""
    return f"kernel.{name}"


def quoted(name: str) -> str:
    """A symbol's name as LLVM writes it."""
    return (
        name
        if name.replace("_", "a").replace(".", "a").isalnum() and name.isascii()
        else f'"{name}"'
    )


def _buffer_name(buffer: Node) -> str:
    assert isinstance(buffer.arg, Param | Name)
    return buffer.arg.name


def _local_bytes(node: Node) -> int:
    size = product(node.shape)
    if isinstance(size, Dim):
        raise RenderError(f"a local buffer of {size} elements: the number must be constant")
    return size * _stored_bytes(node.dtype)


def _stored_bytes(dtype: DType) -> int:
    return 2 if is_half(dtype) else dtype.itemsize
