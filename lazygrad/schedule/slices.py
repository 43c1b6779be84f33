"""Parts of buffers as inputs: what a kernel reads of a buffer that is one stretch of it becomes an input of its own.

In: kernels as placement leaves them. Out: the same kernels, where a SHRINK of an input that is contiguous in memory stands among the inputs
in the place of what it is cut from. Where the stretch begins is then said by the plan's table, not by the kernel: the steps of a loop
that was unrolled, each of which reads its own row of one buffer, are one kernel, lowered, compiled and checked once.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from ..ir.args import Region
from ..ir.dim import Size, product
from ..ir.kernel_graph import KernelGraph
from ..ir.node import Node
from ..ir.op import Op

PART_LIMIT = 4
"""How many parts of one buffer a kernel takes: it reads more of them from the whole, by offsets that its code has."""


def slice_inputs(kernels: Sequence[KernelGraph]) -> None:
    """Give each kernel the parts that it reads."""
    for kernel in kernels:
        known = {id(node): node for node in kernel.inputs}
        results = {id(node) for node in kernel.results}
        parts: dict[int, list[Node]] = {}
        whole: set[int] = set()
        if not _walk(kernel, known, results, parts, whole, frozenset()):
            continue
        kept = frozenset(base for base, found in parts.items() if len(found) > PART_LIMIT)
        if kept:
            parts, whole = {}, set()
            if not _walk(kernel, known, results, parts, whole, kept):
                continue
        inputs: list[Node] = []
        for node in kernel.inputs:
            if id(node) in whole:
                inputs.append(node)
            inputs += parts.get(id(node), ())
        kernel.inputs = inputs


def _walk(
    kernel: KernelGraph,
    known: dict[int, Node],
    results: set[int],
    parts: dict[int, list[Node]],
    whole: set[int],
    kept: Container[int],
) -> bool:
    """Find what is read in parts, by the buffer that they are cut from, and what is read whole; whether there are parts."""
    seen: set[int] = set()
    stack = list(reversed(kernel.results))
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if id(node) in known:
            whole.add(id(node))
            continue
        if node.op is Op.SHRINK and id(node) not in results:
            found = cut(node)
            if found is not None and id(found[0]) in known and id(found[0]) not in kept:
                parts.setdefault(id(found[0]), []).append(node)
                continue
        stack.extend(reversed(node.src))
    return bool(parts)


def cut(node: Node) -> tuple[Node, int] | None:
    """What a SHRINK is one stretch of, reshaping apart, and the element that it begins with; None where it is none."""
    region, source = node.arg, node.src[0]
    assert isinstance(region, Region)
    start: Size = 0
    stride: Size = 1
    cuts = False
    for place in reversed(range(len(node.shape))):
        size, full, begin = node.shape[place], source.shape[place], region.starts[place]
        if region.steps[place] != 1 or (cuts and size != 1):
            return None
        start = start + begin * stride
        stride = stride * full
        cuts = cuts or size != full
    if not isinstance(start, int) or product(node.shape) == 0:
        return None
    while source.op is Op.RESHAPE:
        source = source.src[0]
    return source, start


def origin(node: Node, stored: Container[int]) -> tuple[Node, int]:
    """The buffer or result that an input of a kernel is, or is a part of, and the byte that it begins at; `stored` has the ids of results."""
    if node.op is not Op.SHRINK or id(node) in stored:
        return node, 0
    found = cut(node)
    assert found is not None
    return found[0], found[1] * node.dtype.itemsize
