"""Calling operators: by a recipe where there is one, the long way where not.

In: an operator's `build` function (functional/), its recipes, and what it is called with. Out: tensors, with their nodes, storages and
records. What a recipe does not cover (memory that the outside sees, inference mode, errors) goes the long way through `build` and
results.py, and so means the same. This runs for every operation of a loop, and is written flat.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from .history import Record, Untracked, mode, sequence
from .ir.node import RECORDED, Node, kind_of
from .ir.op import Op
from .ir.template import own
from .recipes import Key, Recipe, Recipes, argument_key, varies
from .results import refuse_inference, result, save
from .runtime.realize import after_write, before_write, deep
from .runtime.steady import DEPTH_BUDGET, STEADY
from .site import OURS, here
from .storage import Storage
from .tensor import Tensor

if TYPE_CHECKING:
    from .history import Edge

Build = Callable[..., Any]
Function = TypeVar("Function", bound=Callable[..., Any])

_new: Any = object.__new__
_APPLY, _BUFFER = Op.APPLY, Op.BUFFER
_frame = sys._getframe
_NOTHING: tuple[None, int] = (None, 0)
_ONE, _ONE_AND_NUMBER, _BOTH = (0,), (0, -1), (0, 1)
_NUMBER = ("number",)


def general(recipes: Recipes, build: Build, slow: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function like `slow`, which makes a tensor of what `build` returns, that uses recipes."""
    find = recipes.known.get
    numeric = recipes.numeric

    def apply(*args: Any, **kwargs: Any) -> Tensor:
        ahead = STEADY.ahead
        if ahead is not None:
            foreseen: Tensor = ahead.call(apply, numeric, args, kwargs)
            return foreseen
        tensors: list[Tensor] = []
        numbers: list[float] = []
        key: list[Any] = []
        for value in args:
            if isinstance(value, Tensor):
                tensors.append(value)
                key.append(Tensor)
            elif numeric and value.__class__ is float and varies(value):
                numbers.append(value)
                key.append(float)
            else:
                part = argument_key(value)
                if part is None:
                    return slow(*args, **kwargs)
                key.append(part)
        for name, value in kwargs.items():
            if isinstance(value, Tensor):
                tensors.append(value)
                key.append(name)
            else:
                part = argument_key(value)
                if part is None:
                    return slow(*args, **kwargs)
                key.append((name, part))
        if not args or key[0] is not Tensor or "out" in kwargs:
            return slow(*args, **kwargs)
        found = operands(tensors)
        if found is None:
            return slow(*args, **kwargs)
        nodes, tracked = found
        for node in nodes:
            key.append(node.kind or kind_of(node))
        if tracked:
            key += [tensor._requires for tensor in tensors]
        if len(tensors) > 1:
            key.append(_pattern(tensors))
        recipe = find(tuple(key))
        if recipe is not None:
            return make(recipe, nodes, tensors, tuple(numbers), tracked)
        boxes = {id(value): own(value) for value in numbers}
        given = [boxes.get(id(value), value) for value in args]
        before = mode.draws
        outcome = build(*given, **kwargs)
        if mode.draws == before:
            boxed = [boxes[id(value)] for value in numbers]
            recipe = recipes.learn(tuple(key), outcome, tensors, nodes, boxed)
            if recipe is not None:
                return make(recipe, nodes, tensors, tuple(numbers), tracked)
        return result(*outcome)

    return apply


def announced(run: Function) -> Function:
    """A function on tensors, of any results, that is announced as an operator is: called once, not for each of those it is made of."""

    @wraps(run)
    def called(*args: Any, **kwargs: Any) -> Any:
        ahead = STEADY.ahead
        if ahead is None:
            return run(*args, **kwargs)
        return ahead.call(run, False, args, kwargs)

    return called  # type: ignore[return-value]


def _pattern(tensors: Sequence[Tensor]) -> tuple[int, ...] | None:
    """Which of the tensors are the same; None where no two are."""
    if len(tensors) == 2:
        return (0, 0) if tensors[0] is tensors[1] else None
    first: dict[int, int] = {}
    numbers = tuple([first.setdefault(id(tensor), index) for index, tensor in enumerate(tensors)])
    return numbers if len(first) != len(tensors) else None


def operands(tensors: Sequence[Tensor]) -> tuple[tuple[Node, ...], bool] | None:
    """The nodes that an operation on these tensors builds on, and whether it is recorded; None where no recipe serves.

    See results.tensor_nodes.
    """
    tracked = False
    for tensor in tensors:
        storage = tensor.storage
        if storage.pin is not None:
            return None
        if tensor._stamp != storage.writes:
            tensor._sync()
        if tensor._requires:
            tracked = True
    if tracked and mode.enabled:
        return tuple([t.node if t._requires else t._constant() for t in tensors]), True
    if mode.inference:
        return None
    nodes = []
    for tensor in tensors:
        node = tensor.storage.node
        plain = tensor._view is None and (node.value is None or node.op is _BUFFER)
        nodes.append(node if plain else tensor._raw())
    return tuple(nodes), False


