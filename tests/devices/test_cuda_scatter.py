"""Scatters on a GPU: which steps each gets, that their loops compute what one iteration after the other does, atomic updates of every type, and what is deterministic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.codegen.choose_cuda import apply, choose, optimise, prepared, target
from lazygrad.codegen.render.cuda import program, render
from lazygrad.codegen.transform.access import ScheduleError
from lazygrad.codegen.transform.launches import grid, launches
from lazygrad.codegen.transform.scatter import atomic, owned
from lazygrad.ir.interpret_loops import SimulationError, run_kernel
from lazygrad.ir.node import Node
from lazygrad.ir.text import parse, show
from lazygrad.ir.verify import verify_kernel

from .. import conftest
from .test_cuda import needs_cuda

Golden = conftest.Golden
STEPS = {
    "elements": ["grid(i)", "atomic(k)"],
    "rows": ["grid(i)", "owned(k, {owners})"],
    "of rows": ["distribute(b)", "grid(b)", "atomic(b_rest)"],
    "overwritten": ["grid(i)", "winner(k)"],
    "rows overwritten": ["grid(i)", "owned(k, {owners})"],
}


def scattered(kind: str, dtype: str = "f32", met: str = "add") -> Node:
    """A scatter of a few updates; `met` is how they meet what is there."""
    rows, row = ("rows" in kind and "of" not in kind), "of rows" == kind
    size, width, count = 20, 32 if rows else 1, 12 if rows else 70
    shape = f"[{size}, {width}]" if rows else "[3, 20]" if row else f"[{size}]"
    at = f"%{'b' if not rows else 'none'}*20 + %j" if row else f"%i*{width} + %j" if rows else "%i"
    place = "%b*20 + %p" if row else f"%l + %p*{width}" if rows else "%p"
    index = f"%b*{count} + %k" if row else "%k"
    value = f"%l + %k*{width}" if rows else index
    old = f"%o = load %y[{place}] : {dtype}\n%n = {met} %o, %v : {dtype}" if met else ""
    fill = [f"%s = load %x[{at}] : {dtype}", f"store %y[{at}], %s"]
    update = [
        f"%v = load %u[{value}] : {dtype}",
        *old.splitlines(),
        f"store %y[{place}], {'%n' if met else '%v'}",
    ]
    look = [
        f"%q = load %w[{index}] : i64", "%a = le 0, %q : bool", f"%c = lt %q, {size} : bool", "%d = and %a, %c : bool",
        "check %d, IndexError, 'index out of range'", "%p = where %d, %q, 0 : i64",
    ]  # fmt: skip
    lines: list[str] = []
    if row:
        lines += ["for %b in range(0, 3) parallel:", "  for %j in range(0, 20):"]
        lines += [f"    {each}" for each in fill]
        lines += [f"  for %k in range(0, {count}):", *[f"    {each}" for each in (*look, *update)]]
    elif rows:
        lines += ["for %i in range(0, 20):", f"  for %j in range(0, {width}):"]
        lines += [f"    {each}" for each in fill]
        lines += [f"for %k in range(0, {count}):", *[f"  {each}" for each in look]]
        lines += [f"  for %l in range(0, {width}):", *[f"    {each}" for each in update]]
    else:
        lines += ["for %i in range(0, 20):", *[f"  {each}" for each in fill]]
        lines += [f"for %k in range(0, {count}):", *[f"  {each}" for each in (*look, *update)]]
    updates = f"[{count}, {width}]" if rows else f"[3, {count}]" if row else f"[{count}]"
    indices = f"[3, {count}]" if row else f"[{count}]"
    head = f"kernel scatter(%x: {dtype}{shape} in, %w: i64{indices} in, %u: {dtype}{updates} in, %y: {dtype}{shape} out)"
    (kernel,) = parse("\n".join([head, *[f"  {line}" for line in lines]]))
    return kernel


def values(kernel: Node, seed: int) -> list[Any]:
    made = np.random.default_rng(seed)
    params = kernel.src[:4]
    shapes: list[Any] = [param.shape for param in params]
    truths = params[0].dtype.kind == "bool"
    bounds = (2 if truths else 5, 20, 2 if truths else 3)
    given = [
        made.integers(0, bound, shape).astype(param.dtype.storage)
        for param, shape, bound in zip(params, shapes, bounds, strict=False)
    ]
    return [*given, np.zeros(shapes[3], params[3].dtype.storage)]


@pytest.mark.parametrize("kind", STEPS)
@pytest.mark.parametrize("deterministic", [False, True])
def test_steps_and_the_same_values(kind: str, deterministic: bool) -> None:
    """Whole numbers, so that sums are the same in any order; the last update of an element is one in any case."""
    met = "" if "overwritten" in kind else "add"
    kernel = prepared(scattered(kind, met=met), target())
    steps = choose(kernel, replace(target(), deterministic=deterministic))
    names = [
        str(step).replace(str(step.factor), "{owners}") if step.factor else str(step)
        for step in steps
    ]
    if not deterministic:
        assert names == [*STEPS[kind], "accumulate()"]
    assert not deterministic or not any(step.name == "atomic" for step in steps)
    made = apply(kernel, steps)
    verify_kernel(made)
    assert len(launches(made).kernels) == len([s for s in steps if s.name in ("grid", "atomic", "owned")]) + 3 * ("winner(k)" in names)  # fmt: skip
    for seed in range(3):
        one, other = values(kernel, seed), values(kernel, seed)
        run_kernel(kernel, one)
        run_kernel(made, other)
        np.testing.assert_array_equal(one[3], other[3])
    one[1].flat[9] = 20
    with pytest.raises(IndexError, match="index out of range"):
        run_kernel(made, one)


DTYPES = ["f64", "f32", "f16", "bf16", "i64", "i32", "i16", "i8", "u8", "u32", "u64", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_atomic_updates_of_every_type(dtype: str) -> None:
    """As one after the other: whole numbers that every type can add and multiply exactly."""
    for met in ("add", "mul", "max", "min"):
        if dtype == "bool" and met in ("add", "mul"):
            continue
        kernel = prepared(scattered("elements", dtype, met), target())
        made = atomic(kernel, "k")
        verify_kernel(made)
        assert show(parse(show(made))[0]) == show(made)
        one = values(kernel, 1)
        np.minimum(one[0], one[0].dtype.type(1), out=one[0])
        np.minimum(one[2], one[2].dtype.type(1), out=one[2])
        other = [*one[:3], np.zeros_like(one[3])]
        run_kernel(kernel, one)
        run_kernel(made, other)
        np.testing.assert_array_equal(one[3], other[3])


def test_text_of_a_scatter(golden: Golden) -> None:
    """Two launches: elements that are filled, and atomic updates of halves, for which there is no instruction."""
    golden(program([render(optimise(scattered("elements", "f16", "max"), target()))]))


def test_what_is_refused() -> None:
    (kernel,) = parse("""
        kernel moved(%w: i64[9] in, %y: i64[9] inout)
          for %k in range(0, 9):
            %p = load %w[%k] : i64
            %o = load %y[%p] : i64
            store %y[%k], %o
    """)
    with pytest.raises(ScheduleError, match="reads what it writes"):
        atomic(kernel, "k")
    with pytest.raises(ScheduleError, match="the updates of loop k overwrite"):
        atomic(scattered("overwritten", met=""), "k")
    (kernel,) = parse("""
        kernel unbounded(%w: i64[9] in, %y: i64[9] inout)
          for %k in range(0, 9):
            %p = load %w[%k] : i64
            %o = load %y[%p] : i64
            %n = add %o, 1 : i64
            store %y[%p], %n
    """)
    with pytest.raises(ScheduleError, match="is not known to end"):
        owned(kernel, "k", 3)
    (kernel,) = parse("""
        kernel raced(%w: i64[9] in, %y: i64[9] inout)
          for %k in range(0, 9) parallel:
            %p = load %w[%k] : i64
            accumulate %y[%p], 1 {kind=add, atomic=True}
            %o = load %y[0] : i64
    """)
    with pytest.raises(SimulationError, match="two iterations of a parallel loop"):
        run_kernel(kernel, [np.arange(9) // 2, np.zeros(9, np.int64)])


CASES: dict[str, Any] = {
    "add": lambda x, at, u: x.index_add(0, at, u),
    "rows": lambda x, at, u: x.reshape(20, 5).repeat(1, 8).index_add(0, at[:70] % 20, u.reshape(70, 40)),
    "max": lambda x, at, u: x.scatter_reduce(0, at, u, "amax"),
    "min": lambda x, at, u: x.scatter_reduce(0, at, u, "amin"),
    "product": lambda x, at, u: x.scatter_reduce(0, at, u.clamp(max=1), "prod"),
    "along rows": lambda x, at, u: x.reshape(4, 25).scatter_add(1, at.reshape(4, 700) % 25, u.reshape(4, 700)),
    "overwritten": lambda x, at, u: x.scatter(0, at, u),
    "put": lambda x, at, u: x.index_put((at,), u),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"])  # fmt: skip
def test_on_a_gpu(dtype: str) -> None:
    """Every kind of update beside the CPU's; sums of whole numbers are exact, and a NaN stays."""
    needs_cuda()
    made = np.random.default_rng(2)
    x, at, u = made.integers(0, 2, 100), made.integers(0, 100, 2800), made.integers(0, 2, 2800)
    at[:3] = 7
    for deterministic in (False, True):
        lg.use_deterministic_algorithms(deterministic)
        try:
            for name, case in CASES.items():
                found = []
                for device in ("cuda", "cpu"):
                    given = lg.tensor(x).to(getattr(lg, dtype)), lg.tensor(at), lg.tensor(u).to(getattr(lg, dtype))  # fmt: skip
                    if "float" in dtype and name in ("max", "min"):
                        given[2][1] = float("nan")
                    found.append(case(*[each.to(device) for each in given]).double().tolist())
                np.testing.assert_array_equal(found[0], found[1], err_msg=name)
        finally:
            lg.use_deterministic_algorithms(False)


