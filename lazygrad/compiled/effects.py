"""What a traced call has left behind, as lines of a replay: values written, gradients, counters, random streams, and its result.

In: the state before, the observer of the call, the state after. Out: lines that make new tensors, lines that put everything in its
place, and the expression of the result. What none of these can describe refuses the call by name.
"""

from __future__ import annotations

import gc
import sys
from collections import OrderedDict
from collections.abc import Sequence
from types import CellType
from typing import Any

from ..history import Counter
from ..ir.dtype import DType
from ..ir.node import Node, kind_of
from ..size import Size
from ..storage import Storage
from ..tensor import Tensor
from . import actions
from .guards import Seen
from .numbers import Lifted, written
from .scan import AsQuick, Refused
from .state import State
from .trace import Call, Observer, Step, released

_IMMUTABLE = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type(None),
    type(Ellipsis),
    DType,
    Size,
    range,
    slice,
)


class Trace:
    """A call that can be replayed: its guards, its steps, and its effects. All of it is text and the constants that are named in it."""

    __slots__ = (
        "commits",
        "generators",
        "guards",
        "makes",
        "names",
        "plain",
        "reads",
        "result",
        "shared",
        "steps",
    )

    def __init__(self, state: State, observer: Observer | None) -> None:
        """Without an observer: a call that is run as it is written."""
        self.guards = state.lines
        self.plain = observer is None
        self.steps: list[Step] = [] if observer is None else observer.steps
        self.names: dict[str, Any] = {
            **state.names,
            **(observer.names if observer is not None else {}),
        }
        self.reads: list[str] = []
        """The variables of the storages whose values are read."""
        self.shared: list[tuple[str, str]] = []
        """Pairs of them that have one buffer."""
        self.generators: list[str] = []
        self.makes: list[str] = []
        self.commits: list[tuple[str, str, str]] = []
        """Stores: the target, the sign, the value."""
        self.result = "None"


def restore(call: Call) -> list[tuple[str, str, str]]:
    """Put numbers in the place of lifted ones, and give the lines that write back those that changed."""
    lines: list[tuple[str, str, str]] = []
    for slot in call.state.slots:
        if slot.kind != "entry" or not call.lift:
            continue
        now = slot.holder.get(slot.key)
        if type(now) is Lifted:
            slot.holder[slot.key] = now.number
            if now.text != slot.variable:
                lines.append((slot.path, "=", now.text))
    return lines


def unlifted(result: Any) -> Any:
    """A result with plain numbers in it."""
    kind = type(result)
    if kind is Lifted:
        return result.number
    if kind in (list, dict, OrderedDict):
        items = list(result.items()) if kind is not list else list(enumerate(result))
        for key, value in items:
            changed = unlifted(value)
            if changed is not value:
                result[key] = changed
        return result
    if isinstance(result, tuple) and kind is not Size:
        parts = [unlifted(each) for each in result]
        if all(a is b for a, b in zip(parts, result)):
            return result
        return kind(*parts) if hasattr(result, "_fields") else kind(parts)
    return result


def scrub(call: Call) -> bool:
    """Put numbers in the place of lifted ones that the function has stored somewhere. Returns whether there were any."""
    lifted = call.observer.lifted
    call.observer.lifted = []
    left: list[Lifted] = []
    while lifted:
        number = lifted.pop()
        if sys.getrefcount(number) > 2:
            left.append(number)
        del number
    if not left:
        return False
    # those that only other numbers' frames held are gone by now
    found = False
    for holder in gc.get_referrers(*left):
        if holder is left:
            continue
        if isinstance(holder, dict):
            for key in [key for key, value in list(holder.items()) if type(value) is Lifted]:
                holder[key] = holder[key].number
                found = True
        elif isinstance(holder, list):
            for index, value in enumerate(holder):
                if type(value) is Lifted:
                    holder[index] = value.number
                    found = True
        elif isinstance(holder, CellType):
            if type(holder.cell_contents) is Lifted:
                holder.cell_contents = holder.cell_contents.number
                found = True
        elif isinstance(holder, (tuple, set)):
            found = True
    return found


