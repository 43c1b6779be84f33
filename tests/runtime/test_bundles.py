"""Launches that do not depend on each other share a region; parts of buffers are inputs, so steps of an unrolled loop share a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.runtime import device, realize
from lazygrad.runtime.bundles import ALL, Bundle, bundled
from lazygrad.runtime.compile import KERNELS
from lazygrad.runtime.plan import KernelPlan, Launch, Value
from lazygrad.schedule.traffic import Traffic

pytestmark = pytest.mark.skipif(
    config.current.device != "cpu" or config.current.verify,
    reason="bundles are the CPU device's; plans that are checked run launch by launch",
)
MOVED = 1 << 20


def launch(*values: str, moved: int = MOVED) -> Launch:
    """A launch that reads all but the last of its values, given as i0 (input), t1 (temporary) or o2 (output)."""
    kinds = {"i": "input", "t": "temporary", "o": "output"}
    made = tuple([Value(kinds[text[0]], int(text[1:])) for text in values])  # type: ignore[arg-type]
    executable: Any = None
    return Launch(executable, made, 1, Traffic(moved, 0, ()))


@pytest.mark.parametrize(
    ("table", "counts"),
    [
        ([launch("i0", "o0"), launch("i0", "o1"), launch("i1", "t0")], [3]),
        ([launch("i0", "o0"), launch("o0", "o1"), launch("i0", "o2")], [1, 2]),
        ([launch("i0", "t0"), launch("t0", "o0"), launch("t0", "o1")], [1, 2]),
        ([launch("i0", "t0"), launch("t0", "o0"), launch("i1", "t0")], [1, 1, 1]),
        ([launch("i0", "i0"), launch("i1", "i1"), launch("i1", "i2")], [2, 1]),
        ([], []),
    ],
)
def test_a_bundle_ends_where_a_launch_needs_another(
    table: Sequence[Launch], counts: list[int]
) -> None:
    found = bundled(table)
    assert [bundle.count for bundle in found] == counts
    assert [bundle.first for bundle in found] == [sum(counts[:n]) for n in range(len(counts))]


def test_small_ones_are_claimed_together() -> None:
    """As much as is worth a claim; all of it where the whole is not worth two."""
    tiny = [launch("i0", f"o{n}", moved=64) for n in range(8)]
    assert bundled(tiny) == [Bundle(0, 8, ALL)]
    small = [launch("i0", f"o{n}", moved=MOVED // 32) for n in range(200)]
    assert 5 < bundled(small)[0].claim < 20
    assert bundled([launch("i0", f"o{n}") for n in range(4)])[0].claim == 1


SIZES = (1, 3, 64, 1000, 0, 70_000, 17, 300_000, 5, 40_000)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_kernels_of_all_sizes_together(threads: int) -> None:
    """Some divide and some do not, some loop over rows that others sort: one launch, every element once."""
    draws = np.random.default_rng(0)
    arrays = [draws.normal(size=size).astype("f") for size in SIZES]
    before = lg.get_num_threads()
    lg.set_num_threads(threads)
    try:
        given = [lg.tensor(array) for array in arrays]
        lg.realize(given)
        for _ in range(3):
            made = [x * 2.0 + 1.0 for x in given] + [
                given[5].reshape(70, 1000).sum(1),
                given[3].sort()[0],
            ]
            start = device.default().launches
            lg.realize(made)
            assert device.default().launches - start <= 3
            for x, y in zip(arrays, made):
                np.testing.assert_array_equal(y.numpy(), x * np.float32(2) + np.float32(1))
            np.testing.assert_allclose(
                made[-2].numpy(), arrays[5].reshape(70, 1000).sum(1), 1e-3, 1e-3
            )
            np.testing.assert_array_equal(made[-1].numpy(), np.sort(arrays[3]))
    finally:
        lg.set_num_threads(before)


def test_a_check_that_fails_is_its_launchs() -> None:
    """The right error, whichever of a bundle it is of; no value has changed."""
    tables = [lg.arange(5.0), lg.arange(70_000.0), lg.arange(9.0)]
    indices = [lg.tensor([0, 4]), lg.tensor([3] * 50_000), lg.tensor([9])]
    target = lg.zeros(2)
    lg.realize(tables, indices, target)
    target += tables[0][indices[0]]
    picked = [table[index] for table, index in zip(tables, indices)]
    with pytest.raises(IndexError, match="index 9 is out of bounds"):
        lg.realize(picked)
    np.testing.assert_array_equal(picked[1].numpy()[:2], [3, 3])
    np.testing.assert_array_equal(target.numpy(), [0, 4])


def test_a_plan_says_what_runs_together() -> None:
    x, y = lg.ones(4).realize(), lg.ones(6).realize()
    (plan,) = lg.lower(lambda: [x * 3.0, y * 3.0]).plans
    assert "launches 1" in str(plan) and "together, 2 kernels:" in str(plan)


def test_what_all_add_is_no_reason_to_share_a_kernel() -> None:
    """Results that have only a row in common are one kernel, launched for each; those that read one matrix are results of one."""
    row, left, right = lg.ones(64), lg.ones(32, 64), lg.ones(32, 64)
    lg.realize(row, left, right)
    (apart,) = lg.lower(lambda: [left + row, right + row]).plans
    assert isinstance(apart, KernelPlan) and apart.launches == 1
    first, second = apart.table
    assert first.executable is second.executable
    (shared,) = lg.lower(lambda: [left + row, left * row]).plans
    assert isinstance(shared, KernelPlan) and len(shared.table) == 1


def steps(count: int) -> tuple[Any, Any, list[np.ndarray]]:
    """A recurrence over rows of one buffer, its gradient, and both by numpy."""
    draws = np.random.default_rng(count)
    rows = draws.normal(size=(count, 6, 8)).astype("f")
    weight = draws.normal(size=(8, 8)).astype("f") / 4
    given, matrix = lg.tensor(rows).requires_grad_(), lg.tensor(weight)
    lg.realize(given, matrix)
    state = lg.zeros(6, 8).realize()
    for row in given.unbind(0):
        state = (row + state @ matrix).tanh()
    total = (state * state).sum()
    states = [np.zeros((6, 8), "f")]
    for row in rows:
        states.append(np.tanh(row + states[-1] @ weight))
    gradient, flows = 2 * states[-1], []
    for after in reversed(states[1:]):
        flows.append(gradient * (1 - after * after))
        gradient = flows[-1] @ weight.T
    return total, given, [(states[-1] ** 2).sum(), np.stack(flows[::-1])]


def test_steps_of_a_loop_share_kernels() -> None:
    """As many kernels are compiled for 40 steps as for 12."""
    built = []
    for count in (12, 40):
        realize.PLANS.clear()
        before = KERNELS.built
        total, given, expected = steps(count)
        assert float(total.item()) == pytest.approx(expected[0], rel=1e-5)
        built.append(KERNELS.built - before)
        total.backward()
        np.testing.assert_allclose(given.grad.numpy(), expected[1], 1e-4, 1e-5)
    assert built[1] <= 2 < built[0]


def test_parts_are_verified_and_kept(tmp_path: Any) -> None:
    """Against the interpreter, kernel by kernel; and from the cache directory."""
    for settings in ({"verify": True}, {"cache_dir": str(tmp_path)}, {"cache_dir": str(tmp_path)}):
        realize.PLANS.clear()
        with lg.config.override(**settings):
            total, given, expected = steps(5)
            total.backward()
            np.testing.assert_allclose(given.grad.numpy(), expected[1], 1e-4, 1e-5)
