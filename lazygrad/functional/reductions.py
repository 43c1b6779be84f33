"""Reductions and scans: sum, mean, max, var, norm, argmax, any, cumsum, ...

The axes of a reduction are one int, a tuple, or None and () for all; `keepdim` leaves them with size 1.
"""

from __future__ import annotations

from typing import Any, overload

from ..ir import build, composite
from ..ir.dim import product
from ..ir.dtype import DType, bool_, int64, uint8
from ..ir.node import Node, accumulation, constant, unary, where
from ..ir.op import Op
from ..reading import realize
from ..results import from_node, result, results, tensor_nodes
from ..tensor import Tensor
from . import arguments
from .arguments import (
    Number,
    compute_dtype,
    describe_operands,
    require_floating,
    tensor_text,
    type_name,
)
from .arithmetic import maximum, minimum
from .registry import Outcome, function, operator
from .return_types import Aminmax, Max, Min, Pair

Dims = int | tuple[int, ...] | list[int] | None


def drop(node: Node, axes: tuple[int, ...], keepdim: bool) -> Node:
    """A reduced node without its axes of size 1, unless they are kept."""
    if keepdim:
        return node
    return node.reshape([size for axis, size in enumerate(node.shape) if axis not in axes])


def _integral(dtype: DType) -> DType:
    return dtype if dtype.kind == "float" else int64


