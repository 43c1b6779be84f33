"""What runs on a device with a queue: a table of launches, put into it in order.

In: buffers, numbers and dims of one run, in the order of the key. Out: new buffers. The launches of a plan wait for each other and nothing else; a plan
whose kernels have checks waits for its error words, one for each launch, before its results are attached to anything.
"""

from __future__ import annotations

import struct
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from lazygrad.ir.args import Param, Scalar
from lazygrad.ir.dim import Dim, Size

from .device import Array, Device, Executable
from .memory import Buffer
from .plan import Launch, Output, Plan, TablePlan, failure, packer

if TYPE_CHECKING:
    from lazygrad.codegen.render.c_grid import Source
    from lazygrad.ir.dtype import DType
    from lazygrad.ir.node import Node, Shape

    from .profile import Trace

NUMBERS = {
    "float64": np.float64, "float32": np.float32, "float16": np.uint16, "bfloat16": np.uint16, "int64": np.int64, "int32": np.int32,
    "int16": np.int16, "int8": np.int8, "uint8": np.uint8, "uint32": np.uint32, "uint64": np.uint64, "bool": np.uint8,
}  # fmt: skip
"""How a kernel takes a number of a dtype."""


class QueuedKernel(Executable):
    """A kernel of a device with a queue."""

    __slots__ = ()
    params: tuple[Node, ...]
    source: Source


class QueuedDevice(Device):
    """A device with a queue of its own, whose memory the host cannot see."""

    @abstractmethod
    def launch(
        self, kernel: QueuedKernel, sizes: Mapping[str, int], values: Sequence[Any], timed: bool
    ) -> Any:
        """Put a kernel into the queue, for dims of these `sizes`: a token, for `elapsed` where it is `timed`, None where there is nothing to do.

        `values` are those of its arguments but for scratch memory and what maps the grid, which the device knows.
        """

    @abstractmethod
    def elapsed(self, token: Any) -> int:
        """How many nanoseconds a launch has taken; waits for its end."""

    @abstractmethod
    def zeros(self, nbytes: int) -> Buffer:
        """Memory of zeros."""

    def wrap(self, array: Array) -> Buffer:
        """A copy: the host's memory is not the device's."""
        return self.from_host(array)

    def view(self, buffer: Buffer, dtype: DType, shape: Shape) -> Array:
        """A copy, to be read."""
        return self.to_host(buffer, dtype, shape)

    def compile(self, graph: Sequence[Node]) -> Plan:
        from .compile import compile_graph

        return compile_graph(self, graph)


class Run:
    """What the launches of one run of a plan are given: `values` by kind and index, and the error words."""

    def __init__(
        self, table: Sequence[Launch], values: Mapping[str, Sequence[Any]], words: Buffer | None
    ) -> None:
        self.table = table
        self.values = values
        self.words = words

    def arguments(self, number: int) -> tuple[list[Any], dict[str, int]]:
        """What the launch of that number is given, and the sizes of its dims."""
        launch = self.table[number]
        executable: QueuedKernel = launch.executable  # type: ignore[assignment]
        given = [self.values[value.kind][value.index] for value in launch.values]
        sizes = {
            param.arg.name: int(value)
            for param, value in zip(executable.params, given, strict=True)
            if isinstance(param.arg, Param) and param.arg.role == "dim"
        }
        if executable.checks:
            given += [self.words, np.int64(number)]
        return given, sizes


