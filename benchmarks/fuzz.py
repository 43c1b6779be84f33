"""Random programs, as many as asked for: CPU, INTERPRET, numpy, finite differences and, where it is installed, PyTorch.

usage: python benchmarks/fuzz.py [--examples N] [--first N] [--steps N] [--keep-going]

Prints the first program that fails, without the steps that it fails without, as a script. `--keep-going` reports the first line
of each failure instead.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.programs.execute import failure, shortest_failure
from tests.programs.generator import drawn


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--first", type=int, default=500, help="the suite runs those before 500")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--keep-going", action="store_true")
    arguments = parser.parse_args()
    failed = 0
    for number in range(arguments.first, arguments.first + arguments.examples):
        seeds = drawn(number, arguments.steps)
        message = failure(seeds) if arguments.keep_going else shortest_failure(seeds)
        if message:
            failed += 1
            print(f"program {number}: {message.splitlines()[0][:200]}", flush=True)
            if not arguments.keep_going:
                print(message)
                return 1
    print(f"{failed} of {arguments.examples} programs fail")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
