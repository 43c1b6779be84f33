"""Factorisations: cholesky, qr, eigh, svd, reflections, and the old names of them in the package itself; and the exponential.

LAPACK computes them (ir/lapack.py); composites/factorization.py has their gradients. Errors of the data (not positive-definite, no
convergence) are raised when a result is read. Where only singular values or eigenvalues are wanted and no gradient, no vectors are computed.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...composites.host import called, identity, lower_triangle, product, transposed
from ...ir.build import shrink
from ...ir.dtype import float32, float64
from ...ir.extern import host_call
from ...ir.node import Node, accumulation, constant
from ...results import from_node, grad_enabled, result, results, tensor_nodes
from ...tensor import Tensor
from ..arguments import no_kernel, type_name
from ..registry import Outcome, function, operator
from ..return_types import return_type
from .matrices import matrix_node, require_matrices, require_precision, require_square

CholeskyEx = return_type("linalg_cholesky_ex", "L", "info")
Geqrf = return_type("geqrf", "a", "tau")
Eigh = return_type("linalg_eigh", "eigenvalues", "eigenvectors")
Qr = return_type("linalg_qr", "Q", "R")
OldQr = return_type("qr", "Q", "R")
Svd = return_type("linalg_svd", "U", "S", "Vh")
OldSvd = return_type("svd", "U", "S", "V")


# --- Cholesky


def _cholesky(name: str, matrix: Tensor, upper: bool, caller: str) -> tuple[Node, Node]:
    require_square(name, matrix)
    require_precision(name, matrix, "cholesky_cpu", integers=name == "cholesky")
    node = matrix_node(matrix)
    factor, info = called("cholesky", transposed(node) if upper else node, caller=caller)
    return lower_triangle(factor), info


@function("linalg.cholesky", out=True)
def linalg_cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L of positive-definite matrices (..., n, n) with A = L @ L.T; with `upper`, A = U.T @ U.

    Of A one triangle is read, the upper one with `upper`.

    Raises:
        RuntimeError: not square, or not float32 or float64.
        LinAlgError: a matrix is not positive-definite; when the result is read.

    Same as torch.linalg.cholesky.
    """
    factor, _ = _cholesky("linalg.cholesky", A, upper, "linalg.cholesky")
    node = transposed(factor) if upper else factor
    return result("LinalgCholeskyExBackward0", node, (A,), ("result",))


@function("linalg.cholesky_ex", out=True)
def cholesky_ex(
    A: Tensor, *, upper: bool = False, check_errors: bool = False
) -> tuple[Tensor, Tensor]:
    """As `cholesky`, with int32 `info`: the order of the leading minor that is not positive, or 0. Without `check_errors` nothing raises.

    Same as torch.linalg.cholesky_ex.
    """
    caller = "linalg.cholesky_ex" if check_errors else ""
    factor, info = _cholesky("linalg.cholesky_ex", A, upper, caller)
    nodes = (transposed(factor) if upper else factor, info)
    return CholeskyEx(*results("LinalgCholeskyExBackward0", nodes, (A,), (0,)))  # type: ignore[no-any-return]


@function("cholesky", out=True)
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """The old name of linalg.cholesky. Same as torch.cholesky."""
    factor, _ = _cholesky("cholesky", input, upper, "cholesky")
    node = transposed(factor) if upper else factor
    return result("CholeskyBackward0", node, (input,), ("result",))


# --- QR


@function("linalg.qr", out=True)
def linalg_qr(A: Tensor, mode: str = "reduced") -> tuple[Tensor, Tensor]:
    """Q with orthonormal columns and R upper triangular with A = Q @ R.

    Args:
        A: (..., m, n).
        mode: "reduced": Q is (..., m, k) and R (..., k, n), k = min(m, n); "complete": (..., m, m) and (..., m, n); "r": Q is empty.

    Raises:
        RuntimeError: fewer than 2 axes; not float32 or float64; another mode. When a gradient is computed: mode="r", or "complete" with
            m > n, which do not determine it.

    Same as torch.linalg.qr.
    """
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    return Qr(*_qr("linalg.qr", A, mode))  # type: ignore[no-any-return]


