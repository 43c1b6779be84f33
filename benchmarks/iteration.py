"""Where the microseconds of one plain iteration go: operators, records, backward, key, plan, steady, and the kernels themselves.

usage: python benchmarks/iteration.py [polynomial|two_layer|chain_10|...] [seconds]
       python benchmarks/dispatch.py --profile-iteration

Times are those of the thread, so that other work on the machine counts for little. The loop is sampled: a timer looks at a steady
rate which function is running, so that calls cost no more than they do otherwise (a profiler that counts calls makes small
functions look dear). A native call counts for the function that made it. The kernels' part comes from a profile
(runtime/profile.py), in which each is timed.
"""

from __future__ import annotations

import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "rivals")]

INTERVAL = 0.0005
"""Seconds between looks; about a hundred iterations of a small loop pass in ten of them."""
ROUND = 200
PHASES: dict[str, tuple[str, ...]] = {
    "operators": (
        "lazygrad/functional/", "lazygrad/results.py", "lazygrad/dispatch.py", "lazygrad/recipes.py", "lazygrad/views.py", "lazygrad/tensor.py",
        "lazygrad/ir/", "lazygrad/size.py", "lazygrad/site.py",
    ),
    "records": ("lazygrad/history.py",),
    "backward": ("lazygrad/autograd/",),
    "key": ("runtime/keys.py", "runtime/sketch.py"),
    "find the plan, attach results": ("runtime/realize.py",),
    "bind and launch": ("runtime/plan.py", "runtime/memory.py", "runtime/cpu.py", "runtime/executor.py"),
    "steady, storages": ("runtime/steady.py", "lazygrad/storage.py"),
    "reads": ("lazygrad/reading.py",),
    "the loop itself": ("benchmarks/",),
}  # fmt: skip
"""The files of each part, by the beginning of their path in the repository."""


def phase(path: str) -> str:
    """The part that a file belongs to."""
    try:
        relative = Path(path).resolve().relative_to(ROOT).as_posix()
    except ValueError:
        return "Python's library"
    for name, beginnings in PHASES.items():
        if relative.startswith(beginnings):
            return name
    return relative


def sampled(program: Any, seconds: float) -> Counter[tuple[str, str]]:
    """How often each function, (file, name), was seen running."""
    seen: Counter[tuple[str, str]] = Counter()

    def look(_number: int, frame: FrameType | None) -> None:
        if frame is not None:
            seen[frame.f_code.co_filename, frame.f_code.co_qualname] += 1

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, INTERVAL, INTERVAL)
    try:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            program.steps(ROUND)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return seen


def kernel_microseconds(program: Any) -> tuple[float, float]:
    """The time of the kernels of one iteration, and how many there are."""
    import lazygrad

    with tempfile.TemporaryDirectory() as folder, lazygrad.profile(f"{folder}/out.json") as trace:
        program.steps(ROUND)
        durations = [event[3] for event in trace.events if event[1] == "kernel"]
    return sum(durations) / 1e3 / ROUND, len(durations) / ROUND


def main(name: str = "polynomial", seconds: float = 4.0) -> None:
    import loops

    import lazygrad

    program = loops.make(name, lazygrad)
    for _ in range(3):
        program.steps(ROUND)
    times = []
    for _ in range(9):
        start = time.thread_time()
        program.steps(ROUND)
        times.append((time.thread_time() - start) / ROUND * 1e6)
    whole = statistics.median(times)
    seen = sampled(program, seconds)
    total = sum(seen.values())
    kernels, launches = kernel_microseconds(program)
    print(
        f"{name}: {whole:.1f} us of this thread an iteration (median; least {min(times):.1f}), {total} looks"
    )
    parts: Counter[str] = Counter()
    for (path, _), count in seen.items():
        parts[phase(path)] += count
    print(f"  {'part':44} {'us':>7} {'share':>6}")
    for part, count in parts.most_common():
        if count >= total / 200:
            print(f"  {part:44} {whole * count / total:7.1f} {count / total:6.1%}")
    print(f"  {f'of these in {launches:.3g} kernels, timed one by one':44} {kernels:7.1f}")
    print("  the functions that take most")
    for (path, function), count in seen.most_common(16):
        where = f"{function} ({Path(path).name})"
        print(f"  {where:44} {whole * count / total:7.1f} {count / total:6.1%}")


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(float, sys.argv[2:3]))
