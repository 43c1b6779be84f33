"""Elements chosen by index or by condition: where, masked_fill, gather, scatter, index_select, take, ..."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

from ..ir.build import copy, scan, shrink, update
from ..ir.build import gather as gather_node
from ..ir.build import scatter as scatter_node
from ..ir.dtype import bool_, int32, int64, uint8
from ..ir.node import Node, constant
from ..ir.node import where as where_node
from ..results import from_node, result, tensor_nodes
from ..tensor import Tensor
from . import arguments
from .arguments import (
    Operand,
    as_number,
    broadcast_place,
    broadcast_shapes,
    describe_operands,
    result_type,
    sizes_text,
    type_name,
)
from .arithmetic import as_input, operand
from .indexing import Places, true_positions
from .registry import Outcome, function, method, operator


def choose(condition: Node, left: Node, right: Node) -> Node:
    """WHERE of any dtype."""
    if left.dtype is bool_:
        return (condition & left) | (~condition & right)
    return where_node(condition, left, right)


# --- by condition


@function("where", method=False, out=True)
def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """`input` where the condition holds, else `other`; with the condition alone the places where it does.

    Args:
        condition: bool; input, other: tensors or numbers, all of shapes that broadcast.

    Raises:
        RuntimeError: the condition is not bool; the shapes do not broadcast.

    Same as torch.where.
    """
    if input is None and other is None:
        return tuple(true_positions(condition))
    return _where(condition, operand(input), operand(other))


def _where(condition: Tensor, left: Operand, right: Operand) -> Tensor:
    if condition.dtype not in (bool_, uint8):
        raise RuntimeError(
            f"where expected condition to be a boolean tensor, but got a tensor with dtype {type_name(condition.dtype)}"
            + describe_operands(condition=condition)
        )
    dtype = result_type(left, right)
    tensors = [each for each in (condition, left, right) if isinstance(each, Tensor)]
    shape = arguments.broadcast_shape_of("where", *tensors)
    place = broadcast_place("where", tensors)
    (flags,) = tensor_nodes(condition.detach())
    flags = copy(flags if flags.dtype is bool_ else flags.ne(0), place).expand(shape)
    found = iter(tensor_nodes(*tensors[1:]))
    nodes = [
        copy(next(found), place).cast(dtype).expand(shape)
        if isinstance(each, Tensor)
        else constant(each, dtype, shape, place)
        for each in (left, right)
    ]
    return result(
        "WhereBackward0", choose(flags, *nodes), (as_input(left), as_input(right)), ("condition",)
    )


@method("where")
def where_method(input: Tensor, condition: Tensor, other: Operand) -> Tensor:
    """This tensor where the condition holds, else `other`. Same as torch.Tensor.where."""
    return _where(condition, input, operand(other))


@operator("masked_fill", inplace=True)
def masked_fill(input: Tensor, mask: Tensor, value: Operand) -> Outcome:
    """`value` where the mask holds, else input.

    Args:
        mask: bool, broadcasts with input; value: a number or a 0-d tensor.

    Raises:
        RuntimeError: the mask is not bool; `value` has dimensions.

    Same as torch.masked_fill.
    """
    value = operand(value)
    if mask.dtype is not bool_:
        raise RuntimeError(
            f"masked_fill_ only supports boolean masks, but got mask with dtype {mask.dtype.name}"
            + describe_operands(mask=mask)
        )
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError(
            f"masked_fill only supports a 0-dimensional value tensor, but got tensor with {value.ndim} dimension(s)."
        )
    shape = arguments.broadcast_shape_of("masked_fill", input, mask)
    (flags,) = tensor_nodes(mask.detach())
    if isinstance(value, Tensor):
        broadcast_place("masked_fill", [input, value])
        node, fill = tensor_nodes(input, value)
        fill = copy(fill, node.place).cast(input.dtype).expand(shape)
        inputs: tuple[Tensor, ...] = (input, value)
    else:
        (node,) = tensor_nodes(input)
        arguments.check_number("masked_fill", value, input.dtype)
        if isinstance(value, float) and input.dtype.kind != "float":
            raise RuntimeError(
                f"masked_fill: value cannot be converted to type {type_name(input.dtype)} without overflow"
            )
        fill, inputs = constant(value, input.dtype, shape, input.place), (input,)
    name = "MaskedFillBackward0" if len(inputs) == 1 else "MaskedFillBackward1"
    return Outcome(name, choose(flags.expand(shape), fill, node.expand(shape)), inputs, (mask,))


@function("masked_select", out=True)
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask holds, as one axis. How many they are is read now. Same as torch.masked_select."""
    from .shaping import expand

    if mask.dtype is not bool_:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    shape = broadcast_shapes("masked_select", tuple(input.shape), tuple(mask.shape))
    if not shape:
        shape = (1,)
    places = true_positions(expand(mask, shape))
    (node,) = tensor_nodes(input)
    picked = Places(shape, dict(enumerate(places))).take(node.expand(shape))
    return result("MaskedSelectBackward0", picked, (input,), (input, mask))


