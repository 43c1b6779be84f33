"""The benchmark of dispatch runs: every kind of row, without rivals and with the smallest rounds; nothing here is timed."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lazygrad as lg

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"


def run(*arguments: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAZYGRAD_")}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=kept, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_kind_of_row_runs() -> None:
    rows = ("polynomial loop", "bare import", "autograd_basics", "MLP with Adam")
    out = run(
        str(BENCHMARKS / "dispatch.py"), "--quick", "--alone", "--rounds", "1", "--rows", ",".join(rows)
    )  # fmt: skip
    lines = out.splitlines()[1:]
    assert len(lines) == 6 and "WRONG" not in out and "not here" not in out, out
    assert sum("launches a step" in line for line in lines) == 2


def test_an_iteration_is_taken_apart() -> None:
    out = run(str(BENCHMARKS / "iteration.py"), "chain_10", "0.2")
    assert "operators" in out and "of these in 1 kernels" in out


def test_rivals_start_from_the_same_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names and shapes that JAX's side is written for are those of the models."""
    for folder in (BENCHMARKS, BENCHMARKS / "rivals"):
        monkeypatch.syspath_prepend(str(folder))
    models, starts = importlib.import_module("models"), importlib.import_module("starts")
    for build, shapes in (
        (models.mlp, starts.mlp_shapes()),
        (models.transformer, starts.transformer_shapes()),
    ):
        state = build(lg).state_dict()
        assert {name: tuple(value.shape) for name, value in state.items()} == shapes
    images, classes = starts.data("mlp")
    loss = models.mlp_loss(lg, models.mlp(lg), lg.tensor(images), lg.tensor(classes))
    assert np.isfinite(loss.item())


def test_every_file_says_how_it_is_used() -> None:
    for path in BENCHMARKS.rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path
