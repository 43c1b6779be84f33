"""Triangular factors with row exchanges: lu, lu_factor, lu_solve, their old names, and lu_unpack.

The host eliminates (ir/lapack.py); composites/factorization.py has the gradient. The order of rows is no number that a gradient goes to.
"""

from __future__ import annotations

from ...composites.host import called, identity, lower_triangle, upper_triangle
from ...ir.build import gather, scatter, shrink
from ...ir.dtype import int32, int64
from ...ir.extern import host_call
from ...ir.node import Node, constant, iota
from ...results import from_node, result, results, tensor_nodes
from ...tensor import Tensor
from ..arguments import describe_operands, sizes_text
from ..registry import function
from ..return_types import return_type
from .matrices import (
    broadcast_batches,
    matrix_node,
    require_matrices,
    require_precision,
    require_square,
)

Lu = return_type("linalg_lu", "P", "L", "U")
LuFactor = return_type("linalg_lu_factor", "LU", "pivots")
LuFactorEx = return_type("linalg_lu_factor_ex", "LU", "pivots", "info")
LuUnpack = return_type("lu_unpack", "P", "L", "U")


def _factors(name: str, matrix: Tensor, pivot: bool, caller: str) -> tuple[Node, ...]:
    """The packed factors, the exchanges, the order of the rows, and which pivot is zero."""
    require_matrices(name, matrix)
    require_precision(name, matrix, "lu_cpu")
    if not pivot:
        raise RuntimeError("linalg.lu_factor: LU without pivoting is not implemented on the CPU")
    return called("lu", matrix_node(matrix), caller=caller)


@function("linalg.lu_factor", out=True, exact=True)
def lu_factor(A: Tensor, *, pivot: bool = True) -> tuple[Tensor, Tensor]:
    """The factors of matrices with exchanged rows, P @ L @ U = A, in one: L below the diagonal, where it has ones, and U.

    Args:
        A: (..., m, n).
        pivot: must be True.

    Returns: LU, (..., m, n), and int32 pivots (..., min(m, n)): the row, from 1, that each step exchanges its own with.

    Raises:
        RuntimeError: fewer than 2 axes; not float32 or float64; pivot=False.
        LinAlgError: a zero on the diagonal of U; when a result is read.

    Same as torch.linalg.lu_factor.
    """
    packed, pivots, _, _ = _factors("linalg.lu_factor", A, pivot, "torch.linalg.lu_factor")
    return LuFactor(*results("LinalgLuFactorExBackward0", (packed, pivots), (A,), (0,)))  # type: ignore[no-any-return]


