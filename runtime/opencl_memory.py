"""Memory of an OpenCL device: what its driver gives, takes back and refuses.

In: sizes in bytes. Out: the driver's buffers, which device_memory.py keeps.
"""

from __future__ import annotations

import mmap
from typing import Any

from .device_memory import DevicePool
from .memory import HUGE_PAGE


class OpenClPool(DevicePool):
    """Buffers of the context of one queue."""

    def __init__(self, device: str, queue: Any) -> None:
        super().__init__(device)
        self.queue = queue
        self.context = queue.context

    def take(self, size: int) -> Any:
        import pyopencl as cl

        try:
            buffer = cl.Buffer(self.context, cl.mem_flags.READ_WRITE, size)
            if size >= HUGE_PAGE and self.queue.device.type & cl.device_type.CPU:
                self._ask_for_huge_pages(buffer, size)
        except (cl.MemoryError, cl.LogicError, cl.RuntimeError):
            return None
        return buffer

    def _ask_for_huge_pages(self, buffer: Any, size: int) -> None:
        """Of a processor's buffer, which is host memory that nothing has been written to: reading small pages takes half as long again."""
        import pyopencl as cl

        if not hasattr(mmap, "MADV_HUGEPAGE"):
            return
        import ctypes

        import numpy as np

        flags = cl.map_flags.WRITE_INVALIDATE_REGION
        mapped, _ = cl.enqueue_map_buffer(
            self.queue, buffer, flags, 0, (size,), np.uint8, is_blocking=False
        )
        address = int(mapped.__array_interface__["data"][0])
        start = -address % HUGE_PAGE
        whole = (size - start) & -HUGE_PAGE
        if whole > 0:  # a kernel that has none says so, and small ones do
            advise = ctypes.CDLL(None).madvise
            advise(
                ctypes.c_void_p(address + start), ctypes.c_size_t(whole), int(mmap.MADV_HUGEPAGE)
            )
        mapped.base.release(self.queue)

    def release(self, owner: Any) -> None:
        owner.release()

    def refusal(self, nbytes: int) -> str:
        total = self.context.devices[0].global_mem_size
        most = self.context.devices[0].max_mem_alloc_size
        return (
            f"{self.device} out of memory. Tried to allocate {nbytes} bytes. The device has {total} bytes in all and gives "
            f"at most {most} at once; {self.allocated} bytes are allocated, {self.reserved - self.allocated} reserved but unused"
        )
