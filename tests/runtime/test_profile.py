"""Profiles: events that nest, kernels with what they moved and computed, a whole file whatever happens; nothing where it is off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.runtime import device, profile
from lazygrad.runtime.steady import STEADY

ROOT = Path(__file__).resolve().parents[2]
Events = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def nothing_pending() -> None:
    STEADY.done()


def load(path: Path) -> Events:
    document = json.loads(path.read_text())
    events: Events = document["traceEvents"]
    names = {e["tid"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    for event in events:
        assert {"name", "ph", "pid", "tid"} <= event.keys() and event["ph"] in "MXi"
        if event["ph"] != "M":
            assert event["ts"] > 0 and event["tid"] in names
        assert (event["ph"] == "X") == ("dur" in event)
    return events


def parents(events: Events) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Each event with the one around it; those of one thread lie inside or beside each other, never across."""
    found = []
    for thread in {event["tid"] for event in events}:
        stack: Events = []
        for event in [e for e in events if e["tid"] == thread and e["ph"] != "M"]:
            start, end = event["ts"], event["ts"] + event.get("dur", 0)
            while stack and stack[-1]["ts"] + stack[-1]["dur"] <= start:
                stack.pop()
            assert not stack or (
                stack[-1]["ts"] <= start and end <= stack[-1]["ts"] + stack[-1]["dur"] + 1e-3
            )
            found.append((event, stack[-1] if stack else None))
            if event["ph"] == "X":
                stack.append(event)
    return found


def test_reads_plans_passes_and_kernels_nest(tmp_path: Path) -> None:
    x = lg.tensor(np.ones((48, 96), "float32"))
    w = lg.tensor(np.ones((96, 32), "float32"))
    path = tmp_path / "out.json"
    with config.override(device="cpu"), lg.profile(path):
        before = device.get("cpu").launches
        for _ in range(2):
            assert ((x @ w).sin() - 31.75).sum().item() != 0
        launched = device.get("cpu").launches - before
    around = {"kernel": "plan", "plan": "read", "read": None}
    nested = parents(load(path))
    for event, parent in nested:
        if event["cat"] in around:
            assert (parent and parent["cat"]) == around[event["cat"]]
    events = [event for event, _ in nested]
    kinds = [event["cat"] for event in events]
    assert kinds.count("read") == kinds.count("plan") == 2
    assert kinds.count("kernel") == launched
    names = [event["name"] for event in events]
    assert names.count("plan cache hit") == names.count("make plan") == 1
    assert {"expand", "simplify", "place", "lower", "asked for by item"} <= set(names)
    kernels = [event["args"] for event in events if event["cat"] == "kernel"][: launched // 2]
    assert sum(args["flops"] for args in kernels) >= 2 * 48 * 96 * 32
    assert sum(args["bytes"] for args in kernels) >= 4 * (48 * 96 + 96 * 32)
    for event in events:
        if event["cat"] == "kernel":
            assert event["args"]["GFLOP/s"] == pytest.approx(
                event["args"]["flops"] / event["dur"] / 1e3, abs=2e-3
            )
            assert "test_profile.py:" in event["args"]["lines"]
    assert all("test_profile.py" in e["args"]["line"] for e in events if e["cat"] == "read")


def test_launches_one_by_one_give_what_the_plan_gives(tmp_path: Path) -> None:
    """Temporaries, checks, half-precision numbers, sizes that are dims: each kernel is given what the plan would give it."""

    def program(n: int, rate: float) -> Any:
        x = lg.arange(float(n))
        weights = (x.reshape(1, n).expand(3, n) / n).matmul(x.reshape(n, 1).expand(n, 4) * rate)
        picked = weights.softmax(1).gather(1, lg.tensor([[0], [2], [1]]))
        return (picked * x.half().mul(rate).sum().float()).tolist()

    calls = [(40 + 3 * turn, 0.01 + 0.1 * turn) for turn in range(6)]
    expected = [program(*call) for call in calls]
    with lg.profile(tmp_path / "out.json"):
        assert [program(*call) for call in calls] == expected
    assert any(event.get("cat") == "kernel" for event in load(tmp_path / "out.json"))


def test_off_it_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is known runs without a call into the profiler, also after it was on."""
    x = lg.ones(7).realize()

    def program() -> Any:
        return (x * 3 + 2.5).tolist()

    with lg.profile(tmp_path / "out.json"):
        program()
    assert not profile.TRACES
    program()
    for name in ("active", "span", "read", "passed", "instant", "run"):
        monkeypatch.setattr(profile, name, None)
    assert program() == [5.5] * 7


def test_an_error_is_in_the_trace_and_changes_nothing(tmp_path: Path) -> None:
    x = lg.arange(5.0)
    wrong = x.gather(0, lg.tensor([1, 9]))
    with lg.profile(tmp_path / "deep" / "out.json"), pytest.raises(IndexError):
        wrong.tolist()
    errors = [
        event["cat"]
        for event in load(tmp_path / "deep" / "out.json")
        if event.get("args", {}).get("error") == "OutOfRange"
    ]
    assert errors == ["read", "plan"]
    assert wrong.storage.node.value is None


def test_a_long_trace_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "EVENT_LIMIT", 5)
    with lg.profile(tmp_path / "out.json") as trace:
        for _ in range(4):
            (lg.ones(3) + 1.5).tolist()
    assert len(trace.events) == 5 and trace.dropped > 0
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["otherData"]["events dropped"] == trace.dropped


def test_other_threads_are_not_recorded_by_the_block(tmp_path: Path) -> None:
    def work() -> None:
        (lg.ones(11) * 2.5).tolist()

    with lg.profile(tmp_path / "out.json"):
        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
    assert [event["ph"] for event in load(tmp_path / "out.json")] == ["M"]


PROGRAM = """
import multiprocessing, os, sys, threading
import lazygrad as lg
from lazygrad.runtime import profile

def work():
    (lg.ones(13) * 2.5).tolist()

if __name__ == "__main__":
    work()
    worker = threading.Thread(target=work, name="the worker")
    worker.start()
    worker.join()
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    if os.fork() == 0:
        work()
        sys.exit(0)
    os.wait()
    raise KeyboardInterrupt
"""


def test_the_switch_writes_a_file_a_process_also_after_an_exception(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LAZYGRAD_")}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**kept, "PYTHONPATH": str(ROOT), "LAZYGRAD_PROFILE": "out.json", "DEVICE": "cpu"},
    )  # fmt: skip
    assert "KeyboardInterrupt" in done.stderr and done.returncode != 0, done.stderr
    files = sorted(tmp_path.glob("out*"))
    assert len(files) == 3, files
    whole, children = load(tmp_path / "out.json"), [f for f in files if f.name != "out.json"]
    assert {e["args"]["name"] for e in whole if e["name"] == "thread_name"} == {"MainThread", "the worker"}  # fmt: skip
    assert [e["name"] for e in whole if e["ph"] == "X" and e["cat"] == "read"] == ["asked for by tolist"] * 2  # fmt: skip
    for path in children:
        events = load(path)
        assert path.name == f"out.{events[0]['pid']}.json"
        assert len([e for e in events if e.get("cat") == "kernel"]) == 1
