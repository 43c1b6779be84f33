"""Transcendental functions as the CPU runs them: accuracy on samples, special values as PyTorch's, half types, integer powers."""

from __future__ import annotations

import importlib.util
import itertools
import math
import sys
from array import array
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from lazygrad.codegen.math import MATH, expand
from lazygrad.ir import elementwise, loops
from lazygrad.ir.dtype import (
    DType,
    bfloat16,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint64,
)
from lazygrad.ir.node import Node, postorder, same
from lazygrad.ir.op import COMPARISON, Op
from lazygrad.ir.rewrite import rewrite
from lazygrad.runtime import device
from lazygrad.runtime.cpu import CpuDevice

Array = np.ndarray[Any, Any]

UNARY = (
    Op.EXP, Op.EXP2, Op.EXPM1, Op.LOG, Op.LOG2, Op.LOG10, Op.LOG1P, Op.SIN, Op.COS, Op.TAN, Op.ASIN, Op.ACOS, Op.ATAN,
    Op.SINH, Op.COSH, Op.TANH, Op.ASINH, Op.ACOSH, Op.ATANH, Op.ERF, Op.ERFC, Op.ERFINV, Op.LGAMMA, Op.DIGAMMA, Op.RSQRT,
)  # fmt: skip
BASIC = {
    Op.PARAM, Op.INDEX, Op.LOOP, Op.LOAD, Op.STORE, Op.KERNEL, Op.CONST, Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.FMA, Op.SQRT, Op.ABS,
    Op.NEG, Op.FLOOR, Op.ROUND, Op.WHERE, Op.AND, Op.OR, Op.XOR, Op.NOT, Op.SHL, Op.SHR, Op.CAST, Op.BITCAST, *COMPARISON,
}  # fmt: skip
EDGES = [
    0.0, 1.0, 0.5, 2.0, 3.0, 1.5, np.inf, np.nan, 1e-40, 1e-310, 1e38, 1e300, 88.9, 89.4, 710.2, 20.0, 104.0, 0.45, 16777217.0,
]  # fmt: skip


def kernel_of(
    op: Op,
    sources: list[DType],
    result: DType,
    count: int,
    lanes: int | None,
    expanded: bool = True,
) -> Node:
    """y[i] = op(x0[i], ...) for each of `count`."""
    params = [loops.parameter(f"x{n}", d, (count,), "in") for n, d in enumerate(sources)]
    out = loops.parameter("y", result, (count,), "out")
    index = loops.index("i")
    loads = tuple(loops.load(p, index, lanes=lanes) for p in params)
    value = Node(op, loads, result, loads[0].shape)
    body = loops.loop(
        index, count, [*loads, loops.store(out, index, value)], lanes or 1, "parallel"
    )
    kernel = loops.kernel(op.name.lower(), [*params, out], [body])
    return expand(kernel) if expanded else kernel


