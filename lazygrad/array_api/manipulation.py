"""Functions that move and pick elements, with the standard's arguments."""

from __future__ import annotations

from typing import Any

import lazygrad as lg

from ..tensor import Tensor
from .data_types import together


def broadcast_arrays(*arrays: Tensor) -> tuple[Tensor, ...]:
    return tuple(lg.broadcast_tensors(*arrays))


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(lg.broadcast_shapes(*shapes))


def broadcast_to(x: Tensor, /, shape: tuple[int, ...]) -> Tensor:
    return lg.broadcast_to(x, shape)


def concat(arrays: Any, /, *, axis: int | None = 0) -> Tensor:
    """Arrays one behind the other along an axis; None flattens them first."""
    if axis is None:
        return lg.cat([each.flatten() for each in together(*arrays)])
    return lg.cat(together(*arrays), axis)


def stack(arrays: Any, /, *, axis: int = 0) -> Tensor:
    return lg.stack(together(*arrays), axis)


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    return tuple(lg.unbind(x, axis))


def expand_dims(x: Tensor, /, axis: int = 0) -> Tensor:
    return lg.unsqueeze(x, axis)


def squeeze(x: Tensor, /, axis: Any) -> Tensor:
    """Without axes of size 1.

    Raises:
        ValueError: an axis has another size.
    """
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    for each in axes:
        if x.shape[each] != 1:
            raise ValueError(f"squeeze: axis {each} has size {x.shape[each]}, not 1")
    return lg.squeeze(x, axes)


def flip(x: Tensor, /, *, axis: Any = None) -> Tensor:
    return lg.flip(x, _axes(x, axis))


def roll(x: Tensor, /, shift: Any, *, axis: Any = None) -> Tensor:
    """Elements moved along axes; what falls out at one end comes in at the other."""
    return lg.roll(x, shift, axis)


def moveaxis(x: Tensor, source: Any, destination: Any, /) -> Tensor:
    return lg.movedim(x, source, destination)


def permute_dims(x: Tensor, /, axes: tuple[int, ...]) -> Tensor:
    return lg.permute(x, axes)


def reshape(x: Tensor, /, shape: tuple[int, ...], *, copy: Any = None) -> Tensor:
    """The same elements in another shape; True copies, False refuses to.

    Raises:
        ValueError: `copy=False`, and the elements do not lie so.
    """
    if copy:
        return lg.reshape(x.clone(), shape)
    if copy is False:
        try:
            return x.view(shape)
        except RuntimeError as error:
            raise ValueError(str(error)) from None
    return lg.reshape(x, shape)


def repeat(x: Tensor, repeats: Any, /, *, axis: int | None = None) -> Tensor:
    return lg.repeat_interleave(x, repeats, dim=axis)


def tile(x: Tensor, repetitions: tuple[int, ...], /) -> Tensor:
    return lg.tile(x, repetitions)


def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """The elements at some indices of an axis, which may be left out for a vector; negative ones count from the end."""
    axis = 0 if axis is None and x.ndim == 1 else axis
    if axis is None:
        raise ValueError("take: axis is needed for more than one axis")
    size = x.shape[axis]
    return lg.index_select(x, axis, lg.where(indices < 0, indices + size, indices))


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    size = x.shape[axis]
    return lg.take_along_dim(x, lg.where(indices < 0, indices + size, indices), axis)


def _axes(x: Tensor, axis: Any) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(x.ndim))
    return (axis,) if isinstance(axis, int) else tuple(axis)
