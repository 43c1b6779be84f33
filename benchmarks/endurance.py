"""A million turns of small loops: memory, plans and kernels must stay as they are after the first thousand.

    python benchmarks/endurance.py [--turns 1000000]

Prints, for each loop, the resident memory in megabytes at each tenth, and ends with 1 if one of them grew.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable

import lazygrad as lg
from lazygrad.runtime.compile import KERNELS
from lazygrad.runtime.realize import PLANS

ALLOWED = 4.0
"""Megabytes that may come and go."""


def resident() -> float:
    """The memory of this process in megabytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / (1 << 20)


def training() -> Callable[[], object]:
    x, y = lg.linspace(-1, 1, 64).clone().realize(), lg.linspace(0, 1, 64).clone().realize()
    w = lg.tensor(0.1, requires_grad=True)

    def turn() -> None:
        (w * x - y).pow(2).mean().backward()
        with lg.no_grad():
            w.sub_(0.1 * w.grad)
            w.grad = None

    return turn


def reading() -> Callable[[], object]:
    x = lg.linspace(-1, 1, 64).clone().realize()

    def turn() -> float:
        return float((x * 1.5).sum().item())

    return turn


def updating() -> Callable[[], object]:
    x = lg.zeros(16)

    def turn() -> None:
        x.mul_(0.5).add_(1.0)

    return turn


def compiled() -> Callable[[], object]:
    w = lg.tensor([0.5, 0.25], requires_grad=True)

    def step() -> lg.Tensor:
        loss = (w * w).sum()
        loss.backward()
        with lg.no_grad():
            w.sub_(0.001 * w.grad)
            w.grad = None
        return loss.detach()

    run = lg.compile(step)

    def turn() -> object:
        return run()

    return turn


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--turns", type=int, default=1_000_000)
    turns = arguments.parse_args().turns
    grew = 0
    for make in (training, reading, updating, compiled):
        turn = make()
        for _ in range(1000):
            turn()
        gc.collect()
        counts = PLANS.compiled, KERNELS.built
        first, start = resident(), time.perf_counter()
        seen = [first]
        for _ in range(10):
            for _ in range(turns // 10):
                turn()
            gc.collect()
            seen.append(resident())
        each = (time.perf_counter() - start) / turns * 1e6
        same = (PLANS.compiled, KERNELS.built) == counts and seen[-1] - first < ALLOWED
        grew += not same
        figures = " ".join(f"{value:.1f}" for value in seen)
        print(f"{make.__name__:9} {each:7.1f} us a turn  {figures}  {'flat' if same else 'GREW'}")
    return 1 if grew else 0


if __name__ == "__main__":
    sys.exit(main())
