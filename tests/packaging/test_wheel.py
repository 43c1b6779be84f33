"""What is built and installed is the tree: no module forgotten in pyproject.toml, nothing outside of `lazygrad`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

BUILD = "import sys; from setuptools import build_meta; build_meta.build_{what}(sys.argv[1])"


def build(what: str, source: Path, out: Path) -> Path:
    """Build `what` ("wheel" or "sdist") of the project at `source`."""
    out.mkdir()
    subprocess.run(
        [sys.executable, "-c", BUILD.format(what=what), str(out)],
        cwd=source, check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    (built,) = out.iterdir()
    return built


def members(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel with their contents, but for its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            name: archive.read(name)
            for name in archive.namelist()
            if ".dist-info/" not in name and not name.endswith("/")
        }


def tree(root: Path) -> dict[str, bytes]:
    """The package as it stands in the tree, through the links lazygrad/codegen and lazygrad/runtime."""
    found = {}
    for folder, _, files in os.walk(root / "lazygrad", followlinks=True):
        for file in files:
            if file.endswith((".py", ".pyi")) or file == "py.typed":
                path = Path(folder, file)
                found[path.relative_to(root).as_posix()] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A copy of the tree, its wheel and its sdist; building writes beside the sources, so a copy is built."""
    scratch = tmp_path_factory.mktemp("build")
    source = scratch / "source"
    shutil.copytree(
        ROOT, source, symlinks=True,
        ignore=shutil.ignore_patterns(".*_cache", ".git", "__pycache__", "build", "dist", "*.egg-info", ".hypothesis"),
    )  # fmt: skip
    return (
        source,
        build("wheel", source, scratch / "wheel"),
        build("sdist", source, scratch / "sdist"),
    )


def test_wheel_is_the_tree(built: tuple[Path, Path, Path]) -> None:
    source, wheel, _ = built
    expected, found = tree(source), members(wheel)
    assert sorted(found) == sorted(expected)
    assert found == expected
    assert "lazygrad/codegen/__init__.py" in found and "lazygrad/runtime/__init__.py" in found


def test_wheel_from_the_sdist_is_the_same(built: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, wheel, sdist = built
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    assert members(build("wheel", source, tmp_path / "wheel")) == members(wheel)
    for name in (
        "tests/packaging/test_wheel.py",
        "examples/two_layer_net.py",
        "LICENSE",
        "README.md",
    ):
        assert (source / name).is_file(), f"the sdist lacks {name}"


def test_required_dependencies_are_two(built: tuple[Path, Path, Path]) -> None:
    _, wheel, _ = built
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    lines = [
        line.split(":", 1)[1].strip()
        for line in metadata.splitlines()
        if line.startswith("Requires-Dist:")
    ]
    required = {line.partition(">")[0] for line in lines if "extra ==" not in line}
    assert required == {"numpy", "llvmlite"}


def test_import_needs_the_required_dependencies_only() -> None:
    """Importing loads numpy at most: llvmlite waits for the first compile, and nothing of the extras is needed."""
    code = (
        "import sys; before = set(sys.modules); import lazygrad; import lazygrad.nn, lazygrad.optim; "
        "print(*{n.partition('.')[0] for n in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {name for name in done.stdout.split() if not name.startswith("_")} <= {
        "lazygrad",
        "numpy",
    }
