"""`lazygrad.cuda`: what can be asked of NVIDIA's GPUs, and the tensor classes of CUDA. Same as torch.cuda.

In: a device, by number, name or object; None is the current one. Out: whether there are any, their names, what memory they hold. `pip install "lazygrad[cuda]"` brings
pycuda and the compiler; the driver is the machine's.
"""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace, TracebackType
from typing import Any

from ..functional import devices as names
from ..functional.legacy import CUDA_CLASSES
from ..random import manual_seed as _manual_seed
from ..runtime import device as devices
from ..runtime import realize as _realize
from ..runtime.cuda_driver import device_count as _count
from ..runtime.cuda_driver import driver
from ..runtime.errors import OutOfMemoryError as OutOfMemoryError
from .streams import Event as Event
from .streams import Stream as Stream
from .streams import current_stream as current_stream
from .streams import default_stream as default_stream
from .streams import gpu as _device
from .streams import number_of as _number
from .streams import set_stream as set_stream
from .streams import stream as stream


def is_available() -> bool:
    """Whether there is a GPU, its driver, and pycuda."""
    return _count() > 0


def device_count() -> int:
    """How many GPUs there are; 0 without pycuda or a driver."""
    return _count()


def is_initialized() -> bool:
    """Whether a GPU has been used."""
    return any("context" in vars(found) for found in _made())


def init() -> None:
    """Open the driver.

    Raises:
        AssertionError: there is no pycuda. RuntimeError: there is no driver or no GPU.
    """
    driver()


def current_device() -> int:
    """The number of the GPU that "cuda" means."""
    driver()
    return names.CURRENT_CUDA.index


def set_device(device: Any) -> None:
    """Choose the GPU that "cuda" means.

    Raises:
        RuntimeError: there is no such GPU.
    """
    number = _number(device)
    if number >= 0:
        _ = _device(number).handle
        names.CURRENT_CUDA.index = number


class device:
    """A block in which "cuda" means another GPU: `with lg.cuda.device(1):`. A negative number changes nothing."""

    def __init__(self, device: Any) -> None:
        self.index = _number(device)
        self.before = -1

    def __enter__(self) -> device:
        self.before = names.CURRENT_CUDA.index
        set_device(self.index)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        names.CURRENT_CUDA.index = self.before


def get_device_name(device: Any = None) -> str:
    """What the driver calls a GPU."""
    return str(_device(device).handle.name())


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability of a GPU."""
    major, minor = _device(device).handle.compute_capability()
    return int(major), int(minor)


def synchronize(device: Any = None) -> None:
    """Wait for everything that a GPU has been asked for; pending writes are submitted before."""
    _realize.submit("a GPU is waited for")
    _device(device).synchronize()


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """The free and the whole memory of a GPU, in bytes, as its driver sees it."""
    with _device(device).context.entered():
        free, total = driver().mem_get_info()
    return int(free), int(total)


def memory_allocated(device: Any = None) -> int:
    """The bytes that tensors hold on a GPU."""
    return _asked(device, "allocated")


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors have held on a GPU, since the start or `reset_peak_memory_stats`."""
    return _asked(device, "peak")


def memory_reserved(device: Any = None) -> int:
    """The bytes that a GPU's driver has given: those that tensors hold, and those that wait for the next ones."""
    return _asked(device, "reserved")


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes that a GPU's driver has given, since the start or `reset_peak_memory_stats`."""
    return _asked(device, "most_reserved")


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Whether a GPU reaches the memory of another one without the host.

    Raises:
        AssertionError: there is no such GPU.
    """
    numbers = _number(device), _number(peer_device)
    for number in numbers:
        if not 0 <= number < _count():
            raise AssertionError(
                "Invalid device id" if number == numbers[0] else "Invalid peer device id"
            )
    left, right = (_device(number).handle for number in numbers)
    return bool(left.can_access_peer(right))


def get_device_properties(device: Any = None) -> Any:
    """The name, memory, multiprocessors and compute capability of a GPU, as attributes."""
    found = _device(device)
    major, minor = get_device_capability(device)
    attribute = driver().device_attribute.MULTIPROCESSOR_COUNT
    return SimpleNamespace(
        name=get_device_name(device),
        major=major,
        minor=minor,
        total_memory=int(found.handle.total_memory()),
        multi_processor_count=int(found.handle.get_attribute(attribute)),
    )


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the current GPU computes with bfloat16: every one that there is support for does."""
    return including_emulation or get_device_capability() >= (8, 0)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Begin anew to look for the most bytes."""
    pool = _device(device).pool
    pool.peak, pool.most_reserved = pool.allocated, pool.reserved


def empty_cache() -> None:
    """Give the unused memory of every GPU back to its driver."""
    for found in _made():
        if "pool" in vars(found):
            found.pool.empty_cache()


def manual_seed(seed: int) -> None:
    """Seed the random numbers: those of all devices come from one generator."""
    _manual_seed(seed)


manual_seed_all = manual_seed


def _made() -> list[Any]:
    """The GPUs that have been named."""
    return [found for name, found in list(devices.DEVICES.items()) if name.startswith("cuda:")]


def _asked(device: Any, what: str) -> int:
    """A number of a GPU's pool; 0 before anything is allocated there."""
    found = _device(device)
    return int(getattr(found.pool, what)) if "pool" in vars(found) else 0


def __getattr__(name: str) -> Any:
    if name == "amp":
        return import_module(f"{__name__}.amp")
    if name in CUDA_CLASSES:
        return CUDA_CLASSES[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
