"""What is CUDA's own: the text of its kernels and what NVIDIA's compilers make of it, which needs no GPU; GPUs by name, memory and its end, copies, forks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.ir.node import same
from lazygrad.ir.text import parse, show
from lazygrad.runtime import device as devices
from lazygrad.runtime import nvrtc

from .. import conftest
from .scripts import execute, fork

Golden = conftest.Golden
ARCHITECTURES = ("sm_80", "sm_90")
SOURCE = """
import sys
sys.modules["pycuda"] = None  # as if it were not installed
import lazygrad as lg
x = lg.arange(4000.0).reshape(50, 80).realize()
lowered = lg.lower(lambda x: (x * 2).softmax(1), x)
for arch in (None, "sm_90"):
    print(*lowered.source("cuda", arch).values(), sep="\\n")
assert not lg.cuda.is_available() and lg.cuda.device_count() == 0
try:
    lg.ones(2, device="cuda")
except AssertionError as error:
    print("ERROR", error)
"""
ON_THE_EMULATOR = pytest.mark.skipif(
    "CUDA_EMULATOR" not in os.environ,
    reason="not on the CUDA emulator: python -m tests.cuda_emulator pytest tests/devices",
)


def needs_cuda() -> None:
    if not lg.cuda.is_available():
        pytest.skip("no CUDA GPU")


# --- text


def test_source_needs_no_driver() -> None:
    out = execute(SOURCE)
    assert out.count('extern "C" __global__ void') == 2 and "fma(" in out
    assert (
        "__shfl_xor_sync" in out
        and "__shared__ __align__(16) float" in out
        and "__syncthreads();" in out
    )
    assert re.search(r"// <string>:\d+", out), "the user's line is in a comment"
    assert 'pip install "lazygrad[cuda]"' in out.partition("ERROR ")[2]


def text_of(kernel: str) -> str:
    """The CUDA C of a kernel, after the transforms for a GPU."""
    from lazygrad.codegen.choose_cuda import optimise, target
    from lazygrad.codegen.render.cuda import program, render

    (node,) = parse(kernel)
    return program([render(optimise(node, target()))])


def test_text_of_elements(golden: Golden) -> None:
    """A thread for each element, whatever the grid: overflow, division and shifts are written so that C++ defines them."""
    golden(
        text_of("""
        kernel mix(%x: i8[70, 9] in, %n: i64 dim, %y: i8[70, 9] out)
          for %i in range(0, %n) parallel:
            for %j in range(0, 9):
              %v = load %x[%i*9 + %j] : i8
              %d = idiv %v, 7 : i8
              %s = add %d, %v : i8
              store %y[%i*9 + %j], %s
    """)
    )


def test_text_of_rows(golden: Golden) -> None:
    """A row a block: its threads share the loops, reduce by shuffles, and keep the row in shared memory."""
    golden(
        text_of("""
        kernel normalise(%x: f32[50, 900] in, %y: f32[50, 900] out)
          for %i in range(0, 50) parallel:
            local %row : f32[900]
            for %j in range(0, 900):
              %v = load %x[%i*900 + %j] : f32
              %w = mul %v, %v : f32
              store %row[%j], %w
            local %sum : f32[]
            store %sum[0], 0.0:f32
            for %k in range(0, 900):
              %a = load %row[%k] : f32
              accumulate %sum[0], %a {kind=add}
            %t = load %sum[0] : f32
            for %l in range(0, 900):
              %b = load %row[%l] : f32
              %q = div %b, %t : f32
              store %y[%i*900 + %l], %q
    """)
    )


CONTRACTION = """
        kernel product(%x: f32[100, 70] in, %w: f32[70, 90] in, %b: f32[90] in, %y: f32[100, 90] out)
          for %i in range(0, 100) parallel:
            for %j in range(0, 90):
              local %sum : f32[]
              store %sum[0], 0.0:f32
              for %k in range(0, 70):
                %a = load %x[%i*70 + %k] : f32
                %c = load %w[%k*90 + %j] : f32
                %p = mul %a, %c : f32
                accumulate %sum[0], %p {kind=add}
              %t = load %sum[0] : f32
              %v = load %b[%j] : f32
              %r = add %t, %v : f32
              store %y[%i*90 + %j], %r
    """


def test_more_elements_than_32_bits_count() -> None:
    """Indices are short where all that they are made of is, and long where they may not be."""
    text = text_of("""
        kernel big(%x: f32[100000, 100000] in, %y: f32[100000, 100000] out)
          for %i in range(0, 100000) parallel:
            for %j in range(0, 100000):
              %v = load %x[%i*100000 + %j] : f32
              store %y[%i*100000 + %j], %v
    """)
    assert "item < 100000L * 25000L" in text and "const int j = (item % 25000) * 4;" in text
    assert "lg_copy_16(y + (long)(i) * 100000 + j, y_run);" in text


SHORT = """
        kernel short(%x: f32[9, 6] in, %y: f32[9, 6] out)
          for %i in range(0, 9) parallel:
            local %row : f32[6]
            for %u in range(0, 2):
              for %v in range(0, 3):
                %a = load %x[%i*6 + %u*3 + %v] : f32
                store %row[%u*3 + %v], %a
            for %j in range(0, 6):
              %b = load %row[5 - %j] : f32
              store %y[%i*6 + %j], %b
    """


def test_text_of_a_contraction(golden: Golden) -> None:
    """Squares of results: terms through shared arrays, sums in registers, what follows them on the registers."""
    golden(text_of(CONTRACTION))


def test_transforms_for_gpus_are_kernels() -> None:
    """Large contractions are tiled; what the threads of a group share computes the same, one iteration after the other."""
    from lazygrad.codegen.choose_cuda import choose, optimise, target
    from lazygrad.codegen.choose_group import spread
    from lazygrad.codegen.transform.share import share
    from lazygrad.ir.interpret_loops import run_kernel
    from lazygrad.ir.verify import verify_kernel

    (kernel,) = parse(CONTRACTION)
    steps = choose(spread(kernel), target())
    assert [str(step) for step in steps] == ["tile(j, 64)", "accumulate()"]
    tiled = optimise(kernel, target())
    verify_kernel(tiled)
    assert same(parse(show(tiled, sites=False)), [tiled])
    verify_kernel(optimise(parse(SHORT)[0], target()))
    (small,) = parse(CONTRACTION.replace("70", "5").replace("100", "6").replace("90", "7"))
    draws = np.random.default_rng(0)
    given = [draws.random(s, np.float32) for s in ((6, 5), (5, 7), (7,))]
    result = np.zeros((6, 7), np.float32)
    run_kernel(share(small, "k"), [*given, result])
    np.testing.assert_allclose(result, given[0] @ given[1] + given[2], rtol=1e-5)


SUM = """
        kernel sum(%x: f32[2, 3, 40, 150] in, %y: f32[2] out)
          for %i in range(0, 2) parallel:
            local %sum : f32[]
            store %sum[0], 0.0:f32
            for %j in range(0, 3):
              local %inner : f32[]
              store %inner[0], 0.0:f32
              for %k in range(0, 40):
                for %l in range(0, 150):
                  %v = load %x[%i*18000 + %j*6000 + %k*150 + %l] : f32
                  accumulate %inner[0], %v {kind=add}
              %s = load %inner[0] : f32
              accumulate %sum[0], %s {kind=add}
            %t = load %sum[0] : f32
            store %y[%i], %t
    """


def test_a_long_sum_is_shared_and_made_of_sums(golden: Golden) -> None:
    """Threads share the two loops inside as one and reduce once, behind it; of many terms each adds some one after the other, then their sums."""
    from lazygrad.codegen.choose_cuda import choose, optimise, target
    from lazygrad.codegen.choose_group import spread
    from lazygrad.ir.interpret_loops import run_kernel

    (kernel,) = parse(SUM)
    steps = [str(step) for step in choose(spread(kernel), target())]
    assert steps == ["merge(k)", "share(k_l)", "accumulate()"]
    golden(text_of(SUM))
    x = np.random.default_rng(0).random((2, 3, 40, 150), np.float32)
    result = np.zeros(2, np.float32)
    run_kernel(optimise(kernel, target()), [x, result])
    np.testing.assert_allclose(result, x.sum((1, 2, 3)), rtol=1e-5)
    (long,) = parse(SUM.replace("150", "90000"))
    steps = [str(step) for step in choose(spread(long), target())]
    assert "cascade(k_l, 8192)" in steps, "each part is the group's, whose threads stay neighbours"
    assert "k_l += 256" in text_of(SUM.replace("150", "90000"))


def test_a_group_shares_the_loops_that_can_be_one() -> None:
    """A channel's mean, and what is written with it: the loops over a picture become one, that over pictures stays around it. It was a thread a channel."""
    from lazygrad.codegen.choose_cuda import choose, optimise, target
    from lazygrad.codegen.choose_group import spread
    from lazygrad.ir.interpret_loops import run_kernel

    (kernel,) = parse("""
        kernel centre(%x: f32[6, 4, 7, 9] in, %y: f32[6, 4, 7, 9] out)
          for %c in range(0, 4) parallel:
            local %sum : f32[]
            store %sum[0], 0.0:f32
            for %n in range(0, 6):
              for %h in range(0, 7):
                for %w in range(0, 9):
                  %v = load %x[%n*252 + %c*63 + %h*9 + %w] : f32
                  accumulate %sum[0], %v {kind=add}
            %s = load %sum[0] : f32
            for %n2 in range(0, 6):
              for %h2 in range(0, 7):
                for %w2 in range(0, 9):
                  %u = load %x[%n2*252 + %c*63 + %h2*9 + %w2] : f32
                  %z = sub %u, %s : f32
                  store %y[%n2*252 + %c*63 + %h2*9 + %w2], %z
    """)
    steps = [str(step) for step in choose(spread(kernel), target())]
    assert [step for step in steps if step.startswith("share")] == ["share(n_h_w)", "share(h2_w2)"]
    x = np.random.default_rng(0).random((6, 4, 7, 9), np.float32)
    result = np.zeros_like(x)
    run_kernel(optimise(kernel, target()), [x, result])
    np.testing.assert_allclose(result, x - x.sum((0, 2, 3))[:, None, None], rtol=1e-5, atol=1e-5)


