"""Views: how a tensor lies in its storage, as a chain of movement steps.

A step is one movement. `apply` gives the view's node from the node below it, `write` the node below with the view's elements
replaced, and `layout` PyTorch's strides and storage offset. Strides are what users see and what reads of computed memory go by;
nodes are always whole and row-major.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from .ir.build import fold, gather, scatter, shrink, update, window
from .ir.dtype import DType
from .ir.node import Node, constant, iota, where
from .ir.op import Op
from .ir.record import record

if TYPE_CHECKING:
    from .tensor import Tensor

Sizes = tuple[int, ...]


class Step(Protocol):
    """One movement between a tensor and a view of it."""

    def apply(self, node: Node) -> Node:
        """The view's node."""
        ...

    def write(self, base: Node, value: Node) -> Node:
        """`base` with the elements that the view shows replaced by `value`."""
        ...

    def layout(self, shape: Sizes, stride: Sizes, offset: int) -> tuple[Sizes, int]:
        """The view's strides and offset, from those of the tensor below."""
        ...

    def __hash__(self) -> int:
        """Steps are compared by what they do."""
        ...


class View:
    """How a tensor that is a view lies in its storage, and which tensor its gradients go to."""

    __slots__ = (
        "base", "steps", "path", "shape", "stride", "offset", "origin", "source", "node",
    )  # fmt: skip

    def __init__(
        self,
        base: Tensor | None,
        steps: tuple[Step, ...],
        path: tuple[Step, ...],
        shape: Sizes,
        stride: Sizes,
        offset: int,
        origin: str,
    ) -> None:
        self.base = base
        """The tensor that a differentiable view is of, never a view of another itself; None for detach() and .data."""
        self.steps = steps
        """From the base's node to the view's."""
        self.path = path
        """From the storage's node to the view's."""
        self.shape = shape
        self.stride = stride
        self.offset = offset
        self.origin = origin
        """"" for a usual view; "no_grad" for one made while nothing was recorded; otherwise the name of the function that gave
        several views at once. The latter two refuse recorded in-place writes."""
        self.source: Node | None = None
        """The storage's node that `node` was replayed over."""
        self.node: Node | None = None

    def alone(self) -> View:
        """The same without the tensor that it is of."""
        return View(None, self.path, self.path, self.shape, self.stride, self.offset, "")

    def alike(self, other: View | None) -> bool:
        """Whether another one shows the same of its storage."""
        return (
            other is not None
            and self.path == other.path
            and self.stride == other.stride
            and self.offset == other.offset
        )

    def from_base(self) -> tuple[Step, ...]:
        """From the base's node as it lies now: `steps`, and before them back what moved the base in place after the view was made."""
        base = self.base
        if base is None or base._view is None:
            return self.steps
        before = len(self.path) - len(self.steps)
        moved = base._view.path[before:]
        if not moved:
            return self.steps
        node = apply(base._view.path[:before], base.storage.node)
        back: list[Step] = []
        for step in moved:
            back.append(Undo(step, node.shape))  # type: ignore[arg-type]
            node = step.apply(node)
        return (*reversed(back), *self.steps)

    def replay(self, node: Node) -> Node:
        """The view's node over the storage's node, made once for each."""
        if self.source is not node or self.node is None:
            made = apply(self.path, node)
            self.node = made
            self.source = node
            return made
        return self.node


def apply(steps: Sequence[Step], node: Node) -> Node:
    """The node that the chain of views shows."""
    for step in steps:
        node = step.apply(node)
    return node


def write(steps: Sequence[Step], base: Node, value: Node) -> Node:
    """`base` with what the chain of views shows replaced by `value`."""
    below = [base]
    for step in steps[:-1]:
        below.append(step.apply(below[-1]))
    for step, node in zip(reversed(steps), reversed(below)):
        value = step.write(node, value)
    return value