@operator("sum")
def sum(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Outcome:
    """The sum over `dim`. Integers and bool sum as int64.

    Args:
        dtype: what the input is cast to first.

    Raises:
        IndexError: `dim` is out of range. RuntimeError: an axis is given twice.

    Same as torch.sum. Half types accumulate in float32.
    """
    axes = arguments.axes(dim, input.ndim, "sum")
    (node,) = tensor_nodes(input)
    node = node.cast(dtype or _integral(input.dtype))
    name = "SumBackward0" if dim is None else "SumBackward1"
    return Outcome(name, drop(node.sum(axes), axes, keepdim), (input,))


@operator("nansum")
def nansum(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Outcome:
    """The sum over `dim` of what is not NaN. Same as torch.nansum."""
    axes = arguments.axes(dim, input.ndim, "nansum")
    (node,) = tensor_nodes(input)
    node = node.cast(dtype or _integral(input.dtype))
    if node.dtype.kind == "float":
        node = where(node.ne(node), 0.0, node)
    return Outcome("NansumBackward0", drop(node.sum(axes), axes, keepdim), (input,), (input,))


def mean_node(node: Node, axes: tuple[int, ...], keepdim: bool) -> Node:
    """The mean over `axes`."""
    if not axes:
        return node
    return drop(composite.call("mean", [node], axes=axes), axes, keepdim)


@operator("mean")
def mean(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Outcome:
    """The mean over `dim`; NaN over no elements.

    Raises:
        RuntimeError: the dtype is not floating and no `dtype` is given.

    Same as torch.mean.
    """
    axes = arguments.axes(dim, input.ndim, "mean")
    found = dtype or input.dtype
    if found.kind != "float":
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {type_name(found)}" + describe_operands(input=input)
        )
    (node,) = tensor_nodes(input)
    name = "MeanBackward0" if dim is None else "MeanBackward1"
    return Outcome(name, mean_node(node.cast(found), axes, keepdim), (input,))


@function("nanmean", out=True)
def nanmean(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The mean over `dim` of what is not NaN. Same as torch.nanmean."""
    from .arithmetic import div
    from .unary import bitwise_not, isnan

    require_floating("nanmean", input)
    total = nansum(input, dim, keepdim, dtype=dtype)
    return div(total, sum(bitwise_not(isnan(input)), dim, keepdim))


@operator("prod")
def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Outcome:
    """The product over `dim`, or of all elements. Same as torch.prod."""
    axes = arguments.axes(dim, input.ndim, "prod")
    (node,) = tensor_nodes(input)
    node = node.cast(dtype or _integral(input.dtype))
    name = "ProdBackward0" if dim is None else "ProdBackward1"
    if axes:
        node = composite.call("prod", [node], axes=axes)
    return Outcome(name, drop(node, axes, keepdim), (input,), (input, "result"))


def _refuse_empty(name: str, input: Tensor, axes: tuple[int, ...], whole: bool) -> None:
    if 0 not in [input.shape[axis] for axis in axes]:
        return
    if whole:
        raise RuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
            f"Specify the reduction dim with the 'dim' argument."
        )
    empty = next(axis for axis in axes if input.shape[axis] == 0)
    raise IndexError(
        f"{name}(): Expected reduction dim {empty} to have non-zero size, input is {tensor_text(input)}"
    )


def _extremum(
    name: str, input: Tensor, dim: Dims, keepdim: bool, whole: bool, grad_name: str
) -> Outcome:
    axes = arguments.axes(dim, input.ndim, name)
    _refuse_empty(name, input, axes, whole or dim in (None, ()))
    (node,) = tensor_nodes(input)
    if axes:
        node = composite.call("amax" if name.endswith("max") else "amin", [node], axes=axes)
    return Outcome(grad_name, drop(node, axes, keepdim), (input,), (input, "result"))


@operator("amax")
def amax(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Outcome:
    """The largest element over `dim`; ties share the gradient equally; NaN wins.

    Raises:
        IndexError: `dim` has size 0.

    Same as torch.amax.
    """
    return _extremum("amax", input, dim, keepdim, False, "AmaxBackward0")


@operator("amin")
def amin(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Outcome:
    """The smallest element over `dim`; see `amax`. Same as torch.amin."""
    return _extremum("amin", input, dim, keepdim, False, "AminBackward0")


@operator("max_of_all", module=False, method=False)
def _max_of_all(input: Tensor) -> Outcome:
    """The largest of all elements."""
    return _extremum("max", input, None, False, True, "MaxBackward1")


@operator("min_of_all", module=False, method=False)
def _min_of_all(input: Tensor) -> Outcome:
    """The smallest of all elements."""
    return _extremum("min", input, None, False, True, "MinBackward1")


def _along(name: str, input: Tensor, dim: int, keepdim: bool) -> Pair:
    """The extremes along one axis and where they first are."""
    axis = arguments.axis(dim, input.ndim, name)
    (node,) = tensor_nodes(input)
    if not node.shape:
        values = result(f"{name.capitalize()}Backward0", node.reshape((1,)).reshape(()), (input,))
        return values, from_node(constant(0, int64, (), input.place))
    _refuse_empty(name, input, (axis,), False)
    values = result(
        f"{name.capitalize()}Backward0",
        drop(composite.call(f"{name}_along", [node], axis=axis), (axis,), keepdim),
        (input,),
        ("indices",),
    )
    return values, result(
        "NotImplemented",
        drop(composite.call(f"arg{name}", [node], axis=axis), (axis,), keepdim),
        (),
    )


@overload
def max(input: Tensor) -> Tensor: ...
@overload
def max(input: Tensor, dim: Tensor) -> Tensor: ...
@overload
def max(input: Tensor, dim: int, keepdim: bool = False) -> Pair: ...
@function("max", out=True)
def max(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None
) -> Any:
    """The largest element; with `dim`, along it, as (values, indices); with a second tensor, elementwise.

    The gradient along an axis goes to the first of equal elements.

    Raises:
        IndexError: `dim` is out of range or has size 0. RuntimeError: no elements.

    Same as torch.max.
    """
    arguments.require_tensor("max", "input", 1, input)
    other = dim if isinstance(dim, Tensor) else other
    if other is not None:
        return maximum(input, other)
    return _max_of_all(input) if dim is None else Max(*_along("max", input, dim, keepdim))


@overload
def min(input: Tensor) -> Tensor: ...
@overload
def min(input: Tensor, dim: Tensor) -> Tensor: ...
@overload
def min(input: Tensor, dim: int, keepdim: bool = False) -> Pair: ...
@function("min", out=True)
def min(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None
) -> Any:
    """The smallest element; see `max`. Same as torch.min."""
    arguments.require_tensor("min", "input", 1, input)
    other = dim if isinstance(dim, Tensor) else other
    if other is not None:
        return minimum(input, other)
    return _min_of_all(input) if dim is None else Min(*_along("min", input, dim, keepdim))


def extremes(node: Node) -> tuple[Any, Any]:
    """The smallest and the largest element, as numbers: both are read now, in one plan."""
    flat = node.reshape((product(node.shape),))
    least, most = (from_node(flat.reduce(kind, (0,)).reshape(())) for kind in ("min", "max"))
    realize(least, most)
    return least.item(), most.item()


@function("aminmax", out=True, exact=True)
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Pair:
    """The smallest and the largest element, over `dim` or of all, as (min, max). Same as torch.aminmax."""
    axes = arguments.axes(dim, input.ndim, "aminmax")
    _refuse_empty("aminmax", input, axes, dim is None)
    (node,) = tensor_nodes(input)
    both = [
        drop(composite.call(each, [node], axes=axes) if axes else node, axes, keepdim)
        for each in ("amin", "amax")
    ]
    pair: Pair = Aminmax(*results("AminmaxBackward0", both, (input,), (input, 0, 1)))
    return pair


def _index_of(name: str, input: Tensor, dim: int | None, keepdim: bool) -> Outcome:
    (node,) = tensor_nodes(input)
    if input.dtype is bool_:
        raise RuntimeError(f"{name}(): does not support bool input")
    if dim is None:
        if not input.numel():
            raise IndexError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0."
            )
        flat = composite.call(name, [node.reshape((input.numel(),))], axis=0)
        return Outcome("NotImplemented", flat.reshape((1,) * input.ndim if keepdim else ()), ())
    axis = arguments.axis(dim, input.ndim, name)
    if not node.shape:
        return Outcome(
            "NotImplemented", composite.call(name, [node.reshape((1,))], axis=0).reshape(()), ()
        )
    _refuse_empty(name, input, (axis,), False)
    return Outcome(
        "NotImplemented", drop(composite.call(name, [node], axis=axis), (axis,), keepdim), ()
    )


@operator("argmax")
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Outcome:
    """Where the largest element is (the first of equals), int64, in the flattened tensor or along `dim`. Same as torch.argmax."""
    return _index_of("argmax", input, dim, keepdim)


@operator("argmin")
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Outcome:
    """Where the smallest element is; see `argmax`. Same as torch.argmin."""
    return _index_of("argmin", input, dim, keepdim)


# --- moments


def _moment_arguments(
    dim: Any, unbiased: bool | None, correction: Number | None
) -> tuple[Dims, float]:
    if isinstance(dim, bool):  # var(unbiased)
        dim, unbiased = None, dim
    if unbiased is not None:
        return dim, float(unbiased)
    return dim, 1.0 if correction is None else float(correction)


def _variance(name: str, input: Tensor, dim: Dims, correction: float, keepdim: bool) -> Node:
    axes = arguments.axes(dim, input.ndim, name)
    if input.dtype.kind != "float":
        raise RuntimeError(
            f"{name}: std and var only support floating point and complex dtypes"
            + describe_operands(input=input)
        )
    (node,) = tensor_nodes(input)
    wide = node.cast(accumulation(node.dtype))
    shape = wide
    if not node.shape:
        shape, axes = wide.reshape((1,)), (0,)
        keepdim = False
    found = composite.call("variance", [shape], axes=axes, correction=correction)
    return drop(found, axes, keepdim)


def _root(variance: Node, dtype: DType) -> Node:
    """The square root, whose gradient at 0 is 0, as PyTorch's std has."""
    zero = variance.eq(0.0)
    return where(zero, 0.0, unary(Op.SQRT, where(zero, 1.0, variance))).cast(dtype)


@operator("var")
def var(
    input: Tensor, dim: Dims | bool = None, unbiased: bool | None = None, keepdim: bool = False,
    *, correction: Number | None = None,
) -> Outcome:  # fmt: skip
    """The variance over `dim`: the sum of squared distances from the mean, over n - correction.

    Args:
        unbiased: True for correction=1 (the default), False for 0.

    Same as torch.var.
    """
    dims, found = _moment_arguments(dim, unbiased, correction)
    node = _variance("var", input, dims, found, keepdim).cast(input.dtype)
    return Outcome("VarBackward0", node, (input,), (input,))


@operator("std")
def std(
    input: Tensor, dim: Dims | bool = None, unbiased: bool | None = None, keepdim: bool = False,
    *, correction: Number | None = None,
) -> Outcome:  # fmt: skip
    """The square root of the variance; see `var`. Same as torch.std."""
    dims, found = _moment_arguments(dim, unbiased, correction)
    node = _root(_variance("std", input, dims, found, keepdim), input.dtype)
    return Outcome("StdBackward0", node, (input,), (input, "result"))


@function("var_mean", method=False)
def var_mean(
    input: Tensor, dim: Dims | bool = None, unbiased: bool | None = None, keepdim: bool = False,
    *, correction: Number | None = None,
) -> Pair:  # fmt: skip
    """The variance and the mean over `dim`; see `var`. Same as torch.var_mean."""
    dims, found = _moment_arguments(dim, unbiased, correction)
    return _with_mean("var_mean", "VarMeanBackward0", input, dims, found, keepdim)


@function("std_mean", method=False)
def std_mean(
    input: Tensor, dim: Dims | bool = None, unbiased: bool | None = None, keepdim: bool = False,
    *, correction: Number | None = None,
) -> Pair:  # fmt: skip
    """The standard deviation and the mean over `dim`; see `var`. Same as torch.std_mean."""
    dims, found = _moment_arguments(dim, unbiased, correction)
    return _with_mean("std_mean", "StdMeanBackward0", input, dims, found, keepdim)


def _with_mean(
    name: str, grad_name: str, input: Tensor, dims: Dims, correction: float, keepdim: bool
) -> Pair:
    spread = _variance(name, input, dims, correction, keepdim)
    spread = _root(spread, input.dtype) if name == "std_mean" else spread.cast(input.dtype)
    (node,) = tensor_nodes(input)
    centre = mean_node(node, arguments.axes(dims, input.ndim, name), keepdim)
    saved = (input, 0) if name == "std_mean" else (input,)
    first, second = results(grad_name, (spread, centre), (input,), saved)
    return first, second


@operator("norm")
def norm(
    input: Tensor, p: float | str | None = "fro", dim: Dims = None, keepdim: bool = False,
    *, dtype: DType | None = None,
) -> Outcome:  # fmt: skip
    """The p-norm over `dim`: (sum |x| ** p) ** (1 / p); the largest or smallest |x| for p = inf, -inf.

    Args:
        p: a number, "fro" or None for 2, or "nuc" for the sum of the singular values over two axes.

    Raises:
        RuntimeError: the dtype is not floating; an unknown `p`.

    Same as torch.norm.
    """
    if p == "nuc":
        from .linalg.norms import nuclear

        return Outcome("SumBackward1", nuclear(input, dim, keepdim, dtype), (input,), ("result",))
    if p == "fro" or p is None:
        p = 2
    if isinstance(p, str):
        raise RuntimeError(f'norm: only p="fro", p="nuc" and numbers are supported, got {p!r}')
    found = dtype or input.dtype
    if found.kind != "float":
        raise RuntimeError(
            "norm: linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            f"{type_name(found)}" + describe_operands(input=input)
        )
    axes = arguments.axes(dim, input.ndim, "norm")
    (node,) = tensor_nodes(input)
    node = node.cast(found)
    if not axes:
        node, axes, keepdim = node.reshape((1,)), (0,), False
    node = composite.call("norm", [node], p=float(p), axes=axes)
    return Outcome(
        "LinalgVectorNormBackward0", drop(node, axes, keepdim), (input,), (input, "result")
    )


@operator("logsumexp")
def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Outcome:
    """log(sum(e ** input)) over `dim`, without overflow. Same as torch.logsumexp."""
    axes = arguments.axes(dim, input.ndim, "logsumexp")
    (node,) = tensor_nodes(input)
    node = node.cast(compute_dtype(input.dtype))
    if axes:
        node = composite.call("logsumexp", [node], axes=axes)
    return Outcome("LogsumexpBackward0", drop(node, axes, keepdim), (input,), (input, "result"))


# --- logic


def _logic(name: str, input: Tensor, dim: Dims, keepdim: bool) -> Outcome:
    axes = arguments.axes(dim, input.ndim, name)
    (node,) = tensor_nodes(input)
    node = node if node.dtype is bool_ else node.ne(0)
    node = drop(node.reduce("or" if name == "any" else "and", axes), axes, keepdim)
    return Outcome("NotImplemented", node.cast(uint8) if input.dtype is uint8 else node, ())


@operator("any")
def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Outcome:
    """Whether some element over `dim` is nonzero, as bool (uint8 stays uint8). Same as torch.any."""
    return _logic("any", input, dim, keepdim)


@operator("all")
def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Outcome:
    """Whether every element over `dim` is nonzero; see `any`. Same as torch.all."""
    return _logic("all", input, dim, keepdim)


@operator("count_nonzero")
def count_nonzero(input: Tensor, dim: Dims = None) -> Outcome:
    """How many elements over `dim` are nonzero, int64. Same as torch.count_nonzero."""
    axes = arguments.axes(dim, input.ndim, "count_nonzero")
    (node,) = tensor_nodes(input)
    return Outcome("NotImplemented", drop(node.ne(0).cast(int64).sum(axes), axes, False), ())


# --- scans


def _scan(name: str, kind: Any, input: Tensor, dim: int, dtype: DType | None) -> Node:
    axis = arguments.axis(dim, input.ndim, name)
    (node,) = tensor_nodes(input)
    node = node.cast(dtype or _integral(input.dtype))
    return build.scan(node, kind, axis) if node.shape else node


@operator("cumsum", inplace=True)
def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None) -> Outcome:
    """The running sum along `dim`. Same as torch.cumsum."""
    return Outcome("CumsumBackward0", _scan("cumsum", "add", input, dim, dtype), (input,))


@operator("cumprod", inplace=True)
def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None) -> Outcome:
    """The running product along `dim`. Same as torch.cumprod."""
    return Outcome(
        "CumprodBackward0", _scan("cumprod", "mul", input, dim, dtype), (input,), (input, "result")
    )
