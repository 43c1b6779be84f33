"""The CPU device: kernels become machine code in this process, through LLVM.

In: KERNEL nodes. Out: `CpuKernel`s. Our kernels are vectors and written-out loops already, so two of LLVM's passes do
(locals to registers, fewer blocks); its loop vectoriser and unroller, the larger part of the time of a usual compile, never run. llvmlite is imported when the
first kernel is compiled.
"""

from __future__ import annotations

import ctypes
import threading
from array import array
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lazygrad.codegen.target import Target, host

from . import launcher
from .device import Executable, HostDevice
from .executor import Execute, executor
from .memory import Buffer

if TYPE_CHECKING:
    from lazygrad.codegen.render.llvm import Rendered
    from lazygrad.ir.node import Node

Slots = Any
"""The address of the slots, or an array of 8-byte integers that holds them."""


class CpuKernel(Executable):
    """The machine code of one kernel."""

    __slots__ = (
        "_device", "_keep", "_launch", "address", "checks", "grain", "name", "scratch_bytes",
    )  # fmt: skip

    def __init__(
        self, device: CpuDevice, name: str, rendered: Rendered, address: int, keep: Code
    ) -> None:
        self.name = name
        self.scratch_bytes = rendered.scratch_bytes
        self.checks = rendered.checks
        self._device = device
        self._keep = keep  # the code lives as long as this
        self.grain = 0
        self.address = address
        self._launch = device.launch

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

    @cached_property
    def _compiler(self) -> Compiler:
        return Compiler(self.target)

    @cached_property
    def launch(self) -> launcher.Launch:
        """Calls machine code (launcher.py)."""
        return launcher.build(self._compiler)

    @cached_property
    def execute(self) -> Execute:
        """Runs plans (executor.py)."""
        return executor(Compiler(self.target, level=0)).execute

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
        code = self._compiler.compile(rendered.text)
        address, keep = self._compiler.load(code, symbol(kernel.arg.name))
        return CpuKernel(self, kernel.arg.name, rendered, address, keep)

    def source(self, kernel: Node) -> str:
        """The LLVM IR of a kernel, as we write it."""
        from lazygrad.codegen.render.llvm import render

        return render(kernel, self.target)

    def asm(self, kernel: Node) -> str:
        """The machine code of a kernel as assembler text."""
        return self._compiler.assembly(self.source(kernel))


class Code:
    """Machine code in memory. It is unloaded, before the linker that placed it goes, when nothing refers to this any more."""

    __slots__ = ("_linker", "_tracker")

    def __init__(self, linker: Any, tracker: Any) -> None:
        self._linker = linker
        self._tracker = tracker

    def __del__(self) -> None:
        del self._tracker


class Compiler:
    """LLVM, set up for one target."""

    def __init__(self, target: Target, level: int = 2) -> None:
        """`level` is how much work LLVM's code generator does, 0 to 3."""
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self._llvm = llvm
        self._machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=target.cpu,
            features=target.feature_text(),
            opt=level,
            reloc="pic",
            codemodel="default",
            jit=True,
        )
        self._machine.set_asm_verbosity(False)
        options = llvm.create_pipeline_tuning_options(level)
        self._builder = llvm.create_pass_builder(self._machine, options)
        self._passes = llvm.create_new_module_pass_manager()
        self._passes.add_sroa_pass()
        self._passes.add_simplify_cfg_pass()
        self._jit = llvm.create_lljit_compiler(self._machine)
        self._lock = threading.Lock()
        self._loaded = 0

    def _module(self, text: str) -> Any:
        module = self._llvm.parse_assembly(text)
        self._passes.run(module, self._builder)
        return module

    def compile(self, text: str) -> bytes:
        """LLVM IR to an object file.

        Raises:
            RuntimeError: LLVM does not accept the text, which is in the message: an error of the renderer.
        """
        with self._lock:
            try:
                code: bytes = self._machine.emit_object(self._module(text))
            except RuntimeError as error:
                raise RuntimeError(f"LLVM refused this kernel: {error}\n{text}") from error
            return code

    def assembly(self, text: str) -> str:
        """LLVM IR to assembler text."""
        with self._lock:
            code: str = self._machine.emit_assembly(self._module(text))
            return code

    def load(self, code: bytes, symbol: str) -> tuple[int, Code]:
        """The address of `symbol` in an object file that is now linked in, and what keeps it there."""
        with self._lock:
            library = self._llvm.JITLibraryBuilder().add_object_img(code).add_current_process()
            self._loaded += 1
            tracker = library.export_symbol(symbol).link(self._jit, f"{symbol}.{self._loaded}")
        return int(tracker[symbol]), Code(self._jit, tracker)
