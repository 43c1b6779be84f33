"""A kernel before it has code: some outputs of the graph, and where each node below them is computed.

The scheduler makes it, codegen lowers it. A node inside a kernel is *inlined* into each reader, or it is a `Stage`: computed at a
loop into a local buffer, a register when nothing of it stays free. Everything else that the kernel reads is an input.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .access import Position
from .args import Scan, Sort
from .dim import Size
from .index import Index, Variable
from .node import Node
from .op import Op

Path = tuple[Variable, ...]
"""The loops around a place, outermost first."""


@dataclass(slots=True, eq=False)
class Stage:
    """A node computed in loops of its own, inside the loops `path`.

    `fixed` gives, for each axis of the node, the index that the loops of `path` fix, or None where the stage computes the whole axis: then
    `free` has the loop variable of that axis. `inner` are the loops of a reduction, scan or fold. A node in `KernelGraph.stored`
    writes an output of the kernel; any other writes a local buffer of its free axes.

    A loop may run over a part of an axis: `starts` has what is added to the variables of `free` and `inner`, in their order (nothing where
    it is empty). `innermost` is the free loop that stands inside of the others, and along which a local buffer is contiguous. Where
    `cleared` is given, the stage adds to its output in each iteration of `path`, and inside those loops it is cleared first. `ends` has
    the loops that may end before their extent, and where. A reduction that `keeps` a stage of its source computes that as it goes, and
    the buffer of the source is filled by the same loops. A scan that is `carried` has no loops and no buffer of its own: the innermost
    loop of `path`, which runs in order, carries its running value in a register.
    """

    node: Node
    path: Path
    fixed: tuple[Index | None, ...]
    free: tuple[Variable, ...]
    inner: tuple[Variable, ...]
    starts: tuple[Index, ...] = ()
    innermost: Variable | None = None
    cleared: Path | None = None
    ends: tuple[tuple[Variable, Index], ...] = ()
    keeps: Stage | None = None
    carried: bool = False

    @property
    def position(self) -> Position:
        """The element that one iteration of the stage's loops computes."""
        free = iter(self._places(self.free, self.starts))
        return tuple(next(free) if index is None else index for index in self.fixed)

    @property
    def summed(self) -> list[Index]:
        """The place on each axis that the inner loops run along."""
        return self._places(self.inner, self.starts[len(self.free) :])

    @staticmethod
    def _places(variables: Path, starts: tuple[Index, ...]) -> list[Index]:
        from .index import of

        places = [of(variable) for variable in variables]
        return [a + b for a, b in zip(places, starts, strict=False)] if starts else places

    @property
    def nest(self) -> Path:
        """The free loops, outermost first; a local buffer has their order."""
        if self.innermost is None:
            return self.free
        return (*[v for v in self.free if v is not self.innermost], self.innermost)

    @property
    def loops(self) -> Path:
        """Every loop around the innermost line, outermost first; a scan or sort runs along its axis inside the others."""
        free = self.nest
        if isinstance(self.node.arg, (Scan, Sort)) and not self.carried:
            along = self.scanned
            free = (*(variable for variable in free if variable is not along), along)
        return (*self.path, *free, *self.inner)

    @property
    def scanned(self) -> Variable:
        """The loop variable of the axis that a SCAN or SORT runs along."""
        assert isinstance(self.node.arg, (Scan, Sort))
        before = [index for index in self.fixed[: self.node.arg.axis] if index is None]
        return self.free[len(before)]


@dataclass(slots=True, eq=False)
class KernelGraph:
    """One kernel: for every iteration of `loops`, the element at `position` of each of `outputs` is computed and stored.

    Its params, in order: `inputs` (BUFFER nodes, or outputs of earlier kernels), `numbers` (ARGUMENT nodes), `dims` (names of dim
    variables), `outputs` and then `stored` (stages that are outputs themselves). A variable in `at_most` is no loop's: it is the index
    that is given, but at most one less than its extent.
    """

    name: str
    loops: Path
    position: Position
    outputs: list[Node]
    stages: list[Stage] = field(default_factory=list)
    stored: list[Node] = field(default_factory=list)
    inputs: list[Node] = field(default_factory=list)
    numbers: list[Node] = field(default_factory=list)
    dims: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    at_most: dict[Variable, Index] = field(default_factory=dict)

    @property
    def results(self) -> list[Node]:
        """Every node that the kernel writes, in the order of its params."""
        return [*self.outputs, *self.stored]

    def inside(self) -> list[Node]:
        """The nodes that the kernel computes, sources first."""
        seen = {id(node) for node in self.inputs}
        order: list[Node] = []
        stack = [(node, False) for node in reversed(self.results)]
        while stack:
            node, ready = stack.pop()
            if ready:
                order.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                stack.append((node, True))
                stack.extend([(source, False) for source in reversed(node.src)])
        return order

    def structure(self) -> object:
        """What it is lowered to depends on this alone, lines of the user's program apart: kernels of one structure are the same."""
        inside = self.inside()
        number = {id(node): place for place, node in enumerate((*self.inputs, *inside))}
        stages = [
            (
                number[id(stage.node)],
                stage.path,
                stage.fixed,
                stage.free,
                stage.inner,
                stage.starts,
                stage.innermost,
                stage.cleared,
                stage.ends,
                stage.keeps and (number[id(stage.keeps.node)], stage.keeps.free),
                stage.carried,
            )
            for stage in self.stages
        ]
        return (
            self.name,
            self.loops,
            self.position,
            tuple([(node.dtype, node.shape, ordered(node)) for node in self.inputs]),
            tuple([number[id(node)] for node in self.numbers]),
            tuple(self.dims),
            tuple([number[id(node)] for node in self.outputs]),
            tuple([number[id(node)] for node in self.stored]),
            tuple(stages),
            tuple(self.at_most.items()),
            tuple(
                [
                    (
                        node.op,
                        tuple([number[id(source)] for source in node.src]),
                        None if node.op is Op.ARGUMENT else node.arg,
                        node.dtype,
                        node.shape,
                    )
                    for node in inside
                ]
            ),
        )


def ordered(node: Node) -> Size | None:
    """How long the rows are whose places a node has, all of them less than that; None if no sort has found it."""
    return node.src[0].shape[node.arg.axis] if isinstance(node.arg, Sort) else None
