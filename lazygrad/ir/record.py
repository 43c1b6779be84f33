"""Records: classes of a few fixed fields whose values say what they are. A frozen dataclass with slots, made in a third of the time.

In: a class whose annotations are its fields. Out: a class with slots, an __init__ of the fields in their order, equality and hash of
the tuple of its fields, and a repr that names them; nothing of it can be set again. A process that imports the library makes dozens
of them before it can add two numbers, which is why they are not dataclasses themselves: those compile six functions a class,
these one text with the three functions that have to be quick, and share the others. `dataclasses.fields` and `replace` know them.
"""

from __future__ import annotations

from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from typing import Any, NoReturn, TypeVar, dataclass_transform

Class = TypeVar("Class", bound=type)


def _refuse(self: object, name: str, *value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _repr(self: Any) -> str:
    texts = [f"{each.name}={getattr(self, each.name)!r}" for each in fields(self)]
    return f"{type(self).__qualname__}({', '.join(texts)})"


def _reduce(self: Any) -> tuple[type, tuple[object, ...]]:
    return type(self), tuple([getattr(self, each.name) for each in fields(self)])


@dataclass_transform(frozen_default=True)
def record(cls: Class) -> Class:
    """Make a record of a class: see the module. Defaults are immutable values."""
    made: Any = dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    names = [each.name for each in fields(made)]
    defaults = {f"_{each.name}": each.default for each in fields(made) if each.default is not MISSING}  # fmt: skip
    taken = [f"{name}=_{name}" if f"_{name}" in defaults else name for name in names]
    mine, others = ("".join([f"{of}.{name}, " for name in names]) for of in ("self", "other"))
    text = (
        f"def __init__({', '.join(['self', *taken])}):\n"
        + "".join([f"    set(self, {name!r}, {name})\n" for name in names] or ["    pass\n"])
        + "def __eq__(self, other):\n"
        f"    return ({mine}) == ({others}) if other.__class__ is self.__class__ else NotImplemented\n"
        f"def __hash__(self):\n    return hash(({mine}))\n"
    )
    written: dict[str, Any] = {}
    exec(text, {"set": object.__setattr__, **defaults}, written)
    for name, function in written.items():
        function.__qualname__ = f"{made.__qualname__}.{name}"
        setattr(made, name, function)
    made.__setattr__ = made.__delattr__ = _refuse
    made.__repr__, made.__reduce__ = _repr, _reduce
    result: Class = made
    return result
