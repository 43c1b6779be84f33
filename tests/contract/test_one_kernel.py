"""Softmax, layer norm and cross entropy are one kernel while a row fits in L2; x**2 is a product."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config

F = lg.nn.functional
pytestmark = pytest.mark.of_the_cpu("kernels of the CPU")


@pytest.fixture(autouse=True)
def on_the_cpu() -> Iterator[None]:
    with config.override(device="cpu"):
        yield


def draw(*shape: int) -> Any:
    """A tensor of data, not of operations."""
    return lg.tensor(np.random.default_rng(0).standard_normal(shape).astype("float32"))


ROWS: dict[str, Any] = {
    "softmax": lambda x: lg.softmax(x, 1),
    "softmax of columns": lambda x: lg.softmax(x, 0),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "layer_norm": lambda x: F.layer_norm(x, (x.shape[1],)),
    "rms_norm": lambda x: F.rms_norm(x, (x.shape[1],)),
    "logsumexp": lambda x: lg.logsumexp(x, 1),
    "standardised": lambda x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True),
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("columns", [10, 1000])
def test_a_row_at_a_time(name: str, columns: int, counts: Callable[..., Any]) -> None:
    x = draw(64, columns)
    made = lg.lower(lambda: ROWS[name](x))
    assert len(made.kernels) == 1, made.schedule
    (kernel,) = made.kernels.values()
    assert kernel.count("store %y0[") >= 1 and "%y1" not in kernel  # one result, no other output
    counted = counts()
    result = ROWS[name](x).numpy()
    assert counted.since()[0] == 1
    expected: Any = ROWS[name](lg.tensor(x.numpy().astype("float64"))).numpy()
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_layer_norm_with_weights() -> None:
    x, weight, bias = draw(64, 1000), draw(1000), draw(1000) * 1
    made = lg.lower(lambda: F.layer_norm(x, (1000,), weight, bias))
    assert len(made.kernels) == 1


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_cross_entropy(label_smoothing: float) -> None:
    x, target = draw(64, 1000), lg.tensor(np.arange(64) * 7)
    made = lg.lower(lambda: F.cross_entropy(x, target, label_smoothing=label_smoothing))
    assert len(made.kernels) == 1, made.schedule
    (kernel,) = made.kernels.values()
    assert "check " in kernel and "IndexError" in kernel  # targets are checked where they are read


def test_the_dump_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    x = draw(8, 1000)
    with config.override(dump="schedule,kernel"):
        lg.softmax(x, 1).tolist()
    text = capsys.readouterr().err
    assert text.count("--- schedule") == text.count("--- kernel") == 1
    assert "in a local [1000], at i" in text and "in a register, at i" in text
    assert "for %i in range(0, 8) parallel:" in text


def test_a_row_beyond_the_cache_is_split() -> None:
    x = draw(2, 3_000_000)
    made = lg.lower(lambda: lg.softmax(x, 1))
    assert len(made.kernels) > 1


def test_a_square_is_a_product() -> None:
    x = draw(64)
    for function in (lambda: x**2, lambda: x.pow(2), lambda: lg.square(x), lambda: x.pow(2.0)):
        made = lg.lower(function)
        text = without_lines(str(made) + "".join(made.source().values()))
        assert "pow" not in text and "mul" in text
    for function in (lambda: x**3, lambda: x**-1, lambda: x**0.5, lambda: 1 / x**2):
        assert "pow" not in without_lines(str(lg.lower(function)))
    assert "pow" in without_lines(str(lg.lower(lambda: x**1.7)))
    y = draw(64).requires_grad_()
    made = lg.lower(lambda: lg.autograd.grad((y**2).sum(), y))
    assert "pow" not in without_lines(str(made))


def without_lines(text: str) -> str:
    """A dump without the user's lines, which may say pow."""
    return "\n".join(line.partition("#")[0] for line in text.splitlines())
