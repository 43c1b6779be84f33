"""sin, cos, tan: the argument modulo pi/2, then polynomials on [-pi/4, pi/4].

Up to a bound n pi/2 is subtracted in three parts. Beyond it float32 multiplies by 2/pi in float64; for float64 x 2/pi is computed
in integers from the bits of 2/pi that matter for the exponent of x, picked by a tree of WHEREs, so that no table in memory
is needed. A vector without large lanes jumps over what is for them (render/rare.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from lazygrad.ir.dtype import float64, int64, uint32, uint64
from lazygrad.ir.node import Node, constant, where
from lazygrad.ir.op import Op

from .coefficients import COS, SIN, TAN
from .floats import (
    DOUBLE,
    INFINITY,
    NAN,
    PI,
    SINGLE,
    Format,
    bits,
    fast_two_sum,
    flip_sign,
    fma,
    format_of,
    magnitude,
    nearest,
    number,
    polynomial,
    two_product,
    two_sum,
    word_product,
)
from .table import MATH

# The bits of 2/pi after the binary point, in words of 32.
TWO_OVER_PI = (
    0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB, 0xDEBBC561,
    0xB7246E3A, 0x424DD2E0, 0x06492EEA, 0x09D1921C, 0xFE1DEB1C, 0xB129A73E, 0xE88235F5, 0x2EBB4484,
    0xE99C7026, 0xB45F7E41, 0x3991D639, 0x835339F4, 0x9C845F8B, 0xBDF9283B, 0x1FF897FF, 0xDE05980F,
    0xEF2F118B, 0x5A0A6D1F, 0x6D367ECF, 0x27CB09B7, 0x4F463F66, 0x9E5FEA2D, 0x7527BAC7, 0xEBE5F17B,
    0x3D0739F7, 0x8A5292EA, 0x6BFB5FB1, 0x1F8D5D08, 0x56033046, 0xFC7B6BAB, 0xF0CFBC20, 0x9AF4361D,
)  # fmt: skip


Reduced = tuple[Node, Node, Node]
"""(n, high, low): x = n pi/2 + high + low, with |high| at most pi/4; n matters modulo 4."""


def reduce_small(size: Node, fmt: Format) -> Reduced:
    """For |x| below 2^24, of float32 2^15: n pi/2 is subtracted in three parts, the first difference is exact."""
    integer, multiple = nearest(size, 2 / PI, fmt)
    first, second, third = fmt.split(PI / 2, 3)
    exact = fma(multiple, -first, size)
    high = fma(multiple, -third, fma(multiple, -second, exact))
    product, lost = two_product(multiple, number(-second, size))
    middle, error = two_sum(exact, product)
    return integer, high, (middle - high) + fma(multiple, -third, error + lost)


def window(position: Node, words: Sequence[int], count: int, levels: int) -> list[Node]:
    """`count` words of 32 bits from bit `position` on (uint32) of the constant `words`; word of position < 2 ** levels."""
    need = count + 1
    sizes = [need]
    for level in range(levels):
        sizes.append(sizes[-1] + (1 << level))
    padded = [*words, *[0] * sizes[-1]]
    current: list[int | Node] = list(padded[: sizes[levels]])
    for level in reversed(range(levels)):
        step = 1 << level
        chosen = ((position >> 5) & step).ne(0)
        following: list[int | Node] = []
        for i in range(sizes[level]):
            low, high = current[i], current[i + step]
            left = (
                high
                if isinstance(high, Node)
                else constant(high, uint32, position.shape, position.place)
            )
            following.append(where(chosen, left, low))
        current = following
    shift = position & 31
    nodes = [n for n in current if isinstance(n, Node)]
    return [(nodes[i] << shift) | ((nodes[i + 1] >> 1) >> (shift ^ 31)) for i in range(count)]


def reduce_single(size: Node) -> Reduced:
    """For float32 |x|, by x 2/pi in float64, where 24 bits of x leave room for the integer part.

    From 2^46 on the leading bits of 2/pi only add multiples of 4: each range of 21 exponents has its own 2/pi without them. So
    the product stays below 2^46, and its fraction has 60 bits; no float32 is nearer than 2^-31 to a multiple of pi/2.
    """
    wide = size.cast(float64)
    ratio = sum(Fraction(word, 1 << 32 * (place + 1)) for place, word in enumerate(TWO_OVER_PI))
    common = [number(part, wide) for part in DOUBLE.split(Fraction(ratio), 2)]
    rare = common
    for lowest in (46, 67, 88, 109):
        parts = DOUBLE.split(ratio % Fraction(1, 1 << (lowest - 25)), 2)
        beyond = size.ge(2.0**lowest)
        rare = [where(beyond, p, kept) for p, kept in zip(parts, rare, strict=True)]
    small = size.lt(2.0**46)  # then the others are not computed (render/rare.py)
    high, low = (where(small, kept, other) for kept, other in zip(common, rare, strict=True))
    product = wide * high
    rest = fma(wide, low, fma(wide, high, -product))
    shifted = product + DOUBLE.magic
    angle = ((product - (shifted - DOUBLE.magic)) + rest) * float(PI / 2)
    single = angle.cast(SINGLE.dtype)
    return (
        bits(shifted, DOUBLE).cast(SINGLE.integer),
        single,
        (angle - single.cast(float64)).cast(SINGLE.dtype),
    )


def reduce_huge(size: Node) -> Reduced:
    """For float64 |x| from 2^24 on: the product modulo 4 in 128 bits, 126 of them after the point."""
    pattern = bits(size, DOUBLE).bitcast(uint64)
    exponent = pattern >> 52
    significand = (pattern & ((1 << 52) - 1)) | (1 << 52)
    low = significand & 0xFFFFFFFF
    high = significand >> 32
    # x = significand 2^(exponent - 1075); the window begins at the bit of weight 2^(1076 - exponent)
    leading = 32
    stream = [0, *TWO_OVER_PI]
    position = (exponent - (1077 - leading)).cast(uint32)
    words = [word.cast(uint64) for word in window(position, stream, 6, 5)]
    mask = 0xFFFFFFFF
    # columns[i] collects what has the weight of word i; column 0 is modulo 2^32
    columns: list[Node | None] = [None] * 6
    for index, word in enumerate(words):
        product = low * word
        parts = [(index, product & mask), (index - 1, product >> 32)]
        if index:
            product = high * word
            parts += [(index - 1, product & mask), (index - 2, product >> 32)]
        for column, part in parts:
            if column >= 0:
                before = columns[column]
                columns[column] = part if before is None else before + part
    carried: list[Node] = []
    carry: Node | None = None
    for column_value in reversed(columns):
        assert column_value is not None
        total = column_value if carry is None else column_value + carry
        carried.append(total & mask)
        carry = total >> 32
    carried.reverse()
    top = ((carried[0] << 32) | carried[1]).bitcast(int64)
    below = (carried[2] << 32) | carried[3]
    quadrant = (top + (1 << 61)) >> 62
    top = top - (quadrant << 62)
    # top 2^64 + below, as a sum of three exact floats
    first = (top >> 30).cast(float64) * 2.0**30
    second = (top & ((1 << 30) - 1)).cast(float64)
    third = (below >> 11).bitcast(int64).cast(float64) * 2.0**-53
    total, error = two_sum(first, second)
    total, last = two_sum(total, third)
    total, error = fast_two_sum(total, error + last)
    scale = tuple(number(half * 2.0**-62, size) for half in DOUBLE.split(PI / 2, 2))
    return quadrant, *word_product((total, error), (scale[0], scale[1]))


def reduce(size: Node, fmt: Format) -> Reduced:
    """|x| modulo pi/2; NaN for an infinite one."""
    near = reduce_small(size, fmt)
    small = size.lt(fmt.pick(2.0**15, 2.0**24))
    if fmt is SINGLE:
        far = reduce_single(size)
        high = where(small, near[1], far[1])
    else:
        far = reduce_huge(size)
        high = where(small, near[1], where(size.lt(INFINITY), far[1], NAN))
    return where(small, near[0], far[0]), high, where(small, near[2], far[2])


def wave(size: Node, fmt: Format, shift: int) -> tuple[Node, Node]:
    """(v, s): v, with the sign of the integer s, is sin(size + shift pi/2)."""
    integer, rest, _ = reduce(size, fmt)
    square = rest * rest
    sine = fma(rest * square, polynomial(square, SIN[fmt.dtype]), rest)
    cosine = polynomial(square, (1.0, -0.5, *COS[fmt.dtype]))
    quadrant = integer + shift if shift else integer
    value = where((quadrant & 1).eq(0), sine, cosine)
    return value, quadrant << (fmt.dtype.bits - 2)  # bit 1 of the quadrant is the sign


@MATH.rule(Op.SIN)
def sine(node: Node) -> Node | None:
    fmt = format_of(node)
    if fmt is None:
        return None
    x = node.src[0]
    value, sign = wave(magnitude(x), fmt, 0)
    return flip_sign(value, (sign ^ bits(x, fmt)).bitcast(fmt.dtype), fmt)


@MATH.rule(Op.COS)
def cosine(node: Node) -> Node | None:
    fmt = format_of(node)
    if fmt is None:
        return None
    value, sign = wave(magnitude(node.src[0]), fmt, 1)
    return flip_sign(value, sign.bitcast(fmt.dtype), fmt)


@MATH.rule(Op.TAN)
def tangent(node: Node) -> Node | None:
    fmt = format_of(node)
    if fmt is None:
        return None
    x = node.src[0]
    integer, rest, low = reduce(magnitude(x), fmt)
    square = rest * rest
    curve = fma(rest * square, polynomial(square, TAN[fmt.dtype]), fma(low, square, low))
    value, error = fast_two_sum(rest, curve)
    inverse = -1.0 / value
    inverse = fma(inverse, fma(inverse, error, fma(inverse, value, 1.0)), inverse)
    return flip_sign(where((integer & 1).eq(0), value, inverse), x, fmt)
