"""x[...] and x[...] = value, by PyTorch's rules.

Integers, slices, None and Ellipsis give views. Integer tensors gather; boolean masks gather where they are true, which needs the
number of true elements now. Assigning through a mask needs no such number: it is a choice, element by element.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import views
from ..ir.build import copy, gather, scan, scatter, shrink
from ..ir.dtype import bool_, int32, int64, uint8
from ..ir.node import Node, constant, iota, where
from ..reading import realize
from ..results import from_node, result, result_inplace, tensor_nodes
from ..tensor import Tensor
from .arguments import (
    as_number,
    broadcast_place,
    broadcast_shapes,
    describe_operands,
    sizes_text,
    type_name,
)
from .casting import convert
from .creation import data_node, leaf, tensor
from .mutation import copy_, fill_
from .registry import METHODS, method
from .shaping import select, slice_axis, unsqueeze, viewed

Shape = tuple[int, ...]


# --- what an index means


def _as_tuple(key: Any) -> tuple[Any, ...]:
    """The parts of an index: a list of parts counts as a tuple, a list of numbers as a tensor."""
    if isinstance(key, tuple):
        return key
    if isinstance(key, list) and len(key) < 32:
        parts = (Tensor, list, tuple, slice, np.ndarray, type(Ellipsis), type(None))
        if any(isinstance(each, parts) for each in key):
            return tuple(key)
    return (key,)


def _part(part: Any) -> Any:
    """A part as None, Ellipsis, bool, int, slice or an index tensor.

    Raises:
        IndexError: it is none of these.
    """
    if part is None or part is Ellipsis or isinstance(part, (bool, int, slice)):
        return part
    if isinstance(part, (list, tuple, np.ndarray)) and not (
        isinstance(part, np.ndarray) and not part.shape
    ):
        part = tensor(part)
        if not part.numel() and part.dtype.kind == "float":
            part = part.long()
    if isinstance(part, Tensor):
        if part.dtype.kind == "float":
            raise IndexError(
                f"tensors used as indices must be long, int, byte or bool tensors, got {type_name(part.dtype)}"
            )
        return part
    if isinstance(part, str):
        raise TypeError("new(): invalid data type 'str'")
    if hasattr(part, "__index__"):
        return int(part.__index__())
    raise IndexError(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got "
        f"{type(part).__name__})"
    )


def _is_mask(part: Any) -> bool:
    return isinstance(part, Tensor) and part.dtype in (bool_, uint8)


def _spent(part: Any) -> int:
    """How many axes a part of an index stands for."""
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    return part.ndim if _is_mask(part) else 1


def _bound(value: Any) -> int | None:
    return (
        None
        if value is None
        else int(value.item() if isinstance(value, Tensor) else value.__index__())
    )


def basic(input: Tensor, parts: Sequence[Any], alone: bool) -> tuple[Tensor, dict[int, Any]]:
    """The view that the integers, slices and None of an index give, and the masks and index tensors left, by its axes.

    Raises:
        IndexError: too many parts; an integer out of range. ValueError: a slice that steps backwards.
    """
    spent = sum(map(_spent, parts))
    if spent > input.ndim:
        if not input.ndim:
            raise IndexError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a "
                "0-dim tensor to a number"
            )
        raise IndexError(
            f"too many indices for tensor of dimension {input.ndim}: {sizes_text(input.shape)}"
            + describe_operands(self=input)
        )
    seen = input
    axis = 0
    left: dict[int, Any] = {}
    rank = input.ndim
    for part in parts:
        if part is Ellipsis:
            axis += rank - spent
        elif part is None:
            seen = unsqueeze(seen, axis)
            axis += 1
        elif isinstance(part, bool):
            seen = unsqueeze(seen, axis)
            left[axis] = leaf(data_node([0] if part else [], int64, input.place))
            axis += 1
        elif isinstance(part, int):
            size = int(seen.shape[axis])
            if not -size <= part < size:
                raise IndexError(
                    f"index {part} is out of bounds for dimension {axis} with size {size}"
                    + describe_operands(self=input)
                )
            seen = viewed("SelectBackward0", seen, views.Select(axis, part % size))
        elif isinstance(part, slice):
            seen = _sliced(seen, axis, part, alone)
            axis += 1
        else:
            left[axis] = _beside(input, part)
            axis += _spent(part)
    return seen, left


def _beside(input: Tensor, part: Tensor) -> Tensor:
    """An index tensor on the device of what is indexed: one of the host is copied there.

    Raises:
        RuntimeError: it is on a third one.
    """
    if part.place in (input.place, "cpu", "interpret"):
        return convert(part, None, input.place)
    raise RuntimeError(
        f"indices should be either on cpu or on the same device as the indexed tensor ({input.place})"
        + describe_operands(self=input, index=part)
    )


def _sliced(input: Tensor, axis: int, part: slice, alone: bool) -> Tensor:
    if not alone and part.start is None and part.stop is None and part.step is None:
        return input
    step = _bound(part.step)
    if step is not None and step <= 0:
        raise ValueError("step must be greater than zero")
    size = int(input.shape[axis])
    start, stop, step = slice(_bound(part.start), _bound(part.stop), step).indices(size)
    if (start, stop, step) == (0, size, 1) and not alone:
        return input
    return slice_axis(input, axis, start, max(start, stop), step)


def _check_mask(mask: Tensor, input: Tensor, axis: int) -> None:
    for offset, size in enumerate(mask.shape):
        if axis + offset >= input.ndim or input.shape[axis + offset] != size:
            raise IndexError(
                f"The shape of the mask {sizes_text(mask.shape)} at index {offset} does not match the shape of the indexed "
                f"tensor {sizes_text(input.shape)} at index {axis + offset}"
                + describe_operands(self=input, mask=mask)
            )


def true_positions(mask: Tensor) -> list[Tensor]:
    """Where a mask is true: one int64 vector for each axis. How many there are has to be read: it is a shape."""
    shape = tuple(mask.shape)
    count = math.prod(shape)
    (flags,) = tensor_nodes(mask.detach())
    flags = (flags if flags.dtype is bool_ else flags.ne(0)).reshape((count,))
    counting = int32 if count < 1 << 31 else int64
    total_node = flags.cast(counting).reduce("add", (0,), counting)
    known, counted = from_node(flags), from_node(total_node.reshape(()))
    realize(known, counted)  # the flags are read again, and are less to read than what they are of
    total = int(counted.item())
    (flags,) = tensor_nodes(known)
    if not total:
        return [leaf(data_node([], int64, mask.place)) for _ in shape]
    # The n-th true element writes its place to n; the others write to one element more, which is cut off.
    order = where(flags, scan(flags.cast(counting), "add", 0).cast(int64) - 1, total)
    base = constant(0, int64, (total + 1,), mask.place)
    flat = shrink(scatter(base, order, iota(count, int64, mask.place), 0, "set"), (0,), (total,))
    found = []
    for axis in range(len(shape)):
        inner = math.prod(shape[axis + 1 :])
        place = flat // inner if inner > 1 else flat
        found.append(from_node(place % shape[axis] if axis else place))
    return found


def _without_masks(input: Tensor, left: dict[int, Any]) -> dict[int, Tensor]:
    """The index tensors by axis, masks replaced by the positions of what is true."""
    indices: dict[int, Tensor] = {}
    for axis, part in left.items():
        if _is_mask(part):
            _check_mask(part, input, axis)
            if not part.ndim:
                raise IndexError("a 0-d mask is only supported as the only index")
            indices.update({axis + i: each for i, each in enumerate(true_positions(part))})
        else:
            indices[axis] = part
    return indices


# --- gathering and scattering at index tensors


class Places:
    """Index tensors on some axes of a node, as one index into those axes flattened.

    The node is seen as (places, rest): the indexed axes first, as one, then all others as one.
    """

    def __init__(self, shape: Shape, indices: dict[int, Tensor]) -> None:
        self.shape = shape
        self.axes = tuple(sorted(indices))
        self.rest = tuple(axis for axis in range(len(shape)) if axis not in indices)
        tensors = [indices[axis] for axis in self.axes]
        try:
            self.index_shape = broadcast_shapes("index", *(tuple(each.shape) for each in tensors))
        except RuntimeError:
            shapes = ", ".join(sizes_text(each.shape) for each in tensors)
            raise IndexError(
                f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
            ) from None
        self.count = math.prod(self.index_shape)
        self.places = math.prod(shape[axis] for axis in self.axes)
        self.width = math.prod(shape[axis] for axis in self.rest)
        self.index = self._linear(tensors).reshape((self.count, 1)).expand((self.count, self.width))
        together = self.axes == tuple(range(self.axes[0], self.axes[0] + len(self.axes)))
        self.position = len([axis for axis in self.rest if axis < self.axes[0]]) if together else 0

    def _linear(self, tensors: list[Tensor]) -> Node:
        """The place of each index; one out of range on any axis is out of range as a whole."""
        linear: Node | None = None
        fine: Node | None = None
        for axis, each in zip(self.axes, tensors, strict=True):
            size = self.shape[axis]
            (node,) = tensor_nodes(each.detach())
            node = node.cast(int64).expand(self.index_shape)
            node = where(node.lt(0), node + size, node)
            if len(tensors) > 1:
                inside = node.ge(0) & node.lt(size)
                fine = inside if fine is None else fine & inside
            linear = node if linear is None else linear * size + node
        assert linear is not None
        return linear if fine is None else where(fine, linear, self.places)

    @property
    def result_shape(self) -> Shape:
        """The shape of what the index selects."""
        rest = [self.shape[axis] for axis in self.rest]
        return (*rest[: self.position], *self.index_shape, *rest[self.position :])

    def flatten(self, node: Node) -> Node:
        return node.permute((*self.axes, *self.rest)).reshape((self.places, self.width))

    def unflatten(self, flat: Node) -> Node:
        order = (*self.axes, *self.rest)
        moved = flat.reshape([self.shape[axis] for axis in order])
        return moved.permute([order.index(axis) for axis in range(len(order))])

    def _order(self) -> tuple[int, ...]:
        """The axes of (index..., rest...) in the order of the result."""
        indexed = len(self.index_shape)
        rest = [indexed + i for i in range(len(self.rest))]
        return (*rest[: self.position], *range(indexed), *rest[self.position :])

    def take(self, node: Node) -> Node:
        """What the index selects."""
        if not self.places and self.count:
            raise IndexError(f"index is out of bounds for dimension {self.axes[0]} with size 0")
        found = gather(self.flatten(node), self.index, 0)
        rest = [self.shape[axis] for axis in self.rest]
        return found.reshape((*self.index_shape, *rest)).permute(self._order())

    def put(self, node: Node, value: Node, kind: str) -> Node:
        """The node with `value`, of the result's shape, put where the index selects."""
        order = self._order()
        flat = value.permute([order.index(axis) for axis in range(len(order))]).reshape(
            (self.count, self.width)
        )
        return self.unflatten(scatter(self.flatten(node), self.index, flat, 0, kind))