def _qr(name: str, matrix: Tensor, mode: str) -> tuple[Tensor, ...]:
    require_matrices(name, matrix)
    require_precision(name, matrix, "geqrf_cpu")
    node = matrix_node(matrix)
    nodes = called("qr", node, mode=mode)
    if mode == "r":
        nodes = (constant(0, node.dtype, (0,), node.place), *nodes)
    return results("LinalgQrBackward0", nodes, (matrix,), (0, 1))


@function("qr", out=True)
def qr(input: Tensor, some: bool = True) -> tuple[Tensor, Tensor]:
    """The old name of linalg.qr; `some` is mode="reduced". Same as torch.qr."""
    return OldQr(*_qr("linalg.qr", input, "reduced" if some else "complete"))  # type: ignore[no-any-return]


# --- symmetric eigenvalues


def _symmetric(name: str, matrix: Tensor, triangle: str) -> bool:
    """Check the arguments; whether the lower triangle is read."""
    require_square(name, matrix)
    require_precision(name, matrix, "linalg_eigh_cpu", integers=True)
    if triangle.upper() not in ("L", "U"):
        raise RuntimeError(f"{name}: Expected UPLO argument to be 'L' or 'U', but got {triangle}")
    return triangle.upper() == "L"


@function("linalg.eigh", out=True)
def eigh(A: Tensor, UPLO: str = "L") -> tuple[Tensor, Tensor]:
    """The eigenvalues (..., n) of symmetric matrices (..., n, n), ascending, and eigenvectors as columns (..., n, n).

    Of A only the lower triangle is read, with UPLO="U" the upper one. The gradient is that of a symmetric matrix; that of the vectors is
    finite only where eigenvalues differ, and says nothing about their signs.

    Raises:
        RuntimeError: not square, or not float32 or float64; another UPLO.
        LinAlgError: no convergence; when a result is read.

    Same as torch.linalg.eigh.
    """
    lower = _symmetric("linalg.eigh", A, UPLO)
    nodes = called("eigh", matrix_node(A), lower=lower, caller="linalg.eigh")
    return Eigh(*results("LinalgEighBackward0", nodes, (A,), (0, 1)))  # type: ignore[no-any-return]


@function("linalg.eigvalsh", out=True)
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric matrices, ascending; see `eigh`. Same as torch.linalg.eigvalsh."""
    lower = _symmetric("linalg.eigvalsh", A, UPLO)
    return result(
        "LinalgEighBackward0", eigenvalues(A, lower, "linalg.eigvalsh"), (A,), ("result",)
    )


def eigenvalues(matrix: Tensor, lower: bool, caller: str) -> Node:
    """The eigenvalues alone; with the vectors where a gradient will need them."""
    node = matrix_node(matrix)
    if matrix.requires_grad and grad_enabled():
        return called("eigh", node, lower=lower, caller=caller)[0]
    return host_call("eigvalsh", [node], lower=lower, caller=caller)[0]


# --- singular values


def _require_svd(name: str, matrix: Tensor, driver: str | None = None) -> None:
    require_matrices(name, matrix)
    require_precision(name, matrix, "linalg_svd_cpu")
    if driver is not None:
        raise RuntimeError(
            f"{name}: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend."
        )


@function("linalg.svd", out=True)
def linalg_svd(
    A: Tensor, full_matrices: bool = True, *, driver: str | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and Vh with A = U @ diag(S) @ Vh: orthonormal columns and rows, and the singular values, descending.

    Args:
        A: (..., m, n).
        full_matrices: U is (..., m, m) and Vh (..., n, n); without it (..., m, k) and (..., k, n), k = min(m, n).

    The gradient of the vectors is finite only where singular values differ; those beyond the k first have none.

    Raises:
        RuntimeError: fewer than 2 axes; not float32 or float64; a `driver`, which other devices have.
        LinAlgError: no convergence, or values that are not finite; when a result is read.

    Same as torch.linalg.svd.
    """
    _require_svd("linalg.svd", A, driver)
    nodes = called("svd", matrix_node(A), full=full_matrices, caller="linalg.svd")
    return Svd(*results("LinalgSvdBackward0", nodes, (A,), (0, 1, 2)))  # type: ignore[no-any-return]


