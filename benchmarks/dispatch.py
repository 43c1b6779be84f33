"""What a loop, a process and a first step cost, beside PyTorch and JAX where they are installed.

usage: python benchmarks/dispatch.py [--rows two-layer,chain] [--rounds 9] [--quick] [--alone]
       python benchmarks/dispatch.py --profile-iteration

Each side of a row runs in a process of its own (rivals/worker.py) on two threads, and the sides take turns, round by round, so that
a busy machine slows all alike. The ratio is the median of the rounds' ratios. Before anything is timed the sides must agree in
numbers. Inputs change at every call, and lazygrad's launches in a round must be those that its calls need. Whole processes
and first steps are timed from outside: from the start of the process to its end, or to the loss of the first step. `--alone`
leaves the rivals out, `--quick` takes small rounds; both are for looking whether everything works.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORKER = str(ROOT / "benchmarks" / "rivals" / "worker.py")
TIMEOUT = 600
"""Seconds that an answer may take: torch.compile builds C++."""
TOLERANCE = 2e-3
NAMES = {
    "lazygrad": "lazygrad", "lazygrad.compile": "lazygrad", "torch": "PyTorch", "torch.one": "PyTorch, 1 thread",
    "torch.compile": "torch.compile", "jax": "jax.jit",
}  # fmt: skip


class Unavailable(Exception):
    """A side, or what it needs, does not exist here."""


class Wrong(Exception):
    """The sides do not agree, or did not do what was timed."""


@dataclass
class Options:
    """What the command line asks for."""

    rounds: int = 9
    quick: bool = False
    alone: bool = False
    scratch: Path = field(default_factory=Path)


@dataclass
class Result:
    """The times of a row in seconds, by side; the first side is ours, the second its rival."""

    times: dict[str, list[float]]
    note: str = ""


@dataclass(frozen=True)
class Row:
    """A line of the table: `target` is the ratio that it must not exceed, None where a time is only reported."""

    name: str
    target: float | None
    measure: Callable[[Options], Result]


# --- sides


def environment(options: Options, **changes: str) -> dict[str, str]:
    """Two threads for everyone, no switch of the user's, and the cache of this run."""
    kept = {
        name: value
        for name, value in os.environ.items()
        # where bytecode is not written, every process would compile the sources
        if not name.startswith("LAZYGRAD_") and name not in ("DEVICE", "PYTHONDONTWRITEBYTECODE")
    }
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "LAZYGRAD_NUM_THREADS"), "2")
    own = {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "LAZYGRAD_CACHE_DIR": str(options.scratch / "cache"),
        "JAX_PLATFORMS": "cpu",
        "MPLBACKEND": "Agg",
    }
    return {**kept, **threads, **own, **changes}


def installed(side: str) -> bool:
    """Whether a side can run here at all."""
    if side == "torch.compile" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        return False
    return importlib.util.find_spec(side.partition(".")[0]) is not None


def wanted(sides: Sequence[str], options: Options) -> list[str]:
    """Our side, and of the others those that are installed and asked for."""
    others = [] if options.alone else [side for side in sides[1:] if installed(side)]
    if options.quick:
        others = [side for side in others if side != "torch.compile"]
    return [sides[0], *others]


def last_line(text: str) -> str:
    """What a traceback ends with."""
    return text.strip().rpartition("\n")[2]


class Worker:
    """A side of a row: a process that answers questions."""

    def __init__(self, kind: str, side: str, name: str, env: dict[str, str]) -> None:
        self.side = side
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed by `end`)
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, WORKER, kind, side, name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=env, text=True, bufsize=1,
        )  # fmt: skip

    def answer(self) -> dict[str, Any]:
        """Its next line."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], TIMEOUT)[0]:
            raise Wrong(f"{self.side} did not answer for {TIMEOUT} s")
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise Wrong(
                f"{self.side} ended with {self.process.wait()}: {last_line(self.errors.read())}"
            )
        found: dict[str, Any] = json.loads(line)
        if "missing" in found:
            raise Unavailable(found["missing"])
        return found

    def ask(self, **question: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
        except BrokenPipeError:
            pass  # it has said why
        return self.answer()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()


def agree(values: dict[str, list[float]]) -> None:
    """Raise where a side's numbers are not those of the first."""
    (first, expected), *others = values.items()
    for side, found in others:
        for a, b in zip(expected, found, strict=True):
            if not abs(a - b) <= TOLERANCE * max(abs(a), abs(b), 1e-3):
                raise Wrong(f"{first} has {expected}, {side} {found}")


# --- loops


