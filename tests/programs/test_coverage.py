"""Every operator and every rule: what the tables of operations.py reach, and the few programs that reach the rest."""

from __future__ import annotations

import random
import re
from typing import Any

import numpy as np
import pytest

import lazygrad
import lazygrad.composites
from lazygrad import config
from lazygrad.codegen.target import host
from lazygrad.functional.registry import FUNCTIONS, METHODS, NN_FUNCTIONS, OPERATORS
from lazygrad.ir.rewrite import TABLES

from . import operations, sweep
from .execute import check
from .generator import write

FORMS = {f"{number}: {form.torch}": form for number, form in enumerate(sweep.FORMS)}
PARTS = 6
RANDOM = 60

MORE = {
    "half types": "a.half().exp().sum() + a.half().square().sum() + (a.half() * a.half()).sum(0).sum()",
    "integer powers": "(i ** i.abs()).double().sum()",
    "chains of movement": "F.pad(F.pad(a, [1, 0]), [0, 2]).sum() + torch.arange(9.0)[2:6].flip(0).sum() * a.sum()",
    "integers": "((i + 1) + 1).double().sum() + i.bitwise_or(-1).double().sum() + (torch.arange(6)[2:5] + torch.arange(3).flip(0)).double().sum()",
    "sums of sums": "a.sum(0, keepdim=True).sum(1).exp().sum() + a[:1].expand(3, 4).t().contiguous().exp().sum()",
    "a choice turned": "torch.where(~m, a, a * 2).sum()",
    "remainders of one": "(i % 1).double().sum() * a.sum()",
    "rounding twice": "a.floor().floor().sum() * a.sum()",
    "choices": "torch.where(m, torch.where(m, a, a * 2), a * 3).sum()",
    "choices of truths": "a.masked_fill(torch.where(m, torch.ones_like(m), torch.zeros_like(m)), 0.0).sum()",
    "windows that overlap": "(a.unfold(1, 3, 1) * a.unfold(1, 3, 1)).sum()",
    "a product scattered": "a.detach().scatter(0, i.abs() % 3, 2.0, reduce='multiply').sum() * a.sum()",
    "another device": "a.to('interpret').square().sum().to('cpu') + a.to('cpu').sum()",
    "nothing written": "(a * 1).index_copy(0, torch.zeros(0, dtype=torch.int64), a[:0]).sum()",
    "attention": "F.scaled_dot_product_attention(a[None], a[None] * 2, a[None], attn_mask=m[:, :3]).sum()",
    "rows that are chosen often": "F.embedding(i.abs() % 3, a, scale_grad_by_freq=True).square().sum()",
    "solving": "(p := a @ a.t() + torch.eye(3).double()).inverse().sum() + p.cholesky().sum() + p.det() + p.logdet() + p.slogdet()[1]"
    " + a.cholesky_solve(p).sum() + p.cholesky_inverse().sum() + p.pinverse().sum() + a.t().pinverse().sum() + a.triangular_solve(p)[0].sum()"
    " + torch.linalg.solve(p, a).sum() + p.matrix_power(2).sum() + torch.chain_matmul(p, a).sum()",
    "factorizations": "a.qr()[0].square().sum() + a.t().qr()[1].square().sum() + a.svd()[0].square().sum() + a.t().svd()[2].square().sum()"
    " + (torch.linalg.eigh(a @ a.t())[1] ** 2)[0].sum() + torch.svd_lowrank(a, 3)[1].sum() + torch.pca_lowrank(a, 2)[1].sum() + torch.lobpcg(a @ a.t())[0].sum()",
    "products and distances": "torch.cdist(a, a * 2, p=3.0).sum() + F.pdist(a).sum() + a.kron(a).sum() + torch.vander(a[0]).sum()"
    " + a[:, :3].cross(a[:, :3].flip(1), 1).sum() + a.renorm(2, 0, 1.5).sum() + a.cov().square().sum() + a.corrcoef().sum()",
    "pieces": "(torch.block_diag(a, a) ** 2).sum() + (torch.cartesian_prod(a[0], a[1]) ** 2).sum() + (torch.combinations(a[0]) ** 2).sum()"
    " + torch.addr(a, a[:, 0], a[0]).sum() + torch.addbmm(a, a[None, :, :3], a[None]).sum()",
    "convolutions": "F.conv2d(a[None, None], a[None, None, :2, :2]).square().sum()",
    "pools": "F.max_pool2d(a[None], 2).square().sum() + F.avg_pool2d(a[None], 2, 1, 1).square().sum() "
    "+ F.adaptive_avg_pool2d(a[None], 2).square().sum() + F.adaptive_max_pool2d(a[None], 2).square().sum()",
    "pictures": "F.pixel_shuffle(a.reshape(4, 3, 1), 2).square().sum() + F.channel_shuffle(a[None], 3).square().sum()",
    "norms of channels": "F.batch_norm(a, None, None, training=True).pow(3).sum() + F.instance_norm(a[None]).pow(3).sum()",
    "triangles": "(p := a @ a.t() + torch.eye(3).double()).matrix_exp().sum() + p.lu()[0].square().sum() + a.lu()[0].square().sum()"
    " + a.t().lu()[0].square().sum() + torch.lu_unpack(*torch.lu(p))[1].square().sum() + a.lu_solve(*torch.lu(p)).sum()"
    " + (p.geqrf()[0] * a[:, :3]).sum() + torch.orgqr(a.t(), a[0, :2]).square().sum() + torch.ormqr(a.t(), a[0, : a.shape[0]], a.t()).square().sum()",
    "resampling": "F.interpolate(a[None, None], size=(2, 3), mode='bicubic', antialias=True).square().sum()"
    " + (F.interpolate((i.abs() * 20).to(torch.uint8)[None, None], size=(2, 3), mode='bilinear').double() * a[:2, :3]).sum()",
    "Bessel's functions": "torch.special.bessel_j0(a).sum() + torch.special.bessel_y1(a + 3).sum() + torch.special.modified_bessel_k0(a + 3).sum()"
    " + torch.special.airy_ai(a).sum() + torch.special.spherical_bessel_j0(a).sum() + torch.special.legendre_polynomial_p(a, 5).sum()",
    "special functions": "torch.i0(a).sum() + torch.special.i1e(a).sum() + torch.special.erfcx(a).sum() + torch.special.entr(a).sum()"
    " + torch.special.log_ndtr(a).sum() + torch.special.ndtri(a / 4).sum() + torch.special.zeta(2.5, a).sum() + a.polygamma(2).sum()"
    " + torch.mvlgamma(a + 2, 2).sum() + torch.special.xlog1py(a, a).sum()"
    " + torch.igamma(a.detach() + 1, a).sum() + torch.igammac(a.detach() + 1, a * 3).sum()",
    "draws": "(torch.manual_seed(0), torch._standard_gamma(a).sum())[1]",
    "pairs": "torch.copysign(a, -a.detach()).square().sum() + torch.fmax(a, a.flip(0)).square().sum() + torch.fmin(a, a.flip(1)).square().sum()"
    " + torch.float_power(a, 2.5).sum() + torch.ldexp(a, a.detach()).sum() + torch.logaddexp2(a, a * 2).sum() + torch.nextafter(a, a * 2).square().sum()"
    " + (torch.heaviside(a, a) * a).sum() + torch.frexp(a)[0].square().sum() + (torch.gcd(i, i + 1) * a).sum() + (torch.lcm(i, i) * a).sum()"
    " + a.clone().float_power_(1.5).sum()",
    "parts": "torch.select_scatter(a, a[0] * 2, 0, 1).square().sum() + torch.slice_scatter(a, a[:1] * 2, 0, 1, 2).square().sum()"
    " + torch.diagonal_scatter(a, a[0, :3] ** 2).sum() + torch.as_strided_scatter(a, a[0], (4,), (2,)).square().sum()"
    " + torch.put(a, i.abs(), a * 2).square().sum() + a.index_reduce(0, i[0, :2].abs() % 3, a[:2], 'prod').square().sum()"
    " + a.clone().fill_diagonal_(2.0).square().sum() + a.clone().put_(i.abs(), a).square().sum()",
    "stacks": "torch.dstack([a, a * 2]).square().sum() + torch.column_stack([a, a[:, 0]]).square().sum() + a.reshape(1, 3, 4).dsplit(2)[1].square().sum()"
    " + torch.atleast_3d(a)[0].square().sum() + torch.conj_physical(a).sum() * torch.real(a).sum() * torch.angle(a).sum() * torch.isreal(a).sum() * a.conj().real.square().sum()",
    "tapers": "(torch.hann_window(4, dtype=torch.float64) + torch.hamming_window(4, dtype=torch.float64) + torch.blackman_window(4, dtype=torch.float64)"
    " + torch.bartlett_window(4, dtype=torch.float64) + torch.kaiser_window(4, dtype=torch.float64))"
    " @ a.t().square().sum(1)",
    "memory": "a.clone()[1:].as_strided((2, 3), (2, 1), 1).square().sum() + a.reshape(-1).sum_to_size(1).square().sum() + (a * 2).adjoint().square().sum()"
    " + (a.detach().clone().as_strided_((2, 2), (4, 1)).sum() + a.detach().clone().resize_(2, 2).sum() + torch.empty_strided((2, 3), (1, 2)).fill_(2).sum()"
    " + torch.empty_permuted((2, 3), (1, 0)).fill_(2).sum() + a.new_empty_strided((2, 2), (1, 2)).fill_(2).sum() + a.clone().detach().set_(i.double()).sum()"
    " + a.detach().clone().resize_as_(i).sum()) * a.sum()",
    "differences": "torch.gradient(a, edge_order=2)[1].square().sum() + torch.dist(a, a[0] * 2, 3.0) + torch.nuclear_norm(a) + torch.frobenius_norm(a)"
    " + torch.norm_except_dim(a).square().sum() + a.hardshrink(0.8).square().sum()",
    "copies": "torch.view_copy(a, (12,)).square().sum() + torch.permute_copy(a, (1, 0)).pow(3).sum() + torch.as_strided_copy(a, (2, 2), (4, 1)).square().sum()"
    " + torch.diagonal_copy(a).square().sum() + torch.expand_copy(a, (2, 3, 4)).square().sum() + torch.select_copy(a, 0, 1).square().sum()"
    " + torch.split_copy(a, 2)[0].square().sum() + torch.split_with_sizes_copy(a, [1, 2])[1].square().sum() + torch.squeeze_copy(a).square().sum()"
    " + torch.t_copy(a).square().sum() + torch.transpose_copy(a, 0, 1).square().sum() + torch.unbind_copy(a)[0].square().sum()"
    " + torch.unfold_copy(a, 0, 2, 1).square().sum() + torch.unsqueeze_copy(a, 0).square().sum() + torch.alias_copy(a).square().sum()"
    " + torch.slice_copy(a, 0, 1).square().sum() + torch.narrow_copy(a, 0, 0, 1).square().sum() + torch.detach_copy(a).sum() * a.sum()"
    " + torch.unsafe_split(a, 2)[0].square().sum() + torch.unsafe_chunk(a, 2)[1].square().sum() + torch.unsafe_split_with_sizes(a, [1, 2])[0].square().sum()"
    " + torch.detach(a).sum() * a.sum()",
    "positions": "(torch.unravel_index(i.abs(), (2, 9))[1].sum() + torch.nonzero_static(i, size=4).sum() + torch.histogram(a.detach(), 3)[0].sum()"
    " + torch.histogramdd(a.detach(), [2, 2, 1, 1])[0].sum() + torch.range(1, 4).sum() + torch.scalar_tensor(2.0) + a.new(2).fill_(1).sum()) * a.sum()",
    "orders": "a.sort(1)[0].square().sum() + a.msort().pow(3).sum() + (a.argsort(1) * a).sum() + a.topk(2)[0].square().sum()"
    " + a.kthvalue(2)[0].square().sum() + a.mode()[0].square().sum() + a[:, :1].sort(1)[0].square().sum()",
    "middles": "a.median() ** 2 + a.nanmedian(1)[0].square().sum() + a.quantile(0.3, 1).square().sum() + a.nanquantile(0.7) ** 2",
    "running": "a.cummax(1)[0].square().sum() + a.cummin(0)[0].square().sum() + a.logcumsumexp(1).square().sum()"
    " + torch.cumulative_trapezoid(a).square().sum() + torch.trapezoid(a).square().sum()",
    "counts": "(torch.bincount(i.abs().flatten()).sum() + torch.isin(i, i[0]).sum() + a.detach().histc(4).sum()) * a.sum()"
    " + (torch.searchsorted(a.detach().sort(1)[0], a) * a).sum() + (torch.bucketize(a, torch.tensor([0.7, 1.2]).double()) * a).sum()"
    " + (i.unique().sum() + i.flatten().unique_consecutive().sum()) * a.sum()",
    "scattered extremes": "a.scatter_reduce(1, i.abs() % 4, a * 2, 'amax').square().sum() + torch.fill(a, 2.0).sum()",
    "views in place": "(a * 1).t_().transpose_(0, 1).unsqueeze_(0).squeeze_(0).square().sum()",
    "convolutions of every rank": "F.conv1d(a[None], a[None, :, :2]).square().sum() + F.conv_transpose1d(a[None], a[:, None, :2]).square().sum()"
    " + F.conv3d(a[None, None, None], a[None, None, None, :2, :2]).square().sum()"
    " + F.conv_transpose2d(a[None, None], a[None, None, :2, :2]).square().sum()"
    " + F.conv_transpose3d(a[None, None, None], a[None, None, None, :2, :2]).square().sum()",
    "pools along one axis": "F.max_pool1d(a, 2).square().sum() + F.max_pool1d_with_indices(a, 2)[0].square().sum() + F.avg_pool1d(a, 2).square().sum()"
    " + F.lp_pool1d(a, 2.0, 2).sum() + F.adaptive_avg_pool1d(a, 2).square().sum() + F.adaptive_max_pool1d(a, 2).square().sum()"
    " + F.adaptive_max_pool1d_with_indices(a, 2)[0].square().sum()"
    " + F.max_unpool1d(*F.max_pool1d(a, 2, return_indices=True), 2).square().sum()",
    "pools in space": "F.max_pool3d(a[None, None], (1, 1, 2)).square().sum() + F.max_pool3d_with_indices(a[None, None], (1, 1, 2))[0].square().sum()"
    " + F.avg_pool3d(a[None, None], (1, 1, 2)).square().sum() + F.lp_pool3d(a[None, None], 2.0, (1, 1, 2)).sum()"
    " + F.lp_pool2d(a[None], 2.0, 2).sum() + F.adaptive_avg_pool3d(a[None, None], (1, 1, 2)).square().sum()"
    " + F.adaptive_max_pool3d(a[None, None], (1, 1, 2)).square().sum() + F.max_pool2d_with_indices(a[None], 2)[0].square().sum()"
    " + F.adaptive_max_pool2d_with_indices(a[None], 2)[0].square().sum()"
    " + F.adaptive_max_pool3d_with_indices(a[None, None], (1, 1, 2))[0].square().sum()"
    " + F.max_unpool2d(*F.max_pool2d(a[None], (1, 2), return_indices=True), (1, 2)).square().sum()"
    " + F.max_unpool3d(*F.max_pool3d(a[None, None], (1, 1, 2), return_indices=True), (1, 1, 2)).square().sum()",
    "margins": "F.cosine_embedding_loss(a, a.flip(0), i[:, 0].sign() * 2 + 1) + F.soft_margin_loss(a, i.sign().double())"
    " + F.multi_margin_loss(a, i[:, 0].abs() % 4) + F.multilabel_margin_loss(a, i.abs() % 4) + F.multilabel_soft_margin_loss(a, m.double())"
    " + F.linear_cross_entropy(a, a, i[:, 0].abs() % 3) + F.triplet_margin_loss(a, a * 2, a.flip(0)) + F.triplet_margin_with_distance_loss(a, a * 2, a.flip(0))"
    " + F.gaussian_nll_loss(a, a * 2, a)",
    "pools of random windows": "F.fractional_max_pool2d(a[None], 2, output_size=(1, 2), _random_samples=torch.full((1, 1, 2), 0.5).double()).square().sum()"
    " + F.fractional_max_pool3d(a.reshape(1, 2, 2, 3), 1, output_size=(1, 1, 2), _random_samples=torch.full((1, 1, 3), 0.5).double()).square().sum()",
    "alignments": "F.ctc_loss(a.log_softmax(1), torch.tensor([1, 2]), torch.tensor(3), torch.tensor(2))",
    "cells": "torch.gru_cell(a[:, :2], a[:, 2:], torch.ones(6, 2).double(), torch.ones(6, 2).double()).square().sum()"
    " + torch.lstm_cell(a[:, :2], (a[:, 2:], a[:, 2:]), torch.ones(8, 2).double(), torch.ones(8, 2).double())[0].square().sum()"
    " + torch.rnn_relu_cell(a[:, :2], a[:, 2:], torch.ones(2, 2).double(), torch.ones(2, 2).double()).square().sum()"
    " + torch.rnn_tanh_cell(a[:, :2], a[:, 2:], torch.ones(2, 2).double(), torch.ones(2, 2).double()).square().sum()",
    "a recurrent layer": "(torch.manual_seed(0), torch.nn.LSTM(2, 2).double()(a.reshape(6, 1, 2))[0].square().sum())[1]",
    "bags": "F.embedding_bag(i.abs() % 3, a, mode='mean').square().sum() + F.bilinear(a, a, torch.ones(2, 4, 4).double()).sum()"
    " + F.local_response_norm(a[None], 2).square().sum() + F.pixel_unshuffle(a[None, :2], 2).square().sum()",
    "tiles that are turned": "(a.repeat(32, 24) @ torch.tensor([[0.5, 0.25] * 48] * 96, dtype=torch.float64).t()).square().sum()",
    "names": "torch.addmm(a, a, torch.eye(4).double()).sum() + a.subtract(1).multiply(2).sum()",
}
"""Programs of lazygrad that reach what the tables do not; their gradients are taken twice."""

