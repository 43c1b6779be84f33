"""Every switch of lazygrad: typed, documented, read from the environment once, when this module is imported.

In: environment variables. Out: `current`, the settings that hold where it is read. `override` changes settings for a block of
code, in the thread (and its context) that enters it; other threads keep what the environment said.

    from lazygrad import config

    if config.current.verify: ...
    with config.override(dump={"kernel"}, device="interpret"): ...
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import cast

DEVICES = ("cpu", "interpret", "opencl", "cuda")
"""What DEVICE may name; the last two take an index too, as in cuda:1."""
DUMPS = ("graph", "schedule", "kernel", "source", "asm")
ARCHITECTURES = ("native", "avx512", "avx2", "sse4.2")
EXPLANATIONS = ("recompile", "fusion", "realize")


@dataclass(frozen=True, slots=True)
class Settings:
    """The value of every switch. The comment of each names its environment variable."""

    # DEVICE: the backend. It also decides what "cpu" means in a creation call, so that an unmodified script runs there.
    device: str = "cpu"
    # LAZYGRAD_DUMP: which forms of each compiled program to print, any of DUMPS, or "all".
    dump: frozenset[str] = frozenset()
    # LAZYGRAD_DUMP_PASSES: print the IR after each pass that changed it ("changed"), after each ("all"), or after one by name.
    dump_passes: str = ""
    # LAZYGRAD_DUMP_FILTER: dump only kernels that match, as in "softmax*@train.py:7"; either side may be left out.
    dump_filter: str = ""
    # LAZYGRAD_DUMP_TO: a directory for dumps; without it they go to standard error.
    dump_to: str = ""
    # LAZYGRAD_DUMP_DIFF: dump passes as differences from the pass before.
    dump_diff: bool = False
    # LAZYGRAD_EXPLAIN: why did this compile, not fuse, or run now; any of EXPLANATIONS, or "all".
    explain: frozenset[str] = frozenset()
    # LAZYGRAD_VERIFY: compare the result of every kernel with the interpreter's.
    verify: bool = False
    # LAZYGRAD_DEBUG_NANS: stop at the operation that made a NaN, and name its line.
    debug_nans: bool = False
    # LAZYGRAD_PROFILE: the file for a trace that Perfetto opens.
    profile: str = ""
    # LAZYGRAD_SEARCH: how many schedules to try for each kernel; 0 takes the cost model's choice.
    search: int = 0
    # LAZYGRAD_NUM_THREADS: threads of the CPU device; 0 means one for each processor that this process may use.
    num_threads: int = 0
    # LAZYGRAD_ARCH: the instruction set that the CPU device writes for, one of ARCHITECTURES: "avx2" on a machine that has more, to see the
    # code that other machines get. It holds for the whole process, and cannot be overridden.
    arch: str = "native"
    # LAZYGRAD_CACHE_DIR: where compiled programs are kept between runs; empty or 0 means nowhere. Not set, it is lazygrad/ in the
    # user's cache directory.
    cache_dir: str | None = None
    # LAZYGRAD_CACHE_LIMIT: how many megabytes are kept there; 0 means none.
    cache_limit: int = 1024
    # LAZYGRAD_POOL: 0 asks a GPU's driver for each buffer, in its exact size, and gives it back at once: what checks accesses sees
    # where a tensor ends.
    pool: bool = True
    unseen: bool = field(init=False, compare=False, repr=False, default=True)
    """Whether nobody looks at the compiler: what it made before may be taken from where it is kept."""
    plain: bool = field(init=False, compare=False, repr=False, default=True)
    """Whether nobody watches what runs: no switch is on that a known program would have to be looked at again for."""

    def __post_init__(self) -> None:
        watched = self.dump or self.dump_passes or self.explain or self.verify or self.debug_nans
        object.__setattr__(self, "unseen", not watched)
        object.__setattr__(self, "plain", not (watched or self.profile))


# --- parsing: each takes a variable's text, or the value given to `override`


def _device(value: object) -> str:
    name = str(value).strip().lower()
    kind, _, index = name.partition(":")
    numbers = index.split(":")
    several = {"opencl": 2, "cuda": 1}.get(kind, 0)
    indexed = len(numbers) <= several and all(number.isdecimal() for number in numbers)
    if kind not in DEVICES or (name != kind and not indexed):
        raise RuntimeError(
            f"Expected one of {', '.join(DEVICES)} device type at start of device string: {value}"
        )
    return name


def _subset_of(allowed: tuple[str, ...]) -> Callable[[object], frozenset[str]]:
    def parse(value: object) -> frozenset[str]:
        if isinstance(value, str):
            value = value.split(",")
        if not isinstance(value, Iterable):
            raise ValueError(f"expected some of {', '.join(allowed)}, or all; got {value!r}")
        names = {str(name).strip().lower() for name in value} - {"", "0"}
        if "all" in names:
            return frozenset(allowed)
        if unknown := sorted(names.difference(allowed)):
            raise ValueError(
                f"expected some of {', '.join(allowed)}, or all; got {', '.join(unknown)}"
            )
        return frozenset(names)

    return parse


def _flag(value: object) -> bool:
    text = str(value).strip().lower()
    if text in ("1", "true", "yes", "on"):
        return True
    if text in ("", "0", "false", "no", "off"):
        return False
    raise ValueError(f"expected 1 or 0; got {value!r}")


def _count(value: object) -> int:
    text = str(value).strip()
    if not text.isdecimal():
        raise ValueError(f"expected a whole number, 0 or more; got {value!r}")
    return int(text)


def _architecture(value: object) -> str:
    name = str(value).strip().lower()
    if name not in ARCHITECTURES:
        raise ValueError(f"expected one of {', '.join(ARCHITECTURES)}; got {value!r}")
    return name


def _folder(value: object) -> str:
    text = str(value)
    return "" if text == "0" else text


_VARIABLES: Mapping[str, tuple[str, Callable[[object], object]]] = {
    "device": ("DEVICE", _device),
    "dump": ("LAZYGRAD_DUMP", _subset_of(DUMPS)),
    "dump_passes": ("LAZYGRAD_DUMP_PASSES", str),
    "dump_filter": ("LAZYGRAD_DUMP_FILTER", str),
    "dump_to": ("LAZYGRAD_DUMP_TO", str),
    "dump_diff": ("LAZYGRAD_DUMP_DIFF", _flag),
    "explain": ("LAZYGRAD_EXPLAIN", _subset_of(EXPLANATIONS)),
    "verify": ("LAZYGRAD_VERIFY", _flag),
    "debug_nans": ("LAZYGRAD_DEBUG_NANS", _flag),
    "profile": ("LAZYGRAD_PROFILE", str),
    "search": ("LAZYGRAD_SEARCH", _count),
    "num_threads": ("LAZYGRAD_NUM_THREADS", _count),
    "arch": ("LAZYGRAD_ARCH", _architecture),
    "cache_dir": ("LAZYGRAD_CACHE_DIR", _folder),
    "cache_limit": ("LAZYGRAD_CACHE_LIMIT", _count),
    "pool": ("LAZYGRAD_POOL", _flag),
}
"""Each field's environment variable and how its value is read."""


