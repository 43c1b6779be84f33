"""Plans of a GPU: the same few times launched kernel by kernel, then as a graph that the driver knows.

In: buffers, numbers and dims of one run. Out: new buffers. A graph has the arguments that it last ran with: a run whose addresses, numbers and grids are those of
an earlier one is one call; otherwise the launches that have others are told so before. Which memory a loop is given comes round after a few
iterations, so a plan keeps a few graphs.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lazygrad.ir.args import Scalar

from .cuda_module import Call, Graph, has_graphs
from .memory import Buffer
from .queued_plan import QueuedPlan

if TYPE_CHECKING:
    from .cuda import CudaDevice

PLAIN_RUNS = 2
"""How often a plan is launched kernel by kernel before it is worth a graph."""
FEWEST = 2
"""The launches that a graph is made for."""
KEPT = 4
"""The graphs of a plan."""


class CudaPlan(QueuedPlan):
    """Launches in the stream of one GPU."""

    device: CudaDevice
    _runs = 0
    _graphs: Graphs | None = None

    def run(
        self, buffers: Sequence[Buffer], numbers: Sequence[Scalar], dims: Sequence[int] = ()
    ) -> list[Buffer]:
        if self._graphs is None:
            self._runs += 1
            if self._runs <= PLAIN_RUNS or len(self.table) < FEWEST or not has_graphs():
                return super().run(buffers, numbers, dims)
            self._graphs = Graphs(self.device)
        run = self.bind(buffers, numbers, dims)
        held: list[Buffer] = []
        calls: list[Call] = []
        for number, launch in enumerate(self.table):
            values, sizes = run.arguments(number)
            calls += self.device.calls(launch.executable, sizes, values, held)  # type: ignore[arg-type]
        if calls:
            self._graphs.run(tuple(calls))
        self.device.launches += len(self.table)
        return self.finish(run)


class Graphs:
    """The graphs of one plan, by what they do now; the one that was used last is the last."""

    def __init__(self, device: CudaDevice) -> None:
        self.device = device
        self._known: OrderedDict[tuple[Call, ...], Graph] = OrderedDict()
        self._lock = threading.Lock()

    def run(self, calls: tuple[Call, ...]) -> None:
        """Put the launches into the device's stream.

        Raises:
            RuntimeError: the driver's error.
        """
        with self._lock, self.device.context.entered():
            graph = self._known.pop(calls, None) or self._made(calls)
            graph.launch(self.device.stream.handle)
            self._known[calls] = graph

    def _made(self, calls: tuple[Call, ...]) -> Graph:
        """A graph that does these: a new one, or the one that was not used for longest, changed."""
        kernels = [call.function for call in calls]
        if len(self._known) >= KEPT:
            _, oldest = self._known.popitem(last=False)
            if [call.function for call in oldest.calls] == kernels:
                oldest.change(calls)
                return oldest
        return Graph(self.device.context, calls)