@dataclass(frozen=True)
class Loop:
    """A loop inside one process a side: `steps` of it are one round."""

    program: str
    sides: tuple[str, ...]
    steps: int
    warm: int = 2
    """How many rounds pass before anything counts."""

    def __call__(self, options: Options) -> Result:
        workers: list[Worker] = []
        try:
            return self._measure(options, workers)
        finally:
            for worker in workers:
                worker.end()

    def _measure(self, options: Options, workers: list[Worker]) -> Result:
        values: dict[str, list[float]] = {}
        period, notes = 1, []
        for side in wanted(self.sides, options):
            worker = Worker("loop", side, self.program, environment(options))
            workers.append(worker)
            try:
                answer = worker.ask(steps=3, values=True)
            except Unavailable as error:
                if worker is workers[0]:
                    raise
                notes.append(f"no {NAMES[side]}: {error}")
                worker.end()
                workers.remove(worker)
                continue
            values[side], period = answer["values"], answer["period"]
        agree(values)
        steps = period if options.quick else self.steps
        for worker in workers:  # every side is where a round begins
            worker.ask(steps=(-3) % period + period)
            for _ in range(self.warm):
                worker.ask(steps=steps)
        agree({worker.side: worker.ask(steps=period, values=True)["values"] for worker in workers})
        launches = self._launches(workers[0], steps, period)
        times: dict[str, list[float]] = {worker.side: [] for worker in workers}
        for _ in range(options.rounds):
            for worker in workers:
                answer = worker.ask(steps=steps)
                times[worker.side].append(answer["seconds"] / steps)
                if worker is workers[0] and (answer["launches"], answer["plans"]) != (launches, 0):
                    raise Wrong(f"{steps} steps need {launches} launches and no plan: {answer}")
        notes.insert(0, f"{launches / steps:.4g} launches a step")
        return Result(times, "; ".join(notes))

    def _launches(self, ours: Worker, steps: int, period: int) -> int:
        """How many launches a round needs: as many for each further period, and at least one a step."""
        ours.ask(steps=2 * steps)  # where a round of another length ends is another plan
        one, two = (ours.ask(steps=count)["launches"] for count in (steps, 2 * steps))
        more = (two - one) * period
        if more % steps or two - one < steps:
            raise Wrong(f"{one} launches for {steps} steps, {two} for twice as many")
        return int(one)


# --- processes


def process_seconds(command: Sequence[str], env: dict[str, str], cwd: Path) -> float:
    """From the start of a process to its end."""
    start = time.perf_counter()
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise Wrong(f"{Path(command[-1]).name}: {last_line(done.stderr)}")
    return seconds


def in_pytorch_spelling(source: str) -> str:
    """A tutorial as it was written for PyTorch, but for `loss.data[0]`, which PyTorch does not take any more."""
    source = source.replace("import lazygrad as torch", "import torch")
    source = source.replace("from lazygrad.autograd import", "from torch.autograd import")
    source = source.replace("loss.data[0]", "loss.data.item()")
    return source.replace("import torch\n", "import torch\ntorch.set_num_threads(2)\n", 1)


@dataclass(frozen=True)
class Process:
    """A script from start to end, ours with a warm cache. `text` is the program itself, or the name of an example."""

    text: str
    rival: str = "torch"

    def __call__(self, options: Options) -> Result:
        example = ROOT / "examples" / self.text
        source = example.read_text() if self.text.endswith(".py") else self.text
        scripts = {"lazygrad": options.scratch / "ours.py"}
        scripts["lazygrad"].write_text(source)
        if len(wanted(("lazygrad", self.rival), options)) == 2:
            scripts[self.rival] = options.scratch / "theirs.py"
            scripts[self.rival].write_text(in_pytorch_spelling(source))
        env = environment(options)
        times: dict[str, list[float]] = {side: [] for side in scripts}
        for turn in range(options.rounds + 2):  # the first two fill caches
            for side, script in scripts.items():
                seconds = process_seconds([sys.executable, str(script)], env, options.scratch)
                if turn >= 2:
                    times[side].append(seconds)
        return Result(times)


