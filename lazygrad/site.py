"""The user's line behind a node: recorded as a code object and an instruction, made into text only when it is shown.

In: nothing; `here` looks at the stack. Out: a `Site` for a node, and by `describe` the line it stands for.
"""

from __future__ import annotations

import os
import sys
from types import CodeType

from .ir.node import Site

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep

OURS: dict[CodeType, bool] = {}
"""Whether a code object belongs to this package. Bounded: emptied when it holds `_LIMIT` (code made by exec may be new each time)."""

_LIMIT = 8192


def here() -> Site | None:
    """The first place outside of this package on the way up the stack, or None where everything is inside."""
    frame = sys._getframe(1)
    while True:
        code = frame.f_code
        ours = OURS.get(code)
        if ours is None:
            ours = _is_ours(code)
        if not ours:
            return code, frame.f_lasti
        back = frame.f_back
        if back is None:
            return None
        frame = back


def _is_ours(code: CodeType) -> bool:
    if len(OURS) >= _LIMIT:
        OURS.clear()
    filename = code.co_filename
    ours = filename.startswith((_PACKAGE, "<frozen "))
    OURS[code] = ours
    return ours


def line_of(site: Site) -> int:
    """The line number of a site."""
    code, instruction = site
    for start, end, line in code.co_lines():
        if start <= instruction < end and line is not None:
            return line
    return code.co_firstlineno


def describe(site: Site | None) -> str:
    """The line as messages and dumps show it, `train.py:12  x = lg.randn(64, 1000)`; nothing for None."""
    if site is None:
        return ""
    import linecache  # only messages need it

    filename = site[0].co_filename
    line = line_of(site)
    text = linecache.getline(filename, line).strip()
    place = f"{os.path.basename(filename)}:{line}"
    return f"{place}  {text}" if text else place
