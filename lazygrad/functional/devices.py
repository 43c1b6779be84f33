"""Device objects, and which place a device means: `lg.device("cpu")`, set_default_device.

A place is a device's name in the IR ("cpu", "interpret"). In creation "cpu" means the device that DEVICE names, so that an
unmodified script runs there; `.to("cpu")` means the host.
"""

from __future__ import annotations

from typing import Any

from ..runtime import device as runtime_device
from .settings import DEFAULTS

KNOWN = ("cpu", "cuda", "opencl", "interpret")


class device:
    """A device: its type and, where there can be several, its index.

    Raises:
        RuntimeError: no device type has this name.
    """

    __slots__ = ("type", "index")

    def __init__(self, type: Any, index: int | None = None) -> None:
        if isinstance(type, device):
            self.type: str = type.type
            self.index: int | None = type.index
            return
        if not isinstance(type, str):
            raise TypeError(
                f"device(): argument 'type' (position 1) must be str, not {type.__class__.__name__}"
            )
        name, _, number = type.partition(":")
        if name not in KNOWN:
            raise RuntimeError(
                f"Expected one of {', '.join(KNOWN)} device type at start of device string: {type}"
            )
        if name == "opencl" and ":" in number:  # a platform and a device of it
            number = runtime_device.get(type).name.partition(":")[2]
        if number and not number.isdigit():
            raise RuntimeError(f"Invalid device string: '{type}'")
        self.type = name
        self.index = int(number) if number else index

    def __repr__(self) -> str:
        tail = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{tail})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> Any:
        return device, (str(self),)

    def __enter__(self) -> device:
        _SAVED.append(DEFAULTS.device)
        DEFAULTS.device = creation_place(self)
        return self

    def __exit__(self, *_: object) -> None:
        DEFAULTS.device = _SAVED.pop()


_SAVED: list[str | None] = []
"""The default devices that entered `with device(...)` blocks hide."""


class _Current:
    """Which GPU a name without a number means."""

    index = 0


CURRENT_CUDA = _Current()


def device_of(value: Any) -> device:
    """A device given as itself or by name."""
    return value if isinstance(value, device) else device(value)


def place_of(found: device) -> str:
    """The place of a device that must exist.

    Raises:
        AssertionError: CUDA, without pycuda. RuntimeError: any device that does not exist.
    """
    if found.type in ("cpu", "interpret"):
        return runtime_device.get(found.type).name
    if found.type != "cuda":
        return runtime_device.get(f"{found.type}:{found.index or 0}").name
    index = CURRENT_CUDA.index if found.index is None else found.index
    chosen: Any = runtime_device.get(f"cuda:{index}")
    _ = chosen.handle  # the error of a GPU that is not there
    return str(chosen.name)


def default_place() -> str:
    """The place of new tensors."""
    return DEFAULTS.device or runtime_device.default().name


def creation_place(value: Any) -> str:
    """The place that `device=value` means in a creation call: "cpu" is the device that DEVICE names."""
    if value is None:
        return default_place()
    found = device_of(value)
    return runtime_device.default().name if found.type == "cpu" else place_of(found)


def place_like(place: str, device: Any) -> str:
    """The place of what is made like a tensor that is at `place`, unless another device is named."""
    return place if device is None else creation_place(device)


def set_default_device(device: Any) -> None:
    """Set where creation functions make tensors. None and "cpu" mean the device that DEVICE names.

    Raises:
        RuntimeError: no device type has this name.

    Same as torch.set_default_device.
    """
    DEFAULTS.device = None if device is None else creation_place(device)


def get_default_device() -> device:
    """The device of new tensors. Same as torch.get_default_device."""
    return device(default_place())
