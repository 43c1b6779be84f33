"""Programs in parts: a plan for each stretch between copies to other devices and calls of host libraries.

In: a graph with COPYs or EXTERNs. Out: a plan whose steps are plans of one device each, copies through the host, and calls. A value that is
read behind a copy or a call too is kept for it where it is expensive, and computed on each side where it is cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lazygrad import config
from lazygrad.ir import extern
from lazygrad.ir.args import Element, Scalar, Slot
from lazygrad.ir.node import Node, Shape, postorder
from lazygrad.ir.op import Op
from lazygrad.ir.rewrite import rebuild

from . import device as devices
from . import dump, profile
from .compile import compile_on, graph_pass, simplify
from .history import expensive
from .memory import Buffer
from .plan import Plan, concrete, dim_names
from .plans import Record
from .repeat import repeated_plan


@dataclass(frozen=True, slots=True)
class Transfer:
    """Copy what is in slot `source` to another device."""

    source: int
    node: Node

    def run(self, slots: list[Buffer], numbers: Sequence[Scalar], sizes: dict[str, int]) -> None:
        buffer = slots[self.source]
        source, target = devices.get(self.node.src[0].place), devices.get(self.node.place)
        shape: Shape = concrete(self.node.shape, sizes)
        slots.append(target.from_device(source, buffer, self.node.dtype, shape))

    def __str__(self) -> str:
        return f"copy slot {self.source} @{self.node.place}"


@dataclass(frozen=True, slots=True)
class HostCall:
    """Call the function of an EXTERN on the values in slots `sources`."""

    sources: tuple[int, ...]
    node: Node

    def run(self, slots: list[Buffer], numbers: Sequence[Scalar], sizes: dict[str, int]) -> None:
        node = self.node
        arrays = [
            devices.get(source.place).to_host(
                slots[slot], source.dtype, concrete(source.shape, sizes)
            )
            for slot, source in zip(self.sources, node.src, strict=True)
        ]
        with profile.span(f"host {node.arg.name}", "host"):  # type: ignore[union-attr]
            results = extern.run(node, arrays)
        device = devices.get(node.place)
        for array, (dtype, shape) in zip(results, extern.kinds(node), strict=True):
            assert array.dtype == dtype.storage and array.shape == concrete(shape, sizes)
            slots.append(device.from_host(array))

    def __str__(self) -> str:
        return f"call {self.node.arg.name} on slots {list(self.sources)} @{self.node.place}"  # type: ignore[union-attr]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Run a plan of one device."""

    plan: Plan

    def run(self, slots: list[Buffer], numbers: Sequence[Scalar], sizes: dict[str, int]) -> None:
        given = [sizes[name] for name in self.plan.dims]
        slots.extend(profile.run(self.plan, slots, numbers, given))

    def __str__(self) -> str:
        return str(self.plan)


@dataclass(frozen=True, slots=True)
class Repetition:
    """Run the steps of an EXTERN (repeat.py) on the values in slots `sources`."""

    sources: tuple[int, ...]
    plan: Plan

    def run(self, slots: list[Buffer], numbers: Sequence[Scalar], sizes: dict[str, int]) -> None:
        slots.extend(profile.run(self.plan, [slots[slot] for slot in self.sources], (), ()))

    def __str__(self) -> str:
        return f"on slots {list(self.sources)}: {self.plan}"


Step = Stretch | Transfer | HostCall | Repetition


class StagedPlan(Plan):
    """Plans, copies and calls in turn. Slots are the buffers of the run, then what the steps make, in their order."""

    def __init__(self, steps: Sequence[Step], results: Sequence[int], dims: Sequence[str]) -> None:
        self.steps = tuple(steps)
        self.results = tuple(results)
        plans = [step.plan for step in steps if isinstance(step, (Stretch, Repetition))]
        self.launches = sum(plan.launches for plan in plans)
        self.dims = tuple(dims)

    def run(
        self, buffers: Sequence[Buffer], numbers: Sequence[Scalar], dims: Sequence[int] = ()
    ) -> list[Buffer]:
        sizes = dict(zip(self.dims, dims, strict=True))
        slots = list(buffers)
        for step in self.steps:
            step.run(slots, numbers, sizes)
        return [slots[index] for index in self.results]

    def __str__(self) -> str:
        return "\n".join([*map(str, self.steps), f"return slots {list(self.results)}"])


ENDS = frozenset((Op.COPY, Op.EXTERN))
"""What a stretch ends at."""


