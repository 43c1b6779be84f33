"""What the code generator knows of the machine that it writes for: instruction set, vector width, cache sizes.

`host()` describes this machine; an instruction set below the machine's own may be asked for, to test the code that other
machines get.
"""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, cast

from lazygrad import config
from lazygrad.schedule import cost

if TYPE_CHECKING:
    from lazygrad.ir.dtype import DType

Level = Literal["native", "avx512", "avx2", "sse4.2", "neon"]

_SSE4 = "64bit cmov cx8 cx16 fxsr mmx popcnt sahf sse sse2 sse3 ssse3 sse4.1 sse4.2"
_AVX2 = f"{_SSE4} avx avx2 bmi bmi2 f16c fma lzcnt movbe xsave"
_AVX512 = f"{_AVX2} avx512f avx512bw avx512cd avx512dq avx512vl"
ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18
"""The system call that asks Linux for the matrix registers of AMX."""
LEVELS: dict[str, frozenset[str]] = {
    "avx512": frozenset(_AVX512.split()),
    "avx2": frozenset(_AVX2.split()),
    "sse4.2": frozenset(_SSE4.split()),
}
"""The features that each instruction set level keeps of the host's."""


CPUS = {"avx512": "skylake-avx512", "avx2": "haswell", "sse4.2": "nehalem"}
"""The processor that LLVM schedules code of a level for."""
DOTS = {
    "bfloat16": ("amx-bf16", "avx512bf16"),
    "float16": ("amx-fp16",),
    "byte": ("amx-int8", "avx512vnni"),
}
"""The features that compute dot products of these types, the fastest first."""


