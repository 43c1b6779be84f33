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

    def __init__(self, llvm: Any, cpu: str, features: str, level: int, triple: str = "") -> None:
        """`level` is how much work LLVM's code generator does, 0 to 3; `triple` names another architecture than this machine's."""
        self.llvm = llvm
        self.triple = triple
        target = llvm.Target.from_triple(triple) if triple else llvm.Target.from_default_triple()
        self.machine = target.create_target_machine(
            cpu=cpu, features=features, opt=level, reloc="pic", codemodel="default", jit=not triple
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
        if self.triple:
            module.triple = self.triple
            module.data_layout = str(self.machine.target_data)
        self._passes.run(module, self._builder)
        return module

    def emit(self, text: str) -> bytes:
        """The object file of a text."""
        code: bytes = self.machine.emit_object(self.module(text))
        return code


def binding(triple: str = "") -> Any:
    """llvmlite, with the code generator of this machine ready, or of another architecture."""
    import llvmlite.binding as llvm

    if triple:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        return llvm
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
