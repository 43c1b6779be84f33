"""Layers of recurrent nets as one node, and their gradients.

In: the nodes of x, the first states and the weights (recurrent_steps.py). Out: the frames of a layer, of which its states are parts. A gradient is
such a layer against the order of time, which leaves behind the gradients of the gates; those of the weights are contractions of them. A
gradient of a gradient is that of the steps, unrolled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..gradient.expand import expand
from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents
from ..ir.args import Call
from ..ir.build import grad, pad, shrink
from ..ir.dim import UndecidedError, product
from ..ir.dtype import BY_NAME
from ..ir.extern import EXTERNS, Extern, Kinds, host_call
from ..ir.node import Node, constant
from ..ir.op import Op
from ..ir.repeated import FRAME, Place, Repeated, reference, results
from .contraction import contract
from .host import computed, differentiable, only, parts
from .recurrent_steps import (
    SOURCES,
    Back,
    Shapes,
    backward,
    forward,
    gates_of,
    gru_step,
    lstm_step,
    rectified,
    sizes_of,
    state_product,
    tanh_of,
)


def _described(kind: str, backwards: int, gradient: int, shapes: Shapes) -> Repeated:
    build: Any = backward if gradient else forward
    made = build(kind, shapes, bool(backwards))
    described: Repeated = made.repeated if gradient else made
    return described


def _own_shapes(kind: str, gradient: int, shapes: Sequence[Any]) -> list[tuple[int, ...]]:
    """The shapes of a layer's own sources, from those of an EXTERN's.

    Raises:
        UndecidedError: a size is a Dim.
    """
    if any(not isinstance(size, int) for shape in shapes for size in shape):
        raise UndecidedError("a recurrent layer is compiled for its sizes")
    if not gradient:
        return list(shapes)
    first = 4 if kind == "LSTM" else 3
    steps, batch, _ = shapes[1]
    weight = shapes[first + SOURCES[kind].index("w") - 1]
    return [(steps, batch, weight[0]), *shapes[first:]]


def repeated_of(shapes: Sequence[Any], kind: str, backwards: int, gradient: int) -> Repeated:
    """The steps of an EXTERN, by the shapes of its sources."""
    return _described(kind, backwards, gradient, _own_shapes(kind, gradient, shapes))


def _run(*arrays: Any, kind: str, backwards: int, gradient: int) -> tuple[Any, ...]:
    repeated = repeated_of([each.shape for each in arrays], kind, backwards, gradient)
    return reference(repeated, BY_NAME[arrays[0].dtype.name], arrays)


def _kinds(*sources: Node, kind: str, backwards: int, gradient: int) -> Kinds:
    repeated = repeated_of([node.shape for node in sources], kind, backwards, gradient)
    return results(repeated, sources[0].dtype)


EXTERNS["recurrence"] = Extern(_run, _kinds, repeated_of)
differentiable("recurrence")
differentiable("recurrence_gradient")


def layer(kind: str, inputs: Sequence[Node], backwards: bool) -> Node:
    """The frames of a layer, (steps, frame)."""
    attributes: dict[str, Any] = {"kind": kind, "backwards": int(backwards)}
    found = host_call("recurrence", inputs, gradient=0, **attributes)
    return computed("recurrence", inputs, found, gradient=0, **attributes)[0]


def part(frames: Node, place: Place) -> Node:
    """A value of each step, (steps, *shape)."""
    size = product(place.shape)
    steps = frames.shape[0]
    return shrink(frames, (0, place.offset), (steps, size)).reshape((steps, *place.shape))  # fmt: skip


def states_of(kind: str, inputs: Sequence[Node], frames: Node) -> list[Node]:
    """The hidden states of all steps, and an LSTM's cell states."""
    _, batch, hidden = sizes_of([node.shape for node in inputs])  # type: ignore[misc]
    places = [
        Place(FRAME, (batch, hidden), k * batch * hidden) for k in range(1 + (kind == "LSTM"))
    ]
    return [part(frames, place) for place in places]


def _attributes(node: Node) -> tuple[str, bool]:
    assert isinstance(node.arg, Call)
    return str(node.arg.get("kind")), bool(node.arg.get("backwards"))


def moment(node: Node, time: int) -> Node:
    """One step of a sequence."""
    size = (1, *node.shape[1:])
    return shrink(node, (time, *[0] * (len(size) - 1)), size).reshape(node.shape[1:])


@COMPOSITE_REVERSE.rule("recurrence")
def recurrence_reverse(node: Node, cotangent: Node) -> Cotangents:
    """The gates' gradients by steps against the order of time, the others' by contractions of them."""
    inputs, (frames,), _ = parts(node)
    kind, backwards = _attributes(node)
    shapes: Any = [each.shape for each in inputs]
    steps, batch, hidden = sizes_of(shapes)
    back = backward(kind, shapes, backwards)
    given = states_of(kind, inputs, cotangent)
    held = states_of(kind, inputs, frames)
    zeros = constant(0, frames.dtype, (batch, hidden), frames.place)
    sources = [frames, *given, zeros, *inputs[1:]]
    attributes: dict[str, Any] = {"kind": kind, "backwards": int(backwards), "gradient": 1}
    found = host_call("recurrence", sources, **attributes)
    (made,) = computed("recurrence_gradient", [*inputs, *given], found, **attributes)
    gates = part(made, back.gates)
    before = _before(held[0], inputs[1], backwards)
    gradients = {
        "x": _of_inputs(kind, made, back, hidden),
        "h": moment(part(made, back.states[0]), steps - 1 if backwards else 0),
        "w": _summed(gates, before, "tgnh", "tnp", "ghp").reshape(inputs[SOURCES[kind].index("w")].shape),
    }  # fmt: skip
    if len(back.states) > 1:
        gradients["c"] = moment(part(made, back.states[1]), steps - 1 if backwards else 0)
    if kind == "GRU":
        gradients["b"] = gates.sum((0, 2)).reshape(inputs[3].shape)
    return only(node, *[gradients[name] for name in SOURCES[kind]])


