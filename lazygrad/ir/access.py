"""Which element of its source a movement node reads: from a position in the result to a position in the source.

In: a node of the graph stratum and the position of one element of its result. Out: the position in the source, and the conditions
under which there is one (PAD). The one description of movement that placement and lowering share.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .args import Axes, Axis, Padding, Region, Windows
from .dim import Size
from .index import ZERO, Condition, Index, Variable, flatten, indirect, of, unflatten
from .node import Node
from .op import Op

Position = tuple[Index, ...]


def source_position(node: Node, position: Position) -> tuple[Position, tuple[Condition, ...]]:
    """Where the element at `position` of a movement node stands in its source, and when it is there."""
    source = node.src[0].shape
    match node.op:
        case Op.RESHAPE:
            return reshaped(position, node.shape, source), ()
        case Op.PERMUTE:
            assert isinstance(node.arg, Axes)
            result = [ZERO] * len(source)
            for axis, index in zip(node.arg.axes, position, strict=True):
                result[axis] = index
            return tuple(result), ()
        case Op.EXPAND:
            inner = position[len(position) - len(source) :]
            return tuple(ZERO if n == 1 else i for i, n in zip(inner, source, strict=True)), ()
        case Op.PAD:
            return _padded(node, position)
        case Op.SHRINK:
            assert isinstance(node.arg, Region)
            regions = zip(position, node.arg.starts, node.arg.steps, strict=True)
            return tuple(i * step + start for i, start, step in regions), ()
        case Op.FLIP:
            assert isinstance(node.arg, Axes)
            axes = node.arg.axes
            flipped = [
                of(n - 1) - i if a in axes else i
                for a, (i, n) in enumerate(zip(position, source, strict=True))
            ]
            return tuple(flipped), ()
        case Op.WINDOW:
            assert isinstance(node.arg, Windows)
            windowed = list(position[: len(source)])
            for axis, stride, dilation, inside in zip(
                node.arg.axes,
                node.arg.strides,
                node.arg.dilations,
                position[len(source) :],
                strict=True,
            ):
                windowed[axis] = windowed[axis] * stride + inside * dilation
            return tuple(windowed), ()
        case Op.STOP | Op.COPY:
            return position, ()
        case _:
            raise ValueError(f"{node.op.name.lower()} is not a movement operation")


def reshaped(position: Position, shape: Sequence[Size], source: Sequence[Size]) -> Position:
    """The same element of a reshaped tensor. Axes that both shapes share keep their index."""
    first = [(n, i) for n, i in zip(shape, position, strict=True) if n != 1]
    if [n for n, _ in first] == [n for n in source if n != 1]:
        rest = iter(first)
        return tuple(ZERO if n == 1 else next(rest)[1] for n in source)
    position = tuple(ZERO if n == 1 else i for n, i in zip(shape, position, strict=True))
    head = 0
    while head < min(len(shape), len(source)) and shape[head] == source[head]:
        head += 1
    tail = 0
    limit = min(len(shape), len(source)) - head
    while tail < limit and shape[len(shape) - 1 - tail] == source[len(source) - 1 - tail]:
        tail += 1
    sizes = shape[head : len(shape) - tail]
    middle, beyond = _inside(position[head : len(shape) - tail], sizes)
    inner = unflatten(flatten(middle, sizes), source[head : len(source) - tail])
    if beyond:
        inner = tuple([index.substitute(beyond) for index in inner])
    return (*position[:head], *inner, *position[len(shape) - tail :])


def _inside(
    position: Sequence[Index], shape: Sequence[Size]
) -> tuple[list[Index], dict[Variable, Index]]:
    """A position with variables in place of the indices that may lie beyond its shape, and what these stand for.

    A condition around leaves out the elements that do (those of a PAD), so quotients and remainders follow from the shape.
    """
    found: list[Index] = []
    beyond: dict[Variable, Index] = {}
    for axis, (index, size) in enumerate(zip(position, shape, strict=True)):
        if not index.within(0, size):
            variable = Variable(f"axis {axis}", size)
            beyond[variable] = index
            index = of(variable)
        found.append(index)
    return found, beyond


def gathered(node: Node, position: Position) -> Position:
    """Where a GATHER reads its source."""
    assert isinstance(node.arg, Axis)
    source, index = node.src
    axis = node.arg.axis
    chosen = indirect(index, position, source.shape[axis])
    return tuple(chosen if a == axis else i for a, i in enumerate(position))


def region(node: Node, position: Position) -> tuple[Position, tuple[Condition, ...]]:
    """Where the element at `position` of an UPDATE stands in its value, and when it is there."""
    assert isinstance(node.arg, Region)
    value = node.src[1].shape
    result: list[Index] = []
    conditions: list[Condition] = []
    for index, start, step, size in zip(
        position, node.arg.starts, node.arg.steps, value, strict=True
    ):
        offset = index - start
        condition = Condition(offset, 0, (size - 1) * step + 1 if size != 0 else 0, step)
        if not condition.certain:
            conditions.append(condition)
        result.append(offset // step)
    return tuple(result), tuple(conditions)


def folded(
    node: Node, position: Position, inside: Sequence[Index]
) -> tuple[Position, tuple[Condition, ...]]:
    """Where a FOLD finds the contribution to `position` of the window elements at `inside`, and when there is one."""
    assert isinstance(node.arg, Windows)
    source = node.src[0].shape
    result = list(position)
    conditions: list[Condition] = []
    for axis, stride, dilation, place in zip(
        node.arg.axes, node.arg.strides, node.arg.dilations, inside, strict=True
    ):
        offset = position[axis] - place * dilation
        condition = Condition(offset, 0, (source[axis] - 1) * stride + 1, stride)
        if not condition.certain:
            conditions.append(condition)
        result[axis] = offset // stride
    return (*result, *inside), tuple(conditions)


def window_positions(node: Node, inner: Iterable[Variable]) -> list[Index]:
    """The index inside each window of a FOLD, from its loops."""
    assert isinstance(node.arg, Windows)
    rest = iter(inner)
    return [ZERO if n == 1 else of(next(rest)) for n in node.arg.sizes]


def _padded(node: Node, position: Position) -> tuple[Position, tuple[Condition, ...]]:
    assert isinstance(node.arg, Padding)
    source = node.src[0].shape
    result: list[Index] = []
    conditions: list[Condition] = []
    for index, before, between, size in zip(
        position, node.arg.before, node.arg.between, source, strict=True
    ):
        offset = index - before
        high = (size - 1) * (between + 1) + 1 if size != 0 else 0
        condition = Condition(offset, 0, high, between + 1)
        if not condition.certain:
            conditions.append(condition)
        result.append(offset // (between + 1))
    return tuple(result), tuple(conditions)
