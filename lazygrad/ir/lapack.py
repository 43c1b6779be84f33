"""The functions of LAPACK, as numpy has them, that EXTERN nodes call: factorisations, solvers, determinants, the exponential.

In: contiguous host arrays, the last two axes of which are matrices, the others a batch, and empty ones too. Out: new arrays of the input's dtype
(numpy computes in float64 and rounds once). Where a matrix cannot be done, `caller` says who asks: the error begins with that name; where
`caller` is "", there is no error, and the result's `info` says which matrices failed, as PyTorch's `_ex` functions do.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .dtype import DType, int32, int64
from .extern import Kinds, LinAlgError, extern
from .node import Node

Array = np.ndarray[Any, np.dtype[Any]]
BLOCK = 32
"""How many rows of a triangle are solved one by one before a product takes them to the rest."""


def _batch(position: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """Which matrix of a batch an error is about, as PyTorch says it."""
    if not shape:
        return ""
    return f"(Batch element {int(np.ravel_multi_index(position, shape))}): "


def _refuse(caller: str, info: Array, reason: str) -> None:
    """Raise for the first matrix that failed; `reason` is formatted with its `info`."""
    if caller and info.any():
        position = tuple(int(i) for i in np.argwhere(info)[0])
        which = _batch(position, info.shape)
        raise LinAlgError(f"{caller}: {which}{reason.format(int(info[position]))}")


def _same_and_info(a: Node, *others: Node, **_: object) -> Kinds:
    return (a.dtype, a.shape), (int32, a.shape[:-2])


# --- positive definite matrices


@extern("cholesky", _same_and_info)
def cholesky(a: Array, caller: str) -> tuple[Array, Array]:
    """The lower triangular L with L @ L.T = a, and for each matrix the order of the leading minor that is not positive, or 0."""
    info = np.zeros(a.shape[:-2], np.int32)
    try:
        return np.linalg.cholesky(a), info
    except np.linalg.LinAlgError:
        factors = np.zeros_like(a)
        for position in np.ndindex(a.shape[:-2]):
            size = _positive(a[position])
            factors[position][:size, :size] = np.linalg.cholesky(a[position][:size, :size])
            info[position] = size + 1 if size < a.shape[-1] else 0
    _refuse(
        caller,
        info,
        "The factorization could not be completed because the input is not positive-definite "
        "(the leading minor of order {} is not positive-definite).",
    )
    return factors, info


def _positive(matrix: Array) -> int:
    """The order of the largest leading minor with which all smaller ones are positive, by bisection."""
    low, high = 0, matrix.shape[-1]
    while low < high:
        middle = (low + high + 1) // 2
        try:
            np.linalg.cholesky(matrix[:middle, :middle])
            low = middle
        except np.linalg.LinAlgError:
            high = middle - 1
    return low


# --- inverses and solutions


@extern("inv", _same_and_info)
def inv(a: Array, caller: str) -> tuple[Array, Array]:
    """The inverse, and the first zero pivot of each singular matrix, or 0. The inverse of a singular one is infinite."""
    info = np.zeros(a.shape[:-2], np.int32)
    try:
        return np.linalg.inv(a), info
    except np.linalg.LinAlgError:
        inverses = np.full_like(a, np.inf)
        for position in np.ndindex(a.shape[:-2]):
            try:
                inverses[position] = np.linalg.inv(a[position])
            except np.linalg.LinAlgError:
                info[position] = _zero_pivot(a[position])
    _refuse(
        caller,
        info,
        "The diagonal element {} is zero, the inversion could not be completed because the input matrix is singular.",
    )
    return inverses, info


def _zero_pivot(matrix: Array) -> int:
    """The first pivot, from 1, that elimination with row exchanges finds to be zero; the last where rounding hides it."""
    rest = np.array(matrix, np.float64)
    for step in range(rest.shape[-1]):
        pivot = step + int(np.argmax(np.abs(rest[step:, step])))
        rest[[step, pivot]] = rest[[pivot, step]]
        if rest[step, step] == 0:
            return step + 1
        rest[step + 1 :] -= np.outer(rest[step + 1 :, step] / rest[step, step], rest[step])
    return int(rest.shape[-1])


def _right_and_info(a: Node, b: Node, **_: object) -> Kinds:
    return (b.dtype, b.shape), (int32, a.shape[:-2])


@extern("solve", _right_and_info)
def solve(a: Array, b: Array, caller: str) -> tuple[Array, Array]:
    """The x with a @ x = b, for matrices b; and the first zero pivot of each singular a, or 0."""
    info = np.zeros(a.shape[:-2], np.int32)
    try:
        return np.linalg.solve(a, b), info
    except np.linalg.LinAlgError:
        solutions = np.full_like(b, np.inf)
        for position in np.ndindex(a.shape[:-2]):
            try:
                solutions[position] = np.linalg.solve(a[position], b[position])
            except np.linalg.LinAlgError:
                info[position] = _zero_pivot(a[position])
    _refuse(caller, info, "The solver failed because the input matrix is singular.")
    return solutions, info


@extern("solve_triangular", lambda a, b, **_: ((b.dtype, b.shape),))
def solve_triangular(a: Array, b: Array, upper: bool, unit: bool) -> tuple[Array]:
    """The x with a @ x = b, where of a only one triangle is read, and with `unit` its diagonal is taken for ones.

    numpy has no such solver: substitution, by products of blocks. A zero on the diagonal gives infinities and NaNs.
    """
    if upper:  # the same from the other end
        (turned,) = solve_triangular(a[..., ::-1, ::-1], b[..., ::-1, :], False, unit)
        return (turned[..., ::-1, :],)
    x = np.array(b)
    with np.errstate(all="ignore"):
        for start in range(0, a.shape[-1], BLOCK):
            stop = min(start + BLOCK, a.shape[-1])
            x[..., start:stop, :] -= a[..., start:stop, :start] @ x[..., :start, :]
            for row in range(start, stop):
                known = a[..., row : row + 1, start:row] @ x[..., start:row, :]
                x[..., row, :] -= known[..., 0, :]
                if not unit:
                    x[..., row, :] /= a[..., row, row, None]
    return (x,)


# --- determinants


def _batch_of(a: Node, **_: object) -> Kinds:
    return ((a.dtype, a.shape[:-2]),)


@extern("det", _batch_of)
def det(a: Array) -> tuple[Array]:
    """The determinant."""
    return (np.asarray(np.linalg.det(a)),)


@extern("slogdet", lambda a, **_: _batch_of(a) * 2)
def slogdet(a: Array) -> tuple[Array, Array]:
    """The sign of the determinant and the logarithm of its absolute value."""
    sign, logarithm = np.linalg.slogdet(a)
    return np.asarray(sign), np.asarray(logarithm)


@extern("cofactor", lambda a, **_: ((a.dtype, a.shape),))
def cofactor(a: Array) -> tuple[Array]:
    """The matrix of cofactors, det(a) * inv(a).T, which singular matrices have too: by their singular values."""
    try:
        inverse = np.linalg.inv(a)
        return (np.linalg.det(a)[..., None, None] * np.swapaxes(inverse, -1, -2),)
    except np.linalg.LinAlgError:
        left, values, right = np.linalg.svd(a)
    ones = np.ones((*values.shape[:-1], 1), values.dtype)
    before = np.cumprod(np.concatenate([ones, values[..., :-1]], -1), -1)
    after = np.cumprod(np.concatenate([ones, values[..., :0:-1]], -1), -1)[..., ::-1]
    sign = np.linalg.det(left) * np.linalg.det(right)
    return (((left * (before * after)[..., None, :]) @ right) * sign[..., None, None],)


# --- orthogonal factors


def _sizes(a: Node) -> tuple[tuple[Any, ...], Any, Any, Any]:
    rows, columns = a.shape[-2:]
    return a.shape[:-2], rows, columns, min(rows, columns)


def _qr_kinds(a: Node, mode: str) -> Kinds:
    batch, rows, columns, small = _sizes(a)
    inner = rows if mode == "complete" else small
    factor = (a.dtype, (*batch, inner, columns))
    return (factor,) if mode == "r" else ((a.dtype, (*batch, rows, inner)), factor)


@extern("qr", _qr_kinds)
def qr(a: Array, mode: str) -> tuple[Array, ...]:
    """Orthonormal columns and an upper triangle, whose product is a: "reduced", "complete", or the triangle alone, "r"."""
    made = np.linalg.qr(a, mode)  # type: ignore[call-overload]
    return (np.asarray(made),) if mode == "r" else tuple(made)


@extern("eigh", lambda a, **_: ((a.dtype, a.shape[:-1]), (a.dtype, a.shape)))
def eigh(a: Array, lower: bool, caller: str) -> tuple[Array, Array]:
    """The eigenvalues of symmetric matrices, ascending, and their vectors as columns; one triangle is read. NaNs and infinities give NaNs."""
    try:
        values, vectors = np.linalg.eigh(a, "L" if lower else "U")
    except np.linalg.LinAlgError:
        if np.isfinite(a).all():
            raise _no_eigenvalues(caller, a) from None
        return np.full_like(a[..., 0], np.nan), np.full_like(a, np.nan)
    return values, vectors


@extern("eigvalsh", lambda a, **_: ((a.dtype, a.shape[:-1]),))
def eigvalsh(a: Array, lower: bool, caller: str) -> tuple[Array]:
    """The eigenvalues of symmetric matrices, ascending."""
    try:
        return (np.linalg.eigvalsh(a, "L" if lower else "U"),)
    except np.linalg.LinAlgError:
        if np.isfinite(a).all():
            raise _no_eigenvalues(caller, a) from None
        return (np.full_like(a[..., 0], np.nan),)


def _no_eigenvalues(caller: str, a: Array) -> LinAlgError:
    which = _first_without(np.linalg.eigvalsh, a)
    return LinAlgError(
        f"{caller}: {which}The algorithm failed to converge because the input matrix is ill-conditioned or has too many "
        "repeated eigenvalues (error code: 1)."
    )


def _svd_kinds(a: Node, full: bool, **_: object) -> Kinds:
    batch, rows, columns, small = _sizes(a)
    left, right = (rows, columns) if full else (small, small)
    dtype: DType = a.dtype
    return (
        (dtype, (*batch, rows, left)),
        (dtype, (*batch, small)),
        (dtype, (*batch, right, columns)),
    )


@extern("svd", _svd_kinds)
def svd(a: Array, full: bool, caller: str) -> tuple[Array, Array, Array]:
    """Orthonormal columns, the singular values, descending, and orthonormal rows, whose product is a."""
    try:
        left, values, right = np.linalg.svd(a, full_matrices=full)
    except np.linalg.LinAlgError:
        raise _no_singular_values(caller, a) from None
    return left, values, right


@extern("svdvals", lambda a, **_: ((a.dtype, (*a.shape[:-2], _sizes(a)[3])),))
def svdvals(a: Array, caller: str) -> tuple[Array]:
    """The singular values, descending."""
    try:
        return (np.linalg.svd(a, compute_uv=False),)
    except np.linalg.LinAlgError:
        raise _no_singular_values(caller, a) from None


def _no_singular_values(caller: str, a: Array) -> LinAlgError:
    which = _first_without(lambda matrix: np.linalg.svd(matrix, compute_uv=False), a)
    reason = "is ill-conditioned or has too many repeated singular values (error code: 1)"
    if not np.isfinite(a).all():
        reason = "contained non-finite values"
    return LinAlgError(
        f"{caller}: {which}The algorithm failed to converge because the input matrix {reason}."
    )


def _first_without(function: Any, a: Array) -> str:
    """Which matrix of a batch a function fails for."""
    for position in np.ndindex(a.shape[:-2]):
        try:
            function(a[position])
        except np.linalg.LinAlgError:
            return _batch(position, a.shape[:-2])
    return ""


# --- triangular factors


def _lu_kinds(a: Node, **_: object) -> Kinds:
    batch, rows, _, small = _sizes(a)
    return (a.dtype, a.shape), (int32, (*batch, small)), (int64, (*batch, rows)), (int32, batch)


@extern("lu", _lu_kinds)
def lu(a: Array, caller: str) -> tuple[Array, Array, Array, Array]:
    """L without its diagonal of ones and U in one matrix; the row that each step exchanges its own with, from 1; the order that the rows
    have at the end; and the first zero on the diagonal of U, from 1, or 0. numpy has no such factorisation: elimination, by blocks.
    """
    rows, columns = a.shape[-2:]
    batch = a.shape[:-2]
    factors = np.array(a).reshape((math.prod(batch), rows, columns))
    pivots = np.zeros((len(factors), min(rows, columns)), np.int32)
    order = np.tile(np.arange(rows, dtype=np.int64), (len(factors), 1))
    info = np.zeros(len(factors), np.int32)
    with np.errstate(all="ignore"):
        for number, factor in enumerate(factors):
            info[number] = _eliminate(factor, pivots[number], order[number])
    found = info.reshape(batch)
    _refuse(
        caller,
        found,
        "U[{0},{0}] is zero and using it on lu_solve would result in a division by zero. If you still want to perform the "
        "factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)",
    )
    return (
        factors.reshape(a.shape),
        pivots.reshape((*batch, pivots.shape[1])),
        order.reshape((*batch, rows)),
        found,
    )


def _eliminate(factor: Array, pivots: Array, order: Array) -> int:
    """Factorise one matrix in place; the first zero pivot, from 1, or 0."""
    zero = 0
    rows, columns = factor.shape
    count = min(rows, columns)
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        for step in range(start, stop):
            pivot = step + int(np.argmax(np.abs(factor[step:, step])))
            pivots[step] = pivot + 1
            factor[[step, pivot]] = factor[[pivot, step]]
            order[[step, pivot]] = order[[pivot, step]]
            if factor[step, step] == 0:
                zero = zero or step + 1
                continue
            factor[step + 1 :, step] /= factor[step, step]
            rest = np.outer(factor[step + 1 :, step], factor[step, step + 1 : stop])
            factor[step + 1 :, step + 1 : stop] -= rest
        if stop < columns:
            lower, right = factor[start:stop, start:stop], factor[start:stop, stop:]
            (factor[start:stop, stop:],) = solve_triangular(lower, right, False, True)
            factor[stop:, stop:] -= factor[stop:, start:stop] @ factor[start:stop, stop:]
    return zero


@extern("row_order", lambda pivots, rows: ((int64, (*pivots.shape[:-1], rows)),))
def row_order(pivots: Array, rows: int) -> tuple[Array]:
    """The order that rows have after exchanges, as `lu` gives them."""
    *batch, steps = pivots.shape
    count = math.prod(batch)
    flat = np.tile(np.arange(rows, dtype=np.int64), (count, 1))
    exchanged = pivots.reshape((count, steps)) - 1
    every = np.arange(len(flat))
    for step in range(steps):
        own, other = flat[:, step].copy(), exchanged[:, step]
        flat[:, step] = flat[every, other]
        flat[every, other] = own
    return (flat.reshape((*batch, rows)),)


@extern("geqrf", lambda a: ((a.dtype, a.shape), (a.dtype, (*a.shape[:-2], _sizes(a)[3]))))
def geqrf(a: Array) -> tuple[Array, Array]:
    """R above Householder's vectors, and the factor of each."""
    packed, factors = np.linalg.qr(a, "raw")
    return np.ascontiguousarray(np.swapaxes(packed, -1, -2)), np.asarray(factors)


