"""What a device is: memory, a compiler of kernels, and launches; and the registry of devices by name.

In: names such as "cpu" (a node's `place`), host arrays, kernels, graphs. Out: `Buffer`s, `Executable`s, `Plan`s. A device's
module is imported, and the device made, when its name is first asked for.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import memory
from .memory import Buffer

if TYPE_CHECKING:
    from lazygrad.ir.args import Message
    from lazygrad.ir.dtype import DType
    from lazygrad.ir.node import Node, Shape

    from .plan import Plan

Array = np.ndarray[Any, np.dtype[Any]]


class Executable(ABC):
    """One compiled kernel."""

    name: str
    address: int
    """Where its code is."""
    grain: int
    """How many trips of its parallel loop make a chunk for a thread; 0 where it is not worth to divide, or cannot be."""
    scratch_bytes: int
    """How much memory `run` borrows for local arrays that are too large for the stack."""
    checks: tuple[Message, ...]
    """The kernel's CHECKs: the error word holds 1 + the position here of the first that failed."""

    @abstractmethod
    def run(self, slots: Any, begin: int, end: int) -> None:
        """Launch trips [begin, end) of the outermost parallel loop, (0, 1) where there is none.

        `slots` is the address of the slots (an int), or an array of 8-byte integers (`array.array`, numpy, ctypes): one slot for
        each param in order, then the address of the error word.
        """


class Device(ABC):
    """A place where nodes are computed."""

    name: str
    launches: int
    """How many kernels have been launched here so far."""

    @abstractmethod
    def allocate(self, nbytes: int) -> Buffer:
        """Memory with unspecified contents. Raises RuntimeError, which says the size, when there is not enough."""

    @abstractmethod
    def from_host(self, array: Array) -> Buffer:
        """A copy of a host array, made contiguous."""

    @abstractmethod
    def wrap(self, array: Array) -> Buffer:
        """The memory of a contiguous host array itself: the same address, kept alive, never reused."""

    @abstractmethod
    def to_host(self, buffer: Buffer, dtype: DType, shape: Shape) -> Array:
        """A copy, as an array of the dtype's storage type (bfloat16: uint16 bits)."""

    @abstractmethod
    def view(self, buffer: Buffer, dtype: DType, shape: Shape) -> Array:
        """The same memory as an array of the dtype's storage type; it keeps the buffer alive."""

    def from_device(self, source: Device, buffer: Buffer, dtype: DType, shape: Shape) -> Buffer:
        """A copy of a buffer of another device."""
        return self.from_host(source.to_host(buffer, dtype, shape))

    @abstractmethod
    def compile(self, graph: Sequence[Node]) -> Plan:
        """A plan that computes the roots of a normalised graph."""


class _Exposed:
    """What numpy reads to make an array on a buffer's memory; the array's base, so it keeps the buffer alive."""

    __slots__ = ("__array_interface__", "__weakref__", "buffer")

    def __init__(self, buffer: Buffer, storage: str, shape: tuple[int, ...]) -> None:
        self.buffer = buffer
        self.__array_interface__ = {
            "shape": shape,
            "typestr": TYPESTR[storage],
            "data": (buffer.address, False),
            "version": 3,
        }


TYPESTR: dict[str, str] = {
    name: np.dtype(name).str
    for name in (
        "float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", "bool",
    )
}  # fmt: skip


class HostDevice(Device):
    """A device whose memory is the host's."""

    def __init__(self, name: str, pool: memory.Pool = memory.HOST) -> None:
        self.name = name
        self.pool = pool
        self.launches = 0

    def allocate(self, nbytes: int) -> Buffer:
        return self.pool.allocate(self.name, nbytes)

    def from_host(self, array: Array) -> Buffer:
        buffer = self.pool.allocate(self.name, array.nbytes)
        exposed = _Exposed(buffer, array.dtype.name, array.shape)
        np.copyto(np.asarray(exposed), array)
        return buffer

    def wrap(self, array: Array) -> Buffer:
        if not array.flags.c_contiguous:
            raise ValueError(f"wrap: an array with strides {array.strides} is not contiguous")
        address = int(array.__array_interface__["data"][0])
        return Buffer(self.name, array.nbytes, address, array)

    def to_host(self, buffer: Buffer, dtype: DType, shape: Shape) -> Array:
        return self.view(buffer, dtype, shape).copy()

    def view(self, buffer: Buffer, dtype: DType, shape: Shape) -> Array:
        return np.asarray(_Exposed(buffer, dtype.storage, sizes_of(shape)))

    def compile(self, graph: Sequence[Node]) -> Plan:
        from .compile import compile_graph

        return compile_graph(self, graph)


def sizes_of(shape: Shape) -> tuple[int, ...]:
    for size in shape:
        if not isinstance(size, int):
            raise TypeError(f"a buffer's array needs sizes, not {size!r} in {shape}")
    return shape  # type: ignore[return-value]


# --- the registry


def _cpu() -> Device:
    from .cpu import CpuDevice

    return CpuDevice()


def _interpret() -> Device:
    from .interpret import InterpretDevice

    return InterpretDevice()


def _opencl(name: str) -> Device:
    """opencl:1 itself; opencl is opencl:0, and opencl:0:1 (a platform and a device of it) the one that has that place among all."""
    from .opencl import OpenClDevice, canonical

    found = canonical(name)
    return OpenClDevice(name) if found == name else get(found)


def _cuda(name: str) -> Device:
    """cuda:1 itself; cuda is cuda:0."""
    from .cuda import CudaDevice

    return CudaDevice(name) if ":" in name else get(f"{name}:0")


FACTORIES: dict[str, Callable[[], Device]] = {"cpu": _cpu, "interpret": _interpret}
"""How each device is made, by name."""

INDEXED: dict[str, Callable[[str], Device]] = {"opencl": _opencl, "cuda": _cuda}
"""How each of several devices of a type is made: from a name such as opencl:1."""

DEVICES: dict[str, Device] = {}
"""The devices that have been made."""

_making = threading.RLock()


def register(name: str, factory: Callable[[], Device]) -> None:
    """Make the device `name` known; `factory` is called when it is first asked for."""
    FACTORIES[name] = factory


def get(name: str) -> Device:
    """The device of that name.

    Raises:
        RuntimeError: there is none; the message lists those that exist.
    """
    device = DEVICES.get(name)
    if device is None:
        with _making:
            device = DEVICES.get(name)
            if device is None:
                factory = FACTORIES.get(name) or _indexed(name)
                if factory is None:
                    raise RuntimeError(
                        f"Expected one of {', '.join((*FACTORIES, *INDEXED))} device type "
                        f"at start of device string: {name}"
                    )
                device = DEVICES[name] = factory()
    return device


def _indexed(name: str) -> Callable[[], Device] | None:
    factory = INDEXED.get(name.partition(":")[0])
    return None if factory is None else lambda: factory(name)


def default() -> Device:
    """The device that the DEVICE setting names."""
    from lazygrad import config

    return get(config.current.device)
