"""Finding turns: a Recorder notes what comes between two runs of known plans, and known turns are followed.

In: calls, as dispatch.py announces them, and runs (runtime/realize.py). Out: `Ready.turn`, and passages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import recipes
from ..history import mode
from ..ir.node import Node, kind_of
from ..ir.op import Op
from ..recipes import Recipes, argument_key, varies
from ..runtime import realize as realizing
from ..runtime import schedules
from ..runtime.realize import Ready
from ..runtime.steady import STEADY
from ..site import here
from ..tensor import Tensor
from .foreseen import Foreseen
from .passage import TRIES, Passage
from .turn import (
    BACKWARD,
    CONSTANT,
    DATA,
    DETACH,
    NUMBER,
    READ,
    Argument,
    External,
    Leaf,
    Run,
    Step,
    Turn,
    hooked,
    undisturbed,
    whole,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..ir.args import Scalar
    from ..ir.node import Kind
    from ..runtime.memory import Buffer
    from ..runtime.sketch import Sketch

STEP_LIMIT = 4096
"""How many calls a turn may have."""
RUN_LIMIT = 8
"""How many plans it may run."""
RESULT = CONSTANT - 1
_BUFFER, _CONST = Op.BUFFER, Op.CONST


class Recorder:
    """Notes the calls of one turn, while they are made in full.

    Slots have codes until it is known how many externals there are: external n is n, result n is RESULT - n.
    """

    def __init__(self, before: Ready) -> None:
        self.before = before
        self.steps: list[Step] = []
        self.places: dict[int, int] = {}
        """By tensor: its code."""
        self.roots: dict[int, int] = {}
        """By the code of an alias: that of the tensor whose storage it has."""
        self.externals: list[tuple[Tensor, Node, int]] = []
        """With their values, and their storages' writes, when they were first used."""
        self.results: list[tuple[Tensor, Node | None]] = []
        """With their values; an alias has none of its own."""
        self.numbers: list[float] = []
        self.number_places: dict[int, int] = {}
        self.written: dict[int, int] = {}
        """How often externals were written to."""
        self.runs: list[Run] = []
        self.computed: list[Sequence[Buffer]] = []
        """The results of each run."""
        self.ended: tuple[Sketch, Ready, Sequence[Buffer]] | None = None

    def two(self, function: Callable[..., Any], numeric: bool, left: Any, right: Any) -> Any:
        return self.call(function, numeric, (left, right), {})

    def call(
        self, function: Callable[..., Any], numeric: bool, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:  # fmt: skip
        known = self.places, len(self.externals), self.numbers, self.number_places
        step = self._step(function, numeric, (*args, *kwargs.values()), tuple(kwargs))
        before = [
            (n, each, each._counter.version)
            for n, each in enumerate(args)
            if isinstance(each, Tensor)
        ]
        draws, runs = mode.draws, STEADY.runs
        with self._making():
            made = function(*args, **kwargs)
        written = [each for each in before if each[1]._counter.version != each[2]]
        if written:
            self._wrote(step, made, written)
        elif STEADY.runs != runs or mode.draws != draws:
            self.stop()
        elif step is not None and self._is_result(made):
            self._result(step, made, made.storage.node)
            self._add(step)
        elif (
            STEADY.recording is self
        ):  # a view, say: no call of the turn, whose operands are none of it
            self.places, count, self.numbers, self.number_places = known
            del self.externals[count:]
        return made

    def write(self, function: Callable[..., Any], numeric: bool, tensor: Tensor, other: Any) -> Any:
        return self.call(function, numeric, (tensor, other), {})

    def _wrote(
        self, step: Step | None, made: Any, written: Sequence[tuple[int, Tensor, int]]
    ) -> None:
        """A call has written into operands: their positions, and their versions before."""
        if STEADY.recording is not self:
            return
        if step is None or (made is not None and made is not written[0][1]):
            self.stop()
            return
        roots = []
        for position, tensor, version in written:
            root = self._root(tensor)
            if root is None or root < 0 or tensor._counter.version != version + 1 or tensor._view:
                self.stop()
                return
            roots.append((position, root))
            self.written[root] = self.written.get(root, 0) + 1
        step.writes = tuple(roots)
        step.returns = made is not None
        self._add(step)
        if self.ended is not None and STEADY.pending:
            self.stop()  # it ran before the write
        elif self.ended is not None and self._ran(step, None):
            self._end()

    def backward(self, root: Tensor) -> bool:
        requiring = [
            (slot, tensor) for slot, (tensor, _, _) in enumerate(self.externals) if tensor._requires
        ]
        before = [
            (None, 0) if tensor._grad is None else (tensor._grad, tensor._grad._counter.version)
            for _, tensor in requiring
        ]
        growing = [gradient for gradient, _ in before if gradient is not None]
        step = self._step(BACKWARD, False, (root, *growing), ())
        plain = not any(hooked(tensor) for _, tensor in requiring)
        plain = plain and not any(gradient._view for gradient in growing)
        runs = STEADY.runs
        with self._making():
            Tensor.backward(root)
        code = self.places.get(id(root))
        if step is None or not plain or STEADY.runs != runs or code is None or code >= 0:
            self.stop()
            return True
        if STEADY.recording is not self:
            return True
        found: list[Leaf] = []
        args = [step.args[0]]
        for (slot, tensor), (earlier, version) in zip(requiring, before):
            gradient = tensor._grad
            if gradient is None or (gradient is earlier and gradient._counter.version == version):
                continue
            into = gradient is earlier
            if into and gradient._counter.version == version + 1:
                code = self.places[id(gradient)]
                args.append((code, None))
                if code >= 0:
                    self.written[code] = self.written.get(code, 0) + 1
            if gradient._requires or code < 0 if into else not self._is_result(gradient):
                self.stop()
                return True
            if not into:
                code = self._note_result(gradient, gradient.storage.node)
            found.append(Leaf(slot, code, gradient.dtype, gradient.shape, into))
        step.leaves = tuple(found)
        step.args = tuple(args)
        self._add(step)
        return True

    def alias(self, tensor: Tensor, data: bool) -> Tensor | None:
        step = None if tensor._view else self._step(DATA if data else DETACH, False, (tensor,), ())
        if step is None:
            return None
        with self._making():
            made: Tensor = step.function(tensor)
        root = self._root(tensor)
        assert root is not None
        self.roots[self._result(step, made, None)] = root
        step.of = max(root, -1)
        self._add(step)
        return made

    def read(self, tensor: Any) -> bool:
        if not isinstance(tensor, Tensor):
            return False
        step = self._step(READ, False, (tensor,), ())
        with self._making():
            READ(tensor)
        root = self._root(tensor)
        if step is None or root is None or root >= 0 or self.ended is None:
            self.stop()
        else:
            self._add(step)
            record = self.results[RESULT - root][0]._record
            if self._ran(step, root):
                run = self.runs[-1]
                # A history that is still there is what a backward pass will go through.
                if record is None or record.released or run.ready is self.before:
                    self._end()
                elif run.written or len(self.runs) >= RUN_LIMIT:
                    self.stop()
        return False

    def stop(self) -> None:
        """This turn is none that can be followed."""
        if STEADY.recording is self:
            STEADY.recording = None
        if STEADY.ahead is self:
            STEADY.ahead = None
        # What it holds would look like a variable of the loop to whoever decides what to keep.
        self.steps, self.externals, self.results, self.places = [], [], [], {}
        self.computed, self.runs = [], []
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
        numbers = list(self.numbers)
        number_places = dict(self.number_places)
        for value in values:
            if isinstance(value, Tensor):
                code = known.get(id(value))
                if code is None:
                    if value.storage.__class__ is Foreseen or not whole(value):
                        return None
                    node = value.storage.current()
                    if node.src or (node.op is not _BUFFER and node.value is not None):
                        return None
                    if value._view is not None and node.op is not _BUFFER:
                        return None
                    code = known[id(value)] = len(self.externals) + len(new)
                    new.append((value, node, value.storage.writes))
                args.append((code, None))
            elif numeric and value.__class__ is float and varies(value):
                position = number_places.get(id(value))
                if position is None:
                    position = number_places[id(value)] = len(numbers)
                    numbers.append(value)
                args.append((NUMBER, position))
            else:
                key = argument_key(value)
                if key is None:
                    return None
                args.append((CONSTANT, (key, value)))
        self.places, self.numbers, self.number_places = known, numbers, number_places
        self.externals += new
        return Step(function, mode.enabled, tuple(args), names, here())

    def _root(self, tensor: Tensor) -> int | None:
        """The code of the tensor whose storage a tensor has."""
        code = self.places.get(id(tensor))
        return None if code is None else self.roots.get(code, code)

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

    def _note_result(self, made: Tensor, node: Node | None) -> int:
        code = self.places[id(made)] = RESULT - len(self.results)
        self.results.append((made, node))
        return code

    def _result(self, step: Step, made: Tensor, node: Node | None) -> int:
        code = step.result = self._note_result(made, node)
        step.dtype, step.size, step.requires = made.dtype, made.shape, made._requires
        return code

    def _add(self, step: Step) -> None:
        self.steps.append(step)
        if len(self.steps) >= STEP_LIMIT:
            self.stop()

    def _ran(self, step: Step, asked: int | None) -> bool:
        """A plan has run in the call of a step, for what is asked for if it is a read. Whether it is known what went in and out."""
        assert self.ended is not None
        drawn, ready, results = self.ended
        step.run = self._run(drawn, ready, asked)
        if step.run is None or STEADY.recording is not self:
            self.stop()
            return False
        self.runs.append(step.run)
        self.computed.append(results)
        self.ended = None
        return True

    def _run(self, drawn: Sketch, ready: Ready, asked: int | None) -> Run | None:
        if drawn.key[0] != (asked is not None):
            return None
        places: dict[int, tuple[int, int]] = {}
        for slot, ((_, node, _), same) in enumerate(zip(self.externals, self._same())):
            if node.op is _BUFFER and same is None:
                if places.setdefault(id(node.value), (-1, slot)) != (-1, slot):
                    return None
        for number, results in enumerate(self.computed):
            places.update({id(each): (number, index) for index, each in enumerate(results)})
        order = range(len(drawn.buffers)) if ready.buffers is None else ready.buffers
        buffers = [places.get(id(drawn.buffers[index])) for index in order]
        numbers: list[tuple[int, Scalar]] = []
        given = enumerate(drawn.numbers) if ready.numbers is None else ready.numbers
        for index, value in given:
            chosen = drawn.numbers[index] if index >= 0 else value
            place = self.number_places.get(id(chosen), -1) if index >= 0 else -1
            numbers.append((place, chosen))
        made = {
            id(node): (RESULT - number, tensor)
            for number, (tensor, node) in enumerate(self.results)
            if node is not None
        }
        pending = {id(self.externals[slot][0].storage.node): slot for slot in self.written}
        written: list[tuple[int, int]] = []
        plain: list[tuple[int, int, Kind]] = []
        kept: list[tuple[int, int, Kind]] = []
        for result, (number, line, _) in enumerate(ready.outputs):
            node = drawn.nodes[number]
            if line >= 0:
                continue
            if id(node) in pending:
                written.append((pending.pop(id(node)), result))
            elif id(node) in made:
                code, tensor = made[id(node)]
                (kept if tensor._requires else plain).append((code, result, kind_of(node)))
        if None in buffers or len(written) != drawn.key[1] - drawn.key[0]:
            return None  # it has computed what other calls wrote
        if asked is not None and asked not in {code for code, *_ in (*plain, *kept)}:
            return None
        return Run(
            len(self.runs), ready, tuple([each for each in buffers if each is not None]), tuple(numbers),
            tuple(written), (), tuple(plain), tuple(kept),
        )  # fmt: skip

    def _same(self) -> list[int | None]:
        """For each external an earlier one that has the same memory: a tensor and views of it, or several views."""
        first: dict[int, int] = {}
        found: list[int | None] = []
        for slot, (_, node, _) in enumerate(self.externals):
            earlier = first.setdefault(id(node), slot) if node.op is _BUFFER else slot
            found.append(None if earlier == slot else earlier)
        return found

    def _end(self) -> None:
        """The run that ends the turn has been: put down what the turn was."""
        ready = self.runs[-1].ready
        turn = self._turn()
        if turn is not None:
            self.before.turn = turn
        self.stop()
        begin(ready)

    def _turn(self) -> Turn | None:
        constants = []
        computed = {slot for slot, _ in self.runs[-1].written}
        for slot, (tensor, _, writes) in enumerate(self.externals):
            storage = tensor.storage
            if storage.writes != writes + self.written.get(slot, 0):
                return None  # somebody else has written there
            if slot in self.written and slot not in computed:
                if storage.node.op is not _CONST or storage.node.value is not None:
                    return None
                constants.append((slot, storage.node))
        self.steps[-1].run = self.runs[-1]._replace(constants=tuple(constants))
        count = len(self.externals)

        def place(code: int) -> int:
            return code if code > RESULT else count + RESULT - code

        for step in self.steps:
            step.args = tuple([(place(code), key) for code, key in step.args])
            if step.result <= RESULT:
                step.result = place(step.result)
            step.leaves = tuple([leaf._replace(result=place(leaf.result)) for leaf in step.leaves])
            if step.run is not None:
                plain = tuple(
                    [(place(code), result, kind) for code, result, kind in step.run.plain]
                )
                kept = tuple([(place(code), result, kind) for code, result, kind in step.run.kept])
                step.run = step.run._replace(plain=plain, kept=kept)
        externals = [
            External(tensor, node, same)
            for (tensor, node, _), same in zip(self.externals, self._same())
        ]
        runs = [step.run for step in self.steps if step.run is not None]
        return Turn(self.before, self.steps, externals, runs)


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
        steady = STEADY.__dict__
        steady["ahead"] = steady["passage"] = Passage(turn)
    elif ready.tries < TRIES:
        ready.tries += 1
        if ready.tries > 1:
            STEADY.ahead = STEADY.recording = Recorder(ready)


def ran(drawn: Sketch | None, ready: Ready | None, results: Sequence[Buffer]) -> None:
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
            # in the middle of a call, which may be the last of the turn
            recording.ended = (drawn, ready, results)
            return
        recording.stop()
    if ready is None:
        STEADY.leave()
    else:
        begin(ready)


def forget() -> None:
    """Kernels get other schedules: plans that turns know are not those that will run."""
    STEADY.leave()
    recipes.forget()


realizing.on_run = ran
schedules.on_change(forget)
Passage.after = staticmethod(expect)
