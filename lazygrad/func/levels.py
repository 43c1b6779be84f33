"""What a transform does around the function it transforms: variables for its arguments, and the way out for its results.

A `Level` is one run of a transformed function. Its variables have the values of the arguments under nodes of their own, so that a
derivative by them is one by this level only, however transforms are nested. Their history leads on to that of the arguments:
what is differentiated outside sees through the level.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from types import TracebackType

from .. import reading
from ..history import AccumulateGrad, Edge, Record, distinct, mode, sequence
from ..ir.node import Node, constant
from ..results import attach, from_node
from ..tensor import Tensor


class Start(Record):
    """Where the history of a transform's variable begins."""

    __slots__ = ("level",)
    level: Level


class Level:
    """One run of a transformed function: history is recorded in it, whatever is the case outside."""

    def __init__(self) -> None:
        self.start = sequence()
        """The number of the first record that belongs to it."""
        self.open = False
        self.recorded = mode.enabled
        """Whether history is recorded outside."""
        self._before = (mode.enabled, mode.inference)

    def __enter__(self) -> Level:
        self._before = (mode.enabled, mode.inference)
        mode.enabled, mode.inference = True, False
        mode.transforms += 1
        self.open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        mode.enabled, mode.inference = self._before
        mode.transforms -= 1
        self.open = False

    def variable(self, tensor: Tensor) -> Tensor:
        """A tensor of the same value that derivatives of this level are taken by."""
        node = distinct(operand(tensor))
        made = self.begin(node, tensor, True)
        if tensor.storage.pinned() is not None:
            reading.compute(made)  # the outside may change it at any time
        return made

    def begin(self, node: Node, tensor: Tensor, differentiable: bool) -> Tensor:
        """A tensor on `node`, whose history leads on to that of `tensor`."""
        made = from_node(node)
        if not differentiable and not tensor.requires_grad:
            return made
        if tensor.requires_grad:
            record = Start((node,), (tensor._edge(),), (tensor.node,))
        else:
            record = Start((node,), (), ())
        record.level = self
        attach(made, record, 0)
        made.storage.tracked = True
        return made

    def outside(
        self, tensors: Iterable[Tensor], copied: Collection[int] = ()
    ) -> list[tuple[Edge, Node]]:
        """The variables outside of this level that tensors made in it depend on: where their gradients go, and their nodes.

        `copied` are nodes (ids) of the outside that the level has made part of its own: what they depend on is given for them.
        """
        found: dict[tuple[int, int, int], tuple[Edge, Node]] = {}
        seen: set[int] = set()
        stack: list[tuple[Edge, Node | None]] = [
            (each._edge(), each.node) for each in tensors if each.requires_grad
        ]
        while stack:
            (record, index), node = stack.pop()
            if record is None or node is None:
                continue
            if self.is_outside(record) and (id(node) not in copied or not record.edges):
                found[id(record), index, id(node)] = ((record, index), node)
            elif id(record) not in seen:
                seen.add(id(record))
                stack.extend(zip(record.edges, record.operands))
        return list(found.values())

    def is_outside(self, record: Record) -> bool:
        """Whether a record is none of this level's own."""
        if isinstance(record, Start):
            return record.level is not self and (record.level.open or record.sequence < self.start)
        return isinstance(record, AccumulateGrad) or record.sequence < self.start

    def special(self, tensors: Iterable[Tensor]) -> Record | None:
        """A record of this level below the tensors whose gradient is not that of its nodes, if there is one."""
        seen: set[int] = set()
        stack = [each._edge()[0] for each in tensors if each.requires_grad]
        while stack:
            record = stack.pop()
            if record is None or id(record) in seen or self.is_outside(record):
                continue
            seen.add(id(record))
            if record.special or record.hooks is not None:
                return record
            stack.extend([source for source, _ in record.edges])
        return None

    def leave(self, tensor: Tensor) -> Tensor:
        """A result as it is seen outside: with its history where that leads there."""
        if not tensor.requires_grad or (self.recorded and self.outside([tensor])):
            return tensor
        return tensor.detach()


def operand(tensor: Tensor) -> Node:
    """The node that an operation on a tensor builds on, where history is recorded."""
    return tensor.node if tensor.requires_grad else tensor._constant()


def anchor(variable: Tensor) -> Tensor:
    """Another tensor for the same variable: the function may write to the one that it is given."""
    record, index = variable._edge()
    assert record is not None
    made = from_node(record.nodes[index])
    attach(made, record, index)
    made.storage.tracked = True
    return made


def with_history(name: str, node: Node, edges: Sequence[tuple[Edge, Node]]) -> Tensor:
    """A tensor on `node` whose gradients go to `edges`, by way of nodes alone."""
    from ..history import record_class

    if any(node is each for _, each in edges):
        node = distinct(node)
    made = from_node(node)
    if not edges or node.dtype.kind != "float":
        return made
    record = record_class(name)(
        (node,), tuple([edge for edge, _ in edges]), tuple([each for _, each in edges])
    )
    record.saved = ("result",)
    attach(made, record, 0)
    made.storage.tracked = True
    return made


def zeros(tensor: Tensor) -> Tensor:
    """Zeros like a tensor, of no history."""
    return from_node(constant(0, tensor.dtype, tuple(tensor.shape), tensor.place))
