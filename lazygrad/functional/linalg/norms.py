"""Norms and what is told by singular values: vector_norm, matrix_norm, norm, cond, matrix_rank.

Vector norms, and those matrix norms that are sums and extremes, are kernels; the others ask LAPACK for singular values.
"""

from __future__ import annotations

import math
from typing import Any

from ...ir import composite
from ...ir.dtype import DType, int64, promote
from ...ir.extern import host_call
from ...ir.node import Node, constant, unary
from ...ir.op import Op
from ...results import from_node, result, tensor_nodes
from ...tensor import Tensor
from .. import arguments
from ..arguments import Number, describe_operands, type_name
from ..reductions import amax, amin, drop
from ..reductions import sum as total
from ..registry import function
from .factorizations import svdvals
from .matrices import matrix_node, require_matrices, require_precision, require_square
from .solving import Tolerance, inv_ex, tolerance

Axes = int | tuple[int, ...] | list[int] | None


def _floating(name: str, input: Tensor, dtype: DType | None) -> DType:
    """The dtype to compute in.

    Raises:
        RuntimeError: the input or `dtype` is not floating; `dtype` is narrower.
    """
    if input.dtype.kind != "float":
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {type_name(input.dtype)}"
            + describe_operands(input=input)
        )
    if dtype is None:
        return input.dtype
    if dtype.kind != "float":
        raise RuntimeError(
            f"{name}: dtype should be floating point or complex, but got {type_name(dtype)}"
        )
    if promote(input.dtype, dtype) is not dtype:
        raise RuntimeError(
            f"{name}: the dtype of the input ({type_name(input.dtype)}) should be convertible without narrowing "
            f"to the specified dtype ({type_name(dtype)})"
        )
    return dtype


