"""Tiles of GPUs: what copies and matrix instructions mean, what contractions become of them, and what NVIDIA's compiler makes of that."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.codegen.choose_cuda import choose, optimise, prepared, target
from lazygrad.codegen.render.cuda import OPTIONS, program, render, render_all
from lazygrad.codegen.transform.access import ScheduleError
from lazygrad.codegen.transform.tensorize import tensorize
from lazygrad.ir.dtype import DType
from lazygrad.ir.interpret_loops import SimulationError, run_kernel
from lazygrad.ir.node import Node, same
from lazygrad.ir.text import parse, show
from lazygrad.ir.verify import VerificationError, verify_kernel
from lazygrad.runtime import cubin, nvrtc

from .. import conftest
from .test_cuda import needs_cuda

Golden = conftest.Golden
PRODUCTS = """
    kernel products(%x: f16[{size}] in, %w: f16[{size}] in, %y: f32[32, 16] out)
      local %sums : f32[512]
      local %left : f16[{size}]
      local %right : f16[{size}]
      for %t in range(0, 512) threads:
        store %sums[%t], 1.0
        fetch %left[%t], %x[%t] {{elements=1}}
        fetch %right[%t], %w[%t] {{elements=1}} if {mask}
      commit
      await %left, %right {{left={left}}}
      for %warp in range(0, 1) warps:
        mma %sums[%warp*512], %left[0], %right[0] {{rows=32, columns=16, terms=16, {strides}}}
      for %u in range(0, 512) threads:
        %a = load %sums[%u] : f32
        store %y[%u], %a