def binary(recipes: Recipes, build: Build, slow: Callable[..., Any]) -> Callable[..., Any]:
    """The method of a Python operator, written flat: self and a tensor or a number. `slow` takes what no recipe serves."""
    find = recipes.known.get
    numeric = recipes.numeric

    def method(self: Tensor, other: Any) -> Any:
        ahead = STEADY.ahead
        if ahead is not None:
            return ahead.two(method, numeric, self, other)
        if isinstance(other, Tensor):
            storage, another = self.storage, other.storage
            if storage.pin is not None or another.pin is not None:
                return slow(self, other)
            if self._stamp != storage.writes:
                self._sync()
            if other._stamp != another.writes:
                other._sync()
            if (self._requires or other._requires) and mode.enabled:
                if self._requires:
                    record = self._record
                    if self._node is None and record is not None and record.nodes:
                        first = record.nodes[self._index]
                    else:
                        first = self.node
                else:
                    first = self._constant()
                second = other.node if other._requires else other._constant()
                key: Key = (
                    first.kind or kind_of(first),
                    self._requires,
                    second.kind or kind_of(second),
                    other._requires,
                    self is other,
                )
                tracked = True
            else:
                if mode.inference:
                    return slow(self, other)
                first, second = storage.node, another.node
                if self._view is not None or (first.value is not None and first.op is not _BUFFER):
                    first = self._raw()
                if other._view is not None or (
                    second.value is not None and second.op is not _BUFFER
                ):
                    second = other._raw()
                key = (first.kind or kind_of(first), second.kind or kind_of(second), self is other)
                tracked = False
            recipe = find(key)
            if recipe is not None:
                return make(recipe, (first, second), (self, other), (), tracked)
            outcome = build(self, other)
            recipes.learn(key, outcome, (self, other), (first, second), ())
            return result(*outcome)
        kind = other.__class__
        if kind is int and numeric and self.dtype.kind == "float" and -(1 << 53) < other < 1 << 53:
            other, kind = float(other), float
        elif kind is not float and kind is not int and kind is not bool:
            return slow(self, other)
        storage = self.storage
        if storage.pin is not None:
            return slow(self, other)
        if self._stamp != storage.writes:
            self._sync()
        if self._requires and mode.enabled:
            first = self.node
            tracked = True
        else:
            if mode.inference:
                return slow(self, other)
            first = storage.node
            if self._view is not None or (first.value is not None and first.op is not _BUFFER):
                first = self._raw()
            tracked = False
        if numeric and kind is float and varies(other):
            key = (first.kind or kind_of(first), tracked, float)
            recipe = find(key)
            if recipe is not None:
                return make(recipe, (first,), (self,), (other,), tracked)
            numbers: tuple[float, ...] = (other,)
        else:
            part = argument_key(other)
            if part is None:
                return slow(self, other)
            key = (first.kind or kind_of(first), tracked, part)
            recipe = find(key)
            if recipe is not None:
                return make(recipe, (first,), (self,), (), tracked)
            numbers = ()
        given = own(other) if numbers else other
        outcome = build(self, given)
        recipe = recipes.learn(key, outcome, (self,), (first,), (given,) if numbers else ())
        if recipe is not None:
            return make(recipe, (first,), (self,), numbers, tracked)
        return result(*outcome)

    return method


def inplace(
    recipes: Recipes, build: Build, slow: Callable[..., Any], change: Callable[..., Tensor]
) -> Callable[..., Any]:
    """The method of an in-place Python operator, where nothing is recorded; `slow` takes the rest.

    `change` writes what `build` returns into a tensor.
    """
    find = recipes.known.get
    numeric = recipes.numeric

    def method(self: Tensor, other: Any) -> Any:
        ahead = STEADY.ahead
        if ahead is not None:
            return ahead.write(method, numeric, self, other)
        storage = self.storage
        if (
            self._view is not None
            or self._record is not None
            or storage.pin is not None
            or (self._requires and mode.enabled)
            or mode.inference
        ):
            return slow(self, other)
        first = storage.node
        if first.value is not None and first.op is not _BUFFER:
            first = storage.settle(first)
        nodes: tuple[Node, ...]
        numbers: tuple[float, ...] = ()
        if isinstance(other, Tensor):
            another = other.storage
            if another.pin is not None or (other._requires and mode.enabled):
                return slow(self, other)
            if other._stamp != another.writes:
                other._sync()
            tensors: tuple[Tensor, ...] = (self, other)
            second = other._raw()
            nodes = (first, second)
            key: Key = (first.kind or kind_of(first), second.kind or kind_of(second), self is other)
        elif other.__class__ is float and numeric and varies(other):
            nodes, numbers, tensors = (first,), (other,), (self,)
            key = (first.kind or kind_of(first), False, float)
        else:
            return slow(self, other)
        if self._counter.__class__ is Untracked:
            return slow(self, other)
        recipe = find(key)
        if recipe is None:
            given = own(other) if numbers else other
            outcome = build(self, given)
            recipe = recipes.learn(key, outcome, tensors, nodes, (given,) if numbers else ())
            if recipe is None:
                return change(self, outcome)
        if recipe.kind is not first.kind:
            return slow(self, other)
        node = apply_node(recipe, nodes, numbers, 2)
        before_write(storage)
        below = storage.node
        if below.value is not None and below.op is not _BUFFER:
            storage.settle(below)  # it was computed just now: what it was made of can go
        storage.replace(node)
        self._counter.version += 1
        self._stamp = storage.writes
        self._node = None
        if node.depth > DEPTH_BUDGET:
            deep(storage.node)
        after_write()
        return self

    return method


