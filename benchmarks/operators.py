"""Operators on 4M elements against PyTorch: how many times its time each takes, the slowest last.

usage: python benchmarks/operators.py [--threads 1] [--rounds 7] [--only sort topk] [--size 4194304] [--part 1/4]

Results are compared with PyTorch's first. Then both run each operator in turn, in the same process; the least of the rounds counts.
With --threads 1 the processor time of the process is measured, so other work on the machine counts for little; with more threads
(--wall) the time on the clock. The exit status is how many operators take longer than their goal: PyTorch's time, for sorts 1.5 of it.
operator_cases.py has the list.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from operator_cases import Case, cases  # type: ignore[import-not-found]

GOAL = 1.0
GOALS = {"sort": 1.5, "argsort": 1.5, "msort": 1.5}
"""What an operator may take, in times of PyTorch; by the first word of its name."""
ROUND_SECONDS = 0.002
"""A round does as many calls as fit here, one at least."""


def ready(made: Any) -> Any:
    """Compute lazygrad's results, all in one plan."""
    import lazygrad

    if isinstance(made, lazygrad.Tensor):
        return made.realize()
    lazygrad.realize(*made) if hasattr(lazygrad, "realize") else [each.realize() for each in made]
    return made


def agrees(case: Case, ours: Any, theirs: Any) -> str:
    """What differs between two results, or nothing."""
    several = isinstance(theirs, (tuple, list))
    pairs = list(zip(ours, theirs, strict=True)) if several else [(ours, theirs)]
    for our, their in pairs[: 1 if case.compared == "first" else None]:
        if tuple(our.shape) != tuple(their.shape):
            return f"shape {tuple(our.shape)}, not {tuple(their.shape)}"
        if case.compared == "shape":
            continue
        found, expected = our.numpy(), their.numpy()
        if case.tolerance:
            bound = case.tolerance
            fine = np.allclose(found, expected, rtol=bound, atol=bound, equal_nan=True)
        else:
            fine = np.array_equal(found, expected)
        if not fine:
            return "other values"
    return ""


class Row(NamedTuple):
    """What was measured of a case, in seconds."""

    ratio: float
    name: str
    own: float
    their: float
    first: float
    problem: str


def measured(case: Case, rounds: int, clock: Callable[[], float]) -> Row:
    """Compare the two results of a case, then time both in turn."""
    import torch

    import lazygrad

    theirs = [torch.from_numpy(each) for each in case.inputs]
    ours = [lazygrad.tensor(each).realize() for each in case.inputs]
    expected = case.run(torch, *theirs)
    begun = time.process_time()
    found = ready(case.run(lazygrad, *ours))
    first = time.process_time() - begun
    problem = agrees(case, found, expected)
    del found, expected
    begun = time.process_time()
    case.run(torch, *theirs)
    calls = max(int(ROUND_SECONDS / max(time.process_time() - begun, 1e-6)), 1)
    least = [float("inf")] * 2
    for _ in range(rounds):
        begun = clock()
        for _ in range(calls):
            ready(case.run(lazygrad, *ours))
        least[0] = min(least[0], (clock() - begun) / calls)
        begun = clock()
        for _ in range(calls):
            case.run(torch, *theirs)
        least[1] = min(least[1], (clock() - begun) / calls)
    own, their = least
    return Row(own / their, case.name, own, their, first, problem)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wall", action="store_true", help="the clock's time, not the process's")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=1 << 22, help="elements")
    parser.add_argument("--only", nargs="*", help="operators whose names begin so")
    parser.add_argument("--part", default="1/1", help="2/4: the second of four parts of the list")
    options = parser.parse_args()
    part, parts = map(int, options.part.split("/"))
    warnings.simplefilter("ignore")
    os.environ["LAZYGRAD_NUM_THREADS"] = str(options.threads)
    import torch

    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 and not options.wall else time.perf_counter
    rows: list[Row] = []
    for number, case in enumerate(cases(options.size)):
        if number % parts != part - 1:
            continue
        if options.only and not case.name.startswith(tuple(options.only)):
            continue
        try:
            rows.append(measured(case, options.rounds, clock))
        except Exception as error:
            problem = f"{type(error).__name__}: {error}".partition("\n")[0]
            rows.append(Row(float("inf"), case.name, 0.0, 0.0, 0.0, problem))
        print(f"{rows[-1].ratio:6.2f} {case.name}", file=sys.stderr, flush=True)
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
