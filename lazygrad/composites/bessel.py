"""Bessel's functions: J and Y, the modified I and K, each of order 0 and 1, and Airy's function Ai.

Each is a sum of Chebyshev's polynomials near 0 and another one far from it, times what is left of its elementary form. Near its first zeros a
function is divided by its zeros, which are given in two parts, so that it is as exact there as elsewhere. All of them are elementwise.
Those of I have a gradient; the others have none, as in PyTorch.
"""

from __future__ import annotations

import math

from ..gradient.reverse import COMPOSITE_REVERSE, Cotangents, exp, log
from ..ir.composite import call, composite
from ..ir.node import Node, constant, unary, where
from ..ir.op import Op
from .activation import attribute
from .chebyshev import chebyshev
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

J0_NEAR = (
    0.0019903555001601486, -0.002620939138497025, 0.0008687721472062577, -0.00017040584951557357,
    2.204908639454817e-05, -2.0248894980012834e-06, 1.3898025173428905e-07, -7.406701254344167e-09,
    3.1559927583611334e-10, -1.1003860827939697e-11, 3.1989232970233477e-13, -7.875041254709154e-15,
    1.6632588015211278e-16, -3.0475993756698376e-18, 4.8912290055811176e-20, -6.933893887560204e-22,
)  # fmt: skip
"""J0(x) / ((x ** 2 - a ** 2) (x ** 2 - b ** 2)) for x up to 8 with the zeros a and b of J0, in x ** 2 / 32 - 1."""

J1_NEAR = (
    0.00027895709887613106, -0.0003115684036643562, 8.553646588540538e-05, -1.4149356425623485e-05,
    1.576470099225889e-06, -1.269075502369425e-07, 7.747614077073057e-09, -3.716577146675772e-10,
    1.4395417669312554e-11, -4.60007822413452e-13, 1.2341465589619718e-14, -2.8205466239524856e-16,
    5.558821065951572e-18, -9.546930865755219e-20, 1.4418291781315051e-21,
)  # fmt: skip
"""J1(x) / x, divided by its zeros in the same way."""

Y0_NEAR = (
    -0.03314611320328494, -0.2744743055297453, 0.17903431407718265, 0.26156734625504663, -0.17730201278114358,
    0.04719668959576339, -0.007287962479552079, 0.0007531135932577742, -5.632079141056987e-05, 3.206532537654801e-06,
    -1.44072332740187e-07, 5.248794787330516e-09, -1.5837552541812015e-10, 4.02633081830612e-12,
    -8.747341203310769e-14, 1.6434898714919468e-15, -2.6977881152566837e-17, 3.9032584173475982e-19,
)  # fmt: skip
"""Y0(x) - 2 / pi log(x) J0(x) for x up to 8."""

Y1_NEAR = (
    0.0025380132357417816, -0.01608717304766875, -0.09591204536083074, 0.08445197259652346, -0.028328123944594365,
    0.005289897544167113, -0.0006414551451326356, 5.505982873338744e-05, -3.53808001868935e-06,
    1.7707804556154404e-07, -7.11055004989928e-09, 2.344337905911516e-10, -6.4651518414115946e-12,
    1.51429151205002e-13, -3.0511859694473254e-15, 5.34668038572867e-17, -8.224911372021585e-19,
    1.1198518333682237e-20,
)  # fmt: skip
"""(Y1(x) - 2 / pi (log(x) J1(x) - 1 / x)) / x."""

P0 = (
    0.9994603493475187, -0.0005365220468132117, 3.0751847875194745e-06, -5.1705945376060975e-08,
    1.6306464635151382e-09, -7.86409137723707e-11, 5.168262387349193e-12, -4.3045788699253914e-13,
    4.3265957431549404e-14, -5.069034095935236e-15, 6.748072215733873e-16, -1.0011513723467786e-16,
    1.6305919233744186e-17, -2.880866169482871e-18, 5.468082783259038e-19,
)  # fmt: skip
"""From 8 on J0 + i Y0 is sqrt(2 / (pi x)) (P + i Q) exp(i (x - pi / 4)): P in 2 (8 / x) ** 2 - 1,"""

