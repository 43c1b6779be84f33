"""Programs and the cache directory: the second process computes the same and compiles nothing; what has changed is compiled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import config
from lazygrad.ir.composite import COMPOSITES, call, composite
from lazygrad.runtime import cache, fingerprint, link, llvm
from lazygrad.runtime.compile import KERNELS
from lazygrad.runtime.cpu import CpuDevice
from lazygrad.runtime.keys import normalise
from lazygrad.runtime.plans import plan_for
from lazygrad.runtime.realize import PLANS

ROOT = Path(__file__).resolve().parents[2]

TRAIN = """
import json, sys
import lazygrad as torch
from lazygrad.runtime import realize
torch.manual_seed(3)
model = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU(), torch.nn.Linear(30, 5))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
target = torch.randint(0, 5, (16,))
found = []
for size in (16, 16, 12, 9):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(torch.randn(size, 20)), target[:size])
    loss.backward()
    optimizer.step()
    found.append(loss.item())
try:
    torch.zeros(3)[torch.tensor([1, 5])].sum().item()
except IndexError as error:
    found.append(str(error))
compiler = ("lazygrad.runtime.compile", "lazygrad.schedule.place", "lazygrad.codegen.lower",
    "lazygrad.codegen.choose", "lazygrad.codegen.render.llvm", "lazygrad.gradient.expand", "llvmlite.binding")
print(json.dumps([found, [name for name in compiler if name in sys.modules]]))
"""


class Session:
    """This process as if it had just begun, with a directory of its own; plans and kernels that are made are counted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def forget(self) -> None:
        PLANS.clear()
        KERNELS._kernels.clear()

    def entries(self, ending: str) -> list[Path]:
        return sorted(self.folder.glob(f"*.{ending}"))

    def built(self, run: Callable[[], Any]) -> int:
        """How many kernels a run compiles, with nothing in memory."""
        self.forget()
        before = KERNELS.built
        run()
        return KERNELS.built - before


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setattr(fingerprint, "sources", lambda store: "these")  # whoever is editing them
    with config.override(cache_dir=str(tmp_path / "cache"), device="cpu"):
        found = Session(tmp_path / "cache")
        found.forget()
        yield found
        found.forget()


def child(folder: Path, program: str = TRAIN, **variables: str) -> Any:
    """Run a program in a fresh process; what it prints last."""
    environment = {**os.environ, "LAZYGRAD_CACHE_DIR": str(folder), "DEVICE": "cpu", **variables}
    # The sources of a working copy may have been changed a moment ago.
    program = f"from lazygrad.runtime import fingerprint\nfingerprint.STARTED += 1000\n{program}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    """The same numbers, bit by bit, from the compiler, with the directory being filled, and from the directory."""
    alone, _ = child(Path("0"))
    first, compiler = child(tmp_path)
    assert first == alone and "llvmlite.binding" in compiler
    second, compiler = child(tmp_path)
    assert second == alone
    if link.SUPPORTED:  # elsewhere LLVM's linker places the objects
        # A failed check names its line, and has the interpreter look for it.
        assert set(compiler) <= {"lazygrad.runtime.compile", "lazygrad.gradient.expand"}


def test_observers_see_the_compiler(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> float:
        return float((lg.arange(10.0) * 3).exp().sum().item())

    assert session.built(run) > 0
    assert session.built(run) == 0
    for switches in ({"dump": "kernel"}, {"explain": "recompile"}, {"verify": True}):
        with config.override(**switches):
            assert session.built(run) > 0
    assert "kernel " in capsys.readouterr().err
    session.forget()
    assert "store" in str(lg.lower(run).kernels)


def test_a_changed_program_finds_its_old_kernels(session: Session) -> None:
    x = lg.arange(1000.0).realize()
    assert session.built(lambda: (x * 3).exp().sum().item()) > 0
    count = len(session.entries("kernel"))

    def changed() -> None:
        first = (x * 3).exp().sum().item()
        second = (x - 1).tanh().amax()
        lg.realize(second)
        assert first > 0

    assert session.built(changed) == len(session.entries("kernel")) - count > 0


def test_what_a_plan_depends_on_is_in_its_name(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> None:
        (lg.arange(10.0) * 3).exp().sum().item()

    assert session.built(run) > 0
    monkeypatch.setattr(fingerprint, "sources", lambda store: "others")
    assert session.built(run) > 0
    with monkeypatch.context() as patch:
        patch.setattr(fingerprint, "environment", lambda: b"another machine")
        assert session.built(run) > 0
    with config.override(search=1):
        assert session.built(run) > 0
    assert session.built(run) == 0


@pytest.mark.parametrize("spoil", ["cut", "emptied", "another", "valid but wrong", "bad object"])
def test_spoilt_entries_are_replaced(session: Session, spoil: str) -> None:
    """A plan that cannot be used is compiled again, and the entry is good afterwards."""
    x = lg.tensor(np.linspace(-2, 2, 1001, dtype=np.float32)).realize()

    def run() -> list[float]:
        return [(x * 3).tanh().sum().item(), x.exp().amax().item()]

    right = run()
    plans = session.entries("plan")
    whole = [path.read_bytes() for path in plans]
    store = cache.open_store(str(session.folder), 1 << 30)
    assert store is not None and len(plans) >= 2
    for path in [*plans, *session.entries("kernel")]:
        data = path.read_bytes()
        if spoil == "cut":
            path.write_bytes(data[: len(data) // 2])
        elif spoil == "emptied":
            path.write_bytes(b"")
        elif spoil == "another":
            path.write_bytes(whole[plans[0] == path])
        elif spoil == "valid but wrong":
            store.write(path.name, b"\2\0\0\0\0\0\0\0{}")
        else:
            content = store.read(path.name)
            assert content is not None
            at = content.index(b"\x7fELF") if b"\x7fELF" in content else len(content) - 40
            store.write(path.name, content[:at] + bytes(len(content) - at))
    session.forget()
    assert run() == right
    assert session.built(run) == 0 and run() == right


def test_a_composite_of_the_users_is_not_kept(session: Session) -> None:
    """Its body does not stand in our sources: another process may give the name another meaning."""
    name = "test: cache"
    composite(name)(lambda x: x * 2.0)
    try:
        x = lg.arange(5.0).realize()
        before = len(session.entries("plan"))
        assert before
        plan_for(normalise([call(name, (x.node,))]))
        assert len(session.entries("plan")) == before
    finally:
        del COMPOSITES[name]


def test_sources_that_change_while_they_run_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process whose sources are younger than itself, or change, names nothing."""
    store = cache.open_store(str(tmp_path), 1 << 20)
    assert store is not None
    listing, newest = fingerprint._listing()
    monkeypatch.setattr(fingerprint, "_contents", {})
    monkeypatch.setattr(fingerprint, "STARTED", newest + 10)
    first = fingerprint.sources(store)
    assert store.read(f"{listing}.sources") == first.encode()
    monkeypatch.setattr(fingerprint, "_modules", 0)
    assert fingerprint.sources(store) == first
    monkeypatch.setattr(fingerprint, "_modules", 0)
    monkeypatch.setattr(fingerprint, "_listing", lambda: ("changed", newest))
    with pytest.raises(fingerprint.Unsettled):
        fingerprint.sources(store)
    monkeypatch.setattr(fingerprint, "_contents", {})
    monkeypatch.setattr(fingerprint, "STARTED", newest)
    with pytest.raises(fingerprint.Unsettled):
        fingerprint.sources(store)


