"""Scans by a group of threads on a GPU: which loops are divided, that they compute the same, and their ends."""

from __future__ import annotations

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.codegen.choose_cuda import choose, optimise, prepared, target
from lazygrad.codegen.reductions import combine, identity
from lazygrad.codegen.render.cuda import program, render
from lazygrad.codegen.transform.access import ScheduleError
from lazygrad.codegen.transform.prefix import KINDS, prefix
from lazygrad.ir import loops
from lazygrad.ir.args import ScanKind
from lazygrad.ir.dtype import DType, float32, float64, int32, int64, uint8
from lazygrad.ir.interpret_loops import run_kernel
from lazygrad.ir.node import Node, constant
from lazygrad.ir.text import parse
from lazygrad.ir.verify import verify_kernel

from .. import conftest
from .test_cuda import needs_cuda

Golden = conftest.Golden

ROWS = """
        kernel rows(%x: f32[6, {size}] in, %n: i64 dim, %y: f32[6, {size}] out)
          for %i in range(0, 6) parallel:
            local %r : f32[]
            store %r[0], 0.0:f32
            for %j in range(0, {extent}):
              %a = load %x[%i*{size} + %j] : f32
              %b = load %r[0] : f32
              %c = add %b, %a : f32
              store %r[0], %c
              store %y[%i*{size} + %j], {stored}
    """


def rows(size: int, stored: str = "%c", extent: str = "") -> Node:
    (kernel,) = parse(ROWS.format(size=size, stored=stored, extent=extent or size))
    return kernel


def steps(kernel: Node) -> list[str]:
    return [str(step) for step in choose(prepared(kernel, target()), target())]


def test_which_loops() -> None:
    """A stretch of each thread is odd, and no longer than a row needs; short rows are a thread's, and so are columns of which there are many."""
    assert steps(rows(1000)) == ["prefix(j, 5)", "accumulate()"]
    assert steps(rows(20000)) == ["prefix(j, 17)", "accumulate()"]
    assert steps(rows(100)) == ["prefix(j, 5)", "accumulate()"]
    assert "prefix(j, 5)" not in steps(rows(20))
    assert steps(rows(9, extent="%n")) == ["prefix(j, 17)", "accumulate()"]
    columns = """
        kernel columns(%x: f64[500, {count}] in, %y: f64[500, {count}] out)
          for %i in range(0, {count}) parallel:
            local %r : f64[]
            store %r[0], 0.0:f64
            for %j in range(0, 500):
              %a = load %x[%i + %j*{count}] : f64
              %b = load %r[0] : f64
              %c = add %b, %a : f64
              store %r[0], %c
              store %y[%i + %j*{count}], %c
    """
    assert steps(parse(columns.format(count=50))[0]) == ["prefix(j, 5)", "accumulate()"]
    assert steps(parse(columns.format(count=50000))[0]) == ["accumulate()"]


def test_what_cannot_be_divided() -> None:
    with pytest.raises(ScheduleError, match="as it is before an iteration"):
        prefix(rows(100, "%b"), "j", 3)
    with pytest.raises(ScheduleError, match="no running value"):
        prefix(rows(100), "i", 3)
    text = ROWS.format(size=100, stored="%c", extent=100)
    for old, new, reason in (
        ("add %b, %a", "sub %b, %a", "no running value"),
        ("load %x[%i*100 + %j]", "load %y[%i*100 + 99 - %j]", "needs other iterations"),
        ("store %y[%i*100 + %j]", "store %y[%i*100]", "write the same element"),
    ):
        (kernel,) = parse(
            text.replace(old, new).replace("y: f32[6, 100] out", "y: f32[6, 100] inout")
        )
        with pytest.raises(ScheduleError, match=reason):
            prefix(kernel, "j", 3)


def test_text_of_a_row_scan(golden: Golden) -> None:
    made = optimise(rows(9000), target())
    verify_kernel(made)
    golden(program([render(made)]))


