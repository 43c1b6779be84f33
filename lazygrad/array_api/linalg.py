"""Linear algebra, with the standard's arguments; the extension `linalg`, and the four functions of it that stand in the main namespace too."""

from __future__ import annotations

from typing import Any, NamedTuple

import lazygrad as lg

from ..ir.dtype import DType
from ..tensor import Tensor
from .data_types import together
from .statistics import _total_dtype


def matmul(x1: Tensor, x2: Tensor, /) -> Tensor:
    return lg.matmul(*together(x1, x2))


def matrix_transpose(x: Tensor, /) -> Tensor:
    return x.mT


def tensordot(x1: Tensor, x2: Tensor, /, *, axes: Any = 2) -> Tensor:
    x1, x2 = together(x1, x2)
    return lg.tensordot(x1, x2, axes)


def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """Products of vectors along an axis, counted from the end.

    Raises:
        ValueError: the sizes of the axis differ.
    """
    if axis >= 0:
        raise ValueError("vecdot: axis is counted from the end, as in axis=-1")
    if x1.shape[axis] != x2.shape[axis]:
        raise ValueError(f"vecdot: sizes {x1.shape[axis]} and {x2.shape[axis]} along axis {axis}")
    x1, x2 = lg.broadcast_tensors(*together(x1, x2))
    return lg.sum(x1 * x2, axis, dtype=x1.dtype)


class EighResult(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


class QRResult(NamedTuple):
    Q: Tensor
    R: Tensor


class SlogdetResult(NamedTuple):
    sign: Tensor
    logabsdet: Tensor


class SVDResult(NamedTuple):
    U: Tensor
    S: Tensor
    Vh: Tensor


def cholesky(x: Tensor, /, *, upper: bool = False) -> Tensor:
    return lg.linalg.cholesky(x, upper=upper)


def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    return lg.linalg.cross(*together(x1, x2), dim=axis)


def det(x: Tensor, /) -> Tensor:
    return lg.linalg.det(x)


def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    return lg.diagonal(x, offset, -2, -1)


def eigh(x: Tensor, /) -> EighResult:
    return EighResult(*lg.linalg.eigh(x))


def eigvalsh(x: Tensor, /) -> Tensor:
    return lg.linalg.eigvalsh(x)


def inv(x: Tensor, /) -> Tensor:
    return lg.linalg.inv(x)


def matrix_norm(x: Tensor, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    return lg.linalg.matrix_norm(x, ord, keepdim=keepdims)


def matrix_power(x: Tensor, n: int, /) -> Tensor:
    return lg.linalg.matrix_power(x, n)


def matrix_rank(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    return lg.linalg.matrix_rank(x, rtol=rtol)


def outer(x1: Tensor, x2: Tensor, /) -> Tensor:
    return lg.outer(x1, x2)


def pinv(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    return lg.linalg.pinv(x, rtol=rtol)


def qr(x: Tensor, /, *, mode: str = "reduced") -> QRResult:
    return QRResult(*lg.linalg.qr(x, mode))


def slogdet(x: Tensor, /) -> SlogdetResult:
    return SlogdetResult(*lg.linalg.slogdet(x))


def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    return lg.linalg.solve(*together(x1, x2))


def svd(x: Tensor, /, *, full_matrices: bool = True) -> SVDResult:
    return SVDResult(*lg.linalg.svd(x, full_matrices))


def svdvals(x: Tensor, /) -> Tensor:
    return lg.linalg.svdvals(x)


def trace(x: Tensor, /, *, offset: int = 0, dtype: DType | None = None) -> Tensor:
    """The sum along a diagonal of the last two axes."""
    return lg.sum(diagonal(x, offset=offset), -1, dtype=_total_dtype(x, dtype))


def vector_norm(x: Tensor, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Tensor:
    return lg.linalg.vector_norm(x, ord, axis, keepdims)
