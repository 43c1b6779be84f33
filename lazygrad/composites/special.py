"""Special functions: Bessel's modified I0 and I1, erfcx and what follows of the normal distribution, entropy, zeta, polygamma.

Where no elementary formula is exact, a function is a sum of Chebyshev's polynomials, whose coefficients were computed with 40 digits from
the definitions. All of them are elementwise, and compute half types in float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents, exp, log
from ..ir.composite import call, composite
from ..ir.node import Node, constant, unary, where
from ..ir.op import Op
from .activation import attribute
from .precision import wide

I0_NEAR = (
    0.33839763720473804, -0.3046826723431984, 0.17162090152220878, -0.094901097048047644, 0.049305284239670708,
    -0.023737414805899469, 0.010546460394594998, -0.0043243099950505759, 0.0016394756169413358, -0.00057637557453858237,
    0.00018850288509584166, -5.7541950100821037e-5, 1.6448448070728897e-5, -4.4167383584587506e-6, 1.1173875391201037e-6,
    -2.6707938539406117e-7, 6.0469950225419189e-8, -1.300025009986248e-8, 2.6598237246823867e-9, -5.1897956016352629e-10,
    9.6758090353732369e-11, -1.7268262914415557e-11, 2.9550526631296398e-12, -4.8564467831119295e-13, 7.6761854986049356e-14,
    -1.1685332877993452e-14, 1.715391285555133e-15, -2.4312798465479547e-16, 3.3307945188222381e-17, -4.4153416464793394e-18,
)  # fmt: skip
"""exp(-x) I0(x) for x up to 8, in x / 4 - 1."""

I0_FAR = (
    0.40224520550705442, 0.0033691164782556941, 6.889758346916824e-5, 2.8913705208347565e-6, 2.0489185894690637e-7,
    2.2666689904981781e-8, 3.3962320257083863e-9, 4.9406023882249696e-10, 1.1889147107846438e-11, -3.1499165279632414e-11,
    -1.3215811840447713e-11, -1.7941785315068061e-12, 7.1801244513836662e-13, 3.8527783827421427e-13, 1.5400862175214098e-14,
    -4.1505693472872221e-14, -9.5548466988283076e-15, 3.8116806693526224e-15, 1.7725601330565264e-15, -3.4254856196772191e-16,
    -2.8276239805165835e-16, 3.4612228676974611e-17, 4.46562142029676e-17, -4.8305044859441821e-18, -7.233180487874754e-18,
)  # fmt: skip
"""sqrt(x) exp(-x) I0(x) from 8 on, in 16 / x - 1."""

I1_NEAR = (
    0.12629359322181683, -0.17641651835783406, 0.1026436586898471, -0.052945981208094991, 0.024726449030626517,
    -0.010564084894626198, 0.0041564229443128882, -0.0015135724506312531, 0.00051228595616857577, -0.00016176081582589675,
    4.7815651075500542e-5, -1.3273163656039436e-5, 3.4702513081376785e-6, -8.5687202646954547e-7, 2.0032947535521353e-7,
    -4.4450591287963281e-8, 9.3815373864957718e-9, -1.8872497517228293e-9, 3.625590281552117e-10, -6.6634897235020277e-11,
    1.1736186298890902e-11, -1.9839743977649437e-12, 3.2237933659455747e-13, -5.0421855047279117e-14, 7.6006842947354069e-15,
    -1.1055969477353863e-15, 1.5536319577362005e-16, -2.1114212143581661e-17, 2.7779141127610464e-18,
)  # fmt: skip
"""exp(-x) I1(x) / x for x up to 8."""

I1_FAR = (
    0.38928811750914006, -0.0097610974913614684, -0.00011058893876262372, -3.8825648088776904e-6, -2.5122362378702089e-7,
    -2.6314688468895195e-8, -3.835380385964237e-9, -5.5897434621965838e-10, -1.8974958123505412e-11, 3.2526035830154882e-11,
    1.4125807436613781e-11, 2.0356285441470895e-12, -7.1985517762459085e-13, -4.0835511110921973e-13, -2.1015418427726643e-14,
    4.2724400167119514e-14, 1.0420276984128803e-14, -3.8144030724370078e-15, -1.8803547755107824e-15, 3.3082023109209283e-16,
    2.9626289976459501e-16, -3.209525921993424e-17, -4.6503053684893583e-17, 4.4143483230717079e-18, 7.5172963108421048e-18,
)  # fmt: skip
"""sqrt(x) exp(-x) I1(x) from 8 on."""

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


DROPPED = {"float32": 2.0**-31, "float64": 2.0**-60}
"""What the last terms of a sum may amount to together, as a part of its first, to be left out."""


def _chebyshev(t: Node, coefficients: Sequence[float]) -> Node:
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


# --- Bessel's functions


@composite("bessel_i")
def bessel_i(x: Node, order: int, scaled: bool) -> Node:
    """I0 or I1; scaled, times exp(-|x|)."""
    size = unary(Op.ABS, wide(x))
    near, far = (I1_NEAR, I1_FAR) if order else (I0_NEAR, I0_FAR)
    small = size.le(8.0)
    inside = where(small, size, 8.0)
    outside = where(small, 8.0, size)
    low = _chebyshev(inside * 0.25 - 1.0, near)
    if order:
        low = low * inside
    high = _chebyshev(16.0 / outside - 1.0, far) * unary(Op.RSQRT, outside)
    value = where(small, low, high)
    if not scaled:
        half = exp(size * 0.5)  # in two steps, so that it overflows where the product does
        value = value * half * half
    if order:
        value = where(wide(x).lt(0.0), -value, value)
    return where(size.ne(size), size, value).cast(x.dtype)


@COMPOSITE_REVERSE.rule("bessel_i")
def bessel_i_reverse(node: Node, cotangent: Node) -> Cotangents:
    """I0' = I1, I1' = I0 - I1 / x, which is 1/2 at 0; scaled, the value with x's sign is taken away."""
    x = node.src[0]
    order, scaled = int(attribute(node, "order")), bool(attribute(node, "scaled"))
    other = call("bessel_i", [x], like=x, order=1 - order, scaled=scaled)
    slope = other
    if order:
        zero = x.eq(0.0)
        slope = where(zero, 0.5, other - node / where(zero, 1.0, x))
    if scaled:
        slope = slope - unary(Op.SIGN, x) * node
    return (cotangent * slope,)


