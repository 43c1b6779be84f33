"""The INTERPRET device: the reference interpreter of the IR as a device. A plan is one launch, the whole graph in numpy.

It is the oracle of the other devices, so it takes part in as few passes as it can: gradients are expanded and composites
inlined, nothing is simplified, placed or shared.
"""

from __future__ import annotations

from collections.abc import Sequence

from lazygrad.ir.args import Scalar, Slot
from lazygrad.ir.interpret import evaluate, to_storage
from lazygrad.ir.node import Node, postorder
from lazygrad.ir.op import Op

from .device import Array, HostDevice
from .memory import Buffer
from .plan import Plan, concrete, dim_names


class InterpretDevice(HostDevice):
    """Memory like the CPU's; plans evaluate graphs."""

    def __init__(self) -> None:
        super().__init__("interpret")

    def compile(self, graph: Sequence[Node]) -> Plan:
        return InterpretPlan(self, graph)


class InterpretPlan(Plan):
    """A graph without GRAD and CALL, evaluated anew each time."""

    launches = 1

    def __init__(self, device: HostDevice, roots: Sequence[Node]) -> None:
        self.device = device
        self.roots = list(roots)
        self.dims = dim_names(roots)
        self.inputs = [
            (node.arg.index, node)
            for node in postorder(self.roots)
            if node.op is Op.BUFFER and isinstance(node.arg, Slot)
        ]

    def run(
        self, buffers: Sequence[Buffer], numbers: Sequence[Scalar], dims: Sequence[int] = ()
    ) -> list[Buffer]:
        device = self.device
        sizes = dict(zip(self.dims, dims, strict=True))
        arrays: list[Array | None] = [None] * len(buffers)
        for index, node in self.inputs:
            arrays[index] = device.view(buffers[index], node.dtype, concrete(node.shape, sizes))
        results = evaluate(self.roots, arrays, numbers, sizes)
        device.launches += 1
        return [
            device.from_host(to_storage(result, root.dtype))
            for result, root in zip(results, self.roots, strict=True)
        ]

    def __str__(self) -> str:
        return f"plan @{self.device.name}: 1 launch, {len(postorder(self.roots))} nodes"
