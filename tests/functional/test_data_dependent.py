"""Which operators read values when they are called: those whose results have as many elements as the data says, and questions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.runtime import realize

F = lg.nn.functional
READING: dict[str, Callable[[Any, Any], Any]] = {
    "nonzero": lambda x, n: n.nonzero(),
    "argwhere": lambda x, n: lg.argwhere(n),
    "masked_select": lambda x, n: x.masked_select(n > 1),
    "index by a mask": lambda x, n: x[n > 1],
    "unique": lambda x, n: lg.unique(n),
    "unique_consecutive": lambda x, n: lg.unique_consecutive(n),
    "bincount": lambda x, n: lg.bincount(n),
    "one_hot": lambda x, n: F.one_hot(n, 4),
    "repeat_interleave": lambda x, n: x.repeat_interleave(n),
    "tensor_split": lambda x, n: x.tensor_split(n[:2]),
    "ctc_loss": lambda x, n: F.ctc_loss(x.reshape(2, 1, 2).log_softmax(2), n[1:2], n[2:3], n[:1]),
    "multinomial": lambda x, n: (x * x + 1).multinomial(2),
    "histc": lambda x, n: lg.histc(x, 3),
    "allclose": lambda x, n: lg.allclose(x, x * 2),
    "equal": lambda x, n: lg.equal(x, x * 2),
    "item": lambda x, n: x.sum().item(),
    "a truth value": lambda x, n: bool(x.sum() > 0),
    "an index": lambda x, n: [4, 5, 6][n[0]],
}
BUILDING: dict[str, Callable[[Any, Any], Any]] = {
    "assignment by a mask": lambda x, n: x.clone().__setitem__(n > 1, 0.0),
    "masked_fill": lambda x, n: x.masked_fill(n > 1, 0.0),
    "masked_scatter": lambda x, n: x.masked_scatter(n > 1, x + 1),
    "where": lambda x, n: lg.where(n > 1, x, 0.0),
    "index by integers": lambda x, n: x[n],
    "gather": lambda x, n: x.gather(0, n),
    "scatter_add": lambda x, n: x.scatter_add(0, n, x),
    "index_put": lambda x, n: x.index_put((n,), x),
    "embedding": lambda x, n: F.embedding(n, x[:, None]),
    "sort": lambda x, n: x.sort(),
    "topk": lambda x, n: x.topk(2),
    "searchsorted": lambda x, n: lg.searchsorted(x, x),
    "histc between limits": lambda x, n: lg.histc(x, 3, -1, 2),
    "quantile": lambda x, n: x.quantile(0.3),
    "isin": lambda x, n: lg.isin(n, n),
    "bernoulli": lambda x, n: x.sigmoid().bernoulli(),
    "cdist": lambda x, n: lg.cdist(x[:, None], x[:, None]),
    "inv": lambda x, n: lg.linalg.inv(x.reshape(2, 2)),
    "lu_factor": lambda x, n: lg.linalg.lu_factor(x.reshape(2, 2)),
    "interpolate": lambda x, n: F.interpolate(x.reshape(1, 1, 2, 2), size=3, mode="bicubic", antialias=True),
    "cross_entropy": lambda x, n: F.cross_entropy(x.reshape(2, 2), n[:2]),
}  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that something is computed."""
    found: list[int] = []
    real = realize.realize

    def noted(*args: Any, **kwargs: Any) -> Any:
        found.append(1)
        return real(*args, **kwargs)

    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("lazygrad"):
            for name in [name for name, value in vars(module).items() if value is real]:
                monkeypatch.setattr(module, name, noted)
    return found


def test_what_reads_its_data(asked: list[int]) -> None:
    with config.override(device="interpret"):
        for name, run in {**READING, **BUILDING}.items():
            x, n = lg.tensor([0.5, -1.0, 2.0, 1.5]), lg.tensor([0, 1, 2, 1])
            asked.clear()
            run(x * 1.5, n + 0)
            assert bool(asked) == (name in READING), name
