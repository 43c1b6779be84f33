"""Gradients of factorisations: Cholesky, QR, symmetric eigenvalues, singular values.

The formulas are those of Giles (An extended collection of matrix derivative results, 2008), Murray (Differentiation of the Cholesky
decomposition, 2016), Walter and Lehmann (Algorithmic differentiation of linear algebra functions, 2010, for QR), and Townsend
(Differentiating the singular value decomposition, 2016), as PyTorch uses them. Each result has a rule of its own: cotangents add.
"""

from __future__ import annotations

from ..gradient.expand import GradientError
from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents
from ..ir.build import pad, shrink
from ..ir.dim import Size
from ..ir.node import Node, where
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
)

for _name in ("cholesky", "qr", "eigh", "svd"):
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
