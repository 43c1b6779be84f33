"""LAZYGRAD_SEARCH: neighbours of the chosen schedule are measured on memory of their own, checked, and the best is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.codegen import choose
from lazygrad.codegen.candidates import neighbours, reorders
from lazygrad.codegen.schedule_text import parse
from lazygrad.codegen.target import host
from lazygrad.codegen.transform.access import ScheduleError
from lazygrad.ir.interpret import run_kernel
from lazygrad.ir.node import Node
from lazygrad.ir.parse import parse as kernels_of
from lazygrad.runtime import measure, search, winners
from lazygrad.runtime.search import _Search

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = """
kernel product(%x: f32[8, 5] in, %w: f32[5, 32] in, %y: f32[8, 32] out)
  for %i in range(0, 8) parallel:
    for %j in range(0, 32):
      local %r : f32[]
      store %r[0], 0.0
      for %k in range(0, 5):
        %a = load %x[%i*5 + %k] : f32
        %b = load %w[%k*32 + %j] : f32
        %d = mul %a, %b : f32
        accumulate %r[0], %d {kind=add}
      %s = load %r[0] : f32
      store %y[%i*32 + %j], %s
"""
CHECKED = """
kernel taken(%x: f32[50, 9] in, %i: i64[30] in, %n: i64[30] in, %y: f32[30, 9] out, %z: i64[30] out)
  for %a in range(0, 30):
    %at = load %i[%a] : i64
    %ok = lt %at, 50 : bool
    check %ok, IndexError, 'too far'
    %d = load %n[%a] : i64
    %some = ne %d, 0 : bool
    check %some, ZeroDivisionError, 'nothing'
    %q = idiv 7, %d : i64
    store %z[%a], %q
    for %b in range(0, 9):
      %v = load %x[%at*9 + %b] : f32
      store %y[%a*9 + %b], %v
"""


@pytest.fixture(autouse=True)
def on_the_cpu() -> Iterator[None]:
    with config.override(device="cpu"):
        yield


def only(text: str) -> Node:
    (kernel,) = kernels_of(text)
    return kernel


def cpu() -> Any:
    from lazygrad.runtime import device

    return device.get("cpu")


def test_neighbours_compute_the_same() -> None:
    """Those that apply, in the simulator: bit by bit where `reorders` says that the order of sums stays."""
    kernel, target = only(PRODUCT), host()
    first = tuple(choose.choose(kernel, target))
    random = np.random.default_rng(0)
    x, w = (random.uniform(-1, 1, size).astype(np.float32) for size in ((8, 5), (5, 32)))

    def run(steps: Any) -> np.ndarray:
        y = np.zeros((8, 32), np.float32)
        run_kernel(choose.optimise(kernel, target, steps), [x, w, y])
        return y

    expected, kinds, tried = run(first), set[str](), 0
    for steps in neighbours(kernel, target, first):
        try:
            made = run(steps)
        except ScheduleError:
            continue
        tried += 1
        kinds.update(step.name for step in steps)
        if reorders(kernel, first, steps):
            np.testing.assert_allclose(made, expected, 1e-5, 1e-6)
        else:
            assert made.tobytes() == expected.tobytes(), steps
    assert tried >= 12 and {"interchange", "jam", "vectorize", "divide"} <= kinds


def test_when_the_order_of_a_sum_stays() -> None:
    kernel = only(PRODUCT)
    base = parse("jam(i, 8)\nvectorize(j, 16)")
    for text, changed in (
        ("jam(i, 2)\nvectorize(j, 4)", False),
        ("divide(i, 4)\npack(i, 16)\nvectorize(j, 16)", False),
        ("jam(i, 8)\nvectorize(k, 4)", True),
        ("divide(k, 4)\njam(i, 8)\nvectorize(j, 16)", True),
    ):
        assert reorders(kernel, base, parse(text)) is changed


def test_a_kernel_is_measured_on_values_that_its_checks_accept() -> None:
    kernel = only(CHECKED)
    scratch = measure.Scratch(cpu(), kernel)
    code = cpu().build(choose.optimise(kernel, host()))
    first = scratch.settle(code)
    again = scratch.run(code)
    assert again is not None and [a.tobytes() for a in first] == [a.tobytes() for a in again]
    assert (first[1] == 7).all() and scratch.seconds(code, 3) > 0
    never = only(CHECKED.replace("lt %at, 50", "lt %at, -1"))
    with pytest.raises(measure.Refused):
        measure.Scratch(cpu(), never).settle(cpu().build(choose.optimise(never, host())))
    found = search.search(cpu(), never, "never", 3)
    assert found is not None and found.steps is None


def test_the_best_is_taken_and_a_wrong_one_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that prefers one schedule, that is found; one that computes something else is pointed out."""
    kernel = only(PRODUCT)
    wanted = parse("vectorize(j, 24)")
    wrong = parse("jam(i, 3)\nvectorize(j, 8)")
    other = parse("jam(i, 5)\nvectorize(j, 8)")
    broken: list[Node] = []
    monkeypatch.setattr(search, "neighbours", lambda *_: iter([wrong, other, wanted]))
    found = _Search(cpu(), kernel, 4)
    codes: dict[int, Any] = {}
    build = found.device.build

    def building(made: Node) -> Any:
        codes[id(code := build(made))] = made
        return code

    optimise = found.module.optimise

    def optimising(given: Node, target: Any, steps: Any = None) -> Node:
        made: Node = optimise(given, target, steps)
        if steps == wrong:
            made = optimise(only(PRODUCT.replace("mul %a, %b", "add %a, %b")), target, steps)
            broken.append(made)
        return made

    expected = optimise(kernel, found.target, wanted)

    def seconds(code: Any, times: int) -> float:
        from lazygrad.ir.text import show

        return times * (1e-6 if show(codes[id(code)]) == show(expected) else 1e-5)

    monkeypatch.setattr(found.device, "build", building)
    monkeypatch.setattr(found.module, "optimise", optimising)
    monkeypatch.setattr(found.scratch, "seconds", seconds)
    with pytest.warns(
        RuntimeWarning, match=r"kernel product computes something else by jam\(i, 3\)"
    ):
        outcome = found.run()
    assert outcome.steps == wanted and outcome.measured == 4 and broken


