"""What runs: a table of launches, with the buffers, numbers and sizes that fill it in.

In: buffers, numbers and dims of one run, in the order of the key. Out: new buffers, one for each output. Nothing that existed
before is written, so an error or an interrupt leaves every tensor as it was. The table is data: integers in one flat array,
which the executor (executor.py) walks.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from lazygrad.ir.args import Message, Padding, Region, Scalar
from lazygrad.ir.dim import Dim, Size
from lazygrad.ir.dtype import DType
from lazygrad.ir.errors import ERRORS as ERRORS
from lazygrad.ir.node import Node, Shape, postorder
from lazygrad.ir.record import record

from .bundles import ALL, bundled
from .device import Device, Executable
from .executor import HEADER, REUSES, Ring
from .memory import Buffer
from .threads import thread_count

if TYPE_CHECKING:
    from lazygrad.schedule.traffic import Traffic

    from .cpu import CpuDevice

DOUBLE, INTEGER = 0, 2
NUMBER_KINDS = {"float64": DOUBLE, "float32": 1}
"""How the executor reads a number of a dtype; INTEGER those that are not here."""
RING_LENGTH = 3
"""How many buffers of an output a plan keeps: a loop has the values of two iterations at once."""
RING_BYTES = 1 << 16
"""A plan whose buffers are larger in all keeps none: they come from the pool."""


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


@record
class Value:
    """Where the value of one kernel param comes from.

    `input`, `number` and `dim` are those of the run, by index; `output` is a new buffer; `temporary` is a block of the run's arena.
    A param that is a part of a buffer begins `start` bytes behind the buffer's address.
    """

    kind: Literal["input", "output", "temporary", "number", "dim"]
    index: int
    start: int = 0

    def __str__(self) -> str:
        return f"{self.kind} {self.index}" + (f" + {self.start}" if self.start else "")


@record
class Launch:
    """One launch: the kernel, and the value of each of its params, of which the last `written` are results."""

    executable: Executable
    values: tuple[Value, ...]
    written: int
    traffic: Traffic | None = None
    """What the kernel moves and computes, for those who time it."""

    @property
    def results(self) -> tuple[Value, ...]:
        """What it writes."""
        return self.values[len(self.values) - self.written :]

    def __str__(self) -> str:
        return f"{self.executable.name}({', '.join(map(str, self.values))})"


@record
class Output:
    """A root of the plan: a new buffer, or the input that it is equal to."""

    kind: Literal["new", "input"]
    index: int


class TablePlan(Plan):
    """Launches of compiled kernels on one device.

    `made` has the bytes of each new buffer, `blocks` those of each block of memory between kernels, `dims` the names of the sizes of a run.
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
        self.number_types = dict(number_types)
        self.dims = tuple(dims)
        self.launches = len(self.table)

    def lines(self) -> Iterator[str]:
        """The launches, as they are printed."""
        for launch in self.table:
            yield f"  {launch}"

    def __str__(self) -> str:
        temporaries = list(self.blocks)
        lines = [f"plan @{self.device.name}: launches {self.launches}, temporaries {temporaries}"]
        lines += self.lines()
        lines += [f"  return {output.kind} {output.index}" for output in self.outputs]
        return "\n".join(lines)