@method("__getitem__")
def get_item(input: Tensor, key: Any) -> Tensor:
    """The part of a tensor that an index selects: a view for integers, slices, None and Ellipsis, else a copy.

    Raises:
        IndexError: too many indices; out of range (of index tensors: at the latest when the result is read).

    Same as indexing in PyTorch.
    """
    if type(key) is int and input.ndim:
        size = int(input.shape[0])
        if -size <= key < size:
            return viewed("SelectBackward0", input, views.Select(0, key % size))
    parts = [_part(each) for each in _as_tuple(key)]
    if (
        not input.ndim
        and len(parts) == 1
        and type(parts[0]) is int
        and parts[0] == 0
        and input._extra is not None
        and input._extra.indexable
    ):
        return input.item()  # type: ignore[return-value] # loss.data[0] of the old API
    seen, left = basic(input, parts, len(parts) == 1)
    if not left:
        if seen is input:
            return viewed("AliasBackward0", input, views.Same())
        return seen
    if not seen.ndim:
        mask = parts[0]
        if len(parts) == 1 and isinstance(mask, Tensor) and not mask.ndim and mask.dtype is bool_:
            return get_item(seen.reshape(1), mask.reshape(1))
        raise IndexError("too many indices for tensor of dimension 0")
    return index(seen, _without_masks(seen, left))


