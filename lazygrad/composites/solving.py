"""Gradients of what solves with matrices: inverses, solutions, determinants, the pseudo-inverse.

The formulas are those of Giles (An extended collection of matrix derivative results, 2008), and for the pseudo-inverse of Golub and Pereyra
(The differentiation of pseudo-inverses, 1973). The determinant's gradient is the matrix of cofactors, which singular matrices have too.
"""

from __future__ import annotations

from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents
from ..ir.extern import host_call
from ..ir.node import Node
from .activation import attribute
from .host import (
    called,
    computed,
    differentiable,
    lower_triangle,
    only,
    parts,
    product,
    scalars,
    transposed,
    upper_triangle,
)

for _name in (
    "inv",
    "solve",
    "solve_triangular",
    "det",
    "slogdet",
    "cofactor",
    "pinv",
    "cholesky_solve",
):
    differentiable(_name)


@COMPOSITE_REVERSE.rule("inv")
def inv_reverse(node: Node, cotangent: Node) -> Cotangents:
    """-A^-T dB A^-T."""
    _, (inverse, _), _ = parts(node)
    turned = transposed(inverse)
    return only(node, -product(turned, cotangent, turned))


@COMPOSITE_REVERSE.rule("solve")
def solve_reverse(node: Node, cotangent: Node) -> Cotangents:
    """dB = A^-T dX, dA = -dB X^T."""
    (matrix, _), (solution, _), _ = parts(node)
    right, _ = called("solve", transposed(matrix), cotangent, caller="")
    return only(node, -product(right, transposed(solution)), right)


@COMPOSITE_REVERSE.rule("solve_triangular")
def solve_triangular_reverse(node: Node, cotangent: Node) -> Cotangents:
    """As of any solution; of the matrix only the triangle that is read has a gradient."""
    (matrix, _), (solution,), _ = parts(node)
    upper, unit = attribute(node, "upper"), attribute(node, "unit")
    (right,) = called("solve_triangular", transposed(matrix), cotangent, upper=not upper, unit=unit)
    left = -product(right, transposed(solution))
    triangle = upper_triangle(left, int(unit)) if upper else lower_triangle(left, -int(unit))
    return only(node, triangle, right)


@COMPOSITE_REVERSE.rule("det")
def det_reverse(node: Node, cotangent: Node) -> Cotangents:
    """The cofactors, scaled."""
    (matrix,), _, _ = parts(node)
    (cofactors,) = called("cofactor", matrix)
    return only(node, cofactors * scalars(cotangent, cofactors))


@COMPOSITE_REVERSE.rule("cofactor")
def cofactor_reverse(node: Node, cotangent: Node) -> Cotangents:
    """Of C = det(A) A^-T: (tr(dC^T C) A^-T - A^-T dC^T C), for matrices that have an inverse."""
    (matrix,), (cofactors,), _ = parts(node)
    inverse = transposed(called("inv", matrix, caller="")[0])
    rank = len(matrix.shape)
    trace = (cotangent * cofactors).sum((rank - 2, rank - 1)).expand(matrix.shape)
    return only(node, trace * inverse - product(inverse, transposed(cotangent), cofactors))


@COMPOSITE_REVERSE.rule("slogdet")
def slogdet_reverse(node: Node, cotangent: Node) -> Cotangents:
    """A^-T, scaled; the sign is flat."""
    (matrix,), _, index = parts(node)
    if index == 0:
        return only(node, None)
    inverse = transposed(called("inv", matrix, caller="")[0])
    return only(node, inverse * scalars(cotangent, inverse))


@COMPOSITE_REVERSE.rule("pinv")
def pinv_reverse(node: Node, cotangent: Node) -> Cotangents:
    """Of P: -(P dP^T P)^T, and what comes from the spaces beside those of A and P, multiplied in the order that keeps products small."""
    (matrix,), (inverse,), _ = parts(node)
    turned, incoming = transposed(inverse), transposed(cotangent)
    if matrix.shape[-2] <= matrix.shape[-1]:
        inner = product(incoming, inverse)
        outer = product(inner, turned)
        result = (
            outer
            - transposed(product(inverse, inner))
            - product(matrix, inverse, outer)
            + product(turned, inverse, incoming - product(inner, matrix))
        )
    else:
        inner = product(inverse, incoming)
        outer = product(turned, inner)
        result = (
            outer
            - transposed(product(inner, inverse))
            + product(incoming - product(matrix, inner), inverse, turned)
            - product(outer, inverse, matrix)
        )
    return only(node, result)


def cholesky_solution(factor: Node, right: Node) -> Node:
    """The X with L @ L.T @ X = B, where of L the lower triangle is read."""
    (half,) = host_call("solve_triangular", [factor, right], upper=False, unit=False)
    turned = transposed(factor)
    found = host_call("solve_triangular", [turned, half], upper=True, unit=False)
    return computed("cholesky_solve", [factor, right], found)[0]


@COMPOSITE_REVERSE.rule("cholesky_solve")
def cholesky_solve_reverse(node: Node, cotangent: Node) -> Cotangents:
    """dB = A^-1 dX, dL = -(dB X^T + X dB^T) L, for L as a whole, as PyTorch has it."""
    (factor, _), (solution,), _ = parts(node)
    right = cholesky_solution(factor, cotangent)
    outer = product(right, transposed(solution))
    return only(node, -product(outer + transposed(outer), factor), right)