Q0 = (
    -0.12444683684269607, 0.0005470815954089319, -5.9315987288485175e-06, 1.4377965798375193e-07,
    -5.817532749493056e-09, 3.376097523734991e-10, -2.565397936797308e-11, 2.404916100281365e-12,
    -2.6690625482579414e-13, 3.4041800321963686e-14, -4.87994410531204e-15, 7.729703176242605e-16,
    -1.3348852171502517e-16, 2.4865952389390515e-17, -4.952892629886516e-18, 1.0473158973776097e-18,
    -2.336930172211422e-19, 5.474581915710601e-20,
)  # fmt: skip
"""and Q times x."""

P1 = (
    1.0009030408600137, 0.0008989898330859408, -3.987284300488908e-06, 6.177633960644299e-08, -1.8718907491063067e-09,
    8.816898659582339e-11, -5.704863640395645e-12, 4.699195515230542e-13, -4.6842237839904895e-14,
    5.452674896044717e-15, -7.221180842274018e-16, 1.0667689114335412e-16, -1.7312313216116335e-17,
    3.0492991197665872e-18, -5.772421654987453e-19,
)  # fmt: skip
"""Those of J1 + i Y1, whose angle is x - 3 / 4 pi."""

Q1 = (
    0.3742222965562826, -0.0007702178839325664, 7.3108922063643636e-06, -1.676782510726674e-07, 6.583354662120443e-09,
    -3.749090950541556e-10, 2.8121750359748866e-11, -2.61145253946232e-12, 2.8774212663332235e-13,
    -3.649001916061838e-14, 5.206626366226707e-15, -8.215318025458595e-16, 1.4141084390211833e-16,
    -2.626761589838529e-17, 5.2192649196714085e-18, -1.101261718787959e-18, 2.4525932320263116e-19,
)  # fmt: skip

K0_NEAR = (
    -0.2676636966169514, 0.3442898999246285, 0.0359799365153615, 0.001264615411446926, 2.286212103119452e-05,
    2.5347910790261494e-07, 1.904516377220209e-09, 1.0349695257633625e-11, 4.2598161427910826e-14,
    1.3744654358807508e-16, 3.5708965285083736e-19,
)  # fmt: skip
"""K0(x) + log(x / 2) I0(x) for x up to 2, in x ** 2 / 2 - 1."""

K1_NEAR = (
    -0.06409034516866254, -0.10916919599320105, -0.006636878452817714, -0.00016822792382067343,
    -2.389559180803608e-06, -2.1853569024549695e-08, -1.3982271326113327e-10, -6.618562752976041e-13,
    -2.4134516242987822e-15, -6.990873731242567e-18, -1.6478758098368235e-20,
)  # fmt: skip
"""(K1(x) - log(x / 2) I1(x) - 1 / x) / x."""

K0_FAR = (
    1.2201515410329777, -0.0314481013119645, 0.0015698838857300533, -0.00012849549581627802, 1.39498137188765e-05,
    -1.8317555227191195e-06, 2.766813639445015e-07, -4.660489897687948e-08, 8.574034017414225e-09,
    -1.6975345093890614e-09, 3.5773972814003283e-10, -7.957489244477396e-11, 1.8559491149549264e-11,
    -4.514597883374519e-12, 1.1403405882073441e-12, -2.9800969231481784e-13, 8.032890775068375e-14,
    -2.2275133267462965e-14, 6.340076476276646e-15, -1.848593377920907e-15, 5.5120559994043335e-16,
    -1.6782311257549006e-16, 5.2103917776435543e-17, -1.6475805939842632e-17, 5.3004337711773354e-18,
    -1.7331712005821001e-18, 5.755109202882729e-19, -1.9390956053183553e-19,
)  # fmt: skip
"""sqrt(x) exp(x) K0(x) from 2 on, in 4 / x - 1."""

