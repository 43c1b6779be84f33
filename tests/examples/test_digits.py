"""The digits example reaches 97 % on the test set on every device, and with either optimizer, and draws its picture."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lazygrad

LIBRARY = str(Path(lazygrad.__file__).parents[1])
SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "digits.py"

for needed in ("sklearn", "matplotlib", "tqdm"):
    pytest.importorskip(needed)


SLOW = {"interpret", "cuda"} if "CUDA_EMULATOR" in os.environ else {"interpret"}
"""Where fewer epochs must do."""


def test_learns_to_read_digits(device: str, tmp_path: Path) -> None:
    learns("adam", device, tmp_path)


def test_learns_with_sgd(tmp_path: Path) -> None:
    learns("sgd", "cpu", tmp_path)


def learns(optimizer: str, where: str, tmp_path: Path) -> None:
    epochs = "24" if where in SLOW else "30"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--optimizer", optimizer, "--epochs", epochs, "--output", str(tmp_path / "pictures")],
        env={**os.environ, "PYTHONPATH": LIBRARY, "DEVICE": where},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = re.search(r"test accuracy ([\d.]+)% of (\d+) digits", done.stdout)
    assert found is not None, done.stdout
    assert float(found[1]) >= 97 and int(found[2]) == 360
    assert (
        "Classifier(\n  (first): Linear(in_features=64, out_features=128, bias=True)" in done.stdout
    )
    assert "100%" in done.stderr, "no progress bar"
    picture = (tmp_path / "pictures" / "digits.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 20_000
