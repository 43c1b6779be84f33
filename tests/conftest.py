"""Fixtures that every room's tests share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lazygrad.ir.node import Node, same
from lazygrad.ir.text import parse, show

Golden = Callable[..., None]
GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write tests/golden instead of comparing with it",
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """golden(nodes or text): compare with tests/golden/<test name>.txt, and parse nodes' text back.

    A second value in one test needs a name: golden(kernel, "after").
    """
    used: set[Path] = set()

    def compare(value: Node | Sequence[Node] | str, name: str = "") -> None:
        if isinstance(value, str):
            text = value
        else:
            roots = [value] if isinstance(value, Node) else list(value)
            text = show(roots, sites=False)
            assert same(parse(text), roots), (
                f"the text does not parse back to the same program:\n{text}"
            )
        title = re.sub(r"\W+", "_", f"{request.node.name} {name}").strip("_")
        path = GOLDEN / f"{title}.txt"
        assert path not in used, f"two golden values are called {title}"
        used.add(path)
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            return
        assert path.exists(), f"no {path.name} yet: run pytest --update-golden\n{text}"
        assert text == path.read_text(), (
            f"differs from {path.name}; if it is right: pytest --update-golden"
        )

    return compare