def scan(kind: ScanKind, dtype: DType, size: int, limit: int) -> Node:
    """Scans of two rows of x and of their squares in one loop, backwards, of which the second is written plus x, and a sum of the first."""
    x = loops.parameter("x", dtype, (2, size), "in")
    n = loops.parameter("n", int64, (), "dim")
    y, z = (loops.parameter(name, dtype, (2, size), "out") for name in "yz")
    s = loops.parameter("s", dtype, (2,), "out")
    i, j = loops.index("i"), loops.index("j")
    totals = [loops.local(name, dtype) for name in ("r", "q", "sum")]
    starts = [loops.store(each, 0, identity(kind, dtype)) for each in totals[:2]]
    starts.append(loops.store(totals[2], 0, constant(0, dtype)))
    place = i * size + (j * -1 + (size - 1))
    value = loops.load(x, place)
    before = [loops.load(each, 0) for each in totals[:2]]
    after = [combine(kind, before[0], value), combine(kind, before[1], value * value)]
    lines = [value, *before]
    lines += [loops.store(total, 0, each) for total, each in zip(totals[:2], after, strict=True)]
    lines += [loops.store(y, place, after[0]), loops.store(z, place, after[1] + value)]
    lines.append(loops.accumulate(totals[2], 0, after[0], "add"))
    inner = loops.loop(j, n if limit else size, lines)
    whole = loops.load(totals[2], 0)
    body = [*totals, *starts, inner, whole, loops.store(s, i, whole)]
    return loops.kernel("scan", [x, n, y, z, s], [loops.loop(i, 2, body, 1, "parallel")])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_values(kind: ScanKind) -> None:
    """Of rows that blocks divide and that they do not, of sizes that are known and those that are not."""
    draws = np.random.default_rng(0)
    types = (int32, uint8) if kind in ("and", "or") else (float32, float64)
    types = (float32, int64) if kind in ("add", "mul", "max", "min") else types
    for dtype in types:
        cases = [(32, 1, 0), (64, 1, 0), (70, 3, 0), (33, 1, 0), (300, 1, 290)]
        for size, stretch, limit in cases if kind == "add" else cases[2:4]:
            kernel = scan(kind, dtype, size, limit)
            made = prefix(kernel, "j", stretch)
            verify_kernel(made)
            x = (draws.random((2, size)) + 0.5).astype(dtype.name)
            if dtype.kind != "float":
                x = draws.integers(0, 100, (2, size)).astype(dtype.name)
            found = [[np.zeros(shape, x.dtype) for shape in (x.shape, x.shape, (2,))] for _ in "ab"]
            for each, results in zip((kernel, made), found, strict=True):
                run_kernel(each, [x, limit, *results])
            for one, other in zip(*found, strict=True):
                if dtype.kind == "float":
                    np.testing.assert_allclose(other, one, rtol=1e-4, err_msg=f"{dtype} {size}")
                else:
                    np.testing.assert_array_equal(other, one, f"{dtype} {size}")


def test_on_a_gpu() -> None:
    """Rows, columns and long vectors, backwards, with what follows in the kernel; sizes that are known when it runs; the same numbers each time."""
    needs_cuda()
    x = lg.arange(27000.0).reshape(3, 9000) * 0.37 % 2 - 0.9

    def made(x: lg.Tensor) -> list[lg.Tensor]:
        short = x[:, :300].contiguous()
        return [
            x.double().cumsum(1),
            short.t().double().cumsum(0),
            x.flatten().cummax(0)[0],
            x.flatten().cummin(0)[1],
            (short.half() + 1).cumprod(1),
            short.logcumsumexp(1),
            x.flip(1).double().cumsum(1).flip(1) * x,
            (x > 0).cumsum(1),
            (x * 9).to(lg.int8).cumsum(1, dtype=lg.int8),
            (x > 0).double().cumsum(1).cumsum(1).sum(1),
        ]

    found, wanted = made(x.cuda()), made(x)
    lg.realize(found)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.cpu().numpy(), other.numpy(), rtol=2e-3 if one.dtype is lg.half else 1e-5)  # fmt: skip
    for size in (1, 40, 0, 5000, 4352, 4353):
        part = x.cuda()[:, :size].contiguous()
        np.testing.assert_allclose(
            part.cumsum(1).cpu().numpy(), x.numpy()[:, :size].astype(float).cumsum(1), atol=2e-3
        )
    again = [each.cpu().numpy() for each in made(x.cuda())]
    assert all(np.array_equal(a, b.cpu().numpy()) for a, b in zip(again, found, strict=True))
