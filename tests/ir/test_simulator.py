"""The simulator: what kernels compute, and what it refuses to compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lazygrad.ir.interpret import SimulationError, run_kernel
from lazygrad.ir.interpret_loops import TRIPS
from lazygrad.ir.node import Node
from lazygrad.ir.text import parse
from lazygrad.ir.verify import verify_kernel

pytestmark = pytest.mark.filterwarnings("error")


def kernel(text: str) -> Node:
    (node,) = parse(text)
    verify_kernel(node)
    return node


SOFTMAX = """
    kernel softmax(%x: f32[1000, 64] in, %n: i64 dim, %y: f32[1000, 64] out)
      for %r in range(0, %n) parallel:
        local %sums : f32[16]
        store %sums[0], 0.0:f32x16
        for %c in range(0, 64, 16):
          %v = load %x[%r*64 + %c] : f32x16
          %e = exp %v : f32x16
          accumulate %sums[0], %e {kind=add}
          store %y[%r*64 + %c], %e
        %a = load %sums[0] : f32x16
        %s = reduce %a {kind=add, axes=(0,), accumulate=f32} : f32
        for %d in range(0, 64, 16):
          %w = load %y[%r*64 + %d] : f32x16
          %t = splat %s : f32x16
          %q = div %w, %t : f32x16
          store %y[%r*64 + %d], %q
"""


def test_rows_with_a_local() -> None:
    x = np.random.default_rng(0).standard_normal((1000, 64)).astype(np.float32)
    y = np.full_like(x, np.nan)
    run_kernel(kernel(SOFTMAX), [x, 990, y])
    exact = np.exp(x.astype(float))
    np.testing.assert_allclose(y[:990], (exact / exact.sum(1, keepdims=True))[:990], 1e-6)
    assert np.isnan(y[990:]).all()


@pytest.mark.parametrize("kind", ["", " parallel", " unroll"])
@pytest.mark.parametrize("step", [1, 7])
def test_steps_and_batches(kind: str, step: int) -> None:
    """More iterations than run in lockstep, and a step that does not divide the extent."""
    size = TRIPS * 2 + 5 if kind == " parallel" else 40
    node = kernel(f"""
        kernel squares(%y: i64[{size}] inout)
          for %i in range(0, {size}, {step}){kind}:
            %k = %i*%i : i64
            store %y[%i], %k
    """)
    y = np.full(size, -1)
    run_kernel(node, [y])
    index = np.arange(size)
    np.testing.assert_array_equal(y, np.where(index % step == 0, index**2, -1))


def test_masks_gathers_scatters_and_numbers() -> None:
    node = kernel("""
        kernel pick(%x: bf16[5] in, %i: i64[4] in, %scale: bf16 number, %y: bf16[9] inout)
          %k = load %i[0] : i64x4
          %low = le 0, %k : boolx4
          %high = lt %k, 5 : boolx4
          %ok = and %low, %high : boolx4
          %v = load %x[%k] if %ok : bf16x4
          %s = splat %scale : bf16x4
          %w = mul %v, %s : bf16x4
          %l = lanes : i64x4
          %o = mul %l, 2 : i64x4
          store %y[%o], %w
          store %y[7], 1.0 if False:bool
    """)
    x = (np.array([1, 2, 3, 4, 5], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    y = np.zeros(9, np.uint16)
    run_kernel(node, [x, np.array([4, -1, 0, 5]), 0.1, y])
    values = (y.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(values, [0.5, 0, 0, 0, np.float32(0.100097656), 0, 0, 0, 0])


def test_lanes_that_accumulate_into_one_element_all_count() -> None:
    node = kernel("""
        kernel histogram(%i: i64[8] in, %y: i64[3] inout)
          %k = load %i[0] : i64x8
          accumulate %y[%k], 1:i64x8 {kind=add}
    """)
    y = np.zeros(3, np.int64)
    run_kernel(node, [np.array([0, 1, 1, 2, 1, 0, 1, 2]), y])
    np.testing.assert_array_equal(y, [2, 4, 2])


def test_a_loop_of_no_iterations_runs_nothing() -> None:
    node = kernel("""
        kernel none(%n: i64 dim, %y: f32[1] inout)
          for %i in range(0, %n) parallel:
            store %y[%i], 1.0
    """)
    y = np.zeros(1, np.float32)
    run_kernel(node, [0, y])
    assert y[0] == 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("%v = load %x[%i + 1] : f32\n store %y[%i], %v", "element 8 of %x, which has 8"),
        ("%v = load %x[%i - 1] : f32\n store %y[%i], %v", "element -1 of %x"),
        ("%v = load %x[%i] : f32x2\n store %y[%i], 1.0", "element 8 of %x"),
        ("store %y[%i + 3], 1.0", "element 8 of %y"),
        ("%v = load %y[%i] : f32\n store %y[%i], %v", "element 0 of %y was never written"),
        (
            "local %a : f32[2]\n store %a[1], 1.0\n %v = load %a[0] : f32\n store %y[%i], %v",
            "element 0 of %a was never",
        ),
        ("store %y[%i//2], 1.0", "two iterations of a parallel loop touch element 0 of %y"),
        ("store %y[%i], 1.0\n %v = load %y[0] : f32\n store %y[%i], %v", "two iterations"),
        ("%v = load %x[0] : f32\n %w = load %z[0] : f32\n store %z[%i], %v", "two iterations"),
    ],
)
def test_what_a_processor_would_not_report(body: str, message: str) -> None:
    lines = "\n".join("        " + line for line in body.split("\n"))
    node = kernel(f"""
kernel wrong(%x: f32[8] in, %z: f32[8] inout, %y: f32[8] out)
    for %i in range(0, 8) parallel:
{lines}
""")
    x = np.ones(8, np.float32)
    with pytest.raises(SimulationError, match=message):
        run_kernel(node, [x, x.copy(), x.copy()])


@pytest.mark.parametrize("error", ["IndexError", "RuntimeError", "ZeroDivisionError"])
def test_a_failed_check_raises_what_it_says(error: Any) -> None:
    node = kernel(f"""
        kernel checked(%i: i64[1] in, %y: f32[3] out)
          %k = load %i[0] : i64
          %ok = lt %k, 3 : bool
          check %ok, {error}, 'index out of bounds'
          store %y[%k], 1.0
    """)
    y = np.zeros(3, np.float32)
    run_kernel(node, [np.array([2]), y])
    assert y[2] == 1
    raised = {
        "IndexError": IndexError,
        "RuntimeError": RuntimeError,
        "ZeroDivisionError": ZeroDivisionError,
    }
    with pytest.raises(raised[error], match="index out of bounds"):
        run_kernel(node, [np.array([3]), y])


def test_arguments_must_be_what_the_params_say() -> None:
    node = kernel("""
        kernel one(%y: f32[4] out)
          store %y[0], 1.0
    """)
    with pytest.raises(TypeError, match="float32"):
        run_kernel(node, [np.zeros(4)])
    with pytest.raises(TypeError, match="contiguous"):
        run_kernel(node, [np.zeros(8, np.float32)[::2]])
