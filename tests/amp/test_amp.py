"""autocast computes what PyTorch computes in the dtypes that PyTorch's lists say, and GradScaler scales, skips and grows as PyTorch's."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.functional.autocasting import CPU, GPU
from lazygrad.functional.registry import OPERATORS

EXPRESSIONS = """
m.mm(a, b) | a @ b | a.mm(b) | m.bmm(c, c) | m.addmm(a, a, b) | m.addbmm(a, c, c) | m.baddbmm(c, c, c) | F.linear(a, b, v) | m.linalg.vecdot(a, b)
m.einsum('ij,jk->ik', a, b) | m.tensordot(a, b, 1) | m.inner(a, b) | m.outer(v, v) | m.mv(a, v) | m.dot(v, v) | m.chain_matmul(a, b, a) | m.cov(a)
m.linalg.multi_dot([a, b, a]) | m.linalg.matrix_power(a, 3) | m.addmv(v, a, v) | m.addr(a, v, v) | m.kron(a, b) | F.conv1d(c, c) | F.conv2d(d, d)
F.conv_transpose2d(d, d) | F.prelu(a, v[:1]) | F.scaled_dot_product_attention(c, c, c) | F.mse_loss(a, b) | F.smooth_l1_loss(a, b) | F.kl_div(a, b)
F.cross_entropy(a, i) | F.nll_loss(a, i) | F.multi_margin_loss(a, i) | F.multilabel_margin_loss(a, j) | F.multilabel_soft_margin_loss(a, b)
F.triplet_margin_loss(a, b, a) | F.gaussian_nll_loss(a, b, a.abs()) | F.binary_cross_entropy_with_logits(a, b) | F.cosine_embedding_loss(a, b, v)
F.avg_pool2d(d, 2) | F.avg_pool3d(d, 2) | F.max_pool3d(d, 2) | F.max_pool2d(d, 2) | F.adaptive_avg_pool3d(d, 1) | F.grid_sample(d, g) | m.prod(a)
m.quantile(v, 0.5) | m.cdist(a, b) | m.trace(a) | m.linalg.inv(a) | m.linalg.solve(a, b) | m.linalg.svdvals(a) | m.linalg.qr(a)[0]
m.cat([a, b]) | m.cat([a, w]) | m.stack([a, w]) | m.stack([w, w]) | m.index_copy(a, 0, i, w) | a + w | m.exp(a) | m.softmax(a, 0) | m.sum(a) | m.mean(a)
F.layer_norm(a, (3,)) | F.gelu(a) | F.pad(a, (1, 1)) | F.pad(c, (1, 1), mode='reflect') | F.interpolate(d, scale_factor=2) | F.embedding(i, a)
m.nn.LSTMCell(3, 3)(a)[0] | m.nn.GRUCell(3, 3)(a) | m.nn.GRU(3, 4)(a)[0] | m.nn.MultiheadAttention(3, 1)(a, a, a)[0] | m.nn.Linear(3, 3)(a)
m.nn.TransformerEncoderLayer(3, 1)(c) | m.nn.Sequential(m.nn.Linear(3, 3), m.nn.LayerNorm(3), m.nn.Linear(3, 3))(a) | m.nn.BatchNorm2d(3)(d)
m.mm(a.double(), b.double()) | a.addmm_(a, a) | m.where(a > 0, a, w)
"""


def dtype_of(m: Any, dtype: str, text: str) -> str:
    def given(*shape: int) -> Any:
        count = int(np.prod(shape))
        return (m.arange(count).float().reshape(shape).sin() / 2).to(getattr(m, dtype))

    names = {
        "m": m, "F": m.nn.functional, "a": (given(3, 3) + m.eye(3) * 2).to(getattr(m, dtype)), "b": given(3, 3), "c": given(3, 3, 3),
        "d": given(3, 3, 3, 3), "v": given(3), "g": given(3, 2, 2, 2), "w": given(3, 3).to(m.bfloat16), "i": m.tensor([0, 1, 2]),
        "j": m.tensor([[0, -1, -1]] * 3),
    }  # fmt: skip
    with m.autocast("cpu"):
        return str(eval(text, names).dtype)


def test_dtypes_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    texts = [text.strip() for line in EXPRESSIONS.strip().splitlines() for text in line.split("|")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for text in texts:
            for dtype in ("float32", "bfloat16"):
                assert dtype_of(lg, dtype, text) == dtype_of(torch, dtype, text), (text, dtype)


def test_the_lists_name_operators_that_exist() -> None:
    assert not (CPU.keys() | GPU.keys()) - OPERATORS.keys()


def test_values_and_gradients() -> None:
    torch = pytest.importorskip("torch")
    found = []
    for m in (lg, torch):
        x, target = (m.arange(24.0).view(4, 6) / 10).sin(), m.tensor([0, 1, 2, 1])
        w = ((m.arange(18.0).view(3, 6) / 7).cos()).requires_grad_()
        with m.autocast("cpu", dtype=m.bfloat16):
            hidden = m.nn.functional.linear(x, w)
            with m.autocast("cpu", enabled=False):
                assert (hidden.float() @ w).dtype is m.float32
            loss = m.nn.functional.cross_entropy(hidden, target)
        assert hidden.dtype is m.bfloat16 and loss.dtype is m.float32
        loss.backward()
        assert w.grad.dtype is m.float32
        found.append((loss.item(), w.grad.tolist()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-3)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=4e-3)


def test_blocks_nest_and_threads_have_their_own() -> None:
    a = lg.ones(2, 2)
    seen: list[Any] = []
    with lg.autocast("cpu"), lg.autocast("cpu", dtype=lg.float16) as inner:
        assert lg.is_autocast_enabled("cpu") and lg.get_autocast_dtype("cpu") is lg.float16
        assert (a @ a).dtype is lg.float16 and inner.fast_dtype is lg.float16
        with inner:
            assert (a @ a).dtype is lg.float16
        thread = threading.Thread(target=lambda: seen.append((a @ a).dtype))
        thread.start()
        thread.join()
        with pytest.raises(RuntimeError, match="sizes"):
            a @ lg.ones(3, 3)
        assert (a @ a).dtype is lg.float16
        with lg.autocast("opencl"):
            assert (a @ a).dtype is lg.float16
    assert seen == [lg.float32] and (a @ a).dtype is lg.float32
    assert not lg.is_autocast_enabled("cpu") and lg.get_autocast_dtype("cpu") is lg.bfloat16

    def square(x: Any) -> Any:
        return x @ x

    product = lg.amp.autocast("cpu")(square)

    assert product(a).dtype is lg.bfloat16 and product.__name__ == "square"
    with pytest.raises(RuntimeError, match="unsupported autocast device_type 'tpu'"):
        lg.autocast("tpu")
    with pytest.raises(ValueError, match="Expected `device_type`"):
        lg.autocast(lg.float16)  # type: ignore[arg-type]
    with (
        pytest.warns(UserWarning, match="target dtype is not supported"),
        lg.autocast("cpu", lg.float32),
    ):
        assert (a @ a).dtype is lg.float32
    lg.set_autocast_enabled("cpu", True)
    try:
        assert (a @ a).dtype is lg.bfloat16
    finally:
        lg.set_autocast_enabled("cpu", False)


def test_functions_with_their_own_casts() -> None:
    class Product(lg.autograd.Function):
        @staticmethod
        @lg.amp.custom_fwd(device_type="cpu", cast_inputs=lg.float32)  # type: ignore[untyped-decorator]
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            ctx.save_for_backward(x, y)
            seen.append((x.dtype, lg.is_autocast_enabled("cpu")))
            return x @ y

        @staticmethod
        @lg.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
        def backward(ctx: Any, grad: Any) -> Any:
            x, y = ctx.saved_tensors
            seen.append((grad.dtype, lg.is_autocast_enabled("cpu")))
            return grad @ y.t(), x.t() @ grad

    seen: list[Any] = []
    x = lg.ones(2, 2, dtype=lg.bfloat16, requires_grad=True)
    with lg.autocast("cpu"):
        out = Product.apply(x, x)
    out.sum().backward()
    assert seen == [(lg.float32, False)] * 2 and out.dtype is lg.float32
    seen.clear()
    assert Product.apply(x, x).dtype is lg.bfloat16 and seen == [(lg.bfloat16, False)]


def steps(m: Any) -> list[Any]:
    """Scales and weights over steps, one of which overflows, with an unscale_ and a clip between."""
    w = m.nn.Parameter(m.tensor([1.0, -2.0]))
    optimizer = m.optim.SGD([w], lr=0.03)
    scaler = m.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    found: list[Any] = []
    for number in range(6):
        optimizer.zero_grad()
        factor = float("inf") if number == 3 else 1.0 + number
        scaler.scale((w * w).sum() * factor).backward()
        if number % 2:
            scaler.unscale_(optimizer)
            found.append(float(m.nn.utils.clip_grad_norm_([w], 1.0)) if number != 3 else None)
        scaler.step(optimizer)
        scaler.update()
        found.append((scaler.get_scale(), w.tolist()))
    found.append(scaler.state_dict())
    return found


def test_grad_scaler() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = steps(lg), steps(torch)
    assert ours[-1] == theirs[-1]
    for one, other in zip(ours[:-1], theirs[:-1]):
        if isinstance(one, tuple):
            assert one[0] == other[0]
            np.testing.assert_allclose(one[1], other[1], rtol=1e-6)
        else:
            assert one is other is None or one == pytest.approx(other, rel=1e-6)


def test_what_a_scaler_refuses() -> None:
    w = lg.nn.Parameter(lg.ones(2))
    optimizer = lg.optim.SGD([w], lr=0.1)
    scaler = lg.amp.GradScaler("cpu", init_scale=4.0)
    with pytest.raises(AssertionError, match="No inf checks"):
        scaler.update()
    first, (second,) = scaler.scale([w.sum(), (w.sum() * 2,)])
    assert first.item() == 8 and second.item() == 16
    first.backward()
    scaler.unscale_(optimizer)
    assert w.grad is not None and w.grad.tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="already been called on this optimizer"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match=r"step\(\) has already been called"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="Closure"):
        scaler.step(optimizer, closure=lambda: None)
    scaler.update(new_scale=3.0)
    assert scaler.get_scale() == 3
    other = lg.amp.GradScaler("cpu")
    other.load_state_dict(scaler.state_dict())
    assert other.get_scale() == 3
    half = lg.nn.Parameter(lg.ones(2, dtype=lg.float16))
    half.grad = lg.ones(2, dtype=lg.float16)
    with pytest.raises(ValueError, match="FP16 gradients"):
        scaler.unscale_(lg.optim.SGD([half], lr=0.1))
    off = lg.amp.GradScaler("cpu", enabled=False)
    assert off.scale(w) is w and off.get_scale() == 1 and off.state_dict() == {}
    off.step(optimizer)
    off.update()


def test_the_spelling_of_cuda() -> None:
    if lg.cuda.is_available():
        with lg.cuda.amp.autocast():
            assert lg.is_autocast_enabled()
        return
    with pytest.warns(UserWarning, match="CUDA is not available"), lg.cuda.amp.autocast():
        assert not lg.is_autocast_enabled()
    with pytest.warns(UserWarning, match="CUDA is not available"):
        assert not lg.cuda.amp.GradScaler().is_enabled()
    from lazygrad.cuda.amp import autocast

    assert autocast is lg.cuda.amp.autocast and issubclass(autocast, lg.autocast)
