"""Solving with matrices: inv, solve, solve_triangular, det, slogdet, pinv, lstsq, cholesky_solve, and old names of them.

LAPACK computes them (ir/lapack.py); composites/solving.py has their gradients. A singular matrix is an error when a result is read.
"""

from __future__ import annotations

from ...composites.host import (
    called,
    columns,
    computed,
    identity,
    product,
    transposed,
)
from ...composites.solving import cholesky_solution
from ...ir.extern import host_call
from ...ir.node import Node, constant, unary, where
from ...ir.op import Op
from ...results import result, results, tensor_nodes
from ...tensor import Tensor
from ..arguments import broadcast_shapes, describe_operands
from ..registry import function
from ..return_types import return_type
from .matrices import (
    broadcast_batches,
    default_tolerance,
    matrix_node,
    require_alike,
    require_matrices,
    require_precision,
    require_square,
)

InvEx = return_type("linalg_inv_ex", "inverse", "info")
SolveEx = return_type("linalg_solve_ex", "result", "info")
Slogdet = return_type("linalg_slogdet", "sign", "logabsdet")
OldSlogdet = return_type("slogdet", "sign", "logabsdet")
TriangularSolve = return_type("triangular_solve", "solution", "cloned_coefficient")

Tolerance = float | Tensor | None


# --- inverses


def _inverse(name: str, matrix: Tensor, caller: str) -> tuple[Node, ...]:
    require_square(name, matrix)
    require_precision(name, matrix)
    return called("inv", matrix_node(matrix), caller=caller)


@function("linalg.inv", "inverse", out=True)
def inv(A: Tensor) -> Tensor:
    """The inverses of matrices (..., n, n).

    Raises:
        RuntimeError: not square, or not float32 or float64.
        LinAlgError: a matrix is singular; when the result is read.

    Same as torch.linalg.inv.
    """
    inverse, _ = _inverse("linalg.inv", A, "linalg.inv")
    return result("LinalgInvExBackward0", inverse, (A,), ("result",))


@function("linalg.inv_ex", out=True)
def inv_ex(A: Tensor, *, check_errors: bool = False) -> tuple[Tensor, Tensor]:
    """As `inv`, with int32 `info`: which pivot, from 1, is zero, or 0. Without `check_errors` nothing raises, and the inverse is infinite.

    Same as torch.linalg.inv_ex.
    """
    nodes = _inverse("linalg.inv_ex", A, "linalg.inv_ex" if check_errors else "")
    return InvEx(*results("LinalgInvExBackward0", nodes, (A,), (0,)))  # type: ignore[no-any-return]


# --- solutions


def _by(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape[-2:]))


def _require_fitting(name: str, left: Tensor, right: Tensor, from_left: bool) -> None:
    if left.shape[-1] != right.shape[-2 if from_left else -1]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if from_left else 'XA = B'} "
            f"({_by(left)} and {_by(right)})" + describe_operands(A=left, B=right)
        )


def _solution(
    name: str, left: Tensor, right: Tensor, from_left: bool, caller: str
) -> tuple[Node, Node]:
    """X and info."""
    require_square(name, left)
    require_precision(name, left, "lu_cpu")
    require_alike(name, left, right)
    a, b = tensor_nodes(left, right)
    vector = right.ndim == 1 or (left.ndim - 1 == right.ndim and right.shape == left.shape[:-1])
    if vector and not from_left:
        raise RuntimeError(
            f"{name}: Vector broadcasting of the left hand side is not supported for left=False. In this case "
            "linalg.solve is equivalent to B / A.squeeze(-1)"
        )
    if vector:
        batch = broadcast_shapes(name, tuple(left.shape[:-2]), tuple(right.shape[:-1]))
        if right.shape[-1] != left.shape[-1]:
            raise RuntimeError(
                f"{name}: Incompatible shapes of A and B for the equation AX = B ({_by(left)} and {right.shape[-1]}x1)"
                + describe_operands(A=left, B=right)
            )
        b = b.reshape((*b.shape, 1))
    else:
        require_matrices(name, right, "B")
        _require_fitting(name, left, right, from_left)
    if not from_left:
        a, b = transposed(a), transposed(b)
    a, b = broadcast_batches(name, a, b)
    solution, info = called("solve", a, b, caller=caller)
    if vector:
        solution = solution.reshape((*batch, left.shape[-1]))
    return solution if from_left else transposed(solution), info


@function("linalg.solve", out=True)
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """The X with A @ X = B, or X @ A = B without `left`; batches broadcast.

    Args:
        A: (..., n, n); B: (..., n, k), or vectors: (n,), or (..., n) with the batch of A.

    Raises:
        RuntimeError: A is not square; shapes do not fit; dtypes differ, or are not float32 or float64.
        LinAlgError: a matrix is singular; when the result is read.

    Same as torch.linalg.solve.
    """
    solution, _ = _solution("linalg.solve", A, B, left, "torch.linalg.solve")
    return result("LinalgSolveExBackward0", solution, (A, B), (A, "result"))


