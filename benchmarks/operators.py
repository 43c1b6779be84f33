"""Operators on 4M elements against PyTorch: how many times its time each takes, the slowest last.

usage: python benchmarks/operators.py [--threads 1] [--rounds 7] [--only sort topk] [--size 4194304]

Results are compared with PyTorch's first. Then both run each operator in turn, in the same process; the least of the rounds counts.
With --threads 1 the processor time of the process is measured, so other work on the machine counts for little; with more threads
(--wall) the time on the clock. The exit status is how many operators take longer than their goal: PyTorch's time, for sorts 1.5 of it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

GOAL = 1.0
GOALS = {"sort": 1.5, "argsort": 1.5}
"""What an operator may take, in times of PyTorch; by the first word of its name."""


class Case(NamedTuple):
    """An operator, what it is given, and how its result is compared."""

    name: str
    run: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    tolerance: float
    values_only: bool
    """Of a result in pairs only the first is compared: which of equal elements is meant may differ."""


def cases(size: int) -> Iterator[Case]:
    """The cases, on about `size` elements."""
    draw = np.random.default_rng(0)
    side = int(size**0.5)
    square = (side, side)
    x = draw.normal(size=square).astype(np.float32)
    y = draw.normal(size=square).astype(np.float32)
    positive = np.abs(x) + np.float32(0.1)
    n = draw.integers(-1_000_000, 1_000_000, square)
    small = draw.integers(0, 1000, square)
    mask = x > 0
    rare = x > 2.5
    line = x.reshape(-1)
    whole = n.reshape(-1)
    rows = draw.integers(0, side, side)
    anywhere = draw.integers(0, side, square)
    permutation = draw.permutation(side * side)
    ordered = np.sort(line[:: max(1, size // 65536)])

    def case(
        name: str,
        run: Callable[..., Any],
        *inputs: np.ndarray,
        tolerance: float = 0.0,
        values_only: bool = False,
    ) -> Case:
        return Case(name, run, inputs, tolerance, values_only)

    yield case("add", lambda m, a, b: a + b, x, y)
    yield case("add int64", lambda m, a, b: a + b, n, small)
    yield case("mul by a number", lambda m, a: a * 2.5, x)
    yield case("div", lambda m, a, b: a / b, x, positive, tolerance=1e-6)
    yield case("floor_divide int64", lambda m, a, b: a // (b + 1), n, small)
    yield case("remainder", lambda m, a, b: a % b, x, positive, tolerance=1e-4)
    for name in ("exp", "sin", "tanh", "sigmoid", "erf", "relu", "abs", "floor", "round"):
        yield case(name, lambda m, a, name=name: getattr(a, name)(), x, tolerance=2e-6)
    for name in ("log", "sqrt", "rsqrt", "reciprocal", "lgamma"):
        yield case(name, lambda m, a, name=name: getattr(a, name)(), positive, tolerance=2e-5)
    yield case("gelu", lambda m, a: m.nn.functional.gelu(a), x, tolerance=2e-6)
    yield case("pow", lambda m, a: a**2.5, positive, tolerance=1e-5)
    yield case("atan2", lambda m, a, b: m.atan2(a, b), x, y, tolerance=2e-6)
    yield case("maximum", lambda m, a, b: m.maximum(a, b), x, y)
    yield case("lt", lambda m, a, b: a < b, x, y)
    yield case("where", lambda m, c, a, b: m.where(c, a, b), mask, x, y)
    yield case("clamp", lambda m, a: a.clamp(-1, 1), x)
    yield case("lerp", lambda m, a, b: m.lerp(a, b, 0.3), x, y, tolerance=1e-5)
    yield case("cast to float64", lambda m, a: a.to(m.float64), x)
    yield case("cast to bfloat16", lambda m, a: a.to(m.bfloat16).to(m.float32), x)
    yield case("cast to int64", lambda m, a: a.to(m.int64), x)
    yield case("isnan", lambda m, a: m.isnan(a), x)

    yield case("sum", lambda m, a: a.sum(), x, tolerance=2e-2)
    yield case("sum int64", lambda m, a: a.sum(), n)
    yield case("sum rows", lambda m, a: a.sum(1), x, tolerance=1e-3)
    yield case("sum columns", lambda m, a: a.sum(0), x, tolerance=1e-3)
    yield case("mean rows", lambda m, a: a.mean(1), x, tolerance=1e-4)
    yield case("prod", lambda m, a: (a * 0 + 1).prod(), x)
    yield case("max", lambda m, a: a.max(), x)
    yield case("amax columns", lambda m, a: a.amax(0), x)
    yield case("max rows with indices", lambda m, a: a.max(1), x, values_only=True)
    yield case("argmax", lambda m, a: a.argmax(), x)
    yield case("argmax rows", lambda m, a: a.argmax(1), x)
    yield case("var rows", lambda m, a: a.var(1), x, tolerance=1e-4)
    yield case("norm", lambda m, a: a.norm(), x, tolerance=1e-1)
    yield case("logsumexp rows", lambda m, a: a.logsumexp(1), x, tolerance=1e-4)
    yield case("softmax rows", lambda m, a: a.softmax(1), x, tolerance=1e-6)
    yield case("softmax columns", lambda m, a: a.softmax(0), x, tolerance=1e-6)
    yield case("any rows", lambda m, a: a.any(1), rare)
    yield case("all", lambda m, a: (a == a).all(), x)
    yield case("count_nonzero", lambda m, a: m.count_nonzero(a), mask)

    yield case("cumsum rows", lambda m, a: a.cumsum(1), x, tolerance=1e-3)
    yield case("cumsum columns", lambda m, a: a.cumsum(0), x, tolerance=1e-3)
    yield case("cumsum of all int64", lambda m, a: a.cumsum(0), whole)
    yield case("cumprod rows", lambda m, a: (a * 0 + 1).cumprod(1), x)
    yield case("cummax rows", lambda m, a: a.cummax(1), x, values_only=True)
    yield case("logcumsumexp rows", lambda m, a: a.logcumsumexp(1), x, tolerance=1e-4)

    yield case("gather rows", lambda m, a, i: a.gather(1, i), x, anywhere)
    yield case("gather columns", lambda m, a, i: a.gather(0, i), x, anywhere)
    yield case("take", lambda m, a, i: a.take(i), line, permutation)
    yield case("index_select rows", lambda m, a, i: a.index_select(0, i), x, rows)
    yield case("index_select columns", lambda m, a, i: a.index_select(1, i), x, rows)
    yield case("index_select int64", lambda m, a, i: a.index_select(0, i), n, rows)
    yield case("index with two tensors", lambda m, a, i, j: a[i, j], x, anywhere, anywhere.T.copy())
    yield case("embedding", lambda m, a, i: m.nn.functional.embedding(i, a), x, rows)
    yield case("scatter rows", lambda m, a, i, b: a.scatter(1, i, b), x, np.argsort(y, 1), y)
    yield case("scatter_add rows", lambda m, a, i, b: a.scatter_add(1, i, b), x, anywhere, y, tolerance=1e-4)  # fmt: skip
    yield case("scatter_add columns", lambda m, a, i, b: a.scatter_add(0, i, b), x, anywhere, y, tolerance=1e-4)  # fmt: skip
    yield case(
        "index_add rows", lambda m, a, i, b: a.index_add(0, i, b), x, rows, y, tolerance=1e-4
    )
    yield case("index_copy rows", lambda m, a, i, b: a.index_copy(0, i, b), x, np.argsort(rows), y)
    yield case("index_put", lambda m, a, i, b: a.index_put((i,), b), x, np.argsort(rows), y)
    yield case("bincount", lambda m, a: m.bincount(a), small.reshape(-1))
    yield case("masked_fill", lambda m, a, c: a.masked_fill(c, 0.0), x, mask)
    yield case("masked_select", lambda m, a, c: a.masked_select(c), x, mask)
    yield case("masked_select few", lambda m, a, c: a.masked_select(c), x, rare)
    yield case("masked_scatter", lambda m, a, c, b: a.masked_scatter(c, b), x, mask, y)
    yield case("nonzero", lambda m, a: m.nonzero(a), mask)

    yield case("sort rows", lambda m, a: a.sort(1), x, values_only=True)
    yield case("sort of all", lambda m, a: a.sort(), line, values_only=True)
    yield case("sort of all int64", lambda m, a: a.sort(), whole, values_only=True)
    yield case("sort columns", lambda m, a: a.sort(0), x, values_only=True)
    yield case("argsort rows stable", lambda m, a: m.argsort(a, dim=1, stable=True), x)
    yield case("topk 10 of rows", lambda m, a: a.topk(10, 1), x, values_only=True)
    yield case("topk 10 of all", lambda m, a: a.topk(10), line, values_only=True)
    yield case("topk 10 of all int64", lambda m, a: a.topk(10), whole, values_only=True)
    yield case("topk 1000 of all", lambda m, a: a.topk(1000), line, values_only=True)
    yield case("kthvalue rows", lambda m, a: a.kthvalue(100, 1), x, values_only=True)
    yield case("median of all", lambda m, a: a.median(), x)
    yield case("median rows", lambda m, a: a.median(1), x, values_only=True)
    yield case("mode rows", lambda m, a: a.mode(1), small, values_only=True)
    yield case("unique int64", lambda m, a: m.unique(a), small)
    yield case("unique", lambda m, a: m.unique(a), line)
    yield case(
        "unique_consecutive", lambda m, a: m.unique_consecutive(a), np.sort(small.reshape(-1))
    )
    yield case("searchsorted", lambda m, a, b: m.searchsorted(a, b), ordered, line)
    yield case("bucketize in 10", lambda m, b, a: m.bucketize(a, b), np.linspace(-2, 2, 10, dtype=np.float32), x)  # fmt: skip
    yield case("isin", lambda m, a, b: m.isin(a, b), small, np.arange(0, 900, 9))

    yield case("cat", lambda m, a, b: m.cat([a, b]), x[: side // 2], y[: side // 2])
    yield case("cat columns", lambda m, a, b: m.cat([a, b], 1), x[:, : side // 2].copy(), y[:, : side // 2].copy())  # fmt: skip
    yield case("stack", lambda m, a, b: m.stack([a, b], -1), x[: side // 2], y[: side // 2])
    yield case("flip rows", lambda m, a: a.flip(1), x)
    yield case("flip columns", lambda m, a: a.flip(0), x)
    yield case("roll", lambda m, a: a.roll(100, 1), x)
    yield case("tril", lambda m, a: a.tril(), x)
    yield case("transpose", lambda m, a: a.t().contiguous(), x)
    yield case("permute", lambda m, a: a.view(-1, 64, 64).permute(2, 0, 1).contiguous(), line)
    yield case("repeat", lambda m, a: a.repeat(2, 2), x[: side // 2, : side // 2].copy())
    yield case(
        "repeat_interleave", lambda m, a: a.repeat_interleave(2, 1), x[:, : side // 2].copy()
    )
    yield case("pad", lambda m, a: m.nn.functional.pad(a, (3, 5, 2, 4)), x)
    yield case("diff", lambda m, a: a.diff(), x)
    yield case("outer", lambda m, a, b: m.outer(a, b), x[0], y[0])
    yield case("arange", lambda m: m.arange(size))
    yield case("zeros", lambda m: m.zeros(size))
    yield case("one_hot", lambda m, a: m.nn.functional.one_hot(a, 64), small.reshape(-1)[: size // 64] % 64)  # fmt: skip


def ready(made: Any) -> Any:
    """Compute lazygrad's results, all in one plan."""
    import lazygrad

    if isinstance(made, lazygrad.Tensor):
        return made.realize()
    lazygrad.realize(*made) if hasattr(lazygrad, "realize") else [each.realize() for each in made]
    return made


