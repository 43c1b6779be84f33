"""`python -m lazygrad.onnx [FILE]`: write the list of operators that are supported into a page, between its marks."""

from __future__ import annotations

import argparse
from pathlib import Path

from .model import operators

BEGIN, END = "<!-- operators: begin -->", "<!-- operators: end -->"


def table() -> str:
    """Each operator with the versions since which it has a function, by domain."""
    lines = []
    rows = operators()
    for domain in sorted({domain for domain, _, _ in rows}):
        mine = [(name, since) for owner, name, since in rows if owner == domain]
        lines += [
            "",
            f"### {domain}: {len(mine)} operators",
            "",
            "| operator | from version |",
            "|---|---|",
        ]
        for name, since in mine:
            lines.append(f"| {name} | {', '.join(map(str, since))} |")
    return "\n".join(lines)


def written(page: str) -> str:
    """The page with the list as it is now.

    Raises:
        ValueError: the page has no marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table()}\n\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", nargs="?", type=Path, default=Path("docs/onnx.md"))
    page = parser.parse_args().page
    page.write_text(written(page.read_text()))


if __name__ == "__main__":
    main()
