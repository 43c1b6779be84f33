"""NVIDIA's driver through pycuda: what has to be there, which GPUs there are, and a GPU's context while something is done in it.

In: nothing, or the number of a GPU. Out: pycuda's module, GPUs, contexts; or an error that says what is missing. pycuda is imported when something of a GPU is first
asked for. A GPU is used through its primary context, which other libraries of the process share.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

NO_PYCUDA = 'Torch not compiled with CUDA enabled: CUDA needs the package pycuda, which is built against a CUDA toolkit: pip install "lazygrad[cuda]"'
NO_DRIVER = (
    "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver from "
    "http://www.nvidia.com/Download/index.aspx"
)
FORKED = (
    "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the "
    "'spawn' start method"
)
_PROCESS: list[int] = []
"""The process in which the driver was first used."""


def check_process() -> None:
    """
    Raises:
        RuntimeError: this is a forked child of the process that first used the driver.
    """
    if _PROCESS and _PROCESS[0] != os.getpid():
        raise RuntimeError(FORKED)


@cache
def _loaded() -> Any:
    try:
        import pycuda.driver
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pycuda":
            raise
        raise AssertionError(NO_PYCUDA) from error
    except ImportError as error:
        raise RuntimeError(f"{NO_DRIVER} ({error})") from error
    try:
        pycuda.driver.init()
    except pycuda.driver.Error as error:
        reason = "No CUDA GPUs are available" if "no device" in str(error) else NO_DRIVER
        raise RuntimeError(f"{reason} ({error})") from error
    _PROCESS.append(os.getpid())
    return pycuda.driver


def driver() -> Any:
    """The module pycuda.driver, initialised.

    Raises:
        AssertionError: there is no pycuda. RuntimeError: there is no driver or no GPU, or this is a forked child. Each says what to do.
    """
    check_process()
    return _loaded()


def device_count() -> int:
    """How many GPUs there are; 0 where there is no pycuda or no driver."""
    try:
        return int(driver().Device.count())
    except (AssertionError, RuntimeError):
        return 0


class Context:
    """The primary context of a GPU. Threads may enter it at once; entering it again inside costs nothing."""

    def __init__(self, gpu: Any) -> None:
        self.handle = gpu.retain_primary_context()
        self._entered = threading.local()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """What is done inside is done on this GPU."""
        depth = getattr(self._entered, "depth", 0)
        if not depth:
            self.handle.push()
        self._entered.depth = depth + 1
        try:
            yield
        finally:
            self._entered.depth = depth
            if not depth:
                self.handle.pop()
