"""The package's own forms of what nn.functional has: numbers for reductions and modes, weights before statistics; and factorisations of a few ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lazygrad as lg

torch = pytest.importorskip("torch")

NUMBERS = np.random.default_rng(3).normal(size=(4, 6)).astype("float32")
POSITIVE = np.abs(NUMBERS) + 0.1
SIGNS = np.sign(NUMBERS[:, 0])


def tensors(t: Any, *arrays: Any) -> list[Any]:
    return [t.tensor(each) for each in arrays]


CASES: dict[str, Any] = {
    "kl_div": lambda t: t.kl_div(*tensors(t, NUMBERS, POSITIVE), 2),
    "kl_div of logs": lambda t: t.kl_div(*tensors(t, NUMBERS, NUMBERS), reduction=1, log_target=True),
    "kl_div none": lambda t: t.kl_div(*tensors(t, NUMBERS, POSITIVE), 0),
    "logits": lambda t: t.binary_cross_entropy_with_logits(*tensors(t, NUMBERS, POSITIVE)),
    "logits weighted": lambda t: t.binary_cross_entropy_with_logits(*tensors(t, NUMBERS, POSITIVE, POSITIVE), None, 2),
    "cosine": lambda t: t.cosine_embedding_loss(*tensors(t, NUMBERS, POSITIVE, SIGNS), 0.2, 0),
    "hinge": lambda t: t.hinge_embedding_loss(*tensors(t, NUMBERS, np.sign(NUMBERS)), 2.0),
    "ranking": lambda t: t.margin_ranking_loss(*tensors(t, NUMBERS[:, 0], NUMBERS[:, 1], SIGNS), margin=0.5, reduction=2),
    "poisson": lambda t: t.poisson_nll_loss(*tensors(t, NUMBERS, POSITIVE), True, True, 1e-8, 1),
    "triplet": lambda t: t.triplet_margin_loss(*tensors(t, NUMBERS, POSITIVE, NUMBERS * 2), 1.0, 2.0, 1e-6, True, 2),
    "ctc": lambda t: t.ctc_loss(t.tensor(NUMBERS).reshape(4, 1, 6).log_softmax(-1), t.tensor([[1, 2]]), t.tensor([4]), t.tensor([2]), 0, 2),
    "batch_norm": lambda t: t.batch_norm(*tensors(t, NUMBERS, POSITIVE[0], NUMBERS[0], NUMBERS[1], POSITIVE[1]), False, 0.1, 1e-5, True),
    "batch_norm of a batch": lambda t: t.batch_norm(t.tensor(NUMBERS), None, None, None, None, True, 0.1, 1e-5, False),
    "instance_norm": lambda t: t.instance_norm(t.tensor(NUMBERS).reshape(2, 3, 4), None, None, None, None, True, 0.1, 1e-5, False),
    "grids": lambda t: t.grid_sampler(t.tensor(NUMBERS).reshape(1, 1, 4, 6), t.affine_grid_generator(t.tensor([[[0.5, 0.1, 0.3], [0.2, 0.7, 0.6]]]), [1, 1, 3, 5], False), 1, 2, False),
    "dropout_": lambda t: t.dropout_(t.tensor(NUMBERS), 0.5, False),
    "alpha_dropout_": lambda t: t.alpha_dropout_(t.tensor(NUMBERS), 1.0, True),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_value(name: str) -> None:
    ours, theirs = CASES[name](lg), CASES[name](torch)
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), 2e-5, 1e-5)


def test_other_numbers_of_reductions_leave_each_element() -> None:
    for t in (lg, torch):
        assert tuple(t.kl_div(t.ones(2), t.ones(2), 3).shape) == (2,)
        with pytest.raises(TypeError):
            t.poisson_nll_loss(t.ones(2), t.ones(2))


@pytest.mark.parametrize("shape", [(9, 5), (5, 9), (2, 6, 4)])
def test_low_rank(shape: tuple[int, ...]) -> None:
    """A matrix of rank 3 is the product of its factors; its components are PyTorch's."""
    lg.manual_seed(1)
    drawn = np.random.default_rng(4)
    left, right = drawn.normal(size=(*shape[:-1], 3)), drawn.normal(size=(*shape[:-2], 3, shape[-1]))  # fmt: skip
    whole = left @ right
    u, s, v = lg.svd_lowrank(lg.tensor(whole), 4)
    reference = torch.svd_lowrank(torch.tensor(whole), 4)
    assert [tuple(each.shape) for each in (u, s, v)] == [tuple(each.shape) for each in reference]
    np.testing.assert_allclose((u @ s.diag_embed() @ v.mT).numpy(), whole, atol=1e-10)
    np.testing.assert_allclose(s.numpy(), reference[1].numpy(), atol=1e-10)
    off = lg.svd_lowrank(lg.tensor(whole), 4, M=lg.tensor(whole * 0.5))[1]
    np.testing.assert_allclose(off.numpy(), s.numpy() / 2, atol=1e-10)
    _, variances, axes = lg.pca_lowrank(lg.tensor(whole), 3)
    _, expected, others = torch.pca_lowrank(torch.tensor(whole), 3)
    np.testing.assert_allclose(variances.numpy(), expected.numpy(), atol=1e-9)
    alike = (axes.numpy()[..., :2] * others.numpy()[..., :2]).sum(-2)
    np.testing.assert_allclose(np.abs(alike), 1, atol=1e-8)


