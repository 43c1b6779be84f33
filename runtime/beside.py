"""A process beside this one that turns LLVM IR into object code while this one goes on with the passes of the next kernel.

In: the texts of a plan's kernels, as they are rendered. Out: their object files. The process lives for one plan, is started only
for a plan of many new kernels on a machine with a processor to spare, and knows nothing but the texts it is sent. What it has not
begun when all texts are written is compiled here; whatever goes wrong there (no such process, a crash) is compiled here too.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, cast

from . import object_code

if TYPE_CHECKING:
    from .llvm import Compiler

MANY = 10
"""New kernels from which the process pays: it takes a tenth of a second to start, as long as some ten kernels take."""
AHEAD = 3
"""Requests that it has at a time; the others can still be compiled here."""


class Beside:
    """The object code of several texts. Use it as a context: the process is gone afterwards, however the block ends."""

    def __init__(self, compiler: Compiler, expected: int, processors: int) -> None:
        """`expected`: how many texts will come."""
        self._compiler = compiler
        self._texts: list[str] = []
        self._found: dict[int, bytes] = {}
        self._sent: list[int] = []  # waiting for an answer, in the order they were sent
        self._next = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = expected >= MANY and processors > 1

    def __enter__(self) -> Beside:
        name = os.path.basename(sys.executable or "")
        if self._wanted and name.startswith("python"):  # not a program that embeds Python
            with contextlib.suppress(OSError, ValueError):
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", object_code.__file__],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    bufsize=0,  # what was not read yet is seen by select
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # a Ctrl-C is for this process, which ends the other
                )
                self._write(json.dumps({**self._compiler.setting(), "path": sys.path}))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        self._end()

    def add(self, text: str) -> None:
        """One more text."""
        self._texts.append(text)
        self._exchange()

    def objects(self) -> list[bytes]:
        """The object file of each text, in order.

        Raises:
            RuntimeError: LLVM does not accept one of them.
        """
        last = len(self._texts)
        while self._next < last:  # from both ends until they meet
            self._exchange()
            if self._next < last:
                last -= 1
                self._found[last] = self._compiler.compile(self._texts[last])
        while self._sent and self._process is not None:
            self._receive()
        for number, text in enumerate(self._texts):
            if number not in self._found:
                self._found[number] = self._compiler.compile(text)
        return [self._found[number] for number in range(len(self._texts))]

    def _exchange(self) -> None:
        """Take the answers there are, and keep the process busy."""
        while self._sent and self._answered():
            self._receive()
        while (
            self._process is not None and len(self._sent) < AHEAD and self._next < len(self._texts)
        ):
            self._sent.append(self._next)
            self._write(self._texts[self._next])
            self._next += 1

    def _answered(self) -> bool:
        process = self._process
        if process is None or process.stdout is None:
            return False
        return bool(select.select([process.stdout], [], [], 0)[0])

    def _receive(self) -> None:
        """Wait for the next answer."""
        process, number = self._process, self._sent.pop(0)
        if process is not None and process.stdout is not None:
            with contextlib.suppress(OSError):
                answer = object_code.read(cast(BinaryIO, process.stdout))
                if answer is not None:
                    self._found[number] = answer

    def _write(self, text: str) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            try:
                object_code.write(cast(BinaryIO, process.stdin), text.encode())
            except OSError:
                self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        process.wait()
