"""Special functions: erfcx and what follows of the normal distribution, entropy, zeta, polygamma.

All of them are elementwise, and compute half types in float32.
"""

from __future__ import annotations

import math

from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents, exp, log
from ..ir.composite import call, composite
from ..ir.dtype import float64
from ..ir.node import Node, constant, unary, where
from ..ir.op import Op
from .activation import attribute
from .chebyshev import DROPPED, chebyshev
from .precision import wide

ERFCX = (
    1.17756257419656, 0.0053539045396156768, -0.093775503422842091, 0.05436652555744322, -0.018976596707845207,
    0.0044534260614627116, -0.00063355317105531469, 1.7661719523171592e-5, 1.2841532864056671e-5, -2.0072285659059914e-6,
    -1.8075227904148371e-7, 7.5498283438250926e-8, 1.8856685238386007e-9, -2.6995190497983663e-9, -1.460079119939332e-11,
    1.0361607445969274e-10, 1.4757159766215449e-12, -4.2773400643985077e-12, -2.0792249286098036e-13, 1.8134502003106564e-13,
    1.9734255745256924e-14, -7.287943737261103e-15, -1.5169878681886842e-15, 2.3514112387814887e-16, 1.0006111859410478e-16,
)  # fmt: skip
"""(1 + 2 x) exp(x * x) erfc(x) for x from 0 on, in (x - 3) / (x + 3)."""


DEVIATE = (
    0.3816352334233334, -0.3014433243745543, 0.04740724697573281, -0.011060242935977706, 0.002252319039980997,
    -0.0005550766487258103, 0.0001199787878097548, -3.104828567190919e-05, 6.902539198969712e-06,
    -1.8823610419651707e-06, 4.225589468712067e-07, -1.2156378681594576e-07, 2.6997915730192704e-08,
    -8.223475746607048e-09, 1.7670805844112748e-09, -5.76500173861339e-10, 1.1678735569372706e-10,
    -4.169348904451227e-11, 7.69048834206539e-12, -3.108003707065994e-12, 4.957941455625678e-13,
    -2.3908565708798597e-13, 3.034961232802249e-14, -1.9026782134133984e-14, 1.644552781082773e-15,
    -1.5712568328363042e-15, 6.088254501747493e-17, -1.35012386598247e-16, -1.897634475756907e-18,
    -1.207755335467409e-17,
)  # fmt: skip
"""r - z for r from 2.79 to 38.7, where the normal distribution's integral up to -z is exp(-r * r / 2), in (r - 8) / (r + 8) from
DEVIATE_RANGE."""
DEVIATE_RANGE = (-0.48285449490268768, 0.65738758029978587)


# --- the normal distribution


@composite("erfcx")
def erfcx(x: Node) -> Node:
    """exp(x * x) * erfc(x); of negative numbers by 2 exp(x * x) - erfcx(-x)."""
    values = wide(x)
    size = unary(Op.ABS, values)
    finite = where(size.lt(math.inf), size, 0.0)
    right = chebyshev((finite - 3.0) / (finite + 3.0), ERFCX) / (finite * 2.0 + 1.0)
    right = where(size.lt(math.inf), right, 0.0)
    left = exp(values * values) * 2.0 - right
    made = where(values.lt(0.0), left, right)
    return where(values.ne(values), values, made).cast(x.dtype)


@COMPOSITE_REVERSE.rule("erfcx")
def erfcx_reverse(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent * (node * node.src[0] * 2.0 - 2.0 / math.sqrt(math.pi)),)


@composite("log_ndtr")
def log_ndtr(x: Node) -> Node:
    """The logarithm of the normal distribution's integral, without cancellation at either end."""
    values = wide(x)
    scaled = values * math.sqrt(0.5)
    low = values.lt(-1.0)
    tail = call("erfcx", [-where(low, scaled, -1.0)]) * 0.5
    below = log(tail) - scaled * scaled
    above = unary(Op.LOG1P, unary(Op.ERFC, where(low, 0.0, scaled)) * -0.5)
    return where(low, below, above).cast(x.dtype)


