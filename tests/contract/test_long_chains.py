"""20,000 chained operations build, run, differentiate and free under a recursion limit of 200, for at most 15 times 2,000.

The cost is counted, not timed: Python functions entered (every node that is built, walked, rewritten or freed enters some),
launches, plans and kernels. benchmarks/chains.py measures the times.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

Child = Callable[..., CompletedProcess[str]]
pytestmark = pytest.mark.of_the_cpu(
    "processes of their own, which name the CPU and the interpreter"
)

PROGRAM = """
import cProfile, gc, json, sys, weakref
import lazygrad as torch
from lazygrad.runtime import device, realize
from lazygrad.runtime.compile import KERNELS

def run(length):
    x = torch.tensor([1.0] * 4, requires_grad=True)
    y = x
    middle = None
    for step in range(length // 2):
        y = y * 0.9999 + 0.0001
        if step == length // 4:
            middle = weakref.ref(y.node)
    y.sum().backward()
    found = y.tolist()[0], x.grad.tolist()[0]
    del y
    x.grad = None
    gc.collect()
    assert middle() is None, "the chain is alive"
    return found

def count(length):
    chosen = device.default()
    before = chosen.launches, realize.PLANS.compiled, KERNELS.built
    profile = cProfile.Profile(subcalls=False, builtins=False)
    profile.enable()
    values = run(length)
    profile.disable()
    entered = sum(entry.callcount for entry in profile.getstats())
    now = chosen.launches, realize.PLANS.compiled, KERNELS.built
    return [entered, *[b - a for a, b in zip(before, now)], *values]

sys.setrecursionlimit(200)
count(200)
print(json.dumps([count(2000), count(20000)]))
"""


@pytest.mark.parametrize("device", ["CPU", "INTERPRET"])
def test_a_chain_of_twenty_thousand(child: Child, device: str) -> None:
    done = child(PROGRAM, DEVICE=device)
    assert done.returncode == 0, done.stderr
    short, long = json.loads(done.stdout)
    (entered, launches, _, _, value, gradient), (most, many, plans, kernels, *values) = short, long
    assert value == pytest.approx(1.0) and gradient == pytest.approx(0.9999**1000, rel=1e-3)
    assert values == pytest.approx([1.0, 0.9999**10000], rel=1e-3)
    assert most <= 15 * entered
    assert entered > 20_000
    assert many <= 15 * launches
    assert plans <= 4 and kernels <= 10
