"""What the readers of a node ask of it: the positions that they read, how often it is computed, what kind of work it is.

Plain questions about nodes, positions and loops; placement (place.py) decides by the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from ..ir import access
from ..ir.access import Position
from ..ir.args import Reduction, Scan, Scatter, Windows
from ..ir.dim import Size, example
from ..ir.index import NO_VARIABLES, ZERO, Index, Variable, of
from ..ir.kernel_graph import KernelGraph, Path
from ..ir.node import Node
from ..ir.op import ELEMENTWISE, MOVEMENT, Op
from . import cost

LEAVES = frozenset((Op.CONST, Op.ARGUMENT, Op.BUFFER, Op.IOTA))
STAGED = frozenset((Op.REDUCE, Op.SCAN, Op.SORT, Op.FOLD, Op.SCATTER))
"""Operations with loops of their own."""


Reads = dict[Position, set[Path]]
"""The positions at which one kernel reads a node, and the loops around each read."""


def inlined_reads(node: Node, position: Position) -> list[tuple[Node, Position]]:
    """The nodes, and the positions in them, that one element of an inlined node reads."""
    if node.op in ELEMENTWISE:
        return [(source, position) for source in node.src]
    if node.op is Op.GATHER:
        return [(node.src[1], position), (node.src[0], access.gathered(node, position))]
    if node.op is Op.UPDATE:
        inside, _ = access.region(node, position)
        return [(node.src[0], position), (node.src[1], inside)]
    if node.op in LEAVES:
        return []
    return [(node.src[0], access.source_position(node, position)[0])]


def contraction(node: Node) -> bool:
    """Whether it is a sum of products in which both factors are read again for other results (a matmul, a convolution)."""
    factors = factor_axes(node)
    return factors is not None and bool(factors[1] - factors[0]) and bool(factors[0] - factors[1])


def batch_axes(node: Node) -> list[int]:
    """The axes of a contraction that both factors have, beside those that it sums over: one for each of many products."""
    source = node.src[0]
    while source.op is Op.CAST:
        source = source.src[0]
    factors = factor_axes(node)
    if factors is None or source.op is not Op.MUL:
        return []
    assert isinstance(node.arg, Reduction)
    return sorted((factors[0] & factors[1]) - set(node.arg.axes))


Factors = tuple[frozenset[int], frozenset[int]]
"""The axes of a product that each of its two factors moves along."""
FACTORS: WeakKeyDictionary[Node, Factors | None] = WeakKeyDictionary()
"""Those of the sums that were asked for: placement asks for the same ones over and over."""


def factor_axes(node: Node) -> Factors | None:
    """Of a sum of products, the axes of the product that each factor moves along; None for any other node."""
    if node.op is not Op.REDUCE or not isinstance(node.arg, Reduction) or node.arg.kind != "add":
        return None
    try:
        return FACTORS[node]
    except KeyError:
        found = FACTORS[node] = _factor_axes(node)
        return found


def _factor_axes(node: Node) -> Factors | None:
    source = node.src[0]
    while source.op is Op.CAST or (source.op is Op.RESHAPE and source.src[0].op is Op.MUL):
        source = source.src[0]
    if source.op is not Op.MUL:
        return None
    variables = [Variable(f"c{axis}", n) for axis, n in enumerate(source.shape)]
    position = tuple(of(v) for v in variables)
    moving: list[frozenset[int]] = []
    for factor in source.src:
        at = position
        while factor.op in MOVEMENT or factor.op is Op.CAST:
            if factor.op is not Op.CAST:
                at = access.source_position(factor, at)[0]
            factor = factor.src[0]
        used = NO_VARIABLES.union(*[index.variables for index in at])
        moving.append(
            frozenset(axis for axis, v in enumerate(variables) if v.extent != 1 and v in used)
        )
    return moving[0], moving[1]


def widened(node: Node) -> bool:
    """Whether it is a value of a narrower type, widened: that one is read, as there is less of it, and widened on the way."""
    if node.op is not Op.CAST:
        return False
    before, after = node.src[0].dtype, node.dtype
    return 0 < before.category == after.category and before.itemsize < after.itemsize


def cheap_operand(node: Node) -> bool:
    """Whether it is at most two cheap operations on one value: computed again in registers, it costs a contraction little."""
    if widened(node):
        return True
    for _ in range(2):
        if cost.work(node) > 1 or node.op not in ELEMENTWISE:
            return False
        sources = [source for source in node.src if source.op not in (Op.CONST, Op.ARGUMENT)]
        if len(sources) != 1:
            return False
        node = sources[0]
    return node.op not in ELEMENTWISE


def inner_sizes(node: Node) -> list[Size]:
    """The extents of the loops that a stage runs beside those over its own axes."""
    if isinstance(node.arg, Reduction):
        return [node.src[0].shape[a] for a in node.arg.axes if node.src[0].shape[a] != 1]
    if isinstance(node.arg, Windows) and node.op is Op.FOLD:
        return [n for n in node.arg.sizes if n != 1]
    if node.op is Op.SCATTER:
        return [n for n in node.src[1].shape[rows_apart(node) :] if n != 1]
    return []


def rows_apart(node: Node) -> int:
    """The axes, from the first, along which a scatter goes row by row: each row receives its own values alone, and is not short."""
    assert isinstance(node.arg, Scatter)
    index, apart = node.src[1], 0
    while apart < node.arg.axis and index.shape[apart] == node.shape[apart]:
        apart += 1
    rest = cost.count(node.shape[apart:]), cost.count(index.shape[apart:])
    return apart if min(rest) >= cost.SCATTERED_ROW else 0


def scattered_position(
    shape: Sequence[Size], rows: Sequence[Index], inner: Sequence[Index]
) -> Position:
    """Where a scatter reads its index and values: in the rows that the loops around it fix, at the place of its own loops."""
    rest = iter(inner)
    return (*rows, *[ZERO if n == 1 else next(rest) for n in shape[len(rows) :]])


def agreed(positions: Reads, rank: int) -> list[Index | None]:
    """The index on each axis that all readers share; None where they differ."""
    found = list(positions)
    return [
        found[0][axis] if all(p[axis] == found[0][axis] for p in found[1:]) else None
        for axis in range(rank)
    ]


def common_prefix(paths: Sequence[Path]) -> Path:
    first = paths[0]
    length = min(len(path) for path in paths)
    for depth in range(length):
        if any(path[depth] != first[depth] for path in paths):
            return first[:depth]
    return first[:length]


def shortened(fixed: Sequence[Index | None], common: Path) -> tuple[Path, list[Index | None]]:
    """Give up fixing the axes that need more than the loops at the front; those are then computed whole."""
    needed = used_variables(fixed)
    length = 0
    while length < len(common) and (common[length] in needed or common[length].extent == 1):
        length += 1
    prefix = common[:length]
    inside = set(prefix)
    kept = [i if i is not None and i.variables <= inside else None for i in fixed]
    used = used_variables(kept)
    while prefix and prefix[-1] not in used:
        prefix = prefix[:-1]
    return prefix, kept


def used_variables(fixed: Sequence[Index | None]) -> set[Variable]:
    used: set[Variable] = set()
    for index in fixed:
        if index is not None:
            used |= index.variables
    return used


def covers(node: Node, fixed: Sequence[Index | None]) -> bool:
    """Whether the loops reach each element of `node` exactly once."""
    seen: set[Variable] = set()
    for size, index in zip(node.shape, fixed, strict=True):
        if index is None or size == 1:
            continue
        if len(index.variables) != 1:
            return False
        (variable,) = index.variables
        if index != of(variable) or variable.extent != size or variable in seen:
            return False
        seen.add(variable)
    return True


def carried_along(node: Node, graph: KernelGraph, positions: Reads) -> Path | None:
    """The loops of a scatter of `graph` that read a scan in its own order, so that the innermost one can carry its running value.

    None where it is read otherwise, or would be computed again for loops that it does not depend on.
    """
    if not isinstance(node.arg, Scan) or len(positions) != 1:
        return None
    ((position, paths),) = positions.items()
    path, *others = paths
    scatters = [stage for stage in graph.stages if stage.node.op is Op.SCATTER]
    in_order = [(*stage.path, *stage.inner) for stage in scatters]
    if others or not path or path not in in_order:
        return None
    along, axis = path[-1], node.arg.axis
    if position[axis] != of(along) or along.extent != node.shape[axis]:
        return None
    rest = used_variables([index for number, index in enumerate(position) if number != axis])
    return path if rest == {loop for loop in path[:-1] if loop.extent != 1} else None


def evaluations(node: Node, positions: Reads) -> float:
    """How often each element is computed when `node` is inlined: loops that a read does not depend on cost nothing inside."""
    total = 0
    for position, paths in positions.items():
        used: set[Variable] = set()
        for index in position:
            used |= index.variables
        nests = set()
        for path in paths:
            depth = max((d + 1 for d, v in enumerate(path) if v in used), default=0)
            nests.add(path[:depth])
        for nest in nests:
            count = 1
            for variable in nest:
                count *= example(variable.extent)
            total += count
    return total / max(cost.count(node.shape), 1)
