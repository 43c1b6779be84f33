"""Members of a group that are alike: an elementwise update of all of them that are in memory is one launch, in place.

In: an optimizer whose `update` does to each element the same, whatever its place (`Optimizer.ELEMENTWISE`). `update` itself runs once, on an
example, which tells what is to be computed and with which numbers. Where all tensors of all members are in memory, so that nothing could be
computed along with them, runtime/in_place.py does it to them: a step costs no nodes, however many parameters there are. Where gradients wait
to be computed, members of one shape get copies of the nodes of their example, which join what they wait for (`Together`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from operator import is_
from sys import getrefcount
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import config
from ..functional.creation import leaf as tensor_of
from ..functional.creation import stored_zeros
from ..history import Untracked, mode
from ..ir.node import Kind, Node, kind_of, postorder
from ..ir.op import Op
from ..reading import realize
from ..runtime import device as devices
from ..runtime.in_place import UPDATES, Update
from ..runtime.memory import Buffer
from ..runtime.realize import after_write, before_write, deep
from ..runtime.steady import DEPTH_BUDGET, STEADY
from ..storage import Storage, leaf
from ..tensor import Tensor
from ..turns import Foreseen

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
    """A member whose update is never computed. Its memory has a few elements, whatever its shape."""

    def __init__(
        self, parameter: Tensor, state: dict[str, Any], shape: tuple[int, ...] = EXAMPLE_SHAPE
    ) -> None:
        small = parameter.detach().new_zeros(EXAMPLE_SHAPE)

        def make() -> Tensor:
            value = stored_zeros(small).storage.node.value
            return tensor_of(leaf(value, parameter.dtype, shape, parameter.place))

        self.parameter, self.gradient = make(), make()
        self.state = {
            name: make() if isinstance(value, Tensor) else value for name, value in state.items()
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
        self.written: list[Node] = []
        """The operands' nodes after the update."""
        self.order: list[Storage] = []
        """The storages that `update` has written."""

    def learn(self) -> tuple[Update, list[int], list[Buffer], list[Any], list[Any]]:
        """What `update` does now: operands that change, shared buffers, numbers, and the counts then.

        Raises:
            _Unready: nothing that one kernel does to each element.
        """
        written = self.written
        changed = [n for n, node in enumerate(written) if node is not self.nodes[n]]
        found = UPDATES.find([written[n] for n in changed], changed, self.buffers)
        if found is None:
            raise _Unready
        update, shared, numbers = found
        return update, changed, shared, numbers, [self.state[name] for name in self.counters]

    def program(
        self,
    ) -> tuple[list[Node], list[tuple[Node, tuple[int, ...]]], list[tuple[int, int]]]:
        """What `update` builds now: shared leaves, which stand behind the operands, then each node with the places of its sources; and for
        each operand that changes, in the order of their writes, the place of its new value.

        Raises:
            _Unready: two operands have one value, or a new value is none of the nodes.
        """
        written = self.written
        changed = [n for n, node in enumerate(written) if node is not self.nodes[n]]
        place = {id(node): n for n, node in enumerate(self.nodes)}
        inside: list[Node] = []
        shared: list[Node] = []
        for node in postorder([written[n] for n in changed]):
            if id(node) not in place:
                (inside if node.src and node.value is None else shared).append(node)
        for node in [*shared, *inside]:
            place[id(node)] = len(place)
        lines = [(node, tuple([place[id(source)] for source in node.src])) for node in inside]
        changed.sort(key=lambda operand: self.order.index(self.storages[operand]))
        targets = [(operand, place[id(written[operand])]) for operand in changed]
        first = len(self.nodes) + len(shared)
        if len({at for _, at in targets}) < len(targets) or min(at for _, at in targets) < first:
            raise _Unready
        return shared, lines, targets


class Watch:
    """STEADY.tracing while examples are updated: what they write is nobody's business, but for the order."""

    def __init__(self) -> None:
        self.order: list[Any] = []
        self.eager = False
        """What a function that is traced sets where it must see values."""

    def wrote(self, storage: object) -> None:
        self.order.append(storage)

    def draw(self) -> int:
        """An update that draws random numbers is not elementwise."""
        raise _Unready


