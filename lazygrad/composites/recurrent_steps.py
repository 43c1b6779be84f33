"""What the steps of recurrent nets do, and the steps of their gradients: an LSTM, a GRU and a simple net as phases that are repeated.

In: the shapes of x, the inputs times their weights, (steps, batch, gates * hidden), of first states, and of the weights of the state. Out: what
each step reads, computes and leaves behind (ir/repeated.py): the hidden state, an LSTM's cell state, and what the gradient reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..ir.build import shrink
from ..ir.dim import product
from ..ir.node import Node, unary, where
from ..ir.op import Op
from ..ir.repeated import FRAME, SCRATCH, Phase, Place, Repeated
from .activation import sigmoid_of
from .contraction import contract

SOURCES = {
    "LSTM": ("x", "h", "c", "w"),
    "GRU": ("x", "h", "w", "b"),
    "RNN_TANH": ("x", "h", "w"),
    "RNN_RELU": ("x", "h", "w"),
}
"""What each kind is made of: x, the first states, the weights of the state, and a bias beside the state's product."""
Shapes = Sequence[tuple[int, ...]]


class Sizes(NamedTuple):
    """Steps, batch, and units."""

    steps: int
    batch: int
    hidden: int


def sizes_of(shapes: Shapes) -> Sizes:
    """The sizes of a layer, from the shapes of its sources."""
    steps, batch, _ = shapes[0]
    return Sizes(steps, batch, shapes[1][1])


class _Memory:
    """Values beside one another in a frame or in scratch memory."""

    def __init__(self, base: int) -> None:
        self.base = base
        self.size = 0

    def take(self, *shape: int) -> Place:
        """Room for one more value."""
        place = Place(self.base, shape, self.size)
        size = product(shape)
        assert isinstance(size, int)
        self.size += size
        return place


def _during(place: Place, stride: int, shift: int = 0, edge: Place | None = None) -> Place:
    """The same value of a step, or of one before or after it."""
    return Place(place.base, place.shape, place.offset, stride, shift, edge)


# --- what a step does


def gates_of(x: Node, state: Node, weight: Node) -> list[Node]:
    return [x + contract(state, weight, "np", "gp", "ng")]


def _columns(node: Node, count: int) -> list[Node]:
    batch, width = node.shape
    assert isinstance(width, int)
    size = width // count
    return [shrink(node, (0, k * size), (batch, size)) for k in range(count)]


def tanh_of(node: Node) -> Node:
    return unary(Op.TANH, node)


def lstm_step(gates: Node, cell: Node) -> list[Node]:
    """The new states, and the activations."""
    enter, keep, new, out = _columns(gates, 4)
    enter, keep, new, out = sigmoid_of(enter), sigmoid_of(keep), tanh_of(new), sigmoid_of(out)
    after = keep * cell + enter * new
    bent = tanh_of(after)
    return [out * bent, after, enter, keep, new, out, bent]


def state_product(state: Node, weight: Node, bias: Node) -> list[Node]:
    made = contract(state, weight, "np", "gp", "ng")
    return [made + bias.reshape((1, *bias.shape)).expand(made.shape)]


def gru_step(x: Node, product: Node, state: Node) -> list[Node]:
    (reset_x, update_x, new_x), (reset_h, update_h, new_h) = _columns(x, 3), _columns(product, 3)
    reset, update = sigmoid_of(reset_x + reset_h), sigmoid_of(update_x + update_h)
    new = tanh_of(new_x + reset * new_h)
    return [new + update * (state - new), reset, update, new, new_h]


def rectified(node: Node) -> Node:
    return node.maximum(0)


def _simple(bend: Callable[[Node], Node]) -> Callable[[Node], list[Node]]:
    return lambda gates: [bend(gates)]


# --- layers


def forward(kind: str, shapes: Shapes, backwards: bool) -> Repeated:
    """The steps of a layer; its frame begins with the hidden state, an LSTM's cell state behind it."""
    steps, batch, hidden = sizes_of(shapes)
    frame, scratch = _Memory(FRAME), _Memory(SCRATCH)
    source = _sources(kind, shapes)
    before = 1 if backwards else -1
    rows = (batch, hidden)
    x = _during(Place(0, (batch, shapes[0][2])), batch * shapes[0][2])
    state = frame.take(*rows)
    saved: list[Place] = []
    phases: list[Phase] = []

    def earlier(place: Place, first: str) -> Place:
        return _during(place, stride, before, source[first])

    if kind == "LSTM":
        saved = [frame.take(*rows) for _ in range(6)]
        stride = frame.size
        gates = scratch.take(*x.shape)
        phases.append(Phase(gates_of, (x, earlier(state, "h"), source["w"]), (gates,)))
        written = tuple([_during(each, stride) for each in (state, *saved)])
        phases.append(Phase(lstm_step, (gates, earlier(saved[0], "c")), written))
    elif kind == "GRU":
        saved = [frame.take(*rows) for _ in range(4)]
        stride = frame.size
        gates = scratch.take(*x.shape)
        previous = earlier(state, "h")
        phases.append(Phase(state_product, (previous, source["w"], source["b"]), (gates,)))
        written = tuple([_during(each, stride) for each in (state, *saved)])
        phases.append(Phase(gru_step, (x, gates, previous), written))
    else:
        stride = frame.size
        gates = scratch.take(*x.shape)
        bend = _simple(tanh_of if kind == "RNN_TANH" else rectified)
        phases.append(Phase(gates_of, (x, earlier(state, "h"), source["w"]), (gates,)))
        phases.append(Phase(bend, (gates,), (_during(state, stride),)))
    return Repeated(steps, backwards, frame.size, scratch.size, tuple(phases))