@COMPOSITE_REVERSE.rule("log_ndtr")
def log_ndtr_reverse(node: Node, cotangent: Node) -> Cotangents:
    """The density over the integral, which is sqrt(2 / pi) / erfcx(-x / sqrt(2))."""
    x = node.src[0]
    return (cotangent * (math.sqrt(2.0 / math.pi) / call("erfcx", [x * -math.sqrt(0.5)])),)


@composite("ndtri")
def ndtri(p: Node) -> Node:
    """The inverse of the normal distribution's integral: by erfinv in the middle, at the ends from r = sqrt(-2 log(p)) by what it is less."""
    values = wide(p)
    upper = values.gt(0.5)
    tail = where(upper, 1.0 - values, values)
    far = tail.lt(0.02) & tail.gt(0.0)
    root = unary(Op.SQRT, log(where(far, tail, 0.01)) * -2.0)
    first, last = DEVIATE_RANGE
    place = ((root - 8.0) / (root + 8.0) - (first + last) / 2) * (2 / (last - first))
    end = root - chebyshev(place, DEVIATE)
    middle = unary(Op.ERFINV, where(far, 0.5, values) * 2.0 - 1.0) * math.sqrt(2.0)
    return where(far, where(upper, end, -end), middle).cast(p.dtype)


@COMPOSITE_REVERSE.rule("ndtri")
def ndtri_reverse(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent * (exp(node * node * 0.5) * math.sqrt(2.0 * math.pi)),)


@composite("entr")
def entr(x: Node) -> Node:
    """-x log(x), 0 at 0, -inf below."""
    positive = x.gt(0.0)
    inside = where(positive, x, 1.0)
    edge = where(x.eq(0.0), 0.0, constant(-math.inf, x.dtype, x.shape, x.place))
    return where(x.ne(x), x, where(positive, -inside * log(inside), edge))


@COMPOSITE_REVERSE.rule("entr")
def entr_reverse(node: Node, cotangent: Node) -> Cotangents:
    return (cotangent * -(log(node.src[0]) + 1.0),)


# --- zeta and the derivatives of digamma

TERMS = 10
"""How many terms of zeta's series are added before the formula for the rest."""
BERNOULLI = (
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330, 854513 / 138, -236364091 / 2730,
)  # fmt: skip


def _power(base: Node, exponent: Node) -> Node:
    return Node(Op.POW, (base, exponent), base.dtype, base.shape)


@composite("zeta")
def zeta(s: Node, q: Node) -> Node:
    """The sum of (q + k) ** -s over k from 0 on; NaN for s < 1, and for q < 0 where s is not whole.

    The n terms below 0 are (-1) ** s times those of 1 - f, less those of 1 - q, where f = q + n is between 0 and 1.
    """
    power, start = wide(s), wide(q)
    below, other = start.lt(0.0), -start
    total = _zeta(power, where(below, start - unary(Op.FLOOR, start), start))
    share = other - unary(Op.FLOOR, other)
    mirrored = _zeta(power, where(below, share, 1.0))
    less = _zeta(power, where(below, 1.0 - start, 1.0))
    half = power * 0.5
    even = half.eq(unary(Op.FLOOR, half))
    endless = total.eq(math.inf) & mirrored.eq(math.inf)
    nearer = where(share.gt(0.5), power * 0.0 + math.inf, -math.inf)
    odd = where(endless, nearer, total - mirrored + less)
    reflected = where(even, total + mirrored - less, odd)
    total = where(below, reflected, total)
    total = where(below & power.ne(unary(Op.FLOOR, power)), math.nan, total)
    total = where(start.le(0.0) & start.eq(unary(Op.FLOOR, start)), math.inf, total)
    return where(power.eq(1.0), math.inf, where(power.lt(1.0), math.nan, total)).cast(s.dtype)


def _zeta(power: Node, start: Node) -> Node:
    """The sum for start > 0, by Euler and Maclaurin's formula."""
    total: Node | None = None
    for index in range(TERMS):
        term = _power(start + float(index), -power)
        total = term if total is None else total + term
    assert total is not None
    end = start + float(TERMS)
    tail = _power(end, 1.0 - power)
    rest = tail / end
    total = total + tail / (power - 1.0) + rest * 0.5
    rest = rest * (power / end)  # no factor is infinite where this is 0
    for index, number in enumerate(BERNOULLI, 1):
        total = total + rest * (number / math.factorial(2 * index))
        rest = rest * ((power + (2.0 * index - 1.0)) / end) * ((power + 2.0 * index) / end)
    return total


