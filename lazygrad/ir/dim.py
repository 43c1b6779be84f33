"""Sizes that change from run to run: `Dim`, a polynomial with integer coefficients over bounded variables.

In: ints and Dims. Out: an int where the result is constant, otherwise a Dim in canonical form, so that `==` is structural.
A question whose answer the bounds do not decide raises `UndecidedError`; the caller then compiles for the concrete sizes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

Question = tuple[tuple[tuple[str, ...], int], ...]
"""A polynomial, as names of variables with their coefficient: is it negative?"""


class UndecidedError(ValueError):
    """The bounds of the dims involved do not decide a question: `question`, where it is whether a polynomial is negative."""

    def __init__(self, text: str, question: Question = ()) -> None:
        super().__init__(text)
        self.question = question


@dataclass(frozen=True, slots=True)
class Variable:
    """An integer between `low` and `high` that `multiple` divides; `example` is one value, for cost models only."""

    name: str
    low: int = 2
    high: int = 2**31 - 1
    multiple: int = 1
    example: int = field(default=64, compare=False)


Monomial = tuple[Variable, ...]


class Dim:
    """A sum of `coefficient * product of variables`, never constant (a constant is an int)."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: dict[Monomial, int]) -> None:
        self.terms: tuple[tuple[Monomial, int], ...] = tuple(
            sorted(terms.items(), key=lambda item: (-len(item[0]), [v.name for v in item[0]]))
        )
        self._hash = hash(self.terms)

    @staticmethod
    def variable(
        name: str, low: int = 2, high: int = 2**31 - 1, multiple: int = 1, example: int = 64
    ) -> Dim:
        return Dim({(Variable(name, low, high, multiple, example),): 1})

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables in it, each once, in the order of their names."""
        found = {v.name: v for monomial, _ in self.terms for v in monomial}
        return tuple(found[name] for name in sorted(found))

    @property
    def low(self) -> int:
        return sum(c * _bound(m, c < 0) for m, c in self.terms)

    @property
    def high(self) -> int:
        return sum(c * _bound(m, c > 0) for m, c in self.terms)

    @property
    def example(self) -> int:
        return self.evaluate({v.name: v.example for v in self.variables})

    def evaluate(self, values: dict[str, int]) -> int:
        """Its value when each variable has the value given by name."""
        total = 0
        for monomial, coefficient in self.terms:
            for variable in monomial:
                coefficient *= values[variable.name]
            total += coefficient
        return total

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __bool__(self) -> bool:
        return self != 0 and (self > 0 or self < 0)

    def __add__(self, other: Size) -> Size:
        return _collect([*self.terms, *_terms(other)])

    __radd__ = __add__

    def __neg__(self) -> Size:
        return self * -1

    def __sub__(self, other: Size) -> Size:
        return self + (-1 * other)

    def __rsub__(self, other: Size) -> Size:
        return -self + other

    def __mul__(self, other: Size) -> Size:
        return _collect(
            (tuple(sorted(a + b, key=lambda v: v.name)), x * y)
            for a, x in self.terms
            for b, y in _terms(other)
        )

    __rmul__ = __mul__

    def __floordiv__(self, other: Size) -> Size:
        quotient = _exact_quotient(self, other)
        if quotient is None:
            raise UndecidedError(f"{self} // {other} is not exact for every value")
        return quotient

    def __rfloordiv__(self, other: int) -> Size:
        if other == 0:
            return 0
        raise UndecidedError(f"{other} // {self} is not decided")

    def __mod__(self, other: Size) -> int:
        if _exact_quotient(self, other) is not None:
            return 0
        if isinstance(other, int) and all(_divides(other, m, c) for m, c in self.terms):
            return 0
        raise UndecidedError(f"{self} % {other} is not decided")

    def __rmod__(self, other: int) -> int:
        if other == 0:
            return 0
        raise UndecidedError(f"{other} % {self} is not decided")

    def __lt__(self, other: Size) -> bool:
        difference = self - other
        if isinstance(difference, int):
            return difference < 0
        if difference.high < 0:
            return True
        if difference.low >= 0:
            return False
        question = tuple([(tuple([v.name for v in m]), c) for m, c in difference.terms])
        raise UndecidedError(f"{self} < {other} is not decided", question)

    def __le__(self, other: Size) -> bool:
        return self < other + 1

    def __gt__(self, other: Size) -> bool:
        return not self <= other

    def __ge__(self, other: Size) -> bool:
        return not self < other

    def __repr__(self) -> str:
        text = ""
        for monomial, coefficient in self.terms:
            product = "*".join(v.name for v in monomial)
            size = abs(coefficient)
            term = (
                product if product and size == 1 else f"{size}*{product}" if product else str(size)
            )
            sign = "-" if coefficient < 0 else "+" if text else ""
            text += f" {sign} {term}" if text else f"{sign}{term}"
        return text


Size = int | Dim


def product(sizes: Iterable[Size]) -> Size:
    """The number of elements of a shape."""
    total: Size = 1
    for size in sizes:
        total = total * size
    return total


def example(size: Size) -> int:
    """One possible value of `size`, for cost models."""
    return size if isinstance(size, int) else size.example


def _bound(monomial: Monomial, upper: bool) -> int:
    value = 1
    for variable in monomial:
        value *= variable.high if upper else variable.low
    return value


def _terms(size: Size) -> Iterable[tuple[Monomial, int]]:
    return size.terms if isinstance(size, Dim) else [((), int(size))]


def _collect(terms: Iterable[tuple[Monomial, int]]) -> Size:
    total: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        total[monomial] = total.get(monomial, 0) + coefficient
    total = {m: c for m, c in total.items() if c}
    if not total:
        return 0
    if set(total) == {()}:
        return total[()]
    return Dim(total)


def _divides(divisor: int, monomial: Monomial, coefficient: int) -> bool:
    for variable in monomial:
        coefficient *= variable.multiple
    return coefficient % divisor == 0


def _exact_quotient(size: Dim, divisor: Size) -> Size | None:
    """size / divisor where the divisor is one term that divides every term of `size`, or a multiple of it."""
    if divisor == size:
        return 1
    divisors = list(_terms(divisor))
    if divisor == 0:
        raise ZeroDivisionError("division of a dim by zero")
    if len(divisors) != 1:
        ratio = _ratio(size, divisors)
        return ratio
    (monomial, coefficient) = divisors[0]
    terms: list[tuple[Monomial, int]] = []
    for m, c in size.terms:
        rest = list(m)
        for variable in monomial:
            if variable not in rest:
                return None
            rest.remove(variable)
        if c % coefficient:
            return None
        terms.append((tuple(rest), c // coefficient))
    return _collect(terms)


def _ratio(size: Dim, divisors: list[tuple[Monomial, int]]) -> int | None:
    first = dict(size.terms).get(divisors[0][0])
    if first is None or first % divisors[0][1]:
        return None
    ratio = first // divisors[0][1]
    return ratio if _collect([(m, c * ratio) for m, c in divisors]) == size else None
