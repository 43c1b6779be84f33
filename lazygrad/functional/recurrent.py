"""Steps of recurrent nets, and one pass of a layer over a sequence.

In: inputs, states and weights with PyTorch's layout: gates stacked along the first axis (LSTM: input, forget, cell, output; GRU:
reset, update, new). Out: new states. A sequence is unrolled: its inputs are multiplied by their weights in one product, and each step
is a product with the state and one chain of elementwise operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .. import config
from ..composites.recurrent import layer, moment, states_of
from ..history import mode
from ..ir.dtype import float32, float64
from ..results import results, tensor_nodes
from ..runtime import device as devices
from ..runtime.steady import STEADY
from ..tensor import Tensor
from . import autocasting
from .activations import relu, sigmoid
from .arguments import describe_operands
from .contraction import linear
from .creation import zeros
from .gathering import where
from .joining import chunk, stack, unbind
from .registry import function
from .unary import tanh

FEWEST_STEPS = 4
"""A pass of so many steps is one node."""

State = tuple[Tensor, ...]
"""The hidden state; the LSTM's cell state second."""

Step = Callable[[Tensor, State, "Weights"], State]


class Weights:
    """The weights of one direction of a layer."""

    __slots__ = ("bias_hh", "bias_ih", "hh", "ih", "projection")

    def __init__(
        self,
        ih: Tensor,
        hh: Tensor,
        bias_ih: Tensor | None = None,
        bias_hh: Tensor | None = None,
        projection: Tensor | None = None,
    ) -> None:
        self.ih = ih
        self.hh = hh
        self.bias_ih = bias_ih
        self.bias_hh = bias_hh
        self.projection = projection


def _simple(nonlinearity: Callable[[Tensor], Tensor]) -> Step:
    def step(gates: Tensor, state: State, weights: Weights) -> State:
        return (nonlinearity(gates + linear(state[0], weights.hh, weights.bias_hh)),)

    return step


def _lstm(gates: Tensor, state: State, weights: Weights) -> State:
    all_gates = gates + linear(state[0], weights.hh, weights.bias_hh)
    enter, keep, new, out = chunk(all_gates, 4, 1)
    cell = sigmoid(keep) * state[1] + sigmoid(enter) * tanh(new)
    hidden = sigmoid(out) * tanh(cell)
    if weights.projection is not None:
        hidden = linear(hidden, weights.projection)
    return hidden, cell


def _gru(gates: Tensor, state: State, weights: Weights) -> State:
    (hidden,) = state
    reset_x, update_x, new_x = chunk(gates, 3, 1)
    reset_h, update_h, new_h = chunk(linear(hidden, weights.hh, weights.bias_hh), 3, 1)
    new = tanh(new_x + sigmoid(reset_x + reset_h) * new_h)
    return (new + sigmoid(update_x + update_h) * (hidden - new),)


STEPS: dict[str, Step] = {
    "RNN_TANH": _simple(tanh),
    "RNN_RELU": _simple(relu),
    "LSTM": _lstm,
    "GRU": _gru,
}
"""One step of each kind: the gates' share of the input, the state and the weights give the new state."""


def pass_over(
    kind: str,
    input: Tensor,
    state: State,
    weights: Weights,
    reverse: bool = False,
    running: Sequence[Tensor] | None = None,
) -> tuple[Tensor, State]:
    """One direction of a layer over (T, N, in): its outputs (T, N, out) and the last state.

    Args:
        reverse: from the last step to the first.
        running: for each step which sequences run, bool (N, 1); the others keep their state, and their output is 0.
    """
    if running is None and _is_one(input, state, weights):
        return _as_one(kind, input, state, weights, reverse)
    step = STEPS[kind]
    gates = unbind(linear(input, weights.ih, weights.bias_ih), 0)
    order = range(len(gates))
    outputs: dict[int, Tensor] = {}
    for time in reversed(order) if reverse else order:
        after = step(gates[time], state, weights)
        outputs[time] = after[0]
        if running is not None:
            outputs[time] = where(running[time], after[0], 0.0)
            after = tuple(
                where(running[time], new, old) for new, old in zip(after, state, strict=True)
            )
        state = after
    return stack([outputs[time] for time in order], 0), state