K1_FAR = (
    1.3603130952422213, 0.10392373657681724, -0.002857816859622779, 0.00019521551847135162, -1.936197974166083e-05,
    2.406484947837217e-06, -3.5019606030878126e-07, 5.7410841254500495e-08, -1.0345762465678097e-08,
    2.0150497551970347e-09, -4.1903547593419254e-10, 9.218315187605315e-11, -2.129967838427791e-11,
    5.139639673482343e-12, -1.2891739609498229e-12, 3.348419666052243e-13, -8.976705182010146e-14,
    2.4771544242195988e-14, -7.0198370892147685e-15, 2.038703166239861e-15, -6.057047270643018e-16,
    1.8380935752430455e-16, -5.689462849193648e-17, 1.7940510478863572e-17, -5.7567444820733025e-18,
    1.8778651901623268e-18, -6.221645287352609e-19, 2.0919125269831136e-19,
)  # fmt: skip
"""sqrt(x) exp(x) K1(x)."""

AIRY_NEAR = (
    0.020954432851605295, 0.006707212511208781, -0.02020743556008881, -0.002526483396526631, 0.005493234829142594,
    0.0001682027404625694, -0.000976704228635796, 6.71716272428402e-05, 0.00011783310158110912,
    -1.9853264747488866e-05, -9.523091390271163e-06, 2.792334627817023e-06, 4.564598009225438e-07,
    -2.530513072109405e-07, -2.833205679308777e-09, 1.5835675069591995e-08, -1.5441730287350813e-09,
    -6.711937929374128e-10, 1.4711033361568377e-10, 1.5560494759286617e-11, -7.991949417850377e-12,
    1.8427538113200333e-13, 2.897436597650512e-13, -3.581706573431034e-14, -6.495250635629288e-15,
    1.8191119178904046e-15, 2.7572500918077117e-17, -5.72207448160239e-17, 4.641886311277739e-18,
    1.135430455585206e-18, -2.276926206394128e-19, -7.778967027629176e-21, 6.240370564196792e-21,
)  # fmt: skip
"""exp(x) Ai(x) / ((x - a) (x - b)) for x from -5 to 2 with the first zeros a and b of Ai."""

AIRY_RIGHT = (
    0.9844053049171552, -0.014792784850104199, 0.0007327177465426715, -6.12595423417825e-05, 6.83476697557269e-06,
    -9.237229735403982e-07, 1.436225340438052e-07, -2.489319422322096e-08, 4.709793440054328e-09,
    -9.583863708112733e-10, 2.0745855483677591e-10, -4.737267332192277e-11, 1.1336099808224236e-11,
    -2.827706782319351e-12, 7.320712095125598e-13, -1.9599793911089723e-13, 5.4101162570683925e-14,
    -1.5356466802223836e-14, 4.472340393300025e-15, -1.3338094674756683e-15, 4.066582046456231e-16,
    -1.265583225645289e-16, 4.015126334015871e-17, -1.2969972135960937e-17, 4.2613499074124e-18,
    -1.422676842293507e-18, 4.822123001700147e-19, -1.6580577686273145e-19,
)  # fmt: skip
"""2 sqrt(pi) x ** 0.25 exp(z) Ai(x) for x from 2 on, in 1 / z with z = 2 / 3 x ** 1.5."""

AIRY_P = (
    0.9996723415461005, -0.0003255483561055322, 2.069745155969119e-06, -3.890961736474424e-08, 1.3645959446950337e-09,
    -7.265563438866682e-11, 5.234675629062907e-12, -4.749669415821452e-13, 5.172156139604189e-14,
    -6.533725295545284e-15, 9.33927407277721e-16, -1.4823330512580455e-16, 2.5745988399644002e-17,
    -4.8369440585693956e-18, 9.737932701404107e-19, -2.0847997706056104e-19,
)  # fmt: skip
"""Down from -5 Ai(-x) is (P cos(z - pi / 4) + Q sin(z - pi / 4)) / (sqrt(pi) x ** 0.25): P in 1 / z ** 2,"""

