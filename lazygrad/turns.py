"""Turns of a loop whose calls are known before they are made.

In: the calls of operators, which dispatch.py announces to `STEADY.ahead` while there is one, and the runs of plans that end turns.
Out: what a turn did (`Turn`), noted once by a `Recorder` between two runs of known plans; and afterwards its passages (`Passage`),
in which no node, record or key is made: each call is compared with the one that came at its place, its result is a tensor whose
storage is `Foreseen`, and the last call runs the plan that the turn ended with, on the buffers and numbers of this passage.

What makes this safe is that nothing is guessed. A call that fits has the same function, grad mode and constants, and as operands
the very tensors at their places, or others of the same kind, so the graph is the one whose plan is known. And whoever looks behind
a foreseen tensor (another operator, a view, a read, another thread) has the calls of the passage made in full first, in order, by
the functions themselves; as does whatever changes a tensor that the passage has used (`Passage.leave`). Terms of tracing compilers:
guards and side exits.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from sys import getrefcount
from typing import TYPE_CHECKING, Any, NamedTuple

from . import config
from .history import Untracked, mode
from .ir.node import Node, kind_of
from .ir.op import Op
from .recipes import SELECTING, Recipes, argument_key, varies
from .runtime import realize as realizing
from .runtime.memory import ALIGNMENT
from .runtime.realize import FAILURES, Ready, graph_lock
from .runtime.steady import STEADY
from .site import here
from .storage import Storage
from .tensor import Tensor, make

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .ir.args import Scalar
    from .ir.dtype import DType
    from .ir.node import Kind, Site
    from .runtime.memory import Buffer
    from .runtime.sketch import Sketch
    from .size import Size

TRIES = 4
"""How often it is tried to record what comes after a plan."""
STEP_LIMIT = 4096
"""How many calls a turn may have."""
PATIENCE = 8
"""How many passages may be left before the turn is given up, beyond a quarter of those that came to their end."""

_HELD = 2
"""What getrefcount says of an element that only its list has."""
NUMBER, CONSTANT = -1, -2
_BUFFER = Op.BUFFER
_UNALIGNED = ALIGNMENT - 1
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


class External:
    """A tensor that a turn uses and has not made: what another one in its place must be."""

    __slots__ = ("aligned", "kind", "node", "requires", "type")

    def __init__(self, tensor: Tensor, node: Node) -> None:
        self.type = tensor.__class__
        self.requires = tensor._requires
        self.kind: Kind = kind_of(node)
        self.node = None if node.op is _BUFFER else node
        """The very node, where it is no computed value."""
        self.aligned = node.op is not _BUFFER or node.value.address & _UNALIGNED == 0


Argument = tuple[int, Any]
"""A tensor's slot; or NUMBER and its position among the numbers; or CONSTANT, its key and its value."""


class Leaf(NamedTuple):
    """A leaf that gets a gradient: its slot, the gradient's, and what the gradient is."""

    slot: int
    result: int
    dtype: DType
    size: Size
    requires: bool = False


class Step:
    """One call of a turn."""

    __slots__ = (
        "args", "dtype", "enabled", "function", "index", "leaves", "names", "next", "requires", "result", "site", "size", "target",
    )  # fmt: skip

    def __init__(
        self,
        function: Any,
        enabled: bool,
        args: tuple[Argument, ...],
        names: tuple[str, ...],
        site: Site | None,
    ) -> None:
        self.function = function
        self.enabled = enabled
        """The grad mode."""
        self.args = args
        self.names = names
        """The last of the arguments are named by these."""
        self.site = site
        self.index = 0
        self.next: Step = self
        self.result = -1
        """The slot of its result."""
        self.dtype: DType | None = None
        self.size: Size | None = None
        self.requires = False
        self.target = -1
        """The slot that it writes to."""
        self.leaves: tuple[Leaf, ...] = ()
        """What it gives gradients to."""