class _Stages:
    """The steps of one plan while they are found."""

    def __init__(self, roots: Sequence[Node], buffers: int, record: Record) -> None:
        self.roots = roots
        self.record = record
        self.slots = buffers
        self.order = postorder(roots)
        self.level: dict[int, int] = {}
        """How many copies and calls, one after another, stand below each node."""
        for node in self.order:
            below = max((self.level[id(source)] for source in node.src), default=0)
            self.level[id(node)] = below + (node.op in ENDS)
        self.known: dict[int, Node] = {}
        """The leaf that reads the slot of a node, for later stages."""
        self.steps: list[Step] = []
        self.needed = self._needed()

    def _needed(self) -> list[dict[int, Node]]:
        """The nodes whose values each stage has to leave behind."""
        needed: list[dict[int, Node]] = [{} for _ in range(max(self.level.values(), default=0) + 1)]
        for node in (*(s for n in self.order if n.op in ENDS for s in n.src), *self.roots):
            needed[self.level[id(node)]][id(node)] = node
        seen: set[int] = set()
        stack = [
            source
            for node in self.order
            if node.op not in ENDS
            for source in node.src
            if self.level[id(source)] < self.level[id(node)]
        ]
        while stack:
            node = stack.pop()
            while node.op is Op.RESHAPE:
                (node,) = node.src
            level = self.level[id(node)]
            if id(node) in seen or id(node) in needed[level] or not node.src or _is_end(node):
                continue
            seen.add(id(node))
            if expensive(node):
                needed[level][id(node)] = node
            else:
                stack.extend(node.src)
        return needed

    def slot_of(self, node: Node) -> int:
        """Where the value of a node is, once its stage has run."""
        leaf = self.known.get(id(node), node)
        assert isinstance(leaf.arg, Slot)
        return leaf.arg.index

    def keep(self, node: Node) -> None:
        """The value of a node is what the last step made, in the next slot."""
        leaf = Node(Op.BUFFER, (), node.dtype, node.shape, Slot(self.slots), node.place, node.site)
        self.known[id(node)] = leaf
        self.slots += 1

    def stretch(self, stage: int) -> None:
        """Compute what a stage leaves behind, place by place."""
        nodes = [n for n in self.needed[stage].values() if id(n) not in self.known]
        nodes = [n for n in nodes if n.op is not Op.BUFFER or n in self.roots]
        for place in dict.fromkeys(node.place for node in nodes):
            group = [node for node in nodes if node.place == place]
            made = rebuild(group, lambda node: self.known.get(id(node)))
            self.steps.append(Stretch(compile_on(place, made, self.record)))
            for node in group:
                self.keep(node)

    def ends(self, stage: int) -> None:
        """The copies and calls that stand before a stage."""
        for node in self.order:
            if node.op not in ENDS or self.level[id(node)] != stage:
                continue
            sources = tuple([self.slot_of(source) for source in node.src])
            if node.op is Op.COPY:
                self.steps.append(Transfer(sources[0], node))
                self.keep(node)
                continue
            call = node.like(tuple([self.known.get(id(source), source) for source in node.src]))
            self.steps.append(self._call(sources, call))
            first = self.slots
            self.slots += len(extern.kinds(node))
            for element in self.order:
                if element.src and element.src[0] is node and element.op is Op.ELEMENT:
                    assert isinstance(element.arg, Element)
                    self.known[id(element)] = Node(
                        Op.BUFFER, (), element.dtype, element.shape, Slot(first + element.arg.index), element.place, element.site,
                    )  # fmt: skip
            self._show(call)

    def _call(self, sources: tuple[int, ...], call: Node) -> Step:
        """What runs an EXTERN: its function, or kernels where it is described by steps."""
        device = devices.get(call.place) if call.place else devices.default()
        steps = extern.repeated(call)
        if steps is None or not getattr(device, "parts", False) or config.current.verify:
            return HostCall(sources, call)
        return Repetition(sources, repeated_plan(device, steps, call.dtype, self.record))

    def _show(self, call: Node) -> None:
        results = [
            Node(Op.ELEMENT, (call,), dtype, shape, Element(index))
            for index, (dtype, shape) in enumerate(extern.kinds(call))
        ]
        self.record.graph.extend(results)
        dump.graph(results)


def _is_end(node: Node) -> bool:
    """Whether a value is in a slot behind a copy or a call."""
    return node.op is Op.COPY or extern.is_result(node)


def staged_plan(roots: Sequence[Node], buffers: int, record: Record) -> Plan:
    """A plan for a graph with COPYs or EXTERNs, whose leaves have slots below `buffers`."""
    dims = dim_names(roots)
    if not any(node.op is Op.COPY for node in postorder(roots)):
        roots = graph_pass("simplify", simplify, roots, record)  # so that equal calls are one
    stages = _Stages(roots, buffers, record)
    for stage in range(len(stages.needed)):
        stages.ends(stage)
        stages.stretch(stage)
    return StagedPlan(stages.steps, [stages.slot_of(root) for root in roots], dims)
