"""Views and shapes: view, reshape, transpose, permute, expand, squeeze, narrow, select, diagonal, ...

A view shares its input's storage: writes to either are seen by both. `reshape`, `flatten` and `contiguous` give the view, or the
tensor itself, where PyTorch does, and a copy elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import views
from ..ir.dtype import DType
from ..results import result, tensor_nodes
from ..results import view as record_view
from ..tensor import Tensor
from ..views import Step
from . import arguments
from .arguments import describe_operands, integer, sizes, sizes_text, tensor_text
from .registry import METHODS, function, method

Shape = tuple[int, ...]


def viewed(name: str, input: Tensor, step: Step) -> Tensor:
    """A view of `input` by one movement."""
    return record_view(name, input, step)


def target_shape(name: str, input: Tensor, wanted: Sequence[int]) -> Shape:
    """A shape in which one size may be -1.

    Raises:
        RuntimeError: the number of elements differs; two sizes are -1, or one is less.
    """
    count = input.numel()
    shape = list(wanted)
    inferred = [axis for axis, size in enumerate(shape) if size == -1]
    if len(inferred) > 1:
        raise RuntimeError(f"{name}: only one dimension can be inferred: {sizes_text(wanted)}")
    if any(size < -1 for size in shape):
        bad = next(size for size in shape if size < -1)
        raise RuntimeError(f"{name}: invalid shape dimension {bad}: {sizes_text(wanted)}")
    known = math.prod(size for size in shape if size != -1)
    if inferred:
        if known == 0:
            raise RuntimeError(
                f"{name}: cannot reshape tensor of {count} elements into shape {sizes_text(wanted)} because the "
                f"unspecified dimension size -1 can be any value and is ambiguous"
            )
        if count % known == 0:
            shape[inferred[0]] = count // known
            known = count
    if known != count:
        raise RuntimeError(
            f"{name}: shape '{sizes_text(wanted)}' is invalid for input of size {count}"
            + describe_operands(input=input)
        )
    return tuple(shape)


# --- the same elements in another shape


@function("view", module=False, view=True)
def view(input: Tensor, *shape: Any, dtype: DType | None = None, **named: Any) -> Tensor:
    """The same memory in another shape, one size of which may be -1; or its bits as another dtype of the same width.

    Raises:
        RuntimeError: the number of elements differs; the strides allow no view (use reshape).

    Same as torch.Tensor.view.
    """
    shape = shape or ((named["size"],) if "size" in named else ())
    if shape and isinstance(shape[0], DType):
        dtype = shape[0]
    if dtype is not None:
        if dtype.itemsize != input.dtype.itemsize:
            raise RuntimeError(
                f"view: dtypes of different widths: {input.dtype.name} as {dtype.name}"
            )
        return viewed("ViewBackward0", input, views.Bits(dtype))
    return viewed(
        "ViewBackward0", input, views.Reshape(target_shape("view", input, sizes("view", shape)))
    )


@method("view_as")
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """A view in the shape of another tensor. Same as torch.Tensor.view_as."""
    return view(input, tuple(other.shape))


@function("reshape")
def reshape(input: Tensor, *shape: Any, **named: Any) -> Tensor:
    """The elements in another shape, one size of which may be -1: a view where the strides allow, else a copy.

    Raises:
        RuntimeError: the number of elements differs.

    Same as torch.reshape.
    """
    shape = shape or (named["shape"],)
    target = target_shape("reshape", input, sizes("reshape", shape))
    if views.reshaped(tuple(input.shape), tuple(input.stride()), target) is not None:
        return viewed("ViewBackward0", input, views.Reshape(target))
    return unsafe_view(clone(input), target)


def unsafe_view(input: Tensor, shape: Shape) -> Tensor:
    """A fresh result in another shape, which PyTorch records as UnsafeViewBackward0."""
    (node,) = tensor_nodes(input)
    return result("UnsafeViewBackward0", node.reshape(shape), (input,))


@method("reshape_as")
def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """The elements in the shape of another tensor. Same as torch.Tensor.reshape_as."""
    return reshape(input, tuple(other.shape))


@function("flatten")
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from `start_dim` to `end_dim` as one. Same as torch.flatten.

    Raises:
        RuntimeError: start_dim comes after end_dim.
    """
    rank = input.ndim
    first, last = (
        arguments.axis(start_dim, rank, "flatten"),
        arguments.axis(end_dim, rank, "flatten"),
    )
    if first > last:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if rank == 0:
        return reshape(input, (1,))
    if first == last:
        return input
    shape = tuple(input.shape)
    return reshape(input, (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))


