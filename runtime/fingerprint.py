"""What a compiled program depends on beside the graph: the compiler's sources, Python, LLVM, the processor, the settings.

In: the files of this package, and what the system says of its processor. Out: `program()`, bytes that are equal in two
processes only if the same graph becomes the same code in both. It is computed once, without importing the compiler or LLVM.

The sources count by content. Reading them all takes longer than compiling nothing may take, so the digest of their contents is
itself an entry of the cache, by their names, sizes, and times. A process whose sources are younger than itself may run other code
than stands in the files: it leaves the cache alone.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from functools import cache
from importlib.util import find_spec

from lazygrad import config

from .cache import Store, digest
from .schedules import mark

STARTED = time.time()
"""When this process began to import the package."""
SETTLED = 2.0
"""Seconds after which a file that is changed again has another time, whatever the file system."""
TELLING = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU implementer", "CPU architecture", "CPU variant", "CPU part")  # fmt: skip
"""The lines of /proc/cpuinfo that say what a processor can do."""


class Unsettled(Exception):
    """The sources may not be those that run."""


def program(store: Store) -> bytes:
    """All of it, for the settings and schedules that hold here.

    Raises:
        Unsettled: there is no cache for this process.
    """
    known = machine(store)
    return b"%s search=%d %s" % (known, config.active().search, mark(store, known))


def machine(store: Store) -> bytes:
    """The sources and the processor alone.

    Raises:
        Unsettled: there is no cache for this process.
    """
    return f"{sources(store)} {digest(environment())}".encode()


def known_program(store: Store) -> bytes | None:
    """The same, or None where there is no cache for this process."""
    try:
        return program(store)
    except Unsettled:
        return None


# --- the sources


_contents: dict[str, str] = {}
"""The digest of the sources of this process, by the listing it was made from."""
_modules = 0
"""How many modules there were when the listing was last made: while there are no more, what runs is what was listed."""


def sources(store: Store) -> str:
    """A digest of the contents of the package's sources."""
    global _modules
    if _modules == len(sys.modules) and _contents:
        return next(iter(_contents.values()))
    listing, newest = _listing()
    if newest > STARTED - SETTLED:
        raise Unsettled
    found = _contents.get(listing)
    if found is None:
        if _contents:
            raise Unsettled  # they changed while the process ran
        name = f"{listing}.sources"
        kept = store.read(name)
        if kept is not None:
            found = kept.decode()
        else:
            found = _read_all()
            store.write(name, found.encode())
        _contents[listing] = found
    _modules = len(sys.modules)
    return found


def _files() -> list[os.DirEntry[str]]:
    """The source files below the package, links followed."""
    found: list[os.DirEntry[str]] = []
    folders = [os.path.dirname(os.path.abspath(config.__file__))]
    while folders:
        with os.scandir(folders.pop()) as items:
            for item in items:
                if item.name.endswith(".py"):
                    found.append(item)
                elif "." not in item.name and item.name != "__pycache__" and item.is_dir():
                    folders.append(item.path)
    found.sort(key=_path)
    return found


def _path(item: os.DirEntry[str]) -> str:
    return item.path


def _listing() -> tuple[str, float]:
    """A digest of the names, sizes and times of the sources, and when the newest was changed."""
    lines: list[str] = []
    newest = 0.0
    try:
        for item in _files():
            status = item.stat()
            newest = max(newest, status.st_mtime, status.st_ctime)
            lines.append(
                f"{item.path} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
            )
    except OSError:
        raise Unsettled from None
    if not lines:
        raise Unsettled
    return digest("\n".join(lines).encode()), newest


def _read_all() -> str:
    """A digest of what stands in the sources."""
    start = len(os.path.dirname(os.path.abspath(config.__file__)))
    parts: list[bytes] = []
    try:
        for item in _files():
            parts.append(item.path[start:].encode())
            with open(item.path, "rb") as file:
                parts.append(file.read())
    except OSError:
        raise Unsettled from None
    return digest(*parts)


# --- the rest


@cache
def environment() -> bytes:
    """Python, LLVM and the processor.

    Raises:
        Unsettled: one of them is not known.
    """
    python = f"{sys.implementation.name} {sys.hexversion:x} {sys.platform} {platform.machine()}"
    return f"{python}\n{_llvm()}\n{processor()}\n{config.environment.arch}".encode()


def _llvm() -> str:
    """The version of llvmlite and the size of its library, which has LLVM in it, without importing it."""
    spec = find_spec("llvmlite")
    if spec is None or not spec.submodule_search_locations:
        raise Unsettled
    folder = spec.submodule_search_locations[0]
    try:
        with open(os.path.join(folder, "_version.py")) as file:
            version = file.read()
        with os.scandir(os.path.join(folder, "binding")) as items:
            sizes = [f"{i.name} {i.stat().st_size}" for i in items if "llvmlite" in i.name]
    except OSError:
        raise Unsettled from None
    return "\n".join([version, *sorted(sizes)])


def processor() -> str:
    """What the system says of the processor: its model and features, the sizes of its caches, and whether we may use all of it."""
    from lazygrad.codegen.target import matrix_registers

    try:
        text = _start_of("/proc/cpuinfo")
    except OSError:
        from lazygrad.codegen.target import host

        return repr(sorted(host().features)) + repr(host())
    first = text.partition("\n\n")[0].splitlines()
    lines = [line for line in first if line.partition(":")[0].strip() in TELLING]
    lines.append(f"matrix registers: {matrix_registers()}")  # also asks for them: kernels use them
    folder = "/sys/devices/system/cpu/cpu0/cache"
    with contextlib.suppress(OSError):
        for index in range(8):
            for item in ("level", "type", "size"):
                lines.append(_start_of(f"{folder}/index{index}/{item}").strip())
    return "\n".join(lines)


def _start_of(path: str) -> str:
    with open(path, "rb", buffering=0) as file:
        return (file.read(16384) or b"").decode(errors="replace")
