"""Where the pure values of a kernel are computed: the one order that text, interpreter and renderers share.

In: a KERNEL node, whose bodies list only LOAD, STORE, CHECK, LOCAL and LOOP. Out: a `Block` whose lines are those, in order,
and between them every pure value that they need: in the innermost loop that it depends on, just before the first line there
that needs it (or that has it needed inside). CONST, PARAM and INDEX are not lines: they are where they are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from .args import Kernel
from .node import Node
from .op import STATEMENT, Op

LISTED = STATEMENT | {Op.LOAD}
"""The operations that a body lists."""
UNLISTED = frozenset((Op.CONST, Op.PARAM, Op.INDEX))
"""Values that no line computes."""


class ScopeError(ValueError):
    """A value is used where it is not known. `node` is that value."""

    def __init__(self, message: str, node: Node) -> None:
        super().__init__(message)
        self.node = node


@dataclass(slots=True)
class Block:
    """The lines of a kernel or of a loop, in the order in which they run."""

    lines: list[Node | Nested] = field(default_factory=list)


@dataclass(slots=True)
class Nested:
    """A loop among the lines of a block, and its own lines."""

    loop: Node
    block: Block


@dataclass(slots=True, eq=False)
class _Scope:
    """One loop (or the kernel) while it is laid out."""

    block: Block
    parent: _Scope | None
    depth: int
    body: tuple[Node, ...]
    loop: Node | None = None
    position: int = 0
    open: bool = True

    def contains(self, other: _Scope) -> bool:
        """Whether `other` is this scope or inside it."""
        while other.depth > self.depth:
            assert other.parent is not None
            other = other.parent
        return other is self


def parameters(kernel: Node) -> tuple[Node, ...]:
    """The params of a KERNEL, in order."""
    assert isinstance(kernel.arg, Kernel)
    return kernel.src[: kernel.arg.params]


def body(node: Node) -> tuple[Node, ...]:
    """The lines that a KERNEL or a LOOP lists."""
    return node.src[node.arg.params :] if isinstance(node.arg, Kernel) else node.src[2:]


def blocks(kernel: Node) -> Block:
    """Lay out a kernel.

    Requires: a verified kernel.
    Guarantees: every line once, each after the lines that its sources are; takes time linear in the kernel's nodes
    (times the depth of its loops).

    Raises:
        ScopeError: a value depends on a load or loop that is not around it or not before it.
    """
    root = _Scope(Block(), None, 0, body(kernel))
    home: dict[
        int, _Scope
    ] = {}  # of a value, line or index: the scope whose every iteration has its own
    scope = root
    while True:
        if scope.position == len(scope.body):
            scope.open = False
            if scope.parent is None:
                return root.block
            assert scope.loop is not None
            scope.parent.block.lines.append(Nested(scope.loop, scope.block))
            scope = scope.parent
            continue
        line = scope.body[scope.position]
        scope.position += 1
        if id(line) in home:
            raise ScopeError(f"{line.op.name.lower()} is listed twice", line)
        if line.op is Op.LOOP:
            _values((line.src[1],), scope, home)
            home[id(line)] = scope
            scope = _Scope(Block(), scope, scope.depth + 1, body(line), line)
            home[id(line.src[0])] = scope
            continue
        if line.op not in LISTED:
            raise ScopeError(f"{line.op.name.lower()} cannot be a line of a body", line)
        _values(line.src, scope, home)
        home[id(line)] = scope
        scope.block.lines.append(line)


def _values(sources: tuple[Node, ...], scope: _Scope, home: dict[int, _Scope]) -> None:
    """Append the values that `sources` need and that are not lines yet, each to the block where it belongs."""
    stack = [(source, False) for source in reversed(sources)]
    while stack:
        node, ready = stack.pop()
        known = home.get(id(node))
        if known is not None:
            # A closed scope that a value of an open one reads: the loop that computed it is over.
            if not known.open or not known.contains(scope):
                raise ScopeError(
                    f"{node.op.name.lower()} is used outside the loop it belongs to", node
                )
            continue
        if node.op in (Op.CONST, Op.PARAM):
            continue
        if node.op is Op.INDEX:
            raise ScopeError("the index of a loop is used outside it", node)
        if node.op in LISTED:
            raise ScopeError(f"{node.op.name.lower()} is used before it is listed in a body", node)
        if not ready:
            stack.append((node, True))
            stack.extend((source, False) for source in reversed(node.src))
            continue
        deepest: _Scope | None = None
        for source in node.src:
            place = home.get(id(source))
            if place is not None and (deepest is None or place.depth > deepest.depth):
                deepest = place
        if deepest is None:
            deepest = _root(scope)
        home[id(node)] = deepest
        deepest.block.lines.append(node)


def _root(scope: _Scope) -> _Scope:
    while scope.parent is not None:
        scope = scope.parent
    return scope


Event = tuple[Literal["line", "enter", "leave"], Node]


def events(block: Block) -> Iterator[Event]:
    """A block as a flat sequence: its lines, and for each loop that it is entered and left."""
    stack: list[tuple[Block, int, Node | None]] = [(block, 0, None)]
    while stack:
        current, position, loop = stack.pop()
        if position == len(current.lines):
            if loop is not None:
                yield "leave", loop
            continue
        line = current.lines[position]
        stack.append((current, position + 1, loop))
        if isinstance(line, Nested):
            yield "enter", line.loop
            stack.append((line.block, 0, line.loop))
        else:
            yield "line", line
