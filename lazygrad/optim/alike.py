"""Members of a group that are alike: an elementwise update of all of them that are in memory is one launch, in place.

In: an optimizer whose `update` does to each element the same, whatever its place (`Optimizer.ELEMENTWISE`), and members whose tensors are
all in memory: nothing could be computed along with them. `update` itself runs once, on an example of a few elements, which tells what is to
be computed and with which numbers; runtime/in_place.py does it to the members. So a step costs no nodes, however many parameters there
are. Members that wait for something (gradients that are not computed yet) go the general way, where their update joins what it waits for.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from math import prod
from operator import is_
from sys import getrefcount
from typing import TYPE_CHECKING, Any

from .. import config
from ..functional.creation import stored_zeros
from ..history import Untracked, mode
from ..ir.node import Kind, Node, kind_of
from ..ir.op import Op
from ..reading import realize
from ..runtime import device as devices
from ..runtime.in_place import UPDATES, Update
from ..runtime.memory import Buffer
from ..runtime.steady import STEADY
from ..storage import Storage, leaf
from ..tensor import Tensor

if TYPE_CHECKING:
    from .optimizer import Group, Optimizer, State

EXAMPLE_SHAPE = (16,)
"""That of the example: no size that a rule looks for."""


class _Unready(Exception):
    """A member is not in memory, or not like the others."""


class _Holder:
    __slots__ = ("node",)
    node: object


def _references() -> int:
    """What `getrefcount` says of an object that one attribute and one variable hold."""
    holder = _Holder()
    holder.node = object()
    node = holder.node
    return getrefcount(node)


ALONE = _references()


class Example:
    """A member of a few elements whose update is never computed."""

    def __init__(self, parameter: Tensor, state: dict[str, Any]) -> None:
        small = parameter.detach().new_zeros(EXAMPLE_SHAPE)
        self.parameter, self.gradient = stored_zeros(small), stored_zeros(small)
        self.state = {
            name: stored_zeros(small) if isinstance(value, Tensor) else value
            for name, value in state.items()
        }
        self.names = tuple([name for name in state if isinstance(state[name], Tensor)])
        """The tensors of the state, which are operands behind the parameter and its gradient."""
        self.counters = tuple([name for name in state if not isinstance(state[name], Tensor)])
        self.storages = [
            tensor.storage
            for tensor in (self.parameter, self.gradient, *[self.state[n] for n in self.names])
        ]
        self.nodes = [storage.node for storage in self.storages]
        self.buffers = [node.value for node in self.nodes]
        self.eager = False
        """What a function that is traced sets where it must see values."""

    def wrote(self, storage: object) -> None:
        """STEADY.tracing: what an example writes is nobody's business."""

    def draw(self) -> int:
        """STEADY.tracing: an update that draws random numbers is not elementwise."""
        raise _Unready

    def learn(
        self, optimizer: Optimizer, group: Group, counts: Sequence[Any]
    ) -> tuple[Update, list[int], list[Buffer], list[Any], list[Any]]:
        """What `update` does now to a member that has counted so far: operands that change, shared buffers, numbers, and its counts then.

        Raises:
            _Unready: nothing that one kernel does to each element.
        """
        if not set(self.counters) <= set(optimizer.COUNTERS):
            raise _Unready
        self.state.update(zip(self.counters, counts))
        outer, STEADY.tracing = STEADY.tracing, self
        try:
            optimizer.update(group, [(self.parameter, self.gradient, self.state)])
            written = [storage.node for storage in self.storages]
        finally:
            STEADY.tracing = outer
            for storage, node in zip(self.storages, self.nodes):
                storage.replace(node)
            for name in set(self.state).difference(self.names, self.counters):
                del self.state[name]  # it begins now: members have none yet
                written = self.nodes
        changed = [n for n, node in enumerate(written) if node is not self.nodes[n]]
        if not changed:
            raise _Unready
        found = UPDATES.find([written[n] for n in changed], changed, self.buffers)
        if found is None:
            raise _Unready
        update, shared, numbers = found
        return update, changed, shared, numbers, [self.state[name] for name in self.counters]


