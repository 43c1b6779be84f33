"""Numbers that a replay computes anew: a stand-in for a Python number, which writes down what is done with it.

In: the scalar arguments, counters and `.item()` results of a traced call. Out: to the function, something that behaves as the
number; to the trace, the text of an expression wherever the number became one of a plan, and a decision (a guard) wherever its
value was looked at: compared, converted, printed, used as a size. So nothing about a number is assumed that was not seen.

It is no subclass of float or int: C code reads those directly, without asking. It says that it is one when the user's code asks
(`isinstance`), and not to this package, whose operators then take it by the path that asks it for its value (`item`).
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any, Protocol

from ..functional import updates
from ..functional.registry import OPERATORS
from ..ir import node as nodes
from ..site import OURS, here

Number = float | int

LENGTH_LIMIT = 2000
"""How long an expression may be before its value is looked at instead."""


class Watcher(Protocol):
    """Whom a lifted number tells what happens to it."""

    def made_number(self, number: Lifted) -> None:
        """There is one more."""
        ...

    def decide(self, text: str, outcome: object) -> None:
        """The program depends on this expression having this value."""
        ...

    def embed(self, number: float, text: str) -> None:
        """This very object stands for the expression among the numbers of a plan."""
        ...


def _codes() -> tuple[frozenset[CodeType], frozenset[CodeType]]:
    """The functions that only make a constant of a number; and the operators that do the same for every number."""
    direct = frozenset((nodes.constant.__code__, updates._factor.__code__))
    names = ("add", "sub", "rsub", "mul", "div", "eq", "ne", "lt", "le", "gt", "ge")
    builders = [OPERATORS[name].builder for name in names]
    return direct, frozenset([each.__code__ for each in builders if each is not None])


DIRECT, NUMERIC = _codes()


class Lifted:
    """A number of a traced call: its value now, and the text of the expression that a replay computes it by."""

    __slots__ = ("_box", "number", "text", "watcher")

    ndim = 0
    dtype = None

    def __init__(self, number: Number, text: str, watcher: Watcher) -> None:
        self.number = number
        self.text = text
        self.watcher = watcher
        self._box: float | None = None
        watcher.made_number(self)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return Lifted if _from_here(sys._getframe(1).f_code) else type(self.number)

    def item(self) -> Number:
        """The number, asked for by an operator as it asks a numpy scalar."""
        number = self.number
        if number in (0, 1, -1) or number - number != 0:  # an operator may leave it out
            return self.look()
        frame = sys._getframe(1)
        for _ in range(3):
            if frame.f_code in NUMERIC:
                # an integer makes no float of an integer tensor
                floating = type(number) is float or frame.f_locals["input"].dtype.kind == "float"
                return self.boxed() if floating else self.look()
            if frame.f_back is None:
                break
            frame = frame.f_back
        return self.look()

    def boxed(self) -> float:
        """The number as an object that is known again among the numbers of a plan."""
        if self._box is None:
            number = self.number
            self._box = number * 1.0 if type(number) is float else float(number)
            text = self.text if type(number) is float else f"float({self.text})"
            self.watcher.embed(self._box, text)
        return self._box

    def look(self) -> Number:
        """The number, on whose value the program now depends."""
        self.watcher.decide(self.text, self.number)
        return self.number

    def __float__(self) -> float:
        if sys._getframe(1).f_code in DIRECT:
            return self.boxed()
        return float(self.look())

    def __bool__(self) -> bool:
        outcome = bool(self.number)
        self.watcher.decide(f"({self.text} != 0)", outcome)
        return outcome

    def __getattr__(self, name: str) -> Any:
        return getattr(self.look(), name)


def _from_here(code: CodeType) -> bool:
    known = OURS.get(code)
    if known is None:
        here()  # which takes note of every code object on the stack
        known = OURS.get(code, False)
    return known


# --- what is done with it


def written(value: object) -> str | None:
    """A number as it stands in an expression, or None for what is no number."""
    kind = type(value)
    if kind is Lifted:
        return value.text  # type: ignore[attr-defined, no-any-return]
    if kind is int or kind is bool:
        return f"({value})"
    if kind is float:
        number: float = value  # type: ignore[assignment]
        return f"({number!r})" if math.isfinite(number) else f"float('{number}')"
    return None


def plain(value: Any) -> Any:
    """The number that a lifted one is; anything else as it is."""
    return value.number if type(value) is Lifted else value


def _arithmetic(sign: str, function: Callable[[Any, Any], Any], swap: bool) -> Callable[..., Any]:
    def method(self: Lifted, other: object) -> Any:
        text = written(other)
        if text is None:
            return NotImplemented
        pair, texts = (self.number, plain(other)), (self.text, text)
        if swap:
            pair, texts = pair[::-1], texts[::-1]
        value = function(*pair)
        made = f"({texts[0]} {sign} {texts[1]})"
        if type(value) not in (float, int) or len(made) > LENGTH_LIMIT:
            self.look()
            if type(other) is Lifted:
                other.look()
            return value
        return Lifted(value, made, self.watcher)

    return method


def _comparison(sign: str, function: Callable[[Any, Any], bool]) -> Callable[..., Any]:
    def method(self: Lifted, other: object) -> Any:
        text = written(other)
        if text is None:
            return NotImplemented
        outcome = function(self.number, plain(other))
        self.watcher.decide(f"({self.text} {sign} {text})", outcome)
        return outcome

    return method


def _unary(sign: str, function: Callable[[Any], Any]) -> Callable[..., Any]:
    def method(self: Lifted) -> Any:
        return Lifted(function(self.number), f"({sign}({self.text}))", self.watcher)

    return method


def _looking(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Lifted, *args: Any) -> Any:
        return function(self.look(), *[plain(each) for each in args])

    return method


for _name, _sign, _function in (
    ("add", "+", operator.add), ("sub", "-", operator.sub), ("mul", "*", operator.mul), ("truediv", "/", operator.truediv),
    ("floordiv", "//", operator.floordiv), ("mod", "%", operator.mod), ("pow", "**", operator.pow),
):  # fmt: skip
    setattr(Lifted, f"__{_name}__", _arithmetic(_sign, _function, swap=False))
    setattr(Lifted, f"__r{_name}__", _arithmetic(_sign, _function, swap=True))
for _name, _sign, _function in (
    ("lt", "<", operator.lt), ("le", "<=", operator.le), ("gt", ">", operator.gt), ("ge", ">=", operator.ge),
    ("eq", "==", operator.eq), ("ne", "!=", operator.ne),
):  # fmt: skip
    setattr(Lifted, f"__{_name}__", _comparison(_sign, _function))
for _name, _sign, _unary_function in (
    ("neg", "-", operator.neg),
    ("pos", "+", operator.pos),
    ("abs", "abs", abs),
):
    setattr(Lifted, f"__{_name}__", _unary(_sign, _unary_function))
for _name, _looking_function in (
    ("hash", hash), ("int", int), ("index", operator.index), ("str", str), ("repr", repr), ("format", format),
    ("round", round), ("trunc", math.trunc), ("floor", math.floor), ("ceil", math.ceil), ("divmod", divmod),
    ("rdivmod", lambda left, right: divmod(right, left)), ("and", operator.and_), ("or", operator.or_), ("xor", operator.xor),
    ("lshift", operator.lshift), ("rshift", operator.rshift), ("invert", operator.invert), ("complex", complex),
):  # fmt: skip
    setattr(Lifted, f"__{_name}__", _looking(_looking_function))


def same(left: object, right: object) -> bool:
    """Whether two numbers are one: of the same type, 0.0 and -0.0 told apart, NaN equal to itself."""
    if type(left) is not type(right):
        return False
    if type(left) is float:
        return float.hex(left) == float.hex(right)  # type: ignore[arg-type]
    return left == right
