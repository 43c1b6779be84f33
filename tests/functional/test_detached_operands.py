"""An operand that needs no gradient is data, whatever it was computed from: no gradient goes through its history.

For each operator of PyTorch's database that differentiates two operands or more, on its first such sample: one operand needs
a gradient, the others are detached values that were computed from it.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import lazygrad as lg
from lazygrad import config

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # which PyTorch's testing package imports

from ..database import checks, operators, report  # noqa: E402

NAMES = [name for names in operators.families().values() for name in names]


def samples(entry: Any) -> Any:
    """The function of an operator and two operands or more, of the first sample that has them."""
    for sample in report.samples_of(entry, "float64", "gradient"):
        try:
            run, leaves = checks._taken(entry, sample, lg)
        except operators.Unserved:
            continue
        if len(leaves) > 1 and all(leaf.numel() for leaf in leaves):
            return run, leaves
    return None


@pytest.mark.parametrize("name", NAMES)
def test_no_gradient_goes_through_detached_operands(name: str) -> None:
    with warnings.catch_warnings(), config.override(device="interpret"):
        warnings.simplefilter("ignore")
        for entry in operators.entries()[name]:
            if "float64" not in operators.dtypes(entry) or not entry.supports_autograd:
                continue
            found = samples(entry)
            if found is None:
                continue
            run, leaves = found
            for chosen in range(len(leaves)):
                gradients = []
                for related in (False, True):
                    leaf = leaves[chosen].clone().requires_grad_()
                    nothing = leaf.sum() - leaf.sum().detach()
                    given = [each + nothing if related else each.clone() for each in leaves]
                    given = [each.detach() for each in given]
                    given[chosen] = leaf
                    lg.manual_seed(0)
                    results = [each.sum() for each in run(*given) if each.requires_grad]
                    if results:
                        (gradient,) = lg.autograd.grad(results, [leaf], allow_unused=True)
                        gradients.append(None if gradient is None else gradient.tolist())
                if len(gradients) == 2 and gradients[0] is not None:
                    lg.testing.assert_close(
                        lg.tensor(gradients[1]),
                        lg.tensor(gradients[0]),
                        rtol=1e-5,
                        atol=1e-7,
                        equal_nan=True,
                        msg=f"operand {chosen} of {operators.title(entry)}",
                    )
