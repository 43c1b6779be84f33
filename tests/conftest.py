"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Programs of tests, and the processes that they start, are compiled by the compiler that is tested, and not kept among the
# user's: the tests of the cache have directories of their own. This comes before the first import.
os.environ["LAZYGRAD_CACHE_DIR"] = "0"

from lazygrad.ir.node import Node, same
from lazygrad.ir.text import parse, show

Golden = Callable[..., None]
GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write tests/golden instead of comparing with it",
    )
    parser.addoption(
        "--device",
        default="",
        help="the devices that tests of numbers run on, as in cpu,opencl; all that are available by default",
    )


DEVICES = ("cpu", "opencl", "cuda", "interpret")


@cache
def unavailable(name: str) -> str:
    """Why a device is not available here; nothing if it is."""
    from lazygrad.runtime import device

    try:
        found = device.get(name)
        found.from_host(np.zeros(1, np.float32))
    except (RuntimeError, AssertionError) as error:
        return str(error)
    return ""


def chosen_devices(option: str) -> list[str]:
    """The devices that --device names, or all that are available."""
    if not option:
        return [name for name in DEVICES if not unavailable(name)]
    names = [name.strip().lower() for name in option.split(",")]
    for name in names:
        if name not in DEVICES or unavailable(name):
            raise pytest.UsageError(f"--device {name}: {unavailable(name) or 'there is no such'}")
    return names


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of these folders that takes a `device` runs on each device."""
    folder = metafunc.definition.path.parent.name
    if folder in ("devices", "examples") and "device" in metafunc.fixturenames:
        metafunc.parametrize("device", chosen_devices(metafunc.config.getoption("--device")))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Each device that tests could not run on, and why."""
    for name in DEVICES:
        if reason := unavailable(name):
            terminalreporter.write_line(f"device {name} is unavailable: {reason}")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """golden(nodes or text): compare with tests/golden/<test name>.txt, and parse nodes' text back.

    A second value in one test needs a name: golden(kernel, "after").
    """
    used: set[Path] = set()

    def compare(value: Node | Sequence[Node] | str, name: str = "") -> None:
        if isinstance(value, str):
            text = value
        else:
            roots = [value] if isinstance(value, Node) else list(value)
            text = show(roots, sites=False)
            assert same(parse(text), roots), (
                f"the text does not parse back to the same program:\n{text}"
            )
        title = re.sub(r"\W+", "_", f"{request.node.name} {name}").strip("_")
        path = GOLDEN / f"{title}.txt"
        assert path not in used, f"two golden values are called {title}"
        used.add(path)
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            return
        assert path.exists(), f"no {path.name} yet: run pytest --update-golden\n{text}"
        assert text == path.read_text(), (
            f"differs from {path.name}; if it is right: pytest --update-golden"
        )

    return compare


class Compiled:
    """A graph compiled for the CPU: `record` has its kernels, `run` computes it from numpy arrays."""

    def __init__(self, roots: Sequence[Node]) -> None:
        from lazygrad.runtime import device
        from lazygrad.runtime.compile import compile_graph
        from lazygrad.runtime.plans import Record

        self.roots = list(roots)
        self.record = Record()
        self.device = device.get("cpu")
        self.plan = compile_graph(self.device, roots, self.record)

    @property
    def names(self) -> list[str]:
        return [graph.name for graph in self.record.schedule]

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        buffers = [self.device.from_host(np.ascontiguousarray(array)) for array in arrays]
        made = self.plan.run(buffers, [])
        results = []
        for buffer, root in zip(made, self.roots, strict=True):
            shape = tuple(size for size in root.shape if isinstance(size, int))
            results.append(self.device.to_host(buffer, root.dtype, shape))
        return results


@pytest.fixture
def compiled() -> Callable[[Sequence[Node]], Compiled]:
    """compiled(roots): the kernels of a graph of the CPU, whose BUFFERs are numbered by Slot."""
    return Compiled