def index(input: Tensor, indices: dict[int, Tensor]) -> Tensor:
    """What index tensors select."""
    places = Places(tuple(input.shape), indices)
    (node,) = tensor_nodes(input)
    return result("IndexBackward0", places.take(node), (input,), tuple(indices.values()))


# --- assignment


@method("__setitem__")
def set_item(input: Tensor, key: Any, value: Any) -> None:
    """Replace the part of a tensor that an index selects by `value`, broadcast.

    Raises:
        IndexError: as when reading. RuntimeError: the value does not broadcast.

    Same as assignment to an index in PyTorch.
    """
    parts = [_part(each) for each in _as_tuple(key)]
    seen, left = basic(input, parts, False)
    if not left:
        if isinstance(value, Tensor):
            _copy_into(seen, value)
        elif isinstance(value, (list, tuple, np.ndarray)):
            _copy_into(seen, tensor(value))
        else:
            fill_(seen, tensor(as_number(value), dtype=input.dtype))
        return
    if not isinstance(value, Tensor):
        value = leaf(data_node(value, input.dtype, input.place))
    if value.dtype is not input.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {type_name(input.dtype)} for the destination "
            f"and {type_name(value.dtype)} for the source."
            + describe_operands(destination=input, source=value)
        )
    if len(left) == 1:
        ((axis, part),) = left.items()
        if _is_mask(part):
            _check_mask(part, seen, axis)
            _put_masked(seen, axis, part, value)
            return
    index_put(seen, _without_masks(seen, left), value)