def conclude(
    call: Call, state: State, after: State, raw: Any, written_back: Sequence[tuple[str, str, str]]
) -> Trace:
    """The trace of a call that has run.

    Args:
        raw: what the function returned, with lifted numbers in it.
        written_back: the lines that `restore` gave.

    Raises:
        Refused: the call has done something that a replay would not do.
    """
    observer = call.observer
    if raw is None and _only_steps(call):
        raise AsQuick("steps of optimizers are one launch as they are written")
    if observer.refusal is not None:
        raise observer.refusal
    if observer.taken:
        raise Refused("it draws random numbers on the host, as randperm does")
    bound = _unchanged(state, after)
    call.compute([tensor for _, tensor in bound])
    trace = Trace(state, observer)
    builder = Builder(call, state, trace)
    for storage, node, version, writes, _ in call.stored:
        variable = state.storages[id(storage)][1]
        if storage.writes == writes and storage.node.value is node.value:
            continue
        if storage.pinned() is not None:
            raise Refused("it writes to memory that the outside can see")
        source, kind, site = builder.parts(storage.node)
        made = builder.bind(
            f"owned(n_{variable[2:]}, getrefcount(n_{variable[2:]}), {kind}, {site})"
        )
        trace.commits.append((f"{made}.value", "=", source))
        trace.commits.append((f"{variable}.node", "=", made))
        trace.commits.append((f"{variable}.tracked", "=", "False"))
        trace.commits.append((f"{variable}.writes", "+=", f"{storage.writes - writes}"))
        if storage.version != version:
            trace.commits.append((f"{variable}.version", "+=", f"{storage.version - version}"))
    for counter, version in call.versions:
        if counter.version != version:
            text = state.counters[id(counter)][1]
            trace.commits.append((f"{text}.version", "+=", f"{counter.version - version}"))
    for seen in state.tensors:
        _gradient(seen, builder, trace)
        if seen.tensor.storage is not seen.held:
            _data(seen, builder, trace)
    for seen, tensor in bound:
        trace.commits.append((seen.path, "=", builder.tensor(tensor)))
    for generator, seed, offset in observer.generators.values():
        name = f"generator_{id(generator):x}"
        if generator._seed != seed or name not in observer.names:
            raise Refused("it begins a random stream anew")
        trace.generators.append(name)
        trace.commits.append((f"{name}._offset", "=", f"q_{name} + {generator._offset - offset}"))
    trace.commits += written_back
    trace.result = builder.expression(raw)
    for reference in observer.written.values():
        left = reference()
        if left is not None and id(left) not in state.storages and id(left) not in builder.storages:
            gc.collect(0)
            raise Refused(
                "it writes to a tensor that no argument, variable or attribute named in its code leads to"
            )
    trace.names.update({**observer.names, **builder.names})
    trace.shared = [pair for pair in observer.shared if pair[0] in observer.read_storages]
    trace.reads = sorted({*observer.read_storages, *(each for _, each in trace.shared)})
    return trace


def _unchanged(state: State, after: State) -> list[tuple[Seen, Tensor]]:
    """Refuse a call that has changed what no effect describes. Returns the places that now hold another tensor, with that."""
    before_lines = [line for line in state.lines if not line.gradient]
    after_lines = [line for line in after.lines if not line.gradient]
    for before, now in zip(before_lines, after_lines):
        if before.text != now.text:
            label = before.label or now.label
            lasting = not before.tensor and "the state of" not in label
            raise Refused(f"it changes {label}", lasting)
    if len(before_lines) != len(after_lines):
        raise Refused("it changes what its arguments and variables hold")
    gradients = {id(seen.gradient) for seen in state.tensors}
    others = [seen.tensor for seen in after.tensors if not seen.variable.startswith("g")]
    bound = []
    for seen, tensor in zip([s for s in state.tensors if not s.variable.startswith("g")], others):
        if seen.tensor is not tensor:
            if not seen.path.endswith("]") or seen.path.startswith("globals_"):
                raise Refused(f"it binds {seen.label} to another tensor", lasting=True)
            bound.append((seen, tensor))
        record = seen.tensor._record
        if record is not None and not record.released and id(seen.tensor) not in gradients:
            if seen.tensor.requires_grad:
                raise Refused(f"it gives {seen.label} a history")
    return bound