def test_what_is_deterministic() -> None:
    """Sums of floats at single elements meet atomically, unless that is asked not to be; rows never do, integers always."""
    x, at, u = lg.zeros(50), lg.arange(900) % 50, lg.ones(900)
    rows = lg.zeros(50, 64), lg.ones(900, 64)

    def text(values: lg.Tensor, updates: lg.Tensor) -> str:
        lowered = lg.lower(lambda: values.index_add(0, at, updates))
        return str(lowered.source("cuda"))

    assert "atomicAdd" in text(x, u) and "atomicAdd" in text(x.long(), u.long())
    assert "atomicAdd" not in text(*rows) and "_owner" in text(*rows)
    lg.use_deterministic_algorithms(True)
    try:
        assert "atomicAdd" not in text(x, u) and "_owner" in text(x, u)
        assert "atomicAdd" in text(x.long(), u.long())
    finally:
        lg.use_deterministic_algorithms(False)
    assert "atomicAdd" in text(x, u)


SUMMED_IN_FRONT = """
    kernel scaled(%x: f32[90] in, %y: f32[90] out)
      local %r : f32[]
      store %r[0], 0.0
      for %i in range(0, 90):
        %a = load %x[%i] : f32
        accumulate %r[0], %a {kind=add}
      %b = load %r[0] : f32
      for %j in range(0, 90) parallel:
        %c = load %x[%j] : f32
        %d = mul %c, %b : f32
        store %y[%j], %d
"""