@function("linalg.solve_ex", out=True)
def solve_ex(
    A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False
) -> tuple[Tensor, Tensor]:
    """As `solve`, with int32 `info`: which pivot is zero, or 0. Same as torch.linalg.solve_ex."""
    caller = "torch.linalg.solve_ex" if check_errors else ""
    nodes = _solution("linalg.solve_ex", A, B, left, caller)
    return SolveEx(*results("LinalgSolveExBackward0", nodes, (A, B), (A, 0)))  # type: ignore[no-any-return]


def _triangular(a: Node, b: Node, upper: bool, unit: bool) -> Node:
    (solution,) = called("solve_triangular", a, b, upper=upper, unit=unit)
    return solution


@function("linalg.solve_triangular", out=True)
def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """The X with A @ X = B, or X @ A = B without `left`, where of A only one triangle is read; batches broadcast.

    Args:
        A: (..., n, n); B: (..., n, k), (..., k, n) without `left`.
        unitriangular: the diagonal of A is taken for ones, and not read.

    Raises:
        RuntimeError: A is not square; shapes do not fit; dtypes differ, or are not float32 or float64.

    Same as torch.linalg.solve_triangular. A zero on the diagonal gives infinities and NaNs.
    """
    name = "linalg.solve_triangular"
    require_alike(name, A, B)
    require_square(name, A)
    require_matrices(name, B, "B")
    _require_fitting(name, A, B, left)
    require_precision(name, A, "triangular_solve_cpu", integers=True)
    a, b = tensor_nodes(A, B)
    if not left:
        a, b, upper = transposed(a), transposed(b), not upper
    solution = _triangular(*broadcast_batches(name, a, b), upper, unitriangular)
    node = solution if left else transposed(solution)
    return result("LinalgSolveTriangularBackward0", node, (A, B), (A, "result"))


@function("triangular_solve", out=True)
def triangular_solve(
    input: Tensor,
    A: Tensor,
    upper: bool = True,
    transpose: bool = False,
    unitriangular: bool = False,
) -> tuple[Tensor, Tensor]:
    """The X with A @ X = input, or A.T @ X = input with `transpose`, and a copy of A: the old form of linalg.solve_triangular.

    Same as torch.triangular_solve.
    """
    name = "triangular_solve"
    require_matrices(name, input, "b")
    require_square(name, A)
    require_alike(name, input, A, ("b", "A"))
    require_precision(name, A, "triangular_solve_cpu", integers=True)
    _require_fitting(name, A, input, True)
    b, a = tensor_nodes(input, A)
    a, b = broadcast_batches(name, a, b)
    matrix, upper = (transposed(a), not upper) if transpose else (a, upper)
    nodes = _triangular(matrix, b, upper, unitriangular), a
    return TriangularSolve(*results("TriangularSolveBackward0", nodes, (input, A), (A, 0)))  # type: ignore[no-any-return]


@function("cholesky_solve", out=True)
def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """The X with L @ L.T @ X = B, or L.T @ L @ X = B with `upper`; batches broadcast.

    Args:
        B: (..., n, k); L: (..., n, n), of which one triangle is read.

    Raises:
        RuntimeError: L is not square; shapes do not fit; dtypes differ, or are not float32 or float64.

    Same as torch.cholesky_solve.
    """
    name = "cholesky_solve"
    if B.ndim < 2 or L.ndim < 2:
        raise RuntimeError(
            f"{name}: b should have at least 2 dimensions, but has {B.ndim} dimensions instead, and u {L.ndim}"
        )
    require_square(name, L)
    require_alike(name, L, B)
    require_precision(name, L, "cholesky_solve_cpu", integers=True)
    _require_fitting(name, L, B, True)
    b, factor = tensor_nodes(B, L)
    a, b = broadcast_batches(name, transposed(factor) if upper else factor, b)
    node = cholesky_solution(a, b)
    return result("CholeskySolveBackward0", node, (B, L), (B, L, "result"))