def _only_steps(call: Call) -> bool:
    """Whether a call does nothing but steps of optimizers, and forgets gradients: where everything is in memory such a step is one
    launch in place (optim/alike.py), and elsewhere it joins what it waits for; a replay would make every result anew."""
    observer = call.observer
    return (
        bool(observer.written)
        and observer.written.keys() <= observer.stepped
        and not observer.reads
        and not observer.generators
        and all(
            seen.tensor._grad is None or seen.tensor._grad is seen.gradient
            for seen in call.state.tensors
        )
    )


def _gradient(seen: Seen, builder: Builder, trace: Trace) -> None:
    now = seen.tensor._grad
    if now is seen.gradient:
        return
    text = "None" if now is None else builder.tensor(now)
    trace.commits.append((f"{seen.variable}._grad", "=", text))


def _data(seen: Seen, builder: Builder, trace: Trace) -> None:
    """`.data` was assigned: the tensor lies in another storage."""
    tensor, name = seen.tensor, seen.variable
    if tensor._view is not None or tensor._record is not None:
        raise Refused(f"it makes {seen.label} a view by assigning its .data")
    storage = builder.storage(tensor.storage)
    counter = builder.bind(f"counted({seen.counter}.version)")
    made = builder.bind(storage)
    for attribute, value in (
        ("storage", made),
        ("_counter", counter),
        ("_node", "None"),
        ("_size", "None"),
        ("_stamp", f"{made}.writes"),
    ):
        trace.commits.append((f"{name}.{attribute}", "=", value))


