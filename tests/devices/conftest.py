"""What tests of numbers on every device share: the device as a fixture, and that it alone computed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..conftest import LAUNCHED, alone


@pytest.fixture
def place(device: str) -> Iterator[str]:
    """The name of the device under test, which DEVICE names meanwhile; afterwards it, and no other, has launched kernels."""
    before = LAUNCHED[device]
    with alone(device) as name:
        yield name
    assert LAUNCHED[device] > before, f"no kernel of {name} was launched"
