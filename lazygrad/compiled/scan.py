"""What the code of a function says before it runs: the names it uses, and the side effects that can be seen in it.

In: Python functions. Out: `Reach`: every name in the code that a call can come through, and where it stands; the first side effect
that nothing but running the function would have (print, a global or nonlocal assigned, a clock, a random source of Python's).
Code of this package, of the standard library and of installed packages is not looked into.
"""

from __future__ import annotations

import builtins
import dis
import os
import sys
import sysconfig
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

REFUSED_BUILTINS = frozenset(
    (
        "print", "input", "open", "exec", "eval", "globals", "locals", "vars", "breakpoint", "setattr", "delattr", "getattr", "next",
        "__import__",
    )
)  # fmt: skip
"""Builtins that act on the outside, or that reach what no name in the code says."""
REFUSED_MODULES = frozenset(
    (
        "time",
        "random",
        "secrets",
        "uuid",
        "datetime",
        "logging",
        "subprocess",
        "socket",
        "threading",
    )
)
"""Modules whose functions give something else each time, or act on the outside."""
REFUSED_NAMES = frozenset(
    (
        "get_rng_state", "set_rng_state", "manual_seed", "initial_seed", "stdout", "stderr", "environ", "__dict__",
        "register_hook", "register_post_accumulate_grad_hook", "data_ptr",
    )
)  # fmt: skip
"""Attributes that read or change state which a trace does not follow."""
GENERATORS = 0x20 | 0x80 | 0x200
"""The flags of generators and coroutines."""

_OPAQUE = tuple(
    os.path.join(path, "")
    for path in {
        sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
)


def is_opaque(code: CodeType) -> bool:
    """Whether code belongs to this package, the standard library or an installed package."""
    name: str = code.co_filename
    return name.startswith((_HERE, "<frozen ", *_OPAQUE))


_HERE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")


def is_opaque_module(name: str | None) -> bool:
    """Whether a module is one that is not looked into."""
    if not name:
        return False
    if name.partition(".")[0] in ("lazygrad", "builtins") or name in sys.builtin_module_names:
        return True
    module = sys.modules.get(name)
    if module is None:
        return False
    file: str | None = getattr(module, "__file__", None)
    if file is None:
        return name != "__main__" and not hasattr(module, "__path__")
    return os.path.abspath(file).startswith((_HERE, *_OPAQUE))


class Code:
    """What was found in one code object and those inside of it."""

    __slots__ = ("globals", "lines", "names", "refusal")

    def __init__(self, code: CodeType) -> None:
        self.names: set[str] = set()
        self.globals: set[str] = set()
        self.lines: dict[str, str] = {}
        self.refusal = ""
        if code.co_flags & GENERATORS:
            self.refusal = f"is a generator or coroutine ({_place(code, code.co_firstlineno)})"
        for each, enclosing in _nested(code):
            self._scan(each, enclosing)

    def _scan(self, code: CodeType, enclosing: frozenset[str]) -> None:
        line = code.co_firstlineno
        self.names.update(code.co_names)
        for instruction in dis.get_instructions(code):
            if instruction.starts_line is not None:
                line = instruction.positions.lineno if instruction.positions else line  # type: ignore[assignment]
            name, operation = instruction.argval, instruction.opname
            if not isinstance(name, str):
                continue
            if operation in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_ATTR", "LOAD_METHOD"):
                self.lines.setdefault(name, _place(code, line))
            if operation in ("LOAD_GLOBAL", "LOAD_NAME"):
                self.globals.add(name)
            elif operation in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                self._refuse(f"assigns the global '{name}'", code, line)
            elif operation in ("STORE_DEREF", "DELETE_DEREF"):
                if name in code.co_freevars and name not in enclosing:
                    self._refuse(f"assigns the nonlocal '{name}'", code, line)
            if operation in ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR") and name in REFUSED_NAMES:
                self._refuse(f"uses '{name}'", code, line)
            if operation == "IMPORT_NAME":
                if name.partition(".")[0] in REFUSED_MODULES or not is_opaque_module(name):
                    self._refuse(f"imports '{name}'", code, line)

    def _refuse(self, what: str, code: CodeType, line: int) -> None:
        if not self.refusal:
            self.refusal = f"{what} ({_place(code, line)})"


def _nested(code: CodeType) -> Iterator[tuple[CodeType, frozenset[str]]]:
    """A code object and all inside of it, each with the variables of those around it."""
    stack: list[tuple[CodeType, frozenset[str]]] = [(code, frozenset())]
    while stack:
        each, enclosing = stack.pop()
        yield each, enclosing
        inner = enclosing | frozenset(each.co_cellvars)
        stack.extend([(c, inner) for c in each.co_consts if isinstance(c, CodeType)])


def _place(code: CodeType, line: int) -> str:
    return f"{os.path.basename(code.co_filename)}:{line}"


class Reach:
    """The code that a call can come through, as far as it is known."""

    def __init__(self) -> None:
        self.recursive = False
        """Whether the function can call itself."""
        self.lifts = True
        """Whether numbers may be lifted: not where the code looks at types, which it does without asking the number."""
        self.names: set[str] = set()
        """Every name in it: which attributes of objects matter."""
        self.lines: dict[str, str] = {}
        """Where each name stands first."""
        self.functions: dict[CodeType, Code] = {}
        self.users: dict[tuple[int, str], set[CodeType]] = {}
        """Which functions read a global, by the identity of their globals and its name; or a cell, by its identity and ""."""

    def size(self) -> tuple[int, ...]:
        """How much is known: it only grows."""
        users = sum(map(len, self.users.values()))
        return len(self.names), len(self.users), users, self.recursive, self.lifts

    def add(self, function: FunctionType) -> Code:
        """Take a function in.

        Raises:
            Refused: it has a side effect that can be seen.
        """
        code = function.__code__
        found = self.functions.get(code)
        if found is None:
            found = self.functions[code] = Code(code)
            self.names |= found.names
            for name, place in found.lines.items():
                self.lines.setdefault(name, place)
        if "type" in found.globals:
            self.lifts = False
        for name in found.globals:
            self.users.setdefault((id(function.__globals__), name), set()).add(code)
        for cell in function.__closure__ or ():
            self.users.setdefault((id(cell), ""), set()).add(code)
        if found.refusal:
            raise Refused(f"{function.__qualname__} {found.refusal}", lasting=True)
        for name in found.globals & REFUSED_BUILTINS:
            if name not in function.__globals__:
                place = found.lines.get(name, "")
                raise Refused(f"{function.__qualname__} calls {name} ({place})", lasting=True)
        return found


class Refused(Exception):
    """The function, or this call of it, cannot be compiled. `lasting`: nor can any other call."""

    def __init__(self, why: str, lasting: bool = False) -> None:
        super().__init__(why)
        self.lasting = lasting


class AsQuick(Refused):
    """The function is as quick as it is written: it is left so, and nobody is warned."""

    def __init__(self, why: str) -> None:
        super().__init__(why, lasting=True)


def refused_source(value: Any) -> bool:
    """Whether a callable or module from outside gives something else each time, or acts on the outside."""
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    if isinstance(name, str) and name.partition(".")[0] in REFUSED_MODULES:
        return True
    if isinstance(name, str) and name.startswith("numpy.random"):
        return True
    owner = getattr(value, "__self__", None)
    return not isinstance(value, ModuleType) and not (
        owner is None or isinstance(owner, (ModuleType, type)) or owner is builtins
    )
