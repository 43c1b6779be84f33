"""What the tests of the contract share: programs in a process of their own, and counts of what the CPU has done."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lazygrad import config
from lazygrad.runtime import device, realize
from lazygrad.runtime.compile import KERNELS
from lazygrad.runtime.steady import STEADY

ROOT = Path(__file__).resolve().parents[2]

Child = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def child(tmp_path: Path) -> Child:
    """child(program, VARIABLE=value): run it as program.py in a fresh process, whose output is text."""

    def run(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "program.py"
        path.write_text(program)
        kept = {
            name: value
            for name, value in os.environ.items()
            if name == "LAZYGRAD_CACHE_DIR" or not name.startswith(("DEVICE", "LAZYGRAD_"))
        }
        named = {} if config.current.device == "cpu" else {"DEVICE": config.current.device}
        environment = {**kept, "PYTHONPATH": str(ROOT), **named, **variables}
        command = [sys.executable, str(path)]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
        )

    return run


class Counts:
    """What has happened on a device since this was made: launches, plans compiled, kernels built."""

    def __init__(self, name: str = "") -> None:
        self.device = device.get(name) if name else device.default()
        STEADY.done()  # what tests before have left pending is not computed along
        self._before = self._now()

    def _now(self) -> tuple[int, int, int]:
        return self.device.launches, realize.PLANS.compiled, KERNELS.built

    def since(self) -> tuple[int, int, int]:
        """(launches, plans compiled, kernels built)."""
        now, before = self._now(), self._before
        return now[0] - before[0], now[1] - before[1], now[2] - before[2]


@pytest.fixture
def counts() -> Callable[..., Counts]:
    """counts(): begin to count what the device that DEVICE names does."""
    return Counts


@pytest.fixture(params=["cpu", "interpret"])
def on(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each of the two devices in turn."""
    with config.override(device=request.param):
        yield config.current.device
