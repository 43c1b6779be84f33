"""Making the calls of a passage in full after all: before its end, or behind it for what somebody still has.

In: a passage. Out: its tensors with nodes, records and storages, as if it had never been. The calls are made in order, by the functions
themselves; what plans have computed by then hangs on the nodes as it would.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..history import mode
from ..runtime.steady import STEADY
from ..storage import Storage
from ..tensor import Tensor, make
from .foreseen import Foreseen, become_tensor, real
from .turn import ALIASES, BACKWARD, NUMBER, READ, Run, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .passage import Passage

Fill = Callable[[int, Tensor, Step], None]


def take_back(passage: Passage) -> None:
    """Take back what was noted of writes: they are made again."""
    for step in passage.turn.steps[: passage.step.index]:
        for position, slot in step.writes:
            _take_back(passage, slot, passage.slots[step.args[position][0]])
        for leaf in step.leaves:
            if leaf.into:
                _take_back(passage, leaf.result, passage.slots[leaf.result])


def _take_back(passage: Passage, slot: int, written: Tensor) -> None:
    storage: Any = written.storage
    real(storage, passage.nodes[slot])
    storage.writes -= 1
    written._counter.version -= 1
    written._stamp = passage.slots[slot]._stamp = storage.writes


def make_calls(passage: Passage) -> None:
    """Make every call up to here."""

    def fill(slot: int, made: Tensor, step: Step) -> None:
        if step.function not in ALIASES:  # an alias has its storage, which is real by now
            target = passage.slots[slot]
            if target.storage.__class__ is Foreseen:
                become_tensor(target, made, step)

    with _replaying():
        while passage.settled < passage.step.index:  # another thread may be in the middle of a call
            step = passage.turn.steps[passage.settled]
            passage.settled += 1
            mode.enabled = step.enabled
            _make(passage, step, passage.slots, fill)


def make_survivors(passage: Passage, targets: dict[int, Tensor]) -> None:
    """Behind the end: make in full what led to the results that somebody has, from the values that there were."""
    turn = passage.turn
    slots: list[Any] = []
    for external, node in zip(turn.externals, passage.nodes):
        if node is None:
            slots.append(None)
            continue
        stand_in = make(storage := Storage(node), external.dtype, external.view, storage)
        stand_in._requires = external.requires
        slots.append(stand_in)

    def fill(slot: int, made: Tensor, step: Step) -> None:
        assert slot == len(slots)
        target = targets.pop(slot, None)
        if target is not None:
            become_tensor(target, made, step)
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
                _make(passage, step, slots, fill)
    finally:
        STEADY.tracing, STEADY.observer = outer
    for run in turn.runs:
        _attach(passage, run, slots)
    for stand_in, reference in zip(slots, passage.slots):
        accumulator = (
            None if stand_in is None or stand_in._extra is None else stand_in._extra.accumulator
        )
        record = None if accumulator is None else accumulator()
        if record is not None and reference() is not None:
            record.variable = reference()


def _make(passage: Passage, step: Step, slots: list[Any], fill: Fill) -> None:
    """Make one call by the function itself; `fill` takes what comes of it."""
    values: list[Any] = [
        slots[slot] if slot >= 0 else passage.numbers[key] if slot == NUMBER else key[1]
        for slot, key in step.args
    ]
    if step.function is READ:
        assert step.run is not None
        _attach(passage, step.run, slots)
        return
    if step.function is BACKWARD:
        leaves = [slots[leaf.slot] for leaf in step.leaves]
        before = [leaf._grad for leaf in leaves]
        for leaf, given in zip(leaves, step.leaves):
            leaf._grad = slots[given.result] if given.into else None
        BACKWARD(values[0])
        for leaf, given, kept in zip(leaves, step.leaves, before):
            made, leaf._grad = leaf._grad, kept
            if not given.into:
                fill(given.result, made, step)
        return
    split = len(values) - len(step.names)
    made = step.function(*values[:split], **dict(zip(step.names, values[split:])))
    if step.result >= 0:
        fill(step.result, made, step)


def _attach(passage: Passage, run: Run, slots: list[Any]) -> None:
    """Hang what a run has computed on the nodes, if it has been."""
    if run.number >= len(passage.results):
        return
    results = passage.results[run.number]
    for slot, result, _ in (*run.plain, *run.kept):
        if slot < len(slots) and slots[slot] is not None:
            node = slots[slot].storage.node
            if node.value is None:
                node.value = results[result]
                node.depth = 0


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
