"""Gradients where Python has a say: the records are cut into regions, each one GRAD, run latest first as PyTorch runs them.

A region begins at a record whose incoming gradient must be at hand as a tensor: one with hooks or a wanted gradient, an
autograd.Function, an operand whose value was replaced behind autograd's back, or a record that two regions lead to (so that
what lies below is computed once). Records in between belong to the region that they are reached from. Gradients are lazy
tensors throughout; no hook makes anything be computed unless it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..history import AccumulateGrad, Hook, Hooks, Record
from ..ir.node import Node
from ..tensor import Tensor
from .gradients import accumulate_into, add, copied, gradients
from .records import depending

if TYPE_CHECKING:
    from .engine import Run

_START = 0
"""The id of the region that begins at the roots; no object has it."""


class Region:
    """Records whose gradients are one GRAD: what it starts from, and the places outside that it leads to."""

    __slots__ = ("records", "starts", "exits")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.starts: list[tuple[Record, int, Tensor]] = []
        self.exits: dict[tuple[int, int, int], tuple[Record, int, Node]] = {}
        """By (record, output, node): where a gradient is handed on to, and the node that it is of."""


def run_regions(run: Run) -> None:
    """Execute a run region by region."""
    Regions(run).execute()


class Regions:
    """The cut of one run, and the gradients that wait at its places."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.regions: dict[int, Region] = {_START: Region()}
        self.begins: set[int] = set()
        """The records that a region begins at (ids)."""
        self.waiting: dict[int, dict[int, Tensor]] = {}
        """Gradients that have arrived, by record and output, summed so far."""
        self.last_reader: dict[int, tuple[int, AccumulateGrad]] = {}
        """Of each leaf, the position of the last record that leads to it: it is due after that."""
        self._cut()

    # --- cutting

    def _cut(self) -> None:
        run = self.run
        incoming: dict[int, set[int]] = {}
        forced: set[int] = set()
        for (record, _), _ in run.starts:
            incoming.setdefault(id(record), set()).add(_START)
        home: dict[int, int] = {}
        for position, record in enumerate(run.records):
            sources = incoming.get(id(record), set())
            alone = record.special or _isolates(record.hooks)
            begins = (
                alone or id(record) in forced or len(sources) > 1 or run.is_target(record)
                or (record.hooks is not None and bool(record.hooks.outputs or record.hooks.retained))
            )  # fmt: skip
            if begins:
                self.begins.add(id(record))
                key = id(record)
                self.regions[key] = Region()
            else:
                (key,) = sources
            home[id(record)] = key
            self.regions[key].records.append(record)
            for (source, index), operand in zip(record.edges, record.operands):
                if source is None or not run.arrives(source):
                    continue
                if isinstance(source, AccumulateGrad):
                    self.last_reader[id(source)] = (position, source)
                    continue
                incoming.setdefault(id(source), set()).add(key)
                if alone or not source.nodes or source.nodes[index] is not operand:
                    forced.add(id(source))
        for record in run.records:
            exits = self.regions[home[id(record)]].exits
            for (source, index), operand in zip(record.edges, record.operands):
                if source is None or operand is None or not run.arrives(source):
                    continue
                leaves = isinstance(source, AccumulateGrad) or id(source) in self.begins
                if leaves or run.is_target(source):
                    exits[id(source), index, id(operand)] = (source, index, operand)

    # --- running

    def execute(self) -> None:
        """Run the regions in the order of their records, latest first; a leaf is due after its last reader."""
        run = self.run
        start = self.regions[_START]
        known = {id(record) for record in run.records}
        due: dict[int, list[AccumulateGrad]] = {}
        for position, leaf in self.last_reader.values():
            due.setdefault(position, []).append(leaf)
        first: dict[int, Record] = {}
        for (record, index), cotangent in run.starts:
            if id(record) in self.begins or id(record) not in known:
                self._hand(record, index, cotangent)
                if id(record) not in known and id(record) not in self.last_reader:
                    first[id(record)] = record
            else:
                start.starts.append((record, index, cotangent))
        for record in first.values():
            self._arrive_outside(record)
        if start.starts:
            self._gradients(start)
        for position, record in enumerate(run.records):
            if id(record) in self.begins:
                self._begin(record)
            for leaf in due.get(position, ()):
                self._leaf(leaf)
        for record, index in run.targets or ():
            pending = self.waiting.get(id(record), {}).get(index)
            if (
                pending is not None
                and (id(record), index) not in run.found
                and not isinstance(record, AccumulateGrad)
            ):
                self._arrive_outside(record)

    def _hand(self, record: Record, index: int, gradient: Tensor) -> None:
        """Add a gradient to what waits at an output of `record`."""
        places = self.waiting.setdefault(id(record), {})
        before = places.get(index)
        places[index] = gradient if before is None else add(before, gradient)

    def _arrive_outside(self, record: Record) -> None:
        """A target that gradients do not run through: a leaf among the roots, or a tensor whose own history is not wanted."""
        if isinstance(record, AccumulateGrad):
            self._leaf(record)
            return
        for index, gradient in self._after_hooks(record, self.waiting.pop(id(record), {})).items():
            self._deliver(record, index, gradient)

    def _leaf(self, leaf: AccumulateGrad) -> None:
        gradient = self.waiting.pop(id(leaf), {}).get(0)
        if gradient is None:
            return
        variable = leaf.variable
        extra = variable._extra
        if extra is not None:
            for hook in list(extra.hooks.values()):
                gradient = _call(hook, gradient)
        if leaf.hooks is not None:
            for hook in list(leaf.hooks.before.values()):
                gradient = _only(hook((gradient,)), gradient)
        run = self.run
        if not run.accumulate:
            run.found[id(leaf), 0] = gradient
            return
        accumulate_into(variable, copied(gradient), run.create_graph)
        if extra is not None:
            for hook in list(extra.accumulated.values()):
                hook(variable)
        if leaf.hooks is not None:
            for hook in list(leaf.hooks.after.values()):
                hook((), (gradient,))

    def _deliver(self, record: Record, index: int, gradient: Tensor) -> None:
        if self.run.is_target(record):
            self.run.found[id(record), index] = gradient

    def _after_hooks(self, record: Record, places: dict[int, Tensor]) -> dict[int, Tensor]:
        """The gradients of a record's outputs after its tensors' hooks; those that keep theirs get it."""
        hooks = record.hooks
        if hooks is None:
            return places
        for index in sorted(places):
            for hook in list(hooks.outputs.get(index, {}).values()):
                places[index] = _call(hook, places[index])
            kept = hooks.retained.get(index)
            tensor = None if kept is None else kept()
            if tensor is not None:
                accumulate_into(tensor, copied(places[index]), self.run.create_graph)
        return places

    def _begin(self, record: Record) -> None:
        """Run the region that begins at `record`."""
        region = self.regions[id(record)]
        places = self._after_hooks(record, self.waiting.pop(id(record), {}))
        if not places:
            return
        for index, gradient in places.items():
            self._deliver(record, index, gradient)
        hooks = record.hooks
        if not record.special and not _isolates(hooks):
            region.starts = [
                (record, index, gradient) for index, gradient in sorted(places.items())
            ]
            self._gradients(region)
            return
        count = max(len(record.nodes), 1)
        outputs = tuple([places.get(index) for index in range(count)])
        for hook in list(hooks.before.values()) if hooks is not None else ():
            outputs = _tuple(hook(outputs), outputs)
        if record.special:
            inputs: tuple[Tensor | None, ...] = record.run(outputs)  # type: ignore[attr-defined]
        else:
            region.starts = [
                (record, i, each) for i, each in enumerate(outputs) if each is not None
            ]
            inputs = self._inputs(record, region)
        for hook in list(hooks.after.values()) if hooks is not None else ():
            inputs = _tuple(hook(inputs, outputs), inputs)
        for (source, index), each in zip(record.edges, inputs):
            if source is not None and each is not None and self.run.arrives(source):
                self._hand(source, index, each)

    def _inputs(self, record: Record, region: Region) -> tuple[Tensor | None, ...]:
        """The gradients of one record's operands, in order."""
        operands = {id(operand): operand for operand in record.operands if operand is not None}
        made = self._made(region, list(operands.values()))
        by_node = dict(zip(operands, made))
        return tuple(
            [
                None if operand is None else by_node.pop(id(operand), None)
                for operand in record.operands
            ]
        )

    def _gradients(self, region: Region) -> None:
        """The GRAD of a region; its results are handed on."""
        exits = list(region.exits.values())
        nodes = list({id(node): node for _, _, node in exits}.values())
        if not nodes:
            return
        by_node = dict(zip(map(id, nodes), self._made(region, nodes)))
        for record, index, node in exits:
            self._hand(record, index, by_node[id(node)])

    def _made(self, region: Region, nodes: Sequence[Node]) -> list[Tensor]:
        starts = region.starts
        depends = None
        if self.run.create_graph:
            depends = depending(region.records, [((record, i), each) for record, i, each in starts])
        roots = [(record.nodes[index], record, index) for record, index, _ in starts]
        cotangents = [each for _, _, each in starts]
        return gradients(roots, cotangents, nodes, [True] * len(nodes), depends, region.records)


