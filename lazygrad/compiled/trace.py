"""One call, watched: the function runs as it is written, and what it asks of the runtime is written down.

In: a function, its arguments, and the state that they reach (state.py). Out: the function's result, and a `Trace`: the plans that
ran and where their values come from, the decisions in between, the effects, and how the result is made of them. A call that raises
leaves every tensor that it reaches as it was.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Iterable, Sequence
from types import CellType, FunctionType
from typing import Any

from ..functional.settings import DEFAULTS
from ..history import Record, mode
from ..ir.args import Constant
from ..ir.node import Node, Site
from ..ir.op import Op
from ..random import Generator, default_generator
from ..runtime import device as devices
from ..runtime import profile, realize
from ..runtime.steady import STEADY
from ..site import here
from ..storage import Storage
from ..tensor import Tensor
from .actions import contents, element, settle
from .numbers import Lifted
from .scan import Refused
from .state import Slot, State

READ_LIMIT = 1 << 16
"""How many bytes of a value may be compared with what was read before."""
DECISION_LIMIT = 256


class Step:
    """One thing that a replay does before its effects: a run or a read (`text`), or a decision (`text` has `outcome`)."""

    __slots__ = ("decision", "outcome", "site", "text")

    def __init__(
        self, text: str, decision: bool = False, outcome: Any = None, site: Site | None = None
    ) -> None:
        self.text = text
        self.decision = decision
        self.outcome = outcome
        self.site = site


class Observer:
    """What the runtime tells while a call is traced. It belongs to one thread: the runtime finds it as STEADY.observer."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.steps: list[Step] = []
        self.names: dict[str, Any] = {}
        self.refusal: Refused | None = None
        self.runs = 0
        self.reads = 0
        self.embedded: dict[int, str] = {}
        self.drawn: dict[int, str] = {}
        self.generators: dict[int, tuple[Generator, int, int]] = {}
        """Each generator that was drawn from, with its seed and offset before."""
        self.taken = 0
        self.written: dict[int, weakref.ref[Storage]] = {}
        self.stepped: set[int] = set()
        """By identity: what steps of optimizers may write."""
        self.sources: dict[int, str] = {}
        """By the identity of a buffer: the expression that finds it."""
        self.made: set[int] = set()
        """Buffers that hold data of the program: made by the call, from numbers."""
        self.shared: list[tuple[str, str]] = []
        """Storages that have one buffer (variables)."""
        self.lift = True
        self.lifted: list[Lifted] = []
        self.active = True
        self._keep: list[Any] = []
        self.read_storages: dict[str, Storage] = {}
        for storage, variable in state.storages.values():
            value = storage.node.value
            if value is None:
                continue
            self._keep.append(value)
            if id(value) in self.sources:
                self.shared.append((self.sources[id(value)][2:], variable))
            else:
                self.sources[id(value)] = f"b_{variable}"

    def name(self, prefix: str, value: Any, key: object) -> str:
        """A name for a constant of the trace: the same for the same key."""
        name = f"{prefix}_{key}".replace(":", "_")  # a place may be opencl:1
        self.names[name] = value
        return name

    def refuse(self, why: str, lasting: bool = False) -> None:
        """The call goes on, but is not compiled; `lasting`: nor is any other."""
        if self.refusal is None:
            self.refusal = Refused(why, lasting)

    # --- Watcher, for lifted numbers

    def made_number(self, number: Lifted) -> None:
        """A number stands for another; none may be left when the call is done."""
        self.lifted.append(number)

    def decide(self, text: str, outcome: object) -> None:
        """The program goes on as it does because this expression has this value."""
        if not self.active or any(step.decision and step.text == text for step in self.steps):
            return
        if len(self.steps) > DECISION_LIMIT:
            self.refuse(f"it makes more than {DECISION_LIMIT} decisions")
            return
        self.steps.append(Step(text, True, outcome, here()))

    def embed(self, number: float, text: str) -> None:
        self._keep.append(number)
        self.embedded[id(number)] = text

    # --- what the runtime and the tensors report

    def ran(self, normal: Any, found: Any, results: Sequence[Any]) -> None:
        """A plan has run."""
        self._keep.append((normal.buffers, normal.numbers, results, normal.nodes))
        buffers = [self.source(buffer) for buffer in normal.buffers]
        numbers = [_constant(number) for number in normal.numbers]
        for node, entry in zip(normal.nodes, normal.entries):
            if not isinstance(node.arg, Constant):
                continue
            text = self.embedded.get(id(node.arg.value)) if type(node.arg.value) is float else None
            text = self.drawn.get(id(node), text)
            if text is None:
                continue
            if entry[0] is Op.ARGUMENT:
                numbers[entry[1]] = text
            else:
                self.decide(text, node.arg.value)
        run = self.name("run", profile.runner(found.plan), f"{id(found.plan):x}")
        self._keep.append(found.plan)
        dims = f", {tuple(found.dims)!r}" if found.dims else ""
        text = f"r{self.runs} = {run}(({_listed(buffers)}), ({_listed(numbers)}){dims})"
        self.steps.append(Step(text))
        for index, buffer in enumerate(results):
            self.sources.setdefault(id(buffer), f"r{self.runs}[{index}]")
        self.runs += 1

    def source(self, buffer: Any) -> str:
        """The expression that finds a buffer in a replay."""
        found = self.sources.get(id(buffer))
        if found is None:
            if id(buffer) not in self.made:
                self.refuse(
                    "it reads a tensor that no argument, variable or attribute named in its code leads to"
                )
            self._keep.append(buffer)
            view = devices.get(buffer.device)
            from ..ir.dtype import uint8

            data = view.to_host(buffer, uint8, (buffer.nbytes,)).tobytes()
            found = self.name("data", buffer, hashlib.sha1(data).hexdigest()[:16])
            self.sources[id(buffer)] = found
        elif found.startswith("b_"):
            variable = found[2:]
            if variable not in self.read_storages:
                self.read_storages[variable] = state_storage(self.state, variable)
        return found

    def wrote(self, storage: Storage) -> None:
        """A storage is about to be written in place."""
        self.written.setdefault(id(storage), weakref.ref(storage))

    def updates(self, values: Iterable[Any]) -> None:
        """An optimizer is about to update the tensors among these, element by element."""
        self.stepped.update([id(each.storage) for each in values if isinstance(each, Tensor)])

    def born(self, buffer: Any) -> None:
        """Data of the program became a buffer."""
        self._keep.append(buffer)
        self.made.add(id(buffer))

    def exposed(self) -> None:
        """A value's memory was given to the outside."""
        self.refuse("it gives the memory of a tensor away, by numpy() or the like")

    def item(self, tensor: Tensor, number: Any) -> Any:
        """One element was asked for: the number, or what stands for it."""
        buffer, node = tensor.storage.node.value, tensor.storage.node
        offset = tensor.storage_offset()
        shape = node.shape
        read = self.name(
            "element", element(node.dtype, node.place, shape, offset),
            f"{node.dtype.name}_{node.place}_{'_'.join(map(str, shape))}_{offset}",
        )  # fmt: skip
        variable = f"i{self.reads}"
        self.reads += 1
        self.steps.append(Step(f"{variable} = {read}({self.source(buffer)})"))
        if not self.lift or type(number) not in (float, int):
            self.decide(variable, number)
            return number
        return Lifted(number, variable, self)

    def read(self, tensor: Tensor) -> None:
        """A whole value was read."""
        node = tensor.storage.node
        buffer = node.value
        if buffer.nbytes > READ_LIMIT:
            self.refuse(f"it reads a value of {buffer.nbytes} bytes in the middle")
            return
        read = contents(node.dtype, node.place, node.shape)
        name = self.name(
            "contents", read, f"{node.dtype.name}_{node.place}_{'_'.join(map(str, node.shape))}"
        )
        self.decide(f"{name}({self.source(buffer)})", read(buffer))

    def took(self, generator: Generator, seed: int, offset: int) -> None:
        """Random numbers were drawn."""
        self.taken += 1
        self.generators.setdefault(id(generator), (generator, seed, offset))

    def drew(self, generator: Generator, seed: Node, offset: Node, at: int) -> None:
        """The nodes of a draw: its seed and its offset."""
        self.taken -= 1
        first = self.generators[id(generator)][2]
        name = self.name("generator", generator, f"{id(generator):x}")
        self._keep.append((seed, offset))
        self.drawn[id(seed)] = f"(z_{name} + 2)"
        self.drawn[id(offset)] = f"(q_{name} + {at - first})"


