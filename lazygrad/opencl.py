"""`lazygrad.opencl`: what can be asked of OpenCL devices; the names are those of torch.cuda.

In: a device, by number, name or object; None is the first. Out: whether there are any, their names, and what memory they hold. PyTorch has no
such module; `pip install "lazygrad[opencl]"` brings a driver for the processor.
"""

from __future__ import annotations

from typing import Any

from .functional.devices import device_of
from .runtime import device as devices
from .runtime import realize


def _device(device: Any) -> Any:
    if isinstance(device, int):
        return devices.get(f"opencl:{device}")
    name = "opencl:0" if device is None else str(device_of(device))
    return devices.get(name)


def device_count() -> int:
    """How many devices there are, over all platforms; 0 without pyopencl or a driver."""
    from .runtime.opencl import platforms

    try:
        return sum(len(found) for found in platforms())
    except RuntimeError:
        return 0


def is_available() -> bool:
    """Whether there is a device."""
    return device_count() > 0


def get_device_name(device: Any = None) -> str:
    """What the driver calls a device.

    Raises:
        RuntimeError: there is none; the message says what to install.
    """
    return str(_device(device).handle.name.strip())


def synchronize(device: Any = None) -> None:
    """Wait for everything that a device has been asked for; pending writes are submitted before."""
    realize.submit("a device is waited for")
    _device(device).synchronize()


def memory_allocated(device: Any = None) -> int:
    """The bytes that tensors hold on a device."""
    return int(_device(device).pool.allocated)


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors have held on a device, since the start or `reset_peak_memory_stats`."""
    return int(_device(device).pool.peak)


def memory_reserved(device: Any = None) -> int:
    """The bytes that a device's driver has given: those that tensors hold, and those that wait for the next ones."""
    return int(_device(device).pool.reserved)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Begin anew to look for the most bytes."""
    pool = _device(device).pool
    pool.peak = pool.allocated


def empty_cache() -> None:
    """Give the unused memory of every OpenCL device back to its driver."""
    for name, device in list(devices.DEVICES.items()):
        if name.startswith("opencl:") and "pool" in vars(device):  # something has been allocated
            device.pool.empty_cache()  # type: ignore[attr-defined]
