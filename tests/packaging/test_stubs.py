"""Type checkers and editors see every operator: the written signatures are those of the tables."""

from __future__ import annotations

from typing import Any, assert_type

import pytest

import lazygrad as torch
import lazygrad.nn.functional as F
from tests.stubs import FOLDER, stubs


def test_signatures_are_those_of_the_tables() -> None:
    for file, text in stubs().items():
        assert (FOLDER / file).read_text() == text, f"{file} is old: run python -m tests.stubs"
    assert {path.name for path in FOLDER.iterdir()} == set(stubs())


def test_types_of_what_is_registered() -> None:
    """mypy, which reads this file as it reads all tests, knows these types, and that the last calls are wrong."""
    x = torch.zeros(2, 2)
    assert_type(x.exp().softmax(1), torch.Tensor)
    assert_type(torch.softmax(x, 1).add_(1), torch.Tensor)
    assert_type(F.relu(x).T, torch.Tensor)
    assert_type(torch.linalg.det(x), torch.Tensor)
    assert_type(x.grad, torch.Tensor | None)
    assert_type(torch.nn.Linear(2, 3)(x), Any)
    with pytest.raises(TypeError):
        x.exp(3)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        torch.conv2d(x)  # type: ignore[call-arg]
