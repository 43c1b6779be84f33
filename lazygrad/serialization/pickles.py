"""Pickles read without running anything: a machine that knows how to build plain values and nothing else.

In: the bytes of a pickle, and what stands for the few names that may be in it. Out: the value. Every name a pickle asks for is looked
up in a table of ours and becomes a `Name`, never an object of Python's: a pickle can call only what the table holds for calling.
No memory is taken that the pickle itself does not fill, and nothing recurses.
"""

from __future__ import annotations

import codecs
import pickle
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from mmap import mmap
from typing import Any

from ..tensor import Tensor
from .tree import check_key

PROTO = pickle.PROTO


@dataclass(frozen=True, slots=True)
class Name:
    """A name in a pickle: `call` is what calling it does, None for what is only passed on."""

    name: str
    call: Callable[..., Any] | None = None


class _Mark:
    """What stands on the stack where a MARK was."""


_MARK = _Mark()


def _encode(text: str, encoding: str) -> bytes:
    """What Python 2 protocols make of bytes: their text in latin1."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes in {encoding}")
    return text.encode("latin1")


def _of_items(kind: Callable[[Any], Any]) -> Callable[..., Any]:
    def make(items: Any = ()) -> Any:
        return kind([check_key(each) for each in items])

    return make


def _bytearray(value: Any = b"", encoding: str = "latin1") -> bytearray:
    if isinstance(value, str):
        value = _encode(value, encoding)
    if not isinstance(value, bytes):
        raise ValueError("a bytearray of no bytes")
    return bytearray(value)


def _ordered(items: Any = ()) -> OrderedDict[Any, Any]:
    return OrderedDict([(check_key(key), value) for key, value in items])


def _counter(counts: Any = ()) -> Counter[Any]:
    return Counter({check_key(key): count for key, count in dict(counts).items()})


def _complex(real: float, imaginary: float) -> complex:
    return complex(float(real), float(imaginary))


PLAIN: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "collections.Counter": _counter,
    "builtins.set": _of_items(set),
    "builtins.frozenset": _of_items(frozenset),
    "builtins.bytearray": _bytearray,
    "builtins.complex": _complex,
    "_codecs.encode": _encode,
}
"""What may be called in any pickle."""


def load(
    data: bytes | mmap,
    names: Mapping[str, Any],
    persistent: Callable[[Any], Any] | None = None,
    begin: int = 0,
) -> tuple[Any, int]:
    """The value of a pickle, and where it ends.

    Args:
        names: what each further name stands for: a value, or a `Name`.
        persistent: the object of a persistent id.
        begin: where in `data` the pickle begins.

    Raises:
        pickle.UnpicklingError: the pickle needs anything that is not in the tables, or is damaged.
    """
    machine = _Machine(data, names, persistent, begin)
    try:
        return machine.run(), machine.position
    except (
        IndexError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        struct.error,
        UnicodeError,
    ) as error:
        raise pickle.UnpicklingError(
            f"Weights only load failed: the pickle is damaged: {error!r}"
        ) from error


class _Machine:
    """The stack and the memo of a pickle that is being read."""

    def __init__(
        self,
        data: bytes | mmap,
        names: Mapping[str, Any],
        persistent: Callable[[Any], Any] | None,
        begin: int,
    ) -> None:
        self.data = data
        self.names = names
        self.persistent = persistent
        self.position = begin
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        while True:
            code = self.take(1)
            if code == pickle.STOP:
                value = self.stack.pop()
                if self.stack or isinstance(value, (Name, _Mark)):
                    raise ValueError("it ends with something else than a value")
                return value
            step = STEPS.get(code)
            if step is None:
                raise pickle.UnpicklingError(
                    f"Weights only load failed. Unsupported operand {code[0]}: nothing but tensors and plain values is loaded"
                )
            step(self)

    # --- bytes

    def take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise ValueError("it is truncated")
        found = self.data[self.position : end]
        self.position = end
        return found

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise ValueError("it is truncated")
        found = self.data[self.position : end]
        self.position = end + 1
        return found.decode("utf-8")

    # --- the stack

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value should be")
        return value

    def marked(self) -> list[Any]:
        """What stands above the last mark; both go."""
        position = len(self.stack) - 1
        while self.stack[position] is not _MARK or position < 0:
            position -= 1
            if position < 0:
                raise ValueError("no mark")
        found = self.stack[position + 1 :]
        del self.stack[position:]
        return found

    def remember(self, number: int) -> None:
        self.memo[number] = self.stack[-1]

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("appending to something else than a list")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        if type(self.stack[-1]) not in (dict, OrderedDict, Counter):
            raise ValueError("setting items of something else than a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.stack[-1][check_key(key)] = value

    def add_items(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not set:
            raise ValueError("adding to something else than a set")
        self.stack[-1].update([check_key(each) for each in items])

    # --- names

    def name(self, module: str, name: str) -> None:
        full = f"{module}.{name}".replace("__builtin__.", "builtins.", 1)
        if full in PLAIN:
            self.push(Name(full, PLAIN[full]))
        elif full in self.names:
            self.push(self.names[full])
        else:
            raise pickle.UnpicklingError(
                f"Weights only load failed. GLOBAL {module}.{name} was not an allowed global: lazygrad loads tensors and plain "
                "values, and runs nothing. Of a whole module, save the state_dict()"
            )

    def call(self) -> None:
        arguments = self.pop()
        called = self.pop()
        if not isinstance(called, Name) or called.call is None or type(arguments) is not tuple:
            raise pickle.UnpicklingError(f"Weights only load failed. Trying to call {called!r}")
        self.push(called.call(*arguments))

    def build(self) -> None:
        """Attributes of a state dict or a tensor."""
        state = self.pop()
        value = self.stack[-1]
        if type(value) is OrderedDict or isinstance(value, Tensor):
            if type(state) is not dict or not all(type(key) is str for key in state):
                raise ValueError("attributes that are no dict")
            value.__dict__.update(state)
        else:
            raise pickle.UnpicklingError(
                f"Weights only load failed. Can only build Tensor, Parameter and OrderedDict, not {type(value).__name__}"
            )

    def persistent_id(self) -> None:
        identity = self.pop()
        if self.persistent is None:
            raise ValueError("a persistent id")
        self.push(self.persistent(identity))


def _integer(text: str) -> int | bool:
    if text in ("00", "01"):
        return text == "01"
    return int(text.removesuffix("L"))


def _text(line: str) -> str:
    """The STRING of protocol 0: a quoted literal of bytes, read as latin1."""
    if len(line) < 2 or line[0] != line[-1] or line[0] not in "'\"":
        raise ValueError("a string without quotes")
    return codecs.escape_decode(line[1:-1].encode())[0].decode("latin1")


def _tuple(count: int) -> Callable[[_Machine], None]:
    def make(machine: _Machine) -> None:
        items = [machine.pop() for _ in range(count)]
        machine.push(tuple(reversed(items)))

    return make


def _pushing(read: Callable[[_Machine], Any]) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(read(machine))


def _pairs(machine: _Machine) -> Any:
    items = machine.marked()
    return {check_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _one_item(machine: _Machine) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items([key, value])


def _long(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


STEPS: dict[bytes, Callable[[_Machine], Any]] = {
    pickle.PROTO: lambda m: m.take(1),
    pickle.FRAME: lambda m: m.take(8),
    pickle.MARK: lambda m: m.push(_MARK),
    pickle.POP: lambda m: m.stack.pop(),
    pickle.POP_MARK: lambda m: m.marked(),
    pickle.DUP: lambda m: m.push(m.stack[-1]),
    pickle.NONE: lambda m: m.push(None),
    pickle.NEWTRUE: lambda m: m.push(True),
    pickle.NEWFALSE: lambda m: m.push(False),
    pickle.INT: _pushing(lambda m: _integer(m.line())),
    pickle.LONG: _pushing(lambda m: _integer(m.line())),
    pickle.BININT: _pushing(lambda m: m.number("<i")),
    pickle.BININT1: _pushing(lambda m: m.number("<B")),
    pickle.BININT2: _pushing(lambda m: m.number("<H")),
    pickle.LONG1: _pushing(lambda m: _long(m.take(m.number("<B")))),
    pickle.LONG4: _pushing(lambda m: _long(m.take(m.number("<i")))),
    pickle.FLOAT: _pushing(lambda m: float(m.line())),
    pickle.BINFLOAT: _pushing(lambda m: m.number(">d")),
    pickle.STRING: _pushing(lambda m: _text(m.line())),
    pickle.SHORT_BINSTRING: _pushing(lambda m: m.take(m.number("<B")).decode("latin1")),
    pickle.BINSTRING: _pushing(lambda m: m.take(m.number("<i")).decode("latin1")),
    pickle.UNICODE: _pushing(lambda m: m.line().encode().decode("raw-unicode-escape")),
    pickle.BINUNICODE: _pushing(lambda m: m.take(m.number("<I")).decode("utf-8", "surrogatepass")),
    pickle.SHORT_BINUNICODE: _pushing(
        lambda m: m.take(m.number("<B")).decode("utf-8", "surrogatepass")
    ),
    pickle.BINUNICODE8: _pushing(lambda m: m.take(m.number("<Q")).decode("utf-8", "surrogatepass")),
    pickle.SHORT_BINBYTES: _pushing(lambda m: m.take(m.number("<B"))),
    pickle.BINBYTES: _pushing(lambda m: m.take(m.number("<I"))),
    pickle.BINBYTES8: _pushing(lambda m: m.take(m.number("<Q"))),
    pickle.BYTEARRAY8: _pushing(lambda m: bytearray(m.take(m.number("<Q")))),
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.LIST: lambda m: m.push(m.marked()),
    pickle.APPEND: lambda m: m.extend([m.pop()]),
    pickle.APPENDS: lambda m: m.extend(m.marked()),
    pickle.EMPTY_TUPLE: lambda m: m.push(()),
    pickle.TUPLE: lambda m: m.push(tuple(m.marked())),
    pickle.TUPLE1: _tuple(1),
    pickle.TUPLE2: _tuple(2),
    pickle.TUPLE3: _tuple(3),
    pickle.EMPTY_DICT: lambda m: m.push({}),
    pickle.DICT: _pushing(_pairs),
    pickle.SETITEM: _one_item,
    pickle.SETITEMS: lambda m: m.set_items(m.marked()),
    pickle.EMPTY_SET: lambda m: m.push(set()),
    pickle.ADDITEMS: lambda m: m.add_items(m.marked()),
    pickle.FROZENSET: _pushing(lambda m: frozenset(map(check_key, m.marked()))),
    pickle.GLOBAL: lambda m: m.name(m.line(), m.line()),
    pickle.STACK_GLOBAL: lambda m: m.name(*reversed((m.pop(), m.pop()))),
    pickle.REDUCE: lambda m: m.call(),
    pickle.NEWOBJ: lambda m: m.call(),
    pickle.BUILD: lambda m: m.build(),
    pickle.BINPERSID: lambda m: m.persistent_id(),
    pickle.GET: lambda m: m.push(m.memo[int(m.line())]),
    pickle.BINGET: lambda m: m.push(m.memo[m.number("<B")]),
    pickle.LONG_BINGET: lambda m: m.push(m.memo[m.number("<I")]),
    pickle.PUT: lambda m: m.remember(int(m.line())),
    pickle.BINPUT: lambda m: m.remember(m.number("<B")),
    pickle.LONG_BINPUT: lambda m: m.remember(m.number("<I")),
    pickle.MEMOIZE: lambda m: m.remember(len(m.memo)),
}
"""What each operation of a pickle does; those that are not here (INST, OBJ, EXT, NEWOBJ_EX, buffers) make anything else."""
