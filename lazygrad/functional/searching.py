"""Finding values in sorted sequences and in sets: searchsorted, bucketize, isin."""

from __future__ import annotations

from typing import Any

from ..ir.build import gather
from ..ir.dtype import bool_, int32, int64
from ..ir.node import Node, constant, where
from ..results import result, tensor_nodes
from ..tensor import Tensor
from . import arguments
from .arguments import Operand, as_number, describe_operands, result_type, sizes_text, type_name
from .registry import Outcome, function, operator, write_out
from .sorting import ordering

FEW = 32
"""Among up to this many elements every one is compared; more are sorted."""


def bisect(ordered: Node, values: Node, right: bool) -> Node:
    """How many elements of each row of `ordered` (along its last axis) come before each value of the same row.

    Those that are equal come before it if `right`. The steps of a search by halves are as many as the size has bits, whatever
    is found. A NaN comes after everything.
    """
    size = ordered.shape[-1]
    assert isinstance(size, int)
    axis = len(ordered.shape) - 1
    found = constant(0, int64, values.shape, values.place)
    for power in reversed(range(size.bit_length())):
        candidate = found + (1 << power)
        inside = candidate.le(size)
        element = gather(ordered, where(inside, candidate - 1, 0), axis)
        after = element.gt(values) if right else element.ge(values)
        found = where(inside & ~after, candidate, found)
    return found


@operator("searchsorted", method=False)
def searchsorted(
    sorted_sequence: Tensor, input: Any = None, *, out_int32: bool = False, right: bool = False,
    side: str | None = None, sorter: Tensor | None = None, self: Any = None,
) -> Outcome:  # fmt: skip
    """Where each value would stand in a sorted sequence: the number of elements that are less.

    Args:
        sorted_sequence: (n,), or (..., n) with the first axes of `input`; the last axis is sorted, or `sorter` says in what order it is.
        input: values of the same dtype, or a number.
        right: also count elements that are equal (side="right"); out_int32: the result is int32, not int64.
        sorter: int64, of the sequence's shape.

    Raises:
        RuntimeError: shapes, dtypes or `side` do not fit. IndexError: `sorter` is out of range, at the latest when the result is read.

    Same as torch.searchsorted.
    """
    given = self if input is None else input
    if isinstance(given, Tensor):
        values = given
    else:
        values = _number_tensor(given, sorted_sequence)
    return _search(
        "searchsorted",
        sorted_sequence,
        values,
        isinstance(given, Tensor),
        out_int32,
        right,
        side,
        sorter,
    )


@function("bucketize", method=False)
def bucketize(
    input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False, out: Tensor | None = None
) -> Tensor:  # fmt: skip
    """Which of the buckets between sorted `boundaries`, (n,), each value is in; see `searchsorted`. Same as torch.bucketize."""
    if boundaries.ndim != 1:
        raise RuntimeError(
            f"bucketize: boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})"
            + describe_operands(boundaries=boundaries)
        )
    values = input if isinstance(input, Tensor) else _number_tensor(input, boundaries)
    given = isinstance(input, Tensor)
    outcome = _search("bucketize", boundaries, values, given, out_int32, right, None, None)
    return result(*outcome) if out is None else write_out("bucketize", outcome, out)


def _number_tensor(value: Any, sequence: Tensor) -> Tensor:
    from .creation import tensor

    number = as_number(value)
    return tensor(number, dtype=result_type(sequence, number), device=sequence.device)


def _search(
    name: str, sequence: Tensor, values: Tensor, is_tensor: bool, narrow: bool, right: bool,
    side: str | None, sorter: Tensor | None,
) -> Outcome:  # fmt: skip
    _check_search(name, sequence, values, is_tensor, right, side, sorter)
    arguments.common_place(name, [sequence, values])
    size = int(sequence.shape[-1])
    if narrow and size > 2**31 - 1:
        raise RuntimeError(
            f"torch.searchsorted(): the size of boundaries' last dimension is too large for int32: {size}"
        )
    ordered, wanted = tensor_nodes(sequence.detach(), values.detach())
    if sorter is not None:
        (order,) = tensor_nodes(sorter)
        ordered = gather(ordered, order, sequence.ndim - 1)
    kind = result_type(sequence, values)
    ordered, wanted = ordered.cast(kind), wanted.cast(kind)
    shape = wanted.shape
    if sequence.ndim == 1:
        wanted = wanted.reshape((values.numel(),))
    found = bisect(ordered, wanted, right or side == "right").reshape(shape)
    return Outcome("NotImplemented", found.cast(int32) if narrow else found, ())


