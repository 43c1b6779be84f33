"""Arms that no lane may need: the same numbers whether a vector needs them in all lanes, in some or in none."""

from typing import Any

import numpy as np
import pytest

import lazygrad as lg


def _numbers(kind: str) -> np.ndarray:
    """Common ones, rare ones and special ones, each in runs longer than a vector."""
    draw = np.random.default_rng(5)
    common = draw.normal(size=400)
    rare = draw.normal(size=400) * 10.0 ** draw.uniform(0, 30, 400)
    special = np.repeat([0.0, np.inf, -np.inf, np.nan, 1.0, -1.0], 70)
    return np.concatenate([common, rare, special, common * 0.3 + 0.5]).astype(kind)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sin", "tan", "erfinv", "lgamma", "special.i1e", "special.ndtri"])
def test_a_lane_has_its_number_whatever_stands_beside_it(name: str, kind: str) -> None:
    run: Any = lg
    for part in name.split("."):
        run = getattr(run, part)
    values = _numbers(kind)
    order = np.random.default_rng(6).permutation(len(values))
    apart, mixed = run(lg.tensor(values)).numpy(), run(lg.tensor(values[order])).numpy()
    np.testing.assert_array_equal(apart[order], mixed)
    if name == "sin":
        with np.errstate(invalid="ignore"):
            np.testing.assert_allclose(apart, np.sin(values), rtol=1e-6, atol=1e-12)


def test_long_arms_are_jumped_over_and_short_ones_are_not() -> None:
    def jumps(run: object) -> int:
        (text,) = lg.lower(run, lg.tensor(_numbers("float64"))).source().values()  # type: ignore[arg-type]
        return text.count("%arm")

    assert jumps(lambda x: x.sin())
    assert not jumps(lambda x: lg.where(x > 0, x * 2, x + 1))


@pytest.mark.parametrize(
    ("device", "kind", "jump"),
    [("opencl", "cpu", "if (some_of_"), ("opencl", "gpu", "if (!"), ("cuda", None, "if (!")],
)
def test_kernels_in_c_jump_too(device: str, kind: str | None, jump: str) -> None:
    """Vectors of a processor, and the work-items of a GPU, which are the lanes there."""

    def jumps(run: object) -> int:
        lowered = lg.lower(run, lg.tensor(_numbers("float32")))  # type: ignore[arg-type]
        (text,) = lowered.source(device, kind).values()
        return text.count(jump)

    assert jumps(lambda x: x.sin())
    assert not jumps(lambda x: lg.where(x > 0, x * 2, x + 1))
