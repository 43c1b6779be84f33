"""Signals: the discrete Fourier transform, windows, mel weights.

In: real signals, or complex ones as a last axis of two. Out: the same. A transform is a product with a matrix of cosines and sines,
which are known numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import lazygrad as lg

from ..ir.dtype import DType
from ..tensor import Tensor
from .elements import Array, numpy_dtype, tensor_of
from .table import operator


def _waves(size: int, rows: int, inverse: bool, dtype: DType) -> tuple[Any, Any]:
    """(size, rows): cosines, and sines with the sign of the transform's exponent."""
    turns = np.outer(np.arange(size), np.arange(rows)) % size * (2 * math.pi / size)
    sign = 1.0 if inverse else -1.0
    element = numpy_dtype(dtype)
    return tensor_of(np.cos(turns).astype(element)), tensor_of(
        (sign * np.sin(turns)).astype(element)
    )


def transformed(input: Any, axis: int, length: int | None, inverse: bool, onesided: bool) -> Any:
    """The transform along an axis of a signal (..., 1 or 2)."""
    axis = axis % input.ndim
    size = input.shape[axis] if length is None else length
    signal = input.movedim(axis, -2)
    have = signal.shape[-2]
    if size < have:
        signal = signal.narrow(signal.ndim - 2, 0, size)
    used = min(size, have)  # what is padded is 0, and needs no rows of the matrix
    if onesided and inverse:
        whole = size if length is not None else 2 * (have - 1)
        signal = _completed(signal, whole)
        size = used = whole
    rows = size // 2 + 1 if onesided and not inverse else size
    cosine, sine = (part[:used] for part in _waves(size, rows, inverse, input.dtype))
    real = signal[..., 0]
    outer = real @ cosine, real @ sine
    if signal.shape[-1] == 2:
        imaginary = signal[..., 1]
        outer = outer[0] - imaginary @ sine, outer[1] + imaginary @ cosine
    if inverse:
        outer = outer[0] / size, outer[1] / size
    result = lg.stack([outer[0]] if onesided and inverse else list(outer), -1)
    return result.movedim(-2, axis)


def _completed(signal: Any, size: int) -> Any:
    """The whole spectrum (..., size, 2) of a real signal, from its first half."""
    have = size // 2 + 1
    half = signal.narrow(signal.ndim - 2, 0, have)
    rest = half.narrow(half.ndim - 2, 1, size - have).flip(-2)
    return lg.cat([half, lg.stack([rest[..., 0], -rest[..., 1]], -1)], -2)


@operator("DFT", 17)
def fourier_attribute(
    input: Tensor,
    length: Array | None = None,
    *,
    axis: int = 1,
    inverse: int = 0,
    onesided: int = 0,
) -> Any:
    return transformed(
        input, axis, None if length is None else int(length.item()), bool(inverse), bool(onesided)
    )


@operator("DFT", 20)
def fourier(
    input: Tensor,
    length: Array | None = None,
    axis: Array | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Any:
    chosen = -2 if axis is None else int(axis.item())
    return fourier_attribute(input, length, axis=chosen, inverse=inverse, onesided=onesided)


@operator("STFT", 17)
def short_fourier(
    signal: Tensor,
    step: Array,
    window: Tensor | None = None,
    length: Array | None = None,
    *,
    onesided: int = 1,
) -> Any:
    """(batch, frames, bins, 2) of frames that start `step` elements after each other."""
    size = (
        int(length.item()) if length is not None else window.shape[0] if window is not None else 0
    )
    if not size:
        raise ValueError("STFT: neither a window nor a frame length")
    frames = (
        signal.unfold(1, size, int(step.item()))
        if signal.ndim == 2
        else signal.unfold(1, size, int(step.item())).transpose(-1, -2)
    )
    if signal.ndim == 2:
        frames = frames.unsqueeze(-1)
    if window is not None:
        frames = frames * window.reshape(-1, 1)
    return transformed(frames, 2, None, False, bool(onesided))


def _window(size: Array, periodic: int, dtype: DType | None, weights: tuple[float, ...]) -> Any:
    """A sum of cosines with alternating signs."""
    count = int(size.item())
    period = count if periodic else count - 1
    turns = lg.arange(count, dtype=lg.float64) * (2 * math.pi / max(period, 1))
    total: Any = 0.0
    for order, weight in enumerate(weights):
        total = total + (turns * order).cos() * (weight * (-1) ** order)
    return total.to(dtype or lg.float32)


@operator("HannWindow", 17)
def hann(size: Array, *, output_datatype: DType | None = None, periodic: int = 1) -> Any:
    return _window(size, periodic, output_datatype, (0.5, 0.5))


@operator("HammingWindow", 17)
def hamming(size: Array, *, output_datatype: DType | None = None, periodic: int = 1) -> Any:
    return _window(size, periodic, output_datatype, (25 / 46, 21 / 46))


@operator("BlackmanWindow", 17)
def blackman(size: Array, *, output_datatype: DType | None = None, periodic: int = 1) -> Any:
    return _window(size, periodic, output_datatype, (0.42, 0.5, 0.08))


@operator("MelWeightMatrix", 17)
def mel_weights(
    bands: Array,
    length: Array,
    rate: Array,
    lowest: Array,
    highest: Array,
    *,
    output_datatype: DType | None = None,
) -> Any:
    """(length // 2 + 1, bands): triangles that are even on the mel scale, by the bins of a spectrum."""
    count, size = int(bands.item()), int(length.item())
    low, high = (2595 * math.log10(1 + value.item() / 700) for value in (lowest, highest))
    mels = np.arange(count + 2) * ((high - low) / (count + 2)) + low
    bins = np.floor((size + 1) * (700 * (10 ** (mels / 2595) - 1)) / rate.item()).astype(np.int64)
    places = np.arange(size // 2 + 1)[:, None]
    first, middle, last = bins[:-2], bins[1:-1], bins[2:]
    with np.errstate(all="ignore"):
        rising = np.where(
            middle == first, 1.0 * (places == middle), (places - first) / (middle - first)
        )
        falling = np.where(last == middle, 0.0, (last - places) / (last - middle))
    up = (places >= first) & (places <= middle)
    down = (places >= middle) & (places < last)
    weights = np.where(up, rising, np.where(down, falling, 0.0))
    return tensor_of(weights.astype(np.float32)).to(output_datatype or lg.float32)
