"""Switches: what the environment says, what override changes and where, and what is refused by name."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lazygrad import config

ROOT = Path(__file__).resolve().parents[2]


def test_environment_is_read_by_type() -> None:
    settings = config.read(
        {
            "DEVICE": "Interpret", "LAZYGRAD_DUMP": "kernel, asm", "LAZYGRAD_EXPLAIN": "all", "LAZYGRAD_VERIFY": "1",
            "LAZYGRAD_DEBUG_NANS": "0", "LAZYGRAD_SEARCH": "12", "LAZYGRAD_DUMP_TO": "out", "LAZYGRAD_DUMP_DIFF": "",
        }
    )  # fmt: skip
    assert settings.device == "interpret" and settings.dump == {"kernel", "asm"}
    assert (
        settings.explain == set(config.EXPLANATIONS) and settings.verify and not settings.debug_nans
    )
    assert settings.search == 12 and settings.dump_to == "out" and not settings.dump_diff
    assert config.read({}) == config.Settings()
    assert config.read({"DEVICE": "cuda:1"}).device == "cuda:1"


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("LAZYGRAD_DUMP", "kernels", "expected some of graph, schedule, kernel, source, asm, or all; got kernels"),
        ("LAZYGRAD_VERIFY", "maybe", "LAZYGRAD_VERIFY=maybe: expected 1 or 0"),
        ("LAZYGRAD_SEARCH", "-1", "whole number"),
    ],
)  # fmt: skip
def test_wrong_values_are_named(variable: str, value: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        config.read({variable: value})


@pytest.mark.parametrize("name", ["tpu", "cpu:0:1", "interpret:1", "cuda:x", "c p u"])
def test_unknown_device_is_pytorchs_error(name: str) -> None:
    words = f"DEVICE={name}: Expected one of cpu, interpret, opencl, cuda device type at start of device string"
    with pytest.raises(RuntimeError, match=words):
        config.read({"DEVICE": name})


def test_unknown_device_stops_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import lazygrad"],
        cwd=ROOT, env={**os.environ, "DEVICE": "TPU"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "RuntimeError: DEVICE=TPU: Expected one of cpu" in done.stderr


def test_unknown_switch_is_pointed_out() -> None:
    with pytest.warns(UserWarning, match="LAZYGRAD_DUMPS is no switch"):
        config.read({"LAZYGRAD_DUMPS": "all"})


def test_override_nests_and_ends() -> None:
    before = config.active()
    with config.override(dump="all", verify=True) as settings:
        assert config.active() is settings and config.current.dump == set(config.DUMPS)
        with config.override(dump={"graph"}):
            assert config.current.dump == {"graph"} and config.current.verify
        assert config.current.dump == set(config.DUMPS)
    with pytest.raises(ZeroDivisionError), config.override(search=3):
        assert config.current.search == 3
        raise ZeroDivisionError
    assert config.active() is before


def test_override_stays_in_its_thread() -> None:
    seen: list[str] = []
    with config.override(device="interpret"):
        worker = threading.Thread(target=lambda: seen.append(config.current.device))
        worker.start()
        worker.join()
    assert seen == [config.read(os.environ).device]


def test_what_override_refuses() -> None:
    with pytest.raises(TypeError, match="no switch is called 'devise'; there are device, dump"):
        config.override(devise="cpu").__enter__()
    with pytest.raises(RuntimeError, match="Expected one of cpu"):
        config.override(device="tpu").__enter__()
    with pytest.raises(AttributeError, match=r"config.override\(verify=...\)"):
        config.current.verify = True  # type: ignore[misc]
