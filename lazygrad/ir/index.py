"""Index arithmetic: where an element lives, as a sum of coefficient * atom + constant.

In: loop variables and sizes (`int | Dim`). Out: canonical `Index` values, compared structurally, in which quotients and remainders
that the loop bounds decide have disappeared; `emit` turns one into IR nodes. An atom is a loop variable, a quotient or remainder of an index
by a size, or an indirect index (a loaded value).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..ir.dim import Dim, Size, UndecidedError
from ..ir.dtype import bool_, int64
from ..ir.node import Node, constant
from ..ir.op import Op


class Variable:
    """A loop variable: 0 <= it < extent. Names are unique in a kernel."""

    __slots__ = ("_hash", "alone", "extent", "name")

    def __init__(self, name: str, extent: Size) -> None:
        self.name = name
        self.extent = extent
        self._hash = hash((name, extent))
        self.alone = frozenset((self,))

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Variable)
            and self._hash == other._hash
            and self.name == other.name
            and self.extent == other.extent
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Variable({self.name!r}, {self.extent!r})"


@dataclass(frozen=True, slots=True)
class Quotient:
    """dividend // divisor, rounding down; the divisor is positive."""

    dividend: Index
    divisor: Size


@dataclass(frozen=True, slots=True)
class Remainder:
    """dividend % divisor, not negative."""

    dividend: Index
    divisor: Size


@dataclass(frozen=True, slots=True)
class Indirect:
    """The value of an int64 graph node at a position: 0 <= it < extent (the reader checks that)."""

    node: Node
    position: tuple[Index, ...]
    extent: Size


Atom = Variable | Quotient | Remainder | Indirect


NO_VARIABLES: frozenset[Variable] = frozenset()


class Index:
    """A sum of coefficient * atom, in a fixed order of atoms, plus a constant."""

    __slots__ = ("terms", "constant", "_hash", "variables")

    def __init__(self, terms: tuple[tuple[Atom, Size], ...], const: Size) -> None:
        self.terms = terms
        self.constant = const
        self._hash = hash((terms, const))
        variables = NO_VARIABLES
        for atom, _ in terms:
            more = atom.alone if type(atom) is Variable else _variables(atom)
            variables = variables | more if variables else more
        self.variables = variables

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Index)
            and self._hash == other._hash
            and self.terms == other.terms
            and self.constant == other.constant
        )

    def __hash__(self) -> int:
        return self._hash

    def __add__(self, other: Index | Size) -> Index:
        right = of(other)
        if not right.terms:
            return (
                self if right.constant == 0 else Index(self.terms, self.constant + right.constant)
            )
        if not self.terms:
            return (
                right if self.constant == 0 else Index(right.terms, self.constant + right.constant)
            )
        return _collect([*self.terms, *right.terms], self.constant + right.constant)

    def __sub__(self, other: Index | Size) -> Index:
        return self + of(other) * -1

    def __mul__(self, factor: Size) -> Index:
        if factor == 1:
            return self
        if factor == 0:
            return ZERO
        return Index(tuple([(a, c * factor) for a, c in self.terms]), self.constant * factor)

    def __floordiv__(self, divisor: Size) -> Index:
        if divisor == 1:
            return self
        whole, rest = self._split(divisor)
        return whole + _quotient(rest, divisor)

    def __mod__(self, divisor: Size) -> Index:
        if divisor == 1:
            return ZERO
        _, rest = self._split(divisor)
        return (
            rest - _quotient(rest, divisor) * divisor
            if _decided(rest, divisor)
            else _remainder(rest, divisor)
        )

    def _split(self, divisor: Size) -> tuple[Index, Index]:
        """(whole, rest) with self == whole * divisor + rest."""
        whole: list[tuple[Atom, Size]] = []
        rest: list[tuple[Atom, Size]] = []
        for atom, coefficient in self.terms:
            quotient = _exact(coefficient, divisor)
            if quotient is not None:
                whole.append((atom, quotient))
            else:
                rest.append((atom, coefficient))
        outer: Size
        inner: Size
        if isinstance(self.constant, int) and isinstance(divisor, int):
            outer, inner = self.constant // divisor, self.constant % divisor
        else:
            exact = _exact(self.constant, divisor)
            outer, inner = (exact, 0) if exact is not None else (0, self.constant)
        return Index(tuple(whole), outer), Index(
            tuple(rest), inner
        ) if whole or outer != 0 else self

    def bounds(self) -> tuple[Size, Size]:
        """The least and the greatest value.

        Raises:
            UndecidedError: a coefficient's sign is not known.
        """
        low: Size = self.constant
        high: Size = self.constant
        for atom, coefficient in self.terms:
            bottom, top = _least(atom), _greatest(atom)
            if not coefficient >= 0:
                bottom, top = top, bottom
            low = low + coefficient * bottom
            high = high + coefficient * top
        return low, high

    def within(self, low: Size, high: Size) -> bool:
        """Whether low <= self < high is certain."""
        try:
            least, greatest = self.bounds()
            return bool(least >= low and greatest < high)
        except UndecidedError:
            return False

    def substitute(self, values: dict[Variable, Index]) -> Index:
        """The index with each variable replaced."""
        if not any(v in values for v in self.variables):
            return self
        total = Index((), self.constant)
        for atom, coefficient in self.terms:
            if isinstance(atom, Variable):
                part = values.get(atom) or Index(((atom, 1),), 0)
            elif isinstance(atom, Quotient):
                part = atom.dividend.substitute(values) // atom.divisor
            elif isinstance(atom, Remainder):
                part = atom.dividend.substitute(values) % atom.divisor
            else:
                part = Index(((atom, 1),), 0)
            total = total + part * coefficient
        return total

    def __repr__(self) -> str:
        parts = [
            f"{_name(a)}" if c == 1 else f"{_name(a)}*{c if isinstance(c, int) else f'({c})'}"
            for a, c in self.terms
        ]
        if self.constant != 0 or not parts:
            parts.append(str(self.constant))
        return " + ".join(parts)


