"""Sequences of different lengths: padded, packed, and back.

In: sequences as tensors of their own, or padded to one length beside their lengths. Out: a PackedSequence, whose data are the steps of
all sequences that still run, step by step; or padded tensors. Which rows go where is known from the lengths, which are read at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...functional.casting import convert
from ...functional.creation import arange, empty_like, full, tensor
from ...functional.devices import creation_place
from ...functional.joining import cat
from ...ir.dtype import int64
from ...tensor import Tensor


class PackedSequenceFields(NamedTuple):
    """The fields of a PackedSequence."""

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(PackedSequenceFields):
    """The steps of a batch of sequences, longest first: `data` has batch_sizes[t] rows for step t. Same as PyTorch's class.

    Fields:
        data: (sum of lengths, ...); batch_sizes: (T,), int64, on the host.
        sorted_indices: where each sequence came from, if they were sorted; unsorted_indices: the way back.
    """

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not isinstance(data, (list, tuple)) or len(data) != 2:
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        elif batch_sizes.place not in ("cpu", creation_place("cpu")):
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be created manually. They should "
                "be instantiated by functions like pack_sequence and pack_padded_sequences in nn.utils.rnn."
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The data moved or cast as Tensor.to; the indices are moved with them."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        order, back = (
            None if each is None else convert(each, None, data.place)
            for each in (self.sorted_indices, self.unsorted_indices)
        )
        return type(self)(data, self.batch_sizes, order, back)

    def cpu(self) -> PackedSequence:
        """The data on the host."""
        return self.to("cpu")

    def cuda(self, device: Any = None) -> PackedSequence:
        """The data on a CUDA device."""
        return self.to("cuda" if device is None else device)

    def _cast(self, name: str) -> PackedSequence:
        return self.to(getattr(self.data, name)().dtype)

    def double(self) -> PackedSequence:
        """The data as float64."""
        return self._cast("double")

    def float(self) -> PackedSequence:
        """The data as float32."""
        return self._cast("float")

    def half(self) -> PackedSequence:
        """The data as float16."""
        return self._cast("half")

    def long(self) -> PackedSequence:
        """The data as int64."""
        return self._cast("long")

    def int(self) -> PackedSequence:
        """The data as int32."""
        return self._cast("int")

    @property
    def is_cuda(self) -> bool:
        """Whether the data are on a CUDA device."""
        return bool(self.data.is_cuda)


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes another one; None for None."""
    if permutation is None:
        return None
    positions = arange(0, permutation.numel(), device=permutation.device)
    inverse: Tensor = empty_like(permutation).scatter_(0, permutation, positions)
    return inverse


def _rows(sizes: Sequence[int]) -> tuple[Any, Any]:
    """Of each packed row, its step and its sequence."""
    steps = np.repeat(np.arange(len(sizes)), sizes)
    ends = np.cumsum(sizes)
    return steps, np.arange(ends[-1]) - np.repeat(ends - sizes, sizes)


