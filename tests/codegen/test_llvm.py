"""Kernels as machine code against the interpreter's meaning of every operation."""

from __future__ import annotations

import ctypes
import mmap
import sys
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazygrad.codegen.render.llvm import render, render_kernel
from lazygrad.codegen.render.llvm_text import RenderError
from lazygrad.codegen.target import Level, host
from lazygrad.codegen.transform.parallel import parallel_loop
from lazygrad.ir import dtype as dtypes
from lazygrad.ir import elementwise, loops
from lazygrad.ir.args import Loop, Reduction
from lazygrad.ir.dtype import DType, bfloat16, bool_, float16, float32, float64, int32, int64
from lazygrad.ir.interpret_loops import run_kernel
from lazygrad.ir.node import Node, constant, where
from lazygrad.ir.op import BINARY, COMPARISON, TERNARY, UNARY, Op
from lazygrad.ir.parse import parse
from lazygrad.runtime import device
from lazygrad.runtime.cpu import CpuDevice

Array = np.ndarray[Any, Any]
FLOATS = (float64, float32, float16, bfloat16)
INTEGERS = tuple(d for d in dtypes.ALL if d.is_integer)
WHOLE = frozenset(
    (Op.NEG, Op.ABS, Op.SIGN, Op.FLOOR, Op.CEIL, Op.TRUNC, Op.ROUND, Op.SQRT, Op.RSQRT)
)
NEEDS_MATH = frozenset(range(Op.EXP, Op.NOT)) | {Op.POW, Op.ATAN2, Op.GCD}
RESTRICTED: tuple[Level, ...] = ("avx2", "sse4.2")


@pytest.fixture(scope="module")
def cpu() -> CpuDevice:
    found = device.get("cpu")
    assert isinstance(found, CpuDevice)
    return found


def run(cpu: CpuDevice, kernel: Node, values: Sequence[Array | int | float], **trips: int) -> int:
    """Launch a kernel on the arrays themselves (numbers and dims as they are); returns the error word."""
    executable = cpu.build(kernel)
    slots, keep = array("q"), []
    for value in values:
        if isinstance(value, np.ndarray):
            buffer = cpu.wrap(value)
            keep.append(buffer)
            slots.append(buffer.address)
        elif isinstance(value, float):
            slots.append(int(np.float32(value).view(np.uint32)))
        else:
            slots.append(value)
    error = array("q", [0])
    slots.append(error.buffer_info()[0])
    launches = cpu.launches
    executable.run(slots, **trips)
    assert cpu.launches == launches + 1
    return error[0]


# --- every operation, every dtype, scalar and vector


