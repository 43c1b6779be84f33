"""Tensors that a passage makes: they have no node until somebody looks for it.

In: what a Step says of its result. Out: tensors on `Foreseen` storages, and what makes real ones of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..history import Counter, Extra
from ..ir.node import Node
from ..ir.op import Op
from ..runtime import device as devices
from ..storage import Storage
from ..tensor import Tensor

if TYPE_CHECKING:
    from ..ir.node import Kind
    from ..runtime.device import Array
    from ..runtime.memory import Buffer
    from .passage import Passage
    from .turn import Step

_new: Any = object.__new__
_BUFFER = Op.BUFFER
_OWN = ("passage", "known")


class Foreseen(Storage):
    """The storage of a tensor that a passage has made, or has written to; its value is not even a node yet."""

    __slots__ = ()

    passage: Passage
    known: tuple[Buffer, Kind] | None
    """The value, where a plan has computed it but its history is not there."""

    def __getattr__(self, name: str) -> Any:
        """Asked for what is not there: make it."""
        if name not in Storage.__slots__ or name in _OWN:
            raise AttributeError(name)
        self.passage.settle()
        return object.__getattribute__(self, name)

    def replace(self, node: Node, tracked: bool = False) -> None:
        self.passage.settle()
        Storage.replace(self, node, tracked)

    def computed(self) -> bool:
        return self.known is not None or Storage.computed(self)

    def realize(self, history: Sequence[Node] = ()) -> Buffer:
        known = self.known
        return Storage.realize(self, history) if known is None else known[0]

    def array(self) -> Array:
        known = self.known
        if known is None:
            return Storage.array(self)
        value, kind = known
        return devices.get(kind.place).view(value, kind.dtype, kind.shape)


def foreseen(passage: Passage, like: Any) -> Tensor:
    """A tensor that a passage makes, with the dtype, size and need of a gradient that a Step or a Leaf says."""
    storage: Any = _new(Foreseen)
    storage.passage = passage
    storage.known = None
    made: Tensor = _new(Tensor)
    made.storage = storage
    made.dtype = like.dtype
    made._size = like.size
    made._view = None
    made._counter = storage
    made._index = 0
    made._grad = None
    made._node = None
    made._stamp = 0
    made._extra = None
    requires = made._requires = like.requires
    if not requires:
        made._record = None  # else it is not there: nobody asks for it before the storage
    return made


def alias(step: Step, tensor: Tensor, data: bool) -> Tensor:
    """`tensor.data`, or `tensor.detach()`, of a tensor that a passage knows."""
    made: Tensor = _new(Tensor)
    storage = made.storage = tensor.storage
    made.dtype = tensor.dtype
    made._size = step.size
    made._view = None
    made._counter = Counter() if data else tensor._counter
    made._record = None
    made._index = 0
    made._requires = False
    made._grad = None
    made._node = None
    made._stamp = (
        0 if step.of < 0 else storage.writes
    )  # nobody has written to what a passage has made
    made._extra = None
    if data and not step.size:
        made._extra = Extra()
        made._extra.indexable = True
    return made


def foresee(passage: Passage, storage: Any) -> None:
    """A write that a passage has compared: what it leaves in the storage is not made."""
    if storage.__class__ is not Foreseen:
        storage.passage = passage
        storage.known = None
        del storage.node
        storage.__class__ = Foreseen
    storage.writes += 1


def real(storage: Any, node: Node) -> None:
    """The value of a storage that a passage has written to."""
    if storage.__class__ is Foreseen:
        storage.node = node
        storage.__class__ = Storage  # type: ignore[assignment]
        del storage.passage, storage.known


def leaf(kind: Kind, value: Buffer) -> Node:
    """A node that is nothing but a computed value; what Node.__init__ does, written flat."""
    node: Node = _new(Node)
    node.op = _BUFFER
    node.src = ()
    node.dtype = kind.dtype
    node.shape = kind.shape
    node.arg = node.site = None
    node.place = kind.place
    node.depth = node.tracked = 0
    node.value = value
    node.kind = kind
    return node


def computed(storage: Any, kind: Kind, value: Buffer) -> None:
    """The value of a storage that a passage has made, and that needs no history."""
    if storage.__class__ is Foreseen:
        storage.node = leaf(kind, value)
        storage.version = storage.writes = 0
        storage.tracked = False
        storage.pin = None
        storage.__class__ = Storage  # type: ignore[assignment]
        del storage.passage, storage.known


def constant(like: Node) -> Node:
    """A constant of its own like another one."""
    return Node(like.op, (), like.dtype, like.shape, like.arg, like.place)


def become(storage: Any, source: Storage) -> None:
    """Make a storage like another one of a foreseen one that a passage has made."""
    if storage.__class__ is Foreseen:
        storage.node, storage.version, storage.writes = source.node, source.version, source.writes
        storage.tracked, storage.pin = source.tracked, source.pin
        storage.__class__ = Storage  # type: ignore[assignment]
        del storage.passage, storage.known


def become_tensor(target: Tensor, made: Tensor, step: Step) -> None:
    """Give a foreseen tensor what the call has made."""
    storage, source = target.storage, made.storage
    become(storage, source)
    if storage.node.site is not None:
        storage.node.site = step.site
    record = target._record = made._record
    if record is not None and source in record.counters:
        record.counters = tuple([storage if each is source else each for each in record.counters])
    target._requires = made._requires
    target._index = made._index
    target._node = made._node
    target._stamp = made._stamp