def test_text_of_a_sort(golden: Golden) -> None:
    """A row a block: a key and its place in one word, a network in shared memory, one barrier a part; what is behind the row is not met."""
    (text,) = lg.lower(lambda x: x.argsort(1), lg.ones(20, 300).realize()).source("cuda").values()
    golden(re.sub(r"// .*|  // .*", "", text))
    assert text.count("__syncthreads();") == 3


def test_what_a_grid_reads_is_computed_by_a_grid() -> None:
    """Loops of many iterations in front of a kernel's parallel one are a launch of their own: they were one thread's (interpolation along two axes)."""
    from lazygrad.codegen.choose_cuda import choose, optimise, prepared, target
    from lazygrad.codegen.render.cuda import render_all
    from lazygrad.ir.interpret_loops import run_kernel

    (kernel,) = parse("""
        kernel twice(%x: f32[40, 6] in, %y: f32[9] out)
          local %t : f32[240]
          for %i in range(0, 40):
            for %j in range(0, 6):
              %v = load %x[%i*6 + %j] : f32
              %w = mul %v, 2.0:f32 : f32
              store %t[%i*6 + %j], %w
          for %k in range(0, 9) parallel:
            %a = load %t[%k*26] : f32
            store %y[%k], %a
    """)
    assert str(choose(prepared(kernel, target()), target())[0]) == "grid(i)"
    (source,) = render_all([optimise(kernel, target())])
    assert len(source.then) == 1 and source.trips({}) == 240 and source.then[0].trips({}) == 9
    x = np.random.default_rng(0).random((40, 6), np.float32)
    result = np.zeros(9, np.float32)
    run_kernel(optimise(kernel, target()), [x, result])
    np.testing.assert_array_equal(result, x.reshape(-1)[::26][:9] * 2)


