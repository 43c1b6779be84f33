"""Comparing tensors in tests: `assert_close`, as torch.testing has it."""

from __future__ import annotations

import math
from typing import Any

from .functional.creation import as_tensor
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