# --- the normal distribution


@composite("erfcx")
def erfcx(x: Node) -> Node:
    """exp(x * x) * erfc(x); of negative numbers by 2 exp(x * x) - erfcx(-x)."""
    values = wide(x)
    size = unary(Op.ABS, values)
    finite = where(size.lt(math.inf), size, 0.0)
    right = _chebyshev((finite - 3.0) / (finite + 3.0), ERFCX) / (finite * 2.0 + 1.0)
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
    end = root - _chebyshev(place, DEVIATE)
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
    mirrored = _zeta(power, where(below, other - unary(Op.FLOOR, other), 1.0))
    less = _zeta(power, where(below, 1.0 - start, 1.0))
    half = power * 0.5
    even = half.eq(unary(Op.FLOOR, half))
    endless = total.eq(math.inf) & mirrored.eq(math.inf)
    nearer = where((other - unary(Op.FLOOR, other)).gt(0.5), power * 0.0 + math.inf, -math.inf)
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
    values = wide(x)
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
    angle = where(reflect, values - unary(Op.FLOOR, values), 0.25) * math.pi
    cotangent = unary(Op.COS, angle) / unary(Op.SIN, angle)
    sum_: Node = cotangent * 0.0
    for k in range(n + 1, -1, -1):
        sum_ = sum_ * cotangent + polynomial.get(k, 0.0)
    mirrored = total * (-1.0) ** n - sum_ * math.pi ** (n + 1)
    pole = reflect & values.eq(unary(Op.FLOOR, values))
    made = where(pole, math.inf if n % 2 else -math.inf, where(reflect, mirrored, total))
    return made.cast(x.dtype)


@COMPOSITE_REVERSE.rule("polygamma")
def polygamma_reverse(node: Node, cotangent: Node) -> Cotangents:
    x = node.src[0]
    return (cotangent * call("polygamma", [x], like=x, n=int(attribute(node, "n")) + 1),)