@function("ravel")
def ravel(input: Tensor) -> Tensor:
    """All elements as one axis: a view of what lies row by row, else a copy. Same as torch.ravel."""
    return view(contiguous(input), (input.numel(),))


@function("unflatten")
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis as several. Same as torch.unflatten.

    Raises:
        RuntimeError: the sizes do not multiply to that of the axis.
    """
    axis = arguments.axis(dim, input.ndim, "unflatten")
    shape = tuple(input.shape)
    found = list(sizes)
    if found.count(-1) == 1:
        known = math.prod(size for size in found if size != -1)
        if known and shape[axis] % known == 0:
            found[found.index(-1)] = shape[axis] // known
    if math.prod(found) != shape[axis]:
        raise RuntimeError(
            f"unflatten: Provided sizes {sizes_text(sizes)} don't multiply up to the size of dim {axis} "
            f"({shape[axis]}) in the input tensor" + describe_operands(input=input)
        )
    return view(input, (*shape[:axis], *found, *shape[axis + 1 :]))


@function("squeeze")
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Without the axes of size 1, or without those of `dim` that have size 1.

    Raises:
        IndexError: `dim` is out of range.

    Same as torch.squeeze.
    """
    name = (
        "SqueezeBackward0"
        if dim is None
        else "SqueezeBackward1"
        if isinstance(dim, int)
        else "SqueezeBackward2"
    )
    return viewed(name, input, removal(input, dim))


def removal(input: Tensor, dim: Any) -> Step:
    """The movement of `squeeze`."""
    axes = arguments.axes(dim, input.ndim, "squeeze") if dim != () else ()
    if not input.ndim:
        axes = ()
    return views.Remove(tuple(axis for axis in axes if input.shape[axis] == 1))


@function("unsqueeze", view=True)
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a new axis of size 1 at `dim`. Same as torch.unsqueeze."""
    return viewed("UnsqueezeBackward0", input, insertion(input, dim))


def insertion(input: Tensor, dim: int) -> Step:
    """The movement of `unsqueeze`."""
    return views.Insert(arguments.axis(dim, input.ndim + 1, "unsqueeze"))


# --- the axes in another order


def swap(input: Tensor, dim0: int, dim1: int) -> Step:
    """The movement of `transpose`."""
    rank = input.ndim
    first, second = arguments.axis(dim0, rank, "transpose"), arguments.axis(dim1, rank, "transpose")
    axes = list(range(rank))
    if rank:
        axes[first], axes[second] = axes[second], axes[first]
    return views.Permute(tuple(axes))


@function("transpose", "swapaxes", "swapdims", view=True)
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes swapped. Same as torch.transpose."""
    return viewed("TransposeBackward0", input, swap(input, dim0, dim1))


@function("t")
def t(input: Tensor) -> Tensor:
    """A matrix transposed; a vector or a number as it is.

    Raises:
        RuntimeError: more than two axes.

    Same as torch.t.
    """
    return viewed("TBackward0", input, transposition(input))


def transposition(input: Tensor) -> Step:
    """The movement of `t`."""
    rank = input.ndim
    if rank > 2:
        raise RuntimeError(
            f"t() expects a tensor with <= 2 dimensions, but self is {rank}D"
            + describe_operands(self=input)
        )
    return views.Permute(tuple(reversed(range(rank))))


@function("permute", view=True)
def permute(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """The axes in the order of `dims`.

    Raises:
        RuntimeError: not each axis once.

    Same as torch.permute.
    """
    dims = dims or (named["dims"],)
    order = sizes("permute", dims)
    if len(order) != input.ndim:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {input.ndim} is not equal to len(dims) = {len(order)}"
        )
    axes = tuple(arguments.axis(dim, input.ndim, "permute") for dim in order)
    if len(set(axes)) != len(axes):
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return viewed("PermuteBackward0", input, views.Permute(axes))


