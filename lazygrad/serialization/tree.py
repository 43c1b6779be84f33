"""Trees of tensors and plain values as a table of JSON, and back.

In: a tree: dicts, lists, tuples, sets and what stands in them. Out: a list of records and the tensors by name; or the tree that
such a list describes. Every container and tensor is a record, which others name by its number, so what was one object is one
again, a list may hold itself, and nothing recurses however deep the tree is.

A value inside a record is a JSON value that means itself (None, bools, text, finite floats, integers of 64 bits), `[n]` for record n,
or a table with one key for anything else plain: `{"bytes": ...}`, `{"dtype": "float32"}`.
"""

from __future__ import annotations

import base64
import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from ..functional.devices import device
from ..ir.dtype import BY_NAME, DType
from ..nn.parameter import Buffer, Parameter
from ..size import Size
from ..tensor import Tensor
from .placement import Place

Record = dict[str, Any]

SEQUENCES: dict[type, str] = {list: "list", tuple: "tuple", set: "set", frozenset: "frozenset"}
MAPPINGS: dict[type, str] = {dict: "dict", OrderedDict: "OrderedDict", Counter: "Counter"}
TENSORS: dict[type, str] = {Tensor: "tensor", Parameter: "Parameter", Buffer: "Buffer"}
FIXED = ("tuple", "frozenset")
"""The containers that are made with what stands in them; any other is made first and filled later."""


class Names:
    """Names that differ: one that is taken gets a number behind it."""

    def __init__(self, *taken: str) -> None:
        self._taken = set(taken)
        self._next: Counter[str] = Counter()

    def unused(self, name: str) -> str:
        found = name
        while found in self._taken:
            self._next[name] += 1
            found = f"{name}~{self._next[name]}"
        self._taken.add(found)
        return found


class Packed:
    """A tree taken apart: `root`, `records`, and the tensors by name with the record of each."""

    def __init__(self, tree: Any, names: Names) -> None:
        self.records: list[Record] = []
        self.tensors: list[tuple[str, Tensor]] = []
        self.places: list[Record] = []
        """The record of each tensor, for its place."""
        self._names = names
        self._numbers: dict[int, int] = {}
        self._waiting: list[tuple[Any, str, Record]] = []
        self._kept: list[
            Any
        ] = []  # what has a number stays alive, so that no other object has its id
        self.root = self._value(tree, "")
        for value, name, record in self._waiting:  # grows while it is walked
            if isinstance(value, Tensor):
                self._tensor(value, name, record)
            elif isinstance(value, np.ndarray):
                self._array(value, name, record)
            elif type(value) in SEQUENCES:
                record["items"] = [
                    self._value(each, _under(name, number)) for number, each in enumerate(value)
                ]
            else:
                record["keys"] = [self._value(key, _under(name, "key")) for key in value]
                record["items"] = [
                    self._value(each, _under(name, key)) for key, each in value.items()
                ]
                self._attributes(value, name, record)

    def place(self, position: int, place: Place) -> None:
        """Note where the tensor at a position lies."""
        record = self.places[position]
        record.update(
            data=place.name,
            dtype=place.dtype.name,
            shape=list(place.shape),
            stride=list(place.stride),
        )
        if place.offset:
            record["offset"] = place.offset
        if place.moved:
            record["moved"] = True

    def _value(self, value: Any, name: str) -> Any:
        kind = _kind(value)
        if kind is None:
            plain = _plain(value)
            if plain is None:
                raise TypeError(
                    f"save: cannot store {_where(name)} of type {type(value).__module__}.{type(value).__qualname__}; a tree holds "
                    "tensors, numbers, text, bytes, None, dtypes, devices and sizes in dicts, lists, tuples and sets. Of a module or "
                    "an optimizer, save its state_dict()"
                )
            return plain[0]
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self.records)
            record: Record = {"kind": kind}
            self._kept.append(value)
            self.records.append(record)
            self._waiting.append((value, name, record))
        return [number]

    def _tensor(self, value: Tensor, name: str, record: Record) -> None:
        if value.place != "cpu":
            record["device"] = value.place
        if value.requires_grad:
            record["requires_grad"] = True
        if isinstance(value, Buffer) and not value.persistent:
            record["persistent"] = False
        self.tensors.append((self._names.unused(name or "tensor"), value))
        self.places.append(record)
        self._attributes(value, name, record)

    def _array(self, value: Any, name: str, record: Record) -> None:
        from ..functional.creation import tensor

        self.tensors.append((self._names.unused(name or "array"), tensor(value)))
        self.places.append(record)

    def _attributes(self, value: Any, name: str, record: Record) -> None:
        """What the user has set on the object, such as the versions of modules on a state dict."""
        own = getattr(value, "__dict__", None)
        if own:
            record["attributes"] = self._value(dict(own), _under(name, "__dict__"))


def _kind(value: Any) -> str | None:
    """The kind of record that a value is, None for a plain one."""
    found = type(value)
    if found in SEQUENCES or found in MAPPINGS:
        return SEQUENCES.get(found) or MAPPINGS[found]
    if isinstance(value, OrderedDict):
        return "OrderedDict"
    if isinstance(value, Tensor):
        return next((name for kind, name in TENSORS.items() if found is kind), "tensor")
    if isinstance(value, np.ndarray) and value.dtype.name in BY_NAME:
        return "array"
    return None


