"""Factorisations of a few ranks: svd_lowrank and pca_lowrank, by random projections; lobpcg.

As in Halko, Martinsson and Tropp, "Finding structure with randomness", 2009, algorithms 4.4 and 5.1.
"""

from __future__ import annotations

from ...random import randn
from ...tensor import Tensor
from ..arguments import type_name
from ..registry import function
from .factorizations import cholesky, eigh, linalg_qr, linalg_svd
from .matrices import require_matrices, require_precision
from .solving import solve_triangular


@function("svd_lowrank", method=False)
def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and V of about the q largest singular values of A - M: A - M is close to U @ diag(S) @ V.mT.

    Args:
        A: (..., m, n), float32 or float64.
        q: how many; None for 6.
        niter: how often the projection is sharpened.
        M: what is taken off, of a shape that broadcasts to that of A.

    Returns: U (..., m, q), S (..., q), V (..., n, q). Other random numbers than PyTorch's are drawn.

    Raises:
        RuntimeError: A is no matrix, or not floating.

    Same as torch.svd_lowrank.
    """
    require_matrices("svd_lowrank", A, "A")
    if A.dtype.kind != "float":
        raise RuntimeError(
            f"svd_lowrank: expected m1 and m2 to have the same dtype, but got: {type_name(A.dtype)} != float"
        )
    count = 6 if q is None else q
    if M is not None:
        A = A - M.broadcast_to(tuple(A.shape))
    wide = A.shape[-2] < A.shape[-1]
    tall = A.mT if wide else A
    drawn = randn(tall.shape[-1], count, dtype=A.dtype, device=A.device)
    basis, _ = linalg_qr(tall @ drawn)
    for _ in range(2 if niter is None else niter):
        turned, _ = linalg_qr(tall.mT @ basis)
        basis, _ = linalg_qr(tall @ turned)
    left, values, right = linalg_svd(basis.mT @ tall, full_matrices=False)
    left = basis @ left
    return (right.mT, values, left) if wide else (left, values, right.mT)


@function("pca_lowrank", method=False)
def pca_lowrank(
    A: Tensor, q: int | None = None, center: bool = True, niter: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """The principal components of the rows of A: `svd_lowrank` of A, less the mean of its rows with `center`.

    Args:
        q: how many; None for 6, or as many as there are.

    Raises:
        ValueError: q or niter is negative, or q larger than the smaller size. RuntimeError: A is no matrix.

    Same as torch.pca_lowrank.
    """
    require_matrices("pca_lowrank", A, "A")
    least = min(A.shape[-2], A.shape[-1])
    if q is None:
        q = min(6, least)
    elif not 0 <= q <= least:
        raise ValueError(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)={least}"
        )
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, True) if center else A, q, niter)


@function("lobpcg", method=False)
def lobpcg(
    A: Tensor, k: int | None = None, B: Tensor | None = None, X: Tensor | None = None, n: int | None = None, iK: Tensor | None = None,
    niter: int | None = None, tol: float | None = None, largest: bool | None = None, method: str | None = None, tracker: object = None,
    ortho_iparams: object = None, ortho_fparams: object = None, ortho_bparams: object = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The k largest or smallest eigenvalues of a symmetric matrix, or of A x = e B x, and their vectors.

    LAPACK finds all of them at once: matrices are dense here, so nothing is left to be gained by steps towards a few. X counts by its columns alone, and
    n, iK, niter, tol, method, tracker and the ortho parameters are taken and change nothing.

    Args:
        A: (..., m, m), symmetric. B: (m, m), positive-definite, or None for the identity.
        k: how many: 1, or the columns of X, unless given.
        largest: the largest first (the default), or the smallest first.

    Returns: the values (..., k) and vectors (..., m, k), X.mT @ B @ X being the identity.

    Raises:
        ValueError: m is less than 3 k, as in PyTorch. AssertionError: A is not square. RuntimeError: A is not float32 or float64.

    Same as torch.lobpcg; vectors may have another sign.
    """
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise AssertionError(f"A must be square, got shape {A.shape}")
    require_precision("lobpcg", A)
    rows = int(A.shape[-1])
    count = (1 if X is None else int(X.shape[-1])) if k is None else k
    if rows < 3 * count:
        raise ValueError(
            f"LOBPCG algorithm is not applicable when the number of A rows (={rows}) is smaller than 3 x the number of "
            f"requested eigenpairs (={count})"
        )
    factor: Tensor | None = None
    if B is not None:
        factor = cholesky(B)
        inside = solve_triangular(factor, A, upper=False)
        A = solve_triangular(factor, inside.mT, upper=False)
    values, vectors = eigh(A)
    if largest is None or largest:
        values, vectors = values.flip(-1), vectors.flip(-1)
    values, vectors = values[..., :count], vectors[..., :count]
    if factor is not None:
        vectors = solve_triangular(factor.mT, vectors, upper=True)
    return values, vectors
