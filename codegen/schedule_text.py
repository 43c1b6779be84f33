"""Schedules as text, and back: what a user prints, edits and gives back.

In: the steps of a schedule, or text with one step a line, `vectorize(j, 16)`; what follows a `#` is a comment. Out: the other. `chooser` is the module that
chooses transforms in a language, and knows which there are: each has `prepared`, `choose`, `apply`, `optimise` and `TRANSFORMS`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lazygrad.ir.node import Node

from .choose import Transform, takes
from .transform.access import ScheduleError

CHOOSERS = {
    "llvm": "lazygrad.codegen.choose",
    "opencl": "lazygrad.codegen.choose_opencl",
    "cuda": "lazygrad.codegen.choose_cuda",
}
"""Which module chooses transforms for kernels in a language; imported at the first kernel of it."""
STEP = re.compile(r"(\w+)\s*\(\s*(?:([A-Za-z_]\w*)\s*(?:,\s*(\d+)\s*)?)?\)")


def chooser(language: str) -> Any:
    """The module that chooses transforms for kernels in a language."""
    return importlib.import_module(CHOOSERS[language])


def transforms() -> dict[str, Callable[..., Node]]:
    """Every transform of some language, by name."""
    found: dict[str, Callable[..., Node]] = {}
    for language in CHOOSERS:
        known: Mapping[str, Callable[..., Node]] = chooser(language).TRANSFORMS
        found.update(known)
    return found


def show(steps: Sequence[Transform]) -> str:
    """The text of a schedule, one step a line."""
    return "".join(f"{step}\n" for step in steps)


def parse(text: str) -> tuple[Transform, ...]:
    """The steps of a text. Sums become steps of their own at the end of every schedule: `accumulate()` is added where it is missing.

    Raises:
        ScheduleError: a line is no step; the message says which, and what there is.
    """
    known = transforms()
    steps: list[Transform] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].strip()
        if not words:
            continue
        match = STEP.fullmatch(words)
        name, loop, factor = match.groups() if match else ("", None, None)
        if name not in known:
            forms = ", ".join(_form(each, takes(known[each])) for each in known)
            raise ScheduleError(f"line {number}, {words!r}, is no step; there are {forms}")
        wanted = takes(known[name])
        if wanted != (loop is not None) + (factor is not None) or factor == "0":
            raise ScheduleError(f"line {number}, {words!r}: expected {_form(name, wanted)}")
        steps.append(Transform(name, loop or "", int(factor or 0)))
    if "accumulate" not in [step.name for step in steps]:
        steps.append(Transform("accumulate"))
    return tuple(steps)


def _form(name: str, count: int) -> str:
    return f"{name}({', '.join(('loop', 'factor')[:count])})"
