"""What the text of a replay calls: quick makers of tensors, and the questions of its guards that take more than one step.

In: buffers, and the constants of a trace. Out: nodes and tensors such as the function itself would have left behind: plain leaves
with a value.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from sys import getrefcount
from typing import Any

from ..history import Counter, Record
from ..ir.dtype import DType, float32
from ..ir.node import Kind, Node, Shape, Site, constant
from ..ir.op import Op
from ..runtime import device as devices
from ..runtime import realize
from ..runtime.executor import REUSES
from ..runtime.memory import Buffer
from ..storage import Storage
from ..tensor import Tensor, make
from ..views import Step, View

_new: Any = object.__new__
_BUFFER = Op.BUFFER


def _alone() -> int:
    """How many references there are to a node that one storage and one variable hold, as `getrefcount(variable)` counts them."""
    storage = Storage(constant(0, float32))
    node = storage.node
    return getrefcount(node)


ALONE = _alone() if REUSES else -1


class Miss:
    """Why a replay was left: what it is about, what was expected, and the user's line that depends on it."""

    __slots__ = ("fact", "label", "position", "site")

    def __init__(self, label: str, fact: str, site: Site | None = None) -> None:
        self.label = label
        self.fact = fact
        self.site = site
        self.position = 0
        """How far a replay comes that is left here."""


AGAIN = Miss("the random stream", "drawn from by another thread")
"""The call is to be started anew."""
PLAIN = Miss("", "")
"""The call is to be run as it is written."""


def leaf(kind: Kind, site: Site | None) -> Node:
    """A node that is to be nothing but a value: `Node(Op.BUFFER, ...)`, written flat, since a replay makes one for each write."""
    node: Node = _new(Node)
    node.op = _BUFFER
    node.src = ()
    node.arg = None
    node.dtype = kind.dtype
    node.shape = kind.shape
    node.place = kind.place
    node.kind = kind
    node.site = site
    node.value = None
    node.tracked = 0
    node.depth = 0
    return node


def owned(node: Node, references: int, kind: Kind, site: Site | None) -> Node:
    """A leaf for the next value of a storage: its own, where nobody else holds that any more, or a new one."""
    if references == ALONE and node.op is _BUFFER and node.kind is kind:
        return node
    return leaf(kind, site)


def output(value: Buffer, kind: Kind, site: Site | None) -> Tensor:
    """A tensor that the call made, with a storage of its own: `results.from_node` of a leaf, written flat."""
    node = leaf(kind, site)
    node.value = value
    storage: Storage = _new(Storage)
    storage.node = node
    storage.version = 0
    storage.writes = 0
    storage.tracked = False
    storage.pin = None
    made: Tensor = _new(Tensor)
    made.storage = storage
    made.dtype = kind.dtype
    made._size = None
    made._view = None
    made._counter = storage
    made._record = None
    made._index = 0
    made._requires = False
    made._grad = None
    made._node = None
    made._stamp = 0
    made._extra = None
    return made


def dressed(
    kind: type[Tensor],
    storage: Storage,
    dtype: DType,
    view: View | None,
    counter: Any,
    requires: bool,
    record: Record | None,
    index: int,
    gradient: Tensor | None,
) -> Tensor:
    """Any other tensor that the call made."""
    made = make(storage, dtype, view, counter, kind)
    made._requires = requires
    made._record = record
    made._index = index
    made._grad = gradient
    return made


def seen_through(
    base: Tensor | None,
    steps: tuple[Step, ...],
    path: tuple[Step, ...],
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    offset: int,
    origin: str,
) -> View:
    """A view of a tensor that is found anew for each call."""
    return View(base, steps, path, shape, stride, offset, origin)


def counted(version: int) -> Counter:
    """A version counter that the call made."""
    return Counter(version)


def settle(storages: Sequence[Storage]) -> None:
    """Compute what is pending in storages that the call reads, all together."""
    nodes = [storage.node for storage in storages if storage.node.value is None]
    if nodes:
        realize.realize(nodes)


def differs(node: Node, kind: Kind) -> bool:
    """Whether a value is of another dtype, shape or place. If not, the node is known by its kind the next time."""
    if (node.dtype, node.shape, node.place) != (kind.dtype, kind.shape, kind.place):
        return True
    node.kind = kind
    return False


def busy(tensor: Tensor) -> bool:
    """Whether a tensor has hooks, or keeps its gradient."""
    extra = tensor._extra
    return extra is not None and bool(extra.hooks or extra.accumulated or extra.retains)


def lies(tensor: Tensor, layout: tuple[Any, ...]) -> bool:
    """Whether a tensor is the same view of its storage, and of no tensor that requires grad."""
    view = tensor._view
    if view is None or (view.path, view.shape, view.stride, view.offset, view.origin) != layout:
        return False
    return view.base is None or not view.base.requires_grad


CTYPES: dict[str, Any] = {
    "float32": ctypes.c_float, "float64": ctypes.c_double, "int64": ctypes.c_int64, "int32": ctypes.c_int32,
    "int16": ctypes.c_int16, "int8": ctypes.c_int8, "uint8": ctypes.c_uint8, "bool": ctypes.c_bool,
}  # fmt: skip


def element(dtype: DType, place: str, shape: Shape, offset: int) -> Callable[[Buffer], Any]:
    """Reads one element of a buffer, as `.item()` does."""
    device = devices.get(place)
    kind = CTYPES.get(dtype.name)
    if isinstance(device, devices.HostDevice) and kind is not None:
        at, skip = kind.from_address, offset * dtype.itemsize
        return lambda buffer: at(buffer.address + skip).value
    if dtype.name == "bfloat16":
        from ..reading import widened

        return lambda buffer: (
            widened(device.to_host(buffer, dtype, shape)).reshape(-1)[offset].item()
        )
    return lambda buffer: device.to_host(buffer, dtype, shape).reshape(-1)[offset].item()


def contents(dtype: DType, place: str, shape: Shape) -> Callable[[Buffer], bytes]:
    """Reads the whole of a buffer."""
    device = devices.get(place)
    return lambda buffer: device.to_host(buffer, dtype, shape).tobytes()
