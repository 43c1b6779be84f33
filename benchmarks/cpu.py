"""CPU code beside PyTorch eager, torch.compile and jax.jit, and beside what the machine can do at most.

usage: python benchmarks/cpu.py [--rows softmax,layernorm] [--threads 2] [--rivals torch,inductor,jax] [--rounds 5]

Each side has a process of its own (rivals/cpu_worker.py); they take turns, round by round, and the least time of a call counts. Before
anything is timed all results of two calls are compared. Inputs change at every call. The floor is the time in which the machine
moves the bytes, or does the operations, that a call cannot do without, at the rates that loops reach in the same run. On one
thread, times are those of the processor, which other work on the machine disturbs little; on two they are the clock's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RIVALS = ROOT / "benchmarks" / "rivals"
sys.path[1:1] = [str(RIVALS), str(ROOT)]

from cpu_cases import CASES, Case  # noqa: E402
from machine import Machine  # noqa: E402

ROUND_SECONDS = 0.15
"""A round does as many calls as fit here, one at least."""


class Failed(Exception):
    """A side ended, or its numbers are not those of the first."""


class Side:
    """A process that answers questions."""

    def __init__(self, name: str, threads: int, scratch: Path) -> None:
        self.name, self.scratch = name, scratch
        self.errors = (scratch / f"{name}.log").open("w+")
        command = [sys.executable, str(RIVALS / "cpu_worker.py"), name, str(threads), str(scratch)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, bufsize=1
        )  # fmt: skip

    def ask(self, **question: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        line = self.process.stdout.readline()
        if not line:
            text = (self.scratch / f"{self.name}.log").read_text().strip()
            raise Failed(f"{self.name} ended: {text.rpartition(chr(10))[2]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def results(self) -> list[Any]:
        with np.load(self.scratch / f"{self.name}.npz") as stored:
            return [stored[name] for name in stored.files]

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()


class Sides:
    """The processes that run, started when they are first asked for, and again where one has ended."""

    def __init__(self, threads: int, scratch: Path) -> None:
        self.threads, self.scratch = threads, scratch
        self.running: dict[str, Side] = {}

    def __getitem__(self, name: str) -> Side:
        if name not in self.running or self.running[name].process.poll() is not None:
            self.running[name] = Side(name, self.threads, self.scratch)
        return self.running[name]

    def end(self) -> None:
        for side in self.running.values():
            side.end()


def compare(case: Case, first: Side, other: Side) -> None:
    """Raise where results differ by more than the case's tolerance of the largest."""
    for ours, theirs in zip(first.results(), other.results(), strict=True):
        scale = max(float(np.abs(theirs).max()), 1e-6)
        difference = float(np.abs(ours.reshape(theirs.shape) - theirs).max()) / scale
        if not difference <= case.tolerance:
            raise Failed(f"{first.name} and {other.name} differ by {difference:.2g}")


def measure(
    case: Case, sides: Sides, rivals: Sequence[str], rounds: int
) -> tuple[dict[str, float], int]:
    """The least seconds of a call by side, ours first, and how many plans lazygrad made while it was timed."""
    model, _, kind = case.body.partition("_")
    if kind in ("step", "forward", "token") and not (sides.scratch / f"{model}.npz").exists():
        sides["lazygrad"].ask(save=model)
    names = [case.ours, *[name for name in case.rivals if name in rivals]]
    counted = "processor" if sides.threads == 1 else "clock"
    for name in names:
        sides[name].ask(case=case.name)
        if name != case.ours:
            compare(case, sides[case.ours], sides[name])
    once = {name: min(sides[name].ask(calls=1)[counted] for _ in range(2)) for name in names}
    calls = {name: max(1, int(ROUND_SECONDS / max(once[name], 1e-5))) for name in names}
    best = dict.fromkeys(names, float("inf"))
    plans = 0
    for _ in range(rounds):
        for name in names:
            answer = sides[name].ask(calls=calls[name])
            best[name] = min(best[name], answer[counted] / calls[name])
            plans += answer["plans"]
    return best, plans


