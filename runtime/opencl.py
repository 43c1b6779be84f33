"""The OpenCL device: kernels in OpenCL C, run through pyopencl.

In: KERNEL nodes, host arrays. Out: `OpenClKernel`s, buffers on the device, plans (queued_plan.py). Devices are numbered over all platforms,
`opencl:0` first, or named by platform and device, `opencl:0:1`. pyopencl is imported and a context made when something is first
allocated or built: the source of a kernel needs neither. All that a device runs goes through one queue, in order.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lazygrad.codegen.choose_opencl import OpenClTarget
from lazygrad.codegen.choose_opencl import target as generic_target
from lazygrad.codegen.render.opencl import LOCAL_BYTES
from lazygrad.codegen.transform.parallel import grain
from lazygrad.codegen.transform.share import MOST_THREADS
from lazygrad.ir.args import Kernel
from lazygrad.ir.blocks import parameters
from lazygrad.ir.dim import product

from . import profile, schedules
from .device import Array, sizes_of
from .memory import Buffer
from .opencl_memory import OpenClPool
from .queued_plan import QueuedDevice, QueuedKernel, QueuedPlan

if TYPE_CHECKING:
    from lazygrad.codegen.render.c_grid import Source
    from lazygrad.ir.dtype import DType
    from lazygrad.ir.node import Node, Shape

INSTALL = (
    'OpenCL needs the package pyopencl and a driver: pip install "lazygrad[opencl]" brings both '
    "(PoCL, which runs on the processor)"
)
FORKED = (
    "Cannot re-initialize OpenCL in forked subprocess. To use OpenCL with multiprocessing, you must use the "
    "'spawn' start method"
)
ITEMS_A_UNIT = 32
"""A processor's work-items for each of its compute units, at most: enough to share the work evenly."""
GROUP = 64
"""A GPU's work-items in a group, where each has trips of its own."""
MOST_SCRATCH = 1 << 28
"""Of all groups at a time; where it is not enough they go round."""
VECTOR_BYTES = (16, 64)
"""The least and the most that vectors are made for."""

ATOMICS_OF_8 = ("cl_khr_int64_base_atomics", "cl_khr_int64_extended_atomics")
"""What a driver says that updates elements of 8 bytes atomically."""
WIDEST = 128
"""The bytes of OpenCL's widest vectors."""
AVX512 = (
    "avx512", "cannonlake", "icelake", "cascadelake", "cooperlake", "tigerlake", "rocketlake", "sapphirerapids", "emeraldrapids",
    "graniterapids", "x86-64-v4", "znver4", "znver5", "znver6",
)  # fmt: skip
"""What is in LLVM's names of processors that have it."""
AVX512_FEATURES = frozenset(("avx512bw", "avx512dq", "avx512f", "avx512vl"))
"""What PoCL's built-ins of vectors of 64 bytes are compiled for."""


def platforms() -> list[list[Any]]:
    """The driver's devices, by platform.

    Raises:
        RuntimeError: there is no pyopencl or no driver; the message says what to install.
    """
    try:
        import pyopencl as cl
    except ImportError as error:
        raise RuntimeError(f"{INSTALL}. ({error})") from error
    try:
        return [platform.get_devices() for platform in cl.get_platforms()]
    except cl.Error as error:
        raise RuntimeError(f"{INSTALL}. (No OpenCL platform was found: {error})") from error


def canonical(name: str) -> str:
    """The device's name among all: opencl:1 for the second one.

    Raises:
        RuntimeError: the name is no device's.
    """
    numbers = name.split(":")[1:]
    if len(numbers) > 2 or not all(number.isdecimal() for number in numbers):
        raise RuntimeError(f"Invalid device string: '{name}'")
    if len(numbers) < 2:
        return f"opencl:{int(numbers[0]) if numbers else 0}"
    platform, number = map(int, numbers)
    found = platforms()
    if platform >= len(found) or number >= len(found[platform]):
        counts = [len(each) for each in found]
        raise RuntimeError(
            f"{name}: there are {len(found)} OpenCL platforms, with {counts} devices"
        )
    return f"opencl:{sum(len(each) for each in found[:platform]) + number}"