LINE = 64
"""The bytes of a line of the cache."""
SHARE = 4
"""A result is large from this part of the last cache on: other buffers want their share of it."""
SECOND = 2
"""Or where it is this many times the second cache: what one core gets of a last cache that many share is no quicker than memory."""
FEW = 4
"""What a kernel reads is little beside what it writes where it is this part of it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A processor. `features` are the names that LLVM has for what it can do; sizes are in bytes."""

    name: str
    cpu: str
    features: frozenset[str]
    vector_bytes: int
    level1_cache: int = 32 << 10
    level2_cache: int = 1 << 20
    level3_cache: int = 8 << 20
    language: Literal["llvm", "opencl", "cuda"] = "llvm"
    """What its kernels are written in."""
    claims_lines: bool = False
    """Whether its caches take a line that is written whole without reading it first, and are quicker than memory up to the last."""

    @property
    def machine(self) -> cost.Machine:
        """What placement knows of it."""
        return cost.PROCESSOR

    def lanes(self, dtype: DType) -> int:
        """How many elements of `dtype` one vector register holds; half floats are computed as float32."""
        size = 4 if dtype.kind == "float" and dtype.itemsize == 2 else dtype.itemsize
        return self.vector_bytes // size

    @property
    def triple(self) -> str:
        """What LLVM calls a machine of another architecture than this one; "" for this one's."""
        if self.language != "llvm" or self.name.partition("-")[0] == platform.machine():
            return ""
        return f"{self.name.partition('-')[0]}-unknown-linux-gnu"

    @property
    def accumulators(self) -> int:
        """How many running results may stay in vector registers beside what they are computed from: of 32 registers, or of 16."""
        many = self.vector_bytes >= 64 or self.name.startswith(("aarch64", "arm64"))
        return 16 if many else 12

    @property
    def shares(self) -> bool:
        """Whether groups of work-items have memory in common, through which they sort rows and share loops."""
        return False

    @property
    def fuses(self) -> bool:
        """Whether it has an instruction for a product and a sum that are rounded once; elsewhere that is a call."""
        if self.language != "llvm" or self.name.startswith(("aarch64", "arm64")):
            return True
        return not self.features.isdisjoint(("fma", "avx512f"))

    @property
    def converts_halves(self) -> bool:
        """Whether it has instructions between float16 and float32; every 64-bit ARM has."""
        return self.name.startswith(("aarch64", "arm64")) or not self.features.isdisjoint(
            ("f16c", "avx512f")
        )

    @property
    def streams(self) -> bool:
        """Whether stores can pass the caches by."""
        if self.language == "opencl":
            return self.name == "opencl-cpu"
        return self.language == "llvm" and self.name.startswith(("x86_64", "AMD64", "amd64"))

    def passes_by(self, nbytes: int, read: int | None = None) -> bool:
        """Whether results of so many bytes are written past the caches: nobody finds them there.

        `read` is how much their kernel reads, where that is known.
        """
        large = min(self.level3_cache // SHARE, SECOND * self.level2_cache)
        return self.streams and nbytes >= large and not self._keeps(nbytes, read)

    def _keeps(self, written: int, read: int | None) -> bool:
        """Whether results fill the caches sooner than memory: little is read beside them, or all of it has room."""
        if not self.claims_lines or read is None:
            return False
        alone = FEW * read <= written and FEW * SECOND * read <= self.level3_cache
        as_much = FEW * read <= (FEW + 1) * written
        return alone or (as_much and SECOND * (read + written) <= self.level3_cache)

    def dots(self, left: DType, right: DType) -> str:
        """The feature that has tiles of dot products of these types (ir/dots.py); "" where there is none."""
        kinds = {dtype.name if dtype.kind == "float" else "byte" for dtype in (left, right)}
        if self.language != "llvm" or len(kinds) > 1 or left.itemsize > 2:
            return ""
        for feature in DOTS.get(kinds.pop(), ()):
            needed = {feature, "amx-tile" if feature.startswith("amx") else "avx512bw"}
            if needed <= self.features:
                return feature
        return ""

    def feature_text(self) -> str:
        """LLVM's feature list: every known feature of the architecture, with + or -."""
        known = frozenset[str]() if self.triple else _host_features()
        listed = sorted(known | self.features)
        return ",".join(f"{'+' if name in self.features else '-'}{name}" for name in listed)


@cache
def host(level: Level | None = None) -> Target:
    """This machine, or what it would be with the instruction set `level` only; without one, what LAZYGRAD_ARCH says.

    Raises:
        RuntimeError: the machine does not have that instruction set.
    """
    if level is None:
        level = cast(Level, config.environment.arch)
    features = frozenset(_enabled_features())
    cpu = _cpu_name(features)
    if level == "neon" and not platform.machine().startswith(("aarch64", "arm64")):
        raise RuntimeError(f"this machine has no neon: it is a {cpu}")
    if level not in ("native", "neon"):
        wanted = LEVELS[level]
        telling = {"avx512": "avx512f", "avx2": "avx2", "sse4.2": "sse4.2"}[level]
        if telling not in features:
            raise RuntimeError(f"this machine has no {level}: it is a {cpu}")
        features &= wanted
        cpu = CPUS[level]
    first, second, third = _cache_sizes()
    return Target(
        f"{platform.machine()}-{level}",
        cpu,
        features,
        _vector_bytes(features),
        first,
        second,
        third,
        claims_lines=_host_name().startswith("znver"),
    )


def typical(level: Literal["avx512", "avx2", "sse4.2", "neon"]) -> Target:
    """A common processor with an instruction set, whatever this machine is: what text must not depend on it is for."""
    sizes = {"avx512": 64, "avx2": 32, "sse4.2": 16, "neon": 16}
    if level == "neon":
        name, cpu, features = "aarch64-neon", "generic", frozenset(("neon", "fp-armv8"))
    else:
        name, cpu, features = f"x86_64-{level}", CPUS[level], LEVELS[level]
    return Target(name, cpu, features, sizes[level], 48 << 10, 2 << 20, 32 << 20)


def _vector_bytes(features: frozenset[str]) -> int:
    if "avx512f" in features:
        return 64
    return 32 if "avx2" in features else 16


@cache
def _host_features() -> frozenset[str]:
    """The names of all features that LLVM reports on, whether the host has them or not."""
    import llvmlite.binding as llvm

    return frozenset(llvm.get_host_cpu_features())


@cache
def _enabled_features() -> frozenset[str]:
    import llvmlite.binding as llvm

    found = {name for name, enabled in llvm.get_host_cpu_features().items() if enabled}
    if not matrix_registers():
        found = {name for name in found if not name.startswith("amx")}
    return frozenset(found)


@cache
def matrix_registers() -> bool:
    """Whether this process may use the matrix registers of AMX: Linux gives them to those who ask, once for all their threads.

    Asked again, or in a child that was forked, the answer is the same.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    import ctypes

    system = ctypes.CDLL(None, use_errno=True).syscall
    return bool(system(ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA) == 0)


def _cpu_name(features: frozenset[str]) -> str:
    """LLVM's name of the host; a virtual machine may hide the model, then the features tell more."""
    name = _host_name()
    if name in ("rocketlake", "generic", "x86-64", "skylake-avx512", "icelake-server"):
        if "amx-tile" in features or "avx512fp16" in features:
            return "sapphirerapids"
        if "avx512vnni" in features:
            return "icelake-server"
    return name


@cache
def _host_name() -> str:
    """What LLVM takes the host for, whatever instruction set is asked for."""
    import llvmlite.binding as llvm

    return str(llvm.get_host_cpu_name())


@cache
def _cache_sizes() -> tuple[int, int, int]:
    """The data caches that one core sees, by level; common sizes where the system does not say."""
    sizes = {1: 32 << 10, 2: 1 << 20, 3: 8 << 20}
    folder = "/sys/devices/system/cpu/cpu0/cache"
    try:
        entries = sorted(os.listdir(folder))
    except OSError:
        entries = []
    for entry in entries:
        try:
            level, kind, size = (
                _read(f"{folder}/{entry}/{item}") for item in ("level", "type", "size")
            )
        except OSError:
            continue
        if kind != "Instruction" and size.endswith("K") and level in ("1", "2", "3"):
            sizes[int(level)] = int(size[:-1]) << 10
    return sizes[1], sizes[2], sizes[3]


def _read(path: str) -> str:
    with open(path) as file:
        return file.read().strip()
