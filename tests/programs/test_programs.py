"""Random programs: CPU, INTERPRET and numpy agree in their values, and with PyTorch and finite differences in their gradients."""

from __future__ import annotations

import statistics

from hypothesis import HealthCheck, Phase, settings
from hypothesis import given as given

from .execute import check
from .generator import Program, programs

EXAMPLES = 500
DEPTH = 10


def test_random_programs_agree() -> None:
    depths: list[int] = []

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        print_blob=False,
    )
    @given(programs())
    def agree(program: Program) -> None:
        depths.append(program.depth)
        check(program)

    agree()
    assert len(depths) >= EXAMPLES
    assert statistics.median(depths) >= DEPTH
