"""Fits every polynomial of codegen/math and writes codegen/math/coefficients.py.

    python benchmarks/fit_polynomials.py [name ...]

Each polynomial is the weighted minimax fit (Remez exchange on a fine grid, in 70 digits) of one smooth function on one
interval. Its coefficients are rounded to the format one after the other, lowest power first; after each rounding
the others are fitted again, so that they take up the error of the rounding. The weight turns the error of the polynomial into
the relative error of the function that is computed with it; the printed error is that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mpmath import mp, mpf

mp.dps = 70
TARGET = Path(__file__).parent.parent / "codegen" / "math" / "coefficients.py"
Real = Callable[[mpf], mpf]


@dataclass(frozen=True)
class Fit:
    """`function` on [low, high] of the variable, by degree for float32 and float64 (None: not used in that format)."""

    name: str
    function: Real
    weight: Real
    interval: tuple[object, object]
    single: int | None
    double: int | None
    text: str
    wide: tuple[object, object] | None = None  # float64's interval where it is another


def exchange(
    grid: list[mpf], values: list[mpf], weights: list[mpf], first: int, count: int
) -> tuple[list[mpf], mpf]:
    """The minimax coefficients of x**first, ..., x**(first + count - 1), and the weighted error."""
    size = len(grid)
    chosen = [
        min(size - 1, max(0, round((size - 1) * (1 - np.cos(np.pi * (i + 0.5) / (count + 1))) / 2)))
        for i in range(count + 1)
    ]
    # the grid is spaced as Chebyshev's points are, so equal steps of the index are the right first guess
    chosen = [round((size - 1) * i / count) for i in range(count + 1)] if count else [size // 2]
    coefficients: list[mpf] = []
    worst = mpf(0)
    for _ in range(40):
        matrix = mp.matrix(count + 1, count + 1)
        right = mp.matrix(count + 1, 1)
        for row, index in enumerate(chosen):
            power = grid[index] ** first
            for column in range(count):
                matrix[row, column] = power * weights[index]
                power *= grid[index]
            matrix[row, count] = (-1) ** row
            right[row] = values[index] * weights[index]
        solution = mp.lu_solve(matrix, right)
        coefficients = [solution[i] for i in range(count)]
        level = abs(solution[count])
        errors = []
        for x, value, weight in zip(grid, values, weights, strict=True):
            total = mpf(0)
            for c in reversed(coefficients):
                total = total * x + c
            errors.append((value - total * x**first) * weight)
        worst = max(abs(e) for e in errors)
        if worst <= level * mpf("1.002"):
            break
        peaks: list[int] = []
        for index, error in enumerate(errors):
            if peaks and (errors[peaks[-1]] > 0) == (error > 0):
                if abs(error) > abs(errors[peaks[-1]]):
                    peaks[-1] = index
            else:
                peaks.append(index)
        while len(peaks) > count + 1:
            if len(peaks) == count + 2:
                peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
            else:
                low = min(
                    range(len(peaks) - 1),
                    key=lambda i: max(abs(errors[peaks[i]]), abs(errors[peaks[i + 1]])),
                )
                del peaks[low : low + 2]
        if len(peaks) < count + 1 or peaks == chosen:
            break
        chosen = peaks
    return coefficients, worst


def rounded(value: mpf, single: bool) -> mpf:
    if single:
        return mpf(float(np.float32(float(mp.mpf(value)))))
    return mpf(float(value))


def solve(fit: Fit, single: bool) -> tuple[list[mpf], mpf]:
    degree = fit.single if single else fit.double
    assert degree is not None
    low, high = fit.wide if fit.wide and not single else fit.interval
    low, high = mpf(low), mpf(high)
    size = 24 * (degree + 2)
    grid = [
        (low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (i + mpf(1) / 3) / size)
        for i in range(size)
    ]
    values = [fit.function(x) for x in grid]
    weights = [abs(fit.weight(x)) for x in grid]
    plain = [rounded(c, single) for c in exchange(grid, values, weights, 0, degree + 1)[0]]
    careful = round_in_turn(grid, values, weights, degree, single)
    return min(
        (
            (
                table,
                max(
                    abs(v - mp.polyval(table[::-1], x)) * w
                    for x, v, w in zip(grid, values, weights, strict=True)
                ),
            )
            for table in (plain, careful)
        ),
        key=lambda found: found[1],
    )


def round_in_turn(
    grid: list[mpf], values: list[mpf], weights: list[mpf], degree: int, single: bool
) -> list[mpf]:
    """Coefficients rounded one by one, the others fitted again (of float64 the first four: the rest matter less)."""
    fixed: list[mpf] = []
    for power in range(degree + 1):
        found, _ = exchange(grid, values, weights, power, degree + 1 - power)
        keep = found[:1] if single or power < 4 else found
        for offset, c in enumerate(keep):
            c = rounded(c, single)
            fixed.append(c)
            values = [v - c * x ** (power + offset) for v, x in zip(values, grid, strict=True)]
        if len(keep) > 1:
            break
    return fixed


def shown(value: mpf, single: bool) -> str:
    return str(np.float32(float(value))) if single else repr(float(value))


def odd(function: Real) -> Real:
    """q of f(x) = x + x**3 q(x**2), as a function of x**2."""
    return lambda z: (function(mp.sqrt(z)) / mp.sqrt(z) - 1) / z


def odd_weight(function: Real) -> Real:
    return lambda z: z * mp.sqrt(z) / function(mp.sqrt(z))


def erfc_tail(t: mpf) -> mpf:
    """exp(x*x) erfc(x), where t = (x - 2) / (x + 2)."""
    x = 2 * (1 + t) / (1 - t)
    return mp.exp(x * x) * mp.erfc(x) * (1 + 2 * x)


def erfinv_ratio(w: mpf) -> mpf:
    x = mp.sqrt(-mp.expm1(-w))
    return mp.erfinv(x) / x


def stirling(z: mpf) -> mpf:
    a = 1 / mp.sqrt(z)
    return a * (mp.loggamma(a) - (a - mpf(1) / 2) * mp.log(a) + a - mp.log(2 * mp.pi) / 2)


def digamma_rest(z: mpf) -> mpf:
    a = 1 / mp.sqrt(z)
    return (mp.log(a) - 1 / (2 * a) - mp.digamma(a)) / z


LN2 = mp.log(2)
QUARTER = (mp.pi / 4 * mpf("1.01")) ** 2
ROOT = mp.sqrt(mpf(1) / 2)

FITS = [
    Fit("EXP", lambda r: (mp.exp(r) - 1 - r) / r**2, lambda r: r**2 / mp.exp(r), (-LN2 * mpf("1.001"), LN2 * mpf("1.001")), 5, 11,
        "exp(r) = 1 + r + r^2 q(r)"),
    Fit("EXPM1", lambda r: (mp.expm1(r) - r) / r**2, lambda r: r**2 / mp.expm1(r), (-LN2 / 2 * mpf("1.001"), LN2 / 2 * mpf("1.001")), 5, 9,
        "expm1(r) = r + r^2 q(r)"),
    Fit("EXP2", lambda r: (2**r - 1) / r, lambda r: r / 2**r, (-1, 1), 6, 12, "2^r = 1 + r q(r)"),
    Fit("LOG1P", lambda f: (mp.log1p(f) - f) / f**2, lambda f: f**2 / mp.log1p(f), (ROOT - 1 - mpf("1e-7"), 2 * ROOT - 1 + mpf("1e-7")), 8, 20,
        "log(1 + f) = f + f^2 q(f)"),
    Fit("SIN", odd(mp.sin), odd_weight(mp.sin), (0, QUARTER), 2, 6, "sin(r) = r + r z q(z), z = r^2"),
    Fit("COS", lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2, lambda z: z**2, (0, QUARTER), 2, 6, "cos(r) = 1 - z/2 + z^2 q(z), z = r^2"),
    Fit("TAN", odd(mp.tan), odd_weight(mp.tan), (0, QUARTER), 5, 13, "tan(r) = r + r z q(z), z = r^2"),
    Fit("ATAN", odd(mp.atan), odd_weight(mp.atan), (0, 1), 9, 20, "atan(r) = r + r z q(z), z = r^2"),
    Fit("ASIN", odd(mp.asin), odd_weight(mp.asin), (0, mpf(81) / 256), 5, 14, "asin(r) = r + r z q(z), z = r^2"),
    Fit("SINH", odd(mp.sinh), odd_weight(mp.sinh), (0, 1), 3, 6, "sinh(r) = r + r z q(z), z = r^2"),
    Fit("ATANH", odd(mp.atanh), odd_weight(mp.atanh), (0, mpf(1) / 4), 5, 14, "atanh(r) = r + r z q(z), z = r^2"),
    Fit("ASINH", odd(mp.asinh), odd_weight(mp.asinh), (0, mpf(1) / 4), 4, 12, "asinh(r) = r + r z q(z), z = r^2"),
    Fit("TANH", odd(mp.tanh), odd_weight(mp.tanh), (0, mpf("0.36")), 4, 11, "tanh(r) = r + r z q(z), z = r^2"),
    Fit("ERF", lambda x: (-mp.log(mp.erfc(x)) / x - 2 / mp.sqrt(mp.pi)) / x, lambda x: x**2 * mp.erfc(x) / mp.erf(x), ("1e-20", 6), None, 25,
        "erf(x) = 1 - exp(-x (2/sqrt(pi) + x q(x)))"),
    Fit("ERF_NEAR", lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1, lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)), ("1e-20", 1), 6, None, "erf(x) = x + x q(z), z = x^2"),
    Fit("ERF_FAR", lambda u: mp.erfc(u + mpf("2.5")), lambda u: mpf(1), ("-1.5", "1.5"), 14, None, "erf(x) = 1 - q(x - 2.5)"),
    Fit("ERFC_TAIL", erfc_tail, lambda t: 1 / erfc_tail(t), (mpf("-1.56") / mpf("2.44"), mpf(8.1) / mpf(12.1)), 10, 26,
        "erfc(x) = exp(-x^2) q(t) / (1 + 2 x), t = (x - 2) / (x + 2), x >= 0.44", (mpf("-1.56") / mpf("2.44"), mpf(26) / mpf(30))),
    Fit("POW_LOG", lambda z: (mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 1 - z / 3) / z**2, lambda z: z**2, (0, (3 - 2 * mp.sqrt(2)) ** 2 * mpf("1.001")), 2, 7,
        "atanh(s) = s + s z/3 + s z^2 q(z), z = s^2"),
    Fit("ERFINV_CENTRE", erfinv_ratio, lambda w: 1 / erfinv_ratio(w), ("1e-20", 5), 10, 25,
        "erfinv(x) = x q(w), w = -log(1 - x^2)"),
    Fit("ERFINV_TAIL", lambda v: erfinv_ratio((v + 3) ** 2), lambda v: 1 / erfinv_ratio((v + 3) ** 2), ("-0.78", "1.1"), 10, 22,
        "erfinv(x) = x q(sqrt(w) - 3), w = -log(1 - x^2)"),
    Fit("ERFINV_FAR", lambda v: erfinv_ratio((v + 5) ** 2), lambda v: 1 / erfinv_ratio((v + 5) ** 2), ("-1.01", "1.1"), None, 18,
        "erfinv(x) = x q(sqrt(w) - 5), w = -log(1 - x^2)"),
    Fit("LOG_GAMMA", lambda t: mp.loggamma(2 + t) / t, lambda t: t / mp.loggamma(2 + t), ("-0.5", "0.5"), None, 19, "log(gamma(2 + t)) = t q(t)"),
    Fit("STIRLING", stirling, mp.sqrt, (0, mpf(1) / 64), None, 7,
        "log(gamma(a)) = (a - 1/2) log(a) - a + log(2 pi)/2 + q(z) / a, z = 1/a^2"),
    Fit("DIGAMMA_NEAR", lambda t: mp.digamma(2 + t), lambda t: mpf(1), ("-0.5", "0.5"), None, 19, "digamma(2 + t) = q(t)"),
    Fit("DIGAMMA", digamma_rest, lambda z: z, (0, mpf(1) / 64), None, 7,
        "digamma(a) = log(a) - 1/(2 a) - z q(z), z = 1/a^2"),
]  # fmt: skip

HEADER = '''"""Polynomial coefficients of the functions, lowest power first; written by benchmarks/fit_polynomials.py.