# --- the exponential

PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0, 10559470521600.0, 670442572800.0,
    33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
"""The coefficients of the numerator of exp's Padé approximant of degree 13."""
PADE_NORM = 5.371920351148152
"""The largest norm for which that is exact in float64."""


@extern("matrix_exp", lambda a: ((a.dtype, a.shape),))
def matrix_exp(a: Array) -> tuple[Array]:
    """The exponential of square matrices by scaling and squaring (Higham, The scaling and squaring method for the matrix exponential
    revisited, 2005), in float64.
    """
    if not a.size:
        return (np.array(a),)
    with np.errstate(all="ignore"):
        norm = np.abs(np.asarray(a, np.float64)).sum(-2).max(-1)
        halvings = np.ceil(np.log2(np.maximum(norm / PADE_NORM, 1.0)))
        halvings = np.where(np.isfinite(halvings), halvings, 0.0)[..., None, None]
        x = a / np.exp2(halvings)
        square = x @ x
        powers = [np.broadcast_to(np.eye(a.shape[-1]), x.shape), square]
        powers += [square @ square, square @ square @ square]

        def terms(first: int) -> Array:
            """Those of every other coefficient."""
            high = sum(PADE[first + 6 + 2 * i] * powers[i] for i in (1, 2, 3))
            low = sum(PADE[first + 2 * i] * powers[i] for i in range(4))
            return np.asarray(powers[3] @ high + low)

        odd, even = x @ terms(1), terms(0)
        made = np.linalg.solve(even - odd, even + odd)
        for step in range(int(halvings.max())):
            made = np.where(step < halvings, made @ made, made)
    return (made.astype(a.dtype),)
