"""Recurrent nets: RNN, GRU and LSTM over a sequence, in one direction or both.

In: X (steps, batch, size), or (batch, steps, size) with layout=1; W, R, B with a first axis of directions, the gates in the standard's
order. Out: Y (steps, directions, batch, hidden), the last hidden state, and for an LSTM the last cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lazygrad as lg

from ..nn import functional
from ..tensor import Tensor
from .activations import hard_sigmoid
from .elements import Array, tensor_of
from .table import operator

Activation = Callable[[Any], Any]
State = tuple[Any, ...]
Cell = Callable[[Any, State], State]


def _activations(
    names: Sequence[str], alpha: Sequence[float], beta: Sequence[float]
) -> list[Activation]:
    """The functions by name, each with the next of the given alphas and betas if it has such."""
    alphas, betas = iter(alpha), iter(beta)
    made = []
    for name in names:
        kind = KINDS.get(name.lower())
        if kind is None:
            raise NotImplementedError(f"the activation {name!r} is not supported")
        make, first, second = kind
        made.append(
            make(
                first if first is None else next(alphas, first),
                second if second is None else next(betas, second),
            )
        )
    return made


KINDS: dict[str, tuple[Callable[[Any, Any], Activation], float | None, float | None]] = {
    "sigmoid": (lambda a, b: lambda x: x.sigmoid(), None, None),
    "tanh": (lambda a, b: lambda x: x.tanh(), None, None),
    "relu": (lambda a, b: lambda x: x.relu(), None, None),
    "softsign": (lambda a, b: lambda x: x / (1 + x.abs()), None, None),
    "softplus": (lambda a, b: functional.softplus, None, None),
    "affine": (lambda a, b: lambda x: x * a + b, 1.0, 0.0),
    "leakyrelu": (lambda a, b: lambda x: lg.where(x < 0, x * a, x), 0.01, None),
    "thresholdedrelu": (lambda a, b: lambda x: lg.where(x > a, x, 0 * x), 1.0, None),
    "scaledtanh": (lambda a, b: lambda x: a * (b * x).tanh(), 1.0, 1.0),
    "hardsigmoid": (lambda a, b: lambda x: hard_sigmoid(x, alpha=a, beta=b), 0.2, 0.5),
    "elu": (lambda a, b: lambda x: functional.elu(x, a), 1.0, None),
}
"""By the name in lower case: how an activation is made of its alpha and beta, and their defaults if it has them."""


def _pass(
    inputs: Any, cell: Cell, state: State, lengths: Array | None, backward: bool
) -> tuple[Any, State]:
    """All steps of one direction: (steps, batch, hidden) and the last state. Behind its length a sequence has zeros and keeps its state."""
    steps = inputs.shape[0]
    counts = None if lengths is None else tensor_of(lengths.reshape(-1, 1))
    outputs: list[Any] = [None] * steps
    for step in reversed(range(steps)) if backward else range(steps):
        made = cell(inputs[step], state)
        if counts is None:
            state = made
            outputs[step] = made[0]
        else:
            inside = counts > step
            state = tuple(lg.where(inside, new, old) for new, old in zip(made, state))
            outputs[step] = lg.where(inside, made[0], 0.0)
    return lg.stack(outputs), state


class Net:
    """What RNN, GRU and LSTM share: layouts, directions, weights, initial states."""

    def __init__(
        self,
        X: Any,
        W: Any,
        R: Any,
        B: Any,
        lengths: Array | None,
        states: Sequence[Any],
        direction: str,
        layout: int,
    ) -> None:
        self.layout = layout
        self.X = X.transpose(0, 1) if layout else X
        self.W, self.R = W, R
        self.hidden = R.shape[-1]
        self.B = lg.zeros(W.shape[0], 2 * W.shape[1], dtype=W.dtype) if B is None else B
        if lengths is not None and (lengths == self.X.shape[0]).all():
            lengths = None
        self.lengths = lengths
        shape = (W.shape[0], self.X.shape[1], self.hidden)
        self.states = [
            lg.zeros(shape, dtype=X.dtype)
            if state is None
            else (state.transpose(0, 1) if layout else state)
            for state in states
        ]
        if direction not in ("forward", "reverse", "bidirectional"):
            raise NotImplementedError(f"the direction {direction!r} is not supported")
        self.backward = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[
            direction
        ]

    def run(self, cell_of: Callable[[int, Any, Any, Any, Any], tuple[Any, Cell]]) -> Any:
        """`cell_of(direction, W, R, input bias, recurrent bias)` gives what is added for each input, and the cell."""
        outputs, lasts = [], []
        for direction, backward in enumerate(self.backward):
            W, R = self.W[direction], self.R[direction]
            size = W.shape[0]
            bias = self.B[direction]
            inputs, cell = cell_of(direction, W, R, bias[:size], bias[size:])
            state = tuple(state[direction] for state in self.states)
            output, last = _pass(inputs, cell, state, self.lengths, backward)
            outputs.append(output)
            lasts.append(last)
        Y = lg.stack(outputs, 1)
        finals = [lg.stack(parts) for parts in zip(*lasts)]
        if self.layout:
            Y = Y.permute(2, 0, 1, 3)
            finals = [final.transpose(0, 1) for final in finals]
        return (Y, *finals)


def _clipper(clip: float | None) -> Activation:
    return (lambda x: x) if clip is None else (lambda x: x.clamp(-clip, clip))


@operator("RNN", 7)
def rnn(
    X: Tensor, W: Tensor, R: Tensor, B: Tensor | None = None, sequence_lens: Array | None = None,
    initial_h: Tensor | None = None, *, activation_alpha: Sequence[float] = (), activation_beta: Sequence[float] = (),
    activations: Sequence[str] = ("Tanh", "Tanh"), clip: float | None = None, direction: str = "forward",
    hidden_size: int = 0, layout: int = 0,
) -> Any:  # fmt: skip
    net = Net(X, W, R, B, sequence_lens, [initial_h], direction, layout)
    functions = _activations(activations, activation_alpha, activation_beta)
    cut = _clipper(clip)

    def cell_of(place: int, w: Any, r: Any, input_bias: Any, hidden_bias: Any) -> tuple[Any, Cell]:
        inputs = net.X @ w.t() + (input_bias + hidden_bias)

        def cell(given: Any, state: State) -> State:
            return (functions[place](cut(given + state[0] @ r.t())),)

        return inputs, cell

    return net.run(cell_of)


@operator("GRU", 7)
def gru(
    X: Tensor, W: Tensor, R: Tensor, B: Tensor | None = None, sequence_lens: Array | None = None,
    initial_h: Tensor | None = None, *, activation_alpha: Sequence[float] = (), activation_beta: Sequence[float] = (),
    activations: Sequence[str] = ("Sigmoid", "Tanh") * 2, clip: float | None = None, direction: str = "forward",
    hidden_size: int = 0, layout: int = 0, linear_before_reset: int = 0,
) -> Any:  # fmt: skip
    """Gates in the order update, reset, hidden."""
    net = Net(X, W, R, B, sequence_lens, [initial_h], direction, layout)
    functions = _activations(activations, activation_alpha, activation_beta)
    cut = _clipper(clip)
    size = net.hidden

    def cell_of(place: int, w: Any, r: Any, input_bias: Any, hidden_bias: Any) -> tuple[Any, Cell]:
        gate, squash = functions[2 * place : 2 * place + 2]
        inputs = net.X @ w.t() + input_bias

        def cell(given: Any, state: State) -> State:
            (h,) = state
            both = cut(given[:, : 2 * size] + h @ r[: 2 * size].t() + hidden_bias[: 2 * size])
            update, reset = gate(both[:, :size]), gate(both[:, size:])
            if linear_before_reset:
                inner = reset * (h @ r[2 * size :].t() + hidden_bias[2 * size :])
            else:
                inner = (reset * h) @ r[2 * size :].t() + hidden_bias[2 * size :]
            new = squash(cut(given[:, 2 * size :] + inner))
            return ((1 - update) * new + update * h,)

        return inputs, cell

    return net.run(cell_of)


@operator("LSTM", 7)
def lstm(
    X: Tensor, W: Tensor, R: Tensor, B: Tensor | None = None, sequence_lens: Array | None = None,
    initial_h: Tensor | None = None, initial_c: Tensor | None = None, P: Tensor | None = None, *,
    activation_alpha: Sequence[float] = (), activation_beta: Sequence[float] = (),
    activations: Sequence[str] = ("Sigmoid", "Tanh", "Tanh") * 2, clip: float | None = None,
    direction: str = "forward", hidden_size: int = 0, input_forget: int = 0, layout: int = 0,
) -> Any:  # fmt: skip
    """Gates in the order input, output, forget, cell; peepholes in the order input, output, forget."""
    net = Net(X, W, R, B, sequence_lens, [initial_h, initial_c], direction, layout)
    functions = _activations(activations, activation_alpha, activation_beta)
    cut = _clipper(clip)
    size = net.hidden

    def cell_of(place: int, w: Any, r: Any, input_bias: Any, hidden_bias: Any) -> tuple[Any, Cell]:
        gate, squash, shape = functions[3 * place : 3 * place + 3]
        inputs = net.X @ w.t() + (input_bias + hidden_bias)
        peepholes = [None] * 3 if P is None else P[place].split(size)

        def cell(given: Any, state: State) -> State:
            h, c = state
            into, out, forget, new = (given + h @ r.t()).split(size, 1)

            def seen(value: Any, peephole: Any, cell_value: Any) -> Any:
                return gate(cut(value if peephole is None else value + peephole * cell_value))

            opened = seen(into, peepholes[0], c)
            kept = 1 - opened if input_forget else seen(forget, peepholes[2], c)
            cell_value = kept * c + opened * squash(cut(new))
            return seen(out, peepholes[1], cell_value) * shape(cell_value), cell_value

        return inputs, cell

    return net.run(cell_of)