def _copy_into(seen: Tensor, value: Tensor) -> None:
    shape = tuple(value.shape)
    while len(shape) > seen.ndim and shape[0] == 1:  # PyTorch drops leading axes of size 1
        value, shape = select(value, 0, 0), shape[1:]
    try:
        copy_(seen, value)
    except RuntimeError as error:
        if "must match" not in str(error) and "broadcast shape" not in str(error):
            raise
        raise RuntimeError(
            f"The expanded size of the tensor must match the existing size at non-singleton dimensions.  Target sizes: "
            f"{sizes_text(seen.shape)}.  Tensor sizes: {sizes_text(value.shape)}"
            + describe_operands(self=seen, value=value)
        ) from None


def _put_masked(seen: Tensor, axis: int, mask: Tensor, value: Tensor) -> None:
    """A choice between the value and what is there; only a value with one element for each true needs counting."""
    shape = tuple(seen.shape)
    rest = shape[axis + mask.ndim :]
    (choose,) = tensor_nodes(mask.detach())
    choose = choose if choose.dtype is bool_ else choose.ne(0)
    choose = choose.reshape((1,) * axis + tuple(mask.shape) + (1,) * len(rest)).expand(shape)
    node, new = _with_value(seen, value)
    lead = len(shape) - mask.ndim + 1 - value.ndim
    counted = axis - lead  # the value's axis that runs over the true elements
    if value.ndim and 0 <= counted < value.ndim and value.shape[counted] != 1:
        new = _spread_over_mask(mask, axis, shape, value, new)
    elif 0 <= counted < value.ndim:
        dims = tuple(value.shape)
        new = new.reshape((*dims[:counted], *(1,) * mask.ndim, *dims[counted + 1 :])).expand(shape)
    else:
        new = new.expand(shape)
    made = (
        where(choose, new, node) if node.dtype is not bool_ else (choose & new) | (~choose & node)
    )
    result_inplace("IndexPutBackward0", seen, made, (seen, value), (mask,))