def read(environment: Mapping[str, str]) -> Settings:
    """The settings that an environment asks for. A variable that is empty counts as not set; LAZYGRAD_CACHE_DIR is then off.

    Raises:
        RuntimeError: DEVICE names no device.
        ValueError: another variable has a value that it cannot have.
    """
    values: dict[str, object] = {}
    for name, (variable, parse) in _VARIABLES.items():
        text = environment.get(variable, "")
        if not text and (name != "cache_dir" or variable not in environment):
            continue
        try:
            values[name] = parse(text)
        except (RuntimeError, ValueError) as error:
            raise type(error)(f"{variable}={text}: {error}") from None
    known = {variable for variable, _ in _VARIABLES.values()}
    for variable in environment:
        if variable.startswith("LAZYGRAD_") and variable not in known:
            warnings.warn(
                f"{variable} is no switch of lazygrad; there are {', '.join(sorted(known))}",
                stacklevel=2,
            )
    return Settings(**values)  # type: ignore[arg-type]


environment: Settings = read(os.environ)
"""What the environment says."""
_ACTIVE: ContextVar[Settings] = ContextVar("lazygrad settings", default=environment)

active: Callable[[], Settings] = _ACTIVE.get
"""active() is the settings that hold here, as one object: for code that runs for every operation, or reads several switches."""


class _Current:
    """Reads each attribute from the settings that hold where it is read."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(active())


def _reader(name: str) -> property:
    get = attrgetter(name)

    def refuse(self: _Current, value: object) -> None:
        raise AttributeError(f"settings are changed by config.override({name}=...)")

    return property(
        lambda self: get(active()), refuse, doc=f"config.override({name}=...) changes it."
    )


for _field in fields(Settings):
    setattr(_Current, _field.name, _reader(_field.name))

current: Settings = cast(Settings, _Current())
"""The settings that hold where they are read: config.current.verify."""


@contextmanager
def override(**changes: object) -> Iterator[Settings]:
    """Change some switches inside a `with` block, in this thread; values as in Settings, or as the variable would say them.

    Raises:
        TypeError: there is no such switch; the message lists those there are.
        RuntimeError, ValueError: a value that the switch cannot have.
    """
    values: dict[str, object] = {}
    for name, value in changes.items():
        if name not in _VARIABLES:
            names = ", ".join(_VARIABLES)
            raise TypeError(f"override: no switch is called {name!r}; there are {names}")
        try:
            values[name] = _VARIABLES[name][1](value)
            if name == "arch" and values[name] != environment.arch:
                raise ValueError("it holds for the whole process: set LAZYGRAD_ARCH")
        except (RuntimeError, ValueError) as error:
            raise type(error)(f"override({name}={value!r}): {error}") from None
    settings = replace(_ACTIVE.get(), **values)  # type: ignore[arg-type]
    token = _ACTIVE.set(settings)
    try:
        yield settings
    finally:
        _ACTIVE.reset(token)


def cache_directory() -> str:
    """Where compiled programs are kept between runs, or "" for nowhere."""
    if current.cache_dir is not None:
        return os.path.abspath(current.cache_dir) if current.cache_dir else ""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # as its specification says
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "lazygrad") if os.path.isabs(base) else ""