def special(dtype: DType, count: int, seed: int) -> Array:
    """Values of `dtype` (as the interpreter holds them) with every kind of edge among them."""
    random = np.random.default_rng(seed)
    if dtype.kind == "bool":
        return random.random(count) < 0.5
    if dtype.kind == "float":
        edges = [
            0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 6e-8, -6e-8, 1e-40, 65504.0,
            65520.0, 3.4e38, -3.4e38, 2.0**31, -(2.0**31), 2.0**63, -(2.0**63), 1.8446744e19, 300.0, -129.0, 1e-5,
        ]  # fmt: skip
        values = np.concatenate(
            [edges, random.standard_normal(count) * 10.0 ** random.integers(-6, 6, count)]
        )
        with np.errstate(over="ignore"):
            return elementwise.round_to(random.permutation(values)[:count], dtype)
    limits = np.iinfo(dtype.storage)
    edges = [0, 1, 2, 3, 7, 8, 31, 63, 64, limits.max, limits.min, limits.max - 1, limits.max // 2]
    if dtype.is_signed:
        edges += [-1, -2, -3, -7, limits.min + 1]
    some = random.integers(limits.min, limits.max, count, dtype=np.dtype(dtype.storage))
    small = random.integers(0, 9, count).astype(dtype.storage)
    values = np.concatenate([np.array(edges, dtype.storage), some, small])
    return random.permutation(values)[:count]


def operations(dtype: DType) -> list[tuple[Op, DType]]:
    """The operations of one and two sources that `dtype` has, with the dtype of the result."""
    found = []
    for op in sorted(UNARY | BINARY):
        if op in NEEDS_MATH or op in (Op.CAST, Op.BITCAST):
            continue
        if dtype.kind != "float" and op in (Op.DIV, Op.FMOD, Op.SQRT, Op.RSQRT):
            continue
        if dtype.kind == "float" and op in (
            Op.IDIV,
            Op.MOD,
            Op.SHL,
            Op.SHR,
            Op.AND,
            Op.OR,
            Op.XOR,
            Op.NOT,
        ):
            continue
        if dtype.kind == "bool" and (
            op in WHOLE or op in (Op.SUB, Op.IDIV, Op.MOD, Op.SHL, Op.SHR)
        ):
            continue
        found.append((Op(op), bool_ if op in COMPARISON else dtype))
    return found


def elementwise_kernel(
    results: list[tuple[str, Any]], sources: list[Node], lanes: int | None, count: int
) -> Node:
    """y_k[i] = f_k(sources[i]) for each (name, f)."""
    index = loops.index("i")
    step = lanes or 1
    loads = [loops.load(source, index, lanes=lanes) for source in sources]
    outs, stores = [], []
    for number, (name, function) in enumerate(results):
        value = function(*loads)
        out = loops.parameter(f"{name}_{number}", value.dtype, (count,), "out")
        outs.append(out)
        stores.append(loops.store(out, index, value))
    body = loops.loop(index, count, [*loads, *stores], step, "parallel")
    return loops.kernel("elementwise", [*sources, *outs], [body])


def compare(got: Array, expected: Array, dtype: DType, op: Op | None, case: str) -> None:
    """Equal bits, but for what an operation leaves open."""
    if dtype.kind != "float":
        np.testing.assert_array_equal(got, expected, case)
        return
    got = elementwise.from_storage(got, dtype)
    if op is Op.RSQRT:  # two roundings; half results may then fall to the other side of a tie
        np.testing.assert_allclose(
            got, expected, rtol=1e-2 if dtype is bfloat16 else 1e-3, err_msg=case
        )
        if dtype.itemsize >= 4:
            np.testing.assert_allclose(
                got, expected, rtol=float(np.finfo(got.dtype).eps), err_msg=case
            )
        return
    np.testing.assert_array_equal(got, expected, case)
    if op not in (Op.MAX, Op.MIN, None):  # of two zeros either may be the larger
        signed = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(got)[signed], np.signbit(expected)[signed], case)


def check_all(
    cpu: CpuDevice, dtype: DType, lanes: int | None, chosen: list[tuple[Op, DType]]
) -> None:
    count = 1024
    left, right = special(dtype, count, 1), special(dtype, count, 2)
    x, y = (loops.parameter(n, dtype, (count,), "in") for n in ("x", "y"))

    def build(op: Op, result: DType) -> Any:
        if op in UNARY:
            return lambda a, b: Node(op, (a,), result, a.shape)
        if op in (Op.IDIV, Op.MOD):  # as the lowering guards it
            return lambda a, b: Node(op, (a, where(b.eq(zero(b)), one(b), b)), result, a.shape)
        return lambda a, b: Node(op, (a, b), result, a.shape)

    kernel = elementwise_kernel(
        [(op.name.lower(), build(op, result)) for op, result in chosen], [x, y], lanes, count
    )
    outputs = [np.zeros(count, result.storage) for _, result in chosen]
    stored = [np.ascontiguousarray(elementwise.to_storage(v, dtype)) for v in (left, right)]
    assert run(cpu, kernel, [*stored, *outputs]) == 0
    for (op, result), got in zip(chosen, outputs, strict=True):
        second = (
            np.where(right == 0, np.array(1, right.dtype), right)
            if op in (Op.IDIV, Op.MOD)
            else right
        )
        sources = [left] if op in UNARY else [left, second]
        with np.errstate(all="ignore"):
            expected = elementwise.apply(op, result, [dtype] * len(sources), sources)
        compare(got, expected, result, op, f"{op.name} {dtype.name} lanes={lanes}")


def zero(like: Node) -> Node:
    return constant(0, like.dtype, like.shape)


def one(like: Node) -> Node:
    return constant(1, like.dtype, like.shape)


