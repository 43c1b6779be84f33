"""Gradients of factorisations: Cholesky, QR, LU, symmetric eigenvalues, singular values; and of the exponential.

The formulas are those of Giles (An extended collection of matrix derivative results, 2008), Murray (Differentiation of the Cholesky
decomposition, 2016), Walter and Lehmann (Algorithmic differentiation of linear algebra functions, 2010, for QR), and Townsend
(Differentiating the singular value decomposition, 2016), as PyTorch uses them. Each result has a rule of its own: cotangents add.
"""

from __future__ import annotations

from ..gradient.expand import GradientError
from ..gradient.forward import COMPOSITE_FORWARD, Tangents
from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents
from ..ir.build import pad, scatter, shrink, update
from ..ir.dim import Size
from ..ir.node import Node, constant, where
from .host import (
    called,
    columns,
    diagonal_mask,
    differentiable,
    lower_triangle,
    only,
    parts,
    product,
    rows,
    transposed,
    upper_triangle,
)

for _name in ("cholesky", "qr", "eigh", "svd", "lu", "matrix_exp"):
    differentiable(_name)


def _inverse_times(triangle: Node, right: Node, upper: bool) -> Node:
    """triangle^-1 @ right."""
    (result,) = called("solve_triangular", triangle, right, upper=upper, unit=False)
    return result


def _times_inverse(left: Node, triangle: Node, upper: bool) -> Node:
    """left @ triangle^-1."""
    return transposed(_inverse_times(transposed(triangle), transposed(left), not upper))


@COMPOSITE_REVERSE.rule("cholesky")
def cholesky_reverse(node: Node, cotangent: Node) -> Cotangents:
    """L^-T P(L^T dL) L^-1, where P is the symmetric part of the lower triangle, whose diagonal counts half."""
    _, (factor, _), _ = parts(node)
    inner = lower_triangle(product(transposed(factor), cotangent))
    inner = where(diagonal_mask(inner, 0, 0), inner * 0.5, inner)
    middle = (inner + transposed(inner)) * 0.5
    left = _inverse_times(transposed(factor), middle, upper=True)
    return only(node, _times_inverse(left, factor, upper=False))


@COMPOSITE_REVERSE.rule("qr")
def qr_reverse(node: Node, cotangent: Node) -> Cotangents:
    """For a tall matrix (dQ + Q S(R dR^T - dQ^T Q)) R^-T, S(X) the symmetric matrix with the lower triangle of X.

    A wide one is [X | Y] with X = Q U square, R = [U | V], V = Q^T Y: dY = Q dV, and Y dV^T joins dQ.

    Raises:
        GradientError: the factor asked for does not determine its gradient.
    """
    (matrix,), results, index = parts(node)
    height, width = matrix.shape[-2:]
    if len(results) == 1:
        raise GradientError(
            "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. "
            "Please use linalg.qr(A, mode='reduced') if you are going to differentiate through linalg.qr."
        )
    orthogonal, triangle = results
    if orthogonal.shape[-1] > triangle.shape[-1]:
        raise GradientError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols."
        )
    if height >= width:
        pair = (cotangent, None) if index == 0 else (None, cotangent)
        return only(node, _tall(orthogonal, triangle, *pair))
    zeros = (0,) * len(matrix.shape)
    square = (*matrix.shape[:-1], height)
    rest = (*matrix.shape[:-1], width - height)
    behind = (*zeros[:-1], height)
    first = shrink(triangle, zeros, square)
    if index == 0:
        left = _tall(orthogonal, first, cotangent, None)
        return only(node, pad(left, zeros, (*zeros[:-1], width - height)))
    upper = shrink(cotangent, zeros, square)
    beside = shrink(cotangent, behind, rest)
    through = product(shrink(matrix, behind, rest), transposed(beside))
    left = _tall(orthogonal, first, through, upper)
    right = product(orthogonal, beside)
    return only(node, pad(left, zeros, (*zeros[:-1], width - height)) + pad(right, behind, zeros))


def _tall(orthogonal: Node, triangle: Node, first: Node | None, second: Node | None) -> Node:
    """The gradient of a matrix that is not wide, from those of Q and R."""
    inner = None
    if second is not None:
        inner = product(triangle, transposed(second))
    if first is not None:
        part = product(transposed(first), orthogonal)
        inner = -part if inner is None else inner - part
    assert inner is not None
    symmetric = lower_triangle(inner) + transposed(lower_triangle(inner, -1))
    total = product(orthogonal, symmetric)
    if first is not None:
        total = first + total
    return _times_inverse(total, transposed(triangle), upper=False)


@COMPOSITE_REVERSE.rule("eigh")
def eigh_reverse(node: Node, cotangent: Node) -> Cotangents:
    """V (diag(dL) + K / E) V^T, K the antisymmetric part of V^T dV and E_ij = L_j - L_i."""
    _, (values, vectors), index = parts(node)
    if index == 0:
        inner = vectors * columns(cotangent, vectors)
        return only(node, product(inner, transposed(vectors)))
    inner = product(transposed(vectors), cotangent)
    inner = (inner - transposed(inner)) * 0.5  # the matrix and its perturbations are symmetric
    inner = _over_gaps(inner, columns(values, inner) - rows(values, inner))
    return only(node, product(vectors, inner, transposed(vectors)))


def _over_gaps(inner: Node, gaps: Node) -> Node:
    """inner / gaps beside the diagonal, and 0 on it."""
    diagonal = diagonal_mask(inner, 0, 0)
    return where(diagonal, 0.0, inner) / where(diagonal, 1.0, gaps)


