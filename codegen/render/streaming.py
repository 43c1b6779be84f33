"""Stores that pass the caches by: those of results so large that nobody finds them there.

In: a kernel that is ready to render, and the target. Out: its stores whose every vector is whole lines of the cache, at an address that
is a multiple of a line. Written in the common way, a line is read before it is written, which is a third of what a copy moves;
and it drives out what is still needed.
"""

from __future__ import annotations

import math

from lazygrad.ir.args import Loop, Param
from lazygrad.ir.node import Node
from lazygrad.ir.op import Op

from ..target import Target
from ..transform.access import all_loops, lines_inside, multiple

LINE = 64
SHARE = 4
"""A result is large from this part of the last cache on: other buffers want their share of it."""
SECOND = 4
"""Or where it is this many times the second cache: what one core gets of a last cache that many share is no quicker than memory."""


def streamed(kernel: Node, target: Target) -> set[int]:
    """The ids of the stores that may pass the caches by."""
    if not target.streams:
        return set()
    read = {id(line.src[0]) for line in lines_inside(kernel) if line.op in (Op.LOAD, Op.ACCUMULATE)}
    steps = {
        id(loop.src[0]): loop.arg.step
        for loop, _ in all_loops(kernel)
        if isinstance(loop.arg, Loop)
    }
    found: set[int] = set()
    for line in lines_inside(kernel):
        if line.op is not Op.STORE or len(line.src) > 3 or id(line.src[0]) in read:
            continue
        buffer, offset, value = line.src
        if not _large(buffer, target) or offset.shape or not value.shape:
            continue
        (lanes,) = value.shape
        assert isinstance(lanes, int)
        size = buffer.dtype.itemsize
        if lanes * size % LINE == 0 and multiple(offset, steps) * size % LINE == 0:
            found.add(id(line))
    return found


def _large(buffer: Node, target: Target) -> bool:
    arg = buffer.arg
    if not isinstance(arg, Param) or arg.role != "out":
        return False
    if not all(isinstance(n, int) for n in buffer.shape):
        return False
    size = math.prod(n for n in buffer.shape if isinstance(n, int)) * buffer.dtype.itemsize
    return size >= min(target.level3_cache // SHARE, SECOND * target.level2_cache)


__all__ = ["streamed"]
