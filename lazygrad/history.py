"""What a tensor remembers of how it was made: `Record`s, PyTorch's grad_fn objects, and whether they are made at all.

A record names the operation, the records of its operands with the very nodes that were used, the node of its own result, and
the tensors whose values backward reads, with their versions. It computes nothing: gradients are GRAD nodes between those
nodes, which `autograd.engine` builds from the records.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from .ir.node import RECORDED, RELEASED, Node
from .ir.op import Op

if TYPE_CHECKING:
    from .tensor import Tensor


class _Mode(threading.local):
    """Whether this thread records what it does."""

    enabled: bool = True
    inference: bool = False
    draws: int = 0
    """How often random numbers were drawn or values were read: an operator that does either is another one each time."""
    transforms: int = 0
    """In how many runs of functions that are being transformed (func/) it is."""
    pinned: bool = False
    """Whether the last operation's operands were read from memory that the outside can write (see results.py)."""


mode = _Mode()
"""The grad mode of each thread."""


class Counter:
    """Counts the in-place writes that autograd knows of; tensors that alias one another share it, except through `.data`."""

    __slots__ = ("version",)

    def __init__(self, version: int = 0) -> None:
        self.version = version


class Untracked(Counter):
    """The counter of a tensor made in inference mode, which autograd does not follow."""

    __slots__ = ()


class Versioned(Protocol):
    """What has a version: a Counter, or a Storage."""

    version: int


def distinct(node: Node) -> Node:
    """The same value as a variable of its own: to autograd a variable is a node."""
    return Node(Op.RESHAPE, (node,), node.dtype, node.shape, None, node.place, node.site)


Edge = tuple["Record | None", int]
Hook = Callable[..., Any]

sequence = itertools.count().__next__
"""Numbers records in the order in which they are made."""


class Hooks:
    """The hooks of a record: on its outputs (by output), before it and after it, and which tensors keep their gradient."""

    __slots__ = ("outputs", "before", "after", "retained", "metadata")

    def __init__(self) -> None:
        self.outputs: dict[int, dict[int, Hook]] = {}
        self.before: dict[int, Hook] = {}
        self.after: dict[int, Hook] = {}
        self.retained: dict[int, weakref.ref[Tensor]] = {}
        self.metadata: dict[Any, Any] = {}


class Record:
    """One recorded operation. Subclasses made by `record_class` carry PyTorch's names."""

    __slots__ = (
        "edges", "operands", "nodes", "saved", "counters", "versions", "sequence", "hooks", "released", "eager",
        "__weakref__",
    )  # fmt: skip

    special = False
    """Whether its gradient is something else than that of its nodes."""

    def __init__(
        self,
        nodes: tuple[Node, ...],
        edges: tuple[Edge, ...],
        operands: tuple[Node | None, ...],
    ) -> None:
        self.nodes = nodes
        """The node of each output; none once released."""
        for node in nodes:
            node.tracked = RECORDED
        self.edges = edges
        self.operands = operands
        """The node that was used, for each edge."""
        self.saved: tuple[Tensor | str, ...] = ()
        self.counters: tuple[Versioned, ...] = ()
        self.versions: tuple[int, ...] = ()
        self.sequence = sequence()
        self.hooks: Hooks | None = None
        self.released = False
        self.eager = False
        """Whether an operand is memory that the outside can write: gradients are computed at once."""

    @property
    def next_functions(self) -> tuple[Edge, ...]:
        """The record of each operand and which of its outputs it is; (None, 0) for one that needs no gradient."""
        return self.edges

    def name(self) -> str:
        """PyTorch's name of the operation's gradient."""
        return type(self).__name__

    @property
    def metadata(self) -> dict[Any, Any]:
        """A dictionary for the user."""
        return self._hooks().metadata

    def _hooks(self) -> Hooks:
        if self.hooks is None:
            self.hooks = Hooks()
        return self.hooks

    def register_hook(self, hook: Hook) -> RemovableHandle:
        """Call hook(grad_inputs, grad_outputs) after this record has run; what it returns replaces grad_inputs."""
        return RemovableHandle(self._hooks().after, hook)

    def register_prehook(self, hook: Hook) -> RemovableHandle:
        """Call hook(grad_outputs) before this record runs; what it returns replaces grad_outputs."""
        return RemovableHandle(self._hooks().before, hook)

    def release(self) -> None:
        """Let go of the nodes and of what was saved: another backward through here is an error."""
        for node in self.nodes:
            node.tracked = RELEASED
        self.nodes = ()
        self.operands = ()
        self.saved = self.counters = self.versions = ()
        self.released = True

    def __call__(self, *cotangents: Tensor | None) -> Any:
        """The gradients of the operands for these gradients of the outputs."""
        from .autograd.gradients import apply

        return apply(self, cotangents)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object at {id(self):#x}>"

    __str__ = __repr__


class AccumulateGrad(Record):
    """Where gradients end: adds to the `.grad` of a leaf."""

    __slots__ = ("variable",)

    def __init__(self, variable: Tensor) -> None:
        super().__init__((), (), ())
        self.variable = variable


class Undifferentiable(Record):
    """The record of a floating result that has no gradient: asking for one is an error."""

    __slots__ = ()
    special = True
    operation = ""

    def run(self, cotangents: tuple[Tensor | None, ...]) -> Any:
        raise RuntimeError(f"derivative for {self.operation} is not implemented")


_classes: dict[str, type[Record]] = {}
"""The record class of each name."""


def record_class(name: str) -> type[Record]:
    """The class of records of an operation: "Mul" and "MulBackward0" give MulBackward0; "CopySlices" stays.

    "NotImplemented aten::remainder" gives one called NotImplemented, as PyTorch's is, that has no gradient.
    """
    found = _classes.get(name)
    if found is None and name.startswith("NotImplemented"):
        body = {"__slots__": (), "__module__": "torch", "operation": name.partition(" ")[2]}
        found = _classes[name] = type("NotImplemented", (Undifferentiable,), body)
    if found is None:
        full = name if "Backward" in name or name == "CopySlices" else f"{name}Backward0"
        found = _classes.get(full)
        if found is None:
            found = _classes[full] = type(
                full, (Record,), {"__slots__": (), "__module__": "builtins"}
            )
        _classes[name] = found
    return found


class RemovableHandle:
    """What registering a hook returns: removes it, also when a `with` block ends."""

    __slots__ = ("id", "_hooks")

    _ids = itertools.count()

    def __init__(self, hooks: dict[int, Hook], hook: Hook) -> None:
        self._hooks: dict[int, Hook] | None = hooks
        self.id = next(RemovableHandle._ids)
        hooks[self.id] = hook

    def remove(self) -> None:
        """Take the hook away; once more does nothing."""
        if self._hooks is not None:
            self._hooks.pop(self.id, None)
            self._hooks = None

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class Extra:
    """What few tensors have: a leaf's hooks and its AccumulateGrad."""

    __slots__ = ("hooks", "accumulated", "accumulator", "retains", "indexable")

    def __init__(self) -> None:
        self.hooks: dict[int, Hook] = {}
        self.accumulated: dict[int, Hook] = {}
        """Hooks that run when `.grad` has been written."""
        self.accumulator: weakref.ref[AccumulateGrad] | None = None
        self.retains = False
        self.indexable = False
        """Whether `[0]` works on this 0-d tensor: the `.data` of one, in PyTorch's old API."""
