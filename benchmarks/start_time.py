"""How long a process takes that imports the library, adds two tensors and prints, beside PyTorch; and the import alone.

usage: python benchmarks/start_time.py [rounds]

The processes run in turns, so that a busy machine slows all alike; the median counts. The goal is under a third of PyTorch's time.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Bytecode is written at the first run, as installing does it: where that is switched off, every run would compile the sources.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
}
PROGRAMS = {
    "python alone": "pass",
    "import lazygrad": "import lazygrad",
    "lazygrad, add and print": "import lazygrad as t; print(t.tensor([1., 2.]) + t.tensor([3., 4.]))",
    "import torch": "import torch",
    "torch, add and print": "import torch as t; print(t.tensor([1., 2.]) + t.tensor([3., 4.]))",
}


def seconds(program: str) -> float:
    """The time of one process."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True,
    )  # fmt: skip
    return time.perf_counter() - start


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    beside = importlib.util.find_spec("torch") is not None
    programs = {name: text for name, text in PROGRAMS.items() if beside or "torch" not in name}
    for program in programs.values():
        seconds(program)  # the first run reads files from disk
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            times[name].append(seconds(program))
    print(f"median of {rounds} rounds, in turns")
    for name, found in times.items():
        print(
            f"  {name:26} {statistics.median(found) * 1e3:7.0f} ms   least {min(found) * 1e3:7.0f} ms"
        )
    if beside:
        ours = statistics.median(times["lazygrad, add and print"])
        theirs = statistics.median(times["torch, add and print"])
        print(f"lazygrad takes {ours / theirs:.2f} of PyTorch's time; the goal is under 0.33")
    else:
        print("PyTorch is not installed: nothing to compare with")


if __name__ == "__main__":
    main()