UNREACHED = {
    # rules that tensors cannot reach; their tests build nodes (one_of_row is what `one_of` is when it is mapped: tests/func)
    "reverse gradient": {
        "fused_multiply_add",
        "running_extreme",
        "scatter_extreme",
        "scatter_product",
    },
    "reverse gradient of composites": {"cross_entropy_reverse", "one_of_row_reverse"},
    "simplify": {"same_type", "stop", "copy_to_itself", "update_of_nothing", "choice_of_truths"},
    "math": {"half_fma"},
    "interpret": {"same_value", "gradient", "host_results", "element"},
    "llvm values": {"bool_arithmetic", "sign", "reciprocal_root"},
}
"""Rules that no tensor program fires: `tests/gradient`, `tests/schedule`, `tests/ir` and `tests/codegen` build nodes for them."""

NARROW = host().vector_bytes < 32
"""Whether registers are too short for tiles that are turned in them (LAZYGRAD_ARCH=sse4.2)."""
ELSEWHERE = ("forward gradient", "batching", "C values", "sums of products in two steps")
"""Tables whose rules tests/func tries each, and those of other devices (tests/devices)."""

NOT_TENSORS = {
    # operators that are not functions of tensors, or read or draw values, or are a whole module (tests/nn)
    "result_type", "promote_types", "can_cast", "is_floating_point", "is_complex", "is_tensor", "numel", "is_nonzero",
    "is_same_size", "broadcast_shapes", "allclose", "equal", "rand", "randn", "rand_like", "randn_like", "randint",
    "randint_like", "randperm", "normal", "bernoulli", "multinomial", "tensor", "Tensor.cpu", "Tensor.cuda", "Tensor.is_signed", "Tensor.pin_memory",
    "Tensor.type", "multi_head_attention_forward", "alpha_dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout",
    "Tensor.is_shared", "Tensor.is_set_to", "Tensor.share_memory_", "gumbel_softmax", "rrelu", "from_file", "Tensor.to_device",
    "is_inference", "is_distributed", "get_device", "Tensor.is_pinned", "is_signed", "poisson", "binomial", "_sample_dirichlet", "Tensor.geometric_", "Tensor.cauchy_",
    "Tensor.log_normal_", "Tensor.apply_", "Tensor.map_", "Tensor.map2_", "imag", "is_conj", "Tensor.conj_physical_",
}  # fmt: skip