def _plain(value: Any) -> tuple[Any] | None:
    """A plain value as JSON, in a tuple; None for a value that is not plain."""
    if value is None or type(value) in (bool, str):
        return (value,)
    if type(value) is int:
        return (value if -(1 << 63) <= value < 1 << 63 else {"int": hex(value)},)
    if type(value) is float:
        return (value if math.isfinite(value) else {"float": str(value)},)
    if type(value) is complex:
        return ({"complex": [str(value.real), str(value.imag)]},)
    if type(value) in (bytes, bytearray):
        return ({type(value).__name__: base64.b64encode(value).decode()},)
    if isinstance(value, DType):
        return ({"dtype": value.name},)
    if isinstance(value, device):
        return ({"device": str(value)},)
    if type(value) is Size:
        return ({"Size": list(value)},)
    if isinstance(value, np.generic) and value.dtype.kind in "biufc":
        return ({"number": [value.dtype.str, base64.b64encode(value.tobytes()).decode()]},)
    return None


def _number(content: list[str]) -> Any:
    dtype = np.dtype(content[0])
    if dtype.kind not in "biufc":
        raise ValueError(content[0])
    return np.frombuffer(base64.b64decode(content[1]), dtype)[0]


PLAIN: dict[str, Callable[[Any], Any]] = {
    "int": lambda content: int(content, 16),
    "float": float,
    "complex": lambda content: complex(float(content[0]), float(content[1])),
    "bytes": base64.b64decode,
    "bytearray": lambda content: bytearray(base64.b64decode(content)),
    "dtype": BY_NAME.__getitem__,
    "device": device,
    "Size": lambda content: Size([int(each) for each in content]),
    "number": _number,
}
"""What makes a plain value of its JSON, by the one key of its table."""


def _under(name: str, key: object) -> str:
    """The name of what stands under a key; so deep that nobody reads it, it gets no longer."""
    return str(key) if not name else name if len(name) > 500 else f"{name}.{key}"


def _where(name: str) -> str:
    return f"{name!r}" if name else "an object"


# --- back


def unpack(root: Any, records: list[Any], tensor: Callable[[Record], Tensor]) -> Any:
    """The tree that records describe; `tensor` makes the plain tensor of a record.

    Raises:
        RuntimeError: the records are not such as `Packed` makes.
    """
    try:
        return _Tree(records, tensor).value(root)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise RuntimeError(f"load: the structure in the file is damaged: {error!r}") from error


class _Tree:
    """The objects of the records: those that can be empty are made first, then the fixed ones, then all are filled."""

    def __init__(self, records: list[Any], tensor: Callable[[Record], Tensor]) -> None:
        self.records = records
        self.made: dict[int, Any] = {}
        empty: dict[str, Callable[[], Any]] = {"list": list, "set": set, "dict": dict}
        empty.update(OrderedDict=OrderedDict, Counter=Counter)
        fixed = []
        for number, record in enumerate(records):
            kind = record["kind"]
            if kind in empty:
                self.made[number] = empty[kind]()
            elif kind in FIXED:
                fixed.append(number)
            else:
                self.made[number] = _dressed(kind, record, tensor(record))
        for number in fixed:
            self._fix(number)
        for number, record in enumerate(records):
            self._fill(self.made[number], record)
        for number, record in enumerate(records):
            if "attributes" in record:
                self.made[number].__dict__.update(self.value(record["attributes"]))

    def value(self, found: Any) -> Any:
        if isinstance(found, list):
            (number,) = found
            return self.made[number]
        if isinstance(found, dict):
            ((kind, content),) = found.items()
            return PLAIN[kind](content)
        return found

    def _fix(self, number: int) -> None:
        """Make a tuple or a frozenset, those inside of it first."""
        entered: set[int] = set()
        pending = [number]
        while pending:
            current = pending[-1]
            if current in self.made:
                pending.pop()
                continue
            record = self.records[current]
            inside = [each[0] for each in record["items"] if isinstance(each, list)]
            missing = [each for each in inside if each not in self.made]
            if missing:
                if current in entered:
                    raise ValueError("a tuple holds itself")
                entered.add(current)
                pending.extend(missing)
                continue
            items = [self.value(each) for each in record["items"]]
            fixed = record["kind"] == "tuple"
            self.made[current] = tuple(items) if fixed else frozenset(map(check_key, items))
            pending.pop()

    def _fill(self, made: Any, record: Record) -> None:
        if isinstance(made, list):
            made.extend([self.value(each) for each in record["items"]])
        elif isinstance(made, set):
            made.update([check_key(self.value(each)) for each in record["items"]])
        elif isinstance(made, dict):
            keys = [self.value(each) for each in record["keys"]]
            for key, item in zip(keys, record["items"], strict=True):
                made[check_key(key)] = self.value(item)


def check_key(key: Any) -> Any:
    """The key itself, or what goes into a set: hashing one of many parts inside one another takes for ever, or the process with it.

    Raises:
        ValueError: it has more than a hundred parts.
    """
    pending, count = [key], 0
    while pending:
        each = pending.pop()
        if isinstance(each, (tuple, frozenset)):
            pending.extend(each)
            count += 1 + len(each)
        if count > 100:
            raise ValueError("a key of more than 100 parts")
    return key


def _dressed(kind: str, record: Record, found: Tensor) -> Any:
    """The tensor of a record as what it was: a parameter, a buffer, an array."""
    requires = record.get("requires_grad", False)
    if kind == "Parameter":
        return Parameter(found, requires)
    if kind == "array":
        return found.numpy()
    if kind == "Buffer":
        return Buffer(found, persistent=record.get("persistent", True))
    if kind != "tensor":
        raise ValueError(f"an unknown kind {kind!r}")
    return found.requires_grad_() if requires else found
