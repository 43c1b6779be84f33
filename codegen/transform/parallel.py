"""parallel: which trips of a kernel threads may divide, and how many make a chunk.

A kernel divides when its last line is a `parallel` loop and nothing before it but loads, checks and locals: those every chunk
does again. How long a chunk takes depends on the kernel alone, never on the number of threads.
"""

from __future__ import annotations

from lazygrad.ir.args import Dots, Loop
from lazygrad.ir.node import Node
from lazygrad.ir.op import ELEMENTWISE, Op

from .access import body, constant_value, extent

CHUNK_COST = 20_000.0
"""The cost of a chunk, in units of about a nanosecond: long beside claiming it, short beside waking a thread."""
ACCESS_COST = 1.0
OPERATION_COST = 0.4
"""Of one vector or one scalar."""
DOT_PRODUCTS = 300.0
"""Products of a tile of dot products in a nanosecond."""
TYPICAL_EXTENT = 64
"""What a loop of unknown extent is taken for."""


def parallel_loop(kernel: Node) -> Node | None:
    """The loop whose trips a caller may divide, if there is one."""
    lines = body(kernel)
    if not lines or lines[-1].op is not Op.LOOP:
        return None
    if any(line.op not in (Op.LOCAL, Op.LOAD, Op.CHECK) for line in lines[:-1]):
        return None
    arg = lines[-1].arg
    return lines[-1] if isinstance(arg, Loop) and arg.kind == "parallel" else None


def grain(kernel: Node) -> int:
    """How many trips of the kernel's parallel loop make a chunk; 0 where there are fewer than two chunks, or no such loop."""
    loop = parallel_loop(kernel)
    if loop is None:
        return 0
    assert isinstance(loop.arg, Loop)
    trips = max(int(CHUNK_COST / max(trip_cost(loop), 1e-3)), 1)
    size = extent(loop)
    return trips if size is None or size > trips * loop.arg.step else 0


def trip_cost(loop: Node) -> float:
    """About how many nanoseconds one trip of a loop takes, from memory that is near."""
    total = 0.0
    seen: set[int] = set()
    stack: list[tuple[Node, float]] = [(line, 1.0) for line in body(loop)]
    while stack:
        line, times = stack.pop()
        if line.op is Op.LOOP:
            assert isinstance(line.arg, Loop)
            trips = -(-_typical(line.src[1]) // line.arg.step)
            stack.extend((each, times * trips) for each in body(line))
        elif line.op is not Op.LOCAL:
            total += times * (_access_cost(line) + OPERATION_COST * _operations(line, seen))
    return total


def _typical(size: Node) -> int:
    """A loop's extent, or what it mostly is: that of a part, of its whole vectors, or of a rest."""
    known = constant_value(size)
    if known is not None:
        return known
    if size.op is Op.MIN:
        return _typical(size.src[1])
    if size.op is Op.SUB:
        return _typical(size.src[0])
    return 1 if size.op is Op.MOD else TYPICAL_EXTENT


def _access_cost(line: Node) -> float:
    if line.op is Op.CHECK:
        return OPERATION_COST
    if isinstance(line.arg, Dots):
        return line.arg.rows * line.arg.columns * line.arg.terms / DOT_PRODUCTS
    lanes = line.src[1].shape  # a vector of offsets: each lane is an access
    return ACCESS_COST * (lanes[0] if lanes and isinstance(lanes[0], int) else 1)


def _operations(line: Node, seen: set[int]) -> int:
    """Elementwise operations that a line is the first to need."""
    count = 0
    stack = list(line.src)
    while stack:
        node = stack.pop()
        if id(node) in seen or node.op in (Op.LOAD, Op.LOCAL, Op.PARAM):
            continue
        seen.add(id(node))
        count += node.op in ELEMENTWISE
        stack.extend(node.src)
    return count
