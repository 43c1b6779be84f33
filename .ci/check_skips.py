"""Fails when a test run skipped a test that is not expected to be skipped.

usage: check_skips.py junit.xml [expected_skips.txt ...]

A line of a list is `tests/room/test_file.py: words of the reason`; # starts a comment. Without a list no skip is allowed.
The lists are printed, so that a log shows what was not tested.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def skipped(report: Path) -> list[tuple[str, str]]:
    """(test file, reason) of each skipped test or module, from a JUnit report."""
    found = []
    for case in ElementTree.parse(report).iter("testcase"):
        for skip in case.findall("skipped"):
            reason = f"{skip.get('message', '')} {skip.text or ''}"
            # a module skipped while it is collected has its name where a test has its own
            module = case.get("classname") or case.get("name") or ""
            parts = module.split(".")
            depth = next((i for i, part in enumerate(parts) if part.startswith("test_")), -1)
            found.append(
                ("/".join(parts[: depth + 1]) + ".py", re.sub(r"\s+", " ", reason).strip())
            )
    return found


def expected(listing: Path) -> list[tuple[str, str]]:
    """(test file, words of the reason) of each line."""
    lines = (line.partition("#")[0].strip() for line in listing.read_text().splitlines())
    pairs = (line.partition(":") for line in lines if line)
    return [(file.strip(), words.strip()) for file, _, words in pairs]


def main() -> int:
    allowed = [line for listing in sys.argv[2:] for line in expected(Path(listing))]
    print("expected skips:" if allowed else "expected skips: none")
    for file, words in allowed:
        print(f"  {file}: {words}")
    found = skipped(Path(sys.argv[1]))
    unexpected = [
        (file, reason)
        for file, reason in found
        if not any(file == known and words in reason for known, words in allowed)
    ]
    print(f"skipped: {len(found)}, of which not expected: {len(unexpected)}")
    for file, reason in unexpected:
        print(f"  {file}: {reason}")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
