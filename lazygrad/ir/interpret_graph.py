"""The reference interpreter of the graph stratum: every operation in numpy, one at a time, rounded to its dtype.

In: roots, and the buffers, numbers and dims of their leaves. Out: one array for each root (see elementwise.py for what arrays
hold; `to_storage` makes them bytes). A node with a realised value is read, whatever stands below it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import extern
from .args import (
    Axes,
    Axis,
    Constant,
    Element,
    Padding,
    Reduction,
    Region,
    Scalar,
    Scan,
    Scatter,
    Slot,
    Sort,
    Windows,
)
from .composite import expand_call
from .dim import Size
from .dtype import DType, int64
from .elementwise import (
    REDUCERS,
    Array,
    apply,
    cast,
    from_storage,
    identity,
    partial_dtype,
    round_to,
    rounded,
    value_dtype,
)
from .errors import OutOfRange
from .node import Node, accumulation
from .op import ELEMENTWISE, Op
from .rewrite import RuleTable

EVALUATE: RuleTable[Array] = RuleTable("interpret")
"""How each operation is computed: (node, values of its sources, the evaluation) -> value."""


@dataclass(slots=True)
class Evaluation:
    """What the leaves of one evaluation are."""

    buffers: Sequence[Any] = ()
    numbers: Sequence[Scalar] = ()
    dims: Mapping[str, int] = field(default_factory=dict)

    def size(self, size: Size) -> int:
        """A size as a number."""
        return size if isinstance(size, int) else size.evaluate(dict(self.dims))

    def shape(self, sizes: Sequence[Size]) -> tuple[int, ...]:
        return tuple(self.size(size) for size in sizes)


def evaluate(
    roots: Sequence[Node],
    buffers: Sequence[Any] = (),
    numbers: Sequence[Scalar] = (),
    dims: Mapping[str, int] | None = None,
) -> list[Array]:
    """Compute `roots`.

    Args:
        buffers: for BUFFER nodes with a Slot: runtime Buffers, or numpy arrays (of storage, or of values).
        numbers: for ARGUMENT nodes.
        dims: the value of each variable by name.

    Raises:
        IndexError: an index outside its axis.
        RuntimeError: "ZeroDivisionError", an integer divided by zero.
        LinAlgError: a host function cannot do with its values.
        NotImplementedError: a GRAD that has not been expanded.
    """
    run = Evaluation(buffers, numbers, dims or {})
    values: dict[int, Array] = {}
    readers = _count_readers(roots)
    with np.errstate(all="ignore"):
        for node, sources in readers.order:
            values[id(node)] = _one(node, [values[id(source)] for source in sources], run)
            for source in sources:
                readers.count[id(source)] -= 1
                if not readers.count[id(source)]:
                    del values[id(source)]
    return [values[id(root)] for root in roots]


@dataclass(slots=True)
class _Readers:
    """The nodes to compute, each with the nodes whose values it reads, and how many readings each value has ahead."""

    order: list[tuple[Node, tuple[Node, ...]]] = field(default_factory=list)
    count: dict[int, int] = field(default_factory=dict)


def _count_readers(roots: Sequence[Node]) -> _Readers:
    """Like `postorder`, but it stops at realised values and goes into the bodies of composites."""
    found = _Readers()
    sources: dict[int, tuple[Node, ...]] = {}
    stack: list[tuple[Node, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if ready:
            found.order.append((node, sources[id(node)]))
            continue
        if id(node) in sources:
            continue
        if node.value is not None:
            below: tuple[Node, ...] = ()
        elif node.op is Op.CALL:
            below = (expand_call(node),)
        else:
            below = node.src
        sources[id(node)] = below
        for source in below:
            found.count[id(source)] = found.count.get(id(source), 0) + 1
        stack.append((node, True))
        stack.extend((source, False) for source in reversed(below))
    for root in roots:
        found.count[id(root)] = found.count.get(id(root), 0) + 1
    return found


def _one(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    if node.value is not None:
        return _read(node.value, node.dtype, run.shape(node.shape))
    if node.op in ELEMENTWISE:
        value = apply(node.op, node.dtype, [s.dtype for s in node.src], sources)
    else:
        result = EVALUATE(node.op, node, sources, run)
        if result is None:
            raise NotImplementedError(f"the interpreter has no {node.op.name.lower()} in a graph")
        value = result
    if node.op is Op.EXTERN:  # a tuple of results, read by ELEMENTs
        return value
    if value.shape != run.shape(node.shape) or value.dtype != value_dtype(node.dtype):
        raise AssertionError(f"{node!r} came out as {value.dtype}{list(value.shape)}")
    return value


def _read(buffer: Any, dtype: DType, shape: tuple[int, ...]) -> Array:
    """The value of a buffer: a copy, since a later write to the buffer must not reach it."""
    if not isinstance(buffer, np.ndarray):
        buffer = buffer.device.view(buffer, dtype, shape)
    return np.array(from_storage(buffer, dtype)).reshape(shape)


@EVALUATE.rule(Op.CONST)
def const(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    assert isinstance(node.arg, Constant)
    return _full(node, node.arg.value, run)


@EVALUATE.rule(Op.ARGUMENT)
def argument(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    assert isinstance(node.arg, Slot)
    return _full(node, run.numbers[node.arg.index], run)


def _full(node: Node, number: Scalar, run: Evaluation) -> Array:
    if node.dtype.kind == "float":
        value = round_to(np.asarray(float(number)), node.dtype)
    else:
        value = np.asarray(number).astype(value_dtype(node.dtype))
    return np.broadcast_to(value, run.shape(node.shape))


@EVALUATE.rule(Op.BUFFER)
def buffer(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    if not isinstance(node.arg, Slot):
        raise ValueError("a buffer has neither a value nor a slot")
    return _read(run.buffers[node.arg.index], node.dtype, run.shape(node.shape))


@EVALUATE.rule(Op.IOTA)
def iota(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    assert isinstance(node.arg, Axis)
    shape = run.shape(node.shape)
    along = [1] * len(shape)
    along[node.arg.axis] = shape[node.arg.axis]
    count = cast(np.arange(shape[node.arg.axis], dtype=np.int64), int64, node.dtype)
    return np.broadcast_to(count.reshape(along), shape)


@EVALUATE.rule(Op.REDUCE)
def reduce(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    arg = node.arg
    assert isinstance(arg, Reduction)
    partial = partial_dtype(arg.kind, arg.accumulate)
    result = REDUCERS[arg.kind].reduce(
        sources[0], axis=arg.axes, keepdims=True, dtype=partial,
        initial=partial.type(identity(arg.kind, arg.accumulate)),
    )  # fmt: skip
    return rounded(result, arg.accumulate, node.dtype)


@EVALUATE.rule(Op.SCAN)
def scan(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    arg = node.arg
    assert isinstance(arg, Scan)
    partial = partial_dtype(arg.kind, arg.accumulate)
    result = REDUCERS[arg.kind].accumulate(sources[0], axis=arg.axis, dtype=partial)
    return rounded(result, arg.accumulate, node.dtype)


@EVALUATE.rule(Op.SORT)
def sort(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    arg = node.arg
    assert isinstance(arg, Sort)
    keys = sources[0] & sources[0].dtype.type((1 << arg.bits) - 1)
    order = np.asarray(np.argsort(keys, axis=arg.axis, kind="stable"))
    part = slice(arg.first, arg.first + run.shape(node.shape)[arg.axis])
    return order[(slice(None),) * arg.axis + (part,)]


@EVALUATE.rule(Op.RESHAPE)
def reshape(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    return sources[0].reshape(run.shape(node.shape))


@EVALUATE.rule(Op.PERMUTE)
def permute(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    assert isinstance(node.arg, Axes)
    return sources[0].transpose(node.arg.axes)


@EVALUATE.rule(Op.EXPAND)
def expand(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    return np.broadcast_to(sources[0], run.shape(node.shape))


@EVALUATE.rule(Op.FLIP)
def flip(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    assert isinstance(node.arg, Axes)
    return np.flip(sources[0], node.arg.axes)


@EVALUATE.rule(Op.PAD)
def pad(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    arg = node.arg
    assert isinstance(arg, Padding)
    result = np.array(_full(node, arg.value.value, run))
    inside = tuple(
        slice(
            run.size(before),
            run.size(before) + max(size - 1, 0) * (gap + 1) + min(size, 1),
            gap + 1,
        )
        for before, gap, size in zip(arg.before, arg.between, sources[0].shape, strict=True)
    )
    result[inside] = sources[0]
    return result


@EVALUATE.rule(Op.SHRINK)
def shrink(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    assert isinstance(node.arg, Region)
    return sources[0][_region(node.arg, run.shape(node.shape), run)]


@EVALUATE.rule(Op.UPDATE)
def update(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    assert isinstance(node.arg, Region)
    result = sources[0].copy()
    result[_region(node.arg, sources[1].shape, run)] = sources[1]
    return result


def _region(region: Region, shape: Sequence[int], run: Evaluation) -> tuple[slice, ...]:
    starts = run.shape(region.starts)
    return tuple(
        slice(start, start + (size - 1) * step + 1 if size else start, step)
        for start, step, size in zip(starts, region.steps, shape, strict=True)
    )


@EVALUATE.rule(Op.WINDOW)
def window(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    arg = node.arg
    assert isinstance(arg, Windows)
    shape = run.shape(node.shape)
    result: Array = np.empty(shape, value_dtype(node.dtype))
    for inside, place in _windows(arg, shape):
        result[_inside(inside)] = sources[0][place]
    return result


@EVALUATE.rule(Op.FOLD)
def fold(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    """Overlapping elements add."""
    arg = node.arg
    assert isinstance(arg, Windows)
    accumulate = accumulation(node.dtype)
    total: Array = np.zeros(run.shape(node.shape), partial_dtype("add", accumulate))
    for inside, place in _windows(arg, sources[0].shape):
        total[place] += sources[0][_inside(inside)]
    return rounded(total, accumulate, node.dtype)


def _inside(position: tuple[int, ...]) -> tuple[Any, ...]:
    return (..., *position)


def _windows(arg: Windows, shape: Sequence[int]) -> list[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """For each position inside a window, where the windows' elements at that position are in the source."""
    rank = len(shape) - len(arg.axes)
    places = []
    for inside in np.ndindex(*arg.sizes):
        place = [slice(None)] * rank
        for axis, position, stride, dilation in zip(
            arg.axes, inside, arg.strides, arg.dilations, strict=True
        ):
            start, count = position * dilation, shape[axis]
            place[axis] = slice(start, start + (count - 1) * stride + 1 if count else start, stride)
        places.append((inside, tuple(place)))
    return places


