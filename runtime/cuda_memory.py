"""Memory of a GPU and the way to it: the pool of what the driver gives, and copies through pinned memory of the host.

In: sizes in bytes, host arrays. Out: the driver's allocations, which device_memory.py keeps; copies in the order of the stream. An array of the host
is copied to a pinned block and from there, block after block, so that one is filled while another one is under way.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from .cuda_driver import Context, driver
from .device import Array
from .device_memory import DevicePool

BLOCK = 4 << 20
"""Bytes of a pinned block."""
BLOCKS = 2


class CudaPool(DevicePool):
    """Memory of one GPU."""

    def __init__(self, device: str, context: Context) -> None:
        super().__init__(device)
        self.context = context

    def address(self, owner: Any) -> int:
        return int(owner)

    def take(self, size: int) -> Any:
        cuda = driver()
        with self.context.entered():
            try:
                return cuda.mem_alloc(size)
            except cuda.MemoryError:
                return None

    def release(self, owner: Any) -> None:
        with self.context.entered():
            owner.free()

    def refusal(self, nbytes: int) -> str:
        with self.context.entered():
            free, total = driver().mem_get_info()
        number = self.device.partition(":")[2]
        return (
            f"CUDA out of memory. Tried to allocate {_size(nbytes)}. GPU {number} has a total capacity of {_size(total)} of which {_size(free)} is free. "
            f"Of the allocated memory {_size(self.allocated)} is allocated by lazygrad, and {_size(self.reserved - self.allocated)} is reserved by lazygrad but unallocated."
        )


def _size(nbytes: int) -> str:
    """A size as PyTorch writes it."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if nbytes >= unit:
            return f"{nbytes / unit:.2f} {name}"
    return f"{nbytes} bytes"


class Staging:
    """Pinned blocks that copies between the host and one GPU go through. One copy at a time."""

    def __init__(self, context: Context, stream: Any) -> None:
        self.context = context
        self.stream = stream
        self._lock = threading.Lock()
        self._blocks: list[Array] = []
        self._events: list[Any] = []

    def _open(self) -> None:
        if not self._blocks:
            cuda = driver()
            self._blocks = [cuda.pagelocked_empty(BLOCK, np.uint8) for _ in range(BLOCKS)]
            self._events = [cuda.Event(cuda.event_flags.DISABLE_TIMING) for _ in range(BLOCKS)]

    def to_device(self, array: Array, address: int) -> None:
        """Copy a contiguous array; it has been read when this returns."""
        cuda, source = driver(), array.reshape(-1).view(np.uint8)
        with self._lock, self.context.entered():
            self._open()
            for number, start in enumerate(range(0, source.size, BLOCK)):
                block, event = self._blocks[number % BLOCKS], self._events[number % BLOCKS]
                part = source[start : start + BLOCK]
                event.synchronize()  # what it last held has arrived
                block[: part.size] = part
                cuda.memcpy_htod_async(address + start, block[: part.size], self.stream)
                event.record(self.stream)

    def to_host(self, address: int, array: Array) -> None:
        """Copy to a contiguous array; it is complete when this returns."""
        cuda, target = driver(), array.reshape(-1).view(np.uint8)
        starts = range(0, target.size, BLOCK)
        with self._lock, self.context.entered():
            self._open()
            for number in range(len(starts) + BLOCKS - 1):
                if number < len(starts):  # a block ahead of the one that is read
                    at = number % BLOCKS
                    block = self._blocks[at][: min(BLOCK, target.size - starts[number])]
                    cuda.memcpy_dtoh_async(block, address + starts[number], self.stream)
                    self._events[at].record(self.stream)
                done = number - BLOCKS + 1
                if done >= 0:
                    self._events[done % BLOCKS].synchronize()
                    part = target[starts[done] : starts[done] + BLOCK]
                    part[:] = self._blocks[done % BLOCKS][: part.size]
