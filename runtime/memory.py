"""Buffers, and the pool that keeps their pages.

Writing into fresh pages costs five times as much as writing into pages the process already owns, so memory that a buffer
gives up waits here, by size class, for the next buffer of that class. In: sizes in bytes. Out: `Buffer`s, whose finaliser
brings their block back. Every mapping is kept alive by the blocks cut from it alone: when the last one is dropped, the
pages go back to the system.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from typing import Any, Protocol

import numpy as np

ALIGNMENT = 64
"""The least alignment of an address in bytes: a cache line, and the widest vector."""
SMALL = 1 << 15
"""Blocks up to this size are cut from shared mappings of CHUNK bytes."""
CHUNK = 1 << 20
TINY = 4096
"""Blocks up to this size are not counted: a tensor's Python objects weigh more. Their sizes are multiples of ALIGNMENT."""
HUGE_PAGE = 1 << 21
"""Blocks of this size and larger ones have a mapping each."""
SHARED = 4 * HUGE_PAGE
"""Blocks between these two are cut from shared mappings of so many bytes, in huge pages: those of a step are more small pages than
the processor keeps at hand."""

Block = tuple[int, Any]
"""A free block: its address, and what keeps its pages."""


class Buffer:
    """Memory of a device: `nbytes` bytes at `address`, kept alive by `owner`. Memory from outside has this very class."""

    __slots__ = ("__weakref__", "address", "device", "nbytes", "owner")

    def __init__(self, device: str, nbytes: int, address: int, owner: Any) -> None:
        self.device = device
        self.nbytes = nbytes
        self.address = address
        self.owner = owner

    @property
    def external(self) -> bool:
        """Whether someone else owns the memory and can see what is written to it."""
        return True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.nbytes} bytes @{self.device}>"


class PooledBuffer(Buffer):
    """Memory that goes back to where it came from when nothing refers to the buffer any more: here to `blocks`, as it is.

    Taking and giving are one list operation each, which no thread and no finaliser can interrupt: no lock is needed.
    """

    __slots__ = ("blocks",)

    def __init__(
        self, device: str, nbytes: int, address: int, owner: Any, blocks: list[Block]
    ) -> None:
        self.device = device
        self.nbytes = nbytes
        self.address = address
        self.owner = owner
        self.blocks = blocks

    @property
    def external(self) -> bool:
        return False

    def __del__(self) -> None:
        self.blocks.append((self.address, self.owner))


class Keeper(Protocol):
    """Who takes memory back."""

    def give(self, size: int, address: int, owner: Any) -> None: ...


class CountedBuffer(Buffer):
    """Memory that goes back to `pool`, which counts what it keeps, when nothing refers to the buffer any more."""

    __slots__ = ("pool", "size")

    def __init__(
        self, device: str, nbytes: int, address: int, owner: Any, pool: Keeper, size: int
    ) -> None:
        self.device = device
        self.nbytes = nbytes
        self.address = address
        self.owner = owner
        self.pool = pool
        self.size = size

    @property
    def external(self) -> bool:
        return False

    def __del__(self) -> None:
        self.pool.give(self.size, self.address, self.owner)


def size_class(nbytes: int) -> int:
    """The size of the block that holds `nbytes`: four classes to each power of two, so at most a fifth is wasted; tiny ones exactly."""
    if nbytes <= TINY:
        return (nbytes + ALIGNMENT - 1) & -ALIGNMENT or ALIGNMENT
    step = 1 << (nbytes - 1).bit_length() - 3
    return (nbytes + step - 1) & -step