def test_sums_in_front_of_a_grid_are_a_groups() -> None:
    """Iterations that add to one register are no grid: threads would race for it."""
    (kernel,) = parse(SUMMED_IN_FRONT)
    with pytest.raises(ScheduleError, match="iterations accumulate in the same element"):
        grid(kernel, "i")
    steps = choose(prepared(kernel, target()), target())
    assert str(steps[0]) == "share(i)" and "grid" not in str(steps)
    made = apply(prepared(kernel, target()), steps)
    verify_kernel(made)
    x, y = np.arange(90, dtype=np.float32), np.zeros(90, np.float32)
    run_kernel(made, [x, y])
    np.testing.assert_array_equal(y, x * 4005)


def test_sums_in_front_of_a_grid_on_a_gpu() -> None:
    needs_cuda()
    x = lg.arange(120.0).reshape(2, 3, 4, 5)
    functions: list[Callable[[lg.Tensor], lg.Tensor]] = [
        lambda x: x / (x.square().mean() + 1e-5).sqrt(),
        lambda x: (x - x.max()) * x.min(),
        lambda x: x.sum((0, 1)) + x * x.amax((1, 2), True),
    ]
    for function in functions:
        wanted = function(x).numpy()
        np.testing.assert_allclose(function(x.cuda()).cpu().numpy(), wanted, rtol=1e-5)
