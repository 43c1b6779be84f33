"""What `lg.lower` gives: a program as each stage of the compiler has it.

In: the records of the compilations of one traced call, one for each split (a read in the middle of the call ends a plan).
Out: `Lowered`, with text of every stage, source and assembler for this processor or another, and what the program costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lazygrad.ir.args import Slot
from lazygrad.ir.composite import inline
from lazygrad.ir.dim import example
from lazygrad.ir.extern import is_result, repeated
from lazygrad.ir.kernel_graph import KernelGraph
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op
from lazygrad.ir.rewrite import rebuild
from lazygrad.ir.template import unfold_all
from lazygrad.ir.text import show
from lazygrad.schedule.traffic import traffic

from . import device as devices
from . import dump
from .compile import Compiled, expanded, is_kernel_device, make_kernels
from .keys import normalise
from .plan import Plan
from .plans import Record

BANDWIDTH = 12e9
"""Bytes a second from memory that the prediction counts on; a core with a common DRAM."""
CLOCK = 2.5e9
"""Cycles a second that the prediction counts on; each cycle does two vector operations."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a program moves and computes: `bytes` read and written by its kernels, `flops` in units of one addition."""

    bytes: int
    flops: int
    seconds: float
    """The predicted time: of each kernel the longer of moving its bytes and computing."""

    def __str__(self) -> str:
        return f"{self.bytes} bytes, {self.flops} flops, {self.seconds * 1e6:.1f} us predicted"


def total(graphs: Sequence[KernelGraph]) -> Cost:
    """The cost of kernels one after the other."""
    counted = [traffic(graph) for graph in graphs]
    moved = [example(each.bytes) for each in counted]
    work = [example(each.flops) for each in counted]
    lanes = 16
    seconds = sum(
        max(b / BANDWIDTH, f / (2 * lanes * CLOCK)) for b, f in zip(moved, work, strict=True)
    )
    return Cost(sum(moved), sum(work), seconds)


def kernels_of(roots: Sequence[Node]) -> list[KernelGraph]:
    """The kernels that a device with kernels would have for a graph without GRAD, STOP and CALL."""
    from lazygrad.schedule.place import place
    from lazygrad.schedule.simplify import simplify

    return list(place(simplify(roots)).kernels)


def predict(nodes: Sequence[Node]) -> Cost:
    """What computing these nodes takes, by the cost model of the scheduler; nothing is compiled. Host calls count nothing."""
    wanted = [node for node in nodes if node.value is None]
    if not wanted:
        return Cost(0, 0, 0.0)
    unfold_all(wanted)
    normal = normalise(wanted)
    roots = expanded(normal, normal.roots)
    inside = [each for each in postorder(roots) if each.op is Op.EXTERN]
    if not inside:
        return total(kernels_of(roots))
    results = [each for each in postorder(roots) if is_result(each)]
    leaves = {
        id(node): Node(Op.BUFFER, (), node.dtype, node.shape, Slot(len(normal.buffers) + index), node.place)
        for index, node in enumerate(results)
    }  # fmt: skip
    roots = rebuild(
        [*roots, *[source for each in inside for source in each.src]],
        lambda node: leaves.get(id(node)),
    )
    kernels = kernels_of([root for root in roots if root.op is not Op.BUFFER])
    for each in inside:
        steps = repeated(each)
        for phase in steps.phases if steps is not None else ():
            kernels += kernels_of(inline(phase.graph(each.dtype, each.place))) * steps.steps  # type: ignore[union-attr]
    return total(kernels)


