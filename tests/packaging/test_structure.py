"""The house stays as it is drawn: imports point one way, each module says what it is for, and the docs name files that exist."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Which room the modules at the top of lazygrad/ belong to; a package is a room of its own.
ROOMS = {
    **dict.fromkeys(("config", "size"), "base"),
    "site": "ir",
    **dict.fromkeys(
        (
            "tensor",
            "storage",
            "views",
            "history",
            "reading",
            "results",
            "recipes",
            "dispatch",
            "turns",
        ),
        "tensor",
    ),
    **dict.fromkeys(("printing", "random"), "functional"),
    **dict.fromkeys(
        (
            "__init__",
            "array_api",
            "backends",
            "cache",
            "compiler",
            "cuda",
            "inspection",
            "linalg",
            "opencl",
            "special",
            "testing",
        ),
        "public",
    ),
}
# What each room may import, besides itself. An import inside a function counts; one under TYPE_CHECKING does not.
COMPILER = {"base", "ir", "gradient", "composites", "schedule", "codegen"}
OPERATORS = {*COMPILER, "runtime", "tensor", "autograd", "functional"}
ALLOWED: dict[str, set[str]] = {
    "base": set(),
    "ir": {"base"},
    "gradient": {"base", "ir"},
    "composites": {"base", "ir", "gradient"},
    "schedule": {"base", "ir", "gradient", "composites"},
    "codegen": {"base", "ir", "schedule"},
    "runtime": COMPILER,
    "tensor": {*COMPILER, "runtime"},
    "functional": {*COMPILER, "runtime", "tensor"},
    "autograd": {*COMPILER, "runtime", "tensor", "functional"},
    "nn": OPERATORS,
    "optim": {*OPERATORS, "nn"},
    "func": {*OPERATORS, "nn"},
    "utils": {*OPERATORS, "nn", "func"},
    "compiled": {*OPERATORS, "nn", "optim"},
    "serialization": {*OPERATORS, "nn"},
    "amp": OPERATORS,
    "distributions": OPERATORS,
    "signal": OPERATORS,
    "onnx": {*OPERATORS, "nn"},
    "public": {*OPERATORS, "nn", "optim", "func", "compiled", "serialization", "amp"},
    "__main__": set(),
}
# Tensor's own methods that stand in later rooms, imported when they are called.
LATE = {("tensor", "autograd"), ("tensor", "functional"), ("autograd", "func")}


def room_of(name: str) -> str:
    return ROOMS.get(name, name)


def modules() -> list[Path]:
    """Every module of the package, through the links."""
    return sorted(
        Path(folder, file)
        for folder, _, files in os.walk(ROOT / "lazygrad", followlinks=True)
        for file in files
        if file.endswith(".py")
    )


def name_of(path: Path) -> list[str]:
    return list(path.relative_to(ROOT).with_suffix("").parts)


def typing_only(tree: ast.Module) -> set[ast.AST]:
    """The nodes under `if TYPE_CHECKING:`."""
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }


def imported(path: Path) -> Iterator[tuple[int, list[str], bool]]:
    """(line, parts of the absolute name, whether inside a function) of everything the module imports."""
    tree = ast.parse(path.read_text())
    ignored = typing_only(tree)
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Lambda))]
    inside = {inner for node in functions for inner in ast.walk(node)}
    package = name_of(path)[:-1]
    for node in ast.walk(tree):
        if node in ignored:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split("."), node in inside
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            for alias in node.names:
                yield node.lineno, [*base, alias.name], node in inside


def test_imports_point_one_way() -> None:
    wrong = []
    for path in modules():
        room = room_of(name_of(path)[1])
        assert room in ALLOWED, (
            f"{path.relative_to(ROOT)}: the room {room} is not listed in this test"
        )
        for line, parts, late in imported(path):
            where = f"{path.relative_to(ROOT)}:{line}"
            if parts[0] in ("codegen", "runtime"):
                wrong.append(f"{where} imports {parts[0]}, not lazygrad.{parts[0]}")
            if parts[0] != "lazygrad" or len(parts) < 2:
                continue
            other = room_of(parts[1])
            if other == room or other in ALLOWED[room] or room == "public":
                continue
            if not (late and (room, other) in LATE):
                wrong.append(f"{where}: {room} may not import {'.'.join(parts)}")
    assert not wrong, "\n".join(wrong)


def test_the_rooms_stand_in_one_order() -> None:
    """The table allows only rooms that stand before."""
    order = list(ALLOWED)
    for position, room in enumerate(order):
        assert ALLOWED[room] <= set(order[:position])


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_module_says_what_it_is_for(path: Path) -> None:
    source = path.read_text()
    if path.name == "__init__.py" and not source.strip():
        return
    assert ast.get_docstring(ast.parse(source)), "no module docstring"
    assert path.stem not in {"utils", "helpers", "misc", "common", "util"}, (
        "a name that says nothing"
    )


def bases(document: Path) -> list[Path]:
    """Where a file named in a document may stand."""
    return [ROOT, ROOT / "lazygrad", ROOT / "codegen", ROOT / "runtime", document.parent]


def documents() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


PATH = re.compile(r"(?<![\w/.<])((?:[\w.-]+/)*[\w-]+\.(?:py|md|toml|txt|yaml))(?![\w/])")


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_documents_name_files_that_exist(path: Path) -> None:
    """A file named in backquotes or a link exists, from the root, from lazygrad/, or from the document."""
    text = path.read_text()
    quoted = [*re.findall(r"`([^`\n]+)`", text), *re.findall(r"\]\(([^)#\s]+)", text)]
    missing = set()
    for words in quoted:
        if "://" in words:
            continue
        for name in PATH.findall(words):
            if "/" not in name and name.endswith(".py"):
                continue  # a script of the reader's, or a file named beside its folder
            if not any((base / name).exists() for base in bases(path)):
                missing.add(name)
    assert not missing, f"{path.name} names files that do not exist: {sorted(missing)}"


def test_two_commands_of_the_readme_are_what_ci_runs() -> None:
    block = (ROOT / "README.md").read_text().split("```")[1].splitlines()[1:]
    assert block == [
        "pip install . && python examples/two_layer_net.py",
        "pip install '.[test]' && pytest",
    ]
    assert "README.md" in (ROOT / ".ci" / "run").read_text()


def test_switches_are_documented() -> None:
    """Every environment variable stands in the docs, and the docs name none that does not exist."""
    from lazygrad import config

    known = {variable for variable, _ in config._VARIABLES.values()}
    text = "\n".join(path.read_text() for path in documents())
    named = set(re.findall(r"LAZYGRAD_[A-Z_]+", text)) | {"DEVICE"}
    assert named == known
