"""One kernel on memory of its own: what it computes, and how long it takes.

In: a lowered kernel and code for it. Out: its results from made-up inputs of the sizes that it has in the program, and seconds. Nothing of the user's
is read or written. Sizes that vary have their example values; indices and divisors that a kernel checks are small numbers that pass.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from lazygrad.ir.args import Param
from lazygrad.ir.blocks import parameters
from lazygrad.ir.dim import Dim
from lazygrad.ir.dtype import int32
from lazygrad.ir.elementwise import to_storage, value_dtype
from lazygrad.ir.node import Node

from .device import Array
from .memory import Buffer
from .plan import packer
from .queued_plan import NUMBERS, QueuedKernel

PERIOD = 65521
"""Made-up values repeat after so many: a prime, so that rows differ."""
ATTEMPTS = (("any", 2), ("positive", 2), ("any", 1), ("positive", 1), ("ones", 0))
"""Which floats, and below which bound integers are tried: the first that no check refuses and that are numbers."""
POISON = 0xA5
"""What results are filled with before a kernel runs."""


class Refused(Exception):
    """No made-up inputs pass the checks of a kernel."""


class Scratch:
    """The memory of one kernel, and launches on it."""

    def __init__(self, device: Any, kernel: Node) -> None:
        self.device = device
        self.params = parameters(kernel)
        self.sizes = {
            variable.name: variable.example
            for param in self.params
            for size in param.shape
            if isinstance(size, Dim)
            for variable in size.variables
        }
        self.values: list[Any] = []
        self.seed = 0

    def settle(self, executable: Any) -> list[Array]:
        """Find inputs that a kernel accepts; its results from them.

        Raises:
            Refused: there are none.
        """
        best: tuple[float, list[Any], list[Array]] | None = None
        for kind, bound in ATTEMPTS:
            self.values = [self._made(param, kind, bound) for param in self.params]
            results = self.run(executable)
            if results is None:
                continue
            share = _share_of_numbers(results)
            if best is None or share > best[0]:
                best = share, self.values, results
            if share == 1.0:
                break
        if best is None:
            raise Refused
        self.values = best[1]
        return best[2]

    def run(self, executable: Any) -> list[Array] | None:
        """What a kernel computes from the inputs, into memory that held something else; None where a check fails."""
        values = list(self.values)
        for number, param in enumerate(self.params):
            if _role(param) == "inout":
                values[number] = self._copy(values[number], param)
            elif _role(param) == "out":
                filled = np.full(self._bytes(param), POISON, np.uint8)
                values[number] = self.device.from_host(filled)
        if self._launch(executable, values, 1)[1]:
            return None
        return [
            self.device.to_host(value, param.dtype, self._shape(param))
            for param, value in zip(self.params, values, strict=True)
            if _role(param) in ("inout", "out")
        ]

    def seconds(self, executable: Any, times: int) -> float:
        """How long so many launches take."""
        return self._launch(executable, self.values, times)[0]

    def _launch(self, executable: Any, values: Sequence[Any], times: int) -> tuple[float, int]:
        """The time of so many launches, and the error word."""
        if isinstance(executable, QueuedKernel):
            return self._launch_queued(executable, values, times)
        slots = array("q")
        for param, value in zip(self.params, values, strict=True):
            slots.append(value.address if isinstance(value, Buffer) else packer(param.dtype)(value))
        error = array("q", [0])
        slots.append(error.buffer_info()[0])
        address = slots.buffer_info()[0]
        start = perf_counter()
        for _ in range(times):
            executable.run(address)
        return perf_counter() - start, error[0]

    def _launch_queued(
        self, executable: QueuedKernel, values: Sequence[Any], times: int
    ) -> tuple[float, int]:
        device = self.device
        given = [
            value if isinstance(value, Buffer) else _argument(param, value)
            for param, value in zip(self.params, values, strict=True)
        ]
        words = device.zeros(4) if executable.checks else None
        if words is not None:
            given += [words, np.int64(0)]
        taken = 0
        for _ in range(times):
            token = device.launch(executable, self.sizes, given, True)
            taken += 0 if token is None else device.elapsed(token)
        failed = 0 if words is None else int(device.to_host(words, int32, (1,))[0])
        return taken * 1e-9, failed

    def _made(self, param: Node, kind: str, bound: int) -> Any:
        role, dtype = _role(param), param.dtype
        if role == "dim":
            return self.sizes[_name(param)]
        if role == "number":
            return 0.75 if dtype.kind == "float" else 1
        if role == "out":
            return self.device.from_host(np.zeros(self._bytes(param), np.uint8))
        self.seed += 1
        random = np.random.default_rng(self.seed)
        if kind == "ones":
            values: Array = np.ones(PERIOD)
        elif dtype.kind == "float":
            values = random.uniform(-1.0 if kind == "any" else 0.25, 1.0, PERIOD)
        else:
            values = random.integers(0, bound, PERIOD)
        stored = to_storage(values.astype(value_dtype(dtype)), dtype)
        return self.device.from_host(np.resize(stored, self._shape(param)))

    def _copy(self, buffer: Buffer, param: Node) -> Buffer:
        held = self.device.to_host(buffer, param.dtype, self._shape(param))
        copied: Buffer = self.device.from_host(held)
        return copied

    def _shape(self, param: Node) -> tuple[int, ...]:
        return tuple(
            size if isinstance(size, int) else size.evaluate(self.sizes) for size in param.shape
        )

    def _bytes(self, param: Node) -> int:
        return int(np.prod(self._shape(param), dtype=np.int64)) * param.dtype.itemsize


def _role(param: Node) -> str:
    assert isinstance(param.arg, Param)
    return param.arg.role


def _name(param: Node) -> str:
    assert isinstance(param.arg, Param)
    return param.arg.name


def _argument(param: Node, value: Any) -> Any:
    """A number as a kernel of a device with a queue takes it."""
    if _role(param) == "dim":
        return np.int64(value)
    bits = packer(param.dtype)(value).to_bytes(8, "little", signed=True)
    return np.frombuffer(bits, NUMBERS[param.dtype.name], 1)[0]


def _share_of_numbers(results: Sequence[Array]) -> float:
    """Which part of the results is finite, at the least."""
    return min(
        [
            float(np.isfinite(each).mean())
            for each in results
            if each.dtype.kind == "f" and each.size
        ],
        default=1.0,
    )