ZERO = Index((), 0)


def of(value: Index | Size | Variable) -> Index:
    """A size or a variable as an index."""
    if isinstance(value, Index):
        return value
    if isinstance(value, Variable):
        return ZERO if value.extent == 1 else Index(((value, 1),), 0)
    return Index((), value)


def indirect(node: Node, position: tuple[Index, ...], extent: Size) -> Index:
    """The value of `node` at `position`, which lies in [0, extent)."""
    return Index(((Indirect(node, position, extent), 1),), 0)


def flatten(index: Sequence[Index], shape: Sequence[Size]) -> Index:
    """The row-major offset of an element."""
    terms: list[tuple[Atom, Size]] = []
    const: Size = 0
    stride: Size = 1
    for position, size in zip(reversed(index), reversed(shape), strict=True):
        terms += position.terms if stride == 1 else [(a, c * stride) for a, c in position.terms]
        const = const + position.constant * stride
        stride = stride * size
    return _collect(terms, const)


def unflatten(offset: Index, shape: Sequence[Size]) -> tuple[Index, ...]:
    """The position of the element at a row-major offset."""
    result: list[Index] = []
    stride: Size = 1
    for axis in range(len(shape) - 1, -1, -1):
        size = shape[axis]
        if size == 1:
            result.append(ZERO)
            continue
        position = offset // stride
        result.append(position if all(s == 1 for s in shape[:axis]) else position % size)
        stride = stride * size
    return tuple(reversed(result))


