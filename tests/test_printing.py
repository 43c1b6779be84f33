"""repr of tensors is PyTorch's, character for character: on drawn arrays of every dtype, and on the cases with rules of their own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lazygrad as lg
from lazygrad import config, printing

torch = pytest.importorskip("torch")

DTYPES = [
    "float32",
    "float64",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
]
SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1e-5,
    12345.678,
    1e9,
    1e-20,
    math.nan,
    math.inf,
    -math.inf,
    3.14159265,
]


@pytest.fixture(autouse=True)
def on_the_interpreter() -> Iterator[None]:
    with config.override(device="interpret"):
        yield
    lg.set_printoptions(profile="default")
    torch.set_printoptions(profile="default")


def both(values: Any, dtype: str, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """The same tensor in both libraries."""
    array = np.array(values, dtype="float64").reshape(shape)
    if dtype in ("float32", "float64", "float16", "bfloat16"):
        with np.errstate(over="ignore"):
            array = array.astype("float32" if dtype == "bfloat16" else dtype)
    else:
        array = (
            np.nan_to_num(array, posinf=9, neginf=-9).clip(-100, 100).astype("int64").astype(dtype)
        )
    theirs = torch.tensor(array).to(getattr(torch, dtype))
    ours = lg.tensor(array).to(getattr(lg, dtype))
    return ours, theirs


numbers = st.one_of(
    st.sampled_from(SPECIAL),
    st.integers(-1000, 1000).map(float),
    st.floats(-1e4, 1e4, allow_nan=False),
    st.floats(allow_nan=True, allow_infinity=True, width=32),
)
shapes = st.lists(st.integers(0, 7), max_size=4).map(tuple)


@settings(max_examples=120, deadline=None)
@given(st.data(), st.sampled_from(DTYPES), shapes)
def test_drawn_arrays(data: Any, dtype: str, shape: tuple[int, ...]) -> None:
    count = math.prod(shape)
    pool = data.draw(st.lists(numbers, min_size=1, max_size=12))
    values = [pool[i * i % len(pool)] for i in range(count)]
    ours, theirs = both(values, dtype, shape)
    assert repr(ours) == repr(theirs)
    assert str(ours) == str(theirs)


@pytest.mark.parametrize(
    "shape",
    [(1001,), (40, 30), (7, 200), (2000, 1), (1, 2000), (11, 12, 13), (5, 5, 5, 12), (4, 3, 100)],
)
@pytest.mark.parametrize("dtype", ["float32", "int64", "bfloat16"])
def test_large_tensors_show_their_corners(shape: tuple[int, ...], dtype: str) -> None:
    values = [(i * 37 % 1009 - 500) / 8 for i in range(math.prod(shape))]
    ours, theirs = both(values, dtype, shape)
    assert repr(ours) == repr(theirs)


def test_requires_grad_and_grad_fn() -> None:
    for make in (
        lambda m: m.ones(2, 3, requires_grad=True),
        lambda m: m.ones(2, 3, requires_grad=True) + 2,
        lambda m: m.ones(20, requires_grad=True) * 1.5,
        lambda m: m.ones(3, 3, dtype=m.float64, requires_grad=True).exp(),
        lambda m: m.ones(0, 3, requires_grad=True) * 2,
        lambda m: m.ones((), requires_grad=True).sum(),
        lambda m: m.ones(2, requires_grad=True).detach(),
        lambda m: m.ones(2, 2, requires_grad=True).t(),
        lambda m: m.linspace(0, 1, 15, requires_grad=True) * 1e-6,
    ):
        assert repr(make(lg)) == repr(make(torch))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    "options",
    [
        {"precision": 2}, {"precision": 8}, {"linewidth": 40}, {"edgeitems": 1, "threshold": 10}, {"threshold": 5},
        {"profile": "short"}, {"profile": "full"}, {"sci_mode": True}, {"sci_mode": False, "precision": 6},
    ],
)  # fmt: skip
def test_options(options: dict[str, Any]) -> None:
    lg.set_printoptions(**options)
    torch.set_printoptions(**options)
    for shape in ((3,), (4, 5), (12, 13), (2, 3, 4), ()):
        for scale in (1.0, 1e-7, 1e7):
            values = [(i * 31 % 97 - 48) / 7 * scale for i in range(math.prod(shape))]
            ours, theirs = both(values, "float64", shape)
            assert repr(ours) == repr(theirs)


def test_the_default_dtype_shows_no_suffix() -> None:
    lg.set_default_dtype(lg.float64)
    torch.set_default_dtype(torch.float64)
    try:
        assert repr(lg.ones(2)) == repr(torch.ones(2))
        assert repr(lg.ones(2, dtype=lg.float32)) == repr(torch.ones(2, dtype=torch.float32))
    finally:
        lg.set_default_dtype(lg.float32)
        torch.set_default_dtype(torch.float32)


def test_formatting_a_number() -> None:
    for specification in ("", ".2f", ">10.3f", "e"):
        assert format(lg.tensor(3.14159), specification) == format(
            torch.tensor(3.14159), specification
        )
    assert f"{lg.ones(2)}" == f"{torch.ones(2)}"


def test_views_print_what_they_show() -> None:
    ours = lg.arange(24).reshape(4, 6)
    theirs = torch.arange(24).reshape(4, 6)
    for view in (
        lambda t: t.t(),
        lambda t: t[1:, ::2],
        lambda t: t[2],
        lambda t: t[None, :, 3],
        lambda t: t[1, 2],
    ):
        assert repr(view(ours)) == repr(view(theirs))  # type: ignore[no-untyped-call]


def test_printing_reads_only_the_corners() -> None:
    """Half a gigabyte of Python floats would be made otherwise."""
    large = lg.zeros(3000, 3000)
    assert repr(large) == repr(torch.zeros(3000, 3000))
    data, values = printing._corners(np.zeros((3000, 3000)), 3)
    assert len(values) == 36
    assert len(data) == 3000


def test_return_types_show_their_fields() -> None:
    rows = [[1.0, 5.0], [7.0, 2.0]]
    assert repr(lg.tensor(rows).max(1)) == repr(torch.tensor(rows).max(1))
    assert repr(lg.tensor(rows).min(0)) == repr(torch.tensor(rows).min(0))


def test_shapes_and_dtypes() -> None:
    assert repr(lg.ones(2, 3).shape) == repr(torch.ones(2, 3).shape)
    assert repr(lg.ones(2, 3).shape[1:]) == repr(torch.ones(2, 3).shape[1:])
    assert repr(lg.float32) == repr(torch.float32)
    assert repr(lg.FloatTensor) == repr(torch.FloatTensor)
    assert repr(lg.device("cpu")) == repr(torch.device("cpu"))
    for dtype in ("float32", "float64", "float16", "bfloat16"):
        assert repr(lg.finfo(getattr(lg, dtype))) == repr(torch.finfo(getattr(torch, dtype)))
    for dtype in ("int64", "int8", "uint8"):
        assert repr(lg.iinfo(getattr(lg, dtype))) == repr(torch.iinfo(getattr(torch, dtype)))