@function("nonzero", out=True)
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Where elements are not zero, (n, rank), or a tuple of one vector an axis. Same as torch.nonzero."""
    from .joining import stack

    places = true_positions(input if input.ndim or not as_tuple else input.reshape(1))
    if as_tuple:
        return tuple(places)
    if not input.ndim:
        count = int(bool(input.item()))
        return from_node(constant(0, int64, (count, 0), input.place))
    return stack(places, 1)


@function("argwhere")
def argwhere(input: Tensor) -> Tensor:
    """Where elements are not zero, (n, rank). Same as torch.argwhere."""
    return cast(Tensor, nonzero(input))


# --- by index along one axis


def index_node(name: str, index: Tensor, size: int, wrap: bool = False) -> Node:
    """An index tensor as int64. Negative ones count from the end if `wrap`; otherwise they are out of range.

    Raises:
        RuntimeError: it is not int32 or int64.
    """
    if index.dtype not in (int64, int32) and index.numel():
        raise RuntimeError(
            f"{name}(): Expected dtype int32/int64 for index, but got {type_name(index.dtype)}"
            + describe_operands(index=index)
        )
    (node,) = tensor_nodes(index.detach())
    node = node.cast(int64)
    return where_node(node.lt(0), node + size, node) if wrap else node


def _same_rank(name: str, input: Tensor, index: Tensor, dim: int) -> int:
    axis = arguments.axis(dim, input.ndim, name)
    if index.ndim != input.ndim and (index.ndim or 1) != (input.ndim or 1):
        raise RuntimeError(
            f"{name}: Index tensor must have the same number of dimensions as input tensor"
            + describe_operands(input=input, index=index)
        )
    return axis


def _cut(node: Node, shape: tuple[int, ...], axis: int) -> Node:
    """The node cut to `shape` on every other axis than `axis`."""
    wanted = [int(n) if a == axis else shape[a] for a, n in enumerate(node.shape)]  # type: ignore[arg-type]
    return shrink(node, (0,) * len(wanted), wanted)


def _lifted(node: Node) -> Node:
    return node if node.shape else node.reshape((1,))


@operator("gather", exact=True)
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Outcome:
    """out[i][j] = input[index[i][j]][j] for dim 0, and so on: one element of an axis for each of `index`.

    Args:
        index: int64, of input's rank, at most input's size on the other axes.

    Raises:
        RuntimeError: the ranks differ; an index out of range, at the latest when the result is read.

    Same as torch.gather.
    """
    if not index.numel() and index.ndim != input.ndim:  # nothing is chosen, in any shape
        arguments.axis(dim, input.ndim, "gather")
        nothing = constant(0, input.dtype, tuple(index.shape), input.place)
        return Outcome("GatherBackward0", nothing, (input,), (input, index))
    axis = _same_rank("gather", input, index, dim)
    shape = tuple(index.shape) or (1,)
    for a, (size, limit) in enumerate(zip(shape, tuple(input.shape) or (1,), strict=True)):
        if a != axis and size > limit:
            raise RuntimeError(
                f"gather: Size does not match at dimension {a} expected index {sizes_text(index.shape)} to be no larger than "
                f"self {sizes_text(input.shape)} apart from dimension {axis}"
                + describe_operands(input=input, index=index)
            )
    (node,) = tensor_nodes(input)
    source = _cut(_lifted(node), shape, axis)
    found = gather_node(source, _lifted(index_node("gather", index, 0)), axis).reshape(
        tuple(index.shape)
    )
    return Outcome("GatherBackward0", found, (input,), (input, index))


@function("take_along_dim", out=True)
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """As `gather`, with shapes that broadcast on the other axes, and negative indices that count from the end.

    Same as torch.take_along_dim.
    """
    from .shaping import expand, flatten

    if dim is None:
        input, indices, dim = flatten(input), flatten(indices), 0
    axis = arguments.axis(dim, input.ndim, "take_along_dim")
    if input.ndim != indices.ndim:
        raise RuntimeError(
            f"torch.take_along_dim(): input and indices should have the same number of dimensions, but got {input.ndim} "
            f"dimensions for input, and {indices.ndim} dimensions for indices"
        )
    others = [
        tuple(1 if a == axis else n for a, n in enumerate(each.shape)) for each in (input, indices)
    ]
    shape = broadcast_shapes("take_along_dim", *others)
    wide = [
        expand(each, tuple(each.shape[a] if a == axis else n for a, n in enumerate(shape)))
        for each in (input, indices)
    ]
    size = int(wide[0].shape[axis])
    places = wide[1]
    return gather(wide[0], axis, where(places.lt(0), places + size, places))


@operator("index_select")
def index_select(input: Tensor, dim: int, index: Tensor) -> Outcome:
    """The slices of an axis that a vector of indices lists.

    Raises:
        IndexError: `index` has more than one axis; out of range, at the latest when the result is read.

    Same as torch.index_select.
    """
    axis = arguments.axis(dim, input.ndim, "index_select")
    if index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    (node,) = tensor_nodes(input)
    found = selected(_lifted(node), index_node("index_select", index, 0), axis)
    return Outcome(
        "IndexSelectBackward0", found if node.shape else found.reshape(()), (input,), (index,)
    )


def selected(node: Node, positions: Node, axis: int) -> Node:
    lengths: list[int] = [int(n) for n in positions.shape]  # type: ignore[arg-type]
    count = math.prod(lengths)
    shape = tuple(count if a == axis else n for a, n in enumerate(node.shape))
    line = (1,) * axis + (count,) + (1,) * (len(shape) - axis - 1)
    return gather_node(node, positions.reshape(line).expand(shape), axis)


@function("take", out=True)
def take(input: Tensor, index: Tensor) -> Tensor:
    """Elements of the flattened tensor, in the shape of `index`; negative indices count from the end. Same as torch.take."""
    (node,) = tensor_nodes(input)
    count = input.numel()
    flat = node.reshape((count,))
    places = index_node("take", index, count, wrap=True).reshape((index.numel(),))
    return result(
        "TakeBackward0",
        gather_node(flat, places, 0).reshape(tuple(index.shape)),
        (input,),
        (input, index),
    )


# --- writing by index along one axis


def scatter_operands(
    name: str, input: Tensor, dim: int, index: Tensor, src: Any
) -> tuple[int, Node, Node, Node, tuple[Tensor, ...]]:
    """The axis, as nodes of one rank the input, the index and the values, and the inputs that have gradients.

    Raises:
        RuntimeError: dtypes or sizes do not fit.
    """
    axis = _same_rank(name, input, index, dim)
    shape = tuple(index.shape) or (1,)
    places = _lifted(index_node(name, index, 0))
    if isinstance(src, Tensor):
        if src.dtype is not input.dtype:
            raise RuntimeError(
                f"{name}: scatter(): Expected self.dtype to be equal to src.dtype"
                + describe_operands(self=input, src=src)
            )
        if (src.ndim or 1) != len(shape):
            raise RuntimeError(
                f"{name}: Index tensor must have the same number of dimensions as src tensor"
                + describe_operands(index=index, src=src)
            )
        node, values = (_lifted(each) for each in tensor_nodes(input, src))
        for a, (size, limit) in enumerate(zip(shape, values.shape, strict=True)):
            if size > int(limit):  # type: ignore[arg-type]
                raise RuntimeError(
                    f"{name}: Expected index {sizes_text(shape)} to be no larger than src {sizes_text(src.shape)} at "
                    f"dimension {a}" + describe_operands(index=index, src=src)
                )
        values = shrink(values, (0,) * len(shape), shape)
        inputs: tuple[Tensor, ...] = (input, src)
    else:
        (node,) = tensor_nodes(input)
        node = _lifted(node)
        values, inputs = constant(as_number(src), input.dtype, shape, input.place), (input,)
    for a, (size, limit) in enumerate(zip(shape, node.shape, strict=True)):
        if a != axis and size > int(limit):  # type: ignore[arg-type]
            raise RuntimeError(
                f"{name}: Expected index {sizes_text(index.shape)} to be no larger than self {sizes_text(input.shape)} apart "
                f"from dimension {axis}" + describe_operands(self=input, index=index)
            )
    return axis, node, places, values, inputs


def onto_part(node: Node, shape: Any, axis: int, meet: Callable[[Node], Node]) -> Node:
    """`meet` of the part of a node that an index of `shape` can reach; the rest stays."""
    part = _cut(node, shape, axis)
    made = meet(part)
    return made if part.shape == node.shape else update(node, made, (0,) * len(shape))


def _scattered(
    name: str, input: Tensor, dim: int, index: Tensor, src: Any, kind: str, grad_name: str
) -> Outcome:
    axis, node, places, values, inputs = scatter_operands(name, input, dim, index, src)
    made = onto_part(
        node, places.shape, axis, lambda part: scatter_node(part, places, values, axis, kind)
    )
    return Outcome(grad_name, made.reshape(tuple(input.shape)), inputs, (index,))


@operator("scatter", inplace=True)
def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Any = None,
    *,
    value: Any = None,
    reduce: str | None = None,
) -> Outcome:
    """The transpose of gather: input with element index[i][j] along `dim` replaced by src[i][j].

    Args:
        src: a tensor at least as large as `index`, or a number (`value`); reduce: "add" or "multiply" instead of replacing.

    Raises:
        RuntimeError: sizes or dtypes do not fit; an index out of range, at the latest when the result is read.

    Same as torch.scatter.
    """
    given = value if src is None else src
    kind = {None: "set", "add": "add", "multiply": "mul"}.get(reduce)
    if kind is None:
        raise RuntimeError("reduce argument must be either add or multiply.")
    name = "ScatterBackward0" if isinstance(given, Tensor) else "ScatterBackward1"
    return _scattered("scatter", input, dim, index, given, kind, name)


@operator("scatter_add", inplace=True)
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Outcome:
    """Input with src[i][j] added to element index[i][j] along `dim`. Same as torch.scatter_add."""
    return _scattered("scatter_add", input, dim, index, src, "add", "ScatterAddBackward0")


def lines(name: str, input: Tensor, axis: int, index: Tensor) -> tuple[Node, tuple[int, ...]]:
    """The index of each element of the slices that a vector of indices lists."""
    if index.ndim > 1:
        raise IndexError(f"{name}(): Index is supposed to be 1-dimensional")
    sizes = tuple(input.shape) or (1,)
    shape = tuple(index.numel() if a == axis else int(n) for a, n in enumerate(sizes))
    line = (1,) * axis + (index.numel(),) + (1,) * (len(shape) - axis - 1)
    places = index_node(name, index, sizes[axis], wrap=name == "index_fill")
    return places.reshape(line).expand(shape), shape


def _written(node: Node, places: Node, values: Node, axis: int, kind: str) -> Node:
    """A node with slices of an axis set or added to."""
    made = scatter_node(_lifted(node), places, values.reshape(places.shape), axis, kind)
    return made.reshape(node.shape)


@operator("index_add", inplace=True)
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Outcome:
    """Input with the slices of `source` added to those that a vector of indices lists. Same as torch.index_add."""
    axis = arguments.axis(dim, input.ndim, "index_add")
    places, shape = lines("index_add", input, axis, index)
    _same_shape("index_add", source, shape, input)
    node, values = tensor_nodes(input, source)
    values = values if alpha == 1 else values * as_number(alpha)
    return Outcome(
        "IndexAddBackward0",
        _written(node, places, values, axis, "add"),
        (input, source),
        (index,),
    )


@operator("index_copy", inplace=True)
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Outcome:
    """Input with the slices that a vector of indices lists replaced by those of `source`. Same as torch.index_copy."""
    axis = arguments.axis(dim, input.ndim, "index_copy")
    places, shape = lines("index_copy", input, axis, index)
    _same_shape("index_copy", source, shape, input)
    node, values = tensor_nodes(input, source)
    return Outcome(
        "IndexCopyBackward0",
        _written(node, places, values, axis, "set"),
        (input, source),
        (index,),
    )


@operator("index_fill", inplace=True)
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Outcome:
    """Input with the slices that a vector of indices lists set to a number. Same as torch.index_fill."""
    axis = arguments.axis(dim, input.ndim, "index_fill")
    places, shape = lines("index_fill", input, axis, index)
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value.ndim} dimension(s)."
            )
        node, fill = tensor_nodes(input, value)
        nowhere = constant(False, bool_, tuple(input.shape) or (1,), input.place)
        everywhere = constant(True, bool_, shape, input.place)
        filled = scatter_node(nowhere, places, everywhere, axis, "set").reshape(node.shape)
        made = where_node(filled, fill.cast(input.dtype).expand(node.shape), node)
        return Outcome("IndexFillBackward1", made, (input, value), (index,))
    (node,) = tensor_nodes(input)
    values = constant(as_number(value), input.dtype, shape, input.place)
    return Outcome(
        "IndexFillBackward0", _written(node, places, values, axis, "set"), (input,), (index,)
    )


def _same_shape(name: str, source: Tensor, shape: tuple[int, ...], input: Tensor) -> None:
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}(): self ({type_name(input.dtype)}) and source ({type_name(source.dtype)}) must have the same scalar type"
        )
    if (tuple(source.shape) or (1,)) != shape:
        raise RuntimeError(
            f"{name}(): Number of indices should be equal to source.size(dim): source {sizes_text(source.shape)} should be "
            f"{sizes_text(shape)}" + describe_operands(self=input, source=source)
        )


@operator("masked_scatter", inplace=True)
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Outcome:
    """Input with the n-th element where the mask holds replaced by the n-th of `source`. Same as torch.masked_scatter."""
    if mask.dtype is not bool_:
        raise RuntimeError(
            f"masked_scatter_ only supports boolean masks, but got mask with dtype {type_name(mask.dtype)}"
        )
    if source.dtype is not input.dtype:
        raise RuntimeError("masked_scatter_: expected self and source to have same dtypes")
    shape = arguments.broadcast_shape_of("masked_scatter", input, mask)
    (flags,) = tensor_nodes(mask.detach())
    flags = flags.expand(shape)
    count = math.prod(shape)
    order = scan(flags.reshape((count,)).cast(int64), "add", 0) - 1
    order = where_node(order.lt(0), 0, order)
    node, values = tensor_nodes(input, source)
    # Beyond the first false element nothing is read that is not chosen, so a short source is an error only if it is chosen.
    order = where_node(flags.reshape((count,)), order, 0)
    picked = gather_node(values.reshape((source.numel(),)), order, 0).reshape(shape)
    return Outcome(
        "MaskedScatterBackward0",
        choose(flags, picked, node.expand(shape)),
        (input, source),
        (mask,),
    )
