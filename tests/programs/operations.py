"""The operators that random programs are made of, each in PyTorch's spelling beside its meaning in numpy.

A line is `PyTorch | numpy | words | guard`. `a` is the tensor the operator is applied to, `b` and `c` are tensors of its dtype
that broadcast with it, `m` is a bool tensor that does; `{name}` is a parameter that the generator draws.

Words: the domain of `a` (positive, unit, small, above_one, angle, whole), and of `b` with a `b:` before it; `exact`: results
are exact where the operands are short binary fractions; `int`, `bool`, `anything`: the category of `a`, otherwise float;
`rank1`, `full`: the least rank; no axis of size 0; `same`: `b` has the shape of `a`; `cuts`: no gradient passes;
`views`: the result may share memory; `several`: it must not be written to; `strided`: PyTorch's is not in row-major order.

The guard is a numpy expression that must stay away from 0 where operands are rounded: there the operator jumps or has a kink.
With the word `apart` it must where they are exact too: there PyTorch's derivatives contradict each other, or signs of NaNs show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

DOMAINS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "positive": ("{0} * {0} + 0.25", lambda low, high: low >= 0.05 and high < 50),
    "unit": ("{0} / ({0} * {0} + 1.25)", lambda low, high: -0.97 <= low and high <= 0.97),
    "inside": ("0.5 + {0} / ({0} * {0} + 1.5)", lambda low, high: low >= 0.03 and high <= 0.97),
    "small": ("2.0 * {0} / ({0} * {0} + 1.0)", lambda low, high: -3 <= low and high <= 3),
    "angle": ("{0} / ({0} * {0} + 1.0)", lambda low, high: -1.2 <= low and high <= 1.2),
    "above_one": ("{0} * {0} + 1.25", lambda low, high: low >= 1.1 and high < 50),
}
"""How a tensor is brought into a domain, and the test of its least and greatest value."""


@dataclass(frozen=True)
class Form:
    """One line of a table."""

    torch: str
    numpy: str
    words: frozenset[str]
    guard: str

    def has(self, word: str) -> bool:
        return word in self.words

    def domain(self, prefix: str = "") -> str | None:
        return next((w[len(prefix) :] for w in sorted(self.words) if w.startswith(prefix) and w[len(prefix) :] in DOMAINS), None)  # fmt: skip

    @property
    def category(self) -> str:
        return next((w for w in ("int", "bool", "anything", "number") if w in self.words), "float")


def forms(table: str) -> list[Form]:
    """The forms of a table."""
    found = []
    for line in table.strip().splitlines():
        fields = [field.strip() for field in line.split(" | ")]
        fields += [""] * (4 - len(fields))
        found.append(Form(fields[0], fields[1], frozenset(fields[2].split()), fields[3]))
    return found


UNARY = forms("""
a.sin() | np.sin(a)
a.cos() | np.cos(a)
a.tan() | np.tan(a) | angle
a.asin() | np.arcsin(a) | unit
a.acos() | np.arccos(a) | unit
a.atan() | np.arctan(a)
a.sinh() | np.sinh(a) | small
a.cosh() | np.cosh(a) | small
a.tanh() | np.tanh(a)
a.asinh() | np.arcsinh(a)
a.acosh() | np.arccosh(a) | above_one
a.atanh() | np.arctanh(a) | unit
a.exp() | np.exp(a) | small
a.exp2() | np.exp2(a) | small
a.expm1() | np.expm1(a) | small
a.log() | np.log(a) | positive
a.log2() | np.log2(a) | positive
a.log10() | np.log10(a) | positive
a.log1p() | np.log1p(a) | positive
a.sqrt() | np.sqrt(a) | positive
a.rsqrt() | 1 / np.sqrt(a) | positive
a.erf() | ref.erf(a)
a.erfc() | ref.erfc(a) | small
a.erfinv() | ref.erfinv(a) | unit
a.lgamma() | ref.lgamma(a) | positive
a.digamma() | ref.digamma(a) | positive
a.floor() | np.floor(a) | exact | a - np.round(a)
a.ceil() | np.ceil(a) | exact | a - np.round(a)
a.trunc() | np.trunc(a) | exact | a - np.round(a)
a.round() | np.round(a) | exact | a - np.floor(a) - 0.5
torch.round(a, decimals=1) | np.round(a * 10) / 10 |  | a * 10 - np.floor(a * 10) - 0.5
a.frac() | a - np.trunc(a) | exact | a - np.round(a)
a.neg() | -a | exact number
a.abs() | np.abs(a) | exact number | a
a.sign() | np.where(np.isnan(a), np.zeros_like(a), np.sign(a)) | exact number | a
a.sgn() | np.where(np.isnan(a), np.zeros_like(a), np.sign(a)) | exact number | a
a.square() | a * a | exact number
a.reciprocal() | 1 / a | positive
a.logit() | np.log(a / (1 - a)) | inside
a.logit(0.25) | np.log(np.clip(a, 0.25, 0.75) / (1 - np.clip(a, 0.25, 0.75))) | inside | (a - 0.25) * (a - 0.75)
a.sinc() | np.sinc(a) | positive
a.deg2rad() | np.deg2rad(a)
a.rad2deg() | np.rad2deg(a)
a.nan_to_num() | np.nan_to_num(a) | exact
a.positive() | a | exact views
a.sigmoid() | ref.sigmoid(a)
a.relu() | np.maximum(a, 0) | exact number | a
F.leaky_relu(a, 0.125) | np.where(a > 0, a, a * 0.125) | exact | a
F.elu(a) | ref.elu(a) |  | a
F.elu(a, 0.5) | ref.elu(a, 0.5) |  | a
F.hardtanh(a, -0.5, 0.75) | np.clip(a, -0.5, 0.75) | exact | (a + 0.5) * (a - 0.75)
F.relu6(a * 4) | np.clip(a * 4, 0, 6) | exact | a * (a - 1.5)
F.silu(a) | a * ref.sigmoid(a)
F.gelu(a) | 0.5 * a * (1 + ref.erf(a / np.sqrt(2).astype(a.dtype)))
F.gelu(a, approximate="tanh") | ref.gelu_tanh(a)
F.softplus(a) | ref.softplus(a)
F.softplus(a, 2.0, 3.0) | ref.softplus(a, 2.0, 3.0) | apart | a - 1.5
F.selu(a) | ref.elu(a, 1.6732632423543772, 1.0507009873554805) |  | a
F.celu(a, 2.0) | ref.elu(a, 2.0, 1.0, 0.5) |  | a
F.mish(a) | a * np.tanh(ref.softplus(a))
F.hardsigmoid(a * 4) | np.clip(a * 4 + 3, 0, 6) / 6 |  | (a - 0.75) * (a + 0.75)
F.hardswish(a * 4) | a * 4 * np.clip(a * 4 + 3, 0, 6) / 6 |  | (a - 0.75) * (a + 0.75)
F.hardshrink(a, 0.5) | np.where(np.abs(a) > 0.5, a, 0 * a) | exact | np.abs(a) - 0.5
F.softshrink(a, 0.5) | np.sign(a) * np.maximum(np.abs(a) - 0.5, 0) | exact | np.abs(a) - 0.5
F.threshold(a, 0.5, -1.0) | np.where(a <= 0.5, np.full_like(a, -1), a) | exact | a - 0.5
F.logsigmoid(a) | -ref.softplus(-a)
F.tanh(a) | np.tanh(a)
F.relu(a) | np.maximum(a, 0) | exact | a
F.softsign(a) | a / (1 + np.abs(a)) |  | a
F.tanhshrink(a) | a - np.tanh(a)
F.glu(torch.stack([a, a * 2.0]), 0) | (a * ref.sigmoid(a * 2))[None]
F.normalize(a, dim={axis}) | a / np.maximum(np.sqrt((a * a).sum({axis}, keepdims=True)), 1e-12) | rank1 full positive
F.dropout(a, 0.5, False) | a | exact views
a.cumsum({axis}) | ref.running(a, "sum", {axis}) | rank1 exact anything
a.cumprod({axis}) | ref.running(a, "prod", {axis}) | rank1 positive
torch.softmax(a, {axis}) | ref.softmax(a, {axis}) | rank1
a.log_softmax({axis}) | ref.log_softmax(a, {axis}) | rank1
F.softmin(a, {axis}) | ref.softmax(-a, {axis}) | rank1
a.clamp(-0.5, 0.75) | np.clip(a, -0.5, 0.75) | exact | (a + 0.5) * (a - 0.75)
a.clamp(min=0.25) | np.maximum(a, 0.25) | exact | a - 0.25
a.clamp_min(0.25) | np.maximum(a, 0.25) | exact | a - 0.25
a.clamp_max(0.5) | np.minimum(a, 0.5) | exact | a - 0.5
a + {number} | a + {number} | exact
a - {number} | a - {number} | exact
a * {number} | a * {number} | exact
a / {nonzero} | a / {nonzero} | exact
{number} - a | {number} - a | exact
{number} * a | {number} * a | exact
torch.rsub(a, {number}, alpha=2) | {number} - 2 * a | exact
torch.sub({number}, a) | {number} - a | exact
{number} / a | {number} / a | positive
a ** 2 | a ** 2 | exact number
a ** 3 | a ** 3 | exact
a ** 0.5 | a ** 0.5 | positive
a ** -1 | a ** -1.0 | positive
a ** 2.5 | a ** 2.5 | positive
a ** 0 | a ** 0 | exact
a.pow(1) | a ** 1 | exact
2.0 ** a | 2.0 ** a | small
a.pow(-2.0) | a ** -2.0 | positive
a // 0.75 | np.floor(a / 0.75) |  | a / 0.75 - np.round(a / 0.75)
a % 0.75 | a - 0.75 * np.floor(a / 0.75) |  | a / 0.75 - np.round(a / 0.75)
3.0 // a | np.floor(3.0 / a) | positive | 3.0 / a - np.round(3.0 / a)
3.0 % a | np.fmod(3.0, a) | positive | 3.0 / a - np.round(3.0 / a)
torch.fmod(a, 0.75) | np.fmod(a, 0.75) |  | a / 0.75 - np.round(a / 0.75)
torch.xlogy(a, 2.0) | a * float(np.log(2.0))
a.tril({diagonal}) | np.tril(a, {diagonal}) | rank2 exact anything
a.triu({diagonal}) | np.triu(a, {diagonal}) | rank2 exact anything
a.clone() | a.copy() | exact anything
torch.zeros_like(a) | np.zeros_like(a) | exact anything cuts
torch.ones_like(a) | np.ones_like(a) | exact anything cuts
torch.full_like(a, 2) | np.full_like(a, 2) | exact number cuts
a.new_zeros(a.shape) | np.zeros_like(a) | exact anything cuts
a.new_ones(a.shape) | np.ones_like(a) | exact anything cuts
a.new_full(a.shape, 0.5) | np.full_like(a, 0.5) | exact cuts
torch.where(a > 0.25, a, 0.0) | np.where(a > 0.25, a, 0.0) | exact | a - 0.25
torch.where(a > 0.25, 1.0, a) | np.where(a > 0.25, 1.0, a) | exact | a - 0.25
a.where(a < 0.5, 2.0 * a) | np.where(a < 0.5, a, 2.0 * a) | exact | a - 0.5
F.layer_norm(a, a.shape[-1:]) | ref.standardized(a, -1, 1e-5) | rank1 full spread
F.rms_norm(a, a.shape[-1:], eps=1e-5) | a / np.sqrt((a * a).mean(-1, keepdims=True) + 1e-5) | rank1 full
F.group_norm(a, 1) | ref.standardized(a, tuple(range(1, a.ndim)), 1e-5) | rank3 full spread
torch.addcmul(a, a, a, value=0.5) | a + 0.5 * a * a | exact
torch.lerp(a, 2.0 * a, 0.25) | a + 0.25 * a | exact
a.where(a == a, 0.0) | np.where(a == a, a, 0.0) | exact
a.repeat_interleave(2, {axis}) | np.repeat(a, 2, {axis}) | rank1 exact anything
a.logaddexp(2.0 * a) | np.logaddexp(a, 2.0 * a)
a.double() | a.astype(np.float64, copy=False) | exact anything views
""")

BINARY = forms("""
a + b | a + b | exact number
a - b | a - b | exact number
a * b | a * b | exact number
torch.add(a, b, alpha=2) | a + 2 * b | exact number
torch.sub(a, b, alpha=3) | a - 3 * b | exact number
a / b | a / b | b:positive
a.mul(b) | a * b | exact number
a.add(b) | a + b | exact number
a.sub(b) | a - b | exact number
a.div(b) | a / b | b:positive
a.div(b, rounding_mode="floor") | np.floor(a / b) | b:positive | a / b - np.round(a / b)
a.div(b, rounding_mode="trunc") | np.trunc(a / b) | b:positive | a / b - np.round(a / b)
a.floor_divide(b) | np.floor(a / b) | b:positive | a / b - np.round(a / b)
a.remainder(b) | a - b * np.floor(a / b) | b:positive | a / b - np.round(a / b)
a.fmod(b) | np.fmod(a, b) | b:positive | a / b - np.round(a / b)
a ** b | a ** b | positive b:small
a.pow(b) | a ** b | positive b:small
torch.maximum(a, b) | np.maximum(a, b) | exact number | a - b
torch.minimum(a, b) | np.minimum(a, b) | exact number | a - b
torch.max(a, b) | np.maximum(a, b) | exact number | a - b
torch.min(a, b) | np.minimum(a, b) | exact number | a - b
a.atan2(b) | np.arctan2(a, b) | b:positive
a.hypot(b) | np.hypot(a, b) | b:positive
torch.logaddexp(a, b) | np.logaddexp(a, b)
a.xlogy(b) | a * np.log(b) | b:positive
a.lerp(b, 0.25) | a + 0.25 * (b - a) | exact
torch.lerp(a, b, c) | a + c * (b - a)
a.addcmul(b, c, value=0.5) | a + 0.5 * b * c | exact
a.addcdiv(b, c, value=0.5) | a + 0.5 * b / c | c:positive
torch.where(a < b, a, b * 2) | np.where(a < b, a, b * 2) | exact number | a - b
a.clamp(b, b + 1) | np.clip(a, b, b + 1) | exact | (a - b) * (a - b - 1)
a.clamp(min=b) | np.maximum(a, b) | exact | a - b
F.prelu(a, b.reshape(-1)[:1]) | np.where(a > 0, a, a * b.reshape(-1)[:1]).reshape(a.shape) | exact full same | a
F.mse_loss(a, b, reduction="none") | (a - b) ** 2 | same exact
F.mse_loss(a, b) | np.mean((a - b) ** 2) | same full
F.mse_loss(a, b, reduction="sum") | np.sum((a - b) ** 2) | same
F.l1_loss(a, b) | np.mean(np.abs(a - b)) | same full | a - b
F.l1_loss(a, b, reduction="sum") | np.sum(np.abs(a - b)) | same | a - b
F.smooth_l1_loss(a, b, beta=0.5) | np.mean(ref.smooth_l1(a, b, 0.5)) | same full | (np.abs(a - b) - 0.5) * (a - b)
F.huber_loss(a, b, delta=0.5) | np.mean(ref.huber(a, b, 0.5)) | same full | (np.abs(a - b) - 0.5) * (a - b)
F.binary_cross_entropy(a, b.sigmoid()) | np.mean(-(ref.sigmoid(b) * np.log(a) + (1 - ref.sigmoid(b)) * np.log(1 - a))) | same full inside
F.binary_cross_entropy_with_logits(a, b.sigmoid()) | np.mean(ref.softplus(a) - a * ref.sigmoid(b)) | same full
F.kl_div(a, b.sigmoid(), reduction="sum") | np.sum(ref.sigmoid(b) * (np.log(ref.sigmoid(b)) - a)) | same
F.poisson_nll_loss(a, b) | np.mean(np.exp(a) - a * b) | same full small
F.hinge_embedding_loss(a, torch.ones_like(b)) | np.mean(a) | same full
F.margin_ranking_loss(a, b, torch.ones_like(a), 0.25) | np.mean(np.maximum(0, -(a - b) + 0.25)) | same full | a - b - 0.25
F.cosine_similarity(a, b, {axis}) | ref.cosine(a, b, {axis}) | same rank1 full positive b:positive
F.pairwise_distance(a, b) | np.sqrt(((a - b + 1e-6) ** 2).sum(-1)) | same rank1 full positive | np.sum(np.abs(a - b))
a.masked_fill(m, 0.5) | np.where(m, np.full_like(a, 0.5), a) | exact
torch.where(m, a, b) | np.where(m, a, b) | exact number
a.where(m, b) | np.where(m, a, b) | exact number
a.masked_scatter(m, a * 2) | ref.masked_scatter(a, m, a * 2) | exact
torch.true_divide(a, b) | a / b | b:positive
torch.broadcast_tensors(a, b)[0] | np.broadcast_to(a, np.broadcast_shapes(a.shape, b.shape)) | exact views
""")

TRUTHS = forms(
    """
