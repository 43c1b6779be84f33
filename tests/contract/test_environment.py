"""Every switch of "Seeing inside", as a user turns it on: by the environment, for a script of theirs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Child = Callable[..., CompletedProcess[str]]
pytestmark = pytest.mark.of_the_cpu("texts of the CPU and the interpreter")

PROGRAM = """\
import lazygrad as torch
x = torch.linspace(-1, 1, 24).reshape(4, 6).clone()
w = torch.full((6, 3), 0.5, requires_grad=True)
y = torch.softmax(x @ w, 1)
loss = (y ** 2).sum()
loss.backward()
print(round(loss.item(), 4))
w.data -= 0.1 * w.grad
print(w[0].tolist())
"""
PRINTED = "1.3333\n[0.5, 0.5, 0.5]\n"


def shown(child: Child, program: str = PROGRAM, **variables: str) -> str:
    """What a run says on standard error; what it prints is always the same."""
    done = child(program, **variables)
    assert done.returncode == 0, done.stderr
    if program is PROGRAM:
        assert done.stdout == PRINTED
    return done.stderr


def titles(text: str) -> list[str]:
    return re.findall(r"^--- (?!before)(\S+)", text, re.MULTILINE)


def test_nothing_is_said_unasked(child: Child) -> None:
    assert shown(child) == ""
    assert shown(child, LAZYGRAD_VERIFY="1", LAZYGRAD_DEBUG_NANS="1") == ""
    assert shown(child, DEVICE="INTERPRET") == ""


LOOKS: dict[str, tuple[str, ...]] = {
    "graph": ("graph\n", "reduce %", "  # program.py:4", "  return %", ": f32[4, 3]"),
    "schedule": ("loops (", "in a register, at", "softmax(x @ w, 1)", "writes %", "{kind=max, axes=(1,)"),
    "kernel": ("kernel ", "for %", "store %y0", "load %", "# program.py:"),
    "source": ("define i64 @", "ret i64", "fadd"),
    "asm": (".text", "retq"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LOOKS)
def test_a_dump(child: Child, kind: str) -> None:
    text = shown(child, LAZYGRAD_DUMP=kind)
    assert set(titles(text)) == {kind}
    for words in LOOKS[kind]:
        assert words in text or (words == "retq" and "ret" in text)


def test_all_dumps_of_both_devices(child: Child) -> None:
    assert set(titles(shown(child, LAZYGRAD_DUMP="all"))) == set(LOOKS)
    assert set(titles(shown(child, LAZYGRAD_DUMP="all", DEVICE="INTERPRET"))) == {"graph"}
    assert set(titles(shown(child, LAZYGRAD_DUMP="graph,source"))) == {"graph", "source"}


def test_files_instead(child: Child, tmp_path: Path) -> None:
    directory = tmp_path / "dumps" / "here"
    assert shown(child, LAZYGRAD_DUMP="all", LAZYGRAD_DUMP_TO=str(directory)) == ""
    names = sorted(path.name for path in directory.iterdir())
    assert names[0].startswith("0000_graph") and names[0].endswith(".txt")
    assert any(name.endswith(".ll") for name in names) and any(n.endswith(".s") for n in names)
    from lazygrad.ir.text import parse, show

    for path in directory.glob("*_graph*"):
        assert show(parse(path.read_text())).startswith("graph\n")
    for path in directory.glob("*_kernel*"):
        assert show(parse(path.read_text())).startswith("kernel ")


def test_filters(child: Child) -> None:
    every = re.findall(r"^kernel (\w+)", shown(child, LAZYGRAD_DUMP="kernel"), re.MULTILINE)
    assert len(set(every)) > 1
    name = every[0]
    some = shown(child, LAZYGRAD_DUMP="kernel", LAZYGRAD_DUMP_FILTER=name[:-1] + "*")
    assert set(re.findall(r"^kernel (\w+)", some, re.MULTILINE)) == {
        each for each in every if each.startswith(name[:-1])
    }
    of_a_line = shown(child, LAZYGRAD_DUMP="kernel", LAZYGRAD_DUMP_FILTER="*@program.py:8")
    assert 1 <= len(titles(of_a_line)) < len(every)
    assert shown(child, LAZYGRAD_DUMP="all", LAZYGRAD_DUMP_FILTER="*@other.py:8") == ""
    assert titles(shown(child, LAZYGRAD_DUMP="graph,kernel", LAZYGRAD_DUMP_FILTER="no*@*")) in (
        ["graph"] * 2,
        ["graph"],
        [],
    )


def test_passes(child: Child) -> None:
    changed = shown(child, LAZYGRAD_DUMP_PASSES="changed")
    every = shown(child, LAZYGRAD_DUMP_PASSES="all")
    names = re.findall(r"^--- pass (\w+)", every, re.MULTILINE)
    assert set(names) == {
        "expand", "attach", "inline", "simplify", "divide", "fills", "lower", "optimise",
    }  # fmt: skip
    assert len(re.findall("^--- pass", changed, re.MULTILINE)) < len(names)
    one = shown(child, LAZYGRAD_DUMP_PASSES="simplify")
    assert set(re.findall(r"^--- pass (\w+)", one, re.MULTILINE)) == {"simplify"}
    only_graphs = shown(child, LAZYGRAD_DUMP_PASSES="all", DEVICE="INTERPRET")
    assert set(re.findall(r"^--- pass (\w+)", only_graphs, re.MULTILINE)) == {
        "expand", "attach", "inline",
    }  # fmt: skip
    different = shown(child, LAZYGRAD_DUMP_PASSES="inline", LAZYGRAD_DUMP_DIFF="1")
    assert re.search(r"^-  %\d+ = call.softmax", different, re.MULTILINE)
    assert re.search(r"^\+  %\d+ = exp", different, re.MULTILINE)


LOOP = """\
import lazygrad as torch
big = torch.ones(100, 100).clone().realize()
for step in range(4):
    n = step + 2
    a = torch.ones(n, 3).clone().realize()
    print((a * 2.5).sum().item())
