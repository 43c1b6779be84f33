"""Random programs, as many as asked for: CPU, INTERPRET, numpy, finite differences and, where it is installed, PyTorch.

usage: python benchmarks/fuzz.py [--examples N] [--seed S] [--steps N] [--keep-going]

Prints the shortest program found that fails, as a script. `--keep-going` reports the first line of each failure instead.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.programs.execute import check
from tests.programs.generator import Program, programs, write


def survey(examples: int, start: int, steps: int) -> int:
    """Run programs drawn without hypothesis; report each failure by its number and go on."""
    failed = 0
    for number in range(start, start + examples):
        draws = random.Random(number)
        program = write([draws.randrange(1, 2**32) for _ in range(steps + 1)])
        try:
            check(program)
        except AssertionError as error:
            failed += 1
            print(f"program {number}: {str(error).splitlines()[0][:200]}", flush=True)
    print(f"{failed} of {examples} programs fail")
    return 1 if failed else 0


def search(examples: int, start: int, steps: int) -> int:
    """Run programs drawn by hypothesis; a failing one is made short, and printed."""
    depths: list[int] = []
    begin = perf_counter()

    @seed(start)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(programs(steps))
    def agree(program: Program) -> None:
        depths.append(program.depth)
        check(program)

    agree()
    seconds = perf_counter() - begin
    print(f"{len(depths)} programs of median depth {statistics.median(depths)} in {seconds:.0f} s")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--keep-going", action="store_true")
    arguments = parser.parse_args()
    run = survey if arguments.keep_going else search
    return run(arguments.examples, arguments.seed, arguments.steps)


if __name__ == "__main__":
    sys.exit(main())