def emit(
    index: Index, leaf: Callable[[Variable | Indirect], Node], size: Callable[[Size], Node]
) -> Node:
    """The index as int64 nodes; `leaf` and `size` give the nodes of variables, of loaded indices, and of sizes."""
    total: Node | None = None
    for atom, coefficient in index.terms:
        if isinstance(atom, (Variable, Indirect)):
            node = leaf(atom)
        else:
            op = Op.IDIV if isinstance(atom, Quotient) else Op.MOD
            dividend = emit(atom.dividend, leaf, size)
            node = Node(op, (dividend, size(atom.divisor)), int64, ())
        if coefficient != 1:
            node = Node(Op.MUL, (node, size(coefficient)), int64, ())
        total = node if total is None else Node(Op.ADD, (total, node), int64, ())
    if total is None:
        return size(index.constant)
    if index.constant != 0:
        total = Node(Op.ADD, (total, size(index.constant)), int64, ())
    return total


@dataclass(frozen=True, slots=True)
class Condition:
    """low <= index < high, and divisor divides index."""

    index: Index
    low: Size
    high: Size
    divisor: int = 1

    @property
    def certain(self) -> bool:
        """Whether it holds for every value of the variables."""
        return self.index.within(self.low, self.high) and (
            self.divisor == 1 or self.index % self.divisor == ZERO
        )

    def emit(
        self, leaf: Callable[[Variable | Indirect], Node], size: Callable[[Size], Node]
    ) -> Node | None:
        """The condition as a bool node; None where the bounds alone decide it."""
        node = emit(self.index, leaf, size)
        parts: list[Node] = []
        if not self._decided(lambda low, high: low >= self.low):
            parts.append(Node(Op.LE, (size(self.low), node), bool_, ()))
        if not self._decided(lambda low, high: high < self.high):
            parts.append(Node(Op.LT, (node, size(self.high)), bool_, ()))
        if self.divisor != 1 and self.index % self.divisor != ZERO:
            rest = Node(Op.MOD, (node, size(self.divisor)), int64, ())
            parts.append(Node(Op.EQ, (rest, constant(0, int64)), bool_, ()))
        return conjunction(parts)

    def _decided(self, test: Callable[[Size, Size], bool]) -> bool:
        try:
            return test(*self.index.bounds())
        except UndecidedError:
            return False


def conjunction(conditions: Iterable[Node]) -> Node | None:
    """All of the conditions; None for no condition."""
    total: Node | None = None
    for condition in conditions:
        total = condition if total is None else Node(Op.AND, (total, condition), bool_, ())
    return total


def _variables(atom: Atom) -> frozenset[Variable]:
    if isinstance(atom, Variable):
        return atom.alone
    if isinstance(atom, Indirect):
        return NO_VARIABLES.union(*(index.variables for index in atom.position))
    return atom.dividend.variables


def _least(atom: Atom) -> Size:
    """No atom is negative but the quotient of a dividend that may be, as a flipped axis makes it."""
    if not isinstance(atom, Quotient):
        return 0
    low = atom.dividend.bounds()[0]
    if low >= 0:
        return 0
    if isinstance(low, int) and isinstance(atom.divisor, int):
        return low // atom.divisor
    raise UndecidedError(f"the bounds of {_name(atom)} are not known")


def _greatest(atom: Atom) -> Size:
    if isinstance(atom, (Variable, Indirect)):
        return atom.extent - 1
    if isinstance(atom, Remainder):
        return atom.divisor - 1
    high = atom.dividend.bounds()[1]
    if isinstance(high, int) and isinstance(atom.divisor, int):
        return high // atom.divisor
    if isinstance(high, Dim):
        low_rest = high - atom.divisor + 1
        exact = _exact(low_rest, atom.divisor)
        if exact is not None:
            return exact
    raise UndecidedError(f"the bounds of {_name(atom)} are not known")


def _exact(size: Size, divisor: Size) -> Size | None:
    if isinstance(size, int):
        if isinstance(divisor, int):
            return size // divisor if size % divisor == 0 else None
        return 0 if size == 0 else None
    try:
        return size // divisor
    except UndecidedError:
        return None


def _decided(rest: Index, divisor: Size) -> bool:
    try:
        low, high = rest.bounds()
        if low >= 0 and high < divisor:
            return True
        if isinstance(low, int) and isinstance(high, int) and isinstance(divisor, int):
            return low // divisor == high // divisor
    except UndecidedError:
        pass
    return False


