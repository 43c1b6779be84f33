"""What the rules are built from: facts of a float format, exact sums and products, polynomials, bits.

Clamps are WHERE and not MAX, so that a NaN passes through, as one instruction. Functions here that say exact do not round.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from lazygrad.ir.dtype import DType, float32, float64, int32, int64
from lazygrad.ir.node import Node, constant, unary, where
from lazygrad.ir.op import Op

Value = Node | float
Word = tuple[Node, Node]
"""A number as the unevaluated sum of two floats, the second at most half an ulp of the first."""

INFINITY = float("inf")
NAN = float("nan")

LN2 = Fraction("0.69314718055994530941723212145817656807550013436025525412068000949339362197")
LOG2_E = Fraction("1.44269504088896340735992468100189213742664595415298593413544940693110921918")
LOG10_E = Fraction("0.434294481903251827651128918916605082294397005803666566114453783165864649209")
LOG10_2 = Fraction("0.301029995663981195213738894724493026768189881462108541310427461127108189274")
PI = Fraction("3.14159265358979323846264338327950288419716939937510582097494459230781640629")


@dataclass(frozen=True)
class Format:
    """A binary float format that the functions are computed in."""

    dtype: DType
    integer: DType  # of the same width
    mantissa: int  # stored bits of the significand
    bias: int  # of the exponent

    @property
    def magic(self) -> float:
        """Added to a small number, it leaves the number, rounded to an integer, in the low bits."""
        return 1.5 * 2.0**self.mantissa

    @property
    def magic_bits(self) -> int:
        """The bits of `magic`."""
        return (self.bias + self.mantissa << self.mantissa) | 1 << (self.mantissa - 1)

    @property
    def smallest_normal(self) -> float:
        return float(2.0 ** (1 - self.bias))

    @property
    def sign_bit(self) -> int:
        return -(1 << (self.dtype.bits - 1))

    def pick(self, single: float, double: float) -> float:
        """The number for this format."""
        return single if self.dtype is float32 else double

    def rounded(self, value: float | Fraction) -> float:
        """`value` rounded to the format."""
        number = float(value)
        if self.dtype is float32 and abs(number) < 3.4028236e38:
            return float(struct.unpack("f", struct.pack("f", number))[0])
        return number

    def split(self, value: Fraction, count: int) -> tuple[float, ...]:
        """`value` as a sum of `count` floats, largest first."""
        parts = []
        for _ in range(count):
            parts.append(self.rounded(value))
            value -= Fraction(parts[-1])
        return tuple(parts)


SINGLE = Format(float32, int32, 23, 127)
DOUBLE = Format(float64, int64, 52, 1023)
FORMATS = {float32: SINGLE, float64: DOUBLE}


def format_of(node: Node) -> Format | None:
    """The format of a node that the rules compute in; None for half types and integers."""
    return FORMATS.get(node.dtype)


def number(value: float | int, like: Node) -> Node:
    """A constant of the dtype and shape of `like`, rounded to the dtype."""
    if like.dtype is float32:
        value = SINGLE.rounded(value)
    return constant(value, like.dtype, like.shape, like.place)


def fma(left: Value, right: Value, addend: Value) -> Node:
    """left * right + addend, rounded once; numbers take the dtype of the nodes."""
    like = next(v for v in (left, right, addend) if isinstance(v, Node))
    src = tuple(v if isinstance(v, Node) else number(v, like) for v in (left, right, addend))
    return Node(Op.FMA, src, like.dtype, like.shape)


def polynomial(x: Node, coefficients: Sequence[float]) -> Node:
    """The polynomial with these coefficients, lowest power first, by Horner's rule."""
    total: Value = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        total = fma(total, x, c)
    return total if isinstance(total, Node) else number(total, x)


def sqrt(x: Node) -> Node:
    return unary(Op.SQRT, x)


def magnitude(x: Node) -> Node:
    return unary(Op.ABS, x)


def at_least(x: Node, low: float) -> Node:
    """x or `low`, whichever is larger; NaN stays."""
    return where(x.lt(number(low, x)), number(low, x), x)


def at_most(x: Node, high: float) -> Node:
    """x or `high`, whichever is smaller; NaN stays."""
    return where(x.gt(number(high, x)), number(high, x), x)


# --- exact arithmetic


def two_sum(a: Node, b: Node) -> Word:
    """a + b, exactly."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def fast_two_sum(a: Node, b: Node) -> Word:
    """a + b, exactly where |a| >= |b| or a is 0."""
    total = a + b
    return total, b - (total - a)


def two_product(a: Node, b: Node) -> Word:
    """a * b, exactly where nothing underflows."""
    product = a * b
    return product, fma(a, b, -product)


def word_product(a: Word, b: Word) -> Word:
    """a * b to about twice the precision."""
    high, low = two_product(a[0], b[0])
    return fast_two_sum(high, fma(a[0], b[1], fma(a[1], b[0], low)))


# --- bits


def bits(x: Node, fmt: Format) -> Node:
    return x.bitcast(fmt.integer)


def with_sign_of(value: Node, source: Node, fmt: Format) -> Node:
    """`value`, which has no sign bit, with the sign bit of `source`."""
    return (bits(value, fmt) | (bits(source, fmt) & fmt.sign_bit)).bitcast(fmt.dtype)


def flip_sign(value: Node, source: Node, fmt: Format) -> Node:
    """`value`, negated where `source` has the sign bit."""
    return (bits(value, fmt) ^ (bits(source, fmt) & fmt.sign_bit)).bitcast(fmt.dtype)


def nearest(x: Node, factor: float | Fraction, fmt: Format, offset: int = 0) -> tuple[Node, Node]:
    """x * factor rounded to an integer: as bits whose lowest ones hold it plus `offset`, and as a float."""
    magic = fmt.magic + offset
    shifted = fma(x, fmt.rounded(factor), magic)
    return bits(shifted, fmt), shifted - magic


def power_of_two(integer: Node, fmt: Format) -> Node:
    """2 ** n, where the low bits of `integer` hold n + bias (see `nearest`) and 2 ** n is a normal number."""
    return (integer << fmt.mantissa).bitcast(fmt.dtype)
