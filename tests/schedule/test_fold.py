"""Arithmetic on numbers while compiling agrees with the interpreter, bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazygrad.ir import dtype as dtypes
from lazygrad.ir.args import Scalar
from lazygrad.ir.dtype import DType, bool_
from lazygrad.ir.elementwise import apply, round_to, value_dtype
from lazygrad.ir.op import BINARY, COMPARISON, UNARY, Op
from lazygrad.schedule.fold import compute, rounded

SPECIAL = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -2.5,
    3.5,
    math.inf,
    -math.inf,
    math.nan,
    65520.0,
    3.4028235677973366e38,
    1e-45,
)
FOLDED = {*UNARY, *BINARY} - {Op.BITCAST, Op.CAST}


def scalars(kind: DType) -> st.SearchStrategy[Scalar]:
    if kind.kind == "bool":
        return st.booleans()
    if kind.kind == "float":
        return st.sampled_from(SPECIAL) | st.floats(width=32) | st.floats()
    low = -(1 << kind.bits - 1) if kind.kind == "int" else 0
    high = (1 << kind.bits - (kind.kind == "int")) - 1
    return st.integers(low, high) | st.integers(max(low, -3), 3)


def array(value: Scalar, kind: DType) -> np.ndarray:
    if kind.kind == "float":
        return round_to(np.asarray(float(value)), kind)
    return np.asarray(value).astype(value_dtype(kind))


def interpreted(op: Op, dtype: DType, kinds: list[DType], values: list[Scalar]) -> Scalar:
    with np.errstate(all="ignore"):
        found: Scalar = apply(op, dtype, kinds, [array(v, k) for v, k in zip(values, kinds)]).item()
    return found


def same(left: Scalar, right: Scalar) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return (math.isnan(left) and math.isnan(right)) or (
            left == right and math.copysign(1, left) == math.copysign(1, right)
        )
    return left == right and type(left) is type(right)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_numbers_are_the_interpreters(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(dtypes.ALL))
    op = Op(data.draw(st.sampled_from(sorted(FOLDED))))
    values = [data.draw(scalars(kind)) for _ in range(1 if op in UNARY else 2)]
    dtype = bool_ if op in COMPARISON else kind
    found = compute(op, dtype, [kind] * len(values), values)
    if found is not None:
        assert same(found, interpreted(op, dtype, [kind] * len(values), values)), (op, kind, values)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_casts_are_the_interpreters(data: st.DataObject) -> None:
    source, target = (data.draw(st.sampled_from(dtypes.ALL)) for _ in range(2))
    value = data.draw(scalars(source))
    found = compute(Op.CAST, target, [source], [value])
    if found is not None:
        assert same(found, interpreted(Op.CAST, target, [source], [value])), (source, target, value)


@settings(max_examples=300, deadline=None)
@given(
    st.floats() | st.floats(width=16) | st.floats(width=32),
    st.sampled_from(["float16", "bfloat16", "float32"]),
)
def test_rounding_is_to_nearest_even(value: float, name: str) -> None:
    kind = dtypes.BY_NAME[name]
    with np.errstate(all="ignore"):
        assert same(rounded(value, kind), round_to(np.asarray(value), kind).item())


@pytest.mark.parametrize(
    ("op", "kind", "values", "expected"),
    [
        (Op.ADD, dtypes.float32, [0.1, 0.2], 0.30000001192092896),
        (Op.DIV, dtypes.float32, [1.0, -0.0], -math.inf),
        (Op.EXP, dtypes.float32, [0.5], 1.6487212181091309),
        (Op.ADD, dtypes.int8, [127, 1], -128),
        (Op.IDIV, dtypes.int64, [-7, 2], -4),
        (Op.IDIV, dtypes.int64, [1, 0], None),
        (Op.LOG, dtypes.float32, [-1.0], None),
    ],
)  # fmt: skip
def test_what_is_folded(op: Op, kind: DType, values: list[Scalar], expected: Scalar | None) -> None:
    assert compute(op, kind, [kind] * len(values), values) == expected