def test_what_is_found_is_used_and_counted_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A program that ran before is compiled again with what is found, also when the switch is off again; asked again, nothing is measured."""
    x = lg.rand(61, 77).realize()

    def run() -> np.ndarray:
        return np.array((x * 2).sum(0).tolist())

    before = run()
    asked: list[tuple[str, int]] = []
    steps = parse("jam(j, 7)\nvectorize(i, 8)")

    def find(device: Any, kernel: Node, text: str, count: int) -> Any:
        asked.append((kernel.arg.name, count))  # type: ignore[union-attr]
        outcome = winners.Found(steps, count)
        winners.keep(device, text, outcome)
        return outcome

    monkeypatch.setattr(search, "search", find)
    with config.override(search=5):
        np.testing.assert_allclose(run(), before, 1e-6)
        run()
        assert asked == [("mul_sum", 5)]
    run()
    assert (
        "".join(lg.lower(run).schedules().values()) == "jam(j, 7)\nvectorize(i, 8)\naccumulate()\n"
    )
    with config.override(search=3):
        run()
    with config.override(search=6):
        run()
    assert asked == [("mul_sum", 5), ("mul_sum", 6)]
    with lg.schedule_override("mul_sum", "vectorize(i, 4)"):  # by hand comes first
        assert "".join(lg.lower(run).schedules().values()).startswith("vectorize(i, 4)")


PROGRAM = """
import json, sys
from lazygrad.runtime import fingerprint
fingerprint.STARTED += 1000
fingerprint.sources = lambda store: "these"
import numpy as np
import lazygrad as lg
from lazygrad.runtime import search, winners
from lazygrad.runtime.compile import KERNELS
from lazygrad.codegen.schedule_text import parse
measured = []
better = search._Search._better
search._Search._better = lambda self, code, best, times: measured.append(self.name) or len(measured) == 2
lg.manual_seed(0)
x = lg.tensor(np.linspace(-1, 1, 4000, dtype=np.float32).reshape(50, 80))
y = (x.exp() + 1).tanh().tolist()
print(json.dumps([y, measured, KERNELS.built, list(lg.lower(lambda: (x.exp() + 1).tanh()).schedules().values())]))
"""


def test_the_winner_is_kept_between_processes(tmp_path: Path) -> None:
    """It is used without the switch, too; spoilt entries are as if they were not there."""

    def child(**variables: str) -> Any:
        environment = {
            **os.environ,
            "LAZYGRAD_CACHE_DIR": str(tmp_path),
            "DEVICE": "cpu",
            **variables,
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    first, measured, _, (chosen,) = child()
    assert not measured
    same, measured, _, (found,) = child(LAZYGRAD_SEARCH="4")
    assert same == first and len(measured) >= 2 and found != chosen
    assert list(tmp_path.glob("*.schedule"))
    same, measured, _, (again,) = child()
    assert (same, measured, again) == (first, [], found)
    for path in tmp_path.glob("*.schedule"):
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert child()[3] == [chosen]


def test_progress_needs_no_tqdm(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with search.progress("name", 3) as advance:
        advance(1)
    assert capsys.readouterr().err == ""