@pytest.mark.parametrize("lanes", [None, 4, 16])
@pytest.mark.parametrize("dtype", dtypes.ALL, ids=lambda d: d.name)
def test_each_operation(cpu: CpuDevice, dtype: DType, lanes: int | None) -> None:
    check_all(cpu, dtype, lanes, operations(dtype))


@pytest.mark.parametrize("level", RESTRICTED)
@pytest.mark.parametrize("dtype", [float32, float16, bfloat16, int32], ids=lambda d: d.name)
def test_each_operation_on_lesser_machines(dtype: DType, level: Level) -> None:
    """An instruction set without half float conversions (and, on SSE4.2, without fused multiply-add)."""
    lesser = CpuDevice(host(level))
    check_all(lesser, dtype, 8, operations(dtype))
    check_casts(lesser, dtype, 8)


def check_casts(cpu: CpuDevice, source: DType, lanes: int | None) -> None:
    count = 512
    values = special(source, count, 3)
    x = loops.parameter("x", source, (count,), "in")
    same_width = [d for d in dtypes.ALL if d.itemsize == source.itemsize and d is not bool_]
    results = [(f"cast_{d.name}", lambda a, d=d: a.cast(d)) for d in dtypes.ALL]
    results += [
        (f"bits_{d.name}", lambda a, d=d: a.bitcast(d)) for d in same_width if source is not bool_
    ]
    kinds = [*dtypes.ALL, *(same_width if source is not bool_ else ())]
    kernel = elementwise_kernel(results, [x], lanes, count)
    outputs = [np.zeros(count, d.storage) for d in kinds]
    stored = np.ascontiguousarray(elementwise.to_storage(values, source))
    run(cpu, kernel, [stored, *outputs])
    for (name, _), kind, got in zip(results, kinds, outputs, strict=True):
        with np.errstate(all="ignore"):
            if name.startswith("cast"):
                expected = elementwise.cast(values, source, kind)
            else:
                expected = elementwise.bitcast(values, source, kind)
        compare(got, expected, kind, None, f"{name} from {source.name} lanes={lanes}")


@pytest.mark.parametrize("lanes", [None, 16])
@pytest.mark.parametrize("source", dtypes.ALL, ids=lambda d: d.name)
def test_casts_and_bitcasts(cpu: CpuDevice, source: DType, lanes: int | None) -> None:
    check_casts(cpu, source, lanes)


@pytest.mark.parametrize("lanes", [None, 16])
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_fma_rounds_once(cpu: CpuDevice, dtype: DType, lanes: int | None) -> None:
    count = 2048
    values = [special(dtype, count, seed) for seed in (4, 5, 6)]
    with np.errstate(all="ignore"):
        cancelling = -(values[0][::3].astype(np.float64) * values[1][::3])
        values[2][::3] = elementwise.round_to(cancelling, dtype)
    sources = [loops.parameter(n, dtype, (count,), "in") for n in "abc"]
    kernel = elementwise_kernel(
        [("fma", lambda *v: Node(Op.FMA, v, dtype, v[0].shape))], sources, lanes, count
    )
    got = np.zeros(count, dtype.storage)
    run(
        cpu,
        kernel,
        [*(np.ascontiguousarray(elementwise.to_storage(v, dtype)) for v in values), got],
    )
    with np.errstate(all="ignore"):
        expected = elementwise.apply(Op.FMA, dtype, [dtype] * 3, values)
    compare(got, expected, dtype, None, f"fma {dtype.name} {lanes}")


def test_where_constants_and_bools_of_any_byte(cpu: CpuDevice) -> None:
    kernel = kernel_of("""
        kernel pick(%c: bool[32] in, %x: f32[32] in, %y: f32[32] out, %z: bool[32] out)
          for %i in range(0, 32, 16):
            %m = load %c[%i] : boolx16
            %v = load %x[%i] : f32x16
            %w = where %m, %v, -0.0 : f32x16
            store %y[%i], %w
            %n = not %m : boolx16
            store %z[%i], %n
    """)
    flags = np.array([0, 1, 2, 255] * 8, np.uint8)
    x = np.arange(32, dtype=np.float32)
    y, z = np.ones(32, np.float32), np.full(32, 7, np.uint8)
    run(cpu, kernel, [flags, x, y, z])
    np.testing.assert_array_equal(y, np.where(flags, x, np.float32(-0.0)))
    assert np.signbit(y[0])
    np.testing.assert_array_equal(z, flags == 0)


