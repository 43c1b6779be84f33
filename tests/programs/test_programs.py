"""Random programs: CPU, INTERPRET and numpy agree in their values, and with PyTorch and finite differences in their gradients.

hypothesis draws bits only, from seeds of its own: some numbers it would take from the constants of whatever modules are
loaded, and each commit would run other programs. `benchmarks/fuzz.py` runs more.
"""

from __future__ import annotations

import statistics

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from .execute import shortest_failure
from .generator import write

EXAMPLES = 500
PARTS = 10
DEPTH = 10
STEPS = 24
BITS = 16


def number(bits: list[bool]) -> int:
    return sum(bit << place for place, bit in enumerate(bits))


SEEDS = st.lists(
    st.lists(st.booleans(), min_size=BITS, max_size=BITS).map(number),
    min_size=STEPS + 1,
    max_size=STEPS + 1,
)


@pytest.mark.parametrize("part", range(PARTS))
def test_random_programs_agree(part: int) -> None:
    @seed(part)
    @settings(
        max_examples=EXAMPLES // PARTS,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # a failing program is made shorter by leaving out steps
        suppress_health_check=list(HealthCheck),
    )
    @given(SEEDS)
    def agrees(seeds: list[int]) -> None:
        message = shortest_failure(seeds)
        assert message is None, message

    agrees()


def test_random_programs_are_deep() -> None:
    depths: list[int] = []

    @seed(0)
    @settings(max_examples=EXAMPLES, database=None, deadline=None, phases=[Phase.generate])
    @given(SEEDS)
    def count(seeds: list[int]) -> None:
        depths.append(write(seeds).depth)

    count()
    assert len(depths) == EXAMPLES and statistics.median(depths) >= DEPTH
