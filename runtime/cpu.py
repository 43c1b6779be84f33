"""The CPU device: kernels become machine code in this process, through LLVM.

In: KERNEL nodes. Out: `CpuKernel`s. Our kernels are vectors and written-out loops already, so two of LLVM's passes do
(locals to registers, fewer blocks); its loop vectoriser and unroller, the larger part of the time of a usual compile, never run. llvmlite is imported when the
first kernel is compiled.
"""

from __future__ import annotations

import ctypes
import threading
from array import array
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lazygrad.codegen.target import Target, host

from . import launcher
from .device import Executable, HostDevice
from .executor import Execute, executor
from .llvm import Compiler
from .memory import Buffer

if TYPE_CHECKING:
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
        self._launch = device.launch

    def portable(self) -> tuple[list[Any], bytes]:
        """What `CpuDevice.restore` makes it again from: plain data, and the object file."""
        checks = [[check.error, check.text] for check in self.checks]
        return [self.name, self.scratch_bytes, checks, self.grain, self.symbol], self.object

    def run(self, slots: Slots, begin: int = 0, end: int = -1) -> None:
        """Launch trips [begin, end) of the outermost parallel loop; a negative `end` means all of them."""
        address = slots if type(slots) is int else _address(slots)
        device = self._device
        device.launches += 1
        if self.scratch_bytes:
            scratch = device.scratch(self.scratch_bytes)
            self._launch(self.address, address, begin, end, scratch.address)
        else:
            self._launch(self.address, address, begin, end, 0)


def _address(slots: Any) -> int:
    if isinstance(slots, array):
        return slots.buffer_info()[0]
    interface = getattr(slots, "__array_interface__", None)
    return int(interface["data"][0]) if interface is not None else ctypes.addressof(slots)


class CpuDevice(HostDevice):
    """The processor that Python runs on."""

    def __init__(self, target: Target | None = None, name: str = "cpu") -> None:
        super().__init__(name)
        self._given = target
        self._local = threading.local()

    @cached_property
    def target(self) -> Target:
        """What kernels are written for."""
        return self._given if self._given is not None else host()

    def _target(self) -> Target:
        return self.target

    @cached_property
    def _compiler(self) -> Compiler:
        return Compiler(self._target)

    @cached_property
    def launch(self) -> launcher.Launch:
        """Calls machine code (launcher.py)."""
        return launcher.build(self._compiler)

    @cached_property
    def execute(self) -> Execute:
        """Runs plans (executor.py)."""
        return executor(Compiler(self._target, level=0)).execute

    def scratch(self, nbytes: int) -> Buffer:
        """Memory for the local arrays of one launch in this thread; the next launch has the same."""
        buffer: Buffer | None = getattr(self._local, "scratch", None)
        if buffer is None or buffer.nbytes < nbytes:
            buffer = self._local.scratch = self.allocate(nbytes)
        return buffer

    def build(self, kernel: Node) -> CpuKernel:
        """Compile one kernel, as it is."""
        from lazygrad.codegen.render.llvm import render_kernel, symbol
        from lazygrad.ir.args import Kernel

        assert isinstance(kernel.arg, Kernel)
        rendered = render_kernel(kernel, self.target)
        name, called = kernel.arg.name, symbol(kernel.arg.name)
        code = self._compiler.compile(rendered.text)
        loaded = self._compiler.load(code, called)
        return CpuKernel(
            self, name, rendered.scratch_bytes, rendered.checks, 0, called, code, loaded
        )

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
