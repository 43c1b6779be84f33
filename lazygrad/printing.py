"""How a Tensor prints: character for character as PyTorch 2.13.

In: a tensor. Out: text. The values are read once (of a large tensor only the corners that show are looked at) and formatted as
Python numbers; nothing is computed on a device.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .functional.settings import default_dtype
from .ir.dtype import DType, bfloat16, bool_, int64

if TYPE_CHECKING:
    from .tensor import Tensor

Nested = Any
"""Nested lists of numbers; a scalar for rank 0."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `set_printoptions` sets."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


PROFILES = {
    "default": Options(),
    "short": Options(precision=2, edgeitems=2),
    "full": Options(threshold=math.inf),
}


class _Current:
    """The options in force."""

    options = Options()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors print.

    Args:
        precision: digits after the point; `threshold`: elements above which only the corners show; `edgeitems`: how many
            show at each end; `linewidth`: characters in a line.
        profile: "default", "short" or "full", applied first.
        sci_mode: scientific notation always (True), never (False), or where the values ask for it (None).

    Same as torch.set_printoptions.
    """
    options = _Current.options
    if profile is not None:
        options = PROFILES[profile]
    given = {
        "precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth,
    }  # fmt: skip
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    _Current.options = replace(options, sci_mode=sci_mode, **changes)


def get_printoptions() -> dict[str, Any]:
    """The options in force, by name."""
    options = _Current.options
    return {name: getattr(options, name) for name in Options.__slots__}


# --- numbers


class Formatter:
    """One format for all numbers of a tensor: integers with a point, fixed, or scientific; right-aligned."""

    def __init__(self, values: Sequence[Any], floating: bool, options: Options) -> None:
        self.floating = floating
        self.precision = options.precision
        self.whole = True
        self.scientific = False
        self.width = 1
        if not floating:
            self.width = max([1, *(len(str(value)) for value in values)])
            return
        finite = [value for value in values if value != 0 and math.isfinite(value)]
        if finite:
            self._choose(finite, options.sci_mode)

    def _choose(self, finite: list[float], scientific: bool | None) -> None:
        sizes = [abs(value) for value in finite]
        low, high = min(sizes), max(sizes)
        self.whole = all(value == math.trunc(value) for value in finite)
        self.scientific = high / low > 1000.0 or high > 1.0e8 or (not self.whole and low < 1.0e-4)
        if scientific is not None:
            self.scientific = scientific
        if self.scientific:
            text = [f"{value:.{self.precision}e}" for value in finite]
        elif self.whole:
            text = [f"{value:.0f}." for value in finite]
        else:
            text = [f"{value:.{self.precision}f}" for value in finite]
        self.width = max(map(len, text))

    def __call__(self, value: Any) -> str:
        if not self.floating:
            text = str(value)
        elif self.scientific:
            text = f"{value:.{self.precision}e}"
        elif self.whole:
            text = f"{value:.0f}" + ("." if math.isfinite(value) else "")
        else:
            text = f"{value:.{self.precision}f}"
        return text.rjust(self.width)


# --- layout


def _vector(
    values: Sequence[Any], indent: int, cut: bool, show: Formatter, options: Options
) -> str:
    per_line = max(1, (options.linewidth - indent) // (show.width + 2))
    edge = options.edgeitems
    if cut and len(values) > 2 * edge:
        tail = values[-edge:] if edge else []
        words = [*map(show, values[:edge]), " ...", *map(show, tail)]
    else:
        words = list(map(show, values))
    lines = [", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _block(
    data: Nested, shape: tuple[int, ...], indent: int, cut: bool, show: Formatter, options: Options
) -> str:
    """Rows of rows; the rank bounds the depth of the calls."""
    if not shape:
        return show(data)
    if len(shape) == 1:
        return _vector(data, indent, cut, show, options)
    edge = options.edgeitems
    rows: list[Nested] = list(data)
    parts: list[str] = []
    for position, row in enumerate(rows):
        if cut and len(rows) > 2 * edge and position >= edge and position < len(rows) - edge:
            if position == edge:
                parts.append("...")
            continue
        parts.append(_block(row, shape[1:], indent + 1, cut, show, options))
    return "[" + ("," + "\n" * (len(shape) - 1) + " " * (indent + 1)).join(parts) + "]"


def _corners(array: Any, edge: int) -> tuple[Any, list[Any]]:
    """Of a host array, only what shows, as nested lists where hidden elements are None; and the numbers that show."""
    shape = array.shape
    kept = [list(range(n)) if n <= 2 * edge else [*range(edge), *range(n - edge, n)] for n in shape]

    def pick(part: Any, depth: int) -> Any:
        if depth == len(shape):
            return part.item()
        n = shape[depth]
        found = {i: pick(part[i], depth + 1) for i in kept[depth]}
        return _Sparse(n, found)

    data = pick(array, 0)
    return data, _leaves(data)


class _Sparse(Sequence[Any]):
    """A row of which only some elements are known."""

    def __init__(self, size: int, found: dict[int, Any]) -> None:
        self.size = size
        self.found = found

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.found[i] for i in range(*index.indices(self.size))]
        if index >= self.size:
            raise IndexError(index)
        return self.found.get(index)


def _leaves(data: Any) -> list[Any]:
    level = [data]
    while level and isinstance(level[0], (_Sparse, list)):
        level = [
            each
            for row in level
            for each in (row.found.values() if isinstance(row, _Sparse) else row)
        ]
    return level


def _decode(data: Any) -> Any:
    """bfloat16 bits as floats, in nested lists."""
    if isinstance(data, list):
        return [_decode(each) for each in data]
    if isinstance(data, _Sparse):
        return _Sparse(data.size, {i: _decode(each) for i, each in data.found.items()})
    return struct.unpack("<f", struct.pack("<I", data << 16))[0]


def content(tensor: Tensor, indent: int) -> str:
    """The numbers of a tensor in their brackets."""
    options = _Current.options
    shape = tuple(tensor.shape)
    from .reading import host

    array = host(tensor)
    cut = tensor.numel() > options.threshold
    if cut:
        data, values = _corners(array, options.edgeitems)
    else:
        data = array.tolist()
        values = _leaves(data)
    if tensor.dtype is bfloat16:
        data = _decode(data)
        values = _decode(values)
    show = Formatter(values, tensor.dtype.is_floating_point, options)
    return _block(data, shape, indent, cut, show, options)


def _suffixes(tensor: Tensor) -> list[str]:
    from .functional.devices import default_place

    found = []
    dtype: DType = tensor.dtype
    if tensor.node.place not in (default_place(), "cpu"):
        found.append(f"device='{tensor.device}'")
    if tensor.numel() == 0:
        if tensor.ndim != 1:
            found.append(f"size={tuple(tensor.shape)}")
        if dtype is not default_dtype():
            found.append(f"dtype={dtype!r}")
    elif dtype not in (default_dtype(), int64, bool_):
        found.append(f"dtype={dtype!r}")
    if tensor.grad_fn is not None:
        found.append(f"grad_fn=<{type(tensor.grad_fn).__name__}>")
    elif tensor.requires_grad:
        found.append("requires_grad=True")
    return found


def show(tensor: Tensor) -> str:
    """The tensor as `repr` gives it."""
    prefix = "tensor("
    indent = len(prefix)
    linewidth = _Current.options.linewidth
    text = prefix + ("[]" if tensor.numel() == 0 else content(tensor, indent))
    parts = [text]
    used = len(text) - text.rfind("\n") + 1
    for suffix in _suffixes(tensor):
        if used + len(suffix) + 2 > linewidth:
            parts.append(",\n" + " " * indent + suffix)
            used = indent + len(suffix)
        else:
            parts.append(", " + suffix)
            used += len(suffix) + 2
    return "".join(parts) + ")"