def show(optimizer: Optimizer, group: Group, rosters: Sequence[Roster]) -> None:
    """Have all examples updated, in one call, so that they share its numbers.

    Raises:
        _Unready: the update is not one of members alone.
    """
    watch = Watch()
    examples = [roster.example for roster in rosters]
    for roster, example in zip(rosters, examples):
        if not set(example.counters) <= set(optimizer.COUNTERS):
            raise _Unready
        example.state.update({name: roster.states[0][name] for name in example.counters})
    outer, STEADY.tracing = STEADY.tracing, watch
    try:
        optimizer.update(group, [(each.parameter, each.gradient, each.state) for each in examples])
        for example in examples:
            example.written = [storage.node for storage in example.storages]
    finally:
        STEADY.tracing = outer
        for example in examples:
            for storage, node in zip(example.storages, example.nodes):
                storage.replace(node)
    for example in examples:
        own = set(map(id, example.storages))
        example.order = [storage for storage in watch.order if id(storage) in own]
        began = set(example.state).difference(example.names, example.counters)
        for name in began:
            del example.state[name]  # members have none yet
        if began or all(map(is_, example.written, example.nodes)):
            raise _Unready


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

    def prepare(self) -> Callable[[], None]:
        """Look at every tensor. What is returned computes and counts.

        Raises:
            _Unready: one is not in memory, or is not like the others; or they are not apart.
        """
        update, changed, shared, numbers, counted = self.example.learn()
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

    def rows(self) -> list[list[Tensor]]:
        """The parameters, their gradients, and each tensor of the states."""
        gradients: list[Any] = [each._grad for each in self.parameters]
        states = [[state[name] for state in self.states] for name in self.example.names]
        return [self.parameters, gradients, *states]


Line = tuple[Node, tuple[int, ...], tuple[int, ...]]
"""A node of an example, the places of its sources, and the positions of its numbers."""


class Part(NamedTuple):
    """What is done to the members of a roster: how many there are, with how many operands each, and of which kind; its lines; which
    operands get which values."""

    members: int
    operands: int
    kind: Kind
    lines: tuple[Line, ...]
    targets: tuple[tuple[int, int], ...]


