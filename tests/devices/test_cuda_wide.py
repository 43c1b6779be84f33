"""Threads of a GPU that read and write 16 bytes at once: which kernels have them, that they compute the same, and their ends."""

from __future__ import annotations

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.codegen.choose_cuda import TRANSFORMS, choose, optimise, prepared, target
from lazygrad.codegen.render.cuda import program, render
from lazygrad.codegen.transform.access import ScheduleError
from lazygrad.codegen.transform.wide import wide
from lazygrad.ir.interpret_loops import run_kernel
from lazygrad.ir.node import Node
from lazygrad.ir.text import parse
from lazygrad.ir.verify import verify_kernel

from .. import conftest
from .test_cuda import needs_cuda

Golden = conftest.Golden


def chain(size: int, start: int = 0) -> Node:
    (kernel,) = parse(f"""
        kernel chain(%x: f16[{size + start}] in, %m: bool[{size}] in, %c: f16 number, %y: f16[{size}] out)
          for %i in range(0, {size}) parallel:
            %a = load %x[%i + {start}] : f16
            %b = load %m[%i] : bool
            %s = add %a, %c : f16
            %r = where %b, %s, %a : f16
            store %y[%i], %r
    """)
    return kernel


def steps(kernel: Node) -> list[str]:
    return [str(step) for step in choose(prepared(kernel, target()), target())]


def test_which_kernels() -> None:
    """Those with many trips whose results lie together; how many a thread has depends on what is aligned."""
    assert steps(chain(20000)) == ["wide(i, 8)", "accumulate()"]
    assert steps(chain(20000, 2)) == ["wide(i, 8)", "accumulate()"], "it reads x one by one"
    assert steps(chain(2000)) == ["accumulate()"], "a thread an element keeps a GPU busier"
    rows = """
        kernel rows(%x: f32[300, {pitch}] in, %y: f32[300, {size}] out)
          for %i in range(0, 300) parallel:
            for %j in range(0, {size}):
              %a = load %x[%i*{pitch} + %j] : f32
              store %y[%i*{size} + %j], %a
    """
    for size, found in ((100, ["wide(j, 4)"]), (102, ["wide(j, 2)"]), (101, [])):
        (kernel,) = parse(rows.format(pitch=size, size=size))
        assert steps(kernel) == [*found, "accumulate()"]
    with pytest.raises(ScheduleError, match="does not read and write 4 neighbours at once"):
        wide(prepared(kernel, target()), "j", 4)
    assert "wide" in TRANSFORMS


def test_text_of_a_wide_kernel(golden: Golden) -> None:
    made = optimise(chain(20003), target())
    verify_kernel(made)
    golden(program([render(made)]))


@pytest.mark.parametrize(("size", "start"), [(24, 0), (21, 8), (3, 1)])
def test_the_same_elements(size: int, start: int) -> None:
    kernel = wide(prepared(chain(size, start), target()), "i", 8)
    verify_kernel(kernel)
    x = np.arange(size + start, dtype=np.float16)
    m, y = np.arange(size) % 3 == 0, np.zeros(size, np.float16)
    run_kernel(kernel, [x, m, 0.5, y])
    np.testing.assert_array_equal(y, x[start:] + m * np.float16(0.5))


def test_on_a_gpu() -> None:
    """Several types at once, a last thread with fewer elements, rows of two axes in another order, an update in place."""
    needs_cuda()
    x = lg.arange(20003.0) / 7
    rows = x[:19800].reshape(60, 30, 11)

    def made(x: lg.Tensor, rows: lg.Tensor) -> list[lg.Tensor]:
        return [
            lg.where(x.half() > 9, x.half() + 1, x.half()),
            (x * 3).to(lg.int8) > 4,
            (rows.transpose(0, 1) * 2).contiguous(),
            rows[:, :, :8] + rows[0, 0, 3:],
        ]

    found, wanted = made(x.cuda(), rows.cuda()), made(x, rows)
    lg.realize(found)
    for one, other in zip(found, wanted, strict=True):
        assert np.array_equal(one.cpu().numpy(), other.numpy())
    y = x.cuda()
    y *= 2
    assert np.array_equal(y.cpu().numpy(), (x * 2).numpy())