def test_groups_without_many_sums_take_registers() -> None:
    """Their kernels are not held to the registers that many groups at a time leave: two had 24 and 8 bytes of memory of a thread's own."""
    rows = """
        kernel rows(%x: f32[64, 4096] in, %n: i64 dim, %y: f32[64] out)
          for %i in range(0, 64) parallel:
            local %sum : f32[]
            store %sum[0], 0.0:f32
            for %k in range(0, %n):
              %v = load %x[%i*4096 + %k] : f32
              accumulate %sum[0], %v {kind=add}
            %s = load %sum[0] : f32
            store %y[%i], %s
    """
    for text in (rows, rows.replace("%n: i64 dim, ", "").replace("%n", "4096")):
        assert "__launch_bounds__(256, 1)" in text_of(text)


def program_of_all() -> list[lg.Tensor]:
    """Every kind of kernel: elements, rows, columns, windows, contractions, gathers with checks, scans, sorts, random numbers, all sorts of dtypes."""
    x = lg.arange(60 * 90.0).reshape(60, 90) / 700
    k = lg.tensor([0, 2, 6])
    half, brain, wide = x.half(), x.bfloat16(), x.double()
    whole = (x * 9).int()
    return [
        x.softmax(1), x.sum(), x.amax(0), x @ x.T, x[k], x[:, k].prod(1), x.cumsum(1), x.sort(1)[0], lg.randn(70), half.softmax(1), half @ half.T, brain.sum(0), brain * 3,
        wide.log1p().sum(), whole // 7 % 3, whole.long().cumsum(0), whole.to(lg.int8).amin(1), whole.to(lg.uint8).sum(), (x > 1).any(1), (x > 1).all(), whole.float().argmax(1),
        lg.nn.functional.adaptive_max_pool3d(wide[:5, :24].reshape(1, 4, 5, 6), 3), lg.zeros(7).index_add(0, k, lg.ones(3)), lg.nn.functional.pad(x, (1, 2)), x[:, :10].softmax(1), wide.to(lg.int64), lg.nn.functional.conv1d(x[None], x[None, :, :3]),
        x.reshape(2, 2700).argsort(1), wide.reshape(2, 2700).argsort(1), half.reshape(5400).topk(5)[1], (x > 1).reshape(5400).argsort(),
    ]  # fmt: skip