def _is_one(input: Tensor, state: State, weights: Weights) -> bool:
    """Whether a pass is one node (composites/recurrent.py): of several steps, on the CPU, in one precision, without a projection, outside of transforms."""
    if input.shape[0] < FEWEST_STEPS or weights.projection is not None:
        return False
    if mode.transforms or STEADY.tracing is not None:
        return False
    tensors = [input, *state, weights.ih, weights.hh]
    if input.dtype not in (float32, float64) or not min(weights.hh.shape) or not input.numel():
        return False
    if any(each.dtype is not input.dtype or each.place != input.place for each in tensors):
        return False
    device = devices.get(input.place or config.active().device)
    return not autocasting.state.active and getattr(device, "parts", False)


def _as_one(
    kind: str, input: Tensor, state: State, weights: Weights, reverse: bool
) -> tuple[Tensor, State]:
    bias = weights.bias_ih
    tensors = [*state, weights.hh]
    if kind == "GRU":  # the bias of the state's share is inside of a product
        rows = int(weights.hh.shape[0])
        none = zeros(rows, dtype=input.dtype, device=input.device)
        tensors.append(none if weights.bias_hh is None else weights.bias_hh)
    elif bias is not None and weights.bias_hh is not None:
        bias = bias + weights.bias_hh
    tensors.insert(0, linear(input, weights.ih, bias))
    nodes = tensor_nodes(*tensors)
    frames = layer(kind, nodes, reverse)
    states = states_of(kind, nodes, frames)
    last = 0 if reverse else int(input.shape[0]) - 1
    made = results(
        f"{kind.title()}Backward0", [states[0], *[moment(each, last) for each in states]], tensors, (*tensors, 0)
    )  # fmt: skip
    return made[0], made[1:]


def _cell(
    name: str, kind: str, input: Tensor, state: State, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None, b_hh: Tensor | None
) -> State:  # fmt: skip
    """One step from an input (N, in), once the shapes are known to fit."""
    operands = describe_operands(input=input, hx=list(state))
    if int(input.shape[1]) != int(w_ih.shape[1]):
        raise RuntimeError(
            f"{name}: input has inconsistent input_size: got {input.shape[1]} expected {w_ih.shape[1]}{operands}"
        )
    for hidden in state:
        if int(input.shape[0]) != int(hidden.shape[0]):
            raise RuntimeError(
                f"{name}: Input batch size {input.shape[0]} doesn't match hidden batch size {hidden.shape[0]}{operands}"
            )
        if int(hidden.shape[1]) != int(w_hh.shape[1]):
            raise RuntimeError(
                f"{name}: hidden has inconsistent hidden_size: got {hidden.shape[1]}, expected {w_hh.shape[1]}{operands}"
            )
    return STEPS[kind](linear(input, w_ih, b_ih), state, Weights(w_ih, w_hh, b_ih, b_hh))


@function("rnn_tanh_cell", method=False)
def rnn_tanh_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:  # fmt: skip
    """tanh(w_ih @ input + b_ih + w_hh @ hx + b_hh), (N, in) and (N, hidden) -> (N, hidden). Same as torch.rnn_tanh_cell."""
    return _cell("rnn_tanh_cell", "RNN_TANH", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@function("rnn_relu_cell", method=False)
def rnn_relu_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:  # fmt: skip
    """As rnn_tanh_cell, with relu. Same as torch.rnn_relu_cell."""
    return _cell("rnn_relu_cell", "RNN_RELU", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@function("lstm_cell", method=False)
def lstm_cell(
    input: Tensor, hx: Sequence[Tensor], w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One step of an LSTM: hx is the hidden and the cell state, (N, hidden) each. Same as torch.lstm_cell."""
    hidden, cell = _cell("lstm_cell", "LSTM", input, tuple(hx), w_ih, w_hh, b_ih, b_hh)
    return hidden, cell


@function("gru_cell", method=False)
def gru_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:  # fmt: skip
    """One step of a GRU. Same as torch.gru_cell."""
    return _cell("gru_cell", "GRU", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]