@EVALUATE.rule(Op.GATHER)
def gather(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    assert isinstance(node.arg, Axis)
    source, index = sources
    elements = _elements(index, node.arg.axis, source.shape[node.arg.axis])
    return np.asarray(source[elements])


_MEETINGS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


@EVALUATE.rule(Op.SCATTER)
def scatter(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    arg = node.arg
    assert isinstance(arg, Scatter)
    base, index, value = sources
    elements = _elements(index, arg.axis, base.shape[arg.axis])
    if arg.kind == "set":
        result = base.copy()
        result[elements] = value  # numpy assigns in order: the last one wins
        return result
    accumulate = accumulation(node.dtype)
    partial = partial_dtype(arg.kind, accumulate)
    total = base.astype(partial)
    _MEETINGS[arg.kind].at(total, elements, value.astype(partial))
    return rounded(total, accumulate, node.dtype)


def _elements(index: Array, axis: int, size: int) -> tuple[Any, ...]:
    """The coordinates of the elements that `index` selects along `axis`.

    Raises:
        IndexError: PyTorch's, for the first index that is outside.
    """
    outside = (index < 0) | (index >= size)
    if np.any(outside):
        wrong = int(index[outside][0])
        raise OutOfRange(f"index {wrong} is out of bounds for dimension {axis} with size {size}")
    grid: list[Any] = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    grid[axis] = index
    return tuple(grid)


@EVALUATE.rule(Op.STOP, Op.COPY, Op.CALL)
def same_value(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    """A boundary or a copy of its source; a composite is its body."""
    return sources[0]


@EVALUATE.rule(Op.EXTERN)
def host_results(node: Node, sources: Sequence[Array], run: Evaluation) -> Any:
    return extern.run(node, [np.ascontiguousarray(source) for source in sources])


@EVALUATE.rule(Op.ELEMENT)
def element(node: Node, sources: Sequence[Any], run: Evaluation) -> Array | None:
    assert isinstance(node.arg, Element)
    return sources[0][node.arg.index] if node.src[0].op is Op.EXTERN else None


@EVALUATE.rule(Op.GRAD)
def gradient(node: Node, sources: Sequence[Array], run: Evaluation) -> Array:
    raise NotImplementedError("a gradient is expanded before it is interpreted: gradient.expand")