a == b | a == b | anything | a - b
torch.ne(a, b) | a != b | anything | a - b
a < b | a < b | number | a - b
a.le(b) | a <= b | number | a - b
torch.gt(a, b) | a > b | number | a - b
a.ge(b) | a >= b | number | a - b
a > {number} | a > {number} |  | a - {number}
a.lt({number}) | a < {number} |  | a - {number}
a.eq(0) | a == 0 | anything | a
a.logical_and(b) | np.logical_and(a, b) | bool
a.logical_or(b) | np.logical_or(a, b) | bool
a.logical_xor(b) | np.logical_xor(a, b) | bool
a.logical_not() | np.logical_not(a) | anything | a
~a | ~a | bool
a & b | a & b | bool
a | b | a | b | bool
a ^ b | a ^ b | bool
a.bitwise_not() | ~a | bool
torch.isclose(a, b) | np.isclose(a, b, 1e-5, 1e-8) | number | np.abs(a - b) - 1e-5 * np.abs(b) - 1e-8
a.isnan() | np.isnan(a)
a.isinf() | np.isinf(a)
a.isposinf() | np.isposinf(a)
a.isneginf() | np.isneginf(a)
a.isfinite() | np.isfinite(a)
a.signbit() | np.signbit(a) | apart | np.where(np.isnan(a), 0, a + (a == 0))
a.any() | np.any(a) | bool
a.all() | np.all(a) | bool
a.any({axis}) | np.any(a, {axis}) | bool rank1
a.all({axis}, keepdim=True) | np.all(a, {axis}, keepdims=True) | bool rank1
""".replace("a | b | a | b | bool\n", "a.bitwise_or(b) | np.bitwise_or(a, b) | bool\n")
)

INTEGERS = forms("""
a + 3 | a + 3 | int
a * 2 | a * 2 | int
a - b | a - b | int
a * b | a * b | int
a // 3 | a // 3 | int
a // -2 | a // -2 | signed
a % 3 | a % 3 | int
a % -3 | a % -3 | signed
torch.fmod(a, 3) | np.fmod(a, 3) | int
a.div(3, rounding_mode="trunc") | ref.truncated(a, 3) | int
a / 2 | a / 2 | int
7 // (a * a + 1) | 7 // (a * a + 1) | wide
7 % (a * a + 1) | 7 % (a * a + 1) | wide
a & b | a & b | int
a ^ b | a ^ b | int
a.bitwise_or(b) | np.bitwise_or(a, b) | int
a.bitwise_and(3) | a & 3 | int
a.bitwise_xor(b) | a ^ b | int
~a | ~a | int
a.bitwise_left_shift(1) | np.left_shift(a, 1).astype(a.dtype) | int
a.bitwise_right_shift(1) | np.right_shift(a, 1).astype(a.dtype) | int
a << 2 | (a << 2).astype(a.dtype) | int
a >> 1 | (a >> 1).astype(a.dtype) | int
a.neg() | -a | signed
a.abs() | np.abs(a) | int
a ** 2 | a ** 2 | int
a.clamp(-1, 2) | np.clip(a, -1, 2) | signed
torch.maximum(a, b) | np.maximum(a, b) | int
torch.minimum(a, b) | np.minimum(a, b) | int
a.sum() | ref.total(a) | anyint
a.sum({axis}) | ref.total(a, {axis}) | anyint rank1
a.prod({axis}) | ref.product(a, {axis}) | int rank1
a.cumsum({axis}) | ref.running(a, "sum", {axis}) | anyint rank1
a.count_nonzero() | np.count_nonzero(a) | anyint
a.amax() | np.max(a) | int full
a.argmax() | np.argmax(a) | int full
F.one_hot(a.abs().long() % 4, 4) | ref.one_hot(np.abs(a) % 4, 4) | wide
""")

REDUCTIONS = forms("""
a.sum() | ref.total(a) | exact
a.sum({axes}, keepdim={keep}) | ref.total(a, {axes}, {keep}) | exact rank1
a.sum({axes}, keepdim={keep}) | ref.total(a, {axes}, {keep}) | exact rank1
a.nansum() | np.nansum(a) | exact
a.mean() | np.mean(a) | full
a.mean({axes}, keepdim={keep}) | np.mean(a, {axes}, keepdims={keep}) | rank1 full
a.nanmean() | np.nanmean(a) | full
a.prod() | np.prod(a) | small
a.prod({axis}, keepdim={keep}) | np.prod(a, {axis}, keepdims={keep}) | rank1 small
a.amax({axes}, keepdim={keep}) | np.max(a, {axes}, keepdims={keep}) | rank1 full exact | ref.gap(a, {axes}, 1)
a.amin({axes}, keepdim={keep}) | np.min(a, {axes}, keepdims={keep}) | rank1 full exact | ref.gap(a, {axes}, -1)
a.max() | np.max(a) | full exact | ref.gap(a, None, 1)
a.min() | np.min(a) | full exact | ref.gap(a, None, -1)
a.max({axis})[0] | np.max(a, {axis}) | rank1 full exact | ref.gap(a, {axis}, 1)
a.min({axis}, keepdim={keep}).values | np.min(a, {axis}, keepdims={keep}) | rank1 full exact | ref.gap(a, {axis}, -1)
a.max({axis}).indices | np.argmax(a, {axis}) | rank1 full cuts exact | ref.gap(a, {axis}, 1)
a.argmax({axis}, keepdim={keep}) | np.argmax(a, {axis}, keepdims={keep}) | rank1 full cuts exact | ref.gap(a, {axis}, 1)
a.argmin() | np.argmin(a) | full cuts exact | ref.gap(a, None, -1)
torch.aminmax(a)[1] | np.max(a) | full exact | ref.gap(a, None, 1)
a.var({axis}, correction={correction}) | np.var(a, {axis}, ddof={correction}) | rank1 many
a.var({axes}, unbiased=False, keepdim={keep}) | np.var(a, {axes}, keepdims={keep}) | rank1 many
a.std({axis}) | np.std(a, {axis}, ddof=1) | rank1 many spread
torch.var_mean(a, {axis})[0] | np.var(a, {axis}, ddof=1) | rank1 many
torch.std_mean(a, {axis})[1] | np.mean(a, {axis}) | rank1 many spread
a.norm() | ref.norm(a, 2) | positive full
a.norm(1, {axis}) | ref.norm(a, 1, {axis}) | rank1 positive full
a.norm(3, {axes}, keepdim={keep}) | ref.norm(a, 3, {axes}, {keep}) | rank1 positive full
a.norm(float("inf")) | ref.norm(a, np.inf) | full positive | ref.gap(np.abs(a), None, 1)
a.logsumexp({axes}, keepdim={keep}) | ref.logsumexp(a, {axes}, {keep}) | rank1 full
a.trace() | np.trace(a) | exact matrix
a.count_nonzero({axis}) | np.count_nonzero(a, {axis}) | rank1 cuts exact | a
a.any() | np.any(a) | cuts exact | a
a.all({axis}) | np.all(a, {axis}) | rank1 cuts exact | a
""")
"""gap: how far the greatest (1) or least (-1) value stands from the next; ties of exact values are allowed."""

CONTRACTIONS = forms("""
a @ a.transpose(-1, -2) | a @ np.swapaxes(a, -1, -2) | rank2 exact
a.matmul(a.mT) | a @ np.swapaxes(a, -1, -2) | rank2 exact
a.mm(a.t()) | a @ a.T | matrix exact
a.t().mm(a) | a.T @ a | matrix exact
torch.addmm(a, a, a.t() @ a, alpha=0.5) | a + 0.5 * (a @ (a.T @ a)) | matrix exact
a.mv(a[0]) | a @ a[0] | matrix full exact
torch.addmv(a[:, 0], a, a[0]) | a[:, 0] + a @ a[0] | matrix full exact
a.reshape(-1).dot(a.reshape(-1)) | a.reshape(-1) @ a.reshape(-1) | exact
a.reshape(-1) @ a.reshape(-1) | a.reshape(-1) @ a.reshape(-1) | exact
torch.outer(a.reshape(-1)[:4], a.reshape(-1)[:3]) | np.outer(a.reshape(-1)[:4], a.reshape(-1)[:3]) | exact
torch.inner(a, a) | np.inner(a, a) | rank1 exact
torch.bmm(a, a.transpose(1, 2)) | a @ np.swapaxes(a, 1, 2) | cube exact
torch.baddbmm(a, a, a.transpose(1, 2) @ a, beta=0.5) | 0.5 * a + a @ (np.swapaxes(a, 1, 2) @ a) | cube exact
F.linear(a, a.reshape(-1, a.shape[-1])[:2]) | a @ a.reshape(-1, a.shape[-1])[:2].T | rank1 exact full
torch.tensordot(a, a, dims=([0], [0])) | np.tensordot(a, a, ([0], [0])) | matrix exact
torch.einsum("ij,kj->ik", a, a) | np.einsum("ij,kj->ik", a, a) | matrix exact
torch.einsum("bij,bkj->bik", a, a) | np.einsum("bij,bkj->bik", a, a) | cube exact
torch.einsum("ij->j", a) | np.einsum("ij->j", a) | matrix exact
a @ b | a @ b | product exact
torch.matmul(a, b) | np.matmul(a, b) | product exact
""")

MOVES = forms("""
a.t() | a.T | matrix views
a.mT | np.swapaxes(a, -1, -2) | rank2 views
a.transpose({axis}, {axis2}) | np.swapaxes(a, {axis}, {axis2}) | rank1 views
a.permute({order}) | np.transpose(a, {order}) | views rank1
torch.movedim(a, {axis}, {axis2}) | np.moveaxis(a, {axis}, {axis2}) | rank1 views
a.unsqueeze({new_axis}) | np.expand_dims(a, {new_axis}) | views
a[None] | a[None] | views
a.squeeze() | np.squeeze(a) | views
a.squeeze({unit_axis}) | np.squeeze(a, {unit_axis}) | views unit_axis
a.expand({wider}) | np.broadcast_to(a, {wider}) | views
torch.broadcast_to(a, {wider}) | np.broadcast_to(a, {wider}) | views
a.expand_as(torch.zeros({wider})) | np.broadcast_to(a, {wider}) | views
a[{slices}] | a[{slices}] | views
a[{slices}] | a[{slices}] | views
a.select({axis}, {position}) | np.moveaxis(a, {axis}, 0)[{position}, ...] | rank1 full views
a.narrow({axis}, {start}, {length}) | np.moveaxis(np.moveaxis(a, {axis}, 0)[{start}:{start} + {length}], 0, {axis}) | rank1 views
a.unbind({axis})[{position}] | np.moveaxis(a, {axis}, 0)[{position}, ...] | rank1 full views several
a.split(2, {axis})[0] | np.moveaxis(np.moveaxis(a, {axis}, 0)[:2], 0, {axis}) | rank1 full views several
a.chunk(2, {axis})[0] | ref.chunk(a, 2, {axis}, 0) | rank1 full views several
a.tensor_split(2, {axis})[1] | np.array_split(a, 2, {axis})[1] | rank1 full views several
a.split_with_sizes([1, a.shape[{axis}] - 1], {axis})[1] | np.split(a, [1], {axis})[1] | rank1 full views several
a.diagonal({diagonal}) | np.diagonal(a, {diagonal}) | rank2 views
a.unfold({axis}, 1, 2) | ref.windows(a, {axis}, 1, 2) | rank1 full views
a.unfold({long_axis}, 2, 1) | ref.windows(a, {long_axis}, 2, 1) | long_axis views
a.view({reshaped}) | a.reshape({reshaped}) | views plain
a.reshape({reshaped}) | a.reshape({reshaped}) | views plain
a.flatten() | a.reshape(-1) | views plain
a.ravel() | a.reshape(-1) | views plain
a.view_as(torch.zeros({sizes})) | a.reshape({sizes}) | views plain
a.reshape_as(torch.zeros({sizes})) | a.reshape({sizes}) | views plain
a.unflatten({axis}, (1, a.shape[{axis}])) | np.expand_dims(a, {axis} if {axis} >= 0 else {axis} - 1) | rank1 full views
a.contiguous() | ref.contiguous(a) | views plain
a.reshape({reshaped}).clone() | a.reshape({reshaped}).copy()
torch.atleast_2d(a) | np.atleast_2d(a) | views
torch.atleast_1d(a) | np.atleast_1d(a) | views
torch.as_strided(a.clone(), (a.numel(),), (1,)) | a.reshape(-1) | plain full
a.flip({axes}) | np.flip(a, {axes}) | rank1
a.fliplr() | np.fliplr(a) | rank2
a.flipud() | np.flipud(a) | rank1
a.roll({shift}, {axis}) | np.roll(a, {shift}, {axis}) | rank1
torch.roll(a, {shift}) | np.roll(a, {shift})
torch.rot90(a) | np.rot90(a) | rank2 strided
a.repeat({repeats}) | np.tile(a, {repeats}) | rank1
a.tile((2,)) | np.tile(a, (2,))
F.pad(a, {amounts}, value=0.5) | ref.pad(a, {amounts}, 0.5) | rank1 float
F.pad(a, {amounts}) | ref.pad(a, {amounts}, 0) | rank1
torch.constant_pad_nd(a, {amounts}, 1) | ref.pad(a, {amounts}, 1) | rank1
torch.diag_embed(a) | ref.diagonal_matrix(a) | rank1
torch.diag_embed(a, 1) | ref.diagonal_matrix(a, 1) | rank1
torch.diag(a) | np.diag(a) | rank1 upto2
torch.diagflat(a) | np.diagflat(a)
torch.diff(a, dim={long_axis}) | np.diff(a, axis={long_axis}) | long_axis float
torch.hsplit(a, [1])[0] | np.hsplit(a, [1])[0] | rank1 views several
torch.vsplit(a, [1])[1] | np.vsplit(a, [1])[1] | rank2 views several
torch.meshgrid(a.reshape(-1)[:3], a.reshape(-1)[:2], indexing="ij")[1] | np.meshgrid(a.reshape(-1)[:3], a.reshape(-1)[:2], indexing="ij", copy=False)[1] | several views
torch.index_select(a, {axis}, {positions}) | np.take(a, {positions}, {axis}) | rank1 full
torch.gather(a, {axis}, {indices}) | ref.gather(a, {axis}, {indices}) | rank1 full
torch.take_along_dim(a, {lines}, {axis}) | ref.gather(a, {axis}, {lines}) | rank1 full
torch.take(a, {positions0}) | np.take(a, {positions0}) | full
a[{positions0}] | a[{positions0}] | rank1 full first
a[..., {positions_last}] | a[..., {positions_last}] | rank1 full
a[a == a] | a[a == a] | rank1
F.embedding({positions_first}, a) | a[{positions_first}] | matrix full
torch.embedding(a, {positions_first}) | a[{positions_first}] | matrix full
a[{positions_first}, 0] | a[{positions_first}, 0] | rank2 full
torch.masked_select(a, a == a) | a[a == a]
a.scatter({axis}, {indices}, torch.gather(a, {axis}, {indices}) * 2) | ref.scatter(a, {axis}, {indices}, ref.gather(a, {axis}, {indices}) * 2) | rank1 full unique float
a.scatter({axis}, {indices}, 0.5) | ref.scatter(a, {axis}, {indices}, 0.5) | rank1 full float
a.scatter_add({axis}, {indices}, torch.gather(a, {axis}, {indices}) * 2) | ref.scatter(a, {axis}, {indices}, ref.gather(a, {axis}, {indices}) * 2, "add") | rank1 full float
a.index_add({axis}, {positions}, torch.index_select(a, {axis}, {positions}), alpha=2) | ref.along(a, {axis}, {positions}, 2 * np.take(a, {positions}, {axis}), "add") | rank1 full float
a.index_copy({axis}, {position_one}, torch.index_select(a, {axis}, {position_one}) * 2) | ref.along(a, {axis}, {position_one}, np.take(a, {position_one}, {axis}) * 2, "copy") | rank1 full float
a.index_fill({axis}, {positions}, 0.5) | ref.along(a, {axis}, {positions}, 0.5, "fill") | rank1 full float
a.index_put(({position_one},), a[:1] * 2) | ref.along(a, 0, {position_one}, a[:1] * 2, "copy") | rank1 full float
torch.cat([a, b], {axis}) | np.concatenate([a, b], {axis}) | same rank1
torch.cat([a, a * 2, b]) | np.concatenate([a, a * 2, b]) | same rank1 float
torch.stack([a, b], {new_axis}) | np.stack([a, b], {new_axis}) | same
torch.hstack([a, b]) | np.hstack([a, b]) | same
torch.vstack([a, b]) | np.vstack([a, b]) | same
F.nll_loss(F.log_softmax(a, -1), {classes}) | -np.mean(ref.at_target(ref.log_softmax(a, -1), {classes})) | matrix full float
F.cross_entropy(a, {classes}) | -np.mean(ref.at_target(ref.log_softmax(a, -1), {classes})) | matrix full float
F.cross_entropy(a, {classes}, reduction="sum") | -np.sum(ref.at_target(ref.log_softmax(a, -1), {classes})) | matrix full float
""")

CASTS = forms("""
a.float() | a.astype(np.float32, copy=False) | float views
a.to(torch.float32).double() | a.astype(np.float32).astype(np.float64) | float loose
a.to(torch.bfloat16).to(torch.float64) | ref.bfloat16(a).astype(np.float64) | float rounds
a.half().double() | a.astype(np.float16).astype(np.float64) | float rounds
a.long() | a.astype(np.int64, copy=False) | anything cuts jumps views
a.int() | a.astype(np.int32, copy=False) | anything cuts jumps views
a.to(torch.int8) | a.astype(np.int8, copy=False) | anything cuts jumps views
a.to(torch.uint8) | a.astype(np.int64).astype(np.uint8) | anything cuts jumps
a.bool() | a.astype(bool, copy=False) | anything cuts jumps views
a.double() | a.astype(np.float64, copy=False) | anything views
a.type_as(torch.zeros(1, dtype=torch.float32)) | a.astype(np.float32, copy=False) | float views
""")

IN_PLACE = forms("""
a.add_(b) | a + b | exact
a.add_(b, alpha=2) | a + 2 * b | exact
a.sub_(b) | a - b | exact
a.mul_(b) | a * b | exact
a.div_(b) | a / b | b:positive
a += b | a + b | exact
a *= 0.5 | a * 0.5 | exact
a -= 1.0 | a - 1.0 | exact
a.copy_(b) | b | exact
a.fill_(0.5) | np.full_like(a, 0.5) | exact
a.zero_() | np.zeros_like(a) | exact
a.clamp_(-1.0, 1.0) | np.clip(a, -1, 1) | exact | (a - 1) * (a + 1)
a.mul_(2.0) | a * 2.0 | exact
a.neg_() | -a | exact
a.sin_() | np.sin(a)
a.tanh_() | np.tanh(a)
a.relu_() | np.maximum(a, 0) | exact | a
a.sigmoid_() | ref.sigmoid(a)
a.square_() | a * a | exact
a.lerp_(b, 0.5) | a + 0.5 * (b - a) | exact
a.addcmul_(b, b, value=0.5) | a + 0.5 * b * b | exact
a.masked_fill_(m, 0.25) | np.where(m, 0.25, a) | exact
a[{slices}] = 0.75 | ref.put(a, np.s_[{slices}], 0.75) | exact
a[{slices}] = b[{slices}] * 2.0 | ref.put(a, np.s_[{slices}], b[{slices}] * 2.0) | exact same
a[{slices}] *= 2.0 | ref.put(a, np.s_[{slices}], a[{slices}] * 2.0) | exact
a[m] = 0.5 | np.where(m, 0.5, a) | exact masked
a[{positions0}] = 0.25 | ref.put(a, {positions0}, 0.25) | rank1 full exact
a.index_put_(({position_one},), b[:1]) | ref.put(a, {position_one}, b[:1]) | rank1 full same exact
a.scatter_({axis}, {indices}, 0.5) | ref.scatter(a, {axis}, {indices}, 0.5) | rank1 full exact
a.scatter_add_({axis}, {indices}, torch.gather(b, {axis}, {indices})) | ref.scatter(a, {axis}, {indices}, ref.gather(b, {axis}, {indices}), "add") | rank1 full same exact
a.index_add_({axis}, {positions}, torch.index_select(b, {axis}, {positions})) | ref.along(a, {axis}, {positions}, np.take(b, {positions}, {axis}), "add") | rank1 full same exact
a.index_fill_({axis}, {positions}, 0.5) | ref.along(a, {axis}, {positions}, 0.5, "fill") | rank1 full exact
a.tril_() | np.tril(a) | rank2 exact
a.cumsum_({axis}) | np.cumsum(a, {axis}) | rank1 exact
""")
"""The numpy side is the new value of the whole of `a`."""

CREATION = forms("""
torch.zeros({shape}) | np.zeros({shape})
torch.ones({shape}) | np.ones({shape})
torch.full({shape}, 1.5) | np.full({shape}, 1.5)
torch.empty({shape}).fill_(0.5) | np.full({shape}, 0.5)
torch.arange(5.0) | np.arange(5.0)
torch.arange(1.0, 3.0, 0.5) | np.arange(1.0, 3.0, 0.5)
torch.linspace(-1.0, 1.0, 5) | np.linspace(-1.0, 1.0, 5)
torch.logspace(-1.0, 1.0, 3) | np.logspace(-1.0, 1.0, 3)
torch.eye(3) | np.eye(3)
torch.eye(2, 4) | np.eye(2, 4)
torch.tril_indices(3, 3).double() | np.array(np.tril_indices(3)).astype(np.float64)
torch.triu_indices(3, 3).double() | np.array(np.triu_indices(3)).astype(np.float64)
torch.as_tensor(np.arange(3.0)) | np.arange(3.0)
torch.from_numpy(np.arange(4.0)) | np.arange(4.0)
torch.asarray(np.arange(4.0)) | np.arange(4.0)
torch.from_dlpack(np.arange(4.0)) | np.arange(4.0)
torch.frombuffer(np.arange(4.0), dtype=torch.float64) | np.arange(4.0)
torch.tensor([1.0, 2.0]).new_tensor([0.5, 1.5]) | np.array([0.5, 1.5])
torch.empty_like(torch.zeros(3)).zero_() | np.zeros(3)
torch.zeros(3).new_empty((2,)).zero_() | np.zeros(2)
torch.argwhere(torch.tensor([1.0, 0.0, 2.0])).double() | np.array([[0.0], [2.0]])
torch.nonzero(torch.tensor([1.0, 0.0, 2.0])).double() | np.array([[0.0], [2.0]])
""")
