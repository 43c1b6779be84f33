"""Arithmetic on dims agrees with arithmetic on every value that they can have, or says that it is undecided."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazygrad.ir.dim import Dim, Size, UndecidedError, product

VARIABLES = {
    "n": Dim.variable("n", 2, 100),
    "m": Dim.variable("m", 0, 10**6),
    "k": Dim.variable("k", 16, 160, multiple=16),
}
VALUES = st.fixed_dictionaries(
    {
        "n": st.integers(2, 100),
        "m": st.integers(0, 10**6),
        "k": st.integers(1, 10).map(lambda i: 16 * i),
    }
)
LEAVES: st.SearchStrategy[Size] = st.one_of(
    st.integers(-20, 20), st.sampled_from(list(VARIABLES.values()))
)


def _combine(pair: tuple[Callable[[Size, Size], Size], Size, Size]) -> Size:
    return pair[0](pair[1], pair[2])


SIZES = st.recursive(
    LEAVES,
    lambda inner: st.tuples(
        st.sampled_from([operator.add, operator.sub, operator.mul]), inner, inner
    ).map(_combine),
    max_leaves=8,
)


def at(size: Size, values: dict[str, int]) -> int:
    return size if isinstance(size, int) else size.evaluate(values)


@given(SIZES, SIZES, VALUES)
def test_polynomials_agree_with_their_values(a: Size, b: Size, values: dict[str, int]) -> None:
    for function in (operator.add, operator.sub, operator.mul):
        assert at(function(a, b), values) == function(at(a, values), at(b, values))
    assert at(product([a, b, 3]), values) == 3 * at(a, values) * at(b, values)
    if isinstance(a, Dim):
        assert a.low <= at(a, values) <= a.high
        assert at(-a, values) == -at(a, values)


@given(SIZES, SIZES, VALUES)
def test_decided_questions_are_right_for_every_value(
    a: Size, b: Size, values: dict[str, int]
) -> None:
    left, right = at(a, values), at(b, values)
    if a == b:
        assert left == right and hash(a) == hash(b)
    for compare in (operator.lt, operator.le, operator.gt, operator.ge):
        try:
            assert compare(a, b) == compare(left, right)
        except UndecidedError:
            assert isinstance(a, Dim) or isinstance(b, Dim)
    if right:
        for divide in (operator.floordiv, operator.mod):
            try:
                assert at(divide(a, b), values) == divide(left, right)
            except (UndecidedError, ZeroDivisionError):
                assert isinstance(a, Dim) or isinstance(b, Dim)


def test_equal_polynomials_are_equal_however_they_were_made() -> None:
    n, m, k = VARIABLES.values()
    assert (n + m) * (n - m) == n * n - m * m
    assert n - n == 0 and isinstance(n - n, int)
    assert (n * 6 + m * 3) // 3 == n * 2 + m
    assert (n * m) // n == m
    assert k % 8 == 0 and (k * 3) // 3 == k
    assert (n + m) // (m + n) == 1 and (n + 1) * 4 // (n + 1) == 4
    assert str(2 * n * m - k + 1) == "2*m*n - k + 1"


def test_undecided_questions_say_so() -> None:
    n, m, k = VARIABLES.values()
    questions: list[Callable[[], object]] = [
        lambda: n < m,
        lambda: n // 2,
        lambda: n % 2,
        lambda: 7 // n,
        lambda: bool(n - m),
        lambda: k // 32,
        lambda: k // 16,
    ]
    for question in questions:
        with pytest.raises(UndecidedError):
            question()
    assert n < 101 and not n < 2 and k > 15 and bool(n)
