"""Elementwise functions under the standard's names.

In: tensors; one of two may be a Python number, which takes the other's dtype. Out: a tensor of their broadcast shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lazygrad as lg

from ..ir.dtype import int16, int32, int64
from ..tensor import Tensor
from .data_types import together

Function = Callable[..., Any]

UNARY = {
    **{name: name for name in (
        "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "exp", "expm1", "floor", "isfinite", "isinf", "isnan", "log",
        "log1p", "log2", "log10", "logical_not", "positive", "reciprocal", "round", "sign", "signbit", "sin", "sinh", "square", "sqrt", "tan",
        "tanh", "trunc",
    )},
    "bitwise_invert": "bitwise_not", "negative": "neg",
}  # fmt: skip
"""The standard's functions of one array, and what they are called here."""

BINARY = {
    **{name: name for name in (
        "add", "atan2", "bitwise_and", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "floor_divide", "hypot", "logaddexp",
        "logical_and", "logical_or", "logical_xor", "maximum", "minimum", "pow", "remainder",
    )},
    "divide": "div", "equal": "eq", "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "multiply": "mul",
    "not_equal": "ne", "subtract": "sub",
}  # fmt: skip
"""The same for two."""

NAMES = (*UNARY, *BINARY, "clip", "conj", "copysign", "nextafter", "real")
__all__ = [*NAMES]  # noqa: PLE0604 - a table of text


def _one(name: str, called: str) -> Function:
    run: Callable[..., Tensor] = getattr(lg, called)

    def function(x: Tensor, /) -> Tensor:
        return run(x)

    return _named(function, name)


def _two(name: str, called: str) -> Function:
    run: Callable[..., Tensor] = getattr(lg, called)

    def function(x1: Any, x2: Any, /) -> Tensor:
        x1, x2 = both(x1, x2)
        return run(x1, x2)

    return _named(function, name)


def _named(function: Function, name: str) -> Function:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The Array API's {name}."
    return function


def both(x1: Any, x2: Any) -> tuple[Tensor, Tensor]:
    """Two operands as tensors of the dtype that they promote to: a number takes the dtype and the place of the other.

    Raises:
        TypeError: neither is a tensor.
    """
    if isinstance(x1, Tensor):
        x1, x2 = together(x1, x2 if isinstance(x2, Tensor) else _beside(x2, x1))
        return x1, x2
    if isinstance(x2, Tensor):
        x1, x2 = together(_beside(x1, x2), x2)
        return x1, x2
    raise TypeError("at least one of x1 and x2 must be an array")


def _beside(number: Any, other: Tensor) -> Tensor:
    if isinstance(number, float) and not other.is_floating_point():
        return lg.tensor(number, device=other.device)
    return lg.full((), number, dtype=other.dtype, device=other.device)


for _name, _called in UNARY.items():
    globals()[_name] = _one(_name, _called)
for _name, _called in BINARY.items():
    globals()[_name] = _two(_name, _called)


def clip(x: Tensor, /, min: Any = None, max: Any = None) -> Tensor:
    """The elements between two bounds, numbers or tensors; None for no bound. The dtype stays."""
    if min is None and max is None:
        return x.clone()
    bounds = [
        bound if bound is None or isinstance(bound, Tensor) else _beside(bound, x)
        for bound in (min, max)
    ]
    return x.clamp(*bounds).to(x.dtype)


def conj(x: Tensor, /) -> Tensor:
    """The complex conjugate, which of real numbers is the number."""
    return x


def real(x: Tensor, /) -> Tensor:
    """The real part, which of real numbers is the number."""
    return x


def copysign(x1: Any, x2: Any, /) -> Tensor:
    """Numbers with the size of the first and the sign of the second; the sign of a NaN is not changed."""
    x1, x2 = both(x1, x2)
    size = x1.abs()
    made: Tensor = lg.where(x2.signbit(), -size, size)
    return made


def nextafter(x1: Any, x2: Any, /) -> Tensor:
    """The next number of the dtype after the first, towards the second."""
    x1, x2 = both(x1, x2)
    dtype = x1.dtype
    x1, x2 = lg.broadcast_tensors(x1, x2)
    whole = {8: int64, 4: int32, 2: int16}[dtype.itemsize]
    bits = x1.contiguous().view(whole)
    step = lg.where((x1 < x2) == (x1 > 0), 1, -1).to(whole)
    moved = (bits + step).view(dtype)
    least = lg.ones((), dtype=whole, device=x1.device).view(dtype)
    from_zero = copysign(least.expand(x2.shape), x2)
    found: Tensor = lg.where(x1 == 0, from_zero, moved)
    found = lg.where(x1 == x2, x2, found)
    found = lg.where(x1.isnan() | x2.isnan(), x1 + x2, found)
    return found
