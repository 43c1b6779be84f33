"""Steps that are repeated along the first axis of sequences, such as a recurrent layer's: a few small graphs, run once for each step.

In: `Phase`s, each a graph on values of one step, and where those lie: in a source, in the result, or in memory that lasts for a step. Out:
one result, (steps, frame): what each step leaves behind, one value after another. An EXTERN of such a description is compiled once for a
step, however many there are (runtime/repeat.py); `reference` is what it means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .args import Slot
from .dim import product
from .dtype import DType
from .node import Node, Shape
from .op import Op
from .record import record

FRAME = -1
"""The result, as the base of a Place."""
SCRATCH = -2
"""Memory that lasts for one step."""


@record
class Place:
    """Where a value of a step lies. `base` is the number of a source, FRAME or SCRATCH.

    At time t it begins `offset + (t + shift) * stride` elements behind the beginning; where t + shift is no time, `edge` is read instead.
    """

    base: int
    shape: tuple[int, ...]
    offset: int = 0
    stride: int = 0
    shift: int = 0
    edge: Place | None = None

    def at(self, time: int, steps: int) -> tuple[int, int]:
        """The base, and the element that it begins with."""
        moved = time + self.shift
        if not 0 <= moved < steps and self.edge is not None:
            return self.edge.at(time, steps)
        return self.base, self.offset + moved * self.stride


@record
class Phase:
    """A part of a step: `body` makes nodes of those that it reads, one for each Place that is written."""

    body: Callable[..., Sequence[Node]]
    reads: tuple[Place, ...]
    writes: tuple[Place, ...]

    def graph(self, dtype: DType, place: str) -> list[Node]:
        """The nodes, on a BUFFER for each Place that is read."""
        leaves = [
            Node(Op.BUFFER, (), dtype, read.shape, Slot(index), place)
            for index, read in enumerate(self.reads)
        ]
        return list(self.body(*leaves))


@record
class Repeated:
    """Steps in the order of time, or (`backwards`) against it. `frame` and `scratch` are the elements that a step has of each."""

    steps: int
    backwards: bool
    frame: int
    scratch: int
    phases: tuple[Phase, ...]

    @property
    def times(self) -> range:
        """The times, in the order of the steps."""
        order = range(self.steps)
        return order[::-1] if self.backwards else order


def results(repeated: Repeated, dtype: DType) -> tuple[tuple[DType, Shape], ...]:
    """The one result of an EXTERN."""
    return ((dtype, (repeated.steps, repeated.frame)),)


def reference(
    repeated: Repeated, dtype: DType, arrays: Sequence[np.ndarray[Any, Any]]
) -> tuple[np.ndarray[Any, Any]]:
    """What the steps compute, by the interpreter."""
    from .composite import inline
    from .interpret_graph import evaluate

    made = np.zeros((repeated.steps, repeated.frame), dtype.storage)
    scratch = np.zeros(max(repeated.scratch, 1), dtype.storage)
    flat = {FRAME: made.reshape(-1), SCRATCH: scratch}
    flat |= {index: each.reshape(-1) for index, each in enumerate(arrays)}

    def view(place: Place, time: int) -> np.ndarray[Any, Any]:
        base, start = place.at(time, repeated.steps)
        size = product(place.shape)
        assert isinstance(size, int)
        return flat[base][start : start + size].reshape(place.shape)

    graphs = [inline(phase.graph(dtype, "")) for phase in repeated.phases]
    for time in repeated.times:
        for phase, graph in zip(repeated.phases, graphs, strict=True):
            values = evaluate(graph, [view(place, time) for place in phase.reads], ())
            for place, value in zip(phase.writes, values, strict=True):
                view(place, time)[...] = value
    return (made,)
