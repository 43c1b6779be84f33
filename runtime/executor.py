"""The executor: one native call that runs a whole plan. Fixed code, LLVM IR, compiled once in a process.

In: a plan's program (a flat table of integers, made by plan.py), and the buffers, numbers and dims of one run. Out: the run's new
buffers; or the number of a failed check; or a Python exception, among them KeyboardInterrupt. Python's lock is released while
kernels run. About every 50 milliseconds, between chunks, signals are looked for; a handler that raises ends the run there.
Nothing but new buffers has been written then.

The program, in words of 8 bytes: HEADER; the kind of each number (0 float64, 1 float32, 2 integer); for each slot its position, the
value that it holds and what is added; for each launch the kernel's address, its first slot, the position of its error word (-1: it
has no checks), how many trips make a chunk (0: it does not divide), and its bytes of scratch memory; for each bundle (bundles.py) its first
launch, how many there are, the place of its description among the words, how many chunks are claimed at once, and its bytes of scratch
memory. Values are numbered: the addresses of the buffers, of the new buffers, the numbers, the dims, and last the address of the slots
themselves.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lazygrad.ir.args import Scalar

from .executor_code import executor_text
from .memory import Buffer

if TYPE_CHECKING:
    from .llvm import Compiler

HEADER = (
    "inputs", "made", "numbers", "dims", "patches", "words", "launches", "scratch", "bundles", "whole",
)  # fmt: skip
"""How many there are of each; `words` of slots, error words and descriptions of bundles together, `scratch` in bytes; `whole`: 1 for a
plan that keeps Python's lock and looks for no signal."""
REUSES = "t" not in sys.abiflags
"""Whether the first word of an object counts its references, as rings need."""

Ring = list[Buffer]
"""Buffers of one output, made by earlier runs: one that nothing else refers to any more is used again."""

Execute = Callable[
    [
        int,
        Sequence[Ring],
        Callable[[int], Buffer],
        Sequence[Buffer],
        Sequence[Scalar],
        Sequence[int],
        int,
    ],
    "list[Buffer] | int",
]
"""execute(program, rings, make, buffers, numbers, dims, threads): the new buffers, or launch << 32 | error word of a failed check.

`make(index)` is called for a new buffer where the ring has none that is free.
"""

Launch = Callable[[int, int, int, int, int, int, int], int]
"""launch(kernel, slots, begin, end, grain, scratch bytes, threads): one kernel, all of its trips where `end` is negative."""


class Executor:
    """The executor of this process, its thread pool included."""

    def __init__(self, compiler: Compiler) -> None:
        address, code = compiler.support(executor_text(), "exports")
        execute, launch, reset, stop = [
            int(each or 0) for each in (ctypes.c_void_p * 4).from_address(address)
        ]
        # The code stays to the end of the process: a builtin is taken apart by what stands in it, in whatever order objects go then.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(code))
        make = ctypes.pythonapi.PyCFunction_NewEx
        make.argtypes = (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
        make.restype = ctypes.py_object
        self.execute: Execute = make(execute, code, None)
        self.launch: Launch = make(launch, code, None)
        nothing = ctypes.CFUNCTYPE(None)
        self._stop: Callable[[], None] = nothing(stop)
        self._reset: Callable[[], None] = nothing(reset)
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.reset)
        atexit.register(self.stop)

    def reset(self) -> None:
        """Forget the pool's workers: a forked child has none."""
        self._reset()

    def stop(self) -> None:
        """End the pool's workers, and wait until they have: for the end of the process."""
        self._stop()


class _Process:
    """What there is once in a process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.executor: Executor | None = None


_PROCESS = _Process()


def executor(compiler: Compiler) -> Executor:
    """The executor, compiled by `compiler` if it is not there yet."""
    with _PROCESS.lock:
        if _PROCESS.executor is None:
            _PROCESS.executor = Executor(compiler)
        return _PROCESS.executor