@function("linalg.vector_norm", out=True)
def vector_norm(
    x: Tensor,
    ord: Number = 2,
    dim: Axes = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """The norm of `x` as a vector, over the axes `dim`, or all: (sum |x| ** ord) ** (1 / ord).

    Args:
        ord: a number; infinities give the extremes of |x|, 0 the number of elements that are not 0.
        dtype: what the input is cast to first, not narrower than its own.

    Raises:
        RuntimeError: not floating; a `dtype` that is narrower; no elements, where `ord` is negative or infinite.

    Same as torch.linalg.vector_norm. The gradient at a norm of 0 is 0.
    """
    name = "linalg.vector_norm"
    if isinstance(ord, str) or not hasattr(ord, "__float__"):
        raise TypeError(
            f"linalg_vector_norm(): argument 'ord' (position 2) must be Number, not {type(ord).__name__}"
        )
    found = _floating(name, x, dtype)
    axes = arguments.axes(dim, x.ndim, name)
    if (ord < 0 or ord == math.inf) and (
        0 in [x.shape[axis] for axis in axes] or (x.ndim == 0 and not x.numel())
    ):
        shown = "inf" if ord == math.inf else f"{ord:g}"
        raise RuntimeError(
            f"{name} cannot compute the {shown} norm on an empty tensor because the operation does not have an identity"
        )
    (node,) = tensor_nodes(x if ord != 0 else x.detach())  # how many are not 0 has no gradient
    node = node.cast(found)
    if not axes:
        node, axes, keepdim = node.reshape((1,)), (0,), False
    node = composite.call("norm", [node], p=float(ord), axes=axes)
    return result("LinalgVectorNormBackward0", drop(node, axes, keepdim), (x,), (x, "result"))


@function("linalg.matrix_norm", out=True)
def matrix_norm(
    A: Tensor,
    ord: Number | str = "fro",
    dim: tuple[int, int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """The norm of matrices that lie in two axes.

    Args:
        ord: "fro", the root of the sum of squares; "nuc", the sum of singular values; 2 and -2, their extremes; 1 and -1, the extremes of
            the columns' sums of |A|; inf and -inf, those of the rows'.
        dtype: what the input is cast to first, not narrower than its own.

    Raises:
        RuntimeError: fewer than 2 axes; not floating; another `ord`; `dim` is not two axes; a half type that needs singular values.
        LinAlgError: no convergence; when the result is read.

    Same as torch.linalg.matrix_norm.
    """
    name = "linalg.matrix_norm"
    require_matrices(name, A)
    found = _floating(name, A, dtype)
    pair = (dim,) if isinstance(dim, int) else tuple(dim)
    if len(pair) != 2:
        raise RuntimeError(f"{name}: dim must be a 2-tuple. Got {' '.join(map(str, pair))}")
    first, second = (arguments.axis(each, A.ndim, name) for each in pair)
    if first == second:
        raise RuntimeError(f"{name}: dims must be different. Got ({pair[0]}, {pair[1]})")
    if ord == "fro":
        return vector_norm(A, 2, (first, second), keepdim, dtype=dtype)
    if ord != "nuc" and (isinstance(ord, str) or abs(ord) not in (1, 2, math.inf)):
        raise RuntimeError(f"{name}: Order {ord} not supported.")
    if ord != "nuc" and not isinstance(ord, str) and abs(ord) != 2:
        summed, left = (first, second) if abs(ord) == 1 else (second, first)
        sums = vector_norm(A, 1, summed, keepdim, dtype=dtype)
        if not keepdim and left > summed:
            left -= 1
        return _extreme(sums, ord > 0, left, keepdim)
    require_precision(name, A)
    from ..shaping import movedim, unsqueeze

    moved = movedim(A if found is A.dtype else A.to(found), (first, second), (-2, -1))
    values = svdvals(moved)
    if ord == "nuc":
        made = total(values, -1)
    else:
        made = _extreme(values, ord == 2, -1, False)
    for axis in sorted((first, second)) if keepdim else ():
        made = unsqueeze(made, axis)
    return made


def nuclear(input: Tensor, dim: Axes, keepdim: bool, dtype: DType | None) -> Node:
    """The sum of the singular values of matrices in two axes, for torch.norm."""
    pair = tuple(range(input.ndim)) if dim is None else (dim,) if isinstance(dim, int) else dim
    return matrix_norm(input, "nuc", tuple(pair), keepdim, dtype=dtype).node  # type: ignore[arg-type]


def _extreme(values: Tensor, largest: bool, axis: int, keepdim: bool) -> Tensor:
    """The largest or smallest along an axis; the largest of no sizes is 0."""
    if largest and values.shape[axis] == 0:
        return total(values, axis, keepdim)
    return (amax if largest else amin)(values, axis, keepdim)


@function("linalg.norm", out=True)
def linalg_norm(
    A: Tensor,
    ord: Number | str | None = None,
    dim: Axes = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """A vector norm or a matrix norm, by what `dim` names, or else by how many axes the input has.

    Args:
        ord: None for the 2-norm of all elements; see vector_norm for one axis, matrix_norm for two.

    Raises:
        RuntimeError: `ord` without `dim`, and neither 1 nor 2 axes; more than two axes in `dim`; what the norm raises.

    Same as torch.linalg.norm.
    """
    axes = (dim,) if isinstance(dim, int) else None if dim is None else tuple(dim)
    if ord is None:
        return vector_norm(A, 2, axes, keepdim, dtype=dtype)
    if axes is None:
        if A.ndim not in (1, 2):
            raise RuntimeError(
                "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. "
                f"Got {A.ndim}D." + describe_operands(input=A)
            )
        axes = tuple(range(A.ndim))
    elif len(axes) not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(axes)}"
        )
    if isinstance(ord, str) or len(axes) == 2:
        return matrix_norm(A, ord, axes, keepdim, dtype=dtype)  # type: ignore[arg-type]
    return vector_norm(A, ord, axes, keepdim, dtype=dtype)


@function("linalg.cond", out=True)
def cond(A: Tensor, p: Number | str | None = None) -> Tensor:
    """The condition number of matrices: norm(A) * norm(inv(A)), infinite for singular ones.

    Args:
        p: None and 2: the largest singular value over the smallest; -2 the inverse of that; "fro", "nuc", 1, -1, inf, -inf: that norm.

    Raises:
        RuntimeError: fewer than 2 axes; not square, for norms other than 2 and -2; another `p`.

    Same as torch.linalg.cond.
    """
    from ..shaping import narrow, squeeze

    if A.ndim < 2:
        raise RuntimeError("linalg.cond: The input tensor must have at least 2 dimensions.")
    if p is not None and (
        p not in ("fro", "nuc") if isinstance(p, str) else abs(p) not in (1, 2, math.inf)
    ):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    if not A.numel():
        batch = tuple(A.shape[:-2])
        return from_node(constant(0, A.dtype, batch, A.place))
    if p is None or p in (2, -2):
        values = svdvals(A)
        ends = narrow(values, -1, 0, 1), narrow(values, -1, int(values.shape[-1]) - 1, 1)
        high, low = ends if p != -2 else ends[::-1]
        return squeeze(high / low, -1)
    require_square(f"linalg.cond(ord={p})", A)
    if p == "nuc":
        values = svdvals(A)
        return total(values, -1) * total(1.0 / values, -1)
    inverse, _ = inv_ex(A)
    made: Tensor = (matrix_norm(A, p) * matrix_norm(inverse, p)).nan_to_num(
        math.inf, math.inf, -math.inf
    )
    return made


@function("linalg.matrix_rank", out=True)
def matrix_rank(
    input: Tensor,
    tol: Tolerance = None,
    hermitian: bool = False,
    *,
    atol: Tolerance = None,
    rtol: Tolerance = None,
) -> Tensor:
    """How many singular values of matrices are larger than max(atol, rtol * the largest), int64.

    Args:
        tol: the same as atol, with rtol 0.
        hermitian: the matrices are symmetric: sizes of eigenvalues are counted.
        atol, rtol: numbers, or tensors of the batch; see `pinv`.

    Raises:
        RuntimeError: fewer than 2 axes; not square with `hermitian`; not float32 or float64.

    Same as torch.linalg.matrix_rank.
    """
    name = "torch.linalg.matrix_rank"
    (require_square if hermitian else require_matrices)(name, input, "input")
    require_precision(name, input)
    if tol is not None:
        atol, rtol = tol, 0.0
    node = matrix_node(input.detach())
    shape: Any = tuple(input.shape[-2:])
    if not input.numel():
        return from_node(constant(0, int64, tuple(input.shape[:-2]), input.place))
    if hermitian:
        (values,) = host_call("eigvalsh", [node], lower=True, caller=name)
        values = unary(Op.ABS, values)
    else:
        (values,) = host_call("svdvals", [node], caller=name)
    least = tolerance(values, shape, atol, rtol)
    batch = arguments.broadcast_shapes(name, values.shape[:-1], least.shape[:-1])  # type: ignore[arg-type]
    sizes = (*batch, values.shape[-1])
    counts = least.expand(sizes).lt(values.expand(sizes)).cast(int64)
    return from_node(counts.sum((len(batch),)).reshape(batch))


# --- older names


@function("nuclear_norm", method=False, out=True)
def nuclear_norm(
    input: Tensor, dim: tuple[int, int] | bool | None = None, keepdim: bool = False
) -> Tensor:
    """The sum of the singular values over two axes, by default of a matrix. Same as torch.nuclear_norm."""
    if isinstance(dim, bool):
        return matrix_norm(input, "nuc", (-2, -1), dim)
    return matrix_norm(input, "nuc", (-2, -1) if dim is None else dim, keepdim)


@function("frobenius_norm", method=False, out=True)
def frobenius_norm(input: Tensor, dim: Axes = None, keepdim: bool = False) -> Tensor:
    """The root of the sum of squares over one or two axes, or all. Same as torch.frobenius_norm."""
    return vector_norm(input, 2, dim, keepdim)


@function("norm_except_dim", method=False)
def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The p-norm over all axes but `dim`, which are kept with size 1; over all of them for dim=-1. Same as torch.norm_except_dim."""
    if dim == -1:
        return vector_norm(v, pow)
    axis = arguments.axis(dim, v.ndim, "norm_except_dim")
    return vector_norm(v, pow, tuple([a for a in range(v.ndim) if a != axis]), True)
