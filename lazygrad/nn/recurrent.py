"""Recurrent nets over sequences: RNN, LSTM and GRU, in layers and directions.

In: (T, N, in), (N, T, in) with `batch_first`, (T, in), or a PackedSequence. Out: the last layer's outputs in the same form and the
last states of all layers. The steps are functional/recurrent.py's, unrolled.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from ..functional import autocasting
from ..functional.creation import zeros
from ..functional.joining import cat, stack
from ..functional.recurrent import State, Weights, pass_over
from ..ir.dtype import DType
from ..tensor import Tensor
from . import functional, init
from .module import Module
from .parameter import Parameter, empty_parameter
from .utils.rnn import PackedSequence, from_padded, to_padded

GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


class RNNBase(Module):
    """Weights of all layers and directions, and the way through them. Same as torch.nn.RNNBase.

    Args:
        num_layers: layers, each on the outputs of the one before.
        bias: whether there are biases.
        batch_first: sequences are (N, T, in) instead of (T, N, in).
        dropout: the probability of each output of every layer but the last to become 0, in training.
        bidirectional: each layer also goes from the end to the beginning; its outputs are side by side.
        proj_size: of an LSTM's hidden state, if it is to be projected.
    """

    _flat_weights_names: list[str]
    _all_weights: list[list[str]]

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        _check_arguments(
            mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size
        )
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._all_weights = []
        out, rows = proj_size or hidden_size, GATES[mode] * hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else out * (1 + bidirectional)
            for direction in ("", "_reverse")[: 1 + bidirectional]:
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (rows, width),
                    "weight_hh": (rows, out),
                }
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                names = []
                for stem, shape in shapes.items():
                    names.append(f"{stem}_l{layer}{direction}")
                    setattr(self, names[-1], empty_parameter(shape, device, dtype))
                self._all_weights.append(names)
        self._flat_weights_names = [name for names in self._all_weights for name in names]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters from U(-1/sqrt(hidden_size), 1/sqrt(hidden_size))."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing: taken for PyTorch's sake, where it puts the weights side by side for cuDNN."""

    @property
    def _flat_weights(self) -> list[Parameter]:
        return [getattr(self, name) for name in self._flat_weights_names]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for name, usual in (
            ("proj_size", 0), ("num_layers", 1), ("bias", True), ("batch_first", False), ("dropout", 0), ("bidirectional", False),
        ):  # fmt: skip
            if getattr(self, name) != usual:
                text += f", {name}={getattr(self, name)}"
        return text

    # --- the way through the layers

    def _weights(self, index: int) -> Weights:
        """The weights of a layer and direction."""
        kinds = {"weight_ih": "ih", "weight_hh": "hh", "weight_hr": "projection"}
        found = {}
        for name in self._all_weights[index]:
            stem = name[: name.index("_l")]
            found[kinds.get(stem, stem)] = getattr(self, name)
        return Weights(**found)

    def _run(
        self, input: Tensor, state: State, running: list[Tensor] | None
    ) -> tuple[Tensor, State]:
        """All layers over (T, N, in), from states of (layers * directions, N, size)."""
        directions = 1 + self.bidirectional
        finals: list[State] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(directions):
                index = layer * directions + direction
                output, final = pass_over(
                    self.mode, input, tuple(each[index] for each in state), self._weights(index),
                    direction == 1, running,
                )  # fmt: skip
                outputs.append(output)
                finals.append(final)
            input = outputs[0] if directions == 1 else cat(outputs, -1)
            if self.dropout and self.training and layer + 1 < self.num_layers:
                input = functional.dropout(input, self.dropout, True)
        return input, tuple(stack(list(each), 0) for each in zip(*finals, strict=True))

    def _sizes(self) -> tuple[int, ...]:
        """The size of each state."""
        return (self.hidden_size,)

    def _apply_to(self, input: Any, hx: Any) -> tuple[Any, State]:
        """forward, with the states as a tuple."""
        given: Any = hx if hx is None or isinstance(hx, (tuple, list)) else (hx,)
        if isinstance(input, PackedSequence):
            return self._apply_to_packed(input, given)
        name = self.mode.split("_")[0]
        if input.dim() not in (2, 3):
            tail = " tensor instead" if name == "RNN" else " instead"
            raise ValueError(f"{name}: Expected input to be 2D or 3D, got {input.dim()}D{tail}")
        batched = input.dim() == 3
        axis = 0 if self.batch_first else 1
        if not batched:
            input = input.unsqueeze(axis)
        if given is not None:
            self._check_ranks(given, 3 if batched else 2)
            if not batched:
                given = tuple(each.unsqueeze(1) for each in given)
        state = self._start(input, int(input.shape[axis]), given)
        self._check_input(input, 3)
        if self.batch_first:
            input = input.transpose(0, 1)
        output, state = self._run(input, state, None)
        if self.batch_first:
            output = output.transpose(0, 1)
        if not batched:
            return output.squeeze(axis), tuple(each.squeeze(1) for each in state)
        return output, state

    def _apply_to_packed(self, packed: PackedSequence, given: Any) -> tuple[Any, State]:
        sizes = packed.batch_sizes.tolist()
        order, back = packed.sorted_indices, packed.unsorted_indices
        if given is not None and order is not None:
            given = tuple(each.index_select(1, order) for each in given)
        state = self._start(packed.data, sizes[0], given)
        self._check_input(packed.data, 2)
        padded, running = to_padded(packed.data, sizes)
        output, state = self._run(padded, state, running)
        if back is not None:
            state = tuple(each.index_select(1, back) for each in state)
        made = PackedSequence(from_padded(output, sizes), packed.batch_sizes, order, back)
        return made, state

    def _start(self, input: Tensor, batch: int, given: Any) -> State:
        """The states to begin with, zeros if none are given."""
        layers = self.num_layers * (1 + self.bidirectional)
        if given is None:
            return tuple(
                zeros(layers, batch, size, dtype=input.dtype, device=input.device)
                for size in self._sizes()
            )
        for position, (each, size) in enumerate(zip(given, self._sizes(), strict=True)):
            expected = (layers, batch, size)
            if tuple(each.shape) != expected:
                what = "hidden" if len(given) == 1 else f"hidden[{position}]"
                raise RuntimeError(f"Expected {what} size {expected}, got {list(each.shape)}")
        return tuple(given)

    def _check_ranks(self, given: State, rank: int) -> None:
        if any(each.dim() != rank for each in given):
            kind = "batched 3-D" if rank == 3 else "unbatched 2-D"
            ranks = [f"{each.dim()}-D" for each in given]
            if len(given) == 1:
                raise RuntimeError(
                    f"For {kind} input, hx should also be {rank}-D but got {ranks[0]} tensor"
                )
            raise RuntimeError(
                f"For {kind} input, hx and cx should also be {rank}-D but got ({', '.join(ranks)}) tensors"
            )

    def _check_input(self, input: Tensor, rank: int) -> None:
        dtype = self._flat_weights[0].dtype
        if input.dtype is not dtype and not autocasting.state.active:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({dtype}). Convert input: input.to({dtype}), or "
                f"convert model: model.to({input.dtype})"
            )
        if input.dim() != rank:
            raise RuntimeError(f"input must have {rank} dimensions, got {input.dim()}")
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.shape[-1]}"
            )
        if not input.shape[1 if self.batch_first and rank == 3 else 0]:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")


