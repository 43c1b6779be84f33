"""One step of AdamW over many parameters, in turns with torch.optim.AdamW(fused=True): launches, and the ratio of the best times.

    python -m benchmarks.optimizer_step [--parameters 200] [--rounds 40] [--threads 1]

Times are of the processor. Gradients are in memory and stay; a turn of lazygrad ends when every parameter is. "plain" calls `step`,
"compiled" what `lg.compile` made of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import process_time

import numpy as np
import torch

import lazygrad as lg
from lazygrad.runtime import device

SHAPES = ((64, 64), (64,), (32, 96), (96,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parameters", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    lg.set_num_threads(arguments.threads)
    draws = np.random.default_rng(0)
    values = [
        draws.normal(size=SHAPES[number % len(SHAPES)]).astype("float32")
        for number in range(arguments.parameters)
    ]
    gradients = [draws.normal(size=value.shape).astype("float32") for value in values]
    ours: list[list[lg.Tensor]] = []
    for _ in range(2):
        ours.append([lg.tensor(value, requires_grad=True) for value in values])
        for parameter, gradient in zip(ours[-1], gradients):
            parameter.grad = lg.tensor(gradient)
    theirs = [torch.tensor(value, requires_grad=True) for value in values]
    for parameter, gradient in zip(theirs, gradients):
        parameter.grad = torch.tensor(gradient)
    plain, compiled = (lg.optim.AdamW(parameters).step for parameters in ours)
    compiled = lg.compile(compiled)
    fused = torch.optim.AdamW(theirs, fused=True).step

    def turn(step: Callable[[], object], parameters: list[lg.Tensor]) -> None:
        step()
        lg.realize(parameters)

    turns: dict[str, Callable[[], object]] = {
        "plain": lambda: turn(plain, ours[0]),
        "compiled": lambda: turn(compiled, ours[1]),
        "torch": fused,
    }
    counter, best = device.default(), dict.fromkeys(turns, float("inf"))
    for number in range(arguments.rounds + 4):
        for name, run in turns.items():
            launches, start = counter.launches, process_time()
            run()
            taken = process_time() - start
            if number >= 4:
                best[name] = min(best[name], taken)
            if number == 4 and name != "torch":
                print(f"{name}: {counter.launches - launches} launches a step")
    for got, value in zip(ours[0], theirs):
        np.testing.assert_allclose(got.detach().numpy(), value.detach().numpy(), 1e-4, 1e-5)
    for name in ("plain", "compiled"):
        print(
            f"{name}: {best[name] * 1e3:.2f} ms, {best[name] / best['torch']:.2f} of torch's {best['torch'] * 1e3:.2f}"
        )


if __name__ == "__main__":
    main()