def test_what_many_choices_read_waits() -> None:
    """A choice between a hundred values holds one of them at a time: all of them, read first, were more than a thread has registers for."""
    count, lines = 100, []
    for number in range(count):
        lines.append(f"%f{number} = load %c{number}[%i] : bool")
        lines.append(f"%v{number} = load %x{number}[%i] : f64")
    rest = "1.0:f64"
    for number in reversed(range(count)):
        lines.append(f"%w{number} = where %f{number}, %v{number}, {rest} : f64")
        rest = f"%w{number}"
    given = ", ".join(f"%c{n}: bool[9] in, %x{n}: f64[9] in" for n in range(count))
    text = text_of(
        f"kernel choice({given}, %y: f64[9] out)\n  for %i in range(0, 9) parallel:\n    "
        + "\n    ".join([*lines, f"store %y[%i], {rest}"])
    )
    reads = [text.index(f"= x{number}[i];") for number in range(count)]
    assert reads == sorted(reads, reverse=True), "the innermost choice reads first"
    library = nvrtc.packaged()
    if library is not None:
        from lazygrad.codegen.render.cuda import OPTIONS
        from lazygrad.runtime.cubin import resources

        for arch in ARCHITECTURES:
            (taken,) = resources(nvrtc.compile_with(library, text, arch, OPTIONS)).values()
            assert not taken.stack_bytes, arch


