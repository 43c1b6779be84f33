"""The safetensors file format: a table of named arrays in front of their bytes.

In: names, dtypes, shapes and bytes; a file that anyone may have written. Out: a file; or its table, checked against the size of
the file before anything is allocated for it.

A file is 8 bytes with the length of the header (little endian), the header (JSON: a dtype, a shape and a range of bytes for each
name, and text of the writer's under `__metadata__`), and the bytes. The ranges fill the rest of the file without holes or overlaps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir.dtype import ALL, DType

LIMIT = 100_000_000
"""The longest header in bytes, as the safetensors library has it."""
ALIGNMENT = 64
"""Where the bytes begin is a multiple of this, so that a mapped file has its arrays where kernels like them."""
METADATA = "__metadata__"
KNOWN: dict[str, DType] = {dtype.short.upper(): dtype for dtype in ALL}
"""The dtypes by the format's names: F32, BF16, BOOL."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One array of a file: `begin` counts bytes from the start of the file."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    begin: int

    @property
    def count(self) -> int:
        """The number of elements."""
        return _product(self.shape)

    @property
    def nbytes(self) -> int:
        return self.count * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Table:
    """What stands in a file, in the order of its header."""

    entries: tuple[Entry, ...]
    metadata: dict[str, str]


def header(
    arrays: Sequence[tuple[str, DType, tuple[int, ...]]], metadata: Mapping[str, str]
) -> tuple[bytes, list[int]]:
    """The bytes before the arrays, and the order in which the arrays follow: wide elements first, so that each is aligned.

    Raises:
        RuntimeError: the header is longer than the format allows.
    """
    order = sorted(range(len(arrays)), key=lambda position: -arrays[position][1].itemsize)
    ranges = [(0, 0)] * len(arrays)
    begin = 0
    for position in order:
        _, dtype, shape = arrays[position]
        end = begin + _product(shape) * dtype.itemsize
        ranges[position] = (begin, end)
        begin = end
    table: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    for (name, dtype, shape), found in zip(arrays, ranges):
        table[name] = {
            "dtype": dtype.short.upper(),
            "shape": list(shape),
            "data_offsets": list(found),
        }
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    if len(text) > LIMIT:
        raise RuntimeError(
            f"save: names and plain values take {len(text)} bytes, more than the {LIMIT} of a safetensors header; "
            "store long lists of numbers as tensors"
        )
    return len(text).to_bytes(8, "little") + text, order


def looks_like(start: bytes) -> bool:
    """Whether the first bytes of a file can be those of this format."""
    return len(start) >= 9 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= LIMIT


def header_length(start: bytes, size: int) -> int:
    """How many bytes the header has, from the first 8 bytes of a file of `size` bytes.

    Raises:
        RuntimeError: it has more than the file, or than the format allows.
    """
    if len(start) < 8:
        raise _bad(f"it has {size} bytes, too few for a header")
    length = int.from_bytes(start[:8], "little")
    if length > LIMIT:
        raise _bad(f"its header claims {length} bytes, more than {LIMIT}")
    if length > size - 8:
        raise _bad(f"its header claims {length} bytes of a file of {size}")
    return length


def parse(text: bytes, size: int) -> Table:
    """The table of a file of `size` bytes from its header.

    Raises:
        RuntimeError: the header is not as the format says: no JSON, unknown dtypes, ranges that do not fit the shapes, that leave
            holes, overlap, or end elsewhere than the file.
    """
    try:
        found = json.loads(text.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _bad(f"its header is no JSON ({error})") from None
    if not isinstance(found, dict):
        raise _bad("its header is no table")
    metadata = found.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _bad(f"{METADATA} is not text by name")
    start = 8 + len(text)
    entries = [_entry(name, about, start) for name, about in found.items()]
    position = start
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.nbytes)):
        if entry.begin != position:
            what = "overlaps what stands before" if entry.begin < position else "leaves a hole"
            raise _bad(f"the range of {entry.name!r} {what}")
        position += entry.nbytes
    if position != size:
        raise _bad(f"its arrays end at byte {position} of {size}")
    return Table(tuple(entries), metadata)


def _entry(name: str, about: Any, start: int) -> Entry:
    if not isinstance(about, dict) or set(about) != {"dtype", "shape", "data_offsets"}:
        raise _bad(f"{name!r} needs a dtype, a shape and data_offsets")
    kind, shape, offsets = about["dtype"], about["shape"], about["data_offsets"]
    dtype = KNOWN.get(kind) if isinstance(kind, str) else None
    if dtype is None:
        raise _bad(f"{name!r} has dtype {kind!r}, not one of {', '.join(KNOWN)}")
    if not _sizes(shape) or not _sizes(offsets) or len(offsets) != 2:
        raise _bad(f"{name!r} has shape {shape!r} and data_offsets {offsets!r}")
    begin, end = offsets
    if end - begin != _product(shape) * dtype.itemsize:
        raise _bad(f"{name!r}, {kind} of shape {shape}, has a range of {end - begin} bytes")
    return Entry(name, dtype, tuple(shape), start + begin)


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(
        type(each) is int and 0 <= each < 1 << 63 for each in value
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _product(sizes: Sequence[int]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total


def _bad(what: str) -> RuntimeError:
    return RuntimeError(f"load: not a valid safetensors file: {what}")