"""
STRIDES = "left_row=16, left_term=1, right_term=16, right_column=1"


def contraction(
    rows: int, columns: int, terms: int, left: str = "", right: str = "", kind: str = "f16"
) -> Node:
    """A product with what follows it, of operands that lie by rows unless they are `transposed`."""
    x = f"%k*{rows} + %i" if left else f"%i*{terms} + %k"
    w = f"%j*{terms} + %k" if right else f"%k*{columns} + %j"
    (kernel,) = parse(f"""
        kernel product(%x: {kind}[{rows}, {terms}] in, %w: {kind}[{terms}, {columns}] in, %b: f32[{columns}] in, %y: f32[{rows}, {columns}] out)
          for %i in range(0, {rows}) parallel:
            for %j in range(0, {columns}):
              local %sum : f32[]
              store %sum[0], 0.0
              for %k in range(0, {terms}):
                %a = load %x[{x}] : {kind}
                %c = load %w[{w}] : {kind}
                %m = cast %a : f32
                %n = cast %c : f32
                %p = mul %m, %n : f32
                accumulate %sum[0], %p {{kind=add}}
              %t = load %sum[0] : f32
              %v = load %b[%j] : f32
              %r = add %t, %v : f32
              store %y[%i*{columns} + %j], %r
    """)
    return kernel


def test_a_warps_products() -> None:
    """Sums lie as the instruction has them: those of a thread together."""
    (kernel,) = parse(PRODUCTS.format(size=512, mask="True:bool", left=0, strides=STRIDES))
    verify_kernel(kernel)
    assert same(parse(show(kernel)), [kernel])
    draws = np.random.default_rng(0)
    x, w = (draws.integers(-4, 5, 512).astype(np.float16) for _ in range(2))
    found = np.zeros((32, 16), np.float32)
    run_kernel(kernel, [x, w, found])
    wanted = 1 + x.reshape(32, 16).astype(np.float32) @ w[:256].reshape(16, 16)
    places = [
        (i % 8 * 4 + j % 8 // 2) * 16 + (i // 16 * 2 + j // 8) * 4 + i % 16 // 8 * 2 + j % 2
        for i in range(32)
        for j in range(16)
    ]
    np.testing.assert_array_equal(found.reshape(-1)[places].reshape(32, 16), wanted)
    (nothing,) = parse(PRODUCTS.format(size=512, mask="False:bool", left=0, strides=STRIDES))
    run_kernel(nothing, [x, w, found])
    assert (found == 1).all()


def test_copies_are_waited_for() -> None:
    """What is under way is not there: the simulator says so, of reads and at the end."""
    given = [np.zeros(512, np.float16)] * 2 + [np.zeros((32, 16), np.float32)]
    text = PRODUCTS.format(size=512, mask="True:bool", left=1, strides=STRIDES)
    with pytest.raises(SimulationError, match=r"%left was never written"):
        run_kernel(parse(text)[0], given)
    lines = [line for line in text.splitlines() if "mma" not in line]
    inside = [line.partition("(")[0] for line in lines]
    start = next(i for i, line in enumerate(inside) if "local" in line)
    parallel = [*lines[:start], "      for %i in range(0, 1) parallel:"]
    parallel += [f"  {line}" for line in lines[start:] if "warps" not in line]
    with pytest.raises(SimulationError, match="a copy is never waited for"):
        run_kernel(parse("\n".join(parallel))[0], given)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("rows=32", "rows=24"), "come in groups of 16"),
        (("left_row=16", "left_row=32"), "leave a buffer of 512"),
        (("%w: f16", "%w: bf16"), "bfloat16 is not what a local of float16 holds"),
        (("local %right : f16", "local %right : f32"), "not what a local of float32 holds"),
        (("fetch %left[%t], %x", "fetch %left[%t], %sums"), "from a buffer that is given"),
        (("elements=1} if", "elements=0} if"), "it copies some elements"),
        (("await %left,", "await %x,"), "what is waited for are locals"),
        (("left=0}", "left=-1}"), "no number of groups is negative"),
    ],
)  # fmt: skip
def test_what_is_refused(change: tuple[str, str], sentence: str) -> None:
    text = PRODUCTS.format(size=512, mask="True:bool", left=0, strides=STRIDES)
    assert change[0] in text
    with pytest.raises(VerificationError, match=sentence):
        verify_kernel(parse(text.replace(*change))[0])


def test_a_contraction_of_halves(golden: Golden) -> None:
    """What it becomes: the loop tree, and its text."""
    kernel = contraction(300, 200, 160, right="transposed")
    steps = choose(prepared(kernel, target()), target())
    assert [str(step) for step in steps] == ["tensorize(j, 64)", "accumulate()"]
    made = optimise(kernel, target())
    verify_kernel(made)
    golden(made)
    golden(program([render(made)]), "text")
    large = prepared(contraction(4096, 4096, 4096, kind="bf16"), target())
    assert str(choose(large, target())[0]) == "tensorize(j, 128)"
    single = prepared(contraction(300, 200, 160, kind="f32"), target())
    assert str(choose(single, target())[0]) == "tile(j, 64)"
    with pytest.raises(ScheduleError, match="of other types"):
        tensorize(single, "j", 64)


@pytest.mark.parametrize("sizes", [(64, 64, 32), (40, 33, 18)])
def test_tiles_compute_the_same(sizes: tuple[int, int, int]) -> None:
    """The interpreter runs what a GPU would: whole tiles by copies of 16 bytes, and parts of tiles of which nothing is aligned."""
    rows, columns, terms = sizes
    draws = np.random.default_rng(0)
    x = draws.integers(-4, 5, (rows, terms)).astype(np.float16)
    w = draws.integers(-4, 5, (terms, columns)).astype(np.float16)
    b, y = np.arange(columns, dtype=np.float32), np.zeros((rows, columns), np.float32)
    kernel = tensorize(prepared(contraction(rows, columns, terms), target()), "j", 64)
    run_kernel(kernel, [x, w, b, y])
    np.testing.assert_array_equal(y, x.astype(np.float32) @ w.astype(np.float32) + b)


def test_nothing_is_spilled() -> None:
    """However operands lie, and for each architecture: all sums in registers, all stages in the memory that every kernel may have."""
    library = nvrtc.packaged()
    if library is None:
        pytest.skip("no package nvidia-cuda-nvrtc")
    kernels = [
        contraction(4096, 4096, 4096, left, right, kind)
        for left, right, kind in (("", "", "f16"), ("t", "t", "bf16"), ("", "t", "f32"), ("t", "", "f32"))
    ]  # fmt: skip
    for kernel in kernels:
        text = program([render(optimise(kernel, target()))])
        for arch in ("sm_80", "sm_90"):
            (taken,) = cubin.resources(nvrtc.compile_with(library, text, arch, OPTIONS)).values()
            assert taken.stack_bytes == 0 and taken.registers <= 255
            assert taken.shared_bytes <= (48 << 10) + 1024


@pytest.mark.parametrize(("left", "right"), [("", ""), ("", "t"), ("t", "")])
def test_main_loops_multiply(left: str, right: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most instructions of the loop of a product of halves are matrix instructions and what feeds them, 16 bytes at a time; no bank is waited for."""
    library = nvrtc.packaged()
    if library is None:
        pytest.skip("no package nvidia-cuda-nvrtc")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    resources = importlib.import_module("cuda_resources")
    kernel = optimise(contraction(4096, 4096, 4096, left, right), target())
    (source,) = render_all([kernel])
    met = resources.accesses(kernel, source.mapping, resources.shared_arrays(kernel, source))
    assert met.shared > 0 and met.conflicts == 0
    for arch in ("sm_80", "sm_90"):
        loop = resources.main_loop(nvrtc.compile_with(library, program([source]), arch, OPTIONS))
        least, multiply = 0.6, "HMMA"
        if not loop:  # nvdisasm is not here; PTX has more steps for addresses than what is issued
            virtual = arch.replace("sm_", "compute_")
            text = nvrtc.compile_with(library, program([source]), virtual, OPTIONS, "PTX")
            loop = resources.main_loop_of_ptx(text.rstrip(b"\0").decode())
            least, multiply = 0.5, "mma"
        assert sum(name.startswith(multiply) for name in loop) >= 64
        assert sum(map(resources.computes, loop)) >= least * len(loop), loop


