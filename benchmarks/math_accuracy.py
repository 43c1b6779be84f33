"""How accurate the functions of codegen/math are, as the CPU runs them.

    python benchmarks/math_accuracy.py [--quick] [--speed] [function ...]

float32: every one of the 2^32 inputs of each function of one argument (--quick: about a million, of every exponent), against
float64; where float64's own functions may be off (near the roots of lgamma and digamma), the worst inputs are computed again
with mpmath. float64: random and special inputs against mpmath. Prints the largest error in ulp and where it is; exits with 1
above 2 ulp. A float32 row takes one to five minutes on one core (the gamma functions longest). Needs scipy and mpmath.
--speed prints nanoseconds per element instead, beside PyTorch's if it is installed.
"""

from __future__ import annotations

import argparse
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from scipy import special

from lazygrad.codegen.math import expand
from lazygrad.codegen.math.floats import magnitude
from lazygrad.ir import loops
from lazygrad.ir.dtype import DType, bool_, float32, float64, int32, int64
from lazygrad.ir.node import Node, constant, where
from lazygrad.ir.op import Op
from lazygrad.runtime import device
from lazygrad.runtime.cpu import CpuDevice
from lazygrad.runtime.memory import ALIGNMENT

Array = np.ndarray[Any, Any]
LIMIT = 2.0
CHUNK = 1 << 14  # the arrays of a chunk stay in the cache, and their memory in the process
FUNCTIONS: dict[Op, Callable[[Array], Array]] = {
    Op.EXP: np.exp, Op.EXP2: np.exp2, Op.EXPM1: np.expm1, Op.LOG: np.log, Op.LOG2: np.log2, Op.LOG10: np.log10,
    Op.LOG1P: np.log1p, Op.SIN: np.sin, Op.COS: np.cos, Op.TAN: np.tan, Op.ASIN: np.arcsin, Op.ACOS: np.arccos,
    Op.ATAN: np.arctan, Op.SINH: np.sinh, Op.COSH: np.cosh, Op.TANH: np.tanh, Op.ASINH: np.arcsinh, Op.ACOSH: np.arccosh,
    Op.ATANH: np.arctanh, Op.ERF: special.erf, Op.ERFC: special.erfc, Op.ERFINV: lambda x: np.copysign(special.erfinv(np.where(np.abs(x) <= 1, x, np.nan)), x),
    Op.LGAMMA: lambda x: np.where(np.isinf(x), np.inf, special.gammaln(x)), Op.DIGAMMA: special.digamma,
    Op.RSQRT: lambda x: 1 / np.sqrt(x),
}  # fmt: skip
EXACT: dict[Op, Callable[[Any], Any]] = {
    Op.EXP2: lambda x: mpmath.mpf(2) ** x, Op.LOG2: lambda x: mpmath.log(x, 2), Op.LGAMMA: lambda x: mpmath.log(abs(mpmath.gamma(x))),
    Op.RSQRT: lambda x: 1 / mpmath.sqrt(x),
}  # fmt: skip
ROOTS = (Op.LGAMMA, Op.DIGAMMA)
"""Their float64 error is counted in ulp of 1 where the result is smaller (next to a root all digits cancel), and may be 5."""


@dataclass(frozen=True)
class Worst:
    """The largest error found, in ulp, and its input, result and true result."""

    error: float
    given: float
    got: float
    true: float