def test_every_kind_of_kernel_compiles(tmp_path: Path) -> None:
    """NVIDIA's compiler takes each, for each architecture, and none needs memory of a thread's own."""
    library = nvrtc.packaged()
    if library is None:
        pytest.skip("no package nvidia-cuda-nvrtc")
    from lazygrad.codegen.render.cuda import OPTIONS, program, render_all
    from lazygrad.runtime.compile import make_kernels
    from lazygrad.runtime.cubin import resources
    from lazygrad.runtime.plans import Record

    lowered = lg.lower(lambda: lg.realize(program_of_all()))
    device = devices.get("cuda:0")
    kernels = [
        each.kernel
        for record in lowered._records
        for roots in record.given
        for each in make_kernels(device, roots, Record())[2]
    ]
    assert len(kernels) > 25
    sources = render_all(kernels)
    launches = [part.name for source in sources for part in (source, *source.then)]
    text = program(sources)
    for arch in ARCHITECTURES:
        cubin = nvrtc.compile_with(library, text, arch, OPTIONS)
        taken = resources(cubin)
        assert set(taken) == set(launches)
        assert not [name for name, each in taken.items() if each.stack_bytes], arch
        assert max(each.registers for each in taken.values()) <= 168  # three blocks of 128 threads


def test_each_kernel_alone_with_nvcc(tmp_path: Path) -> None:
    """Half types, rows, tiles with and without matrix instructions, random numbers, a gather with its check, scans, sorts, gradients."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no CUDA toolkit (nvcc)")
    x, k = lg.ones(64, 96).realize(), lg.tensor([0, 2, 6]).realize()
    half = x.half().realize()
    functions: list[Callable[[], Any]] = [
        lambda: half.softmax(1), lambda: half @ half.T, lambda: x @ x.T, lambda: x.bfloat16().sum(0), lambda: lg.randn(70), lambda: x[k], lambda: x.cumsum(1),
        lambda: x.sort(1), lambda: lg.func.grad(lambda w: (x @ w).square().sum())(x.T),
    ]  # fmt: skip
    texts = [text for f in functions for text in lg.lower(f).source("cuda").values()]
    assert len(texts) >= len(functions)

    def compiled(number: int) -> str:
        path = tmp_path / f"{number}.cu"
        path.write_text(texts[number])
        command = [nvcc, "-arch=sm_80", "-cubin", "-Xptxas=-v", "-o", f"{path}bin", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr

    with ThreadPoolExecutor(2) as pool:
        for said in pool.map(compiled, range(len(texts))):
            assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in said, said


# --- devices


def test_gpus_by_name() -> None:
    needs_cuda()
    assert devices.get("cuda") is devices.get("cuda:0")
    x = lg.ones(2, device="cuda")
    assert x.device == lg.device("cuda", 0) and x.is_cuda and x.type() == "torch.cuda.FloatTensor"
    assert lg.cuda.FloatTensor(2, 3).is_cuda and isinstance(x, lg.cuda.FloatTensor)
    assert lg.ones(2).type(lg.cuda.DoubleTensor).device.type == "cuda"
    assert not x.type(lg.FloatTensor).is_cuda and lg.ones(2).cuda().cpu().tolist() == [1, 1]
    assert lg.cuda.current_device() == 0 and lg.cuda.get_device_name()
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        lg.ones(2, device="cuda:99")
    with pytest.raises(RuntimeError, match="same device"):
        x + lg.ones(2, device="cpu")
    here, there = lg.arange(2).cpu().realize(), lg.arange(2, device="cuda").realize()
    for left, right in ((here, there), (there, here)):
        with pytest.raises(RuntimeError, match="same device"):
            left.index_select(0, right).tolist()


def test_events_and_streams() -> None:
    """Points in what a GPU runs, and the time between them; what waits for a stream finds everything done."""
    needs_cuda()
    first, last = (lg.cuda.Event(enable_timing=True) for _ in range(2))
    with pytest.raises(ValueError, match="must be recorded before"):
        first.elapsed_time(last)
    assert first.query() and "uninitialized" in repr(first)
    x = lg.zeros(1000, device="cuda").realize()
    first.record()
    x += 1
    last.record()  # the write is submitted before
    last.synchronize()
    assert first.elapsed_time(last) >= 0 and last.query() and x.node.value is not None
    with pytest.raises(ValueError, match="enable_timing=True"):
        first.elapsed_time(lg.cuda.Event())
    other = lg.cuda.Stream()
    assert (
        other == lg.cuda.current_stream() == lg.cuda.default_stream("cuda:0") and other.cuda_stream
    )
    with lg.cuda.stream(other):
        y = x.to("cuda", non_blocking=True) * 2
        other.wait_stream(lg.cuda.current_stream())
        event = other.record_event()
    event.wait()
    lg.cuda.current_stream().wait_event(event)
    other.synchronize()
    assert other.query() and y.sum().item() == 2000
    found = lg.cuda.get_device_properties()
    assert found.total_memory == lg.cuda.mem_get_info()[1] and found.major >= 8 and found.name
    assert lg.cuda.max_memory_reserved() >= lg.cuda.memory_reserved()


@config.override(pool=True)
def test_memory_and_its_end() -> None:
    """What is freed waits for the next; where the driver has no more, the pool is emptied, and then the error has the sizes."""
    needs_cuda()
    lg.cuda.empty_cache()
    before = lg.cuda.memory_allocated()
    x = lg.ones(1 << 20, device="cuda").realize()
    assert lg.cuda.memory_allocated() - before >= 4 << 20 <= lg.cuda.max_memory_allocated()
    assert x.sum().item() == 1 << 20
    del x
    lg.cuda.synchronize()
    assert lg.cuda.memory_reserved() >= 4 << 20
    with pytest.raises(lg.OutOfMemoryError, match=r"Tried to allocate 4096.00 GiB. GPU 0 has"):
        lg.zeros(1 << 40, device="cuda").realize()
    lg.cuda.empty_cache()
    assert lg.cuda.memory_reserved() == lg.cuda.memory_allocated()
    assert (lg.ones(5, device="cuda") * 2).tolist() == [2] * 5, "nothing else is lost"


@pytest.mark.parametrize("size", [0, 1, (4 << 20) - 3, (9 << 20) + 5])
def test_copies(size: int) -> None:
    """There and back through pinned blocks, of sizes around theirs."""
    needs_cuda()
    values = np.random.default_rng(0).integers(0, 255, size, np.uint8)
    there = lg.tensor(values, device="cuda")
    assert np.array_equal(there.cpu().numpy(), values)


def test_contractions() -> None:
    """Tiles with and without rests, batches, transposed operands, what is computed before and after the sum, all sorts of floats."""
    needs_cuda()
    draws = np.random.default_rng(0)
    x, y, z = (lg.tensor(draws.random(s), dtype=lg.float32) for s in ((2, 70, 37), (37, 65), (65,)))

    def products(x: lg.Tensor, y: lg.Tensor, z: lg.Tensor) -> list[lg.Tensor]:
        wide = x[0, :64].contiguous() @ y[:, :64].contiguous()
        images = lg.nn.functional.conv2d(x[None, :, :36], y[None, :6, :6].expand(2, 2, 6, 6))
        return [
            x @ y, (x[0] @ y + z).relu(), y.T @ x[1].T, (x[0].exp() * 2) @ (y + 1), wide.double(), wide @ wide, images,
            x[0].double() @ y.double(), x[1].half() @ y.half(), x[1].bfloat16() @ y.bfloat16(),
        ]  # fmt: skip

    wanted = [value.double().numpy() for value in products(x, y, z)]
    made = products(x.cuda(), y.cuda(), z.cuda())
    lg.realize(made)
    for value, reference in zip(made, wanted, strict=True):
        rough = {lg.float16: 5e-3, lg.bfloat16: 4e-2}.get(value.dtype, 1e-5)
        np.testing.assert_allclose(value.double().cpu().numpy(), reference, rtol=rough)


def test_cubins_are_kept(tmp_path: Path) -> None:
    """By text, architecture, options and compiler; what is damaged is compiled again."""
    program, built = tmp_path / "compiler", []
    program.write_text("first")

    def build(text: str, arch: str, options: tuple[str, ...]) -> bytes:
        built.append((text, arch, *options))
        return f"{text} for {arch}".encode()

    with config.override(cache_dir=str(tmp_path / "cache")):
        for _ in range(2):  # as two processes would
            compiler = nvrtc.kept(str(program), build)
            assert (
                compiler("x", "sm_80", ("-a",)) == compiler("x", "sm_80", ("-a",)) == b"x for sm_80"
            )
        assert len(built) == 1
        (entry,) = (tmp_path / "cache").glob("*.cubin")
        entry.write_bytes(entry.read_bytes()[:-1])
        for other in (
            ("x", "sm_80", "-a"),
            ("y", "sm_80", "-a"),
            ("x", "sm_90", "-a"),
            ("x", "sm_80"),
        ):
            compiler(other[0], other[1], other[2:])
            assert built[-1] == other
        assert len(built) == 5
        program.write_text("another one")
        assert nvrtc.kept(str(program), build)("x", "sm_80", ("-a",)) == b"x for sm_80"
        assert len(built) == 6
        with config.override(dump="source"):  # who looks has everything compiled
            compiler("x", "sm_80", ("-a",))
        assert len(built) == 7


GRAPHS = """
import ctypes
import numpy as np
import lazygrad as lg
launched = ctypes.CDLL("libcuda.so.1").emulator_graph_launches
m, w = (lg.linspace(0, 1, 40 * n, device="cuda").reshape(40, n).realize() for n in (40, 30))
square, wanted = (each.cpu().double().numpy() for each in (m, w))
for step in range(1, 10):
    w = (w - step * 1e-4 * (m @ (m @ w))).realize()
    wanted = wanted - step * 1e-4 * (square @ (square @ wanted))