@function("movedim", "moveaxis")
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Axes moved to other places, the rest in order. Same as torch.movedim."""
    rank = input.ndim
    before = [
        arguments.axis(d, rank, "movedim")
        for d in (source if isinstance(source, (tuple, list)) else [source])
    ]
    after = [
        arguments.axis(d, rank, "movedim")
        for d in (destination if isinstance(destination, (tuple, list)) else [destination])
    ]
    if len(before) != len(after):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({before}) should contain the same number of dims as "
            f"destination ({after})"
        )
    if len(set(before)) != len(before) or len(set(after)) != len(after):
        raise RuntimeError(f"movedim: repeated dim in source or destination: {before}, {after}")
    moved = dict(zip(after, before, strict=True))
    rest = iter(axis for axis in range(rank) if axis not in before)
    axes = tuple(moved[axis] if axis in moved else next(rest) for axis in range(rank))
    return viewed("PermuteBackward0", input, views.Permute(axes))


def _reversed(input: Tensor) -> Tensor:
    return viewed("PermuteBackward0", input, views.Permute(tuple(reversed(range(input.ndim)))))


def _matrix_transposed(input: Tensor) -> Tensor:
    if input.ndim < 2:
        raise RuntimeError(
            f"tensor.mT is only supported on matrices or batches of matrices. Got {input.ndim}-D tensor."
        )
    return transpose(input, -2, -1)


METHODS["T"] = METHODS["H"] = property(_reversed, doc="The axes in reverse order.")  # type: ignore[assignment]
METHODS["mT"] = METHODS["mH"] = property(_matrix_transposed, doc="The last two axes swapped.")  # type: ignore[assignment]


# --- repeated without memory


@method("expand", view=True)
def expand(input: Tensor, *sizes_: Any, implicit: bool = False, size: Any = None) -> Tensor:
    """Axes of size 1, and new leading axes, repeated without memory; -1 leaves a size as it is.

    Raises:
        RuntimeError: an axis that is not of size 1 would change.

    Same as torch.Tensor.expand.
    """
    wanted = list(sizes("expand", sizes_ if size is None else (size,)))
    shape = tuple(input.shape)
    extra = len(wanted) - len(shape)
    if extra < 0:
        raise RuntimeError(
            f"expand({tensor_text(input)}, size={sizes_text(wanted)}): the number of sizes provided ({len(wanted)}) must "
            f"be greater or equal to the number of dimensions in the tensor ({len(shape)})"
        )
    for axis, target in enumerate(wanted):
        current = shape[axis - extra] if axis >= extra else 1
        if target == -1:
            if axis < extra:
                raise RuntimeError(
                    f"expand: The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension {axis}"
                )
            wanted[axis] = current
        elif target != current and current != 1:
            raise RuntimeError(
                f"expand: The expanded size of the tensor ({target}) must match the existing size ({current}) at "
                f"non-singleton dimension {axis}.  Target sizes: {sizes_text(wanted)}.  Tensor sizes: {sizes_text(shape)}"
                + describe_operands(input=input)
            )
    return viewed("ExpandBackward0", input, views.Expand(tuple(wanted)))


@method("expand_as")
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """Expanded to the shape of another tensor. Same as torch.Tensor.expand_as."""
    return expand(input, tuple(other.shape))


@function("broadcast_to")
def broadcast_to(input: Tensor, *size: Any) -> Tensor:
    """Expanded to `size`. Same as torch.broadcast_to."""
    return expand(input, *size)


@method("sum_to_size")
def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """The sum over those axes that `size` lacks, or has with size 1: what broadcasting from `size` undoes.

    Raises:
        RuntimeError: `size` does not broadcast to the shape.

    As in PyTorch a `size` of no axes is `sum`, which integers and bool leave as int64. Same as torch.Tensor.sum_to_size.
    """
    shape, target = tuple(input.shape), sizes("sum_to_size", size)
    extra = len(shape) - len(target)
    if extra < 0 or any(a != b and a != 1 for a, b in zip(target, shape[extra:], strict=True)):
        raise RuntimeError(
            f"size {{{sizes_text(target)}}} is not expandable to size {{{sizes_text(shape)}}}."
        )
    if not target:
        return input.sum()
    axes = [a for a in range(extra, len(shape)) if target[a - extra] == 1 != shape[a]]
    summed: Tensor = input.sum([*range(extra), *axes], keepdim=True) if extra or axes else input
    return view(summed, target)


@function("broadcast_tensors", method=False)
def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """The tensors expanded to their common shape. Same as torch.broadcast_tensors."""
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    shape = arguments.broadcast_shapes(
        "broadcast_tensors", *(tuple(each.shape) for each in tensors)
    )
    return tuple(expand(each, shape) for each in tensors)


@function("broadcast_shapes", method=False)
def broadcast_shapes(*shapes: Any) -> Any:
    """The shape that tensors of these shapes broadcast to. Same as torch.broadcast_shapes."""
    from ..size import Size

    found = [(each,) if isinstance(each, int) else tuple(each) for each in shapes]
    return Size(arguments.broadcast_shapes("broadcast_shapes", *found))


# --- copies


@function("clone")
def clone(input: Tensor, *, memory_format: object = None) -> Tensor:
    """A copy, through which gradients pass. Same as torch.clone."""
    (node,) = tensor_nodes(input)
    return result("CloneBackward0", node, (input,))


@method("contiguous")
def contiguous(input: Tensor, memory_format: object = None) -> Tensor:
    """The tensor itself if its elements lie row by row, else a copy that does. Same as torch.Tensor.contiguous."""
    return input if input.is_contiguous() else clone(input)


# --- parts


@function("narrow", view=True)
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """`length` elements of an axis from `start` on.

    Raises:
        IndexError, RuntimeError: they are not all there.

    Same as torch.narrow.
    """
    if not input.ndim:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    axis = arguments.axis(dim, input.ndim, "narrow")
    if isinstance(start, Tensor) and (start.ndim or not start.dtype.is_integer):
        raise RuntimeError("narrow: start must be an 0-dim integral Tensor.")
    begin = integer("narrow", "start", start)
    size = int(input.shape[axis])
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -size <= begin <= size:
        raise IndexError(
            f"narrow: start out of range (expected to be in range of [{-size}, {size}], but got {begin})"
        )
    begin += size if begin < 0 else 0
    if begin + length > size:
        raise RuntimeError(
            f"narrow: start ({begin}) + length ({length}) exceeds dimension size ({size})."
        )
    return slice_axis(input, axis, begin, begin + length, 1)


def slice_axis(input: Tensor, axis: int, start: int, stop: int, step: int) -> Tensor:
    """Every step-th element of an axis in [start, stop), which lie inside."""
    return viewed("SliceBackward0", input, slice_step(tuple(input.shape), axis, start, stop, step))


def slice_step(shape: Shape, axis: int, start: int, stop: int, step: int) -> views.Region:
    """The movement of `slice_axis`."""
    count = max(0, -((start - stop) // step))
    starts = tuple(start if a == axis else 0 for a in range(len(shape)))
    steps = tuple(step if a == axis else 1 for a in range(len(shape)))
    return views.Region(
        starts, steps, tuple(count if a == axis else n for a, n in enumerate(shape))
    )


@function("select", view=True)
def select(input: Tensor, dim: int, index: Any) -> Tensor:
    """One index of an axis, without the axis.

    Raises:
        IndexError: it is out of range; a 0-d tensor.

    Same as torch.select.
    """
    if not input.ndim:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    axis = arguments.axis(dim, input.ndim, "select")
    position = integer("select", "index", index)
    size = int(input.shape[axis])
    if not -size <= position < size:
        raise IndexError(
            f"select(): index {position} out of range for tensor of size {sizes_text(input.shape)} at dimension {axis}"
            + describe_operands(self=input)
        )
    return viewed("SelectBackward0", input, views.Select(axis, position % size))


@function("diagonal", view=True)
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two axes, as a new last axis. Same as torch.diagonal."""
    first, second = (
        arguments.axis(dim1, input.ndim, "diagonal"),
        arguments.axis(dim2, input.ndim, "diagonal"),
    )
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return viewed("DiagonalBackward0", input, views.Diagonal(offset, first, second))


@method("unfold", view=True)
def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of `size`, `step` apart, along an axis; what is inside a window is a new last axis. Same as torch.Tensor.unfold."""
    shape = tuple(input.shape)
    axis = arguments.axis(dimension, len(shape), "unfold")
    length = shape[axis] if shape else 1
    if size > length:
        raise RuntimeError(
            f"unfold: maximum size for tensor at dimension {axis} is {length} but size is {size}"
        )
    if step <= 0:
        raise RuntimeError(f"unfold: step is {step} but must be > 0")
    if not shape:  # one window of one element, or an empty one
        window = viewed("UnfoldBackward0", input, views.Insert(0))
        return window if size else slice_axis(window, 0, 0, 0, 1)
    return viewed("UnfoldBackward0", input, views.Unfold(axis, size, step))