def _check_search(
    name: str, sequence: Tensor, values: Tensor, is_tensor: bool, right: bool, side: str | None, sorter: Tensor | None
) -> None:  # fmt: skip
    operands = describe_operands(boundaries=sequence, input=values)
    if side is not None and side not in ("left", "right"):
        raise RuntimeError(f"torch.{name}(): side can only be 'left' or 'right' but got {side}")
    if right and side == "left":
        raise RuntimeError(
            f"torch.{name}(): side and right can't be set to opposites, got side of left while right was True"
        )
    if is_tensor and sequence.dtype is not values.dtype:
        raise RuntimeError(
            f"torch.{name}(): boundary tensor and input value tensor should have same dtype, but got boundary tensor "
            f"dtype {type_name(sequence.dtype)} and input value tensor dtype {type_name(values.dtype)}"
            + operands
        )
    if not sequence.ndim:
        raise RuntimeError(
            f"torch.{name}(): boundaries tensor should have positive dimension, but got 0 dimension"
            + operands
        )
    if not is_tensor and sequence.ndim != 1:
        raise RuntimeError(
            f"torch.{name}(): input value can be a scalar only when boundaries tensor dimension is 1"
            + operands
        )
    shape, wanted = tuple(sequence.shape), tuple(values.shape)
    if sequence.ndim != 1 and (values.ndim != sequence.ndim or shape[:-1] != wanted[:-1]):
        raise RuntimeError(
            f"torch.{name}(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and "
            f"input value tensor must match, but we got boundaries tensor {sizes_text(shape)} and input value tensor "
            f"{sizes_text(wanted)}" + operands
        )
    if sorter is not None:
        if tuple(sorter.shape) != shape:
            raise RuntimeError(
                f"torch.{name}(): boundary and sorter must have the same size, but got boundary tensor {sizes_text(shape)} "
                f"and got sorter tensor {sizes_text(sorter.shape)}"
            )
        if sorter.dtype is not int64:
            raise RuntimeError(
                f"torch.{name}(): sorter must be a tensor of long dtype but got dtype {type_name(sorter.dtype)}"
            )


@function("isin", method=False)
def isin(
    elements: Operand, test_elements: Operand, *, assume_unique: bool = False, invert: bool = False,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Whether each of `elements` is one of `test_elements`, as bool. A NaN is none.

    Args:
        elements, test_elements: tensors of numbers, or one of them a number. assume_unique: changes nothing.
        invert: whether it is not.

    Raises:
        TypeError: both are numbers. RuntimeError: a dtype is bool.

    Same as torch.isin.
    """
    tensors = [each for each in (elements, test_elements) if isinstance(each, Tensor)]
    if not tensors:
        raise TypeError(
            "isin() received an invalid combination of arguments: elements and test_elements are both numbers"
        )
    for each in tensors:
        if each.dtype is bool_:
            raise RuntimeError(
                "Unsupported input type encountered for isin(): Bool"
                + describe_operands(input=each)
            )
    place = arguments.common_place("isin", tensors)
    kind = result_type(elements, test_elements)
    found = iter(tensor_nodes(*[each.detach() for each in tensors]))
    nodes = [
        next(found).cast(kind)
        if isinstance(each, Tensor)
        else constant(as_number(each), kind, (), place)
        for each in (elements, test_elements)
    ]
    known = _member(nodes[0], nodes[1])
    outcome = Outcome("NotImplemented", ~known if invert else known, ())
    return result(*outcome) if out is None else write_out("isin", outcome, out)


def _member(node: Node, tests: Node) -> Node:
    """Whether each element of `node` is one of `tests`."""
    count = 1
    for size in tests.shape:
        assert isinstance(size, int)
        count *= size
    flat = tests.reshape((count,))
    if not count:
        return constant(False, bool_, node.shape, node.place)
    if count <= FEW:
        shape = (*node.shape, count)
        equal = node.reshape((*node.shape, 1)).expand(shape).eq(flat.expand(shape))
        return equal.reduce("or", (len(shape) - 1,)).reshape(node.shape)
    size = 1
    for n in node.shape:
        assert isinstance(n, int)
        size *= n
    values = node.reshape((size,))
    ordered = gather(flat, ordering(flat, 0), 0)
    place = bisect(ordered, values, False)
    inside = place.lt(count)
    return (inside & gather(ordered, where(inside, place, 0), 0).eq(values)).reshape(node.shape)