def BACKWARD(root: Tensor) -> None:
    """backward() of one value, without arguments."""
    Tensor.backward(root)


def READ(tensor: Tensor) -> None:
    """The value is asked for: the turn ends."""
    tensor.realize()


def END() -> None:
    """No call: behind the last one."""


class Turn:
    """What comes after one run of a plan, up to the end of the next run."""

    __slots__ = (
        "before", "buffers", "era", "externals", "kept", "left", "numbers", "passed", "plain", "ready", "steps", "written",
    )  # fmt: skip

    def __init__(
        self,
        before: Ready,
        ready: Ready,
        steps: Sequence[Step],
        externals: Sequence[External],
        buffers: Sequence[int],
        numbers: Sequence[tuple[int, Scalar]],
        written: Sequence[tuple[int, int]],
        plain: Sequence[tuple[int, int, Kind]],
        kept: Sequence[tuple[int, int]],
    ) -> None:
        self.before = before
        self.ready = ready
        self.era = Recipes.era
        self.externals = tuple(externals)
        self.buffers = tuple(buffers)
        """The slot whose value is each buffer of the plan."""
        self.numbers = tuple(numbers)
        """For each number of the plan the position among those given (-1 for none), and the value of one that is always the same."""
        self.written = tuple(written)
        """The slots that are written to, each with the result that is its value."""
        self.plain = tuple(plain)
        """Other slots whose values are results, what these are, and that need no gradient; `kept`: those that have a history."""
        self.kept = tuple(kept)
        self.passed = self.left = 0
        """How many passages came to their end, and how many were left."""
        end = Step(END, True, (), (), None)
        self.steps = (*steps, end)
        for index, (step, following) in enumerate(zip(self.steps, (*self.steps[1:], end))):
            step.index = index
            step.next = following


