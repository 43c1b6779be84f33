"""The whole numerical suite on each device, room by room, and a table of what came of it.

usage: python -m tests.devices.sweep [--device cpu,opencl,cuda,interpret] [--rooms functional,nn/test_losses.py] [--seconds 300] [--output DIRECTORY]

A room, or a file of one, is a run of pytest in a process of its own, `pytest tests/ROOM --device NAME`, in which each test fails if another device has launched a kernel. Where there is no
GPU, "cuda" runs on the emulator (tests/cuda_emulator), in an environment that has pycuda. DIRECTORY gets what each run prints.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from ..conftest import DEVICES, ON_EACH, ON_ONE, unavailable

ROOT = Path(__file__).resolve().parents[2]
OUTCOMES = ("passed", "failed", "skipped", "error")


def run(device: str, room: str, seconds: int, output: Path) -> tuple[dict[str, int], int]:
    """How many tests of a room passed, failed and were skipped on a device, and how many kernels it launched."""
    command = [sys.executable, "-m", "pytest", f"tests/{room}", "--device", device, "--seconds", str(seconds), "-q", "-p", "no:cacheprovider"]  # fmt: skip
    emulated = device == "cuda" and "CUDA_EMULATOR" not in os.environ and unavailable(device)
    if emulated:
        command[1:1] = ["-m", "tests.cuda_emulator", sys.executable]
    path = output / f"{device}-{room.replace('/', '-')}.txt"
    with path.open("w") as file:
        subprocess.run(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, check=False)
    text = path.read_text()
    last = next(
        (line for line in reversed(text.splitlines()) if re.search(r" in [\d.]+s", line)), ""
    )
    counts = {name: int((re.search(rf"(\d+) {name}", last) or (0, 0))[1]) for name in OUTCOMES}
    counts["error"] += not last
    launched = re.search(rf"device {device}: (\d+) kernels launched", text)
    return counts, int(launched[1]) if launched else 0


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default=",".join(DEVICES))
    parser.add_argument("--rooms", default=",".join(sorted(ON_EACH + ON_ONE)))
    parser.add_argument("--seconds", type=int, default=300, help="the time limit of a test")
    parser.add_argument("--output", type=Path, default=Path("sweep_of_devices"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    failed = False
    print(
        f"{'device':10} {'room':28} {'passed':>7} {'failed':>7} {'skipped':>7} {'kernels':>9} {'seconds':>8}"
    )
    for device in options.device.split(","):
        for room in options.rooms.split(","):
            start = time.perf_counter()
            counts, launched = run(device, room, options.seconds, options.output)
            wrong = counts["failed"] + counts["error"]
            failed |= bool(wrong)
            print(
                f"{device:10} {room:28} {counts['passed']:7} {wrong:7} {counts['skipped']:7} {launched:9} {time.perf_counter() - start:8.0f}",
                flush=True,
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