class RNN(RNNBase):
    """h = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu. Same as torch.nn.RNN.

    Args: as RNNBase, with nonlinearity ("tanh" or "relu") after num_layers.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            nonlinearity = args[3]
            args = args[:3] + args[4:]
        else:
            nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(f"RNN_{nonlinearity.upper()}", *args, **kwargs)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        """The outputs of the last layer and the last state of each, (layers * directions, N, hidden).

        Raises:
            ValueError, RuntimeError: ranks, sizes or dtypes that do not fit.
        """
        output, (hidden,) = self._apply_to(input, hx)
        return output, hidden


class GRU(RNNBase):
    """Gated recurrent units. Same as torch.nn.GRU; see RNNBase."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        """As RNN."""
        output, (hidden,) = self._apply_to(input, hx)
        return output, hidden


class LSTM(RNNBase):
    """Long short-term memory. Same as torch.nn.LSTM; see RNNBase."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def _sizes(self) -> tuple[int, ...]:
        return (self.proj_size or self.hidden_size, self.hidden_size)

    def forward(
        self, input: Any, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Any, tuple[Tensor, Tensor]]:
        """As RNN, with the pair of hidden state (projected if there is a projection) and cell state."""
        output, (hidden, cell) = self._apply_to(input, hx)
        return output, (hidden, cell)


def _check_arguments(
    mode: str, input_size: Any, hidden_size: Any, num_layers: int, bias: Any, batch_first: Any, dropout: Any, proj_size: int
) -> None:  # fmt: skip
    if mode not in GATES:
        raise ValueError("Unrecognized RNN mode: " + mode)
    if not isinstance(dropout, (int, float)) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers greater "
            f"than 1, but got dropout={dropout} and num_layers={num_layers}",
            stacklevel=4,
        )
    for name, value, kind in (
        ("bias", bias, bool), ("batch_first", batch_first, bool), ("input_size", input_size, int), ("hidden_size", hidden_size, int),
    ):  # fmt: skip
        if not isinstance(value, kind):
            raise TypeError(
                f"{name} should be of type {kind.__name__}, got: {type(value).__name__}"
            )
    for name, value in (
        ("input_size", input_size),
        ("hidden_size", hidden_size),
        ("num_layers", num_layers),
    ):
        if value <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")
