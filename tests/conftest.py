"""Fixtures that every room's tests share."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

# Programs of tests, and the processes that they start, are compiled by the compiler that is tested, and not kept among the
# user's: the tests of the cache have directories of their own. This comes before the first import.
os.environ["LAZYGRAD_CACHE_DIR"] = "0"

from lazygrad.ir.node import Node, same
from lazygrad.ir.text import parse, show

# Drawn examples are the same in every run, so that what has passed passes again; benchmarks/fuzz.py draws others.
hypothesis.settings.register_profile("lazygrad", derandomize=True)
hypothesis.settings.load_profile("lazygrad")

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
    parser.addoption(
        "--seconds", type=int, default=0, help="a test fails that takes longer; no limit by default"
    )
    parser.addoption(
        "--cuda-texts",
        default="",
        help="a directory that gets the CUDA C of every kernel that the tests compile, for benchmarks/cuda_resources.py",
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


FILLED = 1 << 26
"""Buffers up to so many bytes are filled before a test sees them."""
ON_EACH = ("devices", "examples")
"""Rooms whose tests take a `device`, and run on each that is available."""
ON_ONE = (
    "amp", "array_api", "autograd", "compiled", "contract", "distributions", "func", "functional", "nn", "onnx", "serialization",
    "signal", "tensor", "utils",
)  # fmt: skip
"""Rooms whose tests say nothing of devices: they run on the one that DEVICE names, or on each that --device names."""
LAUNCHED: Counter[str] = Counter()
"""The kernels that devices have launched for tests that ran on them alone."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "of_the_cpu(why): not asked of other devices that --device names: about kernels of the CPU, or several devices",
    )
    config.addinivalue_line("markers", "of_the_host: not asked of devices with memory of their own")
    if folder := config.getoption("--cuda-texts"):
        from .devices.texts import collect

        collect(Path(folder))
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # as shells have it for what runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    option = metafunc.config.getoption("--device")
    folder = metafunc.definition.path.parent.name
    if folder in ON_EACH and "device" in metafunc.fixturenames:
        metafunc.parametrize("device", chosen_devices(option))
    elif folder in ON_ONE and option:
        metafunc.parametrize("named_device", chosen_devices(option), indirect=True)


@pytest.fixture(autouse=True, scope="session")
def no_memory_is_zero() -> Iterator[None]:
    """New buffers of the host are full of NaN, so that what reads before something was written is seen."""
    from lazygrad.runtime import memory

    allocate = memory.Pool.allocate

    def filled(pool: memory.Pool, device: str, nbytes: int) -> memory.Buffer:
        buffer = allocate(pool, device, nbytes)
        if 0 < nbytes <= FILLED:
            ctypes.memset(buffer.address, 0xFF, nbytes)
        return buffer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory.Pool, "allocate", filled)
        yield


@pytest.fixture(autouse=True)
def named_device(request: pytest.FixtureRequest) -> Iterator[None]:
    """The device that --device names for tests which say nothing of devices."""
    if not hasattr(request, "param"):
        yield
        return
    from lazygrad import config

    host = request.param in ("cpu", "interpret")
    if not host and request.node.get_closest_marker("of_the_host"):
        pytest.skip("about memory that is the host's")
    if mark := request.node.get_closest_marker("of_the_cpu"):
        if request.param != "cpu":
            pytest.skip(*mark.args)
        yield
        return

    def override(**settings: Any) -> Any:
        """Where a test takes a device that is always there, it takes this one; a worker of a loader has the host's."""
        there = settings.get("device") in ("cpu", "interpret") and parent_process() is None
        return real(**(settings | {"device": request.param} if there else settings))

    def start(thread: threading.Thread) -> None:
        """A thread that a test starts is on the device too: settings are a thread's own."""
        context, run = copy_context(), thread.run
        thread.run = lambda: context.run(run)  # type: ignore[method-assign]
        begin(thread)

    real, begin = config.override, threading.Thread.start
    with alone(request.param), pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "override", override)
        patch.setattr(threading.Thread, "start", start)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test that takes longer than --seconds is interrupted."""
    seconds = item.config.getoption("--seconds")

    def end(*_: object) -> None:
        pytest.fail(f"takes more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, end) if seconds else None
    signal.alarm(seconds)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        if seconds:
            signal.signal(signal.SIGALRM, before)


@contextmanager
def alone(name: str) -> Iterator[str]:
    """DEVICE names a device, whose full name this is; afterwards no other has launched kernels."""
    from lazygrad import config
    from lazygrad.runtime import device as devices

    chosen = devices.get(name)
    before = Counter({device.name: device.launches for device in devices.DEVICES.values()})
    with config.override(device=name):
        yield chosen.name
    after = Counter({device.name: device.launches for device in devices.DEVICES.values()})
    LAUNCHED[name] += after[chosen.name] - before[chosen.name]
    others = {each: after[each] - before[each] for each in after if each != chosen.name}
    others = {each: count for each, count in others.items() if count}
    assert not others, f"kernels of other devices were launched: {others}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Each device that tests could not run on, and why; how much the others did."""
    for name in DEVICES:
        if reason := unavailable(name):
            terminalreporter.write_line(f"device {name} is unavailable: {reason}")
    for name, count in LAUNCHED.items():
        terminalreporter.write_line(f"device {name}: {count} kernels launched")


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