c = (big @ big).exp()
print((c @ c).isinf().sum().item())
"""


@pytest.mark.parametrize("device", ["CPU", "INTERPRET"])
def test_explanations(child: Child, device: str) -> None:
    text = shown(child, LOOP, LAZYGRAD_EXPLAIN="recompile,realize", DEVICE=device)
    compiles = [line for line in text.splitlines() if "compiles a program" in line]
    assert re.search(r"shape \(3, 3\) where the nearest plan has \(2, 3\) at", text)
    assert any("program.py:6  print((a * 2.5).sum().item())" in line for line in compiles)
    assert "the first program" in compiles[0]
    assert "runs 1 result: asked for by item (program.py:6" in text
    fusion = shown(child, LOOP, LAZYGRAD_EXPLAIN="fusion", DEVICE=device)
    if device == "CPU":
        assert "compiles" not in fusion and "runs" not in fusion
        assert re.search(r"^lazygrad: kernel \w+: \w+ stored: \w+", fusion, re.MULTILINE)
    else:
        assert fusion == ""


def test_an_unread_loop_says_why_it_runs(child: Child) -> None:
    program = "import lazygrad as torch\nx = torch.zeros(3)\nfor _ in range(100):\n    x += 1\n"
    text = shown(child, program, LAZYGRAD_EXPLAIN="realize")
    assert "a loop came round (program.py:4  x += 1)" in text


NAN = """\
import lazygrad as torch
a = torch.tensor([4.0, -1.0, 9.0])
b = a * 2
c = torch.sqrt(b) + 1
print(c.sum().item())
"""


@pytest.mark.parametrize("device", ["CPU", "INTERPRET"])
def test_debug_nans(child: Child, device: str) -> None:
    assert child(NAN, DEVICE=device).stdout == "nan\n"
    done = child(NAN, DEVICE=device, LAZYGRAD_DEBUG_NANS="1")
    assert done.returncode == 1 and done.stdout == ""
    last = done.stderr[done.stderr.rindex("Error: ") :]
    assert "sqrt" in last and "[1]" in last and "program.py:4  c = torch.sqrt(b) + 1" in last


WRONG = """\
import lazygrad as torch
from lazygrad.runtime import compile
from lazygrad.ir.rewrite import RuleTable, rewrite
from lazygrad.ir.op import Op
((name, original),) = compile.KERNEL_PASSES
wrong = RuleTable("a product for a difference")

@wrong.rule(Op.SUB)
def multiply(node):
    left, right = node.src
    return left * right

compile.KERNEL_PASSES = ((name, lambda kernel, target: original(rewrite([kernel], wrong)[0], target)),)
x = torch.tensor([1.0, 2.0, 3.0])
print((x - torch.tensor([0.5, 0.5, 0.5])).tolist())
"""


def test_verify_catches_a_wrong_kernel(child: Child) -> None:
    assert child(WRONG).stdout == "[0.5, 1.0, 1.5]\n"
    done = child(WRONG, LAZYGRAD_VERIFY="1")
    assert done.returncode == 1 and done.stdout == ""
    assert "VerificationError" in done.stderr and "program.py:15" in done.stderr
    assert "the interpreter" in done.stderr and "kernel " in done.stderr


def test_a_switch_that_does_not_exist(child: Child) -> None:
    done = child(PROGRAM, LAZYGRAD_DUMPS="all")
    assert done.returncode == 0 and "LAZYGRAD_DUMPS is no switch of lazygrad" in done.stderr
    done = child(PROGRAM, LAZYGRAD_DUMP="assembly")
    assert done.returncode == 1
    assert "LAZYGRAD_DUMP=assembly: expected some of graph, schedule" in done.stderr


LOWER = """\
import lazygrad as lg
x = lg.full((4, 6), 0.5).realize()
w = lg.full((6, 3), 0.25, requires_grad=True).realize()
def step(x, w):
    loss = lg.softmax(x @ w, 1).pow(2).sum()
    loss.backward()
    return loss
made = lg.lower(step, x, w)
assert w.grad is None and len(made.plans) == 1
print(made.graph)
print("=" * 9)
print(made.schedule)
print("=" * 9)
for name, text in made.kernels.items():
    assert text.startswith("kernel " + name.rstrip("_0123456789")), (name, text)
    print(text)
print("=" * 9)
try:
    print(*made.source().values(), *made.asm().values())
except RuntimeError as error:
    print(error)
print("=" * 9)
print(*made.source(device="cpu").values(), *made.asm(device="cpu").values())
cost = made.cost
assert cost.bytes >= (24 + 18 * 2) * 4 and cost.flops > 100 and 0 < cost.seconds < 1e-3, cost
print(made.cost)
"""


@pytest.mark.parametrize("device", ["CPU", "INTERPRET"])
def test_lower(child: Child, device: str) -> None:
    done = child(LOWER, DEVICE=device)
    assert done.returncode == 0, done.stderr
    graph, schedule, kernels, own, of_the_cpu = done.stdout.split("=" * 9 + "\n")
    assert graph.startswith("graph\n") and "call." not in graph and "grad %" not in graph
    assert of_the_cpu.count("define i64 @") >= 1 and "predicted" in of_the_cpu
    if device == "CPU":
        assert "loops (" in schedule and "kernel " in kernels
        assert own.count("define i64 @") == kernels.count("kernel ")
    else:
        assert schedule == kernels == "\n" or not schedule.strip() + kernels.strip()
        assert "runs graphs, not kernels" in own