@function("linalg.svdvals", out=True)
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values (..., k), descending; see `svd`. Same as torch.linalg.svdvals."""
    _require_svd("linalg.svdvals", A, driver)
    return result("LinalgSvdBackward0", singular_values(A, "linalg.svdvals"), (A,), ("result",))


def singular_values(matrix: Tensor, caller: str) -> Node:
    """The singular values alone; with the vectors where a gradient will need them."""
    node = matrix_node(matrix)
    if matrix.requires_grad and grad_enabled():
        return called("svd", node, full=False, caller=caller)[1]
    return host_call("svdvals", [node], caller=caller)[0]


@function("svd", out=True)
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and V with A = U @ diag(S) @ V.T, the old form of linalg.svd.

    Args:
        some: as full_matrices=False; `compute_uv`: without it U and V are zeros.

    Same as torch.svd.
    """
    from ..shaping import transpose

    if compute_uv:
        left, values, right = linalg_svd(input, not some)
        return OldSvd(left, values, transpose(right, -2, -1))  # type: ignore[no-any-return]
    values = svdvals(input)
    batch = tuple(input.shape[:-2])
    left, right = (
        from_node(constant(0, input.dtype, (*batch, size, size), input.place))
        for size in input.shape[-2:]
    )
    return OldSvd(left, values, right)  # type: ignore[no-any-return]


# --- Householder's reflections


@function("geqrf", out=True, exact=True)
def geqrf(input: Tensor) -> tuple[Tensor, Tensor]:
    """R in the upper triangle, and below it the vectors of the reflections whose product is Q; the factor of each reflection as `tau`.

    Not differentiable. Same as torch.geqrf.
    """
    require_matrices("geqrf", input)
    require_precision("geqrf", input, "geqrf_cpu")
    packed, factors = host_call("geqrf", [matrix_node(input.detach())])
    return Geqrf(from_node(packed), from_node(factors))  # type: ignore[no-any-return]


def reflected(packed: Node, factors: Node, other: Node, order: Iterable[int]) -> Node:
    """`other` after the reflections 1 - factors[i] v v.T, one after the other, v column i of `packed` below a one on the diagonal."""
    zeros = (0,) * len(packed.shape)
    rows: int = packed.shape[-2]  # type: ignore[assignment]
    vectors = lower_triangle(packed, -1) + shrink(identity(packed, rows), zeros, packed.shape)
    for index in order:
        vector = shrink(vectors, (*zeros[:-1], index), (*packed.shape[:-1], 1))
        factor = shrink(factors, (*zeros[:-2], index), (*factors.shape[:-1], 1))
        scaled = vector * factor.reshape((*factor.shape, 1)).expand(vector.shape)
        other = other - product(scaled, product(transposed(vector), other))
    return other


