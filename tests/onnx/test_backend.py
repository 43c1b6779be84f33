"""onnx's own test suite, one case for each operator; `python -m tests.onnx.backend` runs all of it."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytest.importorskip("onnx")

from .backend import SLOW, model_cases, node_cases, operator_of, run

OUTSIDE = {
    "training": "Adagrad Adam Gradient Momentum",
    "files of pictures": "ImageDecoder",
    "what onnx does not inline": "CausalConvWithState LinearAttention",
}
"""Operators that are not supported, and are said to be so when a model is loaded."""


def test_one_case_of_each_operator() -> None:
    """The first case of each; of those outside, the error at loading."""
    outside = {name for names in OUTSIDE.values() for name in names.split()}
    first: dict[str, Any] = {}
    for case in node_cases(without=SLOW):
        if len(case.model.graph.node) == 1:
            first.setdefault(operator_of(case), case)
    assert len(first) > 180
    outcomes = {name: run(case) for name, case in first.items()}
    wrong = {name: text for name, text in outcomes.items() if text != "passed"}
    assert set(wrong) <= outside, {name: wrong[name] for name in set(wrong) - outside}
    assert all("NotImplementedError" in text for text in wrong.values()), wrong


HELD = "cast_FLOAT_to_FLOAT8E4M3FN|castlike_INT4_to_FLOAT16|cast_FLOAT16_to_UINT2|dequantizelinear_e5m2|quantizelinear_uint16|cast_e8m0_"
"""Cases of elements that tensors do not have."""


def test_elements_that_tensors_do_not_have() -> None:
    cases = [case for case in node_cases(without=SLOW) if re.match(f"test_({HELD})", case.name)]
    assert len(cases) > 6
    assert {case.name: outcome for case in cases if (outcome := run(case)) != "passed"} == {}


@pytest.mark.parametrize(
    "name",
    [
        "test_shufflenet",
        "test_operator_convtranspose",
        "test_Conv2d_groups",
        "test_sequence_model1",
    ],
)
def test_models(name: str) -> None:
    kinds = ("simple", "pytorch-converted", "pytorch-operator", "real")
    (case,) = (case for kind in kinds for case in model_cases(kind) if case.name == name)
    assert run(case) == "passed"
