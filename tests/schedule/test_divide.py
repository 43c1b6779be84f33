"""Reductions in two steps: what a GPU's contractions become where their results are few, and that a processor's do not."""

from __future__ import annotations

import numpy as np
import pytest

from lazygrad.ir.args import Reduction, Slot
from lazygrad.ir.dtype import float32
from lazygrad.ir.interpret import evaluate
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op
from lazygrad.schedule.cost import GPU
from lazygrad.schedule.divide import divide_reductions


def product(rows: int, columns: int, *terms: int) -> Node:
    """Sums of products, over so many axes of terms."""
    shapes = ((rows, 1, *terms), (1, columns, *terms))
    sides = [
        Node(Op.BUFFER, (), float32, shape, Slot(number), "cpu")
        for number, shape in enumerate(shapes)
    ]
    left, right = (side.expand((rows, columns, *terms)) for side in sides)
    return (left * right).reduce("add", tuple(range(2, 2 + len(terms))), float32)


def parts(root: Node) -> int | None:
    """How many parts a sum is made of; none where it is one sum."""
    (made,) = divide_reductions([root], GPU)
    if made is root:
        return None
    count = 1
    sums = made.src[0]
    assert isinstance(sums.arg, Reduction)
    for axis in sums.arg.axes:
        size = sums.src[0].shape[axis]
        assert isinstance(size, int)
        count *= size
    return count


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ((512, 512, 784), 4),  # 64 tiles: at least three parts
        ((512, 512, 256), None),  # too few terms
        ((1024, 1024, 4096), None),  # tiles enough
        ((64, 288, 64, 32, 32), 64),  # five tiles: all of an axis, which is more than 52 parts
        ((32, 27, 64, 32, 32), 256),  # one tile: all of an axis, and parts of the next one
        ((64, 64, 50257), 29),  # the only parts that are equal, for fewer than 196
        ((64, 64, 50261), None),  # there are none
    ],
)
def test_parts_of_a_contraction(sizes: tuple[int, ...], wanted: int | None) -> None:
    """Where tiles of results are fewer than multiprocessors, parts of the terms make up for it, each of enough of them."""
    root = product(*sizes)
    assert parts(root) == wanted


def test_the_sum_is_the_same() -> None:
    root = product(3, 5, 6, 512)
    made = divide_reductions([root], GPU)
    assert made != [root] and divide_reductions([root]) == [root]
    draws = np.random.default_rng(0)
    given = [
        draws.integers(-4, 5, shape).astype(np.float32)
        for shape in ((3, 1, 6, 512), (1, 5, 6, 512))
    ]
    for found, expected in zip(evaluate(made, given), evaluate([root], given), strict=True):
        np.testing.assert_array_equal(found, expected)
