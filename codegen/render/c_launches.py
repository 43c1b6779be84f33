"""Kernels in C that a GPU runs as several launches, one after the other (transform/launches.py).

In: a kernel, and what renders one launch. Out: the `Source` of the first one, which holds the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from lazygrad.ir.args import Message
from lazygrad.ir.node import Node

from ..transform.launches import launches
from .c_grid import Source


def render_launches(
    kernel: Node, name: str, launch: Callable[[Node, str, dict[Message, int]], Source]
) -> Source:
    """The text of a kernel that may be several launches; `launch` renders one, under a name, with the checks of those before it."""
    parts, checks = launches(kernel), dict[Message, int]()
    called = [name, *[f"{name}_then{number}" for number in range(1, len(parts.kernels))]]
    first, *others = [
        launch(part, each, checks) for part, each in zip(parts.kernels, called, strict=True)
    ]
    return replace(first, then=tuple(others), arrays=parts.arrays) if others else first


def launched(sources: Sequence[Source]) -> list[Source]:
    """The sources of kernels with those of all their launches."""
    return [each for source in sources for each in (source, *source.then)]
