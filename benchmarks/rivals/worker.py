"""One side of a row, in a process of its own, so that imports, thread pools and allocators of the sides do not meet.

usage: worker.py loop SIDE PROGRAM     answers lines of JSON on standard input, until it ends
       worker.py first SIDE MODEL      the first training steps: a line with each loss

SIDE is lazygrad, lazygrad.compile, torch, torch.one (on one thread), torch.compile or jax. To {"steps": n} a loop's answer has the seconds of n steps and,
on lazygrad's side, the launches and the new plans; to {"values": true} the state in a few numbers.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))


class Missing(Exception):
    """This side cannot be run here."""


def framework(side: str) -> ModuleType:
    """lazygrad or torch, on two threads."""
    if side.startswith("lazygrad"):
        import lazygrad

        return lazygrad
    import torch

    torch.set_num_threads(1 if side == "torch.one" else 2)
    return torch


def program(side: str, name: str) -> Any:
    """A loop of a side, with what `steps` and `values` ask of it."""
    if side == "jax":
        import jax_programs

        return jax_programs.make(name)
    import loops

    torch = framework(side)
    compiled = None
    if side.endswith(".compile"):
        compiled = getattr(torch, "compile", None)
        if compiled is None:
            raise Missing("lazygrad.compile does not exist yet")
    return loops.make(name, torch, compiled)


class Counts:
    """How many launches and new plans lazygrad has had; nothing on the other sides."""

    def __init__(self, side: str) -> None:
        self.ours = side.startswith("lazygrad")

    def __call__(self) -> tuple[int, int]:
        if not self.ours:
            return 0, 0
        from lazygrad.runtime import device
        from lazygrad.runtime.realize import PLANS

        return device.default().launches, PLANS.compiled


def serve(side: str, name: str, answers: Any) -> None:
    """Answer until standard input ends."""
    made = program(side, name)
    counts = Counts(side)
    for line in sys.stdin:
        asked = json.loads(line)
        answer: dict[str, Any] = {"period": made.period}
        if "steps" in asked:
            before = counts()
            start = time.perf_counter()
            made.steps(asked["steps"])
            answer["seconds"] = time.perf_counter() - start
            after = counts()
            answer["launches"], answer["plans"] = after[0] - before[0], after[1] - before[1]
        if "values" in asked:
            answer["values"] = made.values()
        print(json.dumps(answer), file=answers, flush=True)


def training(side: str, model: str) -> Iterator[float]:
    """The losses of step after step, the weights updated before each is told."""
    if side == "jax":
        import os

        import jax

        if cache := os.environ.get("RIVAL_CACHE"):
            jax.config.update("jax_compilation_cache_dir", cache)
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
            jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        import jax_programs

        yield from jax_programs.first_steps(model)
        return
    torch = framework(side)
    import models
    import starts

    build, loss_of, options = {
        "mlp": (models.mlp, models.mlp_loss, {}),
        "transformer": (
            models.transformer, models.transformer_loss, {"weight_decay": starts.WEIGHT_DECAY}
        ),
    }[model]  # fmt: skip
    network: Any = build(torch)
    start = starts.weights(model)
    network.load_state_dict({name: torch.tensor(array) for name, array in start.items()})
    run = models.Training(
        torch, network, loss_of, "Adam" if model == "mlp" else "AdamW", lr=starts.LEARNING_RATE, **options
    )  # fmt: skip
    batch = starts.data(model)
    while True:
        loss = run.step(*batch)
        if side == "lazygrad":
            torch.realize(loss, list(network.parameters()))
        yield loss.item()


def main() -> None:
    kind, side, name = sys.argv[1:]
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # what libraries print is no answer
        try:
            if kind == "loop":
                serve(side, name, answers)
            else:
                for loss in islice(training(side, name), 3):
                    print(json.dumps({"loss": loss}), file=answers, flush=True)
        except (Missing, ImportError) as error:
            print(json.dumps({"missing": str(error)}), file=answers, flush=True)


if __name__ == "__main__":
    main()