assert launched() >= 6, launched()
assert np.allclose(w.cpu().numpy(), wanted, rtol=1e-4)
for size in (90, 80, 1, 0, 80, 700, 90):  # grids that change, and one without trips
    rows = lg.arange(size * 1.0, device="cuda").realize()
    assert (rows * 2).sum().item() == size * (size - 1)
    assert abs((rows / (rows.sum() + 1) + 1).sum().item() - size - rows.sum().item() / (rows.sum().item() + 1)) < 1e-3
for index in (0, 2, 9, 1, 9, 2):  # checks are read behind a graph, too
    table = lg.tensor([3.0, 5.0, 7.0], device="cuda").realize()
    places = lg.tensor([index], device="cuda").realize()
    try:
        assert (table[places] + table.sum()).item() == [18, 20, 22][index]
    except IndexError as error:
        assert index == 9 and "index 9 is out of bounds" in str(error)
    else:
        assert index != 9
"""


@ON_THE_EMULATOR
@pytest.mark.parametrize("deferred", ["0", "1"])
def test_plans_become_graphs(deferred: str) -> None:
    """What is run again is one call of the driver, whatever numbers, addresses and grids have changed."""
    execute(GRAPHS, CUDA_EMULATOR_DEFERRED=deferred)


END_OF_MEMORY = """
import lazygrad as lg
part = 1 << 14  # floats
x = lg.ones(40 * part, device="cuda").realize()
y = (x + 1).sum()
del x
assert y.item() == 80 * part and lg.cuda.memory_allocated() < 1 << 16 < 40 << 16 <= lg.cuda.memory_reserved()
z = lg.full((48 * part,), 3.0, device="cuda").realize()  # what waited unused was given back
before = lg.cuda.memory_allocated()
for attempt in range(2):
    try:
        lg.realize([z * 2, z.sum()])
    except lg.OutOfMemoryError as error:
        assert "CUDA out of memory. Tried to allocate 3.00 MiB. GPU 0 has a total capacity of 4.00 MiB" in str(error), error
        assert isinstance(error, RuntimeError) and lg.cuda.OutOfMemoryError is lg.OutOfMemoryError
    else:
        raise AssertionError("there is not so much")
    assert lg.cuda.memory_allocated() == before