@pytest.mark.parametrize("part", range(PARTS))
def test_each_operator_alone(part: int) -> None:
    """Each line of the tables, on a tensor that suits it, with first and second gradients."""
    for form in list(FORMS.values())[part::PARTS]:
        made = list(sweep.programs_of(form))
        assert made, f"no tensor suits {form.torch}"
        for program in made:
            check(program)


def outcome(text: str, device: str) -> list[Any]:
    with config.override(device=device):
        draws = np.random.default_rng(0)
        a = lazygrad.tensor(draws.uniform(0.5, 1.5, (3, 4)), requires_grad=True)
        names: dict[str, Any] = {
            "torch": lazygrad,
            "F": lazygrad.nn.functional,
            "a": a,
            "i": lazygrad.tensor(draws.integers(-3, 4, (3, 4))),
            "m": lazygrad.tensor(draws.integers(0, 2, (3, 4)) > 0),
        }
        result = eval(text, names)
        values = [result.tolist()]
        if result.requires_grad:
            (first,) = lazygrad.autograd.grad(result, a, create_graph=True)
            assert first is not None
            values.append(first.tolist())
            if first.requires_grad:
                (second,) = lazygrad.autograd.grad(first.sum(), a)
                assert second is not None
                values.append(second.tolist())
        return values