@pytest.mark.parametrize("kind", ["add", "mul", "max", "min", "and", "or"])
@pytest.mark.parametrize("dtype", dtypes.ALL, ids=lambda d: d.name)
def test_reduce_of_a_vector(cpu: CpuDevice, dtype: DType, kind: Any) -> None:
    if dtype.kind == "float" and kind in ("and", "or"):
        return
    x, y = loops.parameter("x", dtype, (48,), "in"), loops.parameter("y", dtype, (3,), "out")
    i = loops.index("i")
    vector = loops.load(x, i * 16, lanes=16)
    total = Node(Op.REDUCE, (vector,), dtype, (), Reduction(kind, (0,), dtype))
    kernel = loops.kernel("reduce", [x, y], [loops.loop(i, 3, [vector, loops.store(y, i, total)])])
    values = special(dtype, 48, 7)
    if dtype.kind == "float":
        values = elementwise.round_to(np.random.default_rng(0).random(48) + 0.5, dtype)
        values[5] = np.nan if kind in ("max", "min", "add") else values[5]
    got = np.zeros(3, dtype.storage)
    run(cpu, kernel, [np.ascontiguousarray(elementwise.to_storage(values, dtype)), got])
    reducer = elementwise.REDUCERS[kind]
    wide = values.astype(np.float64) if dtype.kind == "float" else values
    expected = reducer.reduce(wide.reshape(3, 16), axis=1, dtype=wide.dtype)
    if dtype.kind == "float":
        np.testing.assert_allclose(
            elementwise.from_storage(got, dtype),
            expected,
            rtol=1e-5 if dtype.itemsize >= 4 else 0.02,
        )
        assert np.isnan(elementwise.from_storage(got, dtype)[0]) == (kind != "mul")
    else:
        np.testing.assert_array_equal(got, expected)


# --- memory


def kernel_of(text: str) -> Node:
    (kernel,) = parse(text)
    return kernel


@settings(max_examples=15, deadline=None)
@given(size=st.integers(0, 70), lanes=st.sampled_from([2, 4, 8, 16]), seed=st.integers(0, 99))
def test_masked_tails_touch_nothing_outside(size: int, lanes: int, seed: int) -> None:
    """The first and last elements of the mapping of a page are all there is: an access outside would be a fault."""
    kernel = masked_copy(lanes)
    values = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    page = page_end(values)
    out = np.full(size + lanes, 9, np.float32)
    cpu = device.get("cpu")
    assert isinstance(cpu, CpuDevice)
    run(cpu, kernel, [page, size, out])
    np.testing.assert_array_equal(out[:size], values + np.float32(1))
    np.testing.assert_array_equal(out[size:], np.full(lanes, 9, np.float32))


def masked_copy(lanes: int) -> Node:
    n = loops.parameter("n", int64, (), "dim")
    x, y = loops.parameter("x", float32, (1,), "in"), loops.parameter("y", float32, (1,), "out")
    i = loops.index("i")
    inside = (loops.splat(i, lanes) + loops.lanes(lanes)).lt(loops.splat(n, lanes))
    value = loops.load(x, i, inside, lanes=lanes)
    store = loops.store(y, i, value + 1.0, inside)
    return loops.kernel("tail", [x, n, y], [loops.loop(i, n, [value, store], lanes, "parallel")])


