"""Machine code on a GPU, through the driver's own library: modules, their functions, launches, and graphs of launches.

In: a cubin, packed arguments. Out: functions by name, launches in the order of a stream. pycuda (cuda_driver.py) has contexts, memory, streams and events; it shows
neither a function's handle nor graphs, so what needs these is called here.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from .cuda_driver import Context, check_process

LIBRARY = "libcuda.so.1"
GRAPH_CALLS = (
    "cuGraphCreate", "cuGraphAddKernelNode_v2", "cuGraphInstantiateWithFlags", "cuGraphExecKernelNodeSetParams_v2", "cuGraphLaunch", "cuGraphDestroy", "cuGraphExecDestroy",
)  # fmt: skip
"""What graphs need of a driver: those of CUDA 12 and newer have it."""


@cache
def library() -> ctypes.CDLL:
    """The driver's library, which pycuda has loaded."""
    return ctypes.CDLL(LIBRARY)


def _must(code: int) -> None:
    if code:
        text = ctypes.c_char_p()
        library().cuGetErrorString(code, ctypes.byref(text))
        raise RuntimeError(f"CUDA error: {(text.value or b'unknown').decode()}")


class Call(NamedTuple):
    """One launch: equal ones do the same."""

    function: int
    blocks: int
    threads: int
    data: bytes
    """The arguments, as a C struct."""
    places: tuple[int, ...]
    """Where in it each argument begins."""


class _KernelNode(ctypes.Structure):
    """CUDA_KERNEL_NODE_PARAMS_v2."""

    _fields_ = (
        ("function", ctypes.c_void_p),
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint),
        ("arguments", ctypes.c_void_p),
        ("extra", ctypes.c_void_p),
        ("kernel", ctypes.c_void_p),
        ("context", ctypes.c_void_p),
    )


class Module:
    """A cubin that the driver has loaded; unloaded when nothing refers to it any more.

    Raises:
        RuntimeError: the driver refuses it.
    """

    def __init__(self, context: Context, image: bytes) -> None:
        self.handle = ctypes.c_void_p()
        with context.entered():
            _must(library().cuModuleLoadData(ctypes.byref(self.handle), image))
        weakref.finalize(self, _unload, context, self.handle).atexit = False

    def function(self, name: str) -> int:
        """The driver's handle of a kernel."""
        found = ctypes.c_void_p()
        _must(library().cuModuleGetFunction(ctypes.byref(found), self.handle, name.encode()))
        return found.value or 0


def _unload(context: Context, handle: ctypes.c_void_p) -> None:
    try:
        check_process()
    except RuntimeError:  # a forked child has no GPU
        return
    with context.entered():
        library().cuModuleUnload(handle)


def launch(call: Call, stream: int) -> None:
    """Put a launch into a stream of the GPU that has been entered.

    Raises:
        RuntimeError: the driver's error.
    """
    data = ctypes.create_string_buffer(call.data, len(call.data))
    arguments = _pointers(data, call.places)
    _must(
        library().cuLaunchKernel(
            ctypes.c_void_p(call.function), call.blocks, 1, 1, call.threads, 1, 1, 0, ctypes.c_void_p(stream), arguments, None,
        )
    )  # fmt: skip


def _pointers(data: Any, places: tuple[int, ...]) -> Any:
    start = ctypes.addressof(data)
    return (ctypes.c_void_p * len(places))(*[start + place for place in places])


# --- graphs


@cache
def has_graphs() -> bool:
    """Whether the driver runs graphs whose arguments can be replaced."""
    return all(hasattr(library(), name) for name in GRAPH_CALLS)


class Graph:
    """Launches one after the other as one that the driver knows: run again, it is one call.

    Raises:
        RuntimeError: the driver refuses it.
    """

    def __init__(self, context: Context, calls: Sequence[Call]) -> None:
        self.calls = tuple(calls)
        """What it does now."""
        self._nodes: list[ctypes.c_void_p] = []
        graph, self._handle, driver = ctypes.c_void_p(), ctypes.c_void_p(), library()
        _must(driver.cuGraphCreate(ctypes.byref(graph), 0))
        try:
            for call in calls:
                node = ctypes.c_void_p()
                last = [each.value for each in self._nodes[-1:]]
                before = (ctypes.c_void_p * len(last))(*last)
                count = ctypes.c_size_t(len(before))
                _must(
                    driver.cuGraphAddKernelNode_v2(
                        ctypes.byref(node), graph, before, count, _described(call)
                    )
                )
                self._nodes.append(node)
            _must(
                driver.cuGraphInstantiateWithFlags(
                    ctypes.byref(self._handle), graph, ctypes.c_ulonglong(0)
                )
            )
        except RuntimeError:
            driver.cuGraphDestroy(graph)
            raise
        weakref.finalize(self, _destroy, context, graph, self._handle).atexit = False

    def change(self, calls: Sequence[Call]) -> None:
        """Let it do these, of the same kernels, from now on; what was launched before is not changed.

        Raises:
            RuntimeError: the driver's error.
        """
        for node, old, new in zip(self._nodes, self.calls, calls, strict=True):
            if old != new:
                _must(
                    library().cuGraphExecKernelNodeSetParams_v2(self._handle, node, _described(new))
                )
        self.calls = tuple(calls)

    def launch(self, stream: int) -> None:
        """Put it into a stream of the GPU that has been entered.

        Raises:
            RuntimeError: the driver's error.
        """
        _must(library().cuGraphLaunch(self._handle, ctypes.c_void_p(stream)))


def _described(call: Call) -> Any:
    """A launch as the driver reads it."""
    data = ctypes.create_string_buffer(call.data, len(call.data))
    arguments = _pointers(data, call.places)
    node = _KernelNode(
        call.function, (call.blocks, 1, 1), (call.threads, 1, 1), 0, ctypes.addressof(arguments)
    )
    node.kept = data, arguments
    return ctypes.byref(node)


def _destroy(context: Context, graph: ctypes.c_void_p, instance: ctypes.c_void_p) -> None:
    try:
        check_process()
    except RuntimeError:
        return
    with context.entered():
        library().cuGraphExecDestroy(instance)
        library().cuGraphDestroy(graph)
