"""Windows that a signal is multiplied with, as PyTorch's torch.signal.windows.

In: how many elements a window has, and whether it is symmetric; one that is not is that of an element more without its last. Out: a tensor of one
axis, float32 or float64, whose largest value is 1.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

from ..functional.arguments import as_dtype, integer
from ..functional.attributes import strided
from ..functional.creation import leaf
from ..functional.devices import creation_place
from ..functional.settings import default_dtype
from ..functional.tapers import Shape, cosines, triangle
from ..functional.tapers import kaiser as kaiser_shape
from ..ir.dtype import DType, float32, float64
from ..ir.node import Node, constant, iota, unary
from ..ir.op import Op
from ..tensor import Tensor

Window = Callable[..., Tensor]


def _window(formula: str) -> Callable[[Callable[..., Shape]], Window]:
    """A window of what says its shape by the numbers of elements and the arguments of its own."""

    def register(choose: Callable[..., Shape]) -> Window:
        name = choose.__name__

        def run(
            M: int, *, sym: bool = True, dtype: DType | None = None, layout: object = strided, device: object = None,
            requires_grad: bool = False, **own: Any,
        ) -> Tensor:  # fmt: skip
            shape = choose(sym, **own)
            found = default_dtype() if dtype is None else as_dtype(dtype)
            count = integer(name, "M", M)
            if count < 0:
                raise ValueError(f"{name} requires non-negative window length, got M={count}")
            if layout is not strided:
                raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
            if found not in (float32, float64):
                raise ValueError(f"{name} expects float32 or float64 dtypes, got: {found}")
            place = creation_place(device)
            if count < 2 and own.get("center") is None:
                return leaf(constant(1, found, (count,), place), requires_grad)
            last = count - 1 if sym else count
            return leaf(shape(iota(count, place=place).cast(found), last), requires_grad)

        *common, _ = inspect.signature(run).parameters.values()
        _, *others = inspect.signature(choose).parameters.values()
        run.__signature__ = inspect.Signature([*common, *others])  # type: ignore[attr-defined]
        run.__name__ = run.__qualname__ = name
        run.__doc__ = (
            f"{formula}, (M,).\n\n"
            "Args:\n    sym: symmetric; otherwise the last element of a window of M + 1 is left out.\n\n"
            "Raises:\n    ValueError: a negative length, another dtype than float32 and float64, or an argument out of its range.\n\n"
            f"Same as torch.signal.windows.{name}."
        )
        return run

    return register


@_window("exp(-abs(i - center) / tau); center is the middle unless given")
def exponential(sym: bool, *, center: float | None = None, tau: float = 1.0) -> Shape:
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")

    def shape(index: Node, last: int) -> Node:
        away = unary(Op.ABS, index - (last / 2 if center is None else float(center)))
        return unary(Op.EXP, away * (-1.0 / tau))

    return shape


@_window(
    "One arch of a sine, which begins half an element before the first and ends half an element after the last"
)
def cosine(sym: bool) -> Shape:
    return lambda index, last: unary(Op.SIN, (index + 0.5) * (math.pi / (last + 1)))


@_window("exp(-(i - middle) ** 2 / (2 * std ** 2))")
def gaussian(sym: bool, *, std: float = 1.0) -> Shape:
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")

    def shape(index: Node, last: int) -> Node:
        away = (index - last / 2) * (1.0 / (std * math.sqrt(2.0)))
        return unary(Op.EXP, -(away * away))

    return shape


@_window("i0(beta * sqrt(1 - (2 * i / last - 1) ** 2)) / i0(beta)")
def kaiser(sym: bool, *, beta: float = 12.0) -> Shape:
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    return kaiser_shape(float(beta))


@_window("alpha - (1 - alpha) * cos, with alpha 0.54")
def hamming(sym: bool) -> Shape:
    return cosines(0.54, 0.46)


@_window("0.5 - 0.5 * cos, from 0 up to 1 and down again")
def hann(sym: bool) -> Shape:
    return cosines(0.5, 0.5)


@_window("0.42 - 0.5 * cos + 0.08 * cos of twice the angle")
def blackman(sym: bool) -> Shape:
    return cosines(0.42, 0.5, 0.08)


@_window("From 0 straight up to 1 and down again")
def bartlett(sym: bool) -> Shape:
    return triangle


@_window(
    "a[0] - a[1] * cos + a[2] * cos of twice the angle - ..., once round from the first element to the last"
)
def general_cosine(sym: bool, *, a: Iterable[float]) -> Shape:
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    factors = [float(each) for each in a]
    if not factors:
        raise ValueError("Coefficients cannot be empty")
    return cosines(*factors)


@_window("alpha - (1 - alpha) * cos")
def general_hamming(sym: bool, *, alpha: float = 0.54) -> Shape:
    return cosines(alpha, 1.0 - alpha)


@_window(
    "Nuttall's four terms, 0.3635819 - 0.4891775 * cos + 0.1365995 * cos of twice the angle - 0.0106411 of three times"
)
def nuttall(sym: bool) -> Shape:
    return cosines(0.3635819, 0.4891775, 0.1365995, 0.0106411)


__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming", "hann", "kaiser",
    "nuttall",
]  # fmt: skip
