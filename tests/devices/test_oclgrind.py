"""What oclgrind says of OpenCL kernels: nothing about ours, and what is wrong about planted mistakes. The CUDA emulator's checks have theirs in tests/cuda_emulator."""

from __future__ import annotations

import shutil

import pytest

import lazygrad as lg

from .oclgrind import KINDS, PLANTED, complaints, under

WORDS = {"overrun": "Invalid write of size 4", "race": "Write-write data race", "uninitialised": "ninitialized"}  # fmt: skip


@pytest.fixture(autouse=True)
def needs_oclgrind() -> None:
    if shutil.which("oclgrind") is None:
        pytest.skip("no oclgrind")
    if not lg.opencl.is_available():
        pytest.skip("no OpenCL driver")


@pytest.mark.parametrize("kind", KINDS)
def test_silent_about_every_kind_of_kernel(kind: str) -> None:
    text = under(kind)
    assert not complaints(text), text[-3000:]
    assert "padded " in text and "IndexError, as it must be" in text


@pytest.mark.parametrize("kind", KINDS)
def test_silent_about_every_operator(kind: str) -> None:
    text = under(kind, "tests/devices/test_numbers.py")
    assert not complaints(text), text[-3000:]
    assert " passed" in text and "skipped" not in text and "deselected" not in text


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_caught(name: str) -> None:
    assert any(WORDS[name] in line for line in complaints(under(name)))
