"""The greatest common divisor, by remainders of least magnitude: gcd(a, b) is gcd(b, a - q b) for every whole q.

q is the nearest integer to a / b, so that |a - q b| is at most half of |b|, and Euclid's algorithm needs 0.79 steps a bit. Where both numbers are
below 2^52 all is exact in float64: a division, a rounding, an FMA. Larger ones take a few steps in int64 before, with a q from
float64 that may be wrong in its last bits. Each step is an arm that no lane may need (render/rare.py), so that a
vector takes as many as the worst of its lanes.
"""

from __future__ import annotations

import math

from lazygrad.ir.dtype import float64, int64, uint64
from lazygrad.ir.node import Node, unary, where
from lazygrad.ir.op import Op

from .floats import fma, magnitude
from .table import MATH

EXACT_BITS = 52
"""Numbers below 2 to this are taken as float64."""
WIDE_STEPS = 16
"""After so many steps int64 numbers are below: 9 by their size, and some to get from the least to the largest quotient."""


@MATH.rule(Op.GCD)
def greatest_common_divisor(node: Node) -> Node:
    left, right = node.src
    if node.dtype.bits < 64:
        found = narrow_divisor(left.cast(float64), right.cast(float64), node.dtype.bits)
        return found.cast(int64).cast(node.dtype)
    unsigned = node.dtype is uint64
    if unsigned:  # after two steps both are below 2^63, or the second is 0
        for _ in range(2):
            done = right.eq(0)
            left, right = where(done, left, right), where(done, 0, left % where(done, 1, right))
        left, right = left.bitcast(int64), right.bitcast(int64)
    left, right = lowered(left, right)
    found = narrow_divisor(left.cast(float64), right.cast(float64), EXACT_BITS)
    size = left if unsigned else unary(Op.ABS, left)
    value = where(right.eq(0), size, found.cast(int64))
    return value.bitcast(node.dtype)


def narrow_divisor(left: Node, right: Node, bits: int) -> Node:
    """The divisor of two float64 integers of up to so many bits, as float64."""
    steps = math.ceil(bits * math.log(2, 1 + math.sqrt(2))) + 3
    numbers = [left, right]
    for _ in range(steps):
        above, below = numbers[-2:]
        quotient = unary(Op.ROUND, above / below)
        numbers.append(magnitude(fma(-quotient, below, above)))
    found = numbers[-2]
    for place in range(steps - 1, -1, -1):
        found = where(numbers[place + 1].ne(0.0), found, numbers[place])
    return magnitude(found)


def lowered(left: Node, right: Node) -> tuple[Node, Node]:
    """Two int64 numbers of the same divisor, both below 2^52, or the second 0."""
    numbers = [left, right]
    for _ in range(WIDE_STEPS):
        above, below = numbers[-2:]
        divisor = where(below.eq(0), 1, below)
        quotient = unary(Op.ROUND, above.cast(float64) / divisor.cast(float64))
        # a quotient of 2^63 becomes -2^63, which is the same for what follows
        numbers.append(unary(Op.ABS, above - quotient.cast(int64) * below))
    found = numbers[-2], numbers[-1]
    for place in range(WIDE_STEPS - 1, -1, -1):
        above, below = numbers[place], numbers[place + 1]
        large = (beyond(above) | beyond(below)) & below.ne(0)
        found = where(large, found[0], above), where(large, found[1], below)
    return found


def beyond(x: Node) -> Node:
    """Whether an int64 number has more bits than are taken as float64."""
    return ((x + (1 << EXACT_BITS)) >> (EXACT_BITS + 1)).ne(0)
