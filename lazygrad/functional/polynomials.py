"""Orthogonal polynomials of a degree for each element, by their recurrences: Chebyshev's, Hermite's, Laguerre's and Legendre's. torch.special.

In: a tensor and a degree, either of them a number. Out: a tensor without a gradient, as PyTorch's. A recurrence has as many steps as the largest
degree: where that is above `STRETCH`, the values are computed that many steps at a time, so that one program serves all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ..ir.dtype import float64
from ..tensor import Tensor
from .arguments import compute_dtype, no_kernel, result_type
from .creation import full, full_like
from .gathering import where
from .registry import function
from .shaping import broadcast_tensors

STRETCH = 16
"""How many steps a program has."""

Step = Callable[[float, Tensor, Tensor, Tensor], Tensor]
Form = Callable[[Tensor, Tensor], Tensor]


class Family(NamedTuple):
    """What says a polynomial: that of degree 1, and that of degree k + 1 by those of degrees k - 1 and k."""

    formula: str
    first: Callable[[Tensor], Tensor]
    step: Step
    known: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    """The value where it is known without steps (x, degree, otherwise)."""
    angle: Form | None = None
    """The value by functions of an angle, where the argument is less than 1 in size,"""
    angle_from: int = 0
    """above this degree."""
    argument: Callable[[Tensor], Tensor] = lambda x: x
    """The argument that the recurrence has."""
    most: Callable[[Tensor], float] = lambda x: math.inf
    """Above this degree the value is NaN."""


def _where(condition: Tensor, one: Any, other: Any) -> Tensor:
    made: Tensor = where(condition, one, other)
    return made


def _even(degree: Tensor) -> Tensor:
    return (degree * 0.5).floor() * 2 == degree


def _at_ends(right: Form, left: Form) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The value where the argument is 1, and where it is -1 of an even degree; of an odd one it is the negative."""

    def known(x: Tensor, degree: Tensor, otherwise: Tensor) -> Tensor:
        mirrored = left(x, degree)
        mirrored = _where(_even(degree), mirrored, -mirrored)
        return _where(x == 1, right(x, degree), _where(x == -1, mirrored, otherwise))

    return known


def _one(x: Tensor, degree: Tensor) -> Tensor:
    return full_like(x, 1.0)


def _next(x: Tensor, degree: Tensor) -> Tensor:
    return degree + 1


def _odd(x: Tensor, degree: Tensor) -> Tensor:
    return degree + degree + 1


def _cosine(x: Tensor, degree: Tensor) -> Tensor:
    return (degree * x.acos()).cos()


def _ratio_of_sines(x: Tensor, degree: Tensor) -> Tensor:
    angle = x.acos()
    return ((degree + 1) * angle).sin() / angle.sin()


def _ratio_of_half_cosines(x: Tensor, degree: Tensor) -> Tensor:
    angle = x.acos()
    return ((degree + 0.5) * angle).cos() / (angle * 0.5).cos()


def _ratio_of_half_sines(x: Tensor, degree: Tensor) -> Tensor:
    angle = x.acos()
    return ((degree + 0.5) * angle).sin() / (angle * 0.5).sin()


def _chebyshev(k: float, p: Tensor, q: Tensor, x: Tensor) -> Tensor:
    return (x + x) * q - p