def page_end(values: Array) -> Array:
    """A copy of `values` that ends where the mapping ends, with a page that may not be touched behind it."""
    mapping = mmap.mmap(-1, 2 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    whole = np.frombuffer(mapping, np.uint8)
    protect = ctypes.CDLL(None).mprotect
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    assert protect(whole.ctypes.data + mmap.PAGESIZE, mmap.PAGESIZE, 0) == 0
    copy = whole[mmap.PAGESIZE - values.nbytes : mmap.PAGESIZE].view(values.dtype)
    copy[:] = values
    return copy


def test_scalar_masks(cpu: CpuDevice) -> None:
    """A window that reads beyond both ends: 0 and no access there."""
    kernel = kernel_of("""
        kernel shift(%x: f32[10] in, %n: i64 dim, %y: f32[12] inout)
          for %i in range(0, 12):
            %j = sub %i, 1 : i64
            %a = le 0, %j : bool
            %b = lt %j, %n : bool
            %m = and %a, %b : bool
            %v = load %x[%j] if %m : f32
            %w = add %v, 1.0 : f32
            %e = mod %i, 2 : i64
            %o = eq %e, 0 : bool
            store %y[%i], %w if %o
    """)
    x, y = np.arange(10, dtype=np.float32), np.full(12, -5, np.float32)
    run(cpu, kernel, [page_end(x), 10, y])
    expected = np.concatenate([[0], x, [0]]) + 1
    expected[1::2] = -5
    np.testing.assert_array_equal(y, expected)


def test_one_flag_for_a_vector(cpu: CpuDevice) -> None:
    """Where it is false nothing is asked of memory: a masked load far from all pages takes hundreds of cycles, though it reads no lane."""
    kernel = kernel_of("""
        kernel rows(%x: f32[2, 16] in, %y: f32[4, 16] inout)
          for %i in range(0, 4):
            %j = sub %i, 1 : i64
            %a = le 0, %j : bool
            %b = lt %j, 2 : bool
            %m = and %a, %b : bool
            %f = splat %m : boolx16
            %v = load %x[%j*16] if %f : f32x16
            %w = add %v, 1.0 : f32x16
            %o = lt %i, 3 : bool
            %g = splat %o : boolx16
            store %y[%i*16], %w if %g
    """)
    x, y = np.arange(32, dtype=np.float32), np.full(64, -5, np.float32)
    run(cpu, kernel, [page_end(x), y])
    expected = np.concatenate([np.zeros(16), x, np.zeros(16)]) + 1
    expected[48:] = -5
    np.testing.assert_array_equal(y, expected)
    assert "llvm.masked" not in render(kernel, cpu.target)


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=lambda d: d.name)
def test_gather_and_scatter(cpu: CpuDevice, dtype: DType) -> None:
    """y[perm[i]] = x[perm2[i]] with masks; where indices repeat, the last lane wins."""
    size = 64
    x = loops.parameter("x", dtype, (size,), "in")
    a, b = (loops.parameter(n, int64, (size,), "in") for n in "ab")
    y = loops.parameter("y", dtype, (size,), "inout")
    i = loops.index("i")
    from_, to = loops.load(a, i, lanes=16), loops.load(b, i, lanes=16)
    mask = from_.lt(constant(50, int64, (16,)))
    value = loops.load(x, from_, mask)
    everywhere = loops.load(x, from_)
    z = loops.parameter("z", dtype, (size,), "out")
    kernel = loops.kernel(
        "permute",
        [x, a, b, y, z],
        [
            loops.loop(
                i, size,
                [from_, to, value, everywhere, loops.store(y, to, value, mask), loops.store(z, to, everywhere)],
                16,
            )
        ],
    )  # fmt: skip
    random = np.random.default_rng(3)
    source = random.integers(0, size, size)
    target = np.concatenate([random.integers(0, 8, 16), random.permutation(48) + 16])
    values = (
        (random.random(size) < 0.5).astype(np.bool_)
        if dtype is bool_
        else random.integers(0, 99, size)
    )
    values = values.astype(dtype.storage)
    got, all_ = np.zeros(size, dtype.storage), np.zeros(size, dtype.storage)
    run(cpu, kernel, [values, source, target, got, all_])
    expected, expected_all = np.zeros(size, dtype.storage), np.zeros(size, dtype.storage)
    for f, t in zip(source, target, strict=True):
        expected_all[t] = values[f]
        if f < 50:
            expected[t] = values[f]
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(all_, expected_all)


SOFTMAX = """
    kernel softmax(%x: f32[8, {n}] in, %y: f32[8, {n}] out)
      for %r in range(0, 8) parallel:
        local %m : f32[]
        store %m[0], -inf
        for %c in range(0, {n}):
          %v = load %x[%r*{n} + %c] : f32
          %o = load %m[0] : f32
          %w = max %o, %v : f32
          store %m[0], %w
        %top = load %m[0] : f32
        local %row : f32[{n}]
        local %s : f32[]
        store %s[0], 0.0
        for %d in range(0, {n}):
          %v2 = load %x[%r*{n} + %d] : f32
          %e = sub %v2, %top : f32
          %f = mul %e, %e : f32
          store %row[%d], %f
          %p = load %s[0] : f32
          %q = add %p, %f : f32
          store %s[0], %q
        %total = load %s[0] : f32
        for %k in range(0, {n}):
          %g = load %row[%k] : f32
          %h = div %g, %total : f32
          store %y[%r*{n} + %k], %h
"""


