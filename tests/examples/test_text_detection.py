"""Text detection with a real ONNX model finds every line, and computes what onnxruntime computes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lazygrad

LIBRARY = str(Path(lazygrad.__file__).parents[1])
SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "text_detection.py"

for needed in ("onnx", "onnxruntime", "rapidocr_onnxruntime", "scipy", "matplotlib"):
    pytest.importorskip(needed)


def test_finds_all_lines(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--output", str(picture), "--repeats", "1"],
        env={**os.environ, "PYTHONPATH": LIBRARY, "DEVICE": "CPU"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "8 of 8 lines found" in done.stdout and "0 boxes without a line" in done.stdout
    found = re.search(r"largest difference from onnxruntime ([\d.e-]+)", done.stdout)
    assert found is not None and float(found[1]) < 1e-3, done.stdout
    assert picture.stat().st_size > 10_000
