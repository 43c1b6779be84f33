"""Mistakes that are planted in kernels: each is caught, named, and leaves the context usable; what only looks like one is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

WRONG = {  # body of a kernel with x: 64 floats, out: 64 floats, bytes: 64 bytes; 64 threads in each of 2 blocks; words of the report
    "past the end": ("x[t + 1] = 1;", "a write of 4 bytes, 0 bytes after the end of allocation"),
    "before the beginning": ("out[t] = x[t - 2];", "a read of 4 bytes, 8 bytes before allocation"),
    "far beyond": ("x[t + (1ll << 36)] = 1;", "a write of 4 bytes, in no allocation"),
    "null": ("*(float *)nullptr = 1;", "null pointer"),
    "half a vector": ("out[t] = reinterpret_cast<const float2 *>(x + 62)[t / 32].y;", "a read of 4 bytes, 4 bytes after the end"),
    "shared index": ("tile[t + 1] = 1;", "index 64 is outside of an array of type 'float [64]'"),
    "shared pointer": ("float *p = tile; for (int i = 0; i <= 64; ++i) p[i] = t;", "tile"),
    "misaligned": ("out[t] = reinterpret_cast<const float4 *>(x + 1)->y;", "float4"),
    "write after write": ("tile[t / 2] = t; __syncthreads(); out[t] = tile[t];", "thread (1, 0, 0): race: a write of what thread 0 of the block writes"),
    "read after write": ("tile[t] = t; out[t] = tile[63 - t];", "race: a write of what thread 31 of the block reads with no barrier between, byte 128 of the shared tile"),
    "one barrier of two": ("tile[t] = t; __syncthreads(); const float v = tile[63 - t]; tile[t] = v;", "race: a read of what thread 63 of the block writes"),
    "added in place": ("tile[t] = t; __syncthreads(); if (t < 32) tile[t] += tile[t + 1];", "race"),
    "plain and atomic": ("if (t == 5) x[3] = 1; else atomicAdd(x + 3, 1.0f);", "changes atomically"),
    "plain and swapped": ("if (t == 5) x[3] = 1; else atomicCAS((unsigned *)x + 3, 0u, 1u);", "changes atomically"),
    "two blocks": ("if (t == 0) x[0] = 1;", "race: a write of what a thread of another block writes"),
    "between warps only": ("tile[t] = t; __syncwarp(); out[t] = tile[63 - t];", "race"),
    "some threads": ("if (t < 5) __syncthreads();", "5 of 64 threads came to __syncthreads in line 4"),
    "two barriers": ("if (t < 5) __syncthreads();\n else __syncthreads();", "others to the one in line"),
    "some lanes": ("if (t % 32 < 5) out[t] = __shfl_sync(0xffffffffu, x[t], 0); else __syncthreads();", "of the lanes ffffffff only 0000001f came"),
    "not in the mask": ("out[t] = __shfl_sync(1u, x[t], 0);", "lane 1 is not in its mask"),
    "a copy under way": ("lg_cp_async_4(tile + t, x + t); lg_cp_async_commit(); out[t] = tile[t];", "a read of what an asynchronous copy, which has not been waited for, writes, byte 0 of the shared tile"),
    "another thread's copy": ("if (t < 32) lg_cp_async_4(tile + t, x + t); __syncthreads(); out[t] = tile[t % 32];", "a read of what an asynchronous copy"),
    "a copy of the last group": ("lg_cp_async_4(tile + t, x + t); lg_cp_async_commit(); lg_cp_async_wait<1>(); out[t] = tile[t];", "a read of what an asynchronous copy"),
    "a copy without a barrier": ("lg_cp_async_4(tile + t, x + t); lg_cp_async_commit(); lg_cp_async_wait<0>(); out[t] = tile[63 - t];", "race: a"),
    "assertion": ("assert(x[t] == 0);", "assertion failed: x[t] == 0"),
}  # fmt: skip
RIGHT = {
    "bytes of one word": "bytes[t] = t;",
    "halves of one word": "reinterpret_cast<short *>(out)[t] = t;",
    "reversed": "tile[t] = t; __syncthreads(); out[t] = tile[63 - t];",
    "in a warp": "tile[t] = t; __syncwarp(); const float v = tile[t ^ 1]; __syncwarp(); tile[t] = v; out[t] = v;",
    "atomic": "atomicAdd(x + 3, 1.0f); __syncthreads(); atomicAdd(tile, 1.0f);",
    "compare and swap": "unsigned *word = (unsigned *)x + 3; for (unsigned seen = 0;;) { const unsigned found = atomicCAS(word, seen, seen + 1); if (found == seen) break; seen = found; }",
    "all barriers": "for (int i = 0; i < 3; ++i) { if (t < 5) tile[t] = i; __syncthreads(); }",
    "copies": "lg_cp_async_zero_4(tile + t, x + 64 + t, false); lg_cp_async_commit(); lg_cp_async_wait<0>(); __syncthreads(); assert(tile[63 - t] == 0);",
    "vectors": "if (t < 16) *reinterpret_cast<float4 *>(out + 4 * t) = *reinterpret_cast<const float4 *>(x + 4 * t);",
}
TEXT = """
extern "C" __global__ void lg_it(float *x, float *out, unsigned char *bytes) {{
  __shared__ float tile[64]; const int t = threadIdx.x;{only}
  {body}
}}"""


def run(gpu: Any, body: str, only: str = "") -> None:
    kernel = gpu.kernel(TEXT.format(body=body, only=only))
    values = gpu.array(np.arange(64)), gpu.array(np.zeros(64)), gpu.array(np.zeros(64), np.uint8)
    kernel(*values, grid=(2, 1), block=(64, 1, 1))


@pytest.mark.parametrize("name", WRONG)
def test_a_planted_mistake_is_caught(gpu: Any, name: str) -> None:
    body, words = WRONG[name]
    report = gpu.planted(lambda: run(gpu, body))
    assert words in report and "kernel lg_it, block (" in report
    run(gpu, RIGHT["bytes of one word"], " if (blockIdx.x) return;")


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_no_mistake_is_silent(gpu: Any, name: str) -> None:
    body = RIGHT[name]
    run(gpu, body, "" if name in ("atomic", "compare and swap") else " if (blockIdx.x) return;")
    assert gpu.report() == ""


def test_released_memory_and_wrong_copies(gpu: Any) -> None:
    kernel = gpu.kernel('extern "C" __global__ void lg_it(float *x) { x[threadIdx.x] = 1; }')
    place = gpu.array(np.zeros(32))
    address = int(place)
    place.free()
    report = gpu.planted(lambda: kernel(np.uint64(address), grid=(1, 1), block=(32, 1, 1)))
    assert "released" in report and "in line 1: extern" in report
    kept = gpu.array(np.zeros(8))
    assert "a copy from" in gpu.planted(lambda: gpu.read(kept, 9))


def test_new_memory_and_shared_memory_are_not_zero(gpu: Any) -> None:
    kernel = gpu.kernel("""
        extern "C" __global__ void lg_it(float *z) {
          __shared__ float tile[32];
          z[threadIdx.x] = tile[threadIdx.x];
          tile[threadIdx.x] = 0;
        }""")
    z = gpu.cuda.mem_alloc(128)
    assert np.isnan(gpu.read(z, 32)).all()
    kernel(z, grid=(1, 1), block=(32, 1, 1))
    assert np.isnan(gpu.read(z, 32)).all()