@function("linalg.lu_factor_ex", out=True, exact=True)
def lu_factor_ex(
    A: Tensor, *, pivot: bool = True, check_errors: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """As `lu_factor`, with int32 `info`: the first zero on the diagonal of U, from 1, or 0. Without `check_errors` nothing raises.

    Same as torch.linalg.lu_factor_ex.
    """
    caller = "torch.linalg.lu_factor_ex" if check_errors else ""
    packed, pivots, _, info = _factors("linalg.lu_factor_ex", A, pivot, caller)
    return LuFactorEx(*results("LinalgLuFactorExBackward0", (packed, pivots, info), (A,), (0,)))  # type: ignore[no-any-return]


def _triangles(packed: Node) -> tuple[Node, Node]:
    """L with its diagonal of ones, and U, of packed factors."""
    *batch, rows, columns = packed.shape
    count = min(int(rows), int(columns))  # type: ignore[arg-type]
    zeros = (0,) * len(packed.shape)
    left = shrink(packed, zeros, (*batch, rows, count))
    right = shrink(packed, zeros, (*batch, count, columns))
    ones = identity(left, int(rows))  # type: ignore[arg-type]
    return lower_triangle(left, -1) + shrink(ones, zeros, left.shape), upper_triangle(right)


def _exchange(order: Node, like: Node) -> Node:
    """The matrix P that puts rows in an order back: P[order[i], i] is 1."""
    rows = order.shape[-1]
    shape = (*order.shape, rows)
    place = iota(rows, int64, order.place).reshape((*(1,) * (len(shape) - 2), rows, 1))
    return order.reshape((*order.shape[:-1], 1, rows)).expand(shape).eq(place.expand(shape)).cast(like.dtype)  # fmt: skip


@function("linalg.lu", out=True, exact=True)
def linalg_lu(A: Tensor, *, pivot: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """The factors P, a permutation, L, lower triangular with ones on its diagonal, and U, upper triangular, with P @ L @ U = A.

    Args:
        A: (..., m, n).

    Returns: (..., m, m), (..., m, k) and (..., k, n), k = min(m, n).

    Raises:
        RuntimeError: fewer than 2 axes; not float32 or float64; pivot=False.

    Same as torch.linalg.lu.
    """
    packed, _, order, _ = _factors("linalg.lu", A, pivot, "")
    lower, upper = _triangles(packed)
    exchange = from_node(_exchange(order, packed))
    return Lu(exchange, *results("LinalgLuBackward0", (lower, upper), (A,), (0, 1)))  # type: ignore[no-any-return]


@function("lu_unpack", method=False, out=True, exact=True)
def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """P, L and U of what `lu_factor` gives; with `unpack_data` or `unpack_pivots` False, L and U or P are empty.

    Raises:
        RuntimeError: the pivots are not int32.

    Same as torch.lu_unpack.
    """
    if unpack_pivots and LU_pivots.dtype is not int32:
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype.\n"
            "Note: this function is intended to be used with the output produced by torch.linalg.lu_factor"
        )
    packed, pivots = tensor_nodes(LU_data, LU_pivots)
    nothing = constant(0, packed.dtype, (0,), packed.place)
    exchange = nothing
    if unpack_pivots:
        (order,) = host_call("row_order", [pivots], rows=int(LU_data.shape[-2]))
        exchange = _exchange(order, packed)
    lower, upper = _triangles(packed) if unpack_data else (nothing, nothing)
    return LuUnpack(from_node(exchange), *results("LuUnpackBackward0", (lower, upper), (LU_data,)))  # type: ignore[no-any-return]


# --- solutions


def _rows(node: Node, order: Node) -> Node:
    """The rows of matrices in an order."""
    rank = len(node.shape)
    index = order.reshape((*order.shape, 1)).expand((*order.shape, node.shape[-1]))
    return gather(node, index, rank - 2)


def _rows_back(node: Node, order: Node) -> Node:
    """The rows of matrices put back where an order took them from."""
    rank = len(node.shape)
    index = order.reshape((*order.shape, 1)).expand(node.shape)
    return scatter(constant(0, node.dtype, node.shape, node.place), index, node, rank - 2)


@function("linalg.lu_solve", out=True)
def linalg_lu_solve(
    LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    """The X with A @ X = B for the A that `lu_factor` took apart.

    Args:
        LU: (..., n, n); pivots: int32 (..., n); B: (..., n, k), or (..., k, n) where not `left`. Batches broadcast.
        left: False solves X @ A = B. adjoint: A is taken transposed.

    Raises:
        RuntimeError: shapes or dtypes do not fit.

    Same as torch.linalg.lu_solve.
    """
    name = "torch.linalg.lu_solve"
    require_precision("linalg.lu_solve", LU)
    if LU.dtype is not B.dtype:
        raise RuntimeError(
            f"linalg.lu_solve: Expected LU and B to have the same dtype, but found LU of type {LU.dtype} and B of type {B.dtype} instead"
        )
    if pivots.dtype is not int32:
        raise RuntimeError(
            f"{name}: pivots should be a Tensor of scalar type torch.int32. Got {pivots.dtype}"
        )
    require_square("torch.linalg.lu_solve", LU, "LU")
    require_matrices("torch.linalg.lu_solve", B, "B")
    if LU.shape[-1] != B.shape[-2 if left else -1]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
            f"({LU.shape[-2]}x{LU.shape[-1]} and {B.shape[-2]}x{B.shape[-1]})"
        )
    if LU.shape[:-1] != pivots.shape:
        raise RuntimeError(
            f"{name}: Number of pivots per batch should be same as the dimension of the matrix, but got LU {sizes_text(LU.shape)} and "
            f"pivots {sizes_text(pivots.shape)}" + describe_operands(LU=LU, pivots=pivots)
        )
    packed, exchanges, right = tensor_nodes(LU, pivots, B)
    (order,) = host_call("row_order", [exchanges], rows=int(LU.shape[-1]))
    if not left:
        right = right.permute([*range(B.ndim - 2), B.ndim - 1, B.ndim - 2])
    packed, right = broadcast_batches("linalg.lu_solve", packed, right)
    order = order.expand((*packed.shape[:-2], order.shape[-1]))
    found = _solution(packed, order, right, adjoint == left)
    if not left:
        found = found.permute([*range(len(found.shape) - 2), len(found.shape) - 1, len(found.shape) - 2])  # fmt: skip
    return result("LinalgLuSolveBackward0", found, (LU, B), (LU, "result"))


def _solution(packed: Node, order: Node, right: Node, turned: bool) -> Node:
    """A^-1 B, or with `turned` A^-T B."""

    def solve(by: Node, upper: bool, unit: bool, b: Node) -> Node:
        return called("solve_triangular", by, b, upper=upper, unit=unit)[0]

    if not turned:
        return solve(packed, True, False, solve(packed, False, True, _rows(right, order)))
    rank = len(packed.shape)
    flipped = packed.permute([*range(rank - 2), rank - 1, rank - 2])
    return _rows_back(solve(flipped, True, True, solve(flipped, False, False, right)), order)


@function("lu_solve", out=True)
def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """The older form of linalg.lu_solve. Same as torch.lu_solve."""
    return linalg_lu_solve(LU_data, LU_pivots, b)


@function("lu", out=True)
def lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> tuple[Tensor, ...]:
    """The older form of linalg.lu_factor_ex: LU, pivots, and with `get_infos` info. Same as torch.lu.

    Raises:
        RuntimeError: as linalg.lu_factor; LinAlgError: without `get_infos` a zero on the diagonal of U; when a result is read.
    """
    packed, pivots, info = lu_factor_ex(A, pivot=pivot, check_errors=not get_infos)
    return (packed, pivots, info) if get_infos else (packed, pivots)