@COMPOSITE_REVERSE.rule("zeta")
def zeta_reverse(node: Node, cotangent: Node) -> Cotangents:
    """Of q alone: -s zeta(s + 1, q)."""
    s, q = node.src
    return None, cotangent * -s * call("zeta", [s + 1.0, q])


def _zeta_of_whole(power: int, start: Node) -> Node:
    """zeta(power, start) as above, for a whole power of at least 2 and start > 0: of powers of reciprocals, and numbers that are known."""
    total: Node | None = None
    for index in range(TERMS):
        term = _whole_power(1.0 / (start + float(index)), power)
        total = term if total is None else total + term
    assert total is not None
    end = start + float(TERMS)
    inverse = 1.0 / end
    square = inverse * inverse
    factor, factors = float(power), []
    for index, number in enumerate(BERNOULLI, 1):
        factors.append(factor * number / math.factorial(2 * index))
        factor *= (power + (2.0 * index - 1.0)) * (power + 2.0 * index)
    least = DROPPED[start.dtype.name] * TERMS / (power - 1.0)
    while len(factors) > 1 and abs(factors[-1]) * float(TERMS) ** (1 - 2 * len(factors)) < least:
        factors.pop()
    curve = square * 0.0 + factors[-1]
    for number in reversed(factors[:-1]):
        curve = curve * square + number
    rest = end / (power - 1.0) + 0.5 + inverse * curve
    return total + _whole_power(inverse, power) * where(end.lt(math.inf), rest, 0.0)


def _whole_power(base: Node, power: int) -> Node:
    """base ** power by products up to the eighth power."""
    if power > 8:
        return _power(base, constant(float(power), base.dtype, base.shape, base.place))
    made = base
    for bit in bin(power)[3:]:
        made = made * made
        if bit == "1":
            made = made * base
    return made


@composite("polygamma")
def polygamma(x: Node, n: int) -> Node:
    """The nth derivative of digamma, n > 0: (-1) ** (n + 1) n! zeta(n + 1, x), reflected where x is not positive.

    The reflection adds the nth derivative of pi cot(pi x), a polynomial in the cotangent: the derivative of c ** k is -k (c ** (k - 1) + c ** (k + 1)).
    """
    values = (
        x.cast(float64) if n > 2 else wide(x)
    )  # what cancels behind the reflection grows with n
    reflect = values.le(0.0)
    inside = where(reflect, 1.0 - values, values)
    total = _zeta_of_whole(n + 1, inside) * (math.factorial(n) * (-1.0) ** (n + 1))
    polynomial = {1: 1.0}
    for _ in range(n):
        moved: dict[int, float] = {}
        for k, factor in polynomial.items():
            for each in (k - 1, k + 1):
                if k:
                    moved[each] = moved.get(each, 0.0) - k * factor
        polynomial = moved
    share = where(reflect, values - unary(Op.FLOOR, values + 0.5), 0.25)
    apart = 0.5 - unary(Op.ABS, share)  # exact, as the distance from a pole is
    cotangent = unary(Op.SIN, apart * math.pi) / unary(Op.SIN, share * math.pi)
    sum_: Node = cotangent * 0.0
    for k in range(n + 1, -1, -1):
        sum_ = sum_ * cotangent + polynomial.get(k, 0.0)
    mirrored = total * (-1.0) ** n - sum_ * math.pi ** (n + 1)
    pole = reflect & values.eq(unary(Op.FLOOR, values))
    at_pole = constant(math.inf if n % 2 else -math.inf, values.dtype, values.shape, values.place)
    if n == 1:  # PyTorch's, which is finite where pi times a whole number is rounded
        sine = unary(Op.SIN, values * math.pi)
        at_pole = math.pi**2 / (sine * sine)
    made = where(pole, at_pole, where(reflect, mirrored, total))
    return made.cast(x.dtype)


@COMPOSITE_REVERSE.rule("polygamma")
def polygamma_reverse(node: Node, cotangent: Node) -> Cotangents:
    x = node.src[0]
    return (cotangent * call("polygamma", [x], like=x, n=int(attribute(node, "n")) + 1),)
