"""Batching (vmap): what an operation on one example is on a batch of them.

In: a node of the graph stratum and its sources, some of which have a new first axis, the batch. Out: the node for the whole batch,
with that axis first. An operation whose sources do not depend on the batch is computed once.

Movement, reductions and indexing let the first axis pass, all others move up by one. Where a source is the same for all examples
it is repeated by EXPAND, which costs no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..ir.args import (
    Axes,
    Axis,
    Call,
    Element,
    Padding,
    Reduction,
    Region,
    Scan,
    Scatter,
    Sort,
    Windows,
)
from ..ir.build import gather, shrink, update
from ..ir.dim import Size, UndecidedError
from ..ir.extern import kinds, repeated
from ..ir.node import Node, constant, postorder
from ..ir.op import ELEMENTWISE, Op
from ..ir.rewrite import RuleTable
from .expand import place_new
from .region import opened, replaced

BATCHING: RuleTable[Node] = RuleTable("batching")
"""Rules by operation: rule(node, sources)."""

COMPOSITE_BATCHING: RuleTable[Node] = RuleTable("batching of composites")
"""Rules by the name of a composite; they stand in composites/batched.py. The body of one without a rule is batched instead."""


class Sources:
    """The sources of one node, with what is known of the batch."""

    __slots__ = ("_batched", "_nodes", "size")

    def __init__(self, nodes: Sequence[Node], batched: Sequence[bool], size: Size) -> None:
        self._nodes = nodes
        self._batched = batched
        self.size = size
        """The size of the batch."""

    def same(self, index: int) -> bool:
        """Whether a source is the same for all examples."""
        return not self._batched[index]

    def plain(self, index: int) -> Node:
        """A source as it is: with the batch axis, or without it."""
        return self._nodes[index]

    def __getitem__(self, index: int) -> Node:
        """A source with the batch axis."""
        node = self._nodes[index]
        return node if self._batched[index] else spread(node, self.size)

    def all(self) -> tuple[Node, ...]:
        """All sources with the batch axis."""
        return tuple([self[index] for index in range(len(self._nodes))])


def spread(node: Node, size: Size) -> Node:
    """What is the same for all examples, once for each."""
    shape = (size, *node.shape)
    if node.op in (Op.CONST, Op.ARGUMENT):
        return Node(node.op, (), node.dtype, shape, node.arg, node.place, node.site)
    return node.expand(shape)


def batch(roots: Sequence[Node], batches: Mapping[Node, Node], size: Size) -> list[Node | None]:
    """The roots for the whole batch, None for those that are the same for all examples.

    `batches` has for each leaf that stands for one example a node with a first axis of `size`.

    Raises:
        NotImplementedError: an operation has no rule.
    """
    known: dict[int, Node] = {id(leaf): node for leaf, node in batches.items()}
    for node in postorder(roots):
        if id(node) in known:
            continue
        flags = [id(source) in known for source in node.src]
        if not any(flags):
            continue
        nodes = [known.get(id(source), source) for source in node.src]
        made = batching_rule(node, Sources(nodes, flags, size))
        place_new(node, [*nodes, *node.src], [made])
        known[id(node)] = made
    return [known.get(id(root)) for root in roots]


def batching_rule(node: Node, sources: Sources) -> Node:
    """One node for the whole batch."""
    if node.op is Op.CALL:
        assert isinstance(node.arg, Call)
        made = COMPOSITE_BATCHING(node.arg.name, node, sources)
        return through_body(node, sources) if made is None else made
    made = BATCHING(node.op, node, sources)
    if made is None:
        raise NotImplementedError(
            f"vmap: there is no batching rule for {node.op.name.lower()}; compute it outside of the mapped function"
        )
    return made


def through_body(node: Node, sources: Sources) -> Node:
    """A composite that has no rule of its own."""
    body, leaves = opened(node)
    given = [(index, leaf) for index, leaf in enumerate(leaves) if not sources.same(index)]
    whole = [sources.plain(index) for index, _ in given]
    starts = [leaf for _, leaf in given]
    (made,) = batch([body], dict(zip(starts, whole, strict=True)), sources.size)
    if made is None:
        made = spread(body, sources.size)
    return replaced(made, (leaves, node.src), (whole, whole))


def alike(node: Node, sources: Sources, shape: tuple[Size, ...] | None = None) -> Node:
    """The same operation, with the same arg, on all sources with the batch axis first."""
    shape = node.shape if shape is None else shape
    return Node(node.op, sources.all(), node.dtype, (sources.size, *shape), node.arg, node.place)


def one_by_one(nodes: Sequence[Node], size: Size, make: Callable[..., Node]) -> Node:
    """What `make` makes of each example of the nodes, for the whole batch.

    Raises:
        UndecidedError: the number of examples is a Dim.
    """
    if not isinstance(size, int):
        raise UndecidedError(
            "what is computed for one example after another is compiled for their number"
        )
    like = make(*[constant(0, node.dtype, node.shape[1:], node.place) for node in nodes])
    total = constant(0, like.dtype, (size, *like.shape), like.place)
    for index in range(size):
        examples = [
            shrink(node, (index, *[0] * (len(node.shape) - 1)), (1, *node.shape[1:])).reshape(node.shape[1:])
            for node in nodes
        ]  # fmt: skip
        row = make(*examples).reshape((1, *like.shape))
        total = update(total, row, (index, *[0] * len(like.shape)))
    return total


# --- one element, or all of them alike


@BATCHING.rule(*map(Op, sorted(ELEMENTWISE)))
def elementwise(node: Node, sources: Sources) -> Node:
    return alike(node, sources)


@BATCHING.rule(Op.STOP, Op.RESHAPE, Op.COPY)
def whole(node: Node, sources: Sources) -> Node:
    return alike(node, sources)


@BATCHING.rule(Op.EXTERN)
def host_function(node: Node, sources: Sources) -> Node:
    """Functions of the host take matrices with any number of axes before them.

    A layer of repeated steps does not: its node only holds the sources of all examples, until one of its results is asked for.
    """
    return Node(Op.EXTERN, sources.all(), node.dtype, (), node.arg, node.place)


@BATCHING.rule(Op.ELEMENT)
def result_of_host_function(node: Node, sources: Sources) -> Node:
    assert isinstance(node.arg, Element)
    called = sources.plain(0)
    if repeated(node.src[0]) is not None:

        def one(*inputs: Node) -> Node:
            layer = Node(Op.EXTERN, inputs, called.dtype, (), called.arg, called.place)
            return Node(Op.ELEMENT, (layer,), node.dtype, node.shape, node.arg, node.place)

        return one_by_one(called.src, sources.size, one)
    dtype, shape = kinds(called)[node.arg.index]
    assert shape == (sources.size, *node.shape)
    return Node(Op.ELEMENT, (called,), dtype, shape, node.arg, node.place)


# --- along axes


@BATCHING.rule(Op.REDUCE)
def reduction(node: Node, sources: Sources) -> Node:
    assert isinstance(node.arg, Reduction)
    return sources[0].reduce(node.arg.kind, _up(node.arg.axes), node.arg.accumulate)


@BATCHING.rule(Op.SCAN)
def running(node: Node, sources: Sources) -> Node:
    assert isinstance(node.arg, Scan)
    arg = Scan(node.arg.kind, node.arg.axis + 1, node.arg.accumulate)
    return _like(node, sources, arg)


@BATCHING.rule(Op.SORT)
def sorting(node: Node, sources: Sources) -> Node:
    assert isinstance(node.arg, Sort)
    arg = Sort(node.arg.axis + 1, node.arg.bits, node.arg.first, node.arg.run)
    return _like(node, sources, arg)


@BATCHING.rule(Op.FLIP)
def flip(node: Node, sources: Sources) -> Node:
    assert isinstance(node.arg, Axes)
    return sources[0].flip(_up(node.arg.axes))


def _up(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple([axis + 1 for axis in axes])


def _like(
    node: Node, sources: Sources, arg: Axis | Scan | Sort | Scatter | Padding | Region | Windows
) -> Node:
    shape = (sources.size, *node.shape)
    return Node(node.op, sources.all(), node.dtype, shape, arg, node.place)


# --- movement


@BATCHING.rule(Op.PERMUTE)
def permute(node: Node, sources: Sources) -> Node:
    assert isinstance(node.arg, Axes)
    return sources[0].permute((0, *_up(node.arg.axes)))


@BATCHING.rule(Op.EXPAND)
def expand(node: Node, sources: Sources) -> Node:
    """New axes of one example stand behind the batch."""
    source = node.src[0]
    new = (1,) * (len(node.shape) - len(source.shape))
    aligned = sources[0].reshape((sources.size, *new, *source.shape))
    return aligned.expand((sources.size, *node.shape))


@BATCHING.rule(Op.PAD)
def padding(node: Node, sources: Sources) -> Node:
    arg = node.arg
    assert isinstance(arg, Padding)
    wider = Padding((0, *arg.before), (0, *arg.after), (0, *arg.between), arg.value)
    return _like(node, sources, wider)


@BATCHING.rule(Op.SHRINK, Op.UPDATE)
def region(node: Node, sources: Sources) -> Node:
    arg = node.arg
    assert isinstance(arg, Region)
    return _like(node, sources, Region((0, *arg.starts), (1, *arg.steps)))


@BATCHING.rule(Op.WINDOW, Op.FOLD)
def windows(node: Node, sources: Sources) -> Node:
    arg = node.arg
    assert isinstance(arg, Windows)
    return _like(node, sources, Windows(_up(arg.axes), arg.sizes, arg.strides, arg.dilations))


# --- indexed


@BATCHING.rule(Op.GATHER)
def gathering(node: Node, sources: Sources) -> Node:
    """Of a source that is the same for all examples, the indices of all of them are gathered at once, beside one another."""
    assert isinstance(node.arg, Axis)
    axis = node.arg.axis
    if not sources.same(0):
        return _like(node, sources, Axis(axis + 1))
    shape = node.src[1].shape
    order = [*range(1, axis + 1), 0, *range(axis + 1, len(shape) + 1)]
    beside = sources[1].permute(order)
    merged = (*shape[:axis], sources.size * shape[axis], *shape[axis + 1 :])
    found = gather(sources.plain(0), beside.reshape(merged), axis).reshape(beside.shape)
    return found.permute([axis, *range(axis), *range(axis + 1, len(shape) + 1)])


@BATCHING.rule(Op.SCATTER)
def scattering(node: Node, sources: Sources) -> Node:
    assert isinstance(node.arg, Scatter)
    return _like(node, sources, Scatter(node.arg.axis + 1, node.arg.kind))
