"""Finding turns: a Recorder notes what comes between two runs of known plans, and known turns are followed.

In: calls, as dispatch.py announces them, and runs (runtime/realize.py). Out: `Ready.turn`, and passages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..history import mode
from ..ir.node import Node, kind_of
from ..ir.op import Op
from ..recipes import Recipes, argument_key, varies
from ..runtime import realize as realizing
from ..runtime.realize import Ready
from ..runtime.steady import STEADY
from ..site import here
from ..tensor import Tensor
from .passage import TRIES, Foreseen, Passage
from .turn import (
    BACKWARD,
    CONSTANT,
    NUMBER,
    READ,
    Argument,
    External,
    Leaf,
    Step,
    Turn,
    hooked,
    undisturbed,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..ir.args import Scalar
    from ..runtime.sketch import Sketch

STEP_LIMIT = 4096
"""How many calls a turn may have."""
_BUFFER = Op.BUFFER


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
        plain = all(tensor._grad is None and not hooked(tensor) for _, tensor in leaves)
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
                    if value.storage.__class__ is Foreseen or not whole(value):
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
    if undisturbed():
        expect(ready)


def expect(ready: Ready) -> None:
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
Passage.after = staticmethod(expect)
