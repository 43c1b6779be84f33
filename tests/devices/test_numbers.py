"""Every operator on every device: one sample of each expression for a class of dtypes, computed together, against another device.

Devices that compile are compared with the interpreter, the interpreter with the CPU. What is asked for at once is one program of many kernels,
which an OpenCL driver builds in a fraction of the time that single ones take.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config

from ..functional import cases

INTEGERS = """
m+n; m-n; m*n; m//n; m%n; m//0*0+m; -m; abs(m); m.sign(); m<n; m<=n; m==n; m!=n; m&n; m|n; m^n; ~m; m<<h; m>>h; m<<99; m>>99; m.clamp(-2, 3)
torch.maximum(m, n); torch.minimum(m, n); m.sum(); m.sum(0); m.prod(1); m.amax(1); m.amin(); m.cumsum(1); m.cumprod(0); m.any(1); m.all(); m@n.T; m.square()
torch.where(m>n, m, n); m/n; m.float()/3; m.float().exp(); m.argmax(1); m.argmin(0); m.t().contiguous(); m.flip(0); m[k]; m[:, k]; m.index_add(0, k, n[:2]); m.scatter_add(1, i, n[:2, :3])
torch.cat([m, n]); m.tril(); m.repeat(2, 1); m[m>0]; m.masked_fill(m>0, 7); m.div(3, rounding_mode='trunc'); torch.fmod(m, 3); m.remainder(-3)
"""
BOOLEANS = """
p&r; p|r; p^r; ~p; p==r; p!=r; p<r; p<=r; p.any(); p.all(1); p.any(0); p.sum(); p.sum(1); p.float(); p.int()+1; p*2; p.logical_and(r); p.logical_not(); torch.where(p, 1, r)
p.t().contiguous(); p[k]; torch.cat([p, r]); p.cumsum(1); p.amax(1); p.flip(0); p.masked_fill(r, True); a[p]; p.half(); p.view(-1); p.to(torch.uint8)
"""
CASTS = "; ".join(
    f"x_{old}.to(torch.{new})"
    for old in ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "uint32", "uint64", "bool")
    for new in ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "uint32", "uint64", "bool")
)  # fmt: skip
SAMPLES = [
    *((name, "float32") for name in ("UNARY", "ACTIVATIONS", "REDUCTIONS", "MOVEMENT", "INDEXING", "PRODUCTS", "LOSSES", "CASTING")),
    *((name, dtype) for name in ("ARITHMETIC", "UNARY") for dtype in ("float64", "bfloat16")),
    ("ARITHMETIC", "float32"), ("ARITHMETIC", "float16"), ("REDUCTIONS", "float16"), ("PRODUCTS", "float64"),
    ("INTEGERS", "int64"), ("INTEGERS", "int8"), ("INTEGERS", "uint8"), ("BOOLEANS", "bool"), ("CASTS", "all"),
]  # fmt: skip
TOLERANCE = {"float64": 1e-11, "float32": 3e-5, "float16": 4e-3, "bfloat16": 3e-2}


def expressions(table: str) -> list[str]:
    return cases.split(globals().get(table) or getattr(cases, table))


def operands(dtype: str) -> dict[str, Any]:
    """The tensors that the expressions of a class of dtypes name."""
    draws = np.random.default_rng(7)
    if dtype.startswith(("float", "bfloat")):
        return cases.operands(lg, dtype=dtype, grad=False)
    names = cases.operands(lg, grad=False)
    if dtype == "bool":
        return {
            **names,
            "p": lg.tensor(draws.random((3, 4)) > 0.5),
            "r": lg.tensor(draws.random((3, 4)) > 0.5),
        }
    if dtype == "all":
        values = [
            0.0,
            -0.0,
            1.0,
            1.5,
            2.5,
            100.25,
            127.0,
            3e-7,
            65504.0,
            40000.7,
            16777217.0,
            -1.0,
            -1.5,
            -100.0,
        ]
        for each in (dtype for dtype in CASTS.split("; ")):
            name = each.partition(".")[0]
            kind = getattr(lg, name[2:])
            usable = (
                values
                if kind.is_floating_point
                else [v for v in values if abs(v) <= 127 and (v >= 0 or kind.is_signed)]
            )
            names[name] = lg.tensor(usable, dtype=lg.float64).to(kind)
        return names
    low = 0 if dtype == "uint8" else -9
    kind = getattr(lg, dtype)
    numbers = {name: draws.integers(low, 10, (3, 4)) for name in ("m", "n")}
    numbers["n"][numbers["n"] == 0] = 3
    names["h"] = lg.tensor(draws.integers(0, 7, (3, 4)), dtype=kind)
    return {**names, **{name: lg.tensor(value, dtype=kind) for name, value in numbers.items()}}


def compute(texts: list[str], names: dict[str, Any]) -> list[Any]:
    """The values of expressions, all asked for at once; of one that fails, its error."""
    found: list[Any] = []
    for text in texts:
        try:
            found.append(eval(text, dict(names)))
        except (RuntimeError, IndexError, ValueError, TypeError) as error:
            found.append(f"{type(error).__name__}: {error}".partition("(<string>")[0])
    lg.realize([value for value in found if isinstance(value, lg.Tensor)])
    return [value.tolist() if isinstance(value, lg.Tensor) else value for value in found]


@cache
def expected(table: str, dtype: str, by: str) -> list[Any]:
    with config.override(device=by):
        return compute(expressions(table), operands(dtype))


def close(value: Any, reference: Any, tolerance: float) -> bool:
    if isinstance(value, str) or isinstance(reference, str):
        return bool(value == reference)
    left, right = np.asarray(value), np.asarray(reference)
    if left.shape != right.shape or left.dtype.kind != right.dtype.kind:
        return False
    if left.dtype.kind != "f":
        return bool(np.array_equal(left, right))
    return bool(np.allclose(left, right, rtol=tolerance, atol=tolerance, equal_nan=True))


@pytest.fixture
def references(device: str) -> Callable[[str, str], list[Any]]:
    """references(table, dtype): the values by another device, computed before kernels of this one are counted."""
    by = "cpu" if device == "interpret" else "interpret"
    return lambda table, dtype: expected(table, dtype, by)


@pytest.mark.parametrize(("table", "dtype"), SAMPLES)
def test_every_operator(
    table: str, dtype: str, references: Callable[[str, str], list[Any]], request: Any
) -> None:
    wanted = references(table, dtype)
    request.getfixturevalue("place")
    texts = expressions(table)
    tolerance = TOLERANCE.get(dtype, TOLERANCE["bfloat16"] if dtype == "all" else 3e-5)
    if table == "CASTING":
        tolerance = TOLERANCE["bfloat16"]
    values = compute(texts, operands(dtype))
    wrong = [
        f"{text}: {value} where another device has {reference}"
        for text, value, reference in zip(texts, values, wanted)
        if not close(value, reference, tolerance)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.usefixtures("place")
def test_remainders_of_vectors() -> None:
    """Rows that are shorter than a vector of doubles; PyTorch's and numpy's remainders are exact."""
    draws = np.random.default_rng(0)
    left, right = draws.uniform(-9, 9, (5, 10, 5)), draws.uniform(-9, 9, (10, 5))
    found = lg.fmod(lg.tensor(left), lg.tensor(right))
    assert np.array_equal(found.numpy(), np.fmod(left, right))


@pytest.mark.usefixtures("place")
def test_tiles_are_transposed() -> None:
    """Of every width of elements: the registers of a half float are wider than its memory."""
    values = np.random.default_rng(0).integers(-9, 9, (64, 100))
    for dtype in (lg.float64, lg.float32, lg.float16, lg.bfloat16, lg.int64, lg.int8, lg.bool):
        given = lg.tensor(values).to(dtype)
        wanted = values != 0 if dtype is lg.bool else values
        assert np.array_equal(given.t().contiguous().to(lg.int64).numpy(), wanted.T), dtype
