"""Large scans in three steps, for GPUs: which are divided, into what, and that the values are the interpreter's."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.codegen.target import Target, host
from lazygrad.ir.args import ScanKind, Slot
from lazygrad.ir.build import scan
from lazygrad.ir.dim import Dim
from lazygrad.ir.dtype import DType, float16, float32, int64
from lazygrad.ir.interpret import evaluate
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op
from lazygrad.ir.verify import verify_graph
from lazygrad.runtime.compile import compile_graph
from lazygrad.runtime.cpu import CpuDevice
from lazygrad.runtime.plans import Record
from lazygrad.schedule import cost
from lazygrad.schedule.divide_scans import divide_scans


class Placed(Target):
    """This processor, with the placement of a GPU."""

    @property
    def machine(self) -> cost.Machine:
        return cost.GPU


def scanned(
    shape: tuple[Any, ...], axis: int, kind: ScanKind = "add", dtype: DType = float32
) -> Node:
    return scan(Node(Op.BUFFER, (), dtype, shape, Slot(0), "cpu"), kind, axis)


def parts(node: Node) -> list[tuple[Any, ...]]:
    """The shapes of the scans that a scan becomes."""
    (divided,) = divide_scans([node])
    verify_graph([divided])
    assert divided.shape == node.shape and divided.dtype is node.dtype
    return [each.shape for each in postorder([divided]) if each.op is Op.SCAN]


def test_which_scans() -> None:
    """Long rows where they are few, a group of threads a part; columns that are too few for a thread each, a thread a part."""
    assert parts(scanned((1 << 24,), 0)) == [(1024, 1), (1024, 1 << 14)]
    assert parts(scanned((8, 1 << 17), 1)) == [(8, 32, 1), (8, 32, 4096)]
    assert parts(scanned((8, 1 << 14), 1)) == [(8, 1 << 14)], "short"
    assert parts(scanned((1000, 1 << 17), 1)) == [(1000, 1 << 17)], "many"
    assert parts(scanned((100000, 16), 0)) == [(3125, 1, 16), (3125, 32, 16)]
    assert parts(scanned((2000, 30000), 0)) == [(2000, 30000)], "many"
    assert parts(scanned((100003,), 0)) == [(24, 1), (24, 4167)], "the last part is not full"
    assert parts(scanned((100000,), 0, "logaddexp")) == [(100000,)]
    n = Dim.variable("n", 1 << 17)
    assert parts(scanned((n,), 0)) == [(n,)], "the parts would not be known"
    assert parts(scanned((0, 100000), 1)) == [(0, 100000)]


@pytest.mark.parametrize("shape", [(70000,), (3, 65537), (4000, 40), (2, 1500, 100)])
def test_the_same_values(shape: tuple[int, ...]) -> None:
    """As the interpreter has them, of the graph and of its kernels as they are placed for a GPU: sums of halves are not rounded between parts."""
    axis = max(range(len(shape)), key=lambda each: shape[each])
    draws = np.random.default_rng(2)
    target = host()
    device = CpuDevice(Placed(*[getattr(target, each.name) for each in fields(target)]), "placed")
    cases: list[tuple[ScanKind, DType]] = [("add", float32), ("max", int64), ("mul", float32), ("add", float16)]  # fmt: skip
    for kind, dtype in cases:
        x = draws.integers(-1000, 1000, shape).astype(dtype.name)
        if dtype.kind == "float":
            x = (1 + x / 1e6 if kind == "mul" else x / 1000).astype(dtype.name)
        node = scanned(shape, axis, kind, dtype)
        (divided,) = divide_scans([node])
        assert len(postorder([divided])) > 2
        (meant,), (found,) = evaluate([node], [x]), evaluate([divided], [x])
        rtol, atol = 2e-3 if dtype is float16 else 1e-4, 1e-2 if kind == "add" else 0
        np.testing.assert_allclose(found, meant, rtol, atol)
        record = Record()
        plan: Any = compile_graph(device, [node], record)
        assert len(record.schedule) >= 3, "sums, a scan of them, scans of parts"
        for graph in record.schedule:
            assert all(set(graph.loops) <= set(stage.path) for stage in graph.stages)
        (made,) = plan.run([device.from_host(x)], [])
        np.testing.assert_allclose(device.to_host(made, dtype, shape), meant, rtol, atol)


def test_what_scatters_by_a_scan_is_a_kernel_of_its_own() -> None:
    """On a GPU; a processor does both in one loop."""
    from lazygrad.schedule.place import place

    flags = (lg.arange(3000) % 3 == 0).realize()
    lowered = lg.lower(flags.nonzero)
    scans = [any(node.op is Op.SCAN for node in postorder(each.graph)) for each in lowered._records]
    roots = lowered._records[scans.index(True)].graph
    for machine, count in ((cost.PROCESSOR, 1), (cost.GPU, 2)):
        kernels = place(roots, machine).kernels
        ops = [[stage.node.op for stage in graph.stages] for graph in kernels]
        assert sum(Op.SCAN in each or Op.SCATTER in each for each in ops) == count