def apply_node(
    recipe: Recipe, sources: tuple[Node, ...], numbers: tuple[float, ...], up: int
) -> Node:
    """The node of an operator by its recipe; the user's line is `up` calls above, or beyond."""
    node: Node = _new(Node)
    node.op = _APPLY
    node.src = sources
    node.arg = recipe.template
    node.numbers = numbers
    node.dtype = recipe.dtype
    node.shape = recipe.shape
    node.place = recipe.place
    node.kind = recipe.kind
    node.value = None
    node.tracked = 0
    depth = 0
    for each in sources:
        if each.depth > depth:
            depth = each.depth
    node.depth = depth + recipe.height
    frame = _frame(up)
    node.site = (frame.f_code, frame.f_lasti) if OURS.get(frame.f_code) is False else here()
    return node


def make(
    recipe: Recipe,
    nodes: tuple[Node, ...],
    tensors: Sequence[Tensor],
    numbers: tuple[float, ...],
    tracked: bool,
) -> Tensor:
    """The result of an operator by its recipe: a node, a storage, a tensor, and where gradients go through it a record.

    What `results.result` does, written flat: this runs for every operation of a loop.
    """
    node = apply_node(recipe, nodes, numbers, 3)
    storage: Storage = _new(Storage)
    storage.node = node
    storage.version = 0
    storage.writes = 0
    storage.pin = None
    made: Tensor = _new(Tensor)
    made.storage = storage
    made.dtype = recipe.dtype
    made._size = None
    made._view = None
    made._counter = storage
    made._index = 0
    made._grad = None
    made._node = None
    made._stamp = 0
    made._extra = None
    if tracked and recipe.floating and (recipe.complete or depends(recipe, tensors)):
        record: Record = _new(recipe.record)
        inputs = recipe.inputs
        if len(tensors) == 1 and inputs == _ONE:
            record.edges = (edge(tensors[0]),)
            record.operands = nodes
        elif len(tensors) == 1 and inputs == _ONE_AND_NUMBER:
            record.edges = (edge(tensors[0]), _NOTHING)
            record.operands = (nodes[0], None)
        elif inputs == _BOTH:
            left, right = tensors
            if not right._requires:
                record.edges = (edge(left), _NOTHING)
                record.operands = (nodes[0], None)
            elif left._requires:
                record.edges = (edge(left), edge(right))
                record.operands = nodes
            else:
                record.edges = (_NOTHING, edge(right))
                record.operands = (None, nodes[1])
        else:
            needs = [index >= 0 and tensors[index]._requires for index in inputs]
            record.edges = tuple(
                [edge(tensors[i]) if need else _NOTHING for i, need in zip(inputs, needs)]
            )
            record.operands = tuple([nodes[i] if need else None for i, need in zip(inputs, needs)])
        node.tracked = RECORDED
        record.nodes = (node,)
        record.sequence = sequence()
        record.hooks = None
        record.released = False
        record.eager = False
        saved = recipe.saved
        if not saved:
            record.saved = record.counters = record.versions = ()
        elif len(saved) == 1 and saved[0].__class__ is int:
            tensor = tensors[saved[0]]
            counter = tensor._counter
            if counter.__class__ is Untracked:
                refuse_inference()
            record.saved = (tensor,)
            record.counters = (counter,)
            record.versions = (counter.version,)
        elif saved == _NUMBER:
            record.saved = saved
            record.counters = record.versions = ()
        else:
            kept = [each if isinstance(each, str) else tensors[each] for each in saved]
            save(record, tuple(kept), made)
        storage.tracked = True
        made._record = record
        made._requires = True
    else:
        storage.tracked = False
        made._record = None
        made._requires = False
    if node.depth > DEPTH_BUDGET:
        deep(node)
    return made


def depends(recipe: Recipe, tensors: Sequence[Tensor]) -> bool:
    """Whether one of the operands that gradients go to needs one."""
    return any(index >= 0 and tensors[index]._requires for index in recipe.inputs)


def edge(tensor: Tensor) -> Edge:
    """Where gradients of an operand that needs one go."""
    record = tensor._record
    return (record, tensor._index) if record is not None else tensor._edge()