def builtin_bytes(version: str, width: int) -> int:
    """The widest vectors, in bytes, that a driver's built-ins take, from what it says of its version and of its registers' width.

    PoCL's version ends in the processor that its compiler writes for; its built-ins, which are compiled before, are those of the processor that there is. Where
    the compiler does not know that one, and takes it for one without AVX512, it cannot call what gets or gives registers of 64 bytes.
    """
    known = "-x86_64-" not in version or any(name in version for name in AVX512)
    return WIDEST if "PoCL" not in version or width < 64 or known else 32


class OpenClFunction:
    """One of the launches of a kernel: a kernel of OpenCL's, and how its grid is mapped."""

    __slots__ = ("device", "grain", "kernel", "source")

    def __init__(self, device: OpenClDevice, source: Source, kernel: Any, grain: int) -> None:
        self.device = device
        self.source = source
        self.kernel = kernel
        self.grain = grain

    def items(self, trips: int) -> tuple[int, int]:
        """How many work-items run that many trips, and how many trips each has; neither changes a result."""
        group = self.source.group
        if not self.source.grid or trips <= 0:
            return (group, 1) if not self.source.grid else (0, 1)
        if self.source.mapping == "group":
            most = max(MOST_SCRATCH // max(self.source.scratch_bytes, 1), 1)
            return min(trips, most) * group, 1
        if self.source.mapping == "item":
            return -(-trips // GROUP) * GROUP, 1
        if not self.grain:
            return 1, trips
        most = self.device.units * ITEMS_A_UNIT
        chunk = max(self.grain, -(-trips // most))
        return -(-trips // chunk), chunk

    def launch(self, sizes: Mapping[str, int], arguments: list[Any], words: Sequence[Any]) -> Any:
        """Put it into the device's queue: its event, None where it has no trips. `words` are for its checks."""
        source, device = self.source, self.device
        items, chunk = self.items(source.trips(sizes))
        if items == 0:
            return None
        arguments = [*arguments, *(words if source.checks else ())]
        if source.scratch_bytes:
            each = source.group  # which is 1 where a work-item has its own
            arguments.append(device.allocate(items // each * source.scratch_bytes).owner)
        if source.grid and source.mapping == "chunk":
            arguments.append(np.int64(chunk))
        group = GROUP if source.mapping == "item" and source.grid else source.group
        return self.kernel(device.queue, (items,), (group,), *arguments)


class OpenClKernel(QueuedKernel):
    """A kernel of a program that the driver has built: one function, or several that are launched one after the other."""

    __slots__ = ("checks", "functions", "grain", "name", "params", "scratch_bytes", "source")

    def __init__(self, device: OpenClDevice, node: Node, source: Source, built: Any) -> None:
        assert isinstance(node.arg, Kernel)
        self.name = node.arg.name
        self.params = parameters(node)
        self.source = source
        self.grain = grain(node) if source.mapping == "chunk" else 0
        self.functions = tuple(
            OpenClFunction(device, each, getattr(built, each.name), self.grain)
            for each in (source, *source.then)
        )
        self.scratch_bytes = source.scratch_bytes
        self.checks = self.functions[-1].source.checks

    def run(self, slots: Any, begin: int, end: int) -> None:
        raise TypeError(f"{self.name}: buffers of OpenCL have no addresses; its plan launches it")


class OpenClDevice(QueuedDevice):
    """A device of an OpenCL driver."""

    def __init__(self, name: str = "opencl:0", given: OpenClTarget | None = None) -> None:
        self.name = name
        self.launches = 0
        self._given = given
        self._process = os.getpid()
        self.lock = threading.RLock()
        """Held while launches are put into the queue: the arguments of a kernel are set one by one."""

    # --- the driver

    @cached_property
    def handle(self) -> Any:
        """The driver's device.

        Raises:
            RuntimeError: there is no pyopencl, no driver, or no such device; the message says what to do.
        """
        found = [device for platform in platforms() for device in platform]
        number = int(self.name.partition(":")[2])
        if number >= len(found):
            names = ", ".join(f"opencl:{i} {each.name.strip()}" for i, each in enumerate(found))
            raise RuntimeError(f"{self.name}: invalid device ordinal; there are: {names or 'none'}")
        return found[number]

    @cached_property
    def context(self) -> Any:
        handle = self.handle  # says what to install where pyopencl is missing
        import pyopencl as cl

        return cl.Context([handle])

    @cached_property
    def queue(self) -> Any:
        """The queue of everything that runs here, in order."""
        context = self.context  # says what to install where pyopencl is missing
        import pyopencl as cl

        properties = cl.command_queue_properties.PROFILING_ENABLE
        return cl.CommandQueue(context, properties=properties)

    @cached_property
    def units(self) -> int:
        """How many work-groups run at once."""
        return int(self.handle.max_compute_units)

    @cached_property
    def pool(self) -> OpenClPool:
        """The memory of this device."""
        self.check_process()
        return OpenClPool(self.name, self.queue)

    def check_process(self) -> None:
        """
        Raises:
            RuntimeError: this is a forked child of the process that the device was opened in.
        """
        if os.getpid() != self._process:
            raise RuntimeError(FORKED)

    def synchronize(self) -> None:
        """Wait for everything that runs here."""
        self.check_process()
        self.queue.finish()

    # --- memory

    def allocate(self, nbytes: int) -> Buffer:
        self.check_process()
        return self.pool.allocate(nbytes)

    def from_host(self, array: Array) -> Buffer:
        buffer = self.allocate(array.nbytes)
        import pyopencl as cl

        if array.nbytes:
            source = np.ascontiguousarray(array)
            with self.lock, profile.span("copy to device", "copy", bytes=array.nbytes):
                cl.enqueue_copy(self.queue, buffer.owner, source.reshape(-1), is_blocking=True)
        return buffer

    def zeros(self, nbytes: int) -> Buffer:
        return self.from_host(np.zeros(nbytes, np.uint8))

    def to_host(self, buffer: Buffer, dtype: DType, shape: Shape) -> Array:
        import pyopencl as cl

        self.check_process()
        result = np.empty(sizes_of(shape), dtype.storage)
        if result.nbytes:
            with self.lock, profile.span("copy to host", "copy", bytes=result.nbytes):
                cl.enqueue_copy(self.queue, result.reshape(-1), buffer.owner, is_blocking=True)
        return result

    # --- launches

    def launch(
        self, kernel: QueuedKernel, sizes: Mapping[str, int], values: Sequence[Any], timed: bool
    ) -> Any:
        assert isinstance(kernel, OpenClKernel)
        given = [value.owner if isinstance(value, Buffer) else value for value in values]
        count = len(kernel.params)
        arguments, words = given[:count], given[count:]
        sizes_of_arrays = (
            array.dtype.itemsize * int(product(array.shape))  # type: ignore[arg-type]
            for array in kernel.source.arrays
        )
        held = [self.allocate(nbytes) for nbytes in sizes_of_arrays]  # until all is in the queue
        arguments += [each.owner for each in held]
        with self.lock:
            events = [each.launch(sizes, arguments, words) for each in kernel.functions]
        return [event for event in events if event is not None] or None

    def elapsed(self, token: Any) -> int:
        token[-1].wait()
        return int(token[-1].profile.end - token[0].profile.start)

    # --- code

    @property
    def target(self) -> OpenClTarget:
        """What kernels are written for, as deterministic as was asked for."""
        return replace(self._target, deterministic=schedules.deterministic())

    @cached_property
    def _target(self) -> OpenClTarget:
        """The device; a processor in general where there is no driver."""
        if self._given is not None:
            return self._given
        try:
            handle = self.handle
        except RuntimeError:
            return generic_target()
        import pyopencl as cl

        if not handle.type & cl.device_type.CPU:
            local = handle.local_mem_size >= LOCAL_BYTES
            groups = local and handle.max_work_group_size >= MOST_THREADS
            atomic_bytes = 8 if all(name in handle.extensions for name in ATOMICS_OF_8) else 4
            return replace(generic_target("gpu"), groups=groups, atomic_bytes=atomic_bytes)
        least, most = VECTOR_BYTES
        width = 4 * int(handle.native_vector_width_float or 1)
        limit = builtin_bytes(str(handle.version), width)
        features = frozenset[str]() if limit >= min(most, width) else self._unknown_features
        found = generic_target(
            "cpu", max(least, min(most, width if features else min(width, limit)))
        )
        return replace(
            found,
            level3_cache=handle.global_mem_cache_size or found.level3_cache,
            builtin_bytes=limit,
            features=features,
        )

    @property
    def _unknown_features(self) -> frozenset[str]:
        """What the processor has and the driver's compiler does not know of, if that compiles functions for it where it is told to."""
        import pyopencl as cl

        from lazygrad.codegen.render.opencl import FEATURES_PROBE, OPTIONS, with_features

        text = with_features(FEATURES_PROBE, AVX512_FEATURES)
        given = np.array(range(16), np.float32)
        source, target = self.from_host(given), self.allocate(given.nbytes)
        try:
            probe = cl.Program(self.context, text).build(options=list(OPTIONS)).probe
            with self.lock:
                probe(self.queue, (1,), (1,), source.owner, target.owner)
                cl.enqueue_copy(self.queue, given, target.owner, is_blocking=True)
        except cl.Error:
            return frozenset()
        doubled = given.tolist() == [2.0 * number for number in range(16)]
        return AVX512_FEATURES if doubled else frozenset()

    def variant(self, arch: str) -> OpenClDevice:
        """The device that writes kernels for processors ("cpu") or for GPUs ("gpu")."""
        if arch not in ("cpu", "gpu"):
            raise ValueError(f"the architectures of opencl are cpu and gpu, not {arch!r}")
        return OpenClDevice(self.name, generic_target(arch))

    plan = QueuedPlan
    """The class of its plans."""

    def build_all(self, kernels: Sequence[Callable[[], Node]]) -> list[OpenClKernel]:
        """Compile several kernels as one program; each is asked for when it is its turn."""
        from lazygrad.codegen.render.opencl import program, render_all

        self.check_process()
        if not kernels:
            return []
        nodes = [make() for make in kernels]
        sources = render_all(nodes, self.target)
        built = self._build(program(sources, self.target))
        found: list[OpenClKernel] = []
        for node, source in zip(nodes, sources, strict=True):
            found.append(OpenClKernel(self, node, source, built))
        return found

    def build(self, kernel: Node) -> OpenClKernel:
        """Compile one kernel, as it is."""
        return self.build_all([lambda: kernel])[0]

    @cached_property
    def contracts(self) -> bool:
        """Whether the compiler makes of a product and a sum one operation that rounds once: asked of processors, whose fma may be a call."""
        if self.target.kind == "gpu":
            return False
        import pyopencl as cl

        from lazygrad.codegen.render.opencl import CONTRACTS, OPTIONS, PROBE, PROBED

        factor = np.float32(1 + 2.0**-12)
        given = np.repeat(np.array([factor, -(factor * factor)], np.float32), PROBED)
        result = np.zeros(PROBED, np.float32)
        source, target = self.from_host(given), self.allocate(result.nbytes)
        try:
            probe = cl.Program(self.context, PROBE).build(options=[*OPTIONS, CONTRACTS]).probe
            with self.lock:
                probe(self.queue, (1,), (1,), source.owner, target.owner)
                cl.enqueue_copy(self.queue, result, target.owner, is_blocking=True)
        except cl.Error:
            return False
        return bool((result == np.float32(2.0**-24)).all())

    def _build(self, text: str) -> Any:
        from lazygrad.codegen.render.opencl import CONTRACTS, CORRECT_ROUNDING, OPTIONS

        handle, options = self.handle, list(OPTIONS)
        import pyopencl as cl

        if handle.single_fp_config & cl.device_fp_config.CORRECTLY_ROUNDED_DIVIDE_SQRT:
            options.append(CORRECT_ROUNDING)
        if self.contracts:
            options.append(CONTRACTS)
        try:
            return cl.Program(self.context, text).build(options=options)
        except cl.RuntimeError as error:
            raise RuntimeError(f"{self.name} refuses a kernel: {error}") from error

    def source(self, kernel: Node) -> str:
        """The OpenCL C of a kernel, complete."""
        from lazygrad.codegen.render.opencl import render

        return render(kernel, self.target)

    def asm(self, kernel: Node) -> str:
        """Drivers do not show their machine code."""
        raise RuntimeError(f"{self.name} shows no assembler text; ask for its source")