def run(
    op: Op,
    dtypes: list[DType],
    inputs: list[Array],
    result: DType | None = None,
    lanes: int | None = 8,
) -> Array:
    """`op` of stored inputs by the CPU device, as stored."""
    cpu = device.get("cpu")
    assert isinstance(cpu, CpuDevice)
    result = result or dtypes[0]
    size = inputs[0].size
    padded = [np.resize(a, -(-size // 64) * 64).astype(a.dtype) for a in inputs]
    out = np.zeros(padded[0].size, result.storage)
    executable = cpu.build(kernel_of(op, dtypes, result, out.size, lanes))
    held = [cpu.wrap(a) for a in (*padded, out)]
    error = array("q", [0])
    slots = array("q", [b.address for b in held] + [error.buffer_info()[0]])
    executable.run(slots, 0, out.size // (lanes or 1))
    return out[:size]


def same_values(got: Array, expected: Array, case: str, rtol: float = 0.0) -> None:
    """Equal or close, NaN with NaN, and zeros with their signs."""
    least = float(np.finfo(got.dtype).smallest_subnormal) if rtol else 0.0
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=least, err_msg=case)
    zero = expected == 0
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(expected[zero]), case)


@pytest.fixture(scope="module")
def accuracy() -> ModuleType:
    pytest.importorskip("scipy")
    pytest.importorskip("mpmath")
    path = Path(__file__).parents[2] / "benchmarks" / "math_accuracy.py"
    specification = importlib.util.spec_from_file_location("math_accuracy", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["math_accuracy"] = module
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("op", UNARY, ids=lambda op: op.name.lower())
def test_float32_is_within_2_ulp(accuracy: ModuleType, op: Op) -> None:
    worst = accuracy.check_single(op, quick=True)
    assert worst.error <= 2, worst


@pytest.mark.parametrize("op", UNARY, ids=lambda op: op.name.lower())
def test_float64_is_within_2_ulp(accuracy: ModuleType, op: Op) -> None:
    worst = accuracy.check_double(op, 40)
    assert worst.error <= (5 if op in accuracy.ROOTS else 2), worst


def test_huge_float64_angles(accuracy: ModuleType) -> None:
    """Of every exponent that integers reduce, and the doubles nearest to a multiple of pi/2."""
    mpmath = pytest.importorskip("mpmath")
    random = np.random.default_rng(12)
    given = np.exp2(np.arange(23, 1024, dtype=np.float64)) * random.uniform(1, 1.99, 1001)
    given[0] = 6381956970095103.0 * 2.0**797
    with mpmath.workprec(1300):
        for op in (Op.SIN, Op.COS):
            for x, got in zip(given.tolist(), run(op, [float64], [given]).tolist(), strict=True):
                true = accuracy.exactly(op, x)
                assert abs(mpmath.mpf(got) / true - 1) < 2.0**-52, (op.name, x)


def test_the_measure_sees_a_wrong_result(accuracy: ModuleType) -> None:
    true = np.array([1.0, 1.0, np.nan, 0.0, 1e39, 3.4028236e38])
    got = np.array([1.0 + 3 * 2.0**-23, 1.0, 1.0, -0.0, np.inf, np.inf], np.float32)
    errors = accuracy.ulps(got, true)
    assert errors[0] == 3 and errors[1] == 0 and errors[2] == np.inf and errors[3] == np.inf
    assert errors[4] == 0 and errors[5] <= 1


@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.name)
@pytest.mark.parametrize("op", [*UNARY, Op.SIGN], ids=lambda op: op.name.lower())
def test_special_values_are_pytorchs(op: Op, dtype: DType) -> None:
    torch = pytest.importorskip("torch")
    with np.errstate(all="ignore"):
        values = np.array([*EDGES, *(-e for e in EDGES)], dtype.storage)
    names = {Op.ERFINV: "erfinv", Op.RSQRT: "rsqrt"}
    expected = getattr(torch, names.get(op, op.name.lower()))(torch.from_numpy(values)).numpy()
    got = run(op, [dtype], [values])
    if op in (Op.SIN, Op.COS, Op.TAN):  # PyTorch's own reduction of huge arguments has its errors
        values = values.astype(np.float64)
        with np.errstate(all="ignore"):
            expected = np.where(
                np.abs(values) > 1e30, getattr(np, op.name.lower())(values), expected
            )
    if op in (Op.SINH, Op.COSH):  # PyTorch's overflow a little early
        with np.errstate(all="ignore"):
            expected = getattr(np, op.name.lower())(values.astype(np.float64)).astype(dtype.storage)
    same_values(got, expected.astype(dtype.storage), op.name, 3e-6 if dtype is float32 else 2e-14)


def grid(dtype: DType) -> list[Array]:
    numbers = [0.0, 1.0, 2.0, 0.5, 3.0, 2.5, np.inf, np.nan, 1e-40, 1e38, 16777217.0, 2.0**60]
    with np.errstate(all="ignore"):
        pairs = itertools.product([*numbers, *(-n for n in numbers)], repeat=2)
        return [np.array(side, dtype.storage) for side in zip(*pairs, strict=True)]


@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.name)
@pytest.mark.parametrize("op", [Op.POW, Op.ATAN2], ids=lambda op: op.name.lower())
def test_special_values_of_two_arguments_are_pytorchs(op: Op, dtype: DType) -> None:
    torch = pytest.importorskip("torch")
    left, right = grid(dtype)
    function = torch.pow if op is Op.POW else torch.atan2
    expected = function(torch.from_numpy(left), torch.from_numpy(right)).numpy()
    epsilon = float(np.finfo(dtype.storage).eps)
    with np.errstate(all="ignore"):
        # where a vectorised PyTorch flushes a denormal result, the exact one is right
        exact = (np.power if op is Op.POW else np.arctan2)(
            left.astype(np.float64), right.astype(np.float64)
        )
    tiny = (np.abs(exact) < np.finfo(dtype.storage).tiny) & (exact != 0)
    with np.errstate(all="ignore"):
        expected = np.where(tiny, exact.astype(dtype.storage), expected)
    got = run(op, [dtype, dtype], [left, right])
    same_values(got, expected, op.name, 2 * epsilon)


def test_powers_and_angles_are_within_2_ulp(accuracy: ModuleType) -> None:
    random = np.random.default_rng(5)
    count = 1 << 18
    base = np.exp2(random.uniform(-140, 127, count)).astype(np.float32)
    near = (1 + random.normal(size=count) * 1e-3).astype(np.float32)
    whole = (random.normal(size=count) * 20).astype(np.float32)
    cases = [
        (Op.POW, base, random.normal(size=count).astype(np.float32)),
        (Op.POW, near, (random.normal(size=count) * 2e4).astype(np.float32)),
        (Op.POW, whole, random.integers(-30, 30, count).astype(np.float32)),
        (Op.ATAN2, whole, random.normal(size=count).astype(np.float32)),
        (Op.ATAN2, base, base[::-1].copy()),
    ]
    for op, left, right in cases:
        function = np.power if op is Op.POW else np.arctan2
        with np.errstate(all="ignore"):
            true = function(left.astype(np.float64), right.astype(np.float64))
        errors = accuracy.ulps(run(op, [float32, float32], [left, right], lanes=16), true)
        place = int(np.argmax(errors))
        assert errors[place] <= 2, (op.name, left[place], right[place], errors[place])


def test_float64_powers_against_mpmath() -> None:
    mpmath = pytest.importorskip("mpmath")
    random = np.random.default_rng(6)
    left = np.concatenate([np.exp(random.uniform(-5, 5, 256)), 1 + random.normal(size=256) * 1e-3])
    right = np.concatenate([random.normal(size=256) * 50, random.normal(size=256) * 1e5])
    with mpmath.workprec(200):
        for x, y, got in zip(
            left, right, run(Op.POW, [float64, float64], [left, right]), strict=True
        ):
            true = mpmath.mpf(float(x)) ** mpmath.mpf(float(y))
            if mpmath.mpf(2) ** -1022 < true < mpmath.mpf(2) ** 1023:
                assert abs(mpmath.mpf(float(got)) / true - 1) < 2 * 2.0**-52, (x, y)


# --- half types


def halves(dtype: DType) -> tuple[Array, Array]:
    """Every number of a half type: as stored, and as the float32 it is."""
    bits = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    stored = bits.view(np.float16) if dtype is float16 else bits
    return stored, elementwise.from_storage(stored, dtype).astype(np.float32)


@pytest.mark.parametrize("dtype", [float16, bfloat16], ids=lambda d: d.name)
@pytest.mark.parametrize("op", [*UNARY, Op.SIGN, Op.SQRT, Op.FLOOR], ids=lambda op: op.name.lower())
def test_a_half_function_is_the_float32_one_rounded_once(op: Op, dtype: DType) -> None:
    stored, single = halves(dtype)
    got = elementwise.from_storage(run(op, [dtype], [stored], lanes=16), dtype)
    expected = elementwise.round_to(run(op, [float32], [single], lanes=16), dtype)
    same_values(got.astype(np.float64), expected.astype(np.float64), op.name)


@pytest.mark.parametrize("dtype", [float16, bfloat16], ids=lambda d: d.name)
def test_half_arithmetic_is_correctly_rounded(dtype: DType) -> None:
    stored, single = halves(dtype)
    order = np.random.default_rng(8).permutation(stored.size)
    left, right = single.astype(np.float64), single[order].astype(np.float64)
    exact: dict[Op, Callable[[Array, Array], Array]] = {
        Op.ADD: np.add, Op.SUB: np.subtract, Op.MUL: np.multiply, Op.DIV: np.divide,
    }  # fmt: skip
    for op, function in exact.items():
        got = elementwise.from_storage(
            run(op, [dtype, dtype], [stored, stored[order].copy()]), dtype
        )
        with np.errstate(all="ignore"):
            expected = elementwise.round_to(function(left, right), dtype)
        same_values(got.astype(np.float64), expected.astype(np.float64), op.name)


def rounded_fraction(value: Fraction, digits: int) -> Fraction:
    """`value` to `digits` binary digits, half to even; far from the ends of the range."""
    if not value:
        return value
    exponent = 0
    size = abs(value)
    while size * Fraction(2) ** exponent < 2 ** (digits - 1):
        exponent += 1
    while size * Fraction(2) ** exponent >= 2**digits:
        exponent -= 1
    return Fraction(round(value * Fraction(2) ** exponent)) / Fraction(2) ** exponent


@pytest.mark.parametrize(("dtype", "digits"), [(float16, 11), (bfloat16, 8)], ids=["f16", "bf16"])
def test_a_half_fma_rounds_once(dtype: DType, digits: int) -> None:
    """Ties that appear only when float32 or float64 rounds first are among the inputs."""
    random = np.random.default_rng(9)
    one = 1 << (digits - 1)
    # significands whose product ends in a half ulp, plus addends far below it
    significands = random.integers(one, 2 * one, (3, 4096)).astype(np.float64)
    significands[0, ::2] = one + (one >> 1)
    scales = np.exp2(random.integers(-12, 3, (3, 4096)).astype(np.float64))
    numbers = significands / one * np.where(random.random((3, 4096)) < 0.5, -1, 1)
    numbers[0], numbers[1] = numbers[0] * 2, numbers[1] / 4
    numbers[2] *= scales[2]
    stored = [
        np.ascontiguousarray(elementwise.to_storage(elementwise.round_to(n, dtype), dtype))
        for n in numbers
    ]
    given = [elementwise.from_storage(s, dtype).astype(np.float64) for s in stored]
    got = elementwise.from_storage(run(Op.FMA, [dtype] * 3, stored), dtype).astype(np.float64)
    for a, b, c, result in zip(*given, got, strict=True):
        true = Fraction(a) * Fraction(b) + Fraction(c)
        if abs(true) > 2.0**-10:
            assert Fraction(float(result)) == rounded_fraction(true, digits), (a, b, c)


@pytest.mark.parametrize(("dtype", "digits"), [(float16, 11), (bfloat16, 8)], ids=["f16", "bf16"])
def test_float64_to_half_rounds_once(dtype: DType, digits: int) -> None:
    half_ulp = 2.0**-digits
    values = [
        1 + half_ulp,
        1 + half_ulp + 2.0**-40,
        1 + half_ulp - 2.0**-40,
        1 + 3 * half_ulp - 2.0**-50,
    ]
    values += [-v for v in values] + [1e300, -1e300, float("inf"), 0.0, -0.0, 3.4e38]
    given = np.array(values)
    got = elementwise.from_storage(run(Op.CAST, [float64], [given], dtype), dtype).astype(
        np.float64
    )
    for value, result in zip(values[:8], got, strict=False):
        assert Fraction(float(result)) == rounded_fraction(Fraction(value), digits), value
    assert got[8] == np.inf and got[9] == -np.inf and got[10] == np.inf
    assert not np.signbit(got[11]) and np.signbit(got[12])
    back = run(
        Op.CAST,
        [dtype],
        [elementwise.to_storage(elementwise.round_to(got[:8], dtype), dtype)],
        float64,
    )
    np.testing.assert_array_equal(back, got[:8])


# --- the rest


@pytest.mark.parametrize("dtype", [int8, int32, int64, uint8, uint64], ids=lambda d: d.name)
def test_greatest_common_divisors(dtype: DType) -> None:
    """Of the limits, of numbers of all sizes, and of neighbours among those whose remainders fall slowest."""
    limits = np.iinfo(dtype.storage)
    least, most = int(limits.min), int(limits.max)
    slow = [[1, 1], [1, 2]]
    for step, series in enumerate(slow, 1):
        while series[-1] * step + series[-2] <= most:
            series.append(series[-1] * step + series[-2])
    edges = [0, 1, 2, 6, 60, most, most - 1, least, least + 1, most // 2, most // 2 + 1]
    pairs = [*itertools.product(edges, repeat=2)]
    pairs += [pair for series in slow for pair in itertools.pairwise(series)]
    random = np.random.default_rng(10)
    some = random.integers(least, most, (2, 500), endpoint=True, dtype=limits.dtype).tolist()
    pairs += [(x >> n % dtype.bits, y >> n % 7) for n, (x, y) in enumerate(zip(*some, strict=True))]
    given = [np.array(side, dtype.storage) for side in zip(*pairs, strict=True)]
    got = run(Op.GCD, [dtype, dtype], given).tolist()
    for (x, y), result in zip(pairs, got, strict=True):
        expected = math.gcd(x, y)  # the least integer has no negative
        assert result == (expected if expected <= most else least), (x, y)


@pytest.mark.parametrize("dtype", [int8, int16, int32, int64, uint8], ids=lambda d: d.name)
def test_integer_powers_wrap(dtype: DType) -> None:
    base = np.array([0, 1, 2, 3, 5, 7, 10, 100, 127, 255, -1, -2, -3], np.int64).astype(
        dtype.storage
    )
    exponent = np.array([0, 1, 2, 3, 7, 15, 31, 62, 63, 100], np.int64).astype(dtype.storage)
    left, right = (a.ravel().copy() for a in np.meshgrid(base, exponent))
    with np.errstate(all="ignore"):
        expected = np.array(
            [pow(int(b), int(e), 1 << dtype.bits) for b, e in zip(left, right, strict=True)],
            np.uint64,
        ).astype(dtype.storage)
    np.testing.assert_array_equal(run(Op.POW, [dtype, dtype], [left, right]), expected)


def test_a_negative_integer_exponent_truncates() -> None:
    left = np.array([1, -1, -1, 2, -3], np.int32)
    right = np.array([-3, -3, -2, -1, -1], np.int32)
    np.testing.assert_array_equal(run(Op.POW, [int32, int32], [left, right]), [1, -1, 1, 0, 0])


def test_integer_signs() -> None:
    np.testing.assert_array_equal(
        run(Op.SIGN, [int32], [np.array([-5, 0, 7], np.int32)]), [-1, 0, 1]
    )
    np.testing.assert_array_equal(run(Op.SIGN, [uint8], [np.array([0, 200], np.uint8)]), [0, 1])


@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.name)
def test_scalars_and_vectors_have_the_same_bits(dtype: DType) -> None:
    random = np.random.default_rng(10)
    values = np.concatenate([random.normal(size=96) * 10, random.uniform(-1, 1, 96)]).astype(
        dtype.storage
    )
    for op in (Op.EXP, Op.LOG1P, Op.SIN, Op.TANH, Op.ERF):
        np.testing.assert_array_equal(
            run(op, [dtype], [values], lanes=None), run(op, [dtype], [values], lanes=8), op.name
        )


@pytest.mark.parametrize("dtype", [float64, float32, float16, bfloat16], ids=lambda d: d.name)
def test_only_basic_operations_remain(dtype: DType) -> None:
    for op in (*UNARY, Op.SIGN, Op.POW, Op.ATAN2):
        arguments = 2 if op in (Op.POW, Op.ATAN2) else 1
        kernel = kernel_of(op, [dtype] * arguments, dtype, 64, 8)
        left = {node.op for node in postorder([kernel])} - BASIC
        assert not left, (op.name, left)
        (again,) = rewrite([kernel], MATH)
        assert same([again], [kernel]), op.name


def test_every_rule_fires() -> None:
    """Of one operation in each dtype that a rule is for."""
    before = {rule.name: rule.hits for rule in MATH.all_rules()}
    for dtype in (float64, float32, float16, int32):
        for key in MATH.rules:
            assert isinstance(key, Op)
            count = 3 if key is Op.FMA else 2 if Op.ADD <= key <= Op.NE else 1
            target = float64 if key is Op.CAST else dtype
            if dtype.kind == "int" and key not in (Op.POW, Op.SIGN):
                continue
            kernel_of(key, [dtype] * count, target, 64, 8)
    silent = [rule.name for rule in MATH.all_rules() if rule.hits == before[rule.name]]
    assert not silent
