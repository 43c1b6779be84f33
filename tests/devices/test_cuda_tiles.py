"""Tiles of GPUs: what copies and matrix instructions mean, what contractions become of them, and what NVIDIA's compiler makes of that."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.codegen.choose_cuda import choose, optimise, prepared, target
from lazygrad.codegen.render.cuda import OPTIONS, program, render, render_all
from lazygrad.codegen.transform import contraction as transform_contraction
from lazygrad.codegen.transform.access import ScheduleError, lines_inside
from lazygrad.codegen.transform.tensorize import tensorize
from lazygrad.codegen.transform.tile import tile
from lazygrad.ir.dtype import DType
from lazygrad.ir.interpret_loops import SimulationError, run_kernel
from lazygrad.ir.node import Node, same
from lazygrad.ir.op import Op
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


CONVOLUTION = """
    kernel convolution(%x: f32[{n}, 3, {rows}, {columns}] in, %w: f32[{filters}, 3, 2, 2] in, %b: f32[{filters}] in, %y: f32[{n}, {filters}, {height}, {width}] out)
      for %i in range(0, {n}) parallel:
        for %j in range(0, {filters}):
          %c = load %b[%j] : f32
          for %k in range(0, {height}):
            for %l in range(0, {width}):
              local %sum : f32[]
              store %sum[0], 0.0
              for %m in range(0, 3):
                for %p in range(0, 2):
                  for %q in range(0, 2):
                    %u = load %x[%i*{plane}*3 + %m*{plane} + (%k + %p)*{columns} + %l + %q] : f32
                    %v = load %w[%j*12 + %m*4 + %p*2 + %q] : f32
                    %z = mul %u, %v : f32
                    accumulate %sum[0], %z {{kind=add}}
              %t = load %sum[0] : f32
              %r = add %t, %c : f32
              store %y[%i*{results}*{filters} + %j*{results} + %k*{width} + %l], %r
"""


def convolution(n: int, filters: int, height: int, width: int) -> Node:
    """A kernel of a convolution by 2 x 2, of three channels, as placement makes it: what is added is read outside of its places."""
    text = CONVOLUTION.format(
        n=n,
        filters=filters,
        height=height,
        width=width,
        rows=height + 1,
        columns=width + 1,
        plane=(height + 1) * (width + 1),
        results=height * width,
    )
    return parse(text)[0]


def test_sides_are_several_loops() -> None:
    """All places are columns, of all images where those of one leave much of a tile unused; few filters are a narrow tile."""
    for sizes, size, outer in (
        ((2, 9, 3, 4), (9, 24, 12), 0),
        ((2, 33, 16, 8), (33, 128, 12), 1),
        ((1, 20, 2, 128), (20, 128, 12), 2),
    ):
        found = transform_contraction.contraction(prepared(convolution(*sizes), target()))
        assert found is not None and found.size == size and len(found.outer) == outer
    sizes = (2, 9, 3, 4)
    kernel = convolution(*sizes)
    tiled = tile(prepared(kernel, target()), "l", 64)
    verify_kernel(tiled)
    draws = np.random.default_rng(0)
    n, filters, height, width = sizes
    given = [
        draws.integers(-4, 5, shape).astype(np.float32)
        for shape in ((n, 3, height + 1, width + 1), (filters, 3, 2, 2), (filters,))
    ]
    results = [np.zeros((n, filters, height, width), np.float32) for _ in range(2)]
    for each, y in zip((kernel, tiled), results, strict=True):
        run_kernel(each, [*given, y])
    assert results[0].any()
    np.testing.assert_array_equal(results[0], results[1])


@pytest.mark.parametrize(
    ("sizes", "step"),
    [
        ((64, 3, 32, 32), "accumulate()"),
        ((16, 4096, 4096), "tile(j, 64)"),
        ((4096, 20, 4096), "tile(j, 64)"),
        ((16, 1 << 15, 64), "tile(j, 128)"),
        ((16, 256, 4096), "share(k)"),
    ],
)
def test_what_is_tiled(sizes: tuple[int, ...], step: str) -> None:
    """Many results, however few rows or columns they have; a sum of few terms is a thread's, and each of few results a group's."""
    if len(sizes) == 4:
        kernel = convolution(*sizes)
    else:
        rows, columns, terms = sizes
        kernel = contraction(rows, columns, terms, right="t", kind="f32")
    assert str(choose(prepared(kernel, target()), target())[0]) == step


@pytest.mark.parametrize(("rows", "columns", "right"), [(9, 20, "transposed"), (20, 16, "")])
def test_narrow_tiles(rows: int, columns: int, right: str) -> None:
    """Tiles have no more rows, or columns, than there are, rounded up."""
    draws = np.random.default_rng(0)
    x = draws.integers(-4, 5, (rows, 6)).astype(np.float32)
    w = draws.integers(-4, 5, (6, columns)).astype(np.float32)
    b, y = np.arange(columns, dtype=np.float32), np.zeros((rows, columns), np.float32)
    kernel = tile(prepared(contraction(rows, columns, 6, "", right, "f32"), target()), "j", 64)
    sums = next(
        line for line in lines_inside(kernel) if line.op is Op.LOCAL and "sums" in str(line.arg)
    )
    sides = [next((n for n in (16, 32) if size <= n), 64) for size in (rows, columns)]
    assert sums.shape == (sides[0] * sides[1],)
    run_kernel(kernel, [x, np.ascontiguousarray(w.T) if right else w, b, y])
    np.testing.assert_array_equal(y, x @ w + b)


PRODUCT_OF_DIMS = """
    kernel product(%x: {kind}[{rows}, {terms}] in, %w: {kind}[{terms}, {columns}] in, %n: i64 dim, %y: f32[{rows}, {columns}] out)
      for %i in range(0, {outer_rows}) parallel:
        for %g in range(0, {inner_rows}):
          for %j in range(0, {of_columns}):
            local %sum : f32[]
            store %sum[0], 0.0
            for %k in range(0, {of_terms}):
              %a = load %x[(%i*{inner_rows} + %g)*{terms} + %k] : {kind}
              %c = load %w[%k*{columns} + %j] : {kind}
              %d = cast %a : f32
              %e = cast %c : f32
              %p = mul %d, %e : f32
              accumulate %sum[0], %p {{kind=add}}
            %t = load %sum[0] : f32
            store %y[(%i*{inner_rows} + %g)*{columns} + %j], %t
