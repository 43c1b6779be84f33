"""How a tensor lies in its memory, said by sizes and strides: as_strided, resize_, set_, empty_strided, ...

In: tensors, sizes, strides, an offset in elements. Out: views of a whole storage, or tensors that have been made to lie otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import views
from ..ir.build import pad, shrink
from ..ir.dtype import DType
from ..ir.node import Node, constant
from ..results import storage_view, view_inplace
from ..runtime.steady import STEADY
from ..storage import Storage
from ..tensor import Tensor, make
from ..views import Strided, View
from .arguments import as_dtype, sizes, sizes_text, type_name
from .creation import dtype_or_default
from .devices import creation_place
from .registry import function, method


def _step(name: str, size: Sequence[int], stride: Sequence[int], offset: int) -> Strided:
    """The movement, and its checks.

    Raises:
        RuntimeError: not as many strides as sizes; something is negative.
    """
    shape, steps = tuple(map(int, size)), tuple(map(int, stride))
    if len(shape) != len(steps):
        raise RuntimeError(
            f"{name}: mismatch in length of strides and shape: {sizes_text(shape)} and {sizes_text(steps)}"
        )
    if any(each < 0 for each in shape):
        raise RuntimeError(f"{name}: sizes must not be negative: {sizes_text(shape)}")
    if any(each < 0 for each in steps):
        raise RuntimeError(
            f"{name}: Negative strides are not supported at the moment, got strides: {sizes_text(steps)}"
        )
    if offset < 0:
        raise RuntimeError(f"{name}: Tensor: invalid storage offset {offset}")
    return Strided(shape, steps, offset)


def _reach(step: Strided) -> int:
    """How many elements a storage must have for a view."""
    if 0 in step.shape:
        return 0
    last = sum((n - 1) * by for n, by in zip(step.shape, step.stride, strict=True))
    return step.offset + last + 1


def _elements(input: Tensor) -> int:
    """How many elements the storage of a tensor has."""
    shape: tuple[int, ...] = input.storage.node.shape  # type: ignore[assignment]
    return math.prod(shape)


def _checked(name: str, input: Tensor, size: Any, stride: Any, storage_offset: int | None) -> Strided:  # fmt: skip
    """The movement that as_strided is, with what there is of memory looked at.

    Raises:
        RuntimeError: see `_step`; an element would lie outside of the storage.
    """
    offset = input.storage_offset() if storage_offset is None else storage_offset
    step = _step(name, size, stride, offset)
    if _reach(step) > _elements(input):
        raise RuntimeError(
            f"{name}: setStorage: sizes {sizes_text(step.shape)}, strides {sizes_text(step.stride)}, storage offset {offset}, and "
            f"itemsize {input.dtype.itemsize} requiring a storage size of {_reach(step) * input.dtype.itemsize} are out of bounds "
            f"for storage of size {_elements(input) * input.dtype.itemsize}"
        )
    return step


@function("as_strided")
def as_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """The elements of the storage that sizes and strides say, a view.

    Args:
        storage_offset: where the first element is; by default that of `input`.

    Raises:
        RuntimeError: not as many strides as sizes; something is negative; an element would lie outside of the storage.

    Same as torch.as_strided.
    """
    step = _checked("as_strided", input, size, stride, storage_offset)
    return storage_view("AsStridedBackward0", input, step)


@function("as_strided_")
def as_strided_(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """Make a tensor lie in its storage as `as_strided` says; no element changes.

    Raises:
        RuntimeError: as `as_strided`; it is a view and requires grad.

    Same as torch.Tensor.as_strided_.
    """
    step = _checked("as_strided_", input, size, stride, storage_offset)
    if input._view is None:
        return view_inplace("AsStridedBackward0", input, step)
    if input.requires_grad:
        raise RuntimeError("as_strided_: a view that requires grad cannot be moved in its storage")
    return _moved(input, step.shape, step.stride, step.offset)


def _moved(tensor: Tensor, shape: tuple[int, ...], stride: tuple[int, ...], offset: int) -> Tensor:
    """The tensor itself, made to show other elements of its storage."""
    STEADY.disturb()
    below: tuple[int, ...] = tensor.storage.node.shape  # type: ignore[assignment]
    path = views.by_strides(below, shape, stride, offset)
    tensor._view = View(None, path, path, shape, stride, offset, "") if path else None
    tensor._size = None
    tensor._node = None
    tensor._counter.version += 1
    return tensor


# --- sizes that change


@method("resize_")
def resize_(self: Tensor, *size: Any, memory_format: Any = None) -> Tensor:
    """Give the tensor another size. Elements stay in the order of memory; new ones are unspecified (0 here).

    A tensor that outgrows its memory gets other memory: what shared the old keeps it.

    Raises:
        RuntimeError: it requires grad; a negative size.

    Same as torch.Tensor.resize_.
    """
    shape = sizes("resize_", size)
    if self.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    if any(each < 0 for each in shape):
        raise RuntimeError(
            f"resize_: requested resize to {sizes_text(shape)} with a negative dimension"
        )
    if shape == tuple(self.shape):
        return self
    count, offset = math.prod(shape), self.storage_offset()
    missing = offset + count - _elements(self) if count else 0
    if missing > 0:
        STEADY.disturb()
        node = self.storage.current()
        flat = node.reshape((_elements(self),))
        flat = shrink(flat, (offset,), (_elements(self) - offset,)) if flat.shape[0] else flat
        self.storage = Storage(pad(flat, (0,), (count - _length(flat),)))
        self._stamp = self.storage.writes
        offset = 0
    return _moved(self, shape, views.contiguous(shape), offset)


def _length(node: Node) -> int:
    (size,) = node.shape
    assert isinstance(size, int)
    return size


@function("resize_as_")
def resize_as_(input: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """Give the tensor the size of another; see `resize_`. Same as torch.Tensor.resize_as_."""
    return resize_(input, tuple(the_template.shape))


@method("set_")
def set_(
    self: Tensor, source: Tensor | None = None, storage_offset: int | None = None, size: Sequence[int] | None = None,
    stride: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """Make the tensor show the memory of `source`, all that it shows or what sizes and strides say; or, without one, nothing.

    Raises:
        RuntimeError: the dtypes differ; an element would lie outside of the storage. TypeError: `source` is no tensor.

    Same as torch.Tensor.set_ of a tensor.
    """
    if source is None:
        source = make_empty(self.dtype, self.place)
    if not isinstance(source, Tensor):
        raise TypeError(
            f"set_(): argument 'source' must be Tensor, not {type(source).__name__}: storages have no class of their own here"
        )
    if source.dtype is not self.dtype:
        raise RuntimeError(
            f"Could not set tensor of type {type_name(source.dtype)} to a tensor of type {type_name(self.dtype)}"
        )
    if size is not None:
        steps = views.contiguous(size) if stride is None else stride
        source = as_strided(source.detach(), size, steps, storage_offset or 0)
    self.data = source
    self._counter.version += 1
    return self


def make_empty(dtype: DType, place: str) -> Tensor:
    """A tensor of shape (0,)."""
    storage = Storage(constant(0, dtype, (0,), place))
    return make(storage, dtype, None, storage)


# --- new memory


def _strided(
    name: str, size: Sequence[int], stride: Sequence[int], dtype: DType, place: str, requires_grad: bool
) -> Tensor:  # fmt: skip
    step = _step(name, size, stride, 0)
    storage = Storage(constant(0, dtype, (_reach(step),), place))
    made = make(storage, dtype, None, storage)
    made = _moved(made, step.shape, step.stride, 0)
    return made.requires_grad_() if requires_grad else made


@function("empty_strided", method=False)
def empty_strided(
    size: Sequence[int], stride: Sequence[int], *, dtype: DType | None = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """A tensor of unspecified contents (zeros here) that lies in its memory by the strides.

    Raises:
        RuntimeError: not as many strides as sizes; something is negative.

    Same as torch.empty_strided.
    """
    found, place = dtype_or_default(dtype), creation_place(device)
    return _strided("empty_strided", size, stride, found, place, requires_grad)


@method("new_empty_strided")
def new_empty_strided(
    self: Tensor, size: Sequence[int], stride: Sequence[int], *, dtype: DType | None = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """As `empty_strided`, with the dtype and device of this tensor. Same as torch.Tensor.new_empty_strided."""
    found = self.dtype if dtype is None else as_dtype(dtype)
    place = self.place if device is None else creation_place(device)
    return _strided("new_empty_strided", size, stride, found, place, requires_grad)


@function("empty_permuted", method=False)
def empty_permuted(
    size: Sequence[int], physical_layout: Sequence[int], *, dtype: DType | None = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """A tensor of unspecified contents (zeros here) whose axes lie in the order that is given, the outermost first.

    Raises:
        RuntimeError: the order names not every axis once.

    Same as torch.empty_permuted.
    """
    order = [int(each) for each in physical_layout]
    if sorted(order) != list(range(len(size))):
        raise RuntimeError(
            f"empty_permuted: Number of dimensions in size does not match the length of the physical_layout, or an axis is not "
            f"there once: {sizes_text(size)} and {order}"
        )
    rows = views.contiguous([size[axis] for axis in order])
    stride = [0] * len(order)
    for position, axis in enumerate(order):
        stride[axis] = rows[position]
    found, place = dtype_or_default(dtype), creation_place(device)
    return _strided("empty_permuted", size, stride, found, place, requires_grad)
