"""Hand-written kernels through the real pycuda: what the emulator's own tests share. They run where the emulator has been switched on."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

OFF = "not on the CUDA emulator: python -m tests.cuda_emulator pytest tests/cuda_emulator"


class Gpu:
    """The emulated device: kernels from text, arrays, and what the emulator reports."""

    def __init__(self) -> None:
        import pycuda.driver as cuda

        self.cuda = cuda
        self.library = ctypes.CDLL("libcuda.so.1")
        self.library.emulator_report.restype = ctypes.c_char_p
        self.library.emulator_set_memory.argtypes = [ctypes.c_int, ctypes.c_ulong]
        cuda.init()
        self.context = cuda.Device(0).retain_primary_context()

    def kernel(self, text: str) -> Any:
        """The kernel lg_it of a text."""
        from lazygrad.runtime.nvrtc import compiler

        image = compiler()(text, "sm_80", ("-std=c++17", "--fmad=false"))
        return self.cuda.module_from_buffer(image).get_function("lg_it")

    def array(self, values: Any, dtype: Any = np.float32) -> Any:
        """The values on the device."""
        values = np.ascontiguousarray(values, dtype)
        place = self.cuda.mem_alloc(values.nbytes)
        self.cuda.memcpy_htod(place, values)
        return place

    def read(self, place: Any, count: int, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
        result = np.empty(count, dtype)
        self.cuda.memcpy_dtoh(result, place)
        return result

    def report(self) -> str:
        return str(self.library.emulator_report().decode())

    def planted(self, launch: Callable[[], object]) -> str:
        """The error of a launch that must fail."""
        with pytest.raises(self.cuda.Error) as caught:
            launch()
        assert self.report() in str(caught.value)
        return str(caught.value)


@pytest.fixture
def gpu() -> Iterator[Gpu]:
    if "CUDA_EMULATOR" not in os.environ:
        pytest.skip(OFF)
    pytest.importorskip("pycuda")
    device = Gpu()
    device.context.push()
    yield device
    device.context.synchronize()
    device.context.pop()
