"""Writes what type checkers and editors read of operators that are registered at run time: `python -m tests.stubs`.

In: the tables of the registry. Out: lazygrad/signatures/*.pyi, with a line for each function and method: names, defaults, and those types
that mean the same to every caller. tests/packaging/test_stubs.py compares them with the tables.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lazygrad.functional.legacy import CLASSES
from lazygrad.functional.registry import (
    FUNCTIONS,
    LINALG_FUNCTIONS,
    METHODS,
    NN_FUNCTIONS,
    OPERATORS,
    SPECIAL_FUNCTIONS,
)
from lazygrad.nn import functional

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "lazygrad" / "signatures"

KNOWN = {"Tensor": "Tensor", "Tensor | None": "Tensor | None", "DType | None": "DType | None"}
"""Types of parameters that stay; any other is told too narrowly for callers, or by names of our own."""
RETURNED = {
    **KNOWN,
    "Outcome": "Tensor",
    "bool": "_builtins.bool",
    "int": "_builtins.int",
    "float": "_builtins.float",
    "str": "str",
    "None": "None",
    "list[Tensor]": "list[Tensor]",
    "tuple[Tensor, ...]": "tuple[Tensor, ...]",
    "tuple[Tensor, Tensor]": "tuple[Tensor, Tensor]",
}

HEAD = '''"""{what} Written by `python -m tests.stubs`, for type checkers and editors."""

import builtins as _builtins
from typing import Any

from ..ir.dtype import DType
from ..tensor import Tensor
'''


def parameter(given: inspect.Parameter) -> str:
    """One parameter as text: the name, a type, and the default where it is a plain value."""
    text = given.name
    if given.kind is given.VAR_POSITIONAL:
        return f"*{text}: Any"
    if given.kind is given.VAR_KEYWORD:
        return f"**{text}: Any"
    annotation = given.annotation if isinstance(given.annotation, str) else "Any"
    text += f": {KNOWN.get(annotation, 'Any')}"
    if given.default is given.empty:
        return text
    plain = given.default is None or type(given.default) in (bool, int, str)
    if type(given.default) is float:
        plain = math.isfinite(given.default)
    return f"{text} = {given.default!r}" if plain else f"{text} = ..."


def signature(name: str, run: Callable[..., Any], own: bool) -> str:
    """A function, or with `own` a method, as one statement."""
    base = OPERATORS.get(run.__name__.removesuffix("_")) if run.__name__.endswith("_") else None
    in_place = base is not None and base.builder is not None and not name.startswith("__")
    found = inspect.signature(base.function if in_place and base is not None else run)
    parameters = list(found.parameters.values())
    if "out" not in found.parameters and _takes_out(run) and not in_place:
        last = next(
            (i for i, p in enumerate(parameters) if p.kind is p.VAR_KEYWORD), len(parameters)
        )
        parameters.insert(
            last,
            inspect.Parameter(
                "out", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="Any"
            ),
        )
    parts: list[str] = []
    star = False
    for position, each in enumerate(parameters):
        if own and not position:
            parts.append("self")
            continue
        if each.kind is each.VAR_POSITIONAL:
            star = True
        if each.kind is each.KEYWORD_ONLY and not star:
            parts.append("*")
            star = True
        parts.append(parameter(each))
        if each.kind is each.POSITIONAL_ONLY and (
            position + 1 == len(parameters) or parameters[position + 1].kind is not each.kind
        ):
            parts.append("/")
    annotation = found.return_annotation
    returned = RETURNED.get(annotation, "Any") if isinstance(annotation, str) else "Any"
    start, end = f"def {name}(", f") -> {returned}: ..."
    line = start + ", ".join(parts) + end
    return line


def _takes_out(run: Callable[..., Any]) -> bool:
    """Whether the registry added an out= that the wrapped function does not show."""
    while hasattr(run, "__wrapped__"):
        if id(run) in BUILT or "out" in run.__code__.co_varnames:
            return True
        run = run.__wrapped__
    return False


BUILT = {id(each.function) for each in OPERATORS.values() if each.builder is not None}
"""The functions of operators in the form that follows from a node."""


def defined(path: str, name: str) -> set[str]:
    """The names that a class of our sources defines itself."""
    tree = ast.parse((ROOT / path).read_text())
    (found,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    return {
        getattr(inner, "name", "") or getattr(getattr(inner, "target", None), "id", "")
        for inner in ast.walk(found)
        if isinstance(inner, ast.FunctionDef)
        or (isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name))
    }


def functions(what: str, table: Mapping[str, Callable[..., Any]], without: set[str]) -> str:
    """The stub of a module."""
    lines = [HEAD.format(what=what)]
    lines += [f"{name}: Any" for name in sorted(without)]
    lines += [signature(name, table[name], False) for name in sorted(table) if name not in without]
    return "\n".join(lines) + "\n"


def methods() -> str:
    """The stub of Tensor's methods."""
    without = defined("lazygrad/tensor.py", "Tensor") | {
        "__repr__",
        "__str__",
        "__format__",
    }  # as object has them
    lines = [HEAD.format(what="The methods that operators give Tensor."), "class Methods:"]
    for name in sorted(METHODS.keys() - without):
        run: Any = METHODS[name]
        if isinstance(run, property):
            kind = {"T": "Tensor", "H": "Tensor", "mT": "Tensor", "mH": "Tensor"}.get(name, "Any")
            lines += ["    @property", f"    def {name}(self) -> {kind}: ..."]
        else:
            lines.append("    " + signature(name, run, True))
    return "\n".join(lines) + "\n"


def stubs() -> dict[str, str]:
    """Every file's text by its name."""
    return {
        "__init__.pyi": '"""Signatures of what is registered at run time. Written by `python -m tests.stubs`."""\n',
        "methods.pyi": methods(),
        "functions.pyi": functions("The functions of the package.", FUNCTIONS, {*CLASSES}),
        "nn_functional.pyi": functions(
            "The functions of nn.functional.",
            {n: getattr(functional, n) for n in NN_FUNCTIONS},
            set(),
        ),
        "linalg.pyi": functions("The functions of linalg.", LINALG_FUNCTIONS, set()),
        "special.pyi": functions("The functions of special.", SPECIAL_FUNCTIONS, set()),
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, text in stubs().items():
        (FOLDER / file).write_text(text)
