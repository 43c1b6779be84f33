"""Products: matrix_power, multi_dot, vecdot, cross, kron, powers in columns, and tensors as matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...composites.host import identity
from ...ir.build import shrink
from ...ir.dtype import bool_, int64
from ...ir.node import Node
from ...results import result, tensor_nodes
from ...tensor import Tensor
from .. import arguments
from ..arguments import (
    broadcast_shapes,
    common_place,
    describe_operands,
    integer,
    no_kernel,
    sizes_text,
    type_name,
)
from ..arithmetic import mul
from ..contraction import matmul, mm
from ..joining import joined, stack
from ..reductions import sum as total
from ..registry import LINALG_FUNCTIONS, function
from .matrices import require_alike, require_square
from .solving import inv, solve

LINALG_FUNCTIONS["matmul"] = matmul


# --- powers and chains


@function("linalg.matrix_power", "matrix_power", out=True)
def matrix_power(A: Tensor, n: int) -> Tensor:
    """The product of n equal matrices (..., m, m); the identity for n = 0, powers of the inverse below.

    Raises:
        RuntimeError: not square; n < 0 for matrices that are not float32 or float64. LinAlgError: n < 0, and a matrix is singular.

    Same as torch.linalg.matrix_power. Squares are multiplied: about 2 log2(n) products.
    """
    require_square("linalg.matrix_power", A)
    n = integer("matrix_power", "n", n)
    if n == 0:
        (node,) = tensor_nodes(A)
        return result("torch::autograd::CopyBackwards", identity(node, int(A.shape[-1])), (A,))
    square = A if n > 0 else inv(A)
    n = abs(n)
    made: Tensor | None = None
    while True:
        if n & 1:
            made = square if made is None else matmul(made, square)
        n >>= 1
        if not n:
            break
        square = matmul(square, square)
    assert made is not None
    return made.clone() if made is A else made


def _chain(name: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    for position, each in enumerate(tensors):
        if each.dtype is not tensors[0].dtype:
            raise RuntimeError(
                f"{name}(): all tensors must have be the same dtype but tensor 0 is "
                f"{type_name(tensors[0].dtype).lower()} and tensor {position} {type_name(each.dtype).lower()}"
            )
    for position in range(1, len(tensors)):
        left, right = tensors[position - 1], tensors[position]
        if left.shape[1] != right.shape[0]:
            raise RuntimeError(
                f"{name}(): tensors {position - 1} and {position} with shapes {sizes_text(left.shape)} and "
                f"{sizes_text(right.shape)} cannot be multiplied"
                + describe_operands(tensors=list(tensors))
            )
    return list(tensors)


def _cheapest(tensors: Sequence[Tensor]) -> Tensor:
    """The product of matrices, multiplied in the order that takes fewest operations (by dynamic programming)."""
    count = len(tensors)
    sizes = [int(t.shape[0]) for t in tensors] + [int(tensors[-1].shape[1])]
    cost = {(i, i): 0 for i in range(count)}
    cut: dict[tuple[int, int], int] = {}
    for length in range(2, count + 1):
        for first in range(count - length + 1):
            last = first + length - 1
            options = [
                (
                    cost[first, k]
                    + cost[k + 1, last]
                    + sizes[first] * sizes[k + 1] * sizes[last + 1],
                    k,
                )
                for k in range(first, last)
            ]
            cost[first, last], cut[first, last] = min(options)
    made = {(i, i): tensor for i, tensor in enumerate(tensors)}
    pending = [(0, count - 1)]
    while pending:
        span = pending[-1]
        if span in made:
            pending.pop()
            continue
        parts = (span[0], cut[span]), (cut[span] + 1, span[1])
        missing = [part for part in parts if part not in made]
        if missing:
            pending += missing
        else:
            made[span] = mm(made[parts[0]], made[parts[1]])
    return made[0, count - 1]


@function("linalg.multi_dot", out=True)
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of matrices in the cheapest order; the first may be a row, the last a column, given as vectors.

    Raises:
        RuntimeError: fewer than two; others than the ends are no matrices; sizes do not fit; dtypes differ.

    Same as torch.linalg.multi_dot.
    """
    name = "multi_dot"
    given = list(tensors)
    if len(given) < 2:
        raise RuntimeError(f"{name}(): expected at least 2 tensors but got {len(given)}")
    for word, position in (("first", 0), ("last", len(given) - 1)):
        if given[position].ndim not in (1, 2):
            raise RuntimeError(
                f"{name}(): the {word} tensor must be 1D or 2D but got {given[position].ndim}D"
            )
    for position, each in enumerate(given[1:-1], 1):
        if each.ndim != 2:
            raise RuntimeError(f"{name}(): tensor {position} must be 2D but got {each.ndim}D")
    shape = (*given[0].shape[: given[0].ndim - 1], *given[-1].shape[1:])
    if given[0].ndim == 1:
        given[0] = given[0].view(1, -1)
    if given[-1].ndim == 1:
        given[-1] = given[-1].view(-1, 1)
    made: Tensor = _cheapest(_chain(name, given)).view(shape)
    return made