def contiguous(shape: Sequence[int]) -> Sizes:
    """The strides of a row-major tensor."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


@lru_cache(maxsize=4096)
def row_major(shape: Sizes, stride: Sizes) -> bool:
    """Whether elements lie as those of a row-major tensor do. Axes of size 1 may have any stride."""
    return all(n == 1 or a == b for n, a, b in zip(shape, stride, contiguous(shape)))


@lru_cache(maxsize=4096)
def placed(
    step: Step, dtype: DType, shape: Sizes, stride: Sizes | None, offset: int
) -> tuple[DType, Sizes, Sizes, int]:
    """The dtype, shape, strides and offset of a view by one movement, from those of the tensor below; strides None: row-major.

    A loop makes the same views in every turn, so the answers are kept. Raises what the movement raises.
    """
    node = step.apply(Node(Op.BUFFER, (), dtype, shape))
    lies = step.layout(shape, contiguous(shape) if stride is None else stride, offset)
    sizes: tuple[int, ...] = node.shape  # type: ignore[assignment]
    return (node.dtype, sizes, *lies)


def overlaps(shape: Sizes, stride: Sizes) -> bool:
    """Whether two elements surely share memory: an axis longer than 1 with stride 0."""
    return any(size > 1 and step == 0 for size, step in zip(shape, stride)) and 0 not in shape


def reshaped(shape: Sizes, stride: Sizes, target: Sizes) -> Sizes | None:
    """The strides of the same elements seen in shape `target`, or None where no strides do it."""
    if 0 in shape:
        return stride if shape == target else contiguous(target)
    if not shape:
        return (1,) * len(target)
    result = [0] * len(target)
    axis = len(target) - 1
    chunk_stride = stride[-1]
    elements = covered = 1
    for dim in range(len(shape) - 1, -1, -1):
        elements *= shape[dim]
        if dim and (shape[dim - 1] == 1 or stride[dim - 1] == elements * chunk_stride):
            continue
        while axis >= 0 and (covered < elements or target[axis] == 1):
            result[axis] = covered * chunk_stride
            covered *= target[axis]
            axis -= 1
        if covered != elements:
            return None
        if dim:
            chunk_stride = stride[dim - 1]
            elements = covered = 1
    return tuple(result) if axis < 0 else None


def by_strides(base: Sizes, shape: Sizes, stride: Sizes, offset: int) -> tuple[Step, ...]:
    """The steps from a storage of shape `base` to its elements by strides: plain movement where that does, else a gather."""
    if base == shape and not offset and stride == contiguous(shape):
        return ()
    count = _product(shape)
    order = sorted(range(len(shape)), key=lambda axis: (-stride[axis], axis))
    rows = tuple([shape[axis] for axis in order])
    dense = all(
        n == 1 or stride[axis] == step for n, axis, step in zip(rows, order, contiguous(rows))
    )
    if not dense or not count:
        return (Strided(shape, stride, offset),)
    steps: list[Step] = [Reshape((_product(base),))]
    if count != _product(base):
        steps.append(Region((offset,), (1,), (count,)))
    steps.append(Reshape(rows))
    if order != sorted(order):
        inverse = [0] * len(order)
        for position, axis in enumerate(order):
            inverse[axis] = position
        steps.append(Permute(tuple(inverse)))
    return tuple(steps)


# --- the steps


@record
class Undo:
    """Back from a step that loses no element (transpose_, squeeze_, unsqueeze_) to the shape it came from."""

    step: Step
    shape: Sizes

    def apply(self, node: Node) -> Node:
        return self.step.write(constant(0, node.dtype, self.shape, node.place), node)

    def write(self, base: Node, value: Node) -> Node:
        return self.step.apply(value)

    def layout(self, shape: Sizes, stride: Sizes, offset: int) -> tuple[Sizes, int]:
        """Never asked: a view keeps the strides that it was made with."""
        raise NotImplementedError


@record
class Same:
    """The tensor as it lies: alias, x[:]."""

    def apply(self, node: Node) -> Node:
        return node

    def write(self, base: Node, value: Node) -> Node:
        return value

    def layout(self, shape: Sizes, stride: Sizes, offset: int) -> tuple[Sizes, int]:
        return stride, offset


@record
class Reshape:
    """The same elements in another shape: view, unsqueeze, squeeze, flatten."""

    shape: Sizes

    def apply(self, node: Node) -> Node:
        return node.reshape(self.shape)

    def write(self, base: Node, value: Node) -> Node:
        return value.reshape(base.shape)

    def layout(self, shape: Sizes, stride: Sizes, offset: int) -> tuple[Sizes, int]:
        """Raises RuntimeError where no strides show these elements in that shape."""
        found = reshaped(shape, stride, self.shape)
        if found is None:
            raise RuntimeError(
                "view size is not compatible with input tensor's size and stride (at least one dimension spans across "
                "two contiguous subspaces). Use .reshape(...) instead."
            )
        return found, offset


@record
class Insert:
    """A new axis of size 1: unsqueeze. PyTorch gives it the stride of what it steps over."""

    axis: int

    def apply(self, node: Node) -> Node:
        return node.reshape((*node.shape[: self.axis], 1, *node.shape[self.axis :]))

    def write(self, base: Node, value: Node) -> Node:
        return value.reshape(base.shape)

    def layout(self, shape: Sizes, stride: Sizes, offset: int) -> tuple[Sizes, int]:
        axis = self.axis
        step = shape[axis] * stride[axis] if axis < len(shape) else 1
        return (*stride[:axis], step, *stride[axis:]), offset


@record
class Remove:
    """Without axes of size 1: squeeze."""

    axes: tuple[int, ...]

    def apply(self, node: Node) -> Node:
        return node.reshape([n for axis, n in enumerate(node.shape) if axis not in self.axes])

    def write(self, base: Node, value: Node) -> Node:
        return value.reshape(base.shape)

    def layout(self, shape: Sizes, stride: Sizes, offset: int) -> tuple[Sizes, int]:
        return tuple([n for axis, n in enumerate(stride) if axis not in self.axes]), offset


@record
class Permute:
    """The axes in another order: permute, transpose, t."""

    axes: tuple[int, ...]

    def apply(self, node: Node) -> Node:
        return node.permute(self.axes)

    def write(self, base: Node, value: Node) -> Node:
        inverse = [0] * len(self.axes)
        for position, axis in enumerate(self.axes):
            inverse[axis] = position
        return value.permute(inverse)

    def layout(self, shape: Sizes, stride: Sizes, offset: int) -> tuple[Sizes, int]:
        return tuple([stride[axis] for axis in self.axes]), offset


@record
class Expand:
    """Axes of size 1, and new leading axes, repeated without memory. It cannot be written through."""

    shape: Sizes

    def apply(self, node: Node) -> Node:
        return node.expand(self.shape)

    def write(self, base: Node, value: Node) -> Node:
        """The value at the first of the elements that share memory (a writer has checked that there is one)."""
        extra = len(self.shape) - len(base.shape)
        first = shrink(value, (0,) * len(self.shape), (1,) * extra + base.shape)
        return first.reshape(base.shape)

    def layout(self, shape: Sizes, stride: Sizes, offset: int) -> tuple[Sizes, int]:
        extra = len(self.shape) - len(shape)
        if not shape:
            return (0,) * extra, offset
        kept = [
            0 if before != after and before == 1 else step
            for before, after, step in zip(shape, self.shape[extra:], stride)
        ]
        # A new leading axis of size 1 has the stride of a whole, as PyTorch computes it.
        leading: list[int] = []
        for axis in range(extra - 1, -1, -1):
            inner = (self.shape[axis + 1], (leading + kept)[0]) if leading or kept else (1, 1)
            leading.insert(0, inner[0] * inner[1] if self.shape[axis] == 1 else 0)
        return (*leading, *kept), offset


@record
class Region:
    """Every step-th element from a start on, on each axis: narrow, slices."""

    starts: tuple[int, ...]
    steps: tuple[int, ...]
    shape: Sizes

    def apply(self, node: Node) -> Node:
        starts = (
            self.starts if 0 not in self.shape else (0,) * len(self.shape)
        )  # it may start at the end
        return shrink(node, starts, self.shape, self.steps)

    def write(self, base: Node, value: Node) -> Node:
        return update(base, value, self.starts, self.steps) if 0 not in self.shape else base

    def layout(self, shape: Sizes, stride: Sizes, offset: int) -> tuple[Sizes, int]:
        offset += sum(start * step for start, step in zip(self.starts, stride))
        return tuple([a * b for a, b in zip(stride, self.steps)]), offset


@record
class Select:
    """One index of an axis, without the axis: x[3]."""

    axis: int
    index: int

    def _region(self, shape: Sequence[object]) -> tuple[list[int], list[object]]:
        starts = [0] * len(shape)
        starts[self.axis] = self.index
        return starts, [1 if axis == self.axis else size for axis, size in enumerate(shape)]

    def apply(self, node: Node) -> Node:
        starts, shape = self._region(node.shape)
        rest = node.shape[: self.axis] + node.shape[self.axis + 1 :]
        return shrink(node, starts, shape).reshape(rest)  # type: ignore[arg-type]

    def write(self, base: Node, value: Node) -> Node:
        starts, shape = self._region(base.shape)
        return update(base, value.reshape(shape), starts)  # type: ignore[arg-type]

    def layout(self, shape: Sizes, stride: Sizes, offset: int) -> tuple[Sizes, int]:
        axis = self.axis
        return stride[:axis] + stride[axis + 1 :], offset + self.index * stride[axis]


@record
class Diagonal:
    """The diagonal of two axes, as a new last axis."""

    offset: int
    first: int
    second: int

    def _lines(self, rows: int, columns: int) -> tuple[int, int]:
        """Where the diagonal begins in the flattened matrix, and its length."""
        if self.offset >= 0:
            return self.offset, max(min(rows, columns - self.offset), 0)
        return -self.offset * columns, max(min(rows + self.offset, columns), 0)

    def _order(self, rank: int) -> tuple[int, ...]:
        rest = [axis for axis in range(rank) if axis not in (self.first, self.second)]
        return (*rest, self.first, self.second)

    def _flat(self, node: Node) -> tuple[Node, list[int], list[int], Sizes]:
        """The matrices flattened, and the region of them that is the diagonal: starts, steps, shape."""
        moved = node.permute(self._order(len(node.shape)))
        sizes: tuple[int, ...] = moved.shape  # type: ignore[assignment]
        *rest, rows, columns = sizes
        start, length = self._lines(rows, columns)
        flat = moved.reshape((*rest, rows * columns))
        starts = [0] * len(rest) + [start if length else 0]
        return flat, starts, [1] * len(rest) + [columns + 1], (*rest, length)

    def apply(self, node: Node) -> Node:
        flat, starts, steps, shape = self._flat(node)
        return shrink(flat, starts, shape, steps)

    def write(self, base: Node, value: Node) -> Node:
        flat, starts, steps, _ = self._flat(base)
        order = self._order(len(base.shape))
        moved = update(flat, value, starts, steps).reshape([base.shape[axis] for axis in order])
        return Permute(order).write(base, moved)

    def layout(self, shape: Sizes, stride: Sizes, offset: int) -> tuple[Sizes, int]:
        step = stride[self.second if self.offset >= 0 else self.first]
        if self._lines(shape[self.first], shape[self.second])[1]:
            offset += abs(self.offset) * step
        rest = [s for axis, s in enumerate(stride) if axis not in (self.first, self.second)]
        return (*rest, stride[self.first] + stride[self.second]), offset


@record
class Unfold:
    """Sliding windows of `size`, `step` apart, along an axis; what is inside a window is a new last axis."""

    axis: int
    size: int
    step: int

    def apply(self, node: Node) -> Node:
        return window(node, (self.axis,), (self.size,), (self.step,), (1,))

    def write(self, base: Node, value: Node) -> Node:
        """For windows that do not overlap (a writer has checked): what no window covers stays."""
        spread = fold(value, base.shape, (self.axis,), (self.size,), (self.step,), (1,))
        ones = constant(1, base.dtype, value.shape, base.place)
        covered = fold(ones, base.shape, (self.axis,), (self.size,), (self.step,), (1,))
        return where(covered.ne(0), spread, base)

    def layout(self, shape: Sizes, stride: Sizes, offset: int) -> tuple[Sizes, int]:
        axis = self.axis
        inner = stride[axis] if shape else 1
        return (*stride[:axis], inner * self.step, *stride[axis + 1 :], inner), offset


@record
class Bits:
    """The same bits as another dtype of the same width: view(dtype)."""

    dtype: DType

    def apply(self, node: Node) -> Node:
        return node.bitcast(self.dtype)

    def write(self, base: Node, value: Node) -> Node:
        return value.bitcast(base.dtype)

    def layout(self, shape: Sizes, stride: Sizes, offset: int) -> tuple[Sizes, int]:
        return stride, offset


@record
class Strided:
    """Any strides over the storage's elements: as_strided, and memory from outside that is not row-major.

    It is a gather from the flattened storage, so `apply` takes the storage's node, not a view's.
    """

    shape: Sizes
    stride: Sizes
    offset: int

    def _index(self, place: str) -> Node:
        total = constant(self.offset, iota(1).dtype, self.shape, place)
        for axis, (size, step) in enumerate(zip(self.shape, self.stride)):
            line = (1,) * axis + (size,) + (1,) * (len(self.shape) - axis - 1)
            total = total + iota(size, place=place).reshape(line).expand(self.shape) * step
        return total.reshape((_product(self.shape),))

    def apply(self, node: Node) -> Node:
        flat = node.reshape((_product(node.shape),))
        return gather(flat, self._index(node.place), 0).reshape(self.shape)

    def write(self, base: Node, value: Node) -> Node:
        flat = base.reshape((_product(base.shape),))
        values = value.reshape((_product(self.shape),))
        return scatter(flat, self._index(base.place), values, 0, "set").reshape(base.shape)

    def layout(self, shape: Sizes, stride: Sizes, offset: int) -> tuple[Sizes, int]:
        return self.stride, self.offset


def _product(sizes: Sequence[object]) -> int:
    total = 1
    for size in sizes:
        assert isinstance(size, int)
        total *= size
    return total
