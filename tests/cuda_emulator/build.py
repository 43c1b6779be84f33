"""Building the emulator's two libraries, and pycuda against them.

In: the C++ of source/ and shim/, g++, the CUDA toolkit's headers. Out: a directory with libcuda.so.1, libnvrtc.so.13 and the header that kernels
are compiled behind, made once for each state of the sources; compiled kernels are kept beside them. And a wheel of pycuda, whose source package
is built without NVIDIA's driver: the stand-in is what it is linked with.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).parent
DRIVER = ("memory", "access", "module", "threads", "launch", "driver", "streams", "unsupported")
PYCUDA = "pycuda==2026.1"


class Unavailable(RuntimeError):
    """What is missing here to build the emulator."""


def toolkit() -> Path:
    """The CUDA toolkit: CUDA_HOME, CUDA_PATH, beside nvcc, or /usr/local/cuda.

    Raises:
        Unavailable: there is none with headers, or no g++.
    """
    if not shutil.which("g++"):
        raise Unavailable("no g++")
    nvcc = shutil.which("nvcc")
    beside = [str(Path(os.path.realpath(nvcc)).parents[1])] if nvcc else []
    named = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    for place in [*named, *beside, "/usr/local/cuda"]:
        if place and (Path(place) / "include" / "cuda.h").exists():
            return Path(place)
    raise Unavailable("no CUDA toolkit: cuda.h is neither in CUDA_HOME nor in /usr/local/cuda")


def run(*words: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run a command; what it printed is the error if it fails."""
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{words[0]} failed:\n{done.stdout[-4000:]}{done.stderr[-8000:]}")


def library_directory(name: str) -> str:
    """Where g++ would look for a library of the system."""
    answer = subprocess.run(
        ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=False
    )
    return os.path.realpath(answer.stdout.strip())


def build() -> Path:
    """The directory of the emulator's libraries, built if they are not there yet.

    Raises:
        Unavailable: no g++ or no CUDA toolkit.
    """
    headers = toolkit() / "include"
    sources = sorted([*HERE.glob("source/*.?pp"), *HERE.glob("shim/*.hpp"), Path(__file__)])
    compiler = subprocess.run(
        ["g++", "--version"], capture_output=True, text=True, check=False
    ).stdout
    key = hashlib.sha256(f"{compiler}{headers.resolve()}".encode())
    for source in sources:
        key.update(source.read_bytes())
    caches = os.environ.get("CUDA_EMULATOR_CACHE") or os.path.expanduser(
        os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "lazygrad-cuda-emulator")
    )
    place = Path(caches) / key.hexdigest()[:16]
    if (place / "libnvrtc.so.13").exists():
        return place
    Path(caches).mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=caches))
    try:
        compile_libraries(work, headers, key.hexdigest())
        with suppress(OSError):  # another process was first
            work.rename(place)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return place


def compile_libraries(work: Path, headers: Path, key: str) -> None:
    """libcuda.so.1 and libnvrtc.so.13 of a directory, with the header beside them."""
    common = ["g++", "-std=c++17", "-O2", "-fPIC", "-Wall", "-Wextra", f"-I{headers}", f"-I{HERE}"]
    common.append("-pthread")

    def one(name: str) -> Path:
        run(*common, "-c", HERE / "source" / f"{name}.cpp", "-o", work / f"{name}.o")
        return work / f"{name}.o"

    with ThreadPoolExecutor() as pool:
        objects = list(pool.map(one, DRIVER))
    shared = [*common, "-shared"]
    run(*shared, "-Wl,-soname,libcuda.so.1", "-o", work / "libcuda.so.1", *objects, "-ldl")
    (work / "libcuda.so").symlink_to("libcuda.so.1")
    for each in objects:
        each.unlink()
    shutil.copytree(HERE / "shim", work / "shim")
    linker = "ld.gold" if shutil.which("ld.gold") else "ld"
    system = {
        "TOOLKIT_INCLUDE": str(headers),
        "BUILD_KEY": key,
        "LINKER": linker,
        "LIBRARIES": str(Path(library_directory("libm.so.6")).parent),
        "LIBM": library_directory("libm.so.6"),
        "LIBC": library_directory("libc.so.6"),
        "LIBGCC": library_directory("libgcc.a"),
    }
    defined = [f'-D{name}="{value}"' for name, value in system.items()]
    run(*shared, *defined, "-Wl,-soname,libnvrtc.so.13", "-o", work / "libnvrtc.so.13",
        HERE / "source" / "nvrtc.cpp", "-ldl")  # fmt: skip


def environment(place: Path) -> dict[str, str]:
    """The environment of a program that is to find the emulator before any driver."""
    found = os.environ.get("LD_LIBRARY_PATH")
    path = f"{place}{os.pathsep}{found}" if found else str(place)
    return {**os.environ, "LD_LIBRARY_PATH": path, "CUDA_EMULATOR": str(place)}


def wheel(python: str, target: Path) -> Path:
    """Build a wheel of pycuda for that Python: without curand, linked with the stand-in, compiled quickly rather than well.

    Raises:
        Unavailable: no g++ or no CUDA toolkit.
    """
    place, root = build(), toolkit()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        run(
            python,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--no-binary",
            "pycuda",
            "-d",
            work,
            PYCUDA,
        )
        (packed,) = Path(work).glob("*.tar.gz")
        with tarfile.open(packed) as archive:
            archive.extractall(work, filter="data")
        (source,) = (each.parent for each in Path(work).glob("*/setup.py"))
        settings = {
            "CUDA_ROOT": str(root),
            "CUDA_ENABLE_CURAND": False,
            "CUDADRV_LIB_DIR": [str(place)],
            "CXXFLAGS": ["-O0", "-w"],
            "LDFLAGS": ["-Wl,--no-as-needed"],
        }
        lines = [f"{name} = {value!r}\n" for name, value in settings.items()]
        (source / "siteconf.py").write_text("".join(lines))
        run(python, "-m", "pip", "wheel", "--no-deps", "-w", target, source)
    return max(target.glob("pycuda-*.whl"), key=lambda path: path.stat().st_mtime)
