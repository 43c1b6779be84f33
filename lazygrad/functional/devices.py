"""Device objects, and which place a device means: `lg.device("cpu")`, set_default_device, `lg.cuda.is_available()`.

A place is a device's name in the IR ("cpu", "interpret"). In creation "cpu" means the device that DEVICE names, so that an
unmodified script runs there; `.to("cpu")` means the host.
"""

from __future__ import annotations

from types import SimpleNamespace
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


def device_of(value: Any) -> device:
    """A device given as itself or by name."""
    return value if isinstance(value, device) else device(value)


def place_of(found: device) -> str:
    """The place of a device that must exist.

    Raises:
        AssertionError: CUDA, which this machine does not have. RuntimeError: any other that does not exist.
    """
    if found.type == "cuda" and "cuda" not in runtime_device.FACTORIES:
        raise AssertionError("Torch not compiled with CUDA enabled")
    name = found.type if found.type in ("cpu", "interpret") else f"{found.type}:{found.index or 0}"
    return runtime_device.get(name).name


def default_place() -> str:
    """The place of new tensors."""
    return DEFAULTS.device or runtime_device.default().name


def creation_place(value: Any) -> str:
    """The place that `device=value` means in a creation call: "cpu" is the device that DEVICE names."""
    if value is None:
        return default_place()
    found = device_of(value)
    return runtime_device.default().name if found.type == "cpu" else place_of(found)


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


def _unavailable(*_: object, **__: object) -> None:
    raise AssertionError("Torch not compiled with CUDA enabled")


def _cuda() -> SimpleNamespace:
    """The namespace `cuda`, whose questions all answer that there is none."""
    return SimpleNamespace(
        is_available=lambda: "cuda" in runtime_device.FACTORIES,
        device_count=lambda: 0,
        current_device=_unavailable,
        get_device_name=_unavailable,
        synchronize=_unavailable,
        manual_seed=lambda seed: None,
        manual_seed_all=lambda seed: None,
        empty_cache=lambda: None,
        is_initialized=lambda: False,
    )


cuda = _cuda()
