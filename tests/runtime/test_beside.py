"""Kernels compiled by a process beside this one: the same object files, whatever happens to that process."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from lazygrad.codegen.target import host
from lazygrad.runtime import beside
from lazygrad.runtime.beside import Beside
from lazygrad.runtime.llvm import Compiler

TEXTS = [f"define i64 @f{number}() {{\n  ret i64 {number}\n}}\n" for number in range(beside.MANY)]


@pytest.fixture(scope="module")
def compiler() -> Compiler:
    return Compiler(host)


def test_the_object_code_is_the_same(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    here = [compiler.compile(text) for text in TEXTS]
    compiled: list[str] = []

    def count(text: str) -> bytes:
        compiled.append(text)
        return here[TEXTS.index(text)]

    monkeypatch.setattr(compiler, "compile", count)
    with Beside(compiler, len(TEXTS), 2) as helper:
        for text in TEXTS:
            helper.add(text)
        assert helper.objects() == here
        process: Any = helper._process
    assert len(compiled) < len(TEXTS), "the process made none of them"
    assert process.returncode is not None


def test_what_a_lost_process_had_is_compiled_here(compiler: Compiler) -> None:
    with Beside(compiler, len(TEXTS), 2) as helper:
        assert helper._process is not None
        os.kill(helper._process.pid, signal.SIGKILL)
        for text in TEXTS:
            helper.add(text)
        assert helper.objects() == [compiler.compile(text) for text in TEXTS]


def test_a_refusal_says_why(compiler: Compiler) -> None:
    with Beside(compiler, len(TEXTS), 2) as helper:
        for text in (*TEXTS, "define nonsense"):
            helper.add(text)
        with pytest.raises(RuntimeError, match="define nonsense"):
            helper.objects()


@pytest.mark.parametrize(("texts", "processors"), [(beside.MANY - 1, 2), (beside.MANY, 1)])
def test_small_plans_and_one_processor_need_no_process(
    compiler: Compiler, texts: int, processors: int
) -> None:
    with Beside(compiler, texts, processors) as helper:
        assert helper._process is None
        helper.add(TEXTS[0])
        assert helper.objects() == [compiler.compile(TEXTS[0])]
