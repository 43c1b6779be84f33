"""The second call of a model with inputs of the same shapes: the plan of the first one, without building its graph again.

In: the inputs of a call as leaves, and the outputs as they are before anything is computed. Out: a `Replay`, which takes new inputs.
A call that looked at a value while its graph was made, or drew a random number, decided something by it and has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import config
from ..history import mode
from ..ir.node import Node
from ..ir.op import Op
from ..ir.template import unfold_all
from ..results import from_node
from ..runtime.keys import normalise
from ..runtime.realize import PLANS, attach
from ..runtime.steady import STEADY
from ..tensor import Tensor

REPLAY_LIMIT = 16
"""How many signatures a model keeps the plans of."""


def decisions() -> tuple[int, int]:
    """Counts what the host has read and drawn, and the plans that have run: where they stand still nothing was decided by a value."""
    return mode.draws, STEADY.runs


def watched() -> bool:
    """Whether somebody watches the compiler or a trace, who wants to see each call whole."""
    return not config.active().plain or STEADY.records is not None or STEADY.observer is not None


def leaf_of(value: Any) -> Node | None:
    """The node of a tensor that is a whole buffer in memory."""
    if not isinstance(value, Tensor) or value._view is not None:
        return None
    node = value.storage.node
    return node if node.op is Op.BUFFER and node.value is not None else None


class Replay:
    """A plan, and where the values of a call go in it and come out of it."""

    def __init__(self, inputs: Sequence[Node], outputs: Sequence[Node]) -> None:
        """Compute the outputs, none of which has a value yet, by one plan that is kept."""
        unfold_all(outputs)
        normal = normalise(outputs)
        self.found = PLANS.get(normal)
        self.numbers = list(normal.numbers)
        self.buffers = list(normal.buffers)
        places = {id(buffer): place for place, buffer in enumerate(self.buffers)}
        self.inputs = [places.get(id(node.value)) for node in inputs]
        results = self.found.plan.run(self.buffers, self.numbers, self.found.dims)
        attach(normal, self.found, results)
        for place in self.inputs:
            if place is not None:
                self.buffers[place] = None  # type: ignore[call-overload]  # the caller's memory is not kept
        order = {id(normal.nodes[number]): place for place, number in enumerate(self.found.attach)}
        self.outputs = [(order[id(node)], node.dtype, node.shape, node.place) for node in outputs]

    def run(self, inputs: Sequence[Node]) -> list[Tensor]:
        """The outputs for other inputs of the same dtypes and shapes."""
        buffers = list(self.buffers)
        for place, node in zip(self.inputs, inputs):
            if place is not None:
                assert node.value is not None
                buffers[place] = node.value
        results = self.found.plan.run(buffers, self.numbers, self.found.dims)
        made = []
        for place, dtype, shape, where in self.outputs:
            node = Node(Op.BUFFER, (), dtype, shape, None, where)
            node.value = results[place]
            made.append(from_node(node))
        return made
