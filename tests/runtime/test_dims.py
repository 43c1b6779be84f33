"""Sizes that change: three plans at most for a structure, whatever the number of sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lazygrad as lg
from lazygrad.ir import build
from lazygrad.ir.dim import Dim, UndecidedError
from lazygrad.ir.dtype import float32
from lazygrad.ir.node import Node, constant
from lazygrad.ir.op import Op
from lazygrad.runtime import device, families, records
from lazygrad.runtime.device import Array
from lazygrad.runtime.realize import PLANS, realize
from lazygrad.schedule.dims import generalise, narrowed

PLACE = "interpret"


@pytest.fixture(params=["interpret", "cpu"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(globals(), "PLACE", request.param)
    return str(request.param)


def leaf(array: Array) -> Node:
    node = Node(Op.BUFFER, (), float32, array.shape, None, place=PLACE)
    node.value = device.get(PLACE).from_host(array.astype(np.float32))
    return node


def read(node: Node) -> Array:
    realize([node])
    return device.get(PLACE).to_host(node.value, node.dtype, node.shape)


def test_equal_columns_share_a_variable_and_affine_ones_are_written_by_it() -> None:
    pattern = generalise([(5, 5, 15, 7, 6), (8, 8, 24, 7, 9)], [[None] * 5] * 2)
    assert pattern is not None
    assert pattern.names == ("d0",)
    assert [str(size) for size in pattern.sizes] == ["d0", "d0", "3*d0", "7", "d0 + 1"]
    assert pattern.bind((20, 20, 60, 7, 21)) == (20,)
    assert pattern.bind((20, 20, 61, 7, 21)) is None
    assert pattern.bind((1, 1, 3, 7, 2)) is None  # a size of 1 broadcasts


def test_a_product_of_two_variables_is_found_in_three_runs() -> None:
    pattern = generalise([(4, 6, 24), (5, 9, 45), (7, 6, 42)], [[None] * 3] * 3)
    assert pattern is not None and isinstance(pattern.sizes[2], Dim)
    assert pattern.bind((10, 20, 200)) is not None
    assert pattern.bind((10, 20, 199)) is None


def test_a_sum_of_two_variables_is_found_in_three_runs() -> None:
    pattern = generalise([(24, 20, 4), (45, 36, 9), (37, 31, 6)], [[None] * 3] * 3)
    assert pattern is not None
    assert [str(size) for size in pattern.sizes] == ["d0 + d1", "d1", "d0"]
    assert pattern.bind((50, 20, 30)) is not None
    assert pattern.bind((50, 20, 31)) is None


@given(
    st.integers(-4, 4).filter(bool), st.integers(-90, 90),
    st.lists(st.integers(2, 30), min_size=2, max_size=4, unique=True), st.integers(2, 60),
)  # fmt: skip
def test_bounds_answer_a_question(factor: int, rest: int, seen: list[int], other: int) -> None:
    """A pattern made narrower has what was seen, and of other values those with the same answer."""
    vectors = [(value, 7) for value in seen]
    pattern = generalise(vectors, [[None] * 2] * len(vectors))
    assert pattern is not None
    less = narrowed(pattern, ((("d0",), factor), ((), rest)), vectors)
    answers = {factor * value + rest < 0 for value in seen}
    if less is None:
        always = {factor * value + rest < 0 for value in (2, 2**31 - 1)}
        assert len(answers) == 2 or answers == always
        return
    assert all(less.bind(vector) is not None for vector in vectors)
    assert (less.bind((other, 7)) is not None) == ((factor * other + rest < 0) in answers)
    size = less.sizes[0]
    assert isinstance(size, Dim)
    assert (size * factor + rest < 0) in answers  # what raised before


@given(st.lists(st.lists(st.integers(2, 50), min_size=4, max_size=4), min_size=2, max_size=4))
def test_a_pattern_holds_for_what_it_was_made_of(vectors: list[list[int]]) -> None:
    pattern = generalise(vectors, [[None] * 4] * len(vectors))
    if pattern is None:
        assert all(vector == vectors[0] for vector in vectors)
        return
    for vector in vectors:
        values = pattern.bind(vector)
        assert values is not None
        named = dict(zip(pattern.names, values, strict=True))
        found = [s if isinstance(s, int) else s.evaluate(named) for s in pattern.sizes]
        assert found == list(vector)


def softmax_of_rows(x: Node) -> Node:
    shifted = x - x.reduce("max", (1,)).expand(x.shape)
    grown = Node(Op.EXP, (shifted,), x.dtype, x.shape)
    return grown / grown.sum((1,)).expand(x.shape)


def test_many_lengths_of_one_axis(place: str) -> None:
    before = PLANS.compiled
    lengths = range(2, 202) if place == "interpret" else range(2, 60, 3)
    for length in lengths:
        data = np.random.default_rng(length).standard_normal((length, 8))
        grown = np.exp(data - data.max(1, keepdims=True))
        expected = grown / grown.sum(1, keepdims=True)
        np.testing.assert_allclose(read(softmax_of_rows(leaf(data))), expected, atol=1e-6)
    assert PLANS.compiled - before <= 3


def test_an_offset_that_grows(place: str) -> None:
    """A cache that is filled row by row."""
    cache = leaf(np.zeros((16, 4)))
    expected = np.zeros((16, 4), np.float32)
    before = PLANS.compiled
    for row in range(16):
        value = leaf(np.full((1, 4), row + 1.0))
        cache = build.update(cache, value, (row, 0))
        expected[row] = row + 1
        np.testing.assert_array_equal(read(cache), expected)
        cache = leaf(read(cache))
    assert PLANS.compiled - before <= 3


def test_a_part_of_what_stays() -> None:
    """The part ends inside of the whole for some sizes alone: for these the plan is."""
    whole = lg.rand(64, 5).realize()
    before = PLANS.compiled
    for length in [20, 40, *range(2, 64, 3)]:
        np.testing.assert_array_equal((whole[:length] * 2).numpy(), whole.numpy()[:length] * 2)
        np.testing.assert_array_equal(whole[9:length].neg().numpy(), -whole.numpy()[9:length])
    assert PLANS.compiled - before <= 7
    with pytest.raises(IndexError):
        whole[70]
    np.testing.assert_array_equal((whole[:70] * 2).numpy(), whole.numpy() * 2)


def test_the_question_is_in_the_directory_too() -> None:
    question = ((("d0",), 1), ((), -256))
    with pytest.raises(UndecidedError) as found:
        records.from_bytes(
            None, records.refusal(UndecidedError("d0 < 256 is not decided", question))
        )
    assert found.value.question == question


def test_two_lengths_behind_each_other() -> None:
    before = PLANS.compiled
    for first, second in [(5, 9), (8, 4), (6, 17), (3, 3), (20, 2), (7, 30)]:
        rows, more = np.random.rand(first, 33), np.random.rand(second, 33)
        made = lg.cat([lg.tensor(rows), lg.tensor(more)])
        np.testing.assert_array_equal(made.numpy(), np.concatenate([rows, more]))
        made = lg.cat([lg.tensor(rows.T), lg.tensor(more.T)], 1)
        np.testing.assert_array_equal(made.numpy(), np.concatenate([rows.T, more.T], 1))
    assert PLANS.compiled - before <= 6


def test_two_axes_that_change_on_their_own() -> None:
    before = PLANS.compiled
    for rows, columns in [(3, 5), (4, 9), (7, 5), (6, 6), (11, 2), (2, 13)]:
        data = np.random.default_rng(rows).standard_normal((rows, columns)).astype(np.float32)
        flat = (leaf(data) * 2.5).reshape((rows * columns,))
        np.testing.assert_array_equal(read(flat), (data * np.float32(2.5)).reshape(-1))
    assert PLANS.compiled - before <= 4


def test_sizes_of_one_stay_apart() -> None:
    for rows in (5, 1, 6, 1, 7, 0):
        data = np.arange(rows * 3.0).reshape(rows, 3)
        np.testing.assert_array_equal(read(leaf(data).sum((0,))), data.sum(0, keepdims=True))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(2, 30), min_size=3, max_size=6), st.floats(0.1, 9))
def test_any_sequence_of_lengths(lengths: list[int], scale: float) -> None:
    for length in lengths:
        data = np.linspace(-1, 1, length * 3).reshape(length, 3).astype(np.float32)
        x = leaf(data)
        padded = build.pad(x * constant(scale, float32, x.shape, PLACE), (1, 0), (2, 0))
        expected = np.pad(data * np.float32(scale), ((1, 2), (0, 0)))
        np.testing.assert_allclose(read(padded), expected, rtol=1e-6)


def test_a_computed_region_is_a_leaf(place: str) -> None:
    """Its starts are no part of what is asked for."""
    for length in (5, 7, 9):
        whole = leaf(np.arange(float(length)))
        changed = build.update(whole, constant(0.5, float32, (length - 3,), place), (2,))
        read(changed)
        expected = [0.0, 2.0, *[1.0] * (length - 3), 2.0 * (length - 1)]
        assert read(changed + changed).tolist() == expected


def test_much_to_compute_makes_plans_of_its_own_where_its_sizes_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(families, "HEAVY", 1 << 12)
    large = leaf(np.ones((64, 64)))
    before = PLANS.compiled
    for length in range(2, 12):
        row = leaf(np.arange(length, dtype=np.float32))
        read(row.sum((0,)).expand((64, 64)) + large)
    assert PLANS.compiled - before <= 3
    for length in range(50, 60):
        shared = leaf(np.ones((1, 90))).expand((length, 90))
        read((leaf(np.ones((length, 90))) * shared).sum((0,)))
    assert PLANS.compiled - before > 3 + 3


def test_a_convolution_has_as_much_to_compute_as_it_has_products() -> None:
    """Its node has the size of its result alone; with dims it took five times as long."""
    weight = lg.rand(8, 8, 3, 3).realize()
    made = 0
    for size in (66, 74, 82):
        image = lg.rand(8, 8, size, size).realize()
        before = PLANS.compiled
        lg.nn.functional.conv2d(image, weight).realize()
        made += PLANS.compiled - before
    assert made == 3
