"""Random programs: CPU, INTERPRET and numpy agree in their values, and with PyTorch and finite differences in their gradients."""

from __future__ import annotations

import statistics

import pytest

from .execute import shortest_failure
from .generator import drawn, write

EXAMPLES = 500
PARTS = 10
DEPTH = 10


@pytest.mark.parametrize("part", range(PARTS))
def test_random_programs_agree(part: int) -> None:
    for number in range(part, EXAMPLES, PARTS):
        message = shortest_failure(drawn(number))
        assert message is None, f"program {number}: {message}"


def test_random_programs_are_deep() -> None:
    assert statistics.median(write(drawn(each)).depth for each in range(EXAMPLES)) >= DEPTH
