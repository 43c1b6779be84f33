"""What a later gradient will read: results worth keeping when a value with a differentiable history is read.

In: the numbered graph of one key and the leaves that a gradient may be asked for. Out: the numbers of nodes to store too. A
gradient of the roots is expanded for this question alone, and followed from its results down to the forward graph: a node that
is expensive to compute again is kept, and below it nothing is needed; a cheap one is computed again from what it reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lazygrad.ir import build
from lazygrad.ir.args import Slot
from lazygrad.ir.composite import expand_call
from lazygrad.ir.dim import product
from lazygrad.ir.extern import is_result
from lazygrad.ir.node import RECORDED, RELEASED, Node
from lazygrad.ir.op import Op

from .keys import Normal

COSTLY = frozenset((Op.SCAN, Op.SORT, Op.FOLD, Op.SCATTER))
"""Operations that are never computed again; beside them, results of EXTERNs, and a REDUCE of more than one element for each result."""

SPREAD = 4
"""What has so many times more elements than what it is made of is not kept, from this many bytes on."""
SPREAD_BYTES = 1 << 20


def kept_for_gradients(
    made: Sequence[Node],
    roots: Sequence[int],
    leaves: Sequence[int],
    watched: Sequence[int] = (),
) -> list[int]:
    """The numbers of the nodes that gradients of `roots` and `watched` with respect to `leaves` read and that are expensive."""
    from lazygrad.gradient.expand import expand

    ends = dict.fromkeys((*roots, *watched))
    # results of host functions have no gradient of their own: composites that read them have it
    outputs = [
        node
        for node in map(made.__getitem__, ends)
        if node.dtype.is_floating_point and not is_result(node)
    ]
    targets = [made[number] for number in leaves if made[number].dtype.is_floating_point]
    if not outputs or not targets:
        return []
    cotangents = [
        Node(Op.BUFFER, (), node.dtype, node.shape, Slot(-1), node.place) for node in outputs
    ]
    number_of = {id(node): number for number, node in enumerate(made)}
    found = set(roots)
    kept: list[int] = []
    seen: set[int] = set()
    stack = expand(build.grad(outputs, cotangents, targets))
    while stack:
        node = stack.pop()
        if id(node) in seen or node.value is not None:
            continue
        seen.add(id(node))
        number = number_of.get(id(node))
        known = number in found
        if number is not None and (known or (expensive(node) and not spread(node))):
            if not known:
                found.add(number)
                kept.append(number)
            continue
        stack.extend(node.src)
    return sorted(kept)


def watch_recorded(normal: Normal, asked: int) -> None:
    """Where what is asked for was made of values that gradients may be asked of, keep what those will read.

    So a loss that is read as `loss.data`, or a norm of it that no gradient goes through, costs no second forward either. Data
    are not told from parameters here: what only gradients of data read is kept too.
    """
    nodes = normal.nodes
    if not any([node.tracked == RECORDED for node in nodes]):  # noqa: C419
        return
    watched: dict[int, None] = {}
    leaves: dict[int, None] = {}
    stack = [(root, False) for root in normal.roots[:asked]]
    seen = set(stack)
    while stack:
        number, below = stack.pop()
        node = nodes[number]
        sources = normal.sources(number)
        if below:
            if not sources or node.op is Op.STOP or node.tracked == RELEASED:
                leaves[number] = None
                continue
        elif node.op is Op.GRAD:
            continue
        elif sources and node.tracked == RECORDED:
            watched[number] = None
            below = True
        for source in sources:
            if (source, below) not in seen:
                seen.add((source, below))
                stack.append((source, below))
    if watched and leaves:
        normal.watch(tuple(watched), tuple(leaves))


def spread(node: Node) -> bool:
    """Whether a large result is made of much less: scores of attention, of queries and keys. It is computed again where it is read."""
    size = product(node.shape)
    if not isinstance(size, int) or size * node.dtype.itemsize < SPREAD_BYTES:
        return False
    read = 0
    stack, seen = list(node.src), {id(node)}
    while stack:
        part = stack.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        elements = product(part.shape)
        if not isinstance(elements, int):
            return False
        if part.value is not None or not part.src:
            read += elements if part.op not in (Op.CONST, Op.ARGUMENT, Op.IOTA) else 0
        elif SPREAD * elements <= size and expensive(part):
            read += elements
        else:
            stack.extend(part.src)
        if SPREAD * read > size:
            return False
    return True


def expensive(node: Node) -> bool:
    """Whether to keep the value of a node rather than compute it again; what is reshaped is kept as it is read."""
    while node.op is Op.RESHAPE:
        (node,) = node.src
    if node.op is Op.CALL:
        return any(expensive(part) for part in body_of(node))
    if node.op is Op.REDUCE:
        return product(node.src[0].shape) != product(node.shape)
    return node.op in COSTLY or is_result(node)


def contracts(node: Node) -> bool:
    """Whether a node is a sum of products, or a composite with one."""
    if node.op is Op.CALL:
        return any(contracts(part) for part in body_of(node))
    return node.op is Op.REDUCE and node.src[0].op is Op.MUL


def body_of(call: Node) -> Iterator[Node]:
    """The nodes that a CALL stands for, each once."""
    seen = {id(source) for source in call.src}
    stack = [expand_call(call)]
    while stack:
        part = stack.pop()
        if id(part) not in seen:
            seen.add(id(part))
            yield part
            stack.extend(part.src)
