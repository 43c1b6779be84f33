"""100,000 updates that read nothing: memory stays, launches are few, and at most 3 plans are compiled.

Each loop runs in a process of its own, so that nothing is known before; it reports what the second half of it cost. A loop of
plain updates launches at most a tenth as often as it updates, a training step at most once. Bodies of several lengths make
sure that no budget happens to divide the step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from subprocess import CompletedProcess

import pytest

Child = Callable[..., CompletedProcess[str]]
pytestmark = pytest.mark.of_the_cpu(
    "processes of their own, which name the CPU and the interpreter"
)

PROGRAM = """
import gc, json
import lazygrad as torch
from lazygrad.runtime import device, realize
from lazygrad.runtime.steady import STEADY
F = torch.nn.functional

{setup}

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def state():
    gc.collect()
    return resident(), device.default().launches, STEADY.runs, realize.PLANS.compiled

states = []
for half in range(2):
    for _ in range({turns}):
{body}
    states.append(state())
print(json.dumps([*[b - a for a, b in zip(*states)], states[1][-1]]))
print(json.dumps([float(v) for v in {values}]))
"""

Values = list[float]
Loop = tuple[str, list[str], str, Callable[[int], Values]]

IN_PLACE: dict[str, Loop] = {
    "one": ("x = torch.zeros(4)", ["x += 1"], "[x[0]]", lambda turns: [turns]),
    "three": (
        "x, y = torch.zeros(4), torch.ones(4)",
        ["x += 1", "y *= 0.5", "y += x"],
        "[x[0], y[0]]",
        lambda turns: [turns, 2.0 * turns - 2],
    ),
    "seven": (
        "x = torch.zeros(4)",
        [
            "x += 1",
            "x *= 0.5",
            "x += 3",
            "x -= 1",
            "x.clamp_(max=7.0)",
            "x.add_(2)",
            "x.mul_(0.25)",
        ],
        "[x[0]]",
        lambda turns: [9 / 7],
    ),
    "views": (
        "x = torch.zeros(2, 4)",
        ["x[0] += 1", "x[1] += x[0]", "x[1].mul_(0.5)"],
        "[x[0, 0], x[1, 0]]",
        lambda turns: [turns, turns - 1],
    ),
}
ANEW: dict[str, tuple[str, list[str], int, str, Values]] = {
    "one": (
        "x = torch.zeros(4)",
        ["x = x * 0.99 + 1"],
        2,
        "[x[0]]",
        [100.0],
    ),
    "odd": (
        "x = torch.zeros(4)",
        ["x = (x * 0.5 + 1).clamp(max=3.5) - 0.25", "x = x.abs().sqrt() * x.abs().sqrt() + 0.25"],
        9,
        "[x[0]]",
        [2.0],
    ),
    "two chains": (
        "x, y = torch.zeros(4), torch.zeros(4)",
        ["x = (x * 0.5 + 1).clamp(max=3.5)", "y = y * 0.5 + x"],
        5,
        "[x[0], y[0]]",
        [2.0, 4.0],
    ),
}

TRAINING_SETUP = """
torch.manual_seed(0)
x, t = torch.linspace(-1, 1, 30).reshape(6, 5).clone(), torch.linspace(0, 1, 18).reshape(6, 3).clone()
w1 = torch.full((5, 4), 0.1).requires_grad_()
w2 = torch.full((4, 3), 0.2).requires_grad_()
def loss():
    return F.mse_loss(F.relu(x @ w1) @ w2, t)
"""
TRAINING = {
    "by hand": (
        "",
        [
            "loss().backward()",
            "with torch.no_grad():",
            "    for w in (w1, w2):",
            "        w -= 0.01 * w.grad",
            "        w.grad.zero_()",
        ],
    ),
    "by hand, data": (
        "",
        [
            "loss().backward()",
            "for w in (w1, w2):",
            "    w.data -= 0.01 * w.grad.data",
            "    w.grad = None",
        ],
    ),
    "SGD": (
        "step = torch.optim.SGD([w1, w2], lr=0.01, momentum=0.9)",
        ["step.zero_grad()", "loss().backward()", "step.step()"],
    ),
    "Adam": (
        "step = torch.optim.Adam([w1, w2], lr=0.01)",
        ["step.zero_grad()", "loss().backward()", "step.step()"],
    ),
    "weights bound anew": (
        "",
        [
            "g1, g2 = torch.autograd.grad(loss(), (w1, w2))",
            "w1 = (w1 - 0.01 * g1).detach().requires_grad_()",
            "w2 = (w2 - 0.01 * g2).detach().requires_grad_()",
        ],
    ),
}
TRAINED = {
    "by hand": [0.067490, 0.164435],
    "by hand, data": [0.067490, 0.164435],
    "SGD": [0.061391, 0.044928],
    "Adam": [0.0006117, -0.629967],
    "weights bound anew": [0.065405, 0.144970],
}
"""The loss and a weight in the end, from PyTorch."""


def run(
    child: Child, setup: str, body: Sequence[str], turns: int, values: str, device: str = "CPU"
) -> tuple[list[int], list[float]]:
    """What the second half added (bytes, launches, runs, plans), all plans there are, and what was computed."""
    lines = "\n".join(" " * 8 + line for line in body)
    program = PROGRAM.format(setup=setup, body=lines, turns=turns, values=values)
    done = child(program, DEVICE=device)
    assert done.returncode == 0, done.stderr
    counted, found = (json.loads(line) for line in done.stdout.splitlines())
    return counted, found


def holds(counted: list[int]) -> None:
    """Memory, and plans."""
    grown, _, _, compiled_again, compiled = counted
    assert compiled <= 3 and compiled_again == 0
    assert grown < 2 << 20


def updates_of(name: str) -> int:
    """The shortest loops make the 100,000 updates; the others fewer, to be quick."""
    return 50_000 if name == "one" else 8_000


@pytest.mark.parametrize("name", IN_PLACE)
def test_updates_in_place(child: Child, name: str) -> None:
    setup, body, values, expected = IN_PLACE[name]
    turns = updates_of(name) // len(body)
    counted, found = run(child, setup, body, turns, values)
    holds(counted)
    assert counted[1] <= turns * len(body) / 10
    assert found == pytest.approx(expected(2 * turns))


@pytest.mark.parametrize("name", ANEW)
def test_values_bound_anew(child: Child, name: str) -> None:
    setup, body, updates, values, expected = ANEW[name]
    turns = updates_of(name) // updates
    counted, found = run(child, setup, body, turns, values)
    holds(counted)
    assert counted[1] <= turns * updates / 10
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "device"),
    [*((name, "CPU") for name in TRAINING), ("by hand", "INTERPRET"), ("Adam", "INTERPRET")],
)
def test_training_steps(child: Child, name: str, device: str) -> None:
    setup, body = TRAINING[name]
    turns = 400 if name == "weights bound anew" else 150
    values = "[loss(), w1[0, 0]]"
    counted, found = run(child, TRAINING_SETUP + setup, body, turns, values, device)
    holds(counted)
    assert counted[2] <= turns
    expected = TRAINED[name]
    assert found == pytest.approx(expected, rel=1e-3)