def agrees(case: Case, ours: Any, theirs: Any) -> str:
    """What differs between two results, or nothing."""
    pairs = list(zip(ours, theirs, strict=True)) if isinstance(theirs, tuple) else [(ours, theirs)]
    for our, their in pairs[: 1 if case.values_only else None]:
        if tuple(our.shape) != tuple(their.shape):
            return f"shape {tuple(our.shape)}, not {tuple(their.shape)}"
        found, expected = our.numpy(), their.numpy()
        if case.tolerance:
            near = np.abs(found - expected) <= case.tolerance * (1 + np.abs(expected))
            fine = bool(near.all())
        else:
            fine = np.array_equal(found, expected)
        if not fine:
            return "other values"
    return ""


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wall", action="store_true", help="the clock's time, not the process's")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=1 << 22, help="elements")
    parser.add_argument("--only", nargs="*", help="operators whose names begin so")
    options = parser.parse_args()
    os.environ["LAZYGRAD_NUM_THREADS"] = str(options.threads)
    import torch

    import lazygrad

    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 and not options.wall else time.perf_counter
    rows: list[tuple[float, str, float, float, float, str]] = []
    for case in cases(options.size):
        if options.only and not case.name.startswith(tuple(options.only)):
            continue
        theirs = [torch.from_numpy(each) for each in case.inputs]
        ours = [lazygrad.tensor(each).realize() for each in case.inputs]
        expected = case.run(torch, *theirs)
        begun = time.process_time()
        found = ready(case.run(lazygrad, *ours))
        first = time.process_time() - begun
        problem = agrees(case, found, expected)
        del found, expected
        least = [float("inf")] * 2
        for _ in range(options.rounds):
            begun = clock()
            ready(case.run(lazygrad, *ours))
            least[0] = min(least[0], clock() - begun)
            begun = clock()
            case.run(torch, *theirs)
            least[1] = min(least[1], clock() - begun)
        rows.append((least[0] / least[1], case.name, least[0], least[1], first, problem))
    missed = 0
    print(f"{'operator':28} {'ratio':>6} {'lazygrad':>10} {'PyTorch':>10} {'first call':>11}")
    for ratio, name, own, their, first, problem in sorted(rows):
        goal = GOALS.get(name.split()[0], GOAL)
        missed += ratio > goal or bool(problem)
        mark = f"  WRONG: {problem}" if problem else "" if ratio <= goal else "  slow"
        print(
            f"{name:28} {ratio:6.2f} {own * 1e3:7.2f} ms {their * 1e3:7.2f} ms {first * 1e3:8.0f} ms{mark}"
        )
    print(f"{missed} of {len(rows)} over their goal")
    return missed


if __name__ == "__main__":
    sys.exit(main())