`q` is the polynomial; beside each stand its interval and the largest relative error of the function it serves.
"""

from __future__ import annotations

from lazygrad.ir.dtype import DType, float32, float64

Table = dict[DType, tuple[float, ...]]

'''


def block(fit: Fit) -> str:
    lines = [f"# {fit.text}"]
    body = []
    for single, label in ((True, "float32"), (False, "float64")):
        degree = fit.single if single else fit.double
        if degree is None:
            continue
        coefficients, worst = solve(fit, single)
        low, high = fit.wide if fit.wide and not single else fit.interval
        error = f"2^{mp.nstr(mp.log(worst, 2), 4)}"
        print(f"{fit.name:12} {label} degree {degree:2}  error {error}", file=sys.stderr)
        lines.append(
            f"# {label}: [{mp.nstr(mpf(low), 6)}, {mp.nstr(mpf(high), 6)}], degree {degree}, error {error}"
        )
        numbers = [shown(c, single) + "," for c in coefficients]
        rows = [" ".join(numbers[k : k + 5]) for k in range(0, len(numbers), 5)]
        body.append(f"    {label}: (\n" + "".join(f"        {row}\n" for row in rows) + "    ),\n")
    return "\n".join(lines) + f"\n{fit.name}: Table = {{\n" + "".join(body) + "}  # fmt: skip\n"


def main() -> None:
    names = set(sys.argv[1:])
    blocks: dict[str, str] = {}
    if names and TARGET.exists():
        import re

        text = TARGET.read_text()
        for match in re.finditer(r"(?:# [^\n]*\n)+(\w+): Table = \{\n.*?\n\}[^\n]*\n", text, re.S):
            blocks[match[1]] = match[0]
    for fit in FITS:
        if not names or fit.name in names or fit.name not in blocks:
            blocks[fit.name] = block(fit)
    TARGET.write_text(HEADER + "\n".join(blocks[fit.name] for fit in FITS))


if __name__ == "__main__":
    main()
