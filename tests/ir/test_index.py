"""Index arithmetic: positions of flattened, cut and flipped axes against the numbers they stand for."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazygrad.ir.access import reshaped
from lazygrad.ir.dim import example
from lazygrad.ir.index import Index, Quotient, Remainder, Variable, flatten, of, unflatten

SHAPES = [(3, 3, 2, 3), (4, 3, 2), (2, 5, 3), (6, 4), (2, 2, 2, 2)]


def value(index: Index, values: dict[Variable, int]) -> int:
    total = index.constant
    assert isinstance(total, int)
    for atom, coefficient in index.terms:
        if isinstance(atom, Variable):
            number = values[atom]
        else:
            assert isinstance(atom, (Quotient, Remainder))
            dividend = value(atom.dividend, values)
            assert isinstance(atom.divisor, int)
            number = (
                dividend // atom.divisor if isinstance(atom, Quotient) else dividend % atom.divisor
            )
        assert isinstance(coefficient, int)
        total += number * coefficient
    return total


@pytest.mark.parametrize("shape", SHAPES)
def test_a_flipped_offset_finds_its_element(shape: tuple[int, ...]) -> None:
    """Quotients of what counts down are negative: (17 - i) // 18."""
    size = math.prod(shape)
    variable = Variable("i", size)
    position = unflatten(of(variable) * -1 + (size - 1), shape)
    offset = flatten(position, shape)
    for number in range(size):
        assert value(offset, {variable: number}) == size - 1 - number


@given(st.data())
def test_bounds_hold_every_value(data: st.DataObject) -> None:
    variables = [Variable(name, data.draw(st.integers(1, 6))) for name in "ij"]
    index = of(data.draw(st.integers(-20, 20)))
    for variable in variables:
        index = index + of(variable) * data.draw(st.integers(-7, 7))
    for _ in range(data.draw(st.integers(1, 3))):
        divisor = data.draw(st.integers(2, 7))
        index = index // divisor if data.draw(st.booleans()) else index % divisor
        index = index * data.draw(st.integers(-3, 3)) + of(variables[0]) * data.draw(
            st.integers(-2, 2)
        )
    low, high = index.bounds()
    for numbers in itertools.product(*(range(example(v.extent)) for v in variables)):
        found = value(index, dict(zip(variables, numbers, strict=True)))
        assert low <= found <= high


def test_what_lies_beyond_the_shape_decides_no_quotient() -> None:
    """Behind a PAD an index may be larger than its axis; a condition leaves those elements out."""
    i, j = Variable("i", 11), Variable("j", 11)
    found = reshaped((of(i), of(j)), (10, 10), (5, 2, 5, 2))
    assert found == (of(i) // 2, of(i) % 2, of(j) // 2, of(j) % 2)
