"""Positions: of elements counted row by row as indices of each axis, and of what is not zero, as many as are asked for.

In: integer tensors, or any tensor. Out: int64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.build import gather, pad
from ..ir.dtype import bool_, int64
from ..ir.node import Node, iota, where
from ..results import from_node, tensor_nodes
from ..tensor import Tensor
from .arguments import describe_operands, integer, type_name
from .registry import function


@function("unravel_index", method=False)
def unravel_index(indices: Tensor, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """The index on each axis of elements that are counted row by row in a tensor of `shape`.

    Raises:
        ValueError: a negative size. TypeError: indices that are no integers; another `shape`.

    Same as torch.unravel_index, which does not look at values either.
    """
    if indices.dtype.kind == "float" or indices.dtype is bool_:
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    if not isinstance(shape, (int, Sequence)):
        raise TypeError(f"expected 'shape' to be int or sequence of ints, but got {type(shape)}")
    sizes = (shape,) if isinstance(shape, int) else tuple([int(each) for each in shape])
    if any(size < 0 for size in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {tuple(sizes)}")
    (node,) = tensor_nodes(indices)
    node = node.cast(int64)
    found: list[Tensor] = []
    for size in reversed(sizes):
        found.append(from_node(node % size if size else node))
        node = node // size if size else node
    return tuple(reversed(found))


@function("nonzero_static", out=True)
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The indices of the first `size` elements that are not zero, (size, axes); rows of `fill_value` where there are fewer.

    Nothing is read: the shape is known.

    Raises:
        RuntimeError: a negative size.

    Same as torch.nonzero_static.
    """
    count = integer("nonzero_static", "size", size)
    if count < 0:
        raise RuntimeError(
            f"nonzero_static: 'size' must be an non-negative integer, got {type_name(int64)} {count}"
            + describe_operands(input=input)
        )
    (node,) = tensor_nodes(input.detach())
    total = input.numel()
    flags = node.reshape((total,))
    flags = flags if flags.dtype is bool_ else flags.ne(0)
    places = _first(flags, count)
    columns: list[Any] = []
    left = places
    for extent in reversed([int(n) for n in input.shape]):
        columns.append(where(places.lt(0), fill_value, left % max(extent, 1)))
        left = left // max(extent, 1)
    if not columns:
        return from_node(places.reshape((count, 1)).cast(int64)).narrow(1, 0, 0)
    from .joining import joined

    return from_node(joined([each.reshape((count, 1)) for each in reversed(columns)], 1))


def _first(flags: Node, count: int) -> Node:
    """Where the first `count` flags are that are set; -1 where there are fewer."""
    from .sorting import ordering

    (total,) = flags.shape
    assert isinstance(total, int)
    kept = min(count, total)
    if not kept:
        return iota(count, place=flags.place) * 0 - 1
    order = ordering(~flags, 0, False, 0, kept)
    found = where(gather(flags, order, 0), order, -1)
    return pad(found, (0,), (count - kept,), value=-1) if kept < count else found
