"""What a GPU's tiles are made with: copies that are under way while the kernel goes on, and the products of a warp's matrix instructions.

`fetch %tile[e], %x[o] {elements=n} if %m` copies n elements into a local, or zeros where the mask is false. They are there after an `await`, and until then
nobody may read them. `commit` closes a group of the copies that came before it; `await %tile, ... {left=k}` waits until all groups but the last k have arrived, those
of every thread that shares the kernel's loops. Only awaits order what touches the locals that they name.

`mma %sums[e], %a[f], %b[g] {rows=r, columns=c, terms=t, ...}` adds to r x c sums in float32 the products of a tile of `a` and one of `b`, both of one half type: to sum
(i, j) the sum over the terms of a[f + i*left_row + term*left_term] * b[g + term*right_term + j*right_column], in any order. A warp does it together, and each of its 32
threads has a part of the sums as its own, in the order in which the instruction m16n8k16 of NVIDIA's has them: `sum_places`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .args import Await, Constant, Fetch, Mma
from .dim import product
from .dtype import bfloat16, float16, float32, int64
from .node import Node
from .op import Op

LANES = 32
"""The threads of a warp."""
ROWS, COLUMNS, TERMS = 16, 8, 16
"""Of one instruction."""
OWN = ROWS * COLUMNS // LANES
"""The sums of one instruction that a thread has."""

Places = np.ndarray[Any, np.dtype[np.int64]]


def sum_places(arg: Mma) -> Places:
    """Where sum (i, j) stands among the sums of a warp, as an array of (rows, columns): those of each thread lie together."""
    i, j = np.ogrid[: arg.rows, : arg.columns]
    instruction = i // ROWS * (arg.columns // COLUMNS) + j // COLUMNS
    thread = i % 8 * 4 + j % COLUMNS // 2
    own = i % ROWS // 8 * 2 + j % 2
    places: Places = (thread * (arg.rows * arg.columns // LANES) + instruction * OWN + own).astype(
        np.int64
    )
    return places


def operand_places(arg: Mma) -> tuple[Places, Places]:
    """Where a(i, term) and b(term, j) stand behind the beginning of each operand: arrays of (rows, terms) and (terms, columns)."""
    i, term = np.ogrid[: arg.rows, : arg.terms]
    left = i * arg.left_row + term * arg.left_term
    term, j = np.ogrid[: arg.terms, : arg.columns]
    right = term * arg.right_term + j * arg.right_column
    return left.astype(np.int64), right.astype(np.int64)


def check_mma(node: Node) -> str | None:
    """What is wrong with an MMA, as a sentence, or None."""
    arg = node.arg
    assert isinstance(arg, Mma)
    sums, left, right = node.src[0], node.src[2], node.src[4]
    if sums.dtype is not float32 or left.dtype is not right.dtype:
        return "it adds products of one half type to sums in float32"
    if left.dtype not in (float16, bfloat16):
        return f"there are no products of {left.dtype.name}"
    if any(node.src[at].op is not Op.LOCAL for at in (0, 2, 4)):
        return "its sums and operands are locals"
    if min(arg.rows, arg.columns, arg.terms) < 1 or (
        arg.rows % ROWS or arg.columns % ROWS or arg.terms % TERMS
    ):
        return f"rows, columns and terms come in groups of {ROWS}"
    left_places, right_places = operand_places(arg)
    last = (arg.rows * arg.columns - 1, int(left_places.max()), int(right_places.max()))
    for number, reach in enumerate(last):
        wrong = _inside(node.src[2 * number], node.src[2 * number + 1], reach + 1)
        if wrong:
            return wrong
    return None


def check_fetch(node: Node) -> str | None:
    """What is wrong with a FETCH, as a sentence, or None."""
    arg = node.arg
    assert isinstance(arg, Fetch)
    target, at, source, begin, *mask = node.src
    if target.op is not Op.LOCAL or source.op is not Op.PARAM:
        return "it copies from a buffer that is given into a local"
    if target.dtype is not source.dtype:
        return f"{source.dtype.name} is not what a local of {target.dtype.name} holds"
    if arg.elements < 1 or len(mask) > 1:
        return "it copies some elements, and has one mask at most"
    if begin.dtype is not int64:
        return f"the offset is {begin.dtype.name}, not int64"
    if any(each.shape for each in (at, begin, *mask)):
        return "it copies from one place to one place"
    if mask and mask[0].dtype.kind != "bool":
        return f"the mask is {mask[0].dtype.name}, not bool"
    return _inside(target, at, arg.elements) or (
        None if mask else _inside(source, begin, arg.elements)
    )


def check_await(node: Node) -> str | None:
    """What is wrong with an AWAIT, as a sentence, or None."""
    assert isinstance(node.arg, Await)
    if any(source.op is not Op.LOCAL for source in node.src):
        return "what is waited for are locals"
    return None if node.arg.left >= 0 else "no number of groups is negative"


def _inside(buffer: Node, offset: Node, count: int) -> str | None:
    """Whether elements from a constant offset on are in a buffer of known size."""
    size = product(buffer.shape)
    if isinstance(offset.arg, Constant) and isinstance(size, int):
        first = int(offset.arg.value)
        if first < 0 or first + count > size:
            return f"{count} elements from {first} leave a buffer of {size}"
    return None
