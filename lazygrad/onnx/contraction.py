"""Matrix products.

In: tensors of matrices. Out: their product.
"""

from __future__ import annotations

from typing import Any

import lazygrad as lg

from ..tensor import Tensor
from .table import operator


@operator("MatMul", 1)
def matmul(left: Tensor, right: Tensor) -> Any:
    return left.matmul(right)


@operator("Gemm", 7)
def gemm(
    left: Tensor, right: Tensor, bias: Tensor | None = None, *,
    alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0,
) -> Any:  # fmt: skip
    """alpha * left @ right + beta * bias, either matrix transposed first."""
    product = (left.t() if transA else left).matmul(right.t() if transB else right)
    if alpha != 1:
        product = (product * alpha).to(left.dtype)
    if bias is None or not beta:
        return product
    return product + (bias if beta == 1 else (bias * beta).to(left.dtype))


@operator("Einsum", 12)
def einsum(*inputs: Tensor, equation: str) -> Any:
    return lg.einsum(equation.replace(" ", ""), *inputs)


@operator("Det", 11)
def determinant(input: Tensor) -> Any:
    return lg.linalg.det(input)
