"""DOTS: a tile of dot products, the one step that processors with matrix registers, or with dot products of short vectors, have.

`dots %c[e], %a[f], %b[g] {rows=r, columns=c, terms=t, pitch=p}` writes into the buffer c, from element e on, r rows of c results. Result
(i, j) is the sum over t terms of a(i, term) * b(term, j): both are widened exactly to the type of the results (float32 for half
types, int32 for bytes of either sign), and the order of the sum is free. Numbers too small for a normal float may count as 0.

Operands are packed for the processor: rows of `a` and columns of `b` in groups of 16, the terms of a group in steps of 64 bytes.
A step of `a` has its rows one after the other; with a pitch, `a` is a matrix as it lies in memory. A step of `b` has the terms in runs of 4 bytes, of each run first that of one
column, then that of the next. So both have 1024 bytes a step, and one is the other with runs for rows.
"""

from __future__ import annotations

from .args import Dots
from .dtype import DType, bfloat16, float16, float32, int8, int32, uint8
from .node import Node

ROWS = 16
"""Rows of `a`, or columns of `b`, that are packed together."""
STEP_BYTES = 64
"""Bytes of the terms of one row in a step."""
RUN_BYTES = 4
"""Bytes of neighbouring terms of one column."""

WIDENED: dict[tuple[DType, DType], DType] = {
    (bfloat16, bfloat16): float32,
    (float16, float16): float32,
    (int8, int8): int32,
    (int8, uint8): int32,
    (uint8, int8): int32,
    (uint8, uint8): int32,
}
"""What the operands may be, and what the results then are."""


def step_terms(dtype: DType) -> int:
    """How many terms a step has."""
    return STEP_BYTES // dtype.itemsize


def run_terms(dtype: DType) -> int:
    """How many neighbouring terms of a column lie together."""
    return RUN_BYTES // dtype.itemsize


def check_dots(node: Node) -> str | None:
    """What is wrong with a DOTS, as a sentence, or None. Its offsets and buffers are looked at by the verifier."""
    arg = node.arg
    assert isinstance(arg, Dots)
    tile, left, right = node.src[0], node.src[2], node.src[4]
    if WIDENED.get((left.dtype, right.dtype)) is not tile.dtype:
        return f"there are no {tile.dtype.name} dot products of {left.dtype.name} and {right.dtype.name}"
    step = step_terms(left.dtype)
    if min(arg.rows, arg.columns, arg.terms) < 1 or arg.rows % ROWS or arg.columns % ROWS:
        return f"rows and columns come in groups of {ROWS}"
    if arg.pitch and arg.pitch < arg.terms:
        return "rows overlap"
    return f"terms come in steps of {step}" if arg.terms % step else None


def left_size(arg: Dots) -> int:
    """How many elements lie from the first to the last of the left operand."""
    return (arg.rows - 1) * arg.pitch + arg.terms if arg.pitch else arg.rows * arg.terms
