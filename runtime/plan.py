"""What runs: a table of launches, with the buffers, numbers and sizes that fill it in.

In: buffers, numbers and dims of one run, in the order of the key. Out: new buffers, one for each output. Nothing that existed
before is written, so an error or an interrupt leaves every tensor as it was. The table is data: integers in one flat array
with lists of where the values of a run go, so that a native executor can take the loop over.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lazygrad.ir.args import Message, Padding, Region, Scalar
from lazygrad.ir.dim import Dim, Size
from lazygrad.ir.dtype import DType
from lazygrad.ir.node import Node, Shape, postorder

from .device import Device, Executable
from .memory import ALIGNMENT, Buffer

if TYPE_CHECKING:
    from lazygrad.schedule.traffic import Traffic

ERRORS: dict[str, type[Exception]] = {
    "IndexError": IndexError,
    "RuntimeError": RuntimeError,
    "ZeroDivisionError": ZeroDivisionError,
}
"""The exceptions that a failed CHECK can be."""


class Plan(ABC):
    """A compiled program. `launches` is how many kernels one run launches."""

    launches: int
    dims: tuple[str, ...] = ()
    """The names of the sizes that a run gives, in its order."""

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

    `input`, `number` and `dim` are those of the run, by index; `output` is a new buffer; `temporary` is a block of the run's arena.
    """

    kind: Literal["input", "output", "temporary", "number", "dim"]
    index: int

    def __str__(self) -> str:
        return f"{self.kind} {self.index}"


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch: the kernel, and the value of each of its params."""

    executable: Executable
    values: tuple[Value, ...]
    traffic: Traffic | None = None
    """What the kernel moves and computes, for those who time it."""

    def __str__(self) -> str:
        return f"{self.executable.name}({', '.join(map(str, self.values))})"


@dataclass(frozen=True, slots=True)
class Output:
    """A root of the plan: a new buffer, or the input that it is equal to."""

    kind: Literal["new", "input"]
    index: int


class KernelPlan(Plan):
    """Launches of compiled kernels on one device.

    `made` has the bytes of each new buffer, `blocks` those of each block of the arena, `dims` the names of the sizes of a run.
    """

    def __init__(
        self,
        device: Device,
        table: Sequence[Launch],
        outputs: Sequence[Output],
        made: Sequence[Size],
        blocks: Sequence[Size],
        number_types: Mapping[int, DType],
        dims: Sequence[str] = (),
    ) -> None:
        self.device = device
        self.table = tuple(table)
        self.outputs = tuple(outputs)
        self.made = tuple(made)
        self.blocks = tuple(blocks)
        self.dims = tuple(dims)
        self.launches = len(self.table)
        self._symbolic = any(isinstance(size, Dim) for size in (*self.made, *self.blocks))
        self._offsets: list[int] = []
        self._arena_bytes = 0
        if not self._symbolic:
            self._offsets, self._arena_bytes = _layout(self.blocks)
        self._pack = {index: packer(dtype) for index, dtype in number_types.items()}
        self._lay_out()

    def _lay_out(self) -> None:
        """The flat table: for each launch its params and the address of its error word; then the error words."""
        template = array("q")
        patches: dict[str, list[tuple[int, int]]] = {
            "input": [], "output": [], "temporary": [], "number": [], "dim": [],
        }  # fmt: skip
        starts: list[int] = []
        self._errors: list[int] = []
        for launch in self.table:
            starts.append(len(template) * 8)
            for value in launch.values:
                patches[value.kind].append((len(template), value.index))
                template.append(0)
            self._errors.append(len(template))
            template.append(0)
        self.error_words = len(template)
        template.extend([0] * len(self.table))
        self._template = template
        self._inputs, self._results = patches["input"], patches["output"]
        self._temporaries, self._dims = patches["temporary"], patches["dim"]
        self._numbers = [(p, index, self._pack[index]) for p, index in patches["number"]]
        self._checked = [
            (self.error_words + number, launch.executable.checks)
            for number, launch in enumerate(self.table)
            if launch.executable.checks
        ]
        self._runs = [
            (v.executable.run, start) for v, start in zip(self.table, starts, strict=True)
        ]

    def run(
        self, buffers: Sequence[Buffer], numbers: Sequence[Scalar], dims: Sequence[int] = ()
    ) -> list[Buffer]:
        slots, made, _arena = self.bind(buffers, numbers, dims)
        address = slots.buffer_info()[0]
        for run, start in self._runs:
            run(address + start, 0, -1)
        for position, checks in self._checked:
            if slots[position]:
                raise failure(checks[slots[position] - 1])
        return self.results(buffers, made)

    def bind(
        self, buffers: Sequence[Buffer], numbers: Sequence[Scalar], dims: Sequence[int] = ()
    ) -> tuple[array[int], list[Buffer], Buffer | None]:
        """The filled table, the new buffers, and the arena."""
        slots = self._template[:]
        for position, index in self._inputs:
            slots[position] = buffers[index].address
        allocate = self.device.allocate
        sizes: Sequence[Size] = self.made
        offsets, total = self._offsets, self._arena_bytes
        if self._symbolic:
            values = dict(zip(self.dims, dims, strict=True))
            sizes = [_evaluate(size, values) for size in self.made]
            offsets, total = _layout([_evaluate(size, values) for size in self.blocks])
        made = [allocate(nbytes) for nbytes in sizes]  # type: ignore[arg-type]
        for position, index in self._results:
            slots[position] = made[index].address
        arena = None
        if self._temporaries:
            arena = allocate(total)
            base = arena.address
            for position, index in self._temporaries:
                slots[position] = base + offsets[index]
        for position, index, pack in self._numbers:
            slots[position] = pack(numbers[index])
        for position, index in self._dims:
            slots[position] = dims[index]
        word = slots.buffer_info()[0] + self.error_words * 8
        for position in self._errors:
            slots[position] = word
            word += 8
        return slots, made, arena

    def results(self, buffers: Sequence[Buffer], made: Sequence[Buffer]) -> list[Buffer]:
        """The buffer of each root."""
        return [
            made[output.index]
            if output.kind == "new"
            else _unshared(self.device, buffers[output.index])
            for output in self.outputs
        ]

    def __str__(self) -> str:
        lines = [
            f"plan @{self.device.name}: launches {len(self.table)}, temporaries {list(self.blocks)}"
        ]
        lines += [f"  {launch}" for launch in self.table]
        lines += [f"  return {output.kind} {output.index}" for output in self.outputs]
        return "\n".join(lines)


def concrete(shape: Shape, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """A shape as numbers."""
    return tuple([n if isinstance(n, int) else n.evaluate(dict(sizes)) for n in shape])


def _evaluate(size: Size, values: dict[str, int]) -> int:
    return size if isinstance(size, int) else size.evaluate(values)


def _layout(blocks: Sequence[Size]) -> tuple[list[int], int]:
    """The offset of each block in the arena, and the arena's size."""
    offsets: list[int] = []
    total = 0
    for size in blocks:
        assert isinstance(size, int)
        offsets.append(total)
        total += (size + ALIGNMENT - 1) & -ALIGNMENT
    return offsets, total


def dim_names(roots: Sequence[Node]) -> tuple[str, ...]:
    """The names of the variables in the sizes of a graph, sorted: the order in which a run gives their values."""
    names: set[str] = set()
    for node in postorder(roots):
        sizes: list[Size] = list(node.shape)
        if isinstance(node.arg, Region):
            sizes.extend(node.arg.starts)
        elif isinstance(node.arg, Padding):
            sizes.extend((*node.arg.before, *node.arg.after))
        for size in sizes:
            if not isinstance(size, int):
                names.update(variable.name for variable in size.variables)
    return tuple(sorted(names))


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


def packer(dtype: DType) -> Callable[[Any], int]:
    """How a number becomes the 8 bytes of a slot."""
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
