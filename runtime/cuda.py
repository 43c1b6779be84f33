"""The CUDA device: kernels in CUDA C, compiled by NVRTC, run through pycuda.

In: KERNEL nodes, host arrays. Out: `CudaKernel`s, buffers on a GPU, plans (queued_plan.py). `cuda:1` is the second GPU. The driver is opened when something is first
allocated or built: the source of a kernel needs neither a GPU nor pycuda. All that a GPU runs for us goes through one stream, in order.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lazygrad.codegen.choose_cuda import ARCHITECTURES
from lazygrad.codegen.choose_cuda import target as generic_target
from lazygrad.codegen.choose_gpu import GpuTarget
from lazygrad.ir.args import Kernel, Param
from lazygrad.ir.blocks import parameters
from lazygrad.ir.dim import product

from . import cuda_driver, profile, schedules
from .cuda_driver import Context, driver
from .cuda_memory import CudaPool, Staging
from .cuda_module import Call, Module, launch
from .cuda_plan import CudaPlan
from .device import Array, Device, sizes_of
from .memory import Buffer
from .queued_plan import QueuedDevice, QueuedKernel

if TYPE_CHECKING:
    from lazygrad.codegen.render.c_grid import Source
    from lazygrad.ir.dtype import DType
    from lazygrad.ir.node import Node, Shape

MOST_BLOCKS = (1 << 31) - 1
"""The blocks of a grid; a kernel's trips beyond them its blocks run one after the other."""
MOST_SCRATCH = 256 << 20
"""Bytes of scratch memory of a launch, where one block does not need more: the grid has fewer blocks then."""
FORMS = {
    "float64": "d", "float32": "f", "float16": "H", "bfloat16": "H", "int64": "q", "int32": "i", "int16": "h", "int8": "b",
    "uint8": "B", "uint32": "I", "uint64": "Q", "bool": "B",
}  # fmt: skip
"""How a number of a dtype is packed among a kernel's arguments."""