class QueuedPlan(TablePlan):
    """Launches of compiled kernels in the queue of one device."""

    device: QueuedDevice

    def __init__(
        self,
        device: QueuedDevice,
        table: Sequence[Launch],
        outputs: Sequence[Output],
        made: Sequence[Size],
        blocks: Sequence[Size],
        number_types: Mapping[int, DType],
        dims: Sequence[str] = (),
    ) -> None:
        super().__init__(device, table, outputs, made, blocks, number_types, dims)
        self._convert = {index: _converter(dtype) for index, dtype in number_types.items()}
        self._checked = any(launch.executable.checks for launch in self.table)

    def run(
        self, buffers: Sequence[Buffer], numbers: Sequence[Scalar], dims: Sequence[int] = ()
    ) -> list[Buffer]:
        made: list[Buffer] = []
        for _ in self.steps(buffers, numbers, dims, made):
            pass
        return made

    def run_timed(
        self,
        trace: Trace,
        buffers: Sequence[Buffer],
        numbers: Sequence[Scalar],
        dims: Sequence[int] = (),
    ) -> list[Buffer]:
        """The same, with an event of each launch in `trace`: when it was put into the queue, and how long the device ran it."""
        sizes = dict(zip(self.dims, dims, strict=True))
        start = perf_counter_ns()
        made: list[Buffer] = []
        for launch, _, event in self.steps(buffers, numbers, dims, made, timed=True):
            taken = 0 if event is None else self.device.elapsed(event)
            trace.kernel(launch, start, taken, sizes)
            start = perf_counter_ns()
        return made

    def steps(
        self,
        buffers: Sequence[Buffer],
        numbers: Sequence[Scalar],
        dims: Sequence[int],
        results: list[Buffer],
        timed: bool = False,
    ) -> Iterator[tuple[Launch, list[Any], Any]]:
        """Launch one kernel after the other: each with the values of its params, and its event (None where it has no trips).

        At the end the error words are read, and the buffers of the roots put into `results`.

        Raises:
            IndexError, RuntimeError, ZeroDivisionError: a check failed.
        """
        device, run = self.device, self.bind(buffers, numbers, dims)
        for number, launch in enumerate(self.table):
            arguments, sizes = run.arguments(number)
            event = device.launch(launch.executable, sizes, arguments, timed)  # type: ignore[arg-type]
            device.launches += 1
            yield launch, arguments[: len(launch.values)], event
        results.extend(self.finish(run))

    def bind(
        self, buffers: Sequence[Buffer], numbers: Sequence[Scalar], dims: Sequence[int] = ()
    ) -> Run:
        """What one run's launches are given, with new buffers."""
        device = self.device
        sizes = dict(zip(self.dims, dims, strict=True))
        given = [self._convert[i](n) if i in self._convert else None for i, n in enumerate(numbers)]
        made = [device.allocate(_bytes(size, sizes)) for size in self.made]
        blocks = [device.allocate(_bytes(size, sizes)) for size in self.blocks]
        values: dict[str, Sequence[Any]] = {
            "input": buffers, "output": made, "temporary": blocks, "number": given, "dim": [np.int64(d) for d in dims],
        }  # fmt: skip
        words = device.zeros(4 * self.launches) if self._checked else None
        return Run(self.table, values, words)

    def finish(self, run: Run) -> list[Buffer]:
        """The buffers of the roots, when everything is in the queue; the error words are read before.

        Raises:
            IndexError, RuntimeError, ZeroDivisionError: a check failed.
        """
        if run.words is not None:
            self._raise_first(run.words)
        kinds = {"new": "output", "input": "input"}
        return [run.values[kinds[output.kind]][output.index] for output in self.outputs]

    def _raise_first(self, words: Buffer) -> None:
        from lazygrad.ir.dtype import int32

        found = self.device.to_host(words, int32, (self.launches,))
        for launch, word in zip(self.table, found, strict=True):
            if word:
                raise failure(launch.executable.checks[int(word) - 1])


def _bytes(size: Size, sizes: Mapping[str, int]) -> int:
    return size.evaluate(dict(sizes)) if isinstance(size, Dim) else size


def _converter(dtype: DType) -> Any:
    """How a number becomes an argument: its bits, cut to the width of the dtype."""
    pack, kind = packer(dtype), NUMBERS[dtype.name]

    def convert(value: Scalar) -> Any:
        data = struct.pack("<q", pack(value))
        return np.frombuffer(data, kind, 1)[0]

    return convert
