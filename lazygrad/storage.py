"""Storage: the value that a tensor and all of its aliases share.

In: nodes, or memory from outside. A write replaces `node`; tensors are views that are replayed over it. The node is what
computes the value, and a plain leaf once it is computed, so that what it was made of can go.

Memory that the outside can see is pinned: `from_external`, and `expose`, from then on as long as an array on it is alive.
A pinned storage's node is the leaf on that very memory; a write is computed at once and copied there, and operations that read
it run at once (tensor.py), since the outside may change it at any time.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from .ir.node import Node, Shape
from .ir.op import Op
from .runtime import device as devices
from .runtime.realize import realize, release
from .runtime.steady import STEADY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .ir.dtype import DType
    from .runtime.device import Array
    from .runtime.memory import Buffer


class Pin:
    """Memory that the outside can see: alive as long as an array on it is, or for ever when the outside owns it."""

    __slots__ = ("array", "exposed")

    def __init__(self, array: Array | None, exposed: weakref.ref[Any] | None) -> None:
        self.array = array
        self.exposed = exposed

    def live(self) -> Array | None:
        """The array on the memory, or None when nobody outside can see it any more."""
        if self.exposed is None:
            return self.array
        exposed = self.exposed()
        return None if exposed is None else np.asarray(exposed)


class Storage:
    """The current value of a tensor and its aliases."""

    __slots__ = ("node", "version", "writes", "tracked", "pin", "passage", "known", "__weakref__")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.version = 0
        """Counts the writes that autograd knows of (see history.Counter)."""
        self.writes = 0
        """Counts every change of `node`'s value, those behind autograd's back included."""
        self.tracked = False
        """Whether `node` is also the node of a record: it keeps its history."""
        self.pin: Pin | None = None

    @property
    def place(self) -> str:
        return self.node.place

    def current(self) -> Node:
        """The node of the current value, without history when it is computed."""
        node = self.node
        if node.value is not None and node.op is not Op.BUFFER:
            return self.settle(node)
        return node

    def settle(self, node: Node) -> Node:
        """Put a plain leaf in the place of a node that has its value."""
        if not self.tracked:
            release(node)
            return node
        fresh = leaf(node.value, node.dtype, node.shape, node.place)
        fresh.site = node.site
        with _lock:
            if self.node is node:
                self.node = fresh
                self.tracked = False
        return fresh

    def replace(self, node: Node, tracked: bool = False) -> None:
        """Make `node` the value, which another thread's read sees whole or not at all."""
        if STEADY.passage is not None:
            STEADY.disturb()
        with _lock:
            self.node = node
            self.tracked = tracked
            self.writes += 1

    def computed(self) -> bool:
        """Whether the value is there."""
        return self.current().value is not None

    def realize(self, history: Sequence[Node] = ()) -> Buffer:
        """Compute the value."""
        node = self.current()
        if node.value is None:
            realize((node,), history)
            node = self.current()
        value: Buffer = node.value
        return value

    def array(self) -> Array:
        """The value as an array of the base's shape, to be read, not written (bfloat16 as its bits)."""
        value = self.realize()
        node = self.node
        return devices.get(node.place).view(value, node.dtype, node.shape)

    # --- memory that the outside sees

    def pinned(self) -> Array | None:
        """The array on memory that the outside can see, or None."""
        pin = self.pin
        if pin is None:
            return None
        array = pin.live()
        if array is None:
            self.pin = None
        return array

    def expose(self) -> Array:
        """The value's memory as an array that shares it: what is written there is seen here, and the other way round."""
        STEADY.disturb()
        if STEADY.observer is not None:
            STEADY.observer.exposed()
        array = self.pinned()
        if array is not None:
            return array
        value = self.realize()
        node = self.node
        device = devices.get(node.place)
        # Other nodes may read the buffer later, so the outside gets memory of its own.
        value = device.from_host(device.view(value, node.dtype, node.shape))
        array = device.view(value, node.dtype, node.shape)
        self.replace(leaf(value, node.dtype, node.shape, node.place))
        self.pin = Pin(None, weakref.ref(array.base))
        return array


_lock = threading.RLock()
"""Held while a storage's node and its counts change together."""


def leaf(value: Buffer, dtype: DType, shape: Shape, place: str) -> Node:
    """A node that is nothing but a computed value."""
    node = Node(Op.BUFFER, (), dtype, shape, None, place)
    node.value = value
    return node


def wrap(array: Array, dtype: DType) -> Storage:
    """A storage on an array's own memory, or on a device with memory of its own a copy. The array must be contiguous."""
    device = devices.default()
    storage = Storage(leaf(device.wrap(array), dtype, array.shape, device.name))
    if isinstance(device, devices.HostDevice):
        storage.pin = Pin(array, None)
    return storage