@function("chain_matmul", method=False)
def chain_matmul(*matrices: Tensor, out: Tensor | None = None) -> Tensor:
    """The product of matrices in the cheapest order; one is returned as it is. Same as torch.chain_matmul."""
    for each in matrices:
        if each.ndim != 2:
            raise RuntimeError(
                f"chain_matmul(): Expected matrices, got a {each.ndim}-D tensor {sizes_text(each.shape)}"
            )
    if len(matrices) == 1:
        return matrices[0]
    made = multi_dot(matrices)
    return made if out is None else out.copy_(made)


# --- products of vectors


@function("linalg.vecdot", out=True)
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The inner products of vectors that lie along `dim`; the other axes broadcast.

    Raises:
        RuntimeError: not floating; dtypes differ; shapes do not broadcast.

    Same as torch.linalg.vecdot.
    """
    if x.dtype.kind != "float":
        raise RuntimeError(
            f"linalg.vecdot: Expected a floating point or complex tensor as input. Got {type_name(x.dtype)}"
        )
    require_alike("linalg.vecdot", x, y, ("x", "y"))
    return total(mul(x, y), dim)


def _cross(name: str, left: Tensor, right: Tensor, axis: int) -> Tensor:
    shape = broadcast_shapes(name, tuple(left.shape), tuple(right.shape))
    if left.dtype is not right.dtype:
        raise RuntimeError(
            f"{name}: expected scalar type {type_name(left.dtype)} but found {type_name(right.dtype)}"
        )
    if left.dtype is bool_:
        raise no_kernel("cross", bool_)
    common_place(name, (left, right))
    a, b = (node.expand(shape) for node in tensor_nodes(left, right))
    (a0, a1, a2), (b0, b1, b2) = _components(a, axis), _components(b, axis)
    node = joined([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis)
    return result("LinalgCrossBackward0", node, (left, right), (left, right))


def _components(node: Node, axis: int) -> list[Node]:
    """The three slices along an axis, which stays with size 1."""
    shape = [1 if a == axis else size for a, size in enumerate(node.shape)]
    return [
        shrink(node, [place if a == axis else 0 for a in range(len(shape))], shape)
        for place in range(3)
    ]


@function("linalg.cross", out=True)
def linalg_cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross products of vectors of length 3 that lie along `dim`; the other axes broadcast.

    Raises:
        RuntimeError: the vectors have another length; ranks or dtypes differ; shapes do not broadcast. IndexError: `dim` out of range.

    Same as torch.linalg.cross.
    """
    if input.ndim != other.ndim:
        raise RuntimeError(
            "linalg.cross: inputs must have the same number of dimensions."
            + describe_operands(input=input, other=other)
        )
    axis = arguments.axis(dim, input.ndim, "linalg.cross")
    lengths = [int(t.shape[axis]) if t.ndim else 1 for t in (input, other)]
    if lengths != [3, 3]:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {lengths[0]} and {lengths[1]}"
            + describe_operands(input=input, other=other)
        )
    return _cross("linalg.cross", input, other, axis)