assert z.mean().item() == 3 and lg.cuda.max_memory_allocated() >= 48 << 16
del z
lg.cuda.empty_cache()
assert lg.cuda.memory_reserved() < 1 << 16 and lg.cuda.mem_get_info()[1] == 64 << 16
"""


@ON_THE_EMULATOR
def test_the_pool_is_given_back_before_memory_ends() -> None:
    """An allocation that the driver refuses is tried again without what waits unused; then the error has the sizes, and nothing is lost."""
    execute(END_OF_MEMORY, CUDA_EMULATOR_MEMORY=str(64 << 16), LAZYGRAD_POOL="1")


def test_forked_child_is_told() -> None:
    needs_cuda()
    fork("cuda", "CUDA")


@ON_THE_EMULATOR
def test_several_gpus() -> None:
    """Copies from GPU to GPU, and operators that stay where their operands are."""
    execute(
        """
import lazygrad as lg
assert lg.cuda.device_count() == 2 and lg.cuda.can_device_access_peer(0, 1)
x = lg.arange(1000.0, device="cuda:0")
y = (x * 2).to("cuda:1")
z = (y + 1).sum()
assert z.device == lg.device("cuda:1") and z.item() == 1000000.0
with lg.cuda.device(1):
    assert lg.ones(2, device="cuda").device.index == 1 and lg.cuda.current_stream().device.index == 1
