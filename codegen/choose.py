"""Which transforms for this kernel on this target: an analytical model that picks at once.

In: a scalar loop tree. Out: a schedule, a list of named transforms (data: printable, storable, editable), and `apply` to run it.
The model counts memory accesses: vectorizing a loop makes an access that moves by one a `1 / lanes`-th as dear, leaves one that does not move for
free, makes one that moves by a few as dear as the vectors that it reads, and turns any other into a gather that gains nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lazygrad.ir.args import Accumulate, Loop
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import ELEMENTWISE, Op
from lazygrad.ir.rewrite import RuleTable, rewrite

from .choose_shape import fusions, merges, partitions, prefetches, scattering, skips
from .dot_tiles import dot_tiles
from .render.streaming import passes_by
from .steps import TRANSFORMS, Schedule, Transform, apply, takes
from .target import LINE, Target
from .tiling import alone, apart, contraction, tiles
from .transform import strided
from .transform.access import (
    Stride,
    all_loops,
    body,
    carries,
    constant_value,
    extent,
    lines_inside,
    loop_name,
    updates,
)
from .transform.cascade import SUMMED, running
from .transform.hold import held
from .transform.pack import fills
from .transform.parallel import CHUNK_COST, parallel_loop
from .transform.transpose import crossing, fills_part

TYPICAL_EXTENT = 64
"""What a loop of unknown extent is taken for."""
CHAINS = 4
"""How many rows of running results run side by side."""
SIDE_BY_SIDE = 8
"""Vectors of running sums that hide how long an addition takes."""
CROWDED = 4096
"""Elements that lie a multiple of so many bytes apart share one set of the first level of cache."""
COLUMN_BYTES = 2048
"""How much of a row is read at once where columns are reduced: what is fetched beyond a line, and of a page, is then used. Half of it where its sums stay in registers."""
LIGHT_WORK = 8
"""What a step of a sum computes at most, where several vectors of sums run side by side."""
WRITTEN_WORK = 64
"""How many operations on vectors what follows such sums may be, in all."""
COLUMN_PARTS = 4
"""Columns are read in so many parts at least: threads share them."""
MOST_BESIDE = 4
"""Vectors of the widest type, side by side, that fill a line of the cache with narrower results, at most."""
ABREAST = 4
"""Vectors that take their steps together where each step waits for a division of the step before."""
MOST_TURNED = 16
"""The side of a tile that is transposed in registers, at most: so many vectors are held."""
TURNED = 5.0
"""What a vector of a tile that is transposed in registers costs, beside one that is only loaded: four shuffles more."""


def choose(kernel: Node, target: Target) -> list[Transform]:
    """The transforms for a scalar loop tree, in the order to apply them."""
    return chosen(kernel, target).steps


def chosen(kernel: Node, target: Target) -> Schedule:
    """The same, with the kernel that they make."""
    made = _chosen(kernel, target)
    made.extend([Transform("accumulate")])
    return made


def _chosen(kernel: Node, target: Target) -> Schedule:
    """All but the last step."""
    if nests := apart(kernel):
        return _chosen_apart(kernel, nests, target)
    if dots_first := dot_tiles(kernel, target):
        return Schedule(kernel, [Transform(*step) for step in dots_first])
    if tiling := tiles(kernel, target):
        made = Schedule(kernel, [Transform(*step) for step in tiling])
        tiled = made.kernel
        for loop in (*fills(tiled), *held(tiled)):
            made.extend(_best(loop, target, ())[1])
        if any(step.name == "transpose" for step in made.steps):
            tiled = made.kernel
        made.extend(rests(tiled, made.steps))
        return made
    made, steps = Schedule(kernel, [*partitions(kernel), *skips(kernel)]), list[Transform]()
    made.extend(merges(made.kernel))
    made.extend(fusions(made.kernel))
    kernel = made.kernel
    for line in body(kernel):
        if line.op is Op.LOOP:
            cost, chosen = _best(line, target, ())
            moved = any(step.name == "interchange" for step in chosen)
            if line is parallel_loop(kernel) and not moved:
                steps.extend(_division(line, cost, chosen))
            steps.extend(chosen)
    made.extend([*_cascades(kernel, steps), *steps])
    if any(step.name in ("jam", "transpose") for step in steps):
        made.extend(rests(made.kernel, made.steps))
    made.extend(scattering(made.kernel))
    made.extend(prefetches(made.kernel, target))
    return made


def _cascades(kernel: Node, steps: Sequence[Transform]) -> list[Transform]:
    """Long running sums in parts, and parts of parts: of a loop that is a vector wide where there are many vectors only.

    Sums of products that results share are left as they are: their error is bounded by their length.
    """
    if contraction(kernel) is not None:
        return []
    lanes = {step.loop: step.factor for step in steps if step.name == "vectorize"}
    found: list[Transform] = []
    for loop, _ in all_loops(kernel):
        name, size = loop_name(loop), extent(loop)
        if not running(loop):
            continue
        sizes: list[int] = []
        if name in lanes:
            part = lanes[name] * 4 * SUMMED
            if size is None or size > 2 * part:
                even = (n for n in range(part, part // 4, -lanes[name]) if size and size % n == 0)
                sizes = [next(even, part)]
        elif size is None:
            sizes = [4 * SUMMED]
        else:
            sizes = [SUMMED**power for power in (3, 2, 1) if 4 * SUMMED**power <= size]
        found += [Transform("cascade", name, each) for each in sizes]
    return found


def _chosen_apart(kernel: Node, nests: Sequence[Node], target: Target) -> Schedule:
    """The transforms of each nest of a kernel that has several, contractions among them, for one iteration of the loops around."""
    made = Schedule(kernel)
    for nest in nests:
        within = alone(nest)
        tiled = dot_tiles(within, target, False) or tiles(within, target, False)
        made.extend(Transform(*step) for step in tiled)
        if not tiled:
            made.extend(_best(nest, target, ())[1])
    tiled_nests = made.kernel
    for loop in fills(tiled_nests):
        if "_pack" in loop_name(loop):
            made.extend(_best(loop, target, ())[1])
    for loop in held(tiled_nests):
        made.extend(_best(loop, target, ())[1])
    made.extend(rests(tiled_nests, made.steps))
    return made


def rests(kernel: Node, steps: Sequence[Transform]) -> list[Transform]:
    """The vectorized loops once more, in what jamming and transposing have left over of the loops around them."""
    found: list[Transform] = []
    lanes = {s.loop: s.factor for s in steps if s.name in ("vectorize", "transpose")}
    for loop, _ in all_loops(kernel):
        name, rest, _ = loop_name(loop).partition("_rest")
        scalar = all(each.shape == () for line in lines_inside(loop) for each in line.src[1:])
        if rest and name in lanes and scalar:
            found.append(Transform("vectorize", loop_name(loop), lanes[name]))
    return found


def _division(loop: Node, cost: float, chosen: Sequence[Transform]) -> list[Transform]:
    """Cut a parallel loop that has much to do into parts, where another transform leaves some of its iterations over."""
    names = [loop_name(loop)]
    if any(step.name == "transpose" for step in chosen):
        names += [loop_name(line) for line in body(loop) if line.op is Op.LOOP]
    factors = [step.factor for step in chosen if step.loop in names and step.factor]
    size = extent(loop)
    trips = size or TYPICAL_EXTENT
    multiple = math.lcm(*factors)
    if size is not None and size % multiple == 0:
        return []  # threads divide the vectors
    part = max(int(CHUNK_COST * trips / max(cost, 1.0)), 1)
    part = -(-part // multiple) * multiple
    if size is not None and size <= part:
        return []
    return [Transform("divide", loop_name(loop), part)]


def prepared(kernel: Node, target: Target) -> Node:
    """The loop tree that `choose` is asked about, and that a schedule is for: the one that was lowered."""
    return kernel


def optimise(kernel: Node, target: Target, steps: Sequence[Transform] | None = None) -> Node:
    """A schedule applied, the chosen one where none is given; then functions expanded into polynomials and arithmetic tidied: ready to render.

    Raises:
        ScheduleError: a step that is given cannot be applied.
    """
    from .math import expand

    made = chosen(kernel, target).kernel if steps is None else apply(kernel, steps)
    return expand(made if target.fuses else rewrite([made], UNFUSED)[0])


UNFUSED: RuleTable[Node] = RuleTable("sums of products in two steps")


@UNFUSED.rule(Op.FMA)
def unfused(node: Node) -> Node | None:
    """A step of a declared reduction may round twice, where an operation that rounds once is a call."""
    left, right, addend = node.src
    if addend.op is Op.LOAD and addend.src[0].op is Op.LOCAL:
        return left * right + addend
    return None


def _best(loop: Node, target: Target, around: tuple[Node, ...]) -> tuple[float, list[Transform]]:
    """The cheapest way to run `loop`: its cost, and the steps. Recursion is over the depth of the loop nest only."""
    trips = extent(loop) or TYPICAL_EXTENT
    cost = 0.0
    steps: list[Transform] = []
    for line in body(loop):
        if line.op is Op.LOOP:
            inner, chosen = _best(line, target, (*around, loop))
            cost += inner
            steps.extend(chosen)
    own = sum(_line_work(line) for line in body(loop))
    scalar = (cost + own) * trips
    chains = _side_by_side(loop)
    if chains is not None and chains < scalar:
        scalar, steps = chains, [Transform("jam", loop_name(loop), CHAINS)]
    found = _vectorized(loop, target)
    if found is not None and (turned := _transposed(loop, around, target)) is not None:
        if turned[0] < min(found[0], scalar):
            return turned
    if found is not None and found[0] < scalar:
        lanes = found[1]
        jammed = _jam(loop, around, lanes, target)
        lanes = _narrowed(loop, lanes, jammed, target)
        chosen = [Transform("vectorize", loop_name(loop), lanes)]
        return found[0], [*jammed, *chosen]
    return scalar, steps


def _side_by_side(loop: Node) -> float | None:
    """The cost of a loop over rows of running results when some rows run side by side; None where it is no such loop.

    A running result waits for the one before it, so the steps of several rows take no longer than those of one; each row is read and
    written in order, which vectors across the rows would not do.
    """
    nested = [line for line in body(loop) if line.op is Op.LOOP]
    size = extent(loop)
    if len(nested) != 1 or carries(loop) or updates(loop) or (size is not None and size < CHAINS):
        return None
    registers = {id(line) for line in body(loop) if line.op is Op.LOCAL and line.shape == ()}
    lines = body(nested[0])
    chain = {id(line.src[0]) for line in lines if line.op is Op.STORE} & registers
    if not chain or any(line.op not in (Op.LOAD, Op.STORE) for line in lines):
        return None
    cost = sum(_line_work(line) - (id(line.src[0]) in registers) for line in lines)
    return cost * (extent(nested[0]) or TYPICAL_EXTENT) * (size or TYPICAL_EXTENT)


def _transposed(
    loop: Node, around: tuple[Node, ...], target: Target
) -> tuple[float, list[Transform]] | None:
    """The cost of the loop when tiles of it and of a loop around it are transposed, and the steps; None where they cannot be."""
    lines = body(loop)
    if any(line.op not in (Op.LOAD, Op.STORE) for line in lines):
        return None
    width = max(line.src[0].dtype.itemsize for line in lines)
    lanes = min(target.vector_bytes // width, MOST_TURNED)
    trips = extent(loop) or TYPICAL_EXTENT
    if trips < lanes:
        return None
    steps = 0
    inner = loop
    for outer in reversed(around):
        if body(outer) != (inner,) or carries(outer):
            return None
        across = crossing(outer, loop)
        size = extent(outer) or TYPICAL_EXTENT
        if across and (size >= lanes or fills_part(across, size, lanes)):
            turned = {id(line) for line in across}
            break
        inner = outer
        steps += 1
    else:
        return None
    stride = Stride(loop.src[0], lanes)
    wider = -(-size // lanes) * lanes / size
    cost = 0.0
    for line in lines:
        moves = stride(line.src[1])
        if line.op is Op.STORE and moves != 1:
            return None
        if id(line) in turned:
            cost += TURNED * wider
        else:
            cost += strided.cost(line, moves, lanes) if moves != 0 else 1.0
        cost += 0 if line.op is Op.LOAD else _operations(line)
    moved = [Transform("interchange", loop_name(outer))] * steps
    return cost * -(-trips // lanes), [*moved, Transform("transpose", loop_name(loop), lanes)]


def _vectorized(loop: Node, target: Target) -> tuple[float, int] | None:
    """The cost of the loop when it is vectorized, and with how many lanes; None where it cannot be."""
    if carries(loop):
        return None
    lanes = _lanes(loop, target)
    trips = extent(loop) or TYPICAL_EXTENT
    assert isinstance(loop.arg, Loop)
    stride = Stride(loop.src[0], lanes)
    private: set[int] = set()
    reductions = 0
    cost = 0.0
    stack: list[tuple[Node, float]] = [(line, 1.0) for line in reversed(body(loop))]
    while stack:
        line, times = stack.pop()
        if line.op is Op.LOOP:
            if stride(line.src[1]) != 0:
                return None
            inner = times * (extent(line) or TYPICAL_EXTENT)
            stack.extend((each, inner) for each in reversed(body(line)))
            continue
        if line.op is Op.LOCAL:
            private.add(id(line))
            continue
        if line.op is Op.CHECK:
            cost += times
            continue
        offset = line.src[1]
        moves = stride(offset)
        inside = id(line.src[0]) in private
        if line.op is Op.LOAD:
            uniform = moves == 0 and not inside and (len(line.src) < 3 or stride(line.src[2]) == 0)
            stride.mark(line, 0 if uniform else None)
            if line.src[0].op is Op.LOCAL and not inside and not _read_only(loop, line.src[0]):
                return None
        elif not inside and moves == 0:
            if line.op is Op.STORE:
                return None
            reductions += 1
        elif not inside and line.op is Op.ACCUMULATE and moves != 1:
            return None
        apart = 1.0
        if not inside and moves != 0:
            apart = strided.cost(line, moves, lanes)
            if moves is None and strided.repeated(stride, line, lanes):
                apart = strided.REPEATED
            if moves is not None and moves * line.src[0].dtype.itemsize % CROWDED == 0:
                apart *= 4.0
        cost += times * apart
        if line.op is not Op.LOAD:
            cost += times * _operations(line)
    vectors = -(-trips // lanes)
    return cost * vectors + reductions * 8.0, lanes


def _read_only(loop: Node, buffer: Node) -> bool:
    """Whether nothing in the loop writes the outer local `buffer` but in order with its reads of other elements."""
    return not any(
        line.op in (Op.STORE, Op.ACCUMULATE) and line.src[0] is buffer
        for line in lines_inside(loop)
    )


def _lanes(loop: Node, target: Target) -> int:
    """Lanes of the widest type that the loop computes with; more at once in a small reduction or contraction."""
    widest = 1
    lines = list(lines_inside(loop))
    for line in lines:
        if line.op in (Op.LOAD, Op.STORE, Op.ACCUMULATE):
            widest = max(widest, line.src[0].dtype.itemsize)
    wide = _has_wider(lines, widest)
    size = extent(loop)
    if widest == 1 and wide:
        widest = 2  # a vector of bytes that are widened on the way would be two or four
    lanes = max(target.vector_bytes // widest, 1)
    panel = _panel(loop)
    while lanes > 1 and (lanes > panel or (size is not None and size <= lanes // 2)):
        lanes //= 2
    trips = extent(loop) or TYPICAL_EXTENT
    reduces = any(line.op is Op.ACCUMULATE for line in lines)
    nested = any(line.op is Op.LOOP for line in body(loop))
    work = sum(_operations(line) for line in lines if line.op is not Op.LOAD)
    after = sum(_operations(line) for line in body(loop) if line.op is Op.STORE) if nested else 0
    if reduces and work - after <= LIGHT_WORK:
        wanted = 2 if nested else 4
        if nested and _tall(loop):
            few = COLUMN_BYTES // 2 // (lanes * widest)
            wanted = max(wanted, few if few <= target.accumulators else 2 * few)
            while wanted > 2 and trips < COLUMN_PARTS * lanes * wanted:
                wanted //= 2
        while wanted > 1 and work > LIGHT_WORK and wanted * after > WRITTEN_WORK:
            wanted //= 2  # what follows the sums is written out for each vector
        while wanted > 1 and (trips < lanes * wanted or _waste(trips, lanes * wanted) > 1.3):
            wanted //= 2
        lanes *= wanted
    elif not reduces and not nested and _waits(lines) and trips >= ABREAST * lanes:
        lanes *= ABREAST
    elif not reduces and not nested and work <= LIGHT_WORK:
        lanes *= _for_whole_lines(lines, lanes, trips, target)
    return lanes


def _waits(lines: Sequence[Node]) -> bool:
    """Whether each step of what is computed waits for a division of the step before."""
    return any(node.op is Op.GCD for line in lines for node in postorder(line.src))


def _for_whole_lines(lines: Sequence[Node], lanes: int, trips: int, target: Target) -> int:
    """How many vectors side by side fill a line of the cache in each large result: casts to narrower types write parts of one."""
    least = min(
        (
            line.src[0].dtype.itemsize
            for line in lines
            if line.op is Op.STORE and passes_by(line.src[0], target)
        ),
        default=LINE,
    )
    wanted = max(1, LINE // (lanes * least))
    return wanted if wanted <= MOST_BESIDE and trips % (lanes * wanted) == 0 else 1


def _tall(loop: Node) -> bool:
    """Whether its iterations are columns of something so wide that the loops inside go from page to page."""
    across = Stride(loop.src[0])
    nests = [(inner, Stride(inner.src[0])) for inner in body(loop) if inner.op is Op.LOOP]
    loads = [(line, down) for inner, down in nests for line in body(inner) if line.op is Op.LOAD]
    return bool(loads) and all(
        across(line.src[1]) == 1
        and abs(down(line.src[1]) or 0) * line.src[0].dtype.itemsize >= COLUMN_BYTES
        for line, down in loads
    )


def _panel(loop: Node) -> int:
    """The shortest run of iterations that a packed buffer in the loop keeps together: the least `c` of an index % c."""
    index = loop.src[0]
    divisors = [
        divisor
        for node in postorder([line.src[1] for line in lines_inside(loop) if len(line.src) > 1])
        if node.op is Op.MOD and node.src[0] is index and (divisor := constant_value(node.src[1]))
    ]
    return min(divisors, default=1 << 30)


def _has_wider(lines: Sequence[Node], widest: int) -> bool:
    """Whether a value behind the lines is wider than `widest` bytes."""
    stack, seen = [source for line in lines for source in line.src[2:]], set[int]()
    while stack:
        node = stack.pop()
        if id(node) not in seen and node.op in ELEMENTWISE:
            if node.dtype.itemsize > widest:
                return True
            seen.add(id(node))
            stack.extend(node.src)
    return False


def _waste(trips: int, lanes: int) -> float:
    return -(-trips // lanes) * lanes / trips


def _jam(loop: Node, around: tuple[Node, ...], lanes: int, target: Target) -> list[Transform]:
    """Jam the loop around a vectorized one where a value of the inner loop serves several of its iterations."""
    if not around:
        return []
    outer = around[-1]
    if updates(outer):
        return []
    if len([line for line in body(outer) if line.op is Op.LOOP]) != 1:
        return []
    nested = [line for line in body(loop) if line.op is Op.LOOP]
    if not nested:
        return _jam_reduction(loop, around, target)
    if len(nested) != 1:
        return []
    steps = [line for line in body(nested[0]) if line.op is Op.ACCUMULATE]
    if len(steps) != 1 or not isinstance(steps[0].arg, Accumulate):
        return []
    stride = Stride(outer.src[0])
    shared = [line for line in body(nested[0]) if line.op is Op.LOAD and stride(line.src[1]) == 0]
    if not shared:
        return []
    vectors = max(1, lanes * steps[0].src[0].dtype.itemsize // target.vector_bytes)
    trips = extent(outer) or TYPICAL_EXTENT
    factor = min(target.accumulators // vectors, trips, 8)
    return [Transform("jam", loop_name(outer), factor)] if factor > 1 else []


def _jam_reduction(loop: Node, around: tuple[Node, ...], target: Target) -> list[Transform]:
    """Jam the loops, at most two, around a vectorized sum of products, so that each factor loaded serves several results."""
    steps = [line for line in body(loop) if line.op is Op.ACCUMULATE]
    loads = [line for line in body(loop) if line.op is Op.LOAD]
    if len(steps) != 1 or len(loads) < 2:
        return []
    nearest = around[-2:]
    if updates(nearest[0]):
        return []
    if not any(line is steps[0].src[0] for line in body(nearest[-1])):
        return []
    if len([line for line in body(nearest[0]) if line.op is Op.LOOP]) != 1:
        return []
    result: list[Transform] = []
    room = target.accumulators
    most = 8 if len(nearest) == 1 else 4  # rows of a matrix that are fetched side by side
    for each in nearest:
        stride = Stride(each.src[0])
        trips = extent(each) or TYPICAL_EXTENT
        together = min(room, most)
        factor = max((f for f in (8, 4, 3, 2, 1) if trips % f == 0 and f <= together), default=1)
        if factor < 4 and trips >= TYPICAL_EXTENT:
            factor = together  # few are left over
        if factor > 1 and any(stride(load.src[1]) == 0 for load in loads):
            result.append(Transform("jam", loop_name(each), factor))
            room //= factor
    return result


def _narrowed(loop: Node, lanes: int, jammed: Sequence[Transform], target: Target) -> int:
    """Fewer lanes where jamming multiplies the accumulators of a sum: they stay in registers, and there are enough of them."""
    if any(line.op is Op.LOOP for line in body(loop)):
        return lanes
    size = max(line.src[0].dtype.itemsize for line in body(loop) if line.op is not Op.LOCAL)
    together = math.prod(step.factor for step in jammed)
    registers = min(target.accumulators, SIDE_BY_SIDE) * target.vector_bytes
    while jammed and lanes * size > target.vector_bytes and together * lanes * size > registers:
        lanes //= 2
    return lanes


def _line_work(line: Node) -> float:
    if line.op is Op.LOOP or line.op is Op.LOCAL:
        return 0.0
    return 1.0 + (0 if line.op is Op.LOAD else _operations(line))


def _operations(line: Node) -> int:
    """Elementwise operations behind a line, those behind its loads not counted."""
    count = 0
    stack, seen = list(line.src[2:]), set[int]()
    while stack:
        node = stack.pop()
        if id(node) in seen or node.op is Op.LOAD:
            continue
        seen.add(id(node))
        count += node.op in ELEMENTWISE
        stack.extend(node.src)
    return count


__all__ = ["TRANSFORMS", "Schedule", "Transform", "apply", "choose", "chosen", "takes"]
