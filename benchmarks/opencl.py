"""OpenCL beside the LLVM device and PyTorch, as ratios of the medians of interleaved runs.

usage: python benchmarks/opencl.py [--rounds N] [--cpu]

With PoCL both devices are the same processor: sum and copy of 64 MB should take at most 1.3 times the LLVM device's time, chains of functions and softmax at
most 2.2 times, and at most PyTorch's own; a float32 product of 1024 at most 3 times.

All three keep threads for their loops, and PyTorch's turn round for a while waiting for more work: whoever comes after it would have one core less. So each side rests
first, and is then called some times in turn; the first call is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import lazygrad as lg
from lazygrad import config

REST = 0.01
"""Seconds after which no thread waits for work any more."""
CALLS = 3
"""How many calls are counted in a round."""


def programs(device: str) -> dict[str, Callable[[], None]]:
    """What is measured, on one device: each call computes and waits."""
    long = lg.rand(16 << 20, device=device)
    table, product = lg.rand(4096, 1024, device=device), lg.rand(1024, 1024, device=device)
    lg.realize(long, table, product)

    def run(make: Callable[[], Any]) -> Callable[[], None]:
        def call() -> None:
            with config.override(device=device):
                make().realize()
                if device == "opencl":
                    lg.opencl.synchronize()

        return call

    return {
        "sum 64 MB": run(long.sum),
        "copy 64 MB": run(lambda: long.clone().neg()),
        "chain 16 MB": run(lambda: (table * 2 - 1).sin().exp().tanh()),
        "softmax 16 MB": run(lambda: table.softmax(1)),
        "matmul 1024": run(lambda: product @ product),
    }


def rivals() -> dict[str, Callable[[], Any]]:
    """The same in PyTorch, where it is installed."""
    try:
        import torch
    except ImportError:
        return {}
    long, table, product = torch.rand(16 << 20), torch.rand(4096, 1024), torch.rand(1024, 1024)
    return {
        "sum 64 MB": long.sum,
        "copy 64 MB": long.neg,
        "chain 16 MB": lambda: (table * 2 - 1).sin().exp().tanh(),
        "softmax 16 MB": lambda: table.softmax(1),
        "matmul 1024": lambda: product @ product,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--cpu",
        action="store_true",
        help="the time of the processor in all threads, not of the clock",
    )
    options = parser.parse_args()
    rounds, clock = options.rounds, time.process_time if options.cpu else time.perf_counter
    sides: dict[str, dict[str, Callable[[], Any]]] = {
        "opencl": programs("opencl"),
        "cpu": programs("cpu"),
        "torch": rivals(),
    }
    print(f"{'':14} {'opencl ms':>10} {'/ cpu':>7} {'/ torch':>8}")
    for name in sides["opencl"]:
        taken: dict[str, list[float]] = {side: [] for side in sides}
        for number in range(rounds + 1):
            for side, given in sides.items():
                if name in given:
                    time.sleep(REST)
                    given[name]()
                    for _ in range(CALLS):
                        start = clock()
                        given[name]()
                        if number:
                            taken[side].append(clock() - start)
        middle = {
            side: statistics.median(each) if each else float("nan") for side, each in taken.items()
        }
        mine = middle["opencl"]
        print(
            f"{name:14} {mine * 1e3:10.2f} {mine / middle['cpu']:7.2f} {mine / middle['torch']:8.2f}"
        )


if __name__ == "__main__":
    main()
