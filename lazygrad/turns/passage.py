"""One passage of a known turn: calls are compared, and nothing but tensors is made, up to the run of the plan.

In: the calls that dispatch.py announces. Out: tensors on `Foreseen` storages; at the end, values. Whoever looks behind a foreseen tensor has
the calls made in full (`Passage.settle`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from sys import getrefcount
from typing import TYPE_CHECKING, Any, ClassVar

from ..history import mode
from ..ir.node import Node, kind_of
from ..ir.op import Op
from ..recipes import SELECTING, argument_key, varies
from ..runtime.realize import FAILURES, Ready, graph_lock
from ..runtime.steady import STEADY
from ..storage import Storage
from ..tensor import Tensor, make
from .turn import BACKWARD, END, NUMBER, READ, UNALIGNED, Step, Turn, hooked, undisturbed, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..ir.node import Kind
    from ..runtime.memory import Buffer

TRIES = 4
"""How often it is tried to record what comes after a plan."""
PATIENCE = 8
"""How many passages may be left before the turn is given up, beyond a quarter of those that came to their end."""
_HELD = 2
"""What getrefcount says of an element that only its list has."""
_BUFFER = Op.BUFFER
_new: Any = object.__new__


class Foreseen(Storage):
    """The storage of a tensor that a passage has made, or has written to; its value is not even a node yet."""

    __slots__ = ()

    passage: Passage

    def __getattr__(self, name: str) -> Any:
        """Asked for what is not there: make it."""
        if name not in Storage.__slots__ or name == "passage":
            raise AttributeError(name)
        self.passage.settle()
        return object.__getattribute__(self, name)

    def replace(self, node: Node, tracked: bool = False) -> None:
        self.passage.settle()
        Storage.replace(self, node, tracked)


class Passage:
    """One passage of a turn: what is at its slots so far.

    Slots are numbered: first the tensors that the turn uses and has not made, then its results in order.
    """

    __slots__ = (
        "__weakref__", "done", "left", "nodes", "numbers", "results", "settled", "slots", "step", "survivors", "turn",
    )  # fmt: skip

    after: ClassVar[Callable[[Ready], None]]
    """What is done when the plan has run: recorder.py follows or records what comes next."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.step = turn.steps[0]
        """What is expected next."""
        count = len(turn.externals)
        self.slots: list[Any] = [None] * count
        self.nodes: list[Any] = [None] * count
        """The values that externals had when they were first used."""
        self.numbers: list[float] = []
        self.left = False
        self.done = False
        self.settled = 0
        """How many calls have been made in full after all."""
        self.results: Sequence[Buffer] = ()
        self.survivors: list[tuple[int, weakref.ref[Tensor]]] = []
        """Behind the end: the slots of those results that somebody has."""

    # --- calls that are announced

    def two(self, function: Callable[..., Any], numeric: bool, left: Any, right: Any) -> Any:
        """A call with a tensor and something else."""
        step = self.step
        if step.function is function and mode.enabled is step.enabled and not self.left:
            (first, _), (second, key) = step.args
            slots = self.slots
            if slots[first] is left or self.bind(first, left):
                if second >= 0:
                    fits = slots[second] is right or self.bind(second, right)
                elif second == NUMBER:
                    fits = (
                        right.__class__ is float and right - right == 0.0 and right not in SELECTING
                    )
                    if fits:
                        numbers = self.numbers
                        if key == len(numbers):
                            numbers.append(right)
                        else:
                            fits = numbers[key] == right
                else:
                    fits = argument_key(right) == key[0]
                if fits:
                    made = _foreseen(self, step)
                    slots.append(made)
                    self.step = step.next
                    return made
        return self._aside(function, (left, right), {})

    def call(
        self, function: Callable[..., Any], numeric: bool, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:  # fmt: skip
        """A call with whatever arguments."""
        step = self._fits(function, args, kwargs)
        if step is None:
            return self._aside(function, args, kwargs)
        made = _foreseen(self, step)
        self.slots.append(made)
        self.step = step.next
        return made

    def _fits(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Step | None:
        """What is expected next, if a call is that; `two` has the same written flat."""
        step = self.step
        if step.function is not function or mode.enabled is not step.enabled or self.left:
            return None
        given = (*args, *kwargs.values()) if kwargs else args
        if len(given) != len(step.args) or tuple(kwargs) != step.names:
            return None
        slots, numbers = self.slots, self.numbers
        new: list[float] = []
        for (slot, key), value in zip(step.args, given):
            if slot >= 0:
                if slots[slot] is not value and not self.bind(slot, value):
                    return None
            elif slot == NUMBER:
                if value.__class__ is not float or not varies(value):
                    return None
                position = key - len(numbers)
                if position == len(new):
                    new.append(value)
                elif (numbers[key] if position < 0 else new[position]) != value:
                    return None
            elif argument_key(value) != key[0]:
                return None
        numbers += new
        return step

    def write(self, function: Callable[..., Any], numeric: bool, tensor: Tensor, other: Any) -> Any:
        """A call that writes what it computes into its first operand."""
        step = self._fits(function, (tensor, other), {})
        if step is None:
            return self._aside(function, (tensor, other), {})
        with graph_lock:
            storage = tensor.storage
            if storage.__class__ is not Foreseen:
                storage.passage = self  # type: ignore[attr-defined]
                del storage.node
                storage.__class__ = Foreseen
            tensor._counter.version += 1
            storage.writes += 1
            tensor._stamp = storage.writes
            tensor._node = None
            following = self.step = step.next
        if following.function is END:
            self._finish()
        return tensor

    def backward(self, root: Tensor) -> bool:
        """backward() without arguments. Returns whether it is done; otherwise the caller does it."""
        step = self.step
        if step.function is not BACKWARD or mode.enabled is not step.enabled or self.left:
            return False
        slots = self.slots
        if slots[step.args[0][0]] is not root:
            return False
        for leaf in step.leaves:
            tensor = slots[leaf.slot]
            if tensor._grad is not None or hooked(tensor):
                return False
        with graph_lock:
            for leaf in step.leaves:
                made = _foreseen(self, leaf)
                slots.append(made)
                slots[leaf.slot]._grad = made
            self.step = step.next
        return True

    def read(self, tensor: Any) -> bool:
        """The value of a tensor is about to be read. Returns whether it is there now, and has no history."""
        step = self.step
        if step.function is READ and not self.left and self.slots[step.args[0][0]] is tensor:
            self.step = step.next
            self._finish()
            return tensor.storage.__class__ is Storage
        return False

    def bind(self, slot: int, tensor: Any) -> bool:
        """Take a tensor for an external of which none has been seen yet; whether it can be that one."""
        turn = self.turn
        if slot >= len(turn.externals) or self.slots[slot] is not None:
            return False
        wanted = turn.externals[slot]
        if tensor.__class__ is not wanted.type or tensor._requires is not wanted.requires:
            return False
        storage = tensor.storage
        if storage.__class__ is Foreseen or not whole(tensor):
            return False
        node = storage.current()
        if wanted.node is not None:
            if node is not wanted.node:
                return False
        elif (
            node.op is not _BUFFER
            or (node.kind or kind_of(node)) is not wanted.kind
            or (node.value.address & UNALIGNED == 0) is not wanted.aligned
        ):
            return False
        self.slots[slot] = tensor
        self.nodes[slot] = node
        return True

    def _aside(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """A call that is not the one expected: it is made, and ends the passage if it looks at what the passage has made."""
        if STEADY.ahead is self:
            STEADY.ahead = None
        try:
            return function(*args, **kwargs)
        finally:
            if STEADY.passage is self and not self.left and STEADY.ahead is None:
                STEADY.ahead = self

    # --- the end

    def _finish(self) -> None:
        """Run the plan; the next turn begins."""
        STEADY.ahead = None
        turn, nodes, given = self.turn, self.nodes, self.numbers
        buffers = [nodes[slot].value for slot in turn.buffers]
        ready = turn.ready
        if len(set(map(id, buffers))) < len(buffers) or not undisturbed():
            self.leave()
            return
        numbers = [value if index < 0 else given[index] for index, value in turn.numbers]
        try:
            results = ready.plan.run(buffers, numbers, ready.dims)
        except FAILURES:
            self.leave()  # the long way names the line, and the operation
            return
        slots, externals = self.slots, turn.externals
        STEADY.runs += 1
        with graph_lock:
            if self.left:  # another thread has looked at it
                return
            for slot, result in turn.written:
                storage = slots[slot].storage
                storage.node = _leaf(externals[slot].kind, results[result])
                storage.__class__ = Storage
                del storage.passage
            for slot, result, kind in turn.plain:
                _become(slots[slot].storage, Storage(_leaf(kind, results[result])))
            self.done = True
            STEADY.passage = None
            count = len(externals)
            self.survivors = [
                (slot, weakref.ref(slots[slot]))
                for slot in range(count, len(slots))
                if getrefcount(slots[slot]) > _HELD and slots[slot].storage.__class__ is Foreseen
            ]
            if self.survivors:
                self.results = results
                self.slots = [None if each is None else weakref.ref(each) for each in slots[:count]]
            else:
                self.slots, self.nodes = [], []
        turn.passed += 1
        Passage.after(ready)

    # --- making it real

    def settle(self) -> None:
        """Make in full what somebody has a result of."""
        with graph_lock:
            if self.done:
                self._settle_survivors()
            else:
                self.leave()

    def leave(self) -> None:
        """Before the end: make in full every call up to here, and follow no further."""
        with graph_lock:
            alone = STEADY.passage is self
            if not self.left:
                self.left = True
                if alone:
                    STEADY.passage = None
                if STEADY.ahead is self:
                    STEADY.ahead = None
                self._count_out()
                self._restore()
            with _replaying():
                while (
                    self.settled < self.step.index
                ):  # another thread may be in the middle of a call
                    step = self.turn.steps[self.settled]
                    self.settled += 1
                    mode.enabled = step.enabled
                    self._replay(step, self.slots, self._fill)
            if alone:
                self.slots, self.nodes = [], []  # no other thread's call can be on its way

    def _count_out(self) -> None:
        """Note that this passage was not worth its while."""
        turn = self.turn
        turn.left += 1
        if turn.left > PATIENCE + turn.passed // 4 and turn.before.turn is turn:
            turn.before.turn = None
            turn.before.tries = TRIES

    def _restore(self) -> None:
        """Take back what was noted of writes: they are made again."""
        for step in self.turn.steps[: self.step.index]:
            if step.target >= 0:
                tensor = self.slots[step.target]
                storage: Any = tensor.storage
                if storage.__class__ is Foreseen:
                    storage.node = self.nodes[step.target]
                    storage.__class__ = Storage  # type: ignore[assignment]
                    del storage.passage
                storage.writes -= 1
                tensor._counter.version -= 1
                tensor._stamp = storage.writes

    def _replay(
        self, step: Step, slots: list[Any], fill: Callable[[int, Tensor, Step], None]
    ) -> None:
        """Make one call by the function itself; `fill` takes what comes of it."""
        values: list[Any] = [
            slots[slot] if slot >= 0 else self.numbers[key] if slot == NUMBER else key[1]
            for slot, key in step.args
        ]
        if step.leaves:
            leaves = [slots[leaf.slot] for leaf in step.leaves]
            before = [leaf._grad for leaf in leaves]
            for leaf in leaves:
                leaf._grad = None
            BACKWARD(values[0])
            for leaf, given, kept in zip(leaves, step.leaves, before):
                made, leaf._grad = leaf._grad, kept
                fill(given.result, made, step)
            return
        split = len(values) - len(step.names)
        made = step.function(*values[:split], **dict(zip(step.names, values[split:])))
        if step.result >= 0:
            fill(step.result, made, step)

    def _fill(self, slot: int, made: Tensor, step: Step) -> None:
        _become_tensor(self.slots[slot], made, step)

    def _settle_survivors(self) -> None:
        """Behind the end: make in full what led to the results that somebody has, from the values that there were."""
        targets = {
            slot: tensor
            for slot, tensor in ((s, r()) for s, r in self.survivors)
            if tensor is not None
        }
        self.survivors = []
        if not targets:
            return
        turn = self.turn
        self._count_out()
        slots: list[Any] = []
        for external, node in zip(turn.externals, self.nodes):
            if node is None:
                slots.append(None)
                continue
            stand_in = make(storage := Storage(node), external.kind.dtype, None, storage)
            stand_in._requires = external.requires
            slots.append(stand_in)

        def fill(slot: int, made: Tensor, step: Step) -> None:
            assert slot == len(slots)
            target = targets.pop(slot, None)
            if target is not None:
                _become_tensor(target, made, step)
                made = target
            slots.append(made)

        outer = STEADY.tracing, STEADY.observer
        STEADY.tracing, STEADY.observer = _UNNOTICED, None
        try:
            with _replaying():
                for step in turn.steps:
                    if not targets:
                        break
                    mode.enabled = step.enabled
                    self._replay(step, slots, fill)
        finally:
            STEADY.tracing, STEADY.observer = outer
        for slot, result in turn.kept:
            if slot < len(slots):
                node = slots[slot].storage.node
                if node.value is None:
                    node.value = self.results[result]
                    node.depth = 0
        for stand_in, reference in zip(slots, self.slots):
            accumulator = (
                None if stand_in is None or stand_in._extra is None else stand_in._extra.accumulator
            )
            record = None if accumulator is None else accumulator()
            if record is not None and reference() is not None:
                record.variable = reference()
        self.slots, self.nodes, self.results = [], [], ()


class _Unnoticed:
    """STEADY.tracing while calls are made again whose writes and runs are history."""

    eager = False

    def wrote(self, storage: object) -> None:
        """Nobody waits for it."""


_UNNOTICED = _Unnoticed()


@contextmanager
def _replaying() -> Iterator[None]:
    """Inside, calls mean what they meant in a plain loop, whatever goes on around."""
    before = mode.enabled, mode.inference, STEADY.ahead, STEADY.passage
    STEADY.settling += 1
    mode.inference = False
    STEADY.ahead = STEADY.passage = None
    try:
        yield
    finally:
        STEADY.settling -= 1
        mode.enabled, mode.inference, STEADY.ahead, STEADY.passage = before


def _foreseen(passage: Passage, like: Any) -> Tensor:
    """A tensor that a passage makes, with the dtype, size and need of a gradient that a Step or a Leaf says."""
    storage: Any = _new(Foreseen)
    storage.passage = passage
    made: Tensor = _new(Tensor)
    made.storage = storage
    made.dtype = like.dtype
    made._size = like.size
    made._view = None
    made._counter = storage
    made._index = 0
    made._grad = None
    made._node = None
    made._stamp = 0
    made._extra = None
    requires = made._requires = like.requires
    if not requires:
        made._record = None  # else it is not there: nobody asks for it before the storage
    return made


def _leaf(kind: Kind, value: Buffer) -> Node:
    node = Node(_BUFFER, (), kind.dtype, kind.shape, None, kind.place)
    node.value = value
    node.kind = kind
    return node


def _become(storage: Any, real: Storage) -> None:
    """Make a storage of a foreseen one."""
    storage.node, storage.version, storage.writes = real.node, real.version, real.writes
    storage.tracked, storage.pin = real.tracked, real.pin
    storage.__class__ = Storage
    del storage.passage


def _become_tensor(target: Tensor, made: Tensor, step: Step) -> None:
    """Give a foreseen tensor what the call has made."""
    storage, source = target.storage, made.storage
    _become(storage, source)
    if storage.node.site is not None:
        storage.node.site = step.site
    record = target._record = made._record
    if record is not None and source in record.counters:
        record.counters = tuple([storage if each is source else each for each in record.counters])
    target._requires = made._requires
    target._index = made._index
    target._node = made._node
    target._stamp = made._stamp
