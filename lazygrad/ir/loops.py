"""Builders of the loop stratum: params, loops, loads and stores, as docs/architecture.md describes them.

LOOP, STORE, ACCUMULATE, CHECK and KERNEL give no value: they have dtype bool and shape () by convention, and nothing reads those.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from .args import (
    Accumulate,
    Await,
    Dots,
    Fetch,
    Kernel,
    Lanes,
    Loop,
    Message,
    Mma,
    Name,
    Param,
    ReduceKind,
)
from .dtype import DType, bool_, int64
from .node import Node, Shape, constant
from .op import Op


def parameter(
    name: str, dtype: DType, shape: Shape, role: Literal["in", "out", "inout", "number", "dim"]
) -> Node:
    """A buffer of `shape`, or (with shape ()) a number or a dim, that the caller gives."""
    return Node(Op.PARAM, (), dtype, shape, Param(name, role))


def index(name: str) -> Node:
    """The variable of a loop."""
    return Node(Op.INDEX, (), int64, (), Name(name))


def local(name: str, dtype: DType, shape: Shape = ()) -> Node:
    """A buffer in the kernel, unwritten each time its line runs."""
    return Node(Op.LOCAL, (), dtype, shape, Name(name))


def loop(
    variable: Node,
    extent: Node | int,
    body: Sequence[Node],
    step: int = 1,
    kind: Literal["serial", "parallel", "unroll", "threads", "warps"] = "serial",
) -> Node:
    """Run `body` with `variable` = 0, step, 2 * step, ... below `extent`."""
    return Node(Op.LOOP, (variable, _number(extent), *body), bool_, (), Loop(step, kind))


def load(
    buffer: Node, offset: Node | int, mask: Node | None = None, lanes: int | None = None
) -> Node:
    """Read one element, `lanes` consecutive ones, or (with a vector of offsets) one for each lane."""
    offset = _number(offset)
    shape = (lanes,) if lanes is not None else offset.shape
    return Node(
        Op.LOAD, (buffer, offset) if mask is None else (buffer, offset, mask), buffer.dtype, shape
    )


def store(buffer: Node, offset: Node | int, value: Node, mask: Node | None = None) -> Node:
    """Write `value`: the reverse of `load`."""
    src = (buffer, _number(offset), value)
    return Node(Op.STORE, src if mask is None else (*src, mask), bool_, ())


def accumulate(
    buffer: Node,
    offset: Node | int,
    value: Node,
    kind: ReduceKind,
    mask: Node | None = None,
    atomic: bool = False,
) -> Node:
    """One step of a reduction: the element becomes `kind` of itself and `value`."""
    src = (buffer, _number(offset), value)
    arg = Accumulate(kind, atomic)
    return Node(Op.ACCUMULATE, src if mask is None else (*src, mask), bool_, (), arg)


def prefetch(buffer: Node, offset: Node | int) -> Node:
    """Say that an element, and those beside it, are read or written soon."""
    return Node(Op.PREFETCH, (buffer, _number(offset)), bool_, ())


def dots(
    tile: tuple[Node, Node | int],
    left: tuple[Node, Node | int],
    right: tuple[Node, Node | int],
    arg: Dots,
) -> Node:
    """Write a tile of dot products: of each, the buffer and where it begins there."""
    src = [part for buffer, offset in (tile, left, right) for part in (buffer, _number(offset))]
    return Node(Op.DOTS, tuple(src), bool_, (), arg)


def mma(
    sums: tuple[Node, Node | int],
    left: tuple[Node, Node | int],
    right: tuple[Node, Node | int],
    arg: Mma,
) -> Node:
    """Add a tile of products to a warp's sums: of each, the local and where it begins there."""
    src = [part for buffer, offset in (sums, left, right) for part in (buffer, _number(offset))]
    return Node(Op.MMA, tuple(src), bool_, (), arg)


def fetch(
    target: tuple[Node, Node | int],
    source: tuple[Node, Node | int],
    elements: int,
    mask: Node | None = None,
) -> Node:
    """Begin to copy elements from a place of a buffer to a place of a local."""
    src = [part for buffer, offset in (target, source) for part in (buffer, _number(offset))]
    return Node(Op.FETCH, (*src, *([] if mask is None else [mask])), bool_, (), Fetch(elements))


def commit() -> Node:
    """Make a group of the copies that have begun."""
    return Node(Op.COMMIT, (), bool_, ())


def arrived(arrays: Sequence[Node], left: int = 0) -> Node:
    """Wait for the copies into some locals, but for those of the last `left` groups."""
    return Node(Op.AWAIT, tuple(arrays), bool_, (), Await(left))


def check(
    condition: Node, error: Literal["IndexError", "RuntimeError", "ZeroDivisionError"], text: str
) -> Node:
    """Report `error` with `text` where `condition` is false."""
    return Node(Op.CHECK, (condition,), bool_, (), Message(error, text))


def splat(value: Node, lanes: int) -> Node:
    """`value` in each of `lanes` lanes."""
    return Node(Op.SPLAT, (value,), value.dtype, (lanes,))


def lanes(count: int) -> Node:
    """0, 1, 2, ... across the lanes."""
    return Node(Op.LANES, (), int64, (count,))


def shuffle(left: Node, right: Node, chosen: Sequence[int]) -> Node:
    """Lanes of two vectors, those of `right` numbered on from those of `left`."""
    arg = Lanes(tuple(chosen))
    return Node(Op.SHUFFLE, (left, right), left.dtype, (len(arg.lanes),), arg)


def kernel(name: str, params: Sequence[Node], body: Sequence[Node]) -> Node:
    """A kernel of these params and lines."""
    return Node(Op.KERNEL, (*params, *body), bool_, (), Kernel(name, len(params)))


def _number(value: Node | int) -> Node:
    return value if isinstance(value, Node) else constant(value, int64)
