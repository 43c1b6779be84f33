"""The examples under lazygrad and under PyTorch: the figure that each ends with, and how long it takes.

    python -m benchmarks.ports [name ...] [--threads 1]

Each script runs in a process of its own, under PyTorch with its imports in PyTorch's spelling, which `python -m lazygrad` runs too.
Prints a table, and leaves nothing behind. Times are of the processor, imports and compiling included, and of the stretch that the
script measures itself. Seeds are the same but their random numbers are not, so figures differ as they do between seeds; forecast_lstm
draws its weights by numpy, and its figures are one.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
FIGURES = {
    "digits": r"test accuracy ([\d.]+)%",
    "digits_conv": r"test accuracy ([\d.]+)%",
    "char_gpt": r"unseen text: ([\d.]+) bits a character",
    "forecast_lstm": r"error ([\d.]+) of",
    "vae": r"test bound (-[\d.]+) nats",
    "policy_gradient": r"median ([\d.]+) of",
    "sentence_embeddings": "",
}
"""How each script prints its figure; none where arrays are compared."""
SECONDS = re.compile(r" in ([\d.]+) s")


@dataclass(frozen=True)
class Run:
    """What one process did: its figure, its processor time, what it measured itself, and an array that it saved."""

    figure: float
    processor: float
    measured: float
    array: np.ndarray | None


def original(text: str) -> str:
    """A script in PyTorch's spelling."""
    text = re.sub(r"^import lazygrad as torch$", "import torch", text, flags=re.MULTILINE)
    return re.sub(r"^from lazygrad\b", "from torch", text, flags=re.MULTILINE)


def run(name: str, framework: str, threads: int, arguments: Sequence[str] = ()) -> Run:
    """Run an example in PyTorch's spelling, under `torch` or `lazygrad`.

    Raises:
        RuntimeError: it failed, with the end of what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, f"{name}.py")
        script.write_text(original((ROOT / "examples" / f"{name}.py").read_text()))
        start = ["-m", "lazygrad"] if framework == "lazygrad" else []
        count = str(threads)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, *start, str(script), "--output", folder, *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": count, "LAZYGRAD_NUM_THREADS": count},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise RuntimeError(f"{name} under {framework}: {done.stderr[-2000:]}")
        saved = Path(folder, f"{name}.npy")
        array = np.load(saved) if saved.exists() else None
    found = re.search(FIGURES[name], done.stdout) if FIGURES[name] else None
    measured = [float(each) for each in SECONDS.findall(done.stdout)]
    used = sum(getattr(after, each) - getattr(before, each) for each in ("ru_utime", "ru_stime"))
    return Run(float(found[1]) if found else 0.0, used, sum(measured), array)


def line(name: str, ours: Run, theirs: Run) -> str:
    """A line of the table."""
    if ours.array is not None and theirs.array is not None:
        figure = f"differ by {np.abs(ours.array - theirs.array).max():.1e}"
    else:
        figure = f"{ours.figure:g} / {theirs.figure:g}"
    times = " ".join(
        f"{mine:7.1f} / {other:5.1f} = {mine / other:5.2f}"
        for mine, other in (
            (ours.processor, theirs.processor),
            (ours.measured, theirs.measured),
        )
    )
    return f"{name:20s} {figure:>18s} {times}"


def main() -> None:
    """Print the table, line by line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", choices=[*FIGURES, []], metavar="name", default=[])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    names = options.names or list(FIGURES)
    print(f"{'lazygrad / PyTorch':20s} {'figure':>18s} {'processor s':>23s} {'measured s':>23s}")
    with tqdm(total=2 * len(names), unit="run") as progress:
        for name in names:
            runs = []
            for framework in ("lazygrad", "torch"):
                progress.set_postfix(running=f"{name} under {framework}")
                runs.append(run(name, framework, options.threads))
                progress.update()
            tqdm.write(line(name, *runs))


if __name__ == "__main__":
    main()
