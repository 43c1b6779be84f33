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
    loaded = {
        id(line.src[0]): line.src[0]
        for line in lines_inside(kernel)
        if line.op in (Op.LOAD, Op.ACCUMULATE)
    }
    sizes = [_bytes(buffer) for buffer in loaded.values() if isinstance(buffer.arg, Param)]
    read = None if None in sizes else sum(size or 0 for size in sizes)
    steps = {
        id(loop.src[0]): loop.arg.step
        for loop, _ in all_loops(kernel)
        if isinstance(loop.arg, Loop)
    }
    found: set[int] = set()
    for line in lines_inside(kernel):
        if line.op is not Op.STORE or len(line.src) > 3 or id(line.src[0]) in loaded:
            continue
        buffer, offset, value = line.src
        if not passes_by(buffer, target, read) or offset.shape or not value.shape:
            continue
        (lanes,) = value.shape
        assert isinstance(lanes, int)
        size = buffer.dtype.itemsize
        if lanes * size % LINE == 0 and multiple(offset, steps) * size % LINE == 0:
            found.add(id(line))
    return found


def passes_by(buffer: Node, target: Target, read: int | None = None) -> bool:
    """Whether a buffer is a result so large that it is written past the caches, where whole lines are; `read`: see Target."""
    arg = buffer.arg
    if not isinstance(arg, Param) or arg.role != "out":
        return False
    size = _bytes(buffer)
    return size is not None and target.passes_by(size, read)


def _bytes(buffer: Node) -> int | None:
    """The bytes of a buffer, where they are known."""
    sizes = [size for size in buffer.shape if isinstance(size, int)]
    return math.prod(sizes) * buffer.dtype.itemsize if len(sizes) == len(buffer.shape) else None


__all__ = ["passes_by", "streamed"]
