"""Guards: lines of Python that find what a call reads, and say when it is not as it was. Here: the lines, and those about tensors.

In: tensors, and the expressions that find them. Out: `Guards`, which state.py fills by a walk over all that a call can reach.
"""

from __future__ import annotations

from typing import Any

from ..history import Counter, Untracked, mode
from ..ir.node import kind_of
from ..storage import Storage
from ..tensor import Tensor
from .actions import busy, differs, lies
from .scan import Refused


class Line:
    """One line of a guard: a statement, or a condition under which the state is another one."""

    __slots__ = ("condition", "fact", "gradient", "label", "tensor", "text")

    def __init__(self, text: str, condition: bool, label: str, fact: str, gradient: bool) -> None:
        self.text = text
        self.condition = condition
        self.label = label
        """What it is about, in the user's words."""
        self.fact = fact
        """What was found there."""
        self.gradient = gradient
        """Whether it is about a `.grad`, which an effect may change."""
        self.tensor = False
        """Whether it is about a tensor itself."""


class Seen:
    """A tensor that a call can reach."""

    __slots__ = ("counter", "gradient", "held", "label", "path", "storage", "tensor", "variable")

    def __init__(self, tensor: Tensor, variable: str, path: str, label: str, counter: str) -> None:
        self.tensor = tensor
        self.variable = variable
        self.path = path
        """The expression that finds it."""
        self.label = label
        self.storage = ""
        """The variable of its storage."""
        self.held = tensor.storage
        self.counter = counter
        self.gradient = tensor._grad


class Guards:
    """The lines of one signature, with the constants that they name."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.names: dict[str, Any] = {}
        self.tensors: list[Seen] = []
        self.storages: dict[int, tuple[Storage, str]] = {}
        """By identity: each storage and its variable."""
        self.counters: dict[int, tuple[Counter, str]] = {}
        """By identity: each version counter that is no storage, and the expression that finds it."""
        self._known: dict[int, str] = {}
        self._count = 0
        self._keep: list[Any] = []

    def name(self, value: Any) -> str:
        """The name under which the guard finds this very object."""
        kind = getattr(type(value), "__name__", "object").strip("_")
        name = f"{kind}_{id(value):x}"
        self.names[name] = value
        return name

    def check(self, condition: str, label: str, fact: str, gradient: bool = False) -> None:
        self.lines.append(Line(condition, True, label, fact, gradient))

    def bind(self, expression: str, gradient: bool = False) -> str:
        """A variable for what an expression finds."""
        self._count += 1
        variable = f"v{self._count}"
        self.lines.append(Line(f"{variable} = {expression}", False, "", "", gradient))
        return variable

    def tensor(self, value: Tensor, path: str, label: str) -> None:
        found = self._known.get(id(value))
        if found is not None:
            self.check(f"{path} is not {found}", label, f"the same tensor as {found}")
            return
        variable = self.bind(path)
        self._describe(value, variable, path, label, False)
        gradient = value._grad
        if gradient is None:
            self.check(f"{variable}._grad is not None", f"{label}.grad", "None", True)
            return
        found = self._known.get(id(gradient))
        if found is not None:
            self.check(
                f"{variable}._grad is not {found}",
                f"{label}.grad",
                f"the same tensor as {found}",
                True,
            )
            return
        below = f"g{variable[1:]}"
        self.lines.append(Line(f"{below} = {variable}._grad", False, "", "", True))
        self._describe(gradient, below, f"{variable}._grad", f"{label}.grad", True)
        self.check(f"{below}._grad is not None", f"{label}.grad.grad", "None", True)
        if gradient._grad is not None:
            raise Refused(f"{label}.grad has a gradient itself")

    def _describe(
        self, tensor: Tensor, variable: str, path: str, label: str, gradient: bool
    ) -> None:
        """The guards of one tensor: everything about it but its value."""
        self._known[id(tensor)] = variable
        self._keep.append(tensor)
        tensor.requires_grad  # noqa: B018  (it takes note of what other aliases have written)
        storage, view, counter = tensor.storage, tensor._view, tensor._counter
        conditions = [f"type({variable}) is not {self.name(type(tensor))}"]
        requires = tensor._requires
        conditions.append(f"{variable}._requires" if not requires else f"not {variable}._requires")
        extra = tensor._extra
        if extra is not None and (extra.hooks or extra.accumulated or extra.retains):
            raise Refused(f"{label} has hooks, or keeps its gradient")
        conditions.append(f"({variable}._extra is not None and busy({variable}))")
        self.names["busy"] = busy
        if tensor._record is not None and mode.enabled and requires:
            raise Refused(f"{label} has a history, which a replay would have to go on with")
        if tensor._record is None:
            conditions.append(f"{variable}._record is not None")
        if isinstance(counter, Untracked):
            raise Refused(f"{label} was made in inference mode")
        known = self.storages.get(id(storage))
        if known is None:
            place = f"s_{variable}"
            self.storages[id(storage)] = storage, place
            self.lines.append(Line(f"{place} = {variable}.storage", False, "", "", gradient))
            self.lines.append(Line(f"n_{variable} = {place}.node", False, "", "", gradient))
            node = f"n_{variable}"
            kind = kind_of(storage.node)
            name = f"kind_{kind.dtype.name}_{'_'.join(map(str, kind.shape))}_{kind.place}".replace(
                ":", "_"
            )
            self.names[name], self.names["differs"] = kind, differs
            conditions.append(f"({node}.kind is not {name} and differs({node}, {name}))")
            if storage.pinned() is None:
                conditions.append(f"({place}.pin is not None and {place}.pinned() is not None)")
            else:
                conditions.append(f"{place}.pinned() is None")
        else:
            place = known[1]
            conditions.append(f"{variable}.storage is not {place}")
        if counter is storage:
            conditions.append(f"{variable}._counter is not {place}")
        elif id(counter) in self.counters:
            conditions.append(f"{variable}._counter is not {self.counters[id(counter)][1]}")
        else:
            conditions.append(f"type({variable}._counter) is not {self.name(type(counter))}")
            self.counters[id(counter)] = counter, f"{variable}._counter"  # type: ignore[assignment]
        if view is None:
            conditions.append(f"{variable}._view is not None")
        else:
            if view.base is not None and view.base.requires_grad and mode.enabled:
                raise Refused(f"{label} is a view of a tensor that requires grad")
            self.names["lies"] = lies
            conditions.append(f"{variable}.dtype is not {self.name(tensor.dtype)}")
            name = f"view_{hash((view.path, view.shape, view.stride, view.offset, view.origin)) & 0xFFFFFFFFFFFF:x}"
            self.names[name] = (view.path, view.shape, view.stride, view.offset, view.origin)
            conditions.append(f"not lies({variable}, {name})")
        seen = Seen(tensor, variable, path, label, f"{variable}._counter")
        seen.storage = place
        self.tensors.append(seen)
        grad = ", requires grad" if requires else ""
        lying = f", strides {view.stride}, offset {view.offset}" if view is not None else ""
        self.check(
            " or ".join(conditions),
            label,
            f"{tensor.dtype.name}{list(tensor.shape)}{grad}{lying}",
            gradient,
        )
        self.lines[-1].tensor = True