@function("linalg.householder_product", "orgqr", out=True)
def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first n columns of the product of reflections 1 - tau[i] v v.T, where v is column i of A below a one on the diagonal.

    Args:
        A: (..., m, n) with m >= n; tau: (..., k) with k <= n.

    Raises:
        RuntimeError: shapes or dtypes do not fit.

    Same as torch.linalg.householder_product.
    """
    name = "torch.linalg.householder_product"
    require_matrices(name, A, "input")
    if A.shape[-2] < A.shape[-1]:
        raise RuntimeError(
            f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1]"
        )
    if A.shape[-1] < tau.shape[-1]:
        raise RuntimeError(
            f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]"
        )
    if A.ndim != tau.ndim + 1:
        raise RuntimeError(
            f"{name}: Expected tau to have one dimension less than input, but got tau.ndim equal to {tau.ndim} and "
            f"input.ndim is equal to {A.ndim}"
        )
    if A.shape[:-2] != tau.shape[:-1]:
        raise RuntimeError(
            f"{name}: Expected batch of tau to be equal to {tuple(A.shape[:-2])}, but got {tuple(tau.shape[:-1])}"
        )
    if A.dtype is not tau.dtype:
        raise RuntimeError(f"{name}: tau dtype {tau.dtype} does not match input dtype {A.dtype}")
    require_precision(name, A)
    packed, factors = tensor_nodes(A, tau)
    zeros = (0,) * A.ndim
    rows, columns = int(A.shape[-2]), int(A.shape[-1])
    whole = shrink(identity(packed, rows), zeros, packed.shape)
    whole = reflected(packed, factors, whole, reversed(range(int(tau.shape[-1]))))
    assert whole.shape[-1] == columns
    return result("LinalgHouseholderProductBackward0", whole, (A, tau), (A, tau, "result"))


# --- the exponential


@function("linalg.matrix_exp", "matrix_exp")
def matrix_exp(A: Tensor) -> Tensor:
    """The exponential of square matrices, 1 + A + A @ A / 2 + ..., computed in float64.

    Raises:
        RuntimeError: not square, or not floating.

    Same as torch.linalg.matrix_exp.
    """
    require_square("linalg.matrix_exp", A)
    if A.dtype.kind != "float":
        raise RuntimeError(
            f"linalg.matrix_exp: Expected a floating point or complex tensor as input. Got {type_name(A.dtype)}"
        )
    node = matrix_node(A)
    (found,) = called("matrix_exp", node.cast(accumulation(node.dtype)))
    return result("LinalgMatrixExpBackward0", found.cast(node.dtype), (A,), (A,))


@operator("ormqr")
def ormqr(
    input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False
) -> Outcome:
    """Q @ other, with the orthogonal Q of (m, m) that `geqrf` gives as reflections; they are applied one after the other.

    Args:
        input: (..., m or n, k), tau: (..., k): the reflections, as `householder_product` takes them.
        other: (..., m, n).
        left: other @ Q if False. transpose: Q.mT in the place of Q.

    Raises:
        RuntimeError: shapes or dtypes do not fit. NotImplementedError: the dtype is not float32 or float64.

    Same as torch.ormqr.
    """
    name, side = "torch.ormqr", -2 if left else -1
    if input.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if other.ndim < 2:
        raise RuntimeError(f"{name}: other must have at least 2 dimensions.")
    if other.shape[side] < tau.shape[-1]:
        raise RuntimeError(
            f"{name}: other.shape[{side}] must be greater than or equal to tau.shape[-1]"
        )
    if other.shape[side] != input.shape[-2]:
        raise RuntimeError(f"{name}: other.shape[{side}] must be equal to input.shape[-2]")
    if tau.shape[-1] != min(other.shape[side], input.shape[-1]):
        raise RuntimeError(
            f"{name}: tau.shape[-1] must be equal to min(other.shape[{side}], input.shape[-1])"
        )
    if input.ndim != tau.ndim + 1:
        raise RuntimeError(
            f"{name}: Expected tau to have one dimension less than input, but got tau.ndim equal to {tau.ndim} and "
            f"input.ndim is equal to {input.ndim}"
        )
    if input.ndim != other.ndim:
        raise RuntimeError(
            f"{name}: Expected other to have the same number of dimensions as input, but got other.ndim equal to "
            f"{other.ndim} and input.ndim is equal to {input.ndim}"
        )
    if input.shape[:-2] != tau.shape[:-1] or input.shape[:-2] != other.shape[:-2]:
        raise RuntimeError(
            f"{name}: Expected batch of tau and other to be equal to {tuple(input.shape[:-2])}, but got "
            f"{tuple(tau.shape[:-1])} and {tuple(other.shape[:-2])}"
        )
    for word, each in (("tau", tau), ("other", other)):
        if each.dtype is not input.dtype:
            raise RuntimeError(
                f"{name}: Expected input and {word} to have the same dtype, but input has dtype {input.dtype} and {word} "
                f"has dtype {each.dtype}"
            )
    if input.dtype not in (float32, float64):
        raise no_kernel("ormqr", input.dtype)
    packed, factors, made = tensor_nodes(input, tau, other)
    count = int(tau.shape[-1])
    if input.shape[-1] > count:
        packed = shrink(packed, (0,) * input.ndim, (*packed.shape[:-1], count))
    forward = left == transpose  # the last reflection is the innermost of Q @ other
    order = range(count) if forward else reversed(range(count))
    made = reflected(packed, factors, made if left else transposed(made), order)
    return Outcome(
        "OrmqrBackward0",
        made if left else transposed(made),
        (input, tau, other),
        (input, tau, other),
    )