def _quotient(rest: Index, divisor: Size) -> Index:
    if not rest.terms and isinstance(rest.constant, int) and isinstance(divisor, int):
        return of(rest.constant // divisor)
    if _decided(rest, divisor):
        low = rest.bounds()[0]
        return of(low // divisor) if isinstance(low, int) and isinstance(divisor, int) else ZERO
    if len(rest.terms) == 1 and rest.constant == 0 and rest.terms[0][1] == 1:
        atom = rest.terms[0][0]
        if isinstance(atom, Quotient):  # (x // a) // b == x // (a * b)
            return atom.dividend // (atom.divisor * divisor)
    for _, coefficient in rest.terms:  # (a * x + r) // (a * b) == x // b where 0 <= r < a
        factor = _exact(divisor, coefficient) if coefficient != 1 else None
        if factor is not None and _exact(coefficient, divisor) is None and coefficient > 0:
            whole, fine = rest._split(coefficient)
            if fine != rest and _decided(fine, coefficient) and fine.within(0, coefficient):
                return whole // factor
    return Index(((Quotient(rest, divisor), 1),), 0)


def _remainder(rest: Index, divisor: Size) -> Index:
    if len(rest.terms) == 1 and rest.constant == 0 and rest.terms[0][1] == 1:
        atom = rest.terms[0][0]
        if isinstance(atom, Remainder) and _exact(atom.divisor, divisor) is not None:
            return atom.dividend % divisor
    return Index(((Remainder(rest, divisor), 1),), 0)


def _collect(terms: Iterable[tuple[Atom, Size]], const: Size) -> Index:
    total: dict[Atom, Size] = {}
    for atom, coefficient in terms:
        before = total.get(atom)
        total[atom] = coefficient if before is None else before + coefficient
    total = {a: c for a, c in total.items() if c != 0}
    if len(total) > 1:
        joined = _rejoin(total)
        if joined is not None:
            return _collect([*joined[0].items(), *joined[1].terms], const + joined[1].constant)
    ordered = tuple(total.items())
    return Index(tuple(sorted(ordered, key=_first_name)) if len(ordered) > 1 else ordered, const)


def _first_name(term: tuple[Atom, Size]) -> str:
    return _name(term[0])


def _rejoin(total: dict[Atom, Size]) -> tuple[dict[Atom, Size], Index] | None:
    """(x // k) * (k * c) + (x % k) * c == x * c."""
    for atom, coefficient in total.items():
        if type(atom) is Remainder:
            whole = atom.dividend // atom.divisor
            if len(whole.terms) != 1 or whole.constant != 0 or whole.terms[0][1] != 1:
                continue
            partner = whole.terms[0][0]  # (x // a) // b is x // (a * b)
            if partner in total and total[partner] == coefficient * atom.divisor:
                left = {a: c for a, c in total.items() if a not in (atom, partner)}
                return left, atom.dividend * coefficient
    return None


def _name(atom: Atom) -> str:
    if isinstance(atom, Variable):
        return atom.name
    if isinstance(atom, Indirect):
        return f"value{id(atom.node)}[{', '.join(map(str, atom.position))}]"
    return f"({atom.dividend}){'//' if isinstance(atom, Quotient) else '%'}{atom.divisor}"


def indirect_atoms(index: Index) -> list[Indirect]:
    """The loaded indices in it, outermost first."""
    found: list[Indirect] = []
    pending = [index]
    while pending:
        for atom, _ in pending.pop().terms:
            if isinstance(atom, Indirect):
                found.append(atom)
            elif not isinstance(atom, Variable):
                pending.append(atom.dividend)
    return found


def load_depth(index: Index) -> int:
    """How many loads come one after the other before its value is known: 1 where it has a loaded index, 2 where that one has."""
    depth = 0
    atoms = set(indirect_atoms(index))
    while atoms:
        depth += 1
        atoms = {
            a for atom in atoms for position in atom.position for a in indirect_atoms(position)
        }
    return depth
