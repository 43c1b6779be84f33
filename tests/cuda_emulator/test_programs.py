"""Correct programs on the emulator: their results are right, and nothing is reported."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

GENERATOR = np.random.default_rng(0)


def test_threads_beyond_the_end_do_nothing(gpu: Any) -> None:
    kernel = gpu.kernel("""
        extern "C" __global__ void __launch_bounds__(128) lg_it(float *z, const float *__restrict__ x, float factor, long long n) {
          const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
          if (i < n) z[i] = fmaf(factor, x[i], 1.0f);
        }""")
    x = GENERATOR.standard_normal(1000, np.float32)
    z = gpu.array(np.zeros(1000))
    kernel(z, gpu.array(x), np.float32(0.5), np.int64(1000), grid=(8, 1), block=(128, 1, 1))
    assert np.array_equal(gpu.read(z, 1000), x / 2 + 1)


def test_a_tree_in_shared_memory_and_a_warp_by_shuffles(gpu: Any) -> None:
    kernel = gpu.kernel("""
        extern "C" __global__ void lg_it(int *z, const int *x, int n) {
          __shared__ int tile[256];
          int total = 0;
          for (int i = threadIdx.x; i < n; i += blockDim.x) total += x[i];
          tile[threadIdx.x] = total;
          __syncthreads();
          for (int step = blockDim.x / 2; step >= 32; step /= 2) {
            if (threadIdx.x < step) tile[threadIdx.x] += tile[threadIdx.x + step];
            __syncthreads();
          }
          if (threadIdx.x >= 32) return;
          int value = tile[threadIdx.x];
          for (int apart = 16; apart; apart /= 2) value += __shfl_xor_sync(0xffffffffu, value, apart);
          if (threadIdx.x == 0) *z = value;
        }""")
    x = GENERATOR.integers(-1000, 1000, 5000, np.int32)
    z = gpu.array([0], np.int32)
    kernel(z, gpu.array(x, np.int32), np.int32(5000), grid=(1, 1), block=(256, 1, 1))
    assert gpu.read(z, 1, np.int32)[0] == x.sum()


def test_lanes_exchange_and_vote(gpu: Any) -> None:
    kernel = gpu.kernel("""
        extern "C" __global__ void lg_it(double *z) {
          const int lane = threadIdx.x;
          const double value = lane * 1.5;
          double *mine = z + 8 * lane;
          mine[0] = __shfl_sync(0xffffffffu, value, 3);
          mine[1] = __shfl_up_sync(0xffffffffu, value, 2);
          mine[2] = __shfl_down_sync(0xffffffffu, value, 5, 16);
          mine[3] = __shfl_xor_sync(0xffffffffu, value, 1);
          mine[4] = __ballot_sync(0xffffffffu, lane % 3 == 0);
          mine[5] = __any_sync(0xffffffffu, lane == 40) + 2 * __all_sync(0xffffffffu, lane < 32);
          mine[6] = lane < 8 ? __reduce_add_sync(0xffu, lane) : -1;
          mine[7] = __popc(__ballot_sync(0xffffffffu, 1));
        }""")
    z = gpu.array(np.zeros(256), np.float64)
    kernel(z, grid=(1, 1), block=(32, 1, 1))
    lane = np.arange(32)
    up, down = np.where(lane < 2, lane, lane - 2), np.where(lane % 16 < 11, lane + 5, lane)
    votes = float(sum(1 << i for i in range(0, 32, 3)))
    expected = [
        *(1.5 * np.array([0 * lane + 3, up, down, lane ^ 1])),
        0 * lane + votes,
        0 * lane + 2,
    ]
    expected += [np.where(lane < 8, 28, -1), 0 * lane + 32]
    assert np.array_equal(gpu.read(z, 256, np.float64).reshape(32, 8).T, np.array(expected))


def test_atomics_of_all_threads(gpu: Any) -> None:
    kernel = gpu.kernel("""
        extern "C" __global__ void lg_it(int *bins, float *total, unsigned long long *largest, const int *x) {
          __shared__ int mine[4];
          if (threadIdx.x < 4) mine[threadIdx.x] = 0;
          __syncthreads();
          const int value = x[blockIdx.x * blockDim.x + threadIdx.x];
          atomicAdd(&mine[value], 1);
          atomicAdd(total, 0.5f * value);
          atomicMax(largest, (unsigned long long)value << 40);
          __syncthreads();
          if (threadIdx.x < 4) atomicAdd(bins + threadIdx.x, mine[threadIdx.x]);
        }""")
    x = GENERATOR.integers(0, 4, 512, np.int32)
    bins, total, largest = (
        gpu.array(np.zeros(4), np.int32),
        gpu.array([0]),
        gpu.array([0], np.uint64),
    )
    kernel(bins, total, largest, gpu.array(x, np.int32), grid=(4, 1), block=(128, 1, 1))
    assert np.array_equal(gpu.read(bins, 4, np.int32), np.bincount(x, minlength=4))
    assert gpu.read(total, 1)[0] == x.sum() / 2
    assert gpu.read(largest, 1, np.uint64)[0] == 3 << 40


def test_half_types_and_vectors(gpu: Any) -> None:
    kernel = gpu.kernel("""
        #include <cuda_fp16.h>
        #include <cuda_bf16.h>
        extern "C" __global__ void lg_it(__half *h, __nv_bfloat16 *b, const float *x) {
          const float4 four = *reinterpret_cast<const float4 *>(x + 4 * threadIdx.x);
          h[threadIdx.x] = __float2half(four.x * four.y) + __float2half(1.0f);
          b[threadIdx.x] = __float2bfloat16(four.z + four.w);
        }""")
    x = GENERATOR.standard_normal((32, 4), np.float32)
    h, b = gpu.array(np.zeros(32), np.float16), gpu.array(np.zeros(32), np.uint16)
    kernel(h, b, gpu.array(x), grid=(1, 1), block=(32, 1, 1))
    products = (x[:, 0] * x[:, 1]).astype(np.float16) + np.float16(1)
    assert np.array_equal(gpu.read(h, 32, np.float16), products)
    rounded = gpu.read(b, 32, np.uint16).astype(np.uint32) << 16
    assert np.allclose(rounded.view(np.float32), x[:, 2] + x[:, 3], rtol=2**-8)


def test_the_last_block_may_read_what_the_others_wrote(gpu: Any) -> None:
    kernel = gpu.kernel("""
        extern "C" __global__ void lg_it(int *parts, unsigned *count, int *sum) {
          __shared__ bool last;
          if (threadIdx.x == 0) {
            parts[blockIdx.x] = blockIdx.x + 1;
            __threadfence();
            last = atomicInc(count, gridDim.x) == gridDim.x - 1;
          }
          __syncthreads();
          if (last && threadIdx.x == 0)
            for (int i = 0; i < gridDim.x; ++i) *sum += parts[i];
        }""")
    total = gpu.array([0], np.int32)
    kernel(
        gpu.array(np.zeros(9), np.int32),
        gpu.array([0], np.uint32),
        total,
        grid=(9, 1),
        block=(32, 1, 1),
    )
    assert gpu.read(total, 1, np.int32)[0] == 45


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_matrices_of_a_warp(gpu: Any, kind: str) -> None:
    kernel = gpu.kernel(f"""
        extern "C" __global__ void lg_it(float *z, const unsigned short *x, const unsigned short *y) {{
          __shared__ __align__(16) unsigned short left[16 * 16], right[16 * 8];
          lg_cp_async_16(left + 8 * threadIdx.x, x + 8 * threadIdx.x);
          if (threadIdx.x < 16) lg_cp_async_16(right + 8 * threadIdx.x, y + 8 * threadIdx.x);
          lg_cp_async_commit();
          lg_cp_async_wait<0>();
          __syncthreads();
          unsigned a[4], b[2];
          float d[4] = {{1, 1, 1, 1}};
          lg_ldmatrix_x4(a, left + threadIdx.x % 16 * 16 + threadIdx.x / 16 * 8);
          lg_ldmatrix_x2_trans(b, right + threadIdx.x % 16 * 8);
          lg_mma_m16n8k16_{kind}(d, a, b);
          for (int i = 0; i < 4; ++i) z[(threadIdx.x / 4 + i / 2 * 8) * 8 + threadIdx.x % 4 * 2 + i % 2] = d[i];
        }}""")
    x, y = (GENERATOR.integers(-8, 8, shape).astype(np.float32) for shape in ((16, 16), (16, 8)))

    def bits(values: Any) -> Any:
        half = values.astype(np.float16).view(np.uint16)
        return half if kind == "f16" else (values.view(np.uint32) >> 16).astype(np.uint16)

    z = gpu.array(np.zeros(128))
    kernel(
        z,
        gpu.array(bits(x), np.uint16),
        gpu.array(bits(y), np.uint16),
        grid=(1, 1),
        block=(32, 1, 1),
    )
    assert np.array_equal(gpu.read(z, 128).reshape(16, 8), x @ y + 1)


def test_streams_wait_for_events_and_pinned_memory_arrives_late(gpu: Any) -> None:
    cuda = gpu.cuda
    double = gpu.kernel('extern "C" __global__ void lg_it(int *x) { x[threadIdx.x] *= 2; }')
    first, second = cuda.Stream(1), cuda.Stream(1)
    begun, done = cuda.Event(), cuda.Event()
    pinned = cuda.pagelocked_empty(32, np.int32)
    pinned[:] = -1
    x = gpu.array(np.arange(32), np.int32)
    gpu.library.emulator_set_deferred(1)
    try:
        begun.record(first)
        double(x, grid=(1, 1), block=(32, 1, 1), stream=first)
        done.record(first)
        second.wait_for_event(done)
        cuda.memcpy_dtoh_async(pinned, x, second)
        assert not done.query() or not second.is_done()
        assert (pinned == -1).all(), "it was copied before anything waited for it"
        second.synchronize()
    finally:
        gpu.library.emulator_set_deferred(0)
    assert np.array_equal(pinned, 2 * np.arange(32))
    assert done.time_since(begun) > 0


def test_a_limit_of_memory(gpu: Any) -> None:
    cuda = gpu.cuda
    _, total = cuda.mem_get_info()
    gpu.library.emulator_set_memory(0, 1 << 20)
    try:
        held = cuda.mem_alloc(700_000)
        with pytest.raises(cuda.MemoryError):
            cuda.mem_alloc(700_000)
        held.free()
        cuda.mem_alloc(700_000).free()
    finally:
        gpu.library.emulator_set_memory(0, total)


def test_a_text_that_is_wrong(gpu: Any) -> None:
    with pytest.raises(RuntimeError, match="nowhere"):
        gpu.kernel('extern "C" __global__ void lg_it(float *z) { z[0] = nowhere; }')


TWO = """
import numpy as np, pycuda.driver as cuda
from tests.cuda_emulator.conftest import Gpu
gpu = Gpu()
contexts = [gpu.context, cuda.Device(1).retain_primary_context()]
places = []
for context in contexts:
    context.push()
    places.append(gpu.array(np.full(8, len(places), np.float32)))
    context.pop()
contexts[1].push()
kernel = gpu.kernel('extern "C" __global__ void lg_it(float *z, const float *x) { z[threadIdx.x] += x[threadIdx.x] + 5; }')
try:
    kernel(places[1], places[0], grid=(1, 1), block=(8, 1, 1))
except cuda.Error as error:
    assert "no peer access" in str(error), error
else:
    raise AssertionError("another device's memory was used")
contexts[1].enable_peer_access(contexts[0])
kernel(places[1], places[0], grid=(1, 1), block=(8, 1, 1))
cuda.memcpy_peer(places[0], places[1], 16, contexts[0], contexts[1])
assert (gpu.read(places[1], 8) == 6).all() and gpu.read(places[0], 8).tolist() == [6] * 4 + [0] * 4
contexts[1].pop()
"""


def test_two_devices(gpu: Any) -> None:
    subprocess.run(
        [sys.executable, "-c", TWO], env={**os.environ, "CUDA_EMULATOR_DEVICES": "2"}, check=True
    )