class Passage:
    """One passage of a turn: what is at its slots so far.

    Slots are numbered: first the tensors that the turn uses and has not made, then its results in order.
    """

    __slots__ = (
        "__weakref__", "done", "left", "nodes", "numbers", "results", "settled", "slots", "step", "survivors", "turn",
    )  # fmt: skip

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
        step = self.step
        if step.function is function and mode.enabled is step.enabled and not self.left:
            given = (*args, *kwargs.values()) if kwargs else args
            if len(given) == len(step.args) and tuple(kwargs) == step.names:
                slots, numbers = self.slots, self.numbers
                new: list[float] = []
                for (slot, key), value in zip(step.args, given):
                    if slot >= 0:
                        if slots[slot] is not value and not self.bind(slot, value):
                            break
                    elif slot == NUMBER:
                        if value.__class__ is not float or not varies(value):
                            break
                        position = key - len(numbers)
                        if position == len(new):
                            new.append(value)
                        elif (numbers[key] if position < 0 else new[position]) != value:
                            break
                    elif argument_key(value) != key[0]:
                        break
                else:
                    numbers += new
                    made = _foreseen(self, step)
                    slots.append(made)
                    self.step = step.next
                    return made
        return self._aside(function, args, kwargs)

    def write(self, function: Callable[..., Any], numeric: bool, tensor: Tensor, other: Any) -> Any:
        """A call that writes what it computes into its first operand."""
        step = self.step
        if step.function is function and mode.enabled is step.enabled and not self.left:
            (target, _), (second, key) = step.args
            slots = self.slots
            if slots[target] is tensor or self.bind(target, tensor):
                if second >= 0:
                    fits = slots[second] is other or self.bind(second, other)
                elif second == NUMBER:
                    fits = (
                        other.__class__ is float and other - other == 0.0 and other not in SELECTING
                    )
                    if fits:
                        numbers = self.numbers
                        if key == len(numbers):
                            numbers.append(other)
                        else:
                            fits = numbers[key] == other
                else:
                    fits = argument_key(other) == key[0]
                if fits:
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
        return self._aside(function, (tensor, other), {})

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
            if tensor._grad is not None or _hooked(tensor):
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
        if storage.__class__ is Foreseen or not _plain(tensor):
            return False
        node = storage.current()
        if wanted.node is not None:
            if node is not wanted.node:
                return False
        elif (
            node.op is not _BUFFER
            or (node.kind or kind_of(node)) is not wanted.kind
            or (node.value.address & _UNALIGNED == 0) is not wanted.aligned
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
        if len(set(map(id, buffers))) < len(buffers) or not _undisturbed():
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
        _expect(ready)

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


def _plain(tensor: Tensor) -> bool:
    """Whether a tensor with a real storage is a variable or data, and all of its memory."""
    storage = tensor.storage
    if storage.pin is not None or tensor._view is not None or tensor._record is not None:
        return False
    if tensor._stamp != storage.writes:
        tensor._sync()
    return tensor._counter.__class__ is not Untracked


def _hooked(leaf: Tensor) -> bool:
    """Whether somebody has a say in the gradient of a leaf."""
    extra = leaf._extra
    if extra is None:
        return False
    if extra.hooks or extra.accumulated:
        return True
    record = None if extra.accumulator is None else extra.accumulator()
    return record is not None and record.hooks is not None


def _undisturbed() -> bool:
    """Whether plans run as they do in a plain loop, seen by nobody."""
    return (
        config.active().plain
        and STEADY.records is None
        and STEADY.observer is None
        and STEADY.tracing is None
        and not mode.inference
    )


# --- recording


class Recorder:
    """Notes the calls of one turn, while they are made in full."""

    def __init__(self, before: Ready) -> None:
        self.before = before
        self.steps: list[Step] = []
        self.places: dict[int, tuple[bool, int]] = {}
        """By tensor: whether it is a result, and its number among results or externals."""
        self.externals: list[tuple[Tensor, Node, int]] = []
        """With their values, and their storages' writes, when they were first used."""
        self.results: list[tuple[Tensor, Node]] = []
        self.numbers: list[float] = []
        self.number_places: dict[int, int] = {}
        self.written: dict[int, int] = {}
        """How often externals were written to."""
        self.ended: tuple[Sketch, Ready] | None = None

    def two(self, function: Callable[..., Any], numeric: bool, left: Any, right: Any) -> Any:
        return self.call(function, numeric, (left, right), {})

    def call(
        self, function: Callable[..., Any], numeric: bool, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:  # fmt: skip
        step = self._step(function, numeric, (*args, *kwargs.values()), tuple(kwargs))
        draws, runs = mode.draws, STEADY.runs
        with self._making():
            made = function(*args, **kwargs)
        if STEADY.runs != runs or mode.draws != draws:
            self.stop()
        elif step is not None and self._is_result(made):
            self._result(step, made)
            self._add(step)
        return made

    def write(self, function: Callable[..., Any], numeric: bool, tensor: Tensor, other: Any) -> Any:
        step = self._step(function, numeric, (tensor, other), ())
        version = tensor._counter.version
        with self._making():
            made = function(tensor, other)
        place = self.places.get(id(tensor))
        if (
            step is None
            or made is not tensor
            or tensor._counter.version != version + 1
            or place is None
            or place[0]
        ):
            self.stop()
        elif STEADY.recording is self:
            step.target = place[1]
            self.written[place[1]] = self.written.get(place[1], 0) + 1
            self._add(step)
            if self.ended is not None and STEADY.pending:
                self.stop()  # it ran before the write
            elif self.ended is not None:
                self._end(None)
        return made

    def backward(self, root: Tensor) -> bool:
        step = self._step(BACKWARD, False, (root,), ())
        leaves = [
            (number, tensor) for number, (tensor, _, _) in enumerate(self.externals) if tensor._requires
        ]  # fmt: skip
        plain = all(tensor._grad is None and not _hooked(tensor) for _, tensor in leaves)
        runs = STEADY.runs
        with self._making():
            Tensor.backward(root)
        if step is None or not plain or STEADY.runs != runs or not self.places[id(root)][0]:
            self.stop()
        elif STEADY.recording is self:
            found = []
            for number, tensor in leaves:
                gradient = tensor._grad
                if gradient is not None:
                    if not self._is_result(gradient) or gradient._requires:
                        self.stop()
                        return True
                    self._note_result(gradient)
                    found.append(
                        Leaf(number, len(self.results) - 1, gradient.dtype, gradient.shape)
                    )
            step.leaves = tuple(found)
            self._add(step)
        return True

    def read(self, tensor: Any) -> bool:
        if not isinstance(tensor, Tensor):
            return False
        step = self._step(READ, False, (tensor,), ())
        with self._making():
            READ(tensor)
        place = self.places.get(id(tensor))
        if step is None or place is None or not place[0] or self.ended is None:
            self.stop()
        else:
            self._add(step)
            self._end(tensor)
        return False

    def stop(self) -> None:
        """This turn is none that can be followed."""
        if STEADY.recording is self:
            STEADY.recording = None
        if STEADY.ahead is self:
            STEADY.ahead = None
        # What it holds would look like a variable of the loop to whoever decides what to keep.
        self.steps, self.externals, self.results, self.places = [], [], [], {}
        ended, self.ended = self.ended, None
        if ended is not None:
            begin(ended[1])

    @contextmanager
    def _making(self) -> Iterator[None]:
        """Inside, a call is made in full; what it calls in turn is not noted."""
        STEADY.ahead = None
        try:
            yield
        except BaseException:
            self.stop()
            raise
        if STEADY.recording is self:
            STEADY.ahead = self

    def _step(
        self, function: Callable[..., Any], numeric: bool, values: Sequence[Any], names: tuple[str, ...]
    ) -> Step | None:  # fmt: skip
        """The step of a call that is about to be made, or None where it cannot be told."""
        args: list[Argument] = []
        new: list[tuple[Tensor, Node, int]] = []
        known = dict(self.places)
        for value in values:
            if isinstance(value, Tensor):
                place = known.get(id(value))
                if place is None:
                    if value.storage.__class__ is Foreseen or not _plain(value):
                        return None
                    node = value.storage.current()
                    if node.src or (node.op is not _BUFFER and node.value is not None):
                        return None
                    place = known[id(value)] = False, len(self.externals) + len(new)
                    new.append((value, node, value.storage.writes))
                args.append((place[1] if not place[0] else -3 - place[1], None))
            elif numeric and value.__class__ is float and varies(value):
                position = self.number_places.get(id(value))
                if position is None:
                    position = self.number_places[id(value)] = len(self.numbers)
                    self.numbers.append(value)
                args.append((NUMBER, position))
            else:
                key = argument_key(value)
                if key is None:
                    return None
                args.append((CONSTANT, (key, value)))
        self.places = known
        self.externals += new
        return Step(function, mode.enabled, tuple(args), names, here())

    def _is_result(self, made: Any) -> bool:
        """Whether what a call has made is a value of its own that is not computed yet."""
        if made.__class__ is not Tensor or id(made) in self.places or made._view is not None:
            return False
        storage = made.storage
        return (
            storage.pin is None
            and storage.node.value is None
            and made._counter is storage
            and (made._record is not None) is made._requires
            and made._extra is None
            and made.shape == storage.node.shape
        )

    def _note_result(self, made: Tensor) -> None:
        self.places[id(made)] = True, len(self.results)
        self.results.append((made, made.storage.node))

    def _result(self, step: Step, made: Tensor) -> None:
        self._note_result(made)
        step.result = len(self.results) - 1
        step.dtype, step.size, step.requires = made.dtype, made.shape, made._requires

    def _add(self, step: Step) -> None:
        self.steps.append(step)
        if len(self.steps) >= STEP_LIMIT:
            self.stop()

    def _end(self, read: Tensor | None) -> None:
        """The run that ends the turn has been: put down what the turn was, if all of it is known."""
        assert self.ended is not None
        self.before.turn = self._turn(*self.ended, read)
        self.stop()

    def _turn(self, drawn: Sketch, ready: Ready, read: Tensor | None) -> Turn | None:
        asked, roots = drawn.key[0], drawn.key[1]
        if asked != (read is not None) or roots - asked != len(self.written):
            return None  # it has computed what other calls wrote
        count = len(self.externals)
        values: dict[int, int] = {}
        for slot, (tensor, node, writes) in enumerate(self.externals):
            if tensor.storage.writes != writes + self.written.get(slot, 0):
                return None  # somebody else has written there
            if node.op is _BUFFER and values.setdefault(id(node.value), slot) != slot:
                return None
        order = range(len(drawn.buffers)) if ready.buffers is None else ready.buffers
        buffers = [values.get(id(drawn.buffers[index]), -1) for index in order]
        if -1 in buffers:
            return None
        numbers: list[tuple[int, Scalar]] = []
        given = enumerate(drawn.numbers) if ready.numbers is None else ready.numbers
        for index, value in given:
            number = drawn.numbers[index] if index >= 0 else value
            numbers.append((self.number_places.get(id(number), -1) if index >= 0 else -1, number))
        targets = {id(self.externals[slot][0].storage.node): slot for slot in self.written}
        made = {id(node): (count + k, each) for k, (each, node) in enumerate(self.results)}
        written, plain, kept = [], [], []
        for result, (number, line, _) in enumerate(ready.outputs):
            node = drawn.nodes[number]
            if line >= 0:
                continue
            if id(node) in targets:
                written.append((targets[id(node)], result))
            elif id(node) in made:
                slot, tensor = made[id(node)]
                if tensor._requires:
                    kept.append((slot, result))
                else:
                    plain.append((slot, result, kind_of(node)))
        seen = {slot for slot, *_ in (*plain, *kept)}
        if len(written) != len(targets) or len(targets) != len(self.written):
            return None
        if read is not None and count + self.places[id(read)][1] not in seen:
            return None
        if read is not None and read._requires:
            return None  # its history would be made in full each time
        for step in self.steps:
            step.args = tuple(
                [(slot if slot >= CONSTANT else count - 3 - slot, key) for slot, key in step.args]
            )
            if step.result >= 0:
                step.result += count
            step.leaves = tuple([leaf._replace(result=count + leaf.result) for leaf in step.leaves])
        return Turn(
            self.before, ready, self.steps, [External(tensor, node) for tensor, node, _ in self.externals],
            buffers, numbers, written, plain, kept,
        )  # fmt: skip


def begin(ready: Ready) -> None:
    """A known plan has run, outside of what was expected or at its end: see what comes now."""
    passage = STEADY.passage
    if passage is not None:
        passage.leave()
    STEADY.ahead = STEADY.passage = None
    if _undisturbed():
        _expect(ready)


def _expect(ready: Ready) -> None:
    """Follow the turn that comes after a plan, or record it."""
    turn = ready.turn
    if turn is not None and turn.era == Recipes.era:
        STEADY.ahead = STEADY.passage = Passage(turn)
    elif ready.tries < TRIES:
        ready.tries += 1
        if ready.tries > 1:
            STEADY.ahead = STEADY.recording = Recorder(ready)


def ran(drawn: Sketch | None, ready: Ready | None) -> None:
    """A plan has run in a plain loop; neither is given where it was not known."""
    if STEADY.settling:
        return
    recording = STEADY.recording
    if recording is not None:
        if (
            drawn is not None
            and ready is not None
            and recording.ended is None
            and STEADY.ahead is None
        ):
            recording.ended = (
                drawn,
                ready,
            )  # in the middle of a call, which may be the last of the turn
            return
        recording.stop()
    if ready is None:
        STEADY.leave()
    else:
        begin(ready)


realizing.on_run = ran