@COMPOSITE_REVERSE.rule("svd")
def svd_reverse(node: Node, cotangent: Node) -> Cotangents:
    """Of S: U diag(dS) V^T. Of U: U ((U^T dU - dU^T U) / E) S V^T with E_ij = s_j^2 - s_i^2, and what of dU / S lies beside U. Of V alike.

    Vectors beyond the singular values (of full matrices) are determined up to rotations, and have no gradient.
    """
    _, (left, values, right), index = parts(node)
    left, right = _first(left, -1, values.shape[-1]), _first(right, -2, values.shape[-1])
    if index == 1:
        return only(node, product(left * columns(cotangent, left), right))
    squares = values * values
    if index == 0:
        cotangent = _first(cotangent, -1, values.shape[-1])
        inner = product(transposed(left), cotangent)
        inner = inner - transposed(inner)
        inner = _over_gaps(inner, columns(squares, inner) - rows(squares, inner))
        total = product(left, inner * columns(values, inner))
        if left.shape[-2] != left.shape[-1]:
            beside = cotangent / columns(values, cotangent)
            total = total + (beside - product(left, transposed(left), beside))
        return only(node, product(total, right))
    cotangent = _first(cotangent, -2, values.shape[-1])
    inner = product(right, transposed(cotangent))
    inner = inner - transposed(inner)
    inner = _over_gaps(inner, columns(squares, inner) - rows(squares, inner))
    total = product(inner * rows(values, inner), right)
    if right.shape[-1] != right.shape[-2]:
        beside = cotangent / rows(values, cotangent)
        total = total + (beside - product(beside, transposed(right), right))
    return only(node, product(left, total))


def _first(node: Node, axis: int, count: Size) -> Node:
    """The first `count` along an axis."""
    shape = list(node.shape)
    shape[axis] = count
    return shrink(node, (0,) * len(shape), shape)


@COMPOSITE_REVERSE.rule("lu")
def lu_reverse(node: Node, cotangent: Node) -> Cotangents:
    """For a square P^T A = L U: P L^-T (tril(L^T dL, -1) + triu(dU U^T)) U^-T, where dL and dU are the triangles of the cotangent.

    What is beside a square depends on it: columns on the right are L^-1 of A's, rows below are A's times U^-1, and their cotangents join
    those of L and of U.
    """
    _, (packed, _, order, _), _ = parts(node)
    *_, height, width = packed.shape
    count = min(int(height), int(width))  # type: ignore[arg-type]
    zeros = (0,) * len(packed.shape)
    square = (*packed.shape[:-2], count, count)
    factors, first = (shrink(each, zeros, square) for each in (packed, cotangent))
    lower_part, upper_part = lower_triangle(first, -1), upper_triangle(first)
    unit = lower_triangle(factors, -1)
    of_lower = product(transposed(unit), lower_part) + lower_part
    of_upper = product(upper_part, transposed(upper_triangle(factors)))
    beside: Node | None = None
    if int(width) > count:  # type: ignore[arg-type]
        behind, rest = (*zeros[:-1], count), (*packed.shape[:-1], int(width) - count)  # type: ignore[arg-type]
        known, incoming = shrink(packed, behind, rest), shrink(cotangent, behind, rest)
        of_lower = of_lower - product(incoming, transposed(known))
        (beside,) = called("solve_triangular", transposed(factors), incoming, upper=True, unit=True)
    elif int(height) > count:  # type: ignore[arg-type]
        behind = (*zeros[:-2], count, 0)
        rest = (*packed.shape[:-2], int(height) - count, count)  # type: ignore[arg-type]
        known, incoming = shrink(packed, behind, rest), shrink(cotangent, behind, rest)
        of_upper = of_upper - product(transposed(known), incoming)
        beside = _times_inverse(incoming, transposed(factors), upper=False)
    middle = lower_triangle(of_lower, -1) + upper_triangle(of_upper)
    (total,) = called("solve_triangular", transposed(factors), middle, upper=True, unit=True)
    total = _times_inverse(total, transposed(factors), upper=False)
    if beside is not None:
        total = update(
            update(constant(0, packed.dtype, packed.shape, packed.place), total, zeros), beside, behind
        )  # fmt: skip
    index = order.reshape((*order.shape, 1)).expand(packed.shape)
    start = constant(0, packed.dtype, packed.shape, packed.place)
    return only(node, scatter(start, index, total, len(packed.shape) - 2))


@COMPOSITE_REVERSE.rule("matrix_exp")
def matrix_exp_reverse(node: Node, cotangent: Node) -> Cotangents:
    """As the tangent for the transposed matrix."""
    (matrix,), _, _ = parts(node)
    return only(node, _matrix_exp_along(transposed(matrix), cotangent))


@COMPOSITE_FORWARD.rule("matrix_exp")
def matrix_exp_forward(node: Node, tangents: Tangents) -> Node | None:
    """The cotangent is no linear part of the reverse rule's host call, so the tangent has a rule of its own."""
    assert tangents[0] is not None
    return _matrix_exp_along(node.src[0], tangents[0])


def _matrix_exp_along(matrix: Node, direction: Node) -> Node:
    """The corner of exp([[A, D], [0, A]]): how exp(A) moves along D (Najfeld and Havel, 1995)."""
    size = int(matrix.shape[-1])  # type: ignore[arg-type]
    zeros = (0,) * len(matrix.shape)
    down, right = (*zeros[:-2], size, 0), (*zeros[:-1], size)
    corner = (*zeros[:-2], size, size)
    both = pad(matrix, zeros, corner) + pad(matrix, corner, zeros) + pad(direction, right, down)
    (found,) = called("matrix_exp", both)
    return shrink(found, right, matrix.shape)
