"""Where a plan keeps what is between its kernels: blocks of memory that later values use again, and the memory of its own results.

In: kernels in the order they run, and the place of each result that is asked for. Out: a place for every other result, and the size
of each block. A block whose last reader has run serves a later value that is not larger, and at least half as large. A result
that is asked for has its memory from the beginning, and until it is written others may be kept there: the activations of a
training step lie where its gradients and new parameters will be.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lazygrad.ir.dim import Size, product
from lazygrad.schedule.slices import origin

from .plan import Value

if TYPE_CHECKING:
    from lazygrad.ir.kernel_graph import KernelGraph
    from lazygrad.ir.node import Node

LENT_BYTES = 1 << 16
"""Smaller values are not kept where results will be: there is little to gain."""


def bytes_of(node: Node) -> Size:
    """How much memory the value of a node takes."""
    return product(node.shape) * node.dtype.itemsize


def temporaries(
    kernels: Sequence[KernelGraph], where: dict[int, Value], made: Sequence[Size] = ()
) -> list[Size]:
    """Give every result that is not in `where` a place there; `made` has the bytes of each output whose memory may be lent.

    Returns the size of each block in bytes.
    """
    last: dict[int, int] = {}
    for position, kernel in enumerate(kernels):
        for node in kernel.results:
            last[id(node)] = position
        for node in kernel.inputs:
            last[id(origin(node, last)[0])] = position
    loans = _Loans(kernels, where, made)
    blocks: list[Size] = []
    free: list[int] = []
    ending: dict[int, list[int]] = {}
    for position, kernel in enumerate(kernels):
        for node in kernel.results:
            if id(node) in where:
                continue
            size, end = bytes_of(node), last[id(node)]
            fitting = [b for b in free if _serves(blocks[b], size)]
            if fitting:
                block = fitting[0]
                free.remove(block)
            elif (lent := loans.take(size, position, end)) is not None:
                where[id(node)] = Value("output", lent)
                continue
            else:
                block = len(blocks)
                blocks.append(size)
            where[id(node)] = Value("temporary", block)
            ending.setdefault(end, []).append(block)
        free.extend(ending.pop(position, ()))
    return blocks


class _Loans:
    """Outputs whose memory holds other values until they are written."""

    def __init__(
        self, kernels: Sequence[KernelGraph], where: dict[int, Value], made: Sequence[Size]
    ) -> None:
        self._sizes = {n: size for n, size in enumerate(made) if isinstance(size, int)}
        written = [
            (position, where[id(node)].index)
            for position, kernel in enumerate(kernels if made else ())
            for node in kernel.results
            if id(node) in where
        ]
        self._written = [each for each in written if self._sizes.get(each[1], 0) >= LENT_BYTES]
        """When each is written, in this order."""
        self._until: dict[int, int] = {}
        """The last kernel that reads what is kept in an output."""

    def take(self, size: Size, begin: int, end: int) -> int | None:
        """An output for a value that is written by kernel `begin` and read last by kernel `end`: the one that is written first."""
        if not isinstance(size, int) or size < LENT_BYTES:
            return None
        for place in range(bisect_right(self._written, (end + 1,)), len(self._written)):
            output = self._written[place][1]
            if _serves(self._sizes[output], size) and self._until.get(output, -1) < begin:
                self._until[output] = end
                return output
        return None


def _serves(block: Size, size: Size) -> bool:
    if isinstance(block, int) and isinstance(size, int):
        return size <= block <= 2 * size
    return block == size


__all__ = ["bytes_of", "temporaries"]
