"""Jacobians, products with Hessians, dual tensors, batched gradients, checks by differences, checkpoints: as PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lazygrad as lg
from lazygrad.autograd import GradcheckError, forward_ad, functional, gradcheck, gradgradcheck
from lazygrad.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential

torch = pytest.importorskip("torch")


def numbers(value: Any) -> list[Any]:
    if isinstance(value, (tuple, list)):
        return [each for part in value for each in numbers(part)]
    return [value] if value is None else [value.detach().numpy()]


def attempt(run: Callable[[], Any]) -> Any:
    """What it gives, or its error: the type and the first words."""
    try:
        return numbers(run())
    except Exception as error:
        return type(error).__name__, str(error)[:60]


def cases(m: Any) -> list[Callable[[], Any]]:
    F = m.autograd.functional
    x = m.tensor([1.0, 2.0, 3.0])
    y = x.clone().requires_grad_()
    z = y * y
    grad, rows = m.autograd.grad, m.eye(3)

    def again() -> Any:
        return grad(z * z, [z, y], rows, is_grads_batched=True, create_graph=True)

    return [
        lambda: F.jacobian(lambda a, b: (a * b, a.sum()), (x, x)),
        lambda: F.jacobian(lambda a: m.ones(2), x),
        lambda: F.jacobian(lambda a: m.ones(2), x, strict=True),
        lambda: F.jacobian(lambda a: 3, x),
        lambda: F.jacobian(lambda a: a, 3),
        lambda: F.jacobian(lambda a: a * a, x, vectorize=True, strategy="forward-mode"),
        lambda: F.hessian(lambda a: a, x),
        lambda: F.hessian(lambda a, b: (a * b).sum() ** 2, (x, x)),
        lambda: F.hessian(
            lambda a: (a**3).sum(), x, vectorize=True, outer_jacobian_strategy="forward-mode"
        ),
        lambda: F.vjp(lambda a: a * a, x, x),
        lambda: F.vjp(lambda a: a * a, x),
        lambda: F.vjp(lambda a: a * a, x, x[:2]),
        lambda: F.jvp(lambda a, b: (a * a, b), (x, x), (x, x)),
        lambda: F.jvp(lambda a: a * a, x),
        lambda: F.hvp(lambda a: (a**3).sum(), x, x),
        lambda: F.vhp(lambda a: (a**3).sum(), x, x),
        lambda: F.vhp(lambda a: a**3, x, x),
        lambda: grad(F.jacobian(lambda a: a * a * a, y, create_graph=True).sum(), y),
        lambda: grad(F.jvp(lambda a: a * a * a, y, x, create_graph=True)[1].sum(), y),
        lambda: grad(z, y, rows, retain_graph=True, is_grads_batched=True),
        lambda: grad(y * y, [y, z], rows, is_grads_batched=True, allow_unused=True),
        # the way from z * z to y leads through z, which is a target too, and is differentiated again
        lambda: grad((again()[0] * again()[1]).sum(), y),
    ]


@pytest.mark.parametrize("case", range(len(cases(lg))))
def test_functional_and_batched_gradients(case: int) -> None:
    ours, theirs = attempt(cases(lg)[case]), attempt(cases(torch)[case])
    assert type(ours) is type(theirs)
    if isinstance(ours, tuple):
        assert ours == theirs
        return
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, 1e-6)


def doubles(*values: float) -> lg.Tensor:
    return lg.tensor(values, dtype=lg.float64, requires_grad=True)


class Wrong(lg.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: lg.Tensor) -> lg.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: lg.Tensor) -> lg.Tensor:
        return gradient * 3


def test_gradcheck() -> None:
    x, w = doubles(0.5, 2.0), doubles(1.0, -3.0)
    assert gradcheck(
        lambda a, b: (a @ b, a.sin().sum() * 3),
        (x, w),
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
    )
    assert x.tolist() == [0.5, 2.0]
    assert gradcheck(lambda *_: x.exp(), x)  # what a function captures is moved too
    assert not gradcheck(Wrong.apply, x, raise_exception=False)
    with pytest.raises(GradcheckError, match="Jacobian mismatch for output 0 with respect to inp"):
        gradcheck(Wrong.apply, x)
    with pytest.raises(GradcheckError, match="expected to be zero"):
        gradcheck(lambda a: a.detach(), x)
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        gradcheck(lambda a: a, lg.ones(2))
    with pytest.warns(UserWarning, match="not a double precision"):
        assert not gradcheck(lambda a: a * a, lg.ones(1).requires_grad_(), raise_exception=False)


def test_gradgradcheck() -> None:
    x = doubles(0.5, 2.0)
    assert gradgradcheck(lambda a: a**3, x, check_fwd_over_rev=True)
    assert gradgradcheck(lambda a: a**3, x, gen_non_contig_grad_outputs=True)
    with pytest.raises(GradcheckError):
        gradgradcheck(lambda a: a * a.detach() * a, x)


def test_dual_tensors() -> None:
    x, v = lg.tensor([1.0, 2.0]), lg.tensor([3.0, 5.0])
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, v)
        primal, tangent = forward_ad.unpack_dual((dual * dual).sum())
        assert tangent is not None
        assert (primal.item(), tangent.item()) == (5.0, 26.0)
        assert forward_ad.unpack_dual(x * 2).tangent is None
        dual.mul_(2)
        tangent = forward_ad.unpack_dual(dual).tangent
        assert tangent is not None
        assert tangent.tolist() == [6.0, 10.0]
        with pytest.raises(RuntimeError, match="Nested forward mode AD"):
            forward_ad.enter_dual_level()
    with pytest.raises(RuntimeError, match="no level exists"):
        forward_ad.make_dual(x, v)
    assert functional.jvp(lambda a: a * a, x, v)[1].tolist() == [6.0, 20.0]


def test_a_checkpoint_has_the_gradients_of_what_it_runs() -> None:
    """Of its arguments, of what it captures, and of what these were made of; second ones too, and with the same dropout."""
    x, w = doubles(1.0, 2.0, 3.0), doubles(0.5, -1.0, 2.0)

    def results(call: Callable[..., Any]) -> list[Any]:
        lg.manual_seed(5)
        made = w * x
        inner = call(lambda a, scale=1: {"y": (a * made).sin() * scale, "n": 3}, x * 1, scale=2)
        dropped = call(lambda a: lg.nn.functional.dropout(a * w), inner["y"])
        first = lg.autograd.grad(dropped.sum(), [x, w, made], create_graph=True)
        assert first[0] is not None
        return numbers([dropped, *first, *lg.autograd.grad(first[0].sum(), [x, w])])

    for ours, plain in zip(
        results(checkpoint), results(lambda f, *a, **k: f(*a, **k)), strict=True
    ):
        np.testing.assert_allclose(ours, plain)
    x.grad = w.grad = None
    value = checkpoint(lambda a: a * w, x)
    with lg.no_grad():
        x.mul_(100)  # the arguments are those of the call
    value.sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [1.0, 2.0, 3.0]


def test_a_checkpoint_runs_again_and_notices_a_difference() -> None:
    runs = []

    def step(a: lg.Tensor) -> lg.Tensor:
        runs.append(1)
        return a[: len(runs)] if len(runs) < 3 else a

    x = doubles(1.0, 2.0, 3.0)
    with pytest.raises(CheckpointError, match="different metadata"):
        checkpoint(step, x).sum().backward()
    assert len(runs) == 2
    chain = checkpoint_sequential([lg.sin, lg.cos, lg.exp], 2, x)
    chain.sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(
        x.grad.numpy(), lg.func.grad(lambda a: a.sin().cos().exp().sum())(x).detach().numpy()
    )
    with lg.no_grad():
        assert not checkpoint(lg.sin, x).requires_grad