@function("cross", out=True)
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross products of vectors along `dim`, or along the first axis of length 3; see linalg.cross. Same as torch.cross."""
    if dim is None:
        found = [axis for axis, size in enumerate(input.shape) if size == 3]
        if not found:
            raise RuntimeError(
                "cross: no dimension of size 3 in input" + describe_operands(input=input)
            )
        dim = found[0]
    return linalg_cross(input, other, dim=dim)


@function("kron", out=True)
def kron(input: Tensor, other: Tensor) -> Tensor:
    """Kronecker's product: every element of `input` times the whole of `other`; axes are counted from the last.

    Same as torch.kron.
    """
    from ..shaping import reshape, unsafe_view

    rank = max(input.ndim, other.ndim)
    outer, inner = ((1,) * (rank - t.ndim) + tuple(t.shape) for t in (input, other))
    left = reshape(input, [n for size in outer for n in (size, 1)])
    right = reshape(other, [n for size in inner for n in (1, size)])
    return unsafe_view(mul(left, right), tuple(a * b for a, b in zip(outer, inner, strict=True)))


# --- powers in columns


@function("linalg.vander")
def linalg_vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Each element's powers 0 to N - 1 along a new last axis, (..., n) -> (..., n, N); N is n where it is not given.

    Raises:
        RuntimeError: N is less than 2. Same as torch.linalg.vander.
    """
    if x.dtype is bool_ or (x.dtype.kind == "float" and x.dtype.itemsize == 2):
        raise RuntimeError(
            f"linalg.vander supports floating point, complex, and integer tensors, but got {type_name(x.dtype)}"
        )
    x = x if x.ndim else x.reshape(1)
    count = N if N is not None else int(x.shape[-1])
    if count <= 1:
        raise RuntimeError("N must be greater than 1.")
    return _powers(x, count)


def _powers(x: Tensor, count: int) -> Tensor:
    """1, x, x * x, ... along a new last axis; running products, so that integers, which become int64, and gradients are exact."""
    x = x if x.dtype.kind == "float" else x.to(int64)
    values = [x.new_ones(x.shape)]
    for _ in range(count - 1):
        values.append(mul(values[-1], x))
    return stack(values, -1)


@function("vander", method=False)
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of a vector's elements in columns, (n,) -> (n, N), the highest first unless `increasing`. Same as torch.vander."""
    from ..joining import flip

    if x.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    count = int(x.shape[0]) if N is None else N
    if count < 0:
        raise RuntimeError(f"N must be non-negative, got {count}")
    made = _powers(x, max(count, 1)).narrow(1, 0, count)
    return made if increasing else flip(made, [1])


# --- tensors as matrices


@function("linalg.tensorinv", out=True)
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A as a map from its axes behind `ind` to those before. Same as torch.linalg.tensorinv.

    Raises:
        RuntimeError: `ind` is not positive; the products of both parts of the shape differ. LinAlgError: singular.
    """
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    front, back = tuple(A.shape[:ind]), tuple(A.shape[ind:])
    rows, columns = math.prod(front), math.prod(back)
    if rows != columns:
        raise RuntimeError(
            f"Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{columns} != {rows}"
        )
    made: Tensor = inv(A.reshape(rows, columns)).reshape(*back, *front)
    return made


@function("linalg.tensorsolve", out=True)
def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """The X with tensordot(A, X) = B; `dims` are axes of A to move to its end first. Same as torch.linalg.tensorsolve.

    Raises:
        RuntimeError: A is not square as a map. LinAlgError: singular.
    """
    from ..shaping import movedim

    if dims is not None:
        moved = [each % A.ndim for each in dims]
        A = movedim(A, moved, list(range(A.ndim - len(moved), A.ndim)))
    back = tuple(A.shape[B.ndim :])
    count = B.numel()
    if math.prod(back) != count:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), "
            f"but got {math.prod(back)} != {count}"
        )
    made: Tensor = solve(A.reshape(count, math.prod(back)), B.reshape(-1)).reshape(back)
    return made


@function("linalg.diagonal")
def linalg_diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """A view of the diagonals of matrices. Same as torch.linalg.diagonal."""
    from ..shaping import diagonal

    return diagonal(A, offset, dim1, dim2)
