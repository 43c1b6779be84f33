"""The tutorials print what PyTorch prints from the same starting values, computed by kernels of the device that was asked for.

Each run is a process of its own. Memory addresses are masked, and numbers compare as numbers: 1e-4 relative in the first 150 steps
of a loop, and later within three times the spread that PyTorch shows when one summation is permuted.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import lazygrad

LIBRARY = str(Path(lazygrad.__file__).parents[1])
"""Where the package was imported from: the tree, or the environment it is installed in."""
ROOT = Path(__file__).resolve().parents[2]
RUNNER = Path(__file__).with_name("run_tutorial.py")
TUTORIALS = (
    "two_layer_net",
    "autograd_tutorial",
    "manual_two_layer_net",
    "autograd_two_layer_net",
    "autograd_basics",
    "polynomial",
)
PERMUTATIONS = 6
EXACT_STEPS = 150
TOLERANCE = 1e-4

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="could not import 'torch'")


def execute(
    framework: str, script: Path, device: str = "cpu", permutations: int = 0
) -> dict[str, Any]:
    """Run a tutorial; its report."""
    done = subprocess.run(
        [sys.executable, str(RUNNER), framework, str(script), str(permutations)],
        env={**os.environ, "DEVICE": device, "PYTHONPATH": LIBRARY}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def path_of(name: str) -> Path:
    return ROOT / "examples" / f"{name}.py"


@cache
def reference(name: str) -> tuple[str, tuple[str, ...]]:
    """What PyTorch prints, and what it prints with one summation permuted."""
    report = execute("torch", path_of(name), permutations=PERMUTATIONS)
    return report["output"], tuple(report["permuted"])


NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|inf|nan)(?![\w])")


def skeleton(line: str) -> str:
    """The line without its numbers, addresses and the width of its columns."""
    return re.sub(r"\s+", " ", NUMBER.sub("#", re.sub(r"0x[0-9a-f]+", "0x", line))).replace(
        "( ", "("
    )


def numbers(line: str) -> list[float]:
    return [float(text) for text in NUMBER.findall(re.sub(r"0x[0-9a-f]+", "0x", line))]


def last_places(line: str) -> list[float]:
    """For each number of a line, one unit of the last place that is printed: it may be rounded either way."""
    texts = NUMBER.findall(re.sub(r"0x[0-9a-f]+", "0x", line))
    parts = [re.fullmatch(r"[-+]?\d+(?:\.(\d*))?(?:e([-+]?\d+))?", text) for text in texts]
    return [
        10.0 ** (int(part[2] or 0) - len(part[1] or "")) if part and part[1] else 0.0
        for part in parts
    ]


def step_of(line: str) -> int | None:
    """The step that a line of a training loop reports: such a line starts with a whole number."""
    first = line.split(" ", 1)[0]
    return int(first) if first.isdecimal() else None


def difference(left: float, right: float) -> float:
    """Relative to the larger of the two."""
    return 0.0 if left == right else abs(left - right) / max(abs(left), abs(right))


def spreads(lines: list[str], permuted: list[list[str]]) -> list[float]:
    """For each line, the largest relative difference that a permuted run has shown up to there."""
    worst, found = 0.0, []
    for position, line in enumerate(lines):
        for other in permuted:
            for left, right in zip(numbers(line), numbers(other[position])):
                worst = max(worst, difference(left, right))
        found.append(worst)
    return found


@needs_torch
@pytest.mark.parametrize("name", TUTORIALS)
def test_prints_what_pytorch_prints(name: str, device: str) -> None:
    compare(name, execute("lazygrad", path_of(name), device), device)


@needs_torch
@pytest.mark.parametrize("name", ["two_layer_net", "manual_two_layer_net"])
def test_the_type_of_a_gpu(name: str, tmp_path: Path) -> None:
    """The line that the tutorial has for a GPU, and no word of one in the environment: what is printed says where it is, as PyTorch's does."""
    if not lazygrad.cuda.is_available():
        pytest.skip("no CUDA GPU")
    source, count = re.subn(
        r"^dtype = torch\.FloatTensor.*\n(# (?=dtype))?",
        lambda line: "" if line[1] else "dtype = torch.cuda.FloatTensor\n",
        path_of(name).read_text(), flags=re.MULTILINE,
    )  # fmt: skip
    assert count == 1
    script = tmp_path / f"{name}.py"
    script.write_text(source)
    report = execute("lazygrad", script)
    places = report["output"].count(", device='cuda:0')")
    assert places == report["output"].count("tensor(") and bool(places) == ("manual" in name)
    report["output"] = report["output"].replace(", device='cuda:0')", ")")
    compare(name, report, "cuda")


def compare(name: str, report: dict[str, Any], device: str) -> None:
    """A report of lazygrad with what PyTorch prints, and kernels of that device alone."""
    assert report["device"] == device and report["others"] == 0
    assert report["launches"] > 0, f"no kernel of {device} was launched"

    expected, permuted = reference(name)
    lines, wanted = report["output"].splitlines(), expected.splitlines()
    if report["steps"] is not None:
        wanted = [line for line in wanted if (step_of(line) or 0) < report["steps"]]
    assert [skeleton(line) for line in lines] == [skeleton(line) for line in wanted]
    allowed = spreads(wanted, [text.splitlines() for text in permuted])
    late, step = False, None
    for line, reference_line, spread in zip(lines, wanted, allowed):
        step = step_of(reference_line)
        late = late or (step is not None and step >= EXACT_STEPS)
        tolerance = max(3 * spread, 1e-6) if late else TOLERANCE
        places = last_places(reference_line)
        for got, want, place in zip(numbers(line), numbers(reference_line), places):
            rounded = late and abs(got - want) <= 1.01 * place
            assert rounded or difference(got, want) <= tolerance, (
                f"{name} on {device}, step {step}: {line!r} where PyTorch has {reference_line!r}; "
                f"{difference(got, want):.2e} is more than {tolerance:.2e}"
            )


@needs_torch
def test_the_comparison_notices() -> None:
    """A run from other values, and one with a line changed, do not pass for equal."""
    expected, permuted = reference("polynomial")
    lines = expected.splitlines()
    assert len(lines) == 21 and step_of(lines[0]) == 99 and step_of(lines[-1]) is None
    assert skeleton("0 tensor(1.5)") == skeleton("0 tensor(-2e10)") != skeleton("0 1.5")
    assert skeleton("<AddBackward0 object at 0x7f>") == skeleton("<AddBackward0 object at 0x8a>")
    assert skeleton("<AddBackward0>") != skeleton("<MulBackward0>")
    assert difference(1.0, 1.0002) > TOLERANCE
    assert all(text != expected for text in permuted), "permuting a summation changed nothing"