"""


@pytest.mark.parametrize(
    ("unknown", "kind"),
    [("rows", "f32"), ("terms and rows", "f32"), ("columns", "f16"), ("terms", "f16")],
)
def test_sizes_that_are_known_when_it_runs(unknown: str, kind: str) -> None:
    """Tiles, whose last ones and last terms may be less than whole, down to none at all."""
    most = {"rows": 36, "columns": 20, "terms": 18}
    names = {f"of_{name}": "%n" if name in unknown else size for name, size in most.items()}
    of_rows = names.pop("of_rows")
    outer, inner = (of_rows, 1) if of_rows == "%n" else (9, 4)
    text = PRODUCT_OF_DIMS.format(kind=kind, outer_rows=outer, inner_rows=inner, **most, **names)
    kernel = prepared(parse(text)[0], target())
    made = (tensorize if kind == "f16" else tile)(kernel, "j", 64)
    verify_kernel(made)
    assert show(parse(show(made))[0]) == show(made)
    draws = np.random.default_rng(0)
    x, w = (
        draws.integers(-4, 5, shape).astype(np.float16 if kind == "f16" else np.float32)
        for shape in ((36, 18), (18, 20))
    )
    for n in (0, 17):
        rows, columns, terms = (n if name in unknown else most[name] for name in most)
        y = np.full((36, 20), np.nan, np.float32)
        run_kernel(made, [x, w, n, y])
        wanted = x[:rows, :terms].astype(np.float32) @ w[:terms, :columns].astype(np.float32)
        np.testing.assert_array_equal(y[:rows, :columns], wanted)
        assert np.isnan(y[rows:]).all() and np.isnan(y[:, columns:]).all()


def test_which_sizes_may_be_unknown() -> None:
    """A side, or the terms, of several loops: the outermost alone."""
    most = {"rows": 80, "columns": 40, "terms": 72, "of_columns": 40, "of_terms": 72}
    sizes: dict[str, Any]
    for outer, inner, tiled in (("%n", 4, True), (20, "%n", True), (20, 4, True)):
        sizes = {"outer_rows": outer, "inner_rows": inner}
        kernel = prepared(parse(PRODUCT_OF_DIMS.format(kind="f32", **most, **sizes))[0], target())
        found = transform_contraction.contraction(kernel)
        assert (found is not None) is tiled
        assert found is None or len(found.rows) == (1 if inner == "%n" else 2)
    large = {
        "rows": 1 << 12,
        "columns": 1 << 12,
        "terms": 64,
        "of_terms": 64,
        "outer_rows": 1 << 12,
        "inner_rows": 1,
    }
    for columns, size in (("%n", 64), (1 << 12, 128)):
        text = PRODUCT_OF_DIMS.format(kind="f32", of_columns=columns, **large)
        step, _ = choose(prepared(parse(text)[0], target()), target())
        assert str(step) == f"tile(j, {size})"
    text = PRODUCT_OF_DIMS.format(kind="f16", of_columns="%n", **large)
    for pitch, name in (("64", "tensorize"), ("%n", "tile")):  # rows no copy of 2 bytes reaches
        (kernel,) = parse(text.replace(")*64 + %k", f")*{pitch} + %k"))
        assert choose(prepared(kernel, target()), target())[0].name == name


def test_loads_between_the_loops_of_a_grid() -> None:
    """They sink into the inner loop, so that both are the grid; not if something in the kernel writes what they read, or the inner loop adds up."""
    text = """
        kernel scale(%m: f32[32] {kind}, %x: f32[32, 100] in, %y: f32[32, 100] out)
          for %i in range(0, 32) parallel:
            %a = load %m[%i] : f32
            for %j in range(0, 100):
              %b = load %x[%i*100 + %j] : f32
              %c = mul %a, %b : f32
              store {stored}, %c
    """
    whole, kept, carried = (
        prepared(parse(text.format(kind=kind, stored=stored))[0], target())
        for kind, stored in (
            ("in", "%y[%i*100 + %j]"),
            ("out", "%m[%i*100 + %j]"),
            ("in", "%y[%i*100]"),
        )
    )
    assert show(whole).count("parallel") == 2
    assert show(kept).count("parallel") == 1 and show(carried).count("parallel") == 1


def test_nothing_is_spilled() -> None:
    """However operands lie, and for each architecture: all sums in registers, all stages in the memory that every kernel may have."""
    library = nvrtc.packaged()
    if library is None:
        pytest.skip("no package nvidia-cuda-nvrtc")
    kernels = [
        contraction(4096, 4096, 4096, left, right, kind)
        for left, right, kind in (("", "", "f16"), ("t", "t", "bf16"), ("", "t", "f32"), ("t", "", "f32"))
    ]  # fmt: skip
    kernels += [contraction(9, 1000, 300), contraction(300, 200, 130), contraction(64, 64, 520)]
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


def convolved(x: lg.Tensor, w: lg.Tensor, b: lg.Tensor) -> lg.Tensor:
    return lg.nn.functional.conv2d(x.reshape(2, 5, 16, 16), w.reshape(36, 5, 3, 3), b, padding=1)


def weight_gradient(x: lg.Tensor, w: lg.Tensor, b: lg.Tensor) -> lg.Tensor:
    w = w.detach().requires_grad_()
    (convolved(x, w, b) ** 2).sum().backward()
    assert w.grad is not None
    return w.grad


SINGLES: list[tuple[Callable[..., lg.Tensor], tuple[tuple[int, ...], ...]]] = [
    (convolved, ((2560,), (1620,), (36,))),
    (weight_gradient, ((2560,), (1620,), (36,))),
    (lambda x, y, z: x @ y + z, ((17, 50), (50, 600), (600,))),
    (lambda x, y, z: (x @ y).relu() * z, ((700, 34), (34, 13), (13,))),
    (lambda x, y, z: lg.einsum("bimk,hjk->bhimj", x, y) + z, ((3, 2, 33, 20), (2, 21, 20), (21,))),
    (lambda x, y, z: lg.einsum("bik,bjk->ijb", x, y) + z, ((3, 70, 20), (3, 41, 20), (3,))),
]


@pytest.mark.parametrize("number", range(len(SINGLES)))
def test_contractions_of_singles(number: int) -> None:
    """Several loops a side, of tiles and parts of them, few rows and few columns; in float16, too."""
    needs_cuda()
    program, shapes = SINGLES[number]
    draws = np.random.default_rng(number)
    whole = [lg.tensor(draws.integers(-2, 3, shape).astype(np.float64)) for shape in shapes]
    wanted = program(*whole).numpy()
    for kind, close in ((lg.float32, 1e-6), (lg.float16, 2e-3)):
        found = program(*[value.to(kind).cuda() for value in whole]).double().cpu().numpy()
        assert abs(found - wanted).max() <= close * abs(wanted).max()


@pytest.mark.parametrize("kind", [lg.float32, lg.float16])
def test_growing_lengths(kind: DType) -> None:
    """Rows, columns and terms of a length that changes: few plans, of tiles."""
    needs_cuda()
    draws = np.random.default_rng(0)
    w = draws.integers(-2, 3, (40, 36)).astype(np.float64)
    given = lg.tensor(w).to(kind).cuda()
    for length in (60, 61, 62, 63, 70, 5):
        x = draws.integers(-2, 3, (length, 40)).astype(np.float64)
        there = lg.tensor(x).to(kind).cuda()
        made = [there @ given, given.t() @ there.t(), there.t() @ there]
        for found, wanted in zip(made, (x @ w, w.T @ x.T, x.T @ x), strict=True):
            np.testing.assert_array_equal(found.double().cpu().numpy(), wanted)
