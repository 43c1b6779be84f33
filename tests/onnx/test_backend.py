"""onnx's own test suite, one case for each operator; `python -m tests.onnx.backend` runs all of it."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("onnx")

from .backend import SLOW, model_cases, node_cases, operator_of, run

OUTSIDE = {
    "training": "Adagrad Adam Gradient Momentum",
    "text": "RegexFullMatch StringConcat StringNormalizer StringSplit TfIdfVectorizer",
    "files of pictures": "ImageDecoder",
    "what onnx does not inline": "CausalConvWithState LinearAttention",
}
"""Operators that are not supported, and are said to be so when a model is loaded."""


def test_one_case_of_each_operator() -> None:
    """The first case of each; of those outside, the error at loading."""
    outside = {name for names in OUTSIDE.values() for name in names.split()}
    first: dict[str, Any] = {}
    for case in node_cases(without=SLOW):
        types = {info.type.tensor_type.elem_type for info in case.model.graph.input}
        if len(case.model.graph.node) == 1 and not types & STRANGE:
            first.setdefault(operator_of(case), case)
    assert len(first) > 180
    outcomes = {name: run(case) for name, case in first.items()}
    wrong = {name: text for name, text in outcomes.items() if text != "passed"}
    assert set(wrong) <= outside, {name: wrong[name] for name in set(wrong) - outside}
    assert all("NotImplementedError" in text for text in wrong.values()), wrong


STRANGE = {4, 8, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26}
"""uint16, text, floats of 8 and 4 bits, integers of 4 and 2 bits."""


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
