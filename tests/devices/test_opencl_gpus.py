"""Kernels for GPUs in OpenCL C, on whatever device there is: tiles, scatters of several launches, neighbours at once; and which text each is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.codegen.choose_opencl import TRANSFORMS, choose, optimise, prepared, target
from lazygrad.codegen.render.opencl import program, render_all
from lazygrad.ir.interpret_loops import run_kernel
from lazygrad.ir.node import Node
from lazygrad.ir.text import parse
from lazygrad.runtime import device as devices
from lazygrad.runtime import schedules
from lazygrad.runtime.opencl import OpenClDevice

from .. import conftest
from .test_cuda_scatter import CASES, DTYPES, scattered, values
from .test_cuda_tiles import contraction
from .test_opencl import needs_opencl

Golden = conftest.Golden


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenClDevice]:
    """The first OpenCL device, which takes itself for a GPU."""
    needs_opencl()
    device: Any = devices.get("opencl:0")
    monkeypatch.setattr(device, "_given", target("gpu"))
    monkeypatch.delitem(vars(device), "_target", raising=False)
    schedules._changed()  # what is compiled is forgotten
    yield device
    vars(device).pop("_target", None)
    schedules._changed()


def compare(function: Callable[..., lg.Tensor], *given: lg.Tensor, tolerance: float = 0.0) -> str:
    """The text of a function's kernels on the OpenCL device, where it gives what it gives on the CPU."""
    wanted = function(*given).numpy()
    there = [each.to("opencl") for each in given]
    got = function(*there).cpu().numpy()
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
    return "\n".join(lg.lower(function, *there).source().values())


def numbers(*shape: int, seed: int = 0) -> lg.Tensor:
    return lg.tensor(np.random.default_rng(seed).standard_normal(shape), dtype=lg.float32)


SIZES = [(64, 64, 16), (128, 96, 100), (100, 200, 130), (70, 33, 33), (9, 1000, 300), (1400, 1500, 17)]  # fmt: skip


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int32"])
def test_tiles(sizes: tuple[int, int, int], dtype: str, gpu: OpenClDevice) -> None:
    """Contractions of any size go through local memory, 32 KB at most, and what is beyond them is nowhere read or written."""
    rows, columns, terms = sizes
    kind = getattr(lg, dtype)
    x, w = ((numbers(*shape) * 8).round().to(kind) for shape in ((rows, terms), (terms, columns)))
    text = compare(lambda x, w: x @ w + 1, x, w)
    arrays = re.findall(r"local __attribute__\(\(aligned\(16\)\)\) (\w+) \w+\[(\d+)\]", text)
    nbytes = {"float": 4, "double": 8, "int": 4, "ushort": 2}
    assert len(arrays) == 2 and sum(nbytes[a] * int(n) for a, n in arrays) <= 32 << 10


@pytest.mark.parametrize("sides", ["", "left", "right", "both"])
def test_tiles_of_transposed_operands(sides: str, gpu: OpenClDevice) -> None:
    x = numbers(130, 70) if sides in ("left", "both") else numbers(70, 130)
    w = numbers(90, 130) if sides in ("right", "both") else numbers(130, 90)

    def product(x: lg.Tensor, w: lg.Tensor) -> lg.Tensor:
        left = x.t() if sides in ("left", "both") else x
        return (left @ (w.t() if sides in ("right", "both") else w)).relu() * 2

    assert "local " in compare(product, x, w, tolerance=1e-4)


def test_text_of_a_tile_in_opencl(golden: Golden) -> None:
    kernel = contraction(64, 48, 40, kind="f32")
    golden(program(render_all([optimise(kernel, target("gpu"))], target("gpu")), target("gpu")))


def test_no_groups_no_tiles() -> None:
    """A GPU whose groups are small has a work-item for each result."""
    small = replace(target("gpu"), groups=False)
    kernel = prepared(contraction(64, 48, 40, kind="f32"), small)
    assert not {"tile", "share", "prefix"} & {step.name for step in choose(kernel, small)}
    assert [step.name for step in choose(kernel, target("gpu"))] == ["tile", "accumulate"]
    assert "tensorize" in TRANSFORMS