class Pool:
    """Free blocks of host memory by size class. Threads may share it; a finaliser may run inside of any of its methods."""

    def __init__(self, limit: int | None = None) -> None:
        """`limit` bounds the bytes that wait unused, those of tiny blocks apart; by default an eighth of the machine's memory."""
        self.limit = memory_size() // 8 if limit is None else limit
        self._kept = 0  # without tiny blocks
        self._free: dict[int, list[Block]] = {}
        self._tiny: tuple[list[Block], ...] = tuple([] for _ in range(TINY // ALIGNMENT + 1))
        # the unused part of the last shared mapping of each length: start, end, owner
        self._unused: dict[int, tuple[int, int, Any]] = {}
        self._lock = threading.RLock()  # re-entrant: the collector may call `give` inside `take`
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._unlock)

    def _unlock(self) -> None:
        """In a forked child: a lock that another thread held would never be released."""
        self._lock = threading.RLock()

    @property
    def kept(self) -> int:
        """How many bytes wait unused."""
        return self._kept + sum(
            len(blocks) * (number or 1) * ALIGNMENT for number, blocks in enumerate(self._tiny)
        )

    def allocate(self, device: str, nbytes: int) -> Buffer:
        """A buffer of `nbytes` bytes with unspecified contents.

        Raises:
            RuntimeError: there is not enough memory; the message says how much was asked.
        """
        if nbytes <= TINY:
            blocks = self._tiny[(nbytes + ALIGNMENT - 1) // ALIGNMENT]
            try:
                address, owner = blocks.pop()
            except IndexError:
                size = (nbytes + ALIGNMENT - 1) & -ALIGNMENT or ALIGNMENT
                address, owner = self._fresh(size, nbytes)
            return PooledBuffer(device, nbytes, address, owner, blocks)
        size = size_class(nbytes)
        try:
            with self._lock:
                address, owner = self._free[size].pop()
                self._kept -= size
        except (KeyError, IndexError):
            address, owner = self._fresh(size, nbytes)
        return CountedBuffer(device, nbytes, address, owner, self, size)

    def give(self, size: int, address: int, owner: Any) -> None:
        """Take back a block that is not tiny."""
        with self._lock:
            blocks = self._free.get(size)
            if blocks is None:
                blocks = self._free[size] = []
            blocks.append((address, owner))
            self._kept += size
            if self._kept > self.limit:
                self._trim(self.limit // 2)

    def empty_cache(self) -> None:
        """Give every unused page back to the system."""
        with self._lock:
            self._trim(0)
            for tiny in self._tiny:
                tiny.clear()
            self._unused.clear()

    def _trim(self, target: int) -> None:
        """Drop free blocks, the largest first, until at most `target` bytes are kept."""
        for size in sorted(self._free, reverse=True):
            blocks = self._free[size]
            while blocks and self._kept > target:
                del blocks[0]
                self._kept -= size
            if self._kept <= target:
                return

    def _fresh(self, size: int, nbytes: int) -> tuple[int, Any]:
        if size >= HUGE_PAGE:
            return self._map(size, nbytes)
        length = CHUNK if size <= SMALL else SHARED
        with self._lock:
            start, end, owner = self._unused.get(length, (0, 0, None))
            if start + size > end:
                start, owner = self._map(length, nbytes)
                end = start + length
            self._unused[length] = (start + size, end, owner)
            return start, owner

    def _map(self, size: int, nbytes: int) -> tuple[int, Any]:
        """A new private mapping of `size` bytes: its address and what keeps it alive."""
        if size > memory_size():
            raise RuntimeError(_refusal(nbytes))
        huge = size >= HUGE_PAGE
        length = size + HUGE_PAGE if huge else (size + mmap.PAGESIZE - 1) & -mmap.PAGESIZE
        flags = (
            mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        )  # Python's default is shared with forked children
        try:
            mapping = mmap.mmap(-1, length, flags=flags)
        except (OSError, ValueError, OverflowError):
            self.empty_cache()
            try:
                mapping = mmap.mmap(-1, length, flags=flags)
            except (OSError, ValueError, OverflowError):
                raise RuntimeError(_refusal(nbytes)) from None
        owner = np.frombuffer(mapping, np.uint8)
        address = int(owner.__array_interface__["data"][0])
        if huge:
            start = -address % HUGE_PAGE
            if hasattr(mmap, "MADV_HUGEPAGE"):
                with contextlib.suppress(OSError):  # a kernel without huge pages: small ones do
                    # whole ones alone: what is left of the block would take another one for itself
                    whole = start + (size & -HUGE_PAGE)
                    mapping.madvise(mmap.MADV_HUGEPAGE, start, whole - start)
                    mapping.madvise(mmap.MADV_NOHUGEPAGE, whole)
            address += start
        return address, owner


def _refusal(nbytes: int) -> str:
    return f"DefaultCPUAllocator: can't allocate memory: you tried to allocate {nbytes} bytes"


def memory_size() -> int:
    """The bytes of memory that this process may use: the machine's, or its control group's limit."""
    global _memory_size
    if _memory_size == 0:
        try:
            size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (ValueError, OSError):
            size = 1 << 40  # a system that does not say; it refuses by itself
        for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
            try:
                with open(path) as file:
                    text = file.read().strip()
            except OSError:
                continue
            if text.isdigit():
                size = min(size, int(text))
        _memory_size = size
    return _memory_size


_memory_size = 0

HOST = Pool()


def trim_heap() -> None:
    """Give the pages of C's heap that nothing uses back to the system, where its allocator can (malloc_trim, of glibc)."""
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


"""The pool of host memory, which every device that computes on the host shares."""
