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

from ..target import LINE, Target
from ..transform.access import all_loops, lines_inside, multiple


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
        if not passes_by(buffer, target) or offset.shape or not value.shape:
            continue
        (lanes,) = value.shape
        assert isinstance(lanes, int)
        size = buffer.dtype.itemsize
        if lanes * size % LINE == 0 and multiple(offset, steps) * size % LINE == 0:
            found.add(id(line))
    return found


def passes_by(buffer: Node, target: Target) -> bool:
    """Whether a buffer is a result so large that it is written past the caches, where whole lines are."""
    arg = buffer.arg
    if not isinstance(arg, Param) or arg.role != "out":
        return False
    sizes = [size for size in buffer.shape if isinstance(size, int)]
    known = len(sizes) == len(buffer.shape)
    return known and target.passes_by(math.prod(sizes) * buffer.dtype.itemsize)


__all__ = ["passes_by", "streamed"]
