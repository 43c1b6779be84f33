"""The examples of the documentation give what stands there."""

from __future__ import annotations

import doctest
from pathlib import Path

from lazygrad import config

PAGE = Path(__file__).resolve().parents[2] / "docs" / "transforms.md"


def test_the_examples_of_the_page_run() -> None:
    with config.override(device="interpret"):
        failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert tried > 10
    assert not failed
