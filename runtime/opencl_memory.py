"""Memory of an OpenCL device: what its driver gives, takes back and refuses.

In: sizes in bytes. Out: the driver's buffers, which device_memory.py keeps.
"""

from __future__ import annotations

from typing import Any

from .device_memory import DevicePool


class OpenClPool(DevicePool):
    """Buffers of one context."""

    def __init__(self, device: str, context: Any) -> None:
        super().__init__(device)
        self.context = context

    def take(self, size: int) -> Any:
        import pyopencl as cl

        try:
            return cl.Buffer(self.context, cl.mem_flags.READ_WRITE, size)
        except (cl.MemoryError, cl.LogicError, cl.RuntimeError):
            return None

    def release(self, owner: Any) -> None:
        owner.release()

    def refusal(self, nbytes: int) -> str:
        total = self.context.devices[0].global_mem_size
        most = self.context.devices[0].max_mem_alloc_size
        return (
            f"{self.device} out of memory. Tried to allocate {nbytes} bytes. The device has {total} bytes in all and gives "
            f"at most {most} at once; {self.allocated} bytes are allocated, {self.reserved - self.allocated} reserved but unused"
        )
