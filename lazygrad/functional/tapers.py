"""Window functions: hann_window, hamming_window, blackman_window, bartlett_window, kaiser_window.

In: how many elements a window has. Out: a tensor of one axis that rises to its middle and falls again. A periodic window is a symmetric
one of an element more without its last, so that windows that follow each other make one period.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..ir import composite
from ..ir.dtype import DType, float32
from ..ir.node import Node, constant, iota, unary, where
from ..ir.op import Op
from ..tensor import Tensor
from .arguments import as_dtype, integer, type_name
from .creation import leaf
from .devices import creation_place
from .registry import function
from .settings import default_dtype

Shape = Callable[[Node, int], Node]
"""The elements of a window by their indices and the index of the last."""


def _window(
    name: str, length: int, periodic: bool, dtype: DType | None, device: object, requires_grad: bool, shape: Shape
) -> Tensor:  # fmt: skip
    """The window whose element i is `shape(i, the last i)`.

    Raises:
        RuntimeError: a negative length; a dtype that is not floating.
    """
    count = integer(name, "window_length", length)
    found = default_dtype() if dtype is None else as_dtype(dtype)
    if found.kind != "float":
        raise RuntimeError(f"{name} expects floating point dtypes, got: {type_name(found)}")
    if count < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={count}")
    place = creation_place(device)
    if count < 2:
        return leaf(constant(1, found, (count,), place), requires_grad)
    wide = found if found.itemsize > 2 else float32
    last = count if periodic else count - 1
    return leaf(shape(iota(count, place=place).cast(wide), last).cast(found), requires_grad)


def cosines(*factors: float) -> Shape:
    """factors[0] - factors[1] * cos(turn) + factors[2] * cos(2 * turn) - ..., once round from the first element to the last."""

    def shape(index: Node, last: int) -> Node:
        made: Node | None = None
        for number, factor in enumerate(factors[1:], 1):
            wave = unary(Op.COS, index * (2.0 * math.pi * number / last))
            term = wave * (-factor if number % 2 else factor)
            made = term if made is None else made + term
        if made is None:
            return constant(factors[0], index.dtype, index.shape, index.place)
        return made + factors[0]

    return shape


def triangle(index: Node, last: int) -> Node:
    """From 0 straight up to 1 and down again."""
    slope = index * (2.0 / last)
    return where(slope.le(1.0), slope, 2.0 - slope)


def kaiser(beta: float) -> Shape:
    """i0(beta * sqrt(1 - (2 * i / last - 1) ** 2)) / i0(beta)."""

    def bessel(node: Node) -> Node:
        return composite.call("bessel_i", [node], like=node, order=0, scaled=False)

    def shape(index: Node, last: int) -> Node:
        away = index * (2.0 / last) - 1.0
        inside = unary(Op.SQRT, (1.0 - away * away).maximum(0.0)) * beta
        return bessel(inside) / bessel(constant(beta, index.dtype, index.shape, index.place))

    return shape


@function("hann_window", method=False)
def hann_window(
    window_length: int, periodic: bool = True, *, dtype: DType | None = None, layout: object = None, device: object = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """0.5 - 0.5 * cos, from 0 up to 1 and down again, (window_length,).

    Args:
        periodic: leave out the 0 at the end.

    Raises:
        RuntimeError: a negative length; a dtype that is not floating.

    Same as torch.hann_window.
    """
    shape = cosines(0.5, 0.5)
    return _window("hann_window", window_length, periodic, dtype, device, requires_grad, shape)


@function("hamming_window", method=False)
def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *, dtype: DType | None = None,
    layout: object = None, device: object = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """alpha - beta * cos; see `hann_window`. Same as torch.hamming_window."""
    shape = cosines(alpha, beta)
    return _window("hamming_window", window_length, periodic, dtype, device, requires_grad, shape)


@function("blackman_window", method=False)
def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: DType | None = None, layout: object = None, device: object = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """0.42 - 0.5 * cos + 0.08 * cos of twice the angle; see `hann_window`. Same as torch.blackman_window."""
    shape = cosines(0.42, 0.5, 0.08)
    return _window("blackman_window", window_length, periodic, dtype, device, requires_grad, shape)


@function("bartlett_window", method=False)
def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: DType | None = None, layout: object = None, device: object = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Straight up to 1 and down again; see `hann_window`. Same as torch.bartlett_window."""
    return _window(
        "bartlett_window", window_length, periodic, dtype, device, requires_grad, triangle
    )


@function("kaiser_window", method=False)
def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: DType | None = None, layout: object = None,
    device: object = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """i0(beta * sqrt(1 - (2 * i / last - 1) ** 2)) / i0(beta); see `hann_window`. Same as torch.kaiser_window."""
    shape = kaiser(beta)
    return _window("kaiser_window", window_length, periodic, dtype, device, requires_grad, shape)
