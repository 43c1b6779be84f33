"""What runs: a table of launches, with the buffers, numbers and sizes that fill it in.

In: buffers, numbers and dims of one run, in the order of the key. Out: new buffers, one for each output. Nothing that existed
before is written, so an error or an interrupt leaves every tensor as it was. The table is data: integers in one flat array
with lists of where the values of a run go, so that a native executor can take the loop over.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lazygrad.ir.args import Message, Scalar
from lazygrad.ir.dtype import DType
from lazygrad.ir.node import Shape

from .device import Device, Executable
from .memory import Buffer

ERRORS: dict[str, type[Exception]] = {
    "IndexError": IndexError,
    "RuntimeError": RuntimeError,
    "ZeroDivisionError": ZeroDivisionError,
}
"""The exceptions that a failed CHECK can be."""


class Plan(ABC):
    """A compiled program. `launches` is how many kernels one run launches."""

    launches: int

    @abstractmethod
    def run(
        self, buffers: Sequence[Buffer], numbers: Sequence[Scalar], dims: Sequence[int] = ()
    ) -> list[Buffer]:
        """Compute the roots: a buffer for each, in order.

        Raises:
            IndexError, RuntimeError, ZeroDivisionError: a check failed.
        """


@dataclass(frozen=True, slots=True)
class Value:
    """Where the value of one kernel param comes from.

    `input`, `number` and `dim` are those of the run, by index; `output` is a new buffer; `temporary` is an offset in the run's
    arena, in bytes.
    """

    kind: Literal["input", "output", "temporary", "number", "dim"]
    index: int

    def __str__(self) -> str:
        return f"{self.kind} {self.index}"


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch: the kernel, the value of each of its params, and the trips of its outermost parallel loop."""

    executable: Executable
    values: tuple[Value, ...]
    trips: Callable[[Sequence[int]], int] | int = 1

    def __str__(self) -> str:
        return f"{self.executable.name}({', '.join(map(str, self.values))})"


@dataclass(frozen=True, slots=True)
class Output:
    """A root of the plan: a buffer of the run made here (`bytes` of it), or the input that it is equal to."""

    kind: Literal["new", "input"]
    index: int
    nbytes: Callable[[Sequence[int]], int] | int = 0


class KernelPlan(Plan):
    """Launches of compiled kernels on one device."""

    def __init__(
        self,
        device: Device,
        table: Sequence[Launch],
        outputs: Sequence[Output],
        number_types: Sequence[DType | None],
        arena_bytes: Callable[[Sequence[int]], int] | int = 0,
    ) -> None:
        self.device = device
        self.table = tuple(table)
        self.outputs = tuple(outputs)
        self.arena_bytes = arena_bytes
        self.launches = len(self.table)
        self._pack = tuple(_packer(dtype) for dtype in number_types)
        self._template = array("q")
        self._starts: list[int] = []
        self._patches: dict[str, list[tuple[int, int]]] = {
            "input": [], "output": [], "temporary": [], "number": [], "dim": [],
        }  # fmt: skip
        self._errors: list[int] = []
        for launch in self.table:
            self._starts.append(len(self._template))
            for value in launch.values:
                self._patches[value.kind].append((len(self._template), value.index))
                self._template.append(0)
            self._errors.append(len(self._template))
            self._template.append(0)
        self._words = len(self._template)
        self._template.extend([0] * len(self.table))
        self._checked = tuple(
            (self._words + number, launch.executable)
            for number, launch in enumerate(self.table)
            if launch.executable.checks
        )
        self._runs = tuple(
            (launch.executable.run, start * 8, launch.trips)
            for launch, start in zip(self.table, self._starts, strict=True)
        )

    def run(
        self, buffers: Sequence[Buffer], numbers: Sequence[Scalar], dims: Sequence[int] = ()
    ) -> list[Buffer]:
        slots = self._template[:]
        address, _ = slots.buffer_info()
        patches = self._patches
        for position, index in patches["input"]:
            slots[position] = buffers[index].address
        device = self.device
        results: list[Buffer] = []
        new: list[int] = []
        for output in self.outputs:
            if output.kind == "input":
                results.append(_unshared(device, buffers[output.index]))
                continue
            nbytes = output.nbytes
            buffer = device.allocate(nbytes if isinstance(nbytes, int) else nbytes(dims))
            results.append(buffer)
            new.append(buffer.address)
        for position, index in patches["output"]:
            slots[position] = new[index]
        if patches["temporary"]:
            total = self.arena_bytes
            arena = device.allocate(total if isinstance(total, int) else total(dims))
            base = arena.address
            for position, offset in patches["temporary"]:
                slots[position] = base + offset
        for position, index in patches["number"]:
            slots[position] = self._pack[index](numbers[index])
        for position, index in patches["dim"]:
            slots[position] = dims[index]
        word = address + self._words * 8
        for position in self._errors:
            slots[position] = word
            word += 8
        for run, start, trips in self._runs:
            run(address + start, 0, trips if isinstance(trips, int) else trips(dims))
        device.launches += len(self._runs)
        for position, executable in self._checked:
            if slots[position]:
                message = executable.checks[slots[position] - 1]
                raise failure(message)
        return results

    def __str__(self) -> str:
        lines = [f"plan @{self.device.name}: {len(self.table)} launches, {self.arena_bytes} bytes of temporaries"]
        lines += [f"  {launch}" for launch in self.table]
        lines += [
            f"  return {number}: {output.kind} {output.index}"
            for number, output in enumerate(self.outputs)
        ]
        return "\n".join(lines)


def failure(message: Message) -> Exception:
    """The exception that a failed CHECK is."""
    return ERRORS[message.error](message.text)


def _unshared(device: Device, buffer: Buffer) -> Buffer:
    """The buffer itself, or a copy where someone outside may write to it."""
    if not buffer.external:
        return buffer
    from lazygrad.ir.dtype import uint8

    shape: Shape = (buffer.nbytes,)
    return device.from_host(device.to_host(buffer, uint8, shape))


def _packer(dtype: DType | None) -> Callable[[Any], int]:
    """How a number becomes the 8 bytes of a slot."""
    if dtype is None:
        return lambda value: 0
    if dtype.kind != "float":
        limit = 1 << 64
        return lambda value: (int(value) + (limit >> 1)) % limit - (limit >> 1)
    if dtype.name == "bfloat16":
        return _bfloat16_bits
    form = {"float64": "<d", "float32": "<f", "float16": "<e"}[dtype.name]
    size, decode = dtype.itemsize, "<q"
    maker = struct.Struct(form).pack
    read = struct.Struct(decode).unpack
    padding = bytes(8 - size)

    def pack(value: Any) -> int:
        try:
            bits: int = read(maker(value) + padding)[0]
        except OverflowError:
            bits = read(maker(float("inf") if value > 0 else float("-inf")) + padding)[0]
        return bits

    return pack


def _bfloat16_bits(value: float) -> int:
    """Round to nearest even on the bits of a float32."""
    try:
        bits: int = struct.unpack("<I", struct.pack("<f", value))[0]
    except OverflowError:
        return 0x7F80 if value > 0 else 0xFF80
    if value != value:
        return 0x7FC0
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
