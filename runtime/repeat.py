"""Repeated steps (ir/repeated.py) as one plan: the kernels of a step are compiled once, and launched for each step, by one native call.

In: the phases of a step, and a CPU device. Out: a plan whose one new buffer has the frame of every step. Where a launch reads and writes is in the
plan's table, not in its kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lazygrad.ir.dtype import DType
from lazygrad.ir.repeated import FRAME, SCRATCH, Repeated

from . import compile as compiler
from .plan import KernelPlan, Launch, Output, TablePlan, Value


def repeated_plan(device: Any, repeated: Repeated, dtype: DType, record: Any) -> KernelPlan:
    """The plan of all steps."""
    item = dtype.itemsize
    phases: list[tuple[TablePlan, list[int]]] = []
    blocks: list[Any] = [repeated.scratch * item] if repeated.scratch else []
    firsts = []
    for phase in repeated.phases:
        roots = phase.graph(dtype, device.name)
        for name, function in compiler.EXPANSION:
            roots = compiler.graph_pass(name, function, roots, record)
        plan = compiler.compile_graph(device, roots, record, lends=False)  # written in place
        assert isinstance(plan, TablePlan) and not plan.dims and not plan.number_types
        written = [-1] * len(plan.made)
        for number, output in enumerate(plan.outputs):
            assert output.kind == "new" and written[output.index] < 0
            written[output.index] = number
        phases.append((plan, written))
        firsts.append(len(blocks))
        blocks += plan.blocks
    table: list[Launch] = []
    for time in repeated.times:
        for phase, (plan, written), first in zip(repeated.phases, phases, firsts, strict=True):

            def value_of(value: Value) -> Value:
                if value.kind == "temporary":
                    return Value("temporary", first + value.index, value.start)  # noqa: B023
                places = phase.reads if value.kind == "input" else phase.writes  # noqa: B023
                number = value.index if value.kind == "input" else written[value.index]  # noqa: B023
                base, start = places[number].at(time, repeated.steps)  # noqa: B023
                begin = start * item + value.start
                if base == FRAME:
                    return Value("output", 0, begin)
                return (
                    Value("temporary", 0, begin) if base == SCRATCH else Value("input", base, begin)
                )

            table += _moved(plan.table, value_of)
    size = repeated.steps * repeated.frame * item
    return KernelPlan(device, table, [Output("new", 0)], [size], blocks, {})


def _moved(launches: Sequence[Launch], value_of: Callable[[Value], Value]) -> list[Launch]:
    return [
        Launch(each.executable, tuple(map(value_of, each.values)), each.written, each.traffic)
        for each in launches
    ]