class CudaFunction:
    """One function of a module that the driver has loaded: a launch of a kernel."""

    __slots__ = ("form", "function", "places", "source")

    def __init__(self, source: Source, module: Module, letters: str) -> None:
        self.source = source
        self.function = module.function(source.name)
        letters += ("Pq" if source.checks else "") + ("P" if source.scratch_bytes else "")
        self.form = struct.Struct(f"@{letters}")
        ends = [struct.calcsize(f"@{letters[: n + 1]}") for n in range(len(letters))]
        sizes = [struct.calcsize(f"@{letter}") for letter in letters]
        self.places = tuple(end - size for end, size in zip(ends, sizes, strict=True))
        """Where each argument begins among those that are packed."""

    def blocks(self, trips: int) -> int:
        """How many blocks run that many trips of the grid."""
        source = self.source
        if not source.grid:
            return 1
        blocks = trips if source.mapping == "group" else -(-trips // source.group)
        most = max(MOST_SCRATCH // max(self.block_scratch, 1), 1)
        return min(blocks, most, MOST_BLOCKS)

    @property
    def block_scratch(self) -> int:
        """The scratch memory of a block in bytes."""
        each = 1 if self.source.mapping == "group" else self.source.group
        return self.source.scratch_bytes * each


class CudaKernel(QueuedKernel):
    """A kernel: one function, or several that are launched one after the other."""

    __slots__ = (
        "checks", "functions", "grain", "module", "name", "params", "scratch_bytes", "source",
    )  # fmt: skip

    def __init__(self, node: Node, source: Source, module: Module) -> None:
        assert isinstance(node.arg, Kernel)
        self.name = node.arg.name
        self.params = parameters(node)
        self.source = source
        self.module = module
        letters = "".join(_form(param) for param in self.params) + "P" * len(source.arrays)
        parts = (source, *source.then)
        self.functions = tuple(CudaFunction(part, module, letters) for part in parts)
        self.grain = 0
        self.scratch_bytes = source.scratch_bytes
        self.checks = parts[-1].checks

    def run(self, slots: Any, begin: int, end: int) -> None:
        raise TypeError(f"{self.name}: its plan launches it")


def _form(param: Node) -> str:
    assert isinstance(param.arg, Param)
    if param.arg.role == "dim":
        return "q"
    return FORMS[param.dtype.name] if param.arg.role == "number" else "P"


class CudaDevice(QueuedDevice):
    """A GPU of NVIDIA's."""

    plan = CudaPlan
    """The class of its plans."""

    def __init__(self, name: str = "cuda:0", given: GpuTarget | None = None) -> None:
        self.name = name
        self.launches = 0
        self._given = given
        self._lock = threading.RLock()

    # --- the driver

    @property
    def handle(self) -> Any:
        """The driver's device.

        Raises:
            AssertionError: there is no pycuda. RuntimeError: there is no driver, or no such GPU. The message says what to do.
        """
        cuda_driver.check_process()
        return self._handle

    @cached_property
    def _handle(self) -> Any:
        cuda = driver()
        number = int(self.name.partition(":")[2])
        if number >= cuda.Device.count():
            raise RuntimeError(
                f"CUDA error: invalid device ordinal: {self.name}, of {cuda.Device.count()} GPUs"
            )
        return cuda.Device(number)

    @cached_property
    def context(self) -> Context:
        with self._lock:
            return vars(self).get("context") or Context(self.handle)

    @cached_property
    def stream(self) -> Any:
        """The stream of everything that runs here, in order."""
        with self._lock, self.context.entered():
            return vars(self).get("stream") or driver().Stream()

    @cached_property
    def pool(self) -> CudaPool:
        """The memory of this GPU."""
        with self._lock:
            return vars(self).get("pool") or CudaPool(self.name, self.context)

    @cached_property
    def staging(self) -> Staging:
        """The way between the host's memory and this GPU's."""
        with self._lock:
            return vars(self).get("staging") or Staging(self.context, self.stream)

    def synchronize(self) -> None:
        """Wait for everything that runs here."""
        cuda_driver.check_process()
        with self.context.entered():
            self.stream.synchronize()

    # --- memory

    def allocate(self, nbytes: int) -> Buffer:
        cuda_driver.check_process()
        return self.pool.allocate(nbytes)

    def from_host(self, array: Array) -> Buffer:
        buffer = self.allocate(array.nbytes)
        if array.nbytes:
            with profile.span("copy to device", "copy", bytes=array.nbytes):
                self.staging.to_device(np.ascontiguousarray(array), buffer.address)
        return buffer

    def zeros(self, nbytes: int) -> Buffer:
        buffer = self.allocate(nbytes)
        if nbytes:
            with self.context.entered():
                driver().memset_d8_async(buffer.address, 0, nbytes, self.stream)
        return buffer

    def to_host(self, buffer: Buffer, dtype: DType, shape: Shape) -> Array:
        cuda_driver.check_process()
        result: Array = np.empty(sizes_of(shape), dtype.storage)
        if result.nbytes:
            with profile.span("copy to host", "copy", bytes=result.nbytes):
                self.staging.to_host(buffer.address, result)
        return result

    def from_device(self, source: Device, buffer: Buffer, dtype: DType, shape: Shape) -> Buffer:
        """A copy of another device's buffer: from GPU to GPU, without the host where the two can reach each other."""
        if not isinstance(source, CudaDevice):
            return super().from_device(source, buffer, dtype, shape)
        result, cuda = self.allocate(buffer.nbytes), driver()
        source.synchronize()
        if buffer.nbytes:
            with self.context.entered():
                cuda.memcpy_peer_async(
                    result.address,
                    buffer.address,
                    buffer.nbytes,
                    self.context.handle,
                    source.context.handle,
                    self.stream,
                )
                self.stream.synchronize()  # the source may be given up
        return result

    # --- code

    @property
    def target(self) -> GpuTarget:
        """What kernels are written for, as deterministic as was asked for."""
        return replace(self._target, deterministic=schedules.deterministic())

    @cached_property
    def _target(self) -> GpuTarget:
        """The GPU; the oldest that there is support for where there is none."""
        if self._given is not None:
            return self._given
        try:
            major, minor = self.handle.compute_capability()
        except (AssertionError, RuntimeError):
            return generic_target()
        return generic_target(f"sm_{major}{minor}")

    def variant(self, arch: str) -> CudaDevice:
        """The device that writes kernels for another architecture."""
        if arch not in ARCHITECTURES:
            raise ValueError(
                f"the architectures of cuda are {', '.join(ARCHITECTURES)}, not {arch!r}"
            )
        return CudaDevice(self.name, generic_target(arch))

    def build_all(self, kernels: Sequence[Callable[[], Node]]) -> list[CudaKernel]:
        """Compile several kernels as one module; each is asked for when it is its turn."""
        from lazygrad.codegen.render.cuda import OPTIONS, program, render_all

        from .nvrtc import compiler

        if not kernels:
            return []
        _ = self.handle  # before anything else is missed
        nodes = [make() for make in kernels]
        sources = render_all(nodes)
        image = compiler()(program(sources), self.target.cpu, OPTIONS)
        with self.context.entered():
            module = Module(self.context, image)
            return [
                CudaKernel(node, source, module)
                for node, source in zip(nodes, sources, strict=True)
            ]

    def build(self, kernel: Node) -> CudaKernel:
        """Compile one kernel, as it is."""
        return self.build_all([lambda: kernel])[0]

    def source(self, kernel: Node) -> str:
        """The CUDA C of a kernel, complete."""
        from lazygrad.codegen.render.cuda import program, render_all

        return program(render_all([kernel]))

    def asm(self, kernel: Node) -> str:
        """The PTX of a kernel."""
        from lazygrad.codegen.render.cuda import OPTIONS

        from .nvrtc import ptx

        return ptx(self.source(kernel), self.target.cpu, OPTIONS)

    # --- launches

    def launch(
        self, kernel: QueuedKernel, sizes: Mapping[str, int], values: Sequence[Any], timed: bool
    ) -> Any:
        assert isinstance(kernel, CudaKernel)
        held: list[Buffer] = []
        calls = self.calls(kernel, sizes, values, held)
        if not calls:
            return None
        with self.context.entered():
            first = self._event() if timed else None
            for call in calls:
                launch(call, self.stream.handle)
            return (first, self._event()) if timed else calls[-1]

    def calls(
        self,
        kernel: CudaKernel,
        sizes: Mapping[str, int],
        values: Sequence[Any],
        held: list[Buffer],
    ) -> list[Call]:
        """The launches of a kernel that have something to do; `held` gets their scratch memory, to be kept until they are in the stream."""
        given = [value.address if isinstance(value, Buffer) else value for value in values]
        count = len(kernel.params)
        params, rest = given[:count], given[count:]
        for array in kernel.source.arrays:
            nbytes = array.dtype.itemsize * int(product(array.shape))  # type: ignore[arg-type]
            held.append(self.allocate(nbytes))
            params.append(held[-1].address)
        made: list[Call] = []
        for each in kernel.functions:
            trips = each.source.trips(sizes)
            if trips <= 0 and each.source.grid:
                continue
            blocks = each.blocks(trips)
            arguments = [*params, *(rest if each.source.checks else ())]
            if each.source.scratch_bytes:
                held.append(self.allocate(blocks * each.block_scratch))
                arguments.append(held[-1].address)
            data = each.form.pack(*arguments)
            made.append(Call(each.function, blocks, each.source.group, data, each.places))
        return made

    def _event(self) -> Any:
        event = driver().Event()
        event.record(self.stream)
        return event

    def elapsed(self, token: Any) -> int:
        first, last = token
        with self.context.entered():
            last.synchronize()
            return int(last.time_since(first) * 1e6)