class Lowered:
    """A traced call, compiled and not run."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = list(records)

    @property
    def plans(self) -> list[Plan]:
        """The plan of each split; str() of one shows its launches."""
        return [record.plan for record in self._records if record.plan is not None]

    @property
    def graph(self) -> str:
        """The graph of each split, simplified: what is scheduled, or interpreted."""
        return "\n".join(show(record.graph) for record in self._records if record.graph)

    @property
    def schedule(self) -> str:
        """The kernels, where each of their nodes is computed, and why."""
        return "\n\n".join(dump.schedule_text(graph) for graph in self._graphs())

    @property
    def kernels(self) -> dict[str, str]:
        """The loop tree of each kernel as it is rendered, by name."""
        return _named(self._compiled(), lambda each: show(each.kernel))

    def schedules(self, device: str | None = None, arch: str | None = None) -> dict[str, str]:
        """The transforms that make each kernel's loops of those it is lowered to, by name, one a line; see `source`.

        `lazygrad.schedule_override` takes such text.
        """
        from lazygrad.codegen.schedule_text import show as steps_text

        chosen, compiled = self._for(device, arch)
        return _named(compiled, lambda each: steps_text(each.schedule(chosen)))

    def source(self, device: str | None = None, arch: str | None = None) -> dict[str, str]:
        """The source of each kernel, by name; for another device or architecture it is compiled anew.

        Raises:
            RuntimeError: the device does not exist or has no kernels.
            ValueError: it knows no such architecture.
        """
        chosen, compiled = self._for(device, arch)
        return _named(compiled, lambda each: chosen.source(each.kernel))

    def asm(self, device: str | None = None, arch: str | None = None) -> dict[str, str]:
        """The assembler text of each kernel, by name; see `source`."""
        chosen, compiled = self._for(device, arch)
        return _named(compiled, lambda each: chosen.asm(each.kernel))

    @property
    def cost(self) -> Cost:
        """Bytes, flops and the predicted time, by the cost model of the scheduler."""
        return total(self._graphs() or self._as_kernels())

    def _graphs(self) -> list[KernelGraph]:
        return [graph for record in self._records for graph in record.schedule]

    def _as_kernels(self) -> list[KernelGraph]:
        """The kernels that a device with kernels would have."""
        return [kernel for record in self._records for kernel in kernels_of(record.graph)]

    def _compiled(self) -> list[Compiled]:
        return [each for record in self._records for each in record.compiled]

    def _for(self, device: str | None, arch: str | None) -> tuple[Any, list[Compiled]]:
        """The device, and the kernels as it has them."""
        names = {record.device for record in self._records}
        name = device.lower() if device is not None else next(iter(names), "cpu")
        chosen: Any = devices.get(name)
        if not is_kernel_device(chosen):
            raise RuntimeError(
                f"the device {name} runs graphs, not kernels: ask for another, as in source(device='cpu')"
            )
        if arch is None and names == {name}:
            return chosen, self._compiled()
        if arch is not None:
            chosen = _variant(name, arch)
        return chosen, [
            each
            for record in self._records
            for roots in record.given
            for each in make_kernels(chosen, roots, Record())[2]
        ]

    def __str__(self) -> str:
        parts = []
        for number, record in enumerate(self._records):
            parts.append(f"# plan {number} @{record.device}")
            parts.append(show(record.graph).rstrip("\n"))
            parts += [dump.schedule_text(graph) for graph in record.schedule]
            parts += [show(node).rstrip("\n") for node in record.kernels]
            parts.append(str(record.plan))
        parts.append(f"# {self.cost}")
        return "\n\n".join(parts)


def _variant(name: str, arch: Any) -> Any:
    """A device that writes kernels for another processor."""
    variant = getattr(devices.get(name), "variant", None)
    if variant is not None:
        return variant(arch)
    if name != "cpu":
        raise ValueError(f"{name} has one architecture only, not {arch!r}")
    from lazygrad.codegen.target import CPUS, host, typical

    from .cpu import CpuDevice

    known = ("native", *CPUS, "neon")
    if arch not in known:
        raise ValueError(f"the architectures of cpu are {', '.join(known)}, not {arch!r}")
    try:
        return CpuDevice(host(arch), name=f"cpu-{arch}")
    except RuntimeError:  # text can be written for what does not run here
        return CpuDevice(typical(arch), name=f"cpu-{arch}")


def _named(compiled: Sequence[Compiled], text: Callable[[Compiled], str]) -> dict[str, str]:
    """A text of each kernel by its name; a second one of a name has a number."""
    found: dict[str, str] = {}
    for each in compiled:
        name = base = str(getattr(each.kernel.arg, "name", "kernel"))
        number = 2
        while name in found:
            name = f"{base}_{number}"
            number += 1
        found[name] = text(each)
    return found