@function("cholesky_inverse", out=True)
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of L @ L.T, or of L.T @ L with `upper`, for triangular L (..., n, n). Same as torch.cholesky_inverse."""
    name = "cholesky_inverse"
    require_square(name, L)
    require_precision(name, L, "cholesky_inverse_out_cpu", integers=True)
    (factor,) = tensor_nodes(L)
    a = transposed(factor) if upper else factor
    node = cholesky_solution(a, identity(a, int(a.shape[-1])))  # type: ignore[arg-type]
    return result("CholeskyInverseBackward0", node, (L,), (L, "result"))


# --- determinants


@function("linalg.det", "det", out=True)
def det(A: Tensor) -> Tensor:
    """The determinants (...) of matrices (..., n, n). The gradient is that of singular matrices too. Same as torch.linalg.det.

    Raises:
        RuntimeError: not square, or not floating. NotImplementedError: a half type.
    """
    require_square("linalg.det", A)
    require_precision("linalg.det", A, "lu_cpu")
    (node,) = called("det", matrix_node(A))
    return result("LinalgDetBackward0", node, (A,), (A, "result"))


def _slogdet(matrix: Tensor) -> tuple[Tensor, ...]:
    require_square("linalg.slogdet", matrix)
    require_precision("linalg.slogdet", matrix)
    return results(
        "LinalgSlogdetBackward0", called("slogdet", matrix_node(matrix)), (matrix,), (matrix,)
    )


@function("linalg.slogdet", out=True)
def linalg_slogdet(A: Tensor) -> tuple[Tensor, Tensor]:
    """The sign of the determinants (...) of matrices (..., n, n), and the logarithm of their absolute values; 0 and -inf for singular ones.

    Same as torch.linalg.slogdet.
    """
    return Slogdet(*_slogdet(A))  # type: ignore[no-any-return]


@function("slogdet", out=True)
def slogdet(input: Tensor) -> tuple[Tensor, Tensor]:
    """The old name of linalg.slogdet. Same as torch.slogdet."""
    return OldSlogdet(*_slogdet(input))  # type: ignore[no-any-return]


@function("logdet")
def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinants; NaN where they are negative. Same as torch.logdet."""
    from ..gathering import where as choose

    sign, logarithm = _slogdet(input)
    made: Tensor = choose(sign == -1.0, float("nan"), logarithm)
    return made


# --- the pseudo-inverse


def tolerance(values: Node, shape: tuple[int, int], atol: Tolerance, rtol: Tolerance) -> Node:
    """From which size on singular values (..., k) of matrices of `shape` count: max(atol, rtol * the largest), as (..., 1).

    Without both, rtol is the precision times the larger size; with atol alone, it is 0.
    """
    if rtol is None:
        given = isinstance(atol, Tensor) or bool(atol)
        rtol = 0.0 if given else default_tolerance(values.dtype) * max(shape)
    largest = values.reduce("max", (len(values.shape) - 1,))
    relative, absolute = (_bound(each, values) for each in (rtol, 0.0 if atol is None else atol))
    batch = broadcast_shapes("tolerance", largest.shape, relative.shape, absolute.shape)  # type: ignore[arg-type]
    return (relative.expand(batch) * largest.expand(batch)).maximum(absolute.expand(batch))


def _bound(value: float | Tensor, like: Node) -> Node:
    """A tolerance, which may be a tensor of the batch, as (..., 1)."""
    if not isinstance(value, Tensor):
        return constant(value, like.dtype, (1,), like.place)
    (node,) = tensor_nodes(value.detach())
    return node.cast(like.dtype).reshape((*node.shape, 1))


def pseudo_inverse(
    name: str, node: Node, atol: Tolerance, rtol: Tolerance, hermitian: bool
) -> Node:
    """The pseudo-inverse, by singular values, or for symmetric matrices by eigenvalues."""
    shape: tuple[int, int] = node.shape[-2:]  # type: ignore[assignment]
    if 0 in node.shape:
        empty = transposed(node).stop()
        return computed("pinv", [node], [empty])[0]
    if hermitian:
        values, vectors = host_call("eigh", [node], lower=True, caller=name)
        left, right, sizes = vectors, transposed(vectors), unary(Op.ABS, values)
    else:
        left, values, right = host_call("svd", [node], full=False, caller=name)
        sizes = values
    least = tolerance(sizes, shape, atol, rtol)
    batch = broadcast_shapes(name, sizes.shape[:-1], least.shape[:-1])  # type: ignore[arg-type]
    node, left, right = (each.expand((*batch, *each.shape[-2:])) for each in (node, left, right))
    sizes, values = (each.expand((*batch, each.shape[-1])) for each in (sizes, values))
    counts = least.expand(sizes.shape).lt(sizes)
    inverse = where(counts, 1.0 / where(counts, values, 1.0), 0.0)
    turned = transposed(right)
    found = product(turned * columns(inverse, turned), transposed(left))
    return computed("pinv", [node], [found])[0]


@function("linalg.pinv", out=True)
def pinv(
    A: Tensor,
    rcond: Tolerance = None,
    hermitian: bool = False,
    *,
    atol: Tolerance = None,
    rtol: Tolerance = None,
) -> Tensor:
    """The pseudo-inverse (..., n, m) of matrices (..., m, n).

    Args:
        atol, rtol: singular values up to max(atol, rtol * the largest) count as 0; numbers, or tensors of the batch. `rcond` is rtol.
        hermitian: the matrices are symmetric: eigenvalues are taken, and the lower triangle is read.

    Raises:
        RuntimeError: fewer than 2 axes; not square with `hermitian`; not float32 or float64. LinAlgError: no convergence.

    Same as torch.linalg.pinv.
    """
    name = "linalg.pinv"
    (require_square if hermitian else require_matrices)(name, A)
    require_precision(name, A)
    rtol = rcond if rtol is None else rtol
    node = pseudo_inverse(name, matrix_node(A), atol, rtol, hermitian)
    return result("LinalgPinvBackward0", node, (A,), (A, "result"))


@function("pinverse")
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The old name of linalg.pinv, with another tolerance. Same as torch.pinverse."""
    return pinv(input, rcond)
