"""The thread pool and the executor: the same results for any number of threads, forks, signals, several callers, a clean end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.runtime import device, threads
from lazygrad.runtime.plan import KernelPlan

pytestmark = pytest.mark.skipif(
    config.current.device != "cpu" or config.current.verify,
    reason="the thread pool is the CPU device's; plans that are checked run launch by launch",
)


@pytest.fixture(autouse=True)
def chosen() -> Iterator[None]:
    before = threads._CHOSEN.threads
    yield
    threads._CHOSEN.threads = before


@pytest.fixture
def grains(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The chunk sizes of the launches that run from here on."""
    found: list[int] = []
    run = KernelPlan.run

    def running(plan: KernelPlan, *arguments: object) -> object:
        found.extend(launch.executable.grain for launch in plan.table)
        return run(plan, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(KernelPlan, "run", running)
    return found


def draw(*shape: int, seed: int = 0) -> lg.Tensor:
    array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    tensor: lg.Tensor = lg.from_numpy(array) * 1
    return tensor


PROGRAMS: dict[str, tuple[tuple[int, ...], Callable[[lg.Tensor], lg.Tensor]]] = {
    "a remainder of every size": ((300_007,), lambda x: x * 2.5 + x.abs()),
    "sum": ((1 << 20,), lambda x: x.sum()),
    "sum of a prime number": ((1_000_003,), lambda x: x.exp().sum()),
    "mean of squares": ((1031, 1000), lambda x: (x * x).mean()),
    "maximum": ((999_983,), lambda x: x.max()),
    "columns": ((4000, 513), lambda x: x.sum(0)),
    "few columns": ((200_000, 3), lambda x: x.sum(0)),
    "softmax": ((257, 1001), lambda x: x.softmax(1)),
    "normalised by its sum": ((500_009,), lambda x: x / x.sum()),
    "matmul": ((131, 700), lambda x: x @ x.T),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_result_depends_on_the_threads(name: str, grains: list[int]) -> None:
    shape, function = PROGRAMS[name]
    x = draw(*shape)
    found = []
    for count in (1, 2, 3, 7, 2):
        lg.set_num_threads(count)
        found.append(function(x).numpy())
    assert any(grains), "nothing here was divided"
    exact = function(lg.from_numpy(x.numpy().astype(np.float64))).numpy()
    np.testing.assert_allclose(found[0], exact, rtol=1e-4, atol=1e-3)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_each_thread_has_its_own_scratch(grains: list[int]) -> None:
    x = draw(64, 9000)
    expected = np.exp(x.numpy().astype(np.float64))
    lg.set_num_threads(4)
    for _ in range(5):
        found = x.softmax(1).numpy()
        np.testing.assert_allclose(found, expected / expected.sum(1, keepdims=True), rtol=1e-4)
    assert any(grains)


def test_small_work_is_not_divided(grains: list[int]) -> None:
    (draw(1000) * 2 + 1).tanh().numpy()
    draw(50, 20).softmax(1).tanh().numpy()
    assert grains and not any(grains)


def test_a_failed_check_in_a_chunk_is_an_error_and_nothing_has_changed() -> None:
    lg.set_num_threads(2)
    index = np.zeros(400_000, np.int64)
    index[312_345] = 5
    table, chosen = draw(5), lg.from_numpy(index)
    kept = table.numpy().copy()
    with pytest.raises(IndexError, match="index 5 is out of bounds"):
        (table[chosen] * 2).numpy()
    np.testing.assert_array_equal(table.numpy(), kept)
    assert (table[chosen.clamp(max=4)] * 2).numpy().shape == (400_000,)


def test_threads_of_python_run_plans_at_once() -> None:
    """One of them has the pool, the others run alone; the first that ends leaves it to them."""
    lg.set_num_threads(2)
    wrong: list[int] = []

    def work(number: int) -> None:
        x = draw(400_001, seed=number)
        array = x.numpy()
        for step in range(15):
            found = (x * step + 1).numpy()
            if not np.allclose(found, array * step + 1, rtol=1e-5, atol=1e-5):
                wrong.append(number)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not wrong and not any(worker.is_alive() for worker in workers)


def test_a_forked_child_has_a_pool_of_its_own() -> None:
    lg.set_num_threads(3)
    x = draw(600_000)
    expected = float((x * 2).tanh().sum())
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(30)  # a hang is a failure
            status = int(float((x * 2).tanh().sum()) != expected)
            lg.set_num_threads(5)
            status |= int(float((x * 2).tanh().sum()) != expected)
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert float((x * 2).tanh().sum()) == expected


def run_script(text: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", text],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


INTERRUPTED = """
import os, signal, threading
import lazygrad as lg
from lazygrad.runtime.plan import KernelPlan
lg.set_num_threads(THREADS)
x, w = lg.linspace(0, 1, 300_000), lg.ones(4, 4)
before = float(x.sum())
run = KernelPlan.run
def running(*arguments):
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    return run(*arguments)
endless = (x.reshape(300_000, 1) - x).sin().exp().cos().exp().sin().sum(1)
v = w + endless[:4]
KernelPlan.run = running
try:
    v.tolist()
except KeyboardInterrupt:
    print("interrupted")
KernelPlan.run = run
print(float(x.sum()) == before, float((x * 0 + 2).sum()))
"""


@pytest.mark.parametrize("count", [1, 2])
def test_ctrl_c_stops_a_long_kernel_between_chunks_and_the_program_goes_on(count: int) -> None:
    """The kernel would run for minutes, and the script with it, beyond its time."""
    found = run_script(INTERRUPTED.replace("THREADS", str(count)))
    assert found.split() == ["interrupted", "True", "600000.0"]


def test_a_handler_may_compute_while_a_region_runs() -> None:
    """It finds the pool busy, and runs alone."""
    script = (
        INTERRUPTED.replace("THREADS", "2")
        .replace("v = w + endless[:4]\n", "")
        .replace("v.tolist", "endless.tolist")
    )
    handler = """
KernelPlan.run = run
def handler(*_):
    print("handled", float((x * 0 + 1).sum()))
    raise KeyboardInterrupt
signal.signal(signal.SIGINT, handler)
KernelPlan.run = running
try:
"""
    script = script.replace("return run(", "KernelPlan.run = run; return run(")
    found = run_script(script.replace("KernelPlan.run = running\ntry:\n", handler))
    assert found.split() == ["handled", "300000.0", "interrupted", "True", "600000.0"]


def test_the_process_ends_while_workers_sleep_and_while_they_run() -> None:
    text = """
import threading, lazygrad as lg
lg.set_num_threads(4)
x = lg.ones(700_000)
print(float((x * 2).sum()))
def work():
    while True:
        (x + 1).sum().item()
"""
    assert run_script(text) == "1400000.0\n"
    thread = "threading.Thread(target=work, daemon=True).start(); (x * 3).sum().item()"
    assert run_script(text + thread) == "1400000.0\n"


def test_how_many_threads() -> None:
    assert (
        run_script("import lazygrad as lg; print(lg.get_num_threads())", LAZYGRAD_NUM_THREADS="3")
        == "3\n"
    )
    lg.set_num_threads(5)
    assert lg.get_num_threads() == 5
    with config.override(num_threads=2):
        assert lg.get_num_threads() == 2
    threads._CHOSEN.threads = 0
    assert 1 <= lg.get_num_threads() <= len(os.sched_getaffinity(0))
    with pytest.raises(RuntimeError, match="positive"):
        lg.set_num_threads(0)
    with pytest.raises(TypeError, match="expects an int"):
        lg.set_num_threads(2.0)  # type: ignore[arg-type]


def test_an_unused_buffer_of_an_output_is_used_again_and_a_kept_one_never() -> None:
    w = draw(10)
    kept: list[tuple[lg.Tensor, np.ndarray]] = []
    addresses = set()
    for step in range(40):
        w = w * 0.5 + 1
        w.realize()
        addresses.add(w.storage.node.value.address)
        if step % 10 == 0:
            kept.append((w, w.numpy().copy()))
    for tensor, values in kept:
        np.testing.assert_array_equal(tensor.numpy(), values)
    assert len(addresses) < 20
    assert device.get("cpu").launches >= 40