FAMILIES = {
    "chebyshev_polynomial_t": Family(
        "Chebyshev's polynomial of the first kind, cos(n acos(input)),",
        lambda x: x, _chebyshev, _at_ends(_one, _one), _cosine, 6,
    ),
    "chebyshev_polynomial_u": Family(
        "Chebyshev's polynomial of the second kind, sin((n + 1) acos(input)) / sin(acos(input)),",
        lambda x: x + x, _chebyshev, _at_ends(_next, _next), _ratio_of_sines, 8,
    ),
    "chebyshev_polynomial_v": Family(
        "Chebyshev's polynomial of the third kind, cos((n + 1/2) a) / cos(a / 2) of a = acos(input),",
        lambda x: x + x - 1, _chebyshev, _at_ends(_one, _odd), _ratio_of_half_cosines, 8,
    ),
    "chebyshev_polynomial_w": Family(
        "Chebyshev's polynomial of the fourth kind, sin((n + 1/2) a) / sin(a / 2) of a = acos(input),",
        lambda x: x + x + 1, _chebyshev, _at_ends(_odd, _one), _ratio_of_half_sines, 8,
    ),
    "hermite_polynomial_h": Family(
        "Hermite's polynomial of the physicists, NaN above degree 128 (float32) or 512 (float64),",
        lambda x: x + x, lambda k, p, q, x: (x + x) * q - p * (2 * k), most=lambda x: 512 if x.dtype is float64 else 128,
    ),
    "hermite_polynomial_he": Family(
        "Hermite's polynomial of probability, NaN above degree 128 (float32) or 512 (float64),",
        lambda x: x, lambda k, p, q, x: x * q - p * k, most=lambda x: 512 if x.dtype is float64 else 128,
    ),
    "laguerre_polynomial_l": Family(
        "Laguerre's polynomial", lambda x: 1 - x, lambda k, p, q, x: (((2 * k + 1) - x) * q - p * k) / (k + 1),
        lambda x, degree, otherwise: _where(x == 0, 1.0, otherwise),
    ),
    "legendre_polynomial_p": Family(
        "Legendre's polynomial", lambda x: x, lambda k, p, q, x: (x * q * (2 * k + 1) - p * k) / (k + 1), _at_ends(_one, _one),
    ),
}  # fmt: skip
FAMILIES.update(
    {
        f"shifted_{name}": family._replace(
            formula=f"{family.formula} at 2 * input - 1",
            argument=lambda x: x + x - 1,
            angle_from=6,
        )
        for name, family in list(FAMILIES.items())
        if name.startswith("chebyshev")
    }
)


def _operands(name: str, input: Any, n: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of the dtype that is computed in, without their history; degrees without their fractions.

    Raises:
        TypeError: neither is a tensor, or one is neither a tensor nor a number. NotImplementedError: a half type.
    """
    kinds = (Tensor, bool, int, float)
    if not isinstance(input, kinds) or not isinstance(n, kinds) or not (isinstance(input, Tensor) or isinstance(n, Tensor)):  # fmt: skip
        raise TypeError(
            f"special_{name}() received an invalid combination of arguments - got ({type(input).__name__}, "
            f"{type(n).__name__}), but expected a tensor and a tensor, or a tensor and a number"
        )
    dtype = result_type(input, n)
    if dtype.kind == "float" and dtype.itemsize == 2:
        raise no_kernel(name, dtype)
    dtype = compute_dtype(dtype)
    place = next(each.device for each in (input, n) if isinstance(each, Tensor))
    found = [
        each.detach().to(dtype) if isinstance(each, Tensor) else full((), each, dtype=dtype, device=place)
        for each in (input, n)
    ]  # fmt: skip
    x, degree = broadcast_tensors(*found)
    return x, _where(degree.abs() < 2.0**63, degree.trunc(), -1.0)


def _by_steps(family: Family, x: Tensor, degree: Tensor, number: Any) -> Tensor:
    """The value by the recurrence, of degrees 0 and above."""
    previous, current = full_like(x, 1.0), family.first(x)
    value = _where(degree == 0, previous, current)
    if isinstance(number, Tensor) or number > STRETCH:
        last = degree.max().item() if degree.numel() else 0
    else:
        last = number
    k = 1
    while k < last:
        for _ in range(STRETCH):
            previous, current = current, family.step(float(k), previous, current, x)
            k += 1
            value = _where(degree >= k, current, value)
        if k < last and not ((degree > k) & (current == current)).any().item():
            break  # the others are NaN, and stay so
    return value


def _polynomial(name: str, family: Family) -> Callable[..., Tensor]:
    def run(input: Any, n: Any) -> Tensor:
        x, degree = _operands(name, input, n)
        x = family.argument(x)
        steps = _where(degree <= family.most(x), degree, 0.0)
        if family.angle is not None:
            by_angle = (degree > family.angle_from) & (x.abs() < 1)
            steps = _where(by_angle, 0.0, steps)
        value = _by_steps(family, x, steps, n)
        if family.angle is not None:
            value = _where(by_angle, family.angle(x, degree), value)
        if family.known is not None:
            value = family.known(x, degree, value)
        value = _where(degree > family.most(x), math.nan, value)
        return _where(degree < 0, 0.0, value)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = (
        f"{family.formula} of degree n, elementwise; 0 of a negative degree; without a gradient.\n\n"
        "Args:\n    input, n: tensors that broadcast, or a tensor and a number; fractions of a degree are left out.\n\n"
        "Raises:\n    TypeError: neither is a tensor. NotImplementedError: a half type.\n\n"
        f"Same as torch.special.{name}."
    )
    return function(f"special.{name}", module=False, method=False, out=True)(run)


for _name, _family in FAMILIES.items():
    globals()[_name] = _polynomial(_name, _family)