def test_low_rank_has_gradients() -> None:
    x = lg.tensor(NUMBERS, dtype=lg.float64, requires_grad=True)
    lg.svd_lowrank(x, 4)[1].sum().backward()
    with pytest.raises(RuntimeError, match="same dtype"):
        lg.svd_lowrank(lg.ones(3, 3, dtype=lg.int64))
    y = torch.tensor(NUMBERS, dtype=torch.float64, requires_grad=True)
    torch.linalg.svdvals(y).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), atol=1e-8)


@pytest.mark.parametrize("options", [{"q": 7}, {"q": -1}, {"niter": -1}])
def test_low_rank_refuses(options: dict[str, int]) -> None:
    for t in (lg, torch):
        with pytest.raises(ValueError, match="must be non-negative integer"):
            t.pca_lowrank(t.tensor(NUMBERS), **options)


def test_a_forked_stream_goes_back() -> None:
    for t in (lg, torch):
        t.manual_seed(5)
        t.rand(3)
        expected = None
        with t.random.fork_rng():
            t.manual_seed(9)
            t.rand(2)
            expected = t.get_rng_state()
        assert not (t.get_rng_state() == expected).all()
        after = t.rand(2).tolist()
        t.manual_seed(5)
        t.rand(3)
        assert t.rand(2).tolist() == after
        with t.random.fork_rng(enabled=False):
            t.manual_seed(9)
        state = t.get_rng_state()
        t.manual_seed(9)
        assert (t.get_rng_state() == state).all()


def test_lobpcg() -> None:
    """The first eigenvalues, in PyTorch's order, and vectors that B makes orthonormal."""
    root = np.random.default_rng(0).standard_normal((2, 9, 9))
    A, B = root[0] @ root[0].T, root[1] @ root[1].T + np.eye(9)
    cases: list[dict[str, Any]] = [{}, {"k": 2}, {"k": 3, "largest": False}]
    for options in cases:
        mine = lg.lobpcg(lg.tensor(A), **options)
        expected = torch.lobpcg(torch.tensor(A), **options, niter=-1)
        np.testing.assert_allclose(mine[0].numpy(), expected[0].numpy(), 1e-6)
        np.testing.assert_allclose(np.abs(mine[1].numpy()), np.abs(expected[1].numpy()), 1e-3, 1e-4)
    values, vectors = lg.lobpcg(lg.tensor(A), 2, lg.tensor(B))
    x = vectors.numpy()
    np.testing.assert_allclose(A @ x, B @ x * values.numpy(), 1e-8, 1e-8)
    np.testing.assert_allclose(x.T @ B @ x, np.eye(2), atol=1e-10)
    with pytest.raises(ValueError, match="not applicable"):
        lg.lobpcg(lg.tensor(A), 4)
    with pytest.raises(AssertionError):
        lg.lobpcg(lg.tensor(A[:, :8]), 1)