def _of_inputs(kind: str, made: Node, back: Back, hidden: int) -> Node:
    """The gradients of x: the gates' side by side."""
    place = back.gates
    steps, (count, batch, _) = made.shape[0], place.shape
    if kind != "GRU":
        gates = part(made, place)
    else:  # of new the input's share, which stands before the others
        two = part(made, Place(FRAME, (2, batch, hidden), place.offset))
        new = part(made, Place(FRAME, (1, batch, hidden), place.offset - batch * hidden))
        none = (0, 0, 0, 0)
        gates = pad(two, none, (0, 1, 0, 0)) + pad(new, (0, 2, 0, 0), none)
    return gates.permute((0, 2, 1, 3)).reshape((steps, batch, count * hidden))


def _before(states: Node, first: Node, backwards: bool) -> tuple[Node | None, Node, bool]:
    """The states before each step: those of all steps but one, and the first."""
    steps = states.shape[0]
    assert isinstance(steps, int)
    if steps == 1:
        return None, first, backwards
    begin = 1 if backwards else 0
    return shrink(states, (begin, 0, 0), (steps - 1, *states.shape[1:])), first, backwards


def _summed(
    gates: Node, before: tuple[Node | None, Node, bool], left: str, right: str, made: str
) -> Node:
    """Products of gates and the states before them, over all steps."""
    others, first, backwards = before
    steps = gates.shape[0]
    assert isinstance(steps, int)
    total = contract(moment(gates, steps - 1 if backwards else 0), first, left[1:], right[1:], made)
    if others is None:
        return total
    begin = 0 if backwards else 1
    rest = shrink(gates, (begin, 0, 0, 0), (steps - 1, *gates.shape[1:]))
    return contract(rest, others, left, right, made) + total


# --- the gradient of the gradient


def _unrolled(kind: str, inputs: dict[str, Node], backwards: bool) -> tuple[list[Node], dict[str, Node]]:  # fmt: skip
    """The states of all steps as nodes of their own, and what gradients are asked for beside inputs: of terms that are 0."""
    x = inputs["x"]
    steps = x.shape[0]
    assert isinstance(steps, int)
    hidden, cell = inputs["h"], inputs.get("c")
    beside: dict[str, Node] = {}
    if kind == "GRU":
        beside["new"] = _leaf(constant(0, x.dtype, (steps, *hidden.shape), x.place))
    seen: dict[int, tuple[Node, ...]] = {}
    for time in reversed(range(steps)) if backwards else range(steps):
        now = moment(x, time)
        if kind == "GRU":
            (made,) = state_product(hidden, inputs["w"], inputs["b"])
            width = made.shape[1]
            assert isinstance(width, int)
            extra = pad(moment(beside["new"], time), (0, width // 3 * 2), (0, 0))
            hidden = gru_step(now, made + extra, hidden)[0]
            seen[time] = (hidden,)
            continue
        (gates,) = gates_of(now, hidden, inputs["w"])
        if cell is None:
            hidden = tanh_of(gates) if kind == "RNN_TANH" else rectified(gates)
            seen[time] = (hidden,)
            continue
        hidden, cell = lstm_step(gates, cell)[:2]
        seen[time] = (hidden, cell)
    stacks = []
    for each in zip(*[seen[time] for time in range(steps)], strict=True):
        rows = [state.reshape((1, *state.shape)) for state in each]
        placed = [pad(row, (time, 0, 0), (steps - 1 - time, 0, 0)) for time, row in enumerate(rows)]
        total = placed[0]
        for row in placed[1:]:
            total = total + row
        stacks.append(total)
    return stacks, beside


def _leaf(node: Node) -> Node:
    """The same value as a variable without a history."""
    return Node(Op.STOP, (node,), node.dtype, node.shape, None, node.place)


@COMPOSITE_REVERSE.rule("recurrence_gradient")
def recurrence_gradient_reverse(node: Node, cotangent: Node) -> Cotangents:
    """The gradient of the gradients of the steps, unrolled."""
    inputs, _, _ = parts(node)
    kind, backwards = _attributes(node)
    names = SOURCES[kind]
    shapes: Any = [each.shape for each in inputs[: len(names)]]
    steps, _, hidden = sizes_of(shapes)
    back = backward(kind, shapes, backwards)
    leaves = [_leaf(each) for each in inputs]
    own = dict(zip(names, leaves, strict=False))
    states, beside = _unrolled(kind, own, backwards)
    wanted = {"x": own["x"], "h": own["h"]} | ({"c": own["c"]} if "c" in own else {}) | beside
    first = dict(zip(wanted, grad(states, leaves[len(names) :], list(wanted.values())), strict=True))  # fmt: skip
    end = steps - 1 if backwards else 0
    weights = {
        "x": _of_inputs(kind, cotangent, back, hidden),
        "h": moment(part(cotangent, back.states[0]), end),
    }
    if "c" in own:
        weights["c"] = moment(part(cotangent, back.states[1]), end)
    if kind == "GRU":
        weights["new"] = _last(part(cotangent, back.gates))
    keys = list(wanted)
    second = grad([first[key] for key in keys], [weights[key] for key in keys], leaves)
    return only(node, *expand(second))


def _last(gates: Node) -> Node:
    """Of gates (steps, count, n, h) the last."""
    steps, count, batch, hidden = gates.shape
    size = (steps, 1, batch, hidden)
    return shrink(gates, (0, count - 1, 0, 0), size).reshape((steps, batch, hidden))
