"""What transforms ask of a loop tree: which loops there are, what depends on a loop, how an offset moves with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from lazygrad.ir.args import Constant, Kernel, Loop, Name
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op


class ScheduleError(ValueError):
    """A transform that cannot be applied, and why."""


def body(node: Node) -> tuple[Node, ...]:
    """The lines of a KERNEL or LOOP."""
    if node.op is Op.KERNEL:
        assert isinstance(node.arg, Kernel)
        return node.src[node.arg.params :]
    return node.src[2:]


def with_body(node: Node, lines: list[Node] | tuple[Node, ...]) -> Node:
    """The same KERNEL or LOOP around other lines."""
    head = node.src[: len(node.src) - len(body(node))]
    return Node(node.op, (*head, *lines), node.dtype, node.shape, node.arg, node.place, node.site)


def all_loops(kernel: Node) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    """Every LOOP with the loops around it, outermost first."""
    stack: list[tuple[Node, tuple[Node, ...]]] = [(kernel, ())]
    while stack:
        node, around = stack.pop()
        inner = around if node.op is Op.KERNEL else (*around, node)
        if node.op is Op.LOOP:
            yield node, around
        stack.extend((line, inner) for line in reversed(body(node)) if line.op is Op.LOOP)


def lines_inside(loop: Node) -> Iterator[Node]:
    """Every line of a KERNEL or LOOP and of the loops in it, but for the loops themselves."""
    stack = list(reversed(body(loop)))
    while stack:
        line = stack.pop()
        if line.op is Op.LOOP:
            stack.extend(reversed(body(line)))
        else:
            yield line


def loop_named(kernel: Node, name: str) -> Node:
    """The loop whose variable is `name`.

    Raises:
        ScheduleError: there is none; the message lists those there are.
    """
    names: list[str] = []
    for loop, _ in all_loops(kernel):
        found = loop_name(loop)
        if found == name:
            return loop
        names.append(found)
    raise ScheduleError(f"no loop {name!r}; the loops are {', '.join(names) or 'none'}")


def counted(kernel: Node, name: str, least: int) -> tuple[Node, int]:
    """The loop over `name` and how often it runs: one by one, and `least` times or more.

    Raises:
        ScheduleError: there is no such loop, or it is not so.
    """
    loop = loop_named(kernel, name)
    size = extent(loop)
    assert isinstance(loop.arg, Loop)
    if size is None or size < least or loop.arg.step != 1:
        raise ScheduleError(f"loop {name} has an unknown extent, a short one, or a step")
    return loop, size


def loop_name(loop: Node) -> str:
    """The name of a loop's variable."""
    arg = loop.src[0].arg
    assert isinstance(arg, Name)
    return arg.name


def names(kernel: Node) -> set[str]:
    """The names of its loops and of the buffers that are declared in it."""
    found = {loop_name(loop) for loop, _ in all_loops(kernel)}
    found.update(line.arg.name for line in lines_inside(kernel) if isinstance(line.arg, Name))
    return found


def unused_suffix(kernel: Node, loop: Node) -> str:
    """What to append to the names in a second copy of a loop's body, so that they are new in the kernel."""
    taken = names(kernel)
    own = {loop_name(loop)}
    for inner, _ in all_loops(loop):
        own.add(loop_name(inner))
    own.update(line.arg.name for line in lines_inside(loop) if isinstance(line.arg, Name))
    suffix, number = "_rest", 1
    while any(
        name == each + suffix or name.startswith(f"{each}{suffix}_")
        for each in own
        for name in taken
    ):
        number += 1
        suffix = f"_rest{number}"
    return suffix


def extent(loop: Node) -> int | None:
    """The extent of a loop, if it is a constant."""
    return constant_value(loop.src[1])


def constant_value(node: Node) -> int | None:
    """The value of an integer CONST."""
    if node.op is Op.CONST and isinstance(node.arg, Constant):
        return int(node.arg.value)
    return None


def multiple(node: Node, steps: Mapping[int, int] | None = None) -> int:
    """A number that divides an integer value in every iteration, 0 where it is 0; `steps` has what divides other values, by id."""
    known: dict[int, int] = {}
    stack = [node]
    while stack:
        current = stack[-1]
        pending = [source for source in current.src if id(source) not in known]
        if current.op in (Op.ADD, Op.SUB, Op.MUL, Op.MIN, Op.MAX) and pending:
            stack.extend(pending)
            continue
        stack.pop()
        if (number := constant_value(current)) is not None:
            known[id(current)] = abs(number)
        elif current.op in (Op.ADD, Op.SUB, Op.MUL, Op.MIN, Op.MAX):
            left, right = (known[id(source)] for source in current.src)
            known[id(current)] = left * right if current.op is Op.MUL else math.gcd(left, right)
        else:
            known[id(current)] = (steps or {}).get(id(current), 1)
    return known[id(node)]


def remainders(node: Node, modulus: int) -> frozenset[int]:
    """What an integer value may leave over when it is divided by `modulus`, in any iteration."""
    every = frozenset(range(modulus))
    known: dict[int, frozenset[int]] = {}
    stack = [node]
    while stack:
        current = stack[-1]
        arithmetic = current.op in (Op.ADD, Op.SUB, Op.MUL, Op.MIN, Op.MAX)
        pending = [source for source in current.src if id(source) not in known]
        if arithmetic and pending:
            stack.extend(pending)
            continue
        stack.pop()
        if (number := constant_value(current)) is not None:
            known[id(current)] = frozenset((number % modulus,))
        elif arithmetic:
            one, other = (known[id(source)] for source in current.src)
            pairs = [(left, right) for left in one for right in other]
            match current.op:
                case Op.ADD:
                    found = {(left + right) % modulus for left, right in pairs}
                case Op.SUB:
                    found = {(left - right) % modulus for left, right in pairs}
                case Op.MUL:
                    found = {left * right % modulus for left, right in pairs}
                case _:
                    found = {*one, *other}
            known[id(current)] = frozenset(found)
        else:
            known[id(current)] = every
    return known[id(node)]