def test_neighbours_at_once(gpu: OpenClDevice) -> None:
    """A work-item has 16 bytes of neighbours, where each is soon done; the last one may have fewer."""
    for width in (1 << 15, (1 << 15) + 3):
        x, b = numbers(width), numbers(width, seed=1)
        text = compare(lambda x, b: x * b + 1, x, b)
        assert "*(const global float4 *)p" in text.replace("global const", "const global")
        assert "packed" not in text  # one element at a time, for most GPUs
    assert "rest_trip" in text
    text = compare(lambda x: x.long(), lg.arange(1 << 15, dtype=lg.int8))
    assert "long2" in text


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"])  # fmt: skip
@pytest.mark.parametrize("deterministic", [False, True])
def test_scatters(dtype: str, deterministic: bool, gpu: OpenClDevice) -> None:
    """Every kind of update: sums of whole numbers are exact in any order."""
    made = np.random.default_rng(2)
    x, at, u = made.integers(0, 2, 100), made.integers(0, 100, 2800), made.integers(0, 2, 2800)
    at[:3] = 7
    kind = getattr(lg, dtype)
    lg.use_deterministic_algorithms(deterministic)
    try:
        for case in CASES.values():
            compare(
                lambda x, at, u, case=case: case(x.to(kind), at, u.to(kind)).double(),
                *map(lg.tensor, (x, at, u)),
            )
    finally:
        lg.use_deterministic_algorithms(False)


@pytest.mark.parametrize("dtype", DTYPES)
def test_atomic_updates_of_every_type(dtype: str, gpu: OpenClDevice) -> None:
    """One launch fills and one updates; as one iteration after the other does it."""
    for met in ("add", "mul", "max", "min"):
        if dtype == "bool" and met in ("add", "mul"):
            continue
        kernel = scattered("elements", dtype, met)
        one = values(kernel, 1)
        np.minimum(one[0], one[0].dtype.type(1), out=one[0])
        np.minimum(one[2], one[2].dtype.type(1), out=one[2])
        assert "atomic(k)" in map(str, choose(prepared(kernel, gpu.target), gpu.target))
        built = gpu.build(optimise(kernel, gpu.target))
        assert len(built.functions) == 2
        buffers = [gpu.from_host(array) for array in one]
        words = [gpu.zeros(4), np.int64(0)]
        gpu.launch(built, {}, [*buffers, *[getattr(w, "owner", w) for w in words]], timed=False)
        got = gpu.to_host(buffers[3], kernel.src[3].dtype, one[3].shape)
        run_kernel(kernel, one)
        np.testing.assert_array_equal(got, one[3])


def test_text_of_a_scatter_in_opencl(golden: Golden) -> None:
    """Two kernels; halves are updated in the word that holds them."""
    text = [optimise(scattered("elements", "f16", "max"), target("gpu"))]
    golden(program(render_all(text, target("gpu")), target("gpu")))


def test_drivers_without_atomic_updates_of_8_bytes() -> None:
    """Work-items own places instead."""
    short = replace(target("gpu"), atomic_bytes=4)

    def names(kernel: Node, given: Any) -> list[str]:
        return [step.name for step in choose(prepared(kernel, given), given)]

    for dtype, least in (("i64", 8), ("f64", 8), ("i32", 4), ("f16", 4)):
        kernel = scattered("elements", dtype)
        assert ("atomic" in names(kernel, short)) is (least == 4)
        assert "atomic" in names(kernel, target("gpu"))
        assert ("owned" in names(kernel, short)) is (least == 8)
    assert "winner" in names(scattered("overwritten", met=""), short)


def test_events_of_several_launches(gpu: OpenClDevice) -> None:
    """The time of a kernel is from its first launch's begin to its last one's end."""
    built = gpu.build(optimise(scattered("elements", "i32"), gpu.target))
    given = [gpu.from_host(array) for array in values(scattered("elements", "i32"), 0)]
    token = gpu.launch(built, {}, [*given, gpu.zeros(4).owner, np.int64(0)], timed=True)
    assert len(token) == 2 and gpu.elapsed(token) > 0


def test_arrays_between_launches(gpu: OpenClDevice) -> None:
    """What one launch fills for another, several arrays of one size, lies apart."""
    (kernel,) = parse("""
        kernel columns(%x: f32[30, 100] in, %y: f32[30, 100] out)
          local %s : f32[100]
          local %t : f32[100]
          for %j in range(0, 100):
            %a = load %x[%j] : f32
            %b = mul %a, 2.0 : f32
            store %s[%j], %b
          for %k in range(0, 100):
            %c = load %x[100 + %k] : f32
            store %t[%k], %c
          for %i in range(0, 30) parallel:
            for %l in range(0, 100):
              %d = load %s[%l] : f32
              %e = load %t[%l] : f32
              %f = load %x[%i*100 + %l] : f32
              %g = mul %d, %f : f32
              %h = add %g, %e : f32
              store %y[%i*100 + %l], %h
    """)
    built = gpu.build(optimise(kernel, gpu.target))
    assert len(built.functions) == 3 and len(built.source.arrays) == 2
    x = np.random.default_rng(0).standard_normal((30, 100)).astype(np.float32)
    given, result = gpu.from_host(x), gpu.zeros(12000)
    gpu.launch(built, {}, [given, result], timed=False)
    got = gpu.to_host(result, lg.float32, (30, 100))
    np.testing.assert_allclose(got, 2 * x[0] * x + x[1], rtol=1e-6)
