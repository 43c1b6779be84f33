"""One passage of a known turn: calls are compared, and nothing but tensors is made, up to the runs of its plans.

In: the calls that dispatch.py and tensor.py announce. Out: tensors on `Foreseen` storages; at the runs, values. Whoever looks behind a
foreseen tensor has the calls made in full (`Passage.settle`, settling.py).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from sys import getrefcount
from typing import TYPE_CHECKING, Any, ClassVar

from ..history import mode
from ..ir.node import kind_of
from ..ir.op import Op
from ..recipes import SELECTING, argument_key, varies
from ..runtime.realize import FAILURES, Ready, graph_lock
from ..runtime.steady import STEADY
from ..tensor import Tensor
from . import settling
from .foreseen import Foreseen, alias, computed, constant, foresee, foreseen, leaf, real
from .turn import (
    BACKWARD,
    DATA,
    DETACH,
    END,
    NUMBER,
    READ,
    UNALIGNED,
    Run,
    Step,
    Turn,
    hooked,
    undisturbed,
    whole,
)  # fmt: skip

if TYPE_CHECKING:
    from ..ir.args import Scalar
    from ..runtime.memory import Buffer

TRIES = 4
"""How often it is tried to record what comes after a plan."""
PATIENCE = 8
"""How many passages may be left before the turn is given up, beyond a quarter of those that came to their end."""
_HELD = 2
"""What getrefcount says of an element that only its list has."""
_BUFFER, _CONST = Op.BUFFER, Op.CONST


class Passage:
    """One passage of a turn: what is at its slots so far.

    Slots are numbered: first the tensors that the turn uses and has not made, then its results in order.
    """

    __slots__ = (
        "__weakref__", "done", "left", "nodes", "numbers", "results", "settled", "slots", "step", "survivors", "turn",
    )  # fmt: skip

    after: ClassVar[Callable[[Ready], None]]
    """What is done when the last plan has run: recorder.py follows or records what comes next."""

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
        self.results: list[Sequence[Buffer]] = []
        """Of each run."""
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
                    made = foreseen(self, step)
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
        if step.writes:
            return self._written(step, args)
        made = foreseen(self, step)
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
        return self._written(step, (tensor,))

    def _written(self, step: Step, args: Sequence[Any]) -> Any:
        """The call that a step expects has written into operands."""
        with graph_lock:
            for position, _ in step.writes:
                self._grow(args[position])
            self.step = step.next
        if step.run is not None:
            self._execute(step.run)
        return args[0] if step.returns else None

    def _grow(self, tensor: Tensor) -> None:
        """Note a write."""
        storage = tensor.storage
        foresee(self, storage)
        tensor._counter.version += 1
        tensor._stamp = storage.writes
        tensor._node = None

    def backward(self, root: Tensor) -> bool:
        """backward() without arguments. Returns whether it is done; otherwise the caller does it."""
        slots, leaves = self.slots, self.step.leaves
        growing = [slots[leaf.slot]._grad for leaf in leaves if leaf.into]
        step = self._fits(BACKWARD, (root, *growing), {})
        if step is None:
            return False
        for each in leaves:
            tensor = slots[each.slot]
            if hooked(tensor) or (not each.into and tensor._grad is not None):
                return False
        with graph_lock:
            for each in leaves:
                if each.into:
                    self._grow(slots[each.result])
                else:
                    made = foreseen(self, each)
                    slots.append(made)
                    slots[each.slot]._grad = made
            self.step = step.next
        return True

    def alias(self, tensor: Tensor, data: bool) -> Tensor | None:
        """`.data` or `.detach()`. Returns None where that is not what is expected: the caller makes it."""
        step = self._fits(DATA if data else DETACH, (tensor,), {})
        if step is None:
            return None
        made = alias(step, tensor, data)
        self.slots.append(made)
        self.step = step.next
        return made

    def read(self, tensor: Any) -> bool:
        """The value of a tensor is about to be read. Returns whether it is there now."""
        step = self.step
        if step.function is READ and not self.left and self.slots[step.args[0][0]] is tensor:
            assert step.run is not None
            self.step = step.next
            self._execute(step.run)
            return not self.left
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
        node = storage.node
        if node.value is not None and node.op is not _BUFFER:
            node = storage.settle(node)
        if wanted.node is not None:
            if node is not wanted.node and not (
                node.op is wanted.node.op is _CONST
                and (node.kind or kind_of(node)) is wanted.kind
                and node.arg == wanted.node.arg
            ):
                return False
        elif (
            node.op is not _BUFFER
            or (node.kind or kind_of(node)) is not wanted.kind
            or (node.value.address & UNALIGNED == 0) is not wanted.aligned
        ):
            return False
        view = tensor._view
        if view is not None or wanted.view is not None:
            if view is None or not view.alike(wanted.view):
                return False
        if wanted.same is not None and self.nodes[wanted.same] is not node:
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

    # --- running

    def _execute(self, run: Run) -> None:
        """Run a plan; behind the last one the next turn begins."""
        steady = STEADY.__dict__  # the thread is found once
        steady["ahead"] = None
        nodes, before, ready = self.nodes, self.results, run.ready
        buffers = [
            nodes[index].value if source < 0 else before[source][index]
            for source, index in run.buffers
        ]
        several = len(buffers) > 1
        if (several and len(set(map(id, buffers))) < len(buffers)) or not undisturbed():
            self.leave()
            return
        numbers: Sequence[Scalar] = ()
        if run.numbers:
            given = self.numbers
            numbers = [value if index < 0 else given[index] for index, value in run.numbers]
        try:
            results = ready.plan.run(buffers, numbers, ready.dims)
        except FAILURES:
            self.leave()  # the long way names the line, and the operation
            return
        steady["runs"] += 1
        with graph_lock:
            if self.left:  # another thread has looked at it
                return
            before.append(results)
            self._take(run, results)
            if self.step.function is not END:
                steady["ahead"] = self
                return
            steady["passage"] = None
            self._end()
        self.turn.passed += 1
        Passage.after(ready)

    def _take(self, run: Run, results: Sequence[Buffer]) -> None:
        """Give values to what a run has computed."""
        slots, externals = self.slots, self.turn.externals
        for slot, result in run.written:
            real(slots[slot].storage, leaf(externals[slot].kind, results[result]))
        for slot, node in run.constants:
            real(slots[slot].storage, constant(node))
        for slot, result, kind in run.plain:
            computed(slots[slot].storage, kind, results[result])
        for slot, result, kind in run.kept:
            slots[slot].storage.known = (results[result], kind)

    def _end(self) -> None:
        """Every call has come: let go of what nobody has."""
        self.done = True
        slots, count = self.slots, len(self.turn.externals)
        if self.turn.open:
            self.survivors = [
                (slot, weakref.ref(slots[slot]))
                for slot in range(count, len(slots))
                if getrefcount(slots[slot]) > _HELD and slots[slot].storage.__class__ is Foreseen
            ]
        if self.survivors:
            self.slots = [None if each is None else weakref.ref(each) for each in slots[:count]]
        else:
            self.slots, self.nodes, self.results = [], [], []

    # --- making it real

    def settle(self) -> None:
        """Make in full what somebody has a result of."""
        with graph_lock:
            if self.done:
                survivors = {
                    slot: tensor
                    for slot, tensor in ((s, r()) for s, r in self.survivors)
                    if tensor is not None
                }
                self.survivors = []
                if survivors:
                    self._count_out()
                    settling.make_survivors(self, survivors)
                    self.slots, self.nodes, self.results = [], [], []
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
                settling.take_back(self)
            settling.make_calls(self)
            if alone:
                # no other thread's call can be on its way
                self.slots, self.nodes, self.results = [], [], []

    def _count_out(self) -> None:
        """Note that this passage was not worth its while."""
        turn = self.turn
        turn.left += 1
        if turn.left > PATIENCE + turn.passed // 4 and turn.before.turn is turn:
            turn.before.turn = None
            turn.before.tries = TRIES