def replace_loop(kernel: Node, loop: Node, lines: list[Node]) -> Node:
    """The kernel, or a loop, with `loop` in it replaced by `lines`; whatever reads values of the loop's body reads them no more."""
    for candidate, around in all_loops(kernel):
        if candidate is loop:
            old, new = loop, lines
            for outer in reversed(around if kernel.op is Op.LOOP else (kernel, *around)):
                inside: list[Node] = []
                for line in body(outer):
                    inside.extend(new if line is old else [line])
                old, new = outer, [with_body(outer, inside)]
            return new[0]
    raise ScheduleError(f"loop {loop_name(loop)} is not in the kernel")


def updates(loop: Node) -> bool:
    """Whether the loop both reads and writes a buffer from outside."""
    lines = list(lines_inside(loop))
    own = {id(line) for line in lines if line.op is Op.LOCAL}
    read = {id(line.src[0]) for line in lines if line.op is Op.LOAD}
    return any(
        line.op is Op.STORE and id(line.src[0]) in read and id(line.src[0]) not in own
        for line in lines
    )


def carries(loop: Node) -> bool:
    """Whether an iteration may read what another one has written: a buffer from outside is read and written, not at one moving offset."""
    stride = Stride(loop.src[0])
    own = {id(line) for line in lines_inside(loop) if line.op is Op.LOCAL}
    reads: dict[int, list[Node]] = {}
    writes: dict[int, list[Node]] = {}
    written = {id(line.src[0]) for line in lines_inside(loop) if line.op is Op.STORE}
    for line in lines_inside(loop):
        if line.op is Op.LOAD:
            still = all(stride(each) == 0 for each in line.src[1:])
            stride.mark(line, 0 if still and id(line.src[0]) not in written else None)
        if line.op in (Op.LOAD, Op.STORE) and id(line.src[0]) not in own:
            found = reads if line.op is Op.LOAD else writes
            found.setdefault(id(line.src[0]), []).append(line.src[1])
    for buffer, offsets in writes.items():
        if buffer in reads:
            first = offsets[0]
            if stride(first) in (0, None) or any(
                o is not first for o in (*offsets, *reads[buffer])
            ):
                return True
    return False


class Stride:
    """The constant by which a value changes when a loop's variable grows by one: 0 if it does not depend on it, None if not constant.

    `run`: what is asked holds inside of runs of so many iterations, each of which begins at a multiple of it.
    """

    def __init__(self, index: Node, run: int = 0) -> None:
        self.index = index
        self.run = run
        self.known: dict[int, int | None] = {id(index): 1}
        self.keep: list[Node] = [index]

    def __call__(self, node: Node) -> int | None:
        known = self.known
        if id(node) in known:
            return known[id(node)]
        stack = [node]
        while stack:
            inner = stack[-1]
            ready, still = True, True
            for source in inner.src:
                if id(source) in known:
                    still = still and known[id(source)] == 0
                elif source.src:
                    stack.append(source)
                    ready = False
                else:
                    known[id(source)] = 0
                    self.keep.append(source)
            if ready:
                stack.pop()
                if id(inner) not in known:
                    known[id(inner)] = 0 if still else self._of(inner)
                    self.keep.append(inner)
        return known[id(node)]

    def repeats(self, offset: Node) -> int:
        """How many iterations of a run an offset stays what it is for, if it then grows by one; 0 where it is no such offset."""
        found: list[Node] = []
        stack = [offset]
        while stack:
            node = stack.pop()
            if self(node) == 0:
                continue
            if node.op is Op.ADD:
                stack.extend(node.src)
            else:
                found.append(node)
        if len(found) != 1 or found[0].op is not Op.IDIV or found[0].src[0] is not self.index:
            return 0
        divisor = constant_value(found[0].src[1])
        return divisor if divisor and divisor > 1 and self.run % divisor == 0 else 0

    def mark(self, node: Node, stride: int | None) -> None:
        """Say how a value moves that is not computed from the variable by arithmetic alone."""
        self.known[id(node)] = stride
        self.keep.append(node)

    def _of(self, node: Node) -> int | None:
        """Of a value whose sources are known, and do not all stay what they are."""
        found = [self.known[id(source)] for source in node.src]
        if node.op is Op.ADD and None not in found:
            return sum(stride for stride in found if stride is not None)
        if node.op is Op.SUB and found[0] is not None and found[1] is not None:
            return found[0] - found[1]
        if node.op is Op.MUL and node.dtype.is_integer:
            for position in (0, 1):
                factor = constant_value(node.src[1 - position])
                stride = found[position]
                if factor is not None and stride is not None:
                    return stride * factor
        if self.run and node.src and node.src[0] is self.index and len(node.src) == 2:
            divisor = constant_value(node.src[1])
            if divisor and divisor % self.run == 0:
                if node.op is Op.IDIV:
                    return 0
                if node.op is Op.MOD:
                    return 1
        return None
