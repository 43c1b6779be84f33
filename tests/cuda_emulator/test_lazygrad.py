"""lazygrad's memory under the emulator: what a kernel does past the end of a tensor is seen when buffers have their exact sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

import lazygrad as lg
from lazygrad import config
from lazygrad.runtime import device as devices


def test_an_access_past_the_end_of_a_tensor(gpu: Any) -> None:
    kernel = gpu.kernel('extern "C" __global__ void lg_it(float *x) { x[threadIdx.x] += 1; }')
    device = devices.get("cuda")
    before = lg.cuda.memory_allocated()
    for pool in (True, False):
        with config.override(pool=pool):
            buffer = device.from_host(np.ones(5, np.float32))
        device.synchronize()  # type: ignore[attr-defined]
        place = np.uint64(buffer.address)
        kernel(place, grid=(1, 1), block=(5, 1, 1))
        if pool:  # a block of the pool is larger than what it holds
            kernel(place, grid=(1, 1), block=(6, 1, 1))
        else:
            report = gpu.planted(lambda place=place: kernel(place, grid=(1, 1), block=(6, 1, 1)))
            assert "0 bytes after the end of allocation" in report and "(20 bytes" in report
            assert lg.cuda.memory_allocated() == before + 20
        del buffer
        assert lg.cuda.memory_allocated() == before
