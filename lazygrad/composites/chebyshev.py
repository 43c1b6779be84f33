"""Sums of Chebyshev's polynomials: what a special function is where no elementary formula is exact.

The coefficients of all of them were computed with 40 digits from the definitions.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.node import Node

DROPPED = {"float32": 2.0**-31, "float64": 2.0**-60}
"""What the last terms of a sum may amount to together, as a part of its first, to be left out."""


def chebyshev(t: Node, coefficients: Sequence[float]) -> Node:
    """The sum of coefficients times Chebyshev's polynomials at t in [-1, 1], by Clenshaw's recurrence; as many as the dtype shows."""
    count, left = len(coefficients), DROPPED[t.dtype.name] * abs(coefficients[0])
    while abs(coefficients[count - 1]) <= left:
        count -= 1
        left -= abs(coefficients[count])
    double = t * 2.0
    one, two = t * 0.0 + coefficients[count - 1], t * 0.0
    for coefficient in reversed(coefficients[1 : count - 1]):
        one, two = double * one - two + coefficient, one
    return t * one - two + coefficients[0]