event = lg.cuda.Stream("cuda:1").record_event()
lg.cuda.current_stream().wait_event(event)
lg.cuda.current_stream().wait_stream(lg.cuda.Stream(1))
assert (z.to("cuda:0", non_blocking=True) + x[0]).item() == 1000000.0
assert lg.cuda.current_device() == 0 and lg.cuda.memory_allocated(1) > 0
try:
    x + y
except RuntimeError as error:
    assert "cuda:0" in str(error) and "cuda:1" in str(error), error
else:
    raise AssertionError
""",
        CUDA_EMULATOR_DEVICES="2",
    )


def test_verification_and_profile() -> None:
    """LAZYGRAD_VERIFY compares each kernel with the interpreter."""
    needs_cuda()
    with config.override(device="cuda", verify=True):
        assert lg.arange(50.0).reshape(5, 10).exp().log().sum().item() == pytest.approx(1225)


def test_many_loads_have_fences_between_them() -> None:
    """A sum of 40 arrays of doubles has more registers of loads than a fence allows in front of it; one of 30 has not."""

    def total(*arrays: lg.Tensor) -> lg.Tensor:
        found = arrays[0]
        for each in arrays[1:]:
            found = found + each
        return found

    for count, fences in ((40, 1), (30, 0)):
        arrays = [lg.randn(9, dtype=lg.float64).realize() for _ in range(count)]
        lowered = lg.lower(total, *arrays)
        for text, fence in (
            (lowered.source("cuda"), "__threadfence_block();"),
            (lowered.source("opencl", "gpu"), "mem_fence("),
        ):
            (kernel,) = text.values()
            assert kernel.count(fence) == fences
