"""Programs on several devices: a plan for each stretch between copies.

In: a graph with COPYs. Out: a plan whose steps are plans of one device each, and copies through the host. A value that is read
on both sides of a copy is computed on each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lazygrad.ir.args import Scalar, Slot
from lazygrad.ir.node import Node, Shape, postorder
from lazygrad.ir.op import Op
from lazygrad.ir.rewrite import rebuild

from . import device as devices
from . import profile
from .compile import compile_on
from .memory import Buffer
from .plan import Plan, concrete
from .plans import Record


@dataclass(frozen=True, slots=True)
class Transfer:
    """Copy what is in slot `source` to slot `target` on another device."""

    source: int
    target: int
    node: Node


@dataclass(frozen=True, slots=True)
class Stretch:
    """Run a plan of one device; its outputs go to `targets`."""

    plan: Plan
    targets: tuple[int, ...]


class StagedPlan(Plan):
    """Plans and copies in turn. Slots are the buffers of the run, then those that the steps make."""

    def __init__(
        self, steps: Sequence[Stretch | Transfer], slots: int, results: Sequence[int]
    ) -> None:
        self.steps = tuple(steps)
        self.slots = slots
        self.results = tuple(results)
        plans = [step.plan for step in steps if isinstance(step, Stretch)]
        self.launches = sum(plan.launches for plan in plans)
        self.dims = tuple(sorted({name for plan in plans for name in plan.dims}))

    def run(
        self, buffers: Sequence[Buffer], numbers: Sequence[Scalar], dims: Sequence[int] = ()
    ) -> list[Buffer]:
        sizes = dict(zip(self.dims, dims, strict=True))
        slots: list[Buffer] = [*buffers, *[buffers[0]] * (self.slots - len(buffers))]
        for step in self.steps:
            if isinstance(step, Stretch):
                given = [sizes[name] for name in step.plan.dims]
                made = profile.run(step.plan, slots, numbers, given)
                for target, buffer in zip(step.targets, made, strict=True):
                    slots[target] = buffer
            else:
                slots[step.target] = transfer(step.node, slots[step.source], sizes)
        return [slots[index] for index in self.results]

    def __str__(self) -> str:
        lines = []
        for step in self.steps:
            if isinstance(step, Transfer):
                lines.append(f"copy slot {step.source} to slot {step.target} @{step.node.place}")
            else:
                lines.append(f"{step.plan}\n  to slots {list(step.targets)}")
        return "\n".join(lines)


def transfer(node: Node, buffer: Buffer, sizes: dict[str, int]) -> Buffer:
    """The value of a COPY: its source's, on its own device."""
    source, target = devices.get(node.src[0].place), devices.get(node.place)
    shape: Shape = concrete(node.shape, sizes)
    return target.from_host(source.to_host(buffer, node.dtype, shape))


def staged_plan(roots: Sequence[Node], buffers: int, record: Record) -> Plan:
    """A plan for a graph with COPYs, whose leaves have slots below `buffers`."""
    order = postorder(roots)
    level: dict[int, int] = {}
    for node in order:
        below = max((level[id(source)] for source in node.src), default=0)
        level[id(node)] = below + (node.op is Op.COPY)
    copies = [node for node in order if node.op is Op.COPY]
    slots = buffers
    known: dict[int, Node] = {}  # a COPY -> the leaf that reads its slot
    steps: list[Stretch | Transfer] = []
    results: dict[int, int] = {}
    for stage in range(max(level.values(), default=0) + 1):
        needed: dict[int, Node] = {}
        for copy in copies:
            if level[id(copy)] == stage + 1:
                needed[id(copy.src[0])] = copy.src[0]
        for root in roots:
            if level[id(root)] == stage:
                needed[id(root)] = root
        for place in dict.fromkeys(node.place for node in needed.values()):
            group = [node for node in needed.values() if node.place == place]
            targets = tuple(range(slots, slots + len(group)))
            slots += len(group)
            plan = compile_on(place, rebuild(group, lambda node: known.get(id(node))), record)
            steps.append(Stretch(plan, targets))
            results.update(zip(map(id, group), targets, strict=True))
        for copy in copies:
            if level[id(copy)] == stage + 1:
                steps.append(Transfer(results[id(copy.src[0])], slots, copy))
                known[id(copy)] = Node(
                    Op.BUFFER, (), copy.dtype, copy.shape, Slot(slots), copy.place, copy.site
                )
                slots += 1
    return StagedPlan(steps, slots, [results[id(root)] for root in roots])
