"""Running results that a scatter carries, and loops that pass by what has nothing to do: results against NumPy, and what is left of them."""

from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.codegen.choose import Transform, apply
from lazygrad.codegen.transform.access import ScheduleError
from lazygrad.codegen.transform.skip import skip
from lazygrad.ir.args import Slot
from lazygrad.ir.build import scan, scatter
from lazygrad.ir.dtype import bool_, float32, int64
from lazygrad.ir.interpret import evaluate
from lazygrad.ir.node import Node, constant, where
from lazygrad.ir.op import Op
from lazygrad.ir.parse import parse

COMPACTION = """
kernel compact(%x: bool[70] in, %y: i64[71] out)
  local %r : i32[]
  store %r[0], 0
  for %i in range(0, 70):
    %f = load %x[%i] : bool
    %a = load %r[0] : i32
    %b = cast %f : i32
    %c = add %a, %b : i32
    store %r[0], %c
    %d = cast %c : i64
    %e = sub %d, 1 : i64
    %g = where %f, %e, 70 : i64
    store %y[%g], %i
"""


@pytest.mark.parametrize("size", [1, 31, 32, 300, 4096, 5003])
@pytest.mark.parametrize("share", [0.0, 0.003, 0.5, 1.0])
def test_where_flags_are_set(size: int, share: float) -> None:
    draws = np.random.default_rng(size)
    flags = draws.random(size) < share
    values = np.where(flags, draws.normal(size=size), 0).astype(np.float32)
    with config.override(verify=True):
        np.testing.assert_array_equal(lg.tensor(flags).nonzero().numpy()[:, 0], flags.nonzero()[0])
        np.testing.assert_array_equal(
            lg.tensor(values).nonzero().numpy()[:, 0], values.nonzero()[0]
        )
        chosen = lg.masked_select(lg.tensor(values), lg.tensor(flags))
        np.testing.assert_array_equal(chosen.numpy(), values[flags])


def test_runs_with_their_lengths() -> None:
    line = np.repeat(np.arange(40), np.random.default_rng(1).integers(1, 300, 40))
    with config.override(verify=True):
        values, group, lengths = lg.unique_consecutive(
            lg.tensor(line), return_inverse=True, return_counts=True
        )
        np.testing.assert_array_equal(values.numpy(), np.arange(40))
        np.testing.assert_array_equal(group.numpy(), line)
        np.testing.assert_array_equal(lengths.numpy(), np.bincount(line))


@pytest.mark.parametrize("axis", [0, 1])
def test_a_scatter_carries_the_scan_that_it_reads(compiled: Any, axis: int) -> None:
    """Along the axis of its innermost loop there is no row of running results; along another one there is."""
    flags = Node(Op.BUFFER, (), bool_, (6, 400), Slot(0), "cpu")
    values = Node(Op.BUFFER, (), float32, (6, 400), Slot(1), "cpu")
    place = where(flags, scan(flags.cast(int64), "add", axis) - 1, (6, 400)[axis])
    shape = (6, 401) if axis else (7, 400)
    root = scatter(constant(0.0, float32, shape, "cpu"), place, values, axis, "set")
    draws = np.random.default_rng(0)
    arrays = [draws.random((6, 400)) < 0.1, draws.normal(size=(6, 400)).astype(np.float32)]
    program = compiled([root])
    carried = [
        stage for graph in program.record.schedule for stage in graph.stages if stage.carried
    ]
    assert len(carried) == axis
    (got,), (expected,) = program.run(arrays), evaluate([root], arrays)
    np.testing.assert_array_equal(got, expected)


def test_a_count_that_something_else_reads_is_stored() -> None:
    flags = lg.tensor(np.random.default_rng(0).random(5000) < 0.1)
    counts = flags.cumsum(0)
    found = lg.zeros(5001, dtype=lg.int64).scatter(0, counts, lg.arange(5000))
    with config.override(verify=True):
        lg.realize(counts, found)
    expected = np.zeros(5001, np.int64)
    expected[flags.numpy().cumsum()] = np.arange(5000)
    np.testing.assert_array_equal(found.numpy(), expected)


def test_skip_passes_by_blocks(golden: Any) -> None:
    golden(skip(parse(COMPACTION)[0], "i", 32))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("%g = where %f, %e, 70", "%g = where %f, %e, %i"),  # each writes to a place of its own
        ("%c = add %a, %b", "%c = add %a, 1"),  # each is counted
        ("%f = load %x[%i] : bool", "%h = load %y[%i] : i64\n    %f = lt %h, 5 : bool"),
    ],
)
def test_skip_refuses_what_does_something(old: str, new: str) -> None:
    assert old in COMPACTION
    with pytest.raises(ScheduleError, match="no flag without which"):
        apply(parse(COMPACTION.replace(old, new))[0], [Transform("skip", "i", 32)])


def test_what_is_added_to_is_not_passed_by() -> None:
    """Iterations without a flag that all add to one place add as often as there are of them."""
    flags = np.arange(1024) % 97 == 0
    index = lg.where(lg.tensor(flags), 3, 7)
    counts = lg.zeros(8, dtype=lg.int64).scatter_add(0, index, lg.ones(1024, dtype=lg.int64))
    assert counts.tolist() == [0, 0, 0, flags.sum(), 0, 0, 0, 1024 - flags.sum()]
