"""Memory of devices that the host cannot see: buffers, and the pool in which those that are given up wait for the next of their size.

In: sizes in bytes, and a driver that gives memory (a subclass of `DevicePool`). Out: `Buffer`s whose owner is what the driver gave. The queue of such a device runs in
order, so a buffer that a kernel still reads may be given to the next one: that runs after it.
"""

from __future__ import annotations

import itertools
import threading
from abc import ABC, abstractmethod
from typing import Any

from lazygrad import config

from .errors import OutOfMemoryError
from .memory import Buffer, CountedBuffer, size_class

PAGE = 4096


class DevicePool(ABC):
    """Buffers of one device by size class. Threads may share it; a finaliser may run inside of any of its methods."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.allocated = 0
        """Bytes that tensors and plans hold now."""
        self.peak = 0
        """The most they have held."""
        self.reserved = 0
        """Bytes that the driver has given: those, and what waits unused."""
        self.most_reserved = 0
        """The most it has given."""
        self._free: dict[int, list[Any]] = {}
        self._addresses = itertools.count(1)
        self._lock = threading.RLock()
        self._driver = Driver(self)

    def allocate(self, nbytes: int) -> Buffer:
        """A buffer of unspecified contents.

        Raises:
            OutOfMemoryError: not even with everything unused given back; the message has the sizes.
        """
        kept = config.current.pool
        size = size_class(nbytes) if kept else max(nbytes, 1)
        with self._lock:
            waiting = self._free.get(size) if kept else None
            owner = waiting.pop() if waiting else self._fresh(size, nbytes)
            self.allocated += size
            self.peak = max(self.peak, self.allocated)
            address = self.address(owner)
        keeper = self if kept else self._driver
        return CountedBuffer(self.device, nbytes, address, owner, keeper, size)

    def give(self, size: int, address: int, owner: Any) -> None:
        """Take back a buffer's memory."""
        with self._lock:
            self.allocated -= size
            self._free.setdefault(size, []).append(owner)

    def empty_cache(self) -> None:
        """Give everything unused back to the driver."""
        with self._lock:
            for size, waiting in self._free.items():
                for owner in waiting:
                    self.release(owner)
                    self.reserved -= size
            self._free.clear()

    def _fresh(self, size: int, nbytes: int) -> Any:
        owner = self.take(size)
        if owner is None:
            self.empty_cache()
            owner = self.take(size)
        if owner is None:
            raise OutOfMemoryError(self.refusal(nbytes))
        self.reserved += size
        self.most_reserved = max(self.most_reserved, self.reserved)
        return owner

    def address(self, owner: Any) -> int:
        """The address of memory: a number that no other has, where the driver does not say."""
        return next(self._addresses) * PAGE

    @abstractmethod
    def take(self, size: int) -> Any:
        """Memory from the driver; None where it has not so much."""

    @abstractmethod
    def release(self, owner: Any) -> None:
        """Give memory back to the driver."""

    @abstractmethod
    def refusal(self, nbytes: int) -> str:
        """What is said where the driver has not so much."""


class Driver:
    """Where memory goes back to that is not kept: buffers of exactly their sizes."""

    def __init__(self, pool: DevicePool) -> None:
        self.pool = pool

    def give(self, size: int, address: int, owner: Any) -> None:
        """Give a buffer's memory back to the driver."""
        pool = self.pool
        with pool._lock:
            pool.allocated -= size
            pool.reserved -= size
            pool.release(owner)