def compiled(op: Op, dtype: DType, count: int, arguments: int = 1) -> Callable[..., Array]:
    """The function over arrays of `count` elements, in vectors."""
    cpu = device.get("cpu")
    assert isinstance(cpu, CpuDevice)
    lanes = cpu.target.lanes(dtype)
    sources = [loops.parameter(f"x{i}", dtype, (count,), "in") for i in range(arguments)]
    out = loops.parameter("y", dtype, (count,), "out")
    index = loops.index("i")
    loads = tuple(loops.load(source, index, lanes=lanes) for source in sources)
    value = Node(op, loads, dtype, (lanes,))
    body = loops.loop(index, count, [*loads, loops.store(out, index, value)], lanes, "parallel")
    kernel = expand(loops.kernel(op.name.lower(), [*sources, out], [body]))
    return launched(kernel, count // lanes, aligned(count, dtype.storage))


def aligned(count: int, dtype: Any) -> Array:
    """Memory that begins at a line of the cache, as that of every buffer: large results are written past the caches."""
    size = count * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    return memory[begin : begin + size].view(dtype)


def launched(kernel: Node, trips: int, result: Array) -> Callable[..., Array]:
    """A kernel as a function of its input arrays that fills and returns `result`."""
    cpu = device.get("cpu")
    assert isinstance(cpu, CpuDevice)
    executable = cpu.build(kernel)
    error = array("q", [0])

    def run(*inputs: Array) -> Array:
        held = [cpu.wrap(a) for a in (*inputs, result)]
        slots = array("q", [b.address for b in held] + [error.buffer_info()[0]])
        executable.run(slots, 0, trips)
        return result

    return run


def ulps(got: Array, true: Array) -> Array:
    """The error of float32 results in ulp of the true one; infinite for a wrong NaN, infinity or sign of zero."""
    size = np.maximum(np.abs(true), 2.0**-126)
    with np.errstate(all="ignore"):
        rounded = true.astype(np.float32)
        ulp = np.exp2(np.minimum(np.floor(np.log2(size)), 127) - 23)
        value = np.where(
            np.isinf(got), np.copysign(2.0**128, got.astype(np.float64)), got.astype(np.float64)
        )
        bound = np.where(np.isinf(rounded), np.copysign(2.0**128, true), true)
        error = np.abs(value - bound) / ulp
    error = np.where(np.isnan(got) & np.isnan(true), 0, np.where(np.isnan(error), np.inf, error))
    wrong_zero = (got == 0) & (rounded == 0) & (np.signbit(got) != np.signbit(rounded))
    return np.where(wrong_zero, np.inf, error)


def suspicion(count: int) -> Callable[..., Array]:
    """A kernel over float32 results, their true float64 values and a limit in ulp (one each): what `ulps` must look at.

    That is what is further off, or of another sign or kind. numpy would take most of the time of the whole check for it.
    """
    got = loops.parameter("got", float32, (count,), "in")
    true = loops.parameter("true", float64, (count,), "in")
    limit = loops.parameter("limit", float64, (1,), "in")
    out = loops.parameter("out", bool_, (count,), "out")
    index, lanes = loops.index("i"), 8
    result, exact = (loops.load(source, index, lanes=lanes) for source in (got, true))
    bound = loops.load(limit, 0)
    value = result.cast(float64)
    exponent = exact.bitcast(int64) & (0x7FF << 52)
    lowest = constant((1023 - 126) << 52, int64, (lanes,))
    power = where(exponent.lt(lowest), lowest, exponent).bitcast(float64)
    near = magnitude(value - exact).le(power * loops.splat(bound * 2.0**-23, lanes))
    signs = result.bitcast(int32).lt(0).eq(exact.bitcast(int64).lt(0))
    nothing = value.ne(value) & exact.ne(exact)
    far = ~(((near | value.eq(exact)) & signs) | nothing)
    body = loops.loop(
        index, count, [result, exact, loops.store(out, index, far)], lanes, "parallel"
    )
    return launched(
        loops.kernel("suspicion", [got, true, limit, out], [bound, body]),
        count // lanes,
        aligned(count, np.bool_),
    )


def worst_of(
    op: Op, given: Array, got: Array, true: Array, known: float, far: Array
) -> Worst | None:
    """The worst of the results at the indices `far` if it is worse than `known`."""
    errors = ulps(got[far], true[far])
    for place in np.argsort(errors)[::-1][:64]:
        index = far[place]
        error, value = float(errors[place]), float(true[index])
        if error <= known:
            return None
        if op in ROOTS and np.isfinite(given[index]) and np.isfinite(value):
            with mpmath.workprec(200):
                value = float(exactly(op, float(given[index])))
            error = float(ulps(got[index : index + 1], np.array([value]))[0])
            if error <= known:
                continue
        return Worst(error, float(given[index]), float(got[index]), value)
    return None


def sample() -> Array:
    """A million float32 inputs, as many of every exponent, and special ones."""
    random = np.random.default_rng(7)
    step = 1 << 12
    bits = np.arange(0, 1 << 32, step, dtype=np.int64) + random.integers(0, step, (1 << 32) // step)
    chosen = bits.astype(np.uint32).view(np.float32)
    edges = np.array(
        [0.0, 1.0, 0.5, 2.0, np.inf, np.nan, 1e-45, 1.1754944e-38, 3.4028235e38], np.float32
    )
    chosen[: 2 * edges.size] = np.concatenate([edges, -edges])
    return chosen


def check_single(op: Op, quick: bool) -> Worst:
    """The worst float32 result, of all inputs or of a sample."""
    worst = worst_in(op, sample(), 1, Worst(0.5, 0.0, 0.0, 0.0))  # 0.5 is what correct rounding has
    if quick:
        return worst
    return worst_in(
        op, np.arange(CHUNK, dtype=np.uint32).view(np.float32), (1 << 32) // CHUNK, worst
    )


def worst_in(op: Op, given: Array, chunks: int, worst: Worst) -> Worst:
    """The worst of `worst` and the results for `given` and as many of the following chunks."""
    run, suspect = compiled(op, float32, given.size), suspicion(given.size)
    for _ in range(chunks):
        with np.errstate(all="ignore"):
            true = FUNCTIONS[op](given.astype(np.float64))
            got = run(given)
            far = suspect(got, true, np.array([worst.error]))
            if far.any():
                worst = worst_of(op, given, got, true, worst.error, np.flatnonzero(far)) or worst
        given.view(np.uint32)[:] += np.uint32(given.size)
    return worst


def exactly(op: Op, x: float) -> Any:
    """The function by mpmath; NaN where it is not real."""
    function = EXACT.get(op)
    if function is None:
        function = getattr(mpmath, op.name.lower())
    try:
        value = function(mpmath.mpf(x))
    except (ValueError, ZeroDivisionError, OverflowError):
        return mpmath.nan
    return mpmath.nan if isinstance(value, mpmath.mpc) and value.imag else mpmath.re(value)


def doubles(count: int) -> Array:
    """Inputs of every size, and around what the functions are split at."""
    random = np.random.default_rng(11)
    parts = [
        random.normal(size=count) * 3, random.uniform(-1, 1, count), random.uniform(0, 4, count),
        np.exp(random.uniform(-40, 8, count)), -np.exp(random.uniform(-40, 8, count)), random.uniform(-745, 710, count),
        1 + random.normal(size=count) * 1e-4, np.exp2(random.uniform(-1060, 1020, count)), random.uniform(-30, 30, count),
        1 - np.exp(random.uniform(-36, 0, count)),
    ]  # fmt: skip
    return np.concatenate(parts)[: 10 * count - 10 * count % 8]


def check_double(op: Op, count: int) -> Worst:
    given = doubles(count // 5 if op is Op.ERFINV else count)  # mpmath takes its time for that one
    got = compiled(op, float64, given.size)(given)
    worst = Worst(0.0, 0.0, 0.0, 0.0)
    mpmath.mp.prec = 1300 if op in (Op.SIN, Op.COS, Op.TAN) else 200
    for x, value in zip(given.tolist(), got.tolist(), strict=True):
        if (op in (Op.ERF, Op.ERFC) and abs(x) > 30) or (op is Op.LGAMMA and abs(x) > 1e15):
            continue  # mpmath does not come back from these
        true = exactly(op, x)
        if mpmath.isnan(true) or mpmath.isinf(true) or abs(true) >= mpmath.mpf(2) ** 1024:
            continue  # special values are the tests' subject
        size = max(abs(true), mpmath.mpf(1 if op in ROOTS else 2.0**-1022))
        unit = mpmath.mpf(2) ** (mpmath.floor(mpmath.log(size, 2)) - 52)
        error = float(abs(mpmath.mpf(value) - true) / unit) if value == value else float("inf")
        if error > worst.error:
            worst = Worst(error, x, value, float(true))
    return worst


def speed(names: list[Op]) -> None:
    """Nanoseconds per element on 2^20 cached ones, one thread, beside PyTorch's."""
    try:
        import torch
    except ImportError:
        torch = None  # type: ignore[assignment]
    if torch is not None:
        torch.set_num_threads(1)
    count = 1 << 20
    random = np.random.default_rng(3)
    print(
        f"{'function':10} {'float32':>9} {'torch':>7} {'float64':>9} {'torch':>7}   ns per element"
    )
    for op in names:
        row = [f"{op.name.lower():10}"]
        for dtype in (float32, float64):
            x = random.uniform(0.01, 0.99, count).astype(dtype.storage)
            run = compiled(op, dtype, count)
            row.append(f"{timed(lambda run=run, x=x: run(x)) / count * 1e9:9.3f}")
            function = getattr(torch, op.name.lower(), None) if torch is not None else None
            if function is None:
                row.append(f"{'-':>7}")
                continue
            tensor, out = torch.from_numpy(x), torch.empty(count, dtype=getattr(torch, dtype.name))
            row.append(
                f"{timed(lambda f=function, t=tensor, o=out: f(t, out=o)) / count * 1e9:7.3f}"
            )
        print(*row, flush=True)


def timed(function: Callable[[], object]) -> float:
    """Seconds a call: the best of many, since other processes share the machine."""
    best = float("inf")
    for _ in range(60):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("function", nargs="*", help="names as exp, lgamma; all without")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    names = [Op[name.upper()] for name in options.function] or list(FUNCTIONS)
    if options.speed:
        speed(names)
        return 0
    failed = False
    print(
        f"{'function':10} {'dtype':8} {'ulp':>6}  {'at':>24} {'gives':>24} {'instead of':>24} {'s':>6}"
    )
    for op in names:
        for dtype in (float32, float64):
            start = time.perf_counter()
            worst = (
                check_single(op, options.quick)
                if dtype is float32
                else check_double(op, 30 if options.quick else 1000)
            )
            failed |= worst.error > (5 if op in ROOTS and dtype is float64 else LIMIT)
            print(
                f"{op.name.lower():10} {dtype.name:8} {worst.error:6.3f}  {worst.given!r:>24} {worst.got!r:>24} "
                f"{worst.true!r:>24} {time.perf_counter() - start:6.1f}",
                flush=True,
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