class Roster:
    """Members with the same kinds of operands and the same counts.

    What is asked of every tensor at every step is asked of all of them at once, in rows: one for the parameters, one for their gradients,
    one for each tensor of the state.
    """

    def __init__(self, example: Example, parameters: list[Tensor], states: list[State]) -> None:
        self.example = example
        self.parameters = parameters
        self.states = states

    def complete(self) -> bool:
        """Whether the states have the entries that they had, and one count."""
        entries = len(self.example.names) + len(self.example.counters)
        if [len(state) for state in self.states].count(entries) != len(self.states):
            return False
        for name in self.example.counters:
            values = [state[name] for state in self.states]
            if values.count(values[0]) != len(values):
                return False
        return True

    def prepare(self, optimizer: Optimizer, group: Group) -> Callable[[], None]:
        """Look at every tensor. What is returned computes and counts.

        Raises:
            _Unready: one is not in memory, or is not like the others; or they are not apart.
        """
        counts = [self.states[0][name] for name in self.example.counters]
        update, changed, shared, numbers, counted = self.example.learn(optimizer, group, counts)
        rows: list[list[Any]] = [self.parameters, [each._grad for each in self.parameters]]
        rows += [[state[name] for state in self.states] for name in self.example.names]
        buffers: list[Buffer] = []
        written: list[tuple[int, list[Any], list[Storage], list[Node]]] = []
        apart: set[int] = set()
        read: set[int] = set()
        first: list[Kind] = []
        for number, tensors in enumerate(rows):
            storages = [each.storage for each in tensors]
            nodes = [each.node for each in storages]
            if [each.op for each in nodes].count(Op.BUFFER) != len(nodes):
                nodes = [each.current() for each in storages]
            kinds = [each.kind or kind_of(each) for each in nodes]
            first = first or kinds
            values = [each.value for each in nodes]
            plain = [each._view for each in tensors] + [each._record for each in tensors]
            if (
                None in values
                or Buffer in [each.__class__ for each in values]  # memory from outside
                or plain.count(None) != len(plain)
                or any([e.pinned() is not None for e in storages if e.pin is not None])  # noqa: C419
                or not all(map(is_, kinds, first))
            ):
                raise _Unready
            if number in changed:
                if Untracked in [each._counter.__class__ for each in tensors]:
                    raise _Unready
                written.append((len(buffers), tensors, storages, nodes))
                apart.update(map(id, storages))
            else:
                read.update(map(id, storages))
            buffers += values
        if len(apart) != len(written) * len(self.parameters) or not apart.isdisjoint(read):
            raise _Unready  # one update would follow another
        sizes: list[Any] = [prod(kind.shape) for kind in first]

        def run() -> None:
            values.clear()
            for start, tensors, storages, nodes in written:
                _own(buffers, start, tensors, storages, nodes)
            update.run(buffers, shared, numbers, sizes)
            for _, tensors, storages, _ in written:
                for tensor, storage in zip(tensors, storages):
                    storage.writes += 1
                    tensor._counter.version += 1
                    tensor._stamp = storage.writes
            for name, count in zip(self.example.counters, counted):
                for state in self.states:
                    state[name] = count

        return run


def _own(
    buffers: list[Buffer],
    start: int,
    tensors: list[Tensor],
    storages: list[Storage],
    nodes: list[Node],
) -> None:
    """Give each storage a buffer that nobody else knows: the one it has, or a copy."""
    for tensor in tensors:
        tensor._node = None  # what autograd knew its old value by
    counted = []
    for node in nodes:
        value = node.value  # it and the node are each in a list, too
        counted.append(getrefcount(node) > ALONE + 1 or getrefcount(value) > ALONE + 1)
    del node, value
    if True not in counted:
        return
    for place, shared in enumerate(counted):
        if shared:
            node = nodes[place]
            copy = devices.get(node.place).allocate(node.value.nbytes)
            ctypes.memmove(copy.address, node.value.address, node.value.nbytes)
            storages[place].replace(leaf(copy, node.dtype, node.shape, node.place))
            buffers[start + place] = copy


def update_in_memory(
    optimizer: Optimizer, rosters: dict[int, list[Roster]], number: int, group: Group
) -> bool:
    """Make the step of a group's members that have gradients, if all of them are in memory; whether it has been made.

    `rosters` are the optimizer's own, by the number of the group.
    """
    if STEADY.observer is not None or STEADY.tracing is not None or STEADY.records is not None:
        return False
    if mode.enabled or mode.inference or not config.active().unseen:
        return False
    parameters = [each for each in group["params"] if each._grad is not None]
    if not parameters or None in [each._grad.storage.node.value for each in parameters]:
        return False
    waiting = [each for each in parameters if each.storage.node.value is None]
    if waiting:
        realize(waiting)  # a step that went the general way has left them
    states = [optimizer.state[each] for each in parameters]
    known = rosters.get(number)
    if known is None or not _fits(known, parameters, states):
        for parameter, state in zip(parameters, states):
            if not state:
                optimizer.begin(group, parameter, state)
        known = rosters[number] = _rosters(optimizer, parameters, states)
    try:
        prepared = [roster.prepare(optimizer, group) for roster in known]
    except _Unready:
        return False
    for run in prepared:
        run()
    return True


def _fits(rosters: list[Roster], parameters: list[Tensor], states: list[State]) -> bool:
    """Whether these are still the members."""
    if len(rosters) == 1:
        (roster,) = rosters
        known, before = roster.parameters, roster.states
    else:
        known = [each for roster in rosters for each in roster.parameters]
        before = [each for roster in rosters for each in roster.states]
    return (
        len(known) == len(parameters)
        and all(map(is_, known, parameters))
        and all(map(is_, before, states))
        and all([roster.complete() for roster in rosters])  # noqa: C419
    )


def _rosters(optimizer: Optimizer, parameters: list[Tensor], states: list[State]) -> list[Roster]:
    """Runs of members that are alike."""
    found: list[Roster] = []
    last: object = None
    for parameter, state in zip(parameters, states):
        counts = tuple([state[name] for name in optimizer.COUNTERS if name in state])
        key = (parameter.dtype, parameter.place, tuple(state), counts)
        if key != last:
            last = key
            found.append(Roster(Example(parameter, state), [], []))
        found[-1].parameters.append(parameter)
        found[-1].states.append(state)
    return found
