"""What a call can read: arguments, closure cells, globals, and all that hangs on them, each with the expression that finds it again.

In: a function and the arguments of a call. Out: `State`: lines of Python that bind a variable to each thing that matters and say
when it is not as it was (the guards of a replay); the tensors, with their gradients, and the numbers that may be lifted.
Two walks over the same state give the same lines, so lines also tell whether a call has changed anything that no effect describes.
"""

from __future__ import annotations

import enum
import functools
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from types import (
    BuiltinFunctionType,
    BuiltinMethodType,
    CellType,
    FunctionType,
    MethodType,
    ModuleType,
)
from typing import Any

import numpy as np

from ..autograd.grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled
from ..functional.devices import device as device_class
from ..ir.dtype import DType
from ..nn.module import Module
from ..optim.optimizer import Optimizer
from ..random import Generator
from ..size import Size
from ..tensor import Tensor
from .guards import Guards
from .numbers import Lifted, same
from .scan import Reach, Refused, is_opaque, is_opaque_module, refused_source

UNREAD = (
    "_state_dict_",
    "_load_state_dict_",
    "_non_persistent",
    "_forward_hooks_",
    "_forward_pre_hooks_",
    "_compiled_call_impl",
)
"""Attributes of modules that a call never reads by themselves."""
CONSTRUCTORS = frozenset(
    (
        "__init__",
        "__new__",
        "__post_init__",
        "__init_subclass__",
        "__set_name__",
        "__class_getitem__",
    )
)
"""Methods that run where objects or classes are made: not by way of an object that is there already."""
SIZE_LIMIT = 20_000
"""How many things a call may reach."""
STRING_LIMIT = 1 << 16
_IDENTITY = (
    type, BuiltinFunctionType, BuiltinMethodType, DType, enum.Enum, type(Ellipsis), type(NotImplemented), no_grad, enable_grad,
    inference_mode, set_grad_enabled, Generator, property, classmethod, staticmethod, type(Tensor.__add__), type(Tensor.storage),
)  # fmt: skip
"""What is known by being the same object."""
_EQUAL = (str, bytes, complex, range, slice, Size, device_class, frozenset)
"""What never changes, and is compared."""


class Slot:
    """A place with a number that may be lifted: an argument, a cell or global of the function, or an entry of a dictionary."""

    __slots__ = ("holder", "key", "kind", "label", "number", "path", "variable")

    def __init__(
        self, place: tuple[str, Any, Any], number: Any, variable: str, path: str, label: str
    ) -> None:
        self.kind, self.holder, self.key = place
        self.number = number
        self.variable = variable
        self.path = path
        self.label = label


Item = tuple[Any, str, str, "tuple[str, Any, Any] | None"]
"""What is to be looked at: a value, the expression that finds it, its label, and the place of a number that may be lifted."""