def _isolates(hooks: Hooks | None) -> bool:
    """Whether a record must run by itself: its hooks see the gradients of all its operands."""
    return hooks is not None and bool(hooks.before or hooks.after)


def _call(hook: Hook, gradient: Tensor) -> Tensor:
    """The gradient after a hook.

    Raises:
        TypeError: the hook returned something else than a tensor or None.
        RuntimeError: a tensor of another shape.
    """
    returned = hook(gradient)
    if returned is None:
        return gradient
    if not isinstance(returned, Tensor):
        raise TypeError(f"expected Variable, but hook returned '{type(returned).__name__}'")
    if returned.shape != gradient.shape:
        name = getattr(hook, "__name__", type(hook).__name__)
        raise RuntimeError(
            f"hook '{name}' has changed the size of value\n"
            f"    it was {list(gradient.shape)} and is {list(returned.shape)}"
        )
    return returned


def _tuple(returned: object, gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    if returned is None:
        return gradients
    if isinstance(returned, Tensor):
        returned = (returned,)
    if not isinstance(returned, tuple):
        raise TypeError(
            f"expected a tuple of tensors, but hook returned '{type(returned).__name__}'"
        )
    if len(returned) != len(gradients):
        raise RuntimeError(
            f"hook has returned an incorrect number of values (got {len(returned)}, but expected {len(gradients)})"
        )
    return returned


def _only(returned: object, gradient: Tensor) -> Tensor:
    found = _tuple(returned, (gradient,))[0]
    return gradient if found is None else found