def _with_value(input: Tensor, value: Tensor) -> tuple[Node, Node]:
    """The nodes of a tensor and of what is put into it, on its device.

    Raises:
        RuntimeError: the value is on another one, and more than a number of the host.
    """
    broadcast_place("index_put", [input, value])
    node, new = tensor_nodes(input, value)
    return node, copy(new, node.place)


def _spread_over_mask(mask: Tensor, axis: int, shape: Shape, value: Tensor, new: Node) -> Node:
    """The value's elements at the true places: the n-th true element of the mask reads the n-th."""
    from .reductions import count_nonzero

    total = int(count_nonzero(mask).item())
    target = (*shape[:axis], total, *shape[axis + mask.ndim :])
    try:
        if broadcast_shapes("index_put", target, tuple(value.shape)) != target:
            raise RuntimeError("")
    except RuntimeError:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {sizes_text(value.shape)} cannot be broadcast to indexing result of shape "
            f"{sizes_text(target)}" + describe_operands(value=value, mask=mask)
        ) from None
    (flags,) = tensor_nodes(mask.detach())
    flags = flags if flags.dtype is bool_ else flags.ne(0)
    count = math.prod(mask.shape)
    order = scan(flags.reshape((count,)).cast(int64), "add", 0) - 1
    order = where(order.lt(0), 0, order)
    flat = (*shape[:axis], count, *shape[axis + mask.ndim :])
    lines = order.reshape((1,) * axis + (count,) + (1,) * (len(flat) - axis - 1)).expand(flat)
    if not total:
        return constant(0, new.dtype, shape, new.place)
    return gather(new.expand(target), lines, axis).reshape(shape)


def index_put(
    input: Tensor, indices: dict[int, Tensor], value: Tensor, accumulate: bool = False
) -> Tensor:
    """Put `value`, broadcast, where index tensors select; or add it if `accumulate`."""
    node, made = put_node(input, indices, value, accumulate)
    del node
    return result_inplace("IndexPutBackward0", input, made, (input, value), tuple(indices.values()))


def put_node(
    input: Tensor, indices: dict[int, Tensor], value: Tensor, accumulate: bool
) -> tuple[Node, Node]:
    """The input's node, and that with `value` put where the indices select."""
    places = Places(tuple(input.shape), indices)
    target = places.result_shape
    try:
        fits = broadcast_shapes("index_put", target, tuple(value.shape)) == target
    except RuntimeError:
        fits = False
    if not fits:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {sizes_text(value.shape)} cannot be broadcast to indexing result of shape "
            f"{sizes_text(target)}" + describe_operands(self=input, value=value)
        )
    node, new = _with_value(input, value)
    return node, places.put(node, new.expand(target), "add" if accumulate else "set")


def _by_axis(indices: Sequence[Any], input: Tensor) -> dict[int, Tensor]:
    left: dict[int, Any] = {}
    axis = 0
    for each in indices:
        if each is not None:
            left[axis] = _beside(input, _part(each))
        axis += 1 if each is None else _spent(left[axis])
    return _without_masks(input, left)


@method("index_put_")
def index_put_(
    input: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False
) -> Tensor:
    """Put values where a tuple of index tensors selects, or add them. Same as torch.Tensor.index_put_."""
    return index_put(input, _by_axis(indices, input), values, accumulate)


@method("index_put")
def index_put_copy(
    input: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False
) -> Tensor:
    """As `index_put_`, on a copy. Same as torch.Tensor.index_put."""
    _, made = put_node(input, _by_axis(indices, input), values, accumulate)
    return result("IndexPutBackward0", made, (input, values))


METHODS["__contains__"] = lambda self, element: bool((self == element).any().item())