@pytest.mark.parametrize("columns", [16, 1000, 20_000])
def test_rows_in_registers_stack_and_scratch(cpu: CpuDevice, columns: int) -> None:
    kernel = kernel_of(SOFTMAX.format(n=columns))
    assert (render_kernel(kernel, cpu.target).scratch_bytes > 0) == (columns == 20_000)
    x = np.random.default_rng(0).standard_normal((8, columns)).astype(np.float32)
    y = np.full_like(x, -1)
    run(cpu, kernel, [x, y], begin=2, end=5)
    squares = (x - x.max(1, keepdims=True)) ** 2
    expected = squares / squares.sum(1, keepdims=True)
    np.testing.assert_allclose(y[2:5], expected[2:5], rtol=1e-4)
    assert (y[:2] == -1).all() and (y[5:] == -1).all()
    run(cpu, kernel, [x, y])
    np.testing.assert_allclose(y, expected, rtol=1e-4)


def test_accumulate(cpu: CpuDevice) -> None:
    """A declared reduction that no transform has changed runs in the order written."""
    kernel = kernel_of("""
        kernel sums(%x: f32[3, 37] in, %y: f32[3] out, %z: f32[3] out)
          for %r in range(0, 3) parallel:
            store %y[%r], 0.0
            local %m : f32[]
            store %m[0], -inf
            for %c in range(0, 37):
              %v = load %x[%r*37 + %c] : f32
              accumulate %y[%r], %v {kind=add}
              accumulate %m[0], %v {kind=max}
            %t = load %m[0] : f32
            store %z[%r], %t
    """)
    x = np.random.default_rng(0).standard_normal((3, 37)).astype(np.float32)
    y, z = np.zeros(3, np.float32), np.zeros(3, np.float32)
    run(cpu, kernel, [x, y, z])
    np.testing.assert_allclose(y, x.sum(1), rtol=1e-5)
    np.testing.assert_array_equal(z, x.max(1))


def test_a_buffer_given_twice_and_an_inout_that_is_an_input(cpu: CpuDevice) -> None:
    kernel = kernel_of("""
        kernel twice(%a: f32[64] in, %b: f32[64] in, %c: f32[64] inout)
          for %i in range(0, 64, 16):
            %x = load %a[%i] : f32x16
            %y = load %b[%i] : f32x16
            %z = load %c[%i] : f32x16
            %s = add %x, %y : f32x16
            %t = add %s, %z : f32x16
            store %c[%i], %t
    """)
    x = np.arange(64, dtype=np.float32)
    expected = x * 3
    run(cpu, kernel, [x, x, x])
    np.testing.assert_array_equal(x, expected)


# --- loops and checks


def test_loops_of_every_kind(cpu: CpuDevice) -> None:
    """Empty loops, one trip, written-out ones, extents from dims, an uneven step."""
    kernel = kernel_of("""
        kernel count(%n: i64 dim, %y: i64[6] inout)
          for %a in range(0, 0):
            store %y[0], 99
          for %b in range(0, 1):
            store %y[1], 7
          for %c in range(0, 5) unroll:
            for %d in range(0, 3) unroll:
              %v = load %y[2] : i64
              %u = mul %c, %d : i64
              %w = add %v, %u : i64
              store %y[2], %w
          for %e in range(0, %n):
            %p = load %y[3] : i64
            %q = add %p, 1 : i64
            store %y[3], %q
          for %f in range(0, 10, 4):
            %r = load %y[4] : i64
            %s = add %r, %f : i64
            store %y[4], %s
    """)
    for count in (0, 1, 5):
        y = np.zeros(6, np.int64)
        run(cpu, kernel, [count, y])
        assert y.tolist() == [0, 7, 30, count, 12, 0]