class KernelPlan(TablePlan):
    """Launches of compiled kernels on the CPU, run by its executor as one call.

    A plan that writes some of the buffers that it is given is run `whole`: no signal and no other thread of Python comes in between.
    Launches that share a region (bundles.py) count as one.
    """

    device: CpuDevice

    def __init__(
        self,
        device: CpuDevice,
        table: Sequence[Launch],
        outputs: Sequence[Output],
        made: Sequence[Size],
        blocks: Sequence[Size],
        number_types: Mapping[int, DType],
        dims: Sequence[str] = (),
        whole: bool = False,
    ) -> None:
        super().__init__(device, table, outputs, made, blocks, number_types, dims)
        self.bundles = bundled(self.table)
        self.whole = whole
        self.launches = len(self.bundles)
        self._sizes = (*self.made, *self.blocks)
        self._symbolic = any(isinstance(size, Dim) for size in self._sizes)
        self._whole = self.outputs == tuple(Output("new", i) for i in range(len(self._sizes)))
        self._divides = any(
            bundle.claim < ALL if bundle.count > 1 else self.table[bundle.first].executable.grain
            for bundle in self.bundles
        )
        self._pack = {index: packer(dtype) for index, dtype in number_types.items()}
        kinds = {
            index: NUMBER_KINDS.get(dtype.name, INTEGER) for index, dtype in number_types.items()
        }
        self._packed = {
            index: self._pack[index]
            for index, dtype in number_types.items()
            if dtype.kind == "float" and dtype.itemsize == 2
        }
        self._rings: tuple[Ring, ...] = tuple([] for _ in self._sizes)
        self._keeps = not self._symbolic and REUSES and sum(self._sizes) <= RING_BYTES
        self._lay_out(kinds)
        self._execute = device.executor.execute

    def _lay_out(self, kinds: Mapping[int, int]) -> None:
        """The program (executor.py): values are numbered as it says, slots in the order of launches and their params."""
        counts = {
            kind: 1
            + max(
                (v.index for launch in self.table for v in launch.values if v.kind == kind),
                default=-1,
            )
            for kind in ("input", "number", "dim")
        }
        first = {"input": 0, "output": counts["input"]}
        first["temporary"] = first["output"] + len(self.made)
        first["number"] = first["output"] + len(self._sizes)
        first["dim"] = first["number"] + counts["number"]
        own = first["dim"] + counts["dim"]
        self.error_words = sum(len(launch.values) + 1 for launch in self.table)
        patches: list[int] = []
        launches: list[int] = []
        slot = 0
        for number, launch in enumerate(self.table):
            executable, start = launch.executable, slot
            for value in launch.values:
                patches += (slot, first[value.kind] + value.index, value.start)
                slot += 1
            word = self.error_words + number
            patches += (slot, own, word * 8)
            slot += 1
            error = word if executable.checks else -1
            launches += (
                executable.address,
                start,
                error,
                executable.grain,
                executable.scratch_bytes,
            )
        words = self.error_words + len(self.table)
        bundles: list[int] = []
        for bundle in self.bundles:
            members = self.table[bundle.first : bundle.first + bundle.count]
            scratch = max([launch.executable.scratch_bytes for launch in members])
            bundles += (bundle.first, bundle.count, words, bundle.claim, scratch)
            words += bundle.words
        header = {
            "inputs": counts["input"],
            "made": len(self._sizes),
            "numbers": counts["number"],
            "dims": counts["dim"],
            "patches": len(patches) // 3,
            "words": words,
            "launches": len(self.table),
            "scratch": max((launch.executable.scratch_bytes for launch in self.table), default=0),
            "bundles": len(self.bundles),
            "whole": int(self.whole),
        }
        self._program = array("q", [header[name] for name in HEADER])
        self._program.extend(kinds.get(index, DOUBLE) for index in range(counts["number"]))
        self._program.extend([*patches, *launches, *bundles])
        self._address = self._program.buffer_info()[0]

    def run(
        self, buffers: Sequence[Buffer], numbers: Sequence[Scalar], dims: Sequence[int] = ()
    ) -> list[Buffer]:
        if self._packed:
            numbers = [
                self._packed[index](value) if index in self._packed else value
                for index, value in enumerate(numbers)
            ]
        make: Callable[[int], Buffer] = self._make
        if self._symbolic:
            make = self._maker(dims)
        threads = thread_count() if self._divides else 1
        try:
            made = self._execute(self._address, self._rings, make, buffers, numbers, dims, threads)
        except OverflowError:  # an integer that no float holds
            return self.run(buffers, [_bounded(value) for value in numbers], dims)
        if made.__class__ is int:
            launch, error = made >> 32, made & 0xFFFFFFFF
            raise failure(self.table[launch].executable.checks[error - 1])
        self.device.launches += self.launches
        return made if self._whole else self.results(buffers, made)  # type: ignore[return-value, arg-type]

    def _make(self, index: int) -> Buffer:
        """A new buffer, output or block between kernels; small ones stay in their ring, for later runs."""
        buffer = self.device.allocate(self._sizes[index])  # type: ignore[arg-type]
        if self._keeps:
            ring = self._rings[index]
            ring.append(buffer)
            if len(ring) > RING_LENGTH:
                del ring[0]
        return buffer

    def _maker(self, dims: Sequence[int]) -> Callable[[int], Buffer]:
        """The same for sizes that depend on the run's dims."""
        values = dict(zip(self.dims, dims, strict=True))
        return lambda index: self.device.allocate(_evaluate(self._sizes[index], values))

    def bind(
        self, buffers: Sequence[Buffer], numbers: Sequence[Scalar], dims: Sequence[int] = ()
    ) -> tuple[array[int], list[Buffer], list[Buffer]]:
        """The slots of one run, the new buffers, and the memory between kernels: for those who launch kernel by kernel."""
        make = self._maker(dims)
        made = [make(index) for index in range(len(self._sizes))]
        outputs, blocks = made[: len(self.made)], made[len(self.made) :]
        slots = array("q", bytes(8 * (self.error_words + len(self.table))))
        word = slots.buffer_info()[0] + self.error_words * 8
        position = 0
        for launch in self.table:
            for value in launch.values:
                match value.kind:
                    case "input":
                        bits = buffers[value.index].address + value.start
                    case "output":
                        bits = outputs[value.index].address + value.start
                    case "temporary":
                        bits = blocks[value.index].address + value.start
                    case "number":
                        bits = self._pack[value.index](numbers[value.index])
                    case "dim":
                        bits = dims[value.index]
                slots[position] = bits
                position += 1
            slots[position] = word
            position += 1
            word += 8
        return slots, outputs, blocks

    def results(self, buffers: Sequence[Buffer], made: Sequence[Buffer]) -> list[Buffer]:
        """The buffer of each root."""
        return [
            made[output.index]
            if output.kind == "new"
            else _unshared(self.device, buffers[output.index])
            for output in self.outputs
        ]

    def lines(self) -> Iterator[str]:
        for bundle in self.bundles:
            members = self.table[bundle.first : bundle.first + bundle.count]
            margin = "  "
            if bundle.count > 1:
                yield f"  together, {bundle.count} kernels:"
                margin = "    "
            for launch in members:
                yield f"{margin}{launch}"


def concrete(shape: Shape, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """A shape as numbers."""
    return tuple([n if isinstance(n, int) else n.evaluate(dict(sizes)) for n in shape])


def _evaluate(size: Size, values: dict[str, int]) -> int:
    return size if isinstance(size, int) else size.evaluate(values)


def _bounded(value: Scalar) -> Scalar:
    """A number that a float can hold: infinity for an integer beyond its range."""
    try:
        float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    return value


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
