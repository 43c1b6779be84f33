"""Stores that pass the caches by: those of results so large that nobody finds them there.

In: a kernel that is ready to render, and the target. Out: its stores whose every vector is whole lines of the cache, at an address that
is a multiple of a line. Written in the common way, a line is read before it is written, which is a third of what a copy moves;
and it drives out what is still needed.
"""

from __future__ import annotations

import math

from lazygrad.ir.args import Loop, Param
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import ELEMENTWISE, Op

from ..target import LINE, Target
from ..transform.access import all_loops, lines_inside, multiple

LITTLE = 64
"""Results are little where they are this part of what is read."""
LIGHT = 8
"""How many operations on vectors are few."""


def streamed(kernel: Node, target: Target) -> set[int]:
    """The ids of the stores that may pass the caches by."""
    if not target.streams:
        return set()
    loaded = _loaded(kernel)
    read = _read(loaded)
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


def half_lines(kernel: Node, target: Target) -> bool:
    """Whether a kernel reads more than the caches hold, and does little with it: it waits for memory whatever its vectors are.

    A processor that computes wide vectors in halves runs less far ahead of what it has asked for where it loads halves, too.
    """
    if not target.claims_lines or target.vector_bytes < LINE:
        return False
    read = _read(_loaded(kernel))
    lines = list(lines_inside(kernel))
    if read is None or read < target.level3_cache or any(line.op is Op.DOTS for line in lines):
        return False
    written = {id(line.src[0]): _bytes(line.src[0]) for line in lines if line.op is Op.STORE}
    if None in written.values() or LITTLE * sum(size or 0 for size in written.values()) > read:
        return False
    values = [line.src[2] for line in lines if line.op is Op.STORE and line.src[2].shape]
    return sum(bool(node.shape) and node.op in ELEMENTWISE for node in postorder(values)) <= LIGHT


def _loaded(kernel: Node) -> dict[int, Node]:
    """The buffers that a kernel reads."""
    lines = lines_inside(kernel)
    return {id(each.src[0]): each.src[0] for each in lines if each.op in (Op.LOAD, Op.ACCUMULATE)}


def _read(loaded: dict[int, Node]) -> int | None:
    """The bytes of those that are operands, where they are known."""
    sizes = [_bytes(buffer) for buffer in loaded.values() if isinstance(buffer.arg, Param)]
    return None if None in sizes else sum(size or 0 for size in sizes)


def _bytes(buffer: Node) -> int | None:
    """The bytes of a buffer, where they are known."""
    sizes = [size for size in buffer.shape if isinstance(size, int)]
    return math.prod(sizes) * buffer.dtype.itemsize if len(sizes) == len(buffer.shape) else None


__all__ = ["half_lines", "passes_by", "streamed"]
