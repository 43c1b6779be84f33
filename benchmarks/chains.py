"""How much longer 20,000 chained operations take than 2,000: to build, run, differentiate and free, under a recursion limit of 200.

usage: python benchmarks/chains.py [rounds]

The goal is at most 15 times as long. Times are those of the process, so that other work on the machine counts for little; the
least of some rounds counts. The tests count calls instead of measuring (tests/contract/test_long_chains.py).
"""

from __future__ import annotations

import gc
import sys
import time

import lazygrad as torch
from lazygrad import config

LIMIT = 15


def seconds(length: int) -> float:
    """The processor time of one chain."""
    start = time.process_time()
    x = torch.ones(4, requires_grad=True)
    y = x
    for _ in range(length // 2):
        y = y * 0.9999 + 0.0001
    y.sum().backward()
    y.tolist()
    assert x.grad is not None
    x.grad.tolist()
    del x, y
    gc.collect()
    return time.process_time() - start


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    sys.setrecursionlimit(200)
    missed = False
    for device in ("cpu", "interpret"):
        with config.override(device=device):
            seconds(200)
            first = seconds(20_000)
            seconds(20_000)  # the places to cut a chain are known now, and its pieces are others
            short = min(seconds(2_000) for _ in range(rounds))
            long = min(seconds(20_000) for _ in range(rounds))
        missed |= long > LIMIT * short
        print(
            f"{device:10} 2,000: {short * 1e3:6.0f} ms   20,000: {long * 1e3:6.0f} ms (the first time {first * 1e3:.0f} ms)   "
            f"ratio {long / short:.1f}, the goal is at most {LIMIT}"
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