@pytest.mark.skipif(not link.SUPPORTED, reason="ELF on x86-64")
def test_objects_are_placed_without_llvm() -> None:
    """Calls out of the process, constants, data that is written, addresses in data, and two objects at once."""
    import ctypes

    text = """
@counter = internal global i64 5
@where = internal global ptr @counter
@table = global [2 x ptr] [ptr @count, ptr @where]
@outside = external global ptr
declare double @fmod(double, double)
define i64 @count(double %x) {
  %rest = call double @fmod(double %x, double 10.0)
  %whole = fptosi double %rest to i64
  %at = load ptr, ptr @where
  %old = load i64, ptr %at
  %new = add i64 %old, %whole
  store i64 %new, ptr %at
  ret i64 %new
}
define ptr @object() { ret ptr @PyExc_ValueError }
@PyExc_ValueError = external global ptr
"""
    compiler = llvm.Compiler(CpuDevice().target)
    code = compiler.compile(text)
    (table, other), keep = link.link([(code, "table"), (code, "object")])
    count_address, where = (ctypes.c_void_p * 2).from_address(table)
    assert count_address and where
    count = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_double)(count_address)
    assert [count(17.5), count(3.0)] == [12, 15]
    found = ctypes.CFUNCTYPE(ctypes.c_void_p)(other)()
    assert found == ctypes.addressof(ctypes.c_void_p.in_dll(ctypes.pythonapi, "PyExc_ValueError"))
    del keep


@pytest.mark.skipif(not link.SUPPORTED, reason="ELF on x86-64")
@pytest.mark.parametrize(
    "text",
    [
        "@x = thread_local global i64 5\ndefine ptr @f() {\n ret ptr @x\n}",
        "declare void @nobody_has_this()\ndefine void @f() {\n call void @nobody_has_this()\n ret void\n}",
        "define void @g() {\n ret void\n}",
    ],
)
def test_what_only_a_linker_knows_is_left_to_it(text: str) -> None:
    compiler = llvm.Compiler(CpuDevice().target)
    with pytest.raises(link.Unlinkable):
        link.link([(compiler.compile(text), "f")])
    with pytest.raises(link.Unlinkable):
        link.link([(compiler.compile(text)[:200], "f")])