@pytest.mark.parametrize("name", MORE)
def test_what_the_tables_do_not_reach(name: str) -> None:
    cpu, interpreted = outcome(MORE[name], "cpu"), outcome(MORE[name], "interpret")
    assert len(cpu) == len(interpreted)
    for left, right in zip(cpu, interpreted, strict=True):
        np.testing.assert_allclose(left, right, 2e-3 if "half" in name else 1e-9, 1e-9)


@pytest.mark.parametrize("form", operations.CREATION, ids=[f.torch for f in operations.CREATION])
def test_creation(form: operations.Form) -> None:
    text = form.torch.replace("{shape}", "(2, 0, 3)"), form.numpy.replace("{shape}", "(2, 0, 3)")
    for device in ("cpu", "interpret"):
        with config.override(device=device):
            made = eval(text[0], {"torch": lazygrad, "np": np})
        expected = eval(text[1], {"np": np})
        assert tuple(made.shape) == expected.shape
        np.testing.assert_allclose(np.array(made.tolist()).reshape(expected.shape), expected, 1e-6)


def test_every_rule_has_fired() -> None:
    """After the tests above: a rule that fires nowhere is dead, or its program is missing here."""
    if not all(rule.hits for rule in TABLES["inline composites"].all_rules()):
        pytest.fail("this test counts what the tests of its module fire: run them together")
    for number in range(RANDOM):
        draws = random.Random(number)
        check(write([draws.randrange(1, 2**32) for _ in range(25)]))
    for name, table in TABLES.items():
        if name.startswith(ELSEWHERE):
            continue
        unfired = {rule.name for rule in table.all_rules() if not rule.hits}
        if name == "llvm values" and NARROW:
            unfired.discard("shuffle")
        assert unfired <= UNREACHED.get(name, set()), f"{name}: no program fires {sorted(unfired)}"


def test_every_operator_is_in_a_program() -> None:
    texts = [form.torch for form in (*sweep.FORMS, *operations.CREATION)] + list(MORE.values())
    called: set[int] = set()
    for text in texts:
        for owner, name in re.findall(r"(\w*)\.(\w+)", text):
            for table in (FUNCTIONS, NN_FUNCTIONS, METHODS):
                if name in table and (table is METHODS) == (owner not in ("torch", "F")):
                    called.add(id(table[name]))
                in_place = name.removesuffix("_")
                if in_place != name and in_place in METHODS:
                    called.add(id(METHODS[in_place]))
    missing = {
        name
        for name, operator in OPERATORS.items()
        if (operator.functions or operator.methods or operator.nn)
        and not name.startswith(("Tensor.__", "__r", "nn."))
        and name not in NOT_TENSORS
        and id(operator.function) not in called
    }
    assert not missing, "\n".join(sorted(missing))
