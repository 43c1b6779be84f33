"""Sorting: sort, argsort, msort, topk, kthvalue, mode, and the order that they, medians, quantiles and unique are built on.

Elements become unsigned keys whose order is PyTorch's: NaN after everything, -0 equal to 0, false before true. SORT says where
the keys stand in order; values are then gathered, so gradients flow to where they came from. Every order here is stable: equal
elements stay as they stood (PyTorch promises that for stable=True).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..gradient.reverse_structure import along
from ..ir import build
from ..ir.build import gather, shrink
from ..ir.dtype import bool_, int16, int32, uint8, uint32, uint64
from ..ir.node import Node, constant, where
from ..results import results, tensor_nodes
from ..tensor import Tensor
from . import arguments
from .arguments import describe_operands, integer, no_kernel
from .registry import Outcome, function, operator, write_out
from .return_types import Kthvalue, Mode, Pair, Sort, Topk, return_type

Out = Sequence[Tensor] | None


# --- the order of elements


def order_keys(node: Node) -> tuple[Node, int]:
    """Unsigned keys in the order of the elements, and how many of their low bits count."""
    dtype = node.dtype
    if dtype is bool_ or dtype is uint8:
        return node.cast(uint32), 1 if dtype is bool_ else 8
    if dtype.kind == "uint":
        return node, dtype.bits
    kind = uint64 if dtype.itemsize == 8 else uint32
    sign = 1 << dtype.bits - 1
    if dtype.kind == "int":
        if dtype.itemsize < 4:
            return (node.cast(int32) + sign).bitcast(uint32), dtype.bits
        return node.bitcast(kind) ^ sign, dtype.bits
    every = 2 * sign - 1
    raw = (
        node.bitcast(int16).cast(int32).bitcast(uint32) & every
        if dtype.itemsize == 2
        else node.bitcast(kind)
    )
    raw = where(node.eq(0.0), 0, raw)
    ordered = where(raw.ge(sign), raw ^ every, raw | sign)
    return where(node.ne(node), every, ordered), dtype.bits


def ordering(
    node: Node, axis: int, descending: bool = False, first: int = 0, count: int | None = None
) -> Node:
    """Where the elements along `axis` stand in order, int64; equal ones stay as they stood. A NaN is larger than any number.

    Of the order, the `count` places from `first` on; all of them if not given.
    """
    keys, bits = order_keys(node)
    ordered = keys ^ ((1 << bits) - 1) if descending else keys
    return build.sort(ordered, axis, bits, first, count)


def without(node: Node, axis: int) -> Node:
    """A node without an axis of size 1."""
    return node.reshape([n for a, n in enumerate(node.shape) if a != axis])


def lifted(node: Node) -> Node:
    """A node that has at least one axis."""
    return node if node.shape else node.reshape((1,))


# --- results in pairs


def deliver(
    kind: Any, grad_name: str, input: Tensor, values: Node, indices: Node, out: Out
) -> Pair:
    """Values and where they stand in `input`, as the named tuple `kind`, or in the tensors `out`.

    Raises:
        RuntimeError: a tensor of `out` has another dtype or shape than its result.
    """
    name = kind.__name__
    if out is None:
        made: Pair = kind(*results(grad_name, (values, indices), (input,), (input, 1)))
        return made
    for target, node in zip(out, (values, indices), strict=True):
        if target.dtype is not node.dtype:
            raise RuntimeError(
                f"{name}(): Expected out tensor to have dtype {node.dtype.name}, but got {target.dtype.name} instead"
                + describe_operands(out=target)
            )
    for target, node in zip(out, (values, indices), strict=True):
        write_out(name, Outcome(grad_name, node, (input,)), target)
    written: Pair = return_type(f"{name}_out", *kind._fields)(*out)
    return written


def require_kernel(name: str, input: Tensor) -> None:
    """Check that a tensor is of numbers.

    Raises:
        NotImplementedError: it is bool.
    """
    if input.dtype is bool_:
        raise no_kernel(name, input.dtype)


def reduced_axis(name: str, input: Tensor, dim: Any) -> int:
    """The axis along which one element is chosen.

    Raises:
        IndexError: it is out of range, or has no elements.
    """
    axis = arguments.axis(dim, input.ndim, name)
    if input.ndim and input.shape[axis] == 0:
        raise IndexError(
            f"{name}(): Expected reduction dim {axis} to have non-zero size."
            + describe_operands(input=input)
        )
    return axis


def chosen(
    kind: Any, grad_name: str, input: Tensor, index: Node, axis: int, keepdim: bool, out: Out
) -> Pair:
    """The elements that `index` chooses along `axis` (of size 1 there), with their indices."""
    (node,) = tensor_nodes(input)
    values = gather(lifted(node), index, axis)
    if not node.shape or not keepdim:
        values, index = without(values, axis), without(index, axis)
    return deliver(kind, grad_name, input, values, index, out)


# --- operators


@function("sort")
def sort(
    input: Tensor, dim: Any = -1, descending: bool = False, *, stable: bool | None = None, out: Out = None
) -> Pair:  # fmt: skip
    """The elements along `dim` in ascending order, and where they stood, as (values, indices).

    Args:
        descending: the largest first; a NaN is larger than any number.
        stable: equal elements stay in order; they do in any case.

    Raises:
        IndexError: `dim` is out of range.

    Same as torch.sort. Radix sort: its time does not depend on the order.
    """
    axis = arguments.axis(_dim("sort", dim), input.ndim, "sort")
    (node,) = tensor_nodes(input)
    wide = lifted(node)
    index = ordering(wide, axis, descending)
    values = gather(wide, index, axis)
    name = "SortBackward0" if stable is None else "SortBackward1"
    return deliver(Sort, name, input, values.reshape(node.shape), index.reshape(node.shape), out)


def _dim(name: str, dim: Any) -> Any:
    """A dim that is not a flag: PyTorch has no form sort(input, descending).

    Raises:
        TypeError: it is a bool.
    """
    if isinstance(dim, bool):
        raise TypeError(f"{name}(): argument 'dim' must be int, not bool")
    return dim


@operator("argsort")
def argsort(
    input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False
) -> Outcome:
    """Where the elements along `dim` stand in ascending order; see `sort`. Same as torch.argsort."""
    axis = arguments.axis(_dim("argsort", dim), input.ndim, "argsort")
    (node,) = tensor_nodes(input)
    index = ordering(lifted(node), axis, descending)
    return Outcome("NotImplemented", index.reshape(node.shape), ())


@operator("msort")
def msort(input: Tensor) -> Outcome:
    """The elements along the first axis in ascending order. Same as torch.msort."""
    (node,) = tensor_nodes(input)
    wide = lifted(node)
    values = gather(wide, ordering(wide, 0), 0)
    return Outcome("SortBackward0", values.reshape(node.shape), (input,), (input,))


@function("topk")
def topk(
    input: Tensor, k: Any, dim: int = -1, largest: bool = True, sorted: bool = True, *, out: Out = None
) -> Pair:  # fmt: skip
    """The `k` largest elements along `dim`, the largest first, and where they stand, as (values, indices).

    Args:
        largest: False for the smallest, the smallest first; sorted: they are in order in any case.

    Raises:
        RuntimeError: there are fewer than `k` elements; the dtype is bool.

    Same as torch.topk. Of equal elements the first ones are taken.
    """
    axis = arguments.axis(dim, input.ndim, "topk")
    k = integer("topk", "k", k)
    if input.dtype is bool_:
        raise RuntimeError("topk does not support bool dtypes on CPU")
    if not 0 <= k <= (input.shape[axis] if input.ndim else 1):
        raise RuntimeError(
            f"topk: selected index k out of range: k = {k}" + describe_operands(input=input)
        )
    (node,) = tensor_nodes(input)
    wide = lifted(node)
    count = k if node.shape else 1
    index = ordering(wide, axis, largest, 0, count)
    values = gather(wide, index, axis)
    if not node.shape:
        values, index = values.reshape(()), index.reshape(())
    return deliver(Topk, "TopkBackward0", input, values, index, out)


@function("kthvalue")
def kthvalue(
    input: Tensor, k: Any, dim: int = -1, keepdim: bool = False, *, out: Out = None
) -> Pair:
    """The `k`-th smallest element along `dim` (from 1), and where it stands, as (values, indices).

    Raises:
        IndexError: `dim` is out of range or has no elements.
        RuntimeError: `k` is out of range.

    Same as torch.kthvalue.
    """
    axis = reduced_axis("kthvalue", input, dim)
    k = integer("kthvalue", "k", k)
    if not 1 <= k <= (input.shape[axis] if input.ndim else 1):
        raise RuntimeError(
            f"kthvalue(): selected number k out of range for dimension {axis}: k = {k}"
            + describe_operands(input=input)
        )
    require_kernel("kthvalue", input)
    (node,) = tensor_nodes(input.detach())
    index = ordering(lifted(node), axis, first=k - 1, count=1)
    return chosen(Kthvalue, "KthvalueBackward0", input, index, axis, keepdim, out)


@function("mode")
def mode(input: Tensor, dim: int = -1, keepdim: bool = False, *, out: Out = None) -> Pair:
    """The most frequent element along `dim` (of several the smallest), and the last place where it stands, as (values, indices).

    Raises:
        IndexError: `dim` is out of range or has no elements.

    Same as torch.mode. Counts runs of equal elements in order.
    """
    axis = reduced_axis("mode", input, dim)
    (node,) = tensor_nodes(input.detach())
    wide = lifted(node)
    order = ordering(wide, axis)
    run = run_lengths(gather(wide, order, axis), axis)
    longest = run.eq(run.reduce("max", (axis,)).expand(run.shape))
    places = along(axis, run)
    first = where(longest, places, run.shape[axis]).reduce("min", (axis,))  # type: ignore[arg-type]
    index = gather(order, first, axis)
    return chosen(Mode, "ModeBackward0", input, index, axis, keepdim, out)


def begins(ordered: Node, axis: int) -> Node:
    """Where an element differs from the one before it along `axis`; the first does."""
    size = ordered.shape[axis]
    assert isinstance(size, int)
    ones = [1 if a == axis else 0 for a in range(len(ordered.shape))]
    nothing = [0] * len(ones)
    before = [max(size - 1, 0) if a == axis else n for a, n in enumerate(ordered.shape)]
    differs = (
        shrink(ordered, ones, before).ne(shrink(ordered, nothing, before)) if size > 1 else None
    )
    if differs is None:
        return constant(True, bool_, ordered.shape, ordered.place)
    return build.pad(differs, ones, nothing, value=True)


def run_lengths(ordered: Node, axis: int) -> Node:
    """For each element of an ordered axis how many equal ones have come, itself included."""
    places = along(axis, ordered)
    start = build.scan(where(begins(ordered, axis), places, 0), "max", axis)
    return places - start + 1