def line(case: Case, times: dict[str, float], floor: float, plans: int) -> str:
    """A row of the table."""
    ours, *others = times.items()
    text = f"{case.name:28} {ours[1] * 1e3:9.3f} {ours[1] / floor:7.1f}"
    best = min((seconds for _, seconds in others), default=float("nan"))
    share = ours[1] / best
    met = "ok" if share <= case.goal else "short"
    eager = f"{ours[1] / times['torch']:.2f}" if "torch" in times else "-"
    text += f" {share:8.2f} {eager:>8} {case.goal:5.2f} {met:5}"
    text += "  " + ", ".join(f"{name} {seconds * 1e3:.3f}" for name, seconds in others)
    return text + (f"  [{plans} new plans]" if plans else "")


PEAKS = ("transformer", 0.8)
"""The model whose training steps are asked for their peak of memory, and what it may be of PyTorch's."""


def peak_line(scratch: Path, threads: int, ours: str) -> str:
    """A row of the table that has bytes, not seconds: the least peak of three processes each, in turns.

    Ours run once before, so that what is measured finds its plans, as every run but the first does. The losses are compared.
    """
    model, goal = PEAKS
    worker = str(RIVALS / "peak_worker.py")
    peaks: dict[str, int] = {}
    losses: dict[str, list[float]] = {}
    for name in (ours, *(ours, "torch") * 3):
        command = [sys.executable, worker, name, model, str(threads), str(scratch)]
        run = subprocess.run(command, check=False, capture_output=True, text=True)
        if run.returncode:
            raise Failed(f"{name} ended: {run.stderr.strip().rpartition(chr(10))[2]}")
        peak, *found = run.stdout.split()
        losses[name] = [float(each) for each in found]
        peaks[name] = min(peaks.get(name, int(peak)), int(peak))
    if not np.allclose(losses[ours], losses["torch"], rtol=2e-3):
        raise Failed(f"losses differ: {losses}")
    share = peaks[ours] / peaks["torch"]
    met = "ok" if share <= goal else "short"
    kind = "lg.compile" if ours.endswith("compile") else "plain loop"
    return (
        f"{f'{model} step, peak, {kind}':36} {peaks[ours] / 1e6:7.1f} MB {share:16.2f} {goal:5.2f} {met:5}"
        f"  torch {peaks['torch'] / 1e6:.1f} MB"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="CPU code beside its rivals and the machine.")
    parser.add_argument(
        "--rows", default="", help="only cases whose name has one of these in it, by commas"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rivals", default="torch,inductor,jax")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    words = [word.strip() for word in given.rows.split(",") if word.strip()]
    rivals = [word.strip() for word in given.rivals.split(",")]
    machine = Machine(given.threads)
    print(
        f"{given.threads} threads: reads {machine.read / 1e9:.1f} GB/s, copies {machine.copy / 1e9:.1f} GB/s, "
        f"{machine.flops / 1e9:.0f} GFLOP/s of float32"
    )
    print(
        f"{'case':28} {'ms':>9} {'x floor':>7} {'x best':>8} {'x torch':>8} {'goal':>5}", flush=True
    )
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        sides = Sides(given.threads, Path(scratch))
        try:
            for case in CASES:
                if words and not any(word in case.name for word in words):
                    continue
                try:
                    times, plans = measure(case, sides, rivals, given.rounds)
                    rate = machine.read if case.reads else machine.copy
                    floor = max(case.bytes / rate, case.flops / machine.flops)
                    print(line(case, times, floor, plans), flush=True)
                except Failed as error:
                    failed = True
                    print(f"{case.name:28} FAILED: {error}", flush=True)
            if not words or any(word in f"{PEAKS[0]} step, peak" for word in words):
                sides["lazygrad"].ask(save=PEAKS[0])
                for ours in ("lazygrad.compile", "lazygrad"):
                    try:
                        print(peak_line(Path(scratch), given.threads, ours), flush=True)
                    except Failed as error:
                        failed = True
                        print(f"{PEAKS[0]} step, peak FAILED: {error}", flush=True)
        finally:
            sides.end()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
