"""Distances: dist of two tensors; between rows, cdist of two sets and pdist of one."""

from __future__ import annotations

from ...ir import composite
from ...ir.node import Node, iota
from ...results import result, tensor_nodes
from ...tensor import Tensor
from ..arguments import (
    broadcast_shapes,
    common_place,
    describe_operands,
    elementwise_nodes,
    no_kernel,
    type_name,
)
from ..gathering import selected
from ..registry import Outcome, function, operator
from ..searching import bisect

MODES = (
    "use_mm_for_euclid_dist_if_necessary",
    "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
)


def _distances(name: str, difference: Node, p: float) -> Node:
    """The norms of differences over the last axis."""
    last = len(difference.shape) - 1
    if not difference.shape[last]:
        return difference.sum((last,)).reshape(difference.shape[:-1])
    made = composite.call("distance", [difference], p=float(p), axes=(last,))
    return made.reshape(made.shape[:-1])


@operator("dist")
def dist(input: Tensor, other: Tensor, p: float = 2) -> Outcome:
    """The p-norm of input - other, of shapes that broadcast; the gradient at 0 is 0.

    Raises:
        RuntimeError: not floating; the shapes do not broadcast.

    Same as torch.dist.
    """
    (left, right), dtype, _ = elementwise_nodes("dist", input, other)
    if dtype.kind != "float":
        raise RuntimeError(
            f"dist: linalg.vector_norm: Expected a floating point or complex tensor as input. Got {type_name(dtype)}"
            + describe_operands(input=input, other=other)
        )
    difference = left - right
    axes = tuple(range(len(difference.shape)))
    if not axes:
        difference, axes = difference.reshape((1,)), (0,)
    made = composite.call("norm", [difference], p=float(p), axes=axes).reshape(())
    return Outcome("DistBackward0", made, (input, other), (input, other, "result"))


@function("cdist", method=False)
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = MODES[0]) -> Tensor:
    """The p-norm distance of each row of x1 to each row of x2, (..., n, k) and (..., m, k) -> (..., n, m); batches broadcast.

    Args:
        p: not negative; 0 counts the elements that differ, inf takes the largest difference.
        compute_mode: one of PyTorch's three; differences are always computed as they are, which is never less exact.

    Raises:
        RuntimeError: fewer than 2 axes; rows of different lengths; not floating; `p` is negative. ValueError: another `compute_mode`.

    Same as torch.cdist. The gradient at a distance of 0 is 0.
    """
    if compute_mode not in MODES:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    for word, each in (("X1", x1), ("X2", x2)):
        if each.dtype.kind != "float":
            raise RuntimeError(
                f"cdist only supports floating-point dtypes, {word} got: {type_name(each.dtype)}"
            )
        if each.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {word} got: {each.ndim}D")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}"
            + describe_operands(X1=x1, X2=x2)
        )
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    if x1.dtype is not x2.dtype:
        raise RuntimeError(
            f"cdist: expected scalar type {type_name(x1.dtype)} but found {type_name(x2.dtype)}"
        )
    if x1.dtype.itemsize == 2:
        raise no_kernel("cdist", x1.dtype)
    common_place("cdist", (x1, x2))
    batch = broadcast_shapes("cdist", tuple(x1.shape[:-2]), tuple(x2.shape[:-2]))
    first, second = tensor_nodes(x1, x2)
    rows, others, width = first.shape[-2], second.shape[-2], first.shape[-1]
    shape = (*batch, rows, others, width)
    left = first.reshape((*first.shape[:-1], 1, width)).expand(shape)
    right = second.reshape((*second.shape[:-2], 1, others, width)).expand(shape)
    node = _distances("cdist", left - right, p)
    return result("CdistBackward0", node, (x1, x2), (x1, x2, "result"))


def _pairs(count: int, place: str) -> tuple[Node, Node]:
    """The pairs i < j below `count`, in order: pair p is of the last i whose pairs begin at p or before."""
    pair = iota(count * (count - 1) // 2, place=place)
    row = iota(max(count, 1), place=place)
    begins = row * (2 * count - 1 - row) // 2
    first = bisect(begins, pair, right=True) - 1
    here = first * (2 * count - 1 - first) // 2
    return first, pair - here + first + 1


@function("pdist", method=False, nn=True)
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distances of the pairs of rows i < j, (n, k) -> (n * (n - 1) / 2,).

    Raises:
        RuntimeError: not a matrix; not floating; `p` is negative.

    Same as torch.nn.functional.pdist.
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if input.dtype.kind != "float":
        raise RuntimeError("pdist only supports floating-point dtypes")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    if input.dtype.itemsize == 2:
        raise no_kernel("pdist", input.dtype)
    (node,) = tensor_nodes(input)
    first, second = (selected(node, rows, 0) for rows in _pairs(int(input.shape[0]), node.place))
    return result(
        "PdistBackward0", _distances("pdist", first - second, p), (input,), (input, "result")
    )
