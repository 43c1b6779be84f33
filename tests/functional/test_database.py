"""Each operator on samples of PyTorch's own operator database: one for each kind of dtype and each check, and all error inputs.

`python -m tests.sweep` runs the rest of them; docs/operators.md has the figures.
"""

from __future__ import annotations

import random
import sys
import warnings
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from lazygrad import config

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # which PyTorch's testing package imports

from ..database import operators, report  # noqa: E402

NOT_WHOLE: set[str] = set()
"""Operators of which something here fails. This list only gets shorter: whoever mends one takes it out."""

OPTIONS = Namespace(
    checks=["value", "method", "inplace", "out", "error", "gradient", "second"],
    errors=False,
    gradients=False,
    no_second=False,
    dtype=["bool", "int64", "float32", "float64", "bfloat16"],
    samples=1,
    seconds=60,
)
BESIDE = Namespace(
    **{**vars(OPTIONS), "checks": ["value", "error", "gradient"], "dtype": ["int64", "float64"]}
)
"""What stands beside the list is asked for less; python -m tests.sweep has the rest."""
LISTED = {name for names in operators.families(operators.LIST).values() for name in names}
NAMES = [name for names in operators.families().values() for name in names]


HOLDING = {
    "array", "asarray", "copyto", "dtype", "empty", "float32", "frombuffer", "from_dlpack", "generic", "lib", "ndarray", "uint16", "zeros",
}  # fmt: skip
"""What of numpy holds and moves data."""
COMPUTING = ("lazygrad.ir.", "lazygrad.runtime.", "lazygrad.autograd.checking")
"""Where numpy may compute: the interpreter and the functions of LAPACK (tests/functional/test_linalg.py lists those)."""


class Holding:
    """numpy without what computes."""

    def __getattr__(self, name: str) -> Any:
        assert name in HOLDING, f"numpy.{name} was called outside of the interpreter and LAPACK"
        return getattr(np, name)


@pytest.fixture(autouse=True)
def quiet_on_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Operators build nodes: numpy computes none of their results, those whose shapes depend on data included."""
    for name, module in list(sys.modules.items()):
        if name.startswith("lazygrad.") and not name.startswith(COMPUTING):
            if getattr(module, "np", None) is np:
                monkeypatch.setattr(module, "np", Holding())
    with warnings.catch_warnings(), config.override(device="interpret"):
        warnings.simplefilter("ignore")
        yield


def test_the_list_names_operators() -> None:
    assert set(NAMES) >= NOT_WHOLE
    assert len(NAMES) == len(set(NAMES))
    assert sum(map(len, operators.families(operators.LIST).values())) == 328


@pytest.mark.parametrize("name", NAMES)
def test_operator(name: str) -> None:
    torch.manual_seed(0)  # the samples of one operator do not depend on which tests ran before
    random.seed(0)
    np.random.seed(0)
    figures = report.Figures()
    for entry in operators.entries()[name]:
        report.run_entry(entry, OPTIONS if name in LISTED else BESIDE, figures)
    if name in NOT_WHOLE:
        assert not figures.whole(), f"{name} passes: take it out of NOT_WHOLE"
    else:
        assert figures.total
        found = [
            f"{each.check} {each.dtype}: {each.message}\n    {each.sample}"
            for each in figures.failures
        ]
        assert not found, "\n".join(found)
