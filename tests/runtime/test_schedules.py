"""Schedules that are given: as text and back, in the place of the chosen ones, and what is said of one that does not fit."""

from __future__ import annotations

import doctest
import threading
from pathlib import Path

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.codegen import choose_cuda, choose_opencl
from lazygrad.codegen.choose import Transform
from lazygrad.codegen.schedule_text import parse, show
from lazygrad.codegen.transform.access import ScheduleError
from lazygrad.ir import parse as text_of_kernels
from lazygrad.ir.interpret import run_kernel
from lazygrad.ir.text import show as show_kernel

PAGE = Path(__file__).resolve().parents[2] / "docs" / "schedules.md"
ROWS = """
kernel rows(%x: f32[12, 40] in, %y: f32[12] out)
  for %i in range(0, 12) parallel:
    local %r : f32[]
    store %r[0], 0.0
    for %k in range(0, 40):
      %v = load %x[%i*40 + %k] : f32
      accumulate %r[0], %v {kind=add}
    %s = load %r[0] : f32
    store %y[%i], %s
"""


@pytest.fixture(autouse=True)
def on_the_cpu() -> object:
    with config.override(device="cpu"):
        yield


def whole(value: lg.Tensor) -> np.ndarray:
    return np.array(value.tolist())


def test_the_page_runs() -> None:
    flags = doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=flags)
    assert tried > 8 and not failed


def test_text_goes_both_ways() -> None:
    parts = [Transform("divide", "i_part", 64), Transform("interchange", "i")]
    steps = (*parts, Transform("share", "j"), Transform("accumulate"))
    assert parse(show(steps)) == steps
    assert parse("  divide( i_part ,64 )  # parts\n\n#\ninterchange(i)\nshare(j)") == steps


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("jam(i, 2)\nfold(i)", r"line 2, 'fold\(i\)', is no step; there are .*divide\(loop, factor\)"),
        ("vectorize(j)", r"line 1, 'vectorize\(j\)': expected vectorize\(loop, factor\)"),
        ("jam(i, 0)", r"expected jam\(loop, factor\)"),
        ("accumulate(i)", r"expected accumulate\(\)"),
        ("jam i 2", "is no step"),
    ],
)  # fmt: skip
def test_what_is_no_step_is_refused_at_once(text: str, words: str) -> None:
    with pytest.raises(ScheduleError, match=words):
        lg.schedule_override("sum", text)
    with pytest.raises(TypeError, match="a mapping of names"):
        lg.schedule_override("sum")
    with pytest.raises(ValueError, match="expected the device cpu, opencl or cuda; got 'tpu'"):
        lg.schedule_override("sum", "", device="tpu")


def test_it_counts_for_plans_that_exist_and_ends() -> None:
    """For plain programs, compiled functions and updates in place, in every thread; the latest that matches counts."""
    x = lg.rand(37, 65).realize()

    def run() -> lg.Tensor:
        return (x * 3).exp().sum(1)

    compiled = lg.compile(run)
    before = whole(run())
    chosen = lg.lower(run).schedules()
    assert (whole(compiled()) == before).all() and (whole(compiled()) == before).all()
    (name,) = chosen
    first = lg.schedule_override("mul_*", "jam(i, 3)\nvectorize(j, 8)")
    with lg.schedule_override({"mul_exp*": "vectorize(j, 4)", "other": "jam(q, 7)"}):
        assert lg.lower(run).schedules() == {name: "vectorize(j, 4)\naccumulate()\n"}
        assert "f32x4" in lg.lower(run).kernels[name]
        found: list[np.ndarray] = [whole(run()), whole(compiled())]
        thread = threading.Thread(target=lambda: found.append(whole(run())))
        thread.start()
        thread.join()
        assert (found[0] == found[1]).all() and (found[0] == found[2]).all()
        np.testing.assert_allclose(found[0], before, 1e-5)
        with lg.schedule_override("mul*", "", device="cuda"):
            assert lg.lower(run).schedules() == {name: "vectorize(j, 4)\naccumulate()\n"}
    assert lg.lower(run).schedules() == {name: "jam(i, 3)\nvectorize(j, 8)\naccumulate()\n"}
    first.remove()
    first.remove()
    assert lg.lower(run).schedules() == chosen
    assert (whole(run()) == before).all() and (whole(compiled()) == before).all()


