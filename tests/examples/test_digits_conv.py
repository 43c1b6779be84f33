"""The example with two convolutions reaches 98.5 % on the test set, and draws its picture."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lazygrad

LIBRARY = str(Path(lazygrad.__file__).parents[1])
SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "digits_conv.py"

for needed in ("sklearn", "matplotlib", "tqdm"):
    pytest.importorskip(needed)


def test_learns_to_read_digits(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--output", str(tmp_path / "pictures")],
        env={**os.environ, "PYTHONPATH": LIBRARY, "DEVICE": "CPU"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = re.search(r"test accuracy ([\d.]+)% of (\d+) digits", done.stdout)
    assert found is not None, done.stdout
    assert float(found[1]) >= 98.5 and int(found[2]) == 360
    assert (
        "(first): Conv2d(1, 16, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))" in done.stdout
    )
    assert "100%" in done.stderr, "no progress bar"
    picture = (tmp_path / "pictures" / "digits_conv.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 20_000