def gradient(x: lg.Tensor, y: lg.Tensor, z: lg.Tensor) -> lg.Tensor:
    x = x.detach().requires_grad_()
    ((x @ y + z).relu() ** 2).sum().backward()
    assert x.grad is not None
    return x.grad


PROGRAMS: list[Callable[[lg.Tensor, lg.Tensor, lg.Tensor], lg.Tensor]] = [
    lambda x, y, z: (x @ y + z).relu(),
    lambda x, y, z: y.T @ x.T,
    lambda x, y, z: x[:64, :36].contiguous() @ y[:36, :40].contiguous(),
    lambda x, y, z: x[:, :36].reshape(2, 35, 36) @ x[:, :36].reshape(2, 35, 36).mT,
    lambda x, y, z: (x * 2) @ y.relu(),
    gradient,
]


@pytest.mark.parametrize("kind", [lg.float16, lg.bfloat16])
def test_contractions_of_halves(kind: DType) -> None:
    """Sizes that nothing divides, aligned and not; transposed operands, batches, what is computed before and after the sum, gradients."""
    needs_cuda()
    draws = np.random.default_rng(0)
    given = [lg.tensor(draws.random(s) - 0.4).to(kind) for s in ((70, 37), (37, 65), (65,))]
    close = 1e-3 if kind == lg.float16 else 8e-3
    chosen = PROGRAMS if kind == lg.float16 else PROGRAMS[:2]
    made = [each(*[value.cuda() for value in given]) for each in chosen]
    lg.realize(made)
    for value, each in zip(made, chosen, strict=True):
        wanted = each(*[value.double() for value in given]).numpy()
        found = value.double().cpu().numpy()
        assert abs(found - wanted).max() <= 2 * close * abs(wanted).max()
