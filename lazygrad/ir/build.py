"""Builders of the nodes that need an arg: movement, indexing, scans, gradients. They infer shapes; callers check arguments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from .args import (
    Axis,
    Constant,
    Element,
    Grad,
    Padding,
    Region,
    Scalar,
    Scan,
    ScanKind,
    Scatter,
    Sort,
    Windows,
)
from .dim import Size
from .dtype import DType, int64
from .node import Node, Shape, accumulation, constant
from .op import Op


def pad(
    node: Node,
    before: Sequence[Size],
    after: Sequence[Size],
    between: Sequence[int] | None = None,
    value: Scalar = 0,
) -> Node:
    """Add elements of `value` before, after and between the elements of each axis."""
    between = tuple(between) if between is not None else (0,) * len(node.shape)
    shape = tuple(
        b + a + (n if m == 0 else n + max(n - 1, 0) * m)
        for n, b, a, m in zip(node.shape, before, after, between, strict=True)
    )
    if shape == node.shape:
        return node
    fill = constant(value, node.dtype).arg
    assert isinstance(fill, Constant)
    return Node(
        Op.PAD, (node,), node.dtype, shape, Padding(tuple(before), tuple(after), between, fill)
    )


def shrink(
    node: Node, starts: Sequence[Size], shape: Sequence[Size], steps: Sequence[int] | None = None
) -> Node:
    """The region of `shape` whose element i is element start + step * i."""
    steps = tuple(steps) if steps is not None else (1,) * len(node.shape)
    if tuple(shape) == node.shape:
        return node
    return Node(Op.SHRINK, (node,), node.dtype, tuple(shape), Region(tuple(starts), steps))


def update(
    base: Node, value: Node, starts: Sequence[Size], steps: Sequence[int] | None = None
) -> Node:
    """`base` with the region at `starts`, of the shape of `value`, replaced by `value`."""
    steps = tuple(steps) if steps is not None else (1,) * len(base.shape)
    if value.shape == base.shape:
        return value
    return Node(Op.UPDATE, (base, value), base.dtype, base.shape, Region(tuple(starts), steps))


def window(
    node: Node,
    axes: Sequence[int],
    sizes: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> Node:
    """Sliding windows over `axes`: those axes count windows, one new last axis for each runs inside a window."""
    shape = list(node.shape)
    for axis, size, stride, dilation in zip(axes, sizes, strides, dilations, strict=True):
        shape[axis] = (shape[axis] - (dilation * (size - 1) + 1)) // stride + 1
    arg = Windows(tuple(axes), tuple(sizes), tuple(strides), tuple(dilations))
    return Node(Op.WINDOW, (node,), node.dtype, (*shape, *sizes), arg)


def fold(
    node: Node,
    shape: Shape,
    axes: Sequence[int],
    sizes: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> Node:
    """The transpose of `window`, to `shape`: each element is the sum of the window elements that read it."""
    arg = Windows(tuple(axes), tuple(sizes), tuple(strides), tuple(dilations))
    return Node(Op.FOLD, (node,), node.dtype, shape, arg)


def gather(source: Node, index: Node, axis: int) -> Node:
    """out[.., i, ..] = source[.., index[.., i, ..], ..]: `index` has the result's shape; other axes match `source`."""
    return Node(Op.GATHER, (source, index), source.dtype, index.shape, Axis(axis))


def scatter(base: Node, index: Node, value: Node, axis: int, kind: str = "add") -> Node:
    """`base` where element index[.., i, ..] along `axis` has met value[.., i, ..]; in order of i for "set"."""
    return Node(Op.SCATTER, (base, index, value), base.dtype, base.shape, Scatter(axis, kind))  # type: ignore[arg-type]


def scan(node: Node, kind: ScanKind, axis: int, accumulate: DType | None = None) -> Node:
    """The running reduction along `axis`, each element included in its own result."""
    arg = Scan(kind, axis, accumulate or accumulation(node.dtype))
    return Node(Op.SCAN, (node,), node.dtype, node.shape, arg)


def sort(
    keys: Node, axis: int, bits: int, first: int = 0, count: int | None = None, run: int = 0
) -> Node:
    """Where the elements of each row along `axis` stand in ascending order of their unsigned keys; equal keys stay in order.

    Of the order, the `count` places from `first` on; all of them if not given. `run`: the keys are two runs in order, the first one so long.
    """
    shape = list(keys.shape)
    shape[axis] = shape[axis] if count is None else count
    return Node(Op.SORT, (keys,), int64, tuple(shape), Sort(axis, bits, first, run))


def copy(node: Node, place: str) -> Node:
    """The same value on device `place`."""
    return (
        Node(Op.COPY, (node,), node.dtype, node.shape, None, place) if place != node.place else node
    )


def grad(
    roots: Sequence[Node],
    cotangents: Sequence[Node],
    targets: Sequence[Node],
    boundary: Sequence[bool] | None = None,
) -> list[Node]:
    """The gradient of each target: the sum over paths from the roots, weighted with the cotangents."""
    flags = tuple(boundary) if boundary is not None else (False,) * len(targets)
    first = roots[0]
    node = Node(Op.GRAD, (*roots, *cotangents, *targets), first.dtype, (), _grad(len(roots), flags))
    return [
        Node(Op.ELEMENT, (node,), target.dtype, target.shape, _element(index), target.place)
        for index, target in enumerate(targets)
    ]


_grad = lru_cache(1024)(Grad)
_element = lru_cache(1024)(Element)
