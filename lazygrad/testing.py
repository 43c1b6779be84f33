"""What tests are written with: `assert_close` and `make_tensor`, as torch.testing has them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from .functional.arguments import as_dtype
from .functional.creation import as_tensor
from .functional.gathering import where
from .functional.numeric_limits import finfo, iinfo
from .ir.dtype import DType, float32, int64
from .random import rand, randint
from .tensor import Tensor

TOLERANCES = {"float64": (1e-7, 1e-7), "float32": (1.3e-6, 1e-5), "float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5)}  # fmt: skip
"""Relative and absolute, by dtype; other dtypes must be equal."""


def assert_close(
    actual: Any,
    expected: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_dtype: bool = True,
    msg: str | None = None,
) -> None:
    """Check that two tensors, or sequences of them, are close: |actual - expected| <= atol + rtol * |expected|.

    Args:
        rtol, atol: by default those of the dtype in `TOLERANCES`; equal_nan: whether two NaN are close.

    Raises:
        AssertionError: they are not; the message says how many elements and how far the worst is.
        ValueError: only one of rtol and atol is given.

    Same as torch.testing.assert_close.
    """
    if (
        isinstance(actual, (list, tuple))
        and isinstance(expected, (list, tuple))
        and any(isinstance(each, Tensor) for each in (*actual, *expected))
    ):
        if len(actual) != len(expected):
            raise AssertionError(
                f"The length of the sequences mismatch: {len(actual)} != {len(expected)}"
            )
        for one, other in zip(actual, expected, strict=True):
            assert_close(
                one,
                other,
                rtol=rtol,
                atol=atol,
                equal_nan=equal_nan,
                check_dtype=check_dtype,
                msg=msg,
            )
        return
    if (rtol is None) != (atol is None):
        raise ValueError("rtol and atol must both be specified or both be left out")
    left, right = as_tensor(actual), as_tensor(expected)
    problem = _difference(left, right, rtol, atol, equal_nan, check_dtype)
    if problem:
        raise AssertionError(msg or problem)


def _difference(
    left: Tensor,
    right: Tensor,
    rtol: float | None,
    atol: float | None,
    equal_nan: bool,
    check_dtype: bool,
) -> str:
    if tuple(left.shape) != tuple(right.shape):
        return f"The values for attribute 'shape' do not match: {left.shape} != {right.shape}."
    if check_dtype and left.dtype is not right.dtype:
        return f"The values for attribute 'dtype' do not match: {left.dtype} != {right.dtype}."
    if rtol is None or atol is None:
        pairs = [TOLERANCES.get(each.dtype.name, (0.0, 0.0)) for each in (left, right)]
        rtol, atol = max(pair[0] for pair in pairs), max(pair[1] for pair in pairs)
    wrong, worst = 0, 0.0
    for one, other in zip(_flat(left), _flat(right), strict=True):
        if one == other or (equal_nan and one != one and other != other):
            continue
        distance = abs(one - other)
        if not (distance <= atol + rtol * abs(other)) or math.isinf(distance):
            wrong += 1
            worst = max(worst, distance)
    if not wrong:
        return ""
    return (
        f"Tensor-likes are not close!\n\nMismatched elements: {wrong} / {left.numel()}\n"
        f"Greatest absolute difference: {worst} (up to {atol} allowed, {rtol} relative)"
    )


def _flat(tensor: Tensor) -> list[Any]:
    values = tensor.detach().tolist()
    for _ in range(tensor.ndim - 1):
        values = [each for row in values for each in row]
    return values if tensor.ndim else [values]


def make_tensor(
    *shape: Any,
    dtype: DType,
    device: object,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: object = None,
) -> Tensor:
    """A tensor of numbers drawn uniformly from [low, high), for tests.

    Args:
        shape: sizes, or one sequence of them.
        low, high: by default -9 and 9 of floats, -9 and 10 of integers, 0 and 2 of bool; a bound beyond the dtype's is that of the dtype.
        noncontiguous: every second element of a tensor of twice the length.
        exclude_zero: 1 (integers and bool) or the least normal number (floats) where a 0 was drawn.

    Raises:
        ValueError: low is not below high, or one of them is NaN; `requires_grad` of a dtype that is not floating; both `noncontiguous`
            and `memory_format`.

    Same as torch.testing.make_tensor; the numbers are others.
    """
    found = as_dtype(dtype)
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
    if noncontiguous and memory_format is not None:
        raise ValueError(
            f"The parameters `noncontiguous` and `memory_format` are mutually exclusive, but got {noncontiguous=} and "
            f"{memory_format=}"
        )
    floating = found.kind == "float"
    if requires_grad and not floating:
        raise ValueError(
            f"`requires_grad=True` is not supported for boolean and integral dtypes, but got {dtype=}"
        )
    noncontiguous = noncontiguous and math.prod(sizes) > 1
    if noncontiguous:
        sizes = (*sizes[:-1], 2 * sizes[-1])
    first, last = _bounds(found, low, high)
    if floating:
        wide = found if found.itemsize > 4 else float32
        halves = 2 if last - first > finfo(wide).max else 1
        drawn = rand(sizes, dtype=wide, device=device) * ((last / halves) - (first / halves))
        made = ((drawn + first / halves) * halves).to(found)
        if last > first:
            made = where(made >= last, first, made)  # rounding may reach the end
    else:
        made = randint(math.ceil(first), math.ceil(last), sizes, dtype=found, device=device)
    if noncontiguous:
        made = made[..., 1::2]
    if exclude_zero:
        made[made == 0] = finfo(found).tiny if floating else 1
    return made.requires_grad_(requires_grad) if floating else made


def _bounds(dtype: DType, low: float | None, high: float | None) -> tuple[float, float]:
    """The bounds of what is drawn, the first of them included.

    Raises:
        ValueError: low is not below high; one of them is NaN; no number of the dtype is between them.
    """
    least: float
    beyond: float
    if dtype.kind == "float":
        least, beyond, usual = finfo(dtype).min, finfo(dtype).max, (-9, 9)
    elif dtype.kind == "bool":
        least, beyond, usual = 0, 2, (0, 2)
    else:
        limits = iinfo(dtype)
        least, beyond, usual = limits.min, limits.max + (dtype is not int64), (-9, 10)
    low, high = usual[0] if low is None else low, usual[1] if high is None else high
    if low != low or high != high:
        raise ValueError(f"`low` and `high` cannot be NaN, but got {low=} and {high=}")
    if low == high and dtype.kind == "float":
        warnings.warn(
            "Passing `low==high` to `torch.testing.make_tensor` for floating or complex types is deprecated since 2.1 and "
            "will be removed in 2.3. Use `torch.full(...)` instead.",
            FutureWarning,
            stacklevel=3,
        )
    elif low >= high:
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    elif high < least or low >= beyond:
        raise ValueError(
            f"The value interval specified by `low` and `high` is [{low}, {high}), but {dtype} only supports "
            f"[{least}, {beyond})"
        )
    return min(max(low, least), beyond), min(max(high, least), beyond)
