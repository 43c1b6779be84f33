"""hold: the sums of a block of results are kept in a local buffer, and what is made of them is done after all of them, in loops of its own.

The loops of what follows the sums may then have another order than those of the sums: a contraction whose vectors run along one axis
of its results writes them along another one, by tiles that are transposed on the way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import count

from lazygrad.ir import loops
from lazygrad.ir.args import Loop, Name
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op
from lazygrad.ir.rewrite import rebuild

from .access import ScheduleError, all_loops, body, loop_name, loop_named, replace_loop, with_body
from .pack import bound, without_unread

SUFFIX = "_held"


def hold(kernel: Node, name: str) -> Node:
    """Keep the sums of the loops from that over `name` inwards in a buffer; what follows them gets loops of its own, that over `name` innermost.

    Requires: the loops stand alone in each other, but for loads; their extents have bounds and their steps are 1; the innermost
    has its sums first, and nothing is written before they end.
    Guarantees: the same values; those that are written are written after all sums of the block.

    Raises:
        ScheduleError: there is no such loop, or it is not so.
    """
    loop = loop_named(kernel, name)
    chain = [loop]
    while (inner := _alone(chain[-1])) is not None:
        chain.append(inner)
    tile = chain[-1]
    sizes = [_bounded(each) for each in chain]
    last = max((n for n, line in enumerate(body(tile)) if line.op is Op.LOOP), default=-1)
    sums, rest = body(tile)[: last + 1], body(tile)[last + 1 :]
    own = {id(line) for line in sums if line.op is Op.LOCAL}
    if len(chain) < 2 or not own:
        raise ScheduleError(f"in loop {name} are no loops whose innermost has sums")
    results = [line for line in rest if line.op is Op.LOAD and id(line.src[0]) in own]
    taken = {node.arg.name for node in postorder([kernel]) if isinstance(node.arg, Name)}

    def new(prefix: str) -> str:
        names = (f"{prefix}{SUFFIX}{number or ''}" for number in count())
        taken.add(found := next(each for each in names if each not in taken))
        return found

    def place(indices: Sequence[Node]) -> Node:
        at = indices[0]
        for index, size in zip(indices[1:], sizes[1:], strict=True):
            at = at * size + index
        return at

    buffers = [loops.local(new("r"), line.dtype, (math.prod(sizes),)) for line in results]
    at = place([each.src[0] for each in chain])
    stores = [loops.store(buffer, at, line) for buffer, line in zip(buffers, results, strict=True)]
    first = with_body(tile, [*sums, *results, *stores])
    for each in reversed(chain[:-1]):
        first = with_body(each, [*body(each)[:-1], first])
    indices = [loops.index(new(loop_name(each))) for each in chain]
    given = {id(each.src[0]): index for each, index in zip(chain, indices, strict=True)}
    at = place(indices)
    for line, buffer in zip(results, buffers, strict=True):
        given[id(line)] = loops.load(buffer, at)
    lines = [line for each in chain[:-1] for line in body(each)[:-1]]
    lines += [line for line in (*sums, *rest) if line.op is Op.LOAD or line in rest]
    second = _copied(chain, lines, given)
    return replace_loop(kernel, loop, [*buffers, without_unread(first), without_unread(second)])


def held(kernel: Node) -> Iterator[Node]:
    """The outermost loops of what `hold` has set apart."""
    for loop, around in all_loops(kernel):
        if SUFFIX in loop_name(loop) and not (around and SUFFIX in loop_name(around[-1])):
            yield loop


def _alone(loop: Node) -> Node | None:
    """The one loop in the body of `loop`, where it has nothing else but loads before it, and is no loop of a sum."""
    *lines, last = body(loop)
    if last.op is not Op.LOOP or any(line.op is not Op.LOAD for line in lines):
        return None
    return last


def _bounded(loop: Node) -> int:
    assert isinstance(loop.arg, Loop)
    size = bound(loop.src[1])
    if size is None or loop.arg.step != 1 or loop.arg.kind == "parallel":
        raise ScheduleError(
            f"loop {loop_name(loop)} has no bound, another step than 1, or is divided"
        )
    return size


def _copied(chain: Sequence[Node], lines: Sequence[Node], given: dict[int, Node]) -> Node:
    """Copies of the loops, the first one innermost, around copies of the lines; `given` stands for the indices and for the sums."""
    inside = {id(line) for line in lines}

    def make(node: Node, src: tuple[Node, ...]) -> Node:
        return node.like(src) if src != node.src or id(node) in inside else node

    order = [*chain[1:], chain[0]]
    extents = [each.src[1] for each in order]
    made = rebuild([*extents, *lines], lambda node: given.get(id(node)), make)
    nest: list[Node] = made[len(order) :]
    for each, size in zip(reversed(order), reversed(made[: len(order)]), strict=True):
        nest = [loops.loop(given[id(each.src[0])], size, nest)]
    return nest[0]
