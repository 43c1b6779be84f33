"""A kernel while placement adds nodes to it, and what is done once it is whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..ir.args import Reduction
from ..ir.dim import Size
from ..ir.index import Variable
from ..ir.kernel_graph import KernelGraph
from ..ir.node import Node
from . import cost
from .reads import contraction

LETTERS = "ijklmnpquvwxyz"
"""The names of a kernel's first loops."""
NUMBERED = "ijklmnpquvwz"
"""Those of the others, with a number behind: x0 and y0 are what a kernel reads and writes."""


@dataclass(slots=True, eq=False)
class Growing:
    """A kernel while nodes are added to it."""

    graph: KernelGraph
    order: int
    nodes: int = 0
    work: int = 0
    inputs: set[int] = field(default_factory=set)
    names: list[str] = field(default_factory=list)
    variables: int = 0
    dims: set[str] = field(default_factory=set)
    near: set[int] | None = None
    """The buffers not far below its results; None where it has a contraction."""
    span: int = 0
    """The elements of the largest tensor not far below its results."""
    closed: bool = False
    """Whether it is whole: nothing more is placed in it."""

    def size(self, size: Size) -> None:
        """Note the dim variables of a size that the kernel may compute with."""
        if not isinstance(size, int):
            self.dims.update(variable.name for variable in size.variables)

    def variable(self, extent: Size) -> Variable:
        """A new loop variable."""
        number = self.variables
        self.variables += 1
        if number < len(LETTERS):
            return Variable(LETTERS[number], extent)
        rounds, place = divmod(number - len(LETTERS), len(NUMBERED))
        return Variable(f"{NUMBERED[place]}{rounds + 1}", extent)


def label(node: Node) -> str:
    if isinstance(node.arg, Reduction):
        return "matmul" if contraction(node) else {"add": "sum"}.get(node.arg.kind, node.arg.kind)
    return node.op.name.lower()


def finish(kernel: Growing) -> None:
    """Order the stages, name the kernel, and list the dims it needs."""
    graph = kernel.graph
    order_params(graph)
    graph.stages.reverse()  # found from the readers down; they run from the sources up
    names = [name for name in reversed(kernel.names) if name not in ("cast", "where")]
    short = names if len(names) <= 4 else [*names[:2], *names[-2:]]
    graph.name = "_".join(short) or graph.results[0].op.name.lower()
    for extent in [v.extent for stage in graph.stages for v in stage.loops]:
        kernel.size(extent)
    graph.dims = sorted(kernel.dims)


def order_params(graph: KernelGraph) -> None:
    """Put inputs and numbers in the order that the kernel itself reads them, whatever the rest of the graph is.

    So the layers of a model, which are the same to the eye, are the same kernels.
    """
    inputs = {id(node) for node in graph.inputs}
    found: dict[int, Node] = {}
    stack = list(reversed(graph.results))
    while stack:
        node = stack.pop()
        if id(node) not in found:
            found[id(node)] = node
            if id(node) not in inputs:
                stack.extend(reversed(node.src))
    rank = {number: position for position, number in enumerate(found)}
    graph.inputs.sort(key=lambda node: rank[id(node)])
    graph.numbers.sort(key=lambda node: rank[id(node)])


def ordered(kernels: list[KernelGraph]) -> list[KernelGraph]:
    """The kernels so that each runs after those whose results it reads; otherwise as they stand."""
    writer = {id(node): kernel for kernel in kernels for node in kernel.results}
    done: set[int] = set()
    result: list[KernelGraph] = []
    for first in kernels:
        stack = [first]
        while stack:
            kernel = stack[-1]
            if id(kernel) in done:
                stack.pop()
                continue
            before = [
                writer[id(node)]
                for node in kernel.inputs
                if id(node) in writer and id(writer[id(node)]) not in done
            ]
            if before:
                stack.extend(before)
                continue
            done.add(id(kernel))
            result.append(kernel)
            stack.pop()
    return result


def results_early(kernels: Sequence[KernelGraph], roots: Sequence[Node]) -> list[KernelGraph]:
    """The kernels in an order that keeps less alive: one whose results are all asked for runs as soon as what it reads is there.

    Nothing waits for it, but what it reads waits: the activations and cotangents that a weight's gradient is made of. Small ones
    stay where they are, beside others that share a launch with them.
    """
    asked = {id(root) for root in roots}
    writer = {id(node): number for number, kernel in enumerate(kernels) for node in kernel.results}
    readers: dict[int, list[int]] = {}
    awaited: dict[int, int] = {}
    for number, kernel in enumerate(kernels):
        read = [node for node in kernel.inputs if id(node) in writer]
        size = sum(cost.count(node.shape) * node.dtype.itemsize for node in read)
        if size >= cost.HELD_BYTES and all(id(node) in asked for node in kernel.results):
            before = {writer[id(node)] for node in read}
            awaited[number] = len(before)
            for each in before:
                readers.setdefault(each, []).append(number)
    order: list[KernelGraph] = []
    stack = [number for number in reversed(range(len(kernels))) if number not in awaited]
    while stack:
        number = stack.pop()
        order.append(kernels[number])
        for reader in reversed(readers.get(number, ())):
            awaited[reader] -= 1
            if not awaited[reader]:
                stack.append(reader)
    return order
