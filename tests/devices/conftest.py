"""What tests of numbers on every device share: the device as a fixture, and that it alone computed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lazygrad import config
from lazygrad.runtime import device as devices


def launches() -> dict[str, int]:
    """How many kernels each device has launched so far."""
    return {device.name: device.launches for device in devices.DEVICES.values()}


@pytest.fixture
def place(device: str) -> Iterator[str]:
    """The name of the device under test, which DEVICE names meanwhile; afterwards it, and no other, has launched kernels."""
    chosen = devices.get(device)
    before = launches()
    with config.override(device=device):
        yield chosen.name
    counted = {name: count - before.get(name, 0) for name, count in launches().items()}
    assert counted[chosen.name] > 0, f"no kernel of {chosen.name} was launched"
    others = {name: count for name, count in counted.items() if count and name != chosen.name}
    assert not others, f"kernels of other devices were launched: {others}"