def _sources(kind: str, shapes: Shapes) -> dict[str, Place]:
    """Where the whole sources lie, by name."""
    pairs = enumerate(zip(SOURCES[kind], shapes, strict=True))
    return {name: Place(index, tuple(shape)) for index, (name, shape) in pairs}


# --- gradients of a step


def _lstm_back(
    incoming: Node, carried: Node, incoming_cell: Node, carried_cell: Node, enter: Node, keep: Node, new: Node, out: Node, bent: Node,
    cell: Node,
) -> list[Node]:  # fmt: skip
    """The gradients of the gates, one behind the other, and of the cell state before."""
    back = incoming + carried
    whole = incoming_cell + carried_cell + back * out * (1.0 - bent * bent)
    return [
        whole * new * (enter * (1.0 - enter)),
        whole * cell * (keep * (1.0 - keep)),
        whole * enter * (1.0 - new * new),
        back * bent * (out * (1.0 - out)),
        whole * keep,
    ]


def _gru_back(
    incoming: Node, carried: Node, reset: Node, update: Node, new: Node, new_h: Node, state: Node
) -> list[Node]:
    """The gradients of new (of the input's share), reset, update, new (of the state's share), and of the state beside the product."""
    back = incoming + carried
    bent = back * (1.0 - update) * (1.0 - new * new)
    return [
        bent,
        bent * new_h * (reset * (1.0 - reset)),
        back * (state - new) * (update * (1.0 - update)),
        bent * reset,
        back * update,
    ]


def _tanh_back(incoming: Node, carried: Node, state: Node) -> list[Node]:
    return [(incoming + carried) * (1.0 - state * state)]


def _relu_back(incoming: Node, carried: Node, state: Node) -> list[Node]:
    return [where(state.le(0.0), 0.0, incoming + carried)]


def _turned(gates: Node, weight: Node) -> Node:
    """Gradients (gates, n, h) times the weights of the state."""
    count, _, hidden = gates.shape
    return contract(gates, weight.reshape((count, hidden, weight.shape[1])), "gnh", "ghp", "np")


def _through(gates: Node, weight: Node) -> list[Node]:
    return [_turned(gates, weight)]


def _through_beside(gates: Node, weight: Node, beside: Node) -> list[Node]:
    return [_turned(gates, weight) + beside]


class Back(NamedTuple):
    """The steps of a gradient, and where they leave the gates' and the states'."""

    repeated: Repeated
    gates: Place
    states: tuple[Place, ...]


def backward(kind: str, shapes: Shapes, backwards: bool) -> Back:
    """The gradient of a layer: sources are its frames, the gradients of its hidden (and cell) states, zeros, and its sources but x."""
    steps, batch, hidden = sizes_of(shapes)
    made = forward(kind, shapes, backwards)
    cells = kind == "LSTM"
    names = ["frame", "dh", *(["dc"] if cells else []), "zeros", *SOURCES[kind][1:]]
    number = {name: index for index, name in enumerate(names)}
    source = _sources(kind, shapes)
    source = {name: Place(number[name], place.shape) for name, place in source.items() if name != "x"}  # fmt: skip
    before = 1 if backwards else -1
    rows = (batch, hidden)
    count = shapes[0][2] // hidden
    frame, scratch = _Memory(FRAME), _Memory(SCRATCH)
    planes = [frame.take(*rows) for _ in range(count + (kind == "GRU"))]
    carried = frame.take(*rows)
    states: tuple[Place, ...] = (carried, frame.take(*rows)) if cells else (carried,)
    stride = frame.size

    def now(place: Place) -> Place:
        return _during(place, stride)

    def later(place: Place) -> Place:
        """What the step before, later in time, has left for this one."""
        return _during(place, stride, -before, Place(number["zeros"], place.shape))

    def kept(index: int, shift: int = 0, edge: Place | None = None) -> Place:
        """A value of the layer's own frame: the hidden state, or one of those behind it."""
        offset = index * batch * hidden
        return Place(number["frame"], rows, offset, made.frame, shift, edge)

    incoming = Place(number["dh"], rows, 0, batch * hidden)
    written = tuple(map(now, planes))
    phases: list[Phase] = []
    if cells:
        incoming_cell = Place(number["dc"], rows, 0, batch * hidden)
        activations = [kept(index) for index in range(2, 7)]
        sums = (incoming, later(carried), incoming_cell, later(states[1]))
        reads = (*sums, *activations, kept(1, before, source["c"]))
        phases.append(Phase(_lstm_back, reads, (*written, now(states[1]))))
    elif kind == "GRU":
        beside = scratch.take(*rows)
        activations = [kept(index) for index in range(1, 5)]
        reads = (incoming, later(carried), *activations, kept(0, before, source["h"]))
        phases.append(Phase(_gru_back, reads, (*written, beside)))
    else:
        bend = _tanh_back if kind == "RNN_TANH" else _relu_back
        phases.append(Phase(bend, (incoming, later(carried), kept(0)), written))
    first = planes[1 if kind == "GRU" else 0]
    gates = Place(FRAME, (count, *rows), first.offset, stride)
    if kind == "GRU":
        phases.append(Phase(_through_beside, (gates, source["w"], beside), (now(carried),)))
    else:
        phases.append(Phase(_through, (gates, source["w"]), (now(carried),)))
    repeated = Repeated(steps, not backwards, frame.size, scratch.size, tuple(phases))
    return Back(repeated, gates, states)
