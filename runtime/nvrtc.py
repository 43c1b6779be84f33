"""NVIDIA's runtime compiler: CUDA C to machine code (a cubin) in this process, without a driver.

In: CUDA C text, an architecture such as sm_80. Out: the bytes of a cubin, which are kept in the cache directory. The library is the one that the loader finds (LD_LIBRARY_PATH), or that of the package
nvidia-cuda-nvrtc; where there is none, nvcc of a CUDA toolkit takes its place, which takes ten times as long.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

from lazygrad import config

from . import cache as cache_directory
from . import profile

INSTALL = 'CUDA needs NVRTC to compile kernels: pip install "lazygrad[cuda]" brings it (the package nvidia-cuda-nvrtc)'
VERSIONS = ("13", "12")
"""Of libnvrtc, the ones that know every architecture and option that is used here."""
TOOLKIT = "/usr/local/cuda/bin/nvcc"


class CompilationError(RuntimeError):
    """A text that the compiler refuses; the message has its log."""


Compile = Callable[[str, str, tuple[str, ...]], bytes]
"""compile(text, architecture, options): a cubin."""


@cache
def compiler() -> Compile:
    """NVRTC, or nvcc; what the cache directory has of the same compiler is taken from there.

    Raises:
        RuntimeError: there is neither; the message says what to install.
    """
    library = _load()
    if library is not None:
        return kept(_file_of(library), partial(compile_with, library))
    nvcc = shutil.which("nvcc") or (TOOLKIT if os.access(TOOLKIT, os.X_OK) else None)
    if nvcc is None:
        raise RuntimeError(INSTALL)
    return kept(nvcc, partial(_compile_outside, nvcc))


def kept(program: str, build: Compile) -> Compile:
    """The compiler that stands in a file, with the cubins that it has made before, in this process or in others."""
    status = os.stat(os.path.realpath(program))
    own = f"{os.path.realpath(program)} {status.st_size} {status.st_mtime_ns}"

    def compile_once(text: str, arch: str, options: tuple[str, ...]) -> bytes:
        store = cache_directory.store() if config.active().unseen else None
        if store is None:
            return build(text, arch, options)
        parts = (own, arch, *options, text)
        name = f"{cache_directory.digest(b'cubin', *(part.encode() for part in parts))}.cubin"
        image = store.read(name)
        if image is None:
            image = build(text, arch, options)
            store.write(name, image)
        else:
            profile.instant("cubin from the cache directory", "cache", entry=name)
        return image

    return compile_once


class _Found(ctypes.Structure):
    """What dladdr says of an address."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def _file_of(library: ctypes.CDLL) -> str:
    """Where the loader has found a library."""
    found = _Found()
    address = ctypes.cast(library.nvrtcVersion, ctypes.c_void_p)
    ctypes.CDLL(None).dladdr(address, ctypes.byref(found))
    return os.fsdecode(found.file)


def ptx(text: str, arch: str, options: tuple[str, ...]) -> str:
    """The PTX of a text.

    Raises:
        RuntimeError: there is no NVRTC; the message says what to install.
    """
    library = _load()
    if library is None:
        raise RuntimeError(INSTALL)
    virtual = arch.replace("sm_", "compute_")
    return compile_with(library, text, virtual, options, "PTX").rstrip(b"\0").decode()


@cache
def _load() -> ctypes.CDLL | None:
    """The library, if there is one; what it loads by name when it compiles is loaded before it."""
    for version in VERSIONS:
        try:
            return ctypes.CDLL(f"libnvrtc.so.{version}")
        except OSError:
            pass
    return packaged()


def packaged() -> ctypes.CDLL | None:
    """The library of the package nvidia-cuda-nvrtc, if that is installed."""
    for folder in folders():
        for version in VERSIONS:
            path = folder / f"libnvrtc.so.{version}"
            if path.exists():
                for builtins in sorted(folder.glob(f"libnvrtc-builtins.so.{version}.*")):
                    ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
                return ctypes.CDLL(str(path))
    return None


def folders() -> Iterator[Path]:
    """Where packages of NVIDIA's keep their libraries."""
    found = importlib.util.find_spec("nvidia")
    for place in (found.submodule_search_locations or []) if found is not None else []:
        for name in ("cu13", "cuda_nvrtc"):
            yield Path(place) / name / "lib"


def compile_with(
    library: ctypes.CDLL, text: str, arch: str, options: tuple[str, ...], result: str = "CUBIN"
) -> bytes:
    """What a library makes of a text: a "CUBIN", or "PTX" for an architecture such as compute_80.

    Raises:
        CompilationError: it refuses the text; the message has its log.
    """
    program = ctypes.c_void_p()
    given = [f"--gpu-architecture={arch}".encode(), *(option.encode() for option in options)]
    arguments = (ctypes.c_char_p * len(given))(*given)
    _must(
        library,
        library.nvrtcCreateProgram(
            ctypes.byref(program), text.encode(), b"kernel.cu", 0, None, None
        ),
    )
    try:
        code = library.nvrtcCompileProgram(program, len(given), arguments)
        if code:
            log = _text(library, program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
            raise CompilationError(f"NVRTC refuses a kernel: {_name(library, code)}\n{log}\n{text}")
        return _text(library, program, result)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _text(library: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _must(library, getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    data = ctypes.create_string_buffer(size.value)
    _must(library, getattr(library, f"nvrtcGet{what}")(program, data))
    return data.raw


def _name(library: ctypes.CDLL, code: int) -> str:
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return str(library.nvrtcGetErrorString(code).decode())


def _must(library: ctypes.CDLL, code: int) -> None:
    if code:
        raise RuntimeError(f"NVRTC: {_name(library, code)}")


def _compile_outside(nvcc: str, text: str, arch: str, options: tuple[str, ...]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "kernel.cu"), Path(folder, "kernel.cubin")
        source.write_text(text)
        command = [nvcc, f"-arch={arch}", "-cubin", *options, "-o", str(result), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CompilationError(f"nvcc refuses a kernel:\n{done.stderr}\n{text}")
        return result.read_bytes()