AIRY_Q = (
    0.06911528040160503, -0.0003251060364586695, 3.945977743866323e-06, -1.068929090514341e-07, 4.800334718951617e-09,
    -3.0691067169997637e-10, 2.5517594369013928e-11, -2.601606731752434e-12, 3.123666855119186e-13,
    -4.2903251712839485e-14, 6.596710595977435e-15, -1.116833216041688e-15, 2.0551350158850327e-16,
    -4.0680056098438254e-17, 8.589182631392619e-18, -1.921018818902054e-18, 4.524779482719087e-19,
    -1.11690545207691e-19, 2.877184999431553e-20,
)  # fmt: skip
"""and Q times z."""

ZEROS = {
    "J0": ((2.404825448989868, 1.0870590460455913e-07), (5.520078182220459, -7.19341483347784e-08)),
    "J1": (
        (3.8317060470581055, -7.685059315313556e-08),
        (7.015586853027344, -1.8321172499646294e-07),
    ),
    "Ai": (
        (-2.3381073474884033, -6.297136371817669e-08),
        (-4.087949275970459, -1.68160511632262e-07),
    ),
}
"""Zeros as numbers that any of our dtypes has, and what is left."""


# --- I


@composite("bessel_i")
def bessel_i(x: Node, order: int, scaled: bool) -> Node:
    """I0 or I1; scaled, times exp(-|x|)."""
    size = unary(Op.ABS, wide(x))
    near, far = (I1_NEAR, I1_FAR) if order else (I0_NEAR, I0_FAR)
    small = size.le(8.0)
    inside = where(small, size, 8.0)
    outside = where(small, 8.0, size)
    low = chebyshev(inside * 0.25 - 1.0, near)
    if order:
        low = low * inside
    high = chebyshev(16.0 / outside - 1.0, far) * unary(Op.RSQRT, outside)
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


# --- J and Y


def _first_zeros(x: Node, name: str, even: bool = False) -> Node:
    """The product of x less each zero; `even`: and of x more each."""
    made: Node | None = None
    for high, low in ZEROS[name]:
        factor = (x - high) - low
        if even:
            factor = factor * (x + (high + low))
        made = factor if made is None else made * factor
    assert made is not None
    return made


def _wave(x: Node, order: int) -> tuple[Node, Node]:
    """J and Y from 8 on, by P and Q."""
    t = 8.0 / x
    place = t * t * 2.0 - 1.0
    p = chebyshev(place, P1 if order else P0)
    q = chebyshev(place, Q1 if order else Q0) / x
    cos, sin = unary(Op.COS, x), unary(Op.SIN, x)
    one, other = cos + sin, sin - cos  # of x - pi / 4, times sqrt(2)
    if order:
        one, other = other, -one
    scale = unary(Op.RSQRT, x) * (1.0 / math.sqrt(math.pi))
    return (p * one - q * other) * scale, (p * other + q * one) * scale


def _near_j(x: Node, order: int) -> Node:
    """J for x up to 8."""
    place = x * x * (1.0 / 32.0) - 1.0
    if order:
        return chebyshev(place, J1_NEAR) * x * _first_zeros(x, "J1", even=True)
    return chebyshev(place, J0_NEAR) * _first_zeros(x, "J0", even=True)


def _beside(x: Node, pole: float) -> Node:
    """What stands at 0 and below."""
    return where(x.eq(0.0), constant(pole, x.dtype, x.shape, x.place), math.nan)


@composite("bessel_j")
def bessel_j(x: Node, order: int) -> Node:
    """J0 or J1; NaN of an infinity, as in PyTorch."""
    size = unary(Op.ABS, x)
    near = size.le(8.0)
    low = _near_j(where(near, size, 1.0), order)
    high, _ = _wave(where(near, 8.0, size), order)
    made = where(near, low, high)
    return where(x.lt(0.0), -made, made) if order else made


