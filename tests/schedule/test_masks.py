"""What is left of a row from somewhere on: read off the comparisons of indices that masks are made of."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from lazygrad.ir.args import Slot
from lazygrad.ir.dtype import float32, int32
from lazygrad.ir.index import Index, Variable, of
from lazygrad.ir.node import Node, iota, postorder, unary, where
from lazygrad.ir.op import Op
from lazygrad.schedule.masks import beyond

SHAPE = (64, 64)
ROW, COLUMN = Variable("row", 64), Variable("column", 64)
ROWS = iota(64).reshape((64, 1)).expand(SHAPE)
COLUMNS = iota(64).reshape((1, 64)).expand(SHAPE)
SCORES = Node(Op.BUFFER, (), float32, SHAPE, Slot(0), "cpu")


def found(node: Node) -> tuple[Index, float] | None:
    """From which column on, as a function of the row, the node is which number."""
    order = {id(each): number for number, each in enumerate(postorder([node]))}
    known = beyond(node, (of(ROW), of(COLUMN)), ROW, order).get(COLUMN)
    return None if known is None else (known.start, known.value)


@pytest.mark.parametrize(
    ("mask", "start"),
    [
        (COLUMNS.le(ROWS), of(ROW) + 1),
        (COLUMNS.lt(ROWS), of(ROW)),
        (~ROWS.lt(COLUMNS), of(ROW) + 1),
        ((COLUMNS - ROWS).le(10), of(ROW) + 11),
        (COLUMNS.le(ROWS) & (ROWS - COLUMNS).le(9), of(ROW) + 1),
        (COLUMNS.le(ROWS) & SCORES.lt(0.0), of(ROW) + 1),
        (COLUMNS.cast(int32).le(20), of(21)),
        (where(COLUMNS.le(ROWS), SCORES * 0.0 + 1.0, 0.0).ne(0.0), of(ROW) + 1),
        (ROWS.le(COLUMNS), None),  # the first columns are left out
        (COLUMNS.le(ROWS) | SCORES.lt(0.0), None),
        (SCORES.lt(0.0), None),
        (COLUMNS.eq(ROWS), None),
        ((COLUMNS + COLUMNS).le(ROWS), None),
    ],
)
def test_masks_end_where_their_comparisons_say(mask: Node, start: Index | None) -> None:
    chosen = found(where(mask, SCORES, -math.inf))
    assert chosen == (None if start is None else (start, -math.inf))


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (lambda x: unary(Op.EXP, x - x.reduce("max", (1,)).expand(SHAPE)), 0.0),
        (lambda x: unary(Op.EXP, x) * SCORES, 0.0),
        (lambda x: unary(Op.EXP, x) / SCORES, 0.0),
        (lambda x: SCORES - x, math.inf),
        (lambda x: where(SCORES.lt(0.0), x, x + 1.0), -math.inf),
        (lambda x: x * 0.5 + SCORES, -math.inf),
        (lambda x: x * SCORES, None),
        (lambda x: unary(Op.EXP, x) + SCORES, None),
        (lambda x: SCORES / unary(Op.EXP, x), None),
    ],
)
def test_numbers_are_followed(function: Callable[[Node], Node], value: float | None) -> None:
    known = found(function(where(COLUMNS.le(ROWS), SCORES, -math.inf)))
    assert known == (None if value is None else (of(ROW) + 1, value))