class Together:
    """The update of members whose gradients wait to be computed, as one function of all their tensors and the numbers of a step."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        self.size = sum([part.members * part.operands for part in parts])

    def __call__(self, *given: Any) -> None:
        """Build the nodes of the update: the operands of each member in turn, then the numbers.

        Raises:
            _Unready: an operand is a view or memory that the outside sees, or not like its example, or two are one; nothing has been changed.
        """
        operands: Sequence[Tensor] = given[: self.size]
        numbers: Sequence[float] = given[self.size :]
        storages = [each.storage for each in operands]
        plain: list[object] = [each._view for each in operands]
        plain += [each._record for each in operands]
        plain += [each.pin for each in storages]
        kinds = [part.kind for part in self.parts for _ in range(part.members * part.operands)]
        if (
            plain.count(None) != len(plain)
            or Untracked in [each._counter.__class__ for each in operands]
            or len(set(map(id, storages))) != len(storages)
            or not all(map(is_, [each.node.kind or kind_of(each.node) for each in storages], kinds))
        ):
            raise _Unready
        begin = 0
        for part in self.parts:
            for _ in range(part.members):
                self._update(operands[begin : begin + part.operands], part, numbers)
                begin += part.operands
        after_write()

    def _update(self, tensors: Sequence[Tensor], part: Part, numbers: Sequence[float]) -> None:
        for operand, _ in part.targets:
            before_write(tensors[operand].storage)
        values = [each.storage.current() for each in tensors]
        for node, sources, given in part.lines:
            made = node.like(tuple([values[place] for place in sources]))
            made.numbers = tuple([numbers[number] for number in given])
            made.kind = node.kind
            made.depth += node.arg.height - 1  # type: ignore[union-attr]
            values.append(made)
        for operand, place in part.targets:
            tensor, node = tensors[operand], values[place]
            storage = tensor.storage
            storage.replace(node)
            tensor._counter.version += 1
            tensor._node = None
            tensor._stamp = storage.writes
            if node.depth > DEPTH_BUDGET:
                deep(node)


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


class Members:
    """The members of a group that make a step, as rosters."""

    def __init__(
        self, optimizer: Optimizer, parameters: list[Tensor], states: list[State], shaped: bool
    ) -> None:
        self.parameters = parameters
        self.states = states
        found: dict[object, Roster] = {}
        for parameter, state in zip(parameters, states):
            counts = tuple([state[name] for name in optimizer.COUNTERS if name in state])
            shape = tuple(parameter.shape) if shaped else EXAMPLE_SHAPE
            key = (parameter.dtype, parameter.place, shape, tuple(state), counts)
            roster = found.get(key)
            if roster is None:
                roster = found[key] = Roster(Example(parameter, state, shape), [], [])
            roster.parameters.append(parameter)
            roster.states.append(state)
        self.rosters = list(found.values())
        self.together: dict[object, Together] = {}
        """The last one, by what it computes."""

    def update_together(self) -> tuple[Together, list[Any]]:
        """What the examples have shown, as a function, and what it is called with now.

        Raises:
            _Unready: the examples are not of operators that have run before, on the operands alone.
        """
        parts = []
        operands: list[Tensor] = []
        positions: dict[int, int] = {}
        numbers: list[float] = []
        for roster in self.rosters:
            shared, found, targets = roster.example.program()
            if shared or any(node.op is not Op.APPLY for node, _ in found):
                raise _Unready
            lines: list[Line] = []
            for node, sources in found:
                for number in node.numbers:
                    if id(number) not in positions:
                        positions[id(number)] = len(numbers)
                        numbers.append(number)
                lines.append((node, sources, tuple([positions[id(each)] for each in node.numbers])))
            rows = roster.rows()
            first = roster.example.nodes[0]
            kind = first.kind or kind_of(first)
            parts.append(Part(len(rows[0]), len(rows), kind, tuple(lines), tuple(targets)))
            for tensors in zip(*rows):
                operands += tensors
        key = tuple(
            [
                (part.kind, part.targets, *[(node.arg, *rest) for node, *rest in part.lines])
                for part in parts
            ]
        )
        function = self.together.get(key)
        if function is None:
            self.together.clear()
            function = self.together[key] = Together(parts)
        return function, [*operands, *numbers]

    def count(self) -> None:
        """Note that the members have made the step that their examples have made."""
        for roster in self.rosters:
            for name in roster.example.counters:
                for state in roster.states:
                    state[name] = roster.example.state[name]

    def fit(self, parameters: list[Tensor], states: list[State]) -> bool:
        """Whether these are still the members."""
        return (
            len(self.parameters) == len(parameters)
            and all(map(is_, self.parameters, parameters))
            and all(map(is_, self.states, states))
            and all([roster.complete() for roster in self.rosters])  # noqa: C419
        )


def update_alike(
    optimizer: Optimizer, known: dict[tuple[int, bool], Members], number: int, group: Group
) -> bool:
    """Make the step of a group's members that have gradients; whether it has been made.

    `known` are the optimizer's own: the members by the number of the group, and whether they wait.
    """
    if STEADY.observer is not None or STEADY.tracing is not None or STEADY.records is not None:
        return False
    if mode.enabled or mode.inference:
        return False
    parameters = [each for each in group["params"] if each._grad is not None]
    if not parameters:
        return False
    storages = [each._grad.storage for each in parameters if each._grad is not None]
    waits = Foreseen in map(type, storages) or None in [each.node.value for each in storages]
    if not waits:
        STEADY.leave()
        if not config.active().unseen:
            return False
        behind = [each for each in parameters if each.storage.node.value is None]
        if behind:
            realize(behind)  # a step that went the general way has left them
    states = [optimizer.state[each] for each in parameters]
    members = known.get((number, waits))
    try:
        with aside():
            if members is None or not members.fit(parameters, states):
                for parameter, state in zip(parameters, states):
                    if not state:
                        optimizer.begin(group, parameter, state)
                members = known[number, waits] = Members(optimizer, parameters, states, waits)
            show(optimizer, group, members.rosters)
        if waits:
            function, given = members.update_together()
            ahead = STEADY.ahead
            if ahead is None:
                function(*given)
            else:
                ahead.call(function, True, tuple(given), {})
            members.count()
        else:
            for run in [roster.prepare() for roster in members.rosters]:
                run()
    except _Unready:
        STEADY.leave()
        return False
    return True


@contextmanager
def aside() -> Iterator[None]:
    """Inside, calls belong to no turn of a loop."""
    before = STEADY.ahead, STEADY.passage, STEADY.recording
    STEADY.ahead = STEADY.passage = STEADY.recording = None
    try:
        yield
    finally:
        STEADY.ahead, STEADY.passage, STEADY.recording = before