def test_one_that_does_not_fit_names_the_step_and_changes_nothing() -> None:
    x = lg.rand(20, 30).realize()
    y = x.clone().realize()
    cases = {
        "jam(i, 4)\nvectorize(rows, 8)": r"kernel .*sum.* step 2 of 3, vectorize\(rows, 8\): no loop 'rows'; the loops are i, j",
        "vectorize(j, 8)\nvectorize(j, 8)": r"step 2 of 3, vectorize\(j, 8\): loop j has step 8.*loops here: i, j",
        "interchange(j)": r"step 1 of 2, interchange\(j\): the body of loop j is not one loop",
        "share(i)": r"step 1 of 2, share\(i\): there is no such transform",
    }
    for text, words in cases.items():
        with lg.schedule_override("*sum*", text), pytest.raises(ScheduleError, match=words):
            (y.add_(1.0).sum(1) + 0).tolist()
        y = x.clone().realize()
    np.testing.assert_allclose(whole(y.sum(1)), whole(x).sum(1), 1e-5)


def test_programs_on_disk_are_those_of_their_schedules(tmp_path: Path) -> None:
    from lazygrad.runtime import fingerprint
    from lazygrad.runtime.compile import KERNELS
    from lazygrad.runtime.realize import PLANS

    x = lg.rand(50, 70).realize()

    def built() -> int:
        PLANS.clear()
        KERNELS._kernels.clear()
        before = KERNELS.built
        (x * 5).sum(0).tolist()
        return KERNELS.built - before

    with pytest.MonkeyPatch.context() as patch, config.override(cache_dir=str(tmp_path / "cache")):
        patch.setattr(fingerprint, "sources", lambda store: "these")
        assert (built(), built()) == (1, 0)
        for _ in range(2):
            with lg.schedule_override("mul_sum", "vectorize(i, 8)"):
                assert built() in (0, 1)
                assert built() == 0
        assert built() == 0


def test_gpus_and_opencl_take_schedules_too() -> None:
    """On the loops that their choosers see: simulated, they compute what the loops do that were lowered."""
    (kernel,) = text_of_kernels.parse(ROWS)
    x = np.arange(480, dtype=np.float32).reshape(12, 40)
    cuda, gpu, cpu = (
        choose_cuda.target("sm_80"), choose_opencl.target("gpu"), choose_opencl.target("cpu"),
    )  # fmt: skip
    made = [
        choose_cuda.optimise(kernel, cuda, parse("share(k)")),
        choose_cuda.optimise(kernel, cuda, parse("unroll(k)")),
        choose_opencl.optimise(kernel, gpu, parse("jam(i, 2)")),
        choose_opencl.optimise(kernel, cpu, parse("vectorize(k, 8)")),
        choose_opencl.optimise(kernel, cpu, parse("vectorize(k, 32)")),
    ]
    for each in made:
        y = np.zeros(12, np.float32)
        run_kernel(each, [x, y])
        np.testing.assert_array_equal(y, x.sum(1))
    assert "threads" in show_kernel(made[0]) and "unroll" in show_kernel(made[1])
    with pytest.raises(ScheduleError, match=r"vectorize\(k, 128\): vectors of OpenCL have 2, 4, 8"):
        choose_opencl.optimise(kernel, cpu, parse("vectorize(k, 128)"))
    with pytest.raises(ScheduleError, match=r"step 1 of 2, tile\(k, 64\): loop k is not over"):
        choose_cuda.optimise(kernel, cuda, parse("tile(k, 64)"))
    lowered = lg.lower(lambda: lg.ones(300, 40).realize().sum(1))
    assert "accumulate()" in lowered.schedules(device="cuda", arch="sm_90")["sum"]
    with lg.schedule_override("sum", "unroll(j)", device="cuda"):
        assert lowered.schedules(device="cuda", arch="sm_90")["sum"].startswith("unroll(j)")
