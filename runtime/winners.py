"""What searches have found (search.py): the best schedule of a kernel, for this compiler and machine, here and in the cache directory.

In: the text that a kernel was lowered to. Out: `Found`, or None where nobody has searched. An entry of the directory is text that is parsed;
nothing in it is executed, and what does not parse is as if it were not there.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import cache, fingerprint
from .schedules import searched

if TYPE_CHECKING:
    from .schedules import Steps

FOUND_LIMIT = 4096
"""How many results are kept in memory."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found for a kernel: the steps, None where the choice of the cost model is the best; and how many were measured."""

    steps: Steps | None
    measured: int


_found: dict[tuple[str, str], Found] = {}
"""By what the kernel is for, and its text; the first to come go first."""
_without: set[str] = set()
"""The cache directories in which no search had left anything when this process first looked."""


def identity(device: Any) -> str:
    """What a measurement on a device holds for."""
    if hasattr(device, "signature"):
        return str(device.signature)
    try:
        name = device.handle.name
    except (RuntimeError, AssertionError):  # no driver: nothing runs, and nothing is measured
        name = ""
    target = device.target
    return f"{device.name} {name() if callable(name) else name} {target.name} {target.vector_bytes}"


def found(device: Any, text: str) -> Found | None:
    """What a search has found for this kernel, here or in another process with the same compiler and processor."""
    key = (identity(device), text)
    kept = _found.get(key)
    if kept is not None:
        return kept
    store = cache.store()
    if store is None or store.folder in _without:
        return None
    try:
        machine = fingerprint.machine(store)
    except fingerprint.Unsettled:
        return None
    if store.read(searched(machine)) is None:
        _without.add(store.folder)
        return None
    content = store.read(_entry(machine, device, text))
    kept = None if content is None else _from_bytes(content)
    if kept is not None:
        _found[key] = kept
    return kept


def keep(device: Any, text: str, outcome: Found) -> None:
    """Remember what a search has found, here and in the cache directory."""
    while len(_found) >= FOUND_LIMIT:
        del _found[next(iter(_found))]
    _found[identity(device), text] = outcome
    store = cache.store()
    if store is None:
        return
    try:
        machine = fingerprint.machine(store)
    except fingerprint.Unsettled:
        return
    _without.discard(store.folder)
    store.write(_entry(machine, device, text), _to_bytes(outcome))
    if outcome.steps is not None:
        store.write(searched(machine), os.urandom(16))  # plans from before have other kernels
    elif store.read(searched(machine)) is None:
        store.write(searched(machine), b"")


def _entry(machine: bytes, device: Any, text: str) -> str:
    parts = (b"schedule", machine, identity(device).encode(), text.encode())
    return f"{cache.digest(*parts)}.schedule"


def _to_bytes(outcome: Found) -> bytes:
    from lazygrad.codegen.schedule_text import show

    steps = None if outcome.steps is None else show(outcome.steps)
    return json.dumps({"measured": outcome.measured, "steps": steps}).encode()


def _from_bytes(content: bytes) -> Found | None:
    from lazygrad.codegen.schedule_text import parse

    try:
        table = json.loads(content)
        steps = None if table["steps"] is None else parse(table["steps"])
        return Found(steps, int(table["measured"]))
    except (ValueError, KeyError, TypeError):
        return None
