"""Tensors put together, taken apart and rearranged: cat, stack, split, unbind, repeat, flip, roll, meshgrid, ..."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import views
from ..ir.build import shrink, update
from ..ir.dtype import int64
from ..ir.node import Node, constant
from ..results import result, result_seen, tensor_nodes
from ..results import views as record_views
from ..tensor import Tensor
from . import arguments
from .arguments import (
    common_place,
    describe_operands,
    integer,
    result_type,
    sizes,
    sizes_text,
)
from .registry import function, method
from .shaping import expand, slice_axis, slice_step, unsqueeze, view

# --- together


def joined(nodes: Sequence[Node], axis: int) -> Node:
    """The nodes one after the other along an axis: each written to its region."""
    if len(nodes) == 1:
        return nodes[0]
    first = nodes[0]
    lengths: list[int] = [int(node.shape[axis]) for node in nodes]  # type: ignore[arg-type]
    total = sum(lengths)
    shape = tuple(total if a == axis else n for a, n in enumerate(first.shape))
    made = constant(0, first.dtype, shape, first.place)
    start = 0
    for node in nodes:
        size = int(node.shape[axis])  # type: ignore[arg-type]
        if size:
            made = update(made, node, tuple(start if a == axis else 0 for a in range(len(shape))))
        start += size
    return made


def require_list(name: str, tensors: Any) -> list[Tensor]:
    """The tensors of a list that must not be empty."""
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(
            f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not {type(tensors).__name__}"
        )
    if not tensors:
        raise RuntimeError(f"{name}(): expected a non-empty list of Tensors")
    for position, each in enumerate(tensors):
        if not isinstance(each, Tensor):
            raise TypeError(
                f"{name}(): expected Tensor as element {position} in argument 0, but got {type(each).__name__}"
            )
    return list(tensors)


@function("cat", "concat", "concatenate", method=False, out=True)
def cat(tensors: Any, dim: int = 0, *, axis: int | None = None) -> Tensor:
    """The tensors one after the other along `dim`.

    Args:
        tensors: of one shape but along `dim`; tensors of shape (0,) are left out.

    Raises:
        RuntimeError: the other sizes differ; the list is empty (ValueError in PyTorch's newest, RuntimeError before).

    Same as torch.cat.
    """
    if isinstance(tensors, (tuple, list)) and not tensors:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    given = require_list("cat", tensors)
    kept = [each for each in given if tuple(each.shape) != (0,)] or given[:1]
    first = kept[0]
    along = arguments.axis(dim if axis is None else axis, first.ndim, "cat")
    if not first.ndim:
        raise RuntimeError("zero-dimensional tensor (at position 0) cannot be concatenated")
    for position, each in enumerate(kept):
        if each.ndim != first.ndim:
            raise RuntimeError(
                f"cat: Tensors must have same number of dimensions: got {first.ndim} and {each.ndim}"
                + describe_operands(tensor=given)
            )
        for a, (expected, size) in enumerate(zip(first.shape, each.shape, strict=True)):
            if a != along and expected != size:
                raise RuntimeError(
                    f"cat: Sizes of tensors must match except in dimension {along}. Expected size {expected} but got size "
                    f"{size} for tensor number {position} in the list."
                    + describe_operands(tensor=given)
                )
    dtype = result_type(*given)
    common_place("cat", given)
    nodes = [node.cast(dtype) for node in tensor_nodes(*kept)]
    made = joined(nodes, along)
    return result("CatBackward0", made, tuple(given))


@function("stack", method=False, out=True)
def stack(tensors: Any, dim: int = 0) -> Tensor:
    """Tensors of one shape along a new axis.

    Raises:
        RuntimeError: the shapes differ; the list is empty.

    Same as torch.stack.
    """
    given = require_list("stack", tensors)
    first = tuple(given[0].shape)
    for position, each in enumerate(given):
        if tuple(each.shape) != first:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {sizes_text(first)} at entry 0 and "
                f"{sizes_text(each.shape)} at entry {position}" + describe_operands(tensor=given)
            )
    axis = arguments.axis(dim, len(first) + 1, "stack")
    dtype = result_type(*given)
    common_place("stack", given)
    nodes = [node.cast(dtype) for node in tensor_nodes(*given)]
    if axis < len(first):  # one after the other, along an axis that there is
        made = joined(nodes, axis).reshape((*first[:axis], len(given), *first[axis:]))
    else:
        made = joined([node.reshape((*first, 1)) for node in nodes], axis)
    return result("StackBackward0", made, tuple(given))


@function("meshgrid", method=False)
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """The coordinates of a grid, one tensor an axis. Same as torch.meshgrid.

    Args:
        indexing: "ij", or "xy" to swap the first two axes.
    """
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy"):
        raise RuntimeError(
            f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}'
        )
    given = list(tensors)
    swap = indexing == "xy" and len(given) >= 2
    if swap:
        given[0], given[1] = given[1], given[0]
    shape = tuple(each.numel() for each in given)
    rank = len(shape)
    grids = []
    for axis, each in enumerate(given):
        line = tuple(shape[axis] if a == axis else 1 for a in range(rank))
        grids.append(expand(view(each, line), shape))
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


# --- apart


def views_of(name: str, input: Tensor, steps: Sequence[views.Step]) -> tuple[Tensor, ...]:
    """Several views of a tensor, as the outputs of one record."""
    (node,) = tensor_nodes(input)
    return record_views(name, input, [(step.apply(node), step) for step in steps])


def _parts(name: str, input: Tensor, axis: int, lengths: Sequence[int]) -> tuple[Tensor, ...]:
    """Consecutive parts of an axis, as the outputs of one record."""
    steps = []
    start = 0
    for length in lengths:
        steps.append(slice_step(tuple(input.shape), axis, start, start + length, 1))
        start += length
    return views_of(name, input, steps)


@function("split")
def split(
    input: Tensor, split_size_or_sections: Any = None, dim: int = 0, **named: Any
) -> tuple[Tensor, ...]:
    """Parts of an axis: of one size, the last perhaps smaller, or of the sizes listed.

    Raises:
        RuntimeError: the sizes listed do not sum to that of the axis.

    Same as torch.split.
    """
    if split_size_or_sections is None:
        split_size_or_sections = named["split_size"]
    if isinstance(split_size_or_sections, (tuple, list)):
        return split_with_sizes(input, split_size_or_sections, dim)
    axis = arguments.axis(dim, input.ndim, "split")
    if not input.ndim:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    size, total = integer("split", "split_size", split_size_or_sections), int(input.shape[axis])
    if size < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
    if size == 0:
        if total:
            raise RuntimeError(
                f"split_size can only be 0 if dimension size is 0, but got dimension size of {total}"
            )
        return _parts("SplitBackward0", input, axis, [0])
    return _parts(
        "SplitBackward0",
        input,
        axis,
        [min(size, total - at) for at in range(0, total, size)] or [0],
    )


@function("split_with_sizes")
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of an axis of the sizes listed; see `split`. Same as torch.split_with_sizes."""
    axis = arguments.axis(dim, input.ndim, "split_with_sizes")
    lengths = list(split_sizes)
    if any(length < 0 for length in lengths):
        raise RuntimeError(
            f"split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes={lengths}"
        )
    if sum(lengths) != input.shape[axis]:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {input.shape[axis]} (input tensor's size at dimension "
            f"{axis}), but got split_sizes={lengths}"
        )
    return _parts("SplitWithSizesBackward0", input, axis, lengths)


@function("chunk")
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` parts of one size, the last perhaps smaller. Same as torch.chunk."""
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    if not input.ndim:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    axis = arguments.axis(dim, input.ndim, "chunk")
    total = int(input.shape[axis])
    if total == 0:
        return split_with_sizes(input, [0] * chunks, axis)
    return split(input, -(-total // chunks), axis)


@function("tensor_split")
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """As many nearly equal parts as asked, or parts between the indices listed. Same as torch.tensor_split."""
    axis = arguments.axis(dim, input.ndim, "tensor_split")
    total = int(input.shape[axis])
    if isinstance(indices_or_sections, Tensor):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        if indices_or_sections <= 0:
            raise RuntimeError(
                f"number of sections must be larger than 0, got {indices_or_sections}"
            )
        size, extra = divmod(total, indices_or_sections)
        ends = [size * (i + 1) + min(i + 1, extra) for i in range(indices_or_sections - 1)]
    else:
        ends = [int(i) for i in indices_or_sections]
    bounds = [
        slice(a, b).indices(total)[:2] for a, b in zip([0, *ends], [*ends, total], strict=True)
    ]
    return tuple(slice_axis(input, axis, a, max(a, b), 1) for a, b in bounds)


@function("unbind")
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices of an axis, without it. Same as torch.unbind."""
    if not input.ndim:
        raise IndexError("unbind: Dimension specified as 0 but tensor has no dimensions")
    axis = arguments.axis(dim, input.ndim, "unbind")
    return views_of(
        "UnbindBackward0", input, [views.Select(axis, i) for i in range(int(input.shape[axis]))]
    )


# --- repeated


def repeated(node: Node, counts: Sequence[int]) -> Node:
    """The node `counts` times along each axis; new leading axes come first."""
    extra = len(counts) - len(node.shape)
    shape = (1,) * extra + node.shape
    doubled = [each for pair in zip((1,) * len(shape), shape, strict=True) for each in pair]
    wide = [each for pair in zip(counts, shape, strict=True) for each in pair]
    merged = [count * size for count, size in zip(counts, shape, strict=True)]
    return node.reshape(doubled).expand(wide).reshape(merged)


@method("repeat")
def repeat(input: Tensor, *repeats: Any, **named: Any) -> Tensor:
    """The tensor copied several times along each axis.

    Raises:
        RuntimeError: fewer counts than axes; a negative count.

    Same as torch.Tensor.repeat.
    """
    counts = sizes("repeat", repeats or (named["repeats"],))
    if len(counts) < input.ndim:
        raise RuntimeError(
            "repeat: Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor"
        )
    if any(count < 0 for count in counts):
        raise RuntimeError(
            f"repeat: Trying to create tensor with negative dimension: {list(counts)}"
        )
    (node,) = tensor_nodes(input)
    return result("RepeatBackward0", repeated(node, counts), (input,))


@function("tile")
def tile(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """As `repeat`; missing counts are 1. Same as torch.tile."""
    counts = sizes("tile", dims or ((named["dims"],) if "dims" in named else ()))
    return repeat(input, (1,) * (input.ndim - len(counts)) + counts)


@function("repeat_interleave")
def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each element of an axis, or of the flattened tensor, `repeats` times in a row. Same as torch.repeat_interleave.

    Args:
        repeats: a number, or an integer tensor with a number for each element, which is read now; without it the input is that
            tensor, and the result says which element each repetition is of.

    Raises:
        RuntimeError: a negative count; not as many counts as elements.
    """
    from .shaping import clone, flatten

    if repeats is None:
        return _which("repeat_interleave", input)
    if dim is None:
        input, dim = flatten(input), 0
    axis = arguments.axis(dim, input.ndim, "repeat_interleave")
    if isinstance(repeats, Tensor) and repeats.numel() != 1:
        from .gathering import index_select

        if repeats.numel() != (input.shape[axis] if input.ndim else 1):
            raise RuntimeError(
                "repeat_interleave: repeats must have the same size as input along dim, but got repeats.size(0) = "
                f"{repeats.numel()} and input.size({axis}) = {input.shape[axis]}"
            )
        return index_select(input, axis, _which("repeat_interleave", repeats))
    count = integer("repeat_interleave", "repeats", repeats)
    if count < 0:
        raise RuntimeError("repeat_interleave: repeats must be non-negative")
    shape = tuple(input.shape)
    wide = (*shape[: axis + 1], count, *shape[axis + 1 :])
    spread = expand(unsqueeze(input, axis + 1), wide)
    return view(clone(spread), (*shape[:axis], shape[axis] * count, *shape[axis + 1 :]))


def _which(name: str, repeats: Tensor) -> Tensor:
    """Each position as often as `repeats` says there, which is read now."""
    from .creation import tensor

    if repeats.ndim != 1 or not repeats.dtype.is_integer:
        raise RuntimeError(f"{name}: repeats must be 0-dim or 1-dim tensor of Long or Int")
    counts = repeats.tolist()
    if any(count < 0 for count in counts):
        raise RuntimeError(f"{name}: repeats can not be negative")
    positions = [position for position, count in enumerate(counts) for _ in range(count)]
    return tensor(positions, dtype=int64, device=repeats.device)


# --- rearranged


@function("flip")
def flip(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """Axes backwards, as a copy whose axes lie in the order of the input's.

    Raises:
        RuntimeError: an axis twice.

    Same as torch.flip.
    """
    wanted = sizes("flip", dims or (named["dims"],))
    axes = arguments.axes(wanted, input.ndim, "flip") if wanted else ()
    return _flipped("FlipBackward0", input, axes, range(input.ndim))


def _flipped(name: str, input: Tensor, axes: Sequence[int], shown: Sequence[int]) -> Tensor:
    """Axes backwards, in memory that lies as the input does, seen with its axes in the order `shown`."""
    (node,) = tensor_nodes(input)
    order = _order_in_memory(input)
    seen = tuple([order.index(axis) for axis in shown])
    flipped = node.permute(order).flip([order.index(axis) for axis in axes])
    if seen == tuple(range(input.ndim)):
        return result(name, flipped, (input,))
    return result_seen(name, flipped, views.Permute(seen), (input,))


def _order_in_memory(input: Tensor) -> list[int]:
    """The axes by their strides, the largest first: the order that PyTorch keeps in copies. An expanded axis passes none by itself."""
    strides, shape = input.stride(), input.shape
    inner_first = list(reversed(range(input.ndim)))
    for number in range(1, input.ndim):
        at = number
        for below in reversed(range(number)):
            inner, outer = inner_first[below], inner_first[at]
            if not strides[inner] or not strides[outer]:
                continue
            if strides[inner] < strides[outer]:
                break
            if strides[inner] > strides[outer] or shape[inner] > shape[outer]:
                inner_first[below], inner_first[at] = outer, inner
                at = below
    return inner_first[::-1]


@function("fliplr")
def fliplr(input: Tensor) -> Tensor:
    """The second axis backwards. Same as torch.fliplr.

    Raises:
        RuntimeError: fewer than 2 axes.
    """
    if input.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, (1,))


@function("flipud")
def flipud(input: Tensor) -> Tensor:
    """The first axis backwards. Same as torch.flipud.

    Raises:
        RuntimeError: no axis.
    """
    if not input.ndim:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, (0,))


@function("roll")
def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Elements moved along axes, those pushed out coming in at the other end; without `dims` in the flattened tensor.

    Raises:
        RuntimeError: not one shift for each axis.

    Same as torch.roll.
    """
    amounts = list(shifts) if isinstance(shifts, (tuple, list)) else [shifts]
    axes = (
        []
        if dims is None or dims == ()
        else list(dims)
        if isinstance(dims, (tuple, list))
        else [dims]
    )
    (node,) = tensor_nodes(input)
    shape = node.shape
    if not axes:
        if len(amounts) != 1:
            raise RuntimeError(
                f"roll: shifts and dimensions must align. shifts: {len(amounts)}, dims:{len(axes)}"
            )
        moved = _rolled(node.reshape((input.numel(),)), amounts[0], 0).reshape(shape)
    else:
        if len(amounts) != len(axes):
            raise RuntimeError(
                f"roll: shifts and dimensions must align. shifts: {len(amounts)}, dims:{len(axes)}"
            )
        moved = node
        for amount, dim in zip(amounts, axes, strict=True):
            moved = _rolled(moved, amount, arguments.axis(dim, input.ndim, "roll"))
    return result("RollBackward0", moved, (input,))


def _rolled(node: Node, amount: int, axis: int) -> Node:
    size = int(node.shape[axis])  # type: ignore[arg-type]
    amount = amount % size if size else 0
    if not amount:
        return node
    rank = len(node.shape)

    def part(start: int, length: int) -> Node:
        shape = tuple(length if a == axis else n for a, n in enumerate(node.shape))
        return shrink(node, tuple(start if a == axis else 0 for a in range(rank)), shape)

    return joined([part(size - amount, amount), part(0, size - amount)], axis)


@function("rot90")
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by k quarter turns in the plane of two axes. Same as torch.rot90.

    Raises:
        RuntimeError: not two different axes.
    """
    planes = dims if isinstance(dims, (tuple, list)) else (dims,)
    if len(planes) != 2:
        raise RuntimeError(
            f"rot90: expected total rotation dims == 2, but got dims = {len(planes)}"
        )
    if input.ndim < 2:
        raise RuntimeError(f"rot90: expected total dims >= 2, but got total dims = {input.ndim}")
    if planes[0] == planes[1] or abs(planes[0] - planes[1]) == input.ndim:
        raise RuntimeError(
            f"rot90: expected rotation dims to be different, but got dim0 = {planes[0]} and dim1 = {planes[1]}"
        )
    first, second = (arguments.axis(dim, input.ndim, "rot90") for dim in dims)
    turns = k % 4
    if not turns:
        (node,) = tensor_nodes(input)
        return result("Rot90Backward0", node, (input,))
    shown = list(range(input.ndim))
    if turns == 2:
        return _flipped("Rot90Backward0", input, (first, second), shown)
    shown[first], shown[second] = second, first  # as PyTorch's: flipped in memory, seen transposed
    return _flipped("Rot90Backward0", input, (second if turns == 1 else first,), shown)