def to_padded(data: Tensor, sizes: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
    """Packed rows as (T, N, ...), and for each step which sequences run, bool (N, 1). What is beyond a sequence's end is any row."""
    batch = sizes[0]
    starts = np.cumsum(sizes) - sizes
    runs = np.arange(batch)[None, :] < np.asarray(sizes)[:, None]
    rows = np.where(runs, starts[:, None] + np.arange(batch)[None, :], 0)
    index = tensor(rows.reshape(-1), device=data.device)
    padded = data.index_select(0, index).reshape((len(sizes), batch, *data.shape[1:]))
    return padded, [tensor(each[:, None].copy(), device=data.device) for each in runs]


def from_padded(padded: Tensor, sizes: Sequence[int]) -> Tensor:
    """(T, N, ...) as packed rows."""
    steps, sequences = _rows(sizes)
    index = tensor(steps * int(padded.shape[1]) + sequences, device=padded.device)
    flat = padded.reshape((-1, *padded.shape[2:]))
    packed: Tensor = flat.index_select(0, index)
    return packed


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack a padded batch, (T, N, ...) or (N, T, ...) with `batch_first`.

    Args:
        lengths: of the sequences, on the host; in decreasing order if `enforce_sorted`, else they are sorted here.

    Raises:
        RuntimeError: lengths that are not positive, too many, not in order, or longer than the batch.

    Same as torch.nn.utils.rnn.pack_padded_sequence. The lengths are read now.
    """
    if isinstance(lengths, Tensor) and lengths.place not in ("cpu", creation_place("cpu")):
        raise RuntimeError(
            f"'lengths' argument should be a 1D CPU int64 tensor, but got 1D {lengths.place} Long tensor"
        )
    sizes = np.asarray(lengths.tolist() if isinstance(lengths, Tensor) else lengths, dtype=np.int64)
    order = None
    axis = 0 if batch_first else 1
    if not enforce_sorted:
        permutation = np.argsort(-sizes, kind="stable")
        sizes = sizes[permutation]
        order = tensor(permutation, device=input.device)
        input = input.index_select(axis, order)
    elif (np.diff(sizes) > 0).any():
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you do not need "
            "ONNX exportability."
        )
    if batch_first:
        input = input.transpose(0, 1)
    if not input.numel():
        raise RuntimeError("Cannot pack empty tensors.")
    if len(sizes) != int(input.shape[1]):
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} (batch_size={input.shape[1]})"
        )
    if sizes[-1] <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if sizes[0] > int(input.shape[0]):
        raise RuntimeError(
            f"Expected `lengths` to be at most the sequence length {input.shape[0]}, but got {sizes[0]}"
        )
    batch_sizes = (sizes[None, :] > np.arange(sizes[0])[:, None]).sum(1)
    data = from_padded(input, batch_sizes.tolist())
    return PackedSequence(data, tensor(batch_sizes.tolist(), dtype=int64), order, None)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The batch that was packed, padded again, and its lengths.

    Args:
        total_length: the length to pad to, if not that of the longest sequence.

    Raises:
        ValueError: `total_length` is shorter than that.

    Same as torch.nn.utils.rnn.pad_packed_sequence. The batch sizes are read now.
    """
    sizes = sequence.batch_sizes.tolist()
    if total_length is not None and total_length < len(sizes):
        raise ValueError(
            "Expected total_length to be at least the length of the longest sequence in input, but got "
            f"total_length={total_length} and max sequence length being {len(sizes)}"
        )
    padded, running = to_padded(sequence.data, sizes)
    inside = cat([each.unsqueeze(0) for each in running], 0)
    inside = inside.reshape((len(sizes), sizes[0], *(1,) * (padded.ndim - 2)))
    padded = padded.masked_fill(~inside, padding_value)
    if total_length is not None and total_length > len(sizes):
        more = (total_length - len(sizes), *padded.shape[1:])
        rest = full(more, padding_value, dtype=padded.dtype, device=padded.device)
        padded = cat([padded, rest], 0)
    lengths = tensor((np.asarray(sizes)[:, None] > np.arange(sizes[0])[None, :]).sum(0).tolist())
    back = sequence.unsorted_indices
    if batch_first:
        padded = padded.transpose(0, 1)
    if back is not None:
        padded = padded.index_select(0 if batch_first else 1, back)
        lengths = lengths.index_select(0, back.to(lengths.device))
    return padded, lengths


def pad_sequence(
    sequences: Any,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences (L, ...) as one tensor (T, N, ...), or (N, T, ...) with `batch_first`, padded on the right or the left.

    Raises:
        RuntimeError: not an iterable of tensors; trailing sizes that differ.
        ValueError: another `padding_side`.

    Same as torch.nn.utils.rnn.pad_sequence.
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    if padding_side not in ("left", "right"):
        raise ValueError(
            f"Expected padding_side to be one of left or right, but got {padding_side}."
        )
    rows = list(sequences)
    if not rows:
        raise RuntimeError("received an empty list of sequences")
    trailing = tuple(rows[0].shape[1:])
    length = max(int(each.shape[0]) for each in rows)
    padded = []
    for each in rows:
        if tuple(each.shape[1:]) != trailing:
            raise RuntimeError(
                f"pad_sequence: the trailing sizes differ: {tuple(each.shape[1:])} and {trailing}"
            )
        missing = length - int(each.shape[0])
        if missing:
            rest = full((missing, *trailing), padding_value, dtype=each.dtype, device=each.device)
            each = cat([rest, each] if padding_side == "left" else [each, rest], 0)
        padded.append(each.unsqueeze(0 if batch_first else 1))
    return cat(padded, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """The sequences of a batch padded on the right, each as long as `lengths` says. Same as torch.nn.utils.rnn.unpad_sequence."""
    axis = 0 if batch_first else 1
    return [
        each[:length]
        for each, length in zip(padded_sequences.unbind(axis), lengths.tolist(), strict=True)
    ]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (L, ...), longest first if `enforce_sorted`. Same as torch.nn.utils.rnn.pack_sequence."""
    lengths = [int(each.shape[0]) for each in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences that were packed. Same as torch.nn.utils.rnn.unpack_sequence."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