@composite("bessel_y")
def bessel_y(x: Node, order: int) -> Node:
    """Y0 or Y1: -inf at 0, NaN below."""
    near = x.le(8.0)
    inside = where(near & x.gt(0.0), x, 1.0)
    place = inside * inside * (1.0 / 32.0) - 1.0
    low = _near_j(inside, order) * log(inside)
    if order:
        low = (low - 1.0 / inside) * (2.0 / math.pi) + chebyshev(place, Y1_NEAR) * inside
    else:
        low = low * (2.0 / math.pi) + chebyshev(place, Y0_NEAR)
    _, high = _wave(where(near, 8.0, x), order)
    made = where(near, low, high)
    return where(x.gt(0.0), made, _beside(x, -math.inf))


# --- K


def _series_i(x: Node, order: int) -> Node:
    """I0(x), or I1(x) / x, for x up to 2 by the powers of x ** 2 / 4."""
    square = x * x * 0.25
    terms = [
        1.0 / (math.factorial(k) * math.factorial(k + order) * (2.0 if order else 1.0))
        for k in range(14)
    ]
    made = square * 0.0 + terms[-1]
    for term in reversed(terms[:-1]):
        made = made * square + term
    return made


@composite("bessel_k")
def bessel_k(x: Node, order: int, scaled: bool) -> Node:
    """K0 or K1, inf at 0 and NaN below; scaled, times exp(x)."""
    near = x.le(2.0)
    inside = where(near & x.gt(0.0), x, 1.0)
    outside = where(near, 2.0, x)
    place = inside * inside * 0.5 - 1.0
    rising = log(inside * 0.5) * _series_i(inside, order)
    if order:
        low = (rising + chebyshev(place, K1_NEAR)) * inside + 1.0 / inside
    else:
        low = chebyshev(place, K0_NEAR) - rising
    high = chebyshev(4.0 / outside - 1.0, K1_FAR if order else K0_FAR) * unary(Op.RSQRT, outside)
    if scaled:
        low = low * exp(inside)
    else:
        half = exp(outside * -0.5)  # in two steps, so that it goes to 0 where the product does
        high = high * half * half
    made = where(near, low, high)
    return where(x.gt(0.0), made, _beside(x, math.inf))


# --- Airy's function


@composite("airy_ai")
def airy_ai(x: Node) -> Node:
    """Ai; NaN of an infinity, as in PyTorch."""
    right, left = x.gt(2.0), x.lt(-5.0)
    far = right | left
    size = where(far, unary(Op.ABS, x), 5.0)
    root = unary(Op.SQRT, size)
    z = size * root * (2.0 / 3.0)
    falling = exp(-where(right, z, where(left, 0.0, x)))
    fourth = unary(Op.SQRT, root)
    inverse = 1.0 / z
    first = 2.0 / 3.0 * 2.0**1.5
    high = chebyshev(where(right, inverse, 0.0) * (2.0 * first) - 1.0, AIRY_RIGHT)
    high = high * falling / (fourth * (2.0 * math.sqrt(math.pi)))
    inside = where(far, 0.0, x)
    middle = chebyshev((inside + 1.5) * (1.0 / 3.5), AIRY_NEAR)
    middle = middle * _first_zeros(inside, "Ai") * falling
    place = where(right, 0.0, inverse * inverse) * (2.0 * 500.0 / 9.0) - 1.0
    p, q = chebyshev(place, AIRY_P), chebyshev(place, AIRY_Q) * inverse
    cos, sin = unary(Op.COS, z), unary(Op.SIN, z)
    low = (p * (cos + sin) + q * (sin - cos)) / (fourth * math.sqrt(2.0 * math.pi))
    made = where(right, high, where(left, low, middle))
    return where(unary(Op.ABS, x).eq(math.inf), math.nan, made)