class Builder:
    """Makes the lines that make tensors."""

    def __init__(self, call: Call, state: State, trace: Trace) -> None:
        self.observer = call.observer
        self.trace = trace
        self.names: dict[str, Any] = {
            name: getattr(actions, name)
            for name in ("owned", "output", "dressed", "seen_through", "counted", "getrefcount")
        }
        self.state = state
        self.known: dict[int, str] = {id(seen.tensor): seen.variable for seen in state.tensors}
        self.storages: dict[int, str] = {}
        """The storages that the call made."""
        self.counters: dict[int, str] = {}
        self.count = 0
        self.depth = 0
        for seen in state.tensors:
            self.counters.setdefault(id(seen.tensor._counter), seen.counter)

    def bind(self, expression: str) -> str:
        self.count += 1
        variable = f"o{self.count}"
        self.trace.makes.append(f"{variable} = {expression}")
        return variable

    def name(self, prefix: str, value: Any, key: object) -> str:
        name = f"{prefix}_{key}"
        self.names[name] = value
        return name

    def object(self, value: Any) -> str:
        """The name of a constant that is known by identity."""
        return self.name(type(value).__name__.strip("_"), value, f"{id(value):x}")

    def parts(self, node: Node) -> tuple[str, str, str]:
        """Where the value of a node comes from, its kind, and the user's line."""
        site = "None"
        if node.site is not None:
            site = self.name(
                "site", node.site, f"{hash(node.site[0]) & 0xFFFFFFFF:x}_{node.site[1]}"
            )
        source = self.observer.source(node.value)
        if self.observer.refusal is not None:
            raise self.observer.refusal
        self.trace.names.update(self.observer.names)
        kind = kind_of(node)
        shape = "_".join(map(str, kind.shape))
        return (
            source,
            self.name("kind", kind, f"{kind.dtype.name}_{shape}_{kind.place}".replace(":", "_")),
            site,
        )

    def storage(self, storage: Storage) -> str:
        known = self.state.storages.get(id(storage))
        if known is not None:
            return known[1]
        found = self.storages.get(id(storage))
        if found is None:
            if storage.pinned() is not None:
                raise Refused("it returns memory that the outside can see")
            parts = ", ".join(self.parts(storage.node))
            found = self.storages[id(storage)] = self.bind(f"output({parts}).storage")
            if storage.version or storage.writes:
                self.trace.makes.append(
                    f"{found}.version = {storage.version}; {found}.writes = {storage.writes}"
                )
            self.counters.setdefault(id(storage), found)
        return found

    def tensor(self, tensor: Tensor) -> str:
        """A variable for a tensor: one that the call was given, or a new one."""
        found = self.known.get(id(tensor))
        if found is not None:
            return found
        self.depth += 1
        if self.depth > 64:
            raise Refused("it returns tensors that hang on one another")
        requires = tensor.requires_grad
        record = "None"
        if tensor._record is not None and requires:
            kept = released(tensor._record)
            if kept is None:
                raise Refused("its result has a history")
            record = self.name("record", kept, f"{type(kept).__name__}")
        if actions.busy(tensor) or tensor.__dict__:
            raise Refused("its result has hooks or attributes")
        storage, view, counter = tensor.storage, tensor._view, tensor._counter
        usual = (
            type(tensor) is Tensor and view is None and counter is storage and tensor._grad is None
        )
        new = id(storage) not in self.state.storages and id(storage) not in self.storages
        if usual and new and storage.version == 0 and storage.writes == 0 and storage.pin is None:
            made = self.bind(f"output({', '.join(self.parts(storage.node))})")
            self.storages[id(storage)] = f"{made}.storage"
            self.counters[id(storage)] = f"{made}.storage"
            if requires:
                self.trace.makes.append(f"{made}._requires = True")
            if record != "None":
                self.trace.makes.append(f"{made}._record = {record}")
        else:
            place = self.storage(storage)
            seen = "None"
            if view is not None:
                if view.base is not None and view.base.requires_grad:
                    raise Refused("its result is a view of a tensor that requires grad")
                base = "None" if view.base is None else self.tensor(view.base)
                parts = [
                    self.name("steps", each, f"{hash(each) & 0xFFFFFFFFFFFF:x}")
                    for each in (view.steps, view.path)
                ]
                seen = f"seen_through({base}, {', '.join(parts)}, {view.shape!r}, {view.stride!r}, {view.offset}, {view.origin!r})"
            gradient = "None" if tensor._grad is None else self.tensor(tensor._grad)
            kind, dtype = self.object(type(tensor)), self.object(tensor.dtype)
            made = self.bind(
                f"dressed({kind}, {place}, {dtype}, {seen}, {self._counter(counter)}, {requires}, {record}, {tensor._index}, {gradient})"
            )
        self.depth -= 1
        self.known[id(tensor)] = made
        return made

    def _counter(self, counter: Any) -> str:
        found = self.counters.get(id(counter))
        if found is None:
            if type(counter) is not Counter:
                raise Refused("its result was made in inference mode")
            found = self.counters[id(counter)] = self.bind(f"counted({counter.version})")
        return found

    def expression(self, result: Any) -> str:
        """The text of what the function returned."""
        kind = type(result)
        if isinstance(result, Tensor):
            return self.tensor(result)
        if kind is Lifted:
            text = written(result)
            assert text is not None
            return text
        if kind in (float, int, bool):
            text = written(result)
            assert text is not None
            return text if result is not True and result is not False else repr(result)
        if isinstance(result, _IMMUTABLE):
            return repr(result) if kind in (str, bytes, type(None)) else self.object(result)
        self.depth += 1
        if self.depth > 64:
            raise Refused("its result is nested deeply")
        try:
            if kind is list or kind is tuple:
                parts = "".join(f"{self.expression(each)}, " for each in result)
                return f"[{parts}]" if kind is list else f"({parts})"
            if isinstance(result, tuple) and hasattr(result, "_fields"):
                return f"{self.object(kind)}({', '.join(self.expression(each) for each in result)})"
            if kind is dict and all(type(key) in (str, int) for key in result):
                return (
                    "{" + ", ".join(f"{k!r}: {self.expression(v)}" for k, v in result.items()) + "}"
                )
        finally:
            self.depth -= 1
        raise Refused(f"it returns an object of type {kind.__name__}")
