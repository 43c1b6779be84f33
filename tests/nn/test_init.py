"""Initial values: PyTorch's formulas, arguments and errors; the numbers are drawn here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.nn import init

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("shape", "groups"), [((4, 3, 3), 2), ((2, 5, 3, 4), 1), ((4, 1, 2, 2, 2), 4)]
)
def test_dirac(shape: tuple[int, ...], groups: int) -> None:
    ours, theirs = (
        init.dirac_(lg.ones(*shape), groups),
        torch.nn.init.dirac_(torch.ones(shape), groups),
    )
    assert ours.tolist() == theirs.tolist()


def test_eye() -> None:
    weight = lg.nn.Parameter(lg.zeros(2, 3))
    assert init.eye_(weight) is weight and weight.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert weight.requires_grad and weight.grad_fn is None


@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 4)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    matrix = init.orthogonal_(lg.empty(*shape), gain=2.0).numpy().reshape(shape[0], -1)
    small = matrix.T @ matrix if matrix.shape[0] > matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-5)
    assert not np.array_equal(
        matrix, init.orthogonal_(lg.empty(*shape), 2.0).numpy().reshape(matrix.shape)
    )


def test_sparse() -> None:
    matrix = init.sparse_(lg.empty(10, 50), 0.25, std=2.0).numpy()
    assert ((matrix == 0).sum(0) == 3).all() and len({tuple(c) for c in (matrix == 0).T}) > 10
    assert 1.6 < matrix[matrix != 0].std() < 2.4


def test_truncated_normal() -> None:
    """As the distribution says: bounds, mean and spread of 20,000 draws against PyTorch's."""
    ours = init.trunc_normal_(lg.empty(20_000), 0.5, 2.0, -1.0, 3.0).numpy()
    theirs = torch.nn.init.trunc_normal_(torch.empty(20_000), 0.5, 2.0, -1.0, 3.0).numpy()
    assert ours.min() >= -1 and ours.max() <= 3 and ours.max() > 2.98 and ours.min() < -0.98
    assert abs(ours.mean() - theirs.mean()) < 0.04 and abs(ours.std() / theirs.std() - 1) < 0.02
    with pytest.warns(UserWarning, match="more than 2 std"):
        init.trunc_normal_(lg.empty(2), 9.0)


def test_generators_and_old_names() -> None:
    first = init.normal_(lg.empty(4), generator=lg.Generator().manual_seed(3)).tolist()
    with pytest.warns(
        FutureWarning, match=r"`nn.init.normal` is now deprecated in favor of `nn.init.normal_`"
    ):
        assert init.normal(lg.empty(4), generator=lg.Generator().manual_seed(3)).tolist() == first
    assert init._calculate_fan_in_and_fan_out(lg.empty(2, 3, 5)) == (15, 10)


ERRORS: dict[str, Callable[[Any, Any], Any]] = {
    "eye": lambda t, i: i.eye_(t.empty(2)),
    "dirac": lambda t, i: i.dirac_(t.empty(2, 2)),
    "dirac groups": lambda t, i: i.dirac_(t.empty(3, 2, 1), 2),
    "orthogonal": lambda t, i: i.orthogonal_(t.empty(2)),
    "sparse": lambda t, i: i.sparse_(t.empty(2), 0.1),
    "slope": lambda t, i: i.calculate_gain("leaky_relu", True),
    "gain": lambda t, i: i.calculate_gain("conv9d"),
    "mode": lambda t, i: i.kaiming_normal_(t.empty(2, 2), mode="fan"),
    "fans": lambda t, i: i.xavier_normal_(t.empty(2)),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(name: str) -> None:
    with pytest.raises(ValueError) as theirs:
        ERRORS[name](torch, torch.nn.init)
    with pytest.raises(ValueError) as ours:
        ERRORS[name](lg, init)
    assert str(ours.value) == str(theirs.value)