class State(Guards):
    """One walk over what a call can read.

    Raises:
        Refused: something in it cannot be watched.
    """

    def __init__(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        reach: Reach,
        parameters: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.reach = reach
        self.target = target
        self.slots: list[Slot] = []
        self.generators: list[Generator] = []
        self._globals: set[tuple[int, str]] = set()
        self._classes: dict[int, bool] = {}
        """By the identity of a class: whether the code may make objects of it."""
        self._stack: list[Item] = []
        size = len(args)
        self.check(f"len(args) != {size}", "the number of arguments", str(size))
        names = tuple(kwargs)
        self.check(
            f"tuple(kwargs) != {names!r}" if names else "kwargs",
            "the keyword arguments",
            ", ".join(names),
        )
        items: list[Item] = []
        for index, value in enumerate(args):
            name = f"'{parameters[index]}'" if index < len(parameters) else str(index)
            items.append((value, f"args[{index}]", f"argument {name}", ("argument", None, index)))
        for key, value in kwargs.items():
            items.append((value, f"kwargs[{key!r}]", f"argument '{key}'", ("argument", None, key)))
        owner = getattr(target, "__self__", target)
        what = "the module" if isinstance(owner, Module) else "the function"
        items.append((target, self.name(target), what, None))
        self._push(items)
        self._walk()
        if len(self.storages) > 1:
            texts = [text for _, text in self.storages.values()]
            self.check(
                f"len({{{', '.join(texts)}}}) != {len(texts)}",
                "tensors that share memory",
                "none",
                True,
            )

    # --- the walk

    def _push(self, items: list[Item]) -> None:
        self._stack.extend(reversed(items))

    def _walk(self) -> None:
        while self._stack:
            if len(self.lines) > SIZE_LIMIT:
                raise Refused(f"a call can reach more than {SIZE_LIMIT} things")
            self._visit(*self._stack.pop())

    # --- one thing

    def _visit(self, value: Any, path: str, label: str, place: tuple[str, Any, Any] | None) -> None:
        kind = type(value)
        if value is None or kind is bool:
            self.check(f"{path} is not {value}", label, str(value))
        elif kind is float or kind is int:
            self._number(value, path, label, place)
        elif isinstance(value, Tensor):
            self.tensor(value, path, label)
        elif kind is Lifted:
            raise Refused(f"it keeps a number of the call in {label}", lasting=True)
        elif kind is FunctionType:
            self._function(value, path, label)
        elif isinstance(value, np.generic):
            self.check(
                f"type({path}) is not {self.name(kind)} or {path}.tobytes() != {value.tobytes()!r}",
                label,
                repr(value),
            )
        elif kind in _EQUAL:
            if len(str(value)) > STRING_LIMIT:
                raise Refused(f"{label} is very long")
            self.check(f"{path} != {self._literal(value)}", label, repr(value))
        elif id(value) in self._known:
            self.check(f"{path} is not {self._known[id(value)]}", label, "an object met before")
        elif kind in (tuple, list) or (isinstance(value, tuple) and hasattr(value, "_fields")):
            self._sequence(value, path, label)
        elif kind in (dict, OrderedDict, defaultdict):
            self._mapping(value, path, label)
        elif kind is set:
            if not all(type(each) in (int, str, bool, float) for each in value):
                raise Refused(f"{label} is a set of objects")
            self.check(f"{path} != {self._literal(frozenset(value))}", label, repr(value))
        elif kind is MethodType:
            self.check(
                f"{path}.__func__ is not {self.name(value.__func__)}", label, value.__qualname__
            )
            self._push(
                [
                    (value.__func__, f"{path}.__func__", label, None),
                    (value.__self__, f"{path}.__self__", label, None),
                ]
            )
        elif kind is functools.partial:
            variable = self._object(value, path, label)
            parts = [("func", value.func), ("args", value.args), ("keywords", value.keywords)]
            self._push([(each, f"{variable}.{name}", label, None) for name, each in parts])
        elif isinstance(value, ModuleType):
            self._module(value, path, label)
        elif isinstance(value, Module):
            self._layer(value, path, label)
        elif isinstance(value, Optimizer):
            self._optimizer(value, path, label)
        elif hasattr(
            value, "compiled_function"
        ):  # another compiled function: it runs as it is written
            self.check(f"{path} is not {self.name(value)}", label, "a compiled function")
            self._push(
                [(value.compiled_function, f"{self.name(value)}.compiled_function", label, None)]
            )
        elif isinstance(value, _IDENTITY) or kind.__name__ in ("ufunc", "_ArrayFunctionDispatcher"):
            self._constant(value, path, label)
        else:
            self._instance(value, path, label)

    def _literal(self, value: Any) -> str:
        kind = type(value)
        if kind in (str, bytes):
            return repr(value)
        if kind is tuple and all(type(each) is int for each in value):
            return repr(value)
        # named by what it is, so that equal values give equal lines
        name = (
            f"{kind.__name__}_{hash(value) & 0xFFFFFFFFFFFF:x}"
            if kind is not slice
            else f"slice_{id(value):x}"
        )
        self.names[name] = value
        return name

    def _object(self, value: Any, path: str, label: str) -> str:
        """A variable for an object that is known by its class, to be looked into."""
        variable = self.bind(path)
        self._known[id(value)] = variable
        self.check(f"type({variable}) is not {self.name(type(value))}", label, type(value).__name__)
        return variable

    def _constant(self, value: Any, path: str, label: str) -> None:
        if isinstance(value, (BuiltinFunctionType, BuiltinMethodType)) and refused_source(value):
            raise Refused(
                f"{label} is {value!r}, which gives something else each time", lasting=True
            )
        if isinstance(value, Generator):
            self.generators.append(value)
        if isinstance(value, type) and not is_opaque_module(value.__module__):
            self._class(value, makes=True)
        self.check(
            f"{path} is not {self.name(value)}", label, getattr(value, "__name__", repr(value))
        )

    def _number(
        self, value: float, path: str, label: str, place: tuple[str, Any, Any] | None
    ) -> None:
        kind = type(value)
        variable = self.bind(path)
        if place is not None:
            self.check(
                f"type({variable}) is not {kind.__name__}", label, f"of type {kind.__name__}"
            )
            self.slots.append(Slot(place, value, variable, path, label))
            return
        if kind is int or (value == value and value not in (0.0, float("inf"), float("-inf"))):
            self.check(
                f"{variable} != {value!r} or type({variable}) is not {kind.__name__}",
                label,
                repr(value),
            )
        else:
            self.names["same"] = same
            self.check(f"not same({variable}, float('{value!r}'))", label, repr(value))

    def _sequence(self, value: Any, path: str, label: str) -> None:
        variable = self._object(value, path, label)
        self.check(f"len({variable}) != {len(value)}", f"the length of {label}", str(len(value)))
        self._push(
            [(each, f"{variable}[{i}]", f"{label}[{i}]", None) for i, each in enumerate(value)]
        )

    def _mapping(self, value: Any, path: str, label: str, lift: bool = False) -> None:
        variable = self._object(value, path, label)
        keys = tuple(value)
        items: list[Item] = []
        self.check(
            f"len({variable}) != {len(keys)}", f"the keys of {label}", ", ".join(map(str, keys))
        )
        for key in keys:
            if type(key) not in (str, int, bool):
                raise Refused(
                    f"{label} is a dictionary whose keys are of type {type(key).__name__}"
                )
            place = ("entry", value, key) if lift else None
            items.append((value[key], f"{variable}[{key!r}]", f"{label}[{key!r}]", place))
        self._push(items)

    # --- code

    def _function(self, value: FunctionType, path: str, label: str) -> None:
        if value is not self.target:
            self.check(f"{path} is not {self.name(value)}", label, value.__qualname__)
        if id(value) in self._known:
            # A call of itself reads the variables where they are, not where lifted numbers are put.
            self.reach.recursive |= value is self.target
            return
        self._known[id(value)] = name = self.name(value)
        if is_opaque(value.__code__):
            if refused_source(value):
                raise Refused(
                    f"{label} is {value.__qualname__}, which gives something else each time",
                    lasting=True,
                )
            return
        found = self.reach.add(value)
        items: list[Item] = []
        top = value is self.target and not self.reach.recursive
        for variable, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            items.append(self._cell(variable, cell, top))
        space = f"globals_{id(value.__globals__):x}"
        self.names[space] = value.__globals__
        for each in sorted(found.globals):
            key = (id(value.__globals__), each)
            if each in value.__globals__ and key not in self._globals:
                self._globals.add(key)
                place = ("global", value, each) if top and len(self.reach.users[key]) == 1 else None
                items.append(
                    (
                        value.__globals__[each],
                        f"{space}[{each!r}]",
                        f"global '{each}'",
                        place,
                    )
                )
        for attribute in ("__defaults__", "__kwdefaults__"):
            default = getattr(value, attribute)
            if default:
                items.append(
                    (default, f"{name}.{attribute}", f"the defaults of {value.__qualname__}", None)
                )
        self._push(items)

    def _cell(self, name: str, cell: CellType, top: bool) -> Item:
        place = ("cell", cell, name) if top and len(self.reach.users[id(cell), ""]) == 1 else None
        try:
            return (
                cell.cell_contents,
                f"{self.name(cell)}.cell_contents",
                f"closure cell '{name}'",
                place,
            )
        except ValueError:
            raise Refused(f"closure cell '{name}' is empty") from None

    def _class(self, value: type, makes: bool = False) -> None:
        """The methods of a class of the user's that the code may call, and what it holds beside them.

        `makes`: the code has the class itself, and may make objects of it; from an object it gets there by `type` or `__class__` only.
        """
        makes = makes or not self.reach.names.isdisjoint(("type", "__class__"))
        if self._classes.get(id(value), False) or (id(value) in self._classes and not makes):
            return
        self._classes[id(value)] = makes
        self._known[id(value)] = name = self.name(value)
        for each in value.__mro__:
            if is_opaque_module(each.__module__):
                continue
            for key, attribute in vars(each).items():
                dunder = key.startswith("__") and key not in (
                    "__repr__",
                    "__str__",
                    "__format__",
                    "__dict__",
                    "__doc__",
                    "__module__",
                )
                if key in CONSTRUCTORS and not makes and key not in self.reach.names:
                    continue
                if (
                    key not in self.reach.names
                    and not (dunder and callable(attribute))
                    and key != "forward"
                ):
                    continue
                function = (
                    attribute.fget
                    if isinstance(attribute, property)
                    else getattr(attribute, "__func__", attribute)
                )
                owner = name if each is value else self.name(each)
                path = f"{owner}.__dict__[{key!r}]"
                if isinstance(function, FunctionType):
                    self.check(
                        f"{path} is not {self.name(attribute)}", f"{value.__name__}.{key}", key
                    )
                    self._push([(function, self.name(function), f"{value.__name__}.{key}", None)])
                elif not isinstance(attribute, _IDENTITY):
                    self._push([(attribute, path, f"{value.__name__}.{key}", None)])

    def _module(self, value: ModuleType, path: str, label: str) -> None:
        self.check(f"{path} is not {self.name(value)}", label, value.__name__)
        if refused_source(value) or (value.__name__ == "numpy" and "random" in self.reach.names):
            raise Refused(
                f"{label} is the module {value.__name__}, which gives something else each time",
                lasting=True,
            )
        self._known[id(value)] = name = self.name(value)
        if is_opaque_module(value.__name__):
            return
        found = [each for each in sorted(self.reach.names) if each in vars(value)]
        self._push(
            [
                (vars(value)[each], f"{name}.__dict__[{each!r}]", f"{label}.{each}", None)
                for each in found
            ]
        )

    # --- objects

    def _instance(self, value: Any, path: str, label: str) -> None:
        kind = type(value)
        if is_opaque_module(kind.__module__) or not hasattr(value, "__dict__"):
            raise Refused(f"{label} is of type {kind.__name__}, which cannot be watched")
        variable = self._object(value, path, label)
        self._class(kind)
        self._attributes(value, variable, label, [n for n in vars(value) if n in self.reach.names])

    def _attributes(self, value: Any, variable: str, label: str, names: list[str]) -> None:
        if len(vars(value)):
            keys = tuple(vars(value))
            self.check(
                f"tuple({variable}.__dict__) != {keys!r}",
                f"the attributes of {label}",
                ", ".join(keys),
            )
        table = vars(value)
        self._push(
            [
                (table[each], f"{variable}.__dict__[{each!r}]", f"{label}.{each}", None)
                for each in names
            ]
        )

    def _layer(self, value: Module, path: str, label: str) -> None:
        """A module: all of what this package keeps on it, and what the user's code names."""
        variable = self._object(value, path, label)
        kind = type(value)
        table = vars(value)
        own = {
            "training",
            "_parameters",
            "_buffers",
            "_modules",
            "_forward_pre_hooks",
            "_forward_hooks",
            "_backward_pre_hooks",
            "_backward_hooks",
        }
        if is_opaque_module(kind.__module__):
            own = {name for name in table if not name.startswith(UNREAD)}
        else:
            self._class(kind)
            own |= self.reach.names
        # keys and values of a table change together with what the module is: the entries are compared, not the order
        self._attributes(value, variable, label, [name for name in table if name in own])

    def _optimizer(self, value: Optimizer, path: str, label: str) -> None:
        """An optimizer: numbers of its groups and of its state may be lifted."""
        variable = self._object(value, path, label)
        if not is_opaque_module(type(value).__module__):
            self._class(type(value))
        groups = value.param_groups
        self.check(
            f"len({variable}.param_groups) != {len(groups)}",
            f"the groups of {label}",
            str(len(groups)),
        )
        for index, group in enumerate(groups):
            self._mapping(
                group,
                f"{variable}.param_groups[{index}]",
                f"{label}.param_groups[{index}]",
                lift=True,
            )
            self._walk_to(len(self._stack) - len(group))
        state = value.state
        self.check(
            f"len({variable}.state) != {len(state)}",
            f"the state of {label}",
            f"of {len(state)} parameters",
        )
        number = 0
        for group in groups:
            for parameter in group["params"]:
                if parameter in state:
                    found = self._known.get(id(parameter))
                    if found is None:
                        raise Refused(f"{label} holds a parameter that is not in its groups")
                    self._mapping(
                        state[parameter],
                        f"{variable}.state[{found}]",
                        f"the state of parameter {number} of {label}",
                        lift=True,
                    )
                number += 1

    def _walk_to(self, height: int) -> None:
        """Look at what was pushed last, down to a height of the stack."""
        while len(self._stack) > height:
            self._visit(*self._stack.pop())
