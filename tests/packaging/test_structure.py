"""The house stays as it is drawn: imports point one way, each module says what it is for, and the docs name files that exist."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What each room may import, besides itself. Rooms are packages and modules of lazygrad; `tensor` is tensor.py and what
# stands beside it. An import inside a function counts; one under TYPE_CHECKING does not.
COMPILER = {"config", "site", "ir", "gradient", "composites", "schedule", "codegen"}
TENSOR = {*COMPILER, "runtime", "size", "storage", "tensor", "printing"}
OPERATORS = {*TENSOR, "autograd", "random", "functional"}
ALLOWED: dict[str, set[str]] = {
    "config": set(),
    "site": {"config", "ir"},
    "size": {"ir"},
    "ir": {"config", "site"},
    "gradient": {"config", "site", "ir"},
    "composites": {"config", "site", "ir", "gradient"},
    "schedule": {"config", "site", "ir", "gradient", "composites"},
    "codegen": {"config", "site", "ir", "schedule"},
    "runtime": COMPILER,
    "storage": TENSOR,
    "tensor": {*TENSOR, "autograd"},
    "printing": TENSOR,
    "autograd": TENSOR,
    "random": OPERATORS,
    "functional": OPERATORS,
    "nn": {*OPERATORS, "nn"},
    "optim": {*OPERATORS, "nn"},
    "lower": {*OPERATORS},
    "__init__": {*OPERATORS, "nn", "optim", "lower"},
    "__main__": set(),
}


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


def imported(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, parts of the absolute name) of everything the module imports from this project."""
    tree = ast.parse(path.read_text())
    ignored = typing_only(tree)
    package = name_of(path)[:-1]
    for node in ast.walk(tree):
        if node in ignored:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split(".")
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            for alias in node.names:
                yield node.lineno, [*base, alias.name]


def test_imports_point_one_way() -> None:
    wrong = []
    for path in modules():
        room = name_of(path)[1]
        for line, parts in imported(path):
            where = f"{path.relative_to(ROOT)}:{line}"
            if parts[0] in ("codegen", "runtime"):
                wrong.append(f"{where} imports {parts[0]}, not lazygrad.{parts[0]}")
            if parts[0] != "lazygrad" or len(parts) < 2 or parts[1] == room:
                continue
            if room not in ALLOWED:
                wrong.append(f"{where}: the room {room} is not listed in this test")
            elif room != "__init__" and parts[1] not in ALLOWED[room]:
                wrong.append(f"{where}: {room} may not import {'.'.join(parts)}")
    assert not wrong, "\n".join(wrong)


def test_the_compiler_never_imports_upwards() -> None:
    """The table above is itself acyclic below the tensor: each room of the compiler only allows rooms that stand below it."""
    order = ["config", "site", "ir", "gradient", "composites", "schedule", "codegen", "runtime"]
    for position, room in enumerate(order):
        assert ALLOWED[room] - {"site"} <= set(order[:position])


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_module_says_what_it_is_for(path: Path) -> None:
    source = path.read_text()
    if path.name == "__init__.py" and not source.strip():
        return
    assert ast.get_docstring(ast.parse(source)), "no module docstring"
    assert path.stem not in {"utils", "helpers", "misc", "common", "util"}, (
        "a name that says nothing"
    )


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
            if not any((base / name).exists() for base in (ROOT, ROOT / "lazygrad", path.parent)):
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
