"""The CPU device: kernels become machine code in this process, through LLVM.

In: KERNEL nodes. Out: `CpuKernel`s. Our kernels are vectors and written-out loops already, so two of LLVM's passes do
(locals to registers, fewer blocks); its loop vectoriser and unroller, the larger part of the time of a usual compile, never run. llvmlite is imported when the
first kernel is compiled.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lazygrad.codegen.target import Target, host

from .device import Executable, HostDevice
from .executor import Executor, executor
from .llvm import Compiler
from .threads import thread_count

if TYPE_CHECKING:
    from lazygrad.codegen.render.llvm import Rendered
    from lazygrad.ir.args import Message
    from lazygrad.ir.node import Node

Slots = Any
"""The address of the slots, or an array of 8-byte integers that holds them."""


class CpuKernel(Executable):
    """The machine code of one kernel."""

    __slots__ = (
        "_device", "_keep", "_launch", "address", "checks", "grain", "name", "object", "scratch_bytes", "symbol",
    )  # fmt: skip

    def __init__(
        self,
        device: CpuDevice,
        name: str,
        scratch_bytes: int,
        checks: tuple[Message, ...],
        grain: int,
        symbol: str,
        code: bytes,
        loaded: tuple[int, Any],
    ) -> None:
        self.name = name
        self.scratch_bytes = scratch_bytes
        self.checks = checks
        self.grain = grain
        self.symbol = symbol
        self.object = code
        """The object file that this is loaded from, in which it is called `symbol`."""
        self.address, self._keep = loaded  # the code lives as long as this
        self._device = device
        self._launch = device.executor.launch

    def portable(self) -> tuple[list[Any], bytes]:
        """What `CpuDevice.restore` makes it again from: plain data, and the object file."""
        checks = [[check.error, check.text] for check in self.checks]
        return [self.name, self.scratch_bytes, checks, self.grain, self.symbol], self.object

    def run(self, slots: Slots, begin: int = 0, end: int = -1) -> None:
        """Launch trips [begin, end) of the outermost parallel loop; a negative `end` means all of them, in several threads."""
        address = slots if type(slots) is int else _address(slots)
        device = self._device
        device.launches += 1
        threads = thread_count() if self.grain and end < 0 else 1
        self._launch(self.address, address, begin, end, self.grain, self.scratch_bytes, threads)


def _address(slots: Any) -> int:
    if isinstance(slots, array):
        return slots.buffer_info()[0]
    interface = getattr(slots, "__array_interface__", None)
    return int(interface["data"][0]) if interface is not None else ctypes.addressof(slots)


class CpuDevice(HostDevice):
    """The processor that Python runs on."""

    parts = True
    """A kernel may be given a part of a buffer: its plans say where in it each param begins."""

    def __init__(self, target: Target | None = None, name: str = "cpu") -> None:
        super().__init__(name)
        self._given = target

    @cached_property
    def target(self) -> Target:
        """What kernels are written for."""
        return self._given if self._given is not None else host()

    @property
    def signature(self) -> str:
        """What its code depends on beside the machine: the target that was given in the place of the machine's own."""
        given = self._given
        if given is None:
            return "cpu"
        caches = given.level1_cache, given.level2_cache, given.level3_cache
        return f"{given.name} {given.cpu} {given.vector_bytes} {caches} {sorted(given.features)}"

    @cached_property
    def _compiler(self) -> Compiler:
        return Compiler(self._given or host)  # not self: a cycle is freed in any order

    @cached_property
    def executor(self) -> Executor:
        """Runs plans and kernels (executor.py)."""
        return executor(Compiler(self._given or host, level=0))

    def build(self, kernel: Node) -> CpuKernel:
        """Compile one kernel, as it is."""
        return self.build_all([lambda: kernel])[0]

    def build_all(self, kernels: Sequence[Callable[[], Node]]) -> list[CpuKernel]:
        """Compile several kernels, where they are many with the help of another process; each is asked for when it is its turn."""
        from lazygrad.codegen.render.llvm import render_kernel, symbol
        from lazygrad.ir.args import Kernel

        from .beside import Beside

        names: list[str] = []
        rendered: list[Rendered] = []
        with Beside(self._compiler, len(kernels), thread_count()) as beside:
            for make in kernels:
                kernel = make()
                assert isinstance(kernel.arg, Kernel)
                names.append(kernel.arg.name)
                rendered.append(render_kernel(kernel, self.target))
                beside.add(rendered[-1].text)
            objects = [
                (code, symbol(name)) for code, name in zip(beside.objects(), names, strict=True)
            ]
        found = self._compiler.load_all(objects)
        return [
            CpuKernel(self, name, each.scratch_bytes, each.checks, each.grain, called, code, loaded)
            for name, each, (code, called), loaded in zip(
                names, rendered, objects, found, strict=True
            )
        ]

    def restore(self, kept: Sequence[tuple[Sequence[Any], bytes]]) -> list[CpuKernel]:
        """The kernels whose `portable` these are.

        Raises:
            ValueError, TypeError, RuntimeError: they are not such things, or for another machine.
        """
        from lazygrad.ir.args import Message

        found = []
        objects = [(code, description[4]) for description, code in kept]
        for (description, code), loaded in zip(kept, self._compiler.load_all(objects), strict=True):
            name, scratch_bytes, checks, grain, called = description
            messages = tuple([Message(error, text) for error, text in checks])
            found.append(
                CpuKernel(self, name, scratch_bytes, messages, grain, called, code, loaded)
            )
        return found

    def source(self, kernel: Node) -> str:
        """The LLVM IR of a kernel, as we write it."""
        from lazygrad.codegen.render.llvm import render

        return render(kernel, self.target)

    def asm(self, kernel: Node) -> str:
        """The machine code of a kernel as assembler text."""
        return self._compiler.assembly(self.source(kernel))