def state_storage(state: State, variable: str) -> Storage:
    """The storage of a variable of the guards."""
    for storage, name in state.storages.values():
        if name == variable:
            return storage
    raise KeyError(variable)


def _constant(number: Any) -> str:
    if type(number) is float and (number != number or number in (float("inf"), float("-inf"))):
        return f"float('{number}')"
    return repr(number)


def _listed(texts: Sequence[str]) -> str:
    return "".join(f"{text}, " for text in texts).rstrip() if texts else ""


# --- the call


class Call:
    """A call in the course of being traced, with all that is put back if it fails."""

    def __init__(self, target: Callable[..., Any], state: State, lift: bool) -> None:
        self.target = target
        self.state = state
        self.lift = lift
        self.before = [_fields(seen.tensor) for seen in state.tensors]
        self.stored = [
            (storage, storage.node, storage.version, storage.writes, storage.tracked)
            for storage, _ in state.storages.values()
        ]
        self.versions = [(counter, counter.version) for counter, _ in state.counters.values()]
        self.grads = [seen.tensor._grad for seen in state.tensors]
        self.random = [
            (g, g._seed, g._offset)
            for g in {id(g): g for g in (default_generator, *state.generators)}.values()
        ]
        self.observer = Observer(state)
        self.observer.lift = lift
        if not lift:
            for slot in state.slots:
                self.observer.decide(slot.variable, slot.number)

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the function under observation. The numbers in its result may be lifted ones."""
        function, args, kwargs, entries = self._lifted(args, kwargs)
        STEADY.leave()
        outer, STEADY.observer = STEADY.observer, self.observer
        try:
            result = function(*args, **kwargs)
            self._finish(result)
            return result
        except BaseException:
            self.undo()
            for slot in entries:
                slot.holder[slot.key] = slot.number
            raise
        finally:
            STEADY.observer = outer

    def _lifted(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], list[Slot]]:
        """The function and its arguments with lifted numbers in the place of those that may be; and the entries where they stand."""
        if not self.lift:
            return self.target, args, kwargs, []
        given, named = list(args), dict(kwargs)
        function = self.target
        cells: dict[int, CellType] = {}
        variables: dict[str, Any] = {}
        entries: list[Slot] = []
        for slot in self.state.slots:
            number = Lifted(slot.number, slot.variable, self.observer)
            if slot.kind == "argument" and isinstance(slot.key, int):
                given[slot.key] = number
            elif slot.kind == "argument":
                named[slot.key] = number
            elif slot.kind == "cell":
                cells[id(slot.holder)] = CellType(number)
            elif slot.kind == "global":
                variables[slot.key] = number
            else:
                slot.holder[slot.key] = number
                entries.append(slot)
        if cells or variables:
            assert isinstance(function, FunctionType)
            closure = tuple([cells.get(id(cell), cell) for cell in function.__closure__ or ()])
            known = {**function.__globals__, **variables} if variables else function.__globals__
            again = FunctionType(
                function.__code__, known, function.__name__, function.__defaults__, closure or None
            )
            again.__kwdefaults__ = function.__kwdefaults__
            function = again
        return function, tuple(given), named, entries

    def _finish(self, result: Any) -> None:
        """Compute everything that the call has left behind, in one plan."""
        nodes = [tensor.storage.node for tensor in tensors_in(result)]
        for storage, _ in self.state.storages.values():
            nodes.append(storage.node)
        for seen in self.state.tensors:
            nodes.append(seen.tensor.storage.node)
            if seen.tensor._grad is not None:
                nodes.append(seen.tensor._grad.storage.node)
        for reference in self.observer.written.values():
            storage_left = reference()
            if storage_left is not None:
                nodes.append(storage_left.node)
        realize.realize(list(dict.fromkeys(node for node in nodes if node.value is None)))

    def compute(self, tensors: Sequence[Tensor]) -> None:
        """Compute more that the call has left behind."""
        nodes = [tensor.storage.node for tensor in tensors]
        outer, STEADY.observer = STEADY.observer, self.observer
        try:
            realize.realize(list(dict.fromkeys(node for node in nodes if node.value is None)))
        finally:
            STEADY.observer = outer

    def undo(self) -> None:
        """Put back what the call has changed."""
        for seen, fields in zip(self.state.tensors, self.before):
            for name, value in fields:
                setattr(seen.tensor, name, value)
        for storage, node, version, writes, tracked in self.stored:
            if storage.node is not node:
                # the count goes on, so that every alias takes note
                storage.replace(node, tracked)
            storage.version = version
            if storage.writes == writes:
                continue
        for counter, version in self.versions:
            counter.version = version
        for generator, seed, offset in self.random:
            generator._seed, generator._offset = seed, offset

    def forget(self, after: State) -> None:
        """Let go of the values of before. What the call has left are values alone: no replay would let go of what they were made of."""
        for storage, _ in after.storages.values():
            storage.current()
        for kept in (self.before, self.stored, self.grads, self.observer._keep):
            kept.clear()


def _fields(tensor: Tensor) -> list[tuple[str, Any]]:
    names = (
        "_grad",
        "_record",
        "_index",
        "_requires",
        "_extra",
        "storage",
        "_view",
        "_counter",
        "_size",
        "dtype",
    )
    return [(name, getattr(tensor, name)) for name in names]


def tensors_in(result: Any) -> list[Tensor]:
    """The tensors of what a function returned."""
    found: list[Tensor] = []
    stack = [result]
    seen: set[int] = set()
    while stack:
        item = stack.pop()
        if isinstance(item, Tensor):
            found.append(item)
        elif isinstance(item, (dict, list, tuple)) and id(item) not in seen:
            seen.add(id(item))
            stack.extend(reversed(list(item.values()) if isinstance(item, dict) else item))
    return found


def circumstances() -> tuple[object, ...]:
    """What every operation depends on beside its operands."""
    from .. import config
    from ..runtime import schedules

    switches = config.active()
    schedules.search(switches.search)
    return (
        mode.enabled, mode.inference, DEFAULTS.dtype, switches, DEFAULTS.device, schedules.changes(),
    )  # fmt: skip


def prepare(state: State) -> None:
    """Compute what is pending, so that what the call reads are values."""
    realize.submit("a call is traced")
    settle([storage for storage, _ in state.storages.values()])
    for storage, _ in state.storages.values():
        storage.current()


def released(record: Record) -> Record | None:
    """A record such as this one is after a backward pass, or None where it is not released."""
    if not record.released:
        return None
    made = type(record)((), (), ())
    made.released = True
    return made
