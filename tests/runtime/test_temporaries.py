"""Memory between kernels: nothing is written over while it will be read, and results lend theirs until they are written."""

from __future__ import annotations

import pytest

import lazygrad as lg
from lazygrad.ir.op import Op
from lazygrad.runtime.plan import TablePlan, Value
from lazygrad.runtime.plans import Record
from lazygrad.runtime.realize import recording
from lazygrad.schedule.slices import origin

WIDTH = 256


def step(depth: int) -> tuple[Record, int]:
    """A training step of linear layers, and the bytes of its gradients and new weights."""
    weights = [lg.randn(WIDTH, WIDTH).realize().requires_grad_() for _ in range(depth)]
    x = lg.randn(WIDTH, WIDTH).realize()
    records: list[Record] = []
    with recording(records):
        for weight in weights:
            x = (x @ weight / 16).tanh()
        x.square().mean().backward()
        with lg.no_grad():
            gradients = [weight.grad for weight in weights if weight.grad is not None]
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= 0.1 * gradient
        lg.realize(weights, gradients)
    return records[-1], 2 * depth * WIDTH * WIDTH * 4


@pytest.mark.parametrize("depth", [2, 5])
def test_what_is_read_is_what_was_written_last(depth: int) -> None:
    record, asked = step(depth)
    plan = record.plan
    if not isinstance(plan, TablePlan):
        pytest.skip("the interpreter runs graphs, without memory between kernels")
    memory: dict[tuple[str, int], int] = {}
    writer: dict[int, object] = {}
    lent = 0
    results = {id(node) for kernel in record.schedule for node in kernel.results}
    for kernel, launch in zip(record.schedule, plan.table, strict=True):
        for node, value in zip(kernel.inputs, launch.values, strict=False):
            base, _ = origin(node, dict.fromkeys(results, 0))
            if base.op is not Op.BUFFER:
                assert memory[value.kind, value.index] == id(base)
        read = {_place(value) for value in launch.values[: len(kernel.inputs)]}
        for node, value in zip(kernel.results, launch.results, strict=True):
            assert _place(value) not in read
            memory[_place(value)] = id(node)
            writer[id(node)] = value
            lent += value.kind == "output"
    made = sum(size for size in plan.made if isinstance(size, int))
    assert made >= asked
    assert lent > len(plan.made), "no result lends its memory"
    kept = {memory["output", output.index] for output in plan.outputs if output.kind == "new"}
    assert len(kept) == len(plan.made)
    assert kept <= results


def _place(value: Value) -> tuple[str, int]:
    return value.kind, value.index
