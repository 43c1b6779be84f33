"""Sizes that change from run to run: what stays, what varies, and by which variables.

In: the sizes of two or more runs of one structure, as vectors of integers. Out: a `Pattern`: for each position an integer or a `Dim`, found by
anti-unification: positions that had equal values in every run share a variable, and a position that is an affine function of a
variable, or of a product of two, or the sum of two, is written as that. It holds for the runs seen; whether for another is its guard's question
(`Pattern.bind`), whether for all sizes that of the verifier, on the graph that is rebuilt with it.

Sizes of 0 and 1 never vary (the structure tells them apart): broadcasting and empty loops hang on them. An offset may be 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.dim import Dim, Question, Size, Variable
from ..ir.record import record

HIGH = 2**31 - 1
"""The bound of a variable that nothing else bounds."""
Column = tuple[int, ...]
"""The values of one position, one for each run."""
Form = tuple[tuple[tuple[int, tuple[int, ...]], ...], int]
"""A column by others: factors, each with the numbers of the bases that it multiplies, and a constant."""


@record
class Pattern:
    """Sizes with variables: `sizes` by position, and for each variable the position that gives its value."""

    sizes: tuple[Size, ...]
    variables: tuple[tuple[Variable, int], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(variable.name for variable, _ in self.variables)

    def bind(self, vector: Sequence[int]) -> tuple[int, ...] | None:
        """The values of the variables that make `vector` of the pattern, or None."""
        if len(vector) != len(self.sizes):
            return None
        values: dict[str, int] = {}
        for variable, position in self.variables:
            value = vector[position]
            if not variable.low <= value <= variable.high:
                return None
            values[variable.name] = value
        for size, actual in zip(self.sizes, vector, strict=True):
            if (size if isinstance(size, int) else size.evaluate(values)) != actual:
                return None
        return tuple(values.values())


def generalise(
    vectors: Sequence[Sequence[int]], limits: Sequence[Sequence[int | None]]
) -> Pattern | None:
    """The pattern of some runs; None where nothing varies. `limits` has the largest value of each offset in each run, None for a size."""
    columns: list[Column] = list(zip(*vectors, strict=True))
    varying = {
        column: position
        for position, column in reversed(list(enumerate(columns)))
        if len(set(column)) > 1
    }
    if not varying:
        return None
    # Small ones first, so that a product is written by its factors and a sum by its parts, and not the other way round.
    order = sorted(varying, key=lambda column: (max(column), varying[column]))
    bases: list[Column] = []
    forms: dict[Column, Form] = {}
    for column in order:
        form = _form(column, bases)
        if form is None:
            form = ((1, (len(bases),)),), 0
            bases.append(column)
        forms[column] = form
    bounds = _bounds(bases, forms, columns, list(zip(*limits, strict=True)))
    dims = [
        Dim.variable(f"d{number}", low, high, example=max(base))
        for number, (base, (low, high)) in enumerate(zip(bases, bounds, strict=True))
    ]
    written: dict[Column, Size] = {}
    for column, (terms, constant) in forms.items():
        whole: Size = constant
        for factor, product in terms:
            size: Size = factor
            for number in product:
                size = size * dims[number]
            whole = whole + size
        written[column] = whole
    sizes = tuple(written.get(column, column[0]) for column in columns)
    variables = tuple(
        (dim.variables[0], varying[base]) for dim, base in zip(dims, bases, strict=True)
    )
    return Pattern(sizes, variables)


def narrowed(
    pattern: Pattern, question: Question, vectors: Sequence[Sequence[int]]
) -> Pattern | None:
    """The pattern for those sizes alone of which a question (is a polynomial negative?) has the answer that it has of `vectors`.

    None where their answers differ, or bounds of one variable cannot say so.
    """
    named = [(names, factor) for names, factor in question if names]
    rest = sum(factor for names, factor in question if not names)
    if len(named) != 1 or len(named[0][0]) != 1:
        return None
    ((name,), factor) = named[0]
    found = [(variable, place) for variable, place in pattern.variables if variable.name == name]
    if not found:
        return None
    ((old, at),) = found
    answers = {factor * vector[at] + rest < 0 for vector in vectors}
    if len(answers) != 1:
        return None
    low, high = old.low, old.high
    # the largest value on the side of the small ones, where factor * value + rest changes its sign
    edge = (-rest - 1) // factor if factor > 0 else rest // -factor
    if answers == {factor > 0}:
        high = min(high, edge)
    else:
        low = max(low, edge + 1)
    if low > high or (low, high) == (old.low, old.high):
        return None
    new = Variable(name, low, high, old.multiple, old.example)
    sizes = tuple([_with(size, old, new) for size in pattern.sizes])
    variables = [(new if each == old else each, place) for each, place in pattern.variables]
    return Pattern(sizes, tuple(variables))


def _with(size: Size, old: Variable, new: Variable) -> Size:
    """A size with one variable in the place of another one."""
    if isinstance(size, int):
        return size
    return Dim({tuple([new if v == old else v for v in m]): c for m, c in size.terms})


def _form(column: Column, bases: Sequence[Column]) -> Form | None:
    """`column` as a constant and a multiple of a base or of a product of two, or the sum of two bases."""
    for number, base in enumerate(bases):
        found = _affine(column, base)
        if found is not None:
            return ((found[0], (number,)),), found[1]
    if len(column) < 3:
        return None  # two runs do not tell what is made of two variables from a third one
    for first, left in enumerate(bases):
        for second in range(first, len(bases)):
            right = bases[second]
            rest = {whole - a - b for whole, a, b in zip(column, left, right, strict=True)}
            if len(rest) == 1:
                return ((1, (first,)), (1, (second,))), rest.pop()
            found = _affine(column, tuple(a * b for a, b in zip(left, right, strict=True)))
            if found is not None:
                return ((found[0], (first, second)),), found[1]
    return None


def _affine(column: Column, base: Column) -> tuple[int, int] | None:
    """The positive factor and the constant that make `column` of `base`."""
    low, high = base.index(min(base)), base.index(max(base))
    spread = base[high] - base[low]
    if not spread:
        return None
    factor, rest = divmod(column[high] - column[low], spread)
    if rest or factor <= 0:
        return None
    constant = column[low] - factor * base[low]
    if all(factor * b + constant == c for b, c in zip(base, column, strict=True)):
        return factor, constant
    return None


def _bounds(
    bases: Sequence[Column],
    forms: dict[Column, Form],
    columns: Sequence[Column],
    limits: Sequence[tuple[int | None, ...]],
) -> list[tuple[int, int]]:
    """The bounds of each variable: every size is at least 2, every offset between 0 and its limit.

    A limit that grows with the offset, as that of the second part of a concatenation does, is none.
    """
    least, most = dict.fromkeys(forms, 0), dict.fromkeys(forms, HIGH)
    for column, limit in zip(columns, limits, strict=True):
        if column not in forms:
            continue
        known = [each for each in limit if each is not None]
        if not known:
            least[column] = 2
        elif not _follows(tuple(known), forms[column], bases):
            most[column] = min(most[column], max(*known, *column))
    lows = [least[base] for base in bases]
    highs = [most[base] for base in bases]
    for column, (terms, constant) in forms.items():
        factor, product = terms[0]
        if len(terms) == 1 and len(product) == 1:
            number = product[0]
            lows[number] = max(lows[number], -(-(least[column] - constant) // factor))
            highs[number] = min(highs[number], (most[column] - constant) // factor)
    return list(zip(lows, highs, strict=True))


def _follows(limit: Column, offset: Form, bases: Sequence[Column]) -> bool:
    """Whether a limit is written like its offset, and so stays ahead of it."""
    found = _form(limit, bases) if len(set(limit)) > 1 else None
    if found is None or len(found[0]) != 1 or len(offset[0]) != 1:
        return found == offset
    ((most, product),), ((least, same),) = found[0], offset[0]
    return product == same and most >= least and found[1] >= offset[1]