@dataclass(frozen=True)
class FirstStep:
    """The first training step in a new process, import included: with empty caches, or with those of a process before."""

    model: str
    warm: bool
    sides: tuple[str, ...] = ("lazygrad", "jax", "torch")
    most: int = 9
    """At most this many rounds: a large model takes its time."""

    def __call__(self, options: Options) -> Result:
        sides = wanted(self.sides, options)
        times: dict[str, list[float]] = {side: [] for side in sides}
        losses: dict[str, list[float]] = {}
        before = 2 if self.warm else 1  # the first reads files from disk
        for turn in range(min(options.rounds, self.most) + before):
            for side in sides:
                seconds, found = self._run(side, options, check=turn == 0)
                if turn == 0:
                    losses[side] = found
                if turn >= before or (options.quick and not self.warm):
                    times[side].append(seconds)
            if turn == 0:
                agree(losses)
        return Result(times)

    def _run(self, side: str, options: Options, check: bool) -> tuple[float, list[float]]:
        """The seconds to the first loss, and the first losses."""
        kept = options.scratch / f"warm {self.model}"
        where = kept if self.warm else Path(tempfile.mkdtemp(dir=options.scratch))
        env = environment(options, LAZYGRAD_CACHE_DIR=str(where / "ours"))
        if self.warm:
            env["RIVAL_CACHE"] = str(where / "theirs")
        worker = Worker("first", side, self.model, env)
        try:
            losses = [worker.answer()["loss"]]
            seconds = time.perf_counter() - worker.started
            if check:
                losses += [worker.answer()["loss"] for _ in range(2)]
            elif self.warm:
                worker.process.wait(TIMEOUT)  # what it writes to its cache is whole
            return seconds, losses
        finally:
            worker.end()
            if not self.warm:
                shutil.rmtree(where, ignore_errors=True)


# --- the table

TUTORIALS = (
    "two_layer_net", "polynomial", "autograd_two_layer_net", "manual_two_layer_net", "autograd_basics", "autograd_tutorial",
)  # fmt: skip
PLAIN = ("lazygrad", "torch", "torch.one", "torch.compile")
ROWS: tuple[Row, ...] = (
    Row("two-layer loop, plain", 0.6, Loop("two_layer", (*PLAIN, "jax"), 60)),
    Row("polynomial loop, plain", 0.7, Loop("polynomial", (*PLAIN, "jax"), 400)),
    Row("two-layer loop, lg.compile", 0.7, Loop("two_layer", ("lazygrad.compile", "jax"), 60)),
    Row("polynomial loop, lg.compile", 0.7, Loop("polynomial", ("lazygrad.compile", "jax"), 400)),
    Row("chain of 10", 0.8, Loop("chain_10", PLAIN, 400)),
    Row("chain of 100", 0.8, Loop("chain_100", PLAIN, 60)),
    Row("chain of 1000", 0.8, Loop("chain_1000", PLAIN[:3], 10)),
    Row("bare import", None, Process("import lazygrad as torch\n")),
    *[Row(f"process: {name}.py, warm", 0.35, Process(f"{name}.py")) for name in TUTORIALS],
    Row("first step, MLP with Adam, cold", 1.0, FirstStep("mlp", warm=False)),
    Row("first step, MLP with Adam, warm", 0.4, FirstStep("mlp", warm=True)),
    Row("first step, transformer, cold", 0.35, FirstStep("transformer", warm=False, most=3)),
)


def spelled(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def line(row: Row, result: Result) -> tuple[str, bool]:
    """A row of the table, and whether it meets its target."""
    (_, ours), *others = result.times.items()
    text = f"{row.name:34} {spelled(statistics.median(ours)):>9}"
    fine = True
    for place, (side, theirs) in enumerate(others):
        share = ratio(ours, theirs)
        text += f"   {NAMES[side]} {spelled(statistics.median(theirs))}, ratio {share:.2f}"
        if place == 0 and row.target is not None:
            fine = share <= row.target
            text += f" (<= {row.target}: {'ok' if fine else 'short'})"
    return text + (f"   [{result.note}]" if result.note else ""), fine


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The cost of dispatch, beside PyTorch and JAX.")
    parser.add_argument("--rows", default="", help="only rows whose name has one of these in it")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="small rounds, no torch.compile")
    parser.add_argument("--alone", action="store_true", help="no rivals")
    parser.add_argument("--profile-iteration", action="store_true")
    given = parser.parse_args(arguments)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:2]))
    if given.profile_iteration:
        import iteration

        iteration.main()
        return 0
    words = [word.strip() for word in given.rows.split(",") if word.strip()]
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        options = Options(given.rounds, given.quick, given.alone, Path(scratch))
        print(f"two threads each, median of {given.rounds} interleaved rounds")
        for row in ROWS:
            if words and not any(word in row.name for word in words):
                continue
            try:
                text, _ = line(row, row.measure(options))
            except Unavailable as error:
                text = f"{row.name:34} not here: {error}"
            except Wrong as error:
                failed = True
                text = f"{row.name:34} WRONG: {error}"
            print(text, flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
