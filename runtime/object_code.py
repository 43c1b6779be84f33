"""LLVM IR to object files: the one recipe, which this process and the one beside it (beside.py) follow.

In: llvmlite's binding, and what the machine is. Out: object files. Run as a script, this file is the process beside: it reads
requests from its standard input and writes object files to its output. So it imports nothing of lazygrad.
"""

from __future__ import annotations

import json
import queue
import struct
import sys
import threading
from typing import Any, BinaryIO

HEAD = struct.Struct("<q")
"""Before each message: its length; of an answer -1 where LLVM refused, and nothing follows."""


class ObjectCode:
    """LLVM, set up for one machine. Our kernels are vectors and written-out loops already, so two of its passes do (locals to
    registers, fewer blocks); its loop vectoriser and unroller, the larger part of the time of a usual compile, never run."""

    def __init__(self, llvm: Any, cpu: str, features: str, level: int) -> None:
        """`level` is how much work LLVM's code generator does, 0 to 3."""
        self.llvm = llvm
        self.machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=cpu, features=features, opt=level, reloc="pic", codemodel="default", jit=True
        )
        self.machine.set_asm_verbosity(False)
        self._passes = llvm.create_new_module_pass_manager()
        self._passes.add_sroa_pass()
        self._passes.add_simplify_cfg_pass()
        options = llvm.create_pipeline_tuning_options(level)
        self._builder = llvm.create_pass_builder(self.machine, options)

    def module(self, text: str) -> Any:
        """The module of a text, after its passes.

        Raises:
            RuntimeError: LLVM does not accept the text.
        """
        module = self.llvm.parse_assembly(text)
        self._passes.run(module, self._builder)
        return module

    def emit(self, text: str) -> bytes:
        """The object file of a text."""
        code: bytes = self.machine.emit_object(self.module(text))
        return code


def binding() -> Any:
    """llvmlite, with this machine's code generator ready."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


def read(stream: BinaryIO) -> bytes | None:
    """The next message; None at the end, and for a refusal."""
    head = _exactly(stream, HEAD.size)
    length = HEAD.unpack(head)[0] if head is not None else -1
    return _exactly(stream, length) if length >= 0 else None


def write(stream: BinaryIO, content: bytes | None) -> None:
    """Send a message; None is a refusal."""
    rest = memoryview(HEAD.pack(-1) if content is None else HEAD.pack(len(content)) + content)
    while rest:
        rest = rest[stream.write(rest) :]
    stream.flush()


def _exactly(stream: BinaryIO, length: int) -> bytes | None:
    parts: list[bytes] = []
    while length:
        part = stream.read(length)
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests in their order until they end. A thread takes them in, so that who asks never waits to be heard."""
    first = read(requests)
    if first is None:
        return
    setting = json.loads(first)
    sys.path[:0] = setting["path"]
    maker = ObjectCode(binding(), setting["cpu"], setting["features"], setting["level"])
    waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def take() -> None:
        request: bytes | None = b""
        while request is not None:
            request = read(requests)
            waiting.put(request)

    threading.Thread(target=take, daemon=True).start()
    while (text := waiting.get()) is not None:
        try:
            code: bytes | None = maker.emit(text.decode())
        except RuntimeError:
            code = None
        write(answers, code)


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
