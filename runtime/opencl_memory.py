"""Memory of an OpenCL device: buffers, and the pool in which those that are given up wait for the next of their size.

In: sizes in bytes. Out: `Buffer`s whose owner is the driver's buffer. The queue runs in order, so a buffer that a kernel still reads may
be given to the next one: that runs after it.
"""

from __future__ import annotations

import itertools
import threading
from typing import Any

from .memory import Buffer, size_class

PAGE = 4096


class OpenClBuffer(Buffer):
    """Memory that goes back to its pool when nothing refers to the buffer any more. Its address is a number that no other has."""

    __slots__ = ("pool", "size")

    def __init__(
        self, device: str, nbytes: int, address: int, owner: Any, pool: OpenClPool, size: int
    ) -> None:
        super().__init__(device, nbytes, address, owner)
        self.pool = pool
        self.size = size

    @property
    def external(self) -> bool:
        return False

    def __del__(self) -> None:
        self.pool.give(self.size, self.owner)


class OpenClPool:
    """Buffers of one context by size class. Threads may share it; a finaliser may run inside of any of its methods."""

    def __init__(self, device: str, context: Any) -> None:
        self.device = device
        self.context = context
        self.allocated = 0
        """Bytes that tensors and plans hold now."""
        self.peak = 0
        """The most they have held."""
        self.reserved = 0
        """Bytes that the driver has given: those, and what waits unused."""
        self._free: dict[int, list[Any]] = {}
        self._addresses = itertools.count(1)
        self._lock = threading.RLock()

    def allocate(self, nbytes: int) -> Buffer:
        """A buffer of unspecified contents.

        Raises:
            OutOfMemoryError: not even with everything unused given back; the message has the sizes.
        """
        size = size_class(nbytes)
        with self._lock:
            waiting = self._free.get(size)
            owner = waiting.pop() if waiting else self._fresh(size, nbytes)
            self.allocated += size
            self.peak = max(self.peak, self.allocated)
            address = next(self._addresses) * PAGE
        return OpenClBuffer(self.device, nbytes, address, owner, self, size)

    def give(self, size: int, owner: Any) -> None:
        """Take back a buffer's memory."""
        with self._lock:
            self.allocated -= size
            self._free.setdefault(size, []).append(owner)

    def empty_cache(self) -> None:
        """Give everything unused back to the driver."""
        with self._lock:
            for size, waiting in self._free.items():
                for owner in waiting:
                    owner.release()
                    self.reserved -= size
            self._free.clear()

    def _fresh(self, size: int, nbytes: int) -> Any:
        import pyopencl as cl

        for attempt in ("", "again"):
            try:
                owner = cl.Buffer(self.context, cl.mem_flags.READ_WRITE, size)
            except (cl.MemoryError, cl.LogicError, cl.RuntimeError):
                if attempt:
                    raise self.refusal(nbytes) from None
                self.empty_cache()
            else:
                self.reserved += size
                return owner
        raise AssertionError("unreachable")

    def refusal(self, nbytes: int) -> Exception:
        """The error of an allocation that the driver has refused."""
        from .errors import OutOfMemoryError

        total = self.context.devices[0].global_mem_size
        most = self.context.devices[0].max_mem_alloc_size
        return OutOfMemoryError(
            f"{self.device} out of memory. Tried to allocate {nbytes} bytes. The device has {total} bytes in all and gives "
            f"at most {most} at once; {self.allocated} bytes are allocated, {self.reserved - self.allocated} reserved but unused"
        )
