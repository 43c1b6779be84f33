"""Expressions that both libraries evaluate: `torch` is one of them, F its nn.functional, and the tensors those of `operands`."""

from __future__ import annotations

from typing import Any

import numpy as np

SHAPES: dict[str, tuple[int, ...]] = {
    "a": (3, 4), "b": (3, 4), "v": (4,), "u": (3,), "s": (), "c": (2, 3, 4), "d": (2, 4, 5), "q": (4, 4), "z": (0, 4),
}  # fmt: skip


def operands(
    module: Any, seed: int = 0, dtype: str = "float32", grad: bool = True
) -> dict[str, Any]:
    """The tensors of one library, all with numbers in (0, 1), from one seed."""
    draws = np.random.default_rng(seed)
    names: dict[str, Any] = {"torch": module, "F": module.nn.functional}
    for name, shape in SHAPES.items():
        values = np.asarray(draws.random(shape) * 0.98 + 0.01)
        names[name] = module.tensor(values, dtype=getattr(module, dtype))
        if grad:
            names[name].requires_grad_()
    names["i"] = module.tensor([[0, 2, 1], [3, 0, 2]])
    names["k"] = module.tensor([0, 2])
    return names


ARITHMETIC = """
a+b; a+2; 2+a; a+v; a+s; s+a; a-b; 2-a; a-0.5; a*b; a*2; a*c; a/b; a/2; 2/a; a**2; a**b; 2**a; a**0.5; a**1; a**-1; a**3; a**0
a%b; a%2; a%0.3; torch.fmod(a, 0.3); torch.fmod(a, b); a.div(b, rounding_mode='floor'); a.div(0.3, rounding_mode='trunc')
-a; abs(a-0.5); torch.atan2(a, b); torch.hypot(a, b); torch.maximum(a, b); torch.minimum(a, b); torch.max(a, b); torch.lerp(a, b, 0.3)
torch.lerp(a, b, b); torch.addcmul(a, a, b); torch.addcmul(a, a, b, value=2); torch.addcdiv(a, a, b, value=0.5); torch.logaddexp(a, b)
torch.xlogy(a, b); torch.xlogy(a, 2); torch.rsub(a, 2); torch.add(a, b, alpha=2); torch.sub(a, v, alpha=0.5); a.mul(True); torch.pow(2, a)
torch.true_divide(a, b); torch.sub(1, a); a.add(b, alpha=3); z+v; z*2
a.__rtruediv__(b); a.__rpow__(b); a.__rmod__(b); a.__rfloordiv__(b).detach()
"""
UNARY = """
a.exp(); a.exp2(); a.expm1(); a.log(); a.log2(); a.log10(); a.log1p(); a.sqrt(); a.rsqrt(); a.square(); a.sin(); a.cos(); a.tan()
a.asin(); a.acos(); a.atan(); a.sinh(); a.cosh(); a.tanh(); a.asinh(); (a+1).acosh(); a.atanh(); a.erf(); a.erfc(); a.erfinv()
a.lgamma(); a.digamma(); (a*5).floor(); (a*5).ceil(); (a*5).round(); (a*5).trunc(); (a*5).frac(); (a-0.5).sign(); a.reciprocal()
a.sigmoid(); a.logit(); a.logit(0.3); a.nan_to_num(); a.sinc(); torch.deg2rad(a); torch.rad2deg(a); a.round(decimals=1); torch.arctan(a); z.exp()
"""
ACTIVATIONS = """
a.clamp(min=0.5); a.clamp(0.2, 0.6); a.clamp(min=b); a.clamp(b, b+0.1); a.clamp_min(0.5); a.clamp_max(0.5); a.clip(0.1, 0.5)
F.relu(a-0.5); (a-0.5).relu(); F.relu6(a*9-1); F.leaky_relu(a-0.5); F.elu(a-0.5); F.selu(a-0.5); F.celu(a-0.5); F.gelu(a-0.5)
F.gelu(a-0.5, approximate='tanh'); F.silu(a-0.5); F.mish(a-0.5); F.softplus(a*9); F.softplus(a*9, beta=2, threshold=3)
F.hardtanh(a*3-1.5); F.hardsigmoid(a*9-4); F.hardswish(a*9-4); F.softsign(a-0.5); F.tanhshrink(a); F.hardshrink(a-0.5, 0.2)
F.softshrink(a-0.5, 0.2); F.threshold(a, 0.5, 0.1); F.logsigmoid(a-0.5); F.glu(a); F.glu(a, 1); F.prelu(a-0.5, s.view(1)); F.prelu(a-0.5, v)
F.softmax(a, 1); F.log_softmax(a, 0); F.softmin(a, 1); torch.softmax(c, -1); a.softmax(0); F.softmax(s, 0); c.log_softmax(1)
"""
REDUCTIONS = """
a.sum(); a.sum(1); a.sum((0, 1)); a.sum(0, keepdim=True); c.sum((0, 2)); s.sum(); z.sum(0); z.sum(1); a.sum(dim=-1); a.mean(); a.mean(1)
c.mean((1, 2), keepdim=True); a.prod(); a.prod(1); a.amax(); a.amax(1); c.amin((0, 2)); a.max(); a.max(1)[0]; a.max(0, keepdim=True)[0]
a.min(); a.min(1)[0]; a.var(); a.var(1); a.var(1, unbiased=False); a.std(); a.std(0, correction=0); torch.var_mean(a)[1]; torch.std_mean(a, 1)[0]
a.norm(); a.norm(1); a.norm(dim=1); a.norm(p=3, dim=1); a.norm(float('inf')); torch.norm(a); a.logsumexp(1); torch.logsumexp(c, (0, 1))
a.cumsum(0); c.cumsum(-1); a.nansum(); a.nanmean(1); torch.aminmax(a)[0]; torch.trace(q); torch.diff(a); a.mean(dtype=torch.float64); s.max(); s.var(correction=0)
a.sum(axis=1, keepdims=True); torch.max(a, axis=1)[0]; a.cumsum(axis=0); torch.gradient(a, spacing=(u*9+k.sum()*torch.arange(3)*9, v+torch.arange(4)*9), edge_order=2)[0]; torch.dist(a, v, 3)
"""
MOVEMENT = """
a.view(12); a.view(2, -1); a.reshape(12); a.t().reshape(12); a.flatten(); c.flatten(1); a.ravel(); a[None].squeeze(); a.unsqueeze(0); a.squeeze(0)
a[None].squeeze(0); a[None].squeeze((0, 1)); a.t(); a.T; a.mT; a.transpose(0, 1); a.permute(1, 0); c.permute(2, 0, 1); a.expand(2, 3, 4)
s.expand(2, 3); u[:, None].expand(-1, 5); a.expand_as(c); a.repeat(2, 1); a.repeat(2, 1, 3); v.tile(2, 2); torch.cat([a, b]); torch.cat([a, b], 1)
torch.cat([a, b, a], -1); torch.stack([a, b]); torch.stack([a, b], 1); torch.stack([s, s]); a.split(2)[0]; a.split(2)[1]; a.split([1, 2])[1]
a.chunk(2)[0]; a.chunk(2, 1)[1]; a.unbind()[0]; a.unbind(1)[2]; a.narrow(0, 0, 1); a.narrow(1, 1, 2); a.select(0, 0); a.select(1, -1); a.flip(0)
a.flip(0, 1); a.roll(1); a.roll((1, 2), (0, 1)); a.roll(-1, 0); c.movedim(0, 2); a.contiguous(); a.t().contiguous(); a.clone(); a.diagonal(); a.diagonal(1)
c.diagonal(-1, 1, 2); torch.diag(a); torch.diag(v); torch.diag(v, 1); torch.diag_embed(a, -1); a.tril(); a.triu(1); a.unflatten(1, (2, 2)); a.swapaxes(0, 1)
a.view_as(b); a.reshape_as(b.t()); torch.hstack([a, b]); torch.vstack([a, b]); torch.vstack([v, v]); torch.rot90(a); torch.rot90(a, 3); a.repeat_interleave(2)
a.repeat_interleave(2, dim=0); a.broadcast_to(2, 3, 4); torch.broadcast_tensors(a, v)[1]; torch.meshgrid(u, v, indexing='ij')[0]; a.unfold(1, 2, 1); c.unfold(2, 2, 2)
torch.meshgrid(u, v, indexing='xy')[1]; torch.diagflat(v); torch.tensor_split(a, 2)[0]; torch.tensor_split(a, (1, 2), 1)[1]; torch.atleast_2d(v); a.fliplr()
a.hsplit(2)[0]; F.pad(a, (1, 2)); F.pad(a, (1, -1, 0, 2), value=3.0); z.t(); z.reshape(4, 0); torch.cat([z, a]); a.as_strided((2, 2), (4, 1), 1)
a.t().ravel(); a.repeat_interleave(torch.tensor([0, 1, 2]), dim=0); torch.repeat_interleave(torch.tensor([0, 1, 2])); s.unfold(0, 1, 1); torch.diff(a, 2, 0, a, b[:1])
a.repeat(repeats=(2, 1)); a.split(split_size=2, dim=1)[1]; a[1:].as_strided((2, 2), (2, 1), 5); c.sum_to_size(3, 1); torch.dstack([a, b]); torch.column_stack([a, u]); torch.atleast_3d(v)
"""
INDEXING = """
a[0]; a[-1]; a[0:2]; a[::2]; a[1:, 1:3]; a[None]; a[...]; a[:]; a[..., 0]; a[0, 1]; a[::2, 1]; a[:, None, 1]; c[1, ..., 2]; a[k]; a[[0, 2]]; a[:, k]
a[k, k]; c[:, k]; c[0, k]; c[k-1, :, k]; c[:, k, k]; a[k, None]; a[-k]; a[a > 0.5]; a[a[:, 0] > 0.3]; c[:, a > 0.5]; q[i, 0]; v[i]; a[True]; a[k[:, None], k]
a[torch.tensor([True, False, True]), 1]; a[2:0]; a[5:]; v[torch.tensor([], dtype=torch.int64)]
a.gather(1, i[:, :2]); a.gather(0, k[None]); a[:2].scatter(1, i[:, :2], b[:2, :2]); a.scatter(0, torch.tensor([[0]]), 1.); a.scatter_add(1, i, b[:2, :3]); a.index_select(0, k)
a.index_select(1, k); a.masked_fill(a > 0.5, 0); a.masked_fill(a > 0.5, s); a.masked_fill(v > 0.5, -1); torch.where(a > 0.5, a, b); torch.where(a > 0.5, a, 0.)
torch.where(v > 0.5, 1., a); a.where(a > 0.5, b); torch.take_along_dim(a, i[:1, :1], 1); F.embedding(k, a); F.embedding(i[0], q, padding_idx=1); a.take(i)
a.index_add(0, k, b[:2]); a.index_copy(1, k, b[:, :2]); a.index_fill(0, k, 7.); a.index_put((k,), v); a.index_put((k, k), s, accumulate=True); a.masked_select(a > 0.5)
a.masked_scatter(a > 0.5, b); s.index_add(0, k[:1], s, alpha=2); s.index_copy(0, k[:1], a[0, :1]); s.index_fill(0, k[:1], 2.); v.index_fill(0, k, s)
v.gather(0, k[:0].to(torch.uint8))
"""
PRODUCTS = """
torch.matmul(a, q); a.mm(q); a@v; u@a; v@v; c@d; c@v; v@d; a@d; c@q; c[:, None]@d; c.bmm(d); a.mv(v); v.dot(v); torch.addmm(u[:, None], a, q)
torch.addmm(a, a, q, beta=0.5, alpha=2); torch.addmv(u, a, v); torch.baddbmm(c[:, :, :1], c, d); torch.outer(u, v); torch.inner(a, b)
F.linear(a, q); F.linear(a, q, v); F.linear(c, q); F.linear(c, q, v); F.linear(v, q, v); F.linear(v, q); F.linear(v, a); z@q; z.t()@z; a.T@a
torch.einsum(a, [0, 1], q, [1, 2], [2, 0]); torch.einsum(c, [..., 0], [...])
"""
LOSSES = """
F.binary_cross_entropy(a, b.detach()); F.binary_cross_entropy(a, b.detach(), weight=v.detach(), reduction='sum'); F.binary_cross_entropy_with_logits(a, b.detach())
F.binary_cross_entropy_with_logits(a*9-4, b.detach(), pos_weight=v.detach()); F.cross_entropy(a, torch.tensor([0, 1, 2])); F.mse_loss(a, b, reduction='none')
F.cross_entropy(a, torch.tensor([0, 1, 2]), weight=v.detach()); F.cross_entropy(a, torch.tensor([0, -100, 2])); F.cross_entropy(a, torch.tensor([0, 1, 2]), reduction='none')
F.cross_entropy(v, torch.tensor(2)); F.nll_loss(a, torch.tensor([0, 1, 2])); F.mse_loss(a, b); F.mse_loss(a, b, reduction='sum'); F.l1_loss(a, b); F.smooth_l1_loss(a, b, beta=0.2)
F.huber_loss(a, b, delta=0.3); F.kl_div(a, b); F.kl_div(a, b, reduction='batchmean', log_target=True); F.layer_norm(a, (4,)); F.layer_norm(c, (3, 4), a, b); F.dropout(a, 0.5, False)
F.normalize(a); F.cosine_similarity(a, b); F.group_norm(c, 1); F.poisson_nll_loss(a, b); F.hinge_embedding_loss(a, b); F.margin_ranking_loss(u, u*2, u, margin=0.1)
"""
CASTING = """
a.double(); a.to(torch.float64); a.type(torch.float64); a.half(); a.bfloat16(); a.double()+a; a.half()+a; a.half()*a.bfloat16(); a*k.sum(); a.to(b.double()); a.type('torch.DoubleTensor')
"""
INPLACE = """
x.add_(1); x.sub_(1); x.mul_(b); x.mul_(2); x.div_(2); x.zero_(); x.fill_(1); x.fill_(s); x.copy_(b); x.copy_(v); x.clamp_(0, 0.5); x.pow_(2); x.exp_(); x.add_(b, alpha=2)
x.masked_fill_(a > 0.5, 0); x.neg_(); x.relu_(); x.addcmul_(a, b); x.lerp_(b, .5); x.index_add_(0, k, b[:2]); x.scatter_(0, torch.tensor([[0]]), 1.); x.sqrt_(); x.tril_(); x.floor_()
x.round_(); x.index_put_((k,), v); x.sigmoid_(); x.tanh_(); x.addcdiv_(a, b, value=2.); x.addmm_(a, q); x.__setitem__(0, v); x.__setitem__(a > 0.5, 0); x.__setitem__(k, v)
x.__setitem__((0, 0), s); x.__setitem__((slice(None), k), s); x.__iadd__(b); x.__imul__(2); x.__setitem__(a > 0.5, v[0]); x.masked_fill_(a > 0.5, s)
"""


def split(table: str) -> list[str]:
    """The expressions of a table."""
    found: list[str] = []
    for line in table.strip().splitlines():
        found.extend(each.strip() for each in line.split("; ") if each.strip())
    return found