def test_the_parallel_loop_runs_the_trips_asked_for(cpu: CpuDevice) -> None:
    kernel = kernel_of("""
        kernel fill(%y: i64[40] out)
          for %i in range(0, 40, 4) parallel:
            %v = lanes : i64x4
            store %y[%i], %v
    """)
    loop = parallel_loop(kernel)
    assert loop is not None and isinstance(loop.arg, Loop) and loop.arg.step == 4
    y = np.full(40, -1, np.int64)
    run(cpu, kernel, [y], begin=0, end=0)
    assert (y == -1).all()
    run(cpu, kernel, [y], begin=3, end=5)
    assert (y[12:20] == [0, 1, 2, 3] * 2).all() and (y[:12] == -1).all() and (y[20:] == -1).all()
    run(cpu, kernel, [y], begin=0, end=10)
    assert (y == [0, 1, 2, 3] * 10).all()


@pytest.mark.parametrize("lanes", [None, 8])
def test_checks_report_the_first_and_go_on(cpu: CpuDevice, lanes: int | None) -> None:
    x, y = loops.parameter("x", int32, (32,), "in"), loops.parameter("y", int32, (32,), "out")
    i = loops.index("i")
    value = loops.load(x, i, lanes=lanes)
    checks = [
        loops.check(value.lt(constant(100, int32, value.shape)), "IndexError", "too large"),
        loops.check(value.ne(zero(value)), "ZeroDivisionError", "zero"),
    ]
    divisor = where(value.eq(zero(value)), one(value), value)
    result = Node(Op.IDIV, (constant(1000, int32, value.shape), divisor), int32, value.shape)
    kernel = loops.kernel(
        "checked",
        [x, y],
        [loops.loop(i, 32, [value, *checks, loops.store(y, i, result)], lanes or 1)],
    )
    assert [c.text for c in cpu.build(kernel).checks] == ["too large", "zero"]
    values, got = np.arange(1, 33, dtype=np.int32), np.zeros(32, np.int32)
    assert run(cpu, kernel, [values, got]) == 0
    values[20] = 0
    assert run(cpu, kernel, [values, got]) == 2
    np.testing.assert_array_equal(got, 1000 // np.where(values == 0, 1, values))
    values[10], values[25] = 100, 200
    assert run(cpu, kernel, [values, got]) == 1


def test_numbers_come_in_the_low_bytes(cpu: CpuDevice) -> None:
    kernel = kernel_of("""
        kernel scale(%x: f32[16] in, %lr: f32 number, %y: f32[16] out)
          %s = splat %lr : f32x16
          for %i in range(0, 16, 16):
            %v = load %x[%i] : f32x16
            %w = mul %v, %s : f32x16
            store %y[%i], %w
    """)
    xs, ys = np.arange(16, dtype=np.float32), np.zeros(16, np.float32)
    run(cpu, kernel, [xs, 0.1, ys])
    np.testing.assert_array_equal(ys, xs * np.float32(0.1))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_index_arithmetic_and_its_ranges(data: st.DataObject) -> None:
    """Random integer expressions of the indices of random loops: what is believed to fit or to be positive must be."""
    draw = data.draw
    kinds: st.SearchStrategy[Any] = st.sampled_from(["serial", "unroll", "parallel"])
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    i, j = loops.index("i"), loops.index("j")
    n = loops.parameter("n", int64, (), "dim")
    lanes = draw(st.sampled_from([None, 4]))
    leaves: list[Node] = [i, j, n]
    leaves += [
        constant(draw(st.sampled_from([0, 1, 2, 3, 4, 7, -1, -2, -5, 1 << 62, -(1 << 63)])), int64)
        for _ in range(3)
    ]
    if lanes:
        leaves = [loops.splat(leaf, lanes) for leaf in leaves] + [loops.lanes(lanes)]
    operations = [Op.ADD, Op.SUB, Op.MUL, Op.IDIV, Op.MOD, Op.MAX, Op.MIN, Op.SHR, Op.AND]
    for _ in range(draw(st.integers(1, 8))):
        op = draw(st.sampled_from(operations))
        left, right = draw(st.sampled_from(leaves)), draw(st.sampled_from(leaves))
        if op in (Op.IDIV, Op.MOD):
            right = where(right.eq(zero(right)), one(right), right)
        leaves.append(Node(op, (left, right), int64, left.shape))
    width = lanes or 1
    y = loops.parameter("y", int64, (rows, columns, width), "out")
    store = loops.store(y, (i * columns + j) * width, leaves[-1])
    inner = loops.loop(j, columns, [store], 1, draw(kinds))
    kernel = loops.kernel("index", [n, y], [loops.loop(i, rows, [inner], 1, draw(kinds))])
    size = draw(st.integers(2, 100))
    expected, got = (np.zeros((rows, columns, width), np.int64) for _ in range(2))
    run_kernel(kernel, [size, expected])
    host_device = device.get("cpu")
    assert isinstance(host_device, CpuDevice)
    run(host_device, kernel, [size, got])
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("columns", [16, 40])
def test_a_nest_with_locals_is_what_the_interpreter_makes_of_it(
    cpu: CpuDevice, columns: int
) -> None:
    kernel = kernel_of(SOFTMAX.format(n=columns))
    x = np.random.default_rng(0).standard_normal((8, columns)).astype(np.float32)
    expected, got = np.zeros_like(x), np.zeros_like(x)
    run_kernel(kernel, [x, expected])
    run(cpu, kernel, [x, got])
    np.testing.assert_array_equal(got, expected)


# --- the shape of the code


def test_ten_thousand_lines_without_recursion(cpu: CpuDevice) -> None:
    """A chain of 10,000 values."""
    x, y = (loops.parameter(n, float32, (64,), r) for n, r in (("x", "in"), ("y", "out")))  # type: ignore[arg-type]
    i = loops.index("i")
    first = value = loops.load(x, i)
    for _ in range(10_000):
        value = value + 1.0
    kernel = loops.kernel("chain", [x, y], [loops.loop(i, 64, [first, loops.store(y, i, value)])])
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        text = render(kernel, cpu.target)
    finally:
        sys.setrecursionlimit(limit)
    assert text.count("fadd float") == 10_000
    xs, ys = np.zeros(64, np.float32), np.zeros(64, np.float32)
    run(cpu, kernel, [xs, ys])
    assert (ys == 10_000).all()


def inner_loop(text: str, label: str) -> list[str]:
    """The instructions of the loop that holds a line with `label` in it, from its label to its jump back."""
    lines = [line.strip() for line in text.splitlines()]
    at = next(n for n, line in enumerate(lines) if label in line)
    start = max(n for n in range(at) if lines[n].startswith(".L") and lines[n].endswith(":"))
    name = lines[start][:-1]
    end = next(n for n in range(at, len(lines)) if lines[n].split()[-1:] == [name])
    return [line for line in lines[start + 1 : end + 1] if not line.startswith(".")]


def test_the_inner_loop_has_nothing_but_work(cpu: CpuDevice) -> None:
    if cpu.target.vector_bytes != 64:
        return
    kernel = kernel_of("""
        kernel axpy(%x: f32[64, 1008] in, %y: f32[64, 1008] in, %z: f32[64, 1008] out)
          for %r in range(0, 64) parallel:
            for %c in range(0, 1008, 16):
              %a = load %x[%r*1008 + %c] : f32x16
              %b = load %y[%r*1008 + %c] : f32x16
              %m = mul %a, 2.0 : f32x16
              %s = add %m, %b : f32x16
              store %z[%r*1008 + %c], %s
    """)
    body = inner_loop(cpu.asm(kernel), "vaddps")
    assert any("zmm" in line for line in body)
    assert len(body) <= 7, body  # load, multiply, add from memory, store, advance, compare, branch
    assert not any("(%rsp)" in line for line in body)


def test_a_function_that_was_not_expanded_is_named() -> None:
    kernel = kernel_of("""
        kernel bad(%x: f32[16] in, %y: f32[16] out)
          for %i in range(0, 16):
            %v = load %x[%i] : f32
            %w = exp %v : f32
            store %y[%i], %w
    """)
    with pytest.raises(RenderError, match="exp on f32"):
        render(kernel, host())


def test_every_ternary_is_tested() -> None:
    """The operations above are all there are."""
    assert {Op.WHERE, Op.FMA} == TERNARY
