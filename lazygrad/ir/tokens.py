"""One line of the text form as tokens, and what is read from them: numbers, sizes, types, args.

In: a line. Out: its parts, from the left, by the methods of `Line`; what does not fit raises `ParseError` with the line.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, NoReturn

from .args import ARG_CLASS, Arg, Call, Constant, Scalar
from .dim import Dim, Size
from .dtype import BY_SHORT, DType
from .op import Op, named

_TOKEN = re.compile(
    r"""\s*(?: (?P<name>%\w+)
      | (?P<number>(?:\d+\.(?!\.)\d*|\d+)(?:e[+-]?\d+)?|(?:inf|nan)\b)
      | (?P<word>[A-Za-z_][\w]*)
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<place>@[\w:\-]+)
      | (?P<mark>//|\.\.|[-+*%()\[\]{},:=.])
      | (?P<comment>\#.*)
      | (?P<wrong>\S))""",
    re.VERBOSE,
)


class ParseError(ValueError):
    """The text is not IR; says where."""


@dataclass(slots=True)
class Line:
    """One line as tokens, read from the left."""

    number: int
    text: str
    tokens: list[tuple[str, str]] = field(default_factory=list)
    position: int = 0
    variables: dict[str, Dim] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for match in _TOKEN.finditer(self.text):
            kind = match.lastgroup
            if kind is None or kind == "comment":
                break
            if kind == "wrong":
                self.fail(f"{match.group(kind)!r} means nothing here")
            self.tokens.append((kind, match.group(kind)))

    @property
    def indent(self) -> int:
        return len(self.text) - len(self.text.lstrip())

    def fail(self, message: str) -> NoReturn:
        raise ParseError(f"line {self.number}: {message}: {self.text.strip()}")

    def peek(self, ahead: int = 0) -> str:
        place = self.position + ahead
        return self.tokens[place][1] if place < len(self.tokens) else ""

    def kind(self) -> str:
        return self.tokens[self.position][0] if self.position < len(self.tokens) else ""

    def take(self, kind: str = "") -> str:
        if not self.kind() or (kind and self.kind() != kind):
            self.fail(f"expected a {kind or 'token'} at {self.peek()!r}")
        self.position += 1
        return self.tokens[self.position - 1][1]

    def accept(self, text: str) -> bool:
        if self.peek() == text and self.kind() != "string":
            self.position += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            self.fail(f"expected {text!r} at {self.peek()!r}")

    def end(self) -> None:
        if self.kind():
            self.fail(f"{self.peek()!r} is left over")

    def listed(self, item: Callable[[], Any], close: str) -> tuple[Any, ...]:
        """Items with commas between them (one may stand at the end), up to `close`."""
        items: list[Any] = []
        while not self.accept(close):
            items.append(item())
            if not self.accept(","):
                self.expect(close)
                break
        return tuple(items)

    # --- numbers, types, args

    def scalar(self) -> Scalar:
        negative = self.accept("-")
        if self.kind() == "word" and self.peek() in ("True", "False"):
            return self.take() == "True"
        text = self.take("number")
        value: Scalar = int(text) if text.isdigit() else float(text)
        return -value if negative else value

    def integer(self) -> int:
        value = self.scalar()
        return value if type(value) is int else self.fail("expected an integer")

    def size(self) -> Size:
        """An int, or a sum of products of variables."""
        total: Size = 0
        sign = -1 if self.accept("-") else 1
        while True:
            term: Size = sign
            while True:
                if self.kind() == "word":
                    name = self.take()
                    if name not in self.variables:
                        self.fail(f"the dim {name} is not declared")
                    term = term * self.variables[name]
                else:
                    term = term * int(self.take("number"))
                if not self.accept("*"):
                    break
            total = total + term
            if self.accept("+"):
                sign = 1
            elif self.accept("-"):
                sign = -1
            else:
                return total

    def dtype(self) -> DType:
        name = self.take("word")
        found = BY_SHORT.get(name)
        return found if found is not None else self.fail(f"{name} is no dtype")

    def type(self) -> tuple[DType, tuple[Size, ...]]:
        """`f32[2, n]`, or `f32` and `f32x16` for values of loops."""
        word = self.take("word")
        short, _, lanes = word.partition("x")
        if short not in BY_SHORT or (lanes and not lanes.isdigit()):
            self.fail(f"{word} is no type")
        dtype = BY_SHORT[short]
        if lanes:
            return dtype, (int(lanes),)
        return dtype, self.listed(self.size, "]") if self.accept("[") else ()

    def dims(self, dims: dict[str, Dim]) -> None:
        self.take()
        name = self.take("word")
        self.expect("in")
        low = self.integer()
        self.expect("..")
        high = self.integer()
        self.expect("multiple")
        size = Dim.variable(name, low, high, self.integer())
        dims[name] = size
        self.end()

    def attribute(self) -> Any:
        """A value of a CALL's attributes: it says its own type."""
        if self.accept("("):
            return self.listed(self.attribute, ")")
        if self.kind() == "string":
            return ast.literal_eval(self.take())
        if self.accept("None"):
            return None
        if self.accept("constant"):
            self.expect("(")
            value = self.scalar()
            self.expect(")")
            return Constant(value)
        return self.scalar()

    def field(self, kind: str) -> Any:
        """A value of the dataclass field type `kind`."""
        if kind.startswith("tuple["):
            self.expect("(")
            inner = kind[len("tuple[") :].split(",")[0]
            return self.listed(lambda: self.field(inner), ")")
        if kind == "Size":
            return self.size()
        if kind == "DType":
            return self.dtype()
        if kind == "Constant":
            return Constant(self.scalar())
        if kind in ("int", "bool"):
            return self.scalar()
        return self.take("word")

    def arg(self, op: Op, name: str) -> Arg | None:
        """The arg of `op` between braces; `name` is that of a CALL."""
        cls = ARG_CLASS.get(op)
        if cls is None:
            return None
        values: dict[str, Any] = {}
        kinds = {f.name: str(f.type) for f in fields(cls)} if cls is not Call else {}  # type: ignore[arg-type]
        if self.accept("{"):
            while not self.accept("}"):
                key = self.take("word")
                self.expect("=")
                if cls is Call:
                    values[key] = self.attribute()
                elif key in kinds:
                    values[key] = self.field(kinds[key])
                else:
                    self.fail(f"{op.name.lower()} has no {key}")
                self.accept(",")
        if cls is Call:
            return Call(name, tuple(values.items()))
        needed = [f.name for f in fields(cls) if f.default is MISSING]  # type: ignore[arg-type]
        if not values.keys() >= set(needed):
            self.fail(f"{op.name.lower()} needs {', '.join(needed)}")
        return cls(**values)

    def operation(self) -> tuple[Op, str]:
        word = self.take("word")
        op = named(word)
        if op is None:
            self.fail(f"{word} is no operation")
        return op, self.take("word") if self.accept(".") else ""
