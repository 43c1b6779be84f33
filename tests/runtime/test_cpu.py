"""The CPU device: kernels are compiled, launched from several threads, and leave nothing behind."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from array import array
from types import BuiltinFunctionType, FrameType
from typing import Any

import numpy as np
import pytest

import lazygrad
from lazygrad.codegen.target import host
from lazygrad.ir.dtype import bfloat16, float32, int8
from lazygrad.ir.node import Node
from lazygrad.ir.parse import parse
from lazygrad.runtime import device
from lazygrad.runtime.cpu import CpuDevice, CpuKernel

AXPY = """
    kernel axpy(%x: f32[4096] in, %a: f32 number, %y: f32[4096] inout)
      %s = splat %a : f32x16
      for %i in range(0, 4096, 16) parallel:
        %v = load %x[%i] : f32x16
        %w = load %y[%i] : f32x16
        %p = mul %v, %s : f32x16
        %q = add %p, %w : f32x16
        store %y[%i], %q
"""
ROWS = """
    kernel rows(%x: f32[4, 9000] in, %y: f32[4, 9000] out)
      for %r in range(0, 4) parallel:
        local %t : f32[9000]
        for %c in range(0, 9000):
          %v = load %x[%r*9000 + %c] : f32
          %w = mul %v, %v : f32
          store %t[%c], %w
        for %d in range(0, 9000):
          %u = load %t[8999 - %d] : f32
          store %y[%r*9000 + %d], %u
"""


def kernel_of(text: str) -> Node:
    (kernel,) = parse(text)
    return kernel


def cpu() -> CpuDevice:
    found = device.get("cpu")
    assert isinstance(found, CpuDevice)
    return found


def launch(executable: CpuKernel, *values: int) -> int:
    error = array("q", [0])
    executable.run(array("q", [*values, error.buffer_info()[0]]))
    return error[0]


def bits(value: float) -> int:
    return int(np.float32(value).view(np.uint32))


def test_threads_launch_one_kernel_at_a_time_each_with_its_own_scratch() -> None:
    kernel = cpu().build(kernel_of(ROWS))
    assert kernel.scratch_bytes >= 36_000 and kernel.name == "rows" and kernel.checks == ()
    wrong: list[int] = []

    def work(seed: int) -> None:
        x = np.random.default_rng(seed).standard_normal((4, 9000)).astype(np.float32)
        for _ in range(20):
            y = np.zeros_like(x)
            launch(kernel, x.ctypes.data, y.ctypes.data)
            if not np.array_equal(y, (x * x)[:, ::-1]):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_threads_compile_at_once() -> None:
    found: list[float] = []

    def work(number: int) -> None:
        text = AXPY.replace("axpy", f"axpy{number}")
        for _ in range(5):
            kernel = cpu().build(kernel_of(text))
            x, y = np.ones(4096, np.float32), np.zeros(4096, np.float32)
            launch(kernel, x.ctypes.data, bits(number), y.ctypes.data)
            found.append(float(y.max()) - number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [0.0] * 15


def test_code_is_unloaded_before_the_device_that_made_it() -> None:
    other = CpuDevice()
    kernels = [other.build(kernel_of(AXPY)) for _ in range(3)]
    x, y = np.ones(4096, np.float32), np.zeros(4096, np.float32)
    launch(kernels[0], x.ctypes.data, bits(2.0), y.ctypes.data)
    del other, kernels[1:]
    gc.collect()
    launch(kernels[0], x.ctypes.data, bits(2.0), y.ctypes.data)
    assert (y == 4).all()
    del kernels
    gc.collect()


def test_compiling_again_and_again_does_not_grow() -> None:
    kernel = kernel_of(AXPY)

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    for _ in range(20):
        cpu().build(kernel)
    before = resident()
    for _ in range(80):
        cpu().build(kernel)
    assert resident() - before < 16 << 20


def test_a_launch_is_cheap() -> None:
    """Two calls, of `run` and of the compiled function: no ctypes, and nothing that is made for each launch."""
    kernel = cpu().build(kernel_of(AXPY))
    x, y = np.ones(4096, np.float32), np.zeros(4096, np.float32)
    error = array("q", [0])
    slots = array("q", [x.ctypes.data, 0, y.ctypes.data, error.buffer_info()[0]])
    address = slots.buffer_info()[0]
    kernel.run(address, 0, 0)
    called: list[str] = []

    def profile(frame: FrameType, event: str, function: Any) -> None:
        if event == "call":
            called.append(frame.f_code.co_name)
        elif event == "c_call":
            called.append(function.__name__)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        kernel.run(address, 0, 0)
    finally:
        sys.setprofile(before)
    assert called == ["run", "launch", "setprofile"]
    assert isinstance(cpu().executor.launch, BuiltinFunctionType)


def test_a_bad_argument_is_an_error_and_not_a_crash() -> None:
    with pytest.raises(TypeError):
        cpu().executor.launch("address", 0, 0, 0, 0, 0, 1)  # type: ignore[arg-type]


def test_source_and_assembly() -> None:
    kernel = kernel_of(AXPY)
    source, assembly = cpu().source(kernel), cpu().asm(kernel)
    assert "define i64 @kernel.axpy(" in source and "%mul = fmul <16 x float>" in source
    assert "axpy:" in assembly


def test_refused_text_is_in_the_error() -> None:
    with pytest.raises(RuntimeError, match=r"LLVM refused this kernel(.|\n)*not llvm"):
        cpu()._compiler.compile("not llvm")


def test_importing_and_asking_for_the_device_does_not_load_llvm() -> None:
    program = (
        "import sys; from lazygrad.runtime import device; device.get('cpu').allocate(8); "
        "sys.exit(any(name.startswith('llvmlite') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_targets_know_their_vectors() -> None:
    target = host()
    assert target.lanes(float32) * 4 == target.vector_bytes == target.lanes(bfloat16) * 4
    assert target.lanes(int8) == target.vector_bytes
    assert target.level1_cache < target.level2_cache
    if target.vector_bytes == 64:
        assert host("avx2").vector_bytes == 32 and "avx512f" not in host("avx2").features
        assert "zmm" in cpu().asm(kernel_of(AXPY))
        assert "zmm" not in CpuDevice(host("avx2")).asm(kernel_of(AXPY))


def test_a_kernel_may_have_the_name_of_a_function_that_it_calls() -> None:
    """fmod calls the host library's fmod; it must not call itself."""
    assert lazygrad.fmod(lazygrad.tensor([3.5, -3.5]), 2.0).tolist() == [1.5, -1.5]
